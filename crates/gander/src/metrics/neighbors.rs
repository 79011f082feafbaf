//! Precision, recall, density and coverage: whose neighborhoods do the images of the other side fall into?

use serde::{Deserialize, Serialize};

use super::{
    Features, Interval, Resampling,
    matrix::{columns, product},
    resampling::interval_of_mean,
};
use crate::error::Result;

/// Neighbors that make an image's neighborhood where nobody says otherwise, as in prdc 0.2's examples.
pub const NEIGHBORS: usize = 5;
/// Rows of distances at once.
const CHUNK: usize = 512;

/// The four scores.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct NeighborScores {
    /// Share of the fakes that lie in some real's neighborhood: fidelity.
    pub precision: f64,
    /// Share of the reals that lie in some fake's neighborhood: variety.
    pub recall: f64,
    /// Neighborhoods of reals that a fake lies in, over `k`: fidelity that a lone outlier cannot lift.
    pub density: f64,
    /// Share of the reals with a fake in their neighborhood: variety that does not depend on the fakes' own.
    pub coverage: f64,
}

/// The four scores, and their intervals under resampling of the images that each is a mean over.
///
/// The neighborhood of an image is the open ball up to its `k`-th nearest other image of its set.
///
/// # Errors
/// [`crate::Error::TooFewImages`] for `k` images or fewer on a side, [`crate::Error::UnlikeFeatures`].
///
/// # Source
/// Kynkäänniemi et al. 2019, <https://arxiv.org/abs/1904.06991>; Naeem et al. 2020,
/// <https://arxiv.org/abs/2002.09797>, whose strict `<` is taken for all four.
pub fn neighbor_scores(real: &Features, fake: &Features, k: usize) -> Result<NeighborScores> {
    Ok(neighborhoods(real, fake, k)?.scores())
}

/// What each image contributes to the scores.
#[derive(Debug, Clone)]
pub struct Neighborhoods {
    /// For each fake: 1 in a real's neighborhood, else 0.
    pub precision: Vec<f64>,
    /// For each real: 1 in a fake's neighborhood, else 0.
    pub recall: Vec<f64>,
    /// For each fake: neighborhoods of reals around it, over `k`.
    pub density: Vec<f64>,
    /// For each real: 1 with a fake in its neighborhood, else 0.
    pub coverage: Vec<f64>,
}

impl Neighborhoods {
    /// The means.
    pub fn scores(&self) -> NeighborScores {
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
        NeighborScores {
            precision: mean(&self.precision),
            recall: mean(&self.recall),
            density: mean(&self.density),
            coverage: mean(&self.coverage),
        }
    }

    /// Their intervals, in the order precision, recall, density, coverage; the other side's neighborhoods are held fixed.
    pub fn intervals(&self, resampling: Resampling) -> [Option<Interval>; 4] {
        [&self.precision, &self.recall, &self.density, &self.coverage]
            .map(|values| interval_of_mean(values, resampling))
    }
}

/// [`neighbor_scores`] before the means are taken.
///
/// # Errors
/// Those of [`neighbor_scores`].
pub fn neighborhoods(real: &Features, fake: &Features, k: usize) -> Result<Neighborhoods> {
    real.check_like(fake)?;
    let k = k.max(1);
    super::check_num("prdc", real.num().min(fake.num()), k + 1)?;
    // Distances do not change with the origin, and differences of squares lose least near it.
    let center = real.mean();
    let (real, fake) = (Cloud::new(real, &center), Cloud::new(fake, &center));
    let (real_radii, fake_radii) = (real.radii(k), fake.radii(k));
    let mut around_fake = vec![0u32; fake.num()];
    let mut recall = Vec::with_capacity(real.num());
    let mut coverage = Vec::with_capacity(real.num());
    real.for_each_distances(&fake, |index, squared| {
        let radius = real_radii[index];
        let (mut is_covered, mut is_recalled) = (false, false);
        for ((&squared, count), &fake_radius) in squared.iter().zip(&mut around_fake).zip(&fake_radii) {
            *count += u32::from(squared < radius);
            is_covered |= squared < radius;
            is_recalled |= squared < fake_radius;
        }
        recall.push(f64::from(u8::from(is_recalled)));
        coverage.push(f64::from(u8::from(is_covered)));
    });
    Ok(Neighborhoods {
        precision: around_fake.iter().map(|&count| f64::from(count.min(1))).collect(),
        density: around_fake.iter().map(|&count| f64::from(count) / k as f64).collect(),
        recall,
        coverage,
    })
}

/// Points as columns, with the squares of their lengths.
struct Cloud {
    points: faer::Mat<f64>,
    squares: Vec<f64>,
}

impl Cloud {
    fn new(features: &Features, center: &[f64]) -> Self {
        let points = columns(features, 0, features.num(), Some(center));
        let squares = (0..points.ncols())
            .map(|j| points.col(j).iter().map(|value| value * value).sum())
            .collect();
        Self { points, squares }
    }

    fn num(&self) -> usize {
        self.squares.len()
    }

    /// Calls `visit(index, squared distances to all points of the other cloud)` for each point.
    fn for_each_distances(&self, other: &Self, mut visit: impl FnMut(usize, &[f64])) {
        let mut row = vec![0.0; other.num()];
        for from in (0..self.num()).step_by(CHUNK) {
            let own = self.points.subcols(from, CHUNK.min(self.num() - from));
            let inner = product(other.points.transpose(), own);
            for j in 0..own.ncols() {
                let square = self.squares[from + j];
                for ((distance, inner), other) in row.iter_mut().zip(inner.col(j).iter()).zip(&other.squares) {
                    *distance = (square + other - 2.0 * inner).max(0.0);
                }
                visit(from + j, &row);
            }
        }
    }

    /// The squared distance of each point from its `k`-th nearest other.
    fn radii(&self, k: usize) -> Vec<f64> {
        let mut radii = Vec::with_capacity(self.num());
        let mut nearest = Vec::with_capacity(self.num());
        self.for_each_distances(self, |index, squared| {
            nearest.clear();
            nearest.extend_from_slice(squared);
            nearest[index] = 0.0;
            radii.push(*nearest.select_nth_unstable_by(k, f64::total_cmp).1);
        });
        radii
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn features(values: &[f32]) -> Features {
        Features::new(values.to_vec(), 1).unwrap()
    }

    /// On a line, k = 1: reals 0, 1, 3 have the radii 1, 1, 2; fakes 0.5, 2.5, 10 the radii 2, 2, 7.5.
    ///
    /// 0.5 is near 0 and 1; 2.5 near 3; 10 near none: precision 2/3, density 3/3.
    /// 0 (distance 0.5) and 1 (0.5) and 3 (0.5) are each near a fake: recall 1; the nearest fakes are within 1, 1, 2: coverage 1.
    #[test]
    fn points_on_a_line_by_hand() {
        let scores = neighbor_scores(&features(&[0.0, 1.0, 3.0]), &features(&[0.5, 2.5, 10.0]), 1).unwrap();
        assert!((scores.precision - 2.0 / 3.0).abs() < 1e-12, "{scores:?}");
        assert_eq!((scores.recall, scores.density, scores.coverage), (1.0, 1.0, 1.0));
    }

    /// A fake exactly on the edge of the only neighborhood does not count.
    #[test]
    fn the_edge_is_outside() {
        let scores = neighbor_scores(&features(&[0.0, 1.0]), &features(&[2.0, -1.0]), 1).unwrap();
        assert_eq!((scores.precision, scores.density, scores.coverage), (0.0, 0.0, 0.0));
    }

    #[test]
    fn a_set_covers_itself() {
        let set = features(&(0..50u8).map(|i| f32::from(i).powf(1.3)).collect::<Vec<_>>());
        let whole = neighborhoods(&set, &set, 5).unwrap();
        let scores = whole.scores();
        assert_eq!((scores.precision, scores.recall, scores.coverage), (1.0, 1.0, 1.0));
        let intervals = whole.intervals(Resampling::default());
        assert_eq!(intervals[0], Some(Interval { low: 1.0, high: 1.0 }));
        assert!(intervals[2].is_some_and(|density| density.low < scores.density && scores.density < density.high));
    }

    #[test]
    fn more_than_k_images_are_needed() {
        let five = features(&[0.0, 1.0, 2.0, 3.0, 4.0]);
        assert!(neighbor_scores(&five, &five, 5).is_err());
        assert!(neighbor_scores(&five, &five, 4).is_ok());
    }
}
