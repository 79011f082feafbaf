//! A set too large for memory: an image is decoded each time that it is read.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::dataset::{Dataset, ImageShape, check_read};
use crate::error::{Error, Result, Skipped};
use crate::media::{MediaLimits, Picture, decode};
use crate::source::{Entry, Place};
use crate::transforms::Fit;

/// How an entry becomes an image of the set.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pipeline {
    pub(crate) limits: MediaLimits,
    pub(crate) fit: Fit,
    pub(crate) part: Part,
}

/// Which part of a picture is the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Whole,
    LeftHalf,
    RightHalf,
}

impl Part {
    fn cut(self, picture: Picture) -> Picture {
        let half = picture.width_px / 2;
        let columns = match self {
            Self::Whole => return picture,
            Self::LeftHalf => 0..half,
            Self::RightHalf => half..2 * half,
        };
        let channels = picture.channels;
        let rows = picture.pixels.chunks_exact((picture.width_px * channels).max(1));
        let pixels = rows
            .flat_map(|row| &row[columns.start * channels..columns.end * channels])
            .copied()
            .collect();
        Picture {
            width_px: half,
            pixels,
            ..picture
        }
    }
}

impl Pipeline {
    /// Decodes an entry in its own size.
    pub(crate) fn picture(&self, entry: &Entry) -> Result<Picture, String> {
        match &entry.place {
            Place::Row { array, row } => Ok(Picture {
                width_px: array.shape.width_px,
                height_px: array.shape.height_px,
                channels: array.shape.channels,
                pixels: array.row(*row).to_vec(),
            }),
            _ => decode(&entry.read_all()?, self.limits),
        }
        .map(|picture| self.part.cut(picture))
    }

    /// Decodes an entry in the set's shape.
    pub(crate) fn write(&self, entry: &Entry, pixels: &mut [u8]) -> Result<(), String> {
        if let Place::Row { array, row } = &entry.place
            && array.shape == self.fit.shape
            && self.part == Part::Whole
        {
            pixels.copy_from_slice(array.row(*row));
            return Ok(());
        }
        self.fit.write(&self.picture(entry)?, pixels);
        Ok(())
    }
}

/// Images that are decoded when they are read.
///
/// A file that fails is replaced by the next one of its class (of the set, without labels) that can be read, which
/// depends on the files alone, and is listed by [`Dataset::failures`].
#[derive(Debug)]
pub(crate) struct Streamed {
    pub(crate) pipeline: Pipeline,
    pub(crate) entries: Vec<Entry>,
    pub(crate) labels: Vec<u32>,
    pub(crate) classes: Arc<[String]>,
    pub(crate) fingerprint: String,
    pub(crate) failed: Mutex<BTreeMap<usize, Skipped>>,
}

impl Streamed {
    fn has_failed(&self, index: usize) -> bool {
        self.failed
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .contains_key(&index)
    }
}

impl Dataset for Streamed {
    fn len(&self) -> usize {
        self.entries.len()
    }

    fn shape(&self) -> ImageShape {
        self.pipeline.fit.shape
    }

    fn classes(&self) -> &[String] {
        &self.classes
    }

    fn label(&self, index: usize) -> Option<u32> {
        self.labels.get(index).copied()
    }

    fn read(&self, index: usize, pixels: &mut [u8]) -> Result<()> {
        check_read(self.len(), self.shape(), index, pixels)?;
        let mut last = String::from("it failed before");
        for candidate in (index..self.len()).chain(0..index) {
            if self.label(candidate) != self.label(index) || self.has_failed(candidate) {
                continue;
            }
            match self.pipeline.write(&self.entries[candidate], pixels) {
                Ok(()) => return Ok(()),
                Err(reason) => {
                    let skipped = self.entries[candidate].skip(&reason);
                    self.failed
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .insert(candidate, skipped);
                    last = reason;
                }
            }
        }
        Err(Error::Decode {
            path: self.entries[index].path(),
            reason: format!("{last}, and no other can replace it"),
        })
    }

    fn fingerprint(&self) -> String {
        self.fingerprint.clone()
    }

    fn failures(&self) -> Vec<Skipped> {
        self.failed
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .values()
            .cloned()
            .collect()
    }
}
