//! Max pooling.

use super::{
    Context,
    isa::{Arithmetic, Kernel},
};
use crate::ops::{
    conv::{flat, positions},
    pool::PoolGeometry,
};

/// Values that a task compares.
const PART: usize = 64 * 1024;

/// The flat index of the first largest input under each output's window, where what is not a number is larger still.
pub(crate) fn max_indices(ctx: &Context, g: &PoolGeometry, x: &[f32], indices: &mut [u32]) {
    assert_eq!(
        [x.len(), indices.len()],
        [g.input_len(), g.output_len()],
        "lengths of operand and result"
    );
    assert_eq!([g.in_channels, g.out_channels], [g.groups; 2], "channels");
    let row_len = g.output[2] * g.out_channels;
    let compared = row_len * g.kernel.iter().product::<usize>();
    let per_task = (PART / compared.max(1)).max(1);
    ctx.threads.for_each_part(indices, per_task * row_len, |task, indices| {
        let mut largest = ctx.pool.take(g.out_channels * 4);
        ctx.isa.run(Rows {
            g,
            x,
            first: task * per_task,
            largest: largest.as_mut_slice(),
            indices,
        });
    });
}

/// Some output rows, numbered through images and planes.
struct Rows<'a> {
    g: &'a PoolGeometry,
    x: &'a [f32],
    first: usize,
    /// One value for each channel.
    largest: &'a mut [f32],
    indices: &'a mut [u32],
}

impl Kernel for Rows<'_> {
    type Output = ();

    #[inline(always)]
    fn run<A: Arithmetic>(self) {
        let g = self.g;
        let [planes, height, width] = g.output;
        let channels = g.out_channels;
        for (row, indices) in self.indices.chunks_exact_mut(width * channels).enumerate() {
            let row = self.first + row;
            let (image, z, y) = (row / (planes * height), row / height % planes, row % height);
            for (x, indices) in indices.chunks_exact_mut(channels).enumerate() {
                let output = [z, y, x];
                let mut is_first = true;
                for tap in positions(g.kernel) {
                    // Positions before the input wrap around to one far behind it.
                    let at = [0, 1, 2].map(|axis| {
                        (output[axis] * g.stride[axis] + tap[axis] * g.dilation[axis]).wrapping_sub(g.padding[axis])
                    });
                    if (0..3).any(|axis| at[axis] >= g.input[axis]) {
                        continue;
                    }
                    let start = flat(image, at, g.input) * channels;
                    let values = &self.x[start..][..channels];
                    if is_first {
                        self.largest.copy_from_slice(values);
                        indices
                            .iter_mut()
                            .enumerate()
                            .for_each(|(i, index)| *index = (start + i) as u32);
                        is_first = false;
                    } else {
                        take_larger(values, start as u32, self.largest, indices);
                    }
                }
                if is_first {
                    indices.fill(u32::MAX);
                }
            }
        }
    }
}

/// Puts values that are larger in the place of those that were, and their indices from `start` on.
#[inline(always)]
fn take_larger(values: &[f32], start: u32, largest: &mut [f32], indices: &mut [u32]) {
    for (i, ((&value, largest), index)) in values.iter().zip(largest).zip(indices).enumerate() {
        // Both are written in any case: without branches the loop runs in vectors.
        let wins = value > *largest || (value.is_nan() && !largest.is_nan());
        *largest = if wins { value } else { *largest };
        *index = if wins { start + i as u32 } else { *index };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        kernels::testing::{contexts, values, wide},
        ops::pool::max_indices_reference,
    };

    fn check(batch: usize, input: [usize; 3], [kernel, stride, padding]: [usize; 3], channels: usize) {
        // An axis of one is none.
        let of = |axis: usize, value, none| if input[axis] == 1 { none } else { value };
        let [kernel, stride, padding] =
            [(kernel, 1), (stride, 1), (padding, 0)].map(|(v, none)| [0, 1, 2].map(|a| of(a, v, none)));
        let g = PoolGeometry {
            batch,
            input,
            output: [0, 1, 2].map(|a| (input[a] + 2 * padding[a] - kernel[a]) / stride[a] + 1),
            kernel,
            stride,
            dilation: [1; 3],
            padding,
            in_channels: channels,
            out_channels: channels,
            groups: channels,
        };
        // Few values, so that many tie, and some that are none.
        let round = |(i, v): (usize, f32)| if i % 23 == 5 { f32::NAN } else { (v * 3.0).round() };
        let x: Vec<f32> = values(g.input_len(), 1).into_iter().enumerate().map(round).collect();
        let expected = max_indices_reference(&g, &wide(&x));
        for ctx in contexts().iter().flatten() {
            let mut indices = vec![0; g.output_len()];
            max_indices(ctx, &g, &x, &mut indices);
            assert!(
                indices == expected,
                "{g:?} on {} with {} threads",
                ctx.isa,
                ctx.threads.threads()
            );
        }
    }

    #[test]
    fn the_first_largest_wins_as_in_the_reference() {
        for window in [
            [1, 1, 0],
            [2, 1, 0],
            [2, 2, 1],
            [3, 2, 1],
            [3, 1, 1],
            [4, 3, 2],
            [5, 7, 4],
        ] {
            for (batch, input) in [(2, [1, 1, 9]), (1, [1, 8, 5]), (3, [1, 7, 11]), (2, [5, 6, 4])] {
                for channels in [1, 3, 16, 37] {
                    check(batch, input, window, channels);
                }
            }
        }
        check(0, [1, 4, 4], [2, 2, 0], 3);
        check(2, [1, 35, 41], [3, 2, 0], 64);
    }
}
