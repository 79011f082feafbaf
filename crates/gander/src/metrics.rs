//! How good are these images? Pure functions on arrays of features, and a judge that holds the real side.
//!
//! | score | file | better | source of the convention |
//! |---|---|---|---|
//! | `fid` | [`frechet`] | lower | pytorch-fid 0.3.0 |
//! | `kid` | [`kernel`] | lower | torch-fidelity 0.4.0 |
//! | `is` | [`inception_score()`] | higher | torch-fidelity 0.4.0 |
//! | `precision`, `recall`, `density`, `coverage` | [`neighbors`] | higher | prdc 0.2 |
//! | `swd` | [`sliced`] | lower | Karras et al. 2018 |
//! | copies | [`memorization`] | lower | Carlini et al. 2023 |
//! | `l1`; `psnr`, `ssim`, of pairs | [`pairs`] | lower; higher | scikit-image 0.26 |
//! | `features`, `content`, of pairs | [`likeness`] | lower | here |
//! | modes, divergence | [`modes`] | | Srivastava et al. 2017, Lin et al. 2018 |
//!
//! A score's name says how many fakes it saw and through whose eyes: [`score_name`]. What turns images into features is in
//! [`crate::features`].

pub mod frechet;
pub mod inception_score;
pub mod judge;
pub mod kernel;
pub mod likeness;
mod matrix;
pub mod memorization;
pub mod modes;
pub mod neighbors;
pub mod pairs;
pub mod resampling;
pub mod sliced;

pub use frechet::{Statistics, frechet_distance};
pub use inception_score::inception_score;
pub use judge::{Better, Judge, JudgeOptions, Judging, Score, ScoreKind};
pub use kernel::{KernelOptions, kernel_distance};
pub use likeness::distance_to_partners;
pub use neighbors::{NeighborScores, neighbor_scores};
pub use pairs::{Pair, PairScores};
pub use resampling::{Interval, Resampling};
pub use sliced::{SlicedOptions, SlicedSet, sliced_distance};

use crate::error::{Error, Result};

/// Features of a set of images: a row for each.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Features {
    values: Vec<f32>,
    dim: usize,
}

impl Features {
    /// # Shapes
    /// - `values`: `[num, dim]`
    ///
    /// # Errors
    /// [`Error::UnlikeFeatures`] if the values are no whole number of rows, [`Error::NonFiniteFeatures`] for one that is
    /// not finite.
    pub fn new(values: Vec<f32>, dim: usize) -> Result<Self> {
        if dim == 0 || !values.len().is_multiple_of(dim) {
            return Err(Error::UnlikeFeatures {
                expected: dim,
                got: values.len(),
            });
        }
        if let Some(index) = values.iter().position(|value| !value.is_finite()) {
            return Err(Error::NonFiniteFeatures { row: index / dim });
        }
        Ok(Self { values, dim })
    }

    /// Number of images.
    pub fn num(&self) -> usize {
        self.values.len().checked_div(self.dim).unwrap_or(0)
    }

    /// Features of each image.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// All values, row by row.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// One row for each image.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = &[f32]> {
        self.values.chunks_exact(self.dim.max(1))
    }

    /// The rows of these indices, in their order.
    ///
    /// # Panics
    /// If there is no such row.
    #[must_use]
    pub fn select(&self, indices: &[usize]) -> Self {
        let row = |&index: &usize| &self.values[index * self.dim..(index + 1) * self.dim];
        Self {
            values: indices.iter().flat_map(row).copied().collect(),
            dim: self.dim,
        }
    }

    /// The mean of each feature.
    pub fn mean(&self) -> Vec<f64> {
        let mut sums = vec![0.0; self.dim];
        for row in self.rows() {
            for (sum, &value) in sums.iter_mut().zip(row) {
                *sum += f64::from(value);
            }
        }
        let num = self.num().max(1) as f64;
        sums.into_iter().map(|sum| sum / num).collect()
    }

    /// Adds rows.
    ///
    /// # Errors
    /// [`Error::UnlikeFeatures`] if they are of another length.
    pub fn append(&mut self, mut more: Self) -> Result<()> {
        if self.values.is_empty() {
            *self = more;
            return Ok(());
        }
        self.check_like(&more)?;
        self.values.append(&mut more.values);
        Ok(())
    }

    pub(crate) fn check_like(&self, other: &Self) -> Result<()> {
        if self.dim == other.dim {
            return Ok(());
        }
        Err(Error::UnlikeFeatures {
            expected: self.dim,
            got: other.dim,
        })
    }

    /// Refuses a set that a score cannot be made of.
    pub(crate) fn check_num(&self, score: &'static str, needed: usize) -> Result<()> {
        check_num(score, self.num(), needed)
    }
}

/// The square of the distance between two rows, in eight sums side by side, so that the processor adds them at once.
pub(crate) fn square_distance(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0f32; 8];
    let (a, b) = (a.chunks_exact(8), b.chunks_exact(8));
    let rest: f32 = a
        .remainder()
        .iter()
        .zip(b.remainder())
        .map(|(a, b)| (a - b) * (a - b))
        .sum();
    for (a, b) in a.zip(b) {
        for (sum, (a, b)) in sums.iter_mut().zip(a.iter().zip(b)) {
            *sum += (a - b) * (a - b);
        }
    }
    sums.iter().sum::<f32>() + rest
}

pub(crate) fn check_num(score: &'static str, got: usize, needed: usize) -> Result<()> {
    if got >= needed {
        return Ok(());
    }
    Err(Error::TooFewImages { score, needed, got })
}

/// The name of a score: what it is, on how many fakes, in which feature space (`None` where no network looks).
///
/// ```
/// use gander::metrics::score_name;
/// assert_eq!(score_name("fid", 10_000, Some("effnet")), "fid10k_effnet");
/// assert_eq!(score_name("kid", 2_500, Some("pixels")), "kid2500_pixels");
/// assert_eq!(score_name("swd", 500, None), "swd500");
/// ```
pub fn score_name(score: &str, num: usize, space: Option<&str>) -> String {
    let count = if num >= 1000 && num.is_multiple_of(1000) {
        format!("{}k", num / 1000)
    } else {
        num.to_string()
    };
    match space {
        Some(space) => format!("{score}{count}_{space}"),
        None => format!("{score}{count}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_whole_and_finite() {
        assert!(matches!(
            Features::new(vec![0.0; 5], 2),
            Err(Error::UnlikeFeatures { .. })
        ));
        assert!(Features::new(vec![], 0).is_err());
        let bad = Features::new(vec![0.0, 1.0, f32::NAN, 0.0], 2);
        assert!(matches!(bad, Err(Error::NonFiniteFeatures { row: 1 })));
    }

    #[test]
    fn rows_are_chosen_and_added() {
        let mut all = Features::new((0..6).map(|i| i as f32).collect(), 2).unwrap();
        assert_eq!(all.select(&[2, 0]).values(), [4.0, 5.0, 0.0, 1.0]);
        all.append(all.select(&[1])).unwrap();
        assert_eq!(
            (all.num(), all.dim(), all.rows().nth(3).unwrap()),
            (4, 2, &[2.0, 3.0][..])
        );
        assert!(all.append(Features::new(vec![0.0; 3], 3).unwrap()).is_err());
    }

    #[test]
    fn thousands_are_written_short() {
        let name = |num| score_name("fid", num, Some("inception"));
        assert_eq!(
            [999, 1000, 1500, 50_000].map(name),
            [
                "fid999_inception",
                "fid1k_inception",
                "fid1500_inception",
                "fid50k_inception"
            ]
        );
    }
}
