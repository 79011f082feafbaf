//! Sets of images for training: folders, archives, IDX and NPZ files, and the embedded pottery.

pub mod dataset;
pub mod error;

pub use dataset::{Dataset, ImageShape, label_counts};
pub use error::{Error, Result, Skipped};
