//! `gander sample`: images from a generator.

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context;
use clap::{ArgGroup, Args};
use gander::{
    images::{self, GridOptions, Tiles},
    shipped::{SampleOptions, Samples, ShippedGenerator},
};
use gander_formats::{
    DType,
    npy::ArrayRef,
    npz::{self, Compression},
};
use gander_tensor::{Cpu, CpuOptions, Isa};
use serde::Serialize;

use crate::{
    failure::refuse,
    progress,
    screen::{self, Screen},
    text,
    values::{self, MAX_SEEDS, PrecisionChoice, Seeds},
};

/// Images that are made between two looks at the progress.
const CHUNK: usize = 64;
/// The most that images for one file may take: they are held in memory until it is written.
const MAX_BYTES: u64 = 8 << 30;

/// Make images with a trained generator
#[derive(Debug, Args)]
#[command(
    group = ArgGroup::new("output").required(true),
    after_help = "\
Examples:
  gander sample runs/00001-pottery --grid pots.png              sixteen images in one picture
  gander sample runs/00001-pottery --seeds 0-35 --grid pots.png
  gander sample generator.safetensors --num 1000 --out made/    a PNG for each
  gander sample runs/00001-pottery --label vase --truncation 0.7 --grid vases.png
  gander sample runs/00001-pottery --num 10000 --npz made.npz   for a script: `images` and `labels`

An image depends on its seed, its label and the truncation alone; --seed S --num N stands for seeds S to S+N-1.
The NPZ file holds `images`, uint8 [num, height, width, channels], and with classes `labels`, int64 [num]."
)]
pub(crate) struct Arguments {
    /// A run directory, or a generator file
    #[arg(value_name = "RUN|FILE")]
    generator: PathBuf,
    /// Number of images [default: 16]
    #[arg(long, short, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=MAX_SEEDS), conflicts_with = "seeds")]
    num: Option<u64>,
    /// Seed of the first image; each further one has the next
    #[arg(long, value_name = "S", default_value_t = 0)]
    seed: u64,
    /// The seeds, an image each: 0-35, or 1,5,9-12
    #[arg(long, value_name = "SEEDS", value_parser = values::seeds, conflicts_with = "seed")]
    seeds: Option<Seeds>,
    /// Class of all images [default: by the frequencies of the training data]
    #[arg(long, value_name = "NAME")]
    label: Option<String>,
    /// Below 1 less variety and fewer misfits, above 1 more
    #[arg(long, value_name = "PSI", value_parser = values::not_negative)]
    truncation: Option<f64>,
    /// Write all images into one picture
    #[arg(long, value_name = "FILE.png", group = "output", value_parser = values::png)]
    grid: Option<PathBuf>,
    /// Write each image to a PNG file in this folder
    #[arg(long, value_name = "DIR", group = "output")]
    out: Option<PathBuf>,
    /// Write all images into a NumPy archive
    #[arg(long, value_name = "FILE.npz", group = "output", value_parser = npz_file)]
    npz: Option<PathBuf>,
    /// Compute threads; 0 for one per core
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(..=1024))]
    threads: u32,
    /// Precision of multiplications
    #[arg(long, value_enum, default_value_t = PrecisionChoice::F32)]
    precision: PrecisionChoice,
    /// Instruction set: avx512, avx2, neon or portable [default: the best that the processor has]
    #[arg(long, value_parser = values::isa)]
    isa: Option<Isa>,
    /// Print what was written to stdout as JSON
    #[arg(long)]
    json: bool,
}

fn npz_file(text: &str) -> Result<PathBuf, String> {
    values::with_extension(text, "npz")
}

/// Where images go.
enum Output<'a> {
    Grid(&'a Path),
    Folder(&'a Path),
    Npz(&'a Path),
}

/// What was written, for `--json`.
#[derive(Debug, Serialize)]
struct Written<'a> {
    version: u32,
    files: Vec<PathBuf>,
    seeds: &'a [u64],
    #[serde(skip_serializing_if = "Option::is_none")]
    labels: Option<Vec<&'a str>>,
    height_px: usize,
    width_px: usize,
    channels: usize,
}

/// Makes the images and writes them.
pub(crate) fn run(arguments: &Arguments, screen: &Screen) -> anyhow::Result<ExitCode> {
    let device = Cpu::with_options(CpuOptions {
        threads: arguments.threads as usize,
        isa: arguments.isa,
        precision: fastest(arguments),
    })?;
    let generator = ShippedGenerator::load(&arguments.generator, &device)
        .with_context(|| format!("cannot load a generator from {}", arguments.generator.display()))?;
    let options = SampleOptions {
        label: arguments
            .label
            .as_deref()
            .map(|name| generator.class_index(name))
            .transpose()?,
        truncation_psi: arguments.truncation.map(|psi| psi as f32),
    };
    let seeds = match &arguments.seeds {
        Some(Seeds(seeds)) => seeds.clone(),
        None => (0..arguments.num.unwrap_or(16))
            .map(|i| arguments.seed.wrapping_add(i))
            .collect(),
    };
    let output = match (&arguments.grid, &arguments.out, &arguments.npz) {
        (Some(file), _, _) => Output::Grid(file),
        (_, Some(folder), _) => Output::Folder(folder),
        (_, _, Some(file)) => Output::Npz(file),
        (None, None, None) => return Err(refuse("nowhere to write to", "pass --grid, --out or --npz")),
    };
    let (files, labels) = write(&generator, &seeds, &options, &output, screen)?;
    if arguments.json {
        let images = generator.header.model.images();
        let names = |labels: Vec<u32>| labels.iter().map(|&label| class_name(&generator, label)).collect();
        screen::print_json(&Written {
            version: 1,
            files: files.iter().map(|path| text::unicode(path)).collect(),
            seeds: &seeds,
            labels: labels.map(names),
            height_px: images.height_px,
            width_px: images.width_px,
            channels: images.channels,
        })?;
    }
    Ok(ExitCode::SUCCESS)
}

fn fastest(arguments: &Arguments) -> gander_tensor::Precision {
    let isa = arguments.isa.unwrap_or_else(Isa::detect);
    arguments
        .precision
        .precision()
        .unwrap_or_else(|| isa.fastest_precision())
}

fn class_name(generator: &ShippedGenerator, label: u32) -> &str {
    generator.header.classes.get(label as usize).map_or("", String::as_str)
}

type Files = (Vec<PathBuf>, Option<Vec<u32>>);

fn write(
    generator: &ShippedGenerator,
    seeds: &[u64],
    options: &SampleOptions,
    output: &Output<'_>,
    screen: &Screen,
) -> anyhow::Result<Files> {
    let images = generator.header.model.images();
    let (height, width, channels) = (images.height_px, images.width_px, images.channels);
    let bytes = (seeds.len() as u64).saturating_mul((height * width * channels) as u64);
    if !matches!(output, Output::Folder(_)) && bytes > MAX_BYTES {
        return Err(refuse(
            format!(
                "images for one file may take {}: {}",
                text::bytes(MAX_BYTES),
                text::bytes(bytes)
            ),
            "make them in parts with --seeds, or write single files with --out DIR",
        ));
    }
    let num = seeds.len();
    let tiles = Tiles {
        num,
        height_px: height,
        width_px: width,
        channels,
    };
    let rows = GridOptions {
        columns: num.isqrt() + usize::from(num.isqrt().pow(2) < num),
        ..GridOptions::default()
    };
    if let Output::Grid(_) = output {
        // Better refused before the first image than after the last.
        images::grid_px(tiles, rows)?;
    }
    if let Output::Folder(folder) = output {
        fs::create_dir_all(folder).with_context(|| format!("cannot make folder {}", folder.display()))?;
    }
    // A seed makes another image of each class.
    let prefix = options.label.map_or_else(String::new, |label| {
        let is_plain = |letter: char| letter.is_alphanumeric() || "-_".contains(letter);
        let plain = |letter| if is_plain(letter) { letter } else { '-' };
        class_name(generator, label).chars().map(plain).chain(['-']).collect()
    });
    let bar = progress::bar(screen, "sampling", seeds.len() as u64);
    let mut all = Samples {
        images: Vec::new(),
        labels: None,
    };
    let mut files = Vec::new();
    for seeds in seeds.chunks(CHUNK) {
        let made = generator.sample(seeds, options)?;
        if let Output::Folder(folder) = output {
            for (pixels, seed) in made.images.chunks_exact(height * width * channels).zip(seeds) {
                let path = folder.join(format!("{prefix}seed{seed:06}.png"));
                images::write_png(&path, &images::picture(pixels, width, height, channels)?)?;
                files.push(path);
            }
        } else {
            all.images.extend(made.images);
        }
        if let Some(labels) = made.labels {
            all.labels.get_or_insert_default().extend(labels);
        }
        bar.inc(seeds.len() as u64);
    }
    bar.finish_and_clear();
    match *output {
        Output::Folder(folder) => screen.say(format!("{} in {}", text::plural(num as u64, "image"), folder.display())),
        Output::Grid(path) => {
            let grid = images::grid(&all.images, tiles, rows)?;
            images::write_png(path, &grid)?;
            screen.say(format!("{} in {}", text::plural(num as u64, "image"), path.display()));
            files.push(path.to_owned());
        }
        Output::Npz(path) => {
            write_npz(path, &all, [num, height, width, channels])?;
            screen.say(format!("{} in {}", text::plural(num as u64, "image"), path.display()));
            files.push(path.to_owned());
        }
    }
    Ok((files, all.labels))
}

fn write_npz(path: &Path, samples: &Samples, shape: [usize; 4]) -> anyhow::Result<()> {
    let labels = samples.labels.as_ref();
    let labels: Option<Vec<u8>> = labels.map(|labels| {
        labels
            .iter()
            .flat_map(|&label| i64::from(label).to_le_bytes())
            .collect()
    });
    let num = [shape[0]];
    let mut arrays = vec![(
        "images",
        ArrayRef {
            dtype: DType::U8,
            shape: &shape,
            bytes: &samples.images,
        },
    )];
    if let Some(bytes) = &labels {
        arrays.push((
            "labels",
            ArrayRef {
                dtype: DType::I64,
                shape: &num,
                bytes,
            },
        ));
    }
    Ok(npz::write_atomic(path, &arrays, Compression::Stored)?)
}
