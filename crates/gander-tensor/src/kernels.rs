//! Kernels for the processor at hand. The only unsafe code, SIMD and compute threads of Gander live below here.

#![allow(unsafe_code)]
// A body is compiled for each instruction set; what is not inlined into it would be compiled for none of them.
#![allow(clippy::inline_always)]
// Arrays of vectors are registers where such a body is inlined; a reference would send them through memory.
#![allow(clippy::large_types_passed_by_value)]

pub(crate) mod conv;
pub(crate) mod elementwise;
pub(crate) mod gemm;
pub(crate) mod isa;
pub(crate) mod layout;
pub(crate) mod math;
pub(crate) mod memory;
pub(crate) mod norm;
pub(crate) mod optimizer;
pub(crate) mod peak;
pub(crate) mod pool;
pub(crate) mod random;
pub(crate) mod reduce;
pub(crate) mod resample;
#[cfg(test)]
pub(crate) mod testing;
pub(crate) mod threads;

use isa::{Isa, Precision};
use memory::Pool;
use threads::ThreadPool;

/// What every kernel needs to know: how to compute, on which threads, and where to take memory from.
#[derive(Debug)]
pub(crate) struct Context {
    /// The instruction set.
    pub(crate) isa: Isa,
    /// The precision of multiplications in convolutions and matrix products.
    pub(crate) precision: Precision,
    /// The compute threads.
    pub(crate) threads: ThreadPool,
    /// Memory for results and scratch.
    pub(crate) pool: Pool,
}

#[cfg(test)]
impl Context {
    /// A context for tests.
    pub(crate) fn for_tests(isa: Isa, threads: usize) -> Self {
        Self {
            isa,
            precision: Precision::F32,
            threads: ThreadPool::new(threads),
            pool: Pool::new(),
        }
    }
}
