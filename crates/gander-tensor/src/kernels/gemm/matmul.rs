//! Products of matrices.

use super::{
    After, Segment, Set,
    drive::{Kind, Right, Rows, finish_rows, multiply, panels, part, parts},
    pack::{Shared, Source, ZERO_ROW, copy_row, pack},
};
use crate::{Activation, kernels::Context, ops::matmul::MatmulGeometry};

/// Units in a segment of the reduction; a panel's block holds several.
const SEGMENT_UNITS: usize = 256;

/// A batch of products, `c[i] = act(a[i] · b[i] + bias)`.
pub(crate) fn matmul(
    ctx: &Context,
    g: &MatmulGeometry,
    a: &[f32],
    b: &[f32],
    bias: Option<&[f32]>,
    act: Activation,
    c: &mut [f32],
) {
    assert!(a.len() >= g.left_len() && b.len() >= g.right_len() && c.len() >= g.output_len());
    assert!(bias.is_none_or(|bias| bias.len() >= g.n));
    if g.output_len() == 0 {
        return;
    }
    let set = Set::of(ctx.isa, ctx.precision);
    let units = g.k.div_ceil(set.elements);
    let kind = if g.n <= super::MAX_OUTS && units >= 2 * set.lanes {
        Kind::Dot
    } else {
        Kind::Tile
    };
    let segments: Vec<Segment> = (0..units)
        .step_by(SEGMENT_UNITS)
        .map(|first| Segment {
            offset: first as isize * 4,
            units: SEGMENT_UNITS.min(units - first),
            row: if kind == Kind::Dot { first / set.lanes } else { first },
        })
        .collect();

    let column_stride = if g.transpose_b { g.k } else { 1 };
    let row_stride = if g.transpose_b { 1 } else { g.n };
    let mut all_panels = Vec::new();
    let mut bytes = 0;
    for i in 0..g.batch {
        let place = |_, column| (0, i * g.k * g.n + column * column_stride);
        let (mut one, one_bytes) = panels(set, kind, 1, g.n, place, &segments);
        for panel in &mut one {
            panel.packed += bytes;
        }
        bytes += one_bytes;
        all_panels.append(&mut one);
    }
    let mut rows: Vec<usize> = (0..g.k).map(|k| k * row_stride).collect();
    rows.resize(units * set.elements, ZERO_ROW);
    let source = Source {
        values: b,
        rows: &rows,
        column_stride,
    };
    let packed = pack(ctx, set, kind, &all_panels, bytes, &segments, &source);

    let height = block_rows(units).min(g.m.next_multiple_of(24));
    let blocks = g.m.div_ceil(height);
    let columns_panels = all_panels.len() / g.batch;
    let parts = parts(ctx.threads.threads(), g.batch * blocks, columns_panels);
    let in_place = set.elements == 1 && !g.transpose_a;
    let target = Shared::new(c);
    ctx.threads.for_each(g.batch * blocks * parts, |task| {
        let (i, block, which) = (task / (blocks * parts), task / parts % blocks, task % parts);
        let first = block * height;
        let height = height.min(g.m - first);
        let scratch = (!in_place).then(|| {
            let mut scratch = ctx.pool.take(height * units * 4);
            copy_block(g, set, &a[i * g.m * g.k..], first, height, scratch.bytes_mut());
            scratch
        });
        let a = scratch.as_ref().map_or_else(
            || bytemuck::cast_slice(&a[(i * g.m + first) * g.k..][..height * g.k]).as_ptr(),
            |scratch| scratch.bytes().as_ptr(),
        );
        let a_offsets: Vec<usize> = (0..height).map(|row| row * units * 4).collect();
        let c_offsets: Vec<usize> = (0..height).map(|row| (i * g.m + first + row) * g.n).collect();
        let rows = Rows {
            a,
            a_offsets: &a_offsets,
            c: target.get(),
            c_offsets: &c_offsets,
        };
        let first_panel = i * columns_panels;
        let range = part(columns_panels, parts, which);
        let panels = &all_panels[first_panel..][range];
        let right = Right {
            kind,
            panels,
            packed: packed.bytes().as_ptr(),
            segments: &segments,
        };
        // SAFETY: a block's rows have `units` units each, in place or in the scratch, and every task has its own rows
        // and panels of the result.
        unsafe {
            multiply(set, &rows, &right, After::bias(bias, act));
            finish_rows(ctx.isa, &rows, &right, act);
        }
    });
}

/// Rows of a block: as many as keep their operand in half of a second-level cache.
fn block_rows(units: usize) -> usize {
    ((512 << 10) / (units * 4).max(1)).clamp(24, 192) / 24 * 24
}

/// Copies a block of rows of `a`, transposed and rounded as needed; the odd element at the end becomes zero.
fn copy_block(g: &MatmulGeometry, set: &Set, a: &[f32], first: usize, height: usize, to: &mut [u8]) {
    let units = g.k.div_ceil(set.elements);
    if units == 0 {
        return;
    }
    if !g.transpose_a {
        let element = 4 / set.elements;
        for (row, to) in to.chunks_exact_mut(units * 4).take(height).enumerate() {
            let (to, rest) = to.split_at_mut(g.k * element);
            copy_row(set, &a[(first + row) * g.k..][..g.k], to);
            rest.fill(0);
        }
        return;
    }
    let mut line = vec![0.0; height * 16];
    let to: &mut [u8] = to;
    for k in (0..g.k).step_by(16) {
        let count = 16.min(g.k - k);
        for j in 0..count {
            for (row, &value) in a[(k + j) * g.m + first..][..height].iter().enumerate() {
                line[row * 16 + j] = value;
            }
        }
        for row in 0..height {
            let element = 4 / set.elements;
            let at = row * units * 4 + k * element;
            copy_row(set, &line[row * 16..][..count], &mut to[at..at + count * element]);
        }
    }
    if units * set.elements > g.k {
        for row in 0..height {
            let end = (row + 1) * units * 4;
            to[end - 2..end].fill(0);
        }
    }
}
