//! Weight gradients: sums over pixels of outer products of source and output channels.
//!
//! The pixels are cut into a fixed number of chunks, whatever the number of threads, each summed in order into a
//! partial result; the partial results are added in order.

use super::{
    field::{Field, Layout},
    forward::{for_each_position, target_offset},
    plan::{Block, Blocks, Plan, Tap},
};
use crate::kernels::{
    Context,
    gemm::{
        Depthwise, Outer, Segment, Set,
        drive::{Kind, Panel, panels, part},
        pack::{Shared, round},
    },
    isa::{Arithmetic, Isa, Kernel, Precision},
    memory::Buffer,
};

/// Source channels (of neighboring taps too) that are brought into pairs of pixels together.
const STRIP: usize = 128;
/// Tasks that keep many threads busy.
const ENOUGH_TASKS: usize = 16;
/// Partial results take at most this many values.
const PARTIAL_VALUES: usize = 4 << 20;
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
    let field = Field::new(plan, set, blocks.count, Layout::Pixels);
    let taps = &plan.phases[0].taps;
    let runs = if depthwise {
        taps.chunks(set.depthwise_outer.0).collect()
    } else {
        field.runs(taps).collect()
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

    let panel_parts = if lanes == Lanes::Sources {
        1
    } else {
        job.panels.len().min(ENOUGH_TASKS)
    };
    let most = (PARTIAL_VALUES / dw.len().max(1)).max(1);
    let chunks = ENOUGH_TASKS.div_ceil(panel_parts).min(most).min(blocks.len());
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
        let Some(x) = self.field.gather(self.ctx, self.x, block) else {
            return;
        };
        let phase = &self.plan.phases[0];
        let (mut x_offsets, mut y_offsets) = (Vec::new(), Vec::new());
        for_each_position(block, phase.count, |image, q| {
            x_offsets.push(self.field.position(block, image, q));
            y_offsets.push(target_offset(self.plan, phase, block, image, q));
        });
        // SAFETY: the caller vouches for the result; the offsets are those of the box.
        unsafe {
            match self.lanes {
                Lanes::Outputs => self.outputs(x.bytes(), &x_offsets, &y_offsets, panels, dw, resume),
                Lanes::Sources => self.sources(x.bytes(), &x_offsets, &y_offsets, dw, resume),
                Lanes::Channels => self.channels(x.bytes(), &x_offsets, &y_offsets, panels, dw, resume),
            }
        }
    }

    /// # Safety
    /// As for [`Job::add_block`].
    unsafe fn outputs(&self, x: &[u8], xs: &[usize], ys: &[usize], panels: &[Panel], dw: *mut f32, resume: bool) {
        let steps = xs.len().div_ceil(self.set.elements);
        let packed: Vec<(Buffer, Vec<usize>)> = panels
            .iter()
            .map(|panel| {
                let width = panel.registers * self.set.lanes;
                (
                    self.rows_of_dy(ys, panel.column, panel.columns, width),
                    every(steps, width * 4),
                )
            })
            .collect();
        let mut strip = Strip::new(self, steps);
        let mut first_row = 0;
        for run in &self.runs {
            let segment = self.field.segment(run);
            let length = run.len() * self.plan.depth();
            for first in (0..length).step_by(STRIP) {
                let count = STRIP.min(length - first);
                let mut at = usize::MAX;
                for (panel, (dy, dy_offsets)) in panels.iter().zip(&packed) {
                    let from = panel.a_shift as isize + segment.offset + (first * 4 / self.set.elements) as isize;
                    if at != panel.a_shift {
                        strip.fill(self, x, xs, from as usize, count);
                        at = panel.a_shift;
                    }
                    let (a, a_offsets) = strip.operand(x, xs, from as usize);
                    let mut row = 0;
                    while row < count {
                        let (height, run) = self.set.outer(panel.registers, count - row);
                        let outer = Outer {
                            a: a.wrapping_add(row * 4),
                            a_offsets,
                            b: dy.bytes().as_ptr(),
                            b_offsets: dy_offsets,
                            c: dw.wrapping_add((first_row + first + row) * self.plan.target_channels + panel.column),
                            c_stride: self.plan.target_channels,
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
        let dy = self.rows_of_dy(ys, 0, outputs, outputs);
        let dy_offsets = every(steps, outputs * 4);
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
                        a: dy.bytes().as_ptr(),
                        a_offsets: &dy_offsets,
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

    /// Some channels of the output's gradient, one row of `width` units a step, zeros beyond `columns`, and slack.
    fn rows_of_dy(&self, ys: &[usize], column: usize, columns: usize, width: usize) -> Buffer {
        let steps = ys.len().div_ceil(self.set.elements);
        let mut buffer = self.ctx.pool.take((steps * width + SLACK) * 4);
        let units = buffer.as_mut_slice::<u32>();
        for (ys, to) in ys.chunks(self.set.elements).zip(units.chunks_exact_mut(width)) {
            let row = |i: usize| ys.get(i).map_or(&[][..], |&y| &self.dy[y + column..][..columns]);
            if self.set.elements == 1 {
                to[..columns].copy_from_slice(bytemuck::cast_slice(row(0)));
            } else {
                self.ctx.isa.run(PairRows {
                    low: row(0),
                    high: row(1),
                    to: &mut to[..columns],
                });
            }
            to[columns..].fill(0);
        }
        units[steps * width..].fill(0);
        buffer
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
        let units = buffer.as_mut_slice::<u32>();
        for (xs, to) in xs.chunks(2).zip(units.chunks_exact_mut(STRIP)) {
            let row = |i: usize| xs.get(i).map(|&at| bytemuck::cast_slice(&x[at + from..][..count * 2]));
            interleave(job.ctx.isa, row(0).unwrap_or(&[]), row(1), &mut to[..count]);
        }
    }

    fn operand<'a>(&'a self, x: &'a [u8], xs: &'a [usize], from: usize) -> (*const u8, &'a [usize]) {
        match &self.pairs {
            Some((buffer, offsets)) => (buffer.bytes().as_ptr(), offsets),
            None => (x.as_ptr().wrapping_add(from), xs),
        }
    }
}

/// Pairs of bfloat16 from two rows of them; zeros where there is no second.
fn interleave(isa: Isa, low: &[u16], high: Option<&[u16]>, to: &mut [u32]) {
    match high {
        Some(high) => isa.run(Interleave { low, high, to }),
        None => to.iter_mut().zip(low).for_each(|(to, &low)| *to = u32::from(low)),
    }
}

struct Interleave<'a> {
    low: &'a [u16],
    high: &'a [u16],
    to: &'a mut [u32],
}

impl Kernel for Interleave<'_> {
    type Output = ();

    #[inline(always)]
    fn run<A: Arithmetic>(self) {
        for ((to, &low), &high) in self.to.iter_mut().zip(self.low).zip(self.high) {
            *to = u32::from(low) | u32::from(high) << 16;
        }
    }
}

struct PairRows<'a> {
    low: &'a [f32],
    high: &'a [f32],
    to: &'a mut [u32],
}

impl Kernel for PairRows<'_> {
    type Output = ();

    #[inline(always)]
    fn run<A: Arithmetic>(self) {
        if self.high.is_empty() {
            self.to.iter_mut().zip(self.low).for_each(|(to, &low)| *to = round(low));
        } else {
            for ((to, &low), &high) in self.to.iter_mut().zip(self.low).zip(self.high) {
                *to = round(low) | round(high) << 16;
            }
        }
    }
}
