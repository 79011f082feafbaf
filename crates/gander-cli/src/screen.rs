//! What is said on stderr; and what is data, on stdout.

use std::{
    fmt::Display,
    io::{self, IsTerminal, Write},
};

use anstyle::{AnsiColor, Style};
use indicatif::ProgressBar;

use crate::text;

/// The word before an error.
pub(crate) const RED: Style = AnsiColor::Red.on_default().bold();
/// The word before a warning.
pub(crate) const YELLOW: Style = AnsiColor::Yellow.on_default().bold();
/// The word before a hint.
pub(crate) const CYAN: Style = AnsiColor::Cyan.on_default().bold();

/// Where the talk goes: stderr, above the progress bar if there is one.
#[derive(Debug, Clone)]
pub(crate) struct Screen {
    bar: ProgressBar,
    is_quiet: bool,
}

impl Screen {
    /// A screen without a bar.
    pub(crate) fn new() -> Self {
        Self {
            bar: ProgressBar::hidden(),
            is_quiet: false,
        }
    }

    /// A screen that stays empty.
    pub(crate) fn quiet() -> Self {
        Self {
            bar: ProgressBar::hidden(),
            is_quiet: true,
        }
    }

    /// The same screen with a bar at its foot.
    pub(crate) fn with_bar(&self, bar: ProgressBar) -> Self {
        Self {
            bar,
            is_quiet: self.is_quiet,
        }
    }

    /// Whether there is somebody to watch a bar.
    pub(crate) fn shows_bars(&self) -> bool {
        !self.is_quiet && io::stderr().is_terminal()
    }

    /// A line.
    pub(crate) fn say(&self, line: impl Display) {
        if !self.is_quiet {
            let line = text::harmless(&line.to_string());
            // A closed stderr is no reason to stop.
            self.bar.suspend(|| _ = writeln!(anstream::stderr(), "{line}"));
        }
    }

    /// A line after a colored word.
    pub(crate) fn say_after(&self, style: Style, word: &str, line: impl Display) {
        if !self.is_quiet {
            let line = text::harmless(&line.to_string());
            self.bar
                .suspend(|| _ = writeln!(anstream::stderr(), "{style}{word}:{style:#} {line}"));
        }
    }

    /// Something that the user should know.
    pub(crate) fn warn(&self, line: impl Display) {
        self.say_after(YELLOW, "warning", line);
    }

    /// The number of files that are missing from a set, if any are.
    pub(crate) fn warn_unread(&self, files: usize) {
        if files > 0 {
            self.warn(format!(
                "{} could not be read and left out",
                text::plural(files as u64, "file")
            ));
        }
    }
}

/// Writes data to stdout. A reader that has gone away (`| head`) has seen enough.
pub(crate) fn print(data: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(data.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(anyhow::Error::new(error).context("cannot write to stdout"))
        }
        _ => Ok(()),
    }
}

/// Writes a value to stdout as JSON over several lines.
pub(crate) fn print_json(value: &impl serde::Serialize) -> anyhow::Result<()> {
    print(&(serde_json::to_string_pretty(value)? + "\n"))
}
