//! What a convolution, and its input gradient, come down to: phases of dense taps over boxes of positions.
//!
//! Both are the same sum, `target[q · step + start] = Σ_taps source[q · stride + tap] · weight[tap]`: the convolution
//! in one phase with `step` 1, the input gradient in one phase for each remainder of the target position by the
//! convolution's stride, each with the taps that reach it and nothing multiplied by zero between them.

use crate::ops::conv::ConvGeometry;

/// A tap of the kernel as a phase sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tap {
    /// Source position for `q` = 0.
    pub(super) at: [isize; 3],
    /// Flat index in the kernel.
    pub(super) index: usize,
}

/// Targets of one remainder, and the taps that reach them.
#[derive(Debug, Clone)]
pub(super) struct Phase {
    /// The first target position.
    pub(super) start: [usize; 3],
    /// Number of targets along each axis.
    pub(super) count: [usize; 3],
    /// In the order in which they lie in the source.
    pub(super) taps: Vec<Tap>,
}

/// The sum that a convolution or its input gradient is.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) batch: usize,
    pub(super) groups: usize,
    pub(super) source: [usize; 3],
    pub(super) source_channels: usize,
    pub(super) target: [usize; 3],
    pub(super) target_channels: usize,
    /// Source positions between neighboring targets of a phase.
    pub(super) stride: [usize; 3],
    /// Target positions between neighboring targets of a phase.
    pub(super) step: [usize; 3],
    pub(super) phases: Vec<Phase>,
}

impl Plan {
    /// The convolution.
    pub(super) fn forward(g: &ConvGeometry) -> Self {
        let axis_taps = |axis: usize| {
            (0..g.kernel[axis])
                .map(move |k| (k, (k * g.dilation[axis]) as isize - g.padding[axis] as isize))
                .collect()
        };
        Self {
            batch: g.batch,
            groups: g.groups,
            source: g.input,
            source_channels: g.in_channels,
            target: g.output,
            target_channels: g.out_channels,
            stride: g.stride,
            step: [1; 3],
            phases: vec![Phase {
                start: [0; 3],
                count: g.output,
                taps: cross(g, &[axis_taps(0), axis_taps(1), axis_taps(2)]),
            }],
        }
    }

    /// Its input gradient, the transposed convolution.
    pub(super) fn backward(g: &ConvGeometry) -> Self {
        let mut phases = Vec::new();
        for z in 0..g.stride[0].min(g.input[0]) {
            for y in 0..g.stride[1].min(g.input[1]) {
                for x in 0..g.stride[2].min(g.input[2]) {
                    let start = [z, y, x];
                    let taps = [0, 1, 2].map(|axis| backward_taps(g, axis, start[axis]));
                    let count = [0, 1, 2].map(|axis| (g.input[axis] - start[axis]).div_ceil(g.stride[axis]));
                    phases.push(Phase {
                        start,
                        count,
                        taps: cross(g, &taps),
                    });
                }
            }
        }
        Self {
            batch: g.batch,
            groups: g.groups,
            source: g.output,
            source_channels: g.out_channels,
            target: g.input,
            target_channels: g.in_channels,
            stride: [1; 3],
            step: g.stride,
            phases,
        }
    }

    /// Source channels of a group.
    pub(super) fn depth(&self) -> usize {
        self.source_channels / self.groups
    }

    /// Target channels of a group.
    pub(super) fn width(&self) -> usize {
        self.target_channels / self.groups
    }

    /// The lowest and the highest tap of all phases along each axis.
    pub(super) fn reach(&self) -> [(isize, isize); 3] {
        [0, 1, 2].map(|axis| {
            let at = || self.phases.iter().flat_map(|phase| &phase.taps).map(|tap| tap.at[axis]);
            (at().min().unwrap_or(0), at().max().unwrap_or(0))
        })
    }

    /// Whether a tap of the position `q` lies within the source.
    pub(super) fn meets(&self, axis: usize, q: usize, at: isize) -> bool {
        (0..self.source[axis] as isize).contains(&((q * self.stride[axis]) as isize + at))
    }

    /// Number of `q` positions along each axis: those of the largest phase.
    pub(super) fn positions(&self) -> [usize; 3] {
        [0, 1, 2].map(|axis| self.phases.iter().map(|phase| phase.count[axis]).max().unwrap_or(0))
    }
}

/// Taps `k` along an axis with `(remainder + padding − k · dilation)` divisible by the stride, in source order.
fn backward_taps(g: &ConvGeometry, axis: usize, remainder: usize) -> Vec<(usize, isize)> {
    let (stride, dilation) = (g.stride[axis] as isize, g.dilation[axis] as isize);
    let from = (remainder + g.padding[axis]) as isize;
    let reaches = |k: &usize| (from - *k as isize * dilation).rem_euclid(stride) == 0;
    (0..g.kernel[axis])
        .rev()
        .filter(reaches)
        .map(|k| (k, (from - k as isize * dilation).div_euclid(stride)))
        .collect()
}

fn cross(g: &ConvGeometry, axes: &[Vec<(usize, isize)>; 3]) -> Vec<Tap> {
    let mut taps = Vec::new();
    for &(kz, z) in &axes[0] {
        for &(ky, y) in &axes[1] {
            for &(kx, x) in &axes[2] {
                taps.push(Tap {
                    at: [z, y, x],
                    index: (kz * g.kernel[1] + ky) * g.kernel[2] + kx,
                });
            }
        }
    }
    taps
}

/// A box of positions: so many images, and so many `q` along each axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Block {
    pub(super) image: usize,
    pub(super) images: usize,
    pub(super) first: [usize; 3],
    pub(super) count: [usize; 3],
}

/// How the positions are cut into boxes: a function of shapes alone.
#[derive(Debug, Clone, Copy)]
pub(super) struct Blocks {
    batch: usize,
    positions: [usize; 3],
    /// The size of a box; those at the end may be smaller.
    pub(super) images: usize,
    pub(super) count: [usize; 3],
    along: [usize; 4],
}

impl Blocks {
    /// Boxes of about `target` positions: rows first, then planes, then images.
    pub(super) fn new(batch: usize, positions: [usize; 3], target: usize) -> Self {
        let mut count = [1; 3];
        let mut room = target.max(1);
        for axis in (0..3).rev() {
            // Equal parts rather than full ones and a rest.
            let parts = positions[axis].div_ceil(room).max(1);
            count[axis] = positions[axis].div_ceil(parts).max(1);
            room = if count[axis] >= positions[axis] {
                room / count[axis]
            } else {
                1
            }
            .max(1);
        }
        let images = batch.div_ceil(batch.div_ceil(room).max(1)).max(1);
        let along = [
            batch.div_ceil(images),
            positions[0].div_ceil(count[0]),
            positions[1].div_ceil(count[1]),
            positions[2].div_ceil(count[2]),
        ];
        Self {
            batch,
            positions,
            images,
            count,
            along,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.along.iter().product()
    }

    /// Boxes of the same images.
    pub(super) fn places(&self) -> usize {
        self.along[1..].iter().product()
    }

    /// Which of them a box is.
    pub(super) fn place(&self, index: usize) -> usize {
        index % self.places()
    }

    pub(super) fn get(&self, index: usize) -> Block {
        let [_, z, y, x] = self.along;
        let at = [index / (x * y) % z, index / x % y, index % x];
        let image = index / (x * y * z) * self.images;
        let first = [0, 1, 2].map(|axis| at[axis] * self.count[axis]);
        Block {
            image,
            images: self.images.min(self.batch - image),
            first,
            count: [0, 1, 2].map(|axis| self.count[axis].min(self.positions[axis] - first[axis])),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_cover_every_position_once() {
        for (batch, positions, target) in [
            (3, [1, 5, 7], 10),
            (5, [1, 2, 2], 16),
            (2, [3, 4, 5], 1),
            (1, [1, 1, 100], 30),
        ] {
            let blocks = Blocks::new(batch, positions, target);
            let mut seen = std::collections::HashSet::new();
            for block in (0..blocks.len()).map(|i| blocks.get(i)) {
                assert!(block.count.iter().product::<usize>() * block.images <= target.max(1));
                for n in block.image..block.image + block.images {
                    for z in block.first[0]..block.first[0] + block.count[0] {
                        for y in block.first[1]..block.first[1] + block.count[1] {
                            for x in block.first[2]..block.first[2] + block.count[2] {
                                assert!(seen.insert([n, z, y, x]));
                            }
                        }
                    }
                }
            }
            assert_eq!(seen.len(), batch * positions.iter().product::<usize>());
        }
    }

    #[test]
    fn a_stride_of_two_falls_into_four_dense_phases() {
        let g = ConvGeometry {
            batch: 1,
            input: [1, 8, 8],
            output: [1, 4, 4],
            kernel: [1, 4, 4],
            stride: [1, 2, 2],
            dilation: [1; 3],
            padding: [0, 1, 1],
            in_channels: 1,
            out_channels: 1,
            groups: 1,
        };
        let plan = Plan::backward(&g);
        assert_eq!(plan.phases.len(), 4);
        assert!(
            plan.phases
                .iter()
                .all(|phase| phase.taps.len() == 4 && phase.count == [1, 4, 4])
        );
    }
}
