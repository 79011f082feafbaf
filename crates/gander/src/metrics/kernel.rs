//! Kernel distance between two sets of features (KID): unbiased, so that small sets can be compared.

use faer::MatRef;
use gander_tensor::RandomKey;
use serde::{Deserialize, Serialize};

use super::{
    Features, Interval,
    matrix::{columns, product},
    resampling::choose,
};
use crate::error::Result;

/// How sets are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct KernelOptions {
    /// Pairs of subsets.
    pub subsets: usize,
    /// Images in each subset; at most half of the smaller set, so that subsets differ.
    pub subset_size: usize,
    /// Seed of the draws.
    pub seed: u64,
}

impl Default for KernelOptions {
    /// 100 subsets of 1000, as torch-fidelity 0.4.0 has it.
    fn default() -> Self {
        Self {
            subsets: 100,
            subset_size: 1000,
            seed: 0,
        }
    }
}

/// The distances of pairs of subsets.
#[derive(Debug, Clone, PartialEq)]
pub struct KernelScores {
    /// One for each pair.
    pub subsets: Vec<f64>,
    /// Images in each subset.
    pub subset_size: usize,
    /// Images in the smaller set.
    num: usize,
}

impl KernelScores {
    /// The score: their mean.
    pub fn mean(&self) -> f64 {
        self.subsets.iter().sum::<f64>() / self.subsets.len() as f64
    }

    /// Their standard deviation (not that of the score).
    pub fn standard_deviation(&self) -> f64 {
        let mean = self.mean();
        let squares: f64 = self.subsets.iter().map(|score| (score - mean).powi(2)).sum();
        (squares / self.subsets.len() as f64).sqrt()
    }

    /// The interval of the score by subsampling: subsets of `m` out of `n` without replacement vary
    /// `√(n/m − 1)` times as much as the score of all images would, and their mean by a share of that for each of them.
    /// `None` for fewer than two subsets or a subset of all images.
    ///
    /// # Source
    /// Politis, Romano & Wolf 1999, "Subsampling", section 2.2.
    pub fn interval(&self) -> Option<Interval> {
        let ratio = self.num as f64 / self.subset_size as f64 - 1.0;
        if self.subsets.len() < 2 || ratio <= 0.0 {
            return None;
        }
        let half = 1.96 * self.standard_deviation() * (1.0 / ratio + 1.0 / self.subsets.len() as f64).sqrt();
        let mean = self.mean();
        Some(Interval {
            low: mean - half,
            high: mean + half,
        })
    }
}

/// Kernel distances of random pairs of subsets.
///
/// # Errors
/// [`crate::Error::TooFewImages`] for fewer than four images on a side, [`crate::Error::UnlikeFeatures`].
///
/// # Source
/// Bińkowski et al. 2018, section 4, <https://arxiv.org/abs/1801.01401>.
pub fn kernel_distance(real: &Features, fake: &Features, options: KernelOptions) -> Result<KernelScores> {
    let num = real.num().min(fake.num());
    super::check_num("kid", num, 4)?;
    let size = options.subset_size.clamp(2, num / 2);
    let key = RandomKey::from_seed(options.seed).named("kid");
    let pairs = (0..options.subsets.max(1) as u64).map(|subset| {
        let key = key.split(subset);
        (
            choose(key.named("real"), size, real.num()),
            choose(key.named("fake"), size, fake.num()),
        )
    });
    kernel_distance_of(real, fake, pairs)
}

/// Kernel distances of given pairs of subsets, each by indices into the sets.
///
/// # Errors
/// [`crate::Error::TooFewImages`] for a subset of fewer than two, [`crate::Error::UnlikeFeatures`].
///
/// # Panics
/// If an index is not in its set.
pub fn kernel_distance_of(
    real: &Features,
    fake: &Features,
    pairs: impl IntoIterator<Item = (Vec<usize>, Vec<usize>)>,
) -> Result<KernelScores> {
    real.check_like(fake)?;
    let mut subset_size = 0;
    let subsets = pairs
        .into_iter()
        .map(|(real_indices, fake_indices)| {
            subset_size = real_indices.len().min(fake_indices.len());
            super::check_num("kid", subset_size, 2)?;
            Ok(unbiased_mmd(&real.select(&real_indices), &fake.select(&fake_indices)))
        })
        .collect::<Result<Vec<f64>>>()?;
    Ok(KernelScores {
        subsets,
        subset_size,
        num: real.num().min(fake.num()),
    })
}

/// The squared maximum mean discrepancy under `(x·y / dim + 1)³`, without the pairs of an image with itself.
fn unbiased_mmd(real: &Features, fake: &Features) -> f64 {
    let (real, fake) = (columns(real, 0, real.num(), None), columns(fake, 0, fake.num(), None));
    let mean_off_diagonal = |x: MatRef<'_, f64>| {
        let (all, diagonal) = kernel_sums(x, x);
        let num = x.ncols() as f64;
        (all - diagonal) / (num * (num - 1.0))
    };
    let across = kernel_sums(real.as_ref(), fake.as_ref()).0 / (real.ncols() * fake.ncols()) as f64;
    mean_off_diagonal(real.as_ref()) + mean_off_diagonal(fake.as_ref()) - 2.0 * across
}

/// Sums of the kernel over all pairs of columns, and over those of the same index.
fn kernel_sums(x: MatRef<'_, f64>, y: MatRef<'_, f64>) -> (f64, f64) {
    let inner = product(x.transpose(), y);
    let kernel = |inner: f64| (inner / x.nrows() as f64 + 1.0).powi(3);
    let (mut all, mut diagonal) = (0.0, 0.0);
    for j in 0..inner.ncols() {
        all += inner.col(j).iter().map(|&inner| kernel(inner)).sum::<f64>();
        if j < inner.nrows() {
            diagonal += kernel(inner[(j, j)]);
        }
    }
    (all, diagonal)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn features(values: &[f32]) -> Features {
        Features::new(values.to_vec(), 1).unwrap()
    }

    /// Reals 0 and 1, fakes 1 and 2 in one dimension, k(x, y) = (xy + 1)³: k(0, 1) = 1; k(1, 2) = 27;
    /// across k(0, 1) + k(0, 2) + k(1, 1) + k(1, 2) = 1 + 1 + 8 + 27 = 37; so 1 + 27 − 2 · 37/4.
    #[test]
    fn two_against_two_by_hand() {
        let pairs = [(vec![0, 1], vec![0, 1])];
        let scores = kernel_distance_of(&features(&[0.0, 1.0]), &features(&[1.0, 2.0]), pairs).unwrap();
        assert!((scores.mean() - 9.5).abs() < 1e-12, "{scores:?}");
    }

    /// Uniform numbers, moved.
    fn cloud(seed: u64, num: u64, shift: f64) -> Features {
        let key = RandomKey::from_seed(seed);
        features(
            &(0..num)
                .map(|i| (key.split(i).uniform() + shift) as f32)
                .collect::<Vec<_>>(),
        )
    }

    #[test]
    fn like_sets_score_about_zero_and_intervals_know_it() {
        let options = KernelOptions {
            subset_size: 100,
            ..KernelOptions::default()
        };
        let like = kernel_distance(&cloud(1, 1000, 0.0), &cloud(2, 1000, 0.0), options).unwrap();
        let apart = kernel_distance(&cloud(1, 1000, 0.0), &cloud(2, 1000, 0.2), options).unwrap();
        let [near, far] = [&like, &apart].map(|scores| scores.interval().unwrap());
        assert!(near.low < 0.05 && far.low > near.high, "{near:?} {far:?}");
        // Ten times as many images as in a subset: √(10 − 1) times less deviation, beside that of the mean of 100.
        let expected = 2.0 * 1.96 * (1.0 / 9.0 + 0.01f64).sqrt() * like.standard_deviation();
        assert!((near.high - near.low - expected).abs() < 1e-9);
    }

    #[test]
    fn small_sets_get_smaller_subsets() {
        let scores = kernel_distance(&cloud(1, 30, 0.0), &cloud(2, 20, 0.0), KernelOptions::default()).unwrap();
        assert_eq!((scores.subset_size, scores.subsets.len()), (10, 100));
        assert!(kernel_distance(&cloud(1, 3, 0.0), &cloud(2, 20, 0.0), KernelOptions::default()).is_err());
    }
}
