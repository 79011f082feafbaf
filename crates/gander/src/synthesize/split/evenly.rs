//! Images of which each class is drawn as often as every other.

use std::sync::Arc;

use gander_data::{Dataset, Error, ImageShape, InMemory, Result};

use super::TrainingSet;

/// A training set whose rare classes come several times.
pub(in crate::synthesize) struct Evenly {
    images: Arc<InMemory>,
    indices: Vec<usize>,
}

impl Evenly {
    /// As many of each class as there are of the most frequent one; none of a class without images.
    pub(in crate::synthesize) fn of(set: &TrainingSet) -> Self {
        let most = set.counts().into_iter().max().unwrap_or(0);
        let repeated = |own: &Vec<usize>| {
            let count = if own.is_empty() { 0 } else { most };
            own.iter().copied().cycle().take(count).collect::<Vec<_>>()
        };
        Self {
            images: Arc::clone(&set.images),
            indices: set.of_class.iter().flat_map(repeated).collect(),
        }
    }
}

impl Dataset for Evenly {
    fn len(&self) -> usize {
        self.indices.len()
    }

    fn shape(&self) -> ImageShape {
        self.images.shape()
    }

    fn classes(&self) -> &[String] {
        self.images.classes()
    }

    fn label(&self, index: usize) -> Option<u32> {
        self.indices.get(index).and_then(|&index| self.images.label(index))
    }

    fn read(&self, index: usize, pixels: &mut [u8]) -> Result<()> {
        let len = self.len();
        let &index = self.indices.get(index).ok_or(Error::Index { index, len })?;
        self.images.read(index, pixels)
    }

    fn fingerprint(&self) -> String {
        format!("{} evenly", self.images.fingerprint())
    }
}

#[cfg(test)]
mod tests {
    use super::{super::Found, *};

    #[test]
    fn rare_classes_come_as_often_as_frequent_ones() {
        let shape = ImageShape {
            height_px: 1,
            width_px: 1,
            channels: 1,
        };
        let found = Found {
            pixels: vec![10, 20, 11, 12, 13, 21],
            labels: vec![0, 2, 0, 0, 0, 2],
        };
        let classes = ["many", "none", "few"].map(str::to_owned);
        let set = TrainingSet::new(shape, found, classes.to_vec()).unwrap();
        let evenly = Evenly::of(&set);
        let mut pixel = [0];
        let mut read = |index| {
            evenly.read(index, &mut pixel).unwrap();
            (pixel[0], evenly.label(index).unwrap())
        };
        let all: Vec<(u8, u32)> = (0..evenly.len()).map(&mut read).collect();
        let of = |label| move |pixel| (pixel, label);
        let expected = [10, 11, 12, 13]
            .map(of(0))
            .into_iter()
            .chain([20, 21, 20, 21].map(of(2)));
        assert_eq!(all, expected.collect::<Vec<_>>());
        assert!(evenly.read(8, &mut pixel).is_err() && evenly.label(8).is_none());
    }
}
