//! The class-conditional generator, trained on the training set alone.

use std::sync::{Arc, atomic::AtomicBool};

use gander_data::{Dataset, ImageShape};
use gander_tensor::{DeviceRef, RandomKey};

use super::{
    Tell,
    classifier::Order,
    naming::Named,
    origin::Origin,
    split::{Evenly, TrainingSet},
};
use crate::{
    error::Result,
    models::{ImageSpec, ModelConfig},
    session::{ENOUGH_OF_A_CLASS, Length},
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
pub(super) const FAMILY: &str = "dcgan";

/// Its networks and its penalty; for many images its batches and rates too.
const PRESET: &str = "quick";

/// Not tuned: the rate is between those that `docs/decisions/0001-what-minutes-train.md` has for batches of 16 and 32.
const BATCH: usize = 32;
const LEARNING_RATE: Ramp = Ramp::new(4e-4, 1e-4);

/// Images of each class, in the mean, from which a generator may learn the classes from the start.
///
/// With 500 images it made one image of a class, or none that was of its class; with thousands it does not.
const MANY: usize = ENOUGH_OF_A_CLASS as usize;

/// Images below which the discriminator is shown changed ones as far as it overfits, as in `gander train`.
const CHANGED_BELOW: usize = 5000;

/// How many images there are to learn from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Recipe {
    /// Some dozens or hundreds: first without their classes, then with them, all of them changed.
    Few,
    /// Hundreds or thousands of each class, most of them named: the quick preset.
    Many {
        /// Whether they are changed as far as the discriminator overfits.
        is_changed: bool,
    },
}

impl Recipe {
    /// For images some of which were named.
    pub(super) fn for_named(images: &TrainingSet, named: &Named) -> Self {
        let of_classes = images.counts();
        let classes = of_classes.iter().filter(|&&count| count > 0).count();
        let total: usize = of_classes.iter().sum();
        if named.count() > 0 && total >= MANY * classes {
            Self::Many {
                is_changed: total < CHANGED_BELOW,
            }
        } else {
            Self::Few
        }
    }
}

/// How a generator is trained.
#[derive(Debug, Clone, Copy)]
pub(super) struct Training<'a> {
    /// Name of the data, for the generator's file.
    pub(super) dataset: &'a str,
    /// What it is trained like.
    pub(super) recipe: Recipe,
    /// Networks to begin from instead of fresh ones.
    pub(super) origin: Option<&'a Origin>,
    /// Which images come when.
    pub(super) order: Order,
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
    /// Trains on the images, with their classes from the start where there are many.
    pub(super) fn run(self, images: &TrainingSet, tell: &mut Tell<'_>) -> Result<ShippedGenerator> {
        let Recipe::Many { is_changed } = self.recipe else {
            return self.run_in_two_stages(images, tell);
        };
        let settings = many(images.images().shape(), self.length, is_changed, self.device)?;
        let share = Share {
            tell,
            begin: 0.0,
            end: 1.0,
        };
        let num_classes = images.images().classes().len();
        let trainer = self.stage(images, &settings, (self.length, num_classes), self.begin(), share)?;
        self.finish(images, &trainer, trainer.state.progress.images_seen)
    }

    /// Trains first without the classes, then with them.
    ///
    /// A generator that is told the classes of few images from the start makes one image of each, whatever its latents
    /// (Shahbazi et al. 2022, <https://arxiv.org/abs/2201.06578>): so it was with 50 a class and a class vector beside the
    /// latents. One that first learned all classes as one kind has found what differs within them.
    fn run_in_two_stages(self, images: &TrainingSet, tell: &mut Tell<'_>) -> Result<ShippedGenerator> {
        let data = images.images();
        let first = part_of(self.length, TOGETHER);
        let settings = &few(data.shape(), first, self.device)?;
        let plain = self.stage(
            images,
            settings,
            (first, 0),
            self.begin(),
            Share {
                tell: &mut *tell,
                begin: 0.0,
                end: TOGETHER,
            },
        )?;
        let second = part_of(self.length, 1.0 - TOGETHER);
        // What a class adds begins at nothing.
        let begin = |state: &TrainState| state.take(&plain.state.to_saved().0).map(|_| ());
        let share = Share {
            tell,
            begin: TOGETHER,
            end: 1.0,
        };
        let trainer = self.stage(images, settings, (second, data.classes().len()), begin, share)?;
        let seen = plain.state.progress.images_seen + trainer.state.progress.images_seen;
        self.finish(images, &trainer, seen)
    }

    /// Puts the weights of other networks into a fresh state, where there are any.
    fn begin(&self) -> impl FnOnce(&TrainState) -> Result<()> {
        let origin = self.origin;
        move |state| origin.map_or(Ok(()), |origin| state.take(&origin.weights).map(|_| ()))
    }

    /// What a trainer made, with what it says of itself.
    fn finish(self, images: &TrainingSet, trainer: &Trainer, images_seen: u64) -> Result<ShippedGenerator> {
        let data = images.images();
        let header = GeneratorHeader {
            model: trainer.config.model.clone(),
            classes: data.classes().to_vec(),
            class_counts: images.of_class().iter().map(|indices| indices.len() as u64).collect(),
            images_seen,
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
        let data: Arc<dyn Dataset> = match self.order {
            Order::ByFrequency => images.images().clone(),
            Order::Evenly => Arc::new(Evenly::of(images)),
        };
        let training = settings.training.clone();
        let mut model = match self.origin {
            Some(origin) => ModelConfig::Dcgan(origin.model),
            None => settings.model.clone(),
        };
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
        let mut trainer = Trainer::new(state, config, data, budget, self.device);
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

/// What few images need: each change of `DiffAugment` at every image, or the discriminator soon knows all of them by
/// heart (Zhao et al. 2020, <https://arxiv.org/abs/2006.10738>).
fn few(shape: ImageShape, length: Length, device: &DeviceRef) -> Result<Choice> {
    // The width is chosen for networks without classes, so that those of both stages fit into each other.
    let choice = defaults::choose(None, Some(PRESET), plainly(shape))?;
    let mut choice = fit(choice, length, device)?;
    let training = &mut choice.training;
    training.batch = BATCH;
    training.learning_rate = LEARNING_RATE;
    training.augment_p = Probability::constant(1.0);
    Ok(choice)
}

/// What thousands of images need: many steps in small batches, and a rate that falls to almost nothing.
fn many(shape: ImageShape, length: Length, is_changed: bool, device: &DeviceRef) -> Result<Choice> {
    let choice = defaults::choose(None, Some(PRESET), plainly(shape))?;
    let mut choice = fit(choice, length, device)?;
    if is_changed {
        choice.training.augment_p = Probability::ADAPTIVE;
    }
    Ok(choice)
}

fn plainly(shape: ImageShape) -> ImageSpec {
    ImageSpec {
        height_px: shape.height_px,
        width_px: shape.width_px,
        channels: shape.channels,
        num_classes: 0,
    }
}

/// Makes networks and average fit the length.
fn fit(mut choice: Choice, length: Length, device: &DeviceRef) -> Result<Choice> {
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
    choice.training.burn_in_kimg = choice.training.total_kimg;
    Ok(choice)
}
