//! Weights and arrays in and out, read as untrusted bytes.
//!
//! A reader here never panics, whatever the bytes, and allocates no more than a small multiple of what it was given
//! (an archive's decompressed data: no more than a stated limit). Writers leave a whole file or the old one.

pub mod atomic;
mod dtype;
mod error;
pub mod npy;
pub mod npz;
pub mod safetensors;
pub mod torch_pickle;

pub use dtype::DType;
pub use error::{Error, Result};
