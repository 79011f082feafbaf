//! Optimizers: what turns gradients into new weights.

mod adam;

pub use adam::{Adam, AdamConfig};
