//! The innermost loops of products and convolutions, written once over a vector type.
//!
//! A *unit* is four bytes of an operand: one float32, or two bfloat16 that one instruction multiplies and adds.
//! Every loop here only counts units, so one body serves both precisions. All sums run in the order of the reduction,
//! one fused multiply-add after the other, so that an element does not depend on the tile that computes it.

#![expect(
    clippy::needless_range_loop,
    reason = "counted loops over registers are what the compiler unrolls whole"
)]

use super::{Depthwise, Finish, MAX_OUTS, Outer, Tile};

/// Registers whose lanes are summed together.
pub(super) const SUMS: usize = 16;

/// A register of float32 sums, and of units of the operands.
pub(in crate::kernels) trait Vector {
    type V: Copy;
    /// Float32 values, and units, in a register.
    const LANES: usize;
    /// Operand elements in a unit.
    const ELEMENTS: usize;

    unsafe fn zero() -> Self::V;
    /// A register of units from any address.
    unsafe fn load(from: *const u8) -> Self::V;
    /// The first `units` units, then zeros; nothing else is read.
    unsafe fn load_part(from: *const u8, units: usize) -> Self::V;
    /// One unit in every lane.
    unsafe fn splat(from: *const u8) -> Self::V;
    unsafe fn store(to: *mut f32, v: Self::V);
    /// The first `lanes` lanes; nothing else is written.
    unsafe fn store_part(to: *mut f32, v: Self::V, lanes: usize);
    /// `sum + a · b`, with both products of a unit.
    unsafe fn fma(a: Self::V, b: Self::V, sum: Self::V) -> Self::V;
    unsafe fn add(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn sub(a: Self::V, b: Self::V) -> Self::V;
    /// `v · factor`, of float32 values.
    unsafe fn scaled(v: Self::V, factor: f32) -> Self::V;
    /// `sum + v · factor`, of float32 values.
    unsafe fn scaled_add(sum: Self::V, v: Self::V, factor: f32) -> Self::V;
    /// The first `lanes` values as operand elements, one after the other; nothing else is written.
    unsafe fn store_elements(to: *mut u8, v: Self::V, lanes: usize);
    /// A register of units, whose elements come from one register each.
    unsafe fn store_units(to: *mut u8, elements: [Self::V; 2]);
    /// `v` where it is positive or not a number, else `slope · v`.
    unsafe fn leaky(v: Self::V, slope: f32) -> Self::V;
    /// Brings the line of an address into the first-level cache, if the processor can be told to.
    unsafe fn prefetch(_from: *const u8) {}
    /// `v` where `by` is positive, else `slope · v`.
    unsafe fn gated(v: Self::V, by: Self::V, slope: f32) -> Self::V;
    /// The sums over the lanes of each register, in a fixed order.
    unsafe fn sums(v: [Self::V; SUMS]) -> [f32; SUMS];
}

/// The first `columns` values, then zeros; nothing else is read.
#[inline(always)]
pub(in crate::kernels) unsafe fn load_columns<S: Vector>(from: *const u8, columns: usize) -> S::V {
    // SAFETY: the caller vouches for `columns` readable values.
    unsafe {
        if columns >= S::LANES {
            S::load(from)
        } else {
            S::load_part(from, columns)
        }
    }
}

/// The first `columns` values; nothing else is written.
#[inline(always)]
pub(in crate::kernels) unsafe fn store_columns<S: Vector>(to: *mut f32, v: S::V, columns: usize) {
    // SAFETY: the caller vouches for `columns` writable values.
    unsafe {
        if columns >= S::LANES {
            S::store(to, v);
        } else {
            S::store_part(to, v, columns);
        }
    }
}

/// Brings sums into `acc` where an earlier part of the reduction left some.
#[inline(always)]
unsafe fn resume<S: Vector, const MR: usize, const NV: usize>(
    acc: &mut [[S::V; NV]; MR],
    c: &[*mut f32; MR],
    rows: usize,
    columns: usize,
) {
    for r in 0..MR {
        if r < rows {
            for v in 0..NV {
                // SAFETY: the caller vouches for `columns` values in each of the first `rows` rows.
                unsafe {
                    let from = c[r].wrapping_add(v * S::LANES);
                    acc[r][v] = load_columns::<S>(from.cast(), columns.saturating_sub(v * S::LANES));
                }
            }
        }
    }
}

#[inline(always)]
unsafe fn leave<S: Vector, const MR: usize, const NV: usize>(
    acc: &[[S::V; NV]; MR],
    c: &[*mut f32; MR],
    rows: usize,
    columns: usize,
) {
    for r in 0..MR {
        if r < rows {
            for v in 0..NV {
                // SAFETY: the caller vouches for `columns` values in each of the first `rows` rows.
                unsafe {
                    let to = c[r].wrapping_add(v * S::LANES);
                    store_columns::<S>(to, acc[r][v], columns.saturating_sub(v * S::LANES));
                }
            }
        }
    }
}

#[inline(always)]
unsafe fn finish<S: Vector, const MR: usize, const NV: usize>(acc: &mut [[S::V; NV]; MR], f: &Finish, columns: usize) {
    // SAFETY: the bias is null or has `columns` values.
    unsafe {
        if !f.bias.is_null() {
            for v in 0..NV {
                let from = f.bias.wrapping_add(v * S::LANES);
                let bias = load_columns::<S>(from.cast(), columns.saturating_sub(v * S::LANES));
                for row in acc.iter_mut() {
                    row[v] = S::add(row[v], bias);
                }
            }
        }
        if let Some(slope) = f.activation.slope() {
            for row in acc.iter_mut() {
                for sum in row.iter_mut() {
                    *sum = S::leaky(*sum, slope);
                }
            }
        }
    }
}

/// Has the operands beside the result come near while the sums are computed.
#[inline(always)]
unsafe fn announce<S: Vector>(f: &Finish, c: &[*mut f32], columns: usize) {
    for operand in [f.gate, f.added] {
        if !operand.is_null() {
            for &c in c {
                for at in (0..columns).step_by(S::LANES) {
                    // SAFETY: a hint, which touches nothing.
                    unsafe { S::prefetch(f.beside(operand, c.wrapping_add(at)).cast()) }
                }
            }
        }
    }
}

/// What follows the activation, in rows that have just been left. (While their sums are still in registers, the widest
/// tiles lose these: they then went through memory at every step, and took half as much time again.)
#[inline(always)]
unsafe fn pass_rows_on<S: Vector>(f: &Finish, c: &[*mut f32], columns: usize) {
    if f.gate.is_null() && f.added.is_null() {
        return;
    }
    for &c in c {
        for at in (0..columns).step_by(S::LANES) {
            let (c, columns) = (c.wrapping_add(at), columns - at);
            // SAFETY: the caller vouches for `columns` values in each row, and beside each.
            unsafe {
                let v = pass_on::<S>(load_columns::<S>(c.cast(), columns), f, c, columns);
                store_columns::<S>(c, v, columns);
            }
        }
    }
}

/// What follows the activation, for the first `columns` values that go to `c`.
#[inline(always)]
pub(in crate::kernels) unsafe fn pass_on<S: Vector>(mut v: S::V, f: &Finish, c: *mut f32, columns: usize) -> S::V {
    // SAFETY: operands that are not null have a value beside each of the result.
    unsafe {
        if !f.gate.is_null() {
            v = S::gated(v, load_columns::<S>(f.beside(f.gate, c).cast(), columns), f.slope);
        }
        if !f.added.is_null() {
            v = S::add(v, load_columns::<S>(f.beside(f.added, c).cast(), columns));
        }
    }
    v
}

/// The same of a single value.
#[inline(always)]
unsafe fn pass_one_on(mut sum: f32, f: &Finish, c: *mut f32) -> f32 {
    // SAFETY: operands that are not null have a value beside each of the result.
    unsafe {
        let is_open = f.gate.is_null() || *f.beside(f.gate, c) > 0.0;
        if !is_open {
            sum *= f.slope;
        }
        if !f.added.is_null() {
            sum += *f.beside(f.added, c);
        }
    }
    sum
}

/// `MR` rows by `NV` registers of a product whose left rows lie anywhere and whose right panel is packed.
#[inline(always)]
pub(super) unsafe fn tile<S: Vector, const MR: usize, const NV: usize>(t: &Tile<'_>) {
    // SAFETY: `Tile` documents what its maker vouches for: every row has the units of every segment, the panel has
    // `NV` registers for each unit, and `rows` by `columns` results are writable.
    unsafe {
        let c: &[*mut f32; MR] = &*t.c.as_ptr().cast();
        if let Some(f) = &t.finish {
            announce::<S>(f, &t.c[..t.rows], t.columns);
        }
        let mut acc = [[S::zero(); NV]; MR];
        if t.resume {
            resume::<S, MR, NV>(&mut acc, c, t.rows, t.columns);
        }
        for segment in t.segments {
            let mut b = t.b.add(segment.row * NV * S::LANES * 4);
            let mut a = [std::ptr::null::<u8>(); MR];
            for r in 0..MR {
                a[r] = t.a[r].wrapping_offset(segment.offset);
            }
            for k in 0..segment.units {
                let mut right = [S::zero(); NV];
                for v in 0..NV {
                    right[v] = S::load(b.add(v * S::LANES * 4));
                }
                b = b.add(NV * S::LANES * 4);
                for r in 0..MR {
                    let left = S::splat(a[r].add(4 * k));
                    for v in 0..NV {
                        acc[r][v] = S::fma(left, right[v], acc[r][v]);
                    }
                }
            }
        }
        if let Some(f) = &t.finish {
            finish::<S, MR, NV>(&mut acc, f, t.columns);
        }
        leave::<S, MR, NV>(&acc, c, t.rows, t.columns);
        if let Some(f) = &t.finish {
            pass_rows_on::<S>(f, &t.c[..t.rows], t.columns);
        }
    }
}

/// `MR` rows by `NV` registers of a sum of outer products, one for each step.
#[inline(always)]
pub(super) unsafe fn outer<S: Vector, const MR: usize, const NV: usize>(o: &Outer<'_>) {
    // SAFETY: `Outer` documents what its maker vouches for: `MR` units of the left and `NV` registers of the right
    // operand are readable at every step, and `rows` by `columns` results are writable.
    unsafe {
        let mut c = [o.c; MR];
        for r in 0..MR {
            c[r] = o.c.wrapping_add(r * o.c_stride);
        }
        let mut acc = [[S::zero(); NV]; MR];
        if o.resume {
            resume::<S, MR, NV>(&mut acc, &c, o.rows, o.columns);
        }
        for (&left, &right) in o.a_offsets.iter().zip(o.b_offsets) {
            let (a, b) = (o.a.add(left), o.b.add(right));
            let mut right = [S::zero(); NV];
            for v in 0..NV {
                right[v] = S::load(b.add(v * S::LANES * 4));
            }
            for r in 0..MR {
                let left = S::splat(a.add(4 * r));
                for v in 0..NV {
                    acc[r][v] = S::fma(left, right[v], acc[r][v]);
                }
            }
        }
        leave::<S, MR, NV>(&acc, &c, o.rows, o.columns);
    }
}

/// `MR` rows by `OUTS` columns, for few columns: the reduction runs along the lanes.
///
/// The panel holds, for each register of each segment, one register for each column, padded with zeros.
#[inline(always)]
pub(super) unsafe fn dot<S: Vector, const MR: usize, const OUTS: usize>(t: &Tile<'_>) {
    const { assert!(MR * OUTS <= SUMS && OUTS <= MAX_OUTS) }
    // SAFETY: as for `tile`, with a panel of `OUTS` registers for each started register of a segment.
    unsafe {
        let mut acc = [[S::zero(); OUTS]; MR];
        for segment in t.segments {
            let mut b = t.b.add(segment.row * OUTS * S::LANES * 4);
            let mut a = [std::ptr::null::<u8>(); MR];
            for r in 0..MR {
                a[r] = t.a[r].wrapping_offset(segment.offset);
            }
            for k in 0..segment.units / S::LANES {
                let mut right = [S::zero(); OUTS];
                for o in 0..OUTS {
                    right[o] = S::load(b.add(o * S::LANES * 4));
                }
                b = b.add(OUTS * S::LANES * 4);
                for r in 0..MR {
                    let left = S::load(a[r].add(4 * k * S::LANES));
                    for o in 0..OUTS {
                        acc[r][o] = S::fma(left, right[o], acc[r][o]);
                    }
                }
            }
            let rest = segment.units % S::LANES;
            if rest > 0 {
                for r in 0..MR {
                    let left = S::load_part(a[r].add(4 * (segment.units - rest)), rest);
                    for o in 0..OUTS {
                        acc[r][o] = S::fma(left, S::load(b.add(o * S::LANES * 4)), acc[r][o]);
                    }
                }
            }
        }
        let mut bias = [0.0; OUTS];
        let mut negative = 1.0;
        if let Some(f) = &t.finish {
            if !f.bias.is_null() {
                for o in 0..OUTS {
                    bias[o] = *f.bias.add(o);
                }
            }
            negative = f.activation.slope().unwrap_or(1.0);
        }
        let mut wide = [S::zero(); SUMS];
        for r in 0..MR {
            for o in 0..OUTS {
                wide[r * OUTS + o] = acc[r][o];
            }
        }
        let sums = S::sums(wide);
        for r in 0..MR {
            if r < t.rows {
                for o in 0..OUTS {
                    let c = t.c[r].add(o);
                    let sum = sums[r * OUTS + o] + bias[o];
                    let sum = if sum < 0.0 { sum * negative } else { sum };
                    *c = t.finish.as_ref().map_or(sum, |f| pass_one_on(sum, f, c));
                }
            }
        }
    }
}

/// `MR` rows by `NV` registers of channels, each channel with its own weights.
#[inline(always)]
pub(super) unsafe fn depthwise<S: Vector, const MR: usize, const NV: usize>(t: &Tile<'_>) {
    // SAFETY: as for `tile`, where every segment is one tap with `columns` readable values in each row.
    unsafe {
        let c: &[*mut f32; MR] = &*t.c.as_ptr().cast();
        let mut acc = [[S::zero(); NV]; MR];
        for segment in t.segments {
            let b = t.b.add(segment.row * NV * S::LANES * 4);
            for v in 0..NV {
                let columns = t.columns.saturating_sub(v * S::LANES);
                let weight = S::load(b.add(v * S::LANES * 4));
                for r in 0..MR {
                    let from = t.a[r].wrapping_offset(segment.offset).wrapping_add(v * S::LANES * 4);
                    acc[r][v] = S::fma(load_columns::<S>(from, columns), weight, acc[r][v]);
                }
            }
        }
        if let Some(f) = &t.finish {
            finish::<S, MR, NV>(&mut acc, f, t.columns);
        }
        leave::<S, MR, NV>(&acc, c, t.rows, t.columns);
        if let Some(f) = &t.finish {
            pass_rows_on::<S>(f, &t.c[..t.rows], t.columns);
        }
    }
}

/// The weight gradient of `TAPS` taps of a depthwise convolution, for one register of channels.
#[inline(always)]
pub(super) unsafe fn depthwise_outer<S: Vector, const TAPS: usize>(d: &Depthwise<'_>) {
    // SAFETY: `Depthwise` documents what its maker vouches for: `columns` values of both operands at every step.
    unsafe {
        let mut acc = [[S::zero(); 1]; TAPS];
        let mut a = [d.a; TAPS];
        let mut c = [d.c; TAPS];
        for tap in 0..TAPS {
            let last = tap.min(d.taps.len() - 1);
            a[tap] = d.a.wrapping_offset(d.taps[last].offset);
            c[tap] = d.c.wrapping_add(last * d.c_stride);
        }
        if d.resume {
            resume::<S, TAPS, 1>(&mut acc, &c, d.taps.len(), d.columns);
        }
        for (&left, &right) in d.a_offsets.iter().zip(d.b_offsets) {
            let right = load_columns::<S>(d.b.add(right), d.columns);
            for tap in 0..TAPS {
                let left = load_columns::<S>(a[tap].wrapping_add(left), d.columns);
                acc[tap][0] = S::fma(left, right, acc[tap][0]);
            }
        }
        leave::<S, TAPS, 1>(&acc, &c, d.taps.len(), d.columns);
    }
}
