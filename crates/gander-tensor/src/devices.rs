//! The two devices: plain loops, and kernels for the processor at hand.

pub(crate) mod cpu;
pub(crate) mod reference;
