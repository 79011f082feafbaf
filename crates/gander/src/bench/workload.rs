//! The networks that are timed, at the sizes at which others can be timed beside them.

use std::{fmt, str::FromStr};

use gander_nn::{Mode, Parameters, optim::AdamConfig};
use gander_tensor::{DeviceRef, RandomKey, Tensor, no_grad};
use serde::Serialize;

use crate::{
    error::Result,
    models::{
        Generator, ImageSpec, ModelConfig, article, cyclegan, dcgan, r3gan, residual::Output, upsampling::Upsampling,
    },
    train::{
        RunConfig,
        config::TrainingConfig,
        contest::Turn,
        defaults,
        duel::Duel,
        fitting,
        schedule::Ramp,
        state::Progress,
        steps::{self, Batch, Scalars},
    },
    translation::cycle::{CycleState, Moment, Reals, cycle_step},
};

/// A network, an image size and a batch. Every step is one update of each player.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Workload {
    /// The tutorial's GAN, 28x28x3, batch 100.
    Article28,
    /// DCGAN of width 64, 64x64x3, batch 64.
    Dcgan64,
    /// R3GAN of width 64 with two blocks a stage, 32x32x3, batch 64, R1 and R2 at every step.
    R3gan32,
    /// CycleGAN with six residual blocks both ways, cycle and identity terms, 128x128x3, batch 1.
    Cyclegan128,
}

impl Workload {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Article28, Self::Dcgan64, Self::R3gan32, Self::Cyclegan128];

    /// The networks in words.
    pub fn description(self) -> &'static str {
        match self {
            Self::Article28 => "the tutorial's GAN, 28x28x3",
            Self::Dcgan64 => "DCGAN of width 64, 64x64x3",
            Self::R3gan32 => "R3GAN of width 64, 32x32x3, with R1 and R2",
            Self::Cyclegan128 => "CycleGAN both ways, 128x128x3",
        }
    }

    /// The algorithms that its arithmetic is counted for.
    pub fn arithmetic(self) -> &'static str {
        match self {
            Self::Article28 => "direct, nearest upsampling folded into its convolutions",
            Self::R3gan32 => "direct, R1 and R2 in four passes",
            Self::Dcgan64 | Self::Cyclegan128 => "direct",
        }
    }
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Article28 => "article28",
            Self::Dcgan64 => "dcgan64",
            Self::R3gan32 => "r3gan32",
            Self::Cyclegan128 => "cyclegan128",
        })
    }
}

impl FromStr for Workload {
    type Err = String;

    /// The name that [`Workload`] prints; the error is the text that is none.
    fn from_str(name: &str) -> std::result::Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|workload| workload.to_string() == name)
            .ok_or_else(|| name.to_owned())
    }
}

/// A workload under way, on random images.
#[derive(Debug)]
pub struct Run {
    batch: usize,
    key: RandomKey,
    device: DeviceRef,
    players: Players,
}

#[derive(Debug)]
enum Players {
    Two(Box<Two>),
    Four(Box<CycleState>),
}

#[derive(Debug)]
struct Two {
    duel: Duel,
    progress: Progress,
    config: RunConfig,
}

impl Two {
    fn step(&mut self, next_batch: &mut dyn FnMut(&mut Progress, usize) -> Result<Vec<Batch>>) -> Result<Scalars> {
        let turn = Turn {
            progress: &mut self.progress,
            training: &self.config.training,
            next_batch,
        };
        steps::step(&mut self.duel, turn)
    }
}

impl Run {
    /// Fresh networks.
    pub fn new(workload: Workload, device: &DeviceRef) -> Result<Self> {
        let (model, training) = match workload {
            Workload::Article28 => article28(),
            Workload::Dcgan64 => dcgan64(),
            Workload::R3gan32 => r3gan32(),
            Workload::Cyclegan128 => return Self::cyclegan128(device),
        };
        let config = fitting::throwaway(model, training);
        Ok(Self {
            batch: config.training.batch,
            key: RandomKey::from_seed(0),
            device: device.clone(),
            players: Players::Two(Box::new(Two {
                duel: Duel::new(&config, device)?,
                progress: Progress::new(config.seed),
                config,
            })),
        })
    }

    fn cyclegan128(device: &DeviceRef) -> Result<Self> {
        let key = RandomKey::from_seed(0);
        // As in the paper, but without the pool, so that every step is the same work.
        let config = cyclegan::Config {
            upsampling: Upsampling::Transposed,
            output: Output::Image,
            patch_px: 70,
            discriminator_width: None,
            pool: 0,
            ..cyclegan::Config::new(color(128))
        };
        let state = CycleState::new(&config, key, CYCLEGAN_ADAM, device)?;
        Ok(Self {
            batch: 1,
            key,
            device: device.clone(),
            players: Players::Four(Box::new(state)),
        })
    }

    /// Images in a step.
    pub fn batch(&self) -> usize {
        self.batch
    }

    /// Calls `change` with the name and the tensors of each network: to begin from other weights.
    pub fn change_networks(&mut self, change: &mut dyn FnMut(&str, &Parameters)) {
        match &self.players {
            Players::Two(two) => {
                change("generator", two.duel.generator.parameters());
                change("discriminator", two.duel.discriminator.parameters());
            }
            Players::Four(state) => {
                change("to_a", state.to_a.parameters());
                change("to_b", state.to_b.parameters());
                change("judge_a", state.judge_a.parameters());
                change("judge_b", state.judge_b.parameters());
            }
        }
    }

    /// The settings of the two networks, and the place of the generator, for whoever wants another one there.
    pub fn generator_mut(&mut self) -> Option<(&ModelConfig, &mut Box<dyn Generator>)> {
        match &mut self.players {
            Players::Two(two) => Some((&two.config.model, &mut two.duel.generator)),
            Players::Four(_) => None,
        }
    }

    /// Without a pool a step of `CycleGAN` has nothing random.
    fn moment(&self) -> Moment {
        Moment {
            key: self.key,
            images_seen: 0,
        }
    }

    /// One training step on random images.
    pub fn step(&mut self) -> Result<Scalars> {
        let moment = self.moment();
        match &mut self.players {
            Players::Two(two) => {
                let images = two.config.model.images();
                let device = &self.device;
                two.step(&mut |progress, parts| {
                    let shape = [self.batch / parts, images.height_px, images.width_px, images.channels];
                    let part = |_| {
                        let images = random_images(progress.next_key(), shape, device)?;
                        Ok(Batch {
                            images,
                            labels: None,
                            partners: None,
                        })
                    };
                    (0..parts).map(part).collect()
                })
            }
            Players::Four(state) => {
                let images = |name| random_images(self.key.named(name), [self.batch, 128, 128, 3], &self.device);
                let (a, b) = (images("a")?, images("b")?);
                cycle_step(state, Reals { a: &a, b: &b }, moment)
            }
        }
    }

    /// The same on images that are given.
    ///
    /// Workloads with two players take `reals` batch by batch; `cyclegan128` takes one of each collection.
    pub fn step_on(&mut self, reals: &[Tensor]) -> Result<Scalars> {
        let moment = self.moment();
        match &mut self.players {
            Players::Two(two) => {
                let mut reals = reals.iter().cycle();
                two.step(&mut |_, _| {
                    let next = reals.next().map(|images| Batch {
                        images: images.clone(),
                        labels: None,
                        partners: None,
                    });
                    Ok(next.into_iter().collect())
                })
            }
            Players::Four(state) => {
                let (a, b) = (&reals[0], &reals[reals.len() - 1]);
                cycle_step(state, Reals { a, b }, moment)
            }
        }
    }

    /// One batch of samples.
    pub fn sample(&self) -> Result<()> {
        no_grad(|| {
            match &self.players {
                Players::Two(two) => {
                    let generator = &two.duel.generator;
                    let latents = generator.latents(self.key, self.batch, &self.device)?;
                    generator.forward(&latents, None, Mode::Evaluate)?
                }
                Players::Four(state) => {
                    let images = random_images(self.key, [self.batch, 128, 128, 3], &self.device)?;
                    state.to_b.network.forward(&images)?
                }
            };
            Ok(())
        })
    }
}

/// Zhu et al. 2017, appendix 7.1.
const CYCLEGAN_ADAM: AdamConfig = AdamConfig {
    lr: 2e-4,
    beta1: 0.5,
    beta2: 0.999,
    eps: 1e-8,
};

fn random_images(key: RandomKey, shape: [usize; 4], device: &DeviceRef) -> Result<Tensor> {
    Ok(Tensor::uniform(key, shape, device)?.mul_scalar(2.0)?.add_scalar(-1.0)?)
}

fn color(side: usize) -> ImageSpec {
    ImageSpec {
        height_px: side,
        width_px: side,
        channels: 3,
        num_classes: 0,
    }
}

fn article28() -> (ModelConfig, TrainingConfig) {
    let model = ModelConfig::Article(article::Config::new(color(28)));
    let training = TrainingConfig {
        batch: 100,
        ..defaults::plain()
    };
    (model, training)
}

fn dcgan64() -> (ModelConfig, TrainingConfig) {
    (ModelConfig::Dcgan(dcgan::Config::new(color(64))), defaults::plain())
}

fn r3gan32() -> (ModelConfig, TrainingConfig) {
    let model = ModelConfig::R3gan(r3gan::Config {
        width: 64,
        width_max: 64,
        ..r3gan::Config::new(color(32))
    });
    let training = TrainingConfig {
        beta2: Ramp::constant(0.9),
        learning_rate: Ramp::constant(2e-4),
        r1_gamma: Ramp::constant(1.0),
        r2_gamma: Ramp::constant(1.0),
        // As fast as in one part, and a third of the memory.
        accumulate: 4,
        ..defaults::r3gan_training(color(32))
    };
    (model, training)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back() {
        for workload in Workload::ALL {
            assert_eq!(workload.to_string().parse(), Ok(workload));
            let json = serde_json::to_string(&workload).unwrap();
            assert_eq!(json, format!("\"{workload}\""));
        }
        assert_eq!("dcgan".parse::<Workload>(), Err("dcgan".to_owned()));
    }
}
