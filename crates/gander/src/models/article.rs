//! The small GAN of countless tutorials, made right.
//!
//! What the tutorials show has two mistakes: the discriminator meets only fakes, labeled as real, and the generator
//! makes 7 × 7 images for a discriminator of 28 × 28. Here both networks are of one size, the discriminator sees real
//! and fake images, and the generator is the tutorial's: a Linear, two nearest upsamplings, three 3 × 3 convolutions.

use gander_nn::{
    Init, Mode, Parameters, Scope,
    layers::{Conv, ConvConfig, Linear, LinearConfig},
};
use gander_tensor::{Activation, ConvOptions, DeviceRef, RandomKey, Result, Tensor};
use serde::{Deserialize, Serialize};

use super::{
    Discriminator, Generator, ImageSpec, Settings,
    limits::{self, Sides},
};
use crate::error;

/// Settings of the tutorial's GAN.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The images to make; sides from 8 to 256.
    pub images: ImageSpec,
    /// Length of a latent vector, uniform in −1..1.
    pub latent_dim: usize,
    /// Channels of the first convolution; the second has half.
    pub width: usize,
}

impl Config {
    /// The tutorial's sizes.
    pub fn new(images: ImageSpec) -> Self {
        Self {
            images,
            latent_dim: 100,
            width: 128,
        }
    }

    /// Rows and columns of the first feature map: a quarter of the image, rounded up.
    fn first_sides(&self) -> [usize; 2] {
        [self.images.height_px.div_ceil(4), self.images.width_px.div_ceil(4)]
    }

    /// A generator with fresh weights.
    pub fn generator(&self, key: RandomKey, device: &DeviceRef) -> Result<ArticleGenerator> {
        let mut parameters = Parameters::default();
        let mut scope = Scope::new(&mut parameters, key, device);
        let [rows, columns] = self.first_sides();
        let conv = |inputs, outputs, activation| ConvConfig {
            options: ConvOptions {
                padding: 1,
                activation,
                ..ConvOptions::default()
            },
            init: Init::Xavier,
            ..ConvConfig::new(inputs, outputs, 3)
        };
        let (wide, narrow) = (self.width, self.width / 2);
        let linear = LinearConfig {
            activation: Activation::Relu,
            init: Init::Xavier,
            ..LinearConfig::new(self.latent_dim, rows * columns * wide)
        };
        let linear = linear.init(&mut scope.child("linear"))?;
        let convs = [
            conv(wide, wide, Activation::Relu).init(&mut scope.child("conv0"))?,
            conv(wide, narrow, Activation::Relu).init(&mut scope.child("conv1"))?,
            conv(narrow, self.images.channels, Activation::Tanh).init(&mut scope.child("conv2"))?,
        ];
        Ok(ArticleGenerator {
            config: *self,
            parameters,
            linear,
            convs,
        })
    }

    /// A discriminator with fresh weights.
    pub fn discriminator(&self, key: RandomKey, device: &DeviceRef) -> Result<ArticleDiscriminator> {
        let mut parameters = Parameters::default();
        let mut scope = Scope::new(&mut parameters, key, device);
        let conv = |inputs, outputs| ConvConfig {
            options: ConvOptions {
                activation: Activation::Relu,
                ..ConvOptions::default()
            },
            init: Init::Xavier,
            ..ConvConfig::new(inputs, outputs, 3)
        };
        let (wide, narrow) = (self.width, self.width / 2);
        let convs = [
            conv(self.images.channels, narrow).init(&mut scope.child("conv0"))?,
            conv(narrow, wide).init(&mut scope.child("conv1"))?,
        ];
        // Two valid 3 × 3 convolutions take four rows and columns away.
        let features = (self.images.height_px - 4) * (self.images.width_px - 4) * wide;
        let logit = LinearConfig {
            init: Init::Xavier,
            ..LinearConfig::new(features, 1)
        };
        let logit = logit.init(&mut scope.child("logit"))?;
        Ok(ArticleDiscriminator {
            parameters,
            convs,
            logit,
        })
    }
}

impl Settings for Config {
    fn sides(&self) -> Sides {
        Sides::between(8, 256)
    }

    fn check(&self) -> error::Result<()> {
        limits::no_classes(self.images)?;
        limits::between("model.latent_dim", self.latent_dim, 1..=4096)?;
        limits::between("model.width", self.width, 2..=2049)
    }
}

/// The tutorial's generator.
#[derive(Debug)]
pub struct ArticleGenerator {
    config: Config,
    parameters: Parameters,
    linear: Linear,
    convs: [Conv; 3],
}

impl Generator for ArticleGenerator {
    fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    fn latent_dim(&self) -> usize {
        self.config.latent_dim
    }

    fn latents(&self, key: RandomKey, batch: usize, device: &DeviceRef) -> Result<Tensor> {
        Tensor::uniform(key, [batch, self.latent_dim()], device)?
            .mul_scalar(2.0)?
            .add_scalar(-1.0)
    }

    fn forward(&self, latents: &Tensor, _labels: Option<&Tensor>, mode: Mode) -> Result<Tensor> {
        let [rows, columns] = self.config.first_sides();
        let x = self
            .linear
            .forward(latents, mode)?
            .reshape([latents.side(0), rows, columns, self.config.width])?;
        let x = self.convs[0].forward_upsampled(&x, mode)?;
        let x = self.convs[1].forward_upsampled(&x, mode)?;
        let images = self.convs[2].forward(&x, mode)?;
        images
            .slice(1, 0, self.config.images.height_px)?
            .slice(2, 0, self.config.images.width_px)
    }
}

/// The tutorial's discriminator.
#[derive(Debug)]
pub struct ArticleDiscriminator {
    parameters: Parameters,
    convs: [Conv; 2],
    logit: Linear,
}

impl Discriminator for ArticleDiscriminator {
    fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    fn forward(&self, images: &Tensor, _labels: Option<&Tensor>, mode: Mode) -> Result<Tensor> {
        let x = self.convs[0].forward(images, mode)?;
        let x = self.convs[1].forward(&x, mode)?;
        self.logit.forward(&x.flatten()?, mode)?.reshape([images.side(0)])
    }
}

#[cfg(test)]
mod tests {
    use gander_tensor::Reference;

    use super::*;

    /// 100 latents to 7 · 7 · 128 features, 3 × 3 convolutions to 128, 64 and 3; back 64, 128, and 24 · 24 · 128 to one.
    #[test]
    fn weights_are_as_many_as_in_the_tutorial() {
        let images = ImageSpec {
            height_px: 28,
            width_px: 28,
            channels: 3,
            num_classes: 0,
        };
        let (config, device, key) = (Config::new(images), Reference::shared(), RandomKey::from_seed(1));
        let conv = |inputs: usize, outputs: usize| 9 * inputs * outputs + outputs;
        let generator = 101 * 7 * 7 * 128 + conv(128, 128) + conv(128, 64) + conv(64, 3);
        assert_eq!(
            config.generator(key, &device).unwrap().parameters().num_weights(),
            generator
        );
        let discriminator = conv(3, 64) + conv(64, 128) + 24 * 24 * 128 + 1;
        assert_eq!(
            config.discriminator(key, &device).unwrap().parameters().num_weights(),
            discriminator
        );
    }

    #[test]
    fn latents_are_uniform() {
        let images = ImageSpec {
            height_px: 8,
            width_px: 8,
            channels: 1,
            num_classes: 0,
        };
        let (config, device) = (
            Config {
                width: 4,
                ..Config::new(images)
            },
            Reference::shared(),
        );
        let generator = config.generator(RandomKey::from_seed(1), &device).unwrap();
        let latents = generator
            .latents(RandomKey::from_seed(2), 20, &device)
            .unwrap()
            .to_vec()
            .unwrap();
        assert!(latents.iter().all(|value| (-1.0..=1.0).contains(value)));
        assert!(latents.iter().any(|&value| value < -0.9) && latents.iter().any(|&value| value > 0.9));
    }
}
