//! StyleGAN2: latents become styles, and styles scale the channels of every convolution.
//!
//! Karras et al. 2020, <https://arxiv.org/abs/1912.04958>, with the settings of Karras et al. 2020 (ADA),
//! <https://arxiv.org/abs/2006.06676>: two layers from latents to styles, a generator whose every resolution adds to the
//! image (output skips), a residual discriminator that filters before it halves and sees how much the images of a batch
//! differ, and learning rates equalized over all weights.
//!
//! Where it differs: the filter behind the generator's doubling convolutions is `[1, 1]` instead of `[1, 3, 3, 1]`, since
//! the two are then one transposed convolution of four taps; the discriminator's second convolution follows the halved
//! map. The path length of the generator is not regularized, which would take a second tape through it. Noise, where it is
//! switched on, is new for each training batch and the same for all finished images, so that an image depends on its
//! latents alone; it is off by default, since in the thousands of images of a short run it only speckled faces at 64 px.

mod modulated;

use gander_nn::{
    Init, Mode, Parameter, Parameters, Scope,
    layers::{Conv, ConvConfig, Embedding, EmbeddingConfig, Linear, LinearConfig},
};
use gander_tensor::{
    Activation, ConvOptions, DeviceRef, RandomKey, Result, Tensor, concat, no_grad, ops::pool::minibatch_std,
};
use serde::{Deserialize, Serialize};

use self::modulated::{Channels, Map, ModulatedConv, Noise, Resampling, ToImage};
use super::{
    Discriminator, Generator, Grid, ImageSpec, Settings, conditioning,
    limits::{self, Sides},
};
use crate::error;

/// Settings of a StyleGAN2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The images to make; both sides from 16 to 512.
    pub images: ImageSpec,
    /// Length of a latent vector, of a style and of a class's vector.
    pub latent_dim: usize,
    /// Channels at full resolution; each halving doubles them up to `width_max`.
    pub width: usize,
    /// Most channels of a resolution.
    pub width_max: usize,
    /// Whether noise is added behind the generator's convolutions.
    pub noise: NoiseInputs,
}

/// Whether noise is added behind the generator's convolutions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NoiseInputs {
    /// As strong as each layer learns to want it.
    Learned,
    /// None, which is quicker.
    #[default]
    None,
}

/// Slope of the leaky relu.
pub(super) const SLOPE: f32 = 0.2;

/// What keeps a map's scale through a leaky relu, as in the authors' code.
pub(super) const GAIN: f32 = std::f32::consts::SQRT_2;

/// Factor on the learning rate from latents to styles.
///
/// # Source
/// Karras et al. 2019, appendix C, <https://arxiv.org/abs/1812.04948>.
const MAPPING_RATE: f32 = 0.01;

/// Images that the discriminator compares with each other, or as many below as divide the batch.
const GROUP: usize = 4;

/// Probability that a training image has the styles of two latents (Karras et al. 2019, section 3.1).
const MIXING: f64 = 0.9;

/// Share of the newest batch in the mean style, as in the authors' code.
const MEAN_STYLE_RATE: f32 = 0.005;

impl Config {
    /// Narrow enough for a few processor cores. (The paper's 64 px network has `width` 256 and `width_max` 512.)
    pub fn new(images: ImageSpec) -> Self {
        Self {
            images,
            latent_dim: 128,
            width: 32,
            width_max: 128,
            noise: NoiseInputs::None,
        }
    }

    /// Channels after so many halvings.
    fn channels(&self, halvings: usize) -> usize {
        (self.width << halvings).min(self.width_max.max(self.width))
    }

    fn classes(&self, scope: &mut Scope<'_>) -> Result<Option<Embedding>> {
        let classes = EmbeddingConfig::new(self.images.num_classes, self.latent_dim);
        (classes.count > 0)
            .then(|| classes.init(&mut scope.child("classes")))
            .transpose()
    }

    /// A generator with fresh weights.
    pub fn generator(&self, key: RandomKey, device: &DeviceRef) -> Result<Stylegan2Generator> {
        let mut parameters = Parameters::default();
        let mut scope = Scope::new(&mut parameters, key, device);
        let grid = Grid::new(self.images);
        let styles = self.latent_dim;
        let classes = self.classes(&mut scope)?;
        let mut mapped = |inputs, name| {
            let config = LinearConfig::equalized(inputs, styles, GAIN);
            let config = LinearConfig {
                activation: Activation::LeakyRelu(SLOPE),
                lr_multipliers: config.lr_multipliers.map(|rate| MAPPING_RATE * rate),
                ..config
            };
            config.init(&mut scope.child(name))
        };
        let inputs = if classes.is_some() { 2 * styles } else { styles };
        let mapping = [mapped(inputs, "map0")?, mapped(styles, "map1")?];
        let mean_style = scope.buffer("mean_style", [styles], Init::ZEROS)?;
        let [rows, columns] = grid.smallest;
        let basis = scope.weight(
            "basis",
            [rows, columns, self.channels(grid.halvings)],
            Init::normal(1.0),
        )?;
        let first = Block::new(self, grid.halvings, &mut scope.child("block0"))?;
        let ups = (0..grid.halvings)
            .rev()
            .map(|halvings| {
                let mut scope = scope.child(&format!("block{}", grid.halvings - halvings));
                let channels = Channels {
                    styles,
                    inputs: self.channels(halvings + 1),
                    outputs: self.channels(halvings),
                };
                Ok(Up {
                    conv: ModulatedConv::new(channels, Resampling::Doubled, self.noise, &mut scope.child("up"))?,
                    block: Block::new(self, halvings, &mut scope)?,
                })
            })
            .collect::<Result<_>>()?;
        Ok(Stylegan2Generator {
            config: *self,
            grid,
            parameters,
            classes,
            mapping,
            mean_style,
            basis,
            first,
            ups,
        })
    }

    /// A discriminator with fresh weights.
    pub fn discriminator(&self, key: RandomKey, device: &DeviceRef) -> Result<Stylegan2Discriminator> {
        self.judge(Comparison::OfGroups, key, device)
    }

    /// A discriminator that does or does not compare the images of a batch.
    pub(super) fn judge(
        &self,
        comparison: Comparison,
        key: RandomKey,
        device: &DeviceRef,
    ) -> Result<Stylegan2Discriminator> {
        let mut parameters = Parameters::default();
        let mut scope = Scope::new(&mut parameters, key, device);
        let grid = Grid::new(self.images);
        let first = leaky(ConvConfig::equalized(self.images.channels, self.channels(0), 1, GAIN));
        let from_image = first.init(&mut scope.child("from_image"))?;
        let downs = (0..grid.halvings)
            .map(|halvings| {
                let mut scope = scope.child(&format!("down{halvings}"));
                Down::new(self.channels(halvings), self.channels(halvings + 1), &mut scope)
            })
            .collect::<Result<_>>()?;
        let last = self.channels(grid.halvings);
        let [rows, columns] = grid.smallest;
        let differences = usize::from(comparison == Comparison::OfGroups);
        let compare = leaky(ConvConfig::equalized(last + differences, last, 3, GAIN));
        let compare = compare.init(&mut scope.child("compare"))?;
        let gather = LinearConfig {
            activation: Activation::LeakyRelu(SLOPE),
            ..LinearConfig::equalized(rows * columns * last, last, GAIN)
        };
        let gather = gather.init(&mut scope.child("gather"))?;
        let classes = self.classes(&mut scope)?;
        // 1/√latent_dim keeps the dot product with a class's vector at the scale of its factors.
        let logit = match &classes {
            Some(_) => LinearConfig::equalized(last, self.latent_dim, 1.0 / (self.latent_dim as f32).sqrt()),
            None => LinearConfig::equalized(last, 1, 1.0),
        };
        let logit = logit.init(&mut scope.child("logit"))?;
        Ok(Stylegan2Discriminator {
            grid,
            parameters,
            comparison,
            from_image,
            downs,
            compare,
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
        limits::between("model.width_max", self.width_max, 1..=4096)
    }
}

/// Whether a discriminator sees how much the images of a batch differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Comparison {
    OfGroups,
    None,
}

/// A convolution that keeps the sides, with a leaky relu.
fn leaky(config: ConvConfig) -> ConvConfig {
    let options = ConvOptions {
        padding: config.kernel / 2,
        activation: Activation::LeakyRelu(SLOPE),
        ..ConvOptions::default()
    };
    ConvConfig { options, ..config }
}

/// A resolution of the generator, and what it adds to the image.
#[derive(Debug)]
struct Block {
    conv: ModulatedConv,
    to_image: ToImage,
}

impl Block {
    fn new(config: &Config, halvings: usize, scope: &mut Scope<'_>) -> Result<Self> {
        let inputs = config.channels(halvings);
        let channels = |outputs| Channels {
            styles: config.latent_dim,
            inputs,
            outputs,
        };
        Ok(Self {
            conv: ModulatedConv::new(
                channels(inputs),
                Resampling::None,
                config.noise,
                &mut scope.child("conv"),
            )?,
            to_image: ToImage::new(channels(config.images.channels), &mut scope.child("to_image"))?,
        })
    }
}

/// A resolution after the one before it.
#[derive(Debug)]
struct Up {
    conv: ModulatedConv,
    block: Block,
}

/// Styles of a batch: those of some latents, and those of others from a layer on.
#[derive(Debug)]
struct Styles {
    first: Tensor,
    second: Option<(usize, Tensor)>,
}

impl Styles {
    fn of(&self, layer: usize) -> &Tensor {
        match &self.second {
            Some((from, second)) if layer >= *from => second,
            _ => &self.first,
        }
    }
}

/// The generator of [`Config`].
#[derive(Debug)]
pub struct Stylegan2Generator {
    config: Config,
    grid: Grid,
    parameters: Parameters,
    classes: Option<Embedding>,
    mapping: [Linear; 2],
    /// What truncation draws styles to.
    mean_style: Parameter,
    basis: Parameter,
    first: Block,
    ups: Vec<Up>,
}

impl Stylegan2Generator {
    /// Layers that may take different styles: a resolution's step to the image has that of the next one's first layer.
    fn num_layers(&self) -> usize {
        2 * (self.ups.len() + 1)
    }

    /// `[batch, latent_dim]` to the same.
    fn styles(&self, latents: &Tensor, labels: Option<&Tensor>, mode: Mode) -> Result<Tensor> {
        let latents = of_unit_mean_square(latents)?;
        let input = match &self.classes {
            None => latents,
            Some(classes) => {
                let labels = conditioning::required("generator", labels)?;
                concat(&[&latents, &of_unit_mean_square(&classes.forward(labels, mode)?)?], 1)?
            }
        };
        self.mapping.iter().try_fold(input, |x, layer| layer.forward(&x, mode))
    }

    /// Styles for training: now and then of two latents, and the mean style moves on.
    fn styles_in_training(&self, latents: &Tensor, labels: Option<&Tensor>, key: RandomKey) -> Result<Styles> {
        let first = self.styles(latents, labels, Mode::Train)?;
        no_grad(|| {
            let mean = first.detach().mean_keep(&[0])?.reshape([self.config.latent_dim])?;
            self.mean_style
                .update(|style| latents.device().lerp(style, mean.array(), MEAN_STYLE_RATE))
        })?;
        if key.named("mix").uniform() >= MIXING {
            return Ok(Styles { first, second: None });
        }
        let others = Tensor::normal(key.named("others"), latents.shape(), latents.device())?;
        let from = 1 + (key.named("from").uniform() * (self.num_layers() - 1) as f64) as usize;
        let second = self.styles(&others, labels, Mode::Train)?;
        Ok(Styles {
            first,
            second: Some((from, second)),
        })
    }

    fn synthesize(&self, styles: &Styles, noise: Noise, mode: Mode) -> Result<Tensor> {
        let modulated = |conv: &ModulatedConv, x: &Map, layer: usize| {
            let noise = Noise {
                key: noise.key.split(layer as u64),
                ..noise
            };
            conv.forward(x, styles.of(layer), noise, mode)
        };
        let mut x = modulated(&self.first.conv, &Map::shared(&self.basis.get())?, 0)?;
        let mut images = self.first.to_image.forward(&x, styles.of(1), mode)?;
        for (index, Up { conv, block }) in self.ups.iter().enumerate() {
            let layer = 2 * index + 1;
            x = modulated(&block.conv, &modulated(conv, &x, layer)?, layer + 1)?;
            let added = block.to_image.forward(&x, styles.of(layer + 2), mode)?;
            images = images.fir_upsample()?.add(&added)?;
        }
        self.grid.crop(&images)
    }
}

/// The noise of finished images.
fn still() -> Noise {
    Noise {
        key: RandomKey::from_seed(0).named("noise"),
        images: 1,
    }
}

/// Random numbers of a training batch: from its latents, so that they come again when it does.
fn key_of(latents: &Tensor) -> Result<RandomKey> {
    let values = latents.to_vec()?;
    let key = RandomKey::from_seed(0).named("latents");
    Ok(values.iter().fold(key, |key, value| key.split(value.to_bits().into())))
}

/// Each vector divided by the root of its mean square.
fn of_unit_mean_square(x: &Tensor) -> Result<Tensor> {
    const EPS: f32 = 1e-8;
    x.div(&x.square()?.mean_keep(&[1])?.add_scalar(EPS)?.sqrt()?)
}

impl Generator for Stylegan2Generator {
    fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    fn latent_dim(&self) -> usize {
        self.config.latent_dim
    }

    fn forward(&self, latents: &Tensor, labels: Option<&Tensor>, mode: Mode) -> Result<Tensor> {
        if mode != Mode::Train {
            let first = self.styles(latents, labels, mode)?;
            return self.synthesize(&Styles { first, second: None }, still(), mode);
        }
        let key = key_of(latents)?;
        let styles = self.styles_in_training(latents, labels, key)?;
        let noise = Noise {
            key: key.named("noise"),
            images: latents.side(0),
        };
        self.synthesize(&styles, noise, mode)
    }

    /// Styles, not latents, are drawn to their mean: latents have no length here.
    fn forward_truncated(&self, latents: &Tensor, labels: Option<&Tensor>, psi: f32) -> Result<Tensor> {
        let mode = Mode::Evaluate;
        let styles = self.styles(latents, labels, mode)?;
        let mean = self.mean_style.get().mul_scalar(1.0 - psi)?;
        let first = styles.mul_scalar(psi)?.add(&mean)?;
        self.synthesize(&Styles { first, second: None }, still(), mode)
    }
}

/// Half the resolution: two convolutions with a filter between them, and the filter alone beside them.
#[derive(Debug)]
struct Down {
    conv0: Conv,
    conv1: Conv,
    skip: Conv,
}

impl Down {
    /// Each way gets a factor √½, so that their sum has the variance of one (section 4.1).
    fn new(inputs: usize, outputs: usize, scope: &mut Scope<'_>) -> Result<Self> {
        const HALF: f32 = std::f32::consts::FRAC_1_SQRT_2;
        let skip = ConvConfig {
            bias: None,
            ..ConvConfig::equalized(inputs, outputs, 1, HALF)
        };
        Ok(Self {
            conv0: leaky(ConvConfig::equalized(inputs, inputs, 3, GAIN)).init(&mut scope.child("conv0"))?,
            conv1: leaky(ConvConfig::equalized(inputs, outputs, 3, GAIN * HALF)).init(&mut scope.child("conv1"))?,
            skip: skip.init(&mut scope.child("skip"))?,
        })
    }

    fn forward(&self, x: &Tensor, mode: Mode) -> Result<Tensor> {
        let inner = self.conv0.forward(x, mode)?.fir_downsample()?;
        let skip = self.skip.forward(&x.fir_downsample()?, mode)?;
        self.conv1.forward(&inner, mode)?.add(&skip)
    }
}

/// The discriminator of [`Config`].
#[derive(Debug)]
pub struct Stylegan2Discriminator {
    grid: Grid,
    parameters: Parameters,
    comparison: Comparison,
    from_image: Conv,
    downs: Vec<Down>,
    /// Sees, beside the last map, how much the images of a group differ.
    compare: Conv,
    gather: Linear,
    logit: Linear,
    classes: Option<Embedding>,
}

impl Discriminator for Stylegan2Discriminator {
    fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    fn forward(&self, images: &Tensor, labels: Option<&Tensor>, mode: Mode) -> Result<Tensor> {
        let batch = images.side(0);
        let x = self.from_image.forward(&self.grid.pad(images)?, mode)?;
        let x = self.downs.iter().try_fold(x, |x, down| down.forward(&x, mode))?;
        let x = match self.comparison {
            Comparison::OfGroups => {
                let group = (1..=GROUP).rev().find(|size| batch.is_multiple_of(*size)).unwrap_or(1);
                minibatch_std(&x, group)?
            }
            Comparison::None => x,
        };
        let x = self.compare.forward(&x, mode)?;
        let x = self.gather.forward(&x.flatten()?, mode)?;
        let x = self.logit.forward(&x, mode)?;
        match &self.classes {
            None => x.reshape([batch]),
            Some(classes) => conditioning::projection(classes, &x, labels, mode),
        }
    }
}

#[cfg(test)]
mod tests {
    use gander_tensor::Reference;

    use super::*;

    fn narrow() -> Config {
        let images = ImageSpec {
            height_px: 32,
            width_px: 32,
            channels: 3,
            num_classes: 0,
        };
        Config {
            latent_dim: 6,
            width: 4,
            width_max: 8,
            noise: NoiseInputs::Learned,
            ..Config::new(images)
        }
    }

    /// 4, 8, 8 and 8 channels from 32 px to 4 px.
    #[test]
    fn weights_are_those_of_the_description() {
        let (config, device, key) = (narrow(), Reference::shared(), RandomKey::from_seed(1));
        // A style, a kernel, a bias and the strength of the noise.
        let modulated = |inputs: usize, outputs: usize| 7 * inputs + 9 * inputs * outputs + outputs + 1;
        let to_image = |inputs: usize| 7 * inputs + 3 * inputs + 3;
        let block = |inputs, outputs| modulated(inputs, outputs) + modulated(outputs, outputs) + to_image(outputs);
        let first = 16 * 8 + modulated(8, 8) + to_image(8);
        let generator = 2 * (36 + 6) + first + 2 * block(8, 8) + block(8, 4);
        assert_eq!(
            config.generator(key, &device).unwrap().parameters().num_weights(),
            generator
        );
        let down = |inputs: usize, outputs: usize| 9 * inputs * inputs + inputs + 10 * inputs * outputs + outputs;
        let last = 9 * 9 * 8 + 8 + 16 * 8 * 8 + 8 + 8 + 1;
        let discriminator = 3 * 4 + 4 + down(4, 8) + 2 * down(8, 8) + last;
        assert_eq!(
            config.discriminator(key, &device).unwrap().parameters().num_weights(),
            discriminator
        );
    }

    #[test]
    fn a_training_batch_is_that_of_its_latents() {
        let device = Reference::shared();
        let generator = narrow().generator(RandomKey::from_seed(1), &device).unwrap();
        let one = Tensor::ones([1], &device).unwrap();
        for weight in generator.parameters().weights() {
            if weight.name().ends_with("noise_strength") {
                weight.set(&one).unwrap();
            }
        }
        let images = |seed, mode| {
            let latents = generator.latents(RandomKey::from_seed(seed), 2, &device).unwrap();
            generator.forward(&latents, None, mode).unwrap().to_vec().unwrap()
        };
        assert_eq!(images(1, Mode::Train), images(1, Mode::Train));
        assert_ne!(images(1, Mode::Train), images(1, Mode::Evaluate));
        assert_ne!(images(1, Mode::Train), images(2, Mode::Train));
    }

    #[test]
    fn only_training_moves_the_mean_style() {
        let device = Reference::shared();
        let generator = narrow().generator(RandomKey::from_seed(1), &device).unwrap();
        let latents = generator.latents(RandomKey::from_seed(2), 2, &device).unwrap();
        let mean = || {
            let mean = generator.parameters().get("mean_style").unwrap().get();
            mean.to_vec_f64().unwrap()
        };
        for mode in [Mode::Frozen, Mode::Evaluate] {
            generator.forward(&latents, None, mode).unwrap();
            assert_eq!(mean(), [0.0; 6]);
        }
        generator.forward(&latents, None, Mode::Train).unwrap();
        let styles = generator.styles(&latents, None, Mode::Frozen).unwrap();
        let expected = styles.mean_keep(&[0]).unwrap().mul_scalar(MEAN_STYLE_RATE).unwrap();
        for (mean, expected) in mean().iter().zip(expected.to_vec_f64().unwrap()) {
            assert!((mean - expected).abs() < 1e-9, "{mean} instead of {expected}");
        }
    }

    #[test]
    fn mixed_styles_change_at_a_layer() {
        let device = Reference::shared();
        let [zeros, ones] = [0.0, 1.0].map(|value| Tensor::full(value, [1], &device).unwrap());
        let styles = Styles {
            first: zeros,
            second: Some((3, ones)),
        };
        let of = [0, 2, 3, 7].map(|layer| styles.of(layer).item().unwrap());
        assert_eq!(of, [0.0, 0.0, 1.0, 1.0]);
    }
}
