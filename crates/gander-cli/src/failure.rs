//! How errors reach the user: one error, its causes, a hint; never a panic.

use std::{
    error::Error as StdError,
    io::Write,
    panic::{self, AssertUnwindSafe},
    process::ExitCode,
    sync::Mutex,
};

use crate::{
    hints, interrupt,
    screen::{CYAN, RED},
    text,
};

/// An error that a door found, with what to do about it.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub(crate) struct Refused {
    what: String,
    /// What to do.
    pub(crate) hint: String,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// An error with its hint.
pub(crate) fn refuse(what: impl Into<String>, hint: impl Into<String>) -> anyhow::Error {
    let (what, hint) = (what.into(), hint.into());
    Refused {
        what,
        hint,
        source: None,
    }
    .into()
}

/// An error that the command can say more about than a library.
pub(crate) fn explain(
    what: impl Into<String>,
    hint: impl Into<String>,
    source: impl StdError + Send + Sync + 'static,
) -> anyhow::Error {
    let source: Option<Box<dyn StdError + Send + Sync>> = Some(Box::new(source));
    let (what, hint) = (what.into(), hint.into());
    Refused { what, hint, source }.into()
}

/// Tells an error on stderr; a stop that was asked for is none.
pub(crate) fn tell(error: &anyhow::Error) -> ExitCode {
    let mut err = anstream::stderr();
    // A closed stderr is no reason to do anything else.
    if is_stop(error) {
        let _ = writeln!(err, "{}", gander::Error::Stopped);
        return ExitCode::from(interrupt::EXIT_CODE);
    }
    let _ = write!(err, "{RED}error:{RED:#} {}", describe(error));
    if let Some(hint) = hints::hint(error) {
        let _ = write!(err, "\n{CYAN}hint:{CYAN:#} {}\n", text::harmless(&hint));
    }
    ExitCode::FAILURE
}

/// Whether a command ended because somebody asked it to.
fn is_stop(error: &anyhow::Error) -> bool {
    let mut causes = error.chain();
    causes.any(|cause| matches!(cause.downcast_ref::<gander::Error>(), Some(gander::Error::Stopped)))
}

/// The message and its causes, a line each; causes that the line before has said already are left out.
fn describe(error: &anyhow::Error) -> String {
    let mut text = String::new();
    let mut said = String::new();
    for (depth, cause) in error.chain().enumerate() {
        let message = text::harmless(&cause.to_string());
        if depth > 0 && said.contains(&message) {
            continue;
        }
        text += if depth > 0 { "  caused by: " } else { "" };
        text += &message;
        text.push('\n');
        said = message;
    }
    text
}

/// Runs the program; a panic, which is a bug, becomes an error like the others.
pub(crate) fn guard(program: fn() -> ExitCode) -> ExitCode {
    static LAST: Mutex<Option<String>> = Mutex::new(None);
    panic::set_hook(Box::new(|info| {
        if let Ok(mut last) = LAST.lock() {
            *last = info.location().map(ToString::to_string);
        }
    }));
    panic::catch_unwind(AssertUnwindSafe(program)).unwrap_or_else(|payload| {
        let message = payload
            .downcast_ref::<String>()
            .cloned()
            .or_else(|| payload.downcast_ref::<&str>().map(ToString::to_string))
            .unwrap_or_default();
        let place = LAST.lock().ok().and_then(|mut last| last.take()).unwrap_or_default();
        tell(&refuse(
            format!("internal error at {place}: {message}"),
            "this is a bug in gander; what was saved is whole: please report it with the command you typed",
        ))
    })
}

#[cfg(test)]
mod tests {
    use std::{io, path::PathBuf};

    use super::*;

    #[test]
    fn causes_stand_below_and_are_not_repeated() {
        let source = io::Error::new(io::ErrorKind::NotFound, "no such file");
        // Its message holds the cause already.
        let data = gander_data::Error::Io {
            path: PathBuf::from("a"),
            source,
        };
        let error = anyhow::Error::new(data).context("cannot train");
        assert_eq!(
            describe(&error),
            "cannot train\n  caused by: cannot read a: no such file\n"
        );
    }

    #[test]
    fn a_stop_is_no_failure() {
        let stopped = anyhow::Error::new(gander::Error::Stopped).context("cannot grow parts");
        assert!(is_stop(&stopped));
        let failed = anyhow::Error::new(gander::Error::OneWay { family: "cut" });
        assert!(!is_stop(&failed));
    }
}
