//! Classical augmentation, the rival: crop, mirror, color, cutout, mixup. Stronger changes, for agreement between views.

use gander_data::{Dataset, ImageShape};
use gander_tensor::RandomKey;

use super::{copies::Thumbnails, split::TrainingSet};
use crate::error::Result;

/// The largest shifts that are considered, as shares of the side: from 4 of 32 px, as for CIFAR (He et al. 2016), to one.
const SHIFTS: [f64; 3] = [0.125, 0.0625, 0.03125];
/// Changes of brightness (added, in −1..=1), contrast and saturation (factors around one).
const BRIGHTNESS: f64 = 0.2;
const CONTRAST: f64 = 0.2;
const SATURATION: f64 = 0.2;
/// Half of the images lose a square of up to this share of the shorter side (`DeVries` & Taylor 2017,
/// <https://arxiv.org/abs/1708.04552>, have a half on CIFAR-10, a quarter of that area with more classes).
const CUTOUT: f64 = 0.3;
/// Half of the batches are mixed, each image with another by at most this share.
///
/// Zhang et al. 2018, <https://arxiv.org/abs/1710.09412>, draw the share from Beta(α, α) with α from 0.1 to 0.4, which mostly
/// is near none; a uniform share up to this is as mild, since small networks that learn briefly are held back by more.
const MIXUP: f64 = 0.2;

/// The largest changes of [`distort`]: a turn in radians, a shear, a stretch of each side, a hole.
const TURN: f64 = 0.4;
const SHEAR: f64 = 0.2;
const STRETCH: f64 = 0.2;
const HOLE: f64 = 0.5;
/// How many times as far it moves images (up to the first of [`SHIFTS`]) and changes their colors.
const STRONGER: f64 = 2.0;

/// What is done to the images.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Augmentation {
    /// Whether half of the images are mirrored left to right.
    pub(super) flip: bool,
    /// How far they are moved at most, as a share of the side.
    pub(super) shift: f64,
}

impl Augmentation {
    /// What is sensible shows in the images: where a mirrored one is about as near to others of its class as it was itself,
    /// it could be there, and so for moved ones. Digits and letters are not to be mirrored; and where each image stands in
    /// the middle, as clothes laid out do, a classifier should not spend its little time on learning what never comes.
    pub(super) fn for_images(real: &TrainingSet) -> Result<Self> {
        /// How many times as far the nearest of its class may be from a changed image. On Fashion-MNIST with 50 labels a
        /// class it is 1.2 times after a pixel, 1.4 after two, and a classifier then sees 82 and 81 % right (two seeds each,
        /// of images that it did not learn from); mirrored, 1.2 there, 1.5 on MNIST, 1.0 on photographs of flowers.
        const SENSIBLE: f32 = 1.3;
        let neighbors = Neighbors::of(real)?;
        let shape = real.images().shape();
        let flip = neighbors.farther(&|_, pixels| mirror(pixels, shape))? <= SENSIBLE;
        for shift in SHIFTS {
            let by = [shape.height_px, shape.width_px].map(|side| (shift * side as f64).round() as isize);
            let to_corner = |at: usize, pixels: &[u8]| {
                let signs = [at & 1, at >> 1 & 1].map(|bit| 1 - 2 * bit as isize);
                moved(pixels, shape, [signs[0] * by[0], signs[1] * by[1]])
            };
            if neighbors.farther(&to_corner)? <= SENSIBLE {
                return Ok(Self { flip, shift });
            }
        }
        Ok(Self { flip, shift: 0.0 })
    }
}

/// Images among those of their class.
struct Neighbors<'a> {
    real: &'a TrainingSet,
    thumbnails: Thumbnails,
}

impl<'a> Neighbors<'a> {
    fn of(real: &'a TrainingSet) -> Result<Self> {
        Ok(Self {
            real,
            thumbnails: Thumbnails::of(real.images().as_ref())?,
        })
    }

    /// How many times as far a changed image is from the nearest of its class, in the median.
    fn farther(&self, change: &dyn Fn(usize, &[u8]) -> Vec<u8>) -> Result<f32> {
        /// Images of a class that are looked at, at most.
        const LOOKED_AT: usize = 100;
        let images = self.real.images();
        let mut pixels = vec![0; images.shape().bytes()];
        let mut times = Vec::new();
        for indices in self.real.of_class() {
            for &index in indices.iter().step_by(indices.len().div_ceil(LOOKED_AT).max(1)) {
                images.read(index, &mut pixels)?;
                let changed = change(times.len(), &pixels);
                let [before, after] = [&pixels, &changed].map(|pixels| {
                    let others = indices.iter().copied().filter(|&other| other != index);
                    self.thumbnails.nearest_of(&self.thumbnails.make(pixels), others)
                });
                if let (Some(before), Some(after)) = (before, after) {
                    times.push(after.distance / before.distance.max(f32::MIN_POSITIVE));
                }
            }
        }
        times.sort_by(f32::total_cmp);
        Ok(times.get(times.len() / 2).copied().unwrap_or(f32::INFINITY))
    }
}

/// An image mirrored left to right.
pub(super) fn mirror(pixels: &[u8], shape: ImageShape) -> Vec<u8> {
    let row = |row: &[u8]| -> Vec<u8> { row.rchunks_exact(shape.channels).flatten().copied().collect() };
    pixels
        .chunks_exact(shape.width_px * shape.channels)
        .flat_map(row)
        .collect()
}

/// An image moved down and to the right; its border goes on outside.
fn moved(pixels: &[u8], shape: ImageShape, [down, right]: [isize; 2]) -> Vec<u8> {
    let inside = |at: isize, side: usize| at.clamp(0, side as isize - 1) as usize;
    let mut image = Vec::with_capacity(pixels.len());
    for y in 0..shape.height_px {
        let row = inside(y as isize - down, shape.height_px) * shape.width_px;
        for x in 0..shape.width_px {
            let at = (row + inside(x as isize - right, shape.width_px)) * shape.channels;
            image.extend(&pixels[at..at + shape.channels]);
        }
    }
    image
}

/// A changed image in −1..=1.
pub(super) fn change(pixels: &[u8], shape: ImageShape, augmentation: Augmentation, key: RandomKey) -> Vec<f32> {
    let mut image = shift(pixels, shape, augmentation, key);
    let mean = Colors::draw(1.0, key).change(&mut image, shape.channels);
    if key.named("cutout").uniform() < 0.5 {
        cut(&mut image, shape, CUTOUT, key, mean);
    }
    image
}

/// An image in −1..=1 that is only moved, and mirrored half of the time where that is sensible.
pub(super) fn shift(pixels: &[u8], shape: ImageShape, augmentation: Augmentation, key: RandomKey) -> Vec<f32> {
    let by = |purpose: &str, side: usize| around(key, purpose, augmentation.shift * side as f64).round() as isize;
    let by = [by("down", shape.height_px), by("right", shape.width_px)];
    let image = if augmentation.flip && key.named("flip").uniform() < 0.5 {
        moved(&mirror(pixels, shape), shape, by)
    } else {
        moved(pixels, shape, by)
    };
    image.iter().map(|&value| f32::from(value) / 127.5 - 1.0).collect()
}

/// An image in −1..=1 that is changed as far as its class may bear: turned, sheared, stretched, moved, in other colors and
/// with a hole.
pub(super) fn distort(pixels: &[u8], shape: ImageShape, augmentation: Augmentation, key: RandomKey) -> Vec<f32> {
    let (height, width) = (shape.height_px as f64, shape.width_px as f64);
    let (sin, cos) = around(key, "turn", TURN).sin_cos();
    let shear = around(key, "shear", SHEAR);
    let far = (STRONGER * augmentation.shift).min(SHIFTS[0]);
    let [tall, wide] = ["tall", "wide"].map(|purpose| 1.0 + around(key, purpose, STRETCH));
    let (down, right) = (around(key, "down", far * height), around(key, "right", far * width));
    let is_mirrored = augmentation.flip && key.named("flip").uniform() < 0.5;
    let mut image = Vec::with_capacity(pixels.len());
    for row in 0..shape.height_px {
        for column in 0..shape.width_px {
            let column = if is_mirrored {
                shape.width_px - 1 - column
            } else {
                column
            };
            let (y, x) = (row as f64 + 0.5 - height / 2.0, column as f64 + 0.5 - width / 2.0);
            let (y, x) = (y / tall, x / wide + shear * y);
            let (y, x) = (sin * x + cos * y - down, cos * x - sin * y - right);
            sample(
                pixels,
                shape,
                [y + height / 2.0 - 0.5, x + width / 2.0 - 0.5],
                &mut image,
            );
        }
    }
    let mean = Colors::draw(STRONGER, key).change(&mut image, shape.channels);
    cut(&mut image, shape, HOLE, key, mean);
    image
}

/// Adds the pixel at a place between others, in −1..=1; the border goes on outside.
fn sample(pixels: &[u8], shape: ImageShape, place: [f64; 2], image: &mut Vec<f32>) {
    let [(top, bottom, lower), (left, right, more)] =
        [(place[0], shape.height_px), (place[1], shape.width_px)].map(|(at, side)| {
            let at = at.clamp(0.0, side as f64 - 1.0);
            let before = at as usize;
            (before, (before + 1).min(side - 1), (at - before as f64) as f32)
        });
    let at =
        |y: usize, x: usize, channel: usize| f32::from(pixels[(y * shape.width_px + x) * shape.channels + channel]);
    let between = |a: f32, b: f32, share: f32| a + share * (b - a);
    image.extend((0..shape.channels).map(|channel| {
        let row = |y: usize| between(at(y, left, channel), at(y, right, channel), more);
        between(row(top), row(bottom), lower) / 127.5 - 1.0
    }));
}

/// A number for a purpose, evenly from `-size..size`.
fn around(key: RandomKey, purpose: &str, size: f64) -> f64 {
    (2.0 * key.named(purpose).uniform() - 1.0) * size
}

struct Colors {
    brightness: f32,
    contrast: f32,
    saturation: f32,
}

impl Colors {
    /// Changes up to so many times the usual ones.
    fn draw(times: f64, key: RandomKey) -> Self {
        let around = |purpose: &str, size: f64| around(key, purpose, times * size) as f32;
        Self {
            brightness: around("brightness", BRIGHTNESS),
            contrast: 1.0 + around("contrast", CONTRAST),
            saturation: 1.0 + around("saturation", SATURATION),
        }
    }

    /// Changes an image and gives the mean of its colors; alpha, the last of two or four channels, stays.
    fn change(&self, image: &mut [f32], channels: usize) -> f32 {
        let colors = if channels.is_multiple_of(2) {
            channels - 1
        } else {
            channels
        };
        let pixels = (image.len() / channels) as f32;
        let sum: f32 = image
            .chunks_exact(channels)
            .map(|pixel| pixel[..colors].iter().sum::<f32>())
            .sum();
        let mean = sum / (pixels * colors as f32);
        for pixel in image.chunks_exact_mut(channels) {
            let gray = pixel[..colors].iter().sum::<f32>() / colors as f32;
            for value in &mut pixel[..colors] {
                let saturated = gray + self.saturation * (*value - gray);
                *value = (mean + self.contrast * (saturated - mean) + self.brightness).clamp(-1.0, 1.0);
            }
        }
        mean
    }
}

/// Fills a square of up to a share of the shorter side with one value.
fn cut(image: &mut [f32], shape: ImageShape, largest: f64, key: RandomKey, value: f32) {
    let draw = |purpose: &str| key.named(purpose).uniform();
    let side = draw("hole") * largest * shape.height_px.min(shape.width_px) as f64;
    let range = |purpose: &str, length: usize| {
        let center = draw(purpose) * length as f64;
        let (low, high) = (center - side / 2.0, center + side / 2.0);
        low.max(0.0) as usize..(high as usize).min(length)
    };
    let (rows, columns) = (range("row", shape.height_px), range("column", shape.width_px));
    for row in rows {
        let at = row * shape.width_px;
        image[(at + columns.start) * shape.channels..(at + columns.end.max(columns.start)) * shape.channels]
            .fill(value);
    }
}

/// Mixes each image and its target with the one half a batch away, in half of the batches.
pub(super) fn mix(values: &mut [f32], targets: &mut [f32], batch: usize, key: RandomKey) {
    if key.split(0).uniform() < 0.5 {
        return;
    }
    let share = (key.split(1).uniform() * MIXUP) as f32;
    for all in [values, targets] {
        let half = all.len() / batch * (batch / 2);
        let (first, second) = all.split_at_mut(half);
        for (a, b) in first.iter_mut().zip(second) {
            (*a, *b) = (*a + share * (*b - *a), *b + share * (*a - *b));
        }
    }
}

#[cfg(test)]
mod tests {
    use gander_data::InMemory;

    use super::*;
    use crate::synthesize::split::{Split, SplitOptions};

    const SHAPE: ImageShape = ImageShape {
        height_px: 8,
        width_px: 10,
        channels: 3,
    };

    const MILD: Augmentation = Augmentation { flip: true, shift: 0.1 };

    #[test]
    fn a_change_keeps_shape_and_range_and_follows_the_key() {
        let pixels: Vec<u8> = (0..SHAPE.bytes()).map(|at| (at * 7 % 256) as u8).collect();
        let changed = |seed| change(&pixels, SHAPE, MILD, RandomKey::from_seed(seed));
        for seed in 0..50 {
            let values = changed(seed);
            assert_eq!(values.len(), SHAPE.bytes());
            assert!(values.iter().all(|value| (-1.0..=1.0).contains(value)), "{seed}");
        }
        assert_eq!(changed(3), changed(3));
        assert_ne!(changed(3), changed(4));
    }

    #[test]
    fn a_distortion_keeps_shape_range_and_most_of_the_image() {
        let shape = ImageShape {
            height_px: 24,
            width_px: 20,
            channels: 1,
        };
        // A dark ground with a bright square in the middle.
        let bright = |at: usize| (8..16).contains(&(at / 20)) && (6..14).contains(&(at % 20));
        let pixels: Vec<u8> = (0..shape.bytes()).map(|at| if bright(at) { 250 } else { 0 }).collect();
        let mut kept = 0.0;
        for seed in 0..50 {
            let key = RandomKey::from_seed(seed);
            let values = distort(&pixels, shape, MILD, key);
            assert_eq!(values.len(), shape.bytes());
            assert!(values.iter().all(|value| (-1.0..=1.0).contains(value)), "{seed}");
            assert_ne!(values, shift(&pixels, shape, MILD, key));
            let mean = |of_square: bool| {
                let chosen: Vec<f32> = (0..values.len())
                    .filter(|&at| bright(at) == of_square)
                    .map(|at| values[at])
                    .collect();
                chosen.iter().sum::<f32>() / chosen.len() as f32
            };
            kept += (mean(true) - mean(false)) / 50.0;
        }
        assert!(
            kept > 0.6,
            "the square stays brighter than the ground by {kept} in the mean"
        );
    }

    /// Forty pictures of a class, each a bar with noise; the bars of a class may stand in different places.
    fn bars(place: impl Fn(usize, usize) -> usize) -> TrainingSet {
        const SIDE: usize = 16;
        let shape = ImageShape {
            height_px: SIDE,
            width_px: SIDE,
            channels: 1,
        };
        let noise = RandomKey::from_seed(0);
        let image = |at: usize| {
            let (class, number) = (at % 2, at / 2);
            let left = place(class, number);
            let pixel = move |place: usize| {
                let is_bar = (left..left + 3).contains(&(place % SIDE));
                let value =
                    if is_bar { 200.0 } else { 20.0 } + 10.0 * noise.split((at * SIDE * SIDE + place) as u64).uniform();
                value as u8
            };
            (0..SIDE * SIDE).map(pixel)
        };
        let pixels = (0..80).flat_map(image).collect();
        let labels = (0..80).map(|at| at % 2).collect();
        let images = InMemory::with_labels(shape, pixels, labels, ["even", "odd"].map(str::to_owned)).unwrap();
        let options = SplitOptions { share: 0.0, seed: 0 };
        Split::new(&images, None, options).unwrap().training().clone()
    }

    #[test]
    fn images_are_mirrored_and_moved_as_their_classes_are() {
        // Bars that stand still on their side.
        let still = Augmentation::for_images(&bars(|class, _| 3 + 7 * class)).unwrap();
        assert_eq!((still.flip, still.shift), (false, 0.0));
        // Bars in the middle.
        let middle = Augmentation::for_images(&bars(|class, _| 6 + class)).unwrap();
        assert!(middle.shift == 0.0, "{middle:?}");
        // Bars anywhere.
        let anywhere = Augmentation::for_images(&bars(|_, number| number * 5 % 13)).unwrap();
        assert_eq!((anywhere.flip, anywhere.shift), (true, SHIFTS[0]));
    }

    #[test]
    fn a_mirror_turns_rows_not_colors() {
        let shape = ImageShape {
            height_px: 2,
            width_px: 2,
            channels: 2,
        };
        assert_eq!(mirror(&[1, 2, 3, 4, 5, 6, 7, 8], shape), [3, 4, 1, 2, 7, 8, 5, 6]);
    }

    #[test]
    fn a_mix_keeps_sums() {
        for seed in 0..20 {
            let (mut values, mut targets) = (vec![1.0, 0.0, 0.0, 1.0], vec![1.0, 0.0, 0.0, 1.0]);
            mix(&mut values, &mut targets, 2, RandomKey::from_seed(seed));
            for rows in [&values, &targets] {
                assert!((rows[0] + rows[2] - 1.0).abs() < 1e-6 && (rows[0] + rows[1] - 1.0).abs() < 1e-6);
                assert!(
                    rows[0] >= 1.0 - MIXUP as f32 - 1e-6,
                    "the own class stays the larger part: {rows:?}"
                );
            }
        }
    }
}
