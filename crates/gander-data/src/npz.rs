//! NPZ files of images: this program's own, `NumPy`'s unnamed arrays, and the names that Keras and `MedMNIST` use.

use std::path::Path;
use std::sync::Arc;

use gander_formats::DType;
use gander_formats::npz::NpzReader;

use crate::arrays::{Array, image_axes, require_room};
use crate::error::{Error, Result};
use crate::options::{Labels, OpenOptions};
use crate::source::{Entry, Listing, Place, Split, corrupt};

/// Names of images and their labels. The first that is there trains.
const TRAIN: [[&str; 2]; 4] = [
    ["images", "labels"],
    ["x_train", "y_train"],
    ["train_images", "train_labels"],
    ["arr_0", "arr_1"],
];
/// Names of what is held out.
const HOLDOUT: [[&str; 2]; 3] = [
    ["x_test", "y_test"],
    ["test_images", "test_labels"],
    ["val_images", "val_labels"],
];
/// More classes are a mistake: labels are numbers of classes, not of images.
const MAX_CLASSES: i64 = 1 << 16;

/// Lists the images of an NPZ file.
pub(crate) fn list(path: &Path, options: &OpenOptions) -> Result<Listing> {
    let reader = NpzReader::open(path).map_err(|error| corrupt(path, &error))?;
    let limit_bytes = options.cache_bytes;
    let mut reader = reader.with_limit_bytes(limit_bytes);
    let mut listing = Listing::default();
    let has = |reader: &NpzReader<_>, [images, _]: &[&str; 2]| reader.contains(images);
    let Some(train) = TRAIN.into_iter().find(|names| has(&reader, names)) else {
        let names: Vec<&str> = reader.names().collect();
        let reason = format!("no array `images`, `arr_0`, `x_train` or `train_images`, only {names:?}");
        return Err(corrupt(path, &reason));
    };
    let held = HOLDOUT
        .into_iter()
        .filter(|names| has(&reader, names))
        .map(|names| (names, Split::Holdout));
    let parts: Vec<_> = std::iter::once((train, Split::Train)).chain(held).collect();
    let mut most = 0;
    for ([images, labels], split) in parts {
        let (count, array) = read_images(&mut reader, path, images, limit_bytes)?;
        require_room(path, listing.entries.len(), count, limit_bytes)?;
        let labels = match options.labels {
            Labels::WherePresent | Labels::Require if reader.contains(labels) => {
                Some(read_labels(&mut reader, path, labels, count, limit_bytes)?)
            }
            _ => None,
        };
        most = most.max(labels.iter().flatten().max().map_or(0, |label| label + 1));
        for row in 0..count {
            let mut entry = Entry::new(
                format!("{images}#{row}"),
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
    listing.class_order = (0..most).map(|number| number.to_string()).collect();
    Ok(listing)
}

type Reader = NpzReader<std::io::BufReader<std::fs::File>>;

fn read(reader: &mut Reader, path: &Path, name: &str, limit_bytes: u64) -> Result<gander_formats::npy::Array> {
    reader.read(name).map_err(|error| match error {
        gander_formats::Error::TooLarge { .. } => Error::TooLarge {
            path: path.into(),
            needed_bytes: needed_bytes(reader),
            limit_bytes,
        },
        error => corrupt(path, &format!("`{name}`: {error}")),
    })
}

/// Bytes that all images and labels together unpack to.
fn needed_bytes(reader: &mut Reader) -> u64 {
    let names = TRAIN.into_iter().chain(HOLDOUT).flatten();
    let headers = names.filter_map(|name| reader.header(name).ok());
    let bytes = headers.map(|header| {
        let element_bytes = header.dtype.size_bytes() as u64;
        let sides = header.shape.iter().map(|&side| side as u64);
        sides.fold(element_bytes, u64::saturating_mul)
    });
    bytes.fold(0, u64::saturating_add)
}

fn read_images(reader: &mut Reader, path: &Path, name: &str, limit_bytes: u64) -> Result<(usize, Arc<Array>)> {
    let header = reader.header(name).map_err(|error| corrupt(path, &error))?;
    if header.dtype != DType::U8 {
        return Err(corrupt(
            path,
            &format!("`{name}` holds {:?}; images are unsigned bytes, 0..=255", header.dtype),
        ));
    }
    let (count, shape) = image_axes(&header.shape).map_err(|reason| corrupt(path, &format!("`{name}`: {reason}")))?;
    let array = read(reader, path, name, limit_bytes)?;
    Ok((
        count,
        Arc::new(Array {
            path: path.into(),
            shape,
            pixels: array.bytes,
        }),
    ))
}

/// Labels of `[n]` or `[n, 1]`, of any whole type.
fn read_labels(reader: &mut Reader, path: &Path, name: &str, count: usize, limit_bytes: u64) -> Result<Vec<i64>> {
    let array = read(reader, path, name, limit_bytes)?;
    let fits = matches!(array.shape[..], [n] | [n, 1] if n == count);
    // Whole numbers of 8 bytes are made of those that fit alone.
    let labels = fits.then(|| array.to_i64()).flatten();
    let labels = labels.ok_or_else(|| {
        corrupt(
            path,
            &format!(
                "`{name}` holds {:?} of {:?}, no labels of {count} images",
                array.shape, array.dtype
            ),
        )
    })?;
    match labels.iter().find(|label| !(0..MAX_CLASSES).contains(*label)) {
        Some(label) => Err(corrupt(
            path,
            &format!("`{name}` holds a label out of 0..{MAX_CLASSES}: {label}"),
        )),
        None => Ok(labels),
    }
}
