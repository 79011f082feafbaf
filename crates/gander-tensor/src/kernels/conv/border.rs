//! Positions near a border meet fewer taps; those that meet the same ones are computed together, without the rest.
//!
//! Of the products of a 4x4 kernel with stride 2 and padding 1 that makes 4x4 positions out of 8x8, 23 % are with
//! zeros of the border. Leaving them out changes no sum, since adding zero does not.

use super::{
    field::Field,
    plan::{Block, Phase, Plan},
};
use crate::kernels::gemm::{Segment, Set, drive::Kind};

/// Positions of a box that meet the same taps.
pub(super) struct Class {
    /// Along each axis, counted from the box; a class is all that they cross in.
    pub(super) positions: [Vec<usize>; 3],
    /// The taps that they meet.
    pub(super) segments: Vec<Segment>,
}

/// The positions of a box in a phase: in classes where that leaves out more work than smaller blocks of rows add.
pub(super) fn classes(plan: &Plan, phase: &Phase, field: &Field, set: &Set, kind: Kind, block: &Block) -> Vec<Class> {
    let ends = [0, 1, 2].map(|axis| block.count[axis].min(phase.count[axis].saturating_sub(block.first[axis])));
    let whole = Class {
        positions: ends.map(|end| (0..end).collect()),
        segments: field.segments(set, kind, &phase.taps, |_| true),
    };
    let meets =
        |q: [usize; 3], at: [isize; 3]| (0..3).all(|axis| plan.meets(axis, block.first[axis] + q[axis], at[axis]));
    let corners = [[0; 3], ends.map(|end| end.saturating_sub(1))];
    let inside = corners
        .into_iter()
        .all(|q| phase.taps.iter().all(|tap| meets(q, tap.at)));
    if kind == Kind::Depthwise || inside || ends.contains(&0) {
        return vec![whole];
    }
    let axes = [0, 1, 2].map(|axis| alike(plan, phase, block, axis, ends[axis]));
    let mut classes = Vec::new();
    for z in &axes[0] {
        for y in &axes[1] {
            for x in &axes[2] {
                let first = [z[0], y[0], x[0]];
                classes.push(Class {
                    positions: [z.clone(), y.clone(), x.clone()],
                    segments: field.segments(set, kind, &phase.taps, |tap| meets(first, tap.at)),
                });
            }
        }
    }
    let work = |class: &Class| {
        let rows = block.images * class.positions.iter().map(Vec::len).product::<usize>();
        // A row's results are stored whatever its taps are.
        let units: usize = class.segments.iter().map(|segment| segment.units).sum();
        set.computed_rows(kind, plan.width(), rows) * (units + 8)
    };
    if classes.iter().map(work).sum::<usize>() * 100 < work(&whole) * 98 {
        classes
    } else {
        vec![whole]
    }
}

/// Positions along an axis, in groups that meet the same taps.
fn alike(plan: &Plan, phase: &Phase, block: &Block, axis: usize, end: usize) -> Vec<Vec<usize>> {
    let mut groups: Vec<((usize, usize), Vec<usize>)> = Vec::new();
    for q in 0..end {
        let met = phase
            .taps
            .iter()
            .map(|tap| plan.meets(axis, block.first[axis] + q, tap.at[axis]));
        let key = met.enumerate().fold((0, usize::MAX), |(count, first), (i, met)| {
            (count + usize::from(met), if met { first.min(i) } else { first })
        });
        match groups.iter_mut().find(|(other, _)| *other == key) {
            Some((_, group)) => group.push(q),
            None => groups.push((key, vec![q])),
        }
    }
    groups.into_iter().map(|(_, group)| group).collect()
}
