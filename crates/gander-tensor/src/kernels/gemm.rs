//! Products of matrices, and the parts that convolutions share with them.
//!
//! The right operand is packed once a call into panels as wide as a register tile ([`pack`]); rows of the left operand
//! are addressed one by one, so that they may be rows of a matrix or pixels of an image ([`drive`]); the innermost
//! loops are written once and compiled for each instruction set ([`micro`]).

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "x86_64")]
mod convert;
pub(super) mod drive;
mod matmul;
pub(super) mod micro;
pub(super) mod pack;
mod portable;
#[cfg(test)]
mod tests;

pub(crate) use matmul::matmul;

use super::isa::{Isa, Precision};
use crate::Activation;

/// The most rows of a register tile.
pub(super) const MAX_ROWS: usize = 16;
/// The most columns whose reduction runs along the lanes.
pub(super) const MAX_OUTS: usize = 4;

/// A contiguous part of the reduction: where it lies from a row's start, and how long it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Segment {
    /// Bytes from the row's pointer.
    pub(super) offset: isize,
    /// Length.
    pub(super) units: usize,
    /// Where its part of a packed panel begins, in rows of the panel's registers.
    pub(super) row: usize,
}

/// What follows the last addition: `gate(act(sum + bias)) + added`.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct After<'a> {
    /// One value for each column.
    pub(crate) bias: Option<&'a [f32]>,
    pub(crate) activation: Activation,
    /// For each value of the result that of a leaky relu, and the factor where it is not positive.
    pub(crate) gate: Option<(&'a [f32], f32)>,
    /// For each value of the result what is added to it.
    pub(crate) added: Option<&'a [f32]>,
}

impl<'a> After<'a> {
    /// A bias and an activation.
    pub(crate) fn bias(bias: Option<&'a [f32]>, activation: Activation) -> Self {
        Self {
            bias,
            activation,
            ..Self::default()
        }
    }

    /// What register tiles do while they hold the sums, and what is left to passes of their own.
    pub(super) fn apart(self) -> (Self, Self) {
        let Self { bias, activation, .. } = self;
        if drive::is_left_out(activation) {
            let rest = Self {
                bias: None,
                activation: Activation::Identity,
                ..self
            };
            (Self::bias(bias, activation), rest)
        } else {
            (self, Self::default())
        }
    }
}

/// The same for a tile.
#[derive(Debug, Clone, Copy)]
pub(super) struct Finish {
    /// Null, or one value for each column.
    pub(super) bias: *const f32,
    pub(super) activation: Activation,
    /// The result's first value: the operands below lie beside it as they do beside the whole result.
    pub(super) base: *const f32,
    /// Null, or values of a leaky relu.
    pub(super) gate: *const f32,
    /// The factor where they are not positive.
    pub(super) slope: f32,
    /// Null, or what is added.
    pub(super) added: *const f32,
}

impl Finish {
    /// For the columns of a panel of a result that begins at `base`.
    pub(super) fn new(after: After<'_>, columns: std::ops::Range<usize>, base: *const f32) -> Self {
        let start = |operand: Option<&[f32]>| operand.map_or(std::ptr::null(), <[f32]>::as_ptr);
        Self {
            bias: start(after.bias.map(|bias| &bias[columns])),
            activation: after.activation,
            base,
            gate: start(after.gate.map(|(result, _)| result)),
            slope: after.gate.map_or(0.0, |(_, slope)| slope),
            added: start(after.added),
        }
    }

    /// The value of an operand that belongs to a value of the result.
    #[inline(always)]
    fn beside(&self, operand: *const f32, c: *mut f32) -> *const f32 {
        operand.wrapping_add((c.addr() - self.base.addr()) / size_of::<f32>())
    }
}

/// One register tile. All rows are computed and must be readable; the first `rows` by `columns` are written.
pub(super) struct Tile<'a> {
    pub(super) segments: &'a [Segment],
    /// Starts of the left rows.
    pub(super) a: [*const u8; MAX_ROWS],
    /// The packed panel.
    pub(super) b: *const u8,
    /// Starts of the result's rows.
    pub(super) c: [*mut f32; MAX_ROWS],
    pub(super) rows: usize,
    pub(super) columns: usize,
    /// Go on from the sums that the result holds.
    pub(super) resume: bool,
    pub(super) finish: Option<Finish>,
}

/// A register tile of a sum of outer products over steps (pixels, or pairs of them).
///
/// At every step the tile's rows of units of the left and its registers of the right operand must be readable.
pub(super) struct Outer<'a> {
    pub(super) a: *const u8,
    /// Bytes from `a`, for each step.
    pub(super) a_offsets: &'a [usize],
    pub(super) b: *const u8,
    /// Bytes from `b`, for each step.
    pub(super) b_offsets: &'a [usize],
    pub(super) c: *mut f32,
    /// Values between rows of the result.
    pub(super) c_stride: usize,
    pub(super) rows: usize,
    pub(super) columns: usize,
    pub(super) resume: bool,
}

/// One register of channels and a few taps of the weight gradient of a depthwise convolution.
pub(super) struct Depthwise<'a> {
    pub(super) a: *const u8,
    pub(super) a_offsets: &'a [usize],
    /// Not empty; each is one tap.
    pub(super) taps: &'a [Segment],
    pub(super) b: *const u8,
    pub(super) b_offsets: &'a [usize],
    pub(super) c: *mut f32,
    /// Values between taps of the result.
    pub(super) c_stride: usize,
    pub(super) columns: usize,
    pub(super) resume: bool,
}

/// How operands are rounded to bfloat16.
struct Rounding {
    narrow: unsafe fn(&[f32], &mut [u16]),
    pair: unsafe fn(&[f32], &[f32], &mut [u32]),
    interleave: unsafe fn(&[u16], &[u16], &mut [u32]),
}

/// Sixteen columns `.1` values apart as sixteen rows of units `.3` units apart.
type Transpose = unsafe fn(*const f32, usize, *mut u32, usize);
type TileLoop = unsafe fn(&Tile<'_>);
type OuterLoop = unsafe fn(&Outer<'_>);
type DepthwiseLoop = unsafe fn(&Depthwise<'_>);

/// Which registers a set has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Registers {
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "x86_64")]
    Avx512Bf16,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    Neon,
    Plain,
}

/// A body of code over registers, to compile for those of every set. `run` and all it calls must be
/// `#[inline(always)]`.
pub(super) trait OnVectors {
    /// The body.
    ///
    /// # Safety
    /// The instruction set is available, and what the body's own documentation asks for.
    unsafe fn run<S: micro::Vector>(self);
}

/// The innermost loops of an instruction set and precision.
pub(super) struct Set {
    /// Float32 values in a register.
    pub(super) lanes: usize,
    /// Operand elements in a unit: 1 for float32, 2 for bfloat16.
    pub(super) elements: usize,
    /// For one register of columns, two, …: loops by rows, ascending.
    tiles: &'static [&'static [(usize, TileLoop)]],
    outers: &'static [&'static [(usize, OuterLoop)]],
    /// For one column, two, …: its rows and loop.
    dots: &'static [(usize, TileLoop)],
    /// Rows, registers and loop; always float32.
    pub(super) depthwise: (usize, usize, TileLoop),
    /// Taps and loop; always float32.
    pub(super) depthwise_outer: (usize, DepthwiseLoop),
    registers: Registers,
    /// For bfloat16.
    rounding: Option<Rounding>,
    transpose: Option<Transpose>,
}

impl Set {
    /// The loops for an instruction set, which must be available.
    pub(super) fn of(isa: Isa, precision: Precision) -> &'static Self {
        // Elsewhere no set multiplies in bfloat16.
        #[cfg(not(target_arch = "x86_64"))]
        let _ = precision;
        match isa {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 if precision == Precision::Bf16 && isa.has_bf16() => &avx512::BF16,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 if isa.available() => &avx512::F32,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 if isa.available() => &avx2::F32,
            Isa::Neon if isa.available() => &portable::NEON,
            _ => &portable::PLAIN,
        }
    }

    /// Runs a body over this set's registers.
    ///
    /// # Safety
    /// What the body's own documentation asks for.
    pub(super) unsafe fn run<K: OnVectors>(&self, kernel: K) {
        // SAFETY: sets are only handed out where their instructions are available; the caller vouches for the rest.
        unsafe {
            match self.registers {
                #[cfg(target_arch = "x86_64")]
                Registers::Avx512 => avx512::run(kernel),
                #[cfg(target_arch = "x86_64")]
                Registers::Avx512Bf16 => avx512::run_bf16(kernel),
                #[cfg(target_arch = "x86_64")]
                Registers::Avx2 => avx2::run(kernel),
                Registers::Neon => portable::run::<true, K>(kernel),
                Registers::Plain => portable::run::<false, K>(kernel),
            }
        }
    }

    /// The most registers of columns in a tile.
    pub(super) fn widest(&self) -> usize {
        self.tiles.len()
    }

    /// The loop for `rows` rows, or for the first of them where there are more than a tile has.
    fn tile(&self, registers: usize, rows: usize) -> (usize, TileLoop) {
        fitting(self.tiles[registers - 1], rows)
    }

    /// Rows that are computed for `rows` rows of `columns` columns, those beyond the last one included.
    pub(super) fn computed_rows(&self, kind: drive::Kind, columns: usize, rows: usize) -> usize {
        let registers = columns.div_ceil(self.lanes).clamp(1, self.widest());
        let (mut left, mut computed) = (rows, 0);
        while left > 0 {
            let height = match kind {
                drive::Kind::Tile => self.tile(registers, left).0,
                drive::Kind::Dot => self.dots[columns - 1].0,
                drive::Kind::Depthwise => self.depthwise.0,
            };
            // Two rows are the least that hide the time of a multiply-add.
            computed += height.max(2);
            left -= height.min(left);
        }
        computed
    }

    /// The same for sums of outer products.
    pub(super) fn outer(&self, registers: usize, rows: usize) -> (usize, OuterLoop) {
        fitting(self.outers[registers - 1], rows)
    }
}

fn fitting<F: Copy>(loops: &[(usize, F)], rows: usize) -> (usize, F) {
    *loops
        .iter()
        .find(|(has, _)| *has >= rows)
        .unwrap_or(&loops[loops.len() - 1])
}
