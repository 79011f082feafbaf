//! Two small networks for points of the plane: what is left of a GAN where there are no images.
//!
//! A point is an image of one pixel with two channels, so that the steps of [`crate::train::steps`] train them as they
//! train every family.

use std::f32::consts::PI;

use gander_nn::{
    Init, Mode, Parameters, Scope,
    layers::{Linear, LinearConfig},
};
use gander_tensor::{Activation, DeviceRef, RandomKey, Result, Tensor, concat, linear};

use crate::models::{Discriminator, Generator};

/// Settings of both networks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// Length of a latent vector.
    pub latent_dim: usize,
    /// Width of the hidden layers.
    pub width: usize,
    /// Residual blocks of the generator and of the discriminator.
    pub blocks: [usize; 2],
    /// Octaves of sines and cosines of the coordinates that the discriminator sees beside them.
    ///
    /// A network of few layers is slow to learn what changes within a hundredth of its input's range; given the sines it
    /// need not (Tancik et al. 2020, <https://arxiv.org/abs/2006.10739>).
    pub octaves: usize,
}

/// Slope of the leaky relu.
const SLOPE: f32 = 0.2;

impl Config {
    /// A generator with fresh weights.
    pub fn generator(&self, key: RandomKey, device: &DeviceRef) -> Result<PointGenerator> {
        let mut parameters = Parameters::default();
        let mut scope = Scope::new(&mut parameters, key, device);
        let network = self.network(self.latent_dim, 2, self.blocks[0], &mut scope)?;
        Ok(PointGenerator {
            latent_dim: self.latent_dim,
            parameters,
            network,
        })
    }

    /// A discriminator with fresh weights.
    pub fn discriminator(&self, key: RandomKey, device: &DeviceRef) -> Result<PointDiscriminator> {
        let mut parameters = Parameters::default();
        let inputs = 2 + 4 * self.octaves;
        let mut scope = Scope::new(&mut parameters, key, device);
        let network = self.network(inputs, 1, self.blocks[1], &mut scope)?;
        Ok(PointDiscriminator {
            frequencies: self.frequencies(device)?,
            parameters,
            network,
        })
    }

    /// A period of four units, and half of it again for each further octave.
    fn frequencies(&self, device: &DeviceRef) -> Result<Option<Tensor>> {
        let frequency = |axis: usize, column: usize| {
            let is_of_axis = column % 2 == axis;
            if is_of_axis {
                0.5 * PI * (1u32 << (column / 2)) as f32
            } else {
                0.0
            }
        };
        let columns = 2 * self.octaves;
        let values: Vec<f32> = (0..2)
            .flat_map(|axis| (0..columns).map(move |column| frequency(axis, column)))
            .collect();
        (columns > 0)
            .then(|| Tensor::from_slice(&values, [2, columns], device))
            .transpose()
    }

    fn network(&self, inputs: usize, outputs: usize, blocks: usize, scope: &mut Scope<'_>) -> Result<Network> {
        let blocks = (0..blocks).map(|index| Block::new(self.width, &mut scope.child(&format!("block{index}"))));
        Ok(Network {
            blocks: blocks.collect::<Result<_>>()?,
            first: LinearConfig::new(inputs, self.width).init(&mut scope.child("first"))?,
            last: LinearConfig::new(self.width, outputs).init(&mut scope.child("last"))?,
        })
    }
}

/// A linear layer, residual blocks, and a linear layer.
#[derive(Debug)]
struct Network {
    first: Linear,
    blocks: Vec<Block>,
    last: Linear,
}

impl Network {
    fn forward(&self, x: &Tensor, mode: Mode) -> Result<Tensor> {
        let mut x = self.first.forward(x, mode)?;
        for block in &self.blocks {
            x = block.forward(&x, mode)?;
        }
        self.last.forward(&x.leaky_relu(SLOPE)?, mode)
    }
}

/// `x + W2 · φ(W1 · φ(x))`. The last weights start with zeros, so that a block begins as the identity (Zhang et al.
/// 2019, <https://arxiv.org/abs/1901.09321>). Without the shortcuts a third of a generator's points lay between modes, after
/// as many images.
#[derive(Debug)]
struct Block([Linear; 2]);

impl Block {
    fn new(width: usize, scope: &mut Scope<'_>) -> Result<Self> {
        // Keeps the variance through a leaky relu: He et al. 2015, equation 15.
        let gain = (2.0 / (1.0 + SLOPE * SLOPE)).sqrt();
        let inside = LinearConfig {
            activation: Activation::LeakyRelu(SLOPE),
            init: Init::FanIn { gain },
            ..LinearConfig::new(width, width)
        };
        let out = LinearConfig {
            init: Init::ZEROS,
            ..LinearConfig::new(width, width)
        };
        Ok(Self([
            inside.init(&mut scope.child("inside"))?,
            out.init(&mut scope.child("out"))?,
        ]))
    }

    fn forward(&self, x: &Tensor, mode: Mode) -> Result<Tensor> {
        let [inside, out] = &self.0;
        x.add(&out.forward(&inside.forward(&x.leaky_relu(SLOPE)?, mode)?, mode)?)
    }
}

/// The generator of [`Config`].
#[derive(Debug)]
pub struct PointGenerator {
    latent_dim: usize,
    parameters: Parameters,
    network: Network,
}

impl Generator for PointGenerator {
    fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    fn latent_dim(&self) -> usize {
        self.latent_dim
    }

    /// Points `[batch, 1, 1, 2]`.
    fn forward(&self, latents: &Tensor, _labels: Option<&Tensor>, mode: Mode) -> Result<Tensor> {
        self.network.forward(latents, mode)?.reshape([latents.side(0), 1, 1, 2])
    }
}

/// The discriminator of [`Config`].
#[derive(Debug)]
pub struct PointDiscriminator {
    /// `[2, 2 · octaves]`
    frequencies: Option<Tensor>,
    parameters: Parameters,
    network: Network,
}

impl Discriminator for PointDiscriminator {
    fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// Logits of points `[batch, 1, 1, 2]`.
    fn forward(&self, points: &Tensor, _labels: Option<&Tensor>, mode: Mode) -> Result<Tensor> {
        let points = points.reshape([points.side(0), 2])?;
        let seen = match &self.frequencies {
            Some(frequencies) => {
                let phases = linear(&points, frequencies, None, Activation::Identity)?;
                concat(&[&points, &phases.sin()?, &phases.cos()?], 1)?
            }
            None => points.clone(),
        };
        self.network.forward(&seen, mode)?.reshape([points.side(0)])
    }
}
