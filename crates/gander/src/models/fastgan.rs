//! FastGAN: for few images and little time, by gates from coarse to fine maps and a discriminator that also paints.
//!
//! Liu, Zhu, Song & Elgammal 2021, <https://arxiv.org/abs/2101.04775>. The generator doubles its resolution by nearest
//! upsampling, convolution, batch normalization and a gated linear unit; a map of few positions opens and closes channels
//! of one sixteen times finer (skip-layer excitation). The discriminator halves by two ways added up, judges each part of
//! its last map, and reproduces real images from its last two, whole and in part, so that its features hold what is in
//! them.
//!
//! Where it differs: the reconstructions are measured by the mean absolute difference of pixels, since the paper's
//! perceptual distance is a network of its own; there is one image at one resolution, as in the paper, where the authors' code
//! judges a second one at 128 px; no noise is added to maps. Spectral normalization, which is in the authors' code, stands
//! where no batch normalization takes its effect away. Below 64 px no map is sixteen times finer than the coarsest: there
//! the coarsest gates the finest. Classes, which the paper does not have, enter as in [`super::dcgan`].

use gander_nn::{
    Init, Mode, Parameters, Scope,
    layers::{BatchNorm, BatchNormConfig, Conv, ConvConfig, Embedding, EmbeddingConfig, Linear, LinearConfig},
};
use gander_tensor::{Activation, ConvOptions, DeviceRef, RandomKey, Result, Tensor};
use serde::{Deserialize, Serialize};

use super::{
    Discriminator, Generator, Grid, ImageSpec, RealJudgment, Settings,
    conditioning::{self, ClassNorm, Classes},
    limits::{self, Sides},
};
use crate::error;

/// Settings of a FastGAN.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The images to make; both sides from 16 to 256.
    pub images: ImageSpec,
    /// Length of a latent vector.
    pub latent_dim: usize,
    /// Channels of the generator at 128 px and of the discriminator at 64 px: all others are multiples or parts of it.
    pub width: usize,
    /// Factors on the learning rate of what a class adds: to the generator's normalizations, and its vector in the
    /// discriminator. One where a file does not say.
    #[serde(default = "conditioning::no_rates")]
    pub class_rates: [u32; 2],
}

/// `weights_init` in the authors' code, <https://github.com/odegeasslbc/FastGAN-pytorch>.
const WEIGHTS: Init = Init::normal(0.02);

/// Scales of normalizations, from there too.
const SCALES: Init = Init::Normal { mean: 1.0, std: 0.02 };

/// In the discriminator and between the two layers of a gate.
const LEAKY: Activation = Activation::LeakyRelu(0.2);

/// Sides of what a gate sees of a map.
const GLANCE: [usize; 2] = [4, 4];

/// Doublings between a map and the one that it gates: 4 px and 64 px, 8 px and 128 px.
const REACH: usize = 4;

impl Config {
    /// Half of the paper's width.
    pub fn new(images: ImageSpec) -> Self {
        Self {
            images,
            latent_dim: 256,
            width: 32,
            class_rates: conditioning::no_rates(),
        }
    }

    /// Channels of the generator after so many doublings of the smallest map.
    fn generator_channels(&self, doublings: usize) -> usize {
        const QUARTERS: [usize; 7] = [64, 32, 16, 8, 8, 4, 2];
        (self.width * QUARTERS[doublings.min(6)] / 4).max(1)
    }

    /// Channels of the discriminator on the grid of that map.
    fn discriminator_channels(&self, doublings: usize) -> usize {
        const QUARTERS: [usize; 7] = [64, 32, 16, 8, 4, 2, 1];
        (self.width * QUARTERS[doublings.min(6)] / 4).max(1)
    }

    /// Channels of a decoder after so many doublings of its own.
    fn decoder_channels(&self, doublings: usize) -> usize {
        const HALVES: [usize; 4] = [4, 2, 2, 1];
        (self.width * HALVES[doublings.clamp(1, 4) - 1] / 2).max(1)
    }

    /// A generator with fresh weights.
    pub fn generator(&self, key: RandomKey, device: &DeviceRef) -> Result<FastganGenerator> {
        let mut parameters = Parameters::default();
        let mut scope = Scope::new(&mut parameters, key, device);
        let grid = Grid::new(self.images);
        let classes = Classes {
            count: self.images.num_classes,
            lr_multiplier: self.class_rates[0] as f32,
        };
        let first = self.generator_channels(0);
        let project = {
            let mut scope = scope.child("project");
            let features = grid.smallest[0] * grid.smallest[1] * first;
            let linear = LinearConfig {
                init: WEIGHTS,
                bias: None,
                ..LinearConfig::new(self.latent_dim, features)
            };
            Gated {
                value: linear.init(&mut scope.child("value"))?,
                gate: linear.init(&mut scope.child("gate"))?,
                norms: GateNorms::new(first, classes, &mut scope)?,
            }
        };
        let ups = (1..=grid.halvings)
            .map(|doublings| {
                let mut scope = scope.child(&format!("up{}", doublings - 1));
                let (inputs, outputs) = (
                    self.generator_channels(doublings - 1),
                    self.generator_channels(doublings),
                );
                let first = gated_conv(inputs, outputs, classes, &mut scope.child("conv0"))?;
                // Every other resolution has a second convolution, from 8 px on.
                let second = (doublings % 2 == 1)
                    .then(|| gated_conv(outputs, outputs, classes, &mut scope.child("conv1")))
                    .transpose()?;
                Ok(Up { first, second })
            })
            .collect::<Result<_>>()?;
        let reach = REACH.min(grid.halvings);
        let excitations = (reach..=grid.halvings)
            .map(|fine| {
                let (from, to) = (self.generator_channels(fine - reach), self.generator_channels(fine));
                Excitation::new(from, to, &mut scope.child(&format!("excite{}", fine - reach)))
            })
            .collect::<Result<_>>()?;
        let last = ConvConfig {
            options: ConvOptions {
                padding: 1,
                activation: Activation::Tanh,
                ..ConvOptions::default()
            },
            ..conv(self.generator_channels(grid.halvings), self.images.channels, 3)
        };
        let to_image = last.init_spectral(&mut scope.child("to_image"))?;
        Ok(FastganGenerator {
            latent_dim: self.latent_dim,
            grid,
            parameters,
            project,
            ups,
            excitations,
            reach,
            to_image,
        })
    }

    /// A discriminator with fresh weights.
    pub fn discriminator(&self, key: RandomKey, device: &DeviceRef) -> Result<FastganDiscriminator> {
        let mut parameters = Parameters::default();
        let mut scope = Scope::new(&mut parameters, key, device);
        let grid = Grid::new(self.images);
        let channels = |doublings| self.discriminator_channels(doublings);
        let first = ConvConfig {
            options: ConvOptions {
                padding: 1,
                activation: LEAKY,
                ..ConvOptions::default()
            },
            ..conv(self.images.channels, channels(grid.halvings), 3)
        };
        let from_image = first.init_spectral(&mut scope.child("from_image"))?;
        let downs = (1..grid.halvings)
            .rev()
            .map(|doublings| {
                let name = format!("down{}", grid.halvings - 1 - doublings);
                Down::new(channels(doublings + 1), channels(doublings), &mut scope.child(&name))
            })
            .collect::<Result<_>>()?;
        let judge = NormedConv::new(conv(channels(1), channels(0), 1), &mut scope.child("judge"))?;
        let logits = conv(channels(0), 1, 4).init_spectral(&mut scope.child("logits"))?;
        let classes = (self.images.num_classes > 0)
            .then(|| {
                let classes = EmbeddingConfig {
                    init: WEIGHTS,
                    lr_multiplier: self.class_rates[1] as f32,
                    ..EmbeddingConfig::new(self.images.num_classes, channels(1))
                };
                classes.init(&mut scope.child("classes"))
            })
            .transpose()?;
        let mut decoder =
            |name, doublings| Decoder::new(self, channels(doublings), grid.halvings - 2, &mut scope.child(name));
        let [paint_part, paint_whole] = [decoder("paint_part", 2)?, decoder("paint_whole", 1)?];
        Ok(FastganDiscriminator {
            grid,
            parameters,
            from_image,
            downs,
            judge,
            logits,
            classes,
            paint_part,
            paint_whole,
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
        limits::class_rates(self.class_rates)
    }
}

/// A convolution that keeps the resolution if its kernel has one position. What a bias would add, normalization takes away.
fn conv(inputs: usize, outputs: usize, kernel: usize) -> ConvConfig {
    ConvConfig {
        init: WEIGHTS,
        bias: None,
        ..ConvConfig::new(inputs, outputs, kernel)
    }
}

fn norm(channels: usize, activation: Activation) -> BatchNormConfig {
    BatchNormConfig {
        scale: SCALES,
        ..BatchNormConfig::new(channels, activation)
    }
}

/// A gated linear unit with its normalization: `norm(value) · σ(norm(gate))`.
///
/// One layer of twice the channels, of which the second half gates the first, is two layers of the same input. As two,
/// the sigmoid runs within the normalization and nothing has to be taken apart.
#[derive(Debug)]
struct Gated<L> {
    value: L,
    gate: L,
    norms: GateNorms,
}

#[derive(Debug)]
struct GateNorms {
    value: ClassNorm,
    gate: ClassNorm,
}

impl GateNorms {
    fn new(channels: usize, classes: Classes, scope: &mut Scope<'_>) -> Result<Self> {
        let mut of = |name, activation| ClassNorm::new(norm(channels, activation), classes, &mut scope.child(name));
        Ok(Self {
            value: of("value_norm", Activation::Identity)?,
            gate: of("gate_norm", Activation::Sigmoid)?,
        })
    }

    fn forward(&self, [value, gate]: [&Tensor; 2], labels: Option<&Tensor>, mode: Mode) -> Result<Tensor> {
        self.value
            .forward(value, labels, mode)?
            .mul(&self.gate.forward(gate, labels, mode)?)
    }
}

fn gated_conv(inputs: usize, outputs: usize, classes: Classes, scope: &mut Scope<'_>) -> Result<Gated<Conv>> {
    let options = ConvOptions {
        padding: 1,
        ..ConvOptions::default()
    };
    let conv = ConvConfig {
        options,
        ..conv(inputs, outputs, 3)
    };
    Ok(Gated {
        value: conv.init(&mut scope.child("value"))?,
        gate: conv.init(&mut scope.child("gate"))?,
        norms: GateNorms::new(outputs, classes, scope)?,
    })
}

impl Gated<Conv> {
    fn forward(&self, x: &Tensor, labels: Option<&Tensor>, mode: Mode) -> Result<Tensor> {
        let parts = [self.value.forward(x, mode)?, self.gate.forward(x, mode)?];
        self.norms.forward(parts.each_ref(), labels, mode)
    }

    /// The same of `x` with each side doubled by repetition.
    fn forward_upsampled(&self, x: &Tensor, labels: Option<&Tensor>, mode: Mode) -> Result<Tensor> {
        let parts = [
            self.value.forward_upsampled(x, mode)?,
            self.gate.forward_upsampled(x, mode)?,
        ];
        self.norms.forward(parts.each_ref(), labels, mode)
    }
}

/// Twice the resolution.
#[derive(Debug)]
struct Up {
    first: Gated<Conv>,
    second: Option<Gated<Conv>>,
}

impl Up {
    fn forward(&self, x: &Tensor, labels: Option<&Tensor>, mode: Mode) -> Result<Tensor> {
        let x = self.first.forward_upsampled(x, labels, mode)?;
        self.second
            .as_ref()
            .map_or_else(|| Ok(x.clone()), |second| second.forward(&x, labels, mode))
    }
}

/// Skip-layer excitation: factors for a fine map's channels from a glance at a coarse one (section 3.1).
#[derive(Debug)]
struct Excitation {
    /// A convolution over all positions of the glance.
    squeeze: Linear,
    expand: Linear,
}

impl Excitation {
    fn new(from: usize, to: usize, scope: &mut Scope<'_>) -> Result<Self> {
        let linear = |inputs, activation| LinearConfig {
            activation,
            init: WEIGHTS,
            bias: None,
            ..LinearConfig::new(inputs, to)
        };
        Ok(Self {
            squeeze: linear(GLANCE[0] * GLANCE[1] * from, LEAKY).init_spectral(&mut scope.child("squeeze"))?,
            expand: linear(to, Activation::Sigmoid).init_spectral(&mut scope.child("expand"))?,
        })
    }

    fn forward(&self, coarse: &Tensor, fine: &Tensor, mode: Mode) -> Result<Tensor> {
        let glance = coarse.resize_area(&GLANCE)?.flatten()?;
        let factors = self.expand.forward(&self.squeeze.forward(&glance, mode)?, mode)?;
        fine.mul(&factors.reshape([fine.side(0), 1, 1, fine.side(-1)])?)
    }
}

/// A convolution, batch normalization and a leaky relu.
#[derive(Debug)]
struct NormedConv {
    conv: Conv,
    norm: BatchNorm,
}

impl NormedConv {
    fn new(conv: ConvConfig, scope: &mut Scope<'_>) -> Result<Self> {
        Ok(Self {
            conv: conv.init(&mut scope.child("conv"))?,
            norm: norm(conv.out_channels, LEAKY).init(&mut scope.child("norm"))?,
        })
    }

    fn forward(&self, x: &Tensor, mode: Mode) -> Result<Tensor> {
        self.norm.forward(&self.conv.forward(x, mode)?, mode)
    }
}

/// Half the resolution, by two ways added up.
///
/// The authors halve the sum; whatever follows is normalized, which takes that away.
#[derive(Debug)]
struct Down {
    strided: NormedConv,
    refined: NormedConv,
    direct: NormedConv,
}

impl Down {
    fn new(inputs: usize, outputs: usize, scope: &mut Scope<'_>) -> Result<Self> {
        let padded = |conv: ConvConfig, stride| ConvConfig {
            options: ConvOptions {
                stride,
                padding: 1,
                ..ConvOptions::default()
            },
            ..conv
        };
        Ok(Self {
            strided: NormedConv::new(padded(conv(inputs, outputs, 4), 2), &mut scope.child("strided"))?,
            refined: NormedConv::new(padded(conv(outputs, outputs, 3), 1), &mut scope.child("refined"))?,
            direct: NormedConv::new(conv(inputs, outputs, 1), &mut scope.child("direct"))?,
        })
    }

    fn forward(&self, x: &Tensor, mode: Mode) -> Result<Tensor> {
        let inner = self.refined.forward(&self.strided.forward(x, mode)?, mode)?;
        inner.add(&self.direct.forward(&x.average_pool(2, 2, 0)?, mode)?)
    }
}

/// Paints an image from features.
#[derive(Debug)]
struct Decoder {
    ups: Vec<Gated<Conv>>,
    to_image: Conv,
}

impl Decoder {
    fn new(config: &Config, inputs: usize, doublings: usize, scope: &mut Scope<'_>) -> Result<Self> {
        let mut channels = inputs;
        let ups = (1..=doublings)
            .map(|doubling| {
                let outputs = config.decoder_channels(doubling);
                let up = gated_conv(
                    channels,
                    outputs,
                    Classes::NONE,
                    &mut scope.child(&format!("up{}", doubling - 1)),
                );
                channels = outputs;
                up
            })
            .collect::<Result<_>>()?;
        let last = ConvConfig {
            options: ConvOptions {
                padding: 1,
                activation: Activation::Tanh,
                ..ConvOptions::default()
            },
            ..conv(channels, config.images.channels, 3)
        };
        let to_image = last.init_spectral(&mut scope.child("to_image"))?;
        Ok(Self { ups, to_image })
    }

    /// The mean absolute difference between `image` and what the features let one paint.
    fn loss(&self, features: &Tensor, image: &Tensor, mode: Mode) -> Result<Tensor> {
        let x = self
            .ups
            .iter()
            .try_fold(features.clone(), |x, up| up.forward_upsampled(&x, None, mode))?;
        self.to_image.forward(&x, mode)?.sub(image)?.abs()?.mean_all()
    }
}

/// The generator of [`Config`].
#[derive(Debug)]
pub struct FastganGenerator {
    latent_dim: usize,
    grid: Grid,
    parameters: Parameters,
    project: Gated<Linear>,
    ups: Vec<Up>,
    /// One for each map from the `reach`-th doubling on.
    excitations: Vec<Excitation>,
    reach: usize,
    to_image: Conv,
}

impl Generator for FastganGenerator {
    fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    fn latent_dim(&self) -> usize {
        self.latent_dim
    }

    fn forward(&self, latents: &Tensor, labels: Option<&Tensor>, mode: Mode) -> Result<Tensor> {
        let [rows, columns] = self.grid.smallest;
        let Gated { value, gate, norms } = &self.project;
        let on_grid = |linear: &Linear| {
            let x = linear.forward(latents, mode)?;
            x.reshape([latents.side(0), rows, columns, x.side(1) / (rows * columns)])
        };
        let mut maps = vec![norms.forward([&on_grid(value)?, &on_grid(gate)?], labels, mode)?];
        for (index, up) in self.ups.iter().enumerate() {
            let mut x = up.forward(&maps[index], labels, mode)?;
            if let Some(coarse) = (index + 1).checked_sub(self.reach) {
                x = self.excitations[coarse].forward(&maps[coarse], &x, mode)?;
            }
            maps.push(x);
        }
        let images = self.to_image.forward(&maps[self.ups.len()], mode)?;
        self.grid.crop(&images)
    }
}

/// The discriminator of [`Config`].
#[derive(Debug)]
pub struct FastganDiscriminator {
    grid: Grid,
    parameters: Parameters,
    from_image: Conv,
    /// To the map of eight positions along the shorter side; at least one.
    downs: Vec<Down>,
    judge: NormedConv,
    logits: Conv,
    classes: Option<Embedding>,
    paint_part: Decoder,
    paint_whole: Decoder,
}

/// The last two maps of the discriminator.
struct Features {
    fine: Tensor,
    coarse: Tensor,
}

impl FastganDiscriminator {
    /// Of images on the grid.
    fn features(&self, images: &Tensor, mode: Mode) -> Result<Features> {
        let mut coarse = self.from_image.forward(images, mode)?;
        let mut fine = coarse.clone();
        for down in &self.downs {
            fine = coarse;
            coarse = down.forward(&fine, mode)?;
        }
        Ok(Features { fine, coarse })
    }

    /// `[batch, positions]`
    fn logits(&self, coarse: &Tensor, labels: Option<&Tensor>, mode: Mode) -> Result<Tensor> {
        let logits = self
            .logits
            .forward(&self.judge.forward(coarse, mode)?, mode)?
            .flatten()?;
        let Some(classes) = &self.classes else {
            return Ok(logits);
        };
        let batch = coarse.side(0);
        let pooled = coarse.mean_keep(&[1, 2])?.reshape([batch, coarse.side(-1)])?;
        let projection = conditioning::projection(classes, &pooled, labels, mode)?;
        logits.add(&projection.reshape([batch, 1])?)
    }
}

/// A quarter of a map: the upper left, upper right, lower left or lower right one.
fn quarter(x: &Tensor, which: usize) -> Result<Tensor> {
    let part = |x: &Tensor, axis: isize, index: usize| {
        let half = x.side(axis) / 2;
        x.slice(axis, index * half, (index + 1) * half)
    };
    part(&part(x, 1, which / 2)?, 2, which % 2)
}

impl Discriminator for FastganDiscriminator {
    fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    fn forward(&self, images: &Tensor, labels: Option<&Tensor>, mode: Mode) -> Result<Tensor> {
        let features = self.features(&self.grid.pad(images)?, mode)?;
        self.logits(&features.coarse, labels, mode)
    }

    /// With the reconstruction loss of section 3.2: the whole image at half its resolution from the coarse map, and a random
    /// quarter at full resolution from the same quarter of the fine one.
    fn judge_real(&self, images: &Tensor, labels: Option<&Tensor>, mode: Mode, key: RandomKey) -> Result<RealJudgment> {
        let images = self.grid.pad(images)?;
        let Features { fine, coarse } = self.features(&images, mode)?;
        let which = (4.0 * key.uniform()) as usize;
        let whole = self.paint_whole.loss(&coarse, &images.average_pool(2, 2, 0)?, mode)?;
        let part = self
            .paint_part
            .loss(&quarter(&fine, which)?, &quarter(&images, which)?, mode)?;
        Ok(RealJudgment {
            logits: self.logits(&coarse, labels, mode)?,
            auxiliary_loss: Some(whole.add(&part)?),
        })
    }
}

#[cfg(test)]
mod tests {
    use gander_tensor::Reference;

    use super::*;

    const IMAGES: ImageSpec = ImageSpec {
        height_px: 256,
        width_px: 256,
        channels: 3,
        num_classes: 0,
    };

    /// The paper's width at its smallest size.
    #[test]
    fn weights_are_those_of_the_paper() {
        let config = Config {
            width: 64,
            ..Config::new(IMAGES)
        };
        let channels: Vec<usize> = (0..=6).map(|doublings| config.generator_channels(doublings)).collect();
        assert_eq!(channels, [1024, 512, 256, 128, 128, 64, 32]);
        let channels: Vec<usize> = (1..=6)
            .map(|doublings| config.discriminator_channels(doublings))
            .collect();
        assert_eq!(channels, [512, 256, 128, 64, 32, 16]);
    }

    #[test]
    fn weights_are_as_many_as_in_the_description() {
        let width = 4;
        let config = Config {
            latent_dim: 6,
            width,
            ..Config::new(ImageSpec {
                height_px: 64,
                width_px: 64,
                ..IMAGES
            })
        };
        let (device, key) = (Reference::shared(), RandomKey::from_seed(1));
        // A gated layer: two kernels, with two scales and two shifts.
        let gated = |inputs: usize, outputs: usize| 2 * 9 * inputs * outputs + 4 * outputs;
        let [at4, at8, at16, at32, at64] = [16, 8, 4, 2, 2].map(|multiple| multiple * width);
        let ups = gated(at4, at8) + gated(at8, at8) + gated(at8, at16);
        let ups = ups + gated(at16, at32) + gated(at32, at32) + gated(at32, at64);
        let excitation = 16 * at4 * at64 + at64 * at64;
        let generator = 2 * 6 * 16 * at4 + 4 * at4 + ups + excitation + 9 * at64 * 3;
        assert_eq!(
            config.generator(key, &device).unwrap().parameters().num_weights(),
            generator
        );

        let [at64, at32, at16, at8] = [1, 2, 4, 8].map(|multiple| multiple * width);
        let down = |inputs: usize, outputs: usize| (17 * inputs + 9 * outputs + 6) * outputs;
        let downs = down(at64, at32) + down(at32, at16) + down(at16, at8);
        let judge = at8 * 16 * width + 2 * 16 * width + 16 * 16 * width;
        let decoder = |inputs| gated(inputs, 2 * width) + gated(2 * width, width) + 9 * width * 3;
        let discriminator = 27 * at64 + downs + judge + decoder(at8) + decoder(at16);
        assert_eq!(
            config.discriminator(key, &device).unwrap().parameters().num_weights(),
            discriminator
        );
    }

    #[test]
    fn a_quarter_is_one_of_four() {
        let device = Reference::shared();
        let x = Tensor::from_slice(&[0.0, 1.0, 2.0, 3.0], [1, 2, 2, 1], &device).unwrap();
        let quarters = [0, 1, 2, 3].map(|which| quarter(&x, which).unwrap().item().unwrap());
        assert_eq!(quarters, [0.0, 1.0, 2.0, 3.0]);
    }

    /// Features that hold the whole image are what the reconstruction asks for: its gradient reaches the first layer.
    #[test]
    fn reconstructions_teach_the_features() {
        let device = Reference::shared();
        let images = ImageSpec {
            height_px: 16,
            width_px: 16,
            channels: 1,
            num_classes: 0,
        };
        let config = Config {
            width: 1,
            ..Config::new(images)
        };
        let discriminator = config.discriminator(RandomKey::from_seed(1), &device).unwrap();
        let reals = Tensor::uniform(RandomKey::from_seed(2), [2, 16, 16, 1], &device).unwrap();
        let judged = discriminator
            .judge_real(&reals, None, Mode::Train, RandomKey::from_seed(3))
            .unwrap();
        let weight = discriminator.parameters().get("from_image.weight").unwrap().get();
        let loss = judged.auxiliary_loss.unwrap();
        let slope = gander_tensor::grad(&[&loss], &[&weight], gander_tensor::GradOptions::default()).unwrap();
        assert!(slope[0].to_vec().unwrap().iter().any(|&value| value != 0.0));
    }
}
