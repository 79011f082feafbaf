//! Mirroring, shifts and cutout: for each pixel of the result, the pixel that it is taken from, or none.

use std::ops::Range;

use gander_tensor::{RandomKey, Result, Tensor, concat};

use super::{AugmentPolicy, Draws};

/// Images with moved and cleared pixels.
pub(super) fn change(images: &Tensor, policy: AugmentPolicy, draws: Draws) -> Result<Tensor> {
    let &[batch, height, width, channels] = &images.shape()[..] else {
        return Ok(images.clone());
    };
    let mirrored = draws.each("flip", |key| policy.flip && key.uniform() < 0.5);
    let sides = [height, width];
    let shifts = draws.each("translation", |key| shift(key, sides, policy.translation));
    let holes = draws.each("cutout", |key| hole(key, sides, policy.cutout));
    let moves: Vec<Move> = (0..batch)
        .map(|image| Move {
            mirrored: mirrored[image].unwrap_or_default(),
            shift: shifts[image].unwrap_or_default(),
            hole: holes[image].clone().unwrap_or_default(),
        })
        .collect();
    if moves.iter().all(Move::is_nothing) {
        return Ok(images.clone());
    }
    // A table of all pixels with a row of zeros behind it, for what is taken from nowhere.
    let pixels = images.reshape([batch * height * width, channels])?;
    let table = concat(&[&pixels, &Tensor::zeros([1, channels], images.device())?], 0)?;
    let nowhere = batch * height * width;
    let mut sources = Vec::with_capacity(nowhere);
    for (image, a_move) in moves.iter().enumerate() {
        for y in 0..height {
            for x in 0..width {
                let source = a_move
                    .source(sides, [y, x])
                    .map(|[y, x]| (image * height + y) * width + x);
                sources.push(source.unwrap_or(nowhere) as u32);
            }
        }
    }
    table.gather_rows(&Tensor::from_u32(&sources, [batch, height, width], images.device())?)
}

/// What happens to the pixels of one image.
#[derive(Debug)]
struct Move {
    mirrored: bool,
    /// Positions down and to the right.
    shift: [isize; 2],
    /// Rows and columns that are cleared.
    hole: [Range<usize>; 2],
}

impl Move {
    fn is_nothing(&self) -> bool {
        !self.mirrored && self.shift == [0, 0] && self.hole.iter().any(Range::is_empty)
    }

    /// Where the pixel `at` of the result is taken from.
    fn source(&self, sides: [usize; 2], at: [usize; 2]) -> Option<[usize; 2]> {
        if (0..2).all(|axis| self.hole[axis].contains(&at[axis])) {
            return None;
        }
        let along = |axis: usize| {
            at[axis]
                .checked_add_signed(-self.shift[axis])
                .filter(|&from| from < sides[axis])
        };
        let (y, x) = (along(0)?, along(1)?);
        Some([y, if self.mirrored { sides[1] - 1 - x } else { x }])
    }
}

/// A whole number in `0..count`.
fn below(key: RandomKey, count: usize) -> usize {
    // The product may round up to `count` itself.
    ((key.uniform() * count as f64) as usize).min(count.saturating_sub(1))
}

fn shift(key: RandomKey, sides: [usize; 2], share: f64) -> [isize; 2] {
    [0, 1].map(|axis| {
        let most = (sides[axis] as f64 * share) as usize;
        below(key.split(axis as u64), 2 * most + 1) as isize - most as isize
    })
}

/// A rectangle whose center is anywhere in the image, cut off at the border.
fn hole(key: RandomKey, sides: [usize; 2], share: f64) -> [Range<usize>; 2] {
    [0, 1].map(|axis| {
        let (side, len) = (sides[axis], (sides[axis] as f64 * share) as usize);
        // The center of an even length lies between two positions, of which there is one more.
        let center = below(key.split(axis as u64), side + 1 - len % 2);
        center.saturating_sub(len / 2)..(center + len - len / 2).min(side)
    })
}
