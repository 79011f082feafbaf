//! Transforms of tiles: a small matrix applied to rows and columns, channels along the lanes.

#![expect(
    clippy::needless_range_loop,
    reason = "counted loops over registers are what the compiler unrolls whole"
)]

use std::{marker::PhantomData, ops::Range};

use super::scheme::{Fixed, MOST};
use crate::kernels::gemm::{
    Finish, OnVectors,
    micro::{Vector, load_columns, pass_on, store_columns},
};

/// Pointers to the pixels of a window, row by row.
pub(super) type Pixels = [*const f32; MOST * MOST];

/// Windows of an image batch, one for each tile; what lies outside an image is zero.
pub(super) struct Windows<'a> {
    pub(super) values: &'a [f32],
    /// Height and width of an image.
    pub(super) sides: [usize; 2],
    pub(super) channels: usize,
    /// Where the first window begins.
    pub(super) low: [isize; 2],
    /// Positions between windows.
    pub(super) step: usize,
    /// Windows along each axis of an image.
    pub(super) along: [usize; 2],
    /// All windows.
    pub(super) count: usize,
    /// At least as many zeros as there are channels.
    pub(super) zeros: &'a [f32],
}

impl Windows<'_> {
    /// Pointers to the `side` by `side` pixels of a window; a window after the last is zero.
    #[inline(always)]
    fn pixels(&self, tile: usize, side: usize) -> Pixels {
        let mut to = [self.zeros.as_ptr(); MOST * MOST];
        if tile >= self.count {
            return to;
        }
        let [down, across] = self.along;
        let [height, width] = self.sides.map(|side| side as isize);
        let (image, row, column) = (tile / (down * across), tile / across % down, tile % across);
        let y = (row * self.step) as isize + self.low[0];
        let x = (column * self.step) as isize + self.low[1];
        let image = image as isize * height;
        let inside = y >= 0 && x >= 0 && y + side as isize <= height && x + side as isize <= width;
        for i in 0..side as isize {
            for j in 0..side as isize {
                if inside || ((0..height).contains(&(y + i)) && (0..width).contains(&(x + j))) {
                    let at = ((image + y + i) * width + x + j) as usize * self.channels;
                    to[i as usize * side + j as usize] = self.values.as_ptr().wrapping_add(at);
                }
            }
        }
        to
    }
}

/// An element of a matrix times a register, added to a sum: a constant, so that nothing is done for zeros.
#[inline(always)]
unsafe fn term<S: Vector, M: Fixed, const I: usize, const J: usize>(sum: S::V, v: S::V) -> S::V {
    // SAFETY: arithmetic on registers that the caller's instruction set has.
    unsafe {
        if const { M::MATRIX.first[I] == J || M::MATRIX.at[I][J] == 0.0 } {
            sum
        } else if const { M::MATRIX.at[I][J] == 1.0 } {
            S::add(sum, v)
        } else if const { M::MATRIX.at[I][J] == -1.0 } {
            S::sub(sum, v)
        } else {
            S::scaled_add(sum, v, const { M::MATRIX.at[I][J] })
        }
    }
}

/// A row of `matrix · values`.
#[inline(always)]
unsafe fn row<S: Vector, M: Fixed, const I: usize>(v: &[S::V; MOST]) -> S::V {
    // SAFETY: arithmetic on registers that the caller's instruction set has.
    unsafe {
        if const { I >= M::MATRIX.rows } {
            return S::zero();
        }
        let first = v[const { M::MATRIX.first[I] }];
        let factor = const { M::MATRIX.at[I][M::MATRIX.first[I]] };
        let sum = if factor == 1.0 { first } else { S::scaled(first, factor) };
        let sum = term::<S, M, I, 0>(sum, v[0]);
        let sum = term::<S, M, I, 1>(sum, v[1]);
        let sum = term::<S, M, I, 2>(sum, v[2]);
        let sum = term::<S, M, I, 3>(sum, v[3]);
        let sum = term::<S, M, I, 4>(sum, v[4]);
        term::<S, M, I, 5>(sum, v[5])
    }
}

/// `matrix · values`; rows that the matrix does not have are zero.
#[inline(always)]
unsafe fn apply<S: Vector, M: Fixed>(v: &[S::V; MOST]) -> [S::V; MOST] {
    // SAFETY: arithmetic on registers that the caller's instruction set has.
    unsafe {
        [
            row::<S, M, 0>(v),
            row::<S, M, 1>(v),
            row::<S, M, 2>(v),
            row::<S, M, 3>(v),
            row::<S, M, 4>(v),
            row::<S, M, 5>(v),
        ]
    }
}

/// A pixel of a window; zero beyond its sides.
#[inline(always)]
unsafe fn pixel<S: Vector, M: Fixed, const I: usize, const J: usize>(from: &Pixels, at: usize, lanes: usize) -> S::V {
    // SAFETY: the caller vouches for the pixels.
    unsafe {
        if const { I < M::MATRIX.columns && J < M::MATRIX.columns } {
            load_columns::<S>(
                from[const { I * M::MATRIX.columns + J } % (MOST * MOST)]
                    .wrapping_add(at)
                    .cast(),
                lanes,
            )
        } else {
            S::zero()
        }
    }
}

/// `matrix ·` a column of the window.
#[inline(always)]
unsafe fn column<S: Vector, M: Fixed, const J: usize>(from: &Pixels, at: usize, lanes: usize) -> [S::V; MOST] {
    // SAFETY: the caller vouches for the pixels.
    unsafe {
        apply::<S, M>(&[
            pixel::<S, M, 0, J>(from, at, lanes),
            pixel::<S, M, 1, J>(from, at, lanes),
            pixel::<S, M, 2, J>(from, at, lanes),
            pixel::<S, M, 3, J>(from, at, lanes),
            pixel::<S, M, 4, J>(from, at, lanes),
            pixel::<S, M, 5, J>(from, at, lanes),
        ])
    }
}

/// `matrix · window · matrixᵀ` for `lanes` values from `at` on of every pixel; the rest of the lanes is zero.
///
/// # Safety
/// Every pixel of the window has these values.
#[inline(always)]
unsafe fn transform<S: Vector, M: Fixed>(from: &Pixels, at: usize, lanes: usize) -> [[S::V; MOST]; MOST] {
    // SAFETY: the caller vouches for the pixels.
    unsafe {
        let c = [
            column::<S, M, 0>(from, at, lanes),
            column::<S, M, 1>(from, at, lanes),
            column::<S, M, 2>(from, at, lanes),
            column::<S, M, 3>(from, at, lanes),
            column::<S, M, 4>(from, at, lanes),
            column::<S, M, 5>(from, at, lanes),
        ];
        [
            apply::<S, M>(&[c[0][0], c[1][0], c[2][0], c[3][0], c[4][0], c[5][0]]),
            apply::<S, M>(&[c[0][1], c[1][1], c[2][1], c[3][1], c[4][1], c[5][1]]),
            apply::<S, M>(&[c[0][2], c[1][2], c[2][2], c[3][2], c[4][2], c[5][2]]),
            apply::<S, M>(&[c[0][3], c[1][3], c[2][3], c[3][3], c[4][3], c[5][3]]),
            apply::<S, M>(&[c[0][4], c[1][4], c[2][4], c[3][4], c[4][4], c[5][4]]),
            apply::<S, M>(&[c[0][5], c[1][5], c[2][5], c[3][5], c[4][5], c[5][5]]),
        ]
    }
}

/// Windows as rows of operand elements: `[planes][tiles][depth]`.
pub(super) struct ToRows<'a, M> {
    pub(super) windows: &'a Windows<'a>,
    pub(super) tiles: Range<usize>,
    /// Channels with their padding of zeros, to whole units.
    pub(super) depth: usize,
    pub(super) to: *mut u8,
    pub(super) matrix: PhantomData<M>,
}

impl<M: Fixed> OnVectors for ToRows<'_, M> {
    /// # Safety
    /// `to` has room for all.
    #[inline(always)]
    unsafe fn run<S: Vector>(self) {
        let element = 4 / S::ELEMENTS;
        let plane = self.tiles.len() * self.depth * element;
        let (channels, depth) = (self.windows.channels, self.depth);
        for (row, tile) in self.tiles.enumerate() {
            let pixels = self.windows.pixels(tile, M::MATRIX.columns);
            let to = self.to.wrapping_add(row * depth * element);
            let mut at = 0;
            // SAFETY: pixels have all channels; the caller vouches for the place.
            unsafe {
                while at + S::LANES <= channels {
                    let planes = transform::<S, M>(&pixels, at, S::LANES);
                    store_planes::<S, M>(&planes, to.wrapping_add(at * element), plane, S::LANES);
                    at += S::LANES;
                }
                if at < depth {
                    let planes = transform::<S, M>(&pixels, at, channels - at);
                    store_planes::<S, M>(&planes, to.wrapping_add(at * element), plane, depth - at);
                }
            }
        }
    }
}

/// # Safety
/// There is room for `lanes` elements in every plane.
#[inline(always)]
unsafe fn store_planes<S: Vector, M: Fixed>(planes: &[[S::V; MOST]; MOST], to: *mut u8, plane: usize, lanes: usize) {
    for i in 0..M::MATRIX.rows {
        for j in 0..M::MATRIX.rows {
            let to = to.wrapping_add((i * M::MATRIX.rows + j) * plane);
            // SAFETY: the caller vouches for the place.
            unsafe { S::store_elements(to, planes[i][j], lanes) }
        }
    }
}

/// Windows in units of neighboring tiles: `[strips][planes][steps][width]`, where a strip has `width` channels.
pub(super) struct ToUnits<'a, M> {
    pub(super) windows: &'a Windows<'a>,
    /// Which steps of the block are written; the first one holds the tiles from `first` on.
    pub(super) steps: Range<usize>,
    pub(super) first: usize,
    /// Steps of the whole block.
    pub(super) all_steps: usize,
    /// Channels of a strip: whole registers.
    pub(super) width: usize,
    pub(super) to: *mut u8,
    pub(super) matrix: PhantomData<M>,
}

impl<M: Fixed> OnVectors for ToUnits<'_, M> {
    /// # Safety
    /// `to` has room for all, and nobody else touches these steps.
    #[inline(always)]
    unsafe fn run<S: Vector>(self) {
        let plane = self.all_steps * self.width * 4;
        let strip = plane * M::MATRIX.rows * M::MATRIX.rows;
        let channels = self.windows.channels;
        for step in self.steps {
            let tile = self.first + step * S::ELEMENTS;
            let mut tiles = [self.windows.pixels(tile, M::MATRIX.columns); 2];
            if S::ELEMENTS == 2 {
                tiles[1] = self.windows.pixels(tile + 1, M::MATRIX.columns);
            }
            let mut at = 0;
            while at < channels {
                let in_strip = step * self.width + at % self.width;
                let to = self.to.wrapping_add(at / self.width * strip + in_strip * 4);
                // SAFETY: pixels have all channels; the caller vouches for the place.
                unsafe {
                    if at + S::LANES <= channels {
                        store_tiles::<S, M>(&tiles, at, S::LANES, to, plane);
                    } else {
                        store_tiles::<S, M>(&tiles, at, channels - at, to, plane);
                    }
                }
                at += S::LANES;
            }
        }
    }
}

/// # Safety
/// Every pixel has `lanes` values from `at` on, and there is room for a register in every plane.
#[inline(always)]
unsafe fn store_tiles<S: Vector, M: Fixed>(tiles: &[Pixels; 2], at: usize, lanes: usize, to: *mut u8, plane: usize) {
    // SAFETY: the caller vouches for pixels and place.
    unsafe {
        let first = transform::<S, M>(&tiles[0], at, lanes);
        let second = if S::ELEMENTS == 2 {
            transform::<S, M>(&tiles[1], at, lanes)
        } else {
            first
        };
        for i in 0..M::MATRIX.rows {
            for j in 0..M::MATRIX.rows {
                let to = to.wrapping_add((i * M::MATRIX.rows + j) * plane);
                S::store_units(to, [first[i][j], second[i][j]]);
            }
        }
    }
}

/// Sums of products, `[points][tiles][width]`, to the outputs of tiles.
pub(super) struct ToTarget<'a, M> {
    pub(super) sums: &'a [f32],
    pub(super) width: usize,
    pub(super) tiles: Range<usize>,
    pub(super) along: [usize; 2],
    /// The first column that is written, in the first image.
    pub(super) target: *mut f32,
    pub(super) sides: [usize; 2],
    /// Channels of the target, and how many of them are written.
    pub(super) channels: usize,
    pub(super) columns: usize,
    pub(super) finish: &'a Finish,
    pub(super) matrix: PhantomData<M>,
}

/// Where the outputs of a tile go.
struct Place {
    to: *mut f32,
    /// Outputs that lie within the target.
    rows: usize,
    columns: usize,
}

impl<M: Fixed> OnVectors for ToTarget<'_, M> {
    /// # Safety
    /// The target has all outputs of the tiles that lie within it, and nobody else touches these columns of them.
    #[inline(always)]
    unsafe fn run<S: Vector>(self) {
        let (points, outputs) = (M::MATRIX.columns, M::MATRIX.rows);
        let plane = self.tiles.len() * self.width;
        assert!(self.sums.len() >= plane * points * points);
        let [down, across] = self.along;
        let [height, width] = self.sides;
        for (row, tile) in self.tiles.clone().enumerate() {
            let (image, y, x) = (tile / (down * across), tile / across % down, tile % across);
            let (y, x) = (y * outputs, x * outputs);
            let place = Place {
                to: self
                    .target
                    .wrapping_add(((image * height + y) * width + x) * self.channels),
                rows: outputs.min(height - y),
                columns: outputs.min(width - x),
            };
            let mut from = [self.sums.as_ptr(); MOST * MOST];
            for point in 0..points * points {
                from[point] = from[point].wrapping_add(point * plane + row * self.width);
            }
            let mut at = 0;
            // SAFETY: sums have whole registers; the caller vouches for the target and the bias.
            unsafe {
                while at + S::LANES <= self.columns {
                    self.store::<S>(&from, &place, at, S::LANES);
                    at += S::LANES;
                }
                if at < self.columns {
                    self.store::<S>(&from, &place, at, self.columns - at);
                }
            }
        }
    }
}

impl<M: Fixed> ToTarget<'_, M> {
    /// # Safety
    /// As for the whole, of `lanes` columns from `at` on.
    #[inline(always)]
    unsafe fn store<S: Vector>(&self, from: &Pixels, place: &Place, at: usize, lanes: usize) {
        // SAFETY: the caller vouches for the place; the sums have whole registers.
        unsafe {
            let sums = transform::<S, M>(from, at, S::LANES);
            let bias = if self.finish.bias.is_null() {
                S::zero()
            } else {
                load_columns::<S>(self.finish.bias.wrapping_add(at).cast(), lanes)
            };
            let slope = self.finish.activation.slope();
            for i in 0..M::MATRIX.rows {
                for j in 0..M::MATRIX.rows {
                    if i < place.rows && j < place.columns {
                        let mut sum = S::add(sums[i][j], bias);
                        if let Some(slope) = slope {
                            sum = S::leaky(sum, slope);
                        }
                        let to = place.to.wrapping_add((i * self.sides[1] + j) * self.channels + at);
                        store_columns::<S>(to, pass_on::<S>(sum, self.finish, to, lanes), lanes);
                    }
                }
            }
        }
    }
}

/// Rows of values, one for each pixel of a window, to as many rows as the matrix makes of them.
pub(super) struct ToPlain<'a, M> {
    pub(super) from: Pixels,
    pub(super) to: &'a [*mut f32],
    pub(super) len: usize,
    pub(super) matrix: PhantomData<M>,
}

impl<M: Fixed> OnVectors for ToPlain<'_, M> {
    /// # Safety
    /// All rows have `len` values, and nobody else touches those that are written.
    #[inline(always)]
    unsafe fn run<S: Vector>(self) {
        assert!(self.to.len() == M::MATRIX.rows * M::MATRIX.rows);
        let mut at = 0;
        // SAFETY: the caller vouches for the rows.
        unsafe {
            while at + S::LANES <= self.len {
                self.store::<S>(at, S::LANES);
                at += S::LANES;
            }
            if at < self.len {
                self.store::<S>(at, self.len - at);
            }
        }
    }
}

impl<M: Fixed> ToPlain<'_, M> {
    /// # Safety
    /// As for the whole, of `lanes` values from `at` on.
    #[inline(always)]
    unsafe fn store<S: Vector>(&self, at: usize, lanes: usize) {
        // SAFETY: the caller vouches for the rows.
        unsafe {
            let sums = transform::<S, M>(&self.from, at, lanes);
            for i in 0..M::MATRIX.rows {
                for j in 0..M::MATRIX.rows {
                    store_columns::<S>(self.to[i * M::MATRIX.rows + j].wrapping_add(at), sums[i][j], lanes);
                }
            }
        }
    }
}
