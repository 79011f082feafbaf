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
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] if there is not one gradient for each weight, [`Error::ShapeMismatch`] if one has
    /// another shape. Then nothing has changed.
    pub fn step(&mut self, parameters: &Parameters, gradients: Vec<Tensor>) -> Result<()> {
        if gradients.len() != self.moments.len() {
            let value = format!("{} for {} weights", gradients.len(), self.moments.len());
            return Err(Error::InvalidArgument {
                op: "adam",
                argument: "gradients",
                value,
            });
        }
        for (weight, gradient) in parameters.weights().zip(&gradients) {
            let weight = weight.get();
            if weight.shape() != gradient.shape() {
                return Err(Error::ShapeMismatch {
                    op: "adam",
                    left: weight.shape().clone(),
                    right: gradient.shape().clone(),
                });
            }
        }
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

#[cfg(test)]
mod tests {
    use gander_tensor::{Cpu, RandomKey, Reference};

    use super::*;
    use crate::{Init, Scope};

    const CONFIG: AdamConfig = AdamConfig {
        lr: 0.1,
        beta1: 0.5,
        beta2: 0.75,
        eps: 1e-8,
    };

    /// Two weights that begin at one, the second learning at half the rate.
    fn network(device: &DeviceRef) -> Parameters {
        let mut parameters = Parameters::default();
        let mut scope = Scope::new(&mut parameters, RandomKey::from_seed(1), device);
        scope.weight("full", [1], Init::ONES).unwrap();
        scope.weight_with_lr("half", [1], Init::ONES, 0.5).unwrap();
        parameters
    }

    fn gradients(values: [f32; 2], device: &DeviceRef) -> Vec<Tensor> {
        values.map(|value| Tensor::full(value, [1], device).unwrap()).into()
    }

    fn values(parameters: &Parameters) -> Vec<f64> {
        parameters
            .iter()
            .map(|weight| weight.get().to_vec_f64().unwrap()[0])
            .collect()
    }

    fn assert_close(got: &[f64], expected: &[f64]) {
        for (got, expected) in got.iter().zip(expected) {
            assert!((got - expected).abs() < 1e-6, "{got} instead of {expected}");
        }
    }

    /// Gradients 2, then −1.
    ///
    /// Step 1: m = 1, v = 1; corrected 1/½ = 2 and 1/¼ = 4; w = 1 − 0.1 · 2/2 = 0.9.
    /// Step 2: m = 0, v = 0.75 + 0.25 = 1; m = ½ · 1 − ½ = 0, so w stays.
    /// Gradient 1 in a third step: m = ½, v = 0.75 + 0.25 = 1; corrected ½ / 0.875 = 4/7 and 1 / (37/64) = 64/37.
    #[test]
    fn steps_by_hand() {
        let device = Reference::shared();
        let parameters = network(&device);
        let mut adam = Adam::new(CONFIG, &parameters).unwrap();
        adam.step(&parameters, gradients([2.0, 2.0], &device)).unwrap();
        assert_close(&values(&parameters), &[0.9, 0.95]);
        adam.step(&parameters, gradients([-1.0, -1.0], &device)).unwrap();
        assert_close(&values(&parameters), &[0.9, 0.95]);
        adam.step(&parameters, gradients([1.0, 1.0], &device)).unwrap();
        let move_by = 0.1 * (4.0 / 7.0) / (64.0f64 / 37.0).sqrt();
        assert_close(&values(&parameters), &[0.9 - move_by, 0.95 - move_by / 2.0]);
    }

    #[test]
    fn a_restored_state_goes_on_the_same_way() {
        let device = Reference::shared();
        let (parameters, copy) = (network(&device), network(&device));
        let mut adam = Adam::new(CONFIG, &parameters).unwrap();
        adam.step(&parameters, gradients([2.0, -3.0], &device)).unwrap();
        copy.copy_from(&parameters).unwrap();
        let mut restored = Adam::new(CONFIG, &copy).unwrap();
        restored.restore(&adam.to_map(), adam.counters()).unwrap();
        for (adam, parameters) in [(&mut adam, &parameters), (&mut restored, &copy)] {
            adam.step(parameters, gradients([1.0, 1.0], &device)).unwrap();
        }
        assert_eq!(values(&parameters), values(&copy));
    }

    #[test]
    fn a_state_of_another_network_is_refused() {
        let device = Reference::shared();
        let parameters = network(&device);
        let mut adam = Adam::new(CONFIG, &parameters).unwrap();
        let mut state = adam.to_map();
        state.remove("square.half");
        let error = adam
            .restore(&state, (1, [0.5; 2]))
            .expect_err("a moment is missing")
            .to_string();
        assert_eq!(error, "adam: state out of range: square.half");
    }

    #[test]
    fn a_gradient_is_needed_for_each_weight() {
        let device = Reference::shared();
        let parameters = network(&device);
        let mut adam = Adam::new(CONFIG, &parameters).unwrap();
        assert!(
            adam.step(&parameters, gradients([1.0, 1.0], &device).split_off(1))
                .is_err()
        );
        assert_eq!((values(&parameters), adam.steps()), (vec![1.0, 1.0], 0));
    }

    #[test]
    fn a_gradient_of_another_shape_changes_nothing() {
        for device in [Reference::shared(), Cpu::shared()] {
            let parameters = network(&device);
            let mut adam = Adam::new(CONFIG, &parameters).unwrap();
            let mut gradients = gradients([1.0, 1.0], &device);
            gradients[1] = Tensor::ones([2], &device).unwrap();
            let error = adam.step(&parameters, gradients).expect_err("two for one").to_string();
            assert_eq!(error, "adam: shapes [1] and [2] do not fit");
            assert_eq!((values(&parameters), adam.steps()), (vec![1.0, 1.0], 0));
        }
    }
}
