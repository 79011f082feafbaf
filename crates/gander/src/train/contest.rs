//! What a family brings to a run: its networks, their optimizers and its step.
//!
//! The trainer, the budget, resuming, the run directory and the report know a family by [`Contest`] alone.

use std::fmt::Debug;

use gander_nn::{Parameters, optim::Adam};
use gander_tensor::DeviceRef;

use super::{
    config::{RunConfig, TrainingConfig},
    duel::Duel,
    state::Progress,
    steps::{Batch, Scalars},
};
use crate::{error::Result, models::Generator};

/// The networks of a run with their optimizers, and how they take a step.
pub trait Contest: Debug + Send {
    /// Everything that owns named tensors, in the order of the saved file: networks, averages, and what else is kept
    /// from step to step.
    fn tensors(&self) -> Vec<(&'static str, &Parameters)>;

    /// The optimizers by name.
    fn optimizers(&self) -> Vec<(&'static str, &Adam)>;

    /// The optimizers by name, to be filled from a file.
    fn optimizers_mut(&mut self) -> Vec<(&'static str, &mut Adam)>;

    /// Those networks of [`Self::tensors`] that judge images and are of no use after the training.
    fn judges(&self) -> Vec<&Parameters>;

    /// One step: the updates of all networks once around.
    ///
    /// It counts [`Progress::images_seen`] itself, and takes its random keys from [`Progress::next_key`].
    fn step(&mut self, turn: Turn<'_>) -> Result<Scalars>;

    /// The generator and discriminator, where it is a contest of two over images from latents.
    fn as_duel(&self) -> Option<&Duel> {
        None
    }

    /// What the run is for: pictures of progress show it, and the file that a run ends in holds it.
    fn product(&self) -> Product<'_>;
}

/// What a contest takes its step with.
pub struct Turn<'a> {
    /// The numbers that change.
    pub progress: &'a mut Progress,
    /// The plan.
    pub training: &'a TrainingConfig,
    /// Brings real images, in as many parts as it is asked for.
    pub next_batch: &'a mut dyn FnMut(&mut Progress, usize) -> Result<Vec<Batch>>,
}

/// What comes out of a run.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Product<'a> {
    /// A network that makes images from latents.
    Generator(&'a dyn Generator),
}

impl Product<'_> {
    /// The named tensors to ship.
    pub fn parameters(&self) -> &Parameters {
        match self {
            Self::Generator(generator) => generator.parameters(),
        }
    }
}

/// The contest of a run's family, with fresh networks.
pub fn new(config: &RunConfig, device: &DeviceRef) -> Result<Box<dyn Contest>> {
    Ok(Box::new(Duel::new(config, device)?))
}
