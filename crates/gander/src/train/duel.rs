//! One generator against one discriminator: the contest of every family that makes images from latents.

use gander_nn::{Parameters, optim::Adam};
use gander_tensor::{DeviceRef, RandomKey};

use super::{
    config::{RunConfig, TrainingConfig},
    contest::{Contest, Product, Turn},
    state::Progress,
    steps::{self, Scalars},
};
use crate::{
    error::Result,
    models::{Discriminator, Generator},
};

/// A generator and a discriminator with their optimizers, and the generator's moving average.
#[derive(Debug)]
pub struct Duel {
    /// Makes images.
    pub generator: Box<dyn Generator>,
    /// Judges them.
    pub discriminator: Box<dyn Discriminator>,
    /// The moving average of the generator, which is what gets shipped.
    pub ema_generator: Box<dyn Generator>,
    /// Adam for the generator.
    pub generator_optimizer: Adam,
    /// Adam for the discriminator.
    pub discriminator_optimizer: Adam,
}

impl Duel {
    /// Fresh networks.
    ///
    /// # Errors
    /// [`crate::Error::Translates`] for a family that makes images from images.
    pub fn new(config: &RunConfig, device: &DeviceRef) -> Result<Self> {
        let key = RandomKey::from_seed(config.seed);
        let generator = config.model.generator(key, device)?;
        let discriminator = config.model.discriminator(key, device)?;
        let ema_generator = config.model.generator(key, device)?;
        ema_generator.parameters().copy_from(generator.parameters())?;
        let adam = Progress::new(config.seed).adam(&config.training);
        Ok(Self {
            generator_optimizer: Adam::new(adam, generator.parameters())?,
            discriminator_optimizer: Adam::new(adam, discriminator.parameters())?,
            generator,
            discriminator,
            ema_generator,
        })
    }
}

impl Contest for Duel {
    fn tensors(&self) -> Vec<(&'static str, &Parameters)> {
        vec![
            ("generator", self.generator.parameters()),
            ("discriminator", self.discriminator.parameters()),
            ("ema_generator", self.ema_generator.parameters()),
        ]
    }

    fn optimizers(&self) -> Vec<(&'static str, &Adam)> {
        vec![
            ("generator_optimizer", &self.generator_optimizer),
            ("discriminator_optimizer", &self.discriminator_optimizer),
        ]
    }

    fn optimizers_mut(&mut self) -> Vec<(&'static str, &mut Adam)> {
        vec![
            ("generator_optimizer", &mut self.generator_optimizer),
            ("discriminator_optimizer", &mut self.discriminator_optimizer),
        ]
    }

    fn judges(&self) -> Vec<&Parameters> {
        vec![self.discriminator.parameters()]
    }

    fn loss_of_guessing(&self, training: &TrainingConfig) -> Option<f64> {
        training.loss.of_guessing()
    }

    fn step(&mut self, turn: Turn<'_>) -> Result<Scalars> {
        steps::step(self, turn)
    }

    fn as_duel(&self) -> Option<&Duel> {
        Some(self)
    }

    fn product(&self) -> Product<'_> {
        Product::Generator(self.ema_generator.as_ref())
    }
}
