//! Kernels that move values: axes in another order, rows picked and added up.

use std::ops::Range;

use super::{
    Context,
    isa::{Arithmetic, Kernel},
    threads::SharedMut,
};

/// Side of the square tiles that are transposed at once: 4 KiB from and 4 KiB to, within the first-level cache.
const TILE: usize = 32;
/// Values of one task.
const PART: usize = 16 * 1024;
/// Row ranges into which a table is cut while rows are added to it.
const TABLE_PARTS: usize = 16;

/// An axis of the result: its side, and the steps between neighbors in the source and in the result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Axis {
    side: usize,
    source: usize,
    result: usize,
}

/// The axes of the result, those that stay neighbors as one; sides of one vanish.
fn axes(shape: &[usize], order: &[usize]) -> Vec<Axis> {
    let stride = |axis: usize| shape[axis + 1..].iter().product::<usize>();
    let mut axes: Vec<Axis> = Vec::with_capacity(order.len());
    for &axis in order.iter().filter(|&&axis| shape[axis] != 1) {
        let (side, source) = (shape[axis], stride(axis));
        match axes.last_mut() {
            Some(outer) if outer.source == side * source => (outer.side, outer.source) = (outer.side * side, source),
            _ => axes.push(Axis {
                side,
                source,
                result: 0,
            }),
        }
    }
    let mut step = 1;
    for axis in axes.iter_mut().rev() {
        axis.result = step;
        step *= axis.side;
    }
    axes
}

/// Where a position, numbered through `axes`, lies in source and result.
fn starts(axes: &[Axis], mut number: usize) -> (usize, usize) {
    let (mut source, mut result) = (0, 0);
    for axis in axes.iter().rev() {
        source += number % axis.side * axis.source;
        result += number % axis.side * axis.result;
        number /= axis.side;
    }
    (source, result)
}

/// Axes in another order: axis `i` of `y` is axis `order[i]` of `x`.
pub(crate) fn permute(ctx: &Context, x: &[f32], shape: &[usize], order: &[usize], y: &mut [f32]) {
    assert_eq!(
        (x.len(), shape.len()),
        (y.len(), order.len()),
        "lengths of operand and result"
    );
    if y.is_empty() {
        return;
    }
    let mut axes = axes(shape, order);
    let Some(last) = axes.pop() else {
        y.copy_from_slice(x);
        return;
    };
    if last.source == 1 {
        copy_rows(ctx, x, &axes, last.side, y);
        return;
    }
    // Another axis is the source's last; tiles run along both.
    let Some(along) = axes.iter().position(|axis| axis.source == 1) else {
        return;
    };
    let along = axes.remove(along);
    transpose(ctx, x, &axes, (along, last), y);
}

/// Contiguous rows in another order.
fn copy_rows(ctx: &Context, x: &[f32], outer: &[Axis], row_len: usize, y: &mut [f32]) {
    let per_task = (PART / row_len).max(1);
    ctx.threads.for_each_part(y, per_task * row_len, |task, y| {
        for (row, y) in y.chunks_exact_mut(row_len).enumerate() {
            let (source, _) = starts(outer, task * per_task + row);
            y.copy_from_slice(&x[source..source + row_len]);
        }
    });
}

/// A transposition of `along` (contiguous in the source) and `last` (contiguous in the result) at each place of `outer`.
fn transpose(ctx: &Context, x: &[f32], outer: &[Axis], (along, last): (Axis, Axis), y: &mut [f32]) {
    let len = y.len();
    // A task is a strip of the result's rows, long enough to be worth a claim.
    let strip = (PART / last.side).max(1).next_multiple_of(TILE).min(along.side);
    let (strips, places) = (along.side.div_ceil(strip), len / (along.side * last.side));
    let per_task = (PART / (strip * last.side)).max(1);
    let y = SharedMut::new(y);
    ctx.threads
        .for_each_sized(len, (strips * places).div_ceil(per_task), |task| {
            for unit in task * per_task..(strips * places).min((task + 1) * per_task) {
                let rows = unit % strips * strip..along.side.min((unit % strips + 1) * strip);
                let (source, result) = starts(outer, unit / strips);
                ctx.isa.run(Transpose {
                    x: &x[source..],
                    y,
                    result,
                    rows,
                    along,
                    last,
                });
            }
        });
}

struct Transpose<'a> {
    x: &'a [f32],
    y: SharedMut<'a, f32>,
    result: usize,
    rows: Range<usize>,
    along: Axis,
    last: Axis,
}

impl Kernel for Transpose<'_> {
    type Output = ();

    #[inline(always)]
    fn run<A: Arithmetic>(self) {
        let Self {
            x,
            y,
            result,
            rows,
            along,
            last,
        } = self;
        let mut tile = [[0.0; TILE]; TILE];
        for column in (0..last.side).step_by(TILE) {
            let width = TILE.min(last.side - column);
            for row in rows.clone().step_by(TILE) {
                let height = TILE.min(rows.end - row);
                for (j, tile) in tile[..width].iter_mut().enumerate() {
                    let source = &x[(column + j) * last.source + row..][..height];
                    tile[..height].copy_from_slice(source);
                }
                for i in 0..height {
                    let start = result + (row + i) * along.result + column;
                    // SAFETY: each task has its own places and rows of the result.
                    let y = unsafe { y.slice(start..start + width) };
                    if let Ok(y) = <&mut [f32; TILE]>::try_from(&mut *y) {
                        // Of fixed length, for the compiler to unroll.
                        *y = std::array::from_fn(|j| tile[j][i]);
                    } else {
                        y.iter_mut().zip(&tile).for_each(|(y, tile)| *y = tile[i]);
                    }
                }
            }
        }
    }
}

/// Rows of `table` in the order of `indices`, each below the number of rows.
pub(crate) fn gather_rows(ctx: &Context, table: &[f32], row_len: usize, indices: &[u32], out: &mut [f32]) {
    assert_eq!(out.len(), indices.len() * row_len, "length of the result");
    let per_task = (PART / row_len.max(1)).max(1);
    ctx.threads.for_each_part(out, per_task * row_len, |task, out| {
        for (out, &index) in out.chunks_exact_mut(row_len).zip(&indices[task * per_task..]) {
            out.copy_from_slice(&table[index as usize * row_len..][..row_len]);
        }
    });
}

/// The transpose of [`gather_rows`]: `out` is set to zero, and each row of `values` added where its index says, in
/// the order of the indices.
pub(crate) fn scatter_add_rows(ctx: &Context, values: &[f32], row_len: usize, indices: &[u32], out: &mut [f32]) {
    assert_eq!(values.len(), indices.len() * row_len, "length of the operand");
    if out.is_empty() {
        return;
    }
    let rows_per_part = (out.len() / row_len).div_ceil(TABLE_PARTS);
    ctx.threads.for_each_part(out, rows_per_part * row_len, |part, out| {
        out.fill(0.0);
        let rows = part * rows_per_part..part * rows_per_part + out.len() / row_len;
        for (values, index) in values
            .chunks_exact(row_len)
            .zip(indices.iter().map(|&index| index as usize))
        {
            if rows.contains(&index) {
                let out = &mut out[(index - rows.start) * row_len..][..row_len];
                out.iter_mut().zip(values).for_each(|(out, &value)| *out += value);
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        kernels::testing::{assert_close, on_every_isa, values},
        ops::layout::permute_reference,
    };

    fn check(shape: &[usize], order: &[usize]) {
        let x = values(shape.iter().product(), 1);
        let expected = permute_reference(&x, shape, order);
        for (isa, y) in on_every_isa(x.len(), |ctx, y| permute(ctx, &x, shape, order, y)) {
            assert_eq!(y, expected, "{shape:?} as {order:?} on {isa}");
        }
    }

    #[test]
    fn every_order_of_four_axes() {
        for code in 0..256usize {
            let order: Vec<usize> = (0..4).map(|i| code >> (2 * i) & 3).collect();
            if (0..4).all(|axis| order.contains(&axis)) {
                check(&[3, 5, 2, 7], &order);
                check(&[2, 33, 1, 40], &order);
                check(&[17, 4, 35, 31], &order);
                check(&[3, 0, 2, 4], &order);
            }
        }
    }

    #[test]
    fn shapes_of_every_day() {
        check(&[], &[]);
        check(&[5], &[0]);
        check(&[1000, 1027], &[1, 0]);
        check(&[2, 3, 64, 65], &[0, 2, 3, 1]);
        check(&[2, 64, 65, 3], &[0, 3, 1, 2]);
        check(&[4, 4, 130, 70], &[3, 2, 0, 1]);
        check(&[2, 3, 4, 5, 6], &[4, 2, 0, 3, 1]);
    }

    #[test]
    fn rows_are_gathered_and_added_back() {
        for (rows, row_len, count) in [(1, 1, 0), (3, 5, 7), (10, 33, 1200), (1000, 128, 600), (4, 0, 3)] {
            let table = values(rows * row_len, 1);
            let indices: Vec<u32> = (0..count).map(|i| (i * i * 7 % rows) as u32).collect();
            let expected: Vec<f32> = indices
                .iter()
                .flat_map(|&i| table[i as usize * row_len..][..row_len].to_vec())
                .collect();
            for (isa, y) in on_every_isa(expected.len(), |ctx, y| gather_rows(ctx, &table, row_len, &indices, y)) {
                assert_eq!(y, expected, "{isa}");
            }
            let mut exact = vec![0.0; table.len()];
            for (row, &index) in indices.iter().enumerate() {
                for c in 0..row_len {
                    exact[index as usize * row_len + c] += f64::from(expected[row * row_len + c]);
                }
            }
            let results = on_every_isa(table.len(), |ctx, y| {
                scatter_add_rows(ctx, &expected, row_len, &indices, y);
            });
            for (isa, y) in results {
                assert_close(&y, &exact, (1e-5, 1.0), &format!("{rows} rows on {isa}"));
            }
        }
    }
}
