//! Elementary functions made of additions, multiplications and bit operations, a few units in the last place off.
//!
//! The mathematics library of the system differs between systems, so none of it is used (`√` and `/` are exactly
//! rounded everywhere). No function branches: the compiler makes vectors of them in any loop, and a vector's lane
//! and a lone value go through the same operations, to the same bytes.

use std::{f64::consts::FRAC_2_PI, hint::select_unpredictable as select};

use super::isa::Arithmetic;

/// `1.5 · 2²³`: added and taken away again it rounds to an integer, which then stands in the low bits.
const ROUND: f32 = 12_582_912.0;
/// The same for double precision, `1.5 · 2⁵²`.
const ROUND_F64: f64 = 6_755_399_441_055_744.0;
/// `ln 2` in nine bits, so that its product with an exponent is exact, and the rest.
const LN2_HIGH: f32 = 355.0 / 512.0;
const LN2_LOW: f32 = -2.121_944_4e-4;
/// `π / 2` in 33 bits, so that its product with up to 2²⁰ is exact in double precision, and the rest.
const HALF_PI_HIGH: f64 = 1.570_796_326_734_125_6;
const HALF_PI_LOW: f64 = 6.077_100_506_506_192e-11;

/// `exp x`, to 1.5 ulp: the Taylor series on ±ln 2 / 2, scaled by a power of two.
#[inline(always)]
pub(crate) fn exp<A: Arithmetic>(x: f32) -> f32 {
    // Outside these the result is 0 or infinite; comparisons let NaN through.
    let x = select(x > 89.0, 89.0, x);
    let x = select(x < -104.0, -104.0, x);
    let shifted = A::mul_add(x, std::f32::consts::LOG2_E, ROUND);
    let n = shifted - ROUND;
    let r = A::mul_add(n, -LN2_HIGH, x);
    let r = A::mul_add(n, -LN2_LOW, r);
    let p = A::mul_add(1.0 / 5040.0, r, 1.0 / 720.0);
    let p = A::mul_add(p, r, 1.0 / 120.0);
    let p = A::mul_add(p, r, 1.0 / 24.0);
    let p = A::mul_add(p, r, 1.0 / 6.0);
    let p = A::mul_add(p, r, 0.5);
    let p = A::mul_add(p, r * r, r) + 1.0;
    // In two steps, since the power of two may be below the smallest normal number.
    let n = (shifted.to_bits() as i32).wrapping_sub(ROUND.to_bits() as i32);
    let half = n >> 1;
    p * power_of_two(half) * power_of_two(n.wrapping_sub(half))
}

#[inline(always)]
fn power_of_two(n: i32) -> f32 {
    f32::from_bits((n.wrapping_add(127) << 23) as u32)
}

/// `ln x`, to 1 ulp; −∞ at zero, NaN below.
///
/// # Source
/// The form that keeps the rounding error small is that of FDLIBM (Sun Microsystems 1993, `e_log.c`); the series is
/// that of `2 artanh s`.
#[inline(always)]
pub(crate) fn ln<A: Arithmetic>(x: f32) -> f32 {
    let tiny = x < f32::MIN_POSITIVE;
    let scaled = select(tiny, x * 8_388_608.0, x);
    // The exponent and a mantissa in √½..√2.
    let bits = (scaled.to_bits() as i32).wrapping_sub(std::f32::consts::FRAC_1_SQRT_2.to_bits() as i32);
    let exponent = (bits >> 23) - select(tiny, 23, 0);
    let mantissa = (bits & 0x007f_ffff).wrapping_add(std::f32::consts::FRAC_1_SQRT_2.to_bits() as i32);
    let f = f32::from_bits(mantissa as u32) - 1.0;
    let k = exponent as f32;
    let s = f / (2.0 + f);
    let z = s * s;
    let p = A::mul_add(2.0 / 9.0, z, 2.0 / 7.0);
    let p = A::mul_add(p, z, 2.0 / 5.0);
    let p = A::mul_add(p, z, 2.0 / 3.0);
    let half_square = 0.5 * f * f;
    let small = A::mul_add(s, A::mul_add(p, z, half_square), k * LN2_LOW);
    let y = A::mul_add(k, LN2_HIGH, f - (half_square - small));
    let y = select(x == 0.0, f32::NEG_INFINITY, y);
    let y = select(x < 0.0, f32::NAN, y);
    // Infinity and NaN are their own logarithms.
    select(x < f32::INFINITY, y, x)
}

/// `ln(1 + x)` for `x` in `0..=1`, to 1 ulp.
#[inline(always)]
fn ln_1p<A: Arithmetic>(x: f32) -> f32 {
    let sum = 1.0 + x;
    // What rounding the sum lost, to first order.
    ln::<A>(sum) + (x - (sum - 1.0)) / sum
}

/// `tanh x`, to 1.5 ulp: its own odd polynomial near zero, where the exponential would cancel.
///
/// # Source
/// Polynomial and its range: Cephes 2.8, `tanhf.c` (Moshier 2000), <https://www.netlib.org/cephes/>.
#[inline(always)]
pub(crate) fn tanh<A: Arithmetic>(x: f32) -> f32 {
    let magnitude = x.abs();
    let z = x * x;
    let p = A::mul_add(-5.704_988_7e-3, z, 2.063_909e-2);
    let p = A::mul_add(p, z, -5.373_971_6e-2);
    let p = A::mul_add(p, z, 1.333_144_2e-1);
    let p = A::mul_add(p, z, -3.333_328e-1);
    let near = A::mul_add(p * z, magnitude, magnitude);
    let far = 1.0 - 2.0 / (exp::<A>(2.0 * magnitude) + 1.0);
    select(magnitude < 0.625, near, far).copysign(x)
}

/// `1 / (1 + exp −x)`, to 2.5 ulp.
#[inline(always)]
pub(crate) fn sigmoid<A: Arithmetic>(x: f32) -> f32 {
    let e = exp::<A>(-x.abs());
    select(x < 0.0, e, 1.0) / (1.0 + e)
}

/// `ln(1 + exp x)` without overflow, to 2 ulp.
#[inline(always)]
pub(crate) fn softplus<A: Arithmetic>(x: f32) -> f32 {
    select(x > 0.0, x, 0.0) + ln_1p::<A>(exp::<A>(-x.abs()))
}

/// `x` to the power `c`, to 1 ulp; NaN for negative `x`. Computed in double precision.
#[inline(always)]
pub(crate) fn powf(x: f32, c: f32) -> f32 {
    let tiny = x < f32::MIN_POSITIVE;
    let scaled = select(tiny, x * 8_388_608.0, x);
    let bits = (scaled.to_bits() as i32).wrapping_sub(std::f32::consts::FRAC_1_SQRT_2.to_bits() as i32);
    let exponent = (bits >> 23) - select(tiny, 23, 0);
    let mantissa = (bits & 0x007f_ffff).wrapping_add(std::f32::consts::FRAC_1_SQRT_2.to_bits() as i32);
    let f = f64::from(f32::from_bits(mantissa as u32)) - 1.0;
    let s = f / (2.0 + f);
    let z = s * s;
    // 2 artanh s; the first term left out is z⁸ / 17, below 1e-13.
    let p = (((1.0 / 15.0) * z + 1.0 / 13.0) * z + 1.0 / 11.0) * z + 1.0 / 9.0;
    let p = (((p * z + 1.0 / 7.0) * z + 1.0 / 5.0) * z + 1.0 / 3.0) * z + 1.0;
    let log = f64::from(exponent) * std::f64::consts::LN_2 + 2.0 * s * p;
    let y = f64::from(c) * log;
    let y = select(y > 90.0, 90.0, y);
    let y = select(y < -105.0, -105.0, y);
    let shifted = y * std::f64::consts::LOG2_E + ROUND_F64;
    let r = y - (shifted - ROUND_F64) * std::f64::consts::LN_2;
    // The Taylor series of exp; the first term left out is r¹¹ / 11!, below 1e-12.
    let p = ((r * (1.0 / 3_628_800.0) + 1.0 / 362_880.0) * r + 1.0 / 40_320.0) * r + 1.0 / 5040.0;
    let p = (((p * r + 1.0 / 720.0) * r + 1.0 / 120.0) * r + 1.0 / 24.0) * r + 1.0 / 6.0;
    let p = ((p * r + 0.5) * r + 1.0) * r + 1.0;
    let n = (shifted.to_bits() as i64).wrapping_sub(ROUND_F64.to_bits() as i64);
    let power = (p * f64::from_bits((n.wrapping_add(1023) << 52) as u64)) as f32;
    // The ends of the range, which have no logarithm.
    let at_zero = select(c > 0.0, 0.0, f32::INFINITY);
    let at_infinity = select(c > 0.0, f32::INFINITY, 0.0);
    let power = select(x == 0.0, at_zero, power);
    let power = select(x == f32::INFINITY, at_infinity, power);
    let power = select(x >= 0.0, power, f32::NAN);
    select(c == 0.0, 1.0, power)
}

/// `sin x`, to 1 ulp for `|x|` below 10⁶; beyond, the error grows as `|x| · 10⁻¹⁶`.
#[inline(always)]
pub(crate) fn sin(x: f32) -> f32 {
    quarter_turns(x, 0)
}

/// `cos x`, as exact as [`sin`].
#[inline(always)]
pub(crate) fn cos(x: f32) -> f32 {
    quarter_turns(x, 1)
}

/// `sin(x + quarters · π/2)`, in double precision.
#[inline(always)]
fn quarter_turns(x: f32, quarters: i64) -> f32 {
    let x = f64::from(x);
    let shifted = x * FRAC_2_PI + ROUND_F64;
    let n = shifted - ROUND_F64;
    let r = (x - n * HALF_PI_HIGH) - n * HALF_PI_LOW;
    let z = r * r;
    let sin = (((((1.0 / 362_880.0) * z - 1.0 / 5040.0) * z + 1.0 / 120.0) * z - 1.0 / 6.0) * z + 1.0) * r;
    let cos = ((((1.0 / 40_320.0 - (1.0 / 3_628_800.0) * z) * z - 1.0 / 720.0) * z + 1.0 / 24.0) * z - 0.5) * z + 1.0;
    let quadrant = (shifted.to_bits() as i64).wrapping_add(quarters);
    let value = select(quadrant & 1 == 0, sin, cos);
    select(quadrant & 2 == 0, value, -value) as f32
}

/// Sine and cosine of `turn / 2³²` of a full circle, to 2 ulp, without products that fuse: the same bytes everywhere.
#[inline(always)]
pub(crate) fn sin_cos_of_turn(turn: u32) -> (f32, f32) {
    let quadrant = turn.wrapping_add(1 << 29) >> 30;
    let r = (turn.wrapping_sub(quadrant << 30) as i32) as f32 * (std::f32::consts::TAU / 4_294_967_296.0);
    let z = r * r;
    let sin = ((((1.0 / 362_880.0) * z - 1.0 / 5040.0) * z + 1.0 / 120.0) * z - 1.0 / 6.0) * z * r + r;
    let cos = (((1.0 / 40_320.0 * z - 1.0 / 720.0) * z + 1.0 / 24.0) * z - 0.5) * z + 1.0;
    let even = quadrant & 1 == 0;
    let (s, c) = (select(even, sin, cos), select(even, cos, sin));
    let s = select(quadrant & 2 == 0, s, -s);
    let c = select((quadrant + 1) & 2 == 0, c, -c);
    (s, c)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::{
        isa::{Fused, Portable},
        testing::ulp_error,
    };

    /// The largest error in units in the last place over a sweep that touches every binade.
    fn worst(range: (f32, f32), f: impl Fn(f32) -> f32, exact: impl Fn(f64) -> f64) -> f64 {
        let dense = (0..=200_000).map(|i| range.0 + (range.1 - range.0) * (i as f32 / 200_000.0));
        let binades = (1..2000u32).map(|i| f32::from_bits(i.wrapping_mul(0x0010_2f31)));
        let inside = |x: &f32| *x >= range.0 && *x <= range.1;
        dense
            .chain(binades.clone())
            .chain(binades.map(|x| -x))
            .filter(inside)
            .map(|x| ulp_error(f(x), exact(f64::from(x))))
            .fold(0.0, f64::max)
    }

    fn check<A: Arithmetic>() {
        let logistic = |x: f64| 1.0 / (1.0 + (-x).exp());
        let softplus_exact = |x: f64| x.max(0.0) + (-x.abs()).exp().ln_1p();
        let cases = [
            ("exp", 1.5, worst((-104.0, 89.0), exp::<A>, f64::exp)),
            ("ln", 1.0, worst((1e-45, f32::MAX), ln::<A>, f64::ln)),
            ("ln near 1", 1.0, worst((0.5, 2.0), ln::<A>, f64::ln)),
            ("tanh", 1.5, worst((-10.0, 10.0), tanh::<A>, f64::tanh)),
            ("sigmoid", 2.5, worst((-100.0, 100.0), sigmoid::<A>, logistic)),
            ("softplus", 2.0, worst((-100.0, 100.0), softplus::<A>, softplus_exact)),
            ("sin", 1.0, worst((-1e3, 1e3), sin, f64::sin)),
            ("cos", 1.0, worst((-1e6, 1e6), cos, f64::cos)),
            (
                "powf 0.3",
                1.0,
                worst((1e-45, f32::MAX), |x| powf(x, 0.3), |x| x.powf(f64::from(0.3f32))),
            ),
            (
                "powf -1.7",
                1.0,
                worst((1e-45, f32::MAX), |x| powf(x, -1.7), |x| x.powf(f64::from(-1.7f32))),
            ),
        ];
        for (name, bound, error) in cases {
            assert!(error <= bound, "{name}: {error} ulp");
        }
    }

    #[test]
    fn errors_are_a_few_units_in_the_last_place() {
        check::<Fused>();
        check::<Portable>();
    }

    #[test]
    fn special_values() {
        fn check<A: Arithmetic>() {
            assert_eq!(exp::<A>(0.0), 1.0);
            assert_eq!(exp::<A>(f32::NEG_INFINITY), 0.0);
            assert_eq!(exp::<A>(f32::INFINITY), f32::INFINITY);
            assert_eq!(ln::<A>(1.0), 0.0);
            assert_eq!(ln::<A>(0.0), f32::NEG_INFINITY);
            assert_eq!(ln::<A>(f32::INFINITY), f32::INFINITY);
            assert!(ln::<A>(-1.0).is_nan());
            assert_eq!(tanh::<A>(f32::INFINITY), 1.0);
            assert_eq!(tanh::<A>(-0.0).to_bits(), (-0.0f32).to_bits());
            assert_eq!(sigmoid::<A>(f32::NEG_INFINITY), 0.0);
            assert_eq!(sigmoid::<A>(0.0), 0.5);
            assert_eq!(softplus::<A>(1e30), 1e30);
            assert_eq!(softplus::<A>(-1e30), 0.0);
            for f in [exp::<A>, ln::<A>, tanh::<A>, sigmoid::<A>, softplus::<A>, sin, cos] {
                assert!(f(f32::NAN).is_nan());
            }
        }
        check::<Fused>();
        check::<Portable>();
        assert_eq!(
            [powf(0.0, 2.0), powf(0.0, -2.0), powf(0.0, 0.0)],
            [0.0, f32::INFINITY, 1.0]
        );
        assert_eq!(
            [powf(f32::INFINITY, 2.0), powf(f32::INFINITY, -2.0)],
            [f32::INFINITY, 0.0]
        );
        assert!(powf(-1.0, 0.5).is_nan() && powf(f32::NAN, 0.5).is_nan());
        assert!(sin(f32::INFINITY).is_nan());
    }

    #[test]
    fn turns_of_a_circle() {
        for i in 0..100_000u32 {
            let turn = i.wrapping_mul(42_949);
            let angle = f64::from(turn) / 4_294_967_296.0 * std::f64::consts::TAU;
            let (s, c) = sin_cos_of_turn(turn);
            let error = (f64::from(s) - angle.sin())
                .abs()
                .max((f64::from(c) - angle.cos()).abs());
            assert!(error < 1.5e-7, "{turn}: {error}");
        }
    }
}
