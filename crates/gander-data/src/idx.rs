//! IDX files, the format of MNIST and its relatives, plain or in gzip.
//!
//! Two zero bytes, a type (8: unsigned bytes), the number of axes, each axis as a big-endian 32-bit number, then the
//! values, last axis fastest (<https://yann.lecun.com/exdb/mnist>, "the IDX file format").

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::arrays::{Array, image_axes, require_room};
use crate::error::{Error, Result};
use crate::options::{Labels, OpenOptions};
use crate::source::{Compression, Entry, Listing, Place, Split, corrupt, unpack};

/// An array of bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdxArray {
    /// Lengths of the axes, slowest first.
    pub axes: Vec<usize>,
    /// The values, as many as the product of the axes.
    pub values: Vec<u8>,
}

/// Why an IDX file could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IdxError {
    /// The header is not that of an IDX file.
    #[error("not an IDX file")]
    Magic,
    /// The values are not unsigned bytes.
    #[error("only unsigned bytes (type 8) are read, not type {0}")]
    Type(u8),
    /// The values would take more bytes than allowed.
    #[error("axes {axes:?} hold over {limit_bytes} bytes")]
    TooLarge {
        /// The axes of the header.
        axes: Vec<u32>,
        /// The limit that was passed.
        limit_bytes: u64,
    },
    /// The file holds more or fewer bytes than its axes say.
    #[error("axes {axes:?} promise {expected} bytes, the file holds {}{got}", if got > expected { "at least " } else { "" })]
    Length {
        /// The axes of the header.
        axes: Vec<u32>,
        /// The product of the axes.
        expected: u64,
        /// The bytes after the header.
        got: u64,
    },
    /// Reading or unpacking failed.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// Reads an IDX array of unsigned bytes.
///
/// # Errors
/// [`IdxError`]; nothing beyond `limit_bytes` is allocated whatever the header claims.
pub fn read_idx(mut reader: impl Read, limit_bytes: u64) -> Result<IdxArray, IdxError> {
    let mut magic = [0; 4];
    read_header(&mut reader, &mut magic)?;
    let [0, 0, kind, rank] = magic else {
        return Err(IdxError::Magic);
    };
    if rank == 0 || !(0x08..=0x0E).contains(&kind) {
        return Err(IdxError::Magic);
    }
    if kind != 0x08 {
        return Err(IdxError::Type(kind));
    }
    let mut axes = Vec::with_capacity(rank.into());
    for _ in 0..rank {
        let mut axis = [0; 4];
        read_header(&mut reader, &mut axis)?;
        axes.push(u32::from_be_bytes(axis));
    }
    let product = axes
        .iter()
        .try_fold(1_u64, |product, &axis| product.checked_mul(axis.into()));
    let Some(expected) = product.filter(|&bytes| bytes <= limit_bytes) else {
        return Err(IdxError::TooLarge { axes, limit_bytes });
    };
    // A header may lie: memory grows with the bytes that are there.
    let mut values = Vec::with_capacity(expected.min(1 << 26) as usize);
    let got = reader.take(expected + 1).read_to_end(&mut values)? as u64;
    if got != expected {
        return Err(IdxError::Length { axes, expected, got });
    }
    Ok(IdxArray {
        axes: axes.into_iter().map(|axis| axis as usize).collect(),
        values,
    })
}

fn read_header(reader: &mut impl Read, bytes: &mut [u8]) -> Result<(), IdxError> {
    reader.read_exact(bytes).map_err(|error| match error.kind() {
        std::io::ErrorKind::UnexpectedEof => IdxError::Magic,
        _ => IdxError::Io(error),
    })
}

/// Lists the images of IDX files: one file, or the training and the test file of a folder.
pub(crate) fn list(folder: &Path, files: &[PathBuf], options: &OpenOptions) -> Result<Listing> {
    let mut listing = Listing::default();
    let mut most = 0;
    for (file, split) in splits(folder, files)? {
        let array = read_file(&file, options)?;
        let (count, shape) = image_axes(&array.axes).map_err(|reason| corrupt(&file, &reason))?;
        require_room(&file, listing.entries.len(), count, options.cache_bytes)?;
        let labels = match options.labels {
            Labels::Ignore => None,
            Labels::WherePresent | Labels::Require => read_labels(&file, count, options)?,
        };
        if let Some(labels) = &labels {
            most = most.max(labels.iter().max().map_or(0, |&label| usize::from(label) + 1));
        }
        let stem = name(&file).trim_end_matches(".gz").to_owned();
        let array = Arc::new(Array {
            path: file.into(),
            shape,
            pixels: array.values,
        });
        for row in 0..count {
            let mut entry = Entry::new(
                format!("{stem}#{row}"),
                Place::Row {
                    array: array.clone(),
                    row,
                },
            );
            entry.split = split;
            entry.class = labels.as_ref().map(|labels| labels[row].to_string());
            listing.entries.push(entry);
        }
    }
    if most > 0 {
        name_classes(folder, most, &mut listing);
    }
    Ok(listing)
}

/// The training file and what is held out: `train-*` and `t10k-*` or `test-*`, whichever are there.
fn splits(folder: &Path, files: &[PathBuf]) -> Result<Vec<(PathBuf, Split)>> {
    let mut files = files.to_vec();
    // The same file plain and packed is one file.
    let plain = files.clone();
    files.retain(|file| {
        !name(file)
            .strip_suffix(".gz")
            .is_some_and(|stem| plain.contains(&file.with_file_name(stem)))
    });
    let (held, train): (Vec<_>, Vec<_>) = files.into_iter().partition(|file| {
        let name = name(file).to_lowercase();
        !name.contains("train") && ["t10k", "test", "val"].iter().any(|part| name.contains(part))
    });
    let (train, held) = if train.is_empty() {
        (held, Vec::new())
    } else {
        (train, held)
    };
    if train.len() != 1 {
        return Err(Error::Ambiguous {
            path: folder.into(),
            candidates: train,
        });
    }
    let train = train.into_iter().map(|file| (file, Split::Train));
    Ok(train
        .chain(held.into_iter().map(|file| (file, Split::Holdout)))
        .collect())
}

fn name(file: &Path) -> std::borrow::Cow<'_, str> {
    file.file_name().unwrap_or_default().to_string_lossy()
}

fn read_file(file: &Path, options: &OpenOptions) -> Result<IdxArray> {
    let is_gzip = {
        let mut start = [0; 2];
        let opened = std::fs::File::open(file).map_err(Error::io(file))?;
        opened.take(2).read(&mut start).map_err(Error::io(file))?;
        start == [0x1F, 0x8B]
    };
    let reader = unpack(file, if is_gzip { Compression::Gzip } else { Compression::None })?;
    read_idx(reader, options.cache_bytes).map_err(|error| match error {
        IdxError::TooLarge { ref axes, limit_bytes } => {
            let needed = axes
                .iter()
                .fold(1_u64, |product, &axis| product.saturating_mul(axis.into()));
            Error::TooLarge {
                path: file.into(),
                needed_bytes: needed,
                limit_bytes,
            }
        }
        error => corrupt(file, &error),
    })
}

/// The labels beside an image file: `images` and `idx3` become `labels` and `idx1` in its name.
fn read_labels(images: &Path, count: usize, options: &OpenOptions) -> Result<Option<Vec<u8>>> {
    let name = name(images)
        .replace("images", "labels")
        .replace("idx3", "idx1")
        .replace("idx4", "idx1");
    let stem = name.trim_end_matches(".gz");
    let candidates = [images.with_file_name(stem), images.with_file_name(format!("{stem}.gz"))];
    let Some(file) = candidates.iter().find(|file| *file != images && file.is_file()) else {
        return Ok(None);
    };
    let labels = read_file(file, options)?;
    if labels.axes != [count] {
        let reason = format!("axes {:?} do not label {count} images", labels.axes);
        return Err(corrupt(file, &reason));
    }
    Ok(Some(labels.values))
}

/// Names classes by the lines of `classes.txt`, where that names them all; else by their numbers.
fn name_classes(folder: &Path, count: usize, listing: &mut Listing) {
    let text = std::fs::read_to_string(folder.join("classes.txt")).unwrap_or_default();
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    listing.class_order = (0..count).map(|number| number.to_string()).collect();
    if lines.len() >= count {
        listing.class_order = lines.into_iter().map(str::to_owned).collect();
        for entry in &mut listing.entries {
            let number = entry.class.as_deref().and_then(|number| number.parse::<usize>().ok());
            entry.class = number.map(|number| listing.class_order[number].clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn file(kind: u8, axes: &[u32], values: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0, 0, kind, axes.len() as u8];
        bytes.extend(axes.iter().flat_map(|axis| axis.to_be_bytes()));
        bytes.extend(values);
        bytes
    }

    #[test]
    fn arrays_of_bytes_are_read() {
        let array = read_idx(&file(8, &[2, 1, 3], &[1, 2, 3, 4, 5, 6])[..], 6).unwrap();
        assert_eq!(
            array,
            IdxArray {
                axes: vec![2, 1, 3],
                values: vec![1, 2, 3, 4, 5, 6]
            }
        );
    }

    #[test]
    fn a_length_that_lies_is_refused() {
        let error = read_idx(&file(8, &[2, 2], &[1, 2, 3])[..], 100).unwrap_err();
        assert_eq!(error.to_string(), "axes [2, 2] promise 4 bytes, the file holds 3");
        let error = read_idx(&file(8, &[2, 1], &[1, 2, 3])[..], 100).unwrap_err();
        assert_eq!(
            error.to_string(),
            "axes [2, 1] promise 2 bytes, the file holds at least 3"
        );
        let error = read_idx(&file(8, &[u32::MAX, u32::MAX, 9], &[])[..], 100).unwrap_err();
        assert!(matches!(error, IdxError::TooLarge { .. }), "{error}");
    }

    #[test]
    fn other_types_and_files_are_refused() {
        assert!(matches!(
            read_idx(&file(0x0D, &[1], &[0; 4])[..], 100),
            Err(IdxError::Type(0x0D))
        ));
        assert!(matches!(read_idx(&b"PNG?"[..], 100), Err(IdxError::Magic)));
        assert!(matches!(read_idx(&[0, 0, 8][..], 100), Err(IdxError::Magic)));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let _ = read_idx(&bytes[..], 1 << 20);
        }

        #[test]
        fn no_header_makes_it_panic(axes in proptest::collection::vec(any::<u32>(), 0..6), values: Vec<u8>) {
            let _ = read_idx(&file(8, &axes, &values)[..], 1 << 20);
        }

        #[test]
        fn what_is_written_is_read(h in 1..5_u32, w in 1..5_u32, n in 0..4_u32) {
            let values: Vec<u8> = (0..n * h * w).map(|i| i as u8).collect();
            let array = read_idx(&file(8, &[n, h, w], &values)[..], 100).unwrap();
            prop_assert_eq!(array.values, values);
        }
    }
}
