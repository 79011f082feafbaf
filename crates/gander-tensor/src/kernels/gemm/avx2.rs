//! The innermost loops with AVX2 and FMA.

#![allow(
    clippy::wildcard_imports,
    reason = "the names of intrinsics begin with their instruction set"
)]

use std::arch::x86_64::*;

use super::{
    Depthwise, OnVectors, Outer, Registers, Set, Tile,
    micro::{self, SUMS, Vector},
};

pub(super) static F32: Set = Set {
    lanes: 8,
    elements: 1,
    tiles: &[
        &[(1, tile::<1, 1>), (4, tile::<4, 1>), (10, tile::<10, 1>)],
        &[(1, tile::<1, 2>), (3, tile::<3, 2>), (6, tile::<6, 2>)],
    ],
    outers: &[
        &[(4, outer::<4, 1>), (12, outer::<12, 1>)],
        &[(1, outer::<1, 2>), (3, outer::<3, 2>), (6, outer::<6, 2>)],
    ],
    dots: &[(8, dot::<8, 1>), (4, dot::<4, 2>), (4, dot::<4, 3>), (3, dot::<3, 4>)],
    depthwise: (4, 2, depthwise::<4, 2>),
    depthwise_outer: (8, depthwise_outer::<8>),
    registers: Registers::Avx2,
    rounding: None,
    transpose: None,
};

struct Float;

impl Vector for Float {
    type V = __m256;
    const LANES: usize = 8;
    const ELEMENTS: usize = 1;

    #[inline(always)]
    unsafe fn zero() -> __m256 {
        // SAFETY: AVX2 is there in the callers below.
        unsafe { _mm256_setzero_ps() }
    }
    #[inline(always)]
    unsafe fn load(from: *const u8) -> __m256 {
        // SAFETY: the caller vouches for 32 readable bytes.
        unsafe { _mm256_loadu_ps(from.cast()) }
    }
    #[inline(always)]
    unsafe fn load_part(from: *const u8, units: usize) -> __m256 {
        // SAFETY: masked lanes are not touched.
        unsafe { _mm256_maskload_ps(from.cast(), mask(units)) }
    }
    #[inline(always)]
    unsafe fn splat(from: *const u8) -> __m256 {
        // SAFETY: the caller vouches for four readable bytes.
        unsafe { _mm256_set1_ps(from.cast::<f32>().read_unaligned()) }
    }
    #[inline(always)]
    unsafe fn store(to: *mut f32, v: __m256) {
        // SAFETY: the caller vouches for eight writable values.
        unsafe { _mm256_storeu_ps(to, v) }
    }
    #[inline(always)]
    unsafe fn store_part(to: *mut f32, v: __m256, lanes: usize) {
        // SAFETY: masked lanes are not touched.
        unsafe { _mm256_maskstore_ps(to, mask(lanes), v) }
    }
    #[inline(always)]
    unsafe fn fma(a: __m256, b: __m256, sum: __m256) -> __m256 {
        // SAFETY: FMA is there in the callers below.
        unsafe { _mm256_fmadd_ps(a, b, sum) }
    }
    #[inline(always)]
    unsafe fn add(a: __m256, b: __m256) -> __m256 {
        // SAFETY: AVX2 is there in the callers below.
        unsafe { _mm256_add_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn sub(a: __m256, b: __m256) -> __m256 {
        // SAFETY: AVX2 is there in the callers below.
        unsafe { _mm256_sub_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn scaled(v: __m256, factor: f32) -> __m256 {
        // SAFETY: AVX2 is there in the callers below.
        unsafe { _mm256_mul_ps(v, _mm256_set1_ps(factor)) }
    }
    #[inline(always)]
    unsafe fn scaled_add(sum: __m256, v: __m256, factor: f32) -> __m256 {
        // SAFETY: FMA is there in the callers below.
        unsafe { _mm256_fmadd_ps(v, _mm256_set1_ps(factor), sum) }
    }
    #[inline(always)]
    unsafe fn store_elements(to: *mut u8, v: __m256, lanes: usize) {
        // SAFETY: the caller vouches for the place of `lanes` values.
        unsafe { micro::store_columns::<Self>(to.cast(), v, lanes) }
    }
    #[inline(always)]
    unsafe fn store_units(to: *mut u8, [v, _]: [__m256; 2]) {
        // SAFETY: the caller vouches for 32 writable bytes.
        unsafe { _mm256_storeu_ps(to.cast(), v) }
    }
    #[inline(always)]
    unsafe fn leaky(v: __m256, slope: f32) -> __m256 {
        // SAFETY: AVX2 is there in the callers below.
        unsafe {
            let negative = _mm256_cmp_ps::<_CMP_LT_OQ>(v, _mm256_setzero_ps());
            _mm256_blendv_ps(v, _mm256_mul_ps(v, _mm256_set1_ps(slope)), negative)
        }
    }
    #[inline(always)]
    unsafe fn prefetch(from: *const u8) {
        // SAFETY: a hint, which touches nothing.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(from.cast()) }
    }
    #[inline(always)]
    unsafe fn gated(v: __m256, by: __m256, slope: f32) -> __m256 {
        // SAFETY: AVX2 is there in the callers below.
        unsafe {
            let positive = _mm256_cmp_ps::<_CMP_GT_OQ>(by, _mm256_setzero_ps());
            _mm256_blendv_ps(_mm256_mul_ps(v, _mm256_set1_ps(slope)), v, positive)
        }
    }
    #[inline(always)]
    unsafe fn sums(v: [__m256; SUMS]) -> [f32; SUMS] {
        v.map(|v| {
            // SAFETY: AVX2 is there in the callers below.
            unsafe {
                let four = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps::<1>(v));
                let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
                _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps::<1>(two, two)))
            }
        })
    }
}

#[inline(always)]
unsafe fn mask(lanes: usize) -> __m256i {
    // SAFETY: AVX2 is there in the callers below.
    unsafe {
        _mm256_cmpgt_epi32(
            _mm256_set1_epi32(lanes as i32),
            _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7),
        )
    }
}

/// Runs a body over registers of float32.
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn run<K: OnVectors>(kernel: K) {
    // SAFETY: the caller vouches for the instruction set and the operands.
    unsafe { kernel.run::<Float>() }
}

#[target_feature(enable = "avx2,fma")]
unsafe fn tile<const MR: usize, const NV: usize>(t: &Tile<'_>) {
    // SAFETY: the caller vouches for the instruction set and the operands.
    unsafe { micro::tile::<Float, MR, NV>(t) }
}

#[target_feature(enable = "avx2,fma")]
unsafe fn outer<const MR: usize, const NV: usize>(o: &Outer<'_>) {
    // SAFETY: the caller vouches for the instruction set and the operands.
    unsafe { micro::outer::<Float, MR, NV>(o) }
}

#[target_feature(enable = "avx2,fma")]
unsafe fn dot<const MR: usize, const OUTS: usize>(t: &Tile<'_>) {
    // SAFETY: the caller vouches for the instruction set and the operands.
    unsafe { micro::dot::<Float, MR, OUTS>(t) }
}

#[target_feature(enable = "avx2,fma")]
unsafe fn depthwise<const MR: usize, const NV: usize>(t: &Tile<'_>) {
    // SAFETY: the caller vouches for the instruction set and the operands.
    unsafe { micro::depthwise::<Float, MR, NV>(t) }
}

#[target_feature(enable = "avx2,fma")]
unsafe fn depthwise_outer<const TAPS: usize>(d: &Depthwise<'_>) {
    // SAFETY: the caller vouches for the instruction set and the operands.
    unsafe { micro::depthwise_outer::<Float, TAPS>(d) }
}
