//! Linear maps along one axis: resizing, FIR filters, average pooling, padding, slices and flips are all of this kind.
//!
//! One operation with one gradient (the transposed map) stands for all of them; the functions here only write down
//! which input positions, with which weights, make up each output position.

use std::sync::Arc;

use super::elementwise::require_float;
use crate::{Array, Call, Device, Error, Operation, Reads, Result, Shape, Tensor, apply, autograd::only};

/// A sparse matrix that maps an axis of `in_len` positions to one of `out_len`, in compressed rows.
///
/// `out[i] = Σ_j weights[j] · in[indices[j]]` for `j` in `starts[i]..starts[i + 1]`. Its transpose is its gradient.
#[derive(Debug, Clone, PartialEq)]
pub struct AxisMap {
    /// Positions before.
    pub in_len: usize,
    /// Positions after.
    pub out_len: usize,
    /// Where each output's taps begin; `out_len + 1` entries.
    pub starts: Arc<[u32]>,
    /// Input position of each tap.
    pub indices: Arc<[u32]>,
    /// Weight of each tap.
    pub weights: Arc<[f32]>,
}

impl AxisMap {
    /// From each output's taps `(input position, weight)`. Positions outside the input are zeros and left out.
    pub fn new(in_len: usize, rows: impl IntoIterator<Item = Vec<(isize, f32)>>) -> Self {
        let (mut starts, mut indices, mut weights) = (vec![0], Vec::new(), Vec::new());
        for row in rows {
            for (index, weight) in row {
                if (0..in_len as isize).contains(&index) && weight != 0.0 {
                    indices.push(index as u32);
                    weights.push(weight);
                }
            }
            starts.push(indices.len() as u32);
        }
        let out_len = starts.len() - 1;
        Self {
            in_len,
            out_len,
            starts: starts.into(),
            indices: indices.into(),
            weights: weights.into(),
        }
    }

    /// The taps of one output.
    pub fn taps(&self, output: usize) -> impl Iterator<Item = (usize, f32)> + '_ {
        let range = self.starts[output] as usize..self.starts[output + 1] as usize;
        range.map(|tap| (self.indices[tap] as usize, self.weights[tap]))
    }

    /// The map of the gradient.
    #[must_use]
    pub fn transposed(&self) -> Self {
        let mut starts = vec![0; self.in_len + 1];
        for &input in self.indices.iter() {
            starts[input as usize + 1] += 1;
        }
        for input in 0..self.in_len {
            starts[input + 1] += starts[input];
        }
        let mut next = starts.clone();
        let (mut indices, mut weights) = (vec![0; self.indices.len()], vec![0.0; self.weights.len()]);
        for output in 0..self.out_len {
            for (input, weight) in self.taps(output) {
                let at = next[input] as usize;
                (indices[at], weights[at]) = (output as u32, weight);
                next[input] += 1;
            }
        }
        Self {
            in_len: self.out_len,
            out_len: self.in_len,
            starts: starts.into(),
            indices: indices.into(),
            weights: weights.into(),
        }
    }

    /// Positions `start..end`; those outside the input are zeros, so that this both cuts and pads.
    pub fn window(in_len: usize, start: isize, end: isize) -> Self {
        Self::new(in_len, (start..end).map(|i| vec![(i, 1.0)]))
    }

    /// Mirrored at the first and last position, which are not repeated.
    pub fn reflect(in_len: usize, before: usize, after: usize) -> Self {
        let last = in_len as isize - 1;
        let mirror = |i: isize| {
            let i = i.abs();
            if i > last { 2 * last - i } else { i }
        };
        Self::new(
            in_len,
            (-(before as isize)..(in_len + after) as isize).map(|i| vec![(mirror(i), 1.0)]),
        )
    }

    /// The order reversed.
    pub fn flip(in_len: usize) -> Self {
        Self::new(in_len, (0..in_len as isize).rev().map(|i| vec![(i, 1.0)]))
    }

    /// Each output takes the input at `⌊i · in / out⌋`.
    pub fn nearest(in_len: usize, out_len: usize) -> Self {
        Self::new(
            in_len,
            (0..out_len).map(|i| vec![((i * in_len / out_len) as isize, 1.0)]),
        )
    }

    /// Linear interpolation between pixel centers, edges repeated, no low-pass (`align_corners` false).
    pub fn bilinear(in_len: usize, out_len: usize) -> Self {
        let scale = in_len as f64 / out_len as f64;
        let last = in_len as isize - 1;
        Self::new(
            in_len,
            (0..out_len).map(|i| {
                let center = ((i as f64 + 0.5) * scale - 0.5).max(0.0);
                let left = (center as isize).min(last);
                let t = (center - left as f64) as f32;
                if left == last {
                    vec![(left, 1.0)]
                } else {
                    vec![(left, 1.0 - t), (left + 1, t)]
                }
            }),
        )
    }

    /// Each output is the mean of the input positions `⌊i·in/out⌋..⌈(i+1)·in/out⌉`.
    pub fn area(in_len: usize, out_len: usize) -> Self {
        Self::new(
            in_len,
            (0..out_len).map(|i| {
                let (start, end) = (i * in_len / out_len, ((i + 1) * in_len).div_ceil(out_len));
                (start..end).map(|j| (j as isize, 1.0 / (end - start) as f32)).collect()
            }),
        )
    }

    /// The mean over windows; zeros before and after are not counted.
    pub fn average_pool(in_len: usize, kernel: usize, stride: usize, padding: usize) -> Self {
        let out_len = (in_len + 2 * padding - kernel) / stride + 1;
        Self::new(
            in_len,
            (0..out_len).map(|i| {
                let start = (i * stride) as isize - padding as isize;
                let inside = start.max(0)..(start + kernel as isize).min(in_len as isize);
                let weight = 1.0 / inside.clone().count().max(1) as f32;
                inside.map(|j| (j, weight)).collect()
            }),
        )
    }

    /// Zeros inserted (`up − 1` after each value), padded, filtered, and every `down`-th value kept.
    ///
    /// `out[i] = Σ_k taps[k] · padded[i · down + k]`, with `padding` zeros before and as many after as `out_len` needs.
    ///
    /// # Source
    /// The operation of Karras et al. 2019 (StyleGAN2), there called up-FIR-down, along one axis.
    pub fn up_fir_down(in_len: usize, taps: &[f32], up: usize, down: usize, padding: usize, out_len: usize) -> Self {
        Self::new(
            in_len,
            (0..out_len).map(|i| {
                let position = |k: usize| (i * down + k) as isize - padding as isize;
                (0..taps.len())
                    .filter(|&k| position(k).rem_euclid(up as isize) == 0)
                    .map(|k| (position(k).div_euclid(up as isize), taps[k]))
                    .collect()
            }),
        )
    }
}

/// The plain reference: `x` seen as `[outer, in_len, inner]`.
pub fn reference(map: &AxisMap, x: &[f64], outer: usize, inner: usize) -> Vec<f64> {
    let mut y = vec![0.0; outer * map.out_len * inner];
    for o in 0..outer {
        for i in 0..map.out_len {
            for (j, weight) in map.taps(i) {
                for c in 0..inner {
                    y[(o * map.out_len + i) * inner + c] += f64::from(weight) * x[(o * map.in_len + j) * inner + c];
                }
            }
        }
    }
    y
}

#[derive(Debug)]
struct MapAxis {
    name: &'static str,
    axis: usize,
    map: AxisMap,
}

impl Operation for MapAxis {
    fn name(&self) -> &'static str {
        self.name
    }

    fn attributes(&self) -> Vec<(&'static str, String)> {
        vec![
            ("axis", self.axis.to_string()),
            ("length", format!("{} to {}", self.map.in_len, self.map.out_len)),
        ]
    }

    fn reads(&self) -> Reads {
        Reads::NOTHING
    }

    fn forward(&self, device: &dyn Device, inputs: &[&Array]) -> Result<Array> {
        require_float(self.name(), inputs)?;
        device.map_axis(inputs[0], self.axis, &self.map)
    }

    fn is_piecewise_linear(&self, _varies: &[bool]) -> bool {
        true
    }

    fn tangent(&self, _call: &Call<'_>, changes: &[Option<Tensor>]) -> Result<Tensor> {
        let change = only(changes, self.name())?;
        change.map_axis(self.name, self.axis, self.map.clone())
    }

    fn backward(&self, _call: &Call<'_>, grad: &Tensor) -> Result<Vec<Option<Tensor>>> {
        let transposed = Self {
            name: self.name,
            axis: self.axis,
            map: self.map.transposed(),
        };
        Ok(vec![Some(apply(transposed, &[grad])?)])
    }

    fn flops(&self, _inputs: &[&Shape], output: &Shape) -> u64 {
        let moves_only = self.map.weights.iter().all(|&weight| weight == 1.0);
        let taps = self.map.indices.len() / self.map.out_len.max(1);
        if moves_only {
            0
        } else {
            (2 * taps * output.num_elements()) as u64
        }
    }
}

impl Tensor {
    pub(super) fn map_axis(&self, name: &'static str, axis: usize, map: AxisMap) -> Result<Self> {
        debug_assert_eq!(map.in_len, self.shape()[axis]);
        apply(MapAxis { name, axis, map }, &[self])
    }

    /// The same map made for each spatial axis (all but the first and the last).
    fn map_spatial(&self, name: &'static str, map: impl Fn(usize, usize) -> AxisMap) -> Result<Self> {
        let spatial = 1..self.shape().rank().saturating_sub(1);
        spatial.into_iter().try_fold(self.clone(), |x, axis| {
            let map = map(axis - 1, x.shape()[axis]);
            x.map_axis(name, axis, map)
        })
    }

    /// The spatial sides: all but the first and the last.
    pub(super) fn spatial(&self, op: &'static str) -> Result<&[usize]> {
        match &**self.shape() {
            [_, spatial @ .., _] => Ok(spatial),
            _ => Err(Error::InvalidShape {
                op,
                expected: "a batch and channels".into(),
                got: self.shape().clone(),
            }),
        }
    }

    /// Positions `start..end` along an axis.
    pub fn slice(&self, axis: isize, start: usize, end: usize) -> Result<Self> {
        let axis = self.shape().axis("slice", axis)?;
        let len = self.shape()[axis];
        if start > end || end > len {
            let value = format!("{start}..{end} of {len}");
            return Err(Error::InvalidArgument {
                op: "slice",
                argument: "range",
                value,
            });
        }
        if (start, end) == (0, len) {
            return Ok(self.clone());
        }
        self.map_axis("slice", axis, AxisMap::window(len, start as isize, end as isize))
    }

    /// Zeros added before and after along an axis.
    pub fn pad_zero(&self, axis: isize, before: usize, after: usize) -> Result<Self> {
        let axis = self.shape().axis("pad", axis)?;
        let len = self.shape()[axis];
        self.map_axis(
            "pad",
            axis,
            AxisMap::window(len, -(before as isize), (len + after) as isize),
        )
    }

    /// Mirrored at the border of every spatial axis, whose first and last positions are not repeated.
    pub fn pad_reflect(&self, padding: usize) -> Result<Self> {
        let spatial = self.spatial("pad_reflect")?;
        if let Some(side) = spatial.iter().find(|&&side| side <= padding) {
            let value = format!("{padding} for a side of {side}");
            return Err(Error::InvalidArgument {
                op: "pad_reflect",
                argument: "padding",
                value,
            });
        }
        self.map_spatial("pad_reflect", |_, len| AxisMap::reflect(len, padding, padding))
    }

    /// The order along an axis reversed.
    pub fn flip(&self, axis: isize) -> Result<Self> {
        let axis = self.shape().axis("flip", axis)?;
        self.map_axis("flip", axis, AxisMap::flip(self.shape()[axis]))
    }

    /// Every spatial axis made `factor` times longer by repetition.
    pub fn upsample_nearest(&self, factor: usize) -> Result<Self> {
        self.map_spatial("upsample_nearest", |_, len| AxisMap::nearest(len, len * factor))
    }

    /// The spatial axes resized by linear interpolation between pixel centers, without a low-pass.
    pub fn resize_bilinear(&self, sides: &[usize]) -> Result<Self> {
        self.check_sides("resize_bilinear", sides)?;
        self.map_spatial("resize_bilinear", |axis, len| AxisMap::bilinear(len, sides[axis]))
    }

    /// The spatial axes resized by means over the area behind each output.
    pub fn resize_area(&self, sides: &[usize]) -> Result<Self> {
        self.check_sides("resize_area", sides)?;
        self.map_spatial("resize_area", |axis, len| AxisMap::area(len, sides[axis]))
    }

    /// The spatial axes resized by taking the nearest position below.
    pub fn resize_nearest(&self, sides: &[usize]) -> Result<Self> {
        self.check_sides("resize_nearest", sides)?;
        self.map_spatial("resize_nearest", |axis, len| AxisMap::nearest(len, sides[axis]))
    }

    fn check_sides(&self, op: &'static str, sides: &[usize]) -> Result<()> {
        let fits = sides.len() + 2 == self.shape().rank() && sides.iter().all(|&side| side > 0);
        let expected = || format!("{} spatial axes for sides {sides:?}", sides.len());
        if fits {
            Ok(())
        } else {
            Err(Error::InvalidShape {
                op,
                expected: expected(),
                got: self.shape().clone(),
            })
        }
    }

    /// Twice the resolution: zeros inserted, then the separable filter `[1, 3, 3, 1] / 4`, which keeps the mean.
    ///
    /// # Source
    /// Karras et al. 2020 (StyleGAN2), appendix B, <https://arxiv.org/abs/1912.04958>.
    pub fn fir_upsample(&self) -> Result<Self> {
        let taps = [0.25, 0.75, 0.75, 0.25];
        self.map_spatial("fir_upsample", |_, len| {
            AxisMap::up_fir_down(len, &taps, 2, 1, 2, 2 * len)
        })
    }

    /// Half the resolution: the separable filter `[1, 3, 3, 1] / 8`, then every second value.
    pub fn fir_downsample(&self) -> Result<Self> {
        let taps = [0.125, 0.375, 0.375, 0.125];
        self.map_spatial("fir_downsample", |_, len| {
            AxisMap::up_fir_down(len, &taps, 1, 2, 1, len.div_ceil(2))
        })
    }

    /// Means over windows of every spatial axis; padding is not counted.
    pub fn average_pool(&self, kernel: usize, stride: usize, padding: usize) -> Result<Self> {
        let spatial = self.spatial("average_pool")?;
        if kernel == 0 || stride == 0 || padding >= kernel || spatial.iter().any(|&side| side + 2 * padding < kernel) {
            let value = format!(
                "kernel {kernel}, stride {stride}, padding {padding} for shape {:?}",
                self.shape()
            );
            return Err(Error::InvalidArgument {
                op: "average_pool",
                argument: "window",
                value,
            });
        }
        self.map_spatial("average_pool", |_, len| {
            AxisMap::average_pool(len, kernel, stride, padding)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Reference;

    #[test]
    fn images_have_a_batch_and_channels() {
        for shape in [[].as_slice(), &[3]] {
            let x = Tensor::ones(shape, &Reference::shared()).unwrap();
            assert!(x.pad_reflect(1).is_err());
            assert!(x.average_pool(2, 2, 0).is_err());
        }
    }

    #[test]
    fn transposing_twice_is_nothing() {
        for map in [
            AxisMap::bilinear(5, 9),
            AxisMap::up_fir_down(4, &[1.0, 3.0, 3.0, 1.0], 2, 1, 2, 8),
        ] {
            assert_eq!(map.transposed().transposed(), map);
        }
    }

    #[test]
    fn filters_keep_the_mean_inside() {
        let map = AxisMap::up_fir_down(8, &[0.25, 0.75, 0.75, 0.25], 2, 1, 2, 16);
        for i in 1..15 {
            assert_eq!(map.taps(i).map(|(_, w)| w).sum::<f32>(), 1.0);
        }
    }

    #[test]
    fn reflection_leaves_the_border_alone() {
        let indices: Vec<usize> = {
            let map = AxisMap::reflect(4, 2, 3);
            (0..map.out_len).map(|i| map.taps(i).next().unwrap().0).collect()
        };
        assert_eq!(indices, [2, 1, 0, 1, 2, 3, 2, 1, 0]);
    }
}
