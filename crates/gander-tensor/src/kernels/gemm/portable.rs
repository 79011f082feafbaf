//! The innermost loops in plain Rust, for every other processor and for NEON, where the compiler makes vectors of them.

use super::{
    Depthwise, OnVectors, Outer, Registers, Set, Tile,
    micro::{self, SUMS, Vector},
};

/// Few registers, and a product and a sum in two steps, since a fused one would be a call into the C library.
pub(super) static PLAIN: Set = Set {
    lanes: 8,
    elements: 1,
    tiles: &[&[(1, tile::<false, 1, 1>), (4, tile::<false, 4, 1>)]],
    outers: &[&[(1, outer::<false, 1, 1>), (4, outer::<false, 4, 1>)]],
    dots: &[
        (4, dot::<false, 4, 1>),
        (2, dot::<false, 2, 2>),
        (1, dot::<false, 1, 3>),
        (1, dot::<false, 1, 4>),
    ],
    depthwise: (4, 1, depthwise::<false, 4, 1>),
    depthwise_outer: (4, depthwise_outer::<false, 4>),
    registers: Registers::Plain,
    rounding: None,
    transpose: None,
};

/// Thirty-two registers of four lanes: two make one of the registers here.
pub(super) static NEON: Set = Set {
    lanes: 8,
    elements: 1,
    tiles: &[
        &[
            (1, tile::<true, 1, 1>),
            (4, tile::<true, 4, 1>),
            (12, tile::<true, 12, 1>),
        ],
        &[
            (1, tile::<true, 1, 2>),
            (3, tile::<true, 3, 2>),
            (6, tile::<true, 6, 2>),
        ],
    ],
    outers: &[
        &[(4, outer::<true, 4, 1>), (12, outer::<true, 12, 1>)],
        &[
            (1, outer::<true, 1, 2>),
            (3, outer::<true, 3, 2>),
            (6, outer::<true, 6, 2>),
        ],
    ],
    dots: &[
        (8, dot::<true, 8, 1>),
        (4, dot::<true, 4, 2>),
        (4, dot::<true, 4, 3>),
        (3, dot::<true, 3, 4>),
    ],
    depthwise: (4, 2, depthwise::<true, 4, 2>),
    depthwise_outer: (8, depthwise_outer::<true, 8>),
    registers: Registers::Neon,
    rounding: None,
    transpose: None,
};

struct Float<const FUSED: bool>;

impl<const FUSED: bool> Vector for Float<FUSED> {
    type V = [f32; 8];
    const LANES: usize = 8;
    const ELEMENTS: usize = 1;

    #[inline(always)]
    unsafe fn zero() -> [f32; 8] {
        [0.0; 8]
    }
    #[inline(always)]
    unsafe fn load(from: *const u8) -> [f32; 8] {
        // SAFETY: the caller vouches for 32 readable bytes.
        unsafe { from.cast::<[f32; 8]>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn load_part(from: *const u8, units: usize) -> [f32; 8] {
        let mut v = [0.0; 8];
        for (lane, value) in v.iter_mut().enumerate().take(units) {
            // SAFETY: the caller vouches for `units` readable values.
            *value = f32::from_ne_bytes(unsafe { from.cast::<[u8; 4]>().add(lane).read() });
        }
        v
    }
    #[inline(always)]
    unsafe fn splat(from: *const u8) -> [f32; 8] {
        // SAFETY: the caller vouches for four readable bytes.
        [unsafe { from.cast::<f32>().read_unaligned() }; 8]
    }
    #[inline(always)]
    unsafe fn store(to: *mut f32, v: [f32; 8]) {
        // SAFETY: the caller vouches for eight writable values.
        unsafe { to.cast::<[f32; 8]>().write_unaligned(v) }
    }
    #[inline(always)]
    unsafe fn store_part(to: *mut f32, v: [f32; 8], lanes: usize) {
        for (lane, value) in v.iter().enumerate().take(lanes) {
            // SAFETY: the caller vouches for `lanes` writable values.
            unsafe { *to.add(lane) = *value }
        }
    }
    #[inline(always)]
    unsafe fn fma(a: [f32; 8], b: [f32; 8], mut sum: [f32; 8]) -> [f32; 8] {
        for lane in 0..8 {
            sum[lane] = if FUSED {
                a[lane].mul_add(b[lane], sum[lane])
            } else {
                sum[lane] + a[lane] * b[lane]
            };
        }
        sum
    }
    #[inline(always)]
    unsafe fn add(mut a: [f32; 8], b: [f32; 8]) -> [f32; 8] {
        for lane in 0..8 {
            a[lane] += b[lane];
        }
        a
    }
    #[inline(always)]
    unsafe fn sub(mut a: [f32; 8], b: [f32; 8]) -> [f32; 8] {
        for lane in 0..8 {
            a[lane] -= b[lane];
        }
        a
    }
    #[inline(always)]
    unsafe fn scaled(v: [f32; 8], factor: f32) -> [f32; 8] {
        v.map(|value| value * factor)
    }
    #[inline(always)]
    unsafe fn scaled_add(sum: [f32; 8], v: [f32; 8], factor: f32) -> [f32; 8] {
        // SAFETY: the same as `fma`.
        unsafe { Self::fma(v, [factor; 8], sum) }
    }
    #[inline(always)]
    unsafe fn store_elements(to: *mut u8, v: [f32; 8], lanes: usize) {
        // SAFETY: the caller vouches for the place of `lanes` values.
        unsafe { micro::store_columns::<Self>(to.cast(), v, lanes) }
    }
    #[inline(always)]
    unsafe fn store_units(to: *mut u8, [v, _]: [[f32; 8]; 2]) {
        // SAFETY: the caller vouches for 32 writable bytes.
        unsafe { Self::store(to.cast(), v) }
    }
    #[inline(always)]
    unsafe fn leaky(v: [f32; 8], slope: f32) -> [f32; 8] {
        v.map(|value| if value < 0.0 { value * slope } else { value })
    }
    #[inline(always)]
    unsafe fn gated(mut v: [f32; 8], by: [f32; 8], slope: f32) -> [f32; 8] {
        for lane in 0..8 {
            v[lane] = if by[lane] > 0.0 { v[lane] } else { slope * v[lane] };
        }
        v
    }
    #[inline(always)]
    unsafe fn sums(v: [[f32; 8]; SUMS]) -> [f32; SUMS] {
        v.map(|v| ((v[0] + v[4]) + (v[2] + v[6])) + ((v[1] + v[5]) + (v[3] + v[7])))
    }
}

/// Runs a body over registers of float32.
pub(super) unsafe fn run<const FUSED: bool, K: OnVectors>(kernel: K) {
    // SAFETY: the caller vouches for the operands.
    unsafe { kernel.run::<Float<FUSED>>() }
}

unsafe fn tile<const FUSED: bool, const MR: usize, const NV: usize>(t: &Tile<'_>) {
    // SAFETY: the caller vouches for the operands.
    unsafe { micro::tile::<Float<FUSED>, MR, NV>(t) }
}

unsafe fn outer<const FUSED: bool, const MR: usize, const NV: usize>(o: &Outer<'_>) {
    // SAFETY: the caller vouches for the operands.
    unsafe { micro::outer::<Float<FUSED>, MR, NV>(o) }
}

unsafe fn dot<const FUSED: bool, const MR: usize, const OUTS: usize>(t: &Tile<'_>) {
    // SAFETY: the caller vouches for the operands.
    unsafe { micro::dot::<Float<FUSED>, MR, OUTS>(t) }
}

unsafe fn depthwise<const FUSED: bool, const MR: usize, const NV: usize>(t: &Tile<'_>) {
    // SAFETY: the caller vouches for the operands.
    unsafe { micro::depthwise::<Float<FUSED>, MR, NV>(t) }
}

unsafe fn depthwise_outer<const FUSED: bool, const TAPS: usize>(d: &Depthwise<'_>) {
    // SAFETY: the caller vouches for the operands.
    unsafe { micro::depthwise_outer::<Float<FUSED>, TAPS>(d) }
}
