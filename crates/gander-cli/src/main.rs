//! The `gander` command.

#![expect(
    clippy::format_push_string,
    reason = "lines for people are short, and plain to read this way"
)]

mod cli;
mod commands;
mod failure;
mod hints;
mod interrupt;
mod progress;
mod screen;
mod text;
mod values;

use std::process::ExitCode;

fn main() -> ExitCode {
    failure::guard(cli::run)
}
