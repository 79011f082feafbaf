//! What the tests of the kernels share.

use super::{Context, isa::Isa};

/// Sizes around the widths of vectors and parts.
pub(crate) const SIZES: [usize; 12] = [0, 1, 2, 7, 15, 16, 17, 63, 65, 1023, 16_385, 70_001];

/// A context for every instruction set that is there, with one, two and three threads each.
pub(crate) fn contexts() -> Vec<[Context; 3]> {
    let with = |isa| [1, 2, 3].map(|threads| Context::for_tests(isa, threads));
    Isa::ALL.into_iter().filter(|isa| isa.available()).map(with).collect()
}

/// Runs a kernel that fills `len` values under every context; asserts that the number of threads changes no byte,
/// and returns the result of each instruction set.
pub(crate) fn on_every_isa(len: usize, kernel: impl Fn(&Context, &mut [f32])) -> Vec<(Isa, Vec<f32>)> {
    let run = |ctx: &Context| {
        let mut y = vec![f32::NAN; len];
        kernel(ctx, &mut y);
        y
    };
    let bits = |y: &[f32]| y.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
    contexts()
        .iter()
        .map(|[one, two, three]| {
            let y = run(one);
            assert_eq!(bits(&y), bits(&run(two)), "{}: two threads", one.isa);
            assert_eq!(bits(&y), bits(&run(three)), "{}: three threads", one.isa);
            (one.isa, y)
        })
        .collect()
}

/// Values in −1..1 that repeat for a seed.
pub(crate) fn values(len: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..len)
        .map(|_| {
            // Xorshift (Marsaglia 2003).
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 40) as f32 / (1 << 23) as f32 - 1.0
        })
        .collect()
}

/// The error of `got` in units in the last place of the exact value rounded to float32.
pub(crate) fn ulp_error(got: f32, exact: f64) -> f64 {
    let rounded = exact as f32;
    if got == rounded || (got.is_nan() && rounded.is_nan()) {
        return 0.0;
    }
    if !rounded.is_finite() || !got.is_finite() {
        return f64::INFINITY;
    }
    let exponent = rounded.abs().max(f32::MIN_POSITIVE).to_bits() >> 23;
    (f64::from(got) - exact).abs() / f64::powi(2.0, exponent as i32 - 127 - 23)
}

/// Asserts that all values are within `bound` times the scale of their exact ones, which is at least `floor`.
pub(crate) fn assert_close(got: &[f32], exact: &[f64], (bound, floor): (f64, f64), what: &str) {
    assert_eq!(got.len(), exact.len(), "{what}");
    for (i, (&got, &exact)) in got.iter().zip(exact).enumerate() {
        let error = (f64::from(got) - exact).abs() / exact.abs().max(floor);
        assert!(
            error <= bound || f64::from(got) == exact,
            "{what}: index {i}: got {got}, expected {exact}, error {error:e}"
        );
    }
}

/// In double precision.
pub(crate) fn wide(x: &[f32]) -> Vec<f64> {
    x.iter().copied().map(f64::from).collect()
}
