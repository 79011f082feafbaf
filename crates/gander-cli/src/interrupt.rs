//! Ctrl-C: first stop in order, then stop at once; and polite kills, which stop in order however often they come.

use std::{
    fmt::Display,
    mem, process,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use anyhow::Context;

use crate::screen::Screen;

/// What a shell reports of a program that Ctrl-C ended: 128 and the number of SIGINT.
pub(crate) const EXIT_CODE: u8 = 130;

/// The flag that a first Ctrl-C (or a polite kill) sets; the sentence then says what becomes of the work. A second
/// Ctrl-C ends the process.
pub(crate) fn listen(screen: &Screen, sentence: impl Display + Send + 'static) -> anyhow::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    let (flag, screen) = (Arc::clone(&stop), screen.clone());
    let mut is_second = false;
    ctrlc::set_handler(move || {
        if mem::replace(&mut is_second, true) {
            process::exit(i32::from(EXIT_CODE));
        }
        flag.store(true, Ordering::SeqCst);
        screen.say(&sentence);
    })
    .context("cannot listen to Ctrl-C")?;
    #[cfg(unix)]
    listen_to_kills(&stop).context("cannot listen to signals")?;
    Ok(stop)
}

/// Kills set the flag and do no more: `timeout` and a terminal that closes send theirs twice. One that is ignored, as
/// `nohup` has hangups ignored, stays so.
#[cfg(unix)]
fn listen_to_kills(stop: &Arc<AtomicBool>) -> std::io::Result<()> {
    use signal_hook::{
        consts::{SIGHUP, SIGTERM},
        flag,
    };

    // Linux alone tells without unsafe code; elsewhere none counts as ignored.
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    for signal in [SIGTERM, SIGHUP] {
        if !ignores(&status, signal) {
            flag::register(signal, Arc::clone(stop))?;
        }
    }
    Ok(())
}

/// Whether a process ignores a signal, by its mask in `/proc/PID/status`.
#[cfg(unix)]
fn ignores(status: &str, signal: i32) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| (mask >> (signal - 1)) & 1 == 1)
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn the_mask_says_what_is_ignored() {
        let status = "Name:\tgander\nSigBlk:\t0000000000004000\nSigIgn:\t0000000000001001\n";
        assert_eq!([1, 13, 15].map(|signal| ignores(status, signal)), [true, true, false]);
        assert!(!ignores("", 1));
    }
}
