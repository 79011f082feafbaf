//! Convolutions and their input gradients: blocks of tiles whose transforms stay in the second-level cache.

use std::{marker::PhantomData, ops::Range};

use super::{
    Tiling,
    scheme::{Fixed, KnownDown, KnownFour, KnownTwo, KnownUp, Scheme, Source, Target},
    transform::{ToRows, ToTarget, Windows},
    weights::Packed,
};
use crate::kernels::{
    Context,
    conv::forward::Reduce,
    gemm::{
        After, Finish, Segment, Set,
        drive::{self, Kind, Panel, Right, Rows, part},
        pack::Shared,
    },
};

/// Bytes of a block's transforms, of what goes in and of what comes out: half of a second-level cache.
const BLOCK_BYTES: usize = 512 << 10;
/// Fewer tiles than these would have the weights come from memory too often.
const FEWEST_TILES: usize = 24;
/// More would not make the products faster.
const MOST_TILES: usize = 96;

/// Computes a convolution and what follows, activations that the innermost loops leave out included.
pub(super) fn run(
    ctx: &Context,
    tiling: &Tiling,
    (source, weight, over): (&[f32], &[f32], Reduce),
    after: After<'_>,
    target: &mut [f32],
) {
    let set = Set::of(ctx.isa, ctx.precision);
    let axis = tiling.scheme.axis();
    let packed = Packed::new(ctx, set, tiling, weight, over);
    let mut zeros = ctx.pool.take(tiling.source_channels * 4);
    zeros.as_mut_slice::<f32>().fill(0.0);
    let windows = tiling.windows(source, zeros.as_slice());
    let blocks = blocks(ctx.threads.threads(), tiling, set);
    let parts = drive::parts(ctx.threads.threads(), blocks, packed.panels.len());
    let planes = axis.source.rows * axis.source.rows;
    let points = axis.target.columns * axis.target.columns;
    let widest = set.widest() * set.lanes;
    let target = Shared::new(target);
    ctx.threads.for_each(blocks * parts, |task| {
        let tiles = part(windows.count, blocks, task / parts);
        let row_bytes = tiling.depth(set) * 4 / set.elements;
        let mut left = ctx.pool.take(planes * tiles.len() * row_bytes);
        // SAFETY: the buffer has room for the planes.
        unsafe { gather(set, tiling, &windows, tiles.clone(), left.bytes_mut().as_mut_ptr()) }
        let mut sums = ctx.pool.take(points * tiles.len() * widest * 4);
        let a_offsets: Vec<usize> = (0..tiles.len()).map(|row| row * row_bytes).collect();
        let segments: Vec<Vec<Segment>> = (0..points)
            .map(|point| {
                let segment = |(i, [y, x]): (usize, [usize; 2])| {
                    let plane = axis.planes[y] * axis.source.rows + axis.planes[x];
                    Segment {
                        offset: (plane * tiles.len() * row_bytes) as isize,
                        units: packed.units,
                        row: i * packed.units,
                    }
                };
                axis.products(point).enumerate().map(segment).collect()
            })
            .collect();
        for panel in &packed.panels[part(packed.panels.len(), parts, task % parts)] {
            let width = panel.registers * set.lanes;
            let c_offsets: Vec<usize> = (0..tiles.len()).map(|row| row * width).collect();
            let one = [Panel { column: 0, ..*panel }];
            for (point, segments) in segments.iter().enumerate() {
                let rows = Rows {
                    a: left.bytes().as_ptr(),
                    a_offsets: &a_offsets,
                    c: sums.as_mut_slice::<f32>()[point * tiles.len() * width..].as_mut_ptr(),
                    c_offsets: &c_offsets,
                };
                let right = Right {
                    kind: Kind::Tile,
                    panels: &one,
                    packed: packed.point(point),
                    segments,
                };
                // SAFETY: every tile has all planes with whole units, and the sums have room for the panel.
                unsafe { drive::multiply(set, &rows, &right, After::default()) }
            }
            let leave = Leave {
                tiling,
                sums: sums.as_slice(),
                panel,
                width,
                tiles: tiles.clone(),
                target: target.get(),
                finish: Finish::new(after, panel.column..panel.column + panel.columns, target.get()),
            };
            // SAFETY: these tiles' columns of the target belong to this task alone.
            unsafe { leave.run(ctx, set) }
        }
    });
}

/// How many blocks the tiles are cut into. Results do not depend on it, since every tile is computed by itself.
fn blocks(threads: usize, tiling: &Tiling, set: &Set) -> usize {
    let axis = tiling.scheme.axis();
    let left = axis.source.rows * axis.source.rows * tiling.depth(set) * 4 / set.elements;
    let sums = axis.target.columns * axis.target.columns * set.widest() * set.lanes * 4;
    let tiles = tiling.tiles();
    let of_a_block = (BLOCK_BYTES / (left + sums)).clamp(FEWEST_TILES, MOST_TILES);
    // Whole rounds of all threads.
    tiles
        .div_ceil(of_a_block)
        .next_multiple_of(threads)
        .clamp(1, tiles.max(1))
}

/// # Safety
/// `to` has room for all planes of the tiles.
unsafe fn gather(set: &Set, tiling: &Tiling, windows: &Windows<'_>, tiles: Range<usize>, to: *mut u8) {
    fn through<'a, M: Fixed>(
        windows: &'a Windows<'a>,
        tiles: Range<usize>,
        depth: usize,
        to: *mut u8,
    ) -> ToRows<'a, M> {
        ToRows {
            windows,
            tiles,
            depth,
            to,
            matrix: PhantomData,
        }
    }
    let depth = tiling.depth(set);
    // SAFETY: the caller vouches for the place.
    unsafe {
        match tiling.scheme {
            Scheme::Two => set.run(through::<Source<KnownTwo>>(windows, tiles, depth, to)),
            Scheme::Four => set.run(through::<Source<KnownFour>>(windows, tiles, depth, to)),
            Scheme::Down => set.run(through::<Source<KnownDown>>(windows, tiles, depth, to)),
            Scheme::Up => set.run(through::<Source<KnownUp>>(windows, tiles, depth, to)),
        }
    }
}

/// The way of a panel's sums to the target.
struct Leave<'a> {
    tiling: &'a Tiling,
    sums: &'a [f32],
    panel: &'a Panel,
    width: usize,
    tiles: Range<usize>,
    target: *mut f32,
    finish: Finish,
}

impl Leave<'_> {
    /// # Safety
    /// What follows has the panel's columns; nobody else touches these columns of the tiles' outputs.
    unsafe fn run(&self, ctx: &Context, set: &Set) {
        // SAFETY: the caller vouches for it.
        unsafe {
            match self.tiling.scheme {
                Scheme::Two => set.run(self.through::<Target<KnownTwo>>()),
                Scheme::Four => set.run(self.through::<Target<KnownFour>>()),
                Scheme::Down => set.run(self.through::<Target<KnownDown>>()),
                Scheme::Up => set.run(self.through::<Target<KnownUp>>()),
            }
        }
        if !drive::is_left_out(self.finish.activation) {
            return;
        }
        let outputs = self.tiling.scheme.axis().target.rows;
        let [height, width] = self.tiling.target;
        let [down, across] = self.tiling.along();
        for tile in self.tiles.clone() {
            let image = tile / (down * across);
            let (first_y, first_x) = (tile / across % down * outputs, tile % across * outputs);
            for y in first_y..height.min(first_y + outputs) {
                for x in first_x..width.min(first_x + outputs) {
                    let at = ((image * height + y) * width + x) * self.tiling.target_channels + self.panel.column;
                    // SAFETY: an output of the tile, for whose columns the caller vouches.
                    let values = unsafe { std::slice::from_raw_parts_mut(self.target.add(at), self.panel.columns) };
                    drive::squash(ctx.isa, self.finish.activation, values);
                }
            }
        }
    }

    fn through<M: Fixed>(&self) -> ToTarget<'_, M> {
        ToTarget {
            sums: self.sums,
            width: self.width,
            tiles: self.tiles.clone(),
            along: self.tiling.along(),
            target: self.target.wrapping_add(self.panel.column),
            sides: self.tiling.target,
            channels: self.tiling.target_channels,
            columns: self.panel.columns,
            finish: &self.finish,
            matrix: PhantomData,
        }
    }
}
