//! The judge of patches that every family of translators has.
//!
//! Isola et al. 2017, <https://arxiv.org/abs/1611.07004>, section 3.2.2 and appendix 6.1.2: C64, C128, C256, C512 and a
//! logit, of 4 × 4 kernels, of which each judges 70 × 70 pixels. Biases stand only where no normalization follows,
//! which would take them away again.

use gander_nn::{
    Init, Mode, Parameters, Scope,
    layers::{Conv, ConvConfig},
};
use gander_tensor::{Activation, ConvOptions, DeviceRef, NormOptions, RandomKey, Result, Tensor, instance_norm};

/// As in DCGAN, on which this discriminator is built.
const LEAKY: Activation = Activation::LeakyRelu(0.2);

/// Settings of a [`PatchDiscriminator`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Config {
    /// Channels that it sees: of an image, or of both of a pair.
    pub channels: usize,
    /// Channels of its first layer.
    pub width: usize,
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
        let middle = [
            conv(width, 2 * width, 2).init(&mut scope.child("conv0"))?,
            conv(2 * width, 4 * width, 2).init(&mut scope.child("conv1"))?,
            conv(4 * width, 8 * width, 1).init(&mut scope.child("conv2"))?,
        ];
        let logit = ConvConfig {
            bias: Some(Init::ZEROS),
            ..conv(8 * width, 1, 1)
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

/// The network that judges patches of 70 × 70.
#[derive(Debug)]
pub struct PatchDiscriminator {
    parameters: Parameters,
    first: Conv,
    middle: [Conv; 3],
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
    /// - returns: `[batch, height / 8 − 2, width / 8 − 2, 1]`
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
