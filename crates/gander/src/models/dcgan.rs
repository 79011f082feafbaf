//! DCGAN: strided convolutions with batch normalization, and nothing fully connected in between.
//!
//! Radford, Metz & Chintala 2016, <https://arxiv.org/abs/1511.06434>. Kernels are 4 × 4 with stride 2, as in the
//! authors' Torch code and nearly everyone's since (their Theano code has 5 × 5). Weights start as N(0, 0.02) and scales
//! of the normalization as N(1, 0.02), as in both. Classes, which the paper does not have, enter as in Miyato & Koyama
//! 2018: scales and shifts behind the generator's normalizations, a projection beside the logit.
//!
//! At 64 × 64 with width 64 the generator goes 512, 256, 128, 64 channels at 4, 8, 16, 32 px. Other sizes keep the
//! finest map at `width`, double at each halving up to eight times, and end with a smallest map whose shorter side has 3 to 6 positions.

use gander_nn::{
    Init, Mode, Parameters, Scope,
    layers::{BatchNorm, BatchNormConfig, Conv, ConvConfig, Embedding, EmbeddingConfig, Linear, LinearConfig},
};
use gander_tensor::{Activation, ConvOptions, DeviceRef, RandomKey, Result, Tensor};
use serde::{Deserialize, Serialize};

use super::{
    Discriminator, Generator, Grid, ImageSpec, Settings,
    conditioning::{self, ClassNorm, Classes},
    limits::{self, Sides},
    upsampling::{Doubling, Upsampling},
};
use crate::error;

/// Settings of a DCGAN.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The images to make; both sides from 16 to 256.
    pub images: ImageSpec,
    /// Length of a latent vector.
    pub latent_dim: usize,
    /// Channels at half the resolution of the images.
    pub width: usize,
    /// Channels of the discriminator instead, at the same place; `width` if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub discriminator_width: Option<usize>,
    /// How the generator doubles the resolution: the paper's transposed convolutions, or without a checkerboard.
    #[serde(default)]
    pub upsampling: Upsampling,
    /// Whether there are ways around the layers, which the paper does not have: the generator adds up images of all its
    /// resolutions, and each halving of the discriminator is added to a 1 × 1 convolution of means of 2 × 2. As in Karras et al.
    /// 2020, <https://arxiv.org/abs/1912.04958>, section 4.1.
    #[serde(default)]
    pub skips: bool,
    /// Factors on the learning rate of what a class adds: to the generator's normalizations, and its vector in the
    /// discriminator. One where a file does not say.
    #[serde(default = "conditioning::no_rates")]
    pub class_rates: [u32; 2],
}

/// What a class adds is taught by its share of each batch alone, and has to grow from nothing to the size of what it changes.
///
/// Fashion-MNIST, quick preset, 60 kimg, one seed, FID and coverage of 5,000 images in a classifier's features: 0.76 and 0.72
/// with 1 and 1, 0.35 and 0.81 with 4 and 10, 0.27 and 0.83 with 10 and 100, 0.28 and 0.80 with 30 and 300.
const CLASS_RATES: [u32; 2] = [10, 100];

/// Section 3 of the paper: all weights.
const WEIGHTS: Init = Init::normal(0.02);

/// `gain_ifn` in the authors' code, <https://github.com/Newmu/dcgan_code>.
const SCALES: Init = Init::Normal { mean: 1.0, std: 0.02 };

/// Section 3 of the paper.
const LEAKY: Activation = Activation::LeakyRelu(0.2);

impl Config {
    /// The sizes of the paper's code.
    pub fn new(images: ImageSpec) -> Self {
        Self {
            images,
            latent_dim: 100,
            width: 64,
            discriminator_width: None,
            upsampling: Upsampling::Transposed,
            skips: false,
            class_rates: CLASS_RATES,
        }
    }

    /// Channels after `halvings` from the full resolution, at least one.
    fn channels(&self, halvings: usize) -> usize {
        self.width << (halvings - 1).min(3)
    }

    /// The same with the discriminator's width.
    fn judging(&self) -> Self {
        Self {
            width: self.discriminator_width.unwrap_or(self.width),
            ..*self
        }
    }

    /// A generator with fresh weights.
    pub fn generator(&self, key: RandomKey, device: &DeviceRef) -> Result<DcganGenerator> {
        let mut parameters = Parameters::default();
        let mut scope = Scope::new(&mut parameters, key, device);
        let grid = Grid::new(self.images);
        let classes = Classes {
            count: self.images.num_classes,
            lr_multiplier: self.class_rates[0] as f32,
        };
        let [rows, columns] = grid.smallest;
        let first = self.channels(grid.halvings);
        // A transposed 4 × 4 convolution of one position is a Linear to all positions.
        let project = LinearConfig {
            init: WEIGHTS,
            bias: None,
            ..LinearConfig::new(self.latent_dim, rows * columns * first)
        };
        let project = project.init(&mut scope.child("project"))?;
        let class_norm =
            |channels, scope: &mut Scope<'_>| ClassNorm::new(norm(channels, Activation::Relu), classes, scope);
        let project_norm = class_norm(first, &mut scope.child("project_norm"))?;
        let ups = (1..grid.halvings)
            .rev()
            .map(|halvings| {
                let (inputs, outputs) = (self.channels(halvings + 1), self.channels(halvings));
                let mut scope = scope.child(&format!("up{}", grid.halvings - halvings - 1));
                let conv = conv(inputs, outputs, Activation::Identity);
                Ok(Up {
                    conv: self.upsampling.layer(conv, &mut scope.child("conv"))?,
                    norm: class_norm(outputs, &mut scope.child("norm"))?,
                })
            })
            .collect::<Result<_>>()?;
        let paints = if self.skips { grid.halvings } else { 0 };
        let paints = (0..paints)
            .map(|doublings| {
                let inputs = self.channels(grid.halvings - doublings);
                let config = ConvConfig {
                    init: WEIGHTS,
                    ..ConvConfig::new(inputs, self.images.channels, 1)
                };
                config.init(&mut scope.child(&format!("paint{doublings}")))
            })
            .collect::<Result<_>>()?;
        let end = if self.skips {
            Activation::Identity
        } else {
            Activation::Tanh
        };
        let last = conv(self.channels(1), self.images.channels, end);
        let last = self.upsampling.layer(last, &mut scope.child("to_image"))?;
        Ok(DcganGenerator {
            config: *self,
            grid,
            parameters,
            project,
            project_norm,
            ups,
            paints,
            last,
        })
    }

    /// A discriminator with fresh weights.
    pub fn discriminator(&self, key: RandomKey, device: &DeviceRef) -> Result<DcganDiscriminator> {
        let own = self.judging();
        let mut parameters = Parameters::default();
        let mut scope = Scope::new(&mut parameters, key, device);
        let grid = Grid::new(self.images);
        let first = conv(self.images.channels, own.channels(1), LEAKY).init(&mut scope.child("from_image"))?;
        let downs = (1..grid.halvings)
            .map(|halvings| {
                let (inputs, outputs) = (own.channels(halvings), own.channels(halvings + 1));
                let mut scope = scope.child(&format!("down{}", halvings - 1));
                let shortcut = ConvConfig {
                    init: Init::FanIn { gain: 1.0 },
                    bias: None,
                    ..ConvConfig::new(inputs, outputs, 1)
                };
                Ok(Down {
                    conv: conv(inputs, outputs, Activation::Identity).init(&mut scope.child("conv"))?,
                    norm: norm(outputs, LEAKY).init(&mut scope.child("norm"))?,
                    shortcut: self
                        .skips
                        .then(|| shortcut.init(&mut scope.child("shortcut")))
                        .transpose()?,
                })
            })
            .collect::<Result<_>>()?;
        let [rows, columns] = grid.smallest;
        let width = own.channels(grid.halvings);
        let logit = LinearConfig {
            init: WEIGHTS,
            bias: None,
            ..LinearConfig::new(rows * columns * width, 1)
        };
        let logit = logit.init(&mut scope.child("logit"))?;
        let classes = (self.images.num_classes > 0)
            .then(|| {
                let classes = EmbeddingConfig {
                    init: WEIGHTS,
                    lr_multiplier: self.class_rates[1] as f32,
                    ..EmbeddingConfig::new(self.images.num_classes, width)
                };
                classes.init(&mut scope.child("classes"))
            })
            .transpose()?;
        Ok(DcganDiscriminator {
            grid,
            parameters,
            first,
            downs,
            logit,
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

/// A 4 × 4 convolution between one resolution and half of it. What a bias would add, normalization takes away.
fn conv(inputs: usize, outputs: usize, activation: Activation) -> ConvConfig {
    let options = ConvOptions {
        stride: 2,
        padding: 1,
        activation,
        ..ConvOptions::default()
    };
    ConvConfig {
        options,
        init: WEIGHTS,
        bias: None,
        ..ConvConfig::new(inputs, outputs, 4)
    }
}

fn norm(channels: usize, activation: Activation) -> BatchNormConfig {
    BatchNormConfig {
        scale: SCALES,
        ..BatchNormConfig::new(channels, activation)
    }
}

/// Twice the resolution.
#[derive(Debug)]
struct Up {
    conv: Doubling,
    norm: ClassNorm,
}

/// Half the resolution.
#[derive(Debug)]
struct Down {
    conv: Conv,
    norm: BatchNorm,
    shortcut: Option<Conv>,
}

impl Down {
    fn forward(&self, x: &Tensor, mode: Mode) -> Result<Tensor> {
        let y = self.norm.forward(&self.conv.forward(x, mode)?, mode)?;
        match &self.shortcut {
            Some(shortcut) => shortcut.forward_added(&x.average_pool(2, 2, 0)?, &y, mode),
            None => Ok(y),
        }
    }
}

/// The generator of [`Config`].
#[derive(Debug)]
pub struct DcganGenerator {
    config: Config,
    grid: Grid,
    parameters: Parameters,
    project: Linear,
    project_norm: ClassNorm,
    ups: Vec<Up>,
    /// From the map of each resolution to an image of it, where those are added up.
    paints: Vec<Conv>,
    last: Doubling,
}

impl DcganGenerator {
    /// The image of a map, with the coarser one behind it, which is doubled through a low-pass filter.
    fn painted(&self, doublings: usize, map: &Tensor, coarser: Option<&Tensor>, mode: Mode) -> Result<Option<Tensor>> {
        let Some(paint) = self.paints.get(doublings) else {
            return Ok(None);
        };
        Ok(Some(match coarser {
            None => paint.forward(map, mode)?,
            Some(image) => paint.forward_added(map, &image.fir_upsample()?, mode)?,
        }))
    }
}

impl Generator for DcganGenerator {
    fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    fn latent_dim(&self) -> usize {
        self.config.latent_dim
    }

    fn forward(&self, latents: &Tensor, labels: Option<&Tensor>, mode: Mode) -> Result<Tensor> {
        let [rows, columns] = self.grid.smallest;
        let channels = self.config.channels(self.grid.halvings);
        let x = self
            .project
            .forward(latents, mode)?
            .reshape([latents.side(0), rows, columns, channels])?;
        let mut x = self.project_norm.forward(&x, labels, mode)?;
        let mut coarser = self.painted(0, &x, None, mode)?;
        for (Up { conv, norm }, doublings) in self.ups.iter().zip(1..) {
            x = norm.forward(&conv.forward(&x)?, labels, mode)?;
            coarser = self.painted(doublings, &x, coarser.as_ref(), mode)?;
        }
        let finest = self.last.forward(&x)?;
        self.grid.crop(&match coarser {
            None => finest,
            Some(image) => finest.add(&image.fir_upsample()?)?.tanh()?,
        })
    }
}

/// The discriminator of [`Config`].
#[derive(Debug)]
pub struct DcganDiscriminator {
    grid: Grid,
    parameters: Parameters,
    first: Conv,
    downs: Vec<Down>,
    logit: Linear,
    classes: Option<Embedding>,
}

impl Discriminator for DcganDiscriminator {
    fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    fn forward(&self, images: &Tensor, labels: Option<&Tensor>, mode: Mode) -> Result<Tensor> {
        let mut x = self.first.forward(&self.grid.pad(images)?, mode)?;
        for down in &self.downs {
            x = down.forward(&x, mode)?;
        }
        let batch = x.side(0);
        let logits = self.logit.forward(&x.flatten()?, mode)?.reshape([batch])?;
        let Some(classes) = &self.classes else {
            return Ok(logits);
        };
        let features = x.mean_keep(&[1, 2])?.reshape([batch, x.side(-1)])?;
        logits.add(&conditioning::projection(classes, &features, labels, mode)?)
    }
}

#[cfg(test)]
mod tests {
    use gander_tensor::Reference;

    use super::*;

    const IMAGES: ImageSpec = ImageSpec {
        height_px: 64,
        width_px: 64,
        channels: 3,
        num_classes: 0,
    };

    /// The counts that the network of PyTorch's DCGAN example has.
    #[test]
    fn weights_are_as_many_as_in_the_network_of_the_field() {
        let (config, device, key) = (Config::new(IMAGES), Reference::shared(), RandomKey::from_seed(1));
        assert_eq!(
            config.generator(key, &device).unwrap().parameters().num_weights(),
            3_576_704
        );
        assert_eq!(
            config.discriminator(key, &device).unwrap().parameters().num_weights(),
            2_765_568
        );
    }

    #[test]
    fn weights_start_as_in_the_paper() {
        let config = Config {
            width: 16,
            ..Config::new(IMAGES)
        };
        let generator = config.generator(RandomKey::from_seed(1), &Reference::shared()).unwrap();
        let statistics = |name: &str| {
            let values = generator.parameters().get(name).expect(name).get().to_vec().unwrap();
            let mean = values.iter().sum::<f32>() / values.len() as f32;
            let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f32>() / values.len() as f32;
            (mean, variance.sqrt())
        };
        let (mean, std) = statistics("up0.conv.weight");
        assert!(mean.abs() < 5e-4 && (std - 0.02).abs() < 1e-3, "{mean} {std}");
        let (mean, std) = statistics("project_norm.weight");
        assert!((mean - 1.0).abs() < 0.01 && (std - 0.02).abs() < 0.005, "{mean} {std}");
        assert_eq!(statistics("up0.norm.bias"), (0.0, 0.0));
    }

    #[test]
    fn networks_of_classes_have_what_the_classes_add_besides() {
        let names = |num_classes| {
            let config = Config {
                width: 4,
                ..Config::new(ImageSpec { num_classes, ..IMAGES })
            };
            let (key, device) = (RandomKey::from_seed(1), Reference::shared());
            let generator = config.generator(key, &device).unwrap();
            let discriminator = config.discriminator(key, &device).unwrap();
            let all = generator.parameters().iter().chain(discriminator.parameters().iter());
            all.map(|parameter| parameter.name().to_owned()).collect::<Vec<_>>()
        };
        let (plain, mut of_classes) = (names(0), names(3));
        let with = of_classes.len();
        of_classes.retain(|name| !conditioning::is_of_classes(name));
        assert!(with > plain.len());
        assert_eq!(of_classes, plain);
    }

    #[test]
    fn images_fill_the_range_of_tanh() {
        let images = ImageSpec {
            height_px: 16,
            width_px: 16,
            ..IMAGES
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
            .latents(RandomKey::from_seed(2), 2, &device)
            .unwrap()
            .mul_scalar(1e3)
            .unwrap();
        let images = generator
            .forward(&latents, None, Mode::Train)
            .unwrap()
            .to_vec()
            .unwrap();
        assert!(images.iter().all(|value| value.abs() <= 1.0));
    }

    /// Makes the weights zero whose names are `chosen`.
    fn clear(parameters: &Parameters, chosen: impl Fn(&str) -> bool) {
        for weight in parameters.weights().filter(|weight| chosen(weight.name())) {
            let zeros = Tensor::zeros(weight.get().shape().clone(), weight.get().device()).unwrap();
            weight.set(&zeros).unwrap();
        }
    }

    /// Small networks with skips or without; weights of one name are the same in both.
    fn small(skips: bool, device: &DeviceRef) -> (DcganGenerator, DcganDiscriminator) {
        let images = ImageSpec {
            height_px: 24,
            width_px: 32,
            ..IMAGES
        };
        let config = Config {
            width: 4,
            upsampling: Upsampling::Repeated,
            skips,
            ..Config::new(images)
        };
        let key = RandomKey::from_seed(1);
        let generator = config.generator(key, device).unwrap();
        (generator, config.discriminator(key, device).unwrap())
    }

    fn images_before_tanh(generator: &DcganGenerator, device: &DeviceRef) -> Vec<f64> {
        let latents = generator.latents(RandomKey::from_seed(2), 3, device).unwrap();
        let images = generator.forward(&latents, None, Mode::Train).unwrap();
        images.to_vec_f64().unwrap().into_iter().map(f64::atanh).collect()
    }

    #[test]
    fn skips_of_zero_change_nothing() {
        let device = Reference::shared();
        let ((plain, judge), (skipping, skipping_judge)) = (small(false, &device), small(true, &device));
        clear(skipping.parameters(), |name| name.starts_with("paint"));
        clear(skipping_judge.parameters(), |name| name.contains("shortcut"));
        let images = images_before_tanh(&plain, &device);
        assert_eq!(images, images_before_tanh(&skipping, &device));
        let images: Vec<f32> = images.iter().map(|&value| value as f32).collect();
        let images = Tensor::from_slice(&images, [3, 24, 32, 3], &device).unwrap();
        let logits = [judge, skipping_judge].map(|judge| judge.forward(&images, None, Mode::Train).unwrap());
        let [plain, skipping] = logits.map(|logits| logits.to_vec_f64().unwrap());
        assert_eq!(plain, skipping);
    }

    /// What each resolution paints is added to the rest, the coarser ones smooth.
    #[test]
    fn an_image_is_the_sum_of_what_its_resolutions_paint() {
        let device = Reference::shared();
        let all = images_before_tanh(&small(true, &device).0, &device);
        let parts = ["paint0", "paint1", "paint2", "to_image"];
        let alone = parts.map(|part| {
            let (generator, _) = small(true, &device);
            let is_output = |name: &str| parts.iter().any(|part| name.starts_with(part));
            clear(generator.parameters(), |name| {
                is_output(name) && !name.starts_with(part)
            });
            images_before_tanh(&generator, &device)
        });
        for (index, &value) in all.iter().enumerate() {
            let sum: f64 = alone.iter().map(|part| part[index]).sum();
            assert!((value - sum).abs() < 1e-9, "{index}: {value} and {sum}");
        }
        let step = |image: &[f64]| {
            let steps = image
                .chunks_exact(32 * 3)
                .flat_map(|row| row.windows(4).map(|w| (w[3] - w[0]).powi(2)));
            steps.sum::<f64>() / image.iter().map(|value| value * value).sum::<f64>()
        };
        assert!(alone.iter().all(|part| part.iter().any(|&value| value != 0.0)));
        assert!(
            step(&alone[0]) < 0.5 * step(&alone[2]),
            "{} and {}",
            step(&alone[0]),
            step(&alone[2])
        );
    }
}
