//! What can go wrong between bytes and values.

use std::{io, path::PathBuf};

use crate::DType;

/// The result of this crate's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A file that cannot be read or written, and the facts of it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The system refused to read.
    #[error("cannot read file: {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The system refused to write; what was there before is untouched.
    #[error("cannot write file: {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The bytes end before what they announce.
    #[error("truncated: {part} needs {needed} bytes, {available} are there")]
    Truncated {
        /// What was cut off.
        part: &'static str,
        /// Bytes that it needs.
        needed: u64,
        /// Bytes that are left for it.
        available: u64,
    },
    /// More was announced than any honest file has.
    #[error("{part} claims {claimed} bytes, the limit is {limit}")]
    TooLarge {
        /// What is too large.
        part: &'static str,
        /// Bytes that it claims.
        claimed: u64,
        /// Bytes that are allowed.
        limit: u64,
    },
    /// There is no memory for a file of this size.
    #[error("no memory for a file of this size: {bytes} bytes")]
    OutOfMemory {
        /// Bytes that were wanted.
        bytes: u64,
    },
    /// A safetensors header that is not JSON of the right form.
    #[error("the safetensors header is malformed")]
    Header {
        /// Where and what.
        source: serde_json::Error,
    },
    /// An element type that this crate does not know.
    #[error("`{name}` has an element type that is not supported: {dtype}")]
    UnknownDType {
        /// The array.
        name: String,
        /// As the file spells it.
        dtype: String,
    },
    /// Shape, element type and number of bytes do not belong together.
    #[error("`{name}` has shape {shape:?} of {dtype}, which does not fit its bytes: {bytes}")]
    SizeMismatch {
        /// The array.
        name: String,
        /// Its sides.
        shape: Vec<usize>,
        /// Its element type.
        dtype: DType,
        /// Bytes that it has.
        bytes: u64,
    },
    /// A tensor that does not begin where the one before it ends.
    #[error("`{name}` overlaps its neighbor or leaves a gap: it begins at byte {begin}, expected {expected}")]
    Offset {
        /// The tensor.
        name: String,
        /// Where it claims to begin, in the data.
        begin: u64,
        /// Where the tensor before it ends.
        expected: u64,
    },
    /// Bytes behind the last tensor.
    #[error("bytes after the end of the data: {bytes}")]
    TrailingBytes {
        /// How many.
        bytes: u64,
    },
    /// Two arrays of one name.
    #[error("two arrays have the same name: {name}")]
    DuplicateName {
        /// The name.
        name: String,
    },
    /// A name that the format cannot hold.
    #[error("not a name for an array: {name:?}")]
    InvalidName {
        /// The name.
        name: String,
    },
    /// The file has no array of this name.
    #[error("no array of this name: {name}")]
    NotFound {
        /// The name.
        name: String,
    },
    /// The values are of another kind than was asked for.
    #[error("`{name}` has elements of {got}, expected {expected}")]
    WrongDType {
        /// The array.
        name: String,
        /// What was asked for.
        expected: &'static str,
        /// What is there.
        got: DType,
    },
    /// An NPY header that is not what `NumPy` writes.
    #[error("`{name}` is not an NPY array: {reason}")]
    Npy {
        /// The array.
        name: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// An array of pickled Python objects: code, not data.
    #[error("`{name}` holds pickled Python objects, which are never loaded")]
    Pickled {
        /// The array.
        name: String,
    },
    /// A file that is not `PyTorch`'s dictionary of tensors.
    #[error("not a PyTorch file of tensors: {reason}")]
    Torch {
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The archive around the arrays is broken.
    #[error("not a readable NPZ archive")]
    Archive {
        /// The reason of the ZIP reader or writer.
        source: zip::result::ZipError,
    },
    /// An entry of the archive that cannot be unpacked.
    #[error("cannot unpack array: {name}")]
    Unpack {
        /// The array.
        name: String,
        /// The reason.
        source: io::Error,
    },
}
