//! Networks that fit the time: their width from what this machine does in a second.

use std::time::{Duration, Instant};

use gander_data::OpenOptions;
use gander_nn::Mode;
use gander_tensor::{Cpu, DeviceRef, Precision, RandomKey, Tensor, trace};

use super::{
    config::{DataConfig, DeviceConfig, EvaluationConfig, RunConfig, TrainingConfig},
    contest::{self, Turn},
    defaults::{Choice, Material, material},
    schedule::Ramp,
    state::Progress,
    steps::Batch,
};
use crate::{
    diagnosis::median,
    error::Result,
    models::{ModelConfig, r3gan},
    translation,
};

/// Minutes of a run whose length nobody gave: long enough for pots that a stranger names.
pub const MINUTES: f64 = 3.0;

/// Operations in a second, by the direct algorithms, of the machine whose minutes the rules here speak of: two cores of
/// a Zen 4 server processor in a step of a narrow DCGAN.
const REFERENCE: f64 = 2e11;

/// The most operations for an image of a run of three minutes, whatever its size: those of a DCGAN of width 32 at
/// 64 px, or of a CUT of width 16 to 24 with some twenty images a second. Both grow with the root of the time: half of a longer
/// time, or of a faster machine, goes into more images, half into wider networks.
const OPERATIONS_PER_IMAGE: f64 = 6.5e8;
const OPERATIONS_PER_TRANSLATION: f64 = 9e9;

/// The width of a DCGAN that is worth three minutes at sizes below 64 px.
const WIDTH: usize = 32;

/// The narrowest networks that are worth training, and by how much widths differ.
const NARROWEST: usize = 16;
const WIDTH_STEP: usize = 8;

/// Share of a run in which a weight's part in the average halves.
const AVERAGE_SHARE: f64 = 0.04;

/// What this machine does in a step of the networks that a run is to train.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pace {
    /// Operations, by the direct algorithms.
    pub operations_per_second: f64,
    /// Images that such networks are shown.
    pub images_per_second: f64,
    /// What measuring took.
    pub seconds: f64,
}

impl Pace {
    /// That of the machine whose minutes the rules speak of.
    fn reference(model: &ModelConfig) -> Result<Self> {
        Ok(Self {
            operations_per_second: REFERENCE,
            images_per_second: REFERENCE / operations_per_image(model)?,
            seconds: 0.0,
        })
    }

    /// The same machine's with these networks.
    ///
    /// # Errors
    /// Those of networks that cannot be made.
    pub fn of(self, model: &ModelConfig) -> Result<Self> {
        Ok(Self {
            images_per_second: self.operations_per_second / operations_per_image(model)?,
            ..self
        })
    }
}

/// Measures this machine and makes networks and average fit the time.
///
/// # Errors
/// Those of a training step.
pub fn fit(choice: &mut Choice, minutes: f64, device: &DeviceRef) -> Result<Pace> {
    // Timed are networks of about the size that it will come to.
    let mut guess = choice.clone();
    fit_unmeasured(&mut guess, minutes)?;
    let measured = measure(&guess, device)?;
    fit_to(choice, minutes, measured)?;
    measured.of(&choice.model)
}

/// Makes networks and average fit the time on the machine whose minutes the rules speak of: everywhere the same.
pub(crate) fn fit_unmeasured(choice: &mut Choice, minutes: f64) -> Result<()> {
    let pace = Pace::reference(&choice.model)?;
    fit_to(choice, minutes, pace)
}

/// Makes networks and average fit this time at this pace.
fn fit_to(choice: &mut Choice, minutes: f64, pace: Pace) -> Result<()> {
    let Choice { model, training } = choice;
    // The paper's nine blocks are for 256 px.
    if let ModelConfig::Cut(config) | ModelConfig::Fastcut(config) = model
        && config.images.height_px.min(config.images.width_px) < 256
    {
        config.blocks = config.blocks.min(6);
    }
    let worth = (minutes * pace.operations_per_second / REFERENCE / MINUTES).sqrt();
    let affordable = worth * affordable_in_three_minutes(model)?;
    while operations_per_image(model)? > affordable && narrow(model) {}
    let images = minutes * 60.0 * pace.operations_per_second / operations_per_image(model)?;
    fit_average(training, images / 1000.0);
    Ok(())
}

fn affordable_in_three_minutes(model: &ModelConfig) -> Result<f64> {
    Ok(match model {
        ModelConfig::Dcgan(config) => {
            let mut usual = *config;
            usual.width = WIDTH;
            operations_per_image(&ModelConfig::Dcgan(usual))?.min(OPERATIONS_PER_IMAGE)
        }
        ModelConfig::Cyclegan(_) | ModelConfig::Cut(_) | ModelConfig::Fastcut(_) | ModelConfig::Sincut(_) => {
            OPERATIONS_PER_TRANSLATION
        }
        _ => OPERATIONS_PER_IMAGE,
    })
}

/// Makes networks narrower by a step, unless they are as narrow as is worth training.
fn narrow(model: &mut ModelConfig) -> bool {
    if let ModelConfig::R3gan(config) = model {
        let step = r3gan::Config::WIDTH_MULTIPLE;
        let is_wide = config.width_max > config.width;
        let narrower = if is_wide {
            &mut config.width_max
        } else {
            &mut config.width
        };
        let is_wider = *narrower > NARROWEST.max(step);
        *narrower -= if is_wider { step } else { 0 };
        return is_wider;
    }
    // Most of a StyleGAN2's arithmetic is at its finest maps, most of what it knows at the coarsest.
    if let ModelConfig::Stylegan2(config) = model
        && config.width < NARROWEST + WIDTH_STEP
    {
        let is_wider = config.width_max >= 2 * NARROWEST + WIDTH_STEP;
        config.width_max -= if is_wider { WIDTH_STEP } else { 0 };
        return is_wider;
    }
    // The judge of the paper's sizes has two channels for five of the translator's.
    if let ModelConfig::Sincut(config) = model {
        let is_wider = config.width >= NARROWEST + WIDTH_STEP;
        config.width -= if is_wider { WIDTH_STEP } else { 0 };
        config.discriminator_width = (2 * config.width / 5).next_multiple_of(WIDTH_STEP);
        return is_wider;
    }
    // A FastGAN of this width has twice as many channels where it has the fewest, up to 128 px, and sixteen times as
    // many where it has most.
    let (narrowest, step) = match model {
        ModelConfig::Fastgan(_) => (NARROWEST / 2, WIDTH_STEP / 2),
        _ => (NARROWEST, WIDTH_STEP),
    };
    let Some(width) = model.width_mut() else {
        return false;
    };
    let is_wider = *width >= narrowest + step;
    *width -= if is_wider { step } else { 0 };
    is_wider
}

/// Makes the average no longer than a run of this length is worth; one that looks back further is still gray at its end.
pub(crate) fn fit_average(training: &mut TrainingConfig, total_kimg: f64) {
    let tenths = (10.0 * AVERAGE_SHARE * total_kimg).round() / 10.0;
    let half_life = &mut training.ema_half_life_kimg;
    let shortest = tenths.max(0.1);
    *half_life = Ramp::new(half_life.start.min(shortest), half_life.end.min(shortest));
}

/// Operations of one step for each image, by the direct algorithms.
///
/// The generator runs forward once and backward once, the discriminator forward three times and backward three times;
/// a backward pass for data costs a forward pass, that for weights another. (Losses that compare pairs take one more
/// pass of both, penalties about twice as much.)
pub fn operations_per_image(model: &ModelConfig) -> Result<f64> {
    if model.translates() {
        return translation::operations_per_image(model);
    }
    let (device, key) = (Cpu::shared(), RandomKey::from_seed(0));
    let generator = model.generator(key, &device)?;
    let discriminator = model.discriminator(key, &device)?;
    let latents = generator.latents(key, 1, &device)?;
    let labels = (model.images().num_classes > 0)
        .then(|| Tensor::from_u32(&[0], [1], &device))
        .transpose()?;
    let (images, generating) = trace(|| generator.forward(&latents, labels.as_ref(), Mode::Evaluate))?;
    let (_, judging) = trace(|| discriminator.forward(&images, labels.as_ref(), Mode::Evaluate))?;
    // Generator: forward, data, weights. Discriminator: forward, data and weights of real and fake images, then
    // forward and data for the generator.
    Ok((3 * generating.flops() + 8 * judging.flops()) as f64)
}

/// Takes steps on random images with networks that are thrown away.
fn measure(choice: &Choice, device: &DeviceRef) -> Result<Pace> {
    /// Long enough that another program waking up is not all that is seen; at large sizes three steps must do.
    const ENOUGH: Duration = Duration::from_secs(1);
    /// Speed depends little on the batch, so it need not be a large one.
    const BATCH: usize = 16;
    /// A count of steps at which penalties that come now and then do come.
    const PENALIZED: u64 = 0;
    /// And one at which they do not.
    const PLAIN: u64 = 1;

    let begun = Instant::now();
    let batch = choice.training.batch.min(BATCH);
    let training = TrainingConfig {
        batch,
        accumulate: 1,
        ..choice.training.clone()
    };
    let config = throwaway(choice.model.clone(), training);
    let mut progress = Progress::new(config.seed);
    let mut contest = contest::new(&config, device)?;
    let mut images = 0;
    let mut step = |count: u64| -> Result<f64> {
        let (begun, before) = (Instant::now(), progress.images_seen);
        progress.steps = count;
        contest.step(Turn {
            progress: &mut progress,
            training: &config.training,
            next_batch: &mut |progress, _| Ok(vec![random_batch(&config.model, batch, progress, device)?]),
        })?;
        images = progress.images_seen - before;
        Ok(begun.elapsed().as_secs_f64())
    };
    // In the first one memory is still being found.
    step(PENALIZED)?;
    let (mut penalized, mut plain) = (Vec::new(), Vec::new());
    while plain.is_empty() || begun.elapsed() < ENOUGH {
        penalized.push(step(PENALIZED)?);
        plain.push(step(PLAIN)?);
    }
    let every = config.training.penalty_every.max(1);
    let mean = (median(&mut penalized) + (every - 1) as f64 * median(&mut plain)) / every as f64;
    let images_per_second = images as f64 / mean;
    Ok(Pace {
        operations_per_second: images_per_second * operations_per_image(&config.model)?,
        images_per_second,
        seconds: begun.elapsed().as_secs_f64(),
    })
}

fn random_batch(model: &ModelConfig, batch: usize, progress: &mut Progress, device: &DeviceRef) -> Result<Batch> {
    let images = model.images();
    let shape = [batch, images.height_px, images.width_px, images.channels];
    let key = progress.next_key();
    let random = |name| Tensor::normal(key.named(name), shape, device)?.mul_scalar(0.5);
    let labels = (images.num_classes > 0).then(|| Tensor::from_u32(&vec![0; batch], [batch], device));
    let partners = (material(model.family()) != Material::Images).then(|| random("partners"));
    Ok(Batch {
        images: random("images")?,
        labels: labels.transpose()?,
        partners: partners.transpose()?,
    })
}

/// The settings of a run that is not written anywhere.
pub(crate) fn throwaway(model: ModelConfig, training: TrainingConfig) -> RunConfig {
    RunConfig {
        version: RunConfig::VERSION,
        seed: 0,
        data: DataConfig {
            sources: Vec::new(),
            flip: false,
            swap: false,
            pottery_images: 0,
            open: OpenOptions::default(),
        },
        model,
        training,
        evaluation: EvaluationConfig::default(),
        device: DeviceConfig {
            threads: 0,
            precision: Precision::F32,
            isa: None,
        },
        plan: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        models::{ImageSpec, dcgan},
        train::defaults::{self, FAMILIES},
    };

    const IMAGES: ImageSpec = ImageSpec {
        height_px: 64,
        width_px: 64,
        channels: 3,
        num_classes: 0,
    };

    fn fitted(family: Option<&str>, minutes: f64, machines: f64) -> Choice {
        let mut choice = defaults::choose(family, None, IMAGES).unwrap();
        let reference = Pace::reference(&choice.model).unwrap();
        let pace = Pace {
            operations_per_second: machines * reference.operations_per_second,
            ..reference
        };
        fit_to(&mut choice, minutes, pace).unwrap();
        choice.model.validate().unwrap();
        choice
    }

    #[test]
    fn three_minutes_of_pots_cost_some_600_million_operations_an_image() {
        let operations = operations_per_image(&fitted(None, 3.0, 1.0).model).unwrap();
        assert!((0.5e9..=0.65e9).contains(&operations), "{operations}");
    }

    #[test]
    fn more_time_or_a_faster_machine_makes_wider_networks_up_to_the_papers() {
        for family in FAMILIES.into_iter().filter(|family| *family != "article") {
            let operations = |minutes, machines| {
                let choice = fitted(Some(family), minutes, machines);
                operations_per_image(&choice.model).unwrap()
            };
            let (short, longer) = (operations(3.0, 1.0), operations(60.0, 1.0));
            assert!(short <= longer, "{family}: {short} {longer}");
            assert_eq!(operations(3.0, 20.0), longer, "{family}");
            let paper = defaults::for_family(family, IMAGES).unwrap().0;
            let paper = operations_per_image(&paper).unwrap();
            assert!(operations(1e6, 1.0) <= paper, "{family}");
        }
    }

    #[test]
    fn an_average_fits_into_its_run() {
        let halved = |ramp, total_kimg| {
            let mut training = TrainingConfig {
                ema_half_life_kimg: ramp,
                ..defaults::plain()
            };
            fit_average(&mut training, total_kimg);
            training.ema_half_life_kimg
        };
        assert_eq!(halved(Ramp::constant(10.0), 50.0), Ramp::constant(2.0));
        assert_eq!(halved(Ramp::constant(10.0), 1000.0), Ramp::constant(10.0));
        assert_eq!(halved(Ramp::new(0.0, 10.0), 100.0), Ramp::new(0.0, 4.0));
        assert_eq!(halved(Ramp::constant(0.0), 100.0), Ramp::constant(0.0));
    }

    /// 147 GFLOP for a batch of 64 in the published count of this network's step.
    #[test]
    fn arithmetic_of_a_dcgan_is_what_others_count() {
        let model = ModelConfig::Dcgan(dcgan::Config::new(IMAGES));
        let giga = 64.0 * operations_per_image(&model).unwrap() / 1e9;
        assert!((135.0..160.0).contains(&giga), "{giga}");
    }

    #[test]
    fn a_pace_is_measured_for_every_family() {
        for family in FAMILIES {
            let images = ImageSpec {
                height_px: 32,
                width_px: 32,
                num_classes: if family == "dcgan" { 3 } else { 0 },
                ..IMAGES
            };
            let mut choice = defaults::choose(Some(family), None, images).unwrap();
            choice.training.batch = 2;
            for _ in 0..40 {
                narrow(&mut choice.model);
            }
            let pace = fit(&mut choice, 1.0, &Cpu::shared()).unwrap();
            assert!(pace.operations_per_second > 1e6, "{family}: {pace:?}");
            assert!(pace.images_per_second > 0.0 && pace.seconds > 0.0, "{family}: {pace:?}");
        }
    }
}
