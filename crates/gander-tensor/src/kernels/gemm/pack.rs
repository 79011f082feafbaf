//! Brings operands into the order in which the innermost loops read them.

use super::{
    Segment, Set,
    drive::{Kind, Panel, packed_bytes, part},
};
use crate::kernels::{Context, memory::Buffer};

/// A row of the right operand that is not there: zeros.
pub(crate) const ZERO_ROW: usize = usize::MAX;

/// The right operand as it comes: element `(row, column)` of a panel at `rows[row] + panel.source + column · stride`.
pub(crate) struct Source<'a> {
    pub(crate) values: &'a [f32],
    /// For each element of each segment, where its row starts, or [`ZERO_ROW`].
    pub(crate) rows: &'a [usize],
    pub(crate) column_stride: usize,
}

/// A raw pointer that tasks on other threads may write through, each in its own part.
#[derive(Clone, Copy)]
pub(crate) struct Shared<T>(*mut T);

// SAFETY: a pointer is only an address; whoever writes through it says why nobody else touches the place.
unsafe impl<T> Send for Shared<T> {}
// SAFETY: as above.
unsafe impl<T> Sync for Shared<T> {}

impl<T> Shared<T> {
    pub(crate) fn new(slice: &mut [T]) -> Self {
        Self(slice.as_mut_ptr())
    }

    pub(crate) fn get(self) -> *mut T {
        self.0
    }
}

/// Packs every panel, on all threads.
pub(crate) fn pack(
    ctx: &Context,
    set: &Set,
    kind: Kind,
    panels: &[Panel],
    bytes: usize,
    segments: &[Segment],
    source: &Source<'_>,
) -> Buffer {
    const ROWS_A_TASK: usize = 512;
    let mut buffer = ctx.pool.take(bytes.max(1));
    let target = Shared::new(buffer.as_mut_slice::<u32>());
    let units = source.rows.len() / set.elements;
    let chunks = if kind == Kind::Dot {
        1
    } else {
        units.div_ceil(ROWS_A_TASK).max(1)
    };
    ctx.threads.for_each(panels.len() * chunks, |task| {
        let panel = &panels[task / chunks];
        let range = part(units, chunks, task % chunks);
        let width = panel.registers * set.lanes;
        let rows = &source.rows[range.start * set.elements..range.end * set.elements];
        let at = panel.packed + range.start * width * 4;
        let len = if kind == Kind::Dot {
            packed_bytes(set, kind, panel.registers, segments)
        } else {
            rows.len() / set.elements * width * 4
        };
        assert!(at + len <= bytes);
        // SAFETY: panels, and the chunks of one, lie side by side within the buffer.
        let target = unsafe { std::slice::from_raw_parts_mut(target.get().add(at / 4), len / 4) };
        let source = Source { rows, ..*source };
        if kind == Kind::Dot {
            pack_dot(set, panel, segments, &source, target);
        } else {
            pack_tile(set, panel, &source, width, target);
        }
    });
    buffer
}

/// A chunk of rows of a panel for [`Kind::Tile`], `width` units a row.
pub(crate) fn pack_tile(set: &Set, panel: &Panel, source: &Source<'_>, width: usize, target: &mut [u32]) {
    if source.column_stride > 1 {
        return pack_transposed(set, panel, source, width, target);
    }
    let row = |start: usize| match start {
        ZERO_ROW => &[],
        start => &source.values[start + panel.source..][..panel.columns],
    };
    for (rows, target) in source
        .rows
        .chunks_exact(set.elements)
        .zip(target.chunks_exact_mut(width))
    {
        let first = row(rows[0]);
        if set.elements == 1 {
            target[..first.len()].copy_from_slice(bytemuck::cast_slice(first));
            target[first.len()..].fill(0);
        } else if first.is_empty() {
            // Channels are padded at their end, so that a unit never has its second half alone.
            target.fill(0);
        } else {
            pair_rows(set, first, row(rows[1]), &mut target[..first.len()]);
            target[first.len()..].fill(0);
        }
    }
}

/// Rows of the panel are columns in memory: sixteen units of them together, so that cache lines are used whole.
fn pack_transposed(set: &Set, panel: &Panel, source: &Source<'_>, width: usize, target: &mut [u32]) {
    const TOGETHER: usize = 16;
    let Source {
        values,
        rows,
        column_stride,
    } = *source;
    let value = |start: usize, at: usize| if start == ZERO_ROW { 0.0 } else { values[start + at] };
    let step = TOGETHER * set.elements;
    for (rows, target) in rows.chunks(step).zip(target.chunks_mut(TOGETHER * width)) {
        let together = rows.len() == step && rows.windows(2).all(|pair| pair[0].checked_add(1) == Some(pair[1]));
        let mut column = 0;
        while column < width {
            let at = panel.source + column * column_stride;
            if let Some(transpose) = set.transpose
                && together
                && column + TOGETHER <= panel.columns
            {
                let last = rows[0] + at + (TOGETHER - 1) * column_stride + step;
                assert!(last <= values.len() && target.len() == TOGETHER * width);
                // SAFETY: the last column ends within the values, and the target holds sixteen whole rows.
                unsafe {
                    let from = values.as_ptr().add(rows[0] + at);
                    transpose(from, column_stride, target.as_mut_ptr().add(column), width);
                }
                column += TOGETHER;
                continue;
            }
            let inside = column < panel.columns;
            for (rows, target) in rows.chunks_exact(set.elements).zip(target.chunks_exact_mut(width)) {
                target[column] = match (inside, set.elements) {
                    (false, _) => 0,
                    (true, 1) => value(rows[0], at).to_bits(),
                    (true, _) => pair(value(rows[0], at), value(rows[1], at)),
                };
            }
            column += 1;
        }
    }
}

/// For each register of each segment one register for each column.
fn pack_dot(set: &Set, panel: &Panel, segments: &[Segment], source: &Source<'_>, target: &mut [u32]) {
    let value = |row: usize, column: usize| match source.rows[row] {
        ZERO_ROW => 0.0,
        start => source.values[start + panel.source + column * source.column_stride],
    };
    let (mut row, mut to) = (0, 0);
    for segment in segments {
        for register in 0..segment.units.div_ceil(set.lanes) {
            for column in 0..panel.columns {
                for lane in 0..set.lanes {
                    let unit = register * set.lanes + lane;
                    target[to] = if unit >= segment.units {
                        0
                    } else if set.elements == 1 {
                        value(row + unit, column).to_bits()
                    } else {
                        pair(value(row + 2 * unit, column), value(row + 2 * unit + 1, column))
                    };
                    to += 1;
                }
            }
        }
        row += segment.units * set.elements;
    }
}

/// The bits of the nearest bfloat16, ties to even; not a number stays so.
fn round(value: f32) -> u32 {
    let bits = value.to_bits();
    let rounded = bits.wrapping_add(0x7fff + ((bits >> 16) & 1)) >> 16;
    if value.is_nan() { (bits >> 16) | 0x40 } else { rounded }
}

/// Two bfloat16 in a unit, the first in the low half.
fn pair(low: f32, high: f32) -> u32 {
    round(low) | round(high) << 16
}

/// Copies values into a row of units: as they are, or rounded to bfloat16.
pub(crate) fn copy_row(set: &Set, from: &[f32], to: &mut [u8]) {
    if set.elements == 1 {
        return to.copy_from_slice(bytemuck::cast_slice(from));
    }
    let to = bytemuck::cast_slice_mut(to);
    match &set.rounding {
        // SAFETY: the set's instructions are available.
        Some(rounding) => unsafe { (rounding.narrow)(from, to) },
        None => to.iter_mut().zip(from).for_each(|(to, &from)| *to = round(from) as u16),
    }
}

/// Units whose first halves are `low` and whose second halves are `high`, or zeros where that is empty.
pub(crate) fn pair_rows(set: &Set, low: &[f32], high: &[f32], to: &mut [u32]) {
    if let Some(rounding) = &set.rounding {
        // SAFETY: the set's instructions are available.
        return unsafe { (rounding.pair)(low, high, to) };
    }
    for (i, (to, &low)) in to.iter_mut().zip(low).enumerate() {
        *to = pair(low, high.get(i).copied().unwrap_or(0.0));
    }
}

/// The same for values that are bfloat16 already.
pub(crate) fn interleave(set: &Set, low: &[u16], high: &[u16], to: &mut [u32]) {
    if let Some(rounding) = &set.rounding {
        // SAFETY: the set's instructions are available.
        return unsafe { (rounding.interleave)(low, high, to) };
    }
    for (i, (to, &low)) in to.iter_mut().zip(low).enumerate() {
        *to = u32::from(low) | u32::from(high.get(i).copied().unwrap_or(0)) << 16;
    }
}

#[cfg(test)]
mod tests {
    use half::bf16;

    use super::*;

    #[test]
    fn rounding_is_to_nearest_even() {
        let values = [
            0.0,
            -0.0,
            1.0,
            1.003_906_3,
            1.011_718_8,
            -std::f32::consts::PI,
            f32::MAX,
            f32::INFINITY,
            1e-40,
            f32::NAN,
        ];
        for value in values {
            let expected = bf16::from_f32(value);
            let got = bf16::from_bits(round(value) as u16);
            assert!(
                got.to_bits() == expected.to_bits() || (got.is_nan() && expected.is_nan()),
                "{value}: {got}"
            );
        }
    }
}
