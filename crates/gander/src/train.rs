//! Training: a run from its first image to its last.
//!
//! [`steps`] reads like the papers: real and fake images, logits, loss, penalty, optimizer. [`state`] is everything
//! that changes, [`config`] everything that does not. [`contest`] is what a family
//! brings. [`trainer`] fetches batches, steps, and tells what happens as
//! events; whoever wants a progress bar, a log or a picture listens.

pub mod checkpoint;
pub mod config;
pub mod contest;
pub mod defaults;
pub mod duel;
pub mod fitting;
pub mod overrides;
pub mod recovery;
pub mod schedule;
pub mod state;
pub mod steps;
pub mod trainer;
pub mod vitals;

pub use config::RunConfig;
pub use state::TrainState;
pub use trainer::{Budget, Outcome, Trainer};
