//! Layers that double the resolution, with and without a checkerboard.
//!
//! The taps of a transposed convolution overlap at some places more than at others, and its weights have to learn to make
//! up for it: until they have, every image wears a checkerboard. A convolution of an image that was enlarged before has
//! no such pattern to lose. See Odena, Dumoulin & Olah 2016, <https://distill.pub/2016/deconv-checkerboard>.

use gander_nn::{
    Mode, Scope,
    layers::{Conv, ConvConfig, ConvTranspose},
};
use gander_tensor::{ConvOptions, Result, Tensor};
use serde::{Deserialize, Serialize};

/// How a layer doubles the resolution.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Upsampling {
    /// By a transposed convolution with stride two; what files say nothing of.
    #[default]
    Transposed,
    /// Each pixel becomes four, then a convolution of 3 × 3. The two cost no more than a transposed one of 4 × 4.
    Repeated,
    /// By a low-pass filter of four taps, then a convolution of 3 × 3 at the full resolution.
    Filtered,
}

impl Upsampling {
    /// A layer of a family whose paper has `transposed`, with fresh weights.
    pub(super) fn layer(self, transposed: ConvConfig, scope: &mut Scope<'_>) -> Result<Doubling> {
        let conv = ConvConfig {
            kernel: 3,
            options: ConvOptions {
                stride: 1,
                padding: 1,
                output_padding: 0,
                ..transposed.options
            },
            ..transposed
        };
        Ok(match self {
            Self::Transposed => Doubling::Transposed(transposed.init_transpose(scope)?),
            Self::Repeated => Doubling::Repeated(conv.init(scope)?),
            Self::Filtered => Doubling::Filtered(conv.init(scope)?),
        })
    }
}

/// A layer that doubles the resolution.
#[derive(Debug)]
pub(super) enum Doubling {
    Transposed(ConvTranspose),
    Repeated(Conv),
    Filtered(Conv),
}

impl Doubling {
    /// `[batch, height, width, in]` to `[batch, 2 height, 2 width, out]`.
    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        match self {
            Self::Transposed(conv) => conv.forward(x),
            Self::Repeated(conv) => conv.forward_upsampled(x, Mode::Train),
            Self::Filtered(conv) => conv.forward(&x.fir_upsample()?, Mode::Train),
        }
    }
}

#[cfg(test)]
mod tests {
    use gander_nn::{Init, Parameters};
    use gander_tensor::{RandomKey, Reference};

    use super::*;

    /// Fresh weights of either sign have no pattern in common; weights that are all alike show the overlap alone.
    #[test]
    fn only_transposed_convolutions_have_a_checkerboard() {
        let device = Reference::shared();
        let flat = Tensor::ones([1, 6, 6, 1], &device).unwrap();
        let inner = |upsampling: Upsampling, kernel, output_padding| {
            let transposed = ConvConfig {
                options: ConvOptions {
                    stride: 2,
                    padding: 1,
                    output_padding,
                    ..ConvOptions::default()
                },
                init: Init::ONES,
                ..ConvConfig::new(1, 1, kernel)
            };
            let mut parameters = Parameters::default();
            let mut scope = Scope::new(&mut parameters, RandomKey::from_seed(1), &device);
            let larger = upsampling
                .layer(transposed, &mut scope)
                .unwrap()
                .forward(&flat)
                .unwrap();
            assert_eq!(larger.shape()[..], [1, 12, 12, 1]);
            let inner = larger.slice(1, 4, 8).unwrap().slice(2, 4, 8).unwrap();
            inner.to_vec().unwrap()
        };
        let is_flat = |values: &[f32]| values.iter().all(|value| (value - values[0]).abs() < 1e-5);
        assert!(!is_flat(&inner(Upsampling::Transposed, 3, 1)));
        for upsampling in [Upsampling::Repeated, Upsampling::Filtered] {
            assert!(is_flat(&inner(upsampling, 3, 1)), "{upsampling:?}");
            assert!(is_flat(&inner(upsampling, 4, 0)), "{upsampling:?}");
        }
    }
}
