//! Classical augmentation, the rival: crop, mirror, color, cutout, mixup. Stronger changes, for agreement between views.

use gander_data::{Dataset, ImageShape};
use gander_tensor::RandomKey;

use super::{copies::Thumbnails, split::TrainingSet};
use crate::error::Result;

/// The largest shift, as a share of the side: 4 of 32 px, as for CIFAR (He et al. 2016).
const SHIFT: f64 = 0.125;
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

/// The largest changes of [`distort`]: a turn in radians, a shear, a stretch of each side, a shift, a hole. Those of color are
/// these times the ones above.
const TURN: f64 = 0.4;
const SHEAR: f64 = 0.2;
const STRETCH: f64 = 0.2;
const FAR: f64 = 0.125;
const HOLE: f64 = 0.5;
const STRONGER: f64 = 2.0;

/// What is done to the images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Augmentation {
    /// Whether half of the images are mirrored left to right.
    pub(super) flip: bool,
}

impl Augmentation {
    /// Whether mirroring is sensible shows in the images: where mirrored ones are as near to others of their class as they
    /// are themselves, a mirrored image is one that could be there. Digits and letters are not, nor shoes that all
    /// point to the left.
    pub(super) fn for_images(real: &TrainingSet) -> Result<Self> {
        /// Mirrored images whose nearest other is of their class, for each of the unmirrored ones.
        const SENSIBLE: f64 = 0.95;
        /// Images that are looked at, at most.
        const LOOKED_AT: usize = 1000;
        let images = real.images();
        let (thumbnails, shape) = (Thumbnails::of(images.as_ref())?, images.shape());
        let stride = images.len().div_ceil(LOOKED_AT);
        let mut pixels = vec![0; shape.bytes()];
        let [mut upright, mut mirrored] = [0u64; 2];
        for index in (0..images.len()).step_by(stride) {
            images.read(index, &mut pixels)?;
            let own = images.label(index);
            let is_own = |pixels: &[u8]| {
                let nearest = thumbnails.nearest(&thumbnails.make(pixels), Some(index));
                u64::from(nearest.is_some_and(|nearest| images.label(nearest.index) == own))
            };
            upright += is_own(&pixels);
            mirrored += is_own(&mirror(&pixels, shape));
        }
        Ok(Self {
            flip: mirrored as f64 >= SENSIBLE * upright as f64,
        })
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
    let by = |purpose: &str, side: usize| around(key, purpose, SHIFT * side as f64).round() as isize;
    let (down, right) = (by("down", shape.height_px), by("right", shape.width_px));
    let is_mirrored = augmentation.flip && key.named("flip").uniform() < 0.5;
    let inside = |at: isize, side: usize| at.clamp(0, side as isize - 1) as usize;
    let mut image = Vec::with_capacity(pixels.len());
    for y in 0..shape.height_px {
        let row = inside(y as isize - down, shape.height_px) * shape.width_px;
        for x in 0..shape.width_px {
            let x = if is_mirrored { shape.width_px - 1 - x } else { x };
            let at = (row + inside(x as isize - right, shape.width_px)) * shape.channels;
            let pixel = &pixels[at..at + shape.channels];
            image.extend(pixel.iter().map(|&value| f32::from(value) / 127.5 - 1.0));
        }
    }
    image
}

/// An image in −1..=1 that is changed as far as its class may bear: turned, sheared, stretched, moved, in other colors and
/// with a hole.
pub(super) fn distort(pixels: &[u8], shape: ImageShape, augmentation: Augmentation, key: RandomKey) -> Vec<f32> {
    let (height, width) = (shape.height_px as f64, shape.width_px as f64);
    let (sin, cos) = around(key, "turn", TURN).sin_cos();
    let shear = around(key, "shear", SHEAR);
    let [tall, wide] = ["tall", "wide"].map(|purpose| 1.0 + around(key, purpose, STRETCH));
    let (down, right) = (around(key, "down", FAR * height), around(key, "right", FAR * width));
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
            let grey = pixel[..colors].iter().sum::<f32>() / colors as f32;
            for value in &mut pixel[..colors] {
                let saturated = grey + self.saturation * (*value - grey);
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
    use super::*;

    const SHAPE: ImageShape = ImageShape {
        height_px: 8,
        width_px: 10,
        channels: 3,
    };

    #[test]
    fn a_change_keeps_shape_and_range_and_follows_the_key() {
        let pixels: Vec<u8> = (0..SHAPE.bytes()).map(|at| (at * 7 % 256) as u8).collect();
        let changed = |seed| change(&pixels, SHAPE, Augmentation { flip: true }, RandomKey::from_seed(seed));
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
            let values = distort(&pixels, shape, Augmentation { flip: true }, key);
            assert_eq!(values.len(), shape.bytes());
            assert!(values.iter().all(|value| (-1.0..=1.0).contains(value)), "{seed}");
            assert_ne!(values, shift(&pixels, shape, Augmentation { flip: true }, key));
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
