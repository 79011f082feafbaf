//! The settings that a run starts from: a family's, a preset's, and what fits the time.

use gander_data::Size;
use serde::Deserialize;
use toml::Table;

use super::{
    config::TrainingConfig,
    overrides,
    schedule::{Probability, Ramp},
};
use crate::{
    augment::AugmentPolicy,
    error::{Error, Result},
    losses::Loss,
    models::{
        ImageSpec, ModelConfig, article, cut, cyclegan, dcgan, fastgan, pix2pix, r3gan, sincut, sngan, stylegan2,
    },
};

/// Different pots of the embedded world in a run.
pub const POTTERY_IMAGES: usize = 10_000;

/// Sides of the pictures of pots.
pub const POTTERY_SIZE: Size = Size {
    width_px: 64,
    height_px: 64,
};

/// Sides of the crops that a family of two pictures learns from.
pub const CROP_SIZE: Size = Size {
    width_px: 64,
    height_px: 64,
};

/// Different crops of each of two pictures, as many as in the code of Park et al. 2020.
pub const CROPS: usize = 100_000;

/// The families by name.
pub const FAMILIES: [&str; 11] = [
    "article",
    "dcgan",
    "sngan",
    "r3gan",
    "fastgan",
    "stylegan2",
    "pix2pix",
    "cyclegan",
    "cut",
    "fastcut",
    "sincut",
];

/// What a family learns from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Material {
    /// One set of images.
    Images,
    /// Two sets of which the same index shows partners.
    Pairs,
    /// Two sets that have nothing to do with each other.
    Collections,
    /// Two pictures, of which crops are taken.
    Pictures,
}

/// What a family learns from.
pub fn material(family: &str) -> Material {
    match family {
        "pix2pix" => Material::Pairs,
        "cyclegan" | "cut" | "fastcut" => Material::Collections,
        "sincut" => Material::Pictures,
        _ => Material::Images,
    }
}

/// Whether the networks of a family can be told of classes.
pub fn knows_classes(family: &str) -> bool {
    material(family) == Material::Images && family != "article"
}

/// The named sets of settings.
const PRESETS: [(&str, &str); 3] = [
    ("quick", include_str!("../../presets/quick.toml")),
    ("dcgan", include_str!("../../presets/dcgan.toml")),
    ("sndcgan", include_str!("../../presets/sndcgan.toml")),
];

/// The preset of a run for which nobody named a family or a preset.
const DEFAULT_PRESET: &str = "quick";

/// What [`choose`] chose.
#[derive(Debug, Clone, PartialEq)]
pub struct Choice {
    /// The two networks.
    pub model: ModelConfig,
    /// How they are trained.
    pub training: TrainingConfig,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Preset {
    #[expect(dead_code, reason = "for readers of the file")]
    description: String,
    family: String,
    #[serde(default)]
    model: Table,
    #[serde(default)]
    training: Table,
}

/// The names of the presets.
pub fn preset_names() -> impl Iterator<Item = &'static str> {
    PRESETS.iter().map(|(name, _)| *name)
}

/// A family and its settings for these images, whatever the time.
///
/// # Errors
/// [`Error::InvalidConfig`] if there is no such family or preset, or if they contradict each other.
pub fn choose(family: Option<&str>, preset: Option<&str>, images: ImageSpec) -> Result<Choice> {
    let preset = match (family, preset) {
        (_, Some(name)) => Some(read_preset(name)?),
        (None, None) => Some(read_preset(DEFAULT_PRESET)?),
        (Some(_), None) => None,
    };
    let named = preset.as_ref().map(|preset| preset.family.as_str());
    let family = match (family, named) {
        (Some(family), Some(named)) if family != named => {
            let reason = format!("the preset is of the family {named}, not {family}");
            return Err(Error::InvalidConfig { reason });
        }
        (family, named) => family.or(named).unwrap_or_default(),
    };
    let (mut model, mut training) = for_family(family, images)?;
    model.validate()?;
    if let Some(preset) = preset {
        model = overrides::merge(model, &preset.model)?;
        training = overrides::merge(training, &preset.training)?;
    }
    Ok(Choice { model, training })
}

fn read_preset(name: &str) -> Result<Preset> {
    let invalid = |reason: String| Error::InvalidConfig { reason };
    let (_, text) = PRESETS.iter().find(|(known, _)| *known == name).ok_or_else(|| {
        invalid(format!(
            "no preset named {name}; there are {}",
            preset_names().collect::<Vec<_>>().join(", ")
        ))
    })?;
    toml::from_str(text).map_err(|error| invalid(format!("preset {name}: {error}")))
}

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
        "fastgan" => (ModelConfig::Fastgan(fastgan::Config::new(images)), fastgan_training()),
        "stylegan2" => (
            ModelConfig::Stylegan2(stylegan2::Config::new(images)),
            stylegan2_training(images),
        ),
        "pix2pix" => (ModelConfig::Pix2pix(pix2pix::Config::new(images)), pix2pix_training()),
        "cyclegan" => (
            ModelConfig::Cyclegan(cyclegan::Config::new(images)),
            translation_training(0.5),
        ),
        "cut" => (ModelConfig::Cut(cut::Config::new(images)), translation_training(0.5)),
        "fastcut" => (
            ModelConfig::Fastcut(cut::Config::fast(images)),
            translation_training(0.25),
        ),
        "sincut" => (ModelConfig::Sincut(sincut::Config::new(images)), sincut_training()),
        other => {
            let reason = format!("no family named {other}; there are {}", FAMILIES.join(", "));
            return Err(Error::InvalidConfig { reason });
        }
    })
}

/// What all families share: no penalty, no augmentation, one update each.
pub(crate) fn plain() -> TrainingConfig {
    TrainingConfig {
        total_kimg: 1000.0,
        burn_in_kimg: 0.0,
        batch: 64,
        accumulate: 1,
        decay_share: 0.0,
        discriminator_updates: 1,
        generator_updates: 1,
        loss: Loss::NonSaturating,
        learning_rate: Ramp::constant(2e-4),
        beta1: 0.5,
        beta2: Ramp::constant(0.999),
        adam_eps: 1e-8,
        r1_gamma: Ramp::constant(0.0),
        r2_gamma: Ramp::constant(0.0),
        penalty_every: 1,
        gradient_penalty: 0.0,
        weight_clip: 0.0,
        augment: AugmentPolicy::default(),
        augment_p: Probability::constant(0.0),
        ema_half_life_kimg: Ramp::constant(10.0),
    }
}

/// The tutorial's batch and its five updates of each network in turn.
fn article_training() -> TrainingConfig {
    TrainingConfig {
        batch: 100,
        discriminator_updates: 5,
        generator_updates: 5,
        ..plain()
    }
}

/// Radford et al. 2016, section 3: Adam at 2e-4 with β1 0.5.
fn dcgan_training() -> TrainingConfig {
    plain()
}

/// Miyato et al. 2018, setting with one discriminator update; the hinge loss.
fn sngan_training() -> TrainingConfig {
    TrainingConfig {
        loss: Loss::Hinge,
        ..plain()
    }
}

/// Isola et al. 2017 and Zhu et al. 2017: Adam at 2e-4 with β1 0.5 on one image at a time, then down to zero in a line:
/// over the second half of the run, for `FastCUT` over its last quarter. No average: what decays needs none.
fn translation_training(decay_share: f64) -> TrainingConfig {
    TrainingConfig {
        total_kimg: 100.0,
        batch: 1,
        decay_share,
        ema_half_life_kimg: Ramp::constant(0.0),
        ..plain()
    }
}

/// Isola et al. 2017 with batches of 4 at twice their rate: a U-Net has so few positions inside that one image keeps no
/// processor busy, and 83,000 images in batches drew what 8,000 one by one in the same time had not begun to.
fn pix2pix_training() -> TrainingConfig {
    TrainingConfig {
        batch: 4,
        learning_rate: Ramp::constant(4e-4),
        ..translation_training(0.5)
    }
}

/// The code of Park et al. 2020, `models/sincut_model.py`: batches of 16 crops, Adam at 2e-3 without a mean of gradients, R1 at every
/// step, a rate that falls over the second half.
fn sincut_training() -> TrainingConfig {
    TrainingConfig {
        batch: 16,
        learning_rate: Ramp::constant(2e-3),
        beta1: 0.0,
        beta2: Ramp::constant(0.99),
        r1_gamma: Ramp::constant(1.0),
        ..translation_training(0.5)
    }
}

/// Huang et al. 2024 with a burn-in of a fifth of the run: it sees thousands of images here, not millions.
///
/// `r1_gamma` grows with the number of pixels: 0.05 at 32 px and 2 at 64 px in the paper's table; its own text finds
/// anything from 1 to 100 to train at 64 px.
pub(crate) fn r3gan_training(images: ImageSpec) -> TrainingConfig {
    let pixels = (images.height_px * images.width_px) as f64;
    let gamma = (pixels / (64.0 * 64.0)).max(0.25);
    TrainingConfig {
        burn_in_kimg: 200.0,
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

/// Liu et al. 2021 and their code: batches of 8, the hinge with soft margins, color and translation changed in every
/// image, and an average that keeps 0.999 of itself at each step: a half-life of 693 batches.
fn fastgan_training() -> TrainingConfig {
    TrainingConfig {
        batch: 8,
        loss: Loss::SoftHinge,
        augment: AugmentPolicy {
            cutout: 0.0,
            ..AugmentPolicy::default()
        },
        augment_p: Probability::constant(1.0),
        ema_half_life_kimg: Ramp::constant(5.5),
        ..plain()
    }
}

/// Karras et al. 2020 (ADA), the setting `auto` of their code for one processor: a batch that shrinks above 128 px, R1 by
/// pixels and batch in every sixteenth step, augmentation as strong as overfitting asks for. The average reaches its
/// half-life within the burn-in.
fn stylegan2_training(images: ImageSpec) -> TrainingConfig {
    let pixels = (images.height_px * images.width_px) as f64;
    let side = images.height_px.max(images.width_px);
    let batch = (4096 / side / 4 * 4).clamp(4, 32);
    TrainingConfig {
        burn_in_kimg: 200.0,
        batch,
        learning_rate: Ramp::constant(2.5e-3),
        beta1: 0.0,
        beta2: Ramp::constant(0.99),
        r1_gamma: Ramp::constant(2e-4 * pixels / batch as f64),
        penalty_every: 16,
        augment_p: Probability::ADAPTIVE,
        ema_half_life_kimg: Ramp::new(0.0, batch as f64 * 10.0 / 32.0),
        ..plain()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IMAGES: ImageSpec = ImageSpec {
        height_px: 64,
        width_px: 64,
        channels: 3,
        num_classes: 0,
    };

    #[test]
    fn every_preset_can_be_read_and_used() {
        for name in preset_names() {
            let choice = choose(None, Some(name), IMAGES).unwrap();
            assert!(FAMILIES.contains(&choice.model.family()), "{name}");
        }
        assert!(choose(Some("r3gan"), Some("quick"), IMAGES).is_err());
        assert!(choose(None, Some("slow"), IMAGES).is_err());
    }
}
