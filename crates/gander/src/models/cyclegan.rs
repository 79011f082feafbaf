//! CycleGAN's networks: a residual translator between two collections of images, and a judge of patches.
//!
//! Zhu, Park, Isola & Efros 2017, <https://arxiv.org/abs/1703.10593>, appendix 7.2. The translator goes c7-64, d128, d256,
//! residual blocks of 256, u128, u64, c7-image, with instance normalization and reflected borders; the discriminator
//! C64, C128, C256, C512 with 4 × 4 kernels judges patches of 70 × 70. Weights start as N(0, 0.02).
//!
//! Biases stand only where no normalization follows, which would take them away again.

use gander_nn::{
    Init, Mode, Parameters, Scope,
    layers::{Conv, ConvConfig, ConvTranspose},
};
use gander_tensor::{Activation, ConvOptions, DeviceRef, NormOptions, RandomKey, Result, Tensor, instance_norm};
use serde::{Deserialize, Serialize};

/// Settings of both networks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Channels of the images of both collections.
    pub channels: usize,
    /// Channels of the first layer of each network.
    pub width: usize,
    /// Residual blocks of the translator: 6 at 128 px, 9 from 256 px on.
    pub blocks: usize,
}

/// Appendix 7.1 of the paper.
const WEIGHTS: Init = Init::normal(0.02);

/// As in DCGAN, on which the discriminator is built.
const LEAKY: Activation = Activation::LeakyRelu(0.2);

impl Config {
    /// The paper's sizes for images of 128 px.
    pub fn new(channels: usize) -> Self {
        Self {
            channels,
            width: 64,
            blocks: 6,
        }
    }

    /// A translator with fresh weights.
    pub fn translator(&self, key: RandomKey, device: &DeviceRef) -> Result<Translator> {
        let mut parameters = Parameters::default();
        let mut scope = Scope::new(&mut parameters, key, device);
        let width = self.width;
        let first = conv(self.channels, width, 7, 1, 0).init(&mut scope.child("from_image"))?;
        let downs = [
            conv(width, 2 * width, 3, 2, 1).init(&mut scope.child("down0"))?,
            conv(2 * width, 4 * width, 3, 2, 1).init(&mut scope.child("down1"))?,
        ];
        let blocks = (0..self.blocks)
            .map(|block| {
                let mut scope = scope.child(&format!("block{block}"));
                let conv = || conv(4 * width, 4 * width, 3, 1, 0);
                Ok([
                    conv().init(&mut scope.child("conv0"))?,
                    conv().init(&mut scope.child("conv1"))?,
                ])
            })
            .collect::<Result<_>>()?;
        let up = |inputs, outputs| {
            let config = conv(inputs, outputs, 3, 2, 1);
            let options = ConvOptions {
                output_padding: 1,
                ..config.options
            };
            ConvConfig { options, ..config }
        };
        let ups = [
            up(4 * width, 2 * width).init_transpose(&mut scope.child("up0"))?,
            up(2 * width, width).init_transpose(&mut scope.child("up1"))?,
        ];
        let last = conv(width, self.channels, 7, 1, 0);
        let last = ConvConfig {
            bias: Some(Init::ZEROS),
            options: ConvOptions {
                activation: Activation::Tanh,
                ..last.options
            },
            ..last
        };
        let last = last.init(&mut scope.child("to_image"))?;
        Ok(Translator {
            parameters,
            first,
            downs,
            blocks,
            ups,
            last,
        })
    }

    /// A discriminator with fresh weights.
    pub fn discriminator(&self, key: RandomKey, device: &DeviceRef) -> Result<PatchDiscriminator> {
        let mut parameters = Parameters::default();
        let mut scope = Scope::new(&mut parameters, key, device);
        let width = self.width;
        let first = conv(self.channels, width, 4, 2, 1);
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
            conv(width, 2 * width, 4, 2, 1).init(&mut scope.child("conv0"))?,
            conv(2 * width, 4 * width, 4, 2, 1).init(&mut scope.child("conv1"))?,
            conv(4 * width, 8 * width, 4, 1, 1).init(&mut scope.child("conv2"))?,
        ];
        let logit = ConvConfig {
            bias: Some(Init::ZEROS),
            ..conv(8 * width, 1, 4, 1, 1)
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

/// A convolution without bias.
fn conv(inputs: usize, outputs: usize, kernel: usize, stride: usize, padding: usize) -> ConvConfig {
    ConvConfig {
        options: ConvOptions {
            stride,
            padding,
            ..ConvOptions::default()
        },
        init: WEIGHTS,
        bias: None,
        ..ConvConfig::new(inputs, outputs, kernel)
    }
}

fn norm(x: &Tensor, activation: Activation) -> Result<Tensor> {
    let options = NormOptions {
        activation,
        ..NormOptions::default()
    };
    instance_norm(x, None, options)
}

/// The network that turns an image of one collection into one of the other.
#[derive(Debug)]
pub struct Translator {
    parameters: Parameters,
    first: Conv,
    downs: [Conv; 2],
    blocks: Vec<[Conv; 2]>,
    ups: [ConvTranspose; 2],
    last: Conv,
}

impl Translator {
    /// Its named tensors.
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// Images of the other collection.
    ///
    /// # Shapes
    /// - `images`: `[batch, height, width, channels]`, −1..=1, sides multiples of 4
    /// - returns: the same shape, −1..=1
    pub fn forward(&self, images: &Tensor) -> Result<Tensor> {
        let mode = Mode::Train;
        let mut x = norm(&self.first.forward(&images.pad_reflect(3)?, mode)?, Activation::Relu)?;
        for down in &self.downs {
            x = norm(&down.forward(&x, mode)?, Activation::Relu)?;
        }
        for [conv0, conv1] in &self.blocks {
            let inner = norm(&conv0.forward(&x.pad_reflect(1)?, mode)?, Activation::Relu)?;
            x = x.add(&norm(
                &conv1.forward(&inner.pad_reflect(1)?, mode)?,
                Activation::Identity,
            )?)?;
        }
        for up in &self.ups {
            x = norm(&up.forward(&x)?, Activation::Relu)?;
        }
        self.last.forward(&x.pad_reflect(3)?, mode)
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
        let mut x = self.first.forward(images, mode)?;
        for conv in &self.middle {
            x = norm(&conv.forward(&x, mode)?, LEAKY)?;
        }
        self.logit.forward(&x, mode)
    }
}

#[cfg(test)]
mod tests {
    use gander_tensor::Reference;

    use super::*;

    /// The counts of the authors' networks less the biases that a normalization takes away.
    #[test]
    fn weights_are_as_many_as_in_the_paper() {
        let (config, device, key) = (Config::new(3), Reference::shared(), RandomKey::from_seed(1));
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
    fn images_keep_their_size_and_patches_overlap() {
        let (device, key) = (Reference::shared(), RandomKey::from_seed(1));
        let config = Config {
            width: 2,
            blocks: 1,
            ..Config::new(3)
        };
        let images = Tensor::normal(key, [2, 24, 32, 3], &device).unwrap();
        let made = config.translator(key, &device).unwrap().forward(&images).unwrap();
        assert_eq!(made.shape()[..], [2, 24, 32, 3]);
        assert!(made.to_vec().unwrap().iter().all(|value| value.abs() <= 1.0));
        let logits = config.discriminator(key, &device).unwrap().forward(&made).unwrap();
        assert_eq!(logits.shape()[..], [2, 1, 2, 1]);
    }
}
