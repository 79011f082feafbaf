//! What settings of networks can be: a limit on each keeps a mistyped one, or a spoiled file, from asking for all memory.

use std::ops::RangeInclusive;

use super::{ImageSpec, patches};
use crate::error::{Error, Result};

/// Classes that networks can tell apart, at most.
const MOST_CLASSES: usize = 65_536;

/// The sides of images that a family can make.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sides {
    min: usize,
    max: usize,
    multiple_of: usize,
}

impl Sides {
    /// Any from `min` to `max`.
    pub(super) const fn between(min: usize, max: usize) -> Self {
        let multiple_of = 1;
        Self { min, max, multiple_of }
    }

    /// What translators can make: the judge of the largest patches needs 32 px for a single logit.
    pub(super) const fn of_translators(multiple_of: usize) -> Self {
        Self {
            multiple_of,
            ..Self::between(32, 512)
        }
    }

    /// Refuses images of other sides for a family.
    pub(super) fn check(self, family: &'static str, images: ImageSpec) -> Result<()> {
        let Self { min, max, multiple_of } = self;
        let ImageSpec {
            height_px, width_px, ..
        } = images;
        let both = |fits: &dyn Fn(usize) -> bool| fits(height_px) && fits(width_px);
        let reason = if !both(&|side| (min..=max).contains(&side)) {
            format!("its sides are from {min} to {max}")
        } else if !both(&|side| side.is_multiple_of(multiple_of)) {
            format!("its sides are multiples of {multiple_of}")
        } else {
            return Ok(());
        };
        Err(Error::UnsupportedSize {
            family,
            width_px,
            height_px,
            reason,
        })
    }
}

pub(super) fn check(setting: &'static str, value: usize, fits: bool) -> Result<()> {
    if fits { Ok(()) } else { Err(refused(setting, &value)) }
}

pub(super) fn between(setting: &'static str, value: usize, range: RangeInclusive<usize>) -> Result<()> {
    check(setting, value, range.contains(&value))
}

/// A number that may be 0.
pub(super) fn weight(setting: &'static str, value: f32) -> Result<()> {
    if value.is_finite() && value >= 0.0 {
        Ok(())
    } else {
        Err(refused(setting, &value))
    }
}

/// By which similarities are divided.
pub(super) fn temperature(value: f32) -> Result<()> {
    if value.is_finite() && value >= 0.01 {
        Ok(())
    } else {
        Err(refused("model.temperature", &value))
    }
}

/// The classes of a family that knows them.
pub(super) fn classes(images: ImageSpec) -> Result<()> {
    between("model.images.num_classes", images.num_classes, 0..=MOST_CLASSES)
}

/// Of a family that knows none.
pub(super) fn no_classes(images: ImageSpec) -> Result<()> {
    between("model.images.num_classes", images.num_classes, 0..=0)
}

/// Networks that make images from latents.
pub(super) fn latents(latent_dim: usize, width: usize) -> Result<()> {
    between("model.latent_dim", latent_dim, 1..=4096)?;
    between("model.width", width, 1..=1024)
}

/// The width of a discriminator that may have one of its own.
pub(super) fn discriminator_width(width: Option<usize>) -> Result<()> {
    between("model.discriminator_width", width.unwrap_or(1), 1..=1024)
}

/// The factors by which what the networks know of classes learns faster.
pub(super) fn class_rates(rates: [u32; 2]) -> Result<()> {
    rates
        .into_iter()
        .try_for_each(|rate| between("model.class_rates", rate as usize, 1..=1000))
}

/// The patches of a judge, and its width.
pub(super) fn patch_judge(patch_px: usize, width: Option<usize>) -> Result<()> {
    check("model.patch_px", patch_px, patches::SIDES_PX.contains(&patch_px))?;
    between("model.discriminator_width", width.unwrap_or(1), 1..=512)
}

pub(super) fn refused(setting: &'static str, value: &impl ToString) -> Error {
    Error::InvalidSetting {
        setting,
        value: value.to_string(),
    }
}
