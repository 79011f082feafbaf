//! Everything of a run that changes.

use std::collections::BTreeMap;

use gander_data::Sampler;
use gander_nn::{
    Parameters,
    optim::{Adam, AdamConfig},
};
use gander_tensor::{DeviceRef, RandomKey, RandomState, Tensor};
use serde::{Deserialize, Serialize};

use super::{
    config::{RunConfig, TrainingConfig},
    contest::{self, Contest},
    recovery::{self, Recovery},
    schedule::Probability,
    steps::Scalars,
};
use crate::{
    augment::adaptive::Adaptive,
    error::{Error, Result},
};

/// Everything of a run that changes: saved and loaded, it gives the next step bit for bit.
#[derive(Debug)]
pub struct TrainState {
    /// The networks and their optimizers.
    pub contest: Box<dyn Contest>,
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
    /// How often it diverged and went back.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub recoveries: Vec<Recovery>,
    /// How strong augmentation is, where it is steered by overfitting.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adaptive: Option<Adaptive>,
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
    /// Before the first step.
    pub fn new(seed: u64) -> Self {
        Self {
            images_seen: 0,
            steps: 0,
            seconds: 0.0,
            seed,
            random_drawn: 0,
            sampler_position: 0,
            corrections: Vec::new(),
            recoveries: Vec::new(),
            adaptive: None,
        }
    }

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

    /// The settings of this moment: those of the run, with what its recoveries and its adaptive augmentation made of them.
    pub fn applied(&self, training: &TrainingConfig) -> TrainingConfig {
        let mut applied = recovery::corrected(training, &self.recoveries);
        if training.augment_p == Probability::ADAPTIVE {
            let adaptive = self.adaptive.unwrap_or_default();
            applied.augment_p = Probability::constant(adaptive.probability());
        }
        applied
    }

    /// Steers adaptive augmentation by what the discriminator said of `images` real images in a step.
    pub(super) fn adapt(&mut self, training: &TrainingConfig, scalars: &Scalars, images: u64) {
        let sign = scalars.get("real_sign");
        if let Some(sign) = sign.filter(|_| training.augment_p == Probability::ADAPTIVE) {
            let plan_images = self.plan(training).0;
            self.adaptive
                .get_or_insert_default()
                .observe(*sign, images, plan_images);
        }
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

    /// All plans so far, the first one included.
    pub fn plans(&self, training: &TrainingConfig) -> Vec<PlanCorrection> {
        let first = PlanCorrection {
            images_seen: 0,
            total_kimg: training.total_kimg,
            burn_in_kimg: training.burn_in_kimg,
        };
        let is_there = self.corrections.first().is_some_and(|plan| plan.images_seen == 0);
        let first = (!is_there).then_some(first);
        first.into_iter().chain(self.corrections.iter().cloned()).collect()
    }

    /// Gives the run a new length.
    pub fn extend(&mut self, training: &TrainingConfig, total_kimg: f64) {
        let correction = self.extended(training, total_kimg);
        self.corrections.push(correction);
    }

    /// The plan for another length. A burn-in that is the whole run, as the fall of a learning rate, goes on being so; a shorter
    /// one stays what it was, so that what has come to its end does not begin anew.
    pub(super) fn extended(&self, training: &TrainingConfig, total_kimg: f64) -> PlanCorrection {
        let (total, burn_in) = self.plan(training);
        let is_whole_run = burn_in + 1.0 > total as f64;
        PlanCorrection {
            images_seen: self.images_seen,
            total_kimg,
            burn_in_kimg: if is_whole_run { total_kimg } else { burn_in / 1000.0 },
        }
    }

    /// Adam's learning rate now: along its ramp, and down to zero over the last share of the run that decays.
    pub fn learning_rate(&self, training: &TrainingConfig) -> f64 {
        let rate = training.learning_rate.at(self.burn_in_share(training));
        if training.decay_share <= 0.0 {
            return rate;
        }
        let (total, _) = self.plan(training);
        let left = 1.0 - self.images_seen as f64 / total.max(1) as f64;
        rate * (left / training.decay_share).clamp(0.0, 1.0)
    }

    /// Adam's settings now.
    pub fn adam(&self, training: &TrainingConfig) -> AdamConfig {
        AdamConfig {
            lr: self.learning_rate(training) as f32,
            beta1: training.beta1 as f32,
            beta2: training.beta2.at(self.burn_in_share(training)) as f32,
            eps: training.adam_eps as f32,
        }
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
    /// The numbers of each optimizer, by its name.
    #[serde(flatten)]
    pub optimizers: BTreeMap<String, OptimizerCounters>,
}

impl TrainState {
    /// The state before the first step.
    pub fn new(config: &RunConfig, device: &DeviceRef) -> Result<Self> {
        Ok(Self {
            contest: contest::new(config, device)?,
            progress: Progress::new(config.seed),
        })
    }

    /// Every tensor by name, and the numbers beside them.
    pub fn to_saved(&self) -> (BTreeMap<String, Tensor>, SavedNumbers) {
        let owners = self.contest.tensors().into_iter();
        let owners = owners.map(|(part, parameters)| (part, parameters.to_map()));
        let optimizers = self.contest.optimizers();
        let moments = optimizers.iter().map(|(part, optimizer)| (*part, optimizer.to_map()));
        let tensors = owners
            .chain(moments)
            .flat_map(|(part, map)| {
                map.into_iter()
                    .map(move |(name, tensor)| (format!("{part}.{name}"), tensor))
            })
            .collect();
        let counters = optimizers
            .iter()
            .map(|(part, optimizer)| ((*part).to_owned(), OptimizerCounters::of(optimizer)));
        let numbers = SavedNumbers {
            progress: self.progress.clone(),
            optimizers: counters.collect(),
        };
        (tensors, numbers)
    }

    /// Puts a saved state back.
    ///
    /// # Errors
    /// [`Error::MissingTensor`] or [`Error::WrongShape`] with the tensor's name.
    pub fn restore(&mut self, tensors: &BTreeMap<String, Tensor>, numbers: SavedNumbers) -> Result<()> {
        for (part, parameters) in self.contest.tensors() {
            load_parameters(parameters, part, tensors)?;
        }
        for (part, optimizer) in self.contest.optimizers_mut() {
            let own: BTreeMap<String, Tensor> = tensors
                .iter()
                .filter_map(|(name, tensor)| Some((strip(name, part)?.to_owned(), tensor.clone())))
                .collect();
            let missing = || Error::MissingTensor { name: part.to_owned() };
            let counters = numbers.optimizers.get(part).ok_or_else(missing)?;
            optimizer.restore(&own, (counters.steps, counters.decays.map(f64::from_bits)))?;
        }
        self.progress = numbers.progress;
        Ok(())
    }

    /// Takes named tensors of another state as far as names and shapes agree, and gives for each part how many of how many.
    pub fn take(&self, tensors: &BTreeMap<String, Tensor>) -> Result<BTreeMap<&'static str, (usize, usize)>> {
        let mut taken = BTreeMap::new();
        for (part, parameters) in self.contest.tensors() {
            let count = taken.entry(part).or_insert((0, 0));
            for parameter in parameters.iter() {
                count.1 += 1;
                let tensor = tensors.get(&format!("{part}.{}", parameter.name()));
                if let Some(tensor) = tensor.filter(|tensor| tensor.shape() == parameter.get().shape()) {
                    parameter.set(tensor)?;
                    count.0 += 1;
                }
            }
        }
        Ok(taken)
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
