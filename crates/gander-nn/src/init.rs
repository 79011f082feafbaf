//! First values of parameters.

use gander_tensor::{DeviceRef, RandomKey, Result, Shape, Tensor};

/// First values of a parameter.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Init {
    /// One value everywhere.
    Constant(f32),
    /// Normal with this mean and standard deviation.
    Normal {
        /// Mean.
        mean: f32,
        /// Standard deviation.
        std: f32,
    },
    /// Uniform within ± this limit.
    Uniform {
        /// Largest magnitude.
        limit: f32,
    },
    /// Normal with standard deviation `gain / √fan_in`; the fan-in is all sides but the last.
    ///
    /// # Source
    /// He et al. 2015, <https://arxiv.org/abs/1502.01852>, equation 10 with its gain √2 free.
    FanIn {
        /// Factor on the standard deviation.
        gain: f32,
    },
    /// Uniform within `± √(6 / (fan_in + fan_out))`.
    ///
    /// # Source
    /// Glorot & Bengio 2010, equation 16, <https://proceedings.mlr.press/v9/glorot10a.html>.
    Xavier,
}

impl Init {
    /// Zeros.
    pub const ZEROS: Self = Self::Constant(0.0);
    /// Ones.
    pub const ONES: Self = Self::Constant(1.0);

    /// Normal around zero.
    pub const fn normal(std: f32) -> Self {
        Self::Normal { mean: 0.0, std }
    }

    /// Values of this kind.
    pub fn tensor(self, key: RandomKey, shape: &Shape, device: &DeviceRef) -> Result<Tensor> {
        let fan_in = (shape.num_elements() / shape.channels().max(1)).max(1) as f32;
        match self {
            Self::Constant(value) => Tensor::full(value, shape, device),
            Self::Normal { mean, std } => {
                let values = Tensor::normal(key, shape, device)?.mul_scalar(std)?;
                if mean == 0.0 {
                    Ok(values)
                } else {
                    values.add_scalar(mean)
                }
            }
            Self::FanIn { gain } => Tensor::normal(key, shape, device)?.mul_scalar(gain / fan_in.sqrt()),
            Self::Uniform { limit } => Tensor::uniform(key, shape, device)?
                .mul_scalar(2.0 * limit)?
                .add_scalar(-limit),
            Self::Xavier => {
                let rank = shape.rank();
                let taps: usize = shape[..rank.saturating_sub(2)].iter().product();
                let fan_out = (taps * shape.channels()) as f32;
                let limit = (6.0 / (fan_in + fan_out)).sqrt();
                Self::Uniform { limit }.tensor(key, shape, device)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use gander_tensor::Reference;

    use super::*;

    /// Mean, standard deviation and largest magnitude.
    fn statistics(init: Init, shape: &[usize]) -> [f32; 3] {
        let tensor = init
            .tensor(RandomKey::from_seed(7), &shape.into(), &Reference::shared())
            .unwrap();
        assert_eq!(tensor.shape()[..], *shape);
        let values = tensor.to_vec().unwrap();
        let count = values.len() as f32;
        let mean = values.iter().sum::<f32>() / count;
        let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f32>() / count;
        [
            mean,
            variance.sqrt(),
            values.iter().fold(0.0, |most, value| value.abs().max(most)),
        ]
    }

    fn assert_near(got: f32, expected: f32, tolerance: f32) {
        assert!((got - expected).abs() < tolerance, "{got} instead of {expected}");
    }

    #[test]
    fn constants_are_constant() {
        assert_eq!(statistics(Init::ONES, &[5]), [1.0, 0.0, 1.0]);
    }

    #[test]
    fn normal_has_its_mean_and_deviation() {
        let [mean, std, _] = statistics(Init::Normal { mean: 1.0, std: 0.02 }, &[20_000]);
        assert_near(mean, 1.0, 1e-3);
        assert_near(std, 0.02, 1e-3);
    }

    #[test]
    fn fan_in_counts_taps_and_input_channels() {
        let [mean, std, _] = statistics(Init::FanIn { gain: 2.0 }, &[3, 3, 16, 100]);
        assert_near(mean, 0.0, 5e-3);
        assert_near(std, 2.0 / 12.0, 5e-3);
    }

    #[test]
    fn xavier_counts_both_fans() {
        let [_, std, most] = statistics(Init::Xavier, &[3, 3, 16, 32]);
        let limit = (6.0f32 / (9.0 * 48.0)).sqrt();
        assert!(most <= limit, "{most} above {limit}");
        // A uniform distribution's standard deviation.
        assert_near(std, limit / 3.0f32.sqrt(), 2e-3);
    }
}
