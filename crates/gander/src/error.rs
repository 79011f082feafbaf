//! What can go wrong in this crate.

use std::path::PathBuf;

/// The result of this crate's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong in this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The engine refused.
    #[error(transparent)]
    Tensor(#[from] gander_tensor::Error),
    /// The data could not be read.
    #[error(transparent)]
    Data(#[from] gander_data::Error),
    /// A file of weights could not be read or written.
    #[error(transparent)]
    Formats(#[from] gander_formats::Error),
    /// A file could not be read or written.
    #[error("cannot {action} {path}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// Where.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// A value that is not a number, or not a finite one, came up in training.
    #[error("{tensor} is not finite after {images_seen} images")]
    NonFinite {
        /// The tensor.
        tensor: String,
        /// When.
        images_seen: u64,
    },
    /// A logit or a loss that no contest comes back from.
    #[error("training diverged after {images_seen} images: {name} is {value:.1e}")]
    Diverged {
        /// The number.
        name: String,
        /// Its value.
        value: f64,
        /// When.
        images_seen: u64,
    },
    /// A setting is out of its range.
    #[error("{setting} out of range: {value}")]
    InvalidSetting {
        /// Its name in `config.toml`.
        setting: &'static str,
        /// Its value.
        value: String,
    },
    /// A family cannot make images of this size.
    #[error("{family} cannot make images of {width_px}x{height_px}: {reason}")]
    UnsupportedSize {
        /// The family.
        family: &'static str,
        /// Columns.
        width_px: usize,
        /// Rows.
        height_px: usize,
        /// What it can make.
        reason: String,
    },
    /// Images from latents were asked of a family that makes them from images.
    #[error("{family} translates images and makes none from latents")]
    Translates {
        /// The family.
        family: &'static str,
    },
    /// A translation was asked of a family that makes images from latents.
    #[error("{family} makes images from latents and translates none")]
    MakesFromLatents {
        /// The family.
        family: &'static str,
    },
    /// The way back was asked of a family that learns only the one.
    #[error("{family} translates from A to B only")]
    OneWay {
        /// The family.
        family: &'static str,
    },
    /// A file lacks a tensor.
    #[error("missing tensor: {name}")]
    MissingTensor {
        /// Its name.
        name: String,
    },
    /// A tensor has another shape than the model's.
    #[error("`{name}` has shape {got:?}, the model expects {expected:?}")]
    WrongShape {
        /// Its name.
        name: String,
        /// The file's.
        got: Vec<usize>,
        /// The model's.
        expected: Vec<usize>,
    },
    /// A file is not one of Gander's.
    #[error("{path} is not a {expected} of Gander: {reason}")]
    NotOurs {
        /// The file.
        path: PathBuf,
        /// What it should be.
        expected: &'static str,
        /// Why it is not.
        reason: String,
    },
    /// A file is of a version that this program does not read.
    #[error("{path} has version {got}, this program reads version {expected}")]
    Version {
        /// The file.
        path: PathBuf,
        /// The file's version.
        got: u64,
        /// This program's.
        expected: u32,
    },
    /// A run directory has no checkpoint to resume from.
    #[error("no checkpoint in {path}")]
    NoCheckpoint {
        /// The run.
        path: PathBuf,
    },
    /// No checkpoint of a run could be read.
    #[error("no readable checkpoint in {path}; the newest: {newest}")]
    NoReadableCheckpoint {
        /// The run.
        path: PathBuf,
        /// What is wrong with the newest.
        newest: String,
    },
    /// The data of a resumed run is not what it was.
    #[error("the data has changed since the run began: {was} then, {is} now")]
    DataChanged {
        /// The fingerprint in the checkpoint.
        was: String,
        /// The fingerprint now.
        is: String,
    },
    /// A run is to become shorter than it is.
    #[error("the run has seen {:.1} kimg, and is to end at {kimg}", *images_seen as f64 / 1000.0)]
    AlreadyLonger {
        /// Images that it has seen.
        images_seen: u64,
        /// The length that was asked for, in thousands of images.
        kimg: f64,
    },
    /// There is no class of this name.
    #[error("no class named {name}")]
    UnknownClass {
        /// The name.
        name: String,
        /// The classes there are.
        classes: Vec<String>,
    },
    /// Another process trains in this run directory.
    #[error("{path} is in use by process {pid}")]
    RunInUse {
        /// The run.
        path: PathBuf,
        /// The other process.
        pid: u32,
    },
    /// A score needs more images.
    #[error("{score} needs {needed} images on each side: {got}")]
    TooFewImages {
        /// The score.
        score: &'static str,
        /// How many it needs.
        needed: usize,
        /// How many there are.
        got: usize,
    },
    /// Features of another length than those they are compared with.
    #[error("features are {got} long, expected {expected}")]
    UnlikeFeatures {
        /// The length there should be.
        expected: usize,
        /// The length there is.
        got: usize,
    },
    /// Images of another shape than those they are compared with.
    #[error("images are {got}, expected {expected}")]
    UnlikeImages {
        /// What they should be.
        expected: String,
        /// What they are.
        got: String,
    },
    /// A feature that is not a finite number.
    #[error("a feature is not finite, of image {row}")]
    NonFiniteFeatures {
        /// The image, counted from 0.
        row: usize,
    },
    /// The decomposition of a covariance did not converge.
    #[error("no eigenvalues found of a matrix with {side} rows")]
    NoEigenvalues {
        /// Its rows.
        side: usize,
    },
    /// A feature space that is made from labels, and images without.
    #[error("the feature space needs labels: {space}")]
    Unlabeled {
        /// The space.
        space: &'static str,
    },
    /// A score that needs classes, and a feature space without.
    #[error("the score needs a feature space with classes: {score}")]
    Classless {
        /// The score.
        score: &'static str,
    },
    /// Images that are no single digits.
    #[error("digits to stack are gray images of ten classes, not {shape} of {classes}")]
    NotDigits {
        /// Their shape.
        shape: gander_data::ImageShape,
        /// Their classes.
        classes: usize,
    },
    /// A file of weights holds another network.
    #[error("{path} does not hold {expected}: {reason}")]
    WrongNetwork {
        /// The file.
        path: PathBuf,
        /// What it should hold.
        expected: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// Images of one class alone, where there is nothing to tell apart.
    #[error("one class alone, nothing to tell apart: {}", classes.join(", "))]
    OneClass {
        /// Its name.
        classes: Vec<String>,
    },
    /// A class with too few different images to learn from some and measure on others.
    #[error("the class {class} has too few images to split, {needed} at least: {got}")]
    SmallClass {
        /// Its name.
        class: String,
        /// Images that it has.
        got: usize,
        /// Images that it needs.
        needed: usize,
    },
    /// No class is rarer than another.
    #[error("nothing to balance, the images of each class are: {each}")]
    NothingToBalance {
        /// Images of each class.
        each: usize,
    },
    /// A folder that cannot be written to without mixing things up.
    #[error("cannot write images to {path}: {reason}")]
    Occupied {
        /// The folder.
        path: PathBuf,
        /// What is in the way.
        reason: &'static str,
    },
    /// Data that holds synthetic images already, which would be measured on as if they were real.
    #[error("{path} holds images that synthesize made: there is a {manifest} in it", path = path.display())]
    Grown {
        /// The data.
        path: PathBuf,
        /// The list of those images.
        manifest: &'static str,
    },
    /// A run whose generator does not serve.
    #[error("the generator of {path} does not serve here: {reason}")]
    UnfitRun {
        /// The run.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// Networks that a generator cannot begin from.
    #[error("a generator for these images cannot begin from {path}: {reason}", path = path.display())]
    UnfitOrigin {
        /// The run or file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// Somebody asked to stop.
    #[error("stopped on request")]
    Stopped,
    /// A settings file or a `key=value` does not say something that a run can be made of.
    #[error("invalid settings: {reason}")]
    InvalidConfig {
        /// What is wrong.
        reason: String,
    },
}

/// An error and its causes in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    std::iter::successors(Some(error), |error| error.source())
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}
