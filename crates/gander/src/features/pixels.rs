//! Pixels as features: no network looks, and what is seen is layout and color.

use gander_tensor::Tensor;

use super::{Extracted, FeatureSpace, rows};
use crate::error::Result;

/// The image itself, averaged down to at most 16 by 16: 256 features of a gray image, 768 of one in color.
///
/// A covariance of more features would need more images than most sets have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pixels;

impl Pixels {
    /// The longest side that is kept.
    pub const SIDE_PX: usize = 16;
}

impl FeatureSpace for Pixels {
    fn name(&self) -> &'static str {
        "pixels"
    }

    fn extract(&self, images: &Tensor) -> Result<Extracted> {
        let sides = [images.side(1), images.side(2)].map(|side| side.min(Self::SIDE_PX));
        let small = images.resize_area(&sides)?;
        Ok(Extracted {
            features: rows(&small.flatten()?)?,
            logits: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use gander_tensor::Cpu;

    use super::*;

    #[test]
    fn features_are_means_of_areas() {
        let device = Cpu::shared();
        let stripes: Vec<f32> = (0..32 * 32).map(|at| f32::from(u8::from(at % 2 == 0))).collect();
        let images = Tensor::from_slice(&stripes, [1, 32, 32, 1], &device).unwrap();
        let features = Pixels.extract(&images).unwrap().features;
        assert_eq!((features.num(), features.dim()), (1, 256));
        assert!(features.values().iter().all(|&value| (value - 0.5).abs() < 1e-6));
        let small = Tensor::zeros([2, 8, 20, 3], &device).unwrap();
        assert_eq!(Pixels.extract(&small).unwrap().features.dim(), 8 * 16 * 3);
    }
}
