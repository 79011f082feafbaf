//! Feature spaces: what turns images into the rows that [`crate::metrics`] compare.
//!
//! | space | looks with | needs |
//! |---|---|---|
//! | [`Pixels`] | the image, made small | nothing |
//! | [`Classifier`] | a small network trained on the real images and their labels | labels, a minute |
//! | [`EffNet`] | EfficientNet-Lite0, trained on ImageNet | a file of its weights |
//! | [`Inception`] | the Inception network of 2015-12-05 | a file of its weights |

mod choice;
pub mod classifier;
mod effnet;
mod inception;
mod network;
mod pixels;

pub use choice::SpaceChoice;
pub use classifier::{Classifier, ClassifierHeader, ClassifierOptions};
pub use effnet::EffNet;
pub use inception::{Inception, Resizing};
pub use pixels::Pixels;

use std::fmt::Debug;

use gander_data::{Dataset, ImageShape};
use gander_tensor::{DeviceRef, Tensor, no_grad};

use crate::{error::Result, images::to_tensor, metrics::Features};

/// What turns images into features.
pub trait FeatureSpace: Debug + Send + Sync {
    /// Its name in scores, such as `effnet`; with what changes the numbers, such as the way of resizing.
    fn name(&self) -> &str;

    /// Number of classes whose logits it gives too, if it does.
    fn num_classes(&self) -> Option<usize> {
        None
    }

    /// Images that it is best given at once.
    fn batch(&self) -> usize {
        64
    }

    /// Features of images.
    ///
    /// # Shapes
    /// - `images`: `[num, height, width, channels]` with 1, 3 or 4 channels, −1..=1
    fn extract(&self, images: &Tensor) -> Result<Extracted>;
}

/// What a feature space sees in images.
#[derive(Debug, Clone, PartialEq)]
pub struct Extracted {
    /// A row for each image.
    pub features: Features,
    /// Logits of classes, where the space has any.
    pub logits: Option<Features>,
}

/// Looks at images of one shape in a feature space.
#[derive(Debug, Clone, Copy)]
pub struct Eyes<'a> {
    /// Who looks.
    pub space: &'a dyn FeatureSpace,
    /// The shape of the images.
    pub shape: ImageShape,
    /// What computes.
    pub device: &'a DeviceRef,
}

/// How images are held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum View {
    /// As they are.
    AsIs,
    /// Left and right exchanged.
    Mirrored,
}

impl Eyes<'_> {
    /// Features of some images of a set.
    ///
    /// # Errors
    /// What reading and the space meet.
    pub fn see(&self, dataset: &dyn Dataset, indices: &[usize], view: View) -> Result<Features> {
        let mut features = Features::default();
        let mut pixels = Vec::new();
        for indices in indices.chunks(self.space.batch()) {
            pixels.resize(indices.len() * self.shape.bytes(), 0);
            for (&index, pixels) in indices.iter().zip(pixels.chunks_exact_mut(self.shape.bytes())) {
                dataset.read(index, pixels)?;
            }
            features.append(self.see_bytes(&pixels, view)?)?;
        }
        Ok(features)
    }

    /// Features of images in bytes, one after another.
    ///
    /// # Errors
    /// What the space meets.
    pub fn see_bytes(&self, pixels: &[u8], view: View) -> Result<Features> {
        let mut features = Features::default();
        for pixels in pixels.chunks(self.space.batch() * self.shape.bytes()) {
            let images = to_tensor(pixels, self.shape, self.device)?;
            let images = match view {
                View::AsIs => images,
                View::Mirrored => images.flip(2)?,
            };
            features.append(no_grad(|| self.space.extract(&images))?.features)?;
        }
        Ok(features)
    }
}

/// The rows of a tensor `[num, dim]`.
pub(crate) fn rows(tensor: &Tensor) -> Result<Features> {
    Features::new(tensor.to_vec()?, tensor.side(-1))
}
