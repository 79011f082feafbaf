//! What families of translators can be made of.

use super::{ImageSpec, ModelConfig, Sides, check, patches};
use crate::error::{self, Error};

/// The judge of the largest patches needs 32 px for a single logit.
pub(super) fn sides(family: &'static str) -> Sides {
    Sides {
        family,
        min: 32,
        max: 512,
    }
}

/// Refuses settings that no translator can be made of; sides and channels are checked already.
pub(super) fn validate(model: &ModelConfig) -> error::Result<()> {
    let images = model.images();
    check("model.images.num_classes", images.num_classes, images.num_classes == 0)?;
    let (width, multiple_px) = match model {
        ModelConfig::Pix2pix(config) => {
            check_judge(config.patch_px, config.discriminator_width)?;
            check("model.downs", config.downs, (2..=9).contains(&config.downs))?;
            not_negative("model.l1_weight", config.l1_weight)?;
            if !(0.0..1.0).contains(&config.dropout) {
                return Err(refused("model.dropout", config.dropout));
            }
            (config.width, 1 << config.downs)
        }
        ModelConfig::Cyclegan(config) => {
            check_judge(config.patch_px, config.discriminator_width)?;
            check("model.blocks", config.blocks, (1..=32).contains(&config.blocks))?;
            check("model.pool", config.pool, config.pool <= 1000)?;
            not_negative("model.cycle_weight", config.cycle_weight)?;
            not_negative("model.identity_weight", config.identity_weight)?;
            (config.width, 4)
        }
        ModelConfig::Cut(config) | ModelConfig::Fastcut(config) => {
            check_judge(config.patch_px, config.discriminator_width)?;
            check("model.blocks", config.blocks, (1..=32).contains(&config.blocks))?;
            check("model.patches", config.patches, (2..=4096).contains(&config.patches))?;
            check(
                "model.feature_dim",
                config.feature_dim,
                (1..=4096).contains(&config.feature_dim),
            )?;
            not_negative("model.contrast_weight", config.contrast_weight)?;
            temperature(config.temperature)?;
            (config.width, 4)
        }
        ModelConfig::Sincut(config) => {
            check("model.blocks", config.blocks, (1..=32).contains(&config.blocks))?;
            check("model.patches", config.patches, (1..=4096).contains(&config.patches))?;
            check(
                "model.feature_dim",
                config.feature_dim,
                (1..=4096).contains(&config.feature_dim),
            )?;
            check(
                "model.discriminator_width",
                config.discriminator_width,
                (1..=128).contains(&config.discriminator_width),
            )?;
            not_negative("model.contrast_weight", config.contrast_weight)?;
            not_negative("model.identity_weight", config.identity_weight)?;
            temperature(config.temperature)?;
            (config.width, 4)
        }
        _ => return Ok(()),
    };
    check("model.width", width, (1..=512).contains(&width))?;
    divides(model.family(), images, multiple_px)
}

fn divides(family: &'static str, images: ImageSpec, multiple_px: usize) -> error::Result<()> {
    let ImageSpec {
        height_px, width_px, ..
    } = images;
    if height_px.is_multiple_of(multiple_px) && width_px.is_multiple_of(multiple_px) {
        return Ok(());
    }
    Err(Error::UnsupportedSize {
        family,
        width_px,
        height_px,
        reason: format!("its sides are multiples of {multiple_px}"),
    })
}

fn check_judge(patch_px: usize, width: Option<usize>) -> error::Result<()> {
    check("model.patch_px", patch_px, patches::SIDES_PX.contains(&patch_px))?;
    let width = width.unwrap_or(1);
    check("model.discriminator_width", width, (1..=512).contains(&width))
}

fn temperature(value: f32) -> error::Result<()> {
    if value.is_finite() && value >= 0.01 {
        Ok(())
    } else {
        Err(refused("model.temperature", value))
    }
}

fn not_negative(setting: &'static str, value: f32) -> error::Result<()> {
    if value.is_finite() && value >= 0.0 {
        Ok(())
    } else {
        Err(refused(setting, value))
    }
}

fn refused(setting: &'static str, value: f32) -> Error {
    Error::InvalidSetting {
        setting,
        value: value.to_string(),
    }
}
