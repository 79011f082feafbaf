//! A whole run, from what a user asks for to the files it leaves.
//!
//! [`plan`] turns a request into settings and opened data without writing anything; [`train`] makes the run directory
//! and trains; [`resume`] goes on with one. What happens on the way is told as [`Event`]s.

use std::{
    path::{Path, PathBuf},
    sync::atomic::AtomicBool,
};

use gander_data::{Size, Skipped};
use gander_tensor::Precision;

use crate::{
    error::Result,
    events::Event,
    train::{RunConfig, fitting::MINUTES},
};

mod copies;
mod evaluation;
mod exhibit;
mod gamma;
mod planning;
mod rationale;
mod recording;
mod recovering;
mod running;
mod two_sets;
mod watching;

pub use gamma::{Trial, Verdict, search_gamma};
pub use planning::{
    ENOUGH_OF_A_CLASS, HeldOut, Planned, REQUESTED_MULTIPLE, check_size, held_out, plan, plan_again, plan_resume,
};
pub use running::train;

/// What a user asks for. What is `None` Gander chooses.
#[derive(Debug, Clone, Default)]
pub struct TrainRequest {
    /// Folders, archives, IDX or NPZ files; pottery if empty.
    pub sources: Vec<PathBuf>,
    /// One of [`crate::train::defaults::FAMILIES`].
    pub family: Option<String>,
    /// A named set of settings.
    pub preset: Option<String>,
    /// Sides of the images.
    pub size: Option<Size>,
    /// Whether the generator learns the classes. If `None` it does where its family can and each class has
    /// [`ENOUGH_OF_A_CLASS`] images.
    pub labels: Option<bool>,
    /// Share of images to hold out, where the data brings no split; 0 for none, and if `None` a few to watch the others by.
    pub holdout: Option<f64>,
    /// Length of the run.
    pub length: Option<Length>,
    /// Images in one update.
    pub batch: Option<usize>,
    /// Parts a batch is computed in.
    pub accumulate: Option<usize>,
    /// Weight of R1 at the start, and of R2 where the family has it.
    pub gamma: Option<f64>,
    /// Weights of another run to start from.
    pub init: Option<PathBuf>,
    /// Whether the run ends when its score no longer improves.
    pub stop_when_flat: bool,
    /// Seed of everything random.
    pub seed: Option<u64>,
    /// Where run directories are made; `runs` if `None`.
    pub out: Option<PathBuf>,
    /// Compute threads; 0 for one per core.
    pub threads: Option<usize>,
    /// Precision of multiplications; bf16 where the processor multiplies it faster if `None`.
    pub precision: Option<Precision>,
    /// Settings by their path in `config.toml`, such as `training.beta1` and `0.0`.
    pub set: Vec<(String, String)>,
}

impl TrainRequest {
    /// Whether Gander chooses the networks.
    fn leaves_family_open(&self) -> bool {
        self.family.is_none() && self.preset.is_none()
    }

    /// The minutes that the run is to fit, unless its length is in images.
    fn minutes(&self) -> Option<f64> {
        match self.length {
            Some(Length::Minutes(minutes)) => Some(minutes),
            None => Some(MINUTES),
            Some(Length::Kimg(_)) => None,
        }
    }
}

/// Length of a run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Length {
    /// Wall time, reading the data and writing the results included.
    Minutes(f64),
    /// Thousands of images shown to the discriminator.
    Kimg(f64),
}

/// The best moment of a run by its own score.
#[derive(Debug, Clone, PartialEq)]
pub struct BestGenerator {
    /// The generator file.
    pub path: PathBuf,
    /// The score, such as `fid1k_pixels`.
    pub score: String,
    /// Its value.
    pub value: f64,
    /// Images shown to the discriminator by then.
    pub images_seen: u64,
}

/// What came of a run.
#[derive(Debug, Clone)]
pub struct RunSummary {
    /// The run directory.
    pub directory: PathBuf,
    /// The generator file.
    pub generator: PathBuf,
    /// The report.
    pub report: PathBuf,
    /// The newest picture of samples.
    pub samples: PathBuf,
    /// The best generator by the run's own score, where it was judged.
    pub best: Option<BestGenerator>,
    /// Images shown to the discriminator.
    pub images_seen: u64,
    /// Seconds of training.
    pub seconds: f64,
    /// Whether the generator makes images from images.
    pub translates: bool,
    /// Whether the plan was fulfilled; otherwise somebody stopped it and it can be resumed.
    pub finished: bool,
}

/// Goes on with a run as if nothing had happened.
///
/// `length` gives the run a new length; as before if `None`.
pub fn resume(
    directory: &Path,
    length: Option<Length>,
    threads: Option<usize>,
    listen: &mut dyn FnMut(&Event),
    stop: &AtomicBool,
) -> Result<RunSummary> {
    train(plan_resume(directory, length, threads)?, listen, stop)
}

/// The settings of a run and the files that could not be read, before anything is written.
impl Planned {
    /// Files that were left out, with the reason.
    pub fn skipped(&self) -> &[Skipped] {
        &self.skipped
    }

    /// The settings.
    pub fn config(&self) -> &RunConfig {
        &self.config
    }
}
