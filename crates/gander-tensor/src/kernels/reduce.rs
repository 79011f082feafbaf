//! Sums and maxima over axes, in an order that depends on the shape alone.

use std::marker::PhantomData;

use super::{
    Context,
    isa::{Arithmetic, Kernel},
    threads::SharedMut,
};
use crate::ops::reduce::ReduceOp;

/// Accumulators side by side: several vectors of the widest kind, so that sums do not wait for each other.
const LANES: usize = 64;
/// Rows that are taken together as one sum before they meet an accumulator.
const ROWS_AT_ONCE: usize = 4;
/// Values of one block; partial results of blocks are reduced again in the same way, so that errors grow with
/// the logarithm of the length.
const BLOCK: usize = 8 * 1024;
/// Rows of one block at least, which bounds the memory for partial results.
const BLOCK_ROWS: usize = 64;
/// Widest row that one block takes; wider ones are cut into strips.
const STRIP: usize = 1024;
/// Values of one task.
const PART: usize = 32 * 1024;

/// How two values are combined; `START` changes no value.
trait Combine {
    const START: f32;
    fn combine(a: f32, b: f32) -> f32;
}

struct Sum;

struct Max;

impl Combine for Sum {
    const START: f32 = 0.0;
    #[inline(always)]
    fn combine(a: f32, b: f32) -> f32 {
        a + b
    }
}

impl Combine for Max {
    const START: f32 = f32::NEG_INFINITY;
    #[inline(always)]
    fn combine(a: f32, b: f32) -> f32 {
        // NaN on either side goes through.
        if a > b || a.is_nan() { a } else { b }
    }
}

/// Combines rows of `width` contiguous values, `stride` apart, into `acc`.
#[inline(always)]
fn accumulate<C: Combine>(x: &[f32], rows: usize, stride: usize, acc: &mut [f32]) {
    let width = acc.len();
    let row = |r: usize| &x[r * stride..][..width];
    let mut r = 0;
    while r + ROWS_AT_ONCE <= rows {
        let quads = row(r).iter().zip(row(r + 1)).zip(row(r + 2).iter().zip(row(r + 3)));
        for (acc, ((&a, &b), (&c, &d))) in acc.iter_mut().zip(quads) {
            *acc = C::combine(*acc, C::combine(C::combine(a, b), C::combine(c, d)));
        }
        r += ROWS_AT_ONCE;
    }
    for r in r..rows {
        acc.iter_mut()
            .zip(row(r))
            .for_each(|(acc, &v)| *acc = C::combine(*acc, v));
    }
}

/// Reduces values that follow each other to one.
#[inline(always)]
fn line<C: Combine>(x: &[f32]) -> f32 {
    if x.len() < LANES {
        return x.iter().fold(C::START, |acc, &v| C::combine(acc, v));
    }
    let mut lanes = [C::START; LANES];
    let mut quads = x.chunks_exact(ROWS_AT_ONCE * LANES);
    for quad in &mut quads {
        for (i, lane) in lanes.iter_mut().enumerate() {
            let pairs = (
                C::combine(quad[i], quad[i + LANES]),
                C::combine(quad[i + 2 * LANES], quad[i + 3 * LANES]),
            );
            *lane = C::combine(*lane, C::combine(pairs.0, pairs.1));
        }
    }
    let mut rows = quads.remainder().chunks_exact(LANES);
    for row in &mut rows {
        lanes
            .iter_mut()
            .zip(row)
            .for_each(|(lane, &v)| *lane = C::combine(*lane, v));
    }
    lanes
        .iter_mut()
        .zip(rows.remainder())
        .for_each(|(lane, &v)| *lane = C::combine(*lane, v));
    // By halves, each of a fixed length, so that they stay in registers.
    let halve = |lanes: &mut [f32; LANES], half: usize| {
        for i in 0..half {
            lanes[i] = C::combine(lanes[i], lanes[i + half]);
        }
    };
    halve(&mut lanes, 32);
    halve(&mut lanes, 16);
    halve(&mut lanes, 8);
    halve(&mut lanes, 4);
    halve(&mut lanes, 2);
    C::combine(lanes[0], lanes[1])
}

/// Reduces a block of `rows` rows to one.
#[inline(always)]
fn block<C: Combine>(x: &[f32], rows: usize, stride: usize, y: &mut [f32]) {
    let width = y.len();
    if width == 1 && stride == 1 {
        y[0] = line::<C>(&x[..rows]);
        return;
    }
    if width >= LANES || stride != width || rows * width < LANES {
        y.fill(C::START);
        accumulate::<C>(x, rows, stride, y);
        return;
    }
    // Short rows that follow each other are seen as fewer, longer ones, whose parts are combined at the end.
    let folded = LANES.div_ceil(width);
    let mut lanes = [C::START; 2 * LANES];
    let lanes = &mut lanes[..folded * width];
    let long_rows = rows / folded;
    accumulate::<C>(x, long_rows, lanes.len(), lanes);
    let rest = &x[long_rows * lanes.len()..rows * width];
    lanes
        .iter_mut()
        .zip(rest)
        .for_each(|(lane, &v)| *lane = C::combine(*lane, v));
    // By halves, the later half onto the earlier.
    let mut count = folded;
    while count > 1 {
        let half = count.div_ceil(2);
        let (first, second) = lanes.split_at_mut(half * width);
        first
            .iter_mut()
            .zip(&second[..(count - half) * width])
            .for_each(|(a, &b)| *a = C::combine(*a, b));
        count = half;
    }
    y.copy_from_slice(&lanes[..width]);
}

/// `x` seen as `[outer, rows, inner]`, cut into blocks of rows and strips of columns.
#[derive(Clone, Copy)]
struct Cut {
    outer: usize,
    rows: usize,
    inner: usize,
    block_rows: usize,
    blocks: usize,
    strip: usize,
    strips: usize,
}

impl Cut {
    fn new(outer: usize, rows: usize, inner: usize) -> Self {
        let strip = if inner < 2 * STRIP { inner } else { STRIP };
        let block_rows = (BLOCK / strip)
            .max(BLOCK_ROWS)
            .next_multiple_of(LANES.div_ceil(strip) * ROWS_AT_ONCE);
        // A little more than a block is no reason for two.
        let blocks = if rows < 2 * block_rows {
            1
        } else {
            rows.div_ceil(block_rows)
        };
        let block_rows = if blocks == 1 { rows } else { block_rows };
        Self {
            outer,
            rows,
            inner,
            block_rows,
            blocks,
            strip,
            strips: inner.div_ceil(strip),
        }
    }

    fn units(&self) -> usize {
        self.outer * self.blocks * self.strips
    }
}

/// Some of the blocks, numbered through outer position, block and strip.
struct Blocks<'a, C> {
    cut: Cut,
    units: std::ops::Range<usize>,
    x: &'a [f32],
    /// `[outer, blocks, inner]`
    y: SharedMut<'a, f32>,
    combine: PhantomData<C>,
}

impl<C: Combine> Kernel for Blocks<'_, C> {
    type Output = ();

    #[inline(always)]
    fn run<A: Arithmetic>(self) {
        let Cut {
            rows,
            inner,
            block_rows,
            blocks,
            strip,
            strips,
            ..
        } = self.cut;
        if inner == 1 && blocks == 1 {
            // SAFETY: each unit has its own result.
            let y = unsafe { self.y.slice(self.units.clone()) };
            let x = &self.x[self.units.start * rows..self.units.end * rows];
            y.iter_mut()
                .zip(x.chunks_exact(rows))
                .for_each(|(y, x)| *y = line::<C>(x));
            return;
        }
        for unit in self.units {
            let (column, of_blocks) = (unit % strips * strip, unit / strips);
            let (first, outer) = (of_blocks % blocks * block_rows, of_blocks / blocks);
            let (height, width) = (block_rows.min(rows - first), strip.min(inner - column));
            let start = of_blocks * inner + column;
            // SAFETY: each unit has its own row of results and its own columns in it.
            let y = unsafe { self.y.slice(start..start + width) };
            block::<C>(&self.x[(outer * rows + first) * inner + column..], height, inner, y);
        }
    }
}

/// `x` seen as `[outer, rows, inner]`, reduced over its rows.
fn over_rows<C: Combine>(ctx: &Context, x: &[f32], (outer, rows, inner): (usize, usize, usize), y: &mut [f32]) {
    if y.is_empty() {
        return;
    }
    if rows == 0 {
        y.fill(C::START);
        return;
    }
    let cut = Cut::new(outer, rows, inner);
    if cut.blocks == 1 {
        run_blocks::<C>(ctx, cut, x, y);
        return;
    }
    let mut buffer = ctx.pool.take(4 * outer * cut.blocks * inner);
    let partial = buffer.as_mut_slice::<f32>();
    run_blocks::<C>(ctx, cut, x, partial);
    over_rows::<C>(ctx, partial, (outer, cut.blocks, inner), y);
}

fn run_blocks<C: Combine>(ctx: &Context, cut: Cut, x: &[f32], y: &mut [f32]) {
    let per_task = (PART / (cut.block_rows * cut.strip)).max(1);
    let y = SharedMut::new(y);
    ctx.threads
        .for_each_sized(x.len(), cut.units().div_ceil(per_task), |task| {
            let units = task * per_task..cut.units().min((task + 1) * per_task);
            ctx.isa.run(Blocks {
                cut,
                units,
                x,
                y,
                combine: PhantomData::<C>,
            });
        });
}

/// Neighboring axes that are both reduced or both kept, as one; `true` is reduced. Sides of one vanish.
fn merged(shape: &[usize], axes: &[bool]) -> Vec<(usize, bool)> {
    let mut merged: Vec<(usize, bool)> = Vec::with_capacity(shape.len());
    for (&side, &reduced) in shape.iter().zip(axes).filter(|&(&side, _)| side != 1) {
        match merged.last_mut() {
            Some((size, same)) if *same == reduced => *size *= side,
            _ => merged.push((side, reduced)),
        }
    }
    merged
}

fn over_axes<C: Combine>(ctx: &Context, x: &[f32], dims: &[(usize, bool)], y: &mut [f32]) {
    let product = |dims: &[(usize, bool)]| dims.iter().map(|&(size, _)| size).product::<usize>();
    let Some(last) = dims.iter().rposition(|&(_, reduced)| reduced) else {
        y.copy_from_slice(x);
        return;
    };
    let (outer, rows, inner) = (product(&dims[..last]), dims[last].0, product(&dims[last + 1..]));
    if dims[..last].iter().all(|&(_, reduced)| !reduced) {
        over_rows::<C>(ctx, x, (outer, rows, inner), y);
        return;
    }
    // The last of several groups of axes first, then the others from what it leaves.
    let mut buffer = ctx.pool.take(4 * outer * inner);
    let partial = buffer.as_mut_slice::<f32>();
    over_rows::<C>(ctx, x, (outer, rows, inner), partial);
    let mut rest = dims.to_vec();
    rest.remove(last);
    over_axes::<C>(ctx, partial, &rest, y);
}

/// Combines `x` over the axes marked in `axes`; `y` has the sides of the others.
///
/// A result depends on the values behind it and their number: the sum of a sample is the same in any batch.
pub(crate) fn reduce(ctx: &Context, op: ReduceOp, x: &[f32], shape: &[usize], axes: &[bool], y: &mut [f32]) {
    assert_eq!(x.len(), shape.iter().product::<usize>(), "length of the operand");
    let dims = merged(shape, axes);
    match op {
        ReduceOp::Sum => over_axes::<Sum>(ctx, x, &dims, y),
        ReduceOp::Max => over_axes::<Max>(ctx, x, &dims, y),
    }
}

struct AllFinite<'a>(&'a [f32]);

impl Kernel for AllFinite<'_> {
    type Output = bool;

    #[inline(always)]
    fn run<A: Arithmetic>(self) -> bool {
        // The exponent of infinity and NaN is all ones.
        const EXPONENT: u32 = 0x7f80_0000;
        self.0.iter().map(|v| v.to_bits() & EXPONENT).fold(0, u32::max) < EXPONENT
    }
}

/// Whether no value is infinite or NaN.
pub(crate) fn all_finite(ctx: &Context, x: &[f32]) -> bool {
    use std::sync::atomic::{AtomicBool, Ordering};
    let finite = AtomicBool::new(true);
    ctx.threads.for_each_sized(x.len(), x.len().div_ceil(PART), |task| {
        let part = &x[task * PART..x.len().min((task + 1) * PART)];
        if finite.load(Ordering::Relaxed) && !ctx.isa.run(AllFinite(part)) {
            finite.store(false, Ordering::Relaxed);
        }
    });
    finite.into_inner()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        kernels::testing::{SIZES, assert_close, contexts, on_every_isa, values, wide},
        ops::reduce::reference,
    };

    fn check(shape: &[usize], axes: &[bool]) {
        let len: usize = shape.iter().product();
        let kept: usize = shape
            .iter()
            .zip(axes)
            .map(|(&side, &reduced)| if reduced { 1 } else { side })
            .product();
        let x = values(len, len as u64 + 1);
        for op in [ReduceOp::Sum, ReduceOp::Max] {
            let exact = reference(op, &wide(&x), shape, axes);
            // Values up to one, so that the scale of a sum's error is the root of their number.
            let floor = (len as f64 / kept.max(1) as f64).sqrt().max(1.0);
            for (isa, y) in on_every_isa(kept, |ctx, y| reduce(ctx, op, &x, shape, axes, y)) {
                assert_close(
                    &y,
                    &exact,
                    (4e-7, floor),
                    &format!("{op:?} of {shape:?} over {axes:?} on {isa}"),
                );
            }
        }
    }

    #[test]
    fn full_and_trailing_and_leading_axes() {
        for len in SIZES {
            check(&[len], &[true]);
            check(&[3, len], &[false, true]);
            for channels in [1, 2, 3, 16, 63, 64, 100] {
                check(&[len / channels, channels], &[true, false]);
            }
        }
        check(&[2, 40_000, 3], &[false, true, false]);
        check(&[130, 3000], &[true, false]);
        check(&[3, 70, 2049], &[false, true, false]);
        check(&[20_000, 3], &[false, true]);
    }

    #[test]
    fn any_axes() {
        for bits in 0..32 {
            let axes: Vec<bool> = (0..5).map(|axis| bits >> axis & 1 == 1).collect();
            check(&[3, 5, 1, 7, 4], &axes);
            check(&[2, 17, 3, 11, 67], &axes);
            check(&[2, 0, 3, 1, 2], &axes);
        }
        check(&[], &[]);
    }

    #[test]
    fn a_long_sum_stays_exact() {
        let x = vec![0.1f32; 10_000_000];
        for [ctx, ..] in contexts() {
            let mut y = [0.0];
            reduce(&ctx, ReduceOp::Sum, &x, &[x.len()], &[true], &mut y);
            let exact = f64::from(0.1f32) * x.len() as f64;
            assert!((f64::from(y[0]) / exact - 1.0).abs() < 1e-6, "{}: {}", ctx.isa, y[0]);
        }
    }

    #[test]
    fn the_sum_of_a_sample_is_the_same_in_any_batch() {
        for (pixels, channels) in [(9, 5), (4096, 3), (50_000, 1), (100, 512)] {
            let x = values(5 * pixels * channels, 3);
            for axes in [[false, true, true], [false, true, false]] {
                for [ctx, ..] in contexts() {
                    let each = if axes[2] { 1 } else { channels };
                    let mut batch = vec![0.0; 5 * each];
                    reduce(&ctx, ReduceOp::Sum, &x, &[5, pixels, channels], &axes, &mut batch);
                    for (sample, expected) in x.chunks(pixels * channels).zip(batch.chunks(each)) {
                        let mut alone = vec![0.0; each];
                        reduce(&ctx, ReduceOp::Sum, sample, &[1, pixels, channels], &axes, &mut alone);
                        assert_eq!(alone, expected);
                    }
                }
            }
        }
    }

    #[test]
    fn the_largest_of_numbers_and_nan_is_nan() {
        for at in [0, 5, 99] {
            let mut x = values(100, 1);
            x[at] = f32::NAN;
            for (isa, y) in on_every_isa(1, |ctx, y| reduce(ctx, ReduceOp::Max, &x, &[100], &[true], y)) {
                assert!(y[0].is_nan(), "{isa}");
            }
        }
    }

    #[test]
    fn a_single_value_that_is_not_finite_is_found() {
        for ctx in contexts().into_iter().flatten() {
            for len in SIZES {
                let mut x = values(len, 4);
                assert!(all_finite(&ctx, &x));
                for (at, bad) in [
                    (0, f32::NAN),
                    (len / 2, f32::INFINITY),
                    (len.saturating_sub(1), f32::NEG_INFINITY),
                ] {
                    if len > 0 {
                        let kept = std::mem::replace(&mut x[at], bad);
                        assert!(!all_finite(&ctx, &x), "{} {len} {at}", ctx.isa);
                        x[at] = kept;
                    }
                }
            }
        }
    }
}
