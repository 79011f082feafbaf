//! `gander data sheet`: a set at a glance.

use std::{path::PathBuf, process::ExitCode};

use anyhow::Context;
use clap::Args;
use gander_data::{OpenOptions, Size};

use crate::{failure::refuse, progress, screen::Screen, text, values};

/// Draw a contact sheet of a dataset
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  gander data sheet photos/ sheet.png
  gander data sheet photos.zip sheet.png --resolution 64 --columns 16 --rows 9")]
pub(crate) struct Arguments {
    /// A folder, an archive, an IDX or NPZ file
    #[arg(value_name = "DATA")]
    source: PathBuf,
    /// The picture to write
    #[arg(value_name = "OUT.png", value_parser = values::png)]
    out: PathBuf,
    /// Sides of the images: 64, or 92x112 for width by height [default: chosen for the data]
    #[arg(long, value_name = "PX|WxH", value_parser = values::size)]
    resolution: Option<Size>,
    /// Images in a row
    #[arg(long, value_name = "N", default_value_t = 12, value_parser = clap::value_parser!(u32).range(1..=1000))]
    columns: u32,
    /// Rows at most
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rows: u32,
}

/// Draws the sheet.
pub(crate) fn run(arguments: &Arguments, screen: &Screen) -> anyhow::Result<ExitCode> {
    if gander_data::lies_in(&arguments.out, &arguments.source) {
        return Err(refuse(
            format!("{} would lie among the images", arguments.out.display()),
            "write it outside the data",
        ));
    }
    let bar = progress::spinner(screen, "opening the data");
    let options = OpenOptions {
        size: arguments.resolution,
        ..OpenOptions::default()
    };
    let opened = gander_data::open(std::slice::from_ref(&arguments.source), &options)
        .with_context(|| format!("cannot open {}", arguments.source.display()))?;
    let sheet = gander_data::sheet(
        opened.train.as_ref(),
        arguments.columns as usize,
        arguments.rows as usize,
    )?;
    bar.finish_and_clear();
    screen.warn_unread(opened.skipped.len());
    gander::images::write_png(&arguments.out, &sheet.into())?;
    let shown = opened.train.len().min((arguments.columns * arguments.rows) as usize);
    screen.say(format!(
        "{} of {} in {}",
        text::count(shown as u64),
        text::plural(opened.train.len() as u64, "image"),
        arguments.out.display()
    ));
    Ok(ExitCode::SUCCESS)
}
