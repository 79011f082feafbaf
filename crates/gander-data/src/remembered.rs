//! A set whose images are kept once they have been read.

use std::sync::{Arc, OnceLock};

use crate::{
    Skipped,
    dataset::{Dataset, ImageShape, check_read},
    error::Result,
};

/// A set whose images are kept in memory once they have been read: for those that take long to make, such as
/// [`crate::Pottery`].
pub struct Remembered {
    dataset: Arc<dyn Dataset>,
    images: Vec<OnceLock<Box<[u8]>>>,
}

impl Remembered {
    /// Keeps the images of a set.
    pub fn new(dataset: Arc<dyn Dataset>) -> Self {
        let images = (0..dataset.len()).map(|_| OnceLock::new()).collect();
        Self { dataset, images }
    }
}

impl Dataset for Remembered {
    fn len(&self) -> usize {
        self.dataset.len()
    }

    fn shape(&self) -> ImageShape {
        self.dataset.shape()
    }

    fn classes(&self) -> &[String] {
        self.dataset.classes()
    }

    fn label(&self, index: usize) -> Option<u32> {
        self.dataset.label(index)
    }

    fn read(&self, index: usize, pixels: &mut [u8]) -> Result<()> {
        check_read(self.len(), self.shape(), index, pixels)?;
        if let Some(image) = self.images[index].get() {
            pixels.copy_from_slice(image);
            return Ok(());
        }
        self.dataset.read(index, pixels)?;
        self.images[index].get_or_init(|| pixels.into());
        Ok(())
    }

    fn fingerprint(&self) -> String {
        self.dataset.fingerprint()
    }

    fn failures(&self) -> Vec<Skipped> {
        self.dataset.failures()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pottery::{Pottery, PotteryConfig};

    #[test]
    fn the_second_reading_gives_the_same_bytes() {
        let pots: Arc<dyn Dataset> = Arc::new(
            Pottery::new(PotteryConfig {
                len: 3,
                ..PotteryConfig::default()
            })
            .unwrap(),
        );
        let remembered = Remembered::new(Arc::clone(&pots));
        let mut bytes = vec![vec![0; pots.shape().bytes()]; 3];
        pots.read(1, &mut bytes[0]).unwrap();
        remembered.read(1, &mut bytes[1]).unwrap();
        remembered.read(1, &mut bytes[2]).unwrap();
        assert!(bytes[0] == bytes[1] && bytes[1] == bytes[2]);
        assert!(remembered.read(3, &mut bytes[0]).is_err());
    }
}
