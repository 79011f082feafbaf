//! The loop around a step: batches, schedule, average, events, checkpoints, budget.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use gander_data::{Dataset, Flip, Loader, LoaderOptions, Sampler};
use gander_tensor::{DeviceRef, Tensor};

use super::{
    config::RunConfig,
    contest::Turn,
    recovery,
    state::{PlanCorrection, Progress, TrainState},
    steps::{Batch, Scalars},
};
use crate::{error::Result, images::to_tensor};

/// When a run ends.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Budget {
    /// After the images that the settings plan.
    Images,
    /// After this much wall time, counted from `started`; the plan in images is fitted to it.
    Time {
        /// Seconds in all.
        seconds: f64,
    },
}

/// Why a run stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The plan is fulfilled.
    Finished,
    /// Its score no longer improves.
    Flat,
    /// Somebody asked it to stop.
    Stopped,
}

/// What the trainer asks whoever listens to do or to know.
pub trait Observer {
    /// A step was taken.
    fn stepped(&mut self, trainer: &Trainer, scalars: &Scalars) -> Result<()>;
    /// The plan was fitted to the time that is left.
    fn corrected(&mut self, trainer: &Trainer, correction: &PlanCorrection) -> Result<()>;
    /// Whether the run may end here because nothing gets better any more.
    fn is_satisfied(&self) -> bool {
        false
    }
}

/// The second set of a run that translates.
#[derive(Clone)]
pub struct Partners {
    /// The images.
    pub images: Arc<dyn Dataset>,
    /// What they are to the first set.
    pub pairing: Pairing,
}

/// What a second set is to the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pairing {
    /// The same index shows partners.
    Paired,
    /// Two collections, each drawn from by itself.
    Unpaired,
}

/// Identifies all images of a run.
pub fn fingerprint(images: &dyn Dataset, partners: Option<&Partners>) -> String {
    let second = partners.map(|partners| format!("+{}", partners.images.fingerprint()));
    images.fingerprint() + &second.unwrap_or_default()
}

/// A run in progress.
pub struct Trainer {
    /// Everything that changes.
    pub state: TrainState,
    /// Everything that does not.
    pub config: RunConfig,
    device: DeviceRef,
    dataset: Arc<dyn Dataset>,
    partners: Option<Partners>,
    budget: Budget,
    /// When this process's share of the training began, and the seconds before it.
    clock: (Instant, f64),
}

/// Steps before the first fit of the plan to the time: the first ones are slower, memory is still being found.
const STEPS_BEFORE_FIT: u64 = 6;

impl Trainer {
    /// A run at its beginning, or where `state` left off.
    pub fn new(
        state: TrainState,
        config: RunConfig,
        dataset: Arc<dyn Dataset>,
        budget: Budget,
        device: &DeviceRef,
    ) -> Self {
        let clock = (Instant::now(), state.progress.seconds);
        Self {
            state,
            config,
            device: device.clone(),
            dataset,
            partners: None,
            budget,
            clock,
        }
    }

    /// With a second set, for families that translate.
    #[must_use]
    pub fn with_partners(self, partners: Option<Partners>) -> Self {
        Self { partners, ..self }
    }

    /// The second set, of families that translate.
    pub fn partners(&self) -> Option<&Partners> {
        self.partners.as_ref()
    }

    /// Identifies all images of the run.
    pub fn data_fingerprint(&self) -> String {
        fingerprint(self.dataset.as_ref(), self.partners.as_ref())
    }

    /// Counts the time since `started`, when a time budget began, as part of the run.
    pub fn begin_clock(&mut self, started: Instant) {
        self.clock.0 = started;
    }

    /// The device that computes.
    pub fn device(&self) -> &DeviceRef {
        &self.device
    }

    /// The training images.
    pub fn dataset(&self) -> &Arc<dyn Dataset> {
        &self.dataset
    }

    /// Seconds of training so far, over all processes that worked on this run.
    pub fn seconds(&self) -> f64 {
        self.clock.1 + self.clock.0.elapsed().as_secs_f64()
    }

    /// Whether an earlier process began this run.
    fn is_resumed(&self) -> bool {
        self.clock.1 > 0.0
    }

    /// Images that the plan has in all.
    pub fn total_images(&self) -> u64 {
        self.state.progress.plan(&self.config.training).0
    }

    /// Trains to the end of the budget, or until `stop` is set.
    pub fn run(&mut self, observer: &mut dyn Observer, stop: &AtomicBool) -> Result<Outcome> {
        let mut batches = Batches::new(self)?;
        let mut speed = Speed::new();
        self.follow_plan(observer)?;
        while self.state.progress.images_seen < self.total_images()
            || speed.has_yet_to_plan(self)
            || self.next_plan().is_some()
        {
            if stop.load(Ordering::Relaxed) {
                return Ok(Outcome::Stopped);
            }
            let scalars = self.step(&mut batches)?;
            if let Some(correction) = speed.correction(self) {
                self.state.progress.corrections.push(correction.clone());
                observer.corrected(self, &correction)?;
            }
            self.follow_plan(observer)?;
            observer.stepped(self, &scalars)?;
            if observer.is_satisfied() {
                return Ok(Outcome::Flat);
            }
        }
        Ok(Outcome::Finished)
    }

    /// What the plan is corrected to next, in a run that repeats another.
    fn next_plan(&self) -> Option<&PlanCorrection> {
        self.config.plan.get(self.state.progress.corrections.len())
    }

    /// Corrects the plan where the run that is repeated did.
    fn follow_plan(&mut self, observer: &mut dyn Observer) -> Result<()> {
        while let Some(next) = self.next_plan()
            && next.images_seen <= self.state.progress.images_seen
        {
            let correction = next.clone();
            self.state.progress.corrections.push(correction.clone());
            observer.corrected(self, &correction)?;
        }
        Ok(())
    }

    fn step(&mut self, batches: &mut Batches) -> Result<Scalars> {
        let TrainState { contest, progress } = &mut self.state;
        let (training, before) = (progress.applied(&self.config.training), progress.images_seen);
        let scalars = contest.step(Turn {
            progress,
            training: &training,
            next_batch: &mut |progress, parts| batches.next(parts, progress),
        })?;
        progress.steps += 1;
        recovery::check(&scalars, progress.images_seen)?;
        progress.adapt(&self.config.training, &scalars, progress.images_seen - before);
        self.state.progress.seconds = self.seconds();
        Ok(scalars)
    }
}

/// Gives the draws from a second collection an order of their own.
const SECOND_SET: u64 = 0xB;

/// Real batches as tensors.
struct Batches {
    loader: Loader,
    partners: Option<Loader>,
    device: DeviceRef,
    is_labeled: bool,
}

impl Batches {
    fn new(trainer: &Trainer) -> Result<Self> {
        let training = &trainer.config.training;
        let options = LoaderOptions {
            batch: (training.batch / training.accumulate).max(1),
            flip: if trainer.config.data.flip {
                Flip::Horizontal
            } else {
                Flip::None
            },
            ..LoaderOptions::default()
        };
        let sampler = trainer.state.sampler(trainer.dataset.len());
        let loader = Loader::new(Arc::clone(&trainer.dataset), sampler, options)?;
        let partners = trainer.partners().map(|partners| {
            let seed = trainer.state.progress.seed;
            let sampler = match partners.pairing {
                Pairing::Paired => sampler,
                Pairing::Unpaired => Sampler {
                    position: sampler.position,
                    ..Sampler::new(seed ^ SECOND_SET, partners.images.len())
                },
            };
            Loader::new(Arc::clone(&partners.images), sampler, options)
        });
        let labeled = trainer.config.model.images().num_classes > 0;
        Ok(Self {
            loader,
            partners: partners.transpose()?,
            device: trainer.device.clone(),
            is_labeled: labeled,
        })
    }

    /// The parts of the next batch.
    fn next(&mut self, parts: usize, progress: &mut Progress) -> Result<Vec<Batch>> {
        let batches = (0..parts).map(|_| self.part()).collect();
        progress.sampler_position = self.loader.position();
        batches
    }

    fn part(&mut self) -> Result<Batch> {
        let pixels = self.loader.next_batch()?;
        let labels = pixels.labels.as_ref().filter(|_| self.is_labeled);
        let labels = labels
            .map(|labels| Tensor::from_u32(labels, [labels.len()], &self.device))
            .transpose()?;
        let images = to_tensor(&pixels.images, pixels.shape, &self.device)?;
        self.loader.recycle(pixels);
        let partners = self.partners.as_mut().map(|loader| -> Result<Tensor> {
            let pixels = loader.next_batch()?;
            let images = to_tensor(&pixels.images, pixels.shape, &self.device)?;
            loader.recycle(pixels);
            Ok(images)
        });
        Ok(Batch {
            images,
            labels,
            partners: partners.transpose()?,
        })
    }
}

/// Fits the plan to a time budget from the speed of the steps so far.
#[derive(Debug)]
struct Speed {
    begun: Option<(u64, f64)>,
    steps_here: u64,
    checked: Instant,
    has_planned: bool,
}

impl Speed {
    /// How often the plan is compared with the clock.
    const EVERY: Duration = Duration::from_secs(5);
    /// A plan that is off by less than this share of what is left, or by less than a second's images, is left alone.
    const TOLERANCE: f64 = 0.02;

    fn new() -> Self {
        Self {
            begun: None,
            steps_here: 0,
            checked: Instant::now(),
            has_planned: false,
        }
    }

    /// Whether there is time, and nobody has looked yet at what it is enough for: the plan may be that of an earlier process.
    fn has_yet_to_plan(&self, trainer: &Trainer) -> bool {
        let Budget::Time { seconds } = trainer.budget else {
            return false;
        };
        !self.has_planned && trainer.state.progress.seconds < seconds
    }

    fn correction(&mut self, trainer: &Trainer) -> Option<PlanCorrection> {
        let Budget::Time { seconds: budget } = trainer.budget else {
            return None;
        };
        let progress = &trainer.state.progress;
        self.steps_here += 1;
        if self.steps_here == STEPS_BEFORE_FIT / 2 {
            self.begun = Some((progress.images_seen, progress.seconds));
        }
        let is_due = !self.has_planned || self.checked.elapsed() >= Self::EVERY;
        if self.steps_here < STEPS_BEFORE_FIT || !is_due {
            return None;
        }
        let is_first = !self.has_planned;
        (self.checked, self.has_planned) = (Instant::now(), true);
        let (images, seconds) = self.begun?;
        let images_per_second = (progress.images_seen - images) as f64 / (progress.seconds - seconds).max(1e-9);
        let left = (budget - progress.seconds).max(0.0) * images_per_second;
        let planned = trainer.total_images().saturating_sub(progress.images_seen) as f64;
        let tolerance = (Self::TOLERANCE * left.max(planned)).max(images_per_second);
        if !is_first && (left - planned).abs() <= tolerance {
            return None;
        }
        let total_kimg = (progress.images_seen as f64 + left).round() / 1000.0;
        let training = &trainer.config.training;
        if trainer.is_resumed() {
            return Some(progress.extended(training, total_kimg));
        }
        let share = if training.total_kimg > 0.0 {
            training.burn_in_kimg / training.total_kimg
        } else {
            0.0
        };
        Some(PlanCorrection {
            images_seen: progress.images_seen,
            total_kimg,
            burn_in_kimg: total_kimg * share,
        })
    }
}
