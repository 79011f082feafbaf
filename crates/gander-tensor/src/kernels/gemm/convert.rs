//! Rounding to bfloat16 and transposing with AVX-512, for operands on their way into packed order.

#![allow(
    clippy::wildcard_imports,
    reason = "the names of intrinsics begin with their instruction set"
)]

use std::arch::x86_64::*;

/// Columns, and units of each, that are transposed together.
pub(super) const BLOCK: usize = 16;

#[inline(always)]
fn mask(lanes: usize) -> u32 {
    if lanes >= 32 { u32::MAX } else { (1 << lanes) - 1 }
}

/// Thirty-two values from two registers, rounded; the first register in the low half.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
fn round(low: __m512, high: __m512) -> __m512i {
    // SAFETY: both types are 64 plain bytes.
    unsafe { std::mem::transmute::<__m512bh, __m512i>(_mm512_cvtne2ps_pbh(high, low)) }
}

/// # Safety
/// `from` holds `lanes` values, of which the first 32 are read.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
unsafe fn load_rounded(from: *const f32, lanes: usize) -> __m512i {
    let mask = mask(lanes);
    // SAFETY: masked lanes are not touched.
    unsafe {
        let low = _mm512_maskz_loadu_ps(mask as u16, from);
        let high = _mm512_maskz_loadu_ps((mask >> 16) as u16, from.wrapping_add(16));
        round(low, high)
    }
}

/// Rounds values one after the other.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
pub(super) unsafe fn narrow(from: &[f32], to: &mut [u16]) {
    let len = from.len().min(to.len());
    for i in (0..len).step_by(32) {
        // SAFETY: `len − i` values are left in both.
        unsafe {
            let rounded = load_rounded(from.as_ptr().add(i), len - i);
            _mm512_mask_storeu_epi16(to.as_mut_ptr().add(i).cast(), mask(len - i), rounded);
        }
    }
}

/// Thirty-two units from 32 low halves and 32 high halves.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn zip(low: __m512i, high: __m512i) -> [__m512i; 2] {
    const FIRST: [u16; 32] = zip_order(0);
    const SECOND: [u16; 32] = zip_order(16);
    // SAFETY: both are 64 plain bytes.
    let (first, second) = unsafe {
        (
            std::mem::transmute::<[u16; 32], __m512i>(FIRST),
            std::mem::transmute::<[u16; 32], __m512i>(SECOND),
        )
    };
    [
        _mm512_permutex2var_epi16(low, first, high),
        _mm512_permutex2var_epi16(low, second, high),
    ]
}

const fn zip_order(start: u16) -> [u16; 32] {
    let mut order = [0; 32];
    let mut i = 0;
    while i < 32 {
        order[i] = start + i as u16 / 2 + if i % 2 == 1 { 32 } else { 0 };
        i += 1;
    }
    order
}

/// Sixteen units of values that are rounded here.
///
/// # Safety
/// `to` has room for sixteen units.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
pub(super) unsafe fn store_rounded_pairs(to: *mut u32, low: __m512, high: __m512) {
    const ORDER: [u16; 32] = {
        let mut order = [0; 32];
        let mut i = 0;
        while i < 32 {
            order[i] = i as u16 / 2 + if i % 2 == 1 { 16 } else { 0 };
            i += 1;
        }
        order
    };
    // SAFETY: the order is 64 plain bytes; the caller vouches for the place.
    unsafe {
        let order = std::mem::transmute::<[u16; 32], __m512i>(ORDER);
        _mm512_storeu_epi32(to.cast(), _mm512_permutexvar_epi16(order, round(low, high)));
    }
}

/// # Safety
/// `to` has room for `lanes` units, of which the first 32 are written.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
unsafe fn store_pairs(to: *mut u32, low: __m512i, high: __m512i, lanes: usize) {
    let [first, second] = zip(low, high);
    let mask = mask(lanes);
    // SAFETY: masked lanes are not touched.
    unsafe {
        _mm512_mask_storeu_epi32(to.cast(), mask as u16, first);
        _mm512_mask_storeu_epi32(to.wrapping_add(16).cast(), (mask >> 16) as u16, second);
    }
}

/// Units of rounded values, the first of each from `low` and the second from `high`, which may be empty: zeros.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
pub(super) unsafe fn pair(low: &[f32], high: &[f32], to: &mut [u32]) {
    let len = low.len().min(to.len());
    assert!(high.is_empty() || high.len() >= len);
    for i in (0..len).step_by(32) {
        // SAFETY: `len − i` values are left in all that are not empty.
        unsafe {
            let first = load_rounded(low.as_ptr().add(i), len - i);
            let second = load_rounded(high.as_ptr().wrapping_add(i), if high.is_empty() { 0 } else { len - i });
            store_pairs(to.as_mut_ptr().add(i), first, second, len - i);
        }
    }
}

/// The same for values that are rounded already.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
pub(super) unsafe fn interleave(low: &[u16], high: &[u16], to: &mut [u32]) {
    let len = low.len().min(to.len());
    assert!(high.is_empty() || high.len() >= len);
    for i in (0..len).step_by(32) {
        // SAFETY: `len − i` values are left in all that are not empty.
        unsafe {
            let present = mask(len - i);
            let first = _mm512_maskz_loadu_epi16(present, low.as_ptr().add(i).cast());
            let second = if high.is_empty() { 0 } else { present };
            let second = _mm512_maskz_loadu_epi16(second, high.as_ptr().wrapping_add(i).cast());
            store_pairs(to.as_mut_ptr().add(i), first, second, len - i);
        }
    }
}

/// Sixteen columns of sixteen values, `stride` apart, as sixteen rows of units, `width` apart.
///
/// # Safety
/// `from` holds the columns and `to` has room for the rows.
#[target_feature(enable = "avx512f")]
pub(super) unsafe fn transpose(from: *const f32, stride: usize, to: *mut u32, width: usize) {
    let mut columns = [_mm512_setzero_si512(); BLOCK];
    for (column, register) in columns.iter_mut().enumerate() {
        // SAFETY: the caller vouches for it.
        *register = unsafe { _mm512_loadu_epi32(from.add(column * stride).cast()) };
    }
    // SAFETY: the caller vouches for it.
    unsafe { store_transposed(&columns, to, width) }
}

/// Sixteen columns of thirty-two values, `stride` apart, as sixteen rows of units of two, `width` apart.
///
/// # Safety
/// `from` holds the columns and `to` has room for the rows.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
pub(super) unsafe fn transpose_rounded(from: *const f32, stride: usize, to: *mut u32, width: usize) {
    let mut columns = [_mm512_setzero_si512(); BLOCK];
    for (column, register) in columns.iter_mut().enumerate() {
        // SAFETY: the caller vouches for it.
        *register = unsafe { load_rounded(from.add(column * stride), 32) };
    }
    // SAFETY: the caller vouches for it.
    unsafe { store_transposed(&columns, to, width) }
}

/// # Safety
/// `to` has room for sixteen rows, `width` apart.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn store_transposed(r: &[__m512i; BLOCK], to: *mut u32, width: usize) {
    let mut a = *r;
    // Pairs, then fours, within 128 bits; then 128-bit lanes.
    for i in (0..BLOCK).step_by(2) {
        a[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
        a[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
    }
    let mut b = a;
    for i in (0..BLOCK).step_by(4) {
        b[i] = _mm512_unpacklo_epi64(a[i], a[i + 2]);
        b[i + 1] = _mm512_unpackhi_epi64(a[i], a[i + 2]);
        b[i + 2] = _mm512_unpacklo_epi64(a[i + 1], a[i + 3]);
        b[i + 3] = _mm512_unpackhi_epi64(a[i + 1], a[i + 3]);
    }
    for i in 0..4 {
        // Rows i, i + 4, i + 8 and i + 12 of columns 0 to 3, 4 to 7, 8 to 11 and 12 to 15.
        let [p, q, s, t] = [b[i], b[i + 4], b[i + 8], b[i + 12]];
        let (p02, q02) = (_mm512_shuffle_i32x4::<0x44>(p, q), _mm512_shuffle_i32x4::<0xee>(p, q));
        let (s02, t02) = (_mm512_shuffle_i32x4::<0x44>(s, t), _mm512_shuffle_i32x4::<0xee>(s, t));
        let rows = [
            _mm512_shuffle_i32x4::<0x88>(p02, s02),
            _mm512_shuffle_i32x4::<0xdd>(p02, s02),
            _mm512_shuffle_i32x4::<0x88>(q02, t02),
            _mm512_shuffle_i32x4::<0xdd>(q02, t02),
        ];
        for (j, row) in rows.into_iter().enumerate() {
            // SAFETY: the caller vouches for it.
            unsafe { _mm512_storeu_epi32(to.add((i + 4 * j) * width).cast(), row) }
        }
    }
}
