//! `gander data export`: the embedded dataset as files.

use std::{fs, path::PathBuf, process::ExitCode};

use anyhow::Context;
use clap::{Args, ValueEnum};
use gander_data::{
    Dataset, Size,
    pottery::{PictureSize, Pottery, PotteryConfig},
};

use crate::{failure::refuse, progress, screen::Screen, text, values};

/// Write an embedded dataset as PNG files, a folder for each class
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  gander data export pottery pots/
  gander data export pottery pots/ --num 5000 --resolution 128 --seed 1")]
pub(crate) struct Arguments {
    /// The dataset: hand-thrown pots, made by code
    #[arg(value_enum)]
    dataset: Embedded,
    /// A new or empty folder
    #[arg(value_name = "DIR")]
    out: PathBuf,
    /// Number of images
    #[arg(long, short, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    num: u64,
    /// Sides of the images: 64, or 92x112 for width by height
    #[arg(long, value_name = "PX|WxH", default_value = "64", value_parser = values::size)]
    resolution: Size,
    /// Another seed gives other pots
    #[arg(long, value_name = "S", default_value_t = 0)]
    seed: u64,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Embedded {
    Pottery,
}

/// Writes the files.
pub(crate) fn run(arguments: &Arguments, screen: &Screen) -> anyhow::Result<ExitCode> {
    let Embedded::Pottery = arguments.dataset;
    let Size { width_px, height_px } = arguments.resolution;
    let pots = Pottery::new(PotteryConfig {
        size: PictureSize { width_px, height_px },
        len: arguments.num as usize,
        seed: arguments.seed,
        ..PotteryConfig::default()
    })?;
    let out = &arguments.out;
    let holds_files = fs::read_dir(out).is_ok_and(|mut entries| entries.next().is_some());
    if holds_files {
        return Err(refuse(
            format!("folder is not empty: {}", out.display()),
            "name a new folder",
        ));
    }
    for class in pots.classes() {
        let folder = out.join(class);
        fs::create_dir_all(&folder).with_context(|| format!("cannot make folder {}", folder.display()))?;
    }
    let shape = pots.shape();
    let mut pixels = vec![0; shape.bytes()];
    let bar = progress::bar(screen, "throwing pots", arguments.num);
    for index in 0..pots.len() {
        pots.read(index, &mut pixels)?;
        let class = pots
            .label(index)
            .and_then(|label| pots.classes().get(label as usize))
            .map_or("", String::as_str);
        let path = out.join(class).join(format!("{index:06}.png"));
        let picture = gander::images::picture(&pixels, shape.width_px, shape.height_px, shape.channels)?;
        gander::images::write_png(&path, &picture)?;
        bar.inc(1);
    }
    bar.finish_and_clear();
    screen.say(format!("{} in {}", text::plural(arguments.num, "image"), out.display()));
    Ok(ExitCode::SUCCESS)
}
