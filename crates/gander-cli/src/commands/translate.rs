//! `gander translate`: pictures in the style that a run has learned.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context;
use clap::{Args, ValueEnum};
use gander::{
    images,
    translation::{self, Picture, ShippedTranslator},
};
use gander_data::media;
use gander_tensor::{Cpu, CpuOptions};
use serde::Serialize;

use crate::{
    failure::refuse,
    progress,
    screen::{self, Screen},
    text,
    values::{self, PrecisionChoice},
};

/// Translate pictures with a trained pix2pix, cyclegan, cut, fastcut or sincut
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  gander translate runs/00001-photos-to-paintings holiday.jpg --out painted/
  gander translate runs/00001-photos-to-paintings album/ --out painted/
  gander translate runs/00001-photos-to-paintings monet.png --direction ba --out as-photos/
  gander translate generator.safetensors *.jpg --strength 0.6 --out softly/

Writes DIR/NAME.png for each NAME.jpg, NAME.png, …, in its own size, upright, with its transparency
and its color profile.
Where two files would get one name, each keeps its ending: NAME.jpg.png. Large pictures are
translated in parts that meet without a seam: beside the picture itself (20 bytes for each value
of a pixel) that takes up to 2.3 GiB for the widest networks, whatever the size.")]
pub(crate) struct Arguments {
    /// A run directory, or a generator file
    #[arg(value_name = "RUN|FILE")]
    translator: PathBuf,
    /// Pictures, and folders of pictures
    #[arg(value_name = "INPUT", required = true)]
    inputs: Vec<PathBuf>,
    /// The folder to write to
    #[arg(long, short, value_name = "DIR")]
    out: PathBuf,
    /// Replace files that are there already
    #[arg(long)]
    overwrite: bool,
    /// From the first set to the second, or back
    #[arg(long, value_enum, default_value_t = Direction::Ab)]
    direction: Direction,
    /// How much of the translation: 0 leaves the picture as it is
    #[arg(long, value_name = "S", default_value_t = 1.0, value_parser = strength)]
    strength: f64,
    /// Compute threads; 0 for one per core
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(..=1024))]
    threads: u32,
    /// Precision of multiplications
    #[arg(long, value_enum, default_value_t = PrecisionChoice::F32)]
    precision: PrecisionChoice,
    /// Print what was written to stdout as JSON
    #[arg(long)]
    json: bool,
}

/// Which way to translate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Direction {
    Ab,
    Ba,
}

fn strength(text: &str) -> Result<f64, String> {
    match values::not_negative(text) {
        Ok(value) if value <= 1.0 => Ok(value),
        _ => Err("a number from 0 to 1".into()),
    }
}

/// What was written.
#[derive(Debug, Serialize)]
struct Written {
    version: u32,
    files: Vec<PathBuf>,
    skipped: Vec<Skipped>,
}

/// What could not be read.
#[derive(Debug, Serialize)]
struct Skipped {
    path: PathBuf,
    reason: String,
}

/// Translates, and says where everything is.
pub(crate) fn run(arguments: &Arguments, screen: &Screen) -> anyhow::Result<ExitCode> {
    let device = Cpu::with_options(CpuOptions {
        threads: arguments.threads as usize,
        precision: arguments.precision.precision().unwrap_or_default(),
        ..CpuOptions::default()
    })?;
    let path = &arguments.translator;
    let translator = ShippedTranslator::load(path, &device)
        .with_context(|| format!("cannot load a translator from {}", path.display()))?;
    let direction = match arguments.direction {
        Direction::Ab => translation::Direction::ToB,
        Direction::Ba => translation::Direction::ToA,
    };
    translator.translator(direction)?;
    let outputs = outputs(&inputs(&arguments.inputs)?, &arguments.out);
    check_apart(&outputs)?;
    if !arguments.overwrite {
        check_free(&outputs)?;
    }
    fs::create_dir_all(&arguments.out).with_context(|| format!("cannot create {}", arguments.out.display()))?;

    let mut written = Written {
        version: 1,
        files: Vec::new(),
        skipped: Vec::new(),
    };
    let bar = progress::bar(screen, "pictures", outputs.len() as u64 * PARTS);
    for (index, (input, output)) in outputs.iter().enumerate() {
        let before = index as u64 * PARTS;
        let picture = fs::read(input)
            .map_err(|error| error.to_string())
            .and_then(|bytes| Ok((media::decode(&bytes, LIMITS)?, media::color_profile(&bytes))));
        match picture {
            Ok((picture, profile)) => {
                let mut show = |done: usize, all: usize| bar.set_position(before + done as u64 * PARTS / all as u64);
                let made = translate(&translator, &picture, direction, arguments.strength, &mut show)?;
                let profile = profile.filter(|profile| fits(profile, made.channels));
                let made = images::picture(&made.pixels, made.width_px, made.height_px, made.channels)?;
                images::write_png_in(output, &made, profile.as_deref())?;
                written.files.push(text::unicode(output));
            }
            Err(reason) => written.skipped.push(Skipped {
                path: text::unicode(input),
                reason,
            }),
        }
        bar.set_position(before + PARTS);
    }
    bar.finish_and_clear();
    for Skipped { path, reason } in &written.skipped {
        screen.warn(format!("left out {}: {reason}", path.display()));
    }
    if written.files.is_empty() {
        return Err(refuse(
            "none of the inputs could be read",
            "gander translate reads PNG, JPEG, WebP, GIF, BMP, TIFF and PNM pictures",
        ));
    }
    screen.say(format!(
        "{} in {}",
        text::plural(written.files.len() as u64, "picture"),
        arguments.out.display()
    ));
    if arguments.json {
        screen::print_json(&written)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Steps of the progress bar for each picture.
const PARTS: u64 = 100;

/// As for training images.
const LIMITS: media::MediaLimits = media::MediaLimits {
    max_side_px: 32_768,
    max_pixels: 1 << 27,
};

/// The files that are meant, those of folders in the order of their names.
fn inputs(paths: &[PathBuf]) -> anyhow::Result<Vec<PathBuf>> {
    let mut all = Vec::new();
    for path in paths {
        if !path.is_dir() {
            fs::metadata(path).with_context(|| format!("cannot read {}", path.display()))?;
            all.push(path.clone());
            continue;
        }
        let list = || -> std::io::Result<Vec<PathBuf>> {
            let entries = fs::read_dir(path)?.map(|entry| Ok(entry?.path()));
            let mut files = entries.collect::<std::io::Result<Vec<_>>>()?;
            files.retain(|file| file.is_file() && is_picture(file));
            files.sort();
            Ok(files)
        };
        let files = list().with_context(|| format!("cannot read {}", path.display()))?;
        if files.is_empty() {
            return Err(refuse(
                format!("no pictures in {}", path.display()),
                "name pictures, or a folder that holds some; folders in it are not searched",
            ));
        }
        all.extend(files);
    }
    Ok(all)
}

/// Whether a name in a folder promises a picture.
fn is_picture(path: &Path) -> bool {
    const ENDINGS: [&str; 13] = [
        "png", "jpg", "jpeg", "webp", "gif", "bmp", "tif", "tiff", "pnm", "ppm", "pgm", "pbm", "pam",
    ];
    let ending = path.extension().map(|ending| ending.to_string_lossy().to_lowercase());
    ending.is_some_and(|ending| ENDINGS.contains(&ending.as_str()))
}

/// Where each picture goes: its name with another ending; where two would get the same, the whole name and `.png`, and
/// a number where that is not enough.
fn outputs(inputs: &[PathBuf], out: &Path) -> Vec<(PathBuf, PathBuf)> {
    let stem = |path: &PathBuf| path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let stems: Vec<String> = inputs.iter().map(stem).collect();
    let mut taken = BTreeSet::new();
    let name = |(index, path): (usize, &PathBuf)| {
        let alone = stems.iter().filter(|other| **other == stems[index]).count() == 1;
        let whole = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let base = if alone { stems[index].clone() } else { whole };
        let mut name = format!("{base}.png");
        let mut number = 2;
        // Some systems take both cases for one name.
        while !taken.insert(name.to_lowercase()) {
            name = format!("{base}-{number}.png");
            number += 1;
        }
        (path.clone(), out.join(name))
    };
    inputs.iter().enumerate().map(name).collect()
}

/// Refuses to write over what it reads.
fn check_apart(outputs: &[(PathBuf, PathBuf)]) -> anyhow::Result<()> {
    let inputs: BTreeSet<PathBuf> = outputs
        .iter()
        .filter_map(|(input, _)| input.canonicalize().ok())
        .collect();
    let is_input = |output: &PathBuf| output.canonicalize().is_ok_and(|output| inputs.contains(&output));
    match outputs.iter().find(|(_, output)| is_input(output)) {
        None => Ok(()),
        Some((_, output)) => Err(refuse(
            format!("{} would be replaced by its translation", output.display()),
            "name another folder with --out",
        )),
    }
}

/// Refuses to write over what is there: the name of a picture does not tell who made it.
fn check_free(outputs: &[(PathBuf, PathBuf)]) -> anyhow::Result<()> {
    match outputs.iter().find(|(_, output)| output.exists()) {
        None => Ok(()),
        Some((_, output)) => Err(refuse(
            format!("{} is there already", output.display()),
            "name another folder with --out, or replace what is in this one with --overwrite",
        )),
    }
}

/// Whether a profile is of the colors of a picture with so many channels: four bytes of its header name them.
fn fits(profile: &[u8], channels: usize) -> bool {
    let colors = if channels < 3 { b"GRAY" } else { b"RGB " };
    profile.get(16..20) == Some(&colors[..])
}

/// The translation of a picture with any channels, mixed with the picture, with its transparency.
fn translate(
    translator: &ShippedTranslator,
    picture: &media::Picture,
    direction: translation::Direction,
    strength: f64,
    show: &mut dyn FnMut(usize, usize),
) -> anyhow::Result<Picture> {
    let channels = translator.header.model.images().channels;
    let plain = gander_data::transforms::to_channels(picture, channels, [255; 3]);
    let made = translator.translate(&plain, direction, show)?;
    let mixed = plain.pixels.iter().zip(&made.pixels).map(|(&before, &after)| {
        let (before, after) = (f64::from(before), f64::from(after));
        (before + (after - before) * strength).round() as u8
    });
    let mixed: Vec<u8> = mixed.collect();
    let has_alpha = picture.channels.is_multiple_of(2);
    if !has_alpha || channels.is_multiple_of(2) {
        return Ok(Picture { pixels: mixed, ..made });
    }
    let alphas = picture.pixels.chunks_exact(picture.channels);
    let with_alpha = mixed
        .chunks_exact(channels)
        .zip(alphas)
        .flat_map(|(pixel, before)| pixel.iter().chain(before.last()).copied());
    Ok(Picture {
        pixels: with_alpha.collect(),
        channels: channels + 1,
        ..made
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_predictable_and_differ() {
        let inputs = ["a/one.jpg", "b/one.png", "b/two.webp", "c/one.jpg", "c/TWO.jpg"].map(PathBuf::from);
        let names: Vec<String> = outputs(&inputs, Path::new("out"))
            .iter()
            .map(|(_, output)| output.display().to_string())
            .collect();
        assert_eq!(
            names,
            [
                "out/one.jpg.png",
                "out/one.png.png",
                "out/two.png",
                "out/one.jpg-2.png",
                "out/TWO-2.png"
            ]
        );
    }
}
