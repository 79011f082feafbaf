//! Tensors, gradients and kernels for adversarial training.

mod kernels;
pub mod ops;
