//! Functions of one value, element by element, and conversions between number formats.

use half::bf16;

use super::{
    Context,
    isa::{Arithmetic, Kernel},
    math,
};
use crate::{Activation, UnaryOp};

mod binary;

pub(crate) use binary::{add_onto, binary, broadcast, gate};

/// Elements of one task: 64 KiB, which stay in a core's second-level cache.
pub(super) const PART: usize = 16 * 1024;

/// A function of one value that loops make vectors of.
pub(super) trait Function: Copy + Sync {
    fn apply<A: Arithmetic>(self, x: f32) -> f32;
}

/// One type for each function, so that each loop is compiled for its own.
macro_rules! functions {
    ($($name:ident $(($($field:ident: $kind:ty),*))? |$arith:ident, $x:ident| $body:expr;)*) => {$(
        #[derive(Clone, Copy)]
        pub(super) struct $name { $($(pub(super) $field: $kind),*)? }

        impl Function for $name {
            #[inline(always)]
            fn apply<$arith: Arithmetic>(self, $x: f32) -> f32 {
                $(let Self { $($field),* } = self;)?
                $body
            }
        }
    )*};
}

functions! {
    Identity |A, x| x;
    Neg |A, x| -x;
    Abs |A, x| x.abs();
    Exp |A, x| math::exp::<A>(x);
    Log |A, x| math::ln::<A>(x);
    Sqrt |A, x| x.sqrt();
    Recip |A, x| 1.0 / x;
    Square |A, x| x * x;
    Sin |A, x| math::sin(x);
    Cos |A, x| math::cos(x);
    Tanh |A, x| math::tanh::<A>(x);
    Sigmoid |A, x| math::sigmoid::<A>(x);
    Softplus |A, x| math::softplus::<A>(x);
    // Comparisons with NaN are false, and these let it through.
    Relu |A, x| if x <= 0.0 { 0.0 } else { x };
    LeakyRelu(slope: f32) |A, x| if x > 0.0 { x } else { slope * x };
    Sign |A, x| if x > 0.0 { 1.0 } else if x < 0.0 { -1.0 } else { x };
    AddScalar(c: f32) |A, x| x + c;
    MulScalar(c: f32) |A, x| x * c;
    Powf(c: f32) |A, x| math::powf(x, c);
    Clamp(lo: f32, hi: f32) |A, x| if x < lo { lo } else if x > hi { hi } else { x };
}

/// What to do with a function once it is known which.
pub(super) trait WithFunction {
    fn with<F: Function>(self, f: F);
}

/// Hands over the activation as a function of its own type.
pub(super) fn with_activation(act: Activation, then: impl WithFunction) {
    match act {
        Activation::Identity => then.with(Identity {}),
        Activation::Relu => then.with(Relu {}),
        Activation::LeakyRelu(slope) => then.with(LeakyRelu { slope }),
        Activation::Tanh => then.with(Tanh {}),
        Activation::Sigmoid => then.with(Sigmoid {}),
    }
}

struct MapPart<'a, F> {
    f: F,
    x: &'a [f32],
    y: &'a mut [f32],
}

impl<F: Function> Kernel for MapPart<'_, F> {
    type Output = ();

    #[inline(always)]
    fn run<A: Arithmetic>(self) {
        for (y, &x) in self.y.iter_mut().zip(self.x) {
            *y = self.f.apply::<A>(x);
        }
    }
}

struct Map<'a> {
    ctx: &'a Context,
    x: &'a [f32],
    y: &'a mut [f32],
}

impl WithFunction for Map<'_> {
    fn with<F: Function>(self, f: F) {
        let (ctx, x) = (self.ctx, self.x);
        ctx.threads.for_each_part(self.y, PART, |index, y| {
            let x = &x[index * PART..][..y.len()];
            ctx.isa.run(MapPart { f, x, y });
        });
    }
}

/// `y = op(x)`, both of one length.
pub(crate) fn unary(ctx: &Context, op: UnaryOp, x: &[f32], y: &mut [f32]) {
    assert_eq!(x.len(), y.len(), "lengths of operand and result");
    let map = Map { ctx, x, y };
    match op {
        UnaryOp::Neg => map.with(Neg {}),
        UnaryOp::Abs => map.with(Abs {}),
        UnaryOp::Exp => map.with(Exp {}),
        UnaryOp::Log => map.with(Log {}),
        UnaryOp::Sqrt => map.with(Sqrt {}),
        UnaryOp::Recip => map.with(Recip {}),
        UnaryOp::Square => map.with(Square {}),
        UnaryOp::Sin => map.with(Sin {}),
        UnaryOp::Cos => map.with(Cos {}),
        UnaryOp::Tanh => map.with(Tanh {}),
        UnaryOp::Sigmoid => map.with(Sigmoid {}),
        UnaryOp::Softplus => map.with(Softplus {}),
        UnaryOp::Relu => map.with(Relu {}),
        UnaryOp::LeakyRelu(slope) => map.with(LeakyRelu { slope }),
        UnaryOp::Sign => map.with(Sign {}),
        UnaryOp::AddScalar(c) => map.with(AddScalar { c }),
        UnaryOp::MulScalar(c) => map.with(MulScalar { c }),
        UnaryOp::Powf(c) => map.with(Powf { c }),
        UnaryOp::Clamp { lo, hi } => map.with(Clamp { lo, hi }),
    }
}

/// A conversion of one value that loops make vectors of.
trait Convert: Copy + Sync {
    type From: Copy + Sync;
    type To: Send;
    fn convert(from: Self::From) -> Self::To;
}

#[derive(Clone, Copy)]
struct Widen;

impl Convert for Widen {
    type From = bf16;
    type To = f32;
    #[inline(always)]
    fn convert(from: bf16) -> f32 {
        f32::from_bits(u32::from(from.to_bits()) << 16)
    }
}

#[derive(Clone, Copy)]
struct Narrow;

impl Convert for Narrow {
    type From = f32;
    type To = bf16;
    #[inline(always)]
    fn convert(from: f32) -> bf16 {
        let bits = from.to_bits();
        // Half of the last kept bit, less one where that bit is even: ties go to even.
        let rounded = bits.wrapping_add(0x7fff + (bits >> 16 & 1)) >> 16;
        // A carry must not make infinity of NaN; its quiet bit is set instead.
        bf16::from_bits((if from.is_nan() { bits >> 16 | 0x40 } else { rounded }) as u16)
    }
}

#[derive(Clone, Copy)]
struct FromByte;

impl Convert for FromByte {
    type From = u8;
    type To = f32;
    #[inline(always)]
    fn convert(from: u8) -> f32 {
        f32::from(from)
    }
}

struct ConvertPart<'a, C: Convert> {
    x: &'a [C::From],
    y: &'a mut [C::To],
}

impl<C: Convert> Kernel for ConvertPart<'_, C> {
    type Output = ();

    #[inline(always)]
    fn run<A: Arithmetic>(self) {
        for (y, &x) in self.y.iter_mut().zip(self.x) {
            *y = C::convert(x);
        }
    }
}

fn convert<C: Convert>(ctx: &Context, x: &[C::From], y: &mut [C::To]) {
    let len = x.len().min(y.len());
    ctx.threads.for_each_part(&mut y[..len], PART, |index, y| {
        let x = &x[index * PART..][..y.len()];
        ctx.isa.run(ConvertPart::<C> { x, y });
    });
}

/// Widened, which is exact.
pub(crate) fn bf16_to_f32(ctx: &Context, x: &[bf16], y: &mut [f32]) {
    convert::<Widen>(ctx, x, y);
}

/// Rounded to nearest, ties to even.
pub(crate) fn f32_to_bf16(ctx: &Context, x: &[f32], y: &mut [bf16]) {
    convert::<Narrow>(ctx, x, y);
}

/// Bytes as numbers 0 to 255.
pub(crate) fn u8_to_f32(ctx: &Context, x: &[u8], y: &mut [f32]) {
    convert::<FromByte>(ctx, x, y);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::{SIZES, contexts, on_every_isa, ulp_error, values};

    const OPS: [UnaryOp; 19] = [
        UnaryOp::Neg,
        UnaryOp::Abs,
        UnaryOp::Exp,
        UnaryOp::Log,
        UnaryOp::Sqrt,
        UnaryOp::Recip,
        UnaryOp::Square,
        UnaryOp::Sin,
        UnaryOp::Cos,
        UnaryOp::Tanh,
        UnaryOp::Sigmoid,
        UnaryOp::Softplus,
        UnaryOp::Relu,
        UnaryOp::LeakyRelu(0.2),
        UnaryOp::Sign,
        UnaryOp::AddScalar(0.7),
        UnaryOp::MulScalar(-1.3),
        UnaryOp::Powf(0.37),
        UnaryOp::Clamp { lo: -0.25, hi: 0.5 },
    ];

    #[test]
    fn every_function_agrees_with_its_reference() {
        for op in OPS {
            let positive = matches!(op, UnaryOp::Log | UnaryOp::Sqrt | UnaryOp::Powf(_));
            for len in SIZES {
                let x: Vec<f32> = values(len, 1)
                    .into_iter()
                    .map(|v| if positive { v.abs() * 9.0 } else { v * 9.0 })
                    .collect();
                for (isa, y) in on_every_isa(len, |ctx, y| unary(ctx, op, &x, y)) {
                    for (&x, &y) in x.iter().zip(&y) {
                        let error = ulp_error(y, op.reference(f64::from(x)));
                        assert!(error <= 2.5, "{op:?} on {isa}: {x} gives {y}, {error} ulp");
                    }
                }
            }
        }
    }

    #[test]
    fn a_lone_value_goes_the_way_of_a_vectors_lane() {
        let x = values(1023, 2);
        for op in OPS {
            for [ctx, ..] in contexts() {
                let mut together = vec![0.0; x.len()];
                unary(&ctx, op, &x, &mut together);
                for (i, &together) in together.iter().enumerate() {
                    let mut alone = [0.0];
                    unary(&ctx, op, &x[i..=i], &mut alone);
                    assert_eq!(alone[0].to_bits(), together.to_bits(), "{op:?} on {}", ctx.isa);
                }
            }
        }
    }

    #[test]
    fn not_a_number_stays_so() {
        for op in OPS {
            for (isa, y) in on_every_isa(33, |ctx, y| unary(ctx, op, &[f32::NAN; 33], y)) {
                assert!(y.iter().all(|v| v.is_nan()), "{op:?} on {isa}");
            }
        }
    }

    #[test]
    fn conversions_agree_with_the_library_of_halves() {
        let special = [
            f32::NAN,
            f32::INFINITY,
            -f32::INFINITY,
            f32::MAX,
            -0.0,
            1e-45,
            f32::from_bits(0x7f80_0001),
        ];
        // All ties and their neighbors among 2¹⁷ patterns.
        let patterns = (0..1u32 << 17).map(|i| f32::from_bits((i << 15).wrapping_add(i % 3).wrapping_sub(1)));
        let x: Vec<f32> = special.into_iter().chain(patterns).collect();
        for [one, two, _] in contexts() {
            for ctx in [one, two] {
                let mut narrow = vec![bf16::ZERO; x.len()];
                f32_to_bf16(&ctx, &x, &mut narrow);
                let mut wide = vec![0.0; x.len()];
                bf16_to_f32(&ctx, &narrow, &mut wide);
                for ((&x, &narrow), wide) in x.iter().zip(&narrow).zip(wide) {
                    assert_eq!(narrow.to_bits(), bf16::from_f32(x).to_bits(), "{x}");
                    assert_eq!(wide.to_bits(), narrow.to_f32().to_bits());
                }
            }
        }
        let bytes: Vec<u8> = (0..=255).collect();
        for (_, y) in on_every_isa(256, |ctx, y| u8_to_f32(ctx, &bytes, y)) {
            assert!(y.iter().zip(&bytes).all(|(&y, &byte)| y == f32::from(byte)));
        }
    }
}
