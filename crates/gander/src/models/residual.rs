//! The residual translator of CycleGAN and CUT: two halvings, residual blocks, two doublings.
//!
//! Johnson et al. 2016, <https://arxiv.org/abs/1603.08155>, as in appendix 7.2 of CycleGAN: c7-64, d128, d256, residual
//! blocks of 256, u128, u64, c7-image, with instance normalization and reflected borders. Biases stand only where no
//! normalization follows, which would take them away again.

use gander_nn::{
    Init, Mode, Parameters, Scope,
    layers::{Conv, ConvConfig},
};
use gander_tensor::{Activation, ConvOptions, DeviceRef, RandomKey, Result, Tensor};
use serde::{Deserialize, Serialize};

use super::{
    translator::{Features, Statistics, Translator},
    upsampling::{Doubling, Upsampling},
};

/// Settings of a [`ResidualTranslator`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Config {
    /// Channels of the images of both collections.
    pub channels: usize,
    /// Channels of the first layer.
    pub width: usize,
    /// Residual blocks.
    pub blocks: usize,
    /// How the resolution is halved.
    pub downsampling: Downsampling,
    /// How the resolution is doubled.
    pub upsampling: Upsampling,
    /// What the last layer paints.
    pub output: Output,
    /// First values of the weights.
    pub init: Init,
}

/// How the resolution is halved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Downsampling {
    /// By the stride of a convolution, as in CycleGAN.
    Strided,
    /// By a low-pass filter behind a convolution, as in CUT.
    Filtered,
}

/// What the last layer of a translator paints.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Output {
    /// The image, as in the papers; what files say nothing of.
    #[default]
    Image,
    /// What has to be added to the input, so that a fresh translator changes next to nothing.
    Change,
}

impl Config {
    /// A translator with fresh weights.
    pub fn init(&self, key: RandomKey, device: &DeviceRef) -> Result<ResidualTranslator> {
        let mut parameters = Parameters::default();
        let mut scope = Scope::new(&mut parameters, key, device);
        let width = self.width;
        let conv = |inputs, outputs, kernel, stride, padding| ConvConfig {
            options: ConvOptions {
                stride,
                padding,
                ..ConvOptions::default()
            },
            init: self.init,
            bias: None,
            ..ConvConfig::new(inputs, outputs, kernel)
        };
        let stride = match self.downsampling {
            Downsampling::Strided => 2,
            Downsampling::Filtered => 1,
        };
        let first = conv(self.channels, width, 7, 1, 0).init(&mut scope.child("from_image"))?;
        let downs = [
            conv(width, 2 * width, 3, stride, 1).init(&mut scope.child("down0"))?,
            conv(2 * width, 4 * width, 3, stride, 1).init(&mut scope.child("down1"))?,
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
        let mut up = |name, inputs, outputs| {
            let config = conv(inputs, outputs, 3, 2, 1);
            let options = ConvOptions {
                output_padding: 1,
                ..config.options
            };
            self.upsampling
                .layer(ConvConfig { options, ..config }, &mut scope.child(name))
        };
        let ups = [up("up0", 4 * width, 2 * width)?, up("up1", 2 * width, width)?];
        let last = conv(width, self.channels, 7, 1, 0);
        let last = ConvConfig {
            bias: Some(Init::ZEROS),
            options: ConvOptions {
                activation: match self.output {
                    Output::Image => Activation::Tanh,
                    Output::Change => Activation::Identity,
                },
                ..last.options
            },
            ..last
        };
        let last = last.init(&mut scope.child("to_image"))?;
        Ok(ResidualTranslator {
            parameters,
            feature_channels: [self.channels, 2 * width, 4 * width, 4 * width, 4 * width],
            downsampling: self.downsampling,
            output: self.output,
            first,
            downs,
            blocks,
            ups,
            last,
        })
    }
}

/// The network that turns an image of one collection into one of the other.
#[derive(Debug)]
pub struct ResidualTranslator {
    parameters: Parameters,
    feature_channels: [usize; 5],
    downsampling: Downsampling,
    output: Output,
    first: Conv,
    downs: [Conv; 2],
    blocks: Vec<[Conv; 2]>,
    ups: [Doubling; 2],
    last: Conv,
}

/// Blocks after which features are taken: the first and the fifth, layers 12 and 16 as CUT counts them.
const FEATURE_BLOCKS: [usize; 2] = [0, 4];

impl ResidualTranslator {
    /// Images of the other collection.
    ///
    /// # Shapes
    /// - `images`: `[batch, height, width, channels]`, −1..=1, sides multiples of 4
    /// - returns: the same shape; −1..=1 where it paints an image, mostly so where it paints a change
    pub fn forward(&self, images: &Tensor) -> Result<Tensor> {
        self.run(images, &Statistics::own(), &mut |_| ())
    }

    fn last_feature(&self) -> usize {
        FEATURE_BLOCKS[1].min(self.blocks.len().saturating_sub(1))
    }

    /// The image as far as the last block whose features anyone looks at.
    fn encode(&self, images: &Tensor, statistics: &Statistics, visit: &mut dyn FnMut(&Tensor)) -> Result<Tensor> {
        let mode = Mode::Train;
        let norm = |x: &Tensor| statistics.norm(x, None, Activation::Relu);
        let mut x = norm(&self.first.forward(&images.pad_reflect(3)?, mode)?)?;
        for down in &self.downs {
            let inner = down.forward(&x, mode)?;
            visit(&inner);
            x = norm(&inner)?;
            if self.downsampling == Downsampling::Filtered {
                x = x.fir_downsample()?;
            }
        }
        for (index, block) in self.blocks.iter().take(self.last_feature() + 1).enumerate() {
            x = residual(block, &x, statistics)?;
            if index == FEATURE_BLOCKS[0] || index == self.last_feature() {
                visit(&x);
            }
        }
        Ok(x)
    }

    fn run(&self, images: &Tensor, statistics: &Statistics, visit: &mut dyn FnMut(&Tensor)) -> Result<Tensor> {
        let mut x = self.encode(images, statistics, visit)?;
        for block in self.blocks.iter().skip(self.last_feature() + 1) {
            x = residual(block, &x, statistics)?;
        }
        for up in &self.ups {
            x = statistics.norm(&up.forward(&x)?, None, Activation::Relu)?;
        }
        let painted = self.last.forward(&x.pad_reflect(3)?, Mode::Train)?;
        match self.output {
            Output::Image => Ok(painted),
            Output::Change => images.add(&painted),
        }
    }
}

fn residual([conv0, conv1]: &[Conv; 2], x: &Tensor, statistics: &Statistics) -> Result<Tensor> {
    let mode = Mode::Train;
    let inner = statistics.norm(&conv0.forward(&x.pad_reflect(1)?, mode)?, None, Activation::Relu)?;
    let inner = conv1.forward(&inner.pad_reflect(1)?, mode)?;
    x.add(&statistics.norm(&inner, None, Activation::Identity)?)
}

impl Translator for ResidualTranslator {
    fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    fn multiple_px(&self) -> usize {
        4
    }

    /// 3 of the first layer and of the last, some of the halvings and doublings with their filters, and 8 of the two
    /// convolutions of each block, which see a quarter of the resolution.
    fn reach_px(&self) -> usize {
        28 + 8 * self.blocks.len()
    }

    fn translate(&self, images: &Tensor, statistics: &Statistics) -> Result<Tensor> {
        self.run(images, statistics, &mut |_| ())
    }
}

impl Features for ResidualTranslator {
    /// The image, the two convolutions before each halving, the first and the fifth block (the last where there are
    /// fewer).
    fn translate_with_features(&self, images: &Tensor) -> Result<(Tensor, Vec<Tensor>)> {
        let mut features = vec![images.clone()];
        let made = self.run(images, &Statistics::own(), &mut |x| features.push(x.clone()))?;
        Ok((made, features))
    }

    fn features(&self, images: &Tensor) -> Result<Vec<Tensor>> {
        let mut features = vec![images.clone()];
        self.encode(images, &Statistics::own(), &mut |x| features.push(x.clone()))?;
        Ok(features)
    }

    fn feature_channels(&self) -> &[usize] {
        &self.feature_channels
    }
}
