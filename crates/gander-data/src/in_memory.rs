//! A set whose pixels are all in memory.

use std::sync::Arc;

use xxhash_rust::xxh3::Xxh3;

use crate::dataset::{Dataset, ImageShape, check_read};
use crate::error::{Error, Result};

/// Decoded images, one after the other.
#[derive(Clone, Debug)]
pub struct InMemory {
    shape: ImageShape,
    pixels: Vec<u8>,
    labels: Vec<u32>,
    classes: Arc<[String]>,
    fingerprint: String,
}

impl InMemory {
    /// A set of images without labels.
    ///
    /// # Shapes
    /// - `pixels`: `[n, height, width, channels]`, 0..=255
    ///
    /// # Errors
    /// [`Error::Buffer`] if `pixels` are no whole number of images, or none.
    pub fn new(shape: ImageShape, pixels: Vec<u8>) -> Result<Self> {
        Self::with_labels(shape, pixels, Vec::new(), Vec::new())
    }

    /// A set of images with labels.
    ///
    /// # Shapes
    /// - `pixels`: `[n, height, width, channels]`, 0..=255
    /// - `labels`: `[n]`, each below `classes.len()`; empty for none
    ///
    /// # Errors
    /// [`Error::Buffer`] if `pixels` are no whole number of images, [`Error::Option`] for labels that do not fit.
    pub fn with_labels(
        shape: ImageShape,
        pixels: Vec<u8>,
        labels: Vec<u32>,
        classes: impl Into<Arc<[String]>>,
    ) -> Result<Self> {
        let classes = classes.into();
        let bytes = shape.bytes().max(1);
        let count = pixels.len() / bytes;
        if count == 0 || !pixels.len().is_multiple_of(bytes) {
            let expected = bytes * count.max(1);
            return Err(Error::Buffer {
                op: "a set of images",
                expected,
                got: pixels.len(),
            });
        }
        if !(labels.is_empty() || labels.len() == count) {
            let expected = format!("one for each of {count} images");
            return Err(Error::Option {
                option: "labels",
                expected,
                got: labels.len().to_string(),
            });
        }
        if let Some(label) = labels.iter().find(|&&label| label as usize >= classes.len()) {
            let expected = format!("below the {} classes", classes.len());
            return Err(Error::Option {
                option: "labels",
                expected,
                got: label.to_string(),
            });
        }
        let mut hash = Xxh3::new();
        hash.update(shape.to_string().as_bytes());
        hash.update(&pixels);
        for label in &labels {
            hash.update(&label.to_le_bytes());
        }
        let fingerprint = format!("{:032x}", hash.digest128());
        Ok(Self {
            shape,
            pixels,
            labels,
            classes,
            fingerprint,
        })
    }

    /// A set of checked parts with a fingerprint of its own.
    pub(crate) fn from_parts(
        shape: ImageShape,
        pixels: Vec<u8>,
        labels: Vec<u32>,
        classes: Arc<[String]>,
        fingerprint: String,
    ) -> Self {
        Self {
            shape,
            pixels,
            labels,
            classes,
            fingerprint,
        }
    }
}

impl Dataset for InMemory {
    fn len(&self) -> usize {
        self.pixels.len() / self.shape.bytes()
    }

    fn shape(&self) -> ImageShape {
        self.shape
    }

    fn classes(&self) -> &[String] {
        &self.classes
    }

    fn label(&self, index: usize) -> Option<u32> {
        self.labels.get(index).copied()
    }

    fn read(&self, index: usize, pixels: &mut [u8]) -> Result<()> {
        check_read(self.len(), self.shape, index, pixels)?;
        let bytes = self.shape.bytes();
        pixels.copy_from_slice(&self.pixels[index * bytes..(index + 1) * bytes]);
        Ok(())
    }

    fn fingerprint(&self) -> String {
        self.fingerprint.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::label_counts;

    const SHAPE: ImageShape = ImageShape {
        height_px: 1,
        width_px: 2,
        channels: 1,
    };

    fn classes() -> Vec<String> {
        vec!["a".into(), "b".into()]
    }

    #[test]
    fn images_are_read_back() {
        let set = InMemory::with_labels(SHAPE, (0..6).collect(), vec![1, 0, 1], classes()).unwrap();
        let mut pixels = [0; 2];
        set.read(1, &mut pixels).unwrap();
        assert_eq!((set.len(), pixels, set.label(2)), (3, [2, 3], Some(1)));
        assert_eq!(label_counts(&set), [1, 2]);
        assert!(matches!(
            set.read(3, &mut pixels),
            Err(Error::Index { index: 3, len: 3 })
        ));
        assert!(matches!(
            set.read(0, &mut [0; 3]),
            Err(Error::Buffer {
                expected: 2,
                got: 3,
                ..
            })
        ));
    }

    #[test]
    fn parts_that_do_not_fit_are_refused() {
        assert!(InMemory::new(SHAPE, vec![]).is_err());
        assert!(InMemory::new(SHAPE, vec![0; 3]).is_err());
        assert!(InMemory::with_labels(SHAPE, vec![0; 4], vec![0], classes()).is_err());
        assert!(InMemory::with_labels(SHAPE, vec![0; 4], vec![0, 2], classes()).is_err());
    }

    #[test]
    fn the_fingerprint_follows_the_content() {
        let print = |pixels: Vec<u8>| InMemory::new(SHAPE, pixels).unwrap().fingerprint();
        assert_eq!(print(vec![1, 2]), print(vec![1, 2]));
        assert_ne!(print(vec![1, 2]), print(vec![1, 3]));
    }
}
