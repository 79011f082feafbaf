//! Batch normalization with its running averages.

use gander_tensor::{Activation, NormOptions, Result, Tensor, batch_norm, no_grad, ops::norm::normalize_with};

use super::Mode;
use crate::{Init, Parameter, Scope};

/// Batch normalization.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BatchNormConfig {
    /// Channels.
    pub channels: usize,
    /// Share of the newest batch in the running averages.
    pub momentum: f32,
    /// Added to the variance.
    pub eps: f32,
    /// What follows in the same pass.
    pub activation: Activation,
    /// First values of the scale.
    pub scale: Init,
}

impl BatchNormConfig {
    /// The settings of the field: momentum 0.1, eps 1e-5, scale one.
    pub fn new(channels: usize, activation: Activation) -> Self {
        Self {
            channels,
            momentum: 0.1,
            eps: 1e-5,
            activation,
            scale: Init::ONES,
        }
    }

    /// The layer.
    pub fn init(self, scope: &mut Scope<'_>) -> Result<BatchNorm> {
        Ok(BatchNorm {
            scale: scope.weight("weight", [self.channels], self.scale)?,
            shift: scope.weight("bias", [self.channels], Init::ZEROS)?,
            running_mean: scope.buffer("running_mean", [self.channels], Init::ZEROS)?,
            running_variance: scope.buffer("running_var", [self.channels], Init::ONES)?,
            config: self,
        })
    }
}

/// Batch normalization, scale, shift and activation. See [`gander_tensor::batch_norm`].
#[derive(Debug)]
pub struct BatchNorm {
    scale: Parameter,
    shift: Parameter,
    running_mean: Parameter,
    running_variance: Parameter,
    config: BatchNormConfig,
}

impl BatchNorm {
    /// `[…, channels]` to the same.
    pub fn forward(&self, x: &Tensor, mode: Mode) -> Result<Tensor> {
        self.mapped(x, &self.scale.get(), &self.shift.get(), mode)
    }

    /// The same with a change for each image before the activation, `changed · (1 + scale) + shift`, in the same pass.
    ///
    /// # Shapes
    /// - `x`: `[batch, …, channels]`; `scale` and `shift`: `[batch, channels]`
    pub fn forward_changed(&self, x: &Tensor, scale: &Tensor, shift: &Tensor, mode: Mode) -> Result<Tensor> {
        let factor = scale.add_scalar(1.0)?;
        let shift = factor.mul(&self.shift.get())?.add(shift)?;
        self.mapped(x, &factor.mul(&self.scale.get())?, &shift, mode)
    }

    fn mapped(&self, x: &Tensor, scale: &Tensor, shift: &Tensor, mode: Mode) -> Result<Tensor> {
        let options = NormOptions {
            eps: self.config.eps,
            activation: self.config.activation,
        };
        if mode == Mode::Evaluate {
            let (mean, variance) = (self.running_mean.get(), self.running_variance.get());
            return normalize_with(x, &mean, &variance, Some((scale, shift)), options);
        }
        let (y, statistics) = batch_norm(x, Some((scale, shift)), options)?;
        if mode == Mode::Train {
            let device = x.device();
            let rows = (x.shape().num_elements() / self.config.channels.max(1)) as f32;
            // The running variance is the unbiased one, as in the frameworks that read these files.
            let correction = if rows > 1.0 { rows / (rows - 1.0) } else { 1.0 };
            no_grad(|| {
                let batch_mean = Tensor::from_array(statistics.mean, device).reshape([self.config.channels])?;
                let batch_variance = Tensor::from_array(statistics.variance, device)
                    .reshape([self.config.channels])?
                    .mul_scalar(correction)?;
                let momentum = self.config.momentum;
                self.running_mean
                    .update(|mean| device.lerp(mean, batch_mean.array(), momentum))?;
                self.running_variance
                    .update(|variance| device.lerp(variance, batch_variance.array(), momentum))
            })?;
        }
        Ok(y)
    }
}

#[cfg(test)]
mod tests {
    use gander_tensor::{RandomKey, Reference};

    use super::*;
    use crate::Parameters;

    fn assert_close(got: &Tensor, expected: &[f64]) {
        for (index, (got, expected)) in got.to_vec_f64().unwrap().iter().zip(expected).enumerate() {
            assert!(
                (got - expected).abs() < 1e-4,
                "index {index}: {got} instead of {expected}"
            );
        }
    }

    /// Values 0, 2, 4 of one channel: mean 2, variance 8/3 with three, 4 with two degrees of freedom.
    #[test]
    fn statistics_by_hand() {
        let device = Reference::shared();
        let mut parameters = Parameters::default();
        let mut scope = Scope::new(&mut parameters, RandomKey::from_seed(1), &device);
        let layer = BatchNormConfig::new(1, Activation::Relu).init(&mut scope).unwrap();
        let x = Tensor::from_slice(&[0.0, 2.0, 4.0], [3, 1, 1, 1], &device).unwrap();
        let running = |name: &str| parameters.get(name).unwrap().get();

        let normalized = [0.0, 0.0, 2.0 / (8.0f64 / 3.0).sqrt()];
        assert_close(&layer.forward(&x, Mode::Frozen).unwrap(), &normalized);
        assert_close(&running("running_mean"), &[0.0]);

        assert_close(&layer.forward(&x, Mode::Train).unwrap(), &normalized);
        assert_close(&running("running_mean"), &[0.2]);
        assert_close(&running("running_var"), &[0.9 + 0.4]);

        let with_running = [0.0, 1.8 / 1.3f64.sqrt(), 3.8 / 1.3f64.sqrt()];
        assert_close(&layer.forward(&x, Mode::Evaluate).unwrap(), &with_running);
        assert_close(&running("running_mean"), &[0.2]);
    }

    #[test]
    fn only_scale_and_shift_are_learned() {
        let mut parameters = Parameters::default();
        let mut scope = Scope::new(&mut parameters, RandomKey::from_seed(1), &Reference::shared());
        BatchNormConfig::new(3, Activation::Identity).init(&mut scope).unwrap();
        let learned: Vec<_> = parameters.weights().map(crate::Parameter::name).collect();
        assert_eq!(learned, ["weight", "bias"]);
    }
}
