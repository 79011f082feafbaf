//! Adam, the optimizer of nearly every GAN.

use std::collections::BTreeMap;

use gander_tensor::{AdamStep, DeviceRef, Error, Result, Tensor};
use serde::{Deserialize, Serialize};

use crate::Parameters;

/// Settings of [`Adam`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdamConfig {
    /// Learning rate.
    pub lr: f32,
    /// Decay of the mean gradient.
    pub beta1: f32,
    /// Decay of the mean squared gradient.
    pub beta2: f32,
    /// Added to the denominator.
    pub eps: f32,
}

/// Adam with bias correction.
///
/// # Source
/// Kingma & Ba 2015, algorithm 1, <https://arxiv.org/abs/1412.6980>.
#[derive(Debug)]
pub struct Adam {
    /// Settings, which a schedule may change from step to step.
    pub config: AdamConfig,
    steps: u64,
    /// `β1^t` and `β2^t`, as products, since the betas may change on the way.
    decays: [f64; 2],
    moments: BTreeMap<String, Moments>,
}

#[derive(Debug)]
struct Moments {
    mean: Tensor,
    square: Tensor,
}

impl Adam {
    /// For the weights of a network.
    pub fn new(config: AdamConfig, parameters: &Parameters) -> Result<Self> {
        let moments = parameters
            .weights()
            .map(|weight| {
                let value = weight.get();
                let zeros = || Tensor::zeros(value.shape(), value.device());
                Ok((
                    weight.name().to_owned(),
                    Moments {
                        mean: zeros()?,
                        square: zeros()?,
                    },
                ))
            })
            .collect::<Result<_>>()?;
        Ok(Self {
            config,
            steps: 0,
            decays: [1.0; 2],
            moments,
        })
    }

    /// Number of steps taken.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// One step. `gradients` stand in the order of [`Parameters::weights`].
    pub fn step(&mut self, parameters: &Parameters, gradients: Vec<Tensor>) -> Result<()> {
        let AdamConfig { lr, beta1, beta2, eps } = self.config;
        self.steps += 1;
        self.decays[0] *= f64::from(beta1);
        self.decays[1] *= f64::from(beta2);
        let [bias_correction1, bias_correction2] = self.decays.map(|decay| (1.0 - decay) as f32);
        for (weight, gradient) in parameters.weights().zip(gradients) {
            let Some(moments) = self.moments.remove(weight.name()) else {
                continue;
            };
            let device: DeviceRef = gradient.device().clone();
            let (mut mean, mut square) = (moments.mean.into_array(), moments.square.into_array());
            let lr = lr * weight.lr_multiplier();
            let step = AdamStep {
                lr,
                beta1,
                beta2,
                eps,
                bias_correction1,
                bias_correction2,
            };
            weight.update(|value| device.adam(value, &mut mean, &mut square, gradient.array(), step))?;
            let moments = Moments {
                mean: Tensor::from_array(mean, &device),
                square: Tensor::from_array(square, &device),
            };
            self.moments.insert(weight.name().to_owned(), moments);
        }
        Ok(())
    }

    /// Everything that changes, by name: `mean.*`, `square.*`.
    pub fn to_map(&self) -> BTreeMap<String, Tensor> {
        let entry = |(name, moments): (&String, &Moments)| {
            [
                (format!("mean.{name}"), moments.mean.clone()),
                (format!("square.{name}"), moments.square.clone()),
            ]
        };
        self.moments.iter().flat_map(entry).collect()
    }

    /// The numbers that change beside the tensors: steps taken and the two decays.
    pub fn counters(&self) -> (u64, [f64; 2]) {
        (self.steps, self.decays)
    }

    /// Puts a saved state back.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] names the first tensor that is missing or has another shape.
    pub fn restore(&mut self, tensors: &BTreeMap<String, Tensor>, (steps, decays): (u64, [f64; 2])) -> Result<()> {
        for (name, moments) in &mut self.moments {
            for (kind, slot) in [("mean", &mut moments.mean), ("square", &mut moments.square)] {
                let key = format!("{kind}.{name}");
                match tensors.get(&key) {
                    Some(tensor) if tensor.shape() == slot.shape() => *slot = tensor.detach(),
                    _ => {
                        return Err(Error::InvalidArgument {
                            op: "adam",
                            argument: "state",
                            value: key,
                        });
                    }
                }
            }
        }
        (self.steps, self.decays) = (steps, decays);
        Ok(())
    }
}
