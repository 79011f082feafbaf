//! `StackedMNIST`: three digits, one in each color, make a thousand modes that differ in little else.

use std::sync::{Arc, atomic::AtomicBool};

use gander_data::{Dataset, ImageShape};
use gander_nn::Mode;
use gander_tensor::{DeviceRef, RandomKey, Tensor, no_grad};

use crate::{
    error::{Error, Result},
    features::Classifier,
    metrics::{
        modes::{Tally, tally_stacked_digits},
        resampling::below,
    },
    models::{Generator, ImageSpec, ModelConfig},
    shipped,
    train::{
        Budget, RunConfig, TrainState, Trainer,
        config::TrainingConfig,
        contest::Product,
        defaults::{self, Choice},
        fitting,
        state::PlanCorrection,
        steps::Scalars,
        trainer::Observer,
    },
};

/// Images that are drawn to count modes, as in the published tables.
pub const NUM: usize = 26_000;
/// Classes of single digits.
const DIGITS: usize = 10;
/// Channels, each a digit.
const CHANNELS: usize = 3;
/// Different stacked images; in most published work 128,000 or 240,000 fixed ones.
const LEN: usize = 240_000;
/// Images that are made and looked at together.
const AT_ONCE: usize = 250;

/// Three random digits to an image, one a channel.
pub struct StackedDigits {
    digits: Arc<dyn Dataset>,
    key: RandomKey,
}

impl StackedDigits {
    /// Stacks gray images of ten classes.
    ///
    /// # Errors
    /// [`Error::NotDigits`] for other images.
    pub fn new(digits: Arc<dyn Dataset>, seed: u64) -> Result<Self> {
        let (shape, classes) = (digits.shape(), digits.classes().len());
        if shape.channels != 1 || classes != DIGITS {
            return Err(Error::NotDigits { shape, classes });
        }
        Ok(Self {
            digits,
            key: RandomKey::from_seed(seed).named("stacked digits"),
        })
    }
}

impl Dataset for StackedDigits {
    fn len(&self) -> usize {
        LEN
    }

    fn shape(&self) -> ImageShape {
        ImageShape {
            channels: CHANNELS,
            ..self.digits.shape()
        }
    }

    fn classes(&self) -> &[String] {
        &[]
    }

    fn label(&self, _index: usize) -> Option<u32> {
        None
    }

    fn read(&self, index: usize, pixels: &mut [u8]) -> gander_data::Result<()> {
        if pixels.len() != self.shape().bytes() {
            return Err(gander_data::Error::Buffer {
                op: "read",
                expected: self.shape().bytes(),
                got: pixels.len(),
            });
        }
        let mut digit = vec![0; self.digits.shape().bytes()];
        for channel in 0..CHANNELS {
            let key = self.key.split(index as u64).split(channel as u64);
            self.digits.read(below(key, self.digits.len()), &mut digit)?;
            let places = pixels.iter_mut().skip(channel).step_by(CHANNELS);
            places.zip(&digit).for_each(|(place, &value)| *place = value);
        }
        Ok(())
    }

    fn fingerprint(&self) -> String {
        format!("stacked-{}-{:x}", self.digits.fingerprint(), self.key.value())
    }
}

/// What came of the test.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Images of each mode, of [`NUM`].
    pub tally: Tally,
    /// The first of the images in bytes, `[num, height, width, 3]`.
    pub images: Vec<u8>,
    /// Images that the discriminator saw.
    pub images_seen: u64,
    /// Seconds of training.
    pub seconds: f64,
}

/// Images that an outcome keeps to look at.
pub const KEPT: usize = 100;

/// Channels of the networks: what the default run takes for three minutes, in which 1000 modes want many images.
const WIDTH: usize = 32;

/// Networks and training: those of the default run.
///
/// # Errors
/// [`Error::InvalidConfig`] if images of this shape cannot be made.
pub fn recipe(shape: ImageShape) -> Result<(ModelConfig, TrainingConfig)> {
    let images = ImageSpec {
        height_px: shape.height_px,
        width_px: shape.width_px,
        channels: CHANNELS,
        num_classes: 0,
    };
    let Choice { mut model, training } = defaults::choose(None, None, images)?;
    if let Some(width) = model.width_mut() {
        *width = WIDTH;
    }
    Ok((model, training))
}

/// How long, and from which seed.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// When the training ends.
    pub budget: Budget,
    /// Seed of everything random.
    pub seed: u64,
}

/// Trains on stacked digits and counts the modes that the averaged generator finds, as a classifier of single digits sees
/// them.
///
/// # Errors
/// [`Error::NotDigits`], [`Error::UnlikeImages`] if the classifier looks at other images, [`Error::Stopped`], and what
/// training meets.
pub fn run(
    digits: &Arc<dyn Dataset>,
    classifier: &Classifier,
    (model, training): (ModelConfig, TrainingConfig),
    options: Options,
    device: &DeviceRef,
    (progress, stop): (&mut dyn FnMut(f64), &AtomicBool),
) -> Result<Outcome> {
    let (expected, got) = (classifier.header().shape, digits.shape());
    if expected != got {
        return Err(Error::UnlikeImages {
            expected: expected.to_string(),
            got: got.to_string(),
        });
    }
    let stacked = StackedDigits::new(Arc::clone(digits), options.seed)?;
    let config = RunConfig {
        seed: options.seed,
        ..fitting::throwaway(model, training)
    };
    config.validate()?;
    let state = TrainState::new(&config, device)?;
    let mut trainer = Trainer::new(state, config, Arc::new(stacked), options.budget, device);
    match trainer.run(&mut Shown(progress), stop)? {
        crate::train::Outcome::Stopped => return Err(Error::Stopped),
        crate::train::Outcome::Finished | crate::train::Outcome::Flat => {}
    }
    let Product::Generator(generator) = trainer.state.contest.product() else {
        return Err(Error::Translates {
            family: trainer.config.model.family(),
        });
    };
    let (tally, images) = count(generator, classifier, NUM, options.seed, device)?;
    Ok(Outcome {
        tally,
        images,
        images_seen: trainer.state.progress.images_seen,
        seconds: trainer.state.progress.seconds,
    })
}

/// Shows the share of the plan that is done.
struct Shown<'a>(&'a mut dyn FnMut(f64));

impl Observer for Shown<'_> {
    fn stepped(&mut self, trainer: &Trainer, _scalars: &Scalars) -> Result<()> {
        let done = trainer.state.progress.images_seen as f64;
        (self.0)(done / trainer.total_images().max(1) as f64);
        Ok(())
    }

    fn corrected(&mut self, _trainer: &Trainer, _correction: &PlanCorrection) -> Result<()> {
        Ok(())
    }
}

/// Draws images and counts what a classifier of single digits sees in their channels, on whichever device it is.
fn count(
    generator: &dyn Generator,
    classifier: &Classifier,
    total: usize,
    seed: u64,
    device: &DeviceRef,
) -> Result<(Tally, Vec<u8>)> {
    let key = RandomKey::from_seed(seed).named("modes");
    let mut stacks = Vec::with_capacity(total);
    let mut kept = Vec::new();
    for (chunk, from) in (0..total).step_by(AT_ONCE).enumerate() {
        let num = AT_ONCE.min(total - from);
        let latents = generator.latents(key.split(chunk as u64), num, device)?;
        let images = no_grad(|| generator.forward(&latents, None, Mode::Evaluate))?;
        let mut bytes = shipped::to_bytes(&images.to_vec()?);
        // Rounded, as they would be in a file.
        let seen: Vec<f32> = bytes.iter().map(|&byte| f32::from(byte) / 127.5 - 1.0).collect();
        let seen = Tensor::from_slice(&seen, images.shape(), classifier.device())?;
        let digits: Vec<Vec<u32>> = (0..CHANNELS)
            .map(|channel| classifier.classify(&seen.slice(-1, channel, channel + 1)?))
            .collect::<Result<_>>()?;
        stacks.extend((0..num).map(|image| [0, 1, 2].map(|channel| digits[channel][image] as u8)));
        if chunk == 0 {
            bytes.truncate(KEPT * bytes.len() / num);
            kept = bytes;
        }
    }
    Ok((tally_stacked_digits(stacks), kept))
}

#[cfg(test)]
mod tests {
    use gander_data::InMemory;
    use gander_tensor::{Cpu, CpuOptions};

    use super::*;
    use crate::features::ClassifierOptions;

    fn digits(classes: usize) -> Arc<dyn Dataset> {
        let shape = ImageShape {
            height_px: 16,
            width_px: 16,
            channels: 1,
        };
        let pixels = (0..40u8).flat_map(|image| [image; 256]).collect();
        let labels = (0..40).map(|image| image % classes as u32).collect();
        let names: Vec<String> = (0..classes).map(|class| class.to_string()).collect();
        Arc::new(InMemory::with_labels(shape, pixels, labels, names).expect("forty images"))
    }

    #[test]
    fn a_stack_has_a_digit_in_each_channel() {
        let stacked = StackedDigits::new(digits(10), 1).expect("ten classes");
        let read = |index| {
            let mut pixels = vec![0; 768];
            stacked.read(index, &mut pixels).expect("an image");
            pixels
        };
        let mut seen = std::collections::BTreeSet::new();
        for index in 0..50 {
            let pixels = read(index);
            let [r, g, b] = [0, 1, 2].map(|channel| pixels[channel]);
            assert!(pixels.chunks_exact(3).all(|pixel| pixel == [r, g, b]));
            seen.extend([(0, r), (1, g), (2, b)]);
        }
        // 150 draws leave few of 120 places empty, and the same index is the same image.
        assert!(seen.len() > 70, "{seen:?}");
        assert_eq!(read(7), read(7));
    }

    /// Generators may run in another precision than the classifier, which is another device.
    #[test]
    fn every_image_is_counted_whatever_device_the_classifier_is_on() {
        let (here, there) = [(); 2]
            .map(|()| Cpu::with_options(CpuOptions::default()).expect("a device"))
            .into();
        let digits = digits(10);
        let options = ClassifierOptions {
            seed: 1,
            epochs: 1,
            operations: 1e9,
        };
        let classifier = Classifier::train(&*digits, None, options, &there, &mut |_| {}).expect("a classifier");
        let (model, _) = recipe(digits.shape()).expect("a recipe");
        let generator = model.generator(RandomKey::from_seed(1), &here).expect("a generator");
        let (tally, images) = count(&*generator, &classifier, AT_ONCE + 7, 1, &here).expect("a tally");
        assert_eq!(tally.num(), AT_ONCE as u64 + 7);
        assert_eq!(images.len(), KEPT * 16 * 16 * CHANNELS);
    }

    #[test]
    fn what_has_not_ten_classes_is_refused() {
        assert!(matches!(
            StackedDigits::new(digits(4), 1),
            Err(Error::NotDigits { classes: 4, .. })
        ));
    }
}
