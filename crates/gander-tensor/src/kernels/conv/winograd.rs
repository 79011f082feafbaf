//! Convolutions with fewer multiplications than the direct algorithm has, after Winograd.
//!
//! Tiles of the source are transformed ([`transform`]), multiplied with transformed weights ([`weights`]) and
//! transformed back; [`scheme`] says by which matrices. [`forward`] computes convolutions and input gradients,
//! [`weight_grad`] the weight's gradient, by the transposed algorithm. Tiles never reach over two images.

mod forward;
mod scheme;
#[cfg(test)]
mod tests;
mod transform;
mod weight_grad;
mod weights;

use scheme::Scheme;
use transform::Windows;

use super::forward::Reduce;
use crate::{
    kernels::{
        Context,
        gemm::{After, Set},
        isa::Precision,
    },
    ops::conv::ConvGeometry,
};

/// A convolution, or its input gradient, cut into tiles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tiling {
    scheme: Scheme,
    images: usize,
    /// Height and width.
    source: [usize; 2],
    source_channels: usize,
    target: [usize; 2],
    target_channels: usize,
    /// Where the first window begins.
    low: [isize; 2],
    /// Taps are met in the opposite order.
    reversed: bool,
}

impl Tiling {
    fn forward(g: &ConvGeometry, scheme: Scheme) -> Self {
        Self {
            scheme,
            images: g.batch * g.input[0],
            source: [g.input[1], g.input[2]],
            source_channels: g.in_channels,
            target: [g.output[1], g.output[2]],
            target_channels: g.out_channels,
            low: [1, 2].map(|axis| -(g.padding[axis] as isize)),
            reversed: false,
        }
    }

    fn backward(g: &ConvGeometry, scheme: Scheme) -> Self {
        let low = |axis: usize| match scheme {
            Scheme::Two | Scheme::Four => g.padding[axis] as isize - 2,
            Scheme::Down | Scheme::Up => -1,
        };
        Self {
            scheme,
            images: g.batch * g.input[0],
            source: [g.output[1], g.output[2]],
            source_channels: g.out_channels,
            target: [g.input[1], g.input[2]],
            target_channels: g.in_channels,
            low: [low(1), low(2)],
            reversed: scheme != Scheme::Up,
        }
    }

    /// Tiles along each axis of an image.
    fn along(&self) -> [usize; 2] {
        self.target.map(|side| side.div_ceil(self.scheme.axis().target.rows))
    }

    fn tiles(&self) -> usize {
        self.images * self.along().iter().product::<usize>()
    }

    /// Source channels, padded to whole units.
    fn depth(&self, set: &Set) -> usize {
        self.source_channels.next_multiple_of(set.elements)
    }

    fn windows<'a>(&self, source: &'a [f32], zeros: &'a [f32]) -> Windows<'a> {
        Windows {
            values: source,
            sides: self.source,
            channels: self.source_channels,
            low: self.low,
            step: self.scheme.axis().step,
            along: self.along(),
            count: self.tiles(),
            zeros,
        }
    }

    /// The tiles of outputs, of a gradient.
    fn outputs<'a>(&self, dy: &'a [f32], zeros: &'a [f32]) -> Windows<'a> {
        Windows {
            values: dy,
            sides: self.target,
            channels: self.target_channels,
            low: [0; 2],
            step: self.scheme.axis().target.rows,
            along: self.along(),
            count: self.tiles(),
            zeros,
        }
    }
}

/// What is computed of a convolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pass {
    Forward,
    InputGrad,
    WeightGrad,
}

/// The tiles of a pass, where they take less time than the direct algorithm.
pub(super) fn tiling(ctx: &Context, g: &ConvGeometry, pass: Pass) -> Option<Tiling> {
    /// An image must not depend on how many others there are: its pass is chosen as if in a batch of this size.
    const USUAL_BATCH: usize = 32;
    if g.batch == 0 {
        return None;
    }
    let batch = if pass == Pass::WeightGrad { g.batch } else { USUAL_BATCH };
    let usual = ConvGeometry { batch, ..*g };
    let narrow = ctx.precision == Precision::Bf16 && ctx.isa.has_bf16();
    let cost = |scheme: Scheme| Tiling::new(&usual, scheme, pass).cost(pass, narrow);
    let best = *schemes(g, pass, narrow).iter().min_by_key(|&&scheme| cost(scheme))?;
    // What the model leaves out is a few percent.
    (cost(best) * 108 < direct_cost(&usual) * 100).then(|| Tiling::new(g, best, pass))
}

/// Those that compute a pass, with operands of bfloat16 or (not `narrow`) float32.
fn schemes(g: &ConvGeometry, pass: Pass, narrow: bool) -> &'static [Scheme] {
    /// Fewer channels do not fill registers, and leave more to transform than to multiply.
    const FEWEST_CHANNELS: usize = 16;
    let flat = g.kernel[0] == 1 && g.stride[0] == 1 && g.padding[0] == 0 && g.input[0] == g.output[0];
    if !flat || g.groups > 1 || g.dilation != [1; 3] || g.in_channels.min(g.out_channels) < FEWEST_CHANNELS {
        return &[];
    }
    match (g.kernel[1..] == [3; 2] && g.stride == [1; 3], pass) {
        // The larger tiles lose too many of the eight bits of a bfloat16.
        (true, _) if narrow => &[Scheme::Two],
        (true, _) => &[Scheme::Two, Scheme::Four],
        _ if g.kernel[1..] != [4; 2] || g.stride[1..] != [2; 2] || g.padding[1..] != [1; 2] => &[],
        (false, Pass::InputGrad) => &[Scheme::Up],
        (false, _) => &[Scheme::Down],
    }
}

/// Multiply-adds that take as long as bringing one weight into packed order.
const PACKED_WEIGHT: usize = 20;

/// The time of the direct algorithm, in multiply-adds: without those with a border of zeros.
fn direct_cost(g: &ConvGeometry) -> usize {
    let met = |axis: usize| -> usize {
        let meets = |at: usize, tap: usize| {
            let at = (at * g.stride[axis] + tap) as isize - g.padding[axis] as isize;
            usize::from((0..g.input[axis] as isize).contains(&at))
        };
        let taps = |at: usize| (0..g.kernel[axis]).map(move |tap| meets(at, tap)).sum::<usize>();
        (0..g.output[axis]).map(taps).sum()
    };
    let weights = g.kernel.iter().product::<usize>();
    (g.batch * met(0) * met(1) * met(2) + weights * PACKED_WEIGHT) * g.in_channels * g.out_channels
}

impl Tiling {
    fn new(g: &ConvGeometry, scheme: Scheme, pass: Pass) -> Self {
        match pass {
            Pass::InputGrad => Self::backward(g, scheme),
            Pass::Forward | Pass::WeightGrad => Self::forward(g, scheme),
        }
    }

    /// The time that it takes, in multiply-adds (which in bfloat16 are twice as fast as in float32).
    ///
    /// The factors are fitted to times on a Zen 4 processor with AVX-512, of layers from 16 to 512 channels and 16 to
    /// 20,000 tiles. The ratio to the direct algorithm comes out within a sixth, for tiles of 4x4 up to a third too high.
    fn cost(&self, pass: Pass, narrow: bool) -> usize {
        let axis = self.scheme.axis();
        let square = |side: usize| side * side;
        let products = square(axis.planes.len());
        let weight = if pass == Pass::WeightGrad { 30 } else { 70 };
        let transformed = if narrow { 8 } else { 4 };
        let (sources, targets) = (self.source_channels, self.target_channels);
        let values = square(axis.source.rows) * sources + square(axis.target.columns) * targets;
        products * (self.tiles() + weight) * sources * targets + self.tiles() * values * transformed
    }

    /// Computes the convolution or the input gradient that this is, and what follows.
    pub(super) fn run(&self, ctx: &Context, source: &[f32], weight: &[f32], after: After<'_>, target: &mut [f32]) {
        let over = if self.reversed || self.scheme == Scheme::Up {
            Reduce::Last
        } else {
            Reduce::Middle
        };
        forward::run(ctx, self, (source, weight, over), after, target);
    }

    /// Computes the weight's gradient of the convolution that this is.
    pub(super) fn weight_grad(&self, ctx: &Context, x: &[f32], dy: &[f32], dw: &mut [f32]) {
        weight_grad::run(ctx, self, x, dy, dw);
    }
}
