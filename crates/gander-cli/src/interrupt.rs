//! Ctrl-C: first save and stop, then stop at once.

use std::{
    process,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use anyhow::Context;

use crate::screen::Screen;

/// What a shell reports of a program that Ctrl-C ended: 128 and the number of SIGINT.
pub(crate) const EXIT_CODE: u8 = 130;

/// The flag that a first Ctrl-C (or a polite kill) sets. A second one ends the process.
pub(crate) fn listen(screen: &Screen) -> anyhow::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    let (flag, screen) = (Arc::clone(&stop), screen.clone());
    ctrlc::set_handler(move || {
        if flag.swap(true, Ordering::SeqCst) {
            process::exit(i32::from(EXIT_CODE));
        }
        screen.say("stopping after this step and saving; Ctrl-C again leaves at once and loses what is not saved");
    })
    .context("cannot listen to Ctrl-C")?;
    Ok(stop)
}
