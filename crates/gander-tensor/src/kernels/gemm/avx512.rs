//! The innermost loops with AVX-512, in float32 and with bfloat16 products.

#![allow(
    clippy::wildcard_imports,
    reason = "the names of intrinsics begin with their instruction set"
)]

use std::arch::x86_64::*;

use super::{
    Depthwise, OnVectors, Outer, Registers, Rounding, Set, Tile, convert,
    micro::{self, SUMS, Vector},
};

/// Tables of a set: rows of each width, ascending, so that the smallest that fits is found first.
pub(super) static F32: Set = Set {
    lanes: 16,
    elements: 1,
    tiles: &[
        &[(1, tile::<1, 1>), (4, tile::<4, 1>), (12, tile::<12, 1>)],
        &[(1, tile::<1, 2>), (4, tile::<4, 2>), (12, tile::<12, 2>)],
        &[(1, tile::<1, 3>), (4, tile::<4, 3>), (8, tile::<8, 3>)],
        &[(1, tile::<1, 4>), (3, tile::<3, 4>), (6, tile::<6, 4>)],
    ],
    outers: &[
        &[(4, outer::<4, 1>), (8, outer::<8, 1>), (16, outer::<16, 1>)],
        &[(4, outer::<4, 2>), (12, outer::<12, 2>)],
        &[(4, outer::<4, 3>), (8, outer::<8, 3>)],
        &[
            (1, outer::<1, 4>),
            (2, outer::<2, 4>),
            (4, outer::<4, 4>),
            (6, outer::<6, 4>),
        ],
    ],
    dots: &[(8, dot::<8, 1>), (8, dot::<8, 2>), (5, dot::<5, 3>), (4, dot::<4, 4>)],
    depthwise: (4, 2, depthwise::<4, 2>),
    depthwise_outer: (8, depthwise_outer::<8>),
    registers: Registers::Avx512,
    rounding: None,
    transpose: Some(convert::transpose),
};

pub(super) static BF16: Set = Set {
    lanes: 16,
    elements: 2,
    tiles: &[
        &[(1, tile_bf16::<1, 1>), (4, tile_bf16::<4, 1>), (12, tile_bf16::<12, 1>)],
        &[(1, tile_bf16::<1, 2>), (4, tile_bf16::<4, 2>), (12, tile_bf16::<12, 2>)],
        &[(1, tile_bf16::<1, 3>), (4, tile_bf16::<4, 3>), (8, tile_bf16::<8, 3>)],
        &[(1, tile_bf16::<1, 4>), (3, tile_bf16::<3, 4>), (6, tile_bf16::<6, 4>)],
    ],
    outers: &[
        &[
            (4, outer_bf16::<4, 1>),
            (8, outer_bf16::<8, 1>),
            (16, outer_bf16::<16, 1>),
        ],
        &[(4, outer_bf16::<4, 2>), (12, outer_bf16::<12, 2>)],
        &[(4, outer_bf16::<4, 3>), (8, outer_bf16::<8, 3>)],
        &[
            (1, outer_bf16::<1, 4>),
            (2, outer_bf16::<2, 4>),
            (4, outer_bf16::<4, 4>),
            (6, outer_bf16::<6, 4>),
        ],
    ],
    dots: &[
        (8, dot_bf16::<8, 1>),
        (8, dot_bf16::<8, 2>),
        (5, dot_bf16::<5, 3>),
        (4, dot_bf16::<4, 4>),
    ],
    depthwise: (4, 2, depthwise::<4, 2>),
    depthwise_outer: (8, depthwise_outer::<8>),
    registers: Registers::Avx512Bf16,
    rounding: Some(Rounding {
        narrow: convert::narrow,
        pair: convert::pair,
        interleave: convert::interleave,
    }),
    transpose: Some(convert::transpose_rounded),
};

struct Float;
struct Brain;

/// Everything but the product is the same for both.
macro_rules! registers {
    () => {
        type V = __m512;
        const LANES: usize = 16;

        #[inline(always)]
        unsafe fn zero() -> __m512 {
            // SAFETY: AVX-512 is there in the callers below.
            unsafe { _mm512_setzero_ps() }
        }
        #[inline(always)]
        unsafe fn load(from: *const u8) -> __m512 {
            // SAFETY: the caller vouches for 64 readable bytes.
            unsafe { _mm512_loadu_ps(from.cast()) }
        }
        #[inline(always)]
        unsafe fn load_part(from: *const u8, units: usize) -> __m512 {
            // SAFETY: masked lanes are not touched.
            unsafe { _mm512_maskz_loadu_ps(mask(units), from.cast()) }
        }
        #[inline(always)]
        unsafe fn splat(from: *const u8) -> __m512 {
            // SAFETY: the caller vouches for four readable bytes.
            unsafe { _mm512_set1_ps(from.cast::<f32>().read_unaligned()) }
        }
        #[inline(always)]
        unsafe fn store(to: *mut f32, v: __m512) {
            // SAFETY: the caller vouches for 16 writable values.
            unsafe { _mm512_storeu_ps(to, v) }
        }
        #[inline(always)]
        unsafe fn store_part(to: *mut f32, v: __m512, lanes: usize) {
            // SAFETY: masked lanes are not touched.
            unsafe { _mm512_mask_storeu_ps(to, mask(lanes), v) }
        }
        #[inline(always)]
        unsafe fn add(a: __m512, b: __m512) -> __m512 {
            // SAFETY: AVX-512 is there in the callers below.
            unsafe { _mm512_add_ps(a, b) }
        }
        #[inline(always)]
        unsafe fn sub(a: __m512, b: __m512) -> __m512 {
            // SAFETY: AVX-512 is there in the callers below.
            unsafe { _mm512_sub_ps(a, b) }
        }
        #[inline(always)]
        unsafe fn scaled(v: __m512, factor: f32) -> __m512 {
            // SAFETY: AVX-512 is there in the callers below.
            unsafe { _mm512_mul_ps(v, _mm512_set1_ps(factor)) }
        }
        #[inline(always)]
        unsafe fn scaled_add(sum: __m512, v: __m512, factor: f32) -> __m512 {
            // SAFETY: AVX-512 is there in the callers below.
            unsafe { _mm512_fmadd_ps(v, _mm512_set1_ps(factor), sum) }
        }
        #[inline(always)]
        unsafe fn leaky(v: __m512, slope: f32) -> __m512 {
            // SAFETY: AVX-512 is there in the callers below.
            unsafe {
                let negative = _mm512_cmp_ps_mask::<_CMP_LT_OQ>(v, _mm512_setzero_ps());
                _mm512_mask_mul_ps(v, negative, v, _mm512_set1_ps(slope))
            }
        }
        #[inline(always)]
        unsafe fn prefetch(from: *const u8) {
            // SAFETY: a hint, which touches nothing.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(from.cast()) }
        }
        #[inline(always)]
        unsafe fn gated(v: __m512, by: __m512, slope: f32) -> __m512 {
            // SAFETY: AVX-512 is there in the callers below.
            unsafe {
                let others = _mm512_cmp_ps_mask::<_CMP_NGT_UQ>(by, _mm512_setzero_ps());
                _mm512_mask_mul_ps(v, others, v, _mm512_set1_ps(slope))
            }
        }
        #[inline(always)]
        unsafe fn sums(v: [__m512; SUMS]) -> [f32; SUMS] {
            // SAFETY: AVX-512 is there in the callers below.
            unsafe { sums(&v) }
        }
    };
}

impl Vector for Float {
    registers!();
    const ELEMENTS: usize = 1;

    #[inline(always)]
    unsafe fn store_elements(to: *mut u8, v: __m512, lanes: usize) {
        // SAFETY: the caller vouches for the place of `lanes` values.
        unsafe { micro::store_columns::<Self>(to.cast(), v, lanes) }
    }
    #[inline(always)]
    unsafe fn store_units(to: *mut u8, [v, _]: [__m512; 2]) {
        // SAFETY: the caller vouches for 64 writable bytes.
        unsafe { _mm512_storeu_ps(to.cast(), v) }
    }
    #[inline(always)]
    unsafe fn fma(a: __m512, b: __m512, sum: __m512) -> __m512 {
        // SAFETY: AVX-512 is there in the callers below.
        unsafe { _mm512_fmadd_ps(a, b, sum) }
    }
}

impl Vector for Brain {
    registers!();
    const ELEMENTS: usize = 2;

    #[inline(always)]
    unsafe fn store_elements(to: *mut u8, v: __m512, lanes: usize) {
        // SAFETY: AVX-512 (BW, VL, BF16) is there in the callers below; masked lanes are not touched.
        unsafe {
            let rounded = std::mem::transmute::<__m256bh, __m256i>(_mm512_cvtneps_pbh(v));
            _mm256_mask_storeu_epi16(to.cast(), mask(lanes), rounded);
        }
    }
    #[inline(always)]
    unsafe fn store_units(to: *mut u8, [low, high]: [__m512; 2]) {
        // SAFETY: AVX-512 (BW, BF16) is there in the callers below; the caller vouches for 64 writable bytes.
        unsafe { convert::store_rounded_pairs(to.cast(), low, high) }
    }
    #[inline(always)]
    unsafe fn fma(a: __m512, b: __m512, sum: __m512) -> __m512 {
        // SAFETY: AVX512_BF16 is there in the callers below; both types are 64 plain bytes.
        unsafe {
            _mm512_dpbf16_ps(
                sum,
                std::mem::transmute::<__m512, __m512bh>(a),
                std::mem::transmute::<__m512, __m512bh>(b),
            )
        }
    }
}

/// Sums over lanes, halving the registers at each of four steps.
#[inline]
#[target_feature(enable = "avx512f")]
fn sums(v: &[__m512; SUMS]) -> [f32; SUMS] {
    let mut four = [_mm512_setzero_ps(); 4];
    for (four, v) in four.iter_mut().zip(v.as_chunks::<4>().0) {
        // Within 128 bits: two lanes of each of two registers, then one of each of four.
        let two =
            |a: __m512, b: __m512| _mm512_castps_pd(_mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b)));
        let (ab, cd) = (two(v[0], v[1]), two(v[2], v[3]));
        let low = _mm512_castpd_ps(_mm512_unpacklo_pd(ab, cd));
        let high = _mm512_castpd_ps(_mm512_unpackhi_pd(ab, cd));
        *four = _mm512_add_ps(low, high);
    }
    let halves = |a, b| _mm512_add_ps(_mm512_shuffle_f32x4::<0x44>(a, b), _mm512_shuffle_f32x4::<0xee>(a, b));
    let (p, q) = (halves(four[0], four[1]), halves(four[2], four[3]));
    let all = _mm512_add_ps(_mm512_shuffle_f32x4::<0x88>(p, q), _mm512_shuffle_f32x4::<0xdd>(p, q));
    let mut sums = [0.0; SUMS];
    // SAFETY: sixteen values.
    unsafe { _mm512_storeu_ps(sums.as_mut_ptr(), all) }
    sums
}

#[inline(always)]
fn mask(lanes: usize) -> __mmask16 {
    (0xffff_u32 >> (16 - lanes.min(16))) as __mmask16
}

/// Runs a body over registers of float32.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
pub(super) unsafe fn run<K: OnVectors>(kernel: K) {
    // SAFETY: the caller vouches for the instruction set and the operands.
    unsafe { kernel.run::<Float>() }
}

/// Runs a body over registers whose operands are bfloat16.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx2,fma")]
pub(super) unsafe fn run_bf16<K: OnVectors>(kernel: K) {
    // SAFETY: the caller vouches for the instruction set and the operands.
    unsafe { kernel.run::<Brain>() }
}

#[target_feature(enable = "avx512f")]
unsafe fn tile<const MR: usize, const NV: usize>(t: &Tile<'_>) {
    // SAFETY: the caller vouches for the instruction set and the operands.
    unsafe { micro::tile::<Float, MR, NV>(t) }
}

#[target_feature(enable = "avx512f")]
unsafe fn outer<const MR: usize, const NV: usize>(o: &Outer<'_>) {
    // SAFETY: the caller vouches for the instruction set and the operands.
    unsafe { micro::outer::<Float, MR, NV>(o) }
}

#[target_feature(enable = "avx512f")]
unsafe fn dot<const MR: usize, const OUTS: usize>(t: &Tile<'_>) {
    // SAFETY: the caller vouches for the instruction set and the operands.
    unsafe { micro::dot::<Float, MR, OUTS>(t) }
}

#[target_feature(enable = "avx512f")]
unsafe fn depthwise<const MR: usize, const NV: usize>(t: &Tile<'_>) {
    // SAFETY: the caller vouches for the instruction set and the operands.
    unsafe { micro::depthwise::<Float, MR, NV>(t) }
}

#[target_feature(enable = "avx512f")]
unsafe fn depthwise_outer<const TAPS: usize>(d: &Depthwise<'_>) {
    // SAFETY: the caller vouches for the instruction set and the operands.
    unsafe { micro::depthwise_outer::<Float, TAPS>(d) }
}

#[target_feature(enable = "avx512f,avx512bf16")]
unsafe fn tile_bf16<const MR: usize, const NV: usize>(t: &Tile<'_>) {
    // SAFETY: the caller vouches for the instruction set and the operands.
    unsafe { micro::tile::<Brain, MR, NV>(t) }
}

#[target_feature(enable = "avx512f,avx512bf16")]
unsafe fn outer_bf16<const MR: usize, const NV: usize>(o: &Outer<'_>) {
    // SAFETY: the caller vouches for the instruction set and the operands.
    unsafe { micro::outer::<Brain, MR, NV>(o) }
}

#[target_feature(enable = "avx512f,avx512bf16")]
unsafe fn dot_bf16<const MR: usize, const OUTS: usize>(t: &Tile<'_>) {
    // SAFETY: the caller vouches for the instruction set and the operands.
    unsafe { micro::dot::<Brain, MR, OUTS>(t) }
}
