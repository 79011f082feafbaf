//! Mixtures of Gaussians in the plane: does a GAN find every mode, and does it stay within them?

use std::time::Instant;

use gander_nn::optim::Adam;
use gander_tensor::{DeviceRef, RandomKey, Tensor, no_grad};

use super::points::Config;
use crate::{
    error::Result,
    losses::Loss,
    metrics::modes::{Mixture, Tally},
    models::Generator,
    train::{
        config::TrainingConfig,
        contest::{Contest, Turn},
        defaults,
        duel::Duel,
        schedule::Ramp,
        state::Progress,
        steps::Batch,
    },
};

/// Points that are drawn to count modes.
pub const NUM: usize = 10_000;

/// A test by its mixture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// [`Mixture::ring`]
    Ring,
    /// [`Mixture::grid`]
    Grid,
}

impl Shape {
    /// Both of them.
    pub const ALL: [Self; 2] = [Self::Ring, Self::Grid];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ring => "ring",
            Self::Grid => "grid",
        }
    }

    /// Where its modes are.
    pub fn mixture(self) -> Mixture {
        match self {
            Self::Ring => Mixture::ring(),
            Self::Grid => Mixture::grid(),
        }
    }
}

/// What came of a test.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// The modes of the points.
    pub tally: Tally,
    /// The averaged generator's points, [`NUM`] of them.
    pub points: Vec<[f64; 2]>,
    /// Seconds of training.
    pub seconds: f64,
}

/// Networks and training of both tests: the relativistic loss with R1 and R2 (Huang et al. 2024,
/// <https://arxiv.org/abs/2501.05441>).
///
/// The penalties begin strong, so that every mode is found, and end so weak that the discriminator sees the edge of a mode.
/// Begun at 0.01 they lost five modes of the grid (in a shorter run), at 0.05 one of the ring's.
pub fn recipe() -> (Config, TrainingConfig) {
    let model = Config {
        latent_dim: 2,
        width: 64,
        blocks: [7, 2],
        octaves: 5,
    };
    let total_kimg = 1100.0;
    let gamma = Ramp::new(0.2, 5e-5);
    let training = TrainingConfig {
        total_kimg,
        burn_in_kimg: 0.9 * total_kimg,
        batch: 256,
        decay_share: 1.0,
        loss: Loss::Relativistic,
        learning_rate: Ramp::constant(4e-3),
        beta1: 0.0,
        beta2: Ramp::constant(0.99),
        r1_gamma: gamma,
        r2_gamma: gamma,
        ema_half_life_kimg: Ramp::new(0.0, 10.0),
        ..defaults::plain()
    };
    (model, training)
}

/// Trains the networks on a mixture and counts the modes that the averaged generator finds.
///
/// The networks see coordinates of the variance one.
///
/// # Errors
/// [`crate::Error::NonFinite`] if it diverges.
pub fn run(
    shape: Shape,
    (model, training): &(Config, TrainingConfig),
    seed: u64,
    device: &DeviceRef,
    progress: &mut dyn FnMut(f64),
) -> Result<Outcome> {
    let begun = Instant::now();
    let mixture = shape.mixture();
    let extent = extent(&mixture);
    let mut duel = new_duel(*model, training, seed, device)?;
    let mut state = Progress::new(seed);
    let total = state.plan(training).0;
    while state.images_seen < total {
        duel.step(Turn {
            progress: &mut state,
            training,
            next_batch: &mut |progress, parts| {
                let batch = |key| draw(&mixture, extent, training.batch, key, device);
                (0..parts).map(|_| batch(progress.next_key())).collect()
            },
        })?;
        state.steps += 1;
        progress(state.images_seen as f64 / total as f64);
    }
    let seconds = begun.elapsed().as_secs_f64();
    let points = points(duel.ema_generator.as_ref(), extent, seed, device)?;
    Ok(Outcome {
        tally: mixture.tally(points.iter().copied()),
        points,
        seconds,
    })
}

/// The root of the mean square of the centers' coordinates: what the networks see has the variance one.
fn extent(mixture: &Mixture) -> f64 {
    let squares = mixture.centers.iter().flatten().map(|coordinate| coordinate.powi(2));
    (squares.sum::<f64>() / (2 * mixture.centers.len()) as f64).sqrt()
}

fn new_duel(model: Config, training: &TrainingConfig, seed: u64, device: &DeviceRef) -> Result<Duel> {
    let key = RandomKey::from_seed(seed);
    let generator = model.generator(key.named("generator"), device)?;
    let ema_generator = model.generator(key.named("generator"), device)?;
    let discriminator = model.discriminator(key.named("discriminator"), device)?;
    let adam = Progress::new(seed).adam(training);
    Ok(Duel {
        generator_optimizer: Adam::new(adam, generator.parameters())?,
        discriminator_optimizer: Adam::new(adam, crate::models::Discriminator::parameters(&discriminator))?,
        generator: Box::new(generator),
        discriminator: Box::new(discriminator),
        ema_generator: Box::new(ema_generator),
    })
}

/// Real points as images of one pixel.
fn draw(mixture: &Mixture, extent: f64, num: usize, key: RandomKey, device: &DeviceRef) -> Result<Batch> {
    let center = |point: u64| {
        let share = key.split(point).uniform();
        mixture.centers[(share * mixture.centers.len() as f64) as usize]
    };
    let centers: Vec<f32> = (0..num as u64)
        .flat_map(center)
        .map(|coordinate| (coordinate / extent) as f32)
        .collect();
    let noise = Tensor::normal(key.named("noise"), [num, 1, 1, 2], device)?;
    let noise = noise.mul_scalar((mixture.sigma / extent) as f32)?;
    Ok(Batch {
        images: Tensor::from_slice(&centers, [num, 1, 1, 2], device)?.add(&noise)?,
        labels: None,
        partners: None,
    })
}

/// [`NUM`] points of a generator.
fn points(generator: &dyn Generator, extent: f64, seed: u64, device: &DeviceRef) -> Result<Vec<[f64; 2]>> {
    let key = RandomKey::from_seed(seed).named("points");
    let latents = generator.latents(key, NUM, device)?;
    let points = no_grad(|| generator.forward(&latents, None, gander_nn::Mode::Evaluate))?;
    let points = points.to_vec_f64()?;
    Ok(points
        .chunks_exact(2)
        .map(|point| [point[0] * extent, point[1] * extent])
        .collect())
}
