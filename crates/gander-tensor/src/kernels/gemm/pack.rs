//! Brings operands into the order in which the innermost loops read them.

use super::{
    Segment, Set,
    drive::{Kind, Panel, packed_bytes, part},
};
use crate::kernels::{
    Context,
    isa::{Arithmetic, Isa, Kernel},
    memory::Buffer,
};

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
            ctx.isa.run(PackTile {
                elements: set.elements,
                panel,
                source: &source,
                width,
                target,
            });
        }
    });
    buffer
}

struct PackTile<'a> {
    elements: usize,
    panel: &'a Panel,
    source: &'a Source<'a>,
    width: usize,
    target: &'a mut [u32],
}

impl Kernel for PackTile<'_> {
    type Output = ();

    #[inline(always)]
    fn run<A: Arithmetic>(self) {
        let columns = self.panel.columns;
        let stride = self.source.column_stride;
        if stride > 1 {
            return self.transposed();
        }
        let row = |start: usize| match start {
            ZERO_ROW => &[],
            start => &self.source.values[start + self.panel.source..][..columns],
        };
        for (rows, target) in self
            .source
            .rows
            .chunks_exact(self.elements)
            .zip(self.target.chunks_exact_mut(self.width))
        {
            let even = row(rows[0]);
            if self.elements == 1 {
                for (to, value) in target.iter_mut().zip(even) {
                    *to = value.to_bits();
                }
                target[even.len()..].fill(0);
            } else {
                let odd = row(rows[1]);
                if even.len() == odd.len() {
                    for ((to, even), odd) in target.iter_mut().zip(even).zip(odd) {
                        *to = pair(*even, *odd);
                    }
                    target[even.len()..].fill(0);
                } else {
                    for (column, to) in target.iter_mut().enumerate() {
                        *to = pair(
                            even.get(column).copied().unwrap_or(0.0),
                            odd.get(column).copied().unwrap_or(0.0),
                        );
                    }
                }
            }
        }
    }
}

impl PackTile<'_> {
    /// Rows of the panel are columns in memory: sixteen of them together, so that cache lines are used whole.
    #[inline(always)]
    fn transposed(self) {
        const TOGETHER: usize = 16;
        let Source {
            values,
            rows,
            column_stride,
        } = *self.source;
        let value = |start: usize, at: usize| if start == ZERO_ROW { 0.0 } else { values[start + at] };
        let step = TOGETHER * self.elements;
        for (rows, target) in rows.chunks(step).zip(self.target.chunks_mut(TOGETHER * self.width)) {
            for column in 0..self.width {
                let at = self.panel.source + column * column_stride;
                let inside = column < self.panel.columns;
                for (rows, target) in rows
                    .chunks_exact(self.elements)
                    .zip(target.chunks_exact_mut(self.width))
                {
                    target[column] = match (inside, self.elements) {
                        (false, _) => 0,
                        (true, 1) => value(rows[0], at).to_bits(),
                        (true, _) => pair(value(rows[0], at), value(rows[1], at)),
                    };
                }
            }
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
#[inline(always)]
pub(crate) fn round(value: f32) -> u32 {
    let bits = value.to_bits();
    let rounded = bits.wrapping_add(0x7fff + ((bits >> 16) & 1)) >> 16;
    if value.is_nan() { (bits >> 16) | 0x40 } else { rounded }
}

/// Two bfloat16 in a unit, the first in the low half.
#[inline(always)]
pub(crate) fn pair(low: f32, high: f32) -> u32 {
    round(low) | round(high) << 16
}

/// Copies values into a row of units: as they are, or rounded to bfloat16.
pub(crate) fn copy_row(isa: Isa, elements: usize, from: &[f32], to: &mut [u8]) {
    if elements == 1 {
        to.copy_from_slice(bytemuck::cast_slice(from));
    } else {
        isa.run(Narrow {
            from,
            to: bytemuck::cast_slice_mut(to),
        });
    }
}

struct Narrow<'a> {
    from: &'a [f32],
    to: &'a mut [u16],
}

impl Kernel for Narrow<'_> {
    type Output = ();

    #[inline(always)]
    fn run<A: Arithmetic>(self) {
        for (to, &from) in self.to.iter_mut().zip(self.from) {
            *to = round(from) as u16;
        }
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
