//! Convolutions and their input gradients: boxes of positions times packed weights.

use std::sync::OnceLock;

use super::{
    border::{self, Class},
    field::{Field, Layout},
    plan::{Block, Blocks, Phase, Plan},
};
use crate::kernels::{
    Context,
    gemm::{
        self, After, Set,
        drive::{self, Kind, Panel, Right, Rows},
        pack::{self, Shared, Source, ZERO_ROW},
    },
    isa::Precision,
    memory::Buffer,
};

/// Which index of the weight `[taps, a, b]` the reduction runs over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reduce {
    /// The middle one: input channels.
    Middle,
    /// The last one: output channels.
    Last,
}

/// A phase with its weights packed.
struct Prepared<'a> {
    phase: &'a Phase,
    kind: Kind,
    panels: Vec<Panel>,
    packed: Buffer,
}

/// Computes a plan, and what follows but for activations of [`drive::finish_rows`] and what comes after those.
pub(super) fn run(
    ctx: &Context,
    plan: &Plan,
    (source, weight, over): (&[f32], &[f32], Reduce),
    after: After<'_>,
    target: &mut [f32],
) {
    let depthwise = plan.groups > 1 && plan.depth() == 1 && plan.width() == 1;
    let precision = if depthwise { Precision::F32 } else { ctx.precision };
    let set = Set::of(ctx.isa, precision);
    let blocks = Blocks::new(plan.batch, plan.positions(), positions_of_a_box(plan, set));
    let layout = if depthwise { Layout::Depthwise } else { Layout::Channels };
    let field = Field::new(plan, set, &blocks, layout);
    let phases: Vec<Prepared<'_>> = plan
        .phases
        .iter()
        .map(|phase| prepare(ctx, plan, set, &field, phase, (weight, over), depthwise))
        .collect();
    let Some(panels) = phases.first().map(|phase| phase.panels.len()) else {
        return;
    };
    let parts = drive::parts(ctx.threads.threads(), blocks.len(), panels);
    // Boxes at the same place in other images have the same classes; the last images may be fewer.
    let classes: Vec<OnceLock<Vec<Class>>> = (0..phases.len() * 2 * blocks.places())
        .map(|_| OnceLock::new())
        .collect();
    let target = Shared::new(target);
    ctx.threads.for_each(blocks.len() * parts, |task| {
        let block = blocks.get(task / parts);
        let range = drive::part(panels, parts, task % parts);
        let copied = field.gather(ctx, source, &block);
        let a = copied
            .as_ref()
            .map_or(source.as_ptr().cast(), |copied| copied.bytes().as_ptr());
        let (mut a_offsets, mut c_offsets) = (Vec::new(), Vec::new());
        let (a_step, c_step) = (field.step(), plan.step[2] * plan.target_channels);
        let at = 2 * blocks.place(task / parts) + usize::from(block.images < blocks.images);
        for (prepared, classes) in phases.iter().zip(classes.chunks(2 * blocks.places())) {
            let own = || border::classes(plan, prepared.phase, &field, set, prepared.kind, &block);
            for class in classes[at].get_or_init(own) {
                a_offsets.clear();
                c_offsets.clear();
                let [zs, ys, xs] = &class.positions;
                for image in 0..block.images {
                    for &z in zs {
                        for &y in ys {
                            let a = field.position(&block, image, [z, y, 0]);
                            let c = target_offset(plan, prepared.phase, &block, image, [z, y, 0]);
                            a_offsets.extend(xs.iter().map(|x| a + x * a_step));
                            c_offsets.extend(xs.iter().map(|x| c + x * c_step));
                        }
                    }
                }
                let rows = Rows {
                    a,
                    a_offsets: &a_offsets,
                    c: target.get(),
                    c_offsets: &c_offsets,
                };
                let right = Right {
                    kind: prepared.kind,
                    panels: &prepared.panels[range.clone()],
                    packed: prepared.packed.bytes().as_ptr(),
                    segments: &class.segments,
                };
                // SAFETY: the field holds every tap of every position in the box with all channels, and each
                // position and panel of the target belongs to this task alone.
                unsafe {
                    drive::multiply(set, &rows, &right, after);
                    drive::finish_rows(ctx.isa, &rows, &right, after.activation);
                }
            }
        }
    });
}

fn kind(plan: &Plan, set: &Set, lengths: impl Iterator<Item = usize>, depthwise: bool) -> Kind {
    let shortest = lengths.min().unwrap_or(0);
    if depthwise {
        Kind::Depthwise
    } else if plan.width() <= gemm::MAX_OUTS && shortest >= set.lanes {
        Kind::Dot
    } else {
        Kind::Tile
    }
}

/// Positions in a box: so many that its part of the source stays in the second-level cache.
fn positions_of_a_box(plan: &Plan, set: &Set) -> usize {
    let pixel = plan.source_channels * 4 / set.elements * plan.stride.iter().product::<usize>();
    ((384 << 10) / pixel.max(1)).clamp(48, 192)
}

fn prepare<'a>(
    ctx: &Context,
    plan: &Plan,
    set: &'static Set,
    field: &Field,
    phase: &'a Phase,
    (weight, over): (&[f32], Reduce),
    depthwise: bool,
) -> Prepared<'a> {
    let (depth, width) = (plan.depth(), plan.width());
    let lengths = field.runs(&phase.taps).map(|run| field.segment(run).units);
    let kind = kind(plan, set, lengths, depthwise);
    let segments = field.segments(set, kind, &phase.taps, |_| true);
    let (groups, columns) = if depthwise {
        (1, plan.groups)
    } else {
        (plan.groups, width)
    };
    // The weight is `[taps, input channels of a group, output channels]`.
    let (last, column_stride) = match over {
        Reduce::Middle => (plan.target_channels, 1),
        Reduce::Last if depthwise => (plan.source_channels, 1),
        Reduce::Last => (plan.source_channels, plan.source_channels),
    };
    let place = |group: usize, column: usize| match over {
        _ if depthwise => (column * 4, column),
        Reduce::Middle => (field.group_bytes(group), group * width + column),
        Reduce::Last => (field.group_bytes(group), group * depth + column * last),
    };
    let (panels, bytes) = drive::panels(set, kind, groups, columns, place, &segments);
    let mut rows = Vec::with_capacity(phase.taps.len() * field.depth);
    for tap in &phase.taps {
        for channel in 0..field.depth {
            rows.push(match over {
                _ if channel >= depth => ZERO_ROW,
                Reduce::Middle => (tap.index * depth + channel) * last,
                Reduce::Last => tap.index * width * last + channel,
            });
        }
    }
    let source = Source {
        values: weight,
        rows: &rows,
        column_stride,
    };
    let packed = pack::pack(ctx, set, kind, &panels, bytes, &segments, &source);
    Prepared {
        phase,
        kind,
        panels,
        packed,
    }
}

/// Where the target's channels begin.
pub(super) fn target_offset(plan: &Plan, phase: &Phase, block: &Block, image: usize, q: [usize; 3]) -> usize {
    let [z, y, x] = [0, 1, 2].map(|axis| (block.first[axis] + q[axis]) * plan.step[axis] + phase.start[axis]);
    let [depth, height, width] = plan.target;
    debug_assert!(z < depth && y < height && x < width);
    ((((block.image + image) * depth + z) * height + y) * width + x) * plan.target_channels
}
