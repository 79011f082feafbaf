//! `SinCUT`: from one picture to the look of another, learned from crops of both.
//!
//! Park et al. 2020, <https://arxiv.org/abs/2007.15651>, in the sizes of their code
//! (<https://github.com/taesungp/contrastive-unpaired-translation>, `models/sincut_model.py`): a translator of `StyleGAN2`'s
//! residual blocks that halves the resolution once and doubles it again, without any normalization, and `StyleGAN2`'s
//! discriminator of whole crops, which does not compare them with each other.
//!
//! Where it differs: borders are mirrored, since with zeros around a crop the translator learned to paint frames; no noise is
//! added behind the doubling, so that a picture has one translation; nothing follows the last convolution, where theirs has
//! one more leaky relu; filters are those of [`stylegan2`].

use gander_nn::{
    Init, Mode, Parameter, Parameters, Scope,
    layers::{Conv, ConvConfig},
};
use gander_tensor::{Activation, ConvOptions, DeviceRef, RandomKey, Result, Tensor, conv_upsampled};
use serde::{Deserialize, Serialize};

use super::{
    ImageSpec, Settings,
    cut::Heads,
    limits::{self, Sides},
    stylegan2::{self, Comparison, GAIN, SLOPE, Stylegan2Discriminator},
    translator::{Features, Statistics, Translator},
};
use crate::error;

/// Settings of both networks and of what they make small.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The crops that are trained on.
    pub images: ImageSpec,
    /// Channels of the translator's first layer; behind the halving there are twice as many.
    pub width: usize,
    /// Residual blocks at half the resolution.
    pub blocks: usize,
    /// Channels of the discriminator's first layer.
    pub discriminator_width: usize,
    /// Weight of the contrast.
    pub contrast_weight: f32,
    /// Weight of the mean distance between a crop of the style and what the translator makes of it.
    pub identity_weight: f32,
    /// Places of each crop at which patches are compared, at each of three depths.
    pub patches: usize,
    /// Features of a patch that are compared.
    pub feature_dim: usize,
    /// By which similarities are divided.
    pub temperature: f32,
}

/// A discriminator is at most so many times as wide as its first layer.
const WIDEST: usize = 12;

/// Blocks after which features are taken last, as far as there are so many.
const FEATURE_BLOCK: usize = 1;

/// What brings the sum of two ways back to the variance of one.
const HALF: f32 = std::f32::consts::FRAC_1_SQRT_2;

/// Least squared length of a kernel.
const EPS: f32 = 1e-8;

impl Config {
    /// The sizes and weights of the authors' code.
    pub fn new(images: ImageSpec) -> Self {
        Self {
            images,
            width: 80,
            blocks: 6,
            discriminator_width: 32,
            contrast_weight: 4.0,
            identity_weight: 1.0,
            patches: 1,
            feature_dim: 256,
            temperature: 0.07,
        }
    }

    /// A translator with fresh weights.
    pub fn translator(&self, key: RandomKey, device: &DeviceRef) -> Result<SinCutTranslator> {
        let mut parameters = Parameters::default();
        let mut scope = Scope::new(&mut parameters, key, device);
        let (channels, width) = (self.images.channels, self.width);
        let inner = 2 * width;
        let first = leaky(ConvConfig::equalized(channels, width, 1, GAIN)).init(&mut scope.child("from_image"))?;
        let down = Down::new(width, inner, &mut scope.child("down"))?;
        let blocks = (0..self.blocks)
            .map(|block| {
                let mut scope = scope.child(&format!("block{block}"));
                Ok([
                    leaky(ConvConfig::equalized(inner, inner, 3, GAIN)).init(&mut scope.child("conv0"))?,
                    leaky(ConvConfig::equalized(inner, inner, 3, GAIN * HALF)).init(&mut scope.child("conv1"))?,
                ])
            })
            .collect::<Result<_>>()?;
        let up = Up::new(inner, width, &mut scope.child("up"))?;
        let last = ConvConfig::equalized(width, channels, 1, 1.0).init(&mut scope.child("to_image"))?;
        Ok(SinCutTranslator {
            channels: vec![channels, inner, inner],
            parameters,
            first,
            down,
            blocks,
            up,
            last,
        })
    }

    /// A discriminator with fresh weights.
    pub fn discriminator(&self, key: RandomKey, device: &DeviceRef) -> Result<Stylegan2Discriminator> {
        let config = stylegan2::Config {
            width: self.discriminator_width,
            width_max: WIDEST * self.discriminator_width,
            ..stylegan2::Config::new(self.images)
        };
        config.judge(Comparison::None, key, device)
    }

    /// What looks at a translator's features, with fresh weights.
    pub fn heads(&self, translator: &SinCutTranslator, key: RandomKey, device: &DeviceRef) -> Result<Heads> {
        Heads::new(translator.feature_channels(), self.feature_dim, key, device)
    }
}

impl Settings for Config {
    fn sides(&self) -> Sides {
        Sides::of_translators(4)
    }

    fn check(&self) -> error::Result<()> {
        limits::no_classes(self.images)?;
        limits::between("model.width", self.width, 1..=512)?;
        limits::between("model.blocks", self.blocks, 1..=32)?;
        limits::between("model.patches", self.patches, 1..=4096)?;
        limits::between("model.feature_dim", self.feature_dim, 1..=4096)?;
        limits::between("model.discriminator_width", self.discriminator_width, 1..=128)?;
        limits::weight("model.contrast_weight", self.contrast_weight)?;
        limits::weight("model.identity_weight", self.identity_weight)?;
        limits::temperature(self.temperature)
    }
}

/// A convolution with a leaky relu, and without a border of its own.
fn leaky(config: ConvConfig) -> ConvConfig {
    let options = ConvOptions {
        activation: Activation::LeakyRelu(SLOPE),
        ..ConvOptions::default()
    };
    ConvConfig { options, ..config }
}

/// A 3 × 3 convolution of a map with mirrored borders.
fn mirrored(conv: &Conv, x: &Tensor) -> Result<Tensor> {
    conv.forward(&x.pad_reflect(1)?, Mode::Train)
}

/// Half the resolution: two convolutions with a filter between them, and the filter alone beside them.
#[derive(Debug)]
struct Down {
    conv0: Conv,
    conv1: Conv,
    skip: Conv,
}

impl Down {
    fn new(inputs: usize, outputs: usize, scope: &mut Scope<'_>) -> Result<Self> {
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

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let inner = mirrored(&self.conv0, x)?.fir_downsample()?;
        let skip = self.skip.forward(&x.fir_downsample()?, Mode::Train)?;
        mirrored(&self.conv1, &inner)?.add(&skip)
    }
}

/// Twice the resolution: a convolution whose kernels all have length one, behind repeated pixels.
///
/// # Source
/// Karras et al. 2020, section 2.2 (weight demodulation), <https://arxiv.org/abs/1912.04958>.
#[derive(Debug)]
struct Up {
    weight: Parameter,
    bias: Parameter,
}

impl Up {
    fn new(inputs: usize, outputs: usize, scope: &mut Scope<'_>) -> Result<Self> {
        let rate = 1.0 / (9.0 * inputs as f32).sqrt();
        Ok(Self {
            weight: scope.weight_with_lr("weight", [3, 3, inputs, outputs], Init::FanIn { gain: 1.0 }, rate)?,
            bias: scope.weight("bias", [outputs], Init::ZEROS)?,
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let weight = self.weight.get();
        let length = weight.square()?.sum_keep(&[0, 1, 2])?.add_scalar(EPS)?.sqrt()?;
        let weight = weight.div(&length)?.mul_scalar(GAIN)?;
        let options = ConvOptions {
            padding: 1,
            activation: Activation::LeakyRelu(SLOPE),
            ..ConvOptions::default()
        };
        let larger = conv_upsampled(&x.pad_reflect(1)?, &weight, Some(&self.bias.get()), options)?;
        let inside = |x: &Tensor, axis: isize| x.slice(axis, 2, x.side(axis) - 2);
        inside(&inside(&larger, 1)?, 2)
    }
}

/// The network that turns a picture into one of the other's look.
#[derive(Debug)]
pub struct SinCutTranslator {
    parameters: Parameters,
    /// Of each of the features.
    channels: Vec<usize>,
    first: Conv,
    down: Down,
    blocks: Vec<[Conv; 2]>,
    up: Up,
    last: Conv,
}

impl SinCutTranslator {
    /// As far as the last features.
    fn encode(&self, images: &Tensor, visit: &mut dyn FnMut(&Tensor)) -> Result<Tensor> {
        let mut x = self.down.forward(&self.first.forward(images, Mode::Train)?)?;
        visit(&x);
        for block in self.blocks.iter().take(FEATURE_BLOCK + 1) {
            x = residual(block, &x)?;
        }
        visit(&x);
        Ok(x)
    }

    fn run(&self, images: &Tensor, visit: &mut dyn FnMut(&Tensor)) -> Result<Tensor> {
        let x = self.encode(images, visit)?;
        let x = self
            .blocks
            .iter()
            .skip(FEATURE_BLOCK + 1)
            .try_fold(x, |x, block| residual(block, &x))?;
        self.last.forward(&self.up.forward(&x)?, Mode::Train)
    }
}

fn residual([conv0, conv1]: &[Conv; 2], x: &Tensor) -> Result<Tensor> {
    let inner = mirrored(conv1, &mirrored(conv0, x)?)?;
    x.mul_scalar(HALF)?.add(&inner)
}

impl Translator for SinCutTranslator {
    fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    fn multiple_px(&self) -> usize {
        2
    }

    /// Some of the halving and the doubling with their filters, and 4 of the two convolutions of each block, which see
    /// half the resolution.
    fn reach_px(&self) -> usize {
        10 + 4 * self.blocks.len()
    }

    fn translate(&self, images: &Tensor, _: &Statistics) -> Result<Tensor> {
        self.run(images, &mut |_| ())
    }
}

impl Features for SinCutTranslator {
    fn translate_with_features(&self, images: &Tensor) -> Result<(Tensor, Vec<Tensor>)> {
        let mut features = vec![images.clone()];
        let made = self.run(images, &mut |x| features.push(x.clone()))?;
        Ok((made, features))
    }

    fn features(&self, images: &Tensor) -> Result<Vec<Tensor>> {
        let mut features = vec![images.clone()];
        self.encode(images, &mut |x| features.push(x.clone()))?;
        Ok(features)
    }

    fn feature_channels(&self) -> &[usize] {
        &self.channels
    }
}

#[cfg(test)]
mod tests {
    use gander_tensor::{GradOptions, Reference, grad};

    use super::*;
    use crate::models::{Discriminator, tests::images};

    fn translator() -> (DeviceRef, SinCutTranslator) {
        let config = Config {
            width: 4,
            ..Config::new(images(32, 32, 3, 0))
        };
        let device = Reference::shared();
        let translator = config.translator(RandomKey::from_seed(1), &device).unwrap();
        (device, translator)
    }

    /// Those of the authors' code, less a noise strength.
    #[test]
    fn weights_are_as_many_as_in_the_paper() {
        let config = Config::new(images(64, 64, 3, 0));
        let (device, key) = (gander_tensor::Cpu::shared(), RandomKey::from_seed(1));
        let conv = |kernel: usize, inputs: usize, outputs: usize| (kernel * kernel * inputs + 1) * outputs;
        let down = |a, b| conv(3, a, a) + conv(3, a, b) + a * b;
        let blocks = 6 * 2 * conv(3, 160, 160);
        let translator = conv(1, 3, 80) + down(80, 160) + blocks + conv(3, 160, 80) + conv(1, 80, 3);
        assert_eq!(
            config.translator(key, &device).unwrap().parameters().num_weights(),
            translator
        );
        let downs = down(32, 64) + down(64, 128) + down(128, 256) + down(256, 384);
        let judge = conv(1, 3, 32) + downs + conv(3, 384, 384) + conv(4, 384, 384) + 384 + 1;
        let discriminator = config.discriminator(key, &device).unwrap();
        assert_eq!(Discriminator::parameters(&discriminator).num_weights(), judge);
    }

    #[test]
    fn features_lie_on_the_way() {
        let (device, translator) = translator();
        let x = Tensor::normal(RandomKey::from_seed(2), [2, 32, 48, 3], &device).unwrap();
        let (made, features) = translator.translate_with_features(&x).unwrap();
        assert_eq!(made.shape(), x.shape());
        let channels: Vec<usize> = features.iter().map(|x| x.shape().channels()).collect();
        assert_eq!(channels, translator.feature_channels());
        for (alone, beside) in translator.features(&x).unwrap().iter().zip(&features) {
            assert_eq!(alone.to_vec().unwrap(), beside.to_vec().unwrap());
        }
    }

    /// Otherwise parts of a large picture would not meet.
    #[test]
    fn nothing_farther_than_its_reach_changes_a_pixel() {
        let (device, translator) = translator();
        let side = 120;
        let x = Tensor::normal(RandomKey::from_seed(3), [1, side, side, 3], &device)
            .unwrap()
            .watch();
        let made = translator.translate(&x, &Statistics::own()).unwrap();
        let middle = made
            .slice(1, 60, 61)
            .unwrap()
            .slice(2, 61, 62)
            .unwrap()
            .sum_all()
            .unwrap();
        let slope = &grad(&[&middle], &[&x], GradOptions::default()).unwrap()[0];
        let slope = slope.to_vec().unwrap();
        let mut farthest = 0;
        for (i, pixel) in slope.chunks(3).enumerate() {
            if pixel.iter().any(|&value| value != 0.0) {
                farthest = farthest.max((i / side).abs_diff(60)).max((i % side).abs_diff(61));
            }
        }
        let reach = translator.reach_px();
        assert!(farthest <= reach && farthest + 8 > reach, "{farthest} and {reach}");
    }

    #[test]
    fn doubling_keeps_the_variance() {
        let device = Reference::shared();
        let mut parameters = Parameters::default();
        let mut scope = Scope::new(&mut parameters, RandomKey::from_seed(1), &device);
        let up = Up::new(6, 40, &mut scope).unwrap();
        let x = Tensor::normal(RandomKey::from_seed(2), [2, 32, 32, 6], &device).unwrap();
        let made = up.forward(&x).unwrap();
        assert_eq!(made.shape()[..], [2, 64, 64, 40]);
        // E[φ(x)²] of a normal x is (1 + slope²) / 2; the factor √2 doubles it.
        let square = made.square().unwrap().mean_all().unwrap().item().unwrap();
        assert!((0.9..1.2).contains(&square), "{square}");
    }
}
