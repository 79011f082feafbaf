//! How many images look like copies of training images?

use gander::{
    features::FeatureSpace,
    metrics::{
        Better, Features, Score,
        memorization::{self, CopyRate, FEWEST},
        score_name,
    },
};
use gander_data::{Dataset, ImageShape};
use gander_tensor::{DeviceRef, Tensor};

use super::images::Reals;
use crate::{failure::refuse, screen::Screen};

/// Images of each side that are held against the training images.
pub(super) const NUM: usize = 1000;

/// Who looks, and on what.
pub(super) struct Eyes<'a> {
    pub(super) space: &'a dyn FeatureSpace,
    pub(super) shape: ImageShape,
    pub(super) device: &'a DeviceRef,
}

/// The share of images that lie as near to one training image as a twentieth of the held-out ones do.
pub(super) fn score(images: &[u8], reals: &Reals, eyes: &Eyes<'_>, screen: &Screen) -> anyhow::Result<Score> {
    let held_out = reals.holdout.as_ref().filter(|held_out| held_out.len() >= FEWEST);
    let Some(held_out) = held_out else {
        return Err(refuse(
            format!("copies are calibrated on held-out images, {FEWEST} at least"),
            "train with --holdout 5%, put them in a folder test/ beside train/, or leave copies out of --metrics",
        ));
    };
    let training = eyes.of_set(reals.train.as_ref(), reals.train.len())?;
    let of_held_out = memorization::nearest(&eyes.of_set(held_out.as_ref(), NUM)?, &training)?;
    let of_images = memorization::nearest(&eyes.of_bytes(images)?, &training)?;
    let Some(rate) = CopyRate::of(&of_images, &of_held_out) else {
        return Err(refuse("there are no images to look at", "ask for more with --num"));
    };
    let num = of_images.len();
    if rate.is_suspicious(num) {
        screen.warn(format!(
            "{:.1} % of the images are as near to one training image as {:.1} % of held-out ones: some are copies",
            100.0 * rate.fakes,
            100.0 * rate.held_out
        ));
    }
    Ok(Score {
        name: score_name("copies", num, Some(eyes.space.name())),
        value: rate.fakes,
        interval: None,
        better: Better::Lower,
    })
}

impl Eyes<'_> {
    /// Features of the first images of a set, at most `num`.
    fn of_set(&self, images: &dyn Dataset, num: usize) -> anyhow::Result<Features> {
        let mut features = Features::default();
        let mut pixels = Vec::new();
        let num = images.len().min(num);
        for from in (0..num).step_by(self.space.batch()) {
            let to = (from + self.space.batch()).min(num);
            pixels.resize((to - from) * self.shape.bytes(), 0);
            for (index, pixels) in (from..to).zip(pixels.chunks_exact_mut(self.shape.bytes())) {
                images.read(index, pixels)?;
            }
            features.append(self.of_bytes(&pixels)?)?;
        }
        Ok(features)
    }

    fn of_bytes(&self, pixels: &[u8]) -> anyhow::Result<Features> {
        let ImageShape {
            height_px,
            width_px,
            channels,
        } = self.shape;
        let mut features = Features::default();
        for pixels in pixels.chunks(self.space.batch() * self.shape.bytes()) {
            let values: Vec<f32> = pixels.iter().map(|&pixel| f32::from(pixel) / 127.5 - 1.0).collect();
            let num = pixels.len() / self.shape.bytes();
            let images = Tensor::from_slice(&values, [num, height_px, width_px, channels], self.device)?;
            features.append(self.space.extract(&images)?.features)?;
        }
        Ok(features)
    }
}
