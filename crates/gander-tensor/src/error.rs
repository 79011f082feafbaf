//! What can go wrong in this crate.

use crate::{DType, Shape};

/// The result of this crate's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong in this crate.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Two shapes do not fit each other.
    #[error("{op}: shapes {left:?} and {right:?} do not fit")]
    ShapeMismatch {
        /// The operation.
        op: &'static str,
        /// Shape of the first operand.
        left: Shape,
        /// Shape of the second operand.
        right: Shape,
    },
    /// A shape is not what the operation takes.
    #[error("{op}: expected {expected}, got shape {got:?}")]
    InvalidShape {
        /// The operation.
        op: &'static str,
        /// What it takes.
        expected: String,
        /// What it got.
        got: Shape,
    },
    /// An argument is out of its range.
    #[error("{op}: {argument} out of range: {value}")]
    InvalidArgument {
        /// The operation.
        op: &'static str,
        /// The argument's name.
        argument: &'static str,
        /// Its value.
        value: String,
    },
    /// The operation does not take this dtype.
    #[error("{op}: unsupported dtype: {got}")]
    UnsupportedDType {
        /// The operation.
        op: &'static str,
        /// What it got.
        got: DType,
    },
    /// An output of [`crate::grad`] does not depend on an input.
    #[error("grad: no path from the outputs to input {input_index}")]
    NoPath {
        /// Which of the inputs.
        input_index: usize,
    },
    /// A change was to be followed through an operation that is not piecewise linear.
    #[error("{op}: not piecewise linear in what varies")]
    NotLinear {
        /// The operation.
        op: &'static str,
    },
    /// A tensor of another device was given to an operation.
    #[error("{op}: tensors live on different devices: {left} and {right}")]
    DeviceMismatch {
        /// The operation.
        op: &'static str,
        /// Device of the first operand.
        left: String,
        /// Device of the second operand.
        right: String,
    },
    /// The chosen instruction set is not there on this processor.
    #[error("instruction set not available on this processor: {isa:?}")]
    IsaUnavailable {
        /// What was asked for.
        isa: crate::Isa,
    },
}
