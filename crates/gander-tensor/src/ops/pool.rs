//! Max pooling. (Average pooling is a linear map: see [`super::resample`].)

use super::{conv::ConvGeometry, elementwise::require_float};
use crate::{Error, Result, Tensor};

/// The geometry of a pooling, which is that of a depthwise convolution with `in_channels` channels.
pub type PoolGeometry = ConvGeometry;

/// The plain reference: the flat index of the first largest input under each output's window.
pub fn max_indices_reference(g: &PoolGeometry, x: &[f64]) -> Vec<u32> {
    let mut best = vec![(f64::NEG_INFINITY, u32::MAX); g.output_len()];
    g.for_each_product(|i, _, o| {
        let first_or_larger = best[o].1 == u32::MAX || x[i] > best[o].0 || (x[i].is_nan() && !best[o].0.is_nan());
        if first_or_larger {
            best[o] = (x[i], i as u32);
        }
    });
    best.into_iter().map(|(_, index)| index).collect()
}

impl Tensor {
    /// The largest value of windows over every spatial axis; padding never wins.
    ///
    /// # Shapes
    /// - `self`: `[batch, spatial…, channels]`
    /// - returns: `[batch, spatial…, channels]`, each side `(side + 2·padding − kernel) / stride + 1`
    pub fn max_pool(&self, kernel: usize, stride: usize, padding: usize) -> Result<Self> {
        let (op, rank) = ("max_pool", self.shape().rank());
        let spatial = if (3..=5).contains(&rank) {
            &self.shape()[1..rank - 1]
        } else {
            &[]
        };
        if spatial.is_empty() {
            let expected = "one to three spatial axes".into();
            return Err(Error::InvalidShape {
                op,
                expected,
                got: self.shape().clone(),
            });
        }
        if kernel == 0 || stride == 0 || padding >= kernel || spatial.iter().any(|&side| side + 2 * padding < kernel) {
            let value = format!(
                "kernel {kernel}, stride {stride}, padding {padding} for shape {:?}",
                self.shape()
            );
            return Err(Error::InvalidArgument {
                op,
                argument: "window",
                value,
            });
        }
        let sides: Vec<usize> = spatial
            .iter()
            .map(|&side| (side + 2 * padding - kernel) / stride + 1)
            .collect();
        let lead = 3 - spatial.len();
        let at = |axis: usize, value: usize, fill: usize| if axis < lead { fill } else { value };
        let channels = self.shape().channels();
        let geometry = PoolGeometry {
            batch: self.side(0),
            input: std::array::from_fn(|a| if a < lead { 1 } else { spatial[a - lead] }),
            output: std::array::from_fn(|a| if a < lead { 1 } else { sides[a - lead] }),
            kernel: std::array::from_fn(|a| at(a, kernel, 1)),
            stride: std::array::from_fn(|a| at(a, stride, 1)),
            dilation: [1; 3],
            padding: std::array::from_fn(|a| at(a, padding, 0)),
            in_channels: channels,
            out_channels: channels,
            groups: channels,
        };
        if u32::try_from(geometry.input_len()).is_err() {
            return Err(Error::InvalidShape {
                op,
                expected: "fewer than 2³² values".into(),
                got: self.shape().clone(),
            });
        }
        require_float(op, &[self.array()])?;
        let indices = self.device().max_pool_indices(&geometry, self.array())?;
        let indices = Tensor::from_array(indices, self.device());
        let output = [&[self.side(0)], sides.as_slice(), &[channels]].concat();
        // The gradient goes to the winner alone, which is what a gather's gradient does.
        self.reshape([self.shape().num_elements()])?
            .gather_rows(&indices)?
            .reshape(output)
    }
}

/// Mini-batch standard deviation: one more channel that tells how much images of a group differ.
///
/// # Shapes
/// - `x`: `[batch, height, width, channels]`, `group_size` divides the batch
/// - returns: `[batch, height, width, channels + 1]`
///
/// # Source
/// Karras et al. 2018, section 3, <https://arxiv.org/abs/1710.10196>.
pub fn minibatch_std(x: &Tensor, group_size: usize) -> Result<Tensor> {
    let op = "minibatch_std";
    let batch = x.shape().first().copied().unwrap_or(0);
    if x.shape().rank() < 3 || batch == 0 || group_size == 0 || !batch.is_multiple_of(group_size) {
        let value = format!("{group_size} for shape {:?}", x.shape());
        return Err(Error::InvalidArgument {
            op,
            argument: "group_size",
            value,
        });
    }
    let features = x.shape().num_elements() / batch;
    // Image i is in group i mod (batch / group_size), as in the paper's code.
    let groups = batch / group_size;
    let grouped = x.reshape([group_size, groups, features])?;
    let centered = grouped.sub(&grouped.mean_keep(&[0])?)?;
    let deviation = centered
        .square()?
        .mean_keep(&[0])?
        .add_scalar(1e-8)?
        .sqrt()?
        .mean_keep(&[2])?;
    let mut map = x.shape().to_vec();
    *map.last_mut().expect("rank checked above") = 1;
    let spatial: usize = map[1..].iter().product();
    let deviation = deviation.broadcast_to([group_size, groups, spatial])?.reshape(map)?;
    crate::concat(&[x, &deviation], -1)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use crate::{Array, DType, Reference};

    use super::*;

    #[test]
    fn deviations_are_those_of_images() {
        for shape in [[].as_slice(), &[4], &[0, 2, 2, 3]] {
            let x = Tensor::ones(shape, &Reference::shared()).unwrap();
            assert!(minibatch_std(&x, 2).is_err(), "{shape:?}");
        }
    }

    #[test]
    fn what_u32_does_not_count_is_not_pooled() {
        let image = Array::new([1 << 16, 1 << 8, 1 << 8, 1], DType::F32, Arc::new(()));
        let image = Tensor::from_array(image, &Reference::shared());
        let error = image.max_pool(2, 2, 0).expect_err("2³² values").to_string();
        assert_eq!(
            error,
            "max_pool: expected fewer than 2³² values, got shape [65536, 256, 256, 1]"
        );
    }
}
