//! Is this image one of those? Distances between small pictures of images.

use gander_data::{Dataset, ImageShape, parallel};

use super::{classical::mirror, split::TrainingSet};
use crate::error::Result;

/// The longest side of a small picture: what is left of noise and blur there is nothing.
const SIDE_PX: usize = 16;
/// Values that are compared before the distance so far is looked at.
const AT_ONCE: usize = 32;

/// Images of a class that are asked how near others are.
const ASKED: usize = 1000;

/// Of real images, so many are nearer to another of their class than a synthetic one may be to any.
const NEAR: f64 = 0.05;

/// Small pictures of a set of images, to find the nearest.
#[derive(Debug, Clone)]
pub(super) struct Thumbnails {
    shape: ImageShape,
    sides: [usize; 2],
    values: Vec<f32>,
}

/// The nearest image of a set.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Nearest {
    /// Its index.
    pub(super) index: usize,
    /// Root of the mean squared difference of the small pictures, in 0..=1 of the range of a pixel.
    pub(super) distance: f32,
}

impl Thumbnails {
    /// For images of this shape; none yet.
    pub(super) fn new(shape: ImageShape) -> Self {
        Self {
            shape,
            sides: [shape.height_px, shape.width_px].map(|side| side.min(SIDE_PX)),
            values: Vec::new(),
        }
    }

    /// Of a whole set, in its order.
    pub(super) fn of(images: &dyn Dataset) -> Result<Self> {
        let mut all = Self::new(images.shape());
        let mut pixels = vec![0; all.shape.bytes()];
        for index in 0..images.len() {
            images.read(index, &mut pixels)?;
            all.values.extend(all.make(&pixels));
        }
        Ok(all)
    }

    /// The small picture of an image: means of areas in 0..=1.
    pub(super) fn make(&self, pixels: &[u8]) -> Vec<f32> {
        let ImageShape {
            height_px,
            width_px,
            channels,
        } = self.shape;
        let [rows, columns] = self.sides;
        let mut sums = vec![0.0; rows * columns * channels];
        let mut counts = vec![0.0f32; rows * columns];
        for (at, pixel) in pixels.chunks_exact(channels).enumerate() {
            let (y, x) = (at / width_px * rows / height_px, at % width_px * columns / width_px);
            let place = y * columns + x;
            counts[place] += 255.0;
            for (sum, &value) in sums[place * channels..].iter_mut().zip(pixel) {
                *sum += f32::from(value);
            }
        }
        for (sum, count) in sums.chunks_exact_mut(channels).zip(counts) {
            for value in sum {
                *value /= count;
            }
        }
        sums
    }

    /// Adds a small picture that [`Thumbnails::make`] made.
    pub(super) fn add(&mut self, picture: &[f32]) {
        self.values.extend_from_slice(picture);
    }

    fn dim(&self) -> usize {
        self.sides[0] * self.sides[1] * self.shape.channels
    }

    /// The nearest other than `except`; `None` where there is none.
    pub(super) fn nearest(&self, picture: &[f32], except: Option<usize>) -> Option<Nearest> {
        self.nearest_of(
            picture,
            (0..self.values.len() / self.dim()).filter(|&index| Some(index) != except),
        )
    }

    /// The nearest of some.
    pub(super) fn nearest_of(&self, picture: &[f32], indices: impl Iterator<Item = usize>) -> Option<Nearest> {
        let dim = self.dim();
        let (mut best, mut at) = (f32::INFINITY, None);
        for index in indices {
            let other = &self.values[index * dim..(index + 1) * dim];
            let mut sum = 0.0;
            for (a, b) in picture.chunks(AT_ONCE).zip(other.chunks(AT_ONCE)) {
                sum += a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum::<f32>();
                if sum >= best {
                    break;
                }
            }
            if sum < best {
                (best, at) = (sum, Some(index));
            }
        }
        at.map(|index| Nearest {
            index,
            distance: (best / dim as f32).sqrt(),
        })
    }
}

/// What is too near to a real image to be called new.
#[derive(Debug)]
pub(super) struct Copies {
    real: Thumbnails,
    /// For each class the distance below which an image counts as a copy.
    limits: Vec<f32>,
}

impl Copies {
    /// Calibrates on how near real images of a class are to each other, mirrored or not; identical ones do not count.
    pub(super) fn new(training: &TrainingSet, threads: usize) -> Result<Self> {
        let images = training.images();
        let real = Thumbnails::of(images.as_ref())?;
        let mut limits = Vec::with_capacity(training.of_class().len());
        for indices in training.of_class() {
            let to_others = |at: usize| -> Result<f32> {
                // As far apart as they can be, should they have an order.
                let index = indices[at * indices.len().div_ceil(ASKED)];
                let mut pixels = vec![0; images.shape().bytes()];
                images.read(index, &mut pixels)?;
                let others = || indices.iter().copied().filter(|&other| other != index);
                let distances = [real.make(&pixels), real.make(&mirror(&pixels, images.shape()))]
                    .into_iter()
                    .filter_map(|picture| real.nearest_of(&picture, others()))
                    .map(|nearest| nearest.distance);
                Ok(distances
                    .filter(|&distance| distance > 0.0)
                    .fold(f32::INFINITY, f32::min))
            };
            let asked = indices.len().div_ceil(indices.len().div_ceil(ASKED).max(1));
            let distances = parallel::map(parallel::threads(threads), asked, to_others);
            let mut distances = distances.into_iter().collect::<Result<Vec<f32>>>()?;
            distances.retain(|distance| distance.is_finite());
            distances.sort_by(f32::total_cmp);
            let at = (NEAR * distances.len() as f64) as usize;
            limits.push(distances.get(at).copied().unwrap_or(0.0));
        }
        Ok(Self { real, limits })
    }

    /// The distance below which an image of this class counts as a copy.
    pub(super) fn limit(&self, class: usize) -> f32 {
        self.limits[class]
    }

    /// The small picture of an image.
    pub(super) fn thumbnail(&self, pixels: &[u8]) -> Vec<f32> {
        self.real.make(pixels)
    }

    /// The nearest real image of any class, to the image or its mirror image.
    pub(super) fn nearest(&self, pixels: &[u8]) -> Option<Nearest> {
        let mirrored = self.real.make(&mirror(pixels, self.real.shape));
        [self.real.make(pixels), mirrored]
            .iter()
            .filter_map(|picture| self.real.nearest(picture, None))
            .min_by(|a, b| a.distance.total_cmp(&b.distance))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: ImageShape = ImageShape {
        height_px: 32,
        width_px: 20,
        channels: 1,
    };

    #[test]
    fn a_small_picture_holds_means() {
        let pictures = Thumbnails::new(SHAPE);
        assert_eq!(pictures.make(&vec![255; SHAPE.bytes()]), vec![1.0; 16 * 16]);
        let top: Vec<u8> = (0..SHAPE.bytes()).map(|at| if at < 20 { 255 } else { 0 }).collect();
        let picture = pictures.make(&top);
        assert!(picture[..16].iter().all(|&value| (value - 0.5).abs() < 1e-6));
        assert!(picture[16..].iter().all(|&value| value == 0.0));
    }

    #[test]
    fn the_nearest_is_found_and_its_distance_is_a_share_of_the_range() {
        let mut pictures = Thumbnails::new(SHAPE);
        for gray in [0, 100, 200] {
            let picture = pictures.make(&vec![gray; SHAPE.bytes()]);
            pictures.add(&picture);
        }
        let picture = pictures.make(&vec![151; SHAPE.bytes()]);
        let nearest = pictures.nearest(&picture, None).unwrap();
        assert_eq!(nearest.index, 2);
        assert!((nearest.distance - 49.0 / 255.0).abs() < 1e-6);
        assert_eq!(pictures.nearest(&picture, Some(2)).unwrap().index, 1);
        assert_eq!(Thumbnails::new(SHAPE).nearest(&picture, None), None);
    }
}
