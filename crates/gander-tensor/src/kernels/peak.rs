//! The most multiply-adds that the processor does: what every kernel is measured against.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use super::{
    Context,
    isa::{Arithmetic, Kernel, Precision},
};

/// Multiply-adds in one round of a chain, long enough that reading the clock costs nothing.
const LINKS: usize = 4096;
/// Values of float32 in the widest registers that hide the time of a multiply-add: twelve of sixteen lanes.
const CHAINS: usize = 12 * 16;

/// Operations (two for a multiply-add) in a second on all threads, operands in registers.
///
/// The best of several short rounds: others on the machine only ever take away.
pub(crate) fn operations_per_second(ctx: &Context) -> f64 {
    const ROUNDS: usize = 12;
    (0..ROUNDS).map(|_| round(ctx)).fold(0.0, f64::max)
}

fn round(ctx: &Context) -> f64 {
    const LENGTH: Duration = Duration::from_millis(15);
    let threads = ctx.threads.threads();
    let speeds: Vec<_> = (0..threads).map(|_| std::sync::Mutex::new(0.0)).collect();
    ctx.threads.for_each(threads, |thread| {
        let begun = Instant::now();
        let mut operations = 0;
        while begun.elapsed() < LENGTH {
            operations += chain(ctx);
        }
        let speed = operations as f64 / begun.elapsed().as_secs_f64();
        if let Ok(mut slot) = speeds[thread].lock() {
            *slot = speed;
        }
    });
    speeds
        .iter()
        .map(|speed| speed.lock().map_or(0.0, |speed| *speed))
        .sum()
}

/// Runs once and says how many operations that was.
fn chain(ctx: &Context) -> u64 {
    #[cfg(target_arch = "x86_64")]
    if ctx.precision == Precision::Bf16 && ctx.isa.has_bf16() {
        // SAFETY: the processor has the instructions.
        unsafe { black_box(chain_bf16(black_box(1))) };
        // Two products in each of sixteen lanes.
        return (2 * 2 * 16 * BF16_CHAINS * LINKS) as u64;
    }
    let _ = Precision::F32;
    black_box(ctx.isa.run(Chain(black_box(0.5))));
    (2 * CHAINS * LINKS) as u64
}

struct Chain(f32);

impl Kernel for Chain {
    type Output = f32;

    #[inline(always)]
    fn run<A: Arithmetic>(self) -> f32 {
        let mut sums = [self.0; CHAINS];
        for _ in 0..LINKS {
            for sum in &mut sums {
                // Stays near two: no denormals, no infinities.
                *sum = A::mul_add(*sum, self.0, 1.0);
            }
        }
        sums.iter().sum()
    }
}

/// Registers of sums: enough to hide the time of a dot product.
#[cfg(target_arch = "x86_64")]
const BF16_CHAINS: usize = 16;

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bf16")]
fn chain_bf16(seed: u32) -> f32 {
    use std::arch::x86_64::{
        __m512bh, _mm512_add_ps, _mm512_dpbf16_ps, _mm512_reduce_add_ps, _mm512_set1_epi32, _mm512_setzero_ps,
    };
    // SAFETY: both are 512 bits of plain data.
    let operand: __m512bh = unsafe { std::mem::transmute(_mm512_set1_epi32(seed as i32)) };
    let mut sums = [_mm512_setzero_ps(); BF16_CHAINS];
    for _ in 0..LINKS {
        for sum in &mut sums {
            *sum = _mm512_dpbf16_ps(*sum, operand, operand);
        }
    }
    let total = sums.into_iter().fold(_mm512_setzero_ps(), |a, b| _mm512_add_ps(a, b));
    _mm512_reduce_add_ps(total)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Isa;

    #[test]
    fn every_instruction_set_has_a_peak() {
        for isa in Isa::ALL.into_iter().filter(|isa| isa.available()) {
            let speed = round(&Context::for_tests(isa, 1));
            assert!(speed > 1e8 && speed < 1e13, "{isa}: {speed:e}");
        }
    }
}
