//! pix2pix: a U-Net that draws the second picture of a pair from the first, and a judge of both together.
//!
//! Isola et al. 2017, <https://arxiv.org/abs/1611.07004>, appendix 6.1: the encoder C64-C128-C256-C512-… halves the
//! image down to one position, the decoder doubles it again and sees at each size what the encoder saw there; dropout
//! of a half on the decoder's first three layers is its noise. The discriminator judges patches of the pair.
//!
//! The paper's batches are mostly of one image, where batch normalization is instance normalization; here they are of a few,
//! and a finished picture is normalized by running averages. An image normalized by itself forgets its own brightness and
//! hue at every layer. The innermost layer has no normalization: a single position would be normalized to zero, as the
//! authors' own correction says.

use gander_nn::{
    Init, Mode, Parameter, Parameters, Scope,
    layers::{BatchNorm, BatchNormConfig, Conv, ConvConfig},
};
use gander_tensor::{
    Activation, BinaryOp, ConvOptions, DeviceRef, RandomKey, Result, Tensor, concat, ops::elementwise::binary,
};
use serde::{Deserialize, Serialize};

use super::{
    ImageSpec, Settings,
    limits::{self, Sides},
    patches::{self, PatchDiscriminator},
    translator::{Statistics, Translator},
    upsampling::{Doubling, Upsampling},
};
use crate::error;

/// Settings of both networks and of what they make small.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Both pictures of a pair, as they are trained on.
    pub images: ImageSpec,
    /// Channels of the first layer of each network.
    pub width: usize,
    /// How often the U-Net halves the resolution: 8 at 256 px.
    pub downs: usize,
    /// How it doubles it again: the paper's transposed convolutions, or without a checkerboard.
    #[serde(default)]
    pub upsampling: Upsampling,
    /// Side of the patches that are judged, in pixels: 16, 34 or 70, of which the last is the paper's at 256 px.
    #[serde(default = "patches::largest_px")]
    pub patch_px: usize,
    /// Channels of the judge's first layer; the translator's if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub discriminator_width: Option<usize>,
    /// What the U-Net's maps are normalized by.
    #[serde(default)]
    pub normalization: Normalization,
    /// Probability with which a value of the decoder's first three layers is dropped: ½ in the paper.
    pub dropout: f32,
    /// Weight of the mean distance to the pair's second picture.
    pub l1_weight: f32,
}

/// What the maps of a U-Net are normalized by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Normalization {
    /// Mean and variance of each image's own channels.
    #[default]
    Instance,
    /// Those of a training batch; of all recent batches in a finished picture.
    Batch,
}

/// Appendix 6.2 of the paper.
const WEIGHTS: Init = Init::normal(0.02);

const LEAKY: f32 = 0.2;

/// Widths grow up to this many times the first.
const WIDEST: usize = 8;

/// Layers of the decoder with dropout.
const DROPPED: usize = 3;

impl Config {
    /// The paper's sizes, without its checkerboard; as many halvings as both sides have. Without its dropout too: the authors
    /// saw little noise come out of it (section 3.1), and without it a short run gets further.
    pub fn new(images: ImageSpec) -> Self {
        let halvings = images.height_px.trailing_zeros().min(images.width_px.trailing_zeros());
        Self {
            images,
            width: 64,
            downs: (halvings as usize).clamp(2, 8),
            upsampling: Upsampling::Repeated,
            patch_px: patches::side_px(images),
            discriminator_width: None,
            normalization: Normalization::Batch,
            dropout: 0.0,
            l1_weight: 100.0,
        }
    }

    fn channels(&self, level: usize) -> usize {
        self.width * (1 << level.min(3)).min(WIDEST)
    }

    /// A translator with fresh weights.
    pub fn translator(&self, key: RandomKey, device: &DeviceRef) -> Result<UNet> {
        let mut parameters = Parameters::default();
        let mut scope = Scope::new(&mut parameters, key, device);
        let conv = |inputs, outputs| ConvConfig {
            options: ConvOptions {
                stride: 2,
                padding: 1,
                ..ConvOptions::default()
            },
            init: WEIGHTS,
            bias: None,
            ..ConvConfig::new(inputs, outputs, 4)
        };
        let biased = |config| ConvConfig {
            bias: Some(Init::ZEROS),
            ..config
        };
        let mut downs = Vec::new();
        for level in 0..self.downs {
            let inputs = if level == 0 {
                self.images.channels
            } else {
                self.channels(level - 1)
            };
            let config = conv(inputs, self.channels(level));
            let mut scope = scope.child(&format!("down{level}"));
            // No normalization at the first layer, nor where one position is left.
            let is_plain = level == 0 || level + 1 == self.downs;
            let norm = (!is_plain)
                .then(|| Norm::new(self.normalization, self.channels(level), &mut scope))
                .transpose()?;
            let config = if is_plain { biased(config) } else { config };
            let conv = config.init(&mut scope)?;
            downs.push(Down { conv, norm });
        }
        let mut ups = Vec::new();
        for level in (0..self.downs).rev() {
            let joined = if level + 1 == self.downs { 1 } else { 2 };
            let inputs = joined * self.channels(level);
            let mut scope = scope.child(&format!("up{level}"));
            ups.push(if level == 0 {
                let config = biased(conv(inputs, self.images.channels));
                let options = ConvOptions {
                    activation: Activation::Tanh,
                    ..config.options
                };
                let conv = self.upsampling.layer(ConvConfig { options, ..config }, &mut scope)?;
                Up { conv, norm: None }
            } else {
                let outputs = self.channels(level - 1);
                let norm = Some(Norm::new(self.normalization, outputs, &mut scope)?);
                let conv = self.upsampling.layer(conv(inputs, outputs), &mut scope)?;
                Up { conv, norm }
            });
        }
        Ok(UNet {
            parameters,
            downs,
            ups,
            dropout: self.dropout,
        })
    }

    /// A discriminator of pairs with fresh weights.
    pub fn discriminator(&self, key: RandomKey, device: &DeviceRef) -> Result<PatchDiscriminator> {
        let config = patches::Config {
            channels: 2 * self.images.channels,
            width: self.discriminator_width.unwrap_or(self.width),
            patch_px: self.patch_px,
            init: WEIGHTS,
        };
        config.init(key, device)
    }
}

impl Settings for Config {
    fn sides(&self) -> Sides {
        Sides::of_translators(1 << self.downs)
    }

    fn check(&self) -> error::Result<()> {
        limits::no_classes(self.images)?;
        limits::between("model.width", self.width, 1..=512)?;
        limits::patch_judge(self.patch_px, self.discriminator_width)?;
        limits::between("model.downs", self.downs, 2..=9)?;
        limits::weight("model.l1_weight", self.l1_weight)?;
        if !(0.0..1.0).contains(&self.dropout) {
            return Err(limits::refused("model.dropout", &self.dropout));
        }
        Ok(())
    }
}

/// For what a U-Net runs.
#[derive(Debug, Clone, Copy)]
enum Pass<'a> {
    /// With dropout, and normalized as training is.
    Training(RandomKey),
    /// With these statistics where images are normalized by their own.
    Finished(&'a Statistics),
}

/// A normalization with a scale and a shift for each channel.
#[derive(Debug)]
enum Norm {
    Instance { scale: Parameter, shift: Parameter },
    Batch(BatchNorm),
}

impl Norm {
    /// Scales start as N(1, 0.02), as in the authors' code.
    fn new(normalization: Normalization, channels: usize, scope: &mut Scope<'_>) -> Result<Self> {
        let scale = Init::Normal { mean: 1.0, std: 0.02 };
        let mut scope = scope.child("norm");
        Ok(match normalization {
            Normalization::Instance => Self::Instance {
                scale: scope.weight("weight", [channels], scale)?,
                shift: scope.weight("bias", [channels], Init::ZEROS)?,
            },
            Normalization::Batch => {
                let config = BatchNormConfig {
                    scale,
                    ..BatchNormConfig::new(channels, Activation::Identity)
                };
                Self::Batch(config.init(&mut scope)?)
            }
        })
    }

    fn apply(&self, x: &Tensor, pass: Pass<'_>) -> Result<Tensor> {
        match (self, pass) {
            (Self::Batch(norm), Pass::Training(_)) => norm.forward(x, Mode::Train),
            (Self::Batch(norm), Pass::Finished(_)) => norm.forward(x, Mode::Evaluate),
            (Self::Instance { scale, shift }, _) => {
                let affine = (&scale.get(), &shift.get());
                let own = Statistics::own();
                let statistics = if let Pass::Finished(given) = pass { given } else { &own };
                statistics.norm(x, Some(affine), Activation::Identity)
            }
        }
    }
}

#[derive(Debug)]
struct Down {
    conv: Conv,
    norm: Option<Norm>,
}

#[derive(Debug)]
struct Up {
    conv: Doubling,
    norm: Option<Norm>,
}

/// The network that draws one picture from another.
#[derive(Debug)]
pub struct UNet {
    parameters: Parameters,
    downs: Vec<Down>,
    /// From the innermost to the outermost.
    ups: Vec<Up>,
    dropout: f32,
}

impl UNet {
    /// The second picture of each pair, with dropout.
    ///
    /// # Shapes
    /// - `images`: `[batch, height, width, channels]`, −1..=1, sides multiples of 2^downs
    /// - returns: the same shape, −1..=1
    pub fn forward(&self, images: &Tensor, dropout: RandomKey) -> Result<Tensor> {
        self.run(images, Pass::Training(dropout))
    }

    fn run(&self, images: &Tensor, pass: Pass<'_>) -> Result<Tensor> {
        let mut x = images.clone();
        let mut seen = Vec::with_capacity(self.downs.len());
        for (level, down) in self.downs.iter().enumerate() {
            if level > 0 {
                x = x.leaky_relu(LEAKY)?;
            }
            x = down.conv.forward(&x, Mode::Train)?;
            if let Some(norm) = &down.norm {
                x = norm.apply(&x, pass)?;
            }
            seen.push(x.clone());
        }
        seen.pop();
        for (at, up) in self.ups.iter().enumerate() {
            x = up.conv.forward(&x.relu()?)?;
            if let Some(norm) = &up.norm {
                x = norm.apply(&x, pass)?;
            }
            if let Pass::Training(key) = pass
                && at < DROPPED
                && at + 1 < self.ups.len()
            {
                x = drop_out(&x, self.dropout, key.split(at as u64))?;
            }
            if let Some(beside) = seen.pop() {
                x = concat(&[&x, &beside], -1)?;
            }
        }
        Ok(x)
    }
}

impl Translator for UNet {
    fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    fn multiple_px(&self) -> usize {
        1 << self.downs.len()
    }

    /// A layer of 4 × 4 reaches two positions further at its own resolution, on the way down and on the way up.
    fn reach_px(&self) -> usize {
        4 << self.downs.len()
    }

    fn translate(&self, images: &Tensor, statistics: &Statistics) -> Result<Tensor> {
        self.run(images, Pass::Finished(statistics))
    }
}

/// Sets a share of the values to zero and makes up for it in the others.
fn drop_out(x: &Tensor, share: f32, key: RandomKey) -> Result<Tensor> {
    if share == 0.0 {
        return Ok(x.clone());
    }
    let threshold = Tensor::full(share, [1], x.device())?;
    let kept = binary(
        BinaryOp::Greater,
        &Tensor::uniform(key, x.shape(), x.device())?,
        &threshold,
    )?;
    x.mul(&kept.mul_scalar(1.0 / (1.0 - share))?)
}

#[cfg(test)]
mod tests {
    use gander_tensor::Reference;

    use super::*;
    use crate::models::tests::images;

    /// The count of the authors' network at 256 px, and the biases that theirs lacks: those of the two layers of the
    /// encoder without a normalization.
    #[test]
    fn weights_are_as_many_as_in_the_paper() {
        let config = Config {
            upsampling: Upsampling::Transposed,
            patch_px: 70,
            discriminator_width: None,
            ..Config::new(images(256, 256, 3, 0))
        };
        assert_eq!((config.downs, config.channels(0), config.channels(7)), (8, 64, 512));
        let unet = config
            .translator(RandomKey::from_seed(1), &gander_tensor::Cpu::shared())
            .unwrap();
        assert_eq!(unet.parameters().num_weights(), 54_413_955 + 64 + 512);
    }

    #[test]
    fn pictures_keep_their_size_and_dropout_is_for_training() {
        let (device, key) = (Reference::shared(), RandomKey::from_seed(1));
        let config = Config {
            width: 2,
            normalization: Normalization::Instance,
            dropout: 0.5,
            ..Config::new(images(32, 16, 3, 0))
        };
        let unet = config.translator(key, &device).unwrap();
        let inputs = Tensor::normal(key, [1, 32, 16, 3], &device).unwrap();
        let values = |x: Tensor| x.to_vec().unwrap();
        let translated = unet.translate(&inputs, &Statistics::own()).unwrap();
        assert_eq!(translated.shape()[..], [1, 32, 16, 3]);
        let [a, b] = [1, 2].map(|seed| values(unet.forward(&inputs, RandomKey::from_seed(seed)).unwrap()));
        assert_ne!(a, b);
        assert_eq!(
            values(unet.translate(&inputs, &Statistics::own()).unwrap()),
            values(translated)
        );
    }

    #[test]
    fn a_finished_picture_does_not_depend_on_its_neighbors() {
        let (device, key) = (Reference::shared(), RandomKey::from_seed(1));
        let config = Config {
            width: 2,
            ..Config::new(images(16, 16, 3, 0))
        };
        let unet = config.translator(key, &device).unwrap();
        let inputs = Tensor::normal(key, [3, 16, 16, 3], &device).unwrap();
        let first = |x: &Tensor| x.slice(0, 0, 1).unwrap().to_vec().unwrap();
        let trained = |x: &Tensor| first(&unet.forward(x, key).unwrap());
        assert_ne!(trained(&inputs), trained(&inputs.slice(0, 0, 2).unwrap()));
        let finished = |x: &Tensor| first(&unet.translate(x, &Statistics::own()).unwrap());
        assert_eq!(finished(&inputs), finished(&inputs.slice(0, 0, 1).unwrap()));
    }

    #[test]
    fn dropout_keeps_the_mean() {
        let device = Reference::shared();
        let ones = Tensor::ones([4000], &device).unwrap();
        let dropped = drop_out(&ones, 0.5, RandomKey::from_seed(3)).unwrap();
        assert!(
            dropped
                .to_vec()
                .unwrap()
                .iter()
                .all(|&value| value == 0.0 || value == 2.0)
        );
        assert!((dropped.mean_all().unwrap().item().unwrap() - 1.0).abs() < 0.05);
    }
}
