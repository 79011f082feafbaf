//! CycleGAN: a translator each way between two collections of images, and a judge of patches for each.
//!
//! Zhu, Park, Isola & Efros 2017, <https://arxiv.org/abs/1703.10593>, appendix 7. Weights start as N(0, 0.02).

use gander_nn::Init;
use gander_tensor::{DeviceRef, RandomKey, Result};
use serde::{Deserialize, Serialize};

use super::{
    ImageSpec, Settings,
    limits::{self, Sides},
    patches::{self, PatchDiscriminator},
    residual::{self, Downsampling, Output, ResidualTranslator},
    upsampling::Upsampling,
};
use crate::error;

/// Settings of the networks and of what they make small.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Images of both collections, as they are trained on.
    pub images: ImageSpec,
    /// Channels of the first layer of each network.
    pub width: usize,
    /// Residual blocks of each translator: 6 at 128 px, 9 from 256 px on.
    pub blocks: usize,
    /// How the translators double the resolution: the paper's transposed convolutions, or without a checkerboard.
    #[serde(default)]
    pub upsampling: Upsampling,
    /// What the translators paint: the paper's image, or the change to their input.
    #[serde(default)]
    pub output: Output,
    /// Side of the patches that are judged, in pixels: 16, 34 or 70, of which the last is the paper's at 256 px.
    #[serde(default = "patches::largest_px")]
    pub patch_px: usize,
    /// Channels of the judge's first layer; the translator's if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub discriminator_width: Option<usize>,
    /// Weight of the mean distance between an image and what comes back from the other collection.
    pub cycle_weight: f32,
    /// Weight of the mean distance between an image and what its own collection's translator makes of it.
    pub identity_weight: f32,
    /// Earlier fakes that each judge is shown again, half of the time in place of new ones.
    pub pool: usize,
}

/// Appendix 7.1 of the paper.
const WEIGHTS: Init = Init::normal(0.02);

impl Config {
    /// The paper's sizes and weights, without its checkerboard; blocks after the shorter side, and judged patches the
    /// paper's share of it. Translators begin at their input: in minutes a canvas that begins empty gets less far than doing
    /// nothing. The judge's width is its own: one that is narrowed along with the translators hardly tells the collections
    /// apart.
    pub fn new(images: ImageSpec) -> Self {
        Self {
            images,
            width: 64,
            blocks: if images.height_px.min(images.width_px) < 256 {
                6
            } else {
                9
            },
            upsampling: Upsampling::Repeated,
            output: Output::Change,
            patch_px: patches::side_px(images),
            discriminator_width: Some(64),
            cycle_weight: 10.0,
            identity_weight: 5.0,
            pool: 50,
        }
    }

    /// A translator with fresh weights.
    pub fn translator(&self, key: RandomKey, device: &DeviceRef) -> Result<ResidualTranslator> {
        let config = residual::Config {
            channels: self.images.channels,
            width: self.width,
            blocks: self.blocks,
            downsampling: Downsampling::Strided,
            upsampling: self.upsampling,
            output: self.output,
            init: WEIGHTS,
        };
        config.init(key, device)
    }

    /// A discriminator with fresh weights.
    pub fn discriminator(&self, key: RandomKey, device: &DeviceRef) -> Result<PatchDiscriminator> {
        let config = patches::Config {
            channels: self.images.channels,
            width: self.discriminator_width.unwrap_or(self.width),
            patch_px: self.patch_px,
            init: WEIGHTS,
        };
        config.init(key, device)
    }
}

impl Settings for Config {
    fn sides(&self) -> Sides {
        Sides::of_translators(4)
    }

    fn check(&self) -> error::Result<()> {
        limits::no_classes(self.images)?;
        limits::between("model.width", self.width, 1..=512)?;
        limits::patch_judge(self.patch_px, self.discriminator_width)?;
        limits::between("model.blocks", self.blocks, 1..=32)?;
        limits::between("model.pool", self.pool, 0..=1000)?;
        limits::weight("model.cycle_weight", self.cycle_weight)?;
        limits::weight("model.identity_weight", self.identity_weight)
    }
}

#[cfg(test)]
mod tests {
    use gander_tensor::{Reference, Tensor};

    use super::*;
    use crate::models::{tests::images, translator::Translator as _};

    /// The counts of the authors' networks less the biases that a normalization takes away.
    #[test]
    fn weights_are_as_many_as_in_the_paper() {
        let config = Config {
            upsampling: Upsampling::Transposed,
            output: Output::Image,
            patch_px: 70,
            discriminator_width: None,
            ..Config::new(images(128, 128, 3, 0))
        };
        let (device, key) = (Reference::shared(), RandomKey::from_seed(1));
        let block = 2 * 9 * 256 * 256;
        let scales = 2 * 9 * (64 * 128 + 128 * 256);
        let translator = 49 * 3 * 64 + scales + 6 * block + 49 * 64 * 3 + 3;
        assert_eq!(
            config.translator(key, &device).unwrap().parameters().num_weights(),
            translator
        );
        let judge = 16 * (3 * 64 + 64 * 128 + 128 * 256 + 256 * 512 + 512) + 64 + 1;
        assert_eq!(
            config.discriminator(key, &device).unwrap().parameters().num_weights(),
            judge
        );
    }

    #[test]
    fn a_fresh_translator_changes_little() {
        let (device, key) = (Reference::shared(), RandomKey::from_seed(1));
        let config = Config {
            width: 4,
            blocks: 1,
            ..Config::new(images(16, 16, 3, 0))
        };
        let reals = Tensor::normal(key, [1, 16, 16, 3], &device).unwrap();
        let far = |output| {
            let translator = Config { output, ..config }.translator(key, &device).unwrap();
            let change = translator.forward(&reals).unwrap().sub(&reals).unwrap();
            change.abs().unwrap().mean_all().unwrap().item().unwrap()
        };
        assert!(
            far(Output::Change) < 0.3 * far(Output::Image),
            "{} and {}",
            far(Output::Change),
            far(Output::Image)
        );
    }

    #[test]
    fn images_keep_their_size_and_patches_overlap() {
        let (device, key) = (Reference::shared(), RandomKey::from_seed(1));
        let config = Config {
            width: 2,
            blocks: 1,
            output: Output::Image,
            patch_px: 70,
            discriminator_width: None,
            ..Config::new(images(24, 32, 3, 0))
        };
        let reals = Tensor::normal(key, [2, 24, 32, 3], &device).unwrap();
        let made = config.translator(key, &device).unwrap().forward(&reals).unwrap();
        assert_eq!(made.shape()[..], [2, 24, 32, 3]);
        assert!(made.to_vec().unwrap().iter().all(|value| value.abs() <= 1.0));
        let logits = config.discriminator(key, &device).unwrap().forward(&made).unwrap();
        assert_eq!(logits.shape()[..], [2, 1, 2, 1]);
    }
}
