//! Everything of a run that changes.

use std::collections::BTreeMap;

use gander_data::Sampler;
use gander_nn::{
    Parameters,
    optim::{Adam, AdamConfig},
};
use gander_tensor::{DeviceRef, RandomKey, RandomState, Tensor};
use serde::{Deserialize, Serialize};

use super::config::{RunConfig, TrainingConfig};
use crate::{
    error::{Error, Result},
    models::{Discriminator, Generator, ModelConfig},
};

/// Everything of a run that changes: saved and loaded, it gives the next step bit for bit.
#[derive(Debug)]
pub struct TrainState {
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
    /// What is left to count.
    pub progress: Progress,
}

/// The numbers that change beside the tensors.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// Real images that the discriminator was shown.
    pub images_seen: u64,
    /// Steps taken.
    pub steps: u64,
    /// Seconds of training so far.
    pub seconds: f64,
    /// Seed of the random state.
    pub seed: u64,
    /// Keys that the random state gave out.
    pub random_drawn: u64,
    /// Images drawn from the dataset.
    pub sampler_position: u64,
    /// Corrections that the run made to its own plan.
    pub corrections: Vec<PlanCorrection>,
}

/// A correction that a run made to its own plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlanCorrection {
    /// When, in images seen.
    pub images_seen: u64,
    /// The new length of the run.
    pub total_kimg: f64,
    /// The new length of the burn-in.
    pub burn_in_kimg: f64,
}

impl Progress {
    /// The next random key.
    pub fn next_key(&mut self) -> RandomKey {
        let mut random = RandomState {
            seed: self.seed,
            drawn: self.random_drawn,
        };
        let key = random.next_key();
        self.random_drawn = random.drawn;
        key
    }

    /// The length of the run and of its burn-in, in images, after all corrections.
    pub fn plan(&self, training: &TrainingConfig) -> (u64, f64) {
        let (total, burn_in) = self
            .corrections
            .last()
            .map_or((training.total_kimg, training.burn_in_kimg), |c| {
                (c.total_kimg, c.burn_in_kimg)
            });
        ((total * 1000.0).round() as u64, burn_in * 1000.0)
    }

    /// Gives the run a new length; the burn-in stays what it was.
    pub fn extend(&mut self, training: &TrainingConfig, total_kimg: f64) {
        let burn_in_kimg = self.plan(training).1 / 1000.0;
        self.corrections.push(PlanCorrection {
            images_seen: self.images_seen,
            total_kimg,
            burn_in_kimg,
        });
    }

    /// The share of the burn-in that is behind the run.
    pub fn burn_in_share(&self, training: &TrainingConfig) -> f64 {
        let (_, burn_in) = self.plan(training);
        if burn_in > 0.0 {
            self.images_seen as f64 / burn_in
        } else {
            1.0
        }
    }
}

/// The five things that own named tensors, in the order of the saved file.
const PARTS: [&str; 5] = [
    "generator",
    "discriminator",
    "ema_generator",
    "generator_optimizer",
    "discriminator_optimizer",
];

/// The numbers of an optimizer beside its tensors.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct OptimizerCounters {
    steps: u64,
    /// As bits, since a decimal text might not come back to the same number.
    decays: [u64; 2],
}

impl OptimizerCounters {
    fn of(optimizer: &Adam) -> Self {
        let (steps, decays) = optimizer.counters();
        Self {
            steps,
            decays: decays.map(f64::to_bits),
        }
    }
}

/// What [`TrainState::to_saved`] gives beside the tensors.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SavedNumbers {
    /// The numbers of the run.
    pub progress: Progress,
    /// The numbers of the generator's optimizer.
    pub generator_optimizer: OptimizerCounters,
    /// The numbers of the discriminator's optimizer.
    pub discriminator_optimizer: OptimizerCounters,
}

impl TrainState {
    /// The state before the first step.
    pub fn new(config: &RunConfig, device: &DeviceRef) -> Result<Self> {
        let ModelPair {
            generator,
            discriminator,
        } = ModelPair::new(&config.model, config.seed, device)?;
        let ema_generator = config.model.generator(RandomKey::from_seed(config.seed), device)?;
        ema_generator.parameters().copy_from(generator.parameters())?;
        let adam = adam_config(&config.training, 0.0);
        Ok(Self {
            generator_optimizer: Adam::new(adam, generator.parameters())?,
            discriminator_optimizer: Adam::new(adam, discriminator.parameters())?,
            generator,
            discriminator,
            ema_generator,
            progress: Progress {
                images_seen: 0,
                steps: 0,
                seconds: 0.0,
                seed: config.seed,
                random_drawn: 0,
                sampler_position: 0,
                corrections: Vec::new(),
            },
        })
    }

    /// Every tensor by name, and the numbers beside them.
    pub fn to_saved(&self) -> (BTreeMap<String, Tensor>, SavedNumbers) {
        let networks = [
            self.generator.parameters(),
            self.discriminator.parameters(),
            self.ema_generator.parameters(),
        ];
        let optimizers = [&self.generator_optimizer, &self.discriminator_optimizer];
        let maps = networks
            .map(Parameters::to_map)
            .into_iter()
            .chain(optimizers.map(Adam::to_map));
        let tensors = PARTS
            .iter()
            .zip(maps)
            .flat_map(|(part, map)| {
                map.into_iter()
                    .map(move |(name, tensor)| (format!("{part}.{name}"), tensor))
            })
            .collect();
        let numbers = SavedNumbers {
            progress: self.progress.clone(),
            generator_optimizer: OptimizerCounters::of(&self.generator_optimizer),
            discriminator_optimizer: OptimizerCounters::of(&self.discriminator_optimizer),
        };
        (tensors, numbers)
    }

    /// Puts a saved state back.
    ///
    /// # Errors
    /// [`Error::MissingTensor`] or [`Error::WrongShape`] with the tensor's name.
    pub fn restore(&mut self, tensors: &BTreeMap<String, Tensor>, numbers: SavedNumbers) -> Result<()> {
        let networks = [
            self.generator.parameters(),
            self.discriminator.parameters(),
            self.ema_generator.parameters(),
        ];
        for (part, parameters) in PARTS.iter().zip(networks) {
            load_parameters(parameters, part, tensors)?;
        }
        let optimizers = [
            (&mut self.generator_optimizer, numbers.generator_optimizer),
            (&mut self.discriminator_optimizer, numbers.discriminator_optimizer),
        ];
        for (part, (optimizer, counters)) in PARTS[3..].iter().zip(optimizers) {
            let own: BTreeMap<String, Tensor> = tensors
                .iter()
                .filter_map(|(name, tensor)| Some((strip(name, part)?.to_owned(), tensor.clone())))
                .collect();
            optimizer.restore(&own, (counters.steps, counters.decays.map(f64::from_bits)))?;
        }
        self.progress = numbers.progress;
        Ok(())
    }

    /// The sampler at the run's position.
    pub fn sampler(&self, len: usize) -> Sampler {
        Sampler {
            position: self.progress.sampler_position,
            ..Sampler::new(self.progress.seed, len)
        }
    }
}

fn strip<'a>(name: &'a str, part: &str) -> Option<&'a str> {
    name.strip_prefix(part)?.strip_prefix('.')
}

/// Fills a network from tensors named `prefix.name`.
pub(crate) fn load_parameters(parameters: &Parameters, prefix: &str, tensors: &BTreeMap<String, Tensor>) -> Result<()> {
    for parameter in parameters.iter() {
        let name = if prefix.is_empty() {
            parameter.name().to_owned()
        } else {
            format!("{prefix}.{}", parameter.name())
        };
        let tensor = tensors
            .get(&name)
            .ok_or_else(|| Error::MissingTensor { name: name.clone() })?;
        let expected = parameter.get().shape().clone();
        if *tensor.shape() != expected {
            return Err(Error::WrongShape {
                name,
                got: tensor.shape().to_vec(),
                expected: expected.to_vec(),
            });
        }
        parameter.set(tensor)?;
    }
    Ok(())
}

/// Two fresh networks of a family.
struct ModelPair {
    generator: Box<dyn Generator>,
    discriminator: Box<dyn Discriminator>,
}

impl ModelPair {
    fn new(model: &ModelConfig, seed: u64, device: &DeviceRef) -> Result<Self> {
        let key = RandomKey::from_seed(seed);
        Ok(Self {
            generator: model.generator(key, device)?,
            discriminator: model.discriminator(key, device)?,
        })
    }
}

/// Adam's settings at a share of the burn-in.
pub(crate) fn adam_config(training: &TrainingConfig, share: f64) -> AdamConfig {
    AdamConfig {
        lr: training.learning_rate.at(share) as f32,
        beta1: training.beta1 as f32,
        beta2: training.beta2.at(share) as f32,
        eps: training.adam_eps as f32,
    }
}
