//! What all translators share: images in, images out, and the statistics that their normalizations take.

use std::{
    fmt::Debug,
    sync::{Mutex, PoisonError},
};

use gander_nn::{Mode, Parameters};
use gander_tensor::{Activation, NormOptions, Result, Tensor, instance_norm, ops::norm::normalize_with};

use super::{Discriminator, patches::PatchDiscriminator, stylegan2::Stylegan2Discriminator};

/// A network that turns an image of one collection into one of the other.
pub trait Translator: Debug + Send + Sync {
    /// Its named tensors.
    fn parameters(&self) -> &Parameters;

    /// What the sides of its images are multiples of.
    fn multiple_px(&self) -> usize;

    /// How far away a pixel of the input can be and still change a pixel of the output, once the statistics of the
    /// normalizations are given.
    fn reach_px(&self) -> usize;

    /// Images of the other collection, without anything random.
    ///
    /// # Shapes
    /// - `images`: `[batch, height, width, channels]`, −1..=1, sides multiples of [`Self::multiple_px`]
    /// - returns: the same shape, mostly −1..=1
    fn translate(&self, images: &Tensor, statistics: &Statistics) -> Result<Tensor>;
}

/// A translator whose features can be looked at.
pub trait Features: Translator {
    /// Images of the other collection, and the features on the way to them.
    fn translate_with_features(&self, images: &Tensor) -> Result<(Tensor, Vec<Tensor>)>;

    /// The features alone, without the way back to an image.
    fn features(&self, images: &Tensor) -> Result<Vec<Tensor>>;

    /// Channels of each of the features.
    fn feature_channels(&self) -> &[usize];
}

/// A network that judges images of the collection that is translated to, or pairs.
pub trait Judge: Debug + Send {
    /// Its named tensors.
    fn parameters(&self) -> &Parameters;

    /// Logits, large for real: any number for each image.
    fn judge(&self, images: &Tensor) -> Result<Tensor>;
}

impl Judge for PatchDiscriminator {
    fn parameters(&self) -> &Parameters {
        Self::parameters(self)
    }

    fn judge(&self, images: &Tensor) -> Result<Tensor> {
        self.forward(images)
    }
}

impl Judge for Stylegan2Discriminator {
    fn parameters(&self) -> &Parameters {
        Discriminator::parameters(self)
    }

    fn judge(&self, images: &Tensor) -> Result<Tensor> {
        self.forward(images, None, Mode::Train)
    }
}

/// Where the means and variances of a translator's instance normalizations come from.
///
/// An instance normalization looks at the whole image. A part of an image has other statistics than the whole, so that
/// parts that were translated each by their own would not meet. With the statistics of the whole given to all of them
/// nothing but convolutions is left, which look no further than [`Translator::reach_px`].
#[derive(Debug)]
pub struct Statistics(Source);

#[derive(Debug)]
enum Source {
    Own,
    Kept(Mutex<Vec<[Tensor; 2]>>),
    Given { all: Vec<[Tensor; 2]>, next: Mutex<usize> },
}

impl Statistics {
    /// Those of each image, as in training.
    pub fn own() -> Self {
        Self(Source::Own)
    }

    /// Those of each image, kept in the order of the layers for [`Self::given`]. For batches of one image.
    pub fn kept() -> Self {
        Self(Source::Kept(Mutex::default()))
    }

    /// What was kept, to be given to other images.
    #[must_use]
    pub fn given(&self) -> Self {
        let all = match &self.0 {
            Source::Own => Vec::new(),
            Source::Kept(kept) => kept.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            Source::Given { all, .. } => all.clone(),
        };
        let next = Mutex::new(0);
        Self(Source::Given { all, next })
    }

    /// Instance normalization, scale and shift, activation.
    ///
    /// # Shapes
    /// - `x`: `[batch, height, width, channels]`; scale and shift: `[channels]`
    pub fn norm(&self, x: &Tensor, affine: Option<(&Tensor, &Tensor)>, activation: Activation) -> Result<Tensor> {
        let options = NormOptions {
            activation,
            ..NormOptions::default()
        };
        match &self.0 {
            Source::Own => instance_norm(x, affine, options),
            Source::Kept(kept) => {
                kept.lock().unwrap_or_else(PoisonError::into_inner).push(moments(x)?);
                instance_norm(x, affine, options)
            }
            Source::Given { all, next } => {
                let mut next = next.lock().unwrap_or_else(PoisonError::into_inner);
                let given = all.get(*next);
                // Round and round: every forward pass meets the layers in the same order.
                *next = (*next + 1) % all.len().max(1);
                match given {
                    Some([mean, variance]) => normalize_with(x, mean, variance, affine, options),
                    None => instance_norm(x, affine, options),
                }
            }
        }
    }
}

/// Mean and variance of each channel of one image, `[channels]`.
fn moments(x: &Tensor) -> Result<[Tensor; 2]> {
    let channels = x.shape().channels();
    let mean = x.mean_keep(&[0, 1, 2])?;
    let variance = x.sub(&mean)?.square()?.mean_keep(&[0, 1, 2])?;
    Ok([mean.reshape([channels])?, variance.reshape([channels])?])
}

#[cfg(test)]
mod tests {
    use gander_tensor::{RandomKey, Reference};

    use super::*;

    #[test]
    fn given_statistics_are_those_of_the_whole() {
        let device = Reference::shared();
        let image = Tensor::normal(RandomKey::from_seed(1), [1, 4, 6, 2], &device).unwrap();
        let kept = Statistics::kept();
        let whole = kept.norm(&image, None, Activation::Relu).unwrap();
        let part = |x: &Tensor| x.slice(2, 1, 4).unwrap();
        let given = kept.given().norm(&part(&image), None, Activation::Relu).unwrap();
        for (got, expected) in given.to_vec().unwrap().iter().zip(part(&whole).to_vec().unwrap()) {
            assert!((got - expected).abs() < 1e-5, "{got} instead of {expected}");
        }
        let own = Statistics::own().norm(&part(&image), None, Activation::Relu).unwrap();
        assert_ne!(own.to_vec().unwrap(), given.to_vec().unwrap());
    }
}
