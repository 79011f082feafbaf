//! Linear maps along one axis: slices, padding, FIR filters, resizing, pooling by means.

use std::ops::Range;

use super::{
    Context,
    isa::{Arithmetic, Kernel},
    threads::SharedMut,
};
use crate::ops::resample::AxisMap;

/// Values of one task.
const PART: usize = 16 * 1024;
/// Wider positions are cut into strips, so that few of them still occupy all threads.
const STRIP: usize = 4 * PART;

/// What a run of neighboring outputs has in common.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Rule {
    /// No taps.
    Zero,
    /// One tap of weight one each, neighbors in the input too; from this input position on.
    Copy(usize),
    /// A weighted sum, each output by its own taps.
    Taps,
}

/// Outputs from `start` on to the next run.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Run {
    start: usize,
    rule: Rule,
}

/// The rule of one output, alone.
fn rule_of(map: &AxisMap, output: usize) -> Rule {
    let (first_tap, end) = (map.starts[output] as usize, map.starts[output + 1] as usize);
    match end - first_tap {
        0 => Rule::Zero,
        1 if map.weights[first_tap] == 1.0 => Rule::Copy(map.indices[first_tap] as usize),
        _ => Rule::Taps,
    }
}

/// The outputs in runs as long as one rule goes.
fn runs(map: &AxisMap) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for start in 0..map.out_len {
        let rule = rule_of(map, start);
        let goes_on = match (runs.last(), rule) {
            (Some(run), Rule::Zero | Rule::Taps) => run.rule == rule,
            (Some(run), Rule::Copy(source)) => run.rule == Rule::Copy((source + run.start).wrapping_sub(start)),
            _ => false,
        };
        if !goes_on {
            runs.push(Run { start, rule });
        }
    }
    runs
}

/// `y = map(x)`, where `x` is `[outer, in_len, inner]` and `y` is `[outer, out_len, inner]`.
pub(crate) fn axis_map(ctx: &Context, map: &AxisMap, x: &[f32], outer: usize, inner: usize, y: &mut [f32]) {
    assert_eq!(x.len(), outer * map.in_len * inner, "length of the operand");
    assert_eq!(y.len(), outer * map.out_len * inner, "length of the result");
    if y.is_empty() {
        return;
    }
    let runs = runs(map);
    let (len, rows) = (y.len(), outer * map.out_len);
    let strip = if inner < 2 * STRIP { inner } else { STRIP };
    let strips = inner.div_ceil(strip);
    let per_task = (PART / strip).max(1);
    let y = SharedMut::new(y);
    ctx.threads
        .for_each_sized(len, rows.div_ceil(per_task) * strips, |task| {
            let columns = task % strips * strip..inner.min((task % strips + 1) * strip);
            let first = task / strips * per_task;
            let positions = first..rows.min(first + per_task);
            ctx.isa.run(Rows {
                map,
                runs: &runs,
                x,
                inner,
                columns,
                positions,
                y,
            });
        });
}

/// Some output positions, numbered through `outer`, and some of their columns.
struct Rows<'a> {
    map: &'a AxisMap,
    runs: &'a [Run],
    x: &'a [f32],
    inner: usize,
    columns: Range<usize>,
    positions: Range<usize>,
    y: SharedMut<'a, f32>,
}

impl Kernel for Rows<'_> {
    type Output = ();

    #[inline(always)]
    fn run<A: Arithmetic>(self) {
        let (map, runs, inner, columns) = (self.map, self.runs, self.inner, &self.columns);
        let mut row = self.positions.start;
        let mut run = runs.partition_point(|run| run.start <= row % map.out_len) - 1;
        while row < self.positions.end {
            let (outer, output) = (row / map.out_len, row % map.out_len);
            let x = &self.x[outer * map.in_len * inner..][..map.in_len * inner];
            let run_end = runs.get(run + 1).map_or(map.out_len, |next| next.start);
            let count = (run_end - output).min(self.positions.end - row);
            let result = |at: usize, rows: usize| {
                let start = (row + at) * inner;
                // Whole rows follow each other; strips come one row at a time.
                let range = start + columns.start..start + (rows - 1) * inner + columns.end;
                // SAFETY: each task has its own rows or its own columns in them.
                unsafe { self.y.slice(range) }
            };
            let whole = columns.len() == inner;
            match runs[run].rule {
                Rule::Zero if whole => result(0, count).fill(0.0),
                Rule::Zero => (0..count).for_each(|at| result(at, 1).fill(0.0)),
                Rule::Copy(source) => {
                    let source = source + output - runs[run].start;
                    if whole {
                        result(0, count).copy_from_slice(&x[source * inner..][..count * inner]);
                    } else {
                        for at in 0..count {
                            result(at, 1).copy_from_slice(&x[(source + at) * inner..][columns.clone()]);
                        }
                    }
                }
                Rule::Taps => {
                    for at in 0..count {
                        let taps = map.starts[output + at] as usize..map.starts[output + at + 1] as usize;
                        let (indices, weights) = (&map.indices[taps.clone()], &map.weights[taps]);
                        weighted_sum::<A>(x, inner, columns, indices, weights, result(at, 1));
                    }
                }
            }
            row += count;
            run = if run + 1 == runs.len() { 0 } else { run + 1 };
        }
    }
}

/// `y = Σ weights[j] · x[indices[j]]`, fused in the order of the taps, whatever their grouping.
#[inline(always)]
fn weighted_sum<A: Arithmetic>(
    x: &[f32],
    inner: usize,
    columns: &Range<usize>,
    indices: &[u32],
    weights: &[f32],
    y: &mut [f32],
) {
    let row = |tap: usize| &x[indices[tap] as usize * inner..][columns.clone()];
    match *weights {
        [a] => y.iter_mut().zip(row(0)).for_each(|(y, &p)| *y = a * p),
        [a, b] => {
            for ((y, &p), &q) in y.iter_mut().zip(row(0)).zip(row(1)) {
                *y = A::mul_add(b, q, a * p);
            }
        }
        [a, b, c, d, ..] => {
            let values = row(0).iter().zip(row(1)).zip(row(2).iter().zip(row(3)));
            for (y, ((&p, &q), (&r, &s))) in y.iter_mut().zip(values) {
                *y = A::mul_add(d, s, A::mul_add(c, r, A::mul_add(b, q, a * p)));
            }
            add_taps::<A>(4, row, weights, y);
        }
        [a, ..] => {
            y.iter_mut().zip(row(0)).for_each(|(y, &p)| *y = a * p);
            add_taps::<A>(1, row, weights, y);
        }
        [] => y.fill(0.0),
    }
}

#[inline(always)]
fn add_taps<'x, A: Arithmetic>(from: usize, row: impl Fn(usize) -> &'x [f32], weights: &[f32], y: &mut [f32]) {
    for (tap, &weight) in weights.iter().enumerate().skip(from) {
        y.iter_mut()
            .zip(row(tap))
            .for_each(|(y, &p)| *y = A::mul_add(weight, p, *y));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        kernels::testing::{assert_close, on_every_isa, values, wide},
        ops::resample::reference,
    };

    fn maps() -> Vec<AxisMap> {
        vec![
            AxisMap::window(9, 2, 7),
            AxisMap::window(9, -3, 12),
            AxisMap::window(5, 5, 5),
            AxisMap::reflect(9, 3, 4),
            AxisMap::flip(7),
            AxisMap::nearest(6, 12),
            AxisMap::nearest(7, 5),
            AxisMap::bilinear(6, 13),
            AxisMap::bilinear(13, 6),
            AxisMap::area(13, 4),
            AxisMap::area(64, 2),
            AxisMap::average_pool(9, 3, 2, 1),
            AxisMap::up_fir_down(8, &[0.25, 0.75, 0.75, 0.25], 2, 1, 2, 16),
            AxisMap::up_fir_down(8, &[0.125, 0.375, 0.375, 0.125], 1, 2, 1, 4),
            AxisMap::up_fir_down(5, &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0], 1, 1, 3, 5),
        ]
    }

    fn check(map: &AxisMap, outer: usize, inner: usize) {
        for map in [map.clone(), map.transposed()] {
            let x = values(outer * map.in_len * inner, 1);
            let exact = reference(&map, &wide(&x), outer, inner);
            for (isa, y) in on_every_isa(exact.len(), |ctx, y| axis_map(ctx, &map, &x, outer, inner, y)) {
                let what = format!("{} to {}, {outer} by {inner}, on {isa}", map.in_len, map.out_len);
                assert_close(&y, &exact, (1e-6, 4.0), &what);
            }
        }
    }

    #[test]
    fn every_map_and_its_transpose_agree_with_the_reference() {
        for map in maps() {
            for (outer, inner) in [(1, 1), (3, 1), (2, 3), (5, 16), (2, 17), (0, 4), (40, 300), (900, 5)] {
                check(&map, outer, inner);
            }
        }
    }

    #[test]
    fn wide_positions_are_cut_into_strips() {
        for map in [AxisMap::window(5, -1, 4), AxisMap::bilinear(3, 5)] {
            check(&map, 2, 2 * STRIP + 77);
        }
    }

    #[test]
    fn moves_keep_every_bit() {
        let x: Vec<f32> = (0..9 * 20).map(|i| f32::from_bits(0x7fc0_0000 + i)).collect();
        let map = AxisMap::window(9, 1, 8);
        for (_, y) in on_every_isa(7 * 20, |ctx, y| axis_map(ctx, &map, &x, 1, 20, y)) {
            assert!(y.iter().zip(&x[20..]).all(|(y, x)| y.to_bits() == x.to_bits()));
        }
    }

    #[test]
    fn neighbors_that_are_copied_or_zero_form_runs() {
        assert_eq!(runs(&AxisMap::window(9, -3, 12)).len(), 3);
        assert_eq!(
            runs(&AxisMap::window(9, 2, 7)),
            [Run {
                start: 0,
                rule: Rule::Copy(2)
            }]
        );
        assert_eq!(runs(&AxisMap::flip(7)).len(), 7);
    }
}
