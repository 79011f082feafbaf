//! What can go wrong between a path and a batch of pixels.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// The result of this crate's fallible functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A file that was left out of a dataset, and why.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Skipped {
    /// The file, or the archive followed by the name inside it.
    pub path: PathBuf,
    /// Why it was left out: lower case, no full stop.
    pub reason: String,
}

/// Facts about a failure; a door adds what to do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A path could not be read.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A source holds too few images that can be used.
    #[error("{}", no_images(path, *found, *usable, *needed, skipped))]
    NoImages {
        /// The source (the first of several).
        path: PathBuf,
        /// Files that looked like images.
        found: usize,
        /// Images that can be read.
        usable: usize,
        /// Images that a set needs at least.
        needed: usize,
        /// What was left out and why.
        skipped: Vec<Skipped>,
    },
    /// A file is of no kind that this crate reads.
    #[error("neither an image, an archive, an IDX nor an NPZ file: {}", path.display())]
    UnknownFormat {
        /// The file.
        path: PathBuf,
    },
    /// A folder holds several sets and none of them is the obvious one.
    #[error("{} holds several sets: {}", path.display(), list(candidates))]
    Ambiguous {
        /// The folder.
        path: PathBuf,
        /// The files that could each be the set.
        candidates: Vec<PathBuf>,
    },
    /// An archive, IDX or NPZ file breaks its own format.
    #[error("cannot read {}: {reason}", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A file would take more memory than it may.
    #[error("{} unpacks to {needed_bytes} bytes, over the limit of {limit_bytes}", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The bytes that it would need.
        needed_bytes: u64,
        /// The bytes that it may need ([`crate::OpenOptions::cache_bytes`]).
        limit_bytes: u64,
    },
    /// The images of a compressed tar would take more memory than they may; only its end tells how much.
    #[error("the images in {} take more memory than the limit: {limit_bytes} bytes", path.display())]
    TarTooLarge {
        /// The file.
        path: PathBuf,
        /// The bytes that they may take ([`crate::OpenOptions::cache_bytes`]).
        limit_bytes: u64,
    },
    /// Labels were required, and the source has none.
    #[error("no labels in {}", path.display())]
    NoLabels {
        /// The source.
        path: PathBuf,
    },
    /// An image could not be decoded.
    #[error("cannot decode {}: {reason}", path.display())]
    Decode {
        /// The image.
        path: PathBuf,
        /// The decoder's reason.
        reason: String,
    },
    /// An option is out of its range.
    #[error("{option} must be {expected}: {got}")]
    Option {
        /// The option's name.
        option: &'static str,
        /// What it may be.
        expected: String,
        /// What it was.
        got: String,
    },
    /// An index past the end of a dataset.
    #[error("image index out of a set of {len}: {index}")]
    Index {
        /// The index asked for.
        index: usize,
        /// The images in the set.
        len: usize,
    },
    /// A buffer of the wrong length was passed.
    #[error("a buffer for {op} must have {expected} bytes: {got}")]
    Buffer {
        /// The operation.
        op: &'static str,
        /// The bytes that it needs.
        expected: usize,
        /// The bytes that it was given.
        got: usize,
    },
    /// A thread that decodes images died.
    #[error("a thread that reads images panicked: {reason}")]
    Worker {
        /// The panic's message.
        reason: String,
    },
}

impl Error {
    /// An [`Error::Io`] at a path, for `map_err`.
    pub fn io(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source }
    }
}

fn list(paths: &[PathBuf]) -> String {
    let names = paths
        .iter()
        .map(|path| path.file_name().unwrap_or(path.as_os_str()).to_string_lossy());
    names.collect::<Vec<_>>().join(", ")
}

fn no_images(path: &Path, found: usize, usable: usize, needed: usize, skipped: &[Skipped]) -> String {
    let path = path.display();
    let text = match (found, usable) {
        (0, _) => format!("no images in {path}"),
        (_, 0) => format!("no usable image in {path}: found {found}, skipped {}", skipped.len()),
        _ => format!("too few usable images in {path}: found {found}, usable {usable}, needed {needed}"),
    };
    match skipped.first() {
        Some(first) => format!("{text} (the first: {}: {})", first.path.display(), first.reason),
        None => text,
    }
}
