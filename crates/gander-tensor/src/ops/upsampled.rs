//! Nearest upsampling and the convolution behind it, as one transposed convolution.
//!
//! Each value of an image that was doubled by repetition stands four times in it, so that four of a kernel's products
//! at a time have the same factor. Added up first, the weights make a kernel one tap longer, and the pair a transposed
//! convolution with stride two: for a 3 × 3 kernel 4 products for 9, and no enlarged image in memory.
//!
//! Adding up the weights has its price, which few pixels do not pay back.

use super::{
    conv::{ConvOptions, conv, conv_transpose},
    resample::AxisMap,
};
use crate::{Result, Tensor};

/// Pixels of an image from which the weights are added up first.
///
/// For each pair of channels that moves some 600 bytes, there and in the gradient, and saves 60 products for each pixel:
/// at 10 GB/s and 10¹¹ products in a second they are even at 100 pixels, those of six images of this size. The batch has
/// no say in it: an image is the same to the bit whatever is computed beside it.
const FEWEST_PIXELS: usize = 16;

/// What [`conv`] gives for `x` with every side doubled by repetition.
///
/// # Shapes
/// As for [`conv`], with sides of `x` counted twice.
pub fn conv_upsampled(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>, options: ConvOptions) -> Result<Tensor> {
    let pixels: usize = x.shape().iter().skip(1).rev().skip(1).product();
    if pixels < FEWEST_PIXELS || !is_one(weight, options) {
        return conv(&x.upsample_nearest(2)?, weight, bias, options);
    }
    let options = ConvOptions { stride: 2, ..options };
    conv_transpose(x, &summed(weight)?, bias, options)
}

/// Whether the pair is one transposed convolution: it keeps the sides, over two axes, and sees all channels.
fn is_one(weight: &Tensor, options: ConvOptions) -> bool {
    let is_plain = (options.stride, options.dilation, options.groups) == (1, 1, 1);
    matches!(**weight.shape(), [height, width, _, _] if height == width && height == 2 * options.padding + 1)
        && is_plain
}

/// `[k, k, in, out]` to `[k + 1, k + 1, out, in]`: each tap of the longer kernel the sum of two neighbors.
fn summed(weight: &Tensor) -> Result<Tensor> {
    let (kernel, last) = (weight.side(0), weight.side(0) as isize);
    let pair = |tap: isize| vec![(last - tap, 1.0), (last - 1 - tap, 1.0)];
    let map = AxisMap::new(kernel, (0..=last).map(pair));
    let longer = weight.map_axis("sum_taps", 0, map.clone())?;
    longer.map_axis("sum_taps", 1, map)?.permute(&[0, 1, 3, 2])
}

#[cfg(test)]
mod tests {
    use crate::{Activation, RandomKey, Reference};

    use super::*;

    fn both(kernel: usize, options: ConvOptions) -> [Vec<f64>; 2] {
        let (device, key) = (Reference::shared(), RandomKey::from_seed(3));
        let x = Tensor::normal(key.split(0), [2, 6, 10, 4], &device).unwrap();
        let weight = Tensor::normal(key.split(1), [kernel, kernel, 4 / options.groups, 6], &device).unwrap();
        let bias = Tensor::normal(key.split(2), [6], &device).unwrap();
        let plain = conv(&x.upsample_nearest(2).unwrap(), &weight, Some(&bias), options).unwrap();
        let folded = conv_upsampled(&x, &weight, Some(&bias), options).unwrap();
        assert_eq!(plain.shape(), folded.shape());
        [plain, folded].map(|tensor| tensor.to_vec_f64().unwrap())
    }

    #[test]
    fn a_weight_of_another_rank_is_refused() {
        let device = Reference::shared();
        let x = Tensor::ones([1, 4, 4, 1], &device).unwrap();
        for shape in [[].as_slice(), &[1], &[1, 1, 1]] {
            let weight = Tensor::ones(shape, &device).unwrap();
            assert!(conv_upsampled(&x, &weight, None, ConvOptions::default()).is_err());
        }
    }

    #[test]
    fn gives_what_the_pair_gives() {
        for (kernel, padding, groups) in [(1, 0, 1), (3, 1, 1), (5, 2, 1), (3, 0, 1), (3, 1, 2)] {
            let options = ConvOptions {
                padding,
                groups,
                activation: Activation::Relu,
                ..ConvOptions::default()
            };
            let [plain, folded] = both(kernel, options);
            for (plain, folded) in plain.iter().zip(&folded) {
                assert!((plain - folded).abs() < 1e-12, "kernel {kernel}: {plain} and {folded}");
            }
        }
    }
}
