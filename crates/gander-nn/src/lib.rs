//! Layers, initializers and optimizers.
//!
//! A network owns [`Parameters`]: named tensors that its layers hold handles to. Optimizers and averages work on the
//! names, so that no layer knows of them.

pub mod init;
pub mod layers;
pub mod optim;
mod parameters;

pub use init::Init;
pub use layers::Mode;
pub use parameters::{Parameter, Parameters, Role, Scope};

pub use gander_tensor::{Error, Result};
