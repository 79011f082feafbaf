//! Augmentation as strong as the discriminator's overfitting asks for (ADA).

use serde::{Deserialize, Serialize};

/// How strong augmentation is at this moment of a run, and what it has seen since it last moved.
///
/// Whole numbers, so that a saved and loaded one goes on to the bit.
///
/// # Source
/// Karras et al. 2020, section 3.1, <https://arxiv.org/abs/2006.06676>.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Adaptive {
    /// The probability of each change, in billionths.
    billionths: u64,
    /// Training images that were taken for real, less those that were taken for fake.
    surplus: i64,
    /// Training images that were judged.
    judged: u64,
    /// Steps that these numbers come from.
    steps: u32,
}

impl Adaptive {
    /// The mean sign of the logits of training images that is aimed at: four in five are taken for real. More is
    /// overfitting (the paper's `r_t` and its target).
    pub const TARGET: f64 = 0.6;
    /// Steps from one move to the next.
    pub const STEPS: u32 = 4;
    /// Images in which the probability can go from zero to one, as in the paper's code ...
    pub const FULL_IMAGES: u64 = 500_000;
    /// ... or this share of a run's plan, if that is less: the paper's runs are of 25,000 kimg, and a run of an hour on a
    /// processor has no 500 to spare.
    pub const FULL_SHARE: f64 = 0.1;
    /// The highest probability. Above it the generator begins to make augmented images (the paper's section 2.2).
    pub const MOST: f64 = 0.8;

    /// The probability of each change.
    pub fn probability(self) -> f64 {
        self.billionths as f64 / 1e9
    }

    /// Learns what the discriminator said of one batch of training images, and moves after every fourth: up if the mean
    /// sign is above the target, else down.
    ///
    /// `sign` is the mean sign of the logits in −1..=1, `plan_images` the length of the run.
    pub fn observe(&mut self, sign: f64, images: u64, plan_images: u64) {
        self.surplus += (sign * images as f64).round() as i64;
        self.judged += images;
        self.steps += 1;
        if self.steps < Self::STEPS {
            return;
        }
        let full = (plan_images as f64 * Self::FULL_SHARE).clamp(1.0, Self::FULL_IMAGES as f64);
        let by = (self.judged as f64 / full * 1e9) as u64;
        let is_above = self.surplus as f64 > Self::TARGET * self.judged as f64;
        let billionths = if is_above {
            (self.billionths + by).min((Self::MOST * 1e9) as u64)
        } else {
            self.billionths.saturating_sub(by)
        };
        *self = Self {
            billionths,
            ..Self::default()
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_rises_with_overfitting_and_falls_without() {
        let mut adaptive = Adaptive::default();
        let mut steps = |count: u64, sign: f64| {
            (0..count).for_each(|_| adaptive.observe(sign, 64, 1_000_000));
            adaptive.probability()
        };
        assert_eq!(steps(3, 1.0), 0.0);
        // Four batches of 64 in a tenth of a million images.
        assert!((steps(1, 1.0) - 256.0 / 100_000.0).abs() < 1e-9);
        assert_eq!(steps(4, 0.5), 0.0);
        assert_eq!(steps(4, -1.0), 0.0);
        assert!((steps(4000, 0.7) - Adaptive::MOST).abs() < 1e-9);
        assert!(steps(400, 0.5) < Adaptive::MOST);
    }

    #[test]
    fn a_long_plan_takes_the_papers_pace() {
        let mut adaptive = Adaptive::default();
        (0..4).for_each(|_| adaptive.observe(1.0, 125, 25_000_000));
        assert!((adaptive.probability() - 0.001).abs() < 1e-9);
    }

    #[test]
    fn saved_between_moves_it_goes_on_to_the_bit() {
        let mut whole = Adaptive::default();
        let mut saved = Adaptive::default();
        for step in 0..50 {
            let sign = if step % 7 < 5 { 0.875 } else { 0.25 };
            whole.observe(sign, 16, 70_000);
            saved = serde_json::from_str(&serde_json::to_string(&saved).unwrap()).unwrap();
            saved.observe(sign, 16, 70_000);
        }
        assert_eq!(whole, saved);
        assert!(whole.probability() > 0.0);
    }
}
