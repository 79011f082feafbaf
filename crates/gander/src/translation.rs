//! Translation: from one collection of images to another.

pub mod cycle;

pub use cycle::{CycleState, cycle_step};
