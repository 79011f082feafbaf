//! Translation: from one collection of images to another, or from the first picture of a pair to the second.
//!
//! [`cycle`], [`pairs`] and [`contrast`] are the contests of the families, each with its step. [`ShippedTranslator`] is
//! what a run ends in; [`tiles`] takes it over pictures of any size.

mod arithmetic;
pub mod contrast;
pub mod cycle;
pub mod pairs;
mod player;
pub mod pool;
mod scoring;
mod shipped;
pub mod tiles;

pub(crate) use arithmetic::operations_per_image;
pub use cycle::{CycleState, cycle_step};
pub use player::Player;
pub use pool::ImagePool;
pub use scoring::score;
pub use shipped::{Direction, ShippedTranslator};
pub use tiles::Picture;
