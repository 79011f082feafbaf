//! Weights on their way into products, and gradients on their way back.

use std::marker::PhantomData;

use super::{
    Tiling,
    scheme::{Fixed, KnownDown, KnownFour, KnownTwo, KnownUp, MOST, Scheme, Weight, WeightBack},
    transform::{Pixels, ToPlain},
};
use crate::kernels::{
    Context,
    conv::forward::Reduce,
    gemm::{
        Segment, Set,
        drive::{Kind, Panel, panels},
        pack::{Shared, Source, ZERO_ROW, pack_tile},
    },
    memory::Buffer,
};

/// Source channels that are transformed together: so few that all their sums stay near.
const CHUNK: usize = 32;

/// The weights of all products, packed: for each point the panels, in each the products of the point, one after the
/// other.
pub(super) struct Packed {
    /// Panels of one point.
    pub(super) panels: Vec<Panel>,
    /// Bytes of a point.
    point: usize,
    /// Units of one product.
    pub(super) units: usize,
    buffer: Buffer,
}

impl Packed {
    /// Transforms (in float32), rounds and packs the weight `[taps, a, b]`, on all threads.
    pub(super) fn new(ctx: &Context, set: &'static Set, tiling: &Tiling, weight: &[f32], over: Reduce) -> Self {
        let axis = tiling.scheme.axis();
        let units = tiling.depth(set) / set.elements;
        let terms = axis.terms() * axis.terms();
        let segments: Vec<Segment> = (0..terms)
            .map(|i| Segment {
                offset: 0,
                units,
                row: i * units,
            })
            .collect();
        let place = |_, column| (0, column);
        let (panels, point) = panels(set, Kind::Tile, 1, tiling.target_channels, place, &segments);
        let points = axis.target.columns * axis.target.columns;
        let mut packed = Self {
            panels,
            point,
            units,
            buffer: ctx.pool.take(points * point),
        };
        let chunks = tiling.source_channels.div_ceil(CHUNK);
        let target = Shared::new(packed.buffer.as_mut_slice::<u32>());
        let (all, len) = (&packed.panels, points * point / 4);
        ctx.threads.for_each(all.len() * chunks, |task| {
            let (panel, first) = (&all[task / chunks], task % chunks * CHUNK);
            let job = Pack {
                ctx,
                set,
                tiling,
                weight,
                over,
                panel,
            };
            let width = panel.registers * set.lanes;
            job.chunk(first, |point_index, term, rows| {
                let row = term * units + first / set.elements;
                let at = (point_index * point + panel.packed) / 4 + row * width;
                assert!(at + rows * width <= len);
                // SAFETY: the chunks of all products of all panels lie side by side within the buffer.
                unsafe { std::slice::from_raw_parts_mut(target.get().add(at), rows * width) }
            });
        });
        packed
    }

    /// The panels of a point.
    pub(super) fn point(&self, point: usize) -> *const u8 {
        self.buffer.bytes().as_ptr().wrapping_add(point * self.point)
    }
}

/// The weights of a panel.
struct Pack<'a> {
    ctx: &'a Context,
    set: &'static Set,
    tiling: &'a Tiling,
    weight: &'a [f32],
    over: Reduce,
    panel: &'a Panel,
}

impl Pack<'_> {
    /// Packs the source channels from `first` on into what `place` gives for a point, one of its products and a number
    /// of rows of units.
    fn chunk<'b>(&self, first: usize, place: impl Fn(usize, usize, usize) -> &'b mut [u32]) {
        let Self { set, tiling, panel, .. } = *self;
        let axis = tiling.scheme.axis();
        let count = CHUNK.min(tiling.source_channels - first);
        // Rows run over columns, or over source channels.
        let (rows, stride) = match self.over {
            Reduce::Middle => (count, panel.columns),
            Reduce::Last => (panel.columns, CHUNK),
        };
        let products = axis.planes.len() * axis.planes.len();
        let mut scratch = self.ctx.pool.take(products * rows * stride * 4);
        let sums = Shared::new(scratch.as_mut_slice::<f32>());
        let taps = axis.taps();
        for row in 0..rows {
            let (at, len) = match self.over {
                Reduce::Middle => ((first + row) * tiling.target_channels + panel.source, panel.columns),
                Reduce::Last => ((panel.source + row) * tiling.source_channels + first, count),
            };
            let mut from: Pixels = [std::ptr::null(); MOST * MOST];
            for (tap, from) in from.iter_mut().enumerate().take(taps * taps) {
                let index = if tiling.reversed { taps * taps - 1 - tap } else { tap };
                let at = index * tiling.source_channels * tiling.target_channels + at;
                *from = self.weight[at..at + len].as_ptr();
            }
            let mut to = [std::ptr::null_mut(); MOST * MOST];
            for (product, to) in to.iter_mut().take(products).enumerate() {
                *to = sums.get().wrapping_add((product * rows + row) * stride);
            }
            let rows = Rows {
                from,
                to: &to[..products],
                len,
            };
            // SAFETY: taps have `len` weights, and the scratch has room for a row of each product.
            unsafe {
                match tiling.scheme {
                    Scheme::Two => set.run(rows.through::<Weight<KnownTwo>>()),
                    Scheme::Four => set.run(rows.through::<Weight<KnownFour>>()),
                    Scheme::Down => set.run(rows.through::<Weight<KnownDown>>()),
                    Scheme::Up => set.run(rows.through::<Weight<KnownUp>>()),
                }
            }
        }
        let step = if self.over == Reduce::Middle { stride } else { 1 };
        let mut starts: Vec<usize> = (0..count).map(|i| i * step).collect();
        starts.resize(count.next_multiple_of(set.elements), ZERO_ROW);
        let column = Panel { source: 0, ..*panel };
        let width = panel.registers * set.lanes;
        let sums = scratch.as_slice::<f32>();
        for point in 0..axis.target.columns * axis.target.columns {
            for (term, [y, x]) in axis.products(point).enumerate() {
                let product = y * axis.planes.len() + x;
                let source = Source {
                    values: &sums[product * rows * stride..][..rows * stride],
                    rows: &starts,
                    column_stride: if self.over == Reduce::Middle { 1 } else { stride },
                };
                let target = place(point, term, starts.len() / set.elements);
                pack_tile(set, &column, &source, width, target);
            }
        }
    }
}

/// Rows of values and what they become.
struct Rows<'a> {
    from: Pixels,
    to: &'a [*mut f32],
    len: usize,
}

impl<'a> Rows<'a> {
    fn through<M: Fixed>(self) -> ToPlain<'a, M> {
        ToPlain {
            from: self.from,
            to: self.to,
            len: self.len,
            matrix: PhantomData,
        }
    }
}

/// Brings gradients of the products' weights back to those of the taps: a row of `len` values.
///
/// # Safety
/// `from` has a row for each product and `to` one for each tap, of `len` values; nobody else touches those of `to`.
pub(super) unsafe fn back(set: &Set, scheme: Scheme, from: Pixels, to: &[*mut f32], len: usize) {
    let rows = Rows { from, to, len };
    // SAFETY: the caller vouches for the rows.
    unsafe {
        match scheme {
            Scheme::Two => set.run(rows.through::<WeightBack<KnownTwo>>()),
            Scheme::Four => set.run(rows.through::<WeightBack<KnownFour>>()),
            Scheme::Down => set.run(rows.through::<WeightBack<KnownDown>>()),
            Scheme::Up => set.run(rows.through::<WeightBack<KnownUp>>()),
        }
    }
}
