//! SNGAN: a discriminator whose every weight has a largest singular value of one.
//!
//! Miyato, Kataoka, Koyama & Yoshida 2018, <https://arxiv.org/abs/1802.05957>: the plain networks of its table 3 and the
//! residual ones of its table 4, both exact at 32 × 32 with width 64. Other sizes have more or fewer halvings; classes
//! enter by scales and shifts behind the normalizations and a projection beside the logit (Miyato & Koyama 2018).

mod plain;
mod residual;

use gander_nn::{
    Init, Mode, Parameters, Scope,
    layers::{Embedding, EmbeddingConfig},
};
use gander_tensor::{Activation, ConvOptions, DeviceRef, RandomKey, Result, Tensor};
use serde::{Deserialize, Serialize};

use super::{
    Discriminator, Generator, Grid, ImageSpec, Settings,
    conditioning::{self, ClassNorm, Classes},
    limits::{self, Sides},
};
use crate::error;

/// Settings of an SNGAN.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The images to make; both sides from 16 to 256.
    pub images: ImageSpec,
    /// Length of a latent vector.
    pub latent_dim: usize,
    /// Channels of the plain networks at full resolution; the residual discriminator has twice as many in its blocks,
    /// the residual generator four times.
    pub width: usize,
    /// Channels of the discriminator instead, at the same place; `width` if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub discriminator_width: Option<usize>,
    /// What the networks are made of.
    pub architecture: Architecture,
    /// Factors on the learning rate of what a class adds: to the generator's normalizations, and its vector in the
    /// discriminator. One where a file does not say.
    #[serde(default = "conditioning::no_rates")]
    pub class_rates: [u32; 2],
}

/// What the networks are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Architecture {
    /// Convolutions one after the other: table 3.
    #[default]
    Plain,
    /// Blocks with a way around them: table 4.
    Residual,
}

impl Config {
    /// The plain networks with the sizes of the paper.
    pub fn new(images: ImageSpec) -> Self {
        Self {
            images,
            latent_dim: 128,
            width: 64,
            discriminator_width: None,
            architecture: Architecture::Plain,
            class_rates: conditioning::no_rates(),
        }
    }

    /// What the generator's normalizations know of classes.
    fn classes(&self) -> Classes {
        Classes {
            count: self.images.num_classes,
            lr_multiplier: self.class_rates[0] as f32,
        }
    }

    /// The same with the discriminator's width.
    fn judging(&self) -> Self {
        Self {
            width: self.discriminator_width.unwrap_or(self.width),
            ..*self
        }
    }

    /// A generator with fresh weights.
    pub fn generator(&self, key: RandomKey, device: &DeviceRef) -> Result<SnganGenerator> {
        let mut parameters = Parameters::default();
        let mut scope = Scope::new(&mut parameters, key, device);
        let body = match self.architecture {
            Architecture::Plain => GeneratorBody::Plain(plain::Generator::new(self, &mut scope)?),
            Architecture::Residual => GeneratorBody::Residual(residual::Generator::new(self, &mut scope)?),
        };
        Ok(SnganGenerator {
            latent_dim: self.latent_dim,
            grid: Grid::new(self.images),
            parameters,
            body,
        })
    }

    /// A discriminator with fresh weights.
    pub fn discriminator(&self, key: RandomKey, device: &DeviceRef) -> Result<SnganDiscriminator> {
        let own = self.judging();
        let mut parameters = Parameters::default();
        let mut scope = Scope::new(&mut parameters, key, device);
        let body = match self.architecture {
            Architecture::Plain => DiscriminatorBody::Plain(plain::Discriminator::new(&own, &mut scope)?),
            Architecture::Residual => DiscriminatorBody::Residual(residual::Discriminator::new(&own, &mut scope)?),
        };
        let features = match &body {
            DiscriminatorBody::Plain(body) => body.features,
            DiscriminatorBody::Residual(body) => body.features,
        };
        let classes = (self.images.num_classes > 0)
            .then(|| {
                let classes = EmbeddingConfig {
                    init: Init::Xavier,
                    lr_multiplier: self.class_rates[1] as f32,
                    ..EmbeddingConfig::new(self.images.num_classes, features)
                };
                classes.init_spectral(&mut scope.child("classes"))
            })
            .transpose()?;
        Ok(SnganDiscriminator {
            grid: Grid::new(self.images),
            parameters,
            body,
            classes,
        })
    }
}

impl Settings for Config {
    fn sides(&self) -> Sides {
        Sides::between(16, 256)
    }

    fn check(&self) -> error::Result<()> {
        limits::classes(self.images)?;
        limits::latents(self.latent_dim, self.width)?;
        limits::discriminator_width(self.discriminator_width)?;
        limits::class_rates(self.class_rates)
    }
}

/// A convolution that keeps the resolution, or with a kernel of 4 halves (transposed: doubles) it.
fn conv_options(kernel: usize, activation: Activation) -> ConvOptions {
    let stride = if kernel == 4 { 2 } else { 1 };
    ConvOptions {
        stride,
        padding: kernel / 2 - usize::from(kernel == 4),
        activation,
        ..ConvOptions::default()
    }
}

/// The generator of [`Config`].
#[derive(Debug)]
pub struct SnganGenerator {
    latent_dim: usize,
    grid: Grid,
    parameters: Parameters,
    body: GeneratorBody,
}

#[derive(Debug)]
enum GeneratorBody {
    Plain(plain::Generator),
    Residual(residual::Generator),
}

impl Generator for SnganGenerator {
    fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    fn latent_dim(&self) -> usize {
        self.latent_dim
    }

    fn forward(&self, latents: &Tensor, labels: Option<&Tensor>, mode: Mode) -> Result<Tensor> {
        let images = match &self.body {
            GeneratorBody::Plain(body) => body.forward(latents, labels, mode)?,
            GeneratorBody::Residual(body) => body.forward(latents, labels, mode)?,
        };
        self.grid.crop(&images)
    }
}

/// The discriminator of [`Config`].
#[derive(Debug)]
pub struct SnganDiscriminator {
    grid: Grid,
    parameters: Parameters,
    body: DiscriminatorBody,
    classes: Option<Embedding>,
}

#[derive(Debug)]
enum DiscriminatorBody {
    Plain(plain::Discriminator),
    Residual(residual::Discriminator),
}

/// What the body of a discriminator finds out.
#[derive(Debug)]
struct Judgment {
    /// `[batch]`
    logits: Tensor,
    /// The last features summed or averaged over positions, `[batch, features]`.
    features: Tensor,
}

impl Discriminator for SnganDiscriminator {
    fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    fn forward(&self, images: &Tensor, labels: Option<&Tensor>, mode: Mode) -> Result<Tensor> {
        let images = self.grid.pad(images)?;
        let Judgment { logits, features } = match &self.body {
            DiscriminatorBody::Plain(body) => body.forward(&images, mode)?,
            DiscriminatorBody::Residual(body) => body.forward(&images, mode)?,
        };
        let Some(classes) = &self.classes else {
            return Ok(logits);
        };
        logits.add(&conditioning::projection(classes, &features, labels, mode)?)
    }
}

#[cfg(test)]
mod tests {
    use gander_tensor::Reference;

    use super::*;

    const IMAGES: ImageSpec = ImageSpec {
        height_px: 32,
        width_px: 32,
        channels: 3,
        num_classes: 0,
    };

    fn counts(architecture: Architecture) -> (usize, usize) {
        let config = Config {
            architecture,
            ..Config::new(IMAGES)
        };
        let (device, key) = (Reference::shared(), RandomKey::from_seed(1));
        let generator = config.generator(key, &device).unwrap();
        let discriminator = config.discriminator(key, &device).unwrap();
        (
            generator.parameters().num_weights(),
            discriminator.parameters().num_weights(),
        )
    }

    #[test]
    fn plain_networks_are_those_of_table_3() {
        // Before a normalization no bias; behind it scale and shift.
        let up = |inputs: usize, outputs: usize| 16 * inputs * outputs + 2 * outputs;
        let generator = 128 * 16 * 512 + 2 * 512 + up(512, 256) + up(256, 128) + up(128, 64) + 9 * 64 * 3 + 3;
        let conv = |inputs: usize, outputs: usize, kernel: usize| kernel * kernel * inputs * outputs + outputs;
        let stages = [(3, 64), (64, 128), (128, 256)].map(|(i, o)| conv(i, o, 3) + conv(o, o, 4));
        let discriminator = stages.iter().sum::<usize>() + conv(256, 512, 3) + 16 * 512 + 1;
        assert_eq!(counts(Architecture::Plain), (generator, discriminator));
    }

    #[test]
    fn residual_networks_are_those_of_table_4() {
        let conv = |inputs: usize, outputs: usize, kernel: usize| kernel * kernel * inputs * outputs + outputs;
        let up = 2 * 512 + 2 * conv(256, 256, 3) + conv(256, 256, 1);
        let generator = 129 * 16 * 256 + 3 * up + 512 + conv(256, 3, 3);
        let block = 2 * conv(128, 128, 3);
        let first = conv(3, 128, 3) + conv(128, 128, 3) + conv(3, 128, 1);
        let discriminator = first + (block + conv(128, 128, 1)) + 2 * block + 128 + 1;
        assert_eq!(counts(Architecture::Residual), (generator, discriminator));
    }

    #[test]
    fn weights_of_the_discriminator_shrink_to_a_slope_of_one() {
        let device = Reference::shared();
        let images = ImageSpec {
            height_px: 16,
            width_px: 16,
            channels: 1,
            num_classes: 0,
        };
        let key = RandomKey::from_seed(1);
        let x = Tensor::normal(key, [1, 16, 16, 1], &device).unwrap();
        for architecture in [Architecture::Plain, Architecture::Residual] {
            let config = Config {
                width: 4,
                architecture,
                ..Config::new(images)
            };
            let discriminator = config.discriminator(key, &device).unwrap();
            (0..5).for_each(|_| drop(discriminator.forward(&x, None, Mode::Train)));
            // Weights grow a thousandfold; what they are divided by grows with them.
            let logit = |discriminator: &SnganDiscriminator| {
                discriminator
                    .forward(&x, None, Mode::Evaluate)
                    .unwrap()
                    .to_vec_f64()
                    .unwrap()[0]
            };
            let before = logit(&discriminator);
            for weight in discriminator
                .parameters()
                .weights()
                .filter(|weight| weight.name().ends_with(".weight"))
            {
                weight.set(&weight.get().mul_scalar(1e3).unwrap()).unwrap();
            }
            let after = logit(&discriminator);
            assert!(
                before != 0.0 && (before - after).abs() < 1e-6,
                "{architecture:?}: {before} {after}"
            );
        }
    }
}
