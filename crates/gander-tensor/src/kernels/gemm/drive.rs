//! A block of rows times packed panels: which tile comes when.

use std::ops::Range;

use super::{After, Finish, MAX_ROWS, Segment, Set, Tile};
use crate::{
    Activation,
    kernels::{
        isa::{Arithmetic, Isa, Kernel},
        math,
    },
};

/// Bytes of a panel that are used again and again while they stay in the second-level cache.
const BLOCK_BYTES: usize = 256 << 10;

/// How the reduction meets the lanes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Columns along the lanes.
    Tile,
    /// The reduction along the lanes, for one to four columns.
    Dot,
    /// Channels along the lanes, no reduction over them.
    Depthwise,
}

/// Some columns of the result, and their part of the packed right operand.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Panel {
    /// Bytes that the left rows move for this panel: the start of its group's channels.
    pub(crate) a_shift: usize,
    /// The first column in the result.
    pub(crate) column: usize,
    /// Number of columns.
    pub(crate) columns: usize,
    /// Registers of columns; for [`Kind::Dot`] columns.
    pub(crate) registers: usize,
    /// Where its first column lies in the right operand, in values from the start of a row.
    pub(crate) source: usize,
    /// Where it lies in the packed operand, in bytes.
    pub(crate) packed: usize,
}

/// The right operand, packed.
pub(crate) struct Right<'a> {
    pub(crate) kind: Kind,
    pub(crate) panels: &'a [Panel],
    pub(crate) packed: *const u8,
    pub(crate) segments: &'a [Segment],
}

/// Rows of the left operand and of the result.
pub(crate) struct Rows<'a> {
    pub(crate) a: *const u8,
    /// Bytes from `a`, for each row.
    pub(crate) a_offsets: &'a [usize],
    pub(crate) c: *mut f32,
    /// Values from `c`, for each row.
    pub(crate) c_offsets: &'a [usize],
}

/// Columns of panels: `groups` times `columns`, in tiles as wide as they can be.
pub(crate) fn panels(
    set: &Set,
    kind: Kind,
    groups: usize,
    columns: usize,
    mut place: impl FnMut(usize, usize) -> (usize, usize),
    segments: &[Segment],
) -> (Vec<Panel>, usize) {
    let widest = match kind {
        Kind::Tile => set.widest() * set.lanes,
        Kind::Dot => super::MAX_OUTS,
        Kind::Depthwise => set.depthwise.1 * set.lanes,
    };
    let mut panels = Vec::new();
    let mut packed = 0;
    for group in 0..groups {
        for first in (0..columns).step_by(widest) {
            let columns_here = widest.min(columns - first);
            let registers = match kind {
                Kind::Tile => columns_here.div_ceil(set.lanes),
                Kind::Dot => columns_here,
                Kind::Depthwise => set.depthwise.1,
            };
            let (a_shift, source) = place(group, first);
            let column = group * columns + first;
            panels.push(Panel {
                a_shift,
                column,
                columns: columns_here,
                registers,
                source,
                packed,
            });
            packed += packed_bytes(set, kind, registers, segments);
        }
    }
    (panels, packed)
}

/// Bytes of a packed panel.
pub(crate) fn packed_bytes(set: &Set, kind: Kind, registers: usize, segments: &[Segment]) -> usize {
    let rows: usize = match kind {
        Kind::Tile => segments.iter().map(|segment| segment.units).sum(),
        Kind::Dot => segments.iter().map(|segment| segment.units.div_ceil(set.lanes)).sum(),
        Kind::Depthwise => segments.len(),
    };
    rows * registers * set.lanes * 4
}

/// Computes all rows for all panels, and what follows, but for activations of [`finish_rows`].
///
/// # Safety
/// Every row of the left operand has the units of every segment, moved by every panel's shift; every row of the result
/// has every panel's columns, and nobody else touches them; what follows has a value for each column or for each value of
/// the result, which `rows.c` begins; and the packed operand belongs to the panels.
pub(crate) unsafe fn multiply(set: &Set, rows: &Rows<'_>, right: &Right<'_>, after: After<'_>) {
    for panel in right.panels {
        let finish = Finish::new(after, panel.column..panel.column + panel.columns, rows.c);
        let mut first = 0;
        loop {
            let end = block_end(set, right, panel, first);
            let tile = Tile {
                segments: &right.segments[first..end],
                a: [std::ptr::null(); MAX_ROWS],
                b: right.packed.wrapping_add(panel.packed),
                c: [std::ptr::null_mut(); MAX_ROWS],
                rows: 0,
                columns: panel.columns,
                resume: first > 0,
                finish: (end == right.segments.len()).then_some(finish),
            };
            // SAFETY: what the caller vouches for is what a tile needs.
            unsafe { tiles(set, rows, right.kind, panel, tile) }
            first = end;
            if first == right.segments.len() {
                break;
            }
        }
    }
}

/// The end of a run of segments whose part of the panel stays in the cache.
fn block_end(set: &Set, right: &Right<'_>, panel: &Panel, first: usize) -> usize {
    if right.kind != Kind::Tile {
        return right.segments.len();
    }
    let mut bytes = 0;
    for (i, segment) in right.segments.iter().enumerate().skip(first) {
        bytes += segment.units * panel.registers * set.lanes * 4;
        if bytes > BLOCK_BYTES && i > first {
            return i;
        }
    }
    right.segments.len()
}

/// # Safety
/// As for [`multiply`].
unsafe fn tiles(set: &Set, rows: &Rows<'_>, kind: Kind, panel: &Panel, mut tile: Tile<'_>) {
    let count = rows.a_offsets.len();
    let mut row = 0;
    while row < count {
        let (height, run) = match kind {
            Kind::Tile => set.tile(panel.registers, count - row),
            Kind::Dot => set.dots[panel.registers - 1],
            Kind::Depthwise => (set.depthwise.0, set.depthwise.2),
        };
        tile.rows = height.min(count - row);
        for r in 0..height {
            // Rows beyond the last one repeat it; they are computed and not written.
            let at = row + r.min(tile.rows - 1);
            tile.a[r] = rows.a.wrapping_add(rows.a_offsets[at] + panel.a_shift);
            tile.c[r] = rows.c.wrapping_add(rows.c_offsets[at] + panel.column);
        }
        // SAFETY: the caller vouches for rows, panel and results; the set's instructions are available.
        unsafe { run(&tile) }
        row += height;
    }
}

/// Applies the activations that the innermost loops leave out.
///
/// # Safety
/// Every row of the result has the columns of all panels, which follow each other, and nobody else touches them.
pub(crate) unsafe fn finish_rows(isa: Isa, rows: &Rows<'_>, right: &Right<'_>, activation: Activation) {
    let (Some(first), Some(last)) = (right.panels.first(), right.panels.last()) else {
        return;
    };
    if !is_left_out(activation) {
        return;
    }
    let columns = last.column + last.columns - first.column;
    for row in rows.c_offsets {
        // SAFETY: the caller vouches for these columns of the row.
        let values = unsafe { std::slice::from_raw_parts_mut(rows.c.add(row + first.column), columns) };
        squash(isa, activation, values);
    }
}

/// Whether the innermost loops leave this activation to [`squash`].
pub(crate) fn is_left_out(activation: Activation) -> bool {
    matches!(activation, Activation::Tanh | Activation::Sigmoid)
}

/// Applies an activation that the innermost loops leave out.
pub(crate) fn squash(isa: Isa, activation: Activation, values: &mut [f32]) {
    isa.run(Squash { activation, values });
}

struct Squash<'a> {
    activation: Activation,
    values: &'a mut [f32],
}

impl Kernel for Squash<'_> {
    type Output = ();

    #[inline(always)]
    fn run<A: Arithmetic>(self) {
        for value in self.values {
            *value = match self.activation {
                Activation::Tanh => math::tanh::<A>(*value),
                _ => math::sigmoid::<A>(*value),
            };
        }
    }
}

/// How many parts the panels are cut into, so that there is work for all threads. Results do not depend on it, since
/// every column of the result is computed by itself.
pub(crate) fn parts(threads: usize, blocks: usize, panels: usize) -> usize {
    const TASKS_A_THREAD: usize = 4;
    (threads * TASKS_A_THREAD)
        .div_ceil(blocks.max(1))
        .clamp(1, panels.max(1))
}

/// The part of `0..len` that is the `i`-th of `parts`.
pub(crate) fn part(len: usize, parts: usize, i: usize) -> Range<usize> {
    len * i / parts..len * (i + 1) / parts
}
