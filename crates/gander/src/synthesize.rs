//! Growing a labeled dataset: new images of each class, and whether they make a classifier better.
//!
//! The images are parted before anything learns ([`split`]); a class-conditional generator learns the training part, a
//! filter keeps what is surely of its class, no copy and no repeat, and the same classifier is taught real
//! images with and without them, with and without classical augmentation, to answer on the part that nothing learned
//! from ([`measure`]).
//!
//! | stage | learns from | may see held-out images |
//! |---|---|---|
//! | names of unlabeled images | [`split::TrainingSet`], [`split::Unlabeled`] | never: a [`split::Split`] leaves them out |
//! | networks that the generator begins from | other images; those of this set are refused | where nobody can tell: the user sees to it |
//! | generator, filter, classifiers | [`split::TrainingSet`] | never: their functions take nothing else |
//! | choice of the mix | answers of classifiers for a third of the held-out images | as answers |
//! | scores, verdict | answers for the other two thirds | as answers |
//!
//! # Source
//! Of what was published on the question: select images by the confidence of their label and their likeness to real ones
//! (Xue et al. 2019, <https://arxiv.org/abs/1912.03837>), and do not expect images of a GAN to stand for real ones (Ravuri
//! & Vinyals 2019, <https://arxiv.org/abs/1905.10887>).

mod classical;
mod classifier;
mod comparing;
mod consistency;
mod copies;
mod crew;
pub mod filter;
mod folder;
mod gallery;
mod generator;
pub mod measure;
pub mod naming;
mod origin;
mod planning;
mod running;
mod schedule;
pub mod split;
mod verdict;

use std::path::PathBuf;

use gander_data::Size;
use serde::Serialize;

pub use folder::{MANIFEST, REPORT};
pub(crate) use gallery::Gallery;
pub use planning::{Plan, plan};
pub use running::run;

use self::{
    filter::Counts,
    measure::{Difference, Mix, Scores, Tried},
    naming::Effort,
};
use crate::{error::Result, session::Length};

/// What a user asks for. What is `None` Gander chooses.
#[derive(Debug, Clone)]
pub struct Request {
    /// A labeled folder or archive, IDX or NPZ files.
    pub data: PathBuf,
    /// Where the images go; empty or absent.
    pub out: PathBuf,
    /// How many.
    pub amount: Amount,
    /// Wall time of everything, or thousands of images that each generator learns from.
    pub length: Length,
    /// Images without labels that may help: a folder, an archive, IDX or NPZ files.
    pub unlabeled: Option<PathBuf>,
    /// A run or a file of weights that the generator begins from.
    pub init: Option<PathBuf>,
    /// A run whose generator is taken.
    pub run: Option<PathBuf>,
    /// Images of each class that are learned from, as if there were no more.
    pub labeled: Option<usize>,
    /// Share to hold out, where the data brings no split of its own.
    pub holdout: Option<f64>,
    /// Sides of the images.
    pub size: Option<Size>,
    /// Whether to find out if the images help.
    pub measuring: Measuring,
    /// Images that each classifier sees; by the number of real ones, and by the time, if `None`.
    pub classifier_images: Option<u64>,
    /// Seed of everything random.
    pub seed: u64,
    /// Compute threads; 0 for one per core.
    pub threads: usize,
}

/// How many images of each class.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Amount {
    /// As many for each real one as measured best; one where nothing is measured.
    ForEachReal,
    /// So many of each class.
    PerClass(usize),
    /// As many as fill each class up to the largest.
    Balance,
}

/// Whether to find out if the images help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measuring {
    /// Hold images back, and compare.
    On,
    /// Learn from all of them.
    Off,
}

/// How far it is.
#[derive(Debug, Clone, PartialEq)]
pub struct Progress {
    /// What is being done.
    pub doing: String,
    /// The share of that which is done.
    pub done: f64,
}

/// Is told the share that is done, and stops the work with an error.
type Tell<'a> = dyn FnMut(f64) -> Result<()> + 'a;

/// What came of it.
#[derive(Debug, Clone, Serialize)]
pub struct Summary {
    /// The version of this format.
    pub version: u32,
    /// The answer in a sentence.
    pub verdict: String,
    /// Whether to use the images; `None` where it was not measured.
    #[serde(rename = "use")]
    pub is_use: Option<bool>,
    /// The folder of images.
    pub directory: PathBuf,
    /// The manifest.
    pub manifest: PathBuf,
    /// The report.
    pub report: PathBuf,
    /// What was made of each class.
    pub classes: Vec<ClassSummary>,
    /// Real images that were learned from in each draw, and held out.
    pub num_training: usize,
    /// Held-out images.
    pub num_held_out: usize,
    /// Thousands of images that the generator learned from.
    pub generator_kimg: f64,
    /// The run or file of weights that it began from.
    pub init: Option<PathBuf>,
    /// What came of the images without labels; `None` where none were given.
    pub unlabeled: Option<UnlabeledSummary>,
    /// Identical images with different labels, which were left out.
    pub conflicts: Vec<split::Conflict>,
    /// What was measured.
    pub measured: Option<Measured>,
    /// Wall time in all.
    pub seconds: f64,
    /// Seed of everything random.
    pub seed: u64,
}

/// What came of the images without labels, in the first draw.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct UnlabeledSummary {
    /// Where they are.
    pub path: PathBuf,
    /// Images that were left out, since they are held out.
    pub held_out: usize,
    /// Images that were asked about: new ones, and not too many.
    pub asked: usize,
    /// Images that were taken for one of the classes.
    pub named: usize,
    /// What was done for their names.
    pub effort: Effort,
    /// The share of the held-out images that the classifiers which named get right; `None` where none are held out.
    pub right: Option<f64>,
}

/// What was made of a class.
#[derive(Debug, Clone, Serialize)]
pub struct ClassSummary {
    /// Its name.
    pub class: String,
    /// Real images that were learned from.
    pub real: usize,
    /// Images without labels that were taken for this class, and learned from by the generator.
    pub named: usize,
    /// Images that were wanted.
    pub wanted: usize,
    /// Images that were written.
    pub written: usize,
    /// What the filter did, also with images for the measurement alone.
    pub filter: Counts,
}

/// What was measured.
#[derive(Debug, Clone, Serialize)]
pub struct Measured {
    /// What the trials differ in.
    pub trials_differ_in: Differing,
    /// Trials of each setting.
    pub trials: usize,
    /// Held-out images that the scores are of.
    pub num_images: usize,
    /// Which number decides.
    pub decided_by: &'static str,
    /// The best mix.
    pub mix: Mix,
    /// Whether images were mirrored by the classical augmentation.
    pub flip: bool,
    /// How far it moved them at most, as a share of the side.
    pub shift: f64,
    /// Images that each classifier saw.
    pub classifier_images: u64,
    /// The four settings.
    pub settings: Vec<Scores>,
    /// What each adds.
    pub differences: Vec<Difference>,
    /// The mixes that were tried.
    pub sweep: Vec<Tried>,
    /// Held-out images that the mix was chosen on; none of them is among those that the scores are of.
    pub num_images_for_choosing: usize,
}

/// What the trials differ in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Differing {
    /// Each has labeled images, a generator and a classifier of its own.
    Draws,
    /// All have the same images and generator, and a seed of their own for the classifier.
    Seeds,
}
