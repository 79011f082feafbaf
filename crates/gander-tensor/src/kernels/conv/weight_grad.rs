//! Weight gradients: sums over pixels of outer products of source and output channels.
//!
//! The pixels are cut into a fixed number of chunks, whatever the number of threads, each summed in order into a
//! partial result; the partial results are added in order.

use std::borrow::Cow;

use super::{
    field::{Field, Layout},
    forward::target_offset,
    plan::{Block, Blocks, Plan, Tap},
};
use crate::kernels::{
    Context,
    gemm::{
        Depthwise, Outer, Segment, Set,
        drive::{Kind, Panel, panels, part},
        pack::{Shared, interleave, pair_rows},
    },
    isa::Precision,
    memory::Buffer,
};

/// Source channels (of neighboring taps too) that are brought into pairs of pixels together.
const STRIP: usize = 128;
/// The most chunks that pixels are cut into.
const MOST_CHUNKS: usize = 16;
/// Partial results take at most this many values.
const PARTIAL_VALUES: usize = 5 << 18;
/// Values after an operand that may be read, so that register tiles need not end with it.
const SLACK: usize = 64;

/// Who lies along the lanes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lanes {
    /// Output channels.
    Outputs,
    /// Source channels, where there are few output channels.
    Sources,
    /// Channels of a depthwise convolution.
    Channels,
}

/// Pixels of a box.
struct Pixels {
    /// Bytes from the field's start.
    x: Vec<usize>,
    /// Values from the output's start.
    y: Vec<usize>,
    /// Positions.
    at: Vec<[usize; 3]>,
}

/// All that a task needs to know.
struct Job<'a> {
    ctx: &'a Context,
    set: &'static Set,
    plan: &'a Plan,
    field: Field,
    runs: Vec<&'a [Tap]>,
    lanes: Lanes,
    panels: Vec<Panel>,
    x: &'a [f32],
    dy: &'a [f32],
}

pub(super) fn run(ctx: &Context, plan: &Plan, x: &[f32], dy: &[f32], dw: &mut [f32]) {
    let depthwise = plan.groups > 1 && plan.depth() == 1 && plan.width() == 1;
    let set = Set::of(ctx.isa, if depthwise { Precision::F32 } else { ctx.precision });
    let lanes = match plan.width() {
        _ if depthwise => Lanes::Channels,
        1..=4 if plan.groups == 1 && plan.depth() >= set.lanes => Lanes::Sources,
        _ => Lanes::Outputs,
    };
    let blocks = Blocks::new(plan.batch, plan.positions(), positions_of_a_box(plan, set));
    if blocks.len() == 0 || plan.batch == 0 {
        return dw.fill(0.0);
    }
    let layout = if depthwise { Layout::Depthwise } else { Layout::Pixels };
    let field = Field::new(plan, set, &blocks, layout);
    let taps = &plan.phases[0].taps;
    let runs = if depthwise {
        taps.chunks(set.depthwise_outer.0).collect()
    } else {
        match lanes {
            // One by one, so that each leaves out the pixels where it meets nothing.
            Lanes::Outputs if plan.groups == 1 && plan.depth() >= 32 => taps.chunks(1).collect(),
            _ => field.runs(taps).collect(),
        }
    };
    let panels = match lanes {
        Lanes::Channels => channel_panels(plan.groups, set.lanes),
        _ => {
            panels(
                set,
                Kind::Tile,
                plan.groups,
                plan.width(),
                |group, _| (field.group_bytes(group), 0),
                &[],
            )
            .0
        }
    };
    let job = Job {
        ctx,
        set,
        plan,
        field,
        runs,
        lanes,
        panels,
        x,
        dy,
    };

    // As many chunks as leave partial results small, and an even number for two, four or eight threads.
    let most = (PARTIAL_VALUES / dw.len().max(1)).clamp(1, MOST_CHUNKS.min(blocks.len()));
    let chunks = 1 << most.ilog2();
    // Results do not depend on how many tasks share the panels.
    let panel_parts = match lanes {
        Lanes::Sources => 1,
        _ => (2 * ctx.threads.threads()).div_ceil(chunks).min(job.panels.len()),
    };
    let mut partial = (chunks > 1 || lanes == Lanes::Sources).then(|| ctx.pool.take(chunks * dw.len() * 4));
    let values = dw.len();
    let target = Shared::new(
        partial
            .as_mut()
            .map_or(&mut *dw, |partial| partial.as_mut_slice::<f32>()),
    );
    ctx.threads.for_each(chunks * panel_parts, |task| {
        let (chunk, which) = (task / panel_parts, task % panel_parts);
        let panels = part(job.panels.len(), panel_parts, which);
        // SAFETY: a chunk's partial result lies within the target.
        let target = unsafe { target.get().add(chunk * values) };
        for (i, index) in part(blocks.len(), chunks, chunk).enumerate() {
            // SAFETY: this task alone touches its panels' columns of its chunk's partial result.
            unsafe { job.add_block(&blocks.get(index), &job.panels[panels.clone()], target, i > 0) }
        }
    });
    if let Some(partial) = partial {
        let rows = if lanes == Lanes::Sources { plan.width() } else { 1 };
        add_up(ctx, &partial.as_slice()[..chunks * values], rows, dw);
    }
}

/// Pixels in a box: many, since each box goes over the whole result, while its source stays near.
fn positions_of_a_box(plan: &Plan, set: &Set) -> usize {
    let pixel = plan.source_channels * 4 / set.elements * plan.stride.iter().product::<usize>();
    ((768 << 10) / pixel.max(1)).clamp(128, 256)
}

fn channel_panels(channels: usize, lanes: usize) -> Vec<Panel> {
    (0..channels)
        .step_by(lanes)
        .map(|column| {
            let columns = lanes.min(channels - column);
            Panel {
                a_shift: column * 4,
                column,
                columns,
                registers: 1,
                source: 0,
                packed: 0,
            }
        })
        .collect()
}

/// Adds partial results in their order; `rows` above one says that they are `[rows, …]` and the result is `[…, rows]`.
fn add_up(ctx: &Context, partial: &[f32], rows: usize, dw: &mut [f32]) {
    const PART: usize = 16 << 10;
    let values = dw.len();
    let target = Shared::new(dw);
    ctx.threads.for_each(values.div_ceil(PART), |task| {
        let range = task * PART..values.min((task + 1) * PART);
        // SAFETY: parts lie side by side.
        let dw = unsafe { std::slice::from_raw_parts_mut(target.get().add(range.start), range.len()) };
        for (i, chunk) in partial.chunks_exact(values).enumerate() {
            if rows > 1 {
                for (to, at) in dw.iter_mut().zip(range.clone()) {
                    let value = chunk[at % rows * (values / rows) + at / rows];
                    *to = if i == 0 { value } else { *to + value };
                }
            } else if i == 0 {
                dw.copy_from_slice(&chunk[range.clone()]);
            } else {
                dw.iter_mut()
                    .zip(&chunk[range.clone()])
                    .for_each(|(to, value)| *to += value);
            }
        }
    });
}

impl Job<'_> {
    /// Adds a box of pixels to the panels' columns of a result, or begins it.
    ///
    /// # Safety
    /// `dw` has room for the whole weight, and nobody else touches these columns.
    unsafe fn add_block(&self, block: &Block, panels: &[Panel], dw: *mut f32, resume: bool) {
        let copied = self.field.gather(self.ctx, self.x, block);
        let x = copied.as_ref().map_or(bytemuck::cast_slice(self.x), Buffer::bytes);
        let phase = &self.plan.phases[0];
        let mut pixels = Pixels {
            x: Vec::new(),
            y: Vec::new(),
            at: Vec::new(),
        };
        // Images fastest: the two pixels of a unit are then mostly at one position, and meet the same taps.
        for z in 0..block.count[0] {
            for y in 0..block.count[1] {
                for x in 0..block.count[2] {
                    for image in 0..block.images {
                        pixels.x.push(self.field.position(block, image, [z, y, x]));
                        pixels.y.push(target_offset(self.plan, phase, block, image, [z, y, x]));
                        pixels
                            .at
                            .push([block.first[0] + z, block.first[1] + y, block.first[2] + x]);
                    }
                }
            }
        }
        // SAFETY: the caller vouches for the result; the offsets are those of the box.
        unsafe {
            match self.lanes {
                Lanes::Outputs => self.outputs(x, &pixels, panels, dw, resume),
                Lanes::Sources => self.sources(x, &pixels.x, &pixels.y, dw, resume),
                Lanes::Channels => self.channels(x, &pixels.x, &pixels.y, panels, dw, resume),
            }
        }
    }

    /// The pixels, and the offsets of their steps in `dy`, at which the only tap of a run lies within the source: all
    /// of them for longer runs.
    fn met<'b>(&self, pixels: &'b Pixels, run: &[Tap], dy: &'b [usize]) -> (Cow<'b, [usize]>, Cow<'b, [usize]>) {
        let meets = |q: &[usize; 3], tap: &Tap| (0..3).all(|axis| self.plan.meets(axis, q[axis], tap.at[axis]));
        // The first and the last are opposite corners of the box.
        let corners = [pixels.at.first(), pixels.at.last()];
        let tap = match run {
            [tap] if !corners.into_iter().flatten().all(|q| meets(q, tap)) => tap,
            _ => return (Cow::Borrowed(&pixels.x), Cow::Borrowed(dy)),
        };
        let elements = self.set.elements;
        let (mut xs, mut offsets) = (Vec::with_capacity(pixels.x.len()), Vec::with_capacity(dy.len()));
        for ((at, x), offset) in pixels.at.chunks(elements).zip(pixels.x.chunks(elements)).zip(dy) {
            if at.iter().any(|q| meets(q, tap)) {
                xs.extend_from_slice(x);
                offsets.push(*offset);
            }
        }
        (Cow::Owned(xs), Cow::Owned(offsets))
    }

    /// # Safety
    /// As for [`Job::add_block`].
    unsafe fn outputs(&self, x: &[u8], pixels: &Pixels, panels: &[Panel], dw: *mut f32, resume: bool) {
        let steps = pixels.x.len().div_ceil(self.set.elements);
        let (depth, columns) = (self.plan.depth(), self.plan.target_channels);
        let dy = Right::new(self, &pixels.y, panels);
        let mut strip = Strip::new(self, steps);
        let mut first_row = 0;
        for run in &self.runs {
            let segment = self.field.segment(run);
            let length = run.len() * depth;
            let (xs, y_offsets) = self.met(pixels, run, &dy.offsets);
            for panels in panels.chunk_by(|a, b| a.a_shift == b.a_shift) {
                for first in (0..length).step_by(STRIP) {
                    let count = STRIP.min(length - first);
                    let from = panels[0].a_shift + segment.offset as usize + first * 4 / self.set.elements;
                    strip.fill(self, x, &xs, from, count);
                    let (a, a_offsets) = strip.operand(x, &xs, from);
                    let c = dw.wrapping_add((first_row + first) * columns);
                    for panel in panels {
                        let mut row = 0;
                        while row < count {
                            let (height, run) = self.set.outer(panel.registers, count - row);
                            let outer = Outer {
                                a: a.wrapping_add(row * 4),
                                a_offsets,
                                b: dy.start(panel),
                                b_offsets: &y_offsets,
                                c: c.wrapping_add(row * columns + panel.column),
                                c_stride: columns,
                                rows: height.min(count - row),
                                columns: panel.columns,
                                resume,
                            };
                            // SAFETY: both operands have slack after them; the caller vouches for the result.
                            unsafe { run(&outer) }
                            row += height;
                        }
                    }
                }
            }
            first_row += length;
        }
    }

    /// The same with source channels along the lanes; the result is `[outputs, taps, channels]`.
    ///
    /// # Safety
    /// As for [`Job::add_block`].
    unsafe fn sources(&self, x: &[u8], xs: &[usize], ys: &[usize], dw: *mut f32, resume: bool) {
        let steps = xs.len().div_ceil(self.set.elements);
        let outputs = self.plan.width();
        let whole = Panel {
            a_shift: 0,
            column: 0,
            columns: outputs,
            registers: 1,
            source: 0,
            packed: 0,
        };
        let dy = Right::new(self, ys, &[whole]);
        let total: usize = self.runs.iter().map(|run| run.len() * self.plan.depth()).sum();
        let widest = self.set.widest() * self.set.lanes;
        let mut strip = Strip::new(self, steps);
        let mut first_column = 0;
        for run in &self.runs {
            let segment = self.field.segment(run);
            let length = run.len() * self.plan.depth();
            for first in (0..length).step_by(STRIP) {
                let count = STRIP.min(length - first);
                let from = (segment.offset + (first * 4 / self.set.elements) as isize) as usize;
                strip.fill(self, x, xs, from, count);
                let (b, b_offsets) = strip.operand(x, xs, from);
                for column in (0..count).step_by(widest) {
                    let columns = widest.min(count - column);
                    let (_, run) = self.set.outer(columns.div_ceil(self.set.lanes), outputs);
                    let outer = Outer {
                        a: dy.start(&whole),
                        a_offsets: &dy.offsets,
                        b: b.wrapping_add(column * 4),
                        b_offsets,
                        c: dw.wrapping_add(first_column + first + column),
                        c_stride: total,
                        rows: outputs,
                        columns,
                        resume,
                    };
                    // SAFETY: both operands have slack after them; the caller vouches for the result.
                    unsafe { run(&outer) }
                }
            }
            first_column += length;
        }
    }

    /// # Safety
    /// As for [`Job::add_block`].
    unsafe fn channels(&self, x: &[u8], xs: &[usize], ys: &[usize], panels: &[Panel], dw: *mut f32, resume: bool) {
        let y_offsets: Vec<usize> = ys.iter().map(|offset| offset * 4).collect();
        let channels = self.plan.groups;
        let mut first_tap = 0;
        for run in &self.runs {
            let taps: Vec<Segment> = run
                .iter()
                .map(|tap| self.field.segment(std::slice::from_ref(tap)))
                .collect();
            for panel in panels {
                let depthwise = Depthwise {
                    a: x.as_ptr().wrapping_add(panel.a_shift),
                    a_offsets: xs,
                    taps: &taps,
                    b: self.dy.as_ptr().wrapping_add(panel.column).cast(),
                    b_offsets: &y_offsets,
                    c: dw.wrapping_add(first_tap * channels + panel.column),
                    c_stride: channels,
                    columns: panel.columns,
                    resume,
                };
                // SAFETY: every position has every tap and all channels; the caller vouches for the result.
                unsafe { (self.set.depthwise_outer.1)(&depthwise) }
            }
            first_tap += taps.len();
        }
    }
}

/// The output's gradient for some panels: where it is, or one row of registers a step, with zeros between panels.
struct Right<'a> {
    dy: &'a [f32],
    /// The rows, and where each panel begins in one, by its first column.
    packed: Option<(Buffer, Vec<(usize, usize)>)>,
    /// Bytes from a panel's start to each step.
    offsets: Vec<usize>,
}

impl<'a> Right<'a> {
    fn new(job: &Job<'a>, ys: &[usize], panels: &[Panel]) -> Self {
        let (set, dy) = (job.set, job.dy);
        let steps = ys.len().div_ceil(set.elements);
        let width = panels
            .iter()
            .map(|panel| panel.registers * set.lanes)
            .max()
            .unwrap_or(0);
        let full = |panel: &Panel| panel.columns == width;
        let mut right = Self {
            dy,
            packed: None,
            offsets: Vec::new(),
        };
        // Rows further apart would fall into few sets of the first-level cache; the short rows of a group are used too
        // few times to be worth a copy.
        let near = job.plan.target_channels <= if job.plan.groups > 1 { 256 } else { 2 * width };
        if set.elements == 1 && near && panels.iter().all(full) {
            right.offsets = ys.iter().map(|offset| offset * 4).collect();
            return right;
        }
        let mut buffer = job.ctx.pool.take((panels.len() * steps * width + SLACK) * 4);
        let units = buffer.as_mut_slice::<u32>();
        let mut starts = Vec::with_capacity(panels.len());
        for (i, (panel, rows)) in panels.iter().zip(units.chunks_exact_mut(steps * width)).enumerate() {
            starts.push((panel.column, i * steps * width));
            for (ys, to) in ys.chunks(set.elements).zip(rows.chunks_exact_mut(width)) {
                right.fill(set, ys, panel.column, &mut to[..panel.columns]);
                to[panel.columns..].fill(0);
            }
        }
        units[panels.len() * steps * width..].fill(0);
        right.offsets = every(steps, width * 4);
        right.packed = Some((buffer, starts));
        right
    }

    fn start(&self, panel: &Panel) -> *const u8 {
        match &self.packed {
            None => self.dy.as_ptr().wrapping_add(panel.column).cast(),
            Some((rows, starts)) => {
                let start = starts
                    .binary_search_by_key(&panel.column, |start| start.0)
                    .map_or(0, |i| starts[i].1);
                rows.bytes().as_ptr().wrapping_add(start * 4)
            }
        }
    }

    fn fill(&self, set: &Set, ys: &[usize], column: usize, to: &mut [u32]) {
        let row = |i: usize| ys.get(i).map_or(&[][..], |&y| &self.dy[y + column..][..to.len()]);
        if set.elements == 1 {
            to.copy_from_slice(bytemuck::cast_slice(row(0)));
        } else {
            let (low, high) = (row(0), row(1));
            pair_rows(set, low, high, to);
        }
    }
}

/// Offsets of rows that follow each other.
fn every(count: usize, bytes: usize) -> Vec<usize> {
    (0..count).map(|i| i * bytes).collect()
}

/// Some channels of every pixel: where they are in float32, brought into pairs of pixels in bfloat16.
struct Strip {
    pairs: Option<(Buffer, Vec<usize>)>,
}

impl Strip {
    fn new(job: &Job<'_>, steps: usize) -> Self {
        let pairs = || (job.ctx.pool.take((steps * STRIP + SLACK) * 4), every(steps, STRIP * 4));
        Self {
            pairs: (job.set.elements > 1).then(pairs),
        }
    }

    fn fill(&mut self, job: &Job<'_>, x: &[u8], xs: &[usize], from: usize, count: usize) {
        let Some((buffer, _)) = &mut self.pairs else { return };
        for (xs, to) in xs.chunks(2).zip(buffer.as_mut_slice::<u32>().chunks_exact_mut(STRIP)) {
            let row = |i: usize| {
                xs.get(i)
                    .map_or(&[][..], |&at| bytemuck::cast_slice(&x[at + from..][..count * 2]))
            };
            interleave(job.set, row(0), row(1), &mut to[..count]);
        }
    }

    fn operand<'a>(&'a self, x: &'a [u8], xs: &'a [usize], from: usize) -> (*const u8, &'a [usize]) {
        match &self.pairs {
            Some((buffer, offsets)) => (buffer.bytes().as_ptr(), offsets),
            None => (x.as_ptr().wrapping_add(from), xs),
        }
    }
}
