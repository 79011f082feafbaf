//! Sliced Wasserstein distance between patches of two sets of images, scale by scale (SWD): no network looks.

use faer::Mat;
use gander_data::ImageShape;
use gander_tensor::RandomKey;
use serde::{Deserialize, Serialize};

use super::{
    matrix::product,
    resampling::{Interval, Resampling, below},
};
use crate::error::{Error, Result};

/// The side of a patch, as published.
const PATCH_PX: usize = 7;
/// An image is halved as long as its shorter side stays at this: 16 as published, but that 28 has two scales too.
const SMALLEST_PX: usize = 14;
/// The binomial filter of the pyramid, Burt & Adelson 1983.
const TAPS: [f32; 5] = [1.0 / 16.0, 4.0 / 16.0, 6.0 / 16.0, 4.0 / 16.0, 1.0 / 16.0];
/// Directions that an interval is made of.
const RESAMPLED_DIRECTIONS: usize = 16;
/// Directions that are projected on at once.
const CHUNK: usize = 32;

/// How images are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SlicedOptions {
    /// Images of each side at most: the time goes into sorting their patches.
    pub num: usize,
    /// Patches of each image and scale; 128 as published.
    pub patches: usize,
    /// Random directions; 4 times 128 as published.
    pub directions: usize,
    /// Seed of places and directions.
    pub seed: u64,
}

impl Default for SlicedOptions {
    fn default() -> Self {
        Self {
            num: 512,
            patches: 128,
            directions: 512,
            seed: 0,
        }
    }
}

/// Patches of a set of images, at each scale of a Laplacian pyramid.
#[derive(Debug, Clone)]
pub struct SlicedSet {
    shape: ImageShape,
    options: SlicedOptions,
    num: usize,
    /// For each scale: `[num · patches, PATCH_PX, PATCH_PX, channels]`.
    patches: Vec<Vec<f32>>,
}

impl SlicedSet {
    /// An empty set for images of a shape.
    ///
    /// # Errors
    /// [`Error::UnlikeImages`] for images smaller than a patch.
    pub fn new(shape: ImageShape, options: SlicedOptions) -> Result<Self> {
        if shape.height_px.min(shape.width_px) < PATCH_PX {
            return Err(Error::UnlikeImages {
                expected: format!("sides of {PATCH_PX} or more"),
                got: shape.to_string(),
            });
        }
        Ok(Self {
            shape,
            options,
            num: 0,
            patches: vec![Vec::new(); scales(shape).len()],
        })
    }

    /// Number of images in it.
    pub fn num(&self) -> usize {
        self.num
    }

    /// The set of its first images.
    #[must_use]
    pub fn first(&self, num: usize) -> Self {
        let num = num.min(self.num);
        let values = num * self.options.patches * PATCH_PX * PATCH_PX * self.shape.channels;
        Self {
            num,
            patches: self.patches.iter().map(|patches| patches[..values].to_vec()).collect(),
            ..*self
        }
    }

    /// Adds images, up to [`SlicedOptions::num`] in all.
    ///
    /// # Shapes
    /// - `images`: `[num, height, width, channels]`; their range does not matter, as patches are normalized
    pub fn add(&mut self, images: &[f32]) {
        let places = RandomKey::from_seed(self.options.seed).named("places");
        for image in images.chunks_exact(self.shape.bytes()) {
            if self.num == self.options.num {
                return;
            }
            let key = places.split(self.num as u64);
            for (scale, (plane, shape)) in pyramid(image, self.shape).into_iter().enumerate() {
                cut(
                    &plane,
                    shape,
                    self.options.patches,
                    key.split(scale as u64),
                    &mut self.patches[scale],
                );
            }
            self.num += 1;
        }
    }
}

/// The distance at each scale, the finest first, times 1000 as in the published tables.
///
/// # Errors
/// [`Error::TooFewImages`] if the sets have fewer than two images or not equally many, [`Error::UnlikeImages`] for images
/// of different shapes.
///
/// # Source
/// Karras et al. 2018, section 5, <https://arxiv.org/abs/1710.10196>.
pub fn sliced_distance(real: &SlicedSet, fake: &SlicedSet) -> Result<Vec<f64>> {
    if real.shape != fake.shape {
        return Err(Error::UnlikeImages {
            expected: real.shape.to_string(),
            got: fake.shape.to_string(),
        });
    }
    super::check_num("swd", real.num.min(fake.num), 2.max(real.num.max(fake.num)))?;
    let directions = directions(real.options, PATCH_PX * PATCH_PX * real.shape.channels);
    let at_scale = |(real_patches, fake_patches): (&Vec<f32>, &Vec<f32>)| {
        let [real, fake] = [real_patches, fake_patches].map(|patches| normalized(patches, real.shape.channels));
        sliced(&real, &fake, &directions) * 1000.0
    };
    Ok(real.patches.iter().zip(&fake.patches).map(at_scale).collect())
}

/// Where 95 % of the distances of resampled fakes lie, in the mean of the scales, around the distance that was found. `None`
/// for fewer than two images or resamples.
///
/// Sorted patches stay sorted when some count twice and others not at all, so that each direction is sorted once. A few
/// directions are enough, as the same images are drawn for all.
pub(super) fn sliced_interval(
    real: &SlicedSet,
    fake: &SlicedSet,
    distance: f64,
    resampling: Resampling,
) -> Option<Interval> {
    if fake.num < 2 || resampling.num < 2 {
        return None;
    }
    let key = RandomKey::from_seed(resampling.seed).named("resampling");
    let draw = |set: u64| {
        let mut times = vec![0; fake.num];
        for place in 0..fake.num as u64 {
            times[below(key.split(set).split(place), fake.num)] += 1;
        }
        times
    };
    let drawn: Vec<Vec<u32>> = (0..resampling.num as u64).map(draw).collect();
    let options = SlicedOptions {
        directions: RESAMPLED_DIRECTIONS.min(real.options.directions),
        ..real.options
    };
    let directions = directions(options, PATCH_PX * PATCH_PX * real.shape.channels);
    let mut distances = vec![0.0; drawn.len()];
    for patches in real.patches.iter().zip(&fake.patches) {
        let [of_real, of_fake] = [patches.0, patches.1].map(|patches| {
            product(
                normalized(patches, real.shape.channels).transpose(),
                directions.as_ref(),
            )
        });
        for j in 0..directions.ncols() {
            let sorted = |projected: &Mat<f64>| -> Vec<(f32, usize)> {
                let values = projected.col(j).iter().enumerate();
                let mut all: Vec<_> = values
                    .map(|(patch, &value)| (value as f32, patch / options.patches))
                    .collect();
                all.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
                all
            };
            let (of_real, of_fake) = (sorted(&of_real), sorted(&of_fake));
            for (times, distance) in drawn.iter().zip(&mut distances) {
                let again = of_fake
                    .iter()
                    .flat_map(|&(value, image)| std::iter::repeat_n(value, times[image] as usize));
                let apart: f64 = of_real.iter().zip(again).map(|(a, b)| f64::from((a.0 - b).abs())).sum();
                *distance += apart;
            }
        }
    }
    let scale = 1000.0 / (fake.num * options.patches * directions.ncols() * real.patches.len()) as f64;
    for distance in &mut distances {
        *distance *= scale;
    }
    let around = Interval::around(distance, &mut distances);
    Some(Interval {
        low: around.low.max(0.0),
        high: around.high,
    })
}

/// Shapes of the pyramid, the finest first.
fn scales(shape: ImageShape) -> Vec<ImageShape> {
    let halved = |shape: &ImageShape| {
        let [height_px, width_px] = [shape.height_px, shape.width_px].map(|side| side.div_ceil(2));
        (height_px.min(width_px) >= SMALLEST_PX).then_some(ImageShape {
            height_px,
            width_px,
            ..*shape
        })
    };
    std::iter::successors(Some(shape), halved).collect()
}

/// What each scale adds to the next coarser one; the coarsest as it is.
fn pyramid(image: &[f32], shape: ImageShape) -> Vec<(Vec<f32>, ImageShape)> {
    let shapes = scales(shape);
    let mut planes = vec![image.to_vec()];
    for pair in shapes.windows(2) {
        let fine = &planes[planes.len() - 1];
        planes.push(halve(&blur(fine, pair[0]), pair[0]));
    }
    for scale in 0..shapes.len() - 1 {
        let coarse = spread(&planes[scale + 1], shapes[scale + 1], shapes[scale]);
        let coarse = blur(&coarse, shapes[scale]);
        // Three of four spread pixels are zero, so that the filter's gain has to be four.
        planes[scale]
            .iter_mut()
            .zip(coarse)
            .for_each(|(fine, coarse)| *fine -= 4.0 * coarse);
    }
    planes.into_iter().zip(shapes).collect()
}

/// Filtered along both axes, the image mirrored at its edges.
fn blur(image: &[f32], shape: ImageShape) -> Vec<f32> {
    let (height, width, channels) = (shape.height_px, shape.width_px, shape.channels);
    let along = |image: &[f32], side: usize, at: &dyn Fn(usize, usize, usize) -> usize, other: usize| {
        let mut out = vec![0.0; image.len()];
        for place in 0..side {
            for (tap, weight) in TAPS.iter().enumerate() {
                let from = mirrored(place as isize + tap as isize - 2, side);
                for line in 0..other {
                    for channel in 0..channels {
                        out[at(place, line, channel)] += weight * image[at(from, line, channel)];
                    }
                }
            }
        }
        out
    };
    let rows = along(image, height, &|y, x, c| (y * width + x) * channels + c, width);
    along(&rows, width, &|x, y, c| (y * width + x) * channels + c, height)
}

/// The position that a mirror at the first and last pixel shows (the edge itself once).
fn mirrored(at: isize, side: usize) -> usize {
    let last = side as isize - 1;
    let at = at.abs();
    (if at > last { 2 * last - at } else { at }) as usize
}

/// Every other pixel of every other row.
fn halve(image: &[f32], shape: ImageShape) -> Vec<f32> {
    let pixel = |y: usize, x: usize| {
        let at = (y * shape.width_px + x) * shape.channels;
        &image[at..at + shape.channels]
    };
    (0..shape.height_px)
        .step_by(2)
        .flat_map(|y| (0..shape.width_px).step_by(2).flat_map(move |x| pixel(y, x)))
        .copied()
        .collect()
}

/// The reverse: pixels with zeros between them.
fn spread(image: &[f32], from: ImageShape, to: ImageShape) -> Vec<f32> {
    let mut out = vec![0.0; to.bytes()];
    for y in 0..from.height_px {
        for x in 0..from.width_px {
            let (source, target) = (
                (y * from.width_px + x) * from.channels,
                (2 * y * to.width_px + 2 * x) * to.channels,
            );
            out[target..target + to.channels].copy_from_slice(&image[source..source + from.channels]);
        }
    }
    out
}

/// Adds patches at random places.
fn cut(image: &[f32], shape: ImageShape, patches: usize, key: RandomKey, out: &mut Vec<f32>) {
    let row = PATCH_PX * shape.channels;
    for patch in 0..patches as u64 {
        let place = |axis: &str, side: usize| below(key.split(patch).named(axis), side - PATCH_PX + 1);
        let (top, left) = (place("y", shape.height_px), place("x", shape.width_px));
        for y in top..top + PATCH_PX {
            let at = (y * shape.width_px + left) * shape.channels;
            out.extend_from_slice(&image[at..at + row]);
        }
    }
}

/// Patches as columns, each channel with mean 0 and deviation 1 over the whole set.
fn normalized(patches: &[f32], channels: usize) -> Mat<f64> {
    let length = PATCH_PX * PATCH_PX * channels;
    let of_channel = |channel: usize| {
        patches
            .iter()
            .skip(channel)
            .step_by(channels)
            .map(|&value| f64::from(value))
    };
    let num = (patches.len() / channels) as f64;
    let statistics: Vec<(f64, f64)> = (0..channels)
        .map(|channel| {
            let mean = of_channel(channel).sum::<f64>() / num;
            let variance = of_channel(channel).map(|value| (value - mean).powi(2)).sum::<f64>() / num;
            (mean, variance.sqrt().max(f64::MIN_POSITIVE.sqrt()))
        })
        .collect();
    Mat::from_fn(length, patches.len() / length, |i, j| {
        let (mean, deviation) = statistics[i % channels];
        (f64::from(patches[j * length + i]) - mean) / deviation
    })
}

/// Random unit vectors as columns.
fn directions(options: SlicedOptions, length: usize) -> Mat<f64> {
    let key = RandomKey::from_seed(options.seed).named("directions");
    let normal = |at: u64| {
        let (radius, angle) = (key.split(2 * at).uniform(), key.split(2 * at + 1).uniform());
        (-2.0 * (1.0 - radius).ln()).sqrt() * (std::f64::consts::TAU * angle).cos()
    };
    let directions = Mat::from_fn(length, options.directions.max(1), |i, j| {
        normal((j * length + i) as u64)
    });
    let norms: Vec<f64> = (0..directions.ncols()).map(|j| directions.col(j).norm_l2()).collect();
    super::matrix::scale_columns(directions, |j| 1.0 / norms[j])
}

/// The mean distance between sorted projections: the earth mover's distance along each direction.
fn sliced(real: &Mat<f64>, fake: &Mat<f64>, directions: &Mat<f64>) -> f64 {
    let mut total = 0.0;
    for from in (0..directions.ncols()).step_by(CHUNK) {
        let chunk = directions.subcols(from, CHUNK.min(directions.ncols() - from));
        let [real, fake] = [real, fake].map(|patches| product(patches.transpose(), chunk));
        for j in 0..chunk.ncols() {
            let [real, fake] = [&real, &fake].map(|projected| {
                // Half the width sorts faster, and rounds far below the distance.
                let mut values: Vec<f32> = projected.col(j).iter().map(|&value| value as f32).collect();
                values.sort_unstable_by(f32::total_cmp);
                values
            });
            let apart: f64 = real.iter().zip(&fake).map(|(a, b)| f64::from((a - b).abs())).sum();
            total += apart / real.len() as f64;
        }
    }
    total / directions.ncols() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(side: usize, channels: usize) -> ImageShape {
        ImageShape {
            height_px: side,
            width_px: side,
            channels,
        }
    }

    const FEW: SlicedOptions = SlicedOptions {
        num: 40,
        patches: 16,
        directions: 32,
        seed: 0,
    };

    /// Waves of a length in pixels, each image with a phase of its own.
    fn waves(seed: u64, length: f64, shape: ImageShape) -> SlicedSet {
        let mut set = SlicedSet::new(shape, FEW).unwrap();
        for image in 0..FEW.num as u64 {
            let phase = RandomKey::from_seed(seed).split(image).uniform() * std::f64::consts::TAU;
            let value = |at: usize| {
                let x = (at / shape.channels % shape.width_px) as f64;
                (phase + x / length * std::f64::consts::TAU).sin() as f32
            };
            set.add(&(0..shape.bytes()).map(value).collect::<Vec<_>>());
        }
        set
    }

    #[test]
    fn scales_go_down_to_the_smallest() {
        let sides = |side| {
            scales(shape(side, 3))
                .iter()
                .map(|shape| shape.width_px)
                .collect::<Vec<_>>()
        };
        assert_eq!(sides(128), [128, 64, 32, 16]);
        assert_eq!(sides(28), [28, 14]);
        assert_eq!(sides(9), [9]);
        assert!(SlicedSet::new(shape(6, 1), FEW).is_err());
    }

    /// A constant image has nothing but its coarsest scale.
    #[test]
    fn a_constant_has_no_detail() {
        for side in [32, 33] {
            let planes = pyramid(&vec![0.7; side * side * 3], shape(side, 3));
            assert!(planes[0].0.iter().all(|value| value.abs() < 1e-5), "side {side}");
            assert!(
                planes[1].0.iter().all(|value| (value - 0.7).abs() < 1e-5),
                "side {side}"
            );
        }
    }

    #[test]
    fn like_textures_are_near_and_others_far() {
        let shape = shape(32, 3);
        let reals = waves(1, 8.0, shape);
        let near = sliced_distance(&reals, &waves(2, 8.0, shape)).unwrap();
        let far = sliced_distance(&reals, &waves(2, 4.0, shape)).unwrap();
        assert_eq!(near.len(), 2);
        assert!(near[0] * 3.0 < far[0], "{near:?} {far:?}");
        assert!(
            sliced_distance(&reals, &reals)
                .unwrap()
                .iter()
                .all(|&distance| distance == 0.0)
        );
    }

    /// The interval holds the distance, is wider with fewer images, and about as wide as the distances of sets that were
    /// really drawn anew.
    #[test]
    fn the_interval_is_as_wide_as_other_draws_are_apart() {
        let shape = shape(32, 1);
        let reals = waves(0, 8.0, shape);
        let distance = |fakes: &SlicedSet| {
            let scales = sliced_distance(&reals, fakes).unwrap();
            scales.iter().sum::<f64>() / scales.len() as f64
        };
        let fakes = waves(1, 6.0, shape);
        let found = distance(&fakes);
        let Interval { low, high } = sliced_interval(&reals, &fakes, found, Resampling::default()).unwrap();
        assert!(low < found && found < high, "{low} {found} {high}");
        let mut others: Vec<f64> = (2..42).map(|seed| distance(&waves(seed, 6.0, shape))).collect();
        let others = Interval::of(&mut others);
        let apart = others.high - others.low;
        assert!(
            (0.4..2.5).contains(&((high - low) / apart)),
            "{low} to {high}, others {apart} apart"
        );
        assert!(sliced_interval(&reals, &fakes, found, Resampling { num: 1, seed: 0 }).is_none());
    }

    #[test]
    fn sets_of_unlike_images_are_refused() {
        let [small, large] = [16, 32].map(|side| waves(1, 8.0, shape(side, 1)));
        assert!(matches!(
            sliced_distance(&small, &large),
            Err(Error::UnlikeImages { .. })
        ));
        let empty = SlicedSet::new(shape(16, 1), FEW).unwrap();
        assert!(matches!(
            sliced_distance(&small, &empty),
            Err(Error::TooFewImages { .. })
        ));
    }
}
