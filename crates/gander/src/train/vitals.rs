//! Measures what [`crate::diagnosis`] looks at: at a tick, never in a step, and for a fixed share of the time.

use std::{collections::BTreeMap, time::Instant};

use gander_data::{Dataset, ImageShape};
use gander_nn::Mode;
use gander_tensor::{DeviceRef, RandomKey, Tensor, no_grad};

use super::{Trainer, duel::Duel};
use crate::{
    diagnosis::{
        balance::neighbor_accuracy,
        diversity::{Distances, Diversity},
        gradients::{SquaredGradient, dead_channels, step_share},
        overfitting::overfitting,
    },
    error::Result,
    features::{FeatureSpace, Pixels},
    images::to_tensor,
    metrics::{Features, resampling::choose},
};

/// The most of the training's time that measuring takes.
const SHARE: f64 = 0.008;

/// Images whose distances are compared in one measurement.
const NUM: usize = 64;

/// Real images of each kind that the discriminator is asked about: its alarm looks at a median of several measurements.
const JUDGED: usize = 32;

/// Images of each kind that are kept, so that measuring reads no files.
const KEPT: usize = 256;

/// Fewer held-out images than this say nothing.
pub(crate) const FEWEST: usize = 16;

/// Looks at a run from time to time.
///
/// Nothing here draws from the run's random state or moves a weight: whether and when it looks changes no byte of the run.
#[derive(Debug)]
pub struct Probe {
    training: Kept,
    held_out: Option<Kept>,
    reals: Features,
    among_reals: Option<Distances>,
    /// Of each network at the last look.
    squares: BTreeMap<String, SquaredGradient>,
    begun: Instant,
    spent_seconds: f64,
}

/// Real images at hand.
#[derive(Debug)]
struct Kept {
    pixels: Vec<u8>,
    labels: Vec<u32>,
    shape: ImageShape,
}

impl Kept {
    fn of(dataset: &dyn Dataset, is_labeled: bool, key: RandomKey) -> Result<Self> {
        let shape = dataset.shape();
        let indices = choose(key, KEPT, dataset.len());
        let mut pixels = vec![0; indices.len() * shape.bytes()];
        for (&index, pixels) in indices.iter().zip(pixels.chunks_exact_mut(shape.bytes())) {
            dataset.read(index, pixels)?;
        }
        let label = |&index: &usize| dataset.label(index).unwrap_or(0);
        let labels = if is_labeled {
            indices.iter().map(label).collect()
        } else {
            Vec::new()
        };
        Ok(Self { pixels, labels, shape })
    }

    fn len(&self) -> usize {
        self.pixels.len() / self.shape.bytes()
    }

    /// Some of them as tensors, with labels where there are any.
    fn batch(&self, key: RandomKey, num: usize, device: &DeviceRef) -> Result<(Tensor, Option<Tensor>)> {
        let chosen = choose(key, num, self.len());
        let bytes = self.shape.bytes();
        let pixels: Vec<u8> = chosen
            .iter()
            .flat_map(|&index| &self.pixels[index * bytes..(index + 1) * bytes])
            .copied()
            .collect();
        let images = to_tensor(&pixels, self.shape, device)?;
        let labels: Vec<u32> = chosen
            .iter()
            .filter_map(|&index| self.labels.get(index).copied())
            .collect();
        let labels = (!labels.is_empty())
            .then(|| Tensor::from_u32(&labels, [labels.len()], device))
            .transpose()?;
        Ok((images, labels))
    }
}

impl Probe {
    /// Keeps some images of the training and of the held-out set.
    ///
    /// # Errors
    /// What reading them meets.
    pub fn new(trainer: &Trainer, held_out: Option<&dyn Dataset>) -> Result<Self> {
        let key = RandomKey::from_seed(trainer.config.seed).named("vitals");
        let is_labeled = trainer.config.model.images().num_classes > 0;
        let training = Kept::of(trainer.dataset().as_ref(), is_labeled, key.named("training"))?;
        let held_out = held_out
            .filter(|held_out| held_out.len() >= FEWEST)
            .map(|held_out| Kept::of(held_out, is_labeled, key.named("held out")))
            .transpose()?;
        let (images, _) = training.batch(key.named("reals"), NUM, trainer.device())?;
        let reals = Pixels.extract(&images)?.features;
        Ok(Self {
            training,
            held_out,
            among_reals: Distances::within(&reals),
            reals,
            squares: BTreeMap::new(),
            begun: Instant::now(),
            spent_seconds: 0.0,
        })
    }

    /// What can be measured now by name, if it is time.
    ///
    /// # Errors
    /// What the networks meet.
    pub fn measure(&mut self, trainer: &Trainer) -> Result<BTreeMap<String, f64>> {
        let mut found = BTreeMap::new();
        if self.spent_seconds > SHARE * self.begun.elapsed().as_secs_f64() {
            return Ok(found);
        }
        let started = Instant::now();
        let (mut dead, mut step): (f64, f64) = (0.0, 0.0);
        let networks = trainer.state.contest.tensors();
        for (name, optimizer) in trainer.state.contest.optimizers() {
            let network = name.strip_suffix("_optimizer").unwrap_or(name);
            let square = SquaredGradient::of(optimizer)?;
            let before = self.squares.insert(network.to_owned(), square);
            if let Some(norm) = square.norm_since(before.unwrap_or(SquaredGradient::NONE)) {
                found.insert(format!("{network}_gradient"), norm);
            }
            dead = dead.max(dead_channels(optimizer)?);
            if let Some((_, parameters)) = networks.iter().find(|(name, _)| *name == network) {
                step = step.max(step_share(optimizer, parameters)?);
            }
        }
        found.insert("dead_channels".into(), dead);
        found.insert("step_share".into(), step);
        if let Some(duel) = trainer.state.contest.as_duel() {
            no_grad(|| self.look(duel, trainer, &mut found))?;
        }
        self.spent_seconds += started.elapsed().as_secs_f64();
        Ok(found)
    }

    /// At fakes, and at what the discriminator says of them and of real images.
    fn look(&self, duel: &Duel, trainer: &Trainer, found: &mut BTreeMap<String, f64>) -> Result<()> {
        let device = trainer.device();
        let key = RandomKey::from_seed(trainer.config.seed).named("vitals");
        let key = key.split(trainer.state.progress.images_seen);
        let (like, labels) = self.training.batch(key.named("fakes"), NUM, device)?;
        let latents = duel.generator.latents(key.named("latents"), like.side(0), device)?;
        let fakes = duel.generator.forward(&latents, labels.as_ref(), Mode::Frozen)?;

        // Fakes that are not finite are the next step's matter.
        if let Ok(seen) = Pixels.extract(&fakes) {
            let accuracy = neighbor_accuracy(&self.reals, &seen.features);
            found.insert("neighbor_accuracy".into(), accuracy);
            let distances = Distances::within(&seen.features).zip(self.among_reals);
            if let Some(diversity) = distances.and_then(|(fakes, reals)| Diversity::of(fakes, reals)) {
                found.insert("fake_spread".into(), diversity.spread);
                found.insert("fake_nearest".into(), diversity.nearest);
            }
        }
        let Some(held_out) = &self.held_out else { return Ok(()) };
        let logits = |images: &Tensor, labels: Option<&Tensor>| -> Result<Vec<f64>> {
            Ok(duel.discriminator.forward(images, labels, Mode::Frozen)?.to_vec_f64()?)
        };
        let of_fakes = logits(&fakes, labels.as_ref())?;
        let (training, labels) = self.training.batch(key.named("training"), JUDGED, device)?;
        let of_training = logits(&training, labels.as_ref())?;
        let (held_out, labels) = held_out.batch(key.named("held out"), JUDGED, device)?;
        let of_held_out = logits(&held_out, labels.as_ref())?;
        if let Some(share) = overfitting(&of_training, &of_held_out, &of_fakes) {
            found.insert("overfitting".into(), share);
        }
        Ok(())
    }
}
