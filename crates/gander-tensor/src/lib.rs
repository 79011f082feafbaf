//! Tensors, gradients and kernels for adversarial training.
//!
//! A [`Tensor`] is a value on a [`Device`] with, where gradients are wanted, the operation that made it.
//! [`grad`] walks those operations backwards; since every backward rule is itself made of operations,
//! gradients of gradients (R1, gradient penalties, path lengths) need nothing special.
//!
//! ```
//! use gander_tensor::{Cpu, GradOptions, Tensor, grad};
//! # fn main() -> gander_tensor::Result<()> {
//! let device = Cpu::shared();
//! let x = Tensor::from_slice(&[1.0, 2.0, 3.0], &[3], &device)?.watch();
//! let y = x.square()?.sum_all()?;
//! let dx = grad(&[&y], &[&x], GradOptions::default())?.remove(0);
//! assert_eq!(dx.to_vec()?, [2.0, 4.0, 6.0]);
//! # Ok(())
//! # }
//! ```
//!
//! Layout is channels last, everywhere: images `[batch, height, width, channels]`, video
//! `[batch, frames, height, width, channels]`, sound `[batch, samples, channels]`. Tensors are contiguous.

mod array;
mod autograd;
mod device;
mod devices;
mod dtype;
mod error;
mod kernels;
pub mod ops;
mod random;
mod shape;
mod tensor;
mod trace;

pub use array::{Array, Storage};
pub use autograd::{
    Call, GradOptions, Onward, Operation, Reads, Slopes, Unused, apply, grad, is_piecewise_linear, no_grad, slopes,
};
pub use device::{AdamStep, BatchStatistics, Device, DeviceRef, Epilogue, Gate, NormGeometry, NormPass};
pub use devices::cpu::{Cpu, CpuOptions};
pub use devices::reference::Reference;
pub use dtype::DType;
pub use error::{Error, Result};
pub use kernels::isa::{Isa, Precision};
pub use random::{RandomKey, RandomState};
pub use shape::Shape;
pub use tensor::{Tensor, TensorId};
pub use trace::{Trace, TracedOperation, trace};

pub use ops::conv::{ConvOptions, conv, conv_added, conv_transpose};
pub use ops::elementwise::{Activation, BinaryOp, UnaryOp};
pub use ops::layout::concat;
pub use ops::matmul::{MatmulOptions, linear, matmul};
pub use ops::norm::{NormOptions, batch_norm, group_norm, instance_norm, layer_norm};
pub use ops::upsampled::conv_upsampled;
