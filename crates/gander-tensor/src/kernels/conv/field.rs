//! The part of the source that a box of positions sees, laid out so that every tap is a constant distance away.
//!
//! A box is copied with its border of zeros (and rounded to bfloat16 on the way), which costs one pass over data that
//! is read anyway; after it no innermost loop knows of padding. Where nothing reaches over the edge and nothing is
//! rounded, the source is used in place.

use std::ops::Range;

use super::plan::{Block, Blocks, Plan, Tap};
use crate::kernels::{
    Context,
    gemm::{Segment, Set, drive::Kind, pack::copy_row},
    memory::Buffer,
};

/// Bytes after a copied box that may be read, so that register tiles need not end with the data.
const SLACK: usize = 512;

/// Where pixels lie.
#[derive(Clone)]
pub(super) struct Field {
    /// The source is used where it is.
    in_place: bool,
    set: &'static Set,
    /// Channels of a group, padded to whole units where asked for.
    pub(super) depth: usize,
    groups: usize,
    /// All channels of a pixel lie together; else each group has a plane of its own.
    dense: bool,
    /// Bytes between pixels.
    pixel: usize,
    /// Bytes between groups: in planes, so that neighboring taps of a group are contiguous.
    group: usize,
    source: [usize; 3],
    source_depth: usize,
    stride: [usize; 3],
    /// The lowest tap along each axis.
    low: [isize; 3],
    /// Sides of the memory that holds an image.
    sides: [usize; 3],
}

/// Whether channels may be used where they are, and whether a group's channels are padded to whole units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    /// Products pair neighboring channels; the source may be used in place.
    Channels,
    /// Products pair pixels; register tiles may read past the end.
    Pixels,
    /// Groups have single channels and stay together.
    Depthwise,
}

impl Field {
    pub(super) fn new(plan: &Plan, set: &'static Set, blocks: &Blocks, layout: Layout) -> Self {
        let reach = plan.reach();
        let positions = plan.positions();
        let inside = (0..3).all(|axis| {
            let (low, high) = reach[axis];
            let last = positions[axis].saturating_sub(1) * plan.stride[axis];
            low >= 0 && last as isize + high < plan.source[axis] as isize
        });
        let dense = plan.groups == 1 || layout == Layout::Depthwise;
        let in_place = inside && set.elements == 1 && dense && layout != Layout::Pixels;
        let span = |axis: usize| {
            let (low, high) = reach[axis];
            (blocks.count[axis] - 1) * plan.stride[axis] + (high - low) as usize + 1
        };
        let mut field = Self {
            in_place,
            set,
            depth: plan.depth(),
            groups: plan.groups,
            dense,
            pixel: 0,
            group: 0,
            source: plan.source,
            source_depth: plan.depth(),
            stride: plan.stride,
            low: if in_place { [0; 3] } else { reach.map(|(low, _)| low) },
            sides: if in_place {
                plan.source
            } else {
                [span(0), span(1), span(2)]
            },
        };
        if layout == Layout::Channels && set.elements > 1 {
            // Runs of odd length would make a unit out of two pixels.
            let odd = |taps: &[Tap]| {
                field
                    .runs(taps)
                    .any(|run| !(run.len() * field.depth).is_multiple_of(set.elements))
            };
            if plan.phases.iter().any(|phase| odd(&phase.taps)) {
                field.depth = field.depth.next_multiple_of(set.elements);
            }
        }
        let channels = field.depth * 4 / set.elements;
        if dense {
            (field.pixel, field.group) = (plan.groups * channels, channels);
        } else {
            // Half a page more, so that groups do not fall into the same sets of the first-level cache.
            let pixels = blocks.images * field.sides.iter().product::<usize>();
            (field.pixel, field.group) = (channels, (pixels * channels).next_multiple_of(4096) + 2048);
        }
        field
    }

    /// Bytes of the channels before those of `group`.
    pub(super) fn group_bytes(&self, group: usize) -> usize {
        group * self.group
    }

    /// Taps in runs that are contiguous in memory, none so long that it would fill a cache by itself.
    pub(super) fn runs<'a>(&self, taps: &'a [Tap]) -> impl Iterator<Item = &'a [Tap]> + use<'a> {
        const LONGEST: usize = 512;
        let (depth, mergeable) = (self.depth, self.groups == 1 || !self.dense);
        let mut rest = taps;
        std::iter::from_fn(move || {
            let follows = |i: usize| {
                let [z, y, x] = rest[i - 1].at;
                mergeable && (i + 1) * depth <= LONGEST && rest[i].at == [z, y, x + 1]
            };
            let len = (1..rest.len()).find(|&i| !follows(i)).unwrap_or(rest.len());
            let (run, after) = rest.split_at(len);
            rest = after;
            (len > 0).then_some(run)
        })
    }

    /// Where a run lies from its position.
    pub(super) fn segment(&self, run: &[Tap]) -> Segment {
        let [z, y, x] = [0, 1, 2].map(|axis| run[0].at[axis] - self.low[axis]);
        let pixels = (z * self.sides[1] as isize + y) * self.sides[2] as isize + x;
        Segment {
            offset: pixels * self.pixel as isize,
            units: (run.len() * self.depth).div_ceil(self.set.elements),
            row: 0,
        }
    }

    /// The runs of `taps`, in the order of the packed weights, without taps at a run's ends that are not kept.
    pub(super) fn segments(&self, set: &Set, kind: Kind, taps: &[Tap], keep: impl Fn(&Tap) -> bool) -> Vec<Segment> {
        let mut segments = Vec::new();
        let mut row = 0;
        for run in self.runs(taps) {
            let whole = self.segment(run);
            // A cut must fall between units, or between registers where those run along the reduction.
            let unit = if kind == Kind::Dot {
                set.elements * set.lanes
            } else {
                set.elements
            };
            let kept = if self.depth.is_multiple_of(unit) {
                let first = run.iter().position(&keep).unwrap_or(run.len());
                first..run.iter().rposition(&keep).map_or(first, |last| last + 1)
            } else {
                0..if run.iter().any(&keep) { run.len() } else { 0 }
            };
            if !kept.is_empty() {
                segments.push(Segment {
                    row: row + kept.start * self.depth / unit,
                    ..self.segment(&run[kept])
                });
            }
            row += match kind {
                Kind::Tile => whole.units,
                Kind::Dot => whole.units.div_ceil(set.lanes),
                Kind::Depthwise => 1,
            };
        }
        segments
    }

    /// Bytes from the field's start to the position `q` of an image, both counted from the box.
    pub(super) fn position(&self, block: &Block, image: usize, q: [usize; 3]) -> usize {
        let (image, [z, y, x]) = if self.in_place {
            (
                block.image + image,
                [0, 1, 2].map(|axis| (block.first[axis] + q[axis]) * self.stride[axis]),
            )
        } else {
            (image, [0, 1, 2].map(|axis| q[axis] * self.stride[axis]))
        };
        (((image * self.sides[0] + z) * self.sides[1] + y) * self.sides[2] + x) * self.pixel
    }

    /// Bytes between neighbors along the last axis of [`Field::position`].
    pub(super) fn step(&self) -> usize {
        self.stride[2] * self.pixel
    }

    /// The box in memory: copied, or `None` where the source serves.
    pub(super) fn gather(&self, ctx: &Context, x: &[f32], block: &Block) -> Option<Buffer> {
        if self.in_place {
            return None;
        }
        let row_bytes = self.sides[2] * self.pixel;
        let rows = block.images * self.sides[0] * self.sides[1];
        let planes = if self.dense { 1 } else { self.groups };
        let end = (planes - 1) * self.group + rows * row_bytes;
        let mut buffer = ctx.pool.take(end + SLACK);
        let bytes = buffer.bytes_mut();
        // Values that go as they are go straight to their groups' planes.
        let is_plain = self.set.elements == 1 && self.depth == self.source_depth;
        let mut line = (!self.dense && !is_plain).then(|| ctx.pool.take(self.sides[2] * self.groups * self.pixel));
        for row in 0..rows {
            let (y, z, n) = (
                row % self.sides[1],
                row / self.sides[1] % self.sides[0],
                row / self.sides[1] / self.sides[0],
            );
            let from = match (self.inside(0, z, block), self.inside(1, y, block)) {
                (Some(z), Some(y)) => Some(((block.image + n) * self.source[0] + z) * self.source[1] + y),
                _ => None,
            };
            let at = row * row_bytes;
            match (from, &mut line) {
                (Some(from), None) if !self.dense => {
                    let (met, first) = self.met(from, block);
                    let values = &x[first..][..met.len() * self.groups * self.source_depth];
                    for group in 0..self.groups {
                        let to = &mut bytes[group * self.group + at..][..row_bytes];
                        to[..met.start * self.pixel].fill(0);
                        to[met.end * self.pixel..].fill(0);
                        let values = bytemuck::cast_slice(values).get(group * self.pixel..).unwrap_or(&[]);
                        let to = &mut to[met.start * self.pixel..met.end * self.pixel];
                        pick(values, self.groups * self.pixel, self.pixel, to);
                    }
                }
                (Some(from), None) => self.copy_line(x, from, block, &mut bytes[at..at + row_bytes]),
                (Some(from), Some(line)) => {
                    self.copy_line(x, from, block, line.bytes_mut());
                    for group in 0..self.groups {
                        let to = &mut bytes[group * self.group + at..][..row_bytes];
                        pick(
                            &line.bytes()[group * self.pixel..],
                            self.groups * self.pixel,
                            self.pixel,
                            to,
                        );
                    }
                }
                (None, _) => (0..planes).for_each(|plane| bytes[plane * self.group + at..][..row_bytes].fill(0)),
            }
        }
        bytes[end..].fill(0);
        Some(buffer)
    }

    /// The source position of a field position, if there is one.
    fn inside(&self, axis: usize, at: usize, block: &Block) -> Option<usize> {
        let at = (block.first[axis] * self.stride[axis] + at) as isize + self.low[axis];
        (0..self.source[axis] as isize).contains(&at).then_some(at as usize)
    }

    /// The positions of a field's line that lie within the source, and where the values of the first of them begin.
    fn met(&self, line: usize, block: &Block) -> (Range<usize>, usize) {
        let width = self.source[2] as isize;
        let first = (block.first[2] * self.stride[2]) as isize + self.low[2];
        let start = (-first).clamp(0, self.sides[2] as isize) as usize;
        let end = (width - first).clamp(start as isize, self.sides[2] as isize) as usize;
        if start == end {
            return (start..end, 0);
        }
        let position = (line as isize * width + first + start as isize) as usize;
        (start..end, position * self.groups * self.source_depth)
    }

    fn copy_line(&self, x: &[f32], line: usize, block: &Block, to: &mut [u8]) {
        let (met, first) = self.met(line, block);
        let pixel = self.groups * self.depth * 4 / self.set.elements;
        to[..met.start * pixel].fill(0);
        to[met.end * pixel..].fill(0);
        let from = &x[first..][..met.len() * self.groups * self.source_depth];
        let to = &mut to[met.start * pixel..met.end * pixel];
        if self.depth == self.source_depth {
            return copy_row(self.set, from, to);
        }
        let element = 4 / self.set.elements;
        for (from, to) in from
            .chunks_exact(self.source_depth)
            .zip(to.chunks_exact_mut(self.depth * element))
        {
            let (to, rest) = to.split_at_mut(self.source_depth * element);
            copy_row(self.set, from, to);
            rest.fill(0);
        }
    }
}

/// Copies `len` bytes out of every `stride`.
fn pick(from: &[u8], stride: usize, len: usize, to: &mut [u8]) {
    /// Bytes that are copied without a call.
    const AT_ONCE: usize = 32;
    let pixels = from.chunks(stride).zip(to.chunks_exact_mut(len));
    if len.is_multiple_of(AT_ONCE) {
        for (from, to) in pixels {
            for (from, to) in from
                .as_chunks::<AT_ONCE>()
                .0
                .iter()
                .zip(to.as_chunks_mut::<AT_ONCE>().0)
            {
                *to = *from;
            }
        }
    } else {
        pixels.for_each(|(from, to)| to.copy_from_slice(&from[..len]));
    }
}
