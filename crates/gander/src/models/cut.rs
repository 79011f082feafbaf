//! CUT and `FastCUT`: one translator from one collection to another, held to its input by contrast.
//!
//! Park, Efros, Zhang & Zhu 2020, <https://arxiv.org/abs/2007.15651>. A patch of the output should look, to the
//! translator's own encoder, more like the patch of the input in its place than like other patches of the input. There
//! is no way back, so that one translator and one judge are enough. `FastCUT` drops the identity term and weighs the
//! contrast ten times as much instead.

use gander_nn::{
    Init, Mode, Parameters, Scope,
    layers::{Linear, LinearConfig},
};
use gander_tensor::{Activation, DeviceRef, RandomKey, Result, Tensor};
use serde::{Deserialize, Serialize};

use super::{
    ImageSpec, Settings,
    limits::{self, Sides},
    patches::{self, PatchDiscriminator},
    residual::{self, Downsampling, Output, ResidualTranslator},
    translator::Features as _,
    upsampling::Upsampling,
};
use crate::error;

/// Settings of the networks and of what they make small.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Images of both collections, as they are trained on.
    pub images: ImageSpec,
    /// Channels of the first layer of each network.
    pub width: usize,
    /// Residual blocks of the translator.
    pub blocks: usize,
    /// What the translators paint: the paper's image, or the change to their input.
    #[serde(default)]
    pub output: Output,
    /// Side of the patches that are judged, in pixels: 16, 34 or 70, of which the last is the paper's at 256 px.
    #[serde(default = "patches::largest_px")]
    pub patch_px: usize,
    /// Channels of the judge's first layer; the translator's if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub discriminator_width: Option<usize>,
    /// Weight of the contrast.
    pub contrast_weight: f32,
    /// Whether images of the target collection, too, are held to themselves by contrast.
    pub identity: bool,
    /// Whether a mirrored input has to give the mirrored output's features.
    pub mirror: bool,
    /// Places at which patches are compared, at each of five depths.
    pub patches: usize,
    /// Features of a patch that are compared.
    pub feature_dim: usize,
    /// By which similarities are divided.
    pub temperature: f32,
}

/// As in CycleGAN. The authors' code takes Xavier's with a gain of 0.02; before an instance normalization the scale of a
/// weight changes nothing but how fast Adam turns it.
const WEIGHTS: Init = Init::normal(0.02);

impl Config {
    /// CUT in the paper's sizes, with the start and the judge of [`super::cyclegan::Config::new`].
    pub fn new(images: ImageSpec) -> Self {
        Self {
            images,
            width: 64,
            blocks: 9,
            output: Output::Change,
            patch_px: patches::side_px(images),
            discriminator_width: Some(64),
            contrast_weight: 1.0,
            identity: true,
            mirror: false,
            patches: 256,
            feature_dim: 256,
            temperature: 0.07,
        }
    }

    /// `FastCUT` in the paper's sizes.
    pub fn fast(images: ImageSpec) -> Self {
        Self {
            contrast_weight: 10.0,
            identity: false,
            mirror: true,
            ..Self::new(images)
        }
    }

    /// A translator with fresh weights.
    pub fn translator(&self, key: RandomKey, device: &DeviceRef) -> Result<ResidualTranslator> {
        let config = residual::Config {
            channels: self.images.channels,
            width: self.width,
            blocks: self.blocks,
            downsampling: Downsampling::Filtered,
            upsampling: Upsampling::Filtered,
            output: self.output,
            init: WEIGHTS,
        };
        config.init(key, device)
    }

    /// A discriminator with fresh weights.
    pub fn discriminator(&self, key: RandomKey, device: &DeviceRef) -> Result<PatchDiscriminator> {
        let config = patches::Config {
            channels: self.images.channels,
            width: self.discriminator_width.unwrap_or(self.width),
            patch_px: self.patch_px,
            init: WEIGHTS,
        };
        config.init(key, device)
    }

    /// What looks at a translator's features, with fresh weights.
    pub fn heads(&self, translator: &ResidualTranslator, key: RandomKey, device: &DeviceRef) -> Result<Heads> {
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
        limits::patch_judge(self.patch_px, self.discriminator_width)?;
        limits::between("model.blocks", self.blocks, 1..=32)?;
        limits::between("model.patches", self.patches, 2..=4096)?;
        limits::between("model.feature_dim", self.feature_dim, 1..=4096)?;
        limits::weight("model.contrast_weight", self.contrast_weight)?;
        limits::temperature(self.temperature)
    }
}

/// Two layers for each depth that turn the features of a patch into a direction.
#[derive(Debug)]
pub struct Heads {
    parameters: Parameters,
    heads: Vec<[Linear; 2]>,
}

impl Heads {
    /// For features of these channels at each depth, with fresh weights.
    pub fn new(channels: &[usize], feature_dim: usize, key: RandomKey, device: &DeviceRef) -> Result<Self> {
        let mut parameters = Parameters::default();
        let mut scope = Scope::new(&mut parameters, key, device);
        let heads = channels.iter().enumerate().map(|(index, &channels)| {
            let mut scope = scope.child(&format!("depth{index}"));
            let linear = |inputs, activation| LinearConfig {
                activation,
                init: WEIGHTS,
                ..LinearConfig::new(inputs, feature_dim)
            };
            Ok([
                linear(channels, Activation::Relu).init(&mut scope.child("linear0"))?,
                linear(feature_dim, Activation::Identity).init(&mut scope.child("linear1"))?,
            ])
        });
        let heads = heads.collect::<Result<_>>()?;
        Ok(Self { parameters, heads })
    }

    /// Its named tensors.
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// Vectors of length one.
    ///
    /// # Shapes
    /// - `patches`: `[patches, channels]`, features of one depth
    /// - returns: `[patches, feature_dim]`
    pub fn forward(&self, depth: usize, patches: &Tensor) -> Result<Tensor> {
        let [linear0, linear1] = &self.heads[depth];
        let x = linear1.forward(&linear0.forward(patches, Mode::Train)?, Mode::Train)?;
        let length = x.square()?.sum_keep(&[-1])?.add_scalar(1e-12)?.sqrt()?;
        x.div(&length)
    }
}
