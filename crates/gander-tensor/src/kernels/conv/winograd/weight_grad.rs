//! Weight gradients: sums over tiles of outer products of transformed sources and transformed output gradients.
//!
//! All threads transform a block of tiles, then share out the products; each of these goes over the block's tiles in
//! order, and blocks follow each other, so that sums do not depend on the number of threads.

use std::{marker::PhantomData, ops::Range};

use super::{
    Tiling,
    scheme::{Fixed, KnownDown, KnownFour, KnownTwo, KnownUp, MOST, Scheme, Source, TargetBack},
    transform::{Pixels, ToUnits, Windows},
    weights::back,
};
use crate::kernels::{
    Context,
    gemm::{
        Outer, Set,
        drive::{Kind, Panel, panels, part, parts},
        pack::Shared,
    },
};

/// Source channels of a strip: rows of a task's result.
const STRIP: usize = 32;
/// Bytes of a block's transforms: what stays in a share of the third-level cache.
const BLOCK_BYTES: usize = 4 << 20;
/// Fewer tiles than these would have the result come from memory too often.
const FEWEST_TILES: usize = 256;
/// Steps that are transformed by one task.
const STEPS_A_TASK: usize = 16;
/// Values after an operand that may be read, so that register tiles need not end with it.
const SLACK: usize = 64;

/// The weight's gradient, of the convolution that `tiling` is.
pub(super) fn run(ctx: &Context, tiling: &Tiling, x: &[f32], dy: &[f32], dw: &mut [f32]) {
    if tiling.tiles() == 0 {
        return dw.fill(0.0);
    }
    let set = Set::of(ctx.isa, ctx.precision);
    let axis = tiling.scheme.axis();
    let most = tiling.source_channels.max(tiling.target_channels);
    let mut zeros = ctx.pool.take(most * 4);
    zeros.as_mut_slice::<f32>().fill(0.0);
    let windows = [
        tiling.windows(x, zeros.as_slice()),
        tiling.outputs(dy, zeros.as_slice()),
    ];

    let (panels, _) = panels(set, Kind::Tile, 1, tiling.target_channels, |_, _| (0, 0), &[]);
    let job = Job {
        set,
        tiling,
        strips: tiling.source_channels.div_ceil(STRIP),
        panels,
        width: set.widest() * set.lanes,
        planes: axis.source.rows * axis.source.rows,
        points: axis.target.columns * axis.target.columns,
        products: axis.planes.len() * axis.planes.len(),
    };
    let tile_bytes = job.row_units() * 4 / set.elements;
    let blocks = tiling.tiles().div_ceil((BLOCK_BYTES / tile_bytes).max(FEWEST_TILES));
    // Whole units, so that no tile is in two blocks.
    let of_a_block = tiling.tiles().div_ceil(blocks).next_multiple_of(set.elements);
    let blocks = tiling.tiles().div_ceil(of_a_block);
    let steps = of_a_block / set.elements;

    let left_units = job.strips * job.planes * steps * STRIP;
    let right_units = job.panels.len() * job.points * steps * job.width;
    let mut left = ctx.pool.take((left_units + SLACK) * 4);
    let mut right = ctx.pool.take((right_units + SLACK) * 4);
    left.as_mut_slice::<u32>()[left_units..].fill(0);
    right.as_mut_slice::<u32>()[right_units..].fill(0);
    let (left, right) = (Shared::new(left.bytes_mut()), Shared::new(right.bytes_mut()));
    // Between blocks the sums are kept; those of a single block stay in the cache of whoever computes them.
    let task_values = job.products * STRIP * job.width;
    let places = job.strips * job.panels.len();
    // Many small tasks, since all threads meet twice in a block.
    let groups = if blocks > 1 {
        parts(ctx.threads.threads(), places, job.points)
    } else {
        1
    };
    let mut kept = (blocks > 1).then(|| ctx.pool.take(places * task_values * 4));
    let kept = kept.as_mut().map(|kept| Shared::new(kept.as_mut_slice::<f32>()));
    let target = Shared::new(dw);
    for block in 0..blocks {
        let first = block * of_a_block;
        let steps = (tiling.tiles() - first).min(of_a_block).div_ceil(set.elements);
        let transforms = steps.div_ceil(STEPS_A_TASK);
        ctx.threads.for_each(transforms, |task| {
            let part = Part {
                first,
                steps: part(steps, transforms, task),
                all_steps: steps,
            };
            // SAFETY: both buffers have room for the block, and each task has its own steps.
            unsafe {
                sources(set, tiling.scheme, &windows[0], part.clone(), left.get());
                gradients(set, tiling.scheme, &windows[1], part, job.width, right.get());
            }
        });
        ctx.threads.for_each(places * groups, |task| {
            let (place, group) = (task / groups, task % groups);
            let mut scratch = kept.is_none().then(|| ctx.pool.take(task_values * 4));
            let sums = match (&mut scratch, kept) {
                (Some(scratch), _) => scratch.as_mut_slice::<f32>().as_mut_ptr(),
                // SAFETY: places lie side by side.
                (None, Some(kept)) => unsafe { kept.get().add(place * task_values) },
                (None, None) => return,
            };
            let step = Step {
                points: part(job.points, groups, group),
                steps,
                resume: block > 0,
            };
            // SAFETY: the transforms of this block are complete, and every task has its own sums, and its own rows and
            // columns of the result.
            unsafe {
                job.multiply(place, &step, [left.get(), right.get()], sums);
                if kept.is_none() {
                    job.leave(place, sums, target.get());
                }
            }
        });
    }
    if let Some(kept) = kept {
        ctx.threads.for_each(places, |place| {
            // SAFETY: all sums are complete, and every task has its own rows and columns of the result.
            unsafe { job.leave(place, kept.get().add(place * task_values), target.get()) }
        });
    }
}

/// What a task adds of a block.
struct Step {
    points: Range<usize>,
    /// Steps of the block.
    steps: usize,
    resume: bool,
}

/// Steps of a block.
#[derive(Clone)]
struct Part {
    /// The block's first tile.
    first: usize,
    steps: Range<usize>,
    all_steps: usize,
}

impl Part {
    fn of<'a, M: Fixed>(self, windows: &'a Windows<'a>, width: usize, to: *mut u8) -> ToUnits<'a, M> {
        ToUnits {
            windows,
            steps: self.steps,
            first: self.first,
            all_steps: self.all_steps,
            width,
            to,
            matrix: PhantomData,
        }
    }
}

/// # Safety
/// `to` has room for the block, and nobody else touches these steps.
unsafe fn sources(set: &Set, scheme: Scheme, x: &Windows<'_>, part: Part, to: *mut u8) {
    // SAFETY: the caller vouches for the place.
    unsafe {
        match scheme {
            Scheme::Two => set.run(part.of::<Source<KnownTwo>>(x, STRIP, to)),
            Scheme::Four => set.run(part.of::<Source<KnownFour>>(x, STRIP, to)),
            Scheme::Down => set.run(part.of::<Source<KnownDown>>(x, STRIP, to)),
            Scheme::Up => set.run(part.of::<Source<KnownUp>>(x, STRIP, to)),
        }
    }
}

/// # Safety
/// `to` has room for the block, and nobody else touches these steps.
unsafe fn gradients(set: &Set, scheme: Scheme, dy: &Windows<'_>, part: Part, width: usize, to: *mut u8) {
    // SAFETY: the caller vouches for the place.
    unsafe {
        match scheme {
            Scheme::Two => set.run(part.of::<TargetBack<KnownTwo>>(dy, width, to)),
            Scheme::Four => set.run(part.of::<TargetBack<KnownFour>>(dy, width, to)),
            Scheme::Down => set.run(part.of::<TargetBack<KnownDown>>(dy, width, to)),
            Scheme::Up => set.run(part.of::<TargetBack<KnownUp>>(dy, width, to)),
        }
    }
}

struct Job<'a> {
    set: &'static Set,
    tiling: &'a Tiling,
    strips: usize,
    panels: Vec<Panel>,
    /// Columns of a panel, whole registers.
    width: usize,
    planes: usize,
    points: usize,
    products: usize,
}

impl Job<'_> {
    /// Units of a step, of both operands.
    fn row_units(&self) -> usize {
        self.strips * self.planes * STRIP + self.panels.len() * self.points * self.width
    }

    /// Adds a block of tiles to a strip's and a panel's sums, `[products][STRIP][width]`, or begins them.
    ///
    /// # Safety
    /// The operands hold the block; the sums have their room, and nobody else touches them.
    unsafe fn multiply(&self, place: usize, step: &Step, [left, right]: [*const u8; 2], sums: *mut f32) {
        let (strip, panel, steps) = (place / self.panels.len(), place % self.panels.len(), step.steps);
        let axis = self.tiling.scheme.axis();
        let a_offsets: Vec<usize> = (0..steps).map(|step| step * STRIP * 4).collect();
        let b_offsets: Vec<usize> = (0..steps).map(|step| step * self.width * 4).collect();
        let rows = STRIP.min(self.tiling.source_channels - strip * STRIP);
        let registers = self.panels[panel].registers;
        for point in step.points.clone() {
            for [y, x] in axis.products(point) {
                let plane = axis.planes[y] * axis.source.rows + axis.planes[x];
                let product = y * axis.planes.len() + x;
                let mut row = 0;
                while row < rows {
                    let (height, run) = self.set.outer(registers, rows - row);
                    let outer = Outer {
                        a: left.wrapping_add(((strip * self.planes + plane) * steps * STRIP + row) * 4),
                        a_offsets: &a_offsets,
                        b: right.wrapping_add((panel * self.points + point) * steps * self.width * 4),
                        b_offsets: &b_offsets,
                        c: sums.wrapping_add((product * STRIP + row) * self.width),
                        c_stride: self.width,
                        rows: height.min(rows - row),
                        columns: registers * self.set.lanes,
                        resume: step.resume,
                    };
                    // SAFETY: both operands have slack after them; the caller vouches for the sums.
                    unsafe { run(&outer) }
                    row += height;
                }
            }
        }
    }

    /// Brings a strip's and a panel's sums to the taps.
    ///
    /// # Safety
    /// The sums are complete, and nobody else touches these rows and columns of the result.
    unsafe fn leave(&self, place: usize, sums: *const f32, dw: *mut f32) {
        let (strip, panel) = (place / self.panels.len(), place % self.panels.len());
        let (tiling, panel) = (self.tiling, &self.panels[panel]);
        let taps = tiling.scheme.axis().taps() * tiling.scheme.axis().taps();
        for row in 0..STRIP.min(tiling.source_channels - strip * STRIP) {
            let mut from: Pixels = [std::ptr::null(); MOST * MOST];
            for (product, from) in from.iter_mut().take(self.products).enumerate() {
                *from = sums.wrapping_add((product * STRIP + row) * self.width);
            }
            let mut to = [std::ptr::null_mut(); MOST * MOST];
            for (tap, to) in to.iter_mut().take(taps).enumerate() {
                let channel = tap * tiling.source_channels + strip * STRIP + row;
                *to = dw.wrapping_add(channel * tiling.target_channels + panel.column);
            }
            // SAFETY: the caller vouches for both.
            unsafe { back(self.set, tiling.scheme, from, &to[..taps], panel.columns) }
        }
    }
}
