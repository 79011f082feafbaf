//! What a family brings to a run: its networks, their optimizers and its step.
//!
//! The trainer, the budget, resuming, the run directory and the report know a family by [`Contest`] alone.

use std::fmt::Debug;

use gander_nn::{Parameters, optim::Adam};
use gander_tensor::{DeviceRef, RandomKey};

use super::{
    config::{RunConfig, TrainingConfig},
    duel::Duel,
    state::Progress,
    steps::{Batch, Scalars},
};
use crate::{
    error::Result,
    models::{Generator, ModelConfig, translator::Translator},
    translation::{contrast::ContrastState, cycle::CycleState, pairs::PairState},
};

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

    /// What a discriminator that only guesses scores as `discriminator_loss`; `None` where no number says that it guesses.
    fn loss_of_guessing(&self, training: &TrainingConfig) -> Option<f64>;

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
    /// Networks that make images from images.
    Translators {
        /// From A to B.
        to_b: &'a dyn Translator,
        /// From B to A, where the family learns the way back.
        to_a: Option<&'a dyn Translator>,
    },
}

impl Product<'_> {
    /// The networks to ship, each with what its tensors' names begin with.
    pub fn networks(&self) -> Vec<(&'static str, &Parameters)> {
        match self {
            Self::Generator(generator) => vec![("", generator.parameters())],
            Self::Translators { to_b, to_a } => {
                let back = to_a.map(|to_a| ("to_a.", to_a.parameters()));
                std::iter::once(("to_b.", to_b.parameters())).chain(back).collect()
            }
        }
    }

    /// The network that makes images from latents, if that is what comes out.
    pub fn generator(&self) -> Option<&dyn Generator> {
        match self {
            Self::Generator(generator) => Some(*generator),
            Self::Translators { .. } => None,
        }
    }

    /// Learned values of all networks to ship.
    pub fn num_weights(&self) -> usize {
        self.networks()
            .iter()
            .map(|(_, parameters)| parameters.num_weights())
            .sum()
    }
}

/// The contest of a run's family, with fresh networks.
pub fn new(config: &RunConfig, device: &DeviceRef) -> Result<Box<dyn Contest>> {
    let key = RandomKey::from_seed(config.seed);
    let adam = Progress::new(config.seed).adam(&config.training);
    Ok(match &config.model {
        ModelConfig::Cyclegan(model) => Box::new(CycleState::new(model, key, adam, device)?),
        ModelConfig::Pix2pix(model) => Box::new(PairState::new(model, key, adam, device)?),
        ModelConfig::Cut(model) | ModelConfig::Fastcut(model) => {
            Box::new(ContrastState::cut(model, key, adam, device)?)
        }
        ModelConfig::Sincut(model) => Box::new(ContrastState::sincut(model, key, adam, device)?),
        _ => Box::new(Duel::new(config, device)?),
    })
}
