//! The settings that a family starts from.

use gander_data::Size;

use super::{config::TrainingConfig, schedule::Ramp};
use crate::{
    augment::AugmentPolicy,
    error::{Error, Result},
    losses::Loss,
    models::{ImageSpec, ModelConfig, article, dcgan, r3gan, sngan},
};

/// Minutes of a run whose length nobody gave: long enough for pots that a stranger names.
pub const MINUTES: f64 = 3.0;

/// Different pots of the embedded world in a run.
pub const POTTERY_IMAGES: usize = 20_000;

/// Sides of the pictures of pots.
pub const POTTERY_SIZE: Size = Size { width_px: 64, height_px: 64 };

/// What [`choose`] chose.
#[derive(Debug, Clone, PartialEq)]
pub struct Choice {
    /// The two networks.
    pub model: ModelConfig,
    /// How they are trained.
    pub training: TrainingConfig,
}

/// A family and its settings for these images and, if known, this many minutes.
///
/// # Errors
/// [`Error::InvalidConfig`] if there is no such family or preset.
pub fn choose(
    family: Option<&str>,
    preset: Option<&str>,
    images: ImageSpec,
    minutes: Option<f64>,
) -> Result<Choice> {
    let _ = (preset, minutes);
    let (model, training) = for_family(family.unwrap_or("dcgan"), images)?;
    Ok(Choice { model, training })
}

/// The families by name.
pub const FAMILIES: [&str; 4] = ["article", "dcgan", "sngan", "r3gan"];

/// A family's settings for these images, before anyone overrides them.
///
/// # Errors
/// [`Error::InvalidConfig`] if there is no such family.
pub fn for_family(family: &str, images: ImageSpec) -> Result<(ModelConfig, TrainingConfig)> {
    Ok(match family {
        "article" => (ModelConfig::Article(article::Config::new(images)), article_training()),
        "dcgan" => (ModelConfig::Dcgan(dcgan::Config::new(images)), dcgan_training()),
        "sngan" => (ModelConfig::Sngan(sngan::Config::new(images)), sngan_training()),
        "r3gan" => (ModelConfig::R3gan(r3gan::Config::new(images)), r3gan_training(images)),
        other => {
            let reason = format!("no family named {other}; there are {}", FAMILIES.join(", "));
            return Err(Error::InvalidConfig { reason });
        }
    })
}

/// What all families share: no penalty, no augmentation, one update each.
fn plain() -> TrainingConfig {
    TrainingConfig {
        total_kimg: 1000.0,
        burn_in_kimg: 0.0,
        batch: 64,
        accumulate: 1,
        discriminator_updates: 1,
        generator_updates: 1,
        loss: Loss::NonSaturating,
        learning_rate: Ramp::constant(2e-4),
        beta1: 0.5,
        beta2: Ramp::constant(0.999),
        adam_eps: 1e-8,
        r1_gamma: Ramp::constant(0.0),
        r2_gamma: Ramp::constant(0.0),
        gradient_penalty: 0.0,
        weight_clip: 0.0,
        augment: AugmentPolicy::default(),
        augment_p: Ramp::constant(0.0),
        ema_half_life_kimg: Ramp::constant(10.0),
    }
}

/// The tutorial's batch and its five updates of each network in turn.
fn article_training() -> TrainingConfig {
    TrainingConfig { batch: 100, discriminator_updates: 5, generator_updates: 5, ..plain() }
}

/// Radford et al. 2016, section 3: Adam at 2e-4 with β1 0.5.
fn dcgan_training() -> TrainingConfig {
    plain()
}

/// Miyato et al. 2018, setting with one discriminator update; the hinge loss.
fn sngan_training() -> TrainingConfig {
    TrainingConfig { loss: Loss::Hinge, ..plain() }
}

/// Huang et al. 2024 with a shorter burn-in: a run here sees thousands of images, not millions.
///
/// `r1_gamma` grows with the number of pixels: 0.05 at 32 px, 2 at 64 px in the paper's table; its own text finds
/// anything from 1 to 100 to train at 64 px, and less is safer early in a short run than a collapse.
fn r3gan_training(images: ImageSpec) -> TrainingConfig {
    let pixels = (images.height_px * images.width_px) as f64;
    let gamma = (pixels / (64.0 * 64.0)).max(0.25);
    TrainingConfig {
        loss: Loss::Relativistic,
        learning_rate: Ramp::new(2e-4, 5e-5),
        beta1: 0.0,
        beta2: Ramp::new(0.9, 0.99),
        r1_gamma: Ramp::new(gamma, gamma / 10.0),
        r2_gamma: Ramp::new(gamma, gamma / 10.0),
        ema_half_life_kimg: Ramp::new(0.0, 10.0),
        ..plain()
    }
}
