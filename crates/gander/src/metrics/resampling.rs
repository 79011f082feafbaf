//! How far would a score move if other images had been drawn? Intervals by the bootstrap.

use gander_tensor::RandomKey;
use serde::{Deserialize, Serialize};

/// How intervals are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Resampling {
    /// Sets that are drawn with replacement from the one at hand.
    pub num: usize,
    /// Seed of the draws.
    pub seed: u64,
}

impl Default for Resampling {
    /// 200 sets give an interval's ends to some 5 % of its length (Efron & Tibshirani 1993, section 6.4).
    fn default() -> Self {
        Self { num: 200, seed: 0 }
    }
}

/// Where 95 % of the resampled scores lie.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// 2.5 % are below.
    pub low: f64,
    /// 2.5 % are above.
    pub high: f64,
}

impl Interval {
    /// Of resampled scores, which it sorts.
    pub(super) fn of(scores: &mut [f64]) -> Self {
        scores.sort_by(f64::total_cmp);
        Self {
            low: quantile(scores, 0.025),
            high: quantile(scores, 0.975),
        }
    }

    /// Of resampled scores, moved so that their middle is the score of the images themselves. A resampled set repeats images
    /// and lacks others, so that what counts variety is always less of it.
    pub(super) fn around(score: f64, scores: &mut [f64]) -> Self {
        let interval = Self::of(scores);
        let by = score - quantile(scores, 0.5);
        // Infinite scores have no middle.
        if by.is_finite() { interval.shifted(by) } else { interval }
    }

    /// Moved so that a score other than the resampled one lies in it as that one did.
    #[must_use]
    pub(super) fn shifted(self, by: f64) -> Self {
        Self {
            low: self.low + by,
            high: self.high + by,
        }
    }
}

/// The interval of a mean. `None` for fewer than two values or resamples.
pub fn interval_of_mean(values: &[f64], resampling: Resampling) -> Option<Interval> {
    interval_of(values.len(), resampling, |drawn| {
        drawn.iter().map(|&index| values[index]).sum::<f64>() / drawn.len() as f64
    })
}

/// The interval of any score of `len` samples, given the indices that were drawn. `None` for fewer than two samples or
/// resamples.
pub fn interval_of(len: usize, resampling: Resampling, score: impl Fn(&[usize]) -> f64) -> Option<Interval> {
    resampled(len, resampling, score).map(|mut scores| Interval::of(&mut scores))
}

/// The scores themselves.
pub(super) fn resampled(len: usize, resampling: Resampling, score: impl Fn(&[usize]) -> f64) -> Option<Vec<f64>> {
    if len < 2 || resampling.num < 2 {
        return None;
    }
    let key = RandomKey::from_seed(resampling.seed).named("resampling");
    let mut drawn = vec![0; len];
    let scores = (0..resampling.num as u64).map(|set| {
        let key = key.split(set);
        for (place, index) in drawn.iter_mut().enumerate() {
            *index = below(key.split(place as u64), len);
        }
        score(&drawn)
    });
    Some(scores.collect())
}

/// A number below `len`, each equally likely.
pub(crate) fn below(key: RandomKey, len: usize) -> usize {
    ((u128::from(key.value()) * len as u128) >> 64) as usize
}

/// `count` different numbers below `len` in random order (all of them if there are fewer).
pub(crate) fn choose(key: RandomKey, count: usize, len: usize) -> Vec<usize> {
    let mut all: Vec<usize> = (0..len).collect();
    let count = count.min(len);
    for place in 0..count {
        let other = place + below(key.split(place as u64), len - place);
        all.swap(place, other);
    }
    all.truncate(count);
    all
}

/// Between the two nearest of sorted values.
pub(crate) fn quantile(sorted: &[f64], share: f64) -> f64 {
    let place = share * (sorted.len() - 1) as f64;
    let (low, rest) = (place.floor() as usize, place.fract());
    let high = (low + 1).min(sorted.len() - 1);
    sorted[low] + rest * (sorted[high] - sorted[low])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The mean of n values with deviation s has the deviation s / √n; 95 % lie within 1.96 of it.
    #[test]
    fn the_interval_of_a_mean_is_the_textbook_one() {
        let values: Vec<f64> = (0..1000).map(|i| f64::from(i % 100)).collect();
        let interval = interval_of_mean(&values, Resampling { num: 2000, seed: 1 }).unwrap();
        let half = 1.96 * 28.866 / 1000.0f64.sqrt();
        assert!((interval.low - (49.5 - half)).abs() < 0.15, "{interval:?}");
        assert!((interval.high - (49.5 + half)).abs() < 0.15, "{interval:?}");
    }

    #[test]
    fn draws_repeat_with_the_seed() {
        let values = [1.0, 2.0, 5.0, 9.0];
        let of = |seed| interval_of_mean(&values, Resampling { num: 50, seed }).unwrap();
        assert_eq!(of(3), of(3));
        assert_ne!(of(3), of(4));
        assert_eq!(interval_of_mean(&values[..1], Resampling::default()), None);
    }

    #[test]
    fn choices_are_different_numbers() {
        let mut chosen = choose(RandomKey::from_seed(5), 40, 50);
        assert_ne!(chosen, choose(RandomKey::from_seed(6), 40, 50));
        chosen.sort_unstable();
        chosen.dedup();
        assert_eq!((chosen.len(), chosen.last().is_some_and(|&last| last < 50)), (40, true));
        assert_eq!(choose(RandomKey::from_seed(5), 9, 3).len(), 3);
    }

    #[test]
    fn quantiles_lie_between_neighbors() {
        assert_eq!(quantile(&[0.0, 1.0, 2.0, 3.0], 0.5), 1.5);
        assert_eq!(quantile(&[7.0], 0.975), 7.0);
    }
}
