//! Kernels for the processor at hand. The only unsafe code, SIMD and compute threads of Gander live below here.

#![allow(unsafe_code)]
