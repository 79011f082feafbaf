//! `gander eval`: how good are these images?

mod cache;
mod copies;
mod images;
mod output;
mod space;
mod suite;
mod translated;
mod weights;

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, ValueEnum};
use gander::{
    features::{Eyes, SpaceChoice},
    metrics::{Judge, JudgeOptions, ScoreKind},
};
use gander_data::Size;
use gander_tensor::{Cpu, CpuOptions};

use self::{
    images::{Fakes, Reals},
    output::Evaluation,
    space::Spaces,
};
use crate::{
    failure::refuse,
    progress,
    screen::{self, Screen},
    text,
    values::{self, MAX_SEEDS},
};

/// Score a generator, a translator or a folder of images against real images
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  gander eval runs/00001-photos                          a run, against the data that it names
  gander eval generator.safetensors --data photos/ --num 5000
  gander eval made/ --data photos/                       two folders of images
  gander eval made.npz --data photos.zip --metrics fid,prdc --json
  gander eval runs/00001-photos --features effnet:efficientnet_lite0.safetensors
  gander eval runs/00001-photos-to-paintings --data others/ paintings/
  gander eval drawn/ --data truths/ --paired             pictures and truths of the same names
  gander eval --suite modes                              does its training find all modes?
  gander eval --suite modes --data mnist/ --minutes 20   the same of StackedMNIST

Scores: fid and kid (distance, 0 is best), is (Inception score), prdc (precision, recall, density,
coverage), swd (distance of patches, no network looks), modes (classes that are found, and how
unevenly), copies (share that is as near to one training image as 5 % of held-out ones are). A run
that translates is scored by its translations of held-out images; where their truth is known, also
by l1, psnr, ssim and sharpness (1 is as sharp as the truth); DATA is two folders then, or what
else its family trains on. Names say how many images were seen
and in which feature space: fid10k_effnet. Only like names can be compared. Intervals hold 95 % of
the scores of resampled images.

Feature spaces:
  classifier        a small network trained on the labels of DATA in about a minute, then kept
  pixels            the image made small
  classifier:FILE   a classifier that --keep-classifier wrote
  effnet:FILE       EfficientNet-Lite0 from a safetensors file
  inception[:FILE]  the network of published FID, resized as pytorch-fid does; .pth or safetensors;
                    downloaded once (95 MB) where no file is named
  inception-clean:FILE  the same, resized as clean-fid does

A suite scores no images of yours: it trains small GANs on distributions whose modes are known and
counts what they find. `modes` has a ring of 8 and a grid of 25 Gaussians; with --data, digits of
ten classes, also StackedMNIST with its 1000.

Nothing else is downloaded.")]
pub(crate) struct Arguments {
    /// A run, a generator file; or a folder, an archive or an NPZ file of images
    #[arg(value_name = "RUN|FILE|FOLDER", required_unless_present = "suite")]
    images: Option<PathBuf>,
    /// Train and score the classic tests of a GAN instead
    #[arg(long, value_enum, value_name = "SUITE", conflicts_with_all = [
        "images", "metrics", "num", "features", "split", "resolution", "k", "keep_classifier",
    ])]
    suite: Option<Suite>,
    /// Minutes that a suite trains on DATA [default: 20]
    #[arg(long, value_name = "M", requires_all = ["suite", "data"], conflicts_with = "kimg", value_parser = values::positive)]
    minutes: Option<f64>,
    /// Thousands of images that a suite trains on DATA, instead of minutes
    #[arg(long, value_name = "N", requires_all = ["suite", "data"], value_parser = values::positive)]
    kimg: Option<f64>,
    /// Where a suite puts pictures of what was made
    #[arg(long, value_name = "DIR", requires = "suite")]
    pictures: Option<PathBuf>,
    /// Real images to compare with, or `pottery` [default: those of the run]
    #[arg(long, short, value_name = "DATA", num_args = 1..)]
    data: Vec<PathBuf>,
    /// Images of one name show the same: in both folders of DATA where a run translates, else in FOLDER and DATA
    #[arg(long, requires = "data")]
    paired: bool,
    /// What to score [default: fid,kid,prdc,swd]
    #[arg(long, short, value_enum, value_delimiter = ',', value_name = "NAMES")]
    metrics: Vec<Metric>,
    /// Images of each side at most [default: as many as there are real ones, 1000 to 10000]
    #[arg(long, short, value_name = "N", value_parser = clap::value_parser!(u64).range(2..=MAX_SEEDS))]
    num: Option<u64>,
    /// Who looks: pixels, classifier, effnet:FILE, … [default: classifier where DATA has labels, else pixels]
    #[arg(long, short, value_name = "SPACE", value_parser = |text: &str| text.parse::<SpaceChoice>())]
    features: Option<SpaceChoice>,
    /// Which real images [default: the held-out ones where DATA has a split of its own, or a run was told to hold some out]
    #[arg(long, value_enum, value_name = "SPLIT")]
    split: Option<Split>,
    /// Sides of the images: 64, or 92x112 for width by height [default: the generator's, else chosen for DATA]
    #[arg(long, value_name = "PX|WxH", value_parser = values::size)]
    resolution: Option<Size>,
    /// Neighbors of precision, recall, density and coverage
    #[arg(long, short, value_name = "K", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    k: u32,
    /// Seed of everything random
    #[arg(long, value_name = "S", default_value_t = 0)]
    seed: u64,
    /// Where trained classifiers are kept [default: gander in the cache folder of the user]
    #[arg(long, value_name = "DIR")]
    cache: Option<PathBuf>,
    /// Write the classifier to a .safetensors file, to score later generators with the same one
    #[arg(long, value_name = "FILE", value_parser = |text: &str| values::with_extension(text, "safetensors"))]
    keep_classifier: Option<PathBuf>,
    /// Compute threads; 0 for one per core
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(..=1024))]
    threads: u32,
    /// Print the scores as JSON
    #[arg(long)]
    json: bool,
}

/// What can be scored, as users write it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Metric {
    Fid,
    Kid,
    Is,
    Prdc,
    Swd,
    Modes,
    Copies,
}

impl Metric {
    /// What a judge calls it; copies are no score of a judge, who knows one side of the data alone.
    fn kind(self) -> Option<ScoreKind> {
        match self {
            Self::Fid => Some(ScoreKind::Fid),
            Self::Kid => Some(ScoreKind::Kid),
            Self::Is => Some(ScoreKind::Is),
            Self::Prdc => Some(ScoreKind::Prdc),
            Self::Swd => Some(ScoreKind::Swd),
            Self::Modes => Some(ScoreKind::Modes),
            Self::Copies => None,
        }
    }
}

/// The suites.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Suite {
    Modes,
}

/// Which real images serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Split {
    Train,
    Holdout,
}

/// What is scored where nobody chose: all that every feature space can.
const DEFAULT_METRICS: [Metric; 4] = [Metric::Fid, Metric::Kid, Metric::Prdc, Metric::Swd];
/// Images of each side where nobody chose.
const NUM: std::ops::RangeInclusive<usize> = 1000..=10_000;

/// Scores the images, and says against what.
pub(crate) fn run(arguments: &Arguments, screen: &Screen) -> anyhow::Result<ExitCode> {
    let device = Cpu::with_options(CpuOptions {
        threads: arguments.threads as usize,
        ..CpuOptions::default()
    })?;
    let Some(path) = &arguments.images else {
        return suite::run(arguments, &device, screen);
    };
    let (fakes, reals) = if let Some((translated, reals)) = translated::of_run(path, arguments, &device, screen)? {
        (Fakes::Translated(Box::new(translated)), reals)
    } else if arguments.paired {
        let (translated, reals) = translated::of_pairs(path, arguments, screen)?;
        (Fakes::Translated(Box::new(translated)), reals)
    } else {
        let fakes = Fakes::find(path, &device)?;
        let reals = Reals::open(arguments, path, &fakes, screen)?;
        (fakes, reals)
    };
    let num = arguments.num.map_or_else(
        || reals.images.len().clamp(*NUM.start(), *NUM.end()),
        |num| num as usize,
    );
    let fakes = fakes.open(reals.images.shape(), screen)?;
    let spaces = Spaces {
        arguments,
        reals: &reals,
        device: &device,
        screen,
    };
    let metrics = if arguments.metrics.is_empty() {
        &DEFAULT_METRICS[..]
    } else {
        &arguments.metrics
    };
    let wants_copies = metrics.contains(&Metric::Copies);
    let scores: Vec<ScoreKind> = metrics.iter().filter_map(|metric| metric.kind()).collect();
    let space = if wants_copies || scores.iter().any(|kind| kind.needs_features()) {
        spaces.choose()?
    } else {
        space::unused()
    };
    check_classes(metrics, &space)?;
    check_kept(arguments, &space)?;

    let options = JudgeOptions {
        scores,
        num,
        neighbors: arguments.k as usize,
        ..JudgeOptions::default()
    }
    .with_seed(arguments.seed);
    let resamples = options.resampling.num;
    let bar = progress::bar(screen, "real images", reals.images.len().min(num) as u64);
    let mut show = |done: usize| bar.set_position(done as u64);
    let judge = Judge::with_progress(space.space.clone(), reals.images.as_ref(), options, &device, &mut show)?;
    bar.finish_and_clear();
    screen.say(format!("real: {}", reals.describe(judge.num_real())));

    let (mut scores, num_fake) = fakes.score(&judge, num, arguments.seed, screen)?;
    if wants_copies {
        let eyes = Eyes {
            space: space.space.as_ref(),
            shape: judge.shape(),
            device: &device,
        };
        let images = fakes.images(num.min(copies::NUM), arguments.seed)?;
        scores.push(copies::score(&images, &reals, &eyes, screen)?);
    }
    let evaluation = Evaluation::new(
        (path, arguments.seed),
        &reals,
        &judge,
        &space,
        (scores, num_fake, resamples),
    );
    if arguments.json {
        screen::print_json(&evaluation)?;
    } else {
        screen::print(&text::harmless(&evaluation.table()))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Refuses scores of classes in a space without.
fn check_classes(metrics: &[Metric], space: &space::Chosen) -> anyhow::Result<()> {
    let mut kinds = metrics.iter().filter_map(|metric| metric.kind());
    let without = kinds.find(|kind| kind.needs_classes());
    match without {
        Some(kind) if space.space.num_classes().is_none() => Err(refuse(
            format!("{} needs a feature space with classes", kind.name()),
            "take --features classifier with labeled DATA, or effnet:FILE; or leave it out of --metrics",
        )),
        _ => Ok(()),
    }
}

/// Refuses to keep a classifier where none looks.
fn check_kept(arguments: &Arguments, space: &space::Chosen) -> anyhow::Result<()> {
    if arguments.keep_classifier.is_some() && space.classifier.is_none() {
        return Err(refuse(
            format!("no classifier to keep: {} ({})", space.space.name(), space.reason),
            "take --features classifier with labeled DATA, or leave --keep-classifier out",
        ));
    }
    Ok(())
}
