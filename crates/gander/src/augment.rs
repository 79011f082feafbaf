//! What the discriminator sees changed, so that it cannot learn few images by heart.
//!
//! Real and fake images are changed alike, and gradients pass through to the images before the change (Zhao et al. 2020,
//! DiffAugment, <https://arxiv.org/abs/2006.10738>). Every change is made to each image with a probability of its own draw
//! (Karras et al. 2020, <https://arxiv.org/abs/2006.06676>): below about 0.8 the generator does not pick it up.

pub mod adaptive;
mod color;
mod geometry;

use gander_tensor::{RandomKey, Result, Tensor};
use serde::{Deserialize, Serialize};

use crate::error;

/// Which changes are made, and how large they are. A zero switches one off.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AugmentPolicy {
    /// Most that is added to or taken from all colors, which lie in −1..=1.
    pub brightness: f64,
    /// The distance from gray is multiplied by `1 − saturation..1 + saturation`.
    pub saturation: f64,
    /// The distance from the image's mean is multiplied by `1 − contrast..1 + contrast`.
    pub contrast: f64,
    /// Largest shift along each axis, as a share of the side; zeros move in.
    pub translation: f64,
    /// Sides of the rectangle that is set to zero, as a share of the image's.
    pub cutout: f64,
    /// Whether images are mirrored left to right, half of the time at probability one.
    pub flip: bool,
}

impl Default for AugmentPolicy {
    /// DiffAugment with color, translation and cutout, as in the paper's code.
    fn default() -> Self {
        Self {
            brightness: 0.5,
            saturation: 1.0,
            contrast: 0.5,
            translation: 0.125,
            cutout: 0.5,
            flip: false,
        }
    }
}

impl AugmentPolicy {
    /// Refuses what is not a share.
    ///
    /// # Errors
    /// [`error::Error::InvalidSetting`] names the setting.
    pub fn validate(&self) -> error::Result<()> {
        let shares = [
            ("training.augment.brightness", self.brightness),
            ("training.augment.saturation", self.saturation),
            ("training.augment.contrast", self.contrast),
            ("training.augment.translation", self.translation),
            ("training.augment.cutout", self.cutout),
        ];
        match shares.into_iter().find(|(_, value)| !(0.0..=1.0).contains(value)) {
            Some((setting, value)) => Err(error::Error::InvalidSetting {
                setting,
                value: value.to_string(),
            }),
            None => Ok(()),
        }
    }
}

/// Images as the discriminator sees them.
///
/// An image that no change was drawn for keeps its bytes; so do all where `probability` is zero.
///
/// # Shapes
/// - `images`: `[batch, height, width, channels]`, −1..=1; of two or four channels the last is alpha, which keeps its
///   value where only colors change
/// - `probability`: of each change for each image, 0..=1
/// - returns: the same shape, differentiable (twice)
pub fn augment(images: &Tensor, policy: AugmentPolicy, probability: f32, key: RandomKey) -> Result<Tensor> {
    if probability <= 0.0 {
        return Ok(images.clone());
    }
    let draws = Draws {
        key,
        probability: f64::from(probability),
        batch: images.side(0),
    };
    let images = color::change(images, policy, draws)?;
    geometry::change(&images, policy, draws)
}

/// Random decisions for each image of a batch, made on the host so that they are the same on every device.
#[derive(Debug, Clone, Copy)]
struct Draws {
    key: RandomKey,
    probability: f64,
    batch: usize,
}

impl Draws {
    /// For each image what `draw` makes of its own key, or `None` where the change is not made.
    fn each<T>(self, change: &str, draw: impl Fn(RandomKey) -> T) -> Vec<Option<T>> {
        let key = self.key.named(change);
        (0..self.batch as u64)
            .map(|image| {
                let key = key.split(image);
                (key.split(0).uniform() < self.probability).then(|| draw(key.split(1)))
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use gander_tensor::{DeviceRef, GradOptions, Reference, grad};

    use super::*;

    const OFF: AugmentPolicy = AugmentPolicy {
        brightness: 0.0,
        saturation: 0.0,
        contrast: 0.0,
        translation: 0.0,
        cutout: 0.0,
        flip: false,
    };

    const KEY: u64 = 11;

    fn images(shape: [usize; 4], device: &DeviceRef) -> Tensor {
        Tensor::uniform(RandomKey::from_seed(3), shape, device)
            .unwrap()
            .mul_scalar(2.0)
            .unwrap()
            .add_scalar(-1.0)
            .unwrap()
    }

    fn augmented(images: &Tensor, policy: AugmentPolicy, probability: f32) -> Vec<f32> {
        augment(images, policy, probability, RandomKey::from_seed(KEY))
            .unwrap()
            .to_vec()
            .unwrap()
    }

    #[test]
    fn nothing_changes_without_probability_or_policy() {
        let images = images([3, 5, 6, 3], &Reference::shared());
        assert_eq!(
            augmented(&images, AugmentPolicy::default(), 0.0),
            images.to_vec().unwrap()
        );
        assert_eq!(augmented(&images, OFF, 1.0), images.to_vec().unwrap());
    }

    #[test]
    fn images_that_are_not_drawn_keep_their_bytes() {
        let images = images([64, 8, 8, 3], &Reference::shared());
        let policy = AugmentPolicy {
            flip: true,
            ..AugmentPolicy::default()
        };
        let (before, after) = (images.to_vec().unwrap(), augmented(&images, policy, 0.1));
        let same = before
            .chunks(192)
            .zip(after.chunks(192))
            .filter(|(before, after)| before == after)
            .count();
        // Six changes (the flip in half of the draws) leave 0.9⁵ · 0.95 = 56 % of the images alone.
        assert!((22..=50).contains(&same), "{same} of 64 unchanged");
    }

    #[test]
    fn the_key_decides() {
        let images = images([4, 8, 8, 3], &Reference::shared());
        let with = |seed| {
            let key = RandomKey::from_seed(seed);
            augment(&images, AugmentPolicy::default(), 0.7, key)
                .unwrap()
                .to_vec()
                .unwrap()
        };
        assert_eq!(with(1), with(1));
        assert_ne!(with(1), with(2));
    }

    #[test]
    fn an_image_changes_alike_in_any_batch() {
        let images = images([4, 8, 8, 3], &Reference::shared());
        let all = augmented(&images, AugmentPolicy::default(), 1.0);
        let first_two = augmented(&images.slice(0, 0, 2).unwrap(), AugmentPolicy::default(), 1.0);
        assert_eq!(all[..first_two.len()], first_two);
    }

    #[test]
    fn translation_moves_whole_pixels() {
        let images = images([8, 16, 24, 1], &Reference::shared());
        let after = augmented(
            &images,
            AugmentPolicy {
                translation: 0.125,
                ..OFF
            },
            1.0,
        );
        let before = images.to_vec().unwrap();
        let mut moved = 0;
        for (before, after) in before.chunks(16 * 24).zip(after.chunks(16 * 24)) {
            let shifted = |by: (isize, isize)| -> Vec<f32> {
                let pixel = |y: isize, x: isize| {
                    let inside = (0..16).contains(&y) && (0..24).contains(&x);
                    if inside { before[(y * 24 + x) as usize] } else { 0.0 }
                };
                (0..16)
                    .flat_map(|y| (0..24).map(move |x| (y, x)))
                    .map(|(y, x)| pixel(y - by.0, x - by.1))
                    .collect()
            };
            let shifts = (-2..=2).flat_map(|y| (-3..=3).map(move |x| (y, x)));
            let found: Vec<_> = shifts.filter(|&by| shifted(by) == after).collect();
            assert_eq!(found.len(), 1, "one shift of at most an eighth explains each image");
            moved += usize::from(found != [(0, 0)]);
        }
        assert!(moved >= 4, "{moved} of 8 moved");
    }

    #[test]
    fn cutout_clears_at_most_a_quarter() {
        let images = Tensor::ones([32, 12, 10, 3], &Reference::shared()).unwrap();
        let after = augmented(&images, AugmentPolicy { cutout: 0.5, ..OFF }, 1.0);
        for image in after.chunks(360) {
            let cleared = image.iter().filter(|&&value| value == 0.0).count();
            assert!((1..=6 * 5 * 3).contains(&cleared), "{cleared} values cleared");
            assert!(image.iter().all(|&value| value == 0.0 || value == 1.0));
        }
    }

    #[test]
    fn flip_mirrors_half_of_the_images() {
        let images = images([64, 4, 5, 2], &Reference::shared());
        let after = augmented(&images, AugmentPolicy { flip: true, ..OFF }, 1.0);
        let (before, mirror) = (images.to_vec().unwrap(), images.flip(2).unwrap().to_vec().unwrap());
        let is = |reference: &[f32]| {
            reference
                .chunks(40)
                .zip(after.chunks(40))
                .filter(|(a, b)| a == b)
                .count()
        };
        let mirrored = is(&mirror);
        assert_eq!(mirrored + is(&before), 64);
        assert!((16..=48).contains(&mirrored), "{mirrored} of 64 mirrored");
    }

    #[test]
    fn brightness_adds_one_number_to_all_colors() {
        let images = images([4, 3, 3, 4], &Reference::shared());
        let after = augmented(&images, AugmentPolicy { brightness: 0.5, ..OFF }, 1.0);
        for (before, after) in images.to_vec().unwrap().chunks(36).zip(after.chunks(36)) {
            let added = after[0] - before[0];
            assert!(added.abs() <= 0.5 && added != 0.0, "{added}");
            for (before, after) in before.chunks(4).zip(after.chunks(4)) {
                assert!((0..3).all(|c| (after[c] - before[c] - added).abs() < 1e-6));
                assert_eq!(after[3], before[3], "alpha");
            }
        }
    }

    #[test]
    fn saturation_keeps_gray_and_contrast_keeps_the_mean() {
        let device = Reference::shared();
        let gray = images([4, 3, 3, 1], &device);
        let saturated = augmented(
            &gray.broadcast_to([4, 3, 3, 3]).unwrap(),
            AugmentPolicy { saturation: 1.0, ..OFF },
            1.0,
        );
        let expected = gray.broadcast_to([4, 3, 3, 3]).unwrap().to_vec().unwrap();
        assert!(saturated.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-6));
        assert_eq!(
            augmented(&gray, AugmentPolicy { saturation: 1.0, ..OFF }, 1.0),
            gray.to_vec().unwrap()
        );

        let colored = images([4, 3, 3, 3], &device);
        let contrasted = augmented(&colored, AugmentPolicy { contrast: 0.5, ..OFF }, 1.0);
        let before = colored.to_vec().unwrap();
        assert_ne!(before, contrasted);
        for (before, after) in before.chunks(27).zip(contrasted.chunks(27)) {
            let mean = |values: &[f32]| values.iter().sum::<f32>() / 27.0;
            assert!((mean(before) - mean(after)).abs() < 1e-6);
        }
    }

    /// The whole augmentation is affine in the images, so one step along any direction has no rest.
    #[test]
    fn gradients_are_those_of_an_affine_map() {
        let device = Reference::shared();
        let policy = AugmentPolicy {
            flip: true,
            ..AugmentPolicy::default()
        };
        let key = RandomKey::from_seed(KEY);
        let images = images([3, 8, 9, 4], &device).watch();
        let direction = Tensor::normal(key.split(8), images.shape(), &device).unwrap();
        let weights = Tensor::normal(key.split(9), images.shape(), &device).unwrap();
        let score = |images: &Tensor| {
            augment(images, policy, 0.8, key)
                .unwrap()
                .mul(&weights)
                .unwrap()
                .sum_all()
                .unwrap()
        };
        let value = |images: &Tensor| score(images).to_vec_f64().unwrap()[0];
        let slope = grad(&[&score(&images)], &[&images], GradOptions::default())
            .unwrap()
            .remove(0);
        let along = slope.mul(&direction).unwrap().sum_all().unwrap().to_vec_f64().unwrap()[0];
        let change = value(&images.add(&direction).unwrap()) - value(&images);
        assert!((along - change).abs() < 1e-6, "{along} instead of {change}");
    }

    #[test]
    fn gradients_can_be_differentiated_again() {
        let device = Reference::shared();
        let images = images([2, 8, 8, 3], &device).watch();
        let seen = augment(&images, AugmentPolicy::default(), 1.0, RandomKey::from_seed(KEY)).unwrap();
        let logits = seen.square().unwrap().sum_per_sample().unwrap();
        let penalty = crate::regularizers::r1(&logits, &images).unwrap().sum_all().unwrap();
        let second = grad(&[&penalty], &[&images], GradOptions::default()).unwrap().remove(0);
        // With logits x ᵀ A x + …, the penalty is a quadratic form: along the images its slope is larger than zero.
        assert!(second.to_vec().unwrap().iter().any(|&value| value != 0.0));
    }

    #[test]
    fn shares_out_of_range_are_refused() {
        assert!(AugmentPolicy::default().validate().is_ok());
        for cutout in [-0.1, 1.5, f64::NAN] {
            assert!(AugmentPolicy { cutout, ..OFF }.validate().is_err(), "{cutout}");
        }
    }
}
