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
