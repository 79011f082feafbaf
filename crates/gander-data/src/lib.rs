//! Sets of images for training: folders, archives, IDX and NPZ files, and the embedded pottery.

mod archive;
mod arrays;
pub mod check;
pub mod dataset;
pub mod error;
mod idx;
mod image_folder;
mod in_memory;
mod layout;
pub mod loader;
pub mod media;
mod npz;
mod open;
mod options;
mod parallel;
pub mod pottery;
mod remembered;
pub mod sampler;
mod scan;
pub mod sheet;
mod source;
mod streamed;
pub mod transforms;

pub use check::{CheckReport, check};
pub use dataset::{Dataset, ImageShape, label_counts};
pub use error::{Error, Result, Skipped};
pub use idx::{IdxArray, IdxError, read_idx};
pub use in_memory::InMemory;
pub use loader::{Batch, Flip, Loader, LoaderOptions};
pub use open::{Opened, Progress, SizeCount, Stage, Summary, open, open_with_progress};
pub use options::{AlphaPolicy, Channels, ClassLevel, CropPolicy, Filter, Labels, OpenOptions, Size};
pub use pottery::{Pottery, PotteryConfig};
pub use remembered::Remembered;
pub use sampler::{Draw, Sampler};
pub use sheet::sheet;
