//! Images that nobody labeled, as far as they may be learned from: none of them is held out.

use std::collections::BTreeSet;

use gander_data::{Dataset, ImageShape};
use gander_tensor::RandomKey;

use super::{Found, Split, TrainingSet};
use crate::{
    error::Result,
    metrics::resampling::choose,
    synthesize::{classical::mirror, copies::Thumbnails, naming::ASKED},
};

/// Root of the mean squared difference of two small pictures up to which they show the same: one of 255 steps. An image
/// that was brought to another size and back stays that near to itself.
const SAME: f32 = 1.0 / 255.0;

/// Images that are read at most: twice as many as are named, so that enough are left of those that are held out.
const MOST: usize = 2 * ASKED;

/// Images without labels, none of which is held out.
#[derive(Debug, Clone)]
pub struct Unlabeled {
    pixels: Vec<u8>,
    shape: ImageShape,
    held_out: usize,
}

impl Split {
    /// The images of a set, whatever labels it has, that may be learned from.
    ///
    /// None is taken that is a held-out image or the mirror image of one, also where it was of another size. Of more than 40,000
    /// a random part is read.
    ///
    /// # Shapes
    /// - `data`: images of the shape of those that were split
    ///
    /// # Errors
    /// What reading meets.
    pub fn unlabeled(&self, data: &dyn Dataset) -> Result<Unlabeled> {
        let shape = self.held_out.shape;
        let known = Known::new(self.held_out.pixels.chunks_exact(shape.bytes()), shape);
        let key = RandomKey::from_seed(0).named("unlabeled");
        let mut drawn = choose(key, MOST.min(data.len()), data.len());
        drawn.sort_unstable();
        let mut found = Found::read_some(data, &drawn)?;
        let before = found.labels.len();
        found.keep(shape, |pixels, _| !known.shows(pixels));
        Ok(Unlabeled {
            held_out: before - found.labels.len(),
            pixels: found.pixels,
            shape,
        })
    }
}

impl Unlabeled {
    /// Number of images.
    pub fn len(&self) -> usize {
        self.pixels.len() / self.shape.bytes()
    }

    /// Whether there is no image.
    pub fn is_empty(&self) -> bool {
        self.pixels.is_empty()
    }

    /// Images that were left out, since they are held out.
    pub fn held_out(&self) -> usize {
        self.held_out
    }

    /// Indices of at most so many images, in a row; none of them is identical to a training image.
    pub(in crate::synthesize) fn beside(
        &self,
        training: &TrainingSet,
        most: usize,
        key: RandomKey,
    ) -> Result<Vec<usize>> {
        let images = training.images();
        let known = (0..images.len())
            .map(|index| {
                let mut pixels = vec![0; self.shape.bytes()];
                images.read(index, &mut pixels)?;
                Ok(pixels)
            })
            .collect::<Result<BTreeSet<Vec<u8>>>>()?;
        let others: Vec<usize> = (0..self.len())
            .filter(|&index| !known.contains(self.image(index)))
            .collect();
        let mut drawn = choose(key, most.min(others.len()), others.len());
        drawn.sort_unstable();
        Ok(drawn.into_iter().map(|place| others[place]).collect())
    }

    /// Bytes of an image.
    pub(in crate::synthesize) fn image(&self, index: usize) -> &[u8] {
        let bytes = self.shape.bytes();
        &self.pixels[index * bytes..(index + 1) * bytes]
    }
}

impl TrainingSet {
    /// These images and behind them unlabeled ones under the classes that they were given.
    pub(in crate::synthesize) fn joined(&self, unlabeled: &Unlabeled, of_class: &[Vec<usize>]) -> Result<Self> {
        let mut found = Found::read(self.images.as_ref())?;
        for (class, indices) in of_class.iter().enumerate() {
            for &index in indices {
                found.pixels.extend_from_slice(unlabeled.image(index));
                found.labels.push(class as u32);
            }
        }
        Self::new(self.images.shape(), found, self.images.classes().to_vec())
    }
}

/// Small pictures, the darkest first.
struct Known {
    pictures: Vec<(f32, Vec<f32>)>,
    thumbnails: Thumbnails,
    shape: ImageShape,
}

impl Known {
    fn new<'a>(images: impl Iterator<Item = &'a [u8]>, shape: ImageShape) -> Self {
        let thumbnails = Thumbnails::new(shape);
        let mut pictures: Vec<_> = images
            .map(|pixels| thumbnails.make(pixels))
            .map(|picture| (mean(&picture), picture))
            .collect();
        pictures.sort_by(|a, b| a.0.total_cmp(&b.0));
        Self {
            pictures,
            thumbnails,
            shape,
        }
    }

    /// Whether an image or its mirror image is among them.
    fn shows(&self, pixels: &[u8]) -> bool {
        !self.pictures.is_empty()
            && [
                self.thumbnails.make(pixels),
                self.thumbnails.make(&mirror(pixels, self.shape)),
            ]
            .iter()
            .any(|picture| self.has(picture))
    }

    /// Pictures that differ little differ as little in their mean, so that only few are looked at.
    fn has(&self, picture: &[f32]) -> bool {
        let mean = mean(picture);
        // The sums of two mirrored pictures differ by rounding.
        let margin = SAME * 1.01;
        let first = self.pictures.partition_point(|(other, _)| *other < mean - margin);
        self.pictures[first..]
            .iter()
            .take_while(|(other, _)| *other <= mean + margin)
            .any(|(_, other)| is_same(picture, other))
    }
}

fn mean(picture: &[f32]) -> f32 {
    picture.iter().sum::<f32>() / picture.len() as f32
}

fn is_same(picture: &[f32], other: &[f32]) -> bool {
    let most = SAME * SAME * picture.len() as f32;
    let mut sum = 0.0;
    picture.chunks(32).zip(other.chunks(32)).all(|(a, b)| {
        sum += a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum::<f32>();
        sum <= most
    })
}

#[cfg(test)]
mod tests {
    use gander_data::InMemory;

    use super::*;
    use crate::synthesize::split::SplitOptions;

    const SHAPE: ImageShape = ImageShape {
        height_px: 4,
        width_px: 6,
        channels: 1,
    };

    /// A picture that no other number has, nor its mirror image.
    fn picture(number: usize) -> Vec<u8> {
        let key = RandomKey::from_seed(number as u64);
        (0..SHAPE.bytes())
            .map(|at| (key.split(at as u64).uniform() * 250.0) as u8)
            .collect()
    }

    fn split() -> Split {
        let pixels = (0..40).flat_map(picture).collect();
        let labels = (0..40).map(|number| number % 2).collect();
        let set = InMemory::with_labels(SHAPE, pixels, labels, ["a", "b"].map(str::to_owned)).unwrap();
        Split::new(&set, None, SplitOptions { share: 0.25, seed: 0 }).unwrap()
    }

    #[test]
    fn no_held_out_image_gets_in_as_it_is_mirrored_or_a_little_changed() {
        let split = split();
        let held_out: Vec<Vec<u8>> = split
            .held_out
            .pixels
            .chunks_exact(SHAPE.bytes())
            .map(<[u8]>::to_vec)
            .collect();
        assert_eq!(held_out.len(), 10);
        let mirrored = held_out.iter().map(|image| mirror(image, SHAPE));
        let changed = held_out.iter().map(|image| {
            image
                .iter()
                .enumerate()
                .map(|(at, &value)| value + u8::from(at % 2 == 0))
                .collect()
        });
        let new = (100..103).map(picture);
        let leaking: Vec<u8> = held_out
            .iter()
            .cloned()
            .chain(mirrored)
            .chain(changed)
            .chain(new)
            .flatten()
            .collect();
        let unlabeled = split.unlabeled(&InMemory::new(SHAPE, leaking).unwrap()).unwrap();
        assert_eq!((unlabeled.len(), unlabeled.held_out()), (3, 30));
        assert_eq!(unlabeled.pixels, (100..103).flat_map(picture).collect::<Vec<u8>>());
    }

    #[test]
    fn the_labeled_images_themselves_are_nothing_new() {
        let split = split();
        let all: Vec<u8> = (0..45).flat_map(picture).collect();
        let unlabeled = split.unlabeled(&InMemory::new(SHAPE, all).unwrap()).unwrap();
        assert_eq!((unlabeled.len(), unlabeled.held_out()), (35, 10));
        let key = RandomKey::from_seed(0);
        let new = unlabeled.beside(split.training(), 100, key).unwrap();
        assert_eq!(new.len(), 5);
        assert_eq!(unlabeled.image(new[0]), picture(40));
        assert_eq!(unlabeled.beside(split.training(), 3, key).unwrap().len(), 3);
    }

    #[test]
    fn named_images_join_behind_the_labeled_ones() {
        let split = split();
        let unlabeled = split
            .unlabeled(&InMemory::new(SHAPE, (100..104).flat_map(picture).collect()).unwrap())
            .unwrap();
        let joined = split.training().joined(&unlabeled, &[vec![3], vec![0, 1]]).unwrap();
        assert_eq!((joined.images().len(), joined.counts()), (33, vec![16, 17]));
        let mut pixels = vec![0; SHAPE.bytes()];
        joined.images().read(30, &mut pixels).unwrap();
        assert_eq!((pixels, joined.images().label(30)), (picture(103), Some(0)));
    }
}
