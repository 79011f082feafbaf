//! The `gander` command.

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
