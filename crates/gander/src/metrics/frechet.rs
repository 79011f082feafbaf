//! Fréchet distance between two sets of features, each seen as a normal distribution (FID).

use faer::{
    Accum, Mat,
    linalg::matmul::triangular::{self, BlockStructure},
};

use super::{
    Features, Interval, Resampling,
    matrix::{columns, eigen, eigenvalues, product, scale_columns, threads},
    resampling::interval_of_mean,
};
use crate::error::{Error, Result};

/// Rows that are centered and multiplied at once.
const CHUNK: usize = 1024;

/// Mean and covariance of a set of features.
#[derive(Debug, Clone)]
pub struct Statistics {
    num: usize,
    mean: Vec<f64>,
    covariance: Mat<f64>,
}

impl Statistics {
    /// Mean and unbiased covariance in double precision.
    ///
    /// # Errors
    /// [`Error::TooFewImages`] for fewer than two rows.
    pub fn of(features: &Features) -> Result<Self> {
        features.check_num("fid", 2)?;
        let (num, dim) = (features.num(), features.dim());
        let mean = features.mean();
        let mut covariance = Mat::zeros(dim, dim);
        for from in (0..num).step_by(CHUNK) {
            let centered = columns(features, from, (from + CHUNK).min(num), Some(&mean));
            triangular::matmul(
                covariance.as_mut(),
                BlockStructure::TriangularLower,
                Accum::Add,
                centered.as_ref(),
                BlockStructure::Rectangular,
                centered.transpose(),
                BlockStructure::Rectangular,
                1.0 / (num - 1) as f64,
                threads(),
            );
        }
        for j in 0..dim {
            for i in 0..j {
                covariance[(i, j)] = covariance[(j, i)];
            }
        }
        Ok(Self { num, mean, covariance })
    }

    /// Statistics from elsewhere: `mean` has `dim` values, `covariance` `dim · dim`, row by row.
    ///
    /// # Errors
    /// [`Error::UnlikeFeatures`] if they do not fit.
    pub fn from_parts(num: usize, mean: Vec<f64>, covariance: &[f64]) -> Result<Self> {
        let dim = mean.len();
        if covariance.len() != dim * dim {
            return Err(Error::UnlikeFeatures {
                expected: dim * dim,
                got: covariance.len(),
            });
        }
        let covariance = Mat::from_fn(dim, dim, |i, j| covariance[i * dim + j]);
        Ok(Self { num, mean, covariance })
    }

    /// Number of images behind them.
    pub fn num(&self) -> usize {
        self.num
    }

    /// The mean of each feature.
    pub fn mean(&self) -> &[f64] {
        &self.mean
    }

    /// The covariance of two features.
    pub fn covariance(&self, a: usize, b: usize) -> f64 {
        self.covariance[(a, b)]
    }
}

/// `‖μ₁ − μ₂‖² + tr(Σ₁ + Σ₂ − 2 (Σ₁ Σ₂)^½)`.
///
/// The trace of the root is the sum of the roots of the eigenvalues of `Aᵀ Σ₂ A` with `Σ₁ = A Aᵀ`, a symmetric matrix,
/// so that nothing imaginary comes up where a covariance has no full rank.
///
/// # Errors
/// [`Error::UnlikeFeatures`] for statistics of different length.
///
/// # Source
/// Heusel et al. 2017, equation 6, <https://arxiv.org/abs/1706.08500>.
pub fn frechet_distance(real: &Statistics, fake: &Statistics) -> Result<f64> {
    check_like(real, fake)?;
    let root = root(real)?;
    let middle = product(
        root.transpose(),
        product(fake.covariance.as_ref(), root.as_ref()).as_ref(),
    );
    Ok(distance(real, fake, &eigenvalues(middle.as_ref())?))
}

/// [`frechet_distance`] of features and its interval under resampling of the fakes, the real statistics held fixed.
///
/// Resampled scores are linear around the score: the distance's derivative for the weight of a fake with features `x` is
/// `(x − μ)ᵀ (I − T)(x − μ) + 2 (μ − μ_real)ᵀ (x − μ)` and a constant, where `T` is the optimal transport from the fakes' to the
/// reals' distribution. So an interval costs one more product, and not a decomposition for each resample; and it is free
/// of the bias that a small or resampled set has.
///
/// # Errors
/// Those of [`frechet_distance`] and [`Statistics::of`].
pub fn frechet_distance_with_interval(
    real: &Statistics,
    fake_features: &Features,
    resampling: Resampling,
) -> Result<(f64, Option<Interval>)> {
    let fake = Statistics::of(fake_features)?;
    check_like(real, &fake)?;
    let root = root(real)?;
    let middle = product(
        root.transpose(),
        product(fake.covariance.as_ref(), root.as_ref()).as_ref(),
    );
    let (values, vectors) = eigen(middle.as_ref())?;
    let score = distance(real, &fake, &values);
    // T = A M^(−½) Aᵀ = B Bᵀ with B = A U Λ^(−¼); where no fake varies, nothing is transported.
    let floor = values.iter().fold(0.0, |most: f64, &value| most.max(value)) * 1e-10;
    let vectors = product(root.as_ref(), vectors.as_ref());
    let map = scale_columns(vectors, |j| if values[j] > floor { values[j].powf(-0.25) } else { 0.0 });
    let mut influence = Vec::with_capacity(fake.num);
    for from in (0..fake.num).step_by(CHUNK) {
        let centered = columns(fake_features, from, (from + CHUNK).min(fake.num), Some(&fake.mean));
        let moved = product(map.transpose(), centered.as_ref());
        for j in 0..centered.ncols() {
            let squared = |column: faer::ColRef<'_, f64>| column.iter().map(|value| value * value).sum::<f64>();
            let shift: f64 = (0..real.mean.len())
                .map(|i| (fake.mean[i] - real.mean[i]) * centered[(i, j)])
                .sum();
            influence.push(squared(centered.col(j)) - squared(moved.col(j)) + 2.0 * shift);
        }
    }
    let average = influence.iter().sum::<f64>() / fake.num as f64;
    let interval = interval_of_mean(&influence, resampling).map(|interval| interval.shifted(score - average));
    // A distance is not negative, whatever the linear form says.
    let interval = interval.map(|Interval { low, high }| Interval {
        low: low.max(0.0),
        high,
    });
    Ok((score, interval))
}

fn check_like(real: &Statistics, fake: &Statistics) -> Result<()> {
    if real.mean.len() == fake.mean.len() {
        return Ok(());
    }
    Err(Error::UnlikeFeatures {
        expected: real.mean.len(),
        got: fake.mean.len(),
    })
}

/// `A` with `A Aᵀ = Σ`; eigenvalues that rounding made negative count as zero.
fn root(statistics: &Statistics) -> Result<Mat<f64>> {
    let (values, vectors) = eigen(statistics.covariance.as_ref())?;
    Ok(scale_columns(vectors, |j| values[j].max(0.0).sqrt()))
}

/// The distance, given the eigenvalues of `Aᵀ Σ_fake A`.
fn distance(real: &Statistics, fake: &Statistics, values: &[f64]) -> f64 {
    let between: f64 = real.mean.iter().zip(&fake.mean).map(|(a, b)| (a - b) * (a - b)).sum();
    let trace = |statistics: &Statistics| {
        (0..statistics.mean.len())
            .map(|i| statistics.covariance(i, i))
            .sum::<f64>()
    };
    let common: f64 = values.iter().map(|value| value.max(0.0).sqrt()).sum();
    (between + trace(real) + trace(fake) - 2.0 * common).max(0.0)
}

#[cfg(test)]
mod tests {
    use gander_tensor::RandomKey;

    use super::*;
    use crate::metrics::resampling::interval_of;

    /// Sums of uniform numbers, wider in later features and moved by `shift`.
    fn cloud(seed: u64, num: usize, dim: usize, shift: f32) -> Features {
        let key = RandomKey::from_seed(seed);
        let value = |at: usize| {
            let sum: f64 = (0..4)
                .map(|part| key.split((at * 4 + part) as u64).uniform() - 0.5)
                .sum();
            sum as f32 * (1.0 + (at % dim) as f32 / dim as f32) + shift
        };
        Features::new((0..num * dim).map(value).collect(), dim).unwrap()
    }

    /// N(0, diag(1, 4)) and N((1, 2), diag(9, 4)): 5 + (1 + 9 − 2·3) + (4 + 4 − 2·4) = 9.
    #[test]
    fn diagonal_covariances_by_hand() {
        let real = Statistics::from_parts(9, vec![0.0, 0.0], &[1.0, 0.0, 0.0, 4.0]).unwrap();
        let fake = Statistics::from_parts(9, vec![1.0, 2.0], &[9.0, 0.0, 0.0, 4.0]).unwrap();
        assert!((frechet_distance(&real, &fake).unwrap() - 9.0).abs() < 1e-12);
    }

    #[test]
    fn a_set_is_at_no_distance_from_itself_even_without_full_rank() {
        // Twenty points in fifty dimensions.
        let features = cloud(1, 20, 50, 0.0);
        let statistics = Statistics::of(&features).unwrap();
        let distance = frechet_distance(&statistics, &statistics).unwrap();
        assert!(distance < 1e-6, "{distance}");
        let (same, interval) = frechet_distance_with_interval(&statistics, &features, Resampling::default()).unwrap();
        assert!(same < 1e-6 && interval.unwrap().high < 1e-2, "{same} {interval:?}");
    }

    #[test]
    fn the_distance_has_no_direction() {
        let [a, b] = [(1, 0.0), (2, 0.3)].map(|(seed, shift)| Statistics::of(&cloud(seed, 200, 8, shift)).unwrap());
        let (there, back) = (frechet_distance(&a, &b).unwrap(), frechet_distance(&b, &a).unwrap());
        assert!((there - back).abs() < 1e-9 && there > 0.5, "{there} {back}");
    }

    /// The linear form against the bootstrap itself: the same width to a tenth.
    #[test]
    fn the_interval_is_that_of_the_bootstrap() {
        let real = Statistics::of(&cloud(1, 4000, 6, 0.0)).unwrap();
        let fakes = cloud(2, 2000, 6, 0.2);
        let resampling = Resampling { num: 400, seed: 3 };
        let (score, interval) = frechet_distance_with_interval(&real, &fakes, resampling).unwrap();
        let interval = interval.unwrap();
        let plain = interval_of(2000, resampling, |drawn| {
            frechet_distance(&real, &Statistics::of(&fakes.select(drawn)).unwrap()).unwrap()
        })
        .unwrap();
        let (width, expected) = (interval.high - interval.low, plain.high - plain.low);
        assert!(
            (width / expected - 1.0).abs() < 0.1,
            "{interval:?} instead of {plain:?}"
        );
        assert!(interval.low < score && score < interval.high);
    }

    #[test]
    fn unlike_features_are_refused() {
        let real = Statistics::of(&cloud(1, 10, 3, 0.0)).unwrap();
        let fake = Statistics::of(&cloud(1, 10, 4, 0.0)).unwrap();
        assert!(matches!(
            frechet_distance(&real, &fake),
            Err(Error::UnlikeFeatures { expected: 3, got: 4 })
        ));
        assert!(matches!(
            Statistics::of(&cloud(1, 1, 3, 0.0)),
            Err(Error::TooFewImages { .. })
        ));
    }
}
