//! What a set of images is to the rest of the program.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// The common shape of a set's images.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ImageShape {
    /// Rows.
    pub height_px: usize,
    /// Columns.
    pub width_px: usize,
    /// 1 (gray), 3 (RGB) or 4 (RGBA).
    pub channels: usize,
}

impl ImageShape {
    /// Bytes of one image: height × width × channels.
    pub fn bytes(self) -> usize {
        self.height_px * self.width_px * self.channels
    }
}

impl std::fmt::Display for ImageShape {
    /// Width first, as users say it: `92x112x1`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}x{}x{}", self.width_px, self.height_px, self.channels)
    }
}

/// A set of images of one shape, read by index from any thread.
pub trait Dataset: Send + Sync {
    /// Number of images, at least 1.
    fn len(&self) -> usize;

    /// Whether there is no image; false for every set that [`crate::open()`] returns.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The shape of every image.
    fn shape(&self) -> ImageShape;

    /// Names of the classes; a label is an index into them. Empty without labels.
    fn classes(&self) -> &[String];

    /// The class of an image, or `None` where the set has no labels.
    fn label(&self, index: usize) -> Option<u32>;

    /// Writes one image.
    ///
    /// # Shapes
    /// - `pixels`: `[height, width, channels]`, 0..=255, exactly [`ImageShape::bytes`] long
    ///
    /// # Errors
    /// [`Error::Index`] past the end, [`Error::Buffer`] for another length, and whatever reading and decoding meet.
    fn read(&self, index: usize, pixels: &mut [u8]) -> Result<()>;

    /// Identifies the content, the same on every machine: two sets with one fingerprint give the same bytes.
    fn fingerprint(&self) -> String;

    /// Files that failed after the set was opened and were replaced by another image of the same class.
    fn failures(&self) -> Vec<crate::Skipped> {
        Vec::new()
    }
}

/// Checks the arguments of [`Dataset::read`], for implementors.
///
/// # Errors
/// [`Error::Index`] and [`Error::Buffer`].
pub fn check_read(len: usize, shape: ImageShape, index: usize, pixels: &[u8]) -> Result<()> {
    if index >= len {
        return Err(Error::Index { index, len });
    }
    if pixels.len() != shape.bytes() {
        return Err(Error::Buffer {
            op: "read",
            expected: shape.bytes(),
            got: pixels.len(),
        });
    }
    Ok(())
}

/// Number of images of each class, in the order of [`Dataset::classes`]. Empty without labels.
pub fn label_counts(dataset: &dyn Dataset) -> Vec<u64> {
    let mut counts = vec![0; dataset.classes().len()];
    for index in 0..dataset.len() {
        if let Some(count) = dataset.label(index).and_then(|label| counts.get_mut(label as usize)) {
            *count += 1;
        }
    }
    counts
}
