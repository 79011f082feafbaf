//! The judge of patches that every family of translators has.
//!
//! Isola et al. 2017, <https://arxiv.org/abs/1611.07004>, section 3.2.2 and appendix 6.1.2: C64, C128, C256, C512 and a
//! logit, of 4 × 4 kernels, of which each judges 70 × 70 pixels; with a halving and a layer less 34, and 16 with two. Biases
//! stand only where no normalization follows, which would take them away again.

use gander_nn::{
    Init, Mode, Parameters, Scope,
    layers::{Conv, ConvConfig},
};
use gander_tensor::{Activation, ConvOptions, DeviceRef, NormOptions, RandomKey, Result, Tensor, instance_norm};

use super::ImageSpec;

/// As in DCGAN, on which this discriminator is built.
const LEAKY: Activation = Activation::LeakyRelu(0.2);

/// Sides of the patches that a discriminator can judge, in pixels: with one, two and three halvings.
pub const SIDES_PX: [usize; 3] = [16, 34, 70];

/// The side that is the paper's share of a picture: 70 of its 256 px.
pub fn side_px(images: ImageSpec) -> usize {
    let share = images.height_px.min(images.width_px) * 70 / 256;
    *SIDES_PX
        .iter()
        .min_by_key(|side| side.abs_diff(share))
        .expect("there are three")
}

/// The paper's, and that of files which do not say.
pub(super) fn largest_px() -> usize {
    SIDES_PX[2]
}

/// Settings of a [`PatchDiscriminator`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Config {
    /// Channels that it sees: of an image, or of both of a pair.
    pub channels: usize,
    /// Channels of its first layer.
    pub width: usize,
    /// Side of a patch: one of [`SIDES_PX`].
    pub patch_px: usize,
    /// First values of its weights.
    pub init: Init,
}

impl Config {
    /// A discriminator with fresh weights.
    pub fn init(&self, key: RandomKey, device: &DeviceRef) -> Result<PatchDiscriminator> {
        let mut parameters = Parameters::default();
        let mut scope = Scope::new(&mut parameters, key, device);
        let width = self.width;
        let conv = |inputs, outputs, stride| ConvConfig {
            options: ConvOptions {
                stride,
                padding: 1,
                ..ConvOptions::default()
            },
            init: self.init,
            bias: None,
            ..ConvConfig::new(inputs, outputs, 4)
        };
        let first = conv(self.channels, width, 2);
        let first = ConvConfig {
            bias: Some(Init::ZEROS),
            options: ConvOptions {
                activation: LEAKY,
                ..first.options
            },
            ..first
        };
        let first = first.init(&mut scope.child("from_image"))?;
        // All but the last halve the image once more.
        let layers = SIDES_PX.iter().take_while(|&&side| side <= self.patch_px).count();
        let middle = (0..layers).map(|i| {
            let stride = if i + 1 < layers { 2 } else { 1 };
            conv(width << i, width << (i + 1), stride).init(&mut scope.child(&format!("conv{i}")))
        });
        let middle = middle.collect::<Result<_>>()?;
        let logit = ConvConfig {
            bias: Some(Init::ZEROS),
            ..conv(width << layers, 1, 1)
        };
        let logit = logit.init(&mut scope.child("logit"))?;
        Ok(PatchDiscriminator {
            parameters,
            first,
            middle,
            logit,
        })
    }
}

/// The network that judges patches.
#[derive(Debug)]
pub struct PatchDiscriminator {
    parameters: Parameters,
    first: Conv,
    middle: Vec<Conv>,
    logit: Conv,
}

impl PatchDiscriminator {
    /// Its named tensors.
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// A logit for each patch, large for real.
    ///
    /// # Shapes
    /// - `images`: `[batch, height, width, channels]`
    /// - returns: `[batch, height / s − 2, width / s − 2, 1]`, where `s` is 2, 4 or 8 for patches of 16, 34 or 70 px
    pub fn forward(&self, images: &Tensor) -> Result<Tensor> {
        let mode = Mode::Train;
        let options = NormOptions {
            activation: LEAKY,
            ..NormOptions::default()
        };
        let mut x = self.first.forward(images, mode)?;
        for conv in &self.middle {
            x = instance_norm(&conv.forward(&x, mode)?, None, options)?;
        }
        self.logit.forward(&x, mode)
    }
}

#[cfg(test)]
mod tests {
    use gander_tensor::Reference;

    use super::*;
    use crate::models::tests::images;

    #[test]
    fn patches_lie_as_close_as_halvings_allow() {
        let device = Reference::shared();
        let key = RandomKey::from_seed(1);
        for (patch_px, patches) in [(16, 30), (34, 14), (70, 6)] {
            let config = Config {
                channels: 3,
                width: 2,
                patch_px,
                init: Init::normal(0.02),
            };
            let judge = config.init(key, &device).unwrap();
            let logits = judge.forward(&Tensor::normal(key, [1, 64, 64, 3], &device).unwrap());
            assert_eq!(logits.unwrap().shape()[..], [1, patches, patches, 1]);
        }
    }

    #[test]
    fn a_patch_is_the_papers_share_of_a_picture() {
        let side = |height_px, width_px| side_px(images(height_px, width_px, 3, 0));
        assert_eq!(
            [side(256, 256), side(128, 192), side(64, 64), side(32, 512)],
            [70, 34, 16, 16]
        );
    }
}
