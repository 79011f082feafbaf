//! `gander data`: look at a dataset, show it, make one.

use std::process::ExitCode;

use clap::{Args, Subcommand};

use crate::screen::Screen;

mod check;
mod export;
mod sheet;

/// Check, show and export datasets
#[derive(Debug, Args)]
#[command(
    arg_required_else_help = true,
    after_help = "\
Examples:
  gander data check photos/                   counts, sizes, classes, broken files, duplicates
  gander data sheet photos/ sheet.png         a contact sheet
  gander data export pottery pots/ --num 500  the embedded dataset as files"
)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Check(check::Arguments),
    Sheet(sheet::Arguments),
    Export(export::Arguments),
}

/// Does what was typed.
pub(crate) fn run(arguments: Arguments, screen: &Screen) -> anyhow::Result<ExitCode> {
    match arguments.verb {
        Verb::Check(arguments) => check::run(&arguments, screen),
        Verb::Sheet(arguments) => sheet::run(&arguments, screen),
        Verb::Export(arguments) => export::run(&arguments, screen),
    }
}
