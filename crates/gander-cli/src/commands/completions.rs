//! `gander completions`: what a shell needs to complete the command.

use std::process::ExitCode;

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::{cli::Cli, screen};

/// Print a script that completes `gander` in a shell
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  gander completions bash > ~/.local/share/bash-completion/completions/gander
  gander completions zsh > ~/.zfunc/_gander
  gander completions fish > ~/.config/fish/completions/gander.fish")]
pub(crate) struct Arguments {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

/// Prints the script.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut Cli::command(), "gander", &mut script);
    screen::print(&String::from_utf8_lossy(&script))?;
    Ok(ExitCode::SUCCESS)
}
