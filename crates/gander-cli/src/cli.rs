//! What can be typed: the verbs, and what holds for all of them.

use std::process::ExitCode;

use clap::{Parser, Subcommand, error::ErrorKind};

use crate::{
    commands::{bench, completions, data, eval, inspect, sample, synthesize, train, translate},
    failure,
    screen::Screen,
};

/// Train, sample and ship generative adversarial networks.
#[derive(Debug, Parser)]
#[command(
    name = "gander",
    version,
    max_term_width = 100,
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = "\
Examples:
  gander train                                    three minutes on pottery, the embedded dataset
  gander train photos/ --minutes 30               your own pictures
  gander sample runs/00001-pottery --grid a.png   pictures from what was trained
  gander data check photos/                       is this a dataset?

Exit codes: 0 done, 1 failed, 2 not understood, 130 stopped by Ctrl-C."
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    verb: Verb,
    /// Say nothing but errors
    #[arg(long, short, global = true, display_order = 900)]
    quiet: bool,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Train(Box<train::Arguments>),
    Sample(sample::Arguments),
    Synthesize(Box<synthesize::Arguments>),
    Translate(translate::Arguments),
    Eval(Box<eval::Arguments>),
    Data(data::Arguments),
    Inspect(inspect::Arguments),
    Bench(bench::Arguments),
    Completions(completions::Arguments),
}

/// Does what was typed.
pub(crate) fn run() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help that was asked for goes to stdout; nothing can be done about a stdout that is closed.
            let _ = error.print();
            return match error.kind() {
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => ExitCode::SUCCESS,
                _ => ExitCode::from(2),
            };
        }
    };
    let screen = if cli.quiet { Screen::quiet() } else { Screen::new() };
    let done = match cli.verb {
        Verb::Train(arguments) => train::run(*arguments, &screen),
        Verb::Sample(arguments) => sample::run(&arguments, &screen),
        Verb::Synthesize(arguments) => synthesize::run(*arguments, &screen),
        Verb::Translate(arguments) => translate::run(&arguments, &screen),
        Verb::Eval(arguments) => eval::run(&arguments, &screen),
        Verb::Data(arguments) => data::run(arguments, &screen),
        Verb::Inspect(arguments) => inspect::run(&arguments),
        Verb::Bench(arguments) => bench::run(&arguments, &screen),
        Verb::Completions(arguments) => completions::run(&arguments),
    };
    done.unwrap_or_else(|error| failure::tell(&error))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_holds() {
        Cli::command().debug_assert();
    }
}
