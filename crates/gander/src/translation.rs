//! Translation: from one collection of images to another, or from the first picture of a pair to the second.
//!
//! [`cycle`], [`pairs`] and [`contrast`] are the contests of the families, each with its step. [`ShippedTranslator`] is
//! what a run ends in; [`tiles`] takes it over pictures of any size.

pub mod contrast;
pub mod cycle;
mod fit;
pub mod pairs;
mod player;
pub mod pool;
mod scoring;
mod shipped;
pub mod tiles;

pub use cycle::{CycleState, cycle_step};
pub(crate) use fit::fit;
pub use player::Player;
pub use pool::ImagePool;
pub use scoring::score;
pub use shipped::{Direction, ShippedTranslator};
pub use tiles::Picture;
