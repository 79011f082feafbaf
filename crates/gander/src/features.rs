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

use gander_tensor::Tensor;

use crate::{error::Result, metrics::Features};

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

/// The rows of a tensor `[num, dim]`.
pub(crate) fn rows(tensor: &Tensor) -> Result<Features> {
    Features::new(tensor.to_vec()?, tensor.side(-1))
}
