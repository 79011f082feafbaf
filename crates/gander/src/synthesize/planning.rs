//! From what a user asks for to parted images, before anything is trained or written.

use std::{
    path::{Path, PathBuf},
    time::Instant,
};

use gander_data::{Channels, Dataset, ImageShape, Labels, OpenOptions, Opened, Size, Skipped};
use gander_tensor::{Cpu, CpuOptions, DeviceRef, Isa, RandomKey};

use super::{
    Amount, Differing, Measuring, Request,
    classifier::{Pace, ResNet},
    crew::Crew,
    folder,
    origin::{Origin, wrong_shape},
    schedule,
    split::{Part, Split, SplitOptions, TrainingSet, Unlabeled},
};
use crate::{
    error::{Error, Result},
    run::{self, RunDirectory},
    session::Length,
    shipped::ShippedGenerator,
    train::checkpoint,
};

/// Share that is held out where nobody says otherwise.
const HOLDOUT: f64 = 0.2;
/// Trials where each has labeled images of its own, and where they differ in seeds alone.
const DRAWS: usize = 10;
const SEEDS: usize = 5;
/// A class is large enough for draws of a number of labels if it has so many times as many.
const LARGE_ENOUGH: usize = 2;

/// Parted images and what was asked for, before anything is trained or written.
#[derive(Debug)]
pub struct Plan {
    pub(super) request: Request,
    pub(super) split: Split,
    /// The labeled images of each draw.
    pub(super) draws: Vec<TrainingSet>,
    /// Images without labels.
    pub(super) unlabeled: Option<Unlabeled>,
    /// Images that each classifier sees.
    pub(super) classifier_images: u64,
    /// How long they take, where the clock decides.
    pub(super) pace: Option<Pace>,
    pub(super) differing: Differing,
    pub(super) trials: usize,
    pub(super) dataset: String,
    /// Networks that the generator begins from.
    pub(super) origin: Option<Origin>,
    /// The generator that was asked for, and its name.
    pub(super) given: Option<(ShippedGenerator, String)>,
    /// All threads at one piece of work, and at several.
    pub(super) device: DeviceRef,
    pub(super) crew: Crew,
    pub(super) skipped: Vec<Skipped>,
    pub(super) started: Instant,
}

impl Plan {
    /// Files that were left out of the data, with the reason.
    pub fn skipped(&self) -> &[Skipped] {
        &self.skipped
    }

    /// What is about to be done, in a line.
    pub fn introduction(&self) -> String {
        let real = self.draws[0].images();
        let held_out = self.split.held_out();
        let held_out = held_out.len(Part::Choosing) + held_out.len(Part::Measuring);
        let trials = match (self.request.measuring, self.differing) {
            (Measuring::Off, _) => String::from("nothing is measured"),
            (_, Differing::Draws) => format!("{held_out} held out, {} draws", self.trials),
            (_, Differing::Seeds) => format!("{held_out} held out, {} seeds", self.trials),
        };
        let unlabeled = self
            .unlabeled
            .as_ref()
            .map_or_else(String::new, |unlabeled| format!(", {} without labels", unlabeled.len()));
        format!(
            "growing {}: {} images of {} in {} classes{unlabeled}, {trials}",
            self.dataset,
            real.len(),
            real.shape(),
            real.classes().len()
        )
    }

    /// The images without labels, where some were given.
    pub fn unlabeled(&self) -> Option<&Unlabeled> {
        self.unlabeled.as_ref()
    }

    /// The parted images.
    pub fn split(&self) -> &Split {
        &self.split
    }
}

/// Opens and parts the images.
///
/// # Errors
/// Those of [`gander_data::open`] and [`Split::new`]; [`Error::NothingToBalance`], [`Error::Occupied`],
/// [`Error::UnfitRun`].
pub fn plan(request: Request) -> Result<Plan> {
    let started = Instant::now();
    for data in std::iter::once(&request.data).chain(&request.unlabeled) {
        folder::check(&request.out, data)?;
    }
    // Better now than after hours.
    run::check_writable(&request.out)?;
    let processor = CpuOptions {
        threads: request.threads,
        precision: Isa::detect().fastest_precision(),
        ..CpuOptions::default()
    };
    let (device, crew) = (Cpu::with_options(processor)?, Crew::new(processor));
    let own = OpenOptions {
        size: request.size,
        labels: Labels::Require,
        threads: request.threads,
        ..OpenOptions::default()
    };
    let taken = request
        .run
        .as_deref()
        .map(|run| Taken::read(run, &device))
        .transpose()?;
    let options = taken.as_ref().and_then(|taken| taken.options.clone()).unwrap_or(own);
    let Opened {
        train,
        holdout,
        mut skipped,
        ..
    } = gander_data::open(std::slice::from_ref(&request.data), &options)?;
    let is_measured = request.measuring == Measuring::On;
    let origin = request.init.as_deref();
    let origin = origin
        .map(|path| Origin::read(path, train.shape(), &device))
        .transpose()?;
    if let Some(origin) = &origin {
        origin.check(&request.data, train.as_ref(), request.measuring)?;
    }
    if let Some(taken) = &taken {
        taken.check(train.as_ref(), holdout.as_deref(), request.measuring)?;
    }
    let share = match (request.measuring, &taken) {
        (Measuring::On, None) => request.holdout.unwrap_or(HOLDOUT),
        _ => 0.0,
    };
    let split = Split::new(
        train.as_ref(),
        holdout.as_deref().filter(|_| is_measured),
        SplitOptions {
            share,
            seed: request.seed,
        },
    )?;
    let unlabeled = match &request.unlabeled {
        Some(path) => {
            let opened = open_alike(path, train.shape(), &options)?;
            skipped.extend(opened.skipped);
            Some(split.unlabeled(opened.train.as_ref())?)
        }
        None => None,
    };
    let (differing, draws) = draws(&split, &request)?;
    if request.amount == Amount::Balance {
        check_balance(&draws[0])?;
    }
    let pace = match (request.classifier_images, request.length) {
        (None, Length::Minutes(_)) => Some(ResNet::pace(&draws[0], &device, crew)?),
        _ => None,
    };
    let classifier_images = request.classifier_images.unwrap_or_else(|| {
        let usual = ResNet::usual_images(draws[0].images().len());
        let (Some(pace), Length::Minutes(minutes)) = (pace, request.length) else {
            return usual;
        };
        let held_out = split.held_out().len(Part::Choosing) + split.held_out().len(Part::Measuring);
        let share = schedule::measuring_share(&request, taken.is_some());
        schedule::classifier_images((minutes, share), (usual, held_out), crew, pace)
    });
    let name = request.data.canonicalize().unwrap_or_else(|_| request.data.clone());
    let name = name.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok(Plan {
        split,
        trials: if differing == Differing::Draws {
            draws.len()
        } else {
            SEEDS
        },
        draws,
        unlabeled,
        classifier_images,
        pace,
        differing,
        dataset: name.split('.').next().unwrap_or("data").to_owned(),
        origin,
        given: taken.map(|taken| (taken.generator, taken.name)),
        device,
        crew,
        skipped,
        started,
        request,
    })
}

/// Opens images without regard to labels and brings them to the shape of others.
fn open_alike(path: &Path, shape: ImageShape, options: &OpenOptions) -> Result<Opened> {
    let options = OpenOptions {
        size: Some(Size {
            width_px: shape.width_px,
            height_px: shape.height_px,
        }),
        channels: match shape.channels {
            1 => Some(Channels::Gray),
            3 => Some(Channels::Rgb),
            4 => Some(Channels::Rgba),
            _ => None,
        },
        labels: Labels::Ignore,
        holdout: None,
        min_images: 1,
        ..options.clone()
    };
    Ok(gander_data::open(std::slice::from_ref(&path.to_owned()), &options)?)
}

/// Ten draws of the labeled images where there are enough to draw from, else all of them once.
fn draws(split: &Split, request: &Request) -> Result<(Differing, Vec<TrainingSet>)> {
    let training = split.training();
    let Some(labeled) = request.labeled else {
        return Ok((Differing::Seeds, vec![training.clone()]));
    };
    let draw = |draw: u64| {
        let key = RandomKey::from_seed(request.seed).named("labeled").split(draw);
        training.subset(labeled, key)
    };
    let fewest = training
        .of_class()
        .iter()
        .map(Vec::len)
        .filter(|&count| count > 0)
        .min();
    if request.measuring == Measuring::Off || fewest.unwrap_or(0) < LARGE_ENOUGH * labeled {
        return Ok((Differing::Seeds, vec![draw(0)?]));
    }
    let all: Result<Vec<TrainingSet>> = (0..DRAWS as u64).map(draw).collect();
    Ok((Differing::Draws, all?))
}

fn check_balance(training: &TrainingSet) -> Result<()> {
    let counts = training.counts();
    match (counts.iter().min(), counts.iter().max()) {
        (Some(least), Some(most)) if least < most => Ok(()),
        (_, most) => Err(Error::NothingToBalance {
            each: most.copied().unwrap_or(0),
        }),
    }
}

/// A generator from elsewhere, and how its run read its images.
struct Taken {
    generator: ShippedGenerator,
    name: String,
    /// How the images were read and parted, and their fingerprint; a generator file alone does not know.
    options: Option<OpenOptions>,
    fingerprint: Option<String>,
    path: PathBuf,
}

impl Taken {
    fn read(path: &Path, device: &DeviceRef) -> Result<Self> {
        let generator = ShippedGenerator::load(path, device)?;
        let header = if path.is_dir() {
            let newest = RunDirectory::open(path)?.checkpoints()?.pop();
            newest.map(|entry| checkpoint::load_header(&entry.path)).transpose()?
        } else {
            None
        };
        let (options, fingerprint) = header
            .map(|header| {
                let options = OpenOptions {
                    labels: Labels::Require,
                    ..header.config.data.open
                };
                (options, header.data_fingerprint)
            })
            .unzip();
        Ok(Self {
            generator,
            name: path.display().to_string(),
            options,
            fingerprint,
            path: path.to_owned(),
        })
    }

    /// Refuses a generator that does not know the classes, or that may have seen what it would be measured on.
    fn check(&self, train: &dyn Dataset, holdout: Option<&dyn Dataset>, measuring: Measuring) -> Result<()> {
        let unfit = |reason: String| {
            Err(Error::UnfitRun {
                path: self.path.clone(),
                reason,
            })
        };
        let (header, images) = (&self.generator.header, self.generator.header.model.images());
        if header.classes.is_empty() {
            return unfit("it was trained without classes".into());
        }
        if header.classes != train.classes() {
            return unfit(format!("its classes are {}", header.classes.join(", ")));
        }
        if let Some(reason) = wrong_shape(images, train.shape()) {
            return unfit(reason);
        }
        if measuring == Measuring::Off {
            return Ok(());
        }
        match &self.fingerprint {
            None => unfit("a generator file does not say which images it has seen".into()),
            Some(seen) if *seen != train.fingerprint() => unfit("it has seen other images than these".into()),
            Some(_) if holdout.is_none() => unfit("it has seen all images, none is left to measure on".into()),
            Some(_) => Ok(()),
        }
    }
}
