//! Are these images new, or does the generator repeat the ones that it was shown?
//!
//! A copy lies much nearer to one training image than to the next ones. How much nearer is normal, held-out images say: they
//! come from the same source and were never shown, so that duplicates in the data, or many pictures of one person, raise
//! both sides alike.

use serde::{Deserialize, Serialize};

use super::{Features, square_distance};
use crate::error::Result;

/// Neighbors whose mean distance the nearest is held against.
pub const NEIGHBORS: usize = 50;

/// Share of the held-out images that may count as copies: the threshold is laid there.
pub const OF_HELD_OUT: f64 = 0.05;

/// Fewer held-out images give no threshold: a twentieth of them would be fewer than two.
pub const FEWEST: usize = 40;

/// How often fakes that are like held-out images are taken for copies all the same.
pub const CHANCE: f64 = 1e-3;

/// The training image that an image is most like.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Nearest {
    /// Which training image.
    pub index: usize,
    /// Its distance over the mean distance of the [`NEIGHBORS`] nearest: about 0.9 for a new image, 0 for a copy.
    pub ratio: f64,
}

/// The nearest training image of each image.
///
/// # Errors
/// [`crate::Error::TooFewImages`] for fewer than two training images, [`crate::Error::UnlikeFeatures`].
///
/// # Source
/// The ratio is that of Carlini et al. 2023, with its 50 neighbors, <https://arxiv.org/abs/2301.13188>.
pub fn nearest(images: &Features, training: &Features) -> Result<Vec<Nearest>> {
    training.check_num("copies", 2)?;
    training.check_like(images)?;
    let num = NEIGHBORS.min(training.num() - 1).max(1);
    let mut squares: Vec<(f32, usize)> = Vec::with_capacity(training.num());
    let of_row = |row: &[f32]| {
        squares.clear();
        squares.extend(training.rows().map(|other| square_distance(row, other)).zip(0..));
        let (near, ..) = squares.select_nth_unstable_by(num, |a, b| a.0.total_cmp(&b.0));
        let sum: f64 = near.iter().map(|(square, _)| f64::from(*square).sqrt()).sum();
        let least = near.iter().min_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        let (least, index) = least.copied().unwrap_or_default();
        let mean = sum / num as f64;
        Nearest {
            index,
            ratio: if mean > 0.0 {
                f64::from(least).sqrt() / mean
            } else {
                0.0
            },
        }
    };
    Ok(images.rows().map(of_row).collect())
}

/// How many images look like copies of training images.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct CopyRate {
    /// Share of the fakes whose ratio is below the threshold.
    pub fakes: f64,
    /// Share of the held-out images whose ratio is below it: what chance and duplicates account for.
    pub held_out: f64,
    /// The ratio that [`OF_HELD_OUT`] of the held-out images fall below.
    pub threshold: f64,
    /// Fakes that were looked at.
    pub num_fakes: usize,
    /// Held-out images that were looked at.
    pub num_held_out: usize,
}

impl CopyRate {
    /// Of fakes, calibrated on held-out images; `None` for fewer than [`FEWEST`] of them, where all of them are training images,
    /// or for no fakes.
    pub fn of(fakes: &[Nearest], held_out: &[Nearest]) -> Option<Self> {
        if held_out.len() < FEWEST || fakes.is_empty() {
            return None;
        }
        let mut ratios: Vec<f64> = held_out.iter().map(|nearest| nearest.ratio).collect();
        ratios.sort_by(f64::total_cmp);
        // Held-out images that are training images too say nothing of how near others come.
        let threshold = *ratios[rank(ratios.len())..].iter().find(|&&ratio| ratio > 0.0)?;
        let share = |of: &[Nearest]| {
            let below = of.iter().filter(|nearest| nearest.ratio < threshold).count();
            below as f64 / of.len() as f64
        };
        Some(Self {
            fakes: share(fakes),
            held_out: share(held_out),
            threshold,
            num_fakes: fakes.len(),
            num_held_out: held_out.len(),
        })
    }

    /// Whether the generator copies: more than twice as often as held-out images seem to, and more often than [`CHANCE`] makes
    /// fakes that are like held-out images.
    pub fn is_suspicious(self) -> bool {
        let seen = (self.fakes * self.num_fakes as f64).round() as usize;
        self.fakes > 2.0 * f64::max(self.held_out, OF_HELD_OUT)
            && chance_of(seen, self.num_fakes, self.num_held_out) < CHANCE
    }
}

/// The held-out image at [`OF_HELD_OUT`] of `num` in order.
fn rank(num: usize) -> usize {
    (num as f64 * OF_HELD_OUT) as usize
}

/// How likely so many of the fakes or more fall below the threshold, if fakes are like held-out images.
///
/// The threshold is one of the held-out images, in order the one behind `k` of `m`. Where it lies in the distribution of both is
/// itself random, Beta(k + 1, m − k), so that the count is beta-binomial.
fn chance_of(seen: usize, fakes: usize, held_out: usize) -> f64 {
    let [n, a] = [fakes, rank(held_out) + 1].map(|count| count as f64);
    let b = held_out as f64 + 1.0 - a;
    let none: f64 = (0..fakes).map(|i| (b + i as f64) / (a + b + i as f64)).product();
    let next = |(count, chance): &(usize, f64)| {
        let x = *count as f64;
        Some((count + 1, chance * (n - x) / (x + 1.0) * (a + x) / (n - x - 1.0 + b)))
    };
    let fewer = std::iter::successors(Some((0, none)), next).take(seen);
    1.0 - fewer.map(|(_, chance)| chance).sum::<f64>()
}

#[cfg(test)]
mod tests {
    use gander_tensor::RandomKey;

    use super::*;

    fn cloud(seed: u64, num: usize) -> Features {
        let key = RandomKey::from_seed(seed);
        let values = (0..num as u64 * 20).map(|at| key.split(at).uniform() as f32).collect();
        Features::new(values, 20).unwrap()
    }

    #[test]
    fn ratios_by_hand() {
        let training = Features::new(vec![0.0, 3.0, 10.0], 1).unwrap();
        let images = Features::new(vec![1.0, 3.0], 1).unwrap();
        let found = nearest(&images, &training).unwrap();
        // Distances 1 and 2, and 0 and 3, of the two nearest of three.
        assert_eq!((found[0].index, found[1].index), (0, 1));
        assert!((found[0].ratio - 1.0 / 1.5).abs() < 1e-6 && found[1].ratio == 0.0);
        assert!(nearest(&images, &Features::new(vec![0.0], 1).unwrap()).is_err());
    }

    #[test]
    fn copies_are_told_from_new_images() {
        let training = cloud(1, 400);
        let held_out = nearest(&cloud(2, 100), &training).unwrap();
        let rate = |fakes: &Features| CopyRate::of(&nearest(fakes, &training).unwrap(), &held_out).unwrap();
        let new = rate(&cloud(3, 200));
        assert!(new.fakes < 0.12 && !new.is_suspicious(), "{new:?}");
        assert!((new.held_out - OF_HELD_OUT).abs() < 1e-9);

        // Every second image is a training image with a little noise.
        let mut copies = training.select(&(0..100).collect::<Vec<_>>()).values().to_vec();
        for value in &mut copies {
            *value += 0.01;
        }
        let mut half = Features::new(copies, 20).unwrap();
        half.append(cloud(4, 100)).unwrap();
        let copied = rate(&half);
        assert!(
            (0.5..0.6).contains(&copied.fakes) && copied.is_suspicious(),
            "{copied:?}"
        );
    }

    #[test]
    fn a_blurred_image_is_no_copy() {
        let training = cloud(1, 400);
        let held_out = nearest(&cloud(2, 100), &training).unwrap();
        let means = Features::new(vec![0.5; 20 * 50], 20).unwrap();
        let rate = CopyRate::of(&nearest(&means, &training).unwrap(), &held_out).unwrap();
        // Nearer to all training images than any of them to another, and to none in particular.
        assert_eq!(rate.fakes, 0.0, "{rate:?}");
    }

    #[test]
    fn honest_fakes_are_seldom_taken_for_copies() {
        // One of two held-out images lies behind the threshold, which cuts off a uniform share of a single fake.
        assert!((chance_of(1, 1, 2) - 1.0 / 3.0).abs() < 1e-12);
        assert!((chance_of(0, 7, 40) - 1.0).abs() < 1e-12);
        // Drawn: of fakes and held-out images that are alike, how often the rule speaks.
        let key = RandomKey::from_seed(9);
        let ratios = |key: RandomKey, num: u64| -> Vec<Nearest> {
            let ratio = |at| key.split(at).uniform();
            (0..num)
                .map(|at| Nearest {
                    index: 0,
                    ratio: ratio(at),
                })
                .collect()
        };
        let alarms = (0..2000).filter(|&trial| {
            let key = key.split(trial);
            let rate = CopyRate::of(&ratios(key.named("fakes"), 200), &ratios(key.named("held out"), 40));
            rate.is_some_and(CopyRate::is_suspicious)
        });
        assert!(alarms.count() <= 8);
    }

    #[test]
    fn few_held_out_images_say_nothing() {
        let near = [Nearest { index: 0, ratio: 0.1 }; 10];
        assert_eq!(CopyRate::of(&near, &near), None);
    }
}
