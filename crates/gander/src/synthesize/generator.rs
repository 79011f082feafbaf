//! The class-conditional generator, trained on the training set alone.

use std::sync::atomic::AtomicBool;

use gander_data::{Dataset, ImageShape};
use gander_tensor::{DeviceRef, RandomKey};

use super::{Tell, split::TrainingSet};
use crate::{
    error::Result,
    models::{ImageSpec, ModelConfig},
    session::Length,
    shipped::{GeneratorHeader, ShippedGenerator},
    train::{
        Budget, RunConfig, TrainState, Trainer,
        defaults::{self, Choice},
        fitting,
        schedule::{Probability, Ramp},
        state::PlanCorrection,
        steps::Scalars,
        trainer::Observer,
    },
};

/// The family: classes share all of its networks but one vector each.
const FAMILY: &str = "dcgan";

/// Not tuned: the rate is between those that `docs/decisions/0001-what-minutes-train.md` has for batches of 16 and 32.
const BATCH: usize = 32;
const LEARNING_RATE: Ramp = Ramp::new(4e-4, 1e-4);

/// How a generator is trained.
#[derive(Debug, Clone, Copy)]
pub(super) struct Training<'a> {
    /// Name of the data, for the generator's file.
    pub(super) dataset: &'a str,
    /// How long.
    pub(super) length: Length,
    /// Seed of everything random.
    pub(super) seed: u64,
    /// What computes.
    pub(super) device: &'a DeviceRef,
}

/// Tells the share that is done, of a stage that begins at a share of the whole.
struct Share<'a, 'b> {
    tell: &'a mut Tell<'b>,
    begin: f64,
    end: f64,
}

impl Observer for Share<'_, '_> {
    fn stepped(&mut self, trainer: &Trainer, _: &Scalars) -> Result<()> {
        let done = trainer.state.progress.images_seen as f64 / trainer.total_images().max(1) as f64;
        (self.tell)(self.begin + (self.end - self.begin) * done.min(1.0))
    }

    fn corrected(&mut self, _: &Trainer, _: &PlanCorrection) -> Result<()> {
        Ok(())
    }
}

impl Training<'_> {
    /// Trains on the images: first without their classes, then with them.
    ///
    /// A generator that is told the classes of few images from the start makes one image of each, whatever its latents
    /// (Shahbazi et al. 2022, <https://arxiv.org/abs/2201.06578>): so it was with 50 a class and a class vector beside the
    /// latents. One that first learned all classes as one kind has found what differs within them.
    pub(super) fn run(self, images: &TrainingSet, tell: &mut Tell<'_>) -> Result<ShippedGenerator> {
        let data = images.images();
        let first = part_of(self.length, TOGETHER);
        let settings = &settings(data.shape(), first, self.device)?;
        let plain = self.stage(
            images,
            settings,
            (first, 0),
            |_| Ok(()),
            Share {
                tell: &mut *tell,
                begin: 0.0,
                end: TOGETHER,
            },
        )?;
        let second = part_of(self.length, 1.0 - TOGETHER);
        let begin = |state: &TrainState| begin_from(state, &plain.state);
        let share = Share {
            tell,
            begin: TOGETHER,
            end: 1.0,
        };
        let trainer = self.stage(images, settings, (second, data.classes().len()), begin, share)?;
        let header = GeneratorHeader {
            model: trainer.config.model.clone(),
            classes: data.classes().to_vec(),
            class_counts: images.of_class().iter().map(|indices| indices.len() as u64).collect(),
            images_seen: plain.state.progress.images_seen + trainer.state.progress.images_seen,
            dataset: self.dataset.to_owned(),
        };
        let generator = header.model.generator(RandomKey::from_seed(self.seed), self.device)?;
        if let Some(trained) = trainer.state.contest.product().generator() {
            generator.parameters().copy_from(trained.parameters())?;
        }
        Ok(ShippedGenerator::from_parts(header, generator, self.device))
    }

    /// Trains networks that know so many classes.
    fn stage(
        self,
        images: &TrainingSet,
        settings: &Choice,
        (length, num_classes): (Length, usize),
        begin: impl FnOnce(&TrainState) -> Result<()>,
        mut share: Share<'_, '_>,
    ) -> Result<Trainer> {
        let data = images.images();
        let (mut model, training) = (settings.model.clone(), settings.training.clone());
        if let ModelConfig::Dcgan(config) = &mut model {
            config.images.num_classes = num_classes;
        }
        let config = RunConfig {
            seed: self.seed,
            ..fitting::throwaway(model, training)
        };
        config.validate()?;
        let budget = match length {
            Length::Minutes(minutes) => Budget::Time {
                seconds: minutes * 60.0,
            },
            Length::Kimg(_) => Budget::Images,
        };
        let state = TrainState::new(&config, self.device)?;
        begin(&state)?;
        let mut trainer = Trainer::new(state, config, data.clone(), budget, self.device);
        trainer.run(&mut share, &AtomicBool::new(false))?;
        Ok(trainer)
    }
}

/// Share of the training in which the classes are not told.
const TOGETHER: f64 = 0.5;

fn part_of(length: Length, share: f64) -> Length {
    match length {
        Length::Minutes(minutes) => Length::Minutes(share * minutes),
        Length::Kimg(kimg) => Length::Kimg(share * kimg),
    }
}

/// Copies every tensor that both have; what a class adds begins at nothing.
fn begin_from(state: &TrainState, before: &TrainState) -> Result<()> {
    for ((_, parameters), (_, before)) in state.contest.tensors().iter().zip(before.contest.tensors()) {
        for parameter in parameters.iter() {
            if let Some(known) = before.get(parameter.name()) {
                parameter.set(&known.get().detach().add_scalar(0.0)?)?;
            }
        }
    }
    Ok(())
}

/// What few images need: each change of `DiffAugment` at every image, or the discriminator soon knows all of them by
/// heart (Zhao et al. 2020, <https://arxiv.org/abs/2006.10738>).
fn settings(shape: ImageShape, length: Length, device: &DeviceRef) -> Result<Choice> {
    // The width is chosen for networks without classes, so that those of both stages fit into each other.
    let images = ImageSpec {
        height_px: shape.height_px,
        width_px: shape.width_px,
        channels: shape.channels,
        num_classes: 0,
    };
    let mut choice = defaults::choose(Some(FAMILY), None, images)?;
    match length {
        Length::Minutes(minutes) => {
            fitting::fit(&mut choice, minutes, device)?;
        }
        Length::Kimg(kimg) => {
            fitting::fit_unmeasured(&mut choice, fitting::MINUTES)?;
            choice.training.total_kimg = kimg;
            fitting::fit_average(&mut choice.training, kimg);
        }
    }
    let training = &mut choice.training;
    training.burn_in_kimg = training.total_kimg;
    training.batch = BATCH;
    training.learning_rate = LEARNING_RATE;
    training.augment_p = Probability::constant(1.0);
    Ok(choice)
}
