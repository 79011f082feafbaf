//! The plain networks: table 3 of the paper.

use gander_nn::{
    Init, Mode, Scope,
    layers::{BatchNormConfig, Conv, ConvConfig, ConvTranspose, Linear, LinearConfig},
};
use gander_tensor::{Activation, Result, Tensor};

use super::{ClassNorm, Config, Grid, Judgment, conv_options};

/// The paper leaves the first values open; these are DCGAN's, whose networks these are but for the normalization.
const WEIGHTS: Init = Init::normal(0.02);

/// The slope under table 3.
const LEAKY: Activation = Activation::LeakyRelu(0.1);

impl Config {
    /// Channels of the plain networks after so many halvings: 64, 128, 256, 512, and no more.
    fn plain_channels(&self, halvings: usize) -> usize {
        self.width << halvings.min(3)
    }
}

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

/// Linear, transposed 4 × 4 convolutions, a 3 × 3 convolution to the image.
#[derive(Debug)]
pub(super) struct Generator {
    project: Linear,
    project_norm: ClassNorm,
    ups: Vec<(ConvTranspose, ClassNorm)>,
    last: Conv,
    smallest: [usize; 2],
    channels: usize,
}

impl Generator {
    pub(super) fn new(config: &Config, scope: &mut Scope<'_>) -> Result<Self> {
        let classes = config.classes();
        let grid = Grid::new(config.images);
        let positions = grid.smallest[0] * grid.smallest[1];
        let channels = config.plain_channels(grid.halvings);
        let project = LinearConfig {
            init: WEIGHTS,
            bias: None,
            ..LinearConfig::new(config.latent_dim, positions * channels)
        };
        let project = project.init(&mut scope.child("project"))?;
        let project_norm = ClassNorm::new(norm(channels), classes, &mut scope.child("project_norm"))?;
        let ups = (0..grid.halvings)
            .rev()
            .map(|halvings| {
                let (inputs, outputs) = (config.plain_channels(halvings + 1), config.plain_channels(halvings));
                let mut scope = scope.child(&format!("up{}", grid.halvings - halvings - 1));
                let conv = ConvConfig {
                    bias: None,
                    ..conv(inputs, outputs, 4, Activation::Identity)
                };
                let conv = conv.init_transpose(&mut scope.child("conv"))?;
                Ok((conv, ClassNorm::new(norm(outputs), classes, &mut scope.child("norm"))?))
            })
            .collect::<Result<_>>()?;
        let last = conv(config.plain_channels(0), config.images.channels, 3, Activation::Tanh);
        let last = last.init(&mut scope.child("to_image"))?;
        Ok(Self {
            project,
            project_norm,
            ups,
            last,
            smallest: grid.smallest,
            channels,
        })
    }

    pub(super) fn forward(&self, z: &Tensor, labels: Option<&Tensor>, mode: Mode) -> Result<Tensor> {
        let [rows, columns] = self.smallest;
        let x = self
            .project
            .forward(z, mode)?
            .reshape([z.side(0), rows, columns, self.channels])?;
        let mut x = self.project_norm.forward(&x, labels, mode)?;
        for (conv, norm) in &self.ups {
            x = norm.forward(&conv.forward(&x)?, labels, mode)?;
        }
        self.last.forward(&x, mode)
    }
}

/// For each resolution a 3 × 3 convolution and a 4 × 4 one that halves it; a last 3 × 3 one; Linear.
#[derive(Debug)]
pub(super) struct Discriminator {
    convs: Vec<Conv>,
    logit: Linear,
    pub(super) features: usize,
}

impl Discriminator {
    pub(super) fn new(config: &Config, scope: &mut Scope<'_>) -> Result<Self> {
        let grid = Grid::new(config.images);
        let mut convs = Vec::new();
        let mut inputs = config.images.channels;
        for halvings in 0..=grid.halvings {
            let outputs = config.plain_channels(halvings);
            let mut scope = scope.child(&format!("stage{halvings}"));
            convs.push(conv(inputs, outputs, 3, LEAKY).init_spectral(&mut scope.child("conv"))?);
            if halvings < grid.halvings {
                convs.push(conv(outputs, outputs, 4, LEAKY).init_spectral(&mut scope.child("down"))?);
            }
            inputs = outputs;
        }
        let positions = grid.smallest[0] * grid.smallest[1];
        let logit = LinearConfig {
            init: WEIGHTS,
            ..LinearConfig::new(positions * inputs, 1)
        };
        Ok(Self {
            convs,
            logit: logit.init_spectral(&mut scope.child("logit"))?,
            features: inputs,
        })
    }

    pub(super) fn forward(&self, images: &Tensor, mode: Mode) -> Result<Judgment> {
        let x = self
            .convs
            .iter()
            .try_fold(images.clone(), |x, conv| conv.forward(&x, mode))?;
        let batch = x.side(0);
        let logits = self.logit.forward(&x.flatten()?, mode)?.reshape([batch])?;
        Ok(Judgment {
            logits,
            features: x.mean_keep(&[1, 2])?.reshape([batch, self.features])?,
        })
    }
}
