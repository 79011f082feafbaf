//! The residual networks: table 4 of the paper.
//!
//! Finer resolutions than the table's 32 px have half the channels for each doubling.

use gander_nn::{
    Init, Mode, Scope,
    layers::{BatchNormConfig, Conv, ConvConfig, Linear, LinearConfig},
};
use gander_tensor::{Activation, Result, Tensor};

use super::{ClassNorm, Classes, Config, Grid, Judgment, conv_options};

/// As in the authors' code, <https://github.com/pfnet-research/sngan_projection>.
const WEIGHTS: Init = Init::Xavier;

fn conv(inputs: usize, outputs: usize, kernel: usize, activation: Activation) -> ConvConfig {
    ConvConfig {
        options: conv_options(kernel, activation),
        init: WEIGHTS,
        ..ConvConfig::new(inputs, outputs, kernel)
    }
}

fn norm(channels: usize) -> BatchNormConfig {
    BatchNormConfig::new(channels, Activation::Relu)
}

/// Twice the resolution: normalization before each of two 3 × 3 convolutions, a 1 × 1 one around them.
#[derive(Debug)]
struct Up {
    norms: [ClassNorm; 2],
    convs: [Conv; 2],
    around: Conv,
}

impl Up {
    fn new(inputs: usize, outputs: usize, classes: Classes, scope: &mut Scope<'_>) -> Result<Self> {
        let plain = Activation::Identity;
        Ok(Self {
            norms: [
                ClassNorm::new(norm(inputs), classes, &mut scope.child("norm0"))?,
                ClassNorm::new(norm(outputs), classes, &mut scope.child("norm1"))?,
            ],
            convs: [
                conv(inputs, outputs, 3, plain).init(&mut scope.child("conv0"))?,
                conv(outputs, outputs, 3, plain).init(&mut scope.child("conv1"))?,
            ],
            around: conv(inputs, outputs, 1, plain).init(&mut scope.child("around"))?,
        })
    }

    fn forward(&self, x: &Tensor, labels: Option<&Tensor>, mode: Mode) -> Result<Tensor> {
        let y = self.convs[0].forward_upsampled(&self.norms[0].forward(x, labels, mode)?, mode)?;
        let y = self.convs[1].forward(&self.norms[1].forward(&y, labels, mode)?, mode)?;
        // A 1 × 1 convolution before the upsampling gives what one behind it would, at a quarter of the work.
        y.add(&self.around.forward(x, mode)?.upsample_nearest(2)?)
    }
}

/// Linear, blocks that double the resolution, normalization, a 3 × 3 convolution to the image.
#[derive(Debug)]
pub(super) struct Generator {
    project: Linear,
    ups: Vec<Up>,
    norm: ClassNorm,
    last: Conv,
    smallest: [usize; 2],
    channels: usize,
}

impl Generator {
    pub(super) fn new(config: &Config, scope: &mut Scope<'_>) -> Result<Self> {
        let classes = config.classes();
        let grid = Grid::new(config.images);
        let channels = |block: usize| ((4 * config.width) >> block.saturating_sub(2)).max(1);
        let positions = grid.smallest[0] * grid.smallest[1];
        let project = LinearConfig {
            init: WEIGHTS,
            ..LinearConfig::new(config.latent_dim, positions * channels(0))
        };
        let project = project.init(&mut scope.child("project"))?;
        let ups = (0..grid.halvings)
            .map(|block| {
                let mut scope = scope.child(&format!("up{block}"));
                Up::new(channels(block.saturating_sub(1)), channels(block), classes, &mut scope)
            })
            .collect::<Result<_>>()?;
        let finest = channels(grid.halvings - 1);
        let norm = ClassNorm::new(norm(finest), classes, &mut scope.child("norm"))?;
        let last = conv(finest, config.images.channels, 3, Activation::Tanh).init(&mut scope.child("to_image"))?;
        Ok(Self {
            project,
            ups,
            norm,
            last,
            smallest: grid.smallest,
            channels: channels(0),
        })
    }

    pub(super) fn forward(&self, z: &Tensor, labels: Option<&Tensor>, mode: Mode) -> Result<Tensor> {
        let [rows, columns] = self.smallest;
        let x = self
            .project
            .forward(z, mode)?
            .reshape([z.side(0), rows, columns, self.channels])?;
        let x = self
            .ups
            .iter()
            .try_fold(x, |x, block| block.forward(&x, labels, mode))?;
        self.last.forward(&self.norm.forward(&x, labels, mode)?, mode)
    }
}

/// What a block of the discriminator does beside its two convolutions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Half the resolution, no relu on the image.
    FromImage,
    /// Half the resolution.
    Down,
    /// The same resolution.
    Same,
}

/// Two 3 × 3 convolutions with a way around them.
#[derive(Debug)]
struct Block {
    kind: Kind,
    convs: [Conv; 2],
    around: Option<Conv>,
}

impl Block {
    fn new(kind: Kind, inputs: usize, outputs: usize, scope: &mut Scope<'_>) -> Result<Self> {
        let around = (kind != Kind::Same || inputs != outputs)
            .then(|| conv(inputs, outputs, 1, Activation::Identity).init_spectral(&mut scope.child("around")))
            .transpose()?;
        let convs = [
            conv(inputs, outputs, 3, Activation::Relu).init_spectral(&mut scope.child("conv0"))?,
            conv(outputs, outputs, 3, Activation::Identity).init_spectral(&mut scope.child("conv1"))?,
        ];
        Ok(Self { kind, convs, around })
    }

    fn forward(&self, x: &Tensor, mode: Mode) -> Result<Tensor> {
        let pool = |x: &Tensor| {
            if self.kind == Kind::Same {
                Ok(x.clone())
            } else {
                x.average_pool(2, 2, 0)
            }
        };
        let y = if self.kind == Kind::FromImage {
            x.clone()
        } else {
            x.relu()?
        };
        let y = self.convs[1].forward(&self.convs[0].forward(&y, mode)?, mode)?;
        // Pooling first gives what a 1 × 1 convolution before it would, at a quarter of the work.
        let x = pool(x)?;
        let around = self
            .around
            .as_ref()
            .map_or_else(|| Ok(x.clone()), |conv| conv.forward(&x, mode))?;
        pool(&y)?.add(&around)
    }
}

/// Blocks that halve the resolution down to 8 to 15 px, two that keep it, relu, a sum over positions, Linear.
#[derive(Debug)]
pub(super) struct Discriminator {
    blocks: Vec<Block>,
    logit: Linear,
    pub(super) features: usize,
}

impl Discriminator {
    pub(super) fn new(config: &Config, scope: &mut Scope<'_>) -> Result<Self> {
        let grid = Grid::new(config.images);
        let downs = grid.halvings - 1;
        let channels = |block: usize| ((2 * config.width) >> downs.saturating_sub(2 + block)).max(1);
        let mut blocks = Vec::new();
        let mut inputs = config.images.channels;
        for block in 0..downs + 2 {
            let kind = match block {
                0 => Kind::FromImage,
                block if block < downs => Kind::Down,
                _ => Kind::Same,
            };
            blocks.push(Block::new(
                kind,
                inputs,
                channels(block),
                &mut scope.child(&format!("block{block}")),
            )?);
            inputs = channels(block);
        }
        let logit = LinearConfig {
            init: WEIGHTS,
            ..LinearConfig::new(inputs, 1)
        };
        Ok(Self {
            blocks,
            logit: logit.init_spectral(&mut scope.child("logit"))?,
            features: inputs,
        })
    }

    pub(super) fn forward(&self, images: &Tensor, mode: Mode) -> Result<Judgment> {
        let x = self
            .blocks
            .iter()
            .try_fold(images.clone(), |x, block| block.forward(&x, mode))?;
        let features = x.relu()?.sum_keep(&[1, 2])?.reshape([x.side(0), self.features])?;
        Ok(Judgment {
            logits: self.logit.forward(&features, mode)?.reshape([x.side(0)])?,
            features,
        })
    }
}
