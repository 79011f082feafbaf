//! R3GAN: a modern backbone without tricks, held by a relativistic loss and two gradient penalties.
//!
//! Huang, Gokaslan, Kuleshov & Tompkin 2024, <https://arxiv.org/abs/2501.05441>. A block is
//! `x + W3 · φ(b2 + W2 ∗ φ(b1 + W1 · x))` with 1 × 1, grouped 3 × 3 and 1 × 1 convolutions, channels C → 2C → 2C → C, a
//! leaky relu φ of slope 0.2, and no normalization. Resolutions are changed by the filter [1, 3, 3, 1], widths by 1 × 1
//! convolutions. The generator starts from a learned map scaled by the latents, the discriminator ends with a depthwise
//! convolution over its smallest map.
//!
//! The paper's smallest map is 4 × 4; here the shorter side has 3 to 6 positions.

use gander_nn::{
    Init, Mode, Parameter, Parameters, Scope,
    layers::{Conv, ConvConfig, Embedding, EmbeddingConfig, Linear, LinearConfig},
};
use gander_tensor::{Activation, ConvOptions, DeviceRef, RandomKey, Result, Tensor, conv};
use serde::{Deserialize, Serialize};

use super::{
    Discriminator, Generator, Grid, ImageSpec, Settings, conditioning,
    limits::{self, Sides},
};
use crate::error;

/// Settings of an R3GAN.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The images to make; both sides from 16 to 512.
    pub images: ImageSpec,
    /// Length of a latent vector.
    pub latent_dim: usize,
    /// Length of a class's vector.
    pub class_dim: usize,
    /// Channels at full resolution; each halving doubles them up to `width_max`. A multiple of 8.
    pub width: usize,
    /// Channels of the discriminator instead, at the same place; `width` if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub discriminator_width: Option<usize>,
    /// Most channels of a resolution. A multiple of 8.
    pub width_max: usize,
    /// Blocks at each resolution.
    pub blocks: usize,
}

/// Slope of the leaky relu.
const SLOPE: f32 = 0.2;

/// Channels in a group of a block's 3 × 3 convolution.
const GROUP_WIDTH: usize = 16;

/// How much wider a block is inside.
const EXPANSION: usize = 2;

impl Config {
    /// Narrow enough for a few processor cores. (The paper's 64 px network has `width` 384 and `width_max` 768.)
    pub fn new(images: ImageSpec) -> Self {
        Self {
            images,
            latent_dim: 64,
            class_dim: 64,
            width: 32,
            discriminator_width: None,
            width_max: 128,
            blocks: 2,
        }
    }

    /// What its widths are made of: whole groups of channels inside a block.
    pub(crate) const WIDTH_MULTIPLE: usize = GROUP_WIDTH / EXPANSION;

    /// Channels after so many halvings.
    fn channels(&self, halvings: usize) -> usize {
        (self.width << halvings).min(self.width_max.max(self.width))
    }

    fn stage(&self, halvings: usize, grid: &Grid, scope: &mut Scope<'_>) -> Result<Vec<Block>> {
        let total = self.blocks * (grid.halvings + 1);
        (0..self.blocks)
            .map(|block| {
                Block::new(
                    self.channels(halvings),
                    total,
                    &mut scope.child(&format!("block{block}")),
                )
            })
            .collect()
    }

    fn classes(&self, gain: f32, scope: &mut Scope<'_>) -> Result<Option<Embedding>> {
        let classes = EmbeddingConfig {
            // The authors map one-hot vectors by a Linear, whose fan-in is the number of classes.
            init: Init::FanIn { gain },
            ..EmbeddingConfig::new(self.images.num_classes, self.class_dim)
        };
        (classes.count > 0)
            .then(|| classes.init(&mut scope.child("classes")))
            .transpose()
    }

    /// The same with the discriminator's width.
    fn judging(&self) -> Self {
        Self {
            width: self.discriminator_width.unwrap_or(self.width),
            ..*self
        }
    }

    /// A generator with fresh weights.
    pub fn generator(&self, key: RandomKey, device: &DeviceRef) -> Result<R3ganGenerator> {
        let mut parameters = Parameters::default();
        let mut scope = Scope::new(&mut parameters, key, device);
        let grid = Grid::new(self.images);
        let classes = self.classes(1.0, &mut scope)?;
        let inputs = self.latent_dim + if classes.is_some() { self.class_dim } else { 0 };
        let [rows, columns] = grid.smallest;
        let first = self.channels(grid.halvings);
        let basis = scope.weight("basis", [rows, columns, first], Init::normal(1.0))?;
        let modulate = LinearConfig {
            bias: None,
            ..LinearConfig::new(inputs, first)
        };
        let modulate = modulate.init(&mut scope.child("modulate"))?;
        let stages = (0..=grid.halvings)
            .rev()
            .map(|halvings| {
                let mut scope = scope.child(&format!("stage{}", grid.halvings - halvings));
                let coarser = self.channels((halvings + 1).min(grid.halvings));
                Ok(Stage {
                    widen: pointwise_between(coarser, self.channels(halvings), &mut scope.child("widen"))?,
                    blocks: self.stage(halvings, &grid, &mut scope)?,
                })
            })
            .collect::<Result<_>>()?;
        let to_image = pointwise(self.channels(0), self.images.channels).init(&mut scope.child("to_image"))?;
        Ok(R3ganGenerator {
            config: *self,
            grid,
            parameters,
            classes,
            basis,
            modulate,
            stages,
            to_image,
        })
    }

    /// A discriminator with fresh weights.
    pub fn discriminator(&self, key: RandomKey, device: &DeviceRef) -> Result<R3ganDiscriminator> {
        let own = self.judging();
        let mut parameters = Parameters::default();
        let mut scope = Scope::new(&mut parameters, key, device);
        let grid = Grid::new(self.images);
        let from_image = pointwise(self.images.channels, own.channels(0)).init(&mut scope.child("from_image"))?;
        let stages = (0..=grid.halvings)
            .map(|halvings| {
                let mut scope = scope.child(&format!("stage{halvings}"));
                let finer = own.channels(halvings.saturating_sub(1));
                Ok(Stage {
                    widen: pointwise_between(finer, own.channels(halvings), &mut scope.child("widen"))?,
                    blocks: own.stage(halvings, &grid, &mut scope)?,
                })
            })
            .collect::<Result<_>>()?;
        let last = own.channels(grid.halvings);
        let [rows, columns] = grid.smallest;
        let gather = scope.weight("gather", [rows, columns, 1, last], Init::FanIn { gain: 1.0 })?;
        // √class_dim keeps the dot product at the scale of its factors, as in the authors' code.
        let classes = self.classes(1.0 / (self.class_dim as f32).sqrt(), &mut scope)?;
        let outputs = if classes.is_some() { self.class_dim } else { 1 };
        let logit = LinearConfig {
            bias: None,
            ..LinearConfig::new(last, outputs)
        };
        let logit = logit.init(&mut scope.child("logit"))?;
        Ok(R3ganDiscriminator {
            grid,
            parameters,
            from_image,
            stages,
            gather,
            logit,
            classes,
        })
    }
}

impl Settings for Config {
    fn sides(&self) -> Sides {
        Sides::between(16, 512)
    }

    fn check(&self) -> error::Result<()> {
        limits::classes(self.images)?;
        limits::latents(self.latent_dim, self.width)?;
        limits::discriminator_width(self.discriminator_width)?;
        let fits = |width: usize| width > 0 && width.is_multiple_of(Self::WIDTH_MULTIPLE);
        limits::check("model.width", self.width, fits(self.width))?;
        // Below a whole group of channels inside a block there is one of them.
        let judge = self.discriminator_width.unwrap_or(self.width);
        limits::check(
            "model.discriminator_width",
            judge,
            fits(judge) || [1, 2, 4].contains(&judge),
        )?;
        limits::check(
            "model.width_max",
            self.width_max,
            fits(self.width_max) && self.width_max <= 4096,
        )?;
        limits::between("model.blocks", self.blocks, 1..=64)?;
        limits::between("model.class_dim", self.class_dim, 1..=4096)
    }
}

fn pointwise(inputs: usize, outputs: usize) -> ConvConfig {
    ConvConfig {
        bias: None,
        ..ConvConfig::new(inputs, outputs, 1)
    }
}

/// A 1 × 1 convolution where the width changes.
fn pointwise_between(inputs: usize, outputs: usize, scope: &mut Scope<'_>) -> Result<Option<Conv>> {
    (inputs != outputs)
        .then(|| pointwise(inputs, outputs).init(scope))
        .transpose()
}

/// `x + W3 · φ(b2 + W2 ∗ φ(b1 + W1 · x))`
#[derive(Debug)]
struct Block([Conv; 3]);

impl Block {
    /// A block of a network of `total` blocks.
    ///
    /// Weights start with the standard deviation `√(2 / 1.04) · total^(−1/4) / √fan_in`, the last with zeros, so that
    /// the block begins as the identity (Zhang et al. 2019, <https://arxiv.org/abs/1901.09321>).
    fn new(channels: usize, total: usize, scope: &mut Scope<'_>) -> Result<Self> {
        let inside = EXPANSION * channels;
        // √(2 / (1 + slope²)) keeps the variance through a leaky relu.
        let gain = (2.0 / (1.0 + SLOPE * SLOPE)).sqrt() * (total as f32).powf(-0.25);
        let options = ConvOptions {
            activation: Activation::LeakyRelu(SLOPE),
            ..ConvOptions::default()
        };
        let grouped = ConvOptions {
            padding: 1,
            groups: (inside / GROUP_WIDTH).max(1),
            ..options
        };
        let init = Init::FanIn { gain };
        Ok(Self([
            ConvConfig {
                options,
                init,
                ..ConvConfig::new(channels, inside, 1)
            }
            .init(&mut scope.child("conv0"))?,
            ConvConfig {
                options: grouped,
                init,
                ..ConvConfig::new(inside, inside, 3)
            }
            .init(&mut scope.child("conv1"))?,
            ConvConfig {
                init: Init::ZEROS,
                ..pointwise(inside, channels)
            }
            .init(&mut scope.child("conv2"))?,
        ]))
    }

    fn forward(&self, x: &Tensor, mode: Mode) -> Result<Tensor> {
        let [widen, mix, narrow] = &self.0;
        let inside = mix.forward(&widen.forward(x, mode)?, mode)?;
        narrow.forward_added(&inside, x, mode)
    }
}

/// The blocks of one resolution, and what brings the neighboring resolution to their width.
#[derive(Debug)]
struct Stage {
    widen: Option<Conv>,
    blocks: Vec<Block>,
}

impl Stage {
    fn widened(&self, x: &Tensor, mode: Mode) -> Result<Tensor> {
        self.widen
            .as_ref()
            .map_or_else(|| Ok(x.clone()), |conv| conv.forward(x, mode))
    }

    fn through_blocks(&self, x: Tensor, mode: Mode) -> Result<Tensor> {
        self.blocks.iter().try_fold(x, |x, block| block.forward(&x, mode))
    }
}

/// The generator of [`Config`].
#[derive(Debug)]
pub struct R3ganGenerator {
    config: Config,
    grid: Grid,
    parameters: Parameters,
    classes: Option<Embedding>,
    basis: Parameter,
    modulate: Linear,
    stages: Vec<Stage>,
    to_image: Conv,
}

impl Generator for R3ganGenerator {
    fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    fn latent_dim(&self) -> usize {
        self.config.latent_dim
    }

    fn forward(&self, latents: &Tensor, labels: Option<&Tensor>, mode: Mode) -> Result<Tensor> {
        let z = conditioning::beside_latents(self.classes.as_ref(), latents, labels, mode)?;
        let modulation = self.modulate.forward(&z, mode)?;
        let mut x = modulation
            .reshape([z.side(0), 1, 1, modulation.side(1)])?
            .mul(&self.basis.get())?;
        for (index, stage) in self.stages.iter().enumerate() {
            if index > 0 {
                x = stage.widened(&x, mode)?.fir_upsample()?;
            }
            x = stage.through_blocks(x, mode)?;
        }
        self.grid.crop(&self.to_image.forward(&x, mode)?)
    }
}

/// The discriminator of [`Config`].
#[derive(Debug)]
pub struct R3ganDiscriminator {
    grid: Grid,
    parameters: Parameters,
    from_image: Conv,
    stages: Vec<Stage>,
    /// The depthwise kernel over the whole smallest map.
    gather: Parameter,
    logit: Linear,
    classes: Option<Embedding>,
}

impl Discriminator for R3ganDiscriminator {
    fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    fn forward(&self, images: &Tensor, labels: Option<&Tensor>, mode: Mode) -> Result<Tensor> {
        let mut x = self.from_image.forward(&self.grid.pad(images)?, mode)?;
        for (index, stage) in self.stages.iter().enumerate() {
            if index > 0 {
                x = stage.widened(&x.fir_downsample()?, mode)?;
            }
            x = stage.through_blocks(x, mode)?;
        }
        let depthwise = ConvOptions {
            groups: x.side(-1),
            ..ConvOptions::default()
        };
        let x = conv(&x, &self.gather.get(), None, depthwise)?.flatten()?;
        let x = self.logit.forward(&x, mode)?;
        match &self.classes {
            None => x.reshape([images.side(0)]),
            Some(classes) => conditioning::projection(classes, &x, labels, mode),
        }
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

    /// Four resolutions of 64 channels with two blocks each.
    #[test]
    fn weights_are_those_of_the_description() {
        let config = Config {
            width: 64,
            width_max: 64,
            ..Config::new(IMAGES)
        };
        let (device, key) = (Reference::shared(), RandomKey::from_seed(1));
        let block = 64 * 128 + 128 + 9 * 16 * 128 + 128 + 128 * 64;
        let generator = 4 * 4 * 64 + 64 * 64 + 8 * block + 64 * 3;
        assert_eq!(
            config.generator(key, &device).unwrap().parameters().num_weights(),
            generator
        );
        let discriminator = 3 * 64 + 8 * block + 4 * 4 * 64 + 64;
        assert_eq!(
            config.discriminator(key, &device).unwrap().parameters().num_weights(),
            discriminator
        );
    }

    #[test]
    fn widths_double_up_to_the_limit() {
        let config = Config {
            width: 8,
            width_max: 24,
            ..Config::new(IMAGES)
        };
        assert_eq!([0, 1, 2, 3].map(|halvings| config.channels(halvings)), [8, 16, 24, 24]);
    }

    #[test]
    fn blocks_begin_as_the_identity_with_scaled_weights() {
        let device = Reference::shared();
        let mut parameters = Parameters::default();
        let mut scope = Scope::new(&mut parameters, RandomKey::from_seed(1), &device);
        let block = Block::new(32, 16, &mut scope).unwrap();
        let x = Tensor::normal(RandomKey::from_seed(2), [1, 4, 4, 32], &device).unwrap();
        assert_eq!(
            block.forward(&x, Mode::Train).unwrap().to_vec().unwrap(),
            x.to_vec().unwrap()
        );
        // √(2 / 1.04) · 16^(−1/4) / √fan_in, with a fan-in of 32, and of 9 positions of 16 channels.
        for (name, fan_in) in [("conv0.weight", 32.0f32), ("conv1.weight", 144.0)] {
            let values = parameters.get(name).expect(name).get().to_vec().unwrap();
            let std = (values.iter().map(|value| value * value).sum::<f32>() / values.len() as f32).sqrt();
            let expected = (2.0f32 / 1.04).sqrt() * 0.5 / fan_in.sqrt();
            assert!(
                (std / expected - 1.0).abs() < 0.05,
                "{name}: {std} instead of {expected}"
            );
        }
    }

    #[test]
    fn generator_ends_without_a_limit() {
        let (config, device) = (
            Config {
                width: 8,
                width_max: 8,
                ..Config::new(IMAGES)
            },
            Reference::shared(),
        );
        let generator = config.generator(RandomKey::from_seed(1), &device).unwrap();
        let latents = generator.latents(RandomKey::from_seed(2), 1, &device).unwrap();
        let images = |scale| {
            let images = generator
                .forward(&latents.mul_scalar(scale).unwrap(), None, Mode::Train)
                .unwrap();
            images.to_vec_f64().unwrap()
        };
        // With blocks that begin as the identity, images are linear in the latents.
        assert!(
            images(1.0)
                .iter()
                .zip(images(100.0))
                .all(|(small, large)| (100.0 * small - large).abs() < 1e-6)
        );
    }
}
