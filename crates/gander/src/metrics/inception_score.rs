//! How sure is a classifier of each image, and how many classes does it see (the Inception score)?

use super::{Features, Interval, Resampling, resampling::resampled};
use crate::error::Result;

/// An Inception score over splits.
#[derive(Debug, Clone, PartialEq)]
pub struct InceptionScore {
    /// The score of each split.
    pub splits: Vec<f64>,
}

impl InceptionScore {
    /// The score: the mean over the splits.
    pub fn mean(&self) -> f64 {
        self.splits.iter().sum::<f64>() / self.splits.len() as f64
    }

    /// The standard deviation over the splits.
    pub fn standard_deviation(&self) -> f64 {
        let mean = self.mean();
        let squares: f64 = self.splits.iter().map(|score| (score - mean).powi(2)).sum();
        (squares / self.splits.len() as f64).sqrt()
    }
}

/// `exp E_x KL(p(y | x) ‖ p(y))` of each of `splits` consecutive parts.
///
/// # Shapes
/// - `logits`: `[num, classes]`, before the softmax
///
/// # Errors
/// [`crate::Error::TooFewImages`] for fewer images than splits.
///
/// # Source
/// Salimans et al. 2016, section 4, <https://arxiv.org/abs/1606.03498>.
pub fn inception_score(logits: &Features, splits: usize) -> Result<InceptionScore> {
    let splits = splits.max(1);
    logits.check_num("is", splits)?;
    let images = Images::new(logits);
    let num = logits.num();
    let splits = (0..splits)
        .map(|split| images.score((split * num / splits)..((split + 1) * num / splits)))
        .collect();
    Ok(InceptionScore { splits })
}

/// The interval of the score of one split under resampling of the images, moved to the mean of the given score.
pub fn inception_score_interval(logits: &Features, score: &InceptionScore, resampling: Resampling) -> Option<Interval> {
    let images = Images::new(logits);
    let mut scores = resampled(logits.num(), resampling, |drawn| images.score(drawn.iter().copied()))?;
    Some(Interval::around(score.mean(), &mut scores))
}

/// Probabilities of classes, and for each image `Σ p ln p`.
struct Images {
    probabilities: Vec<f64>,
    negative_entropy: Vec<f64>,
    classes: usize,
}

impl Images {
    fn new(logits: &Features) -> Self {
        let mut images = Self {
            probabilities: Vec::with_capacity(logits.values().len()),
            negative_entropy: Vec::with_capacity(logits.num()),
            classes: logits.dim(),
        };
        for row in logits.rows() {
            let most = f64::from(row.iter().copied().fold(f32::NEG_INFINITY, f32::max));
            let log_sum = row.iter().map(|&x| (f64::from(x) - most).exp()).sum::<f64>().ln() + most;
            let log = |x: &f32| f64::from(*x) - log_sum;
            images.probabilities.extend(row.iter().map(|x| log(x).exp()));
            images
                .negative_entropy
                .push(row.iter().map(|x| log(x).exp() * log(x)).sum());
        }
        images
    }

    /// `exp(mean Σ p ln p − Σ q ln q)` with the mean `q` of the `p`: the same as the mean divergence from `q`.
    fn score(&self, indices: impl ExactSizeIterator<Item = usize>) -> f64 {
        let num = indices.len() as f64;
        let mut sum = vec![0.0; self.classes];
        let mut negative_entropy = 0.0;
        for index in indices {
            negative_entropy += self.negative_entropy[index];
            let row = &self.probabilities[index * self.classes..(index + 1) * self.classes];
            sum.iter_mut().zip(row).for_each(|(sum, p)| *sum += p);
        }
        let of_mean: f64 = sum
            .iter()
            .map(|sum| sum / num)
            .filter(|&q| q > 0.0)
            .map(|q| q * q.ln())
            .sum();
        (negative_entropy / num - of_mean).exp()
    }
}

#[cfg(test)]
mod tests {
    use gander_tensor::RandomKey;

    use super::*;

    /// Sure of each of four classes in turn: the score is their number. Never sure: one.
    #[test]
    fn extremes_by_hand() {
        let sure: Vec<f32> = (0..8)
            .flat_map(|i| (0..4).map(move |class| if class == i % 4 { 50.0 } else { 0.0 }))
            .collect();
        let score = inception_score(&Features::new(sure, 4).unwrap(), 2).unwrap();
        assert!(
            (score.mean() - 4.0).abs() < 1e-9 && score.standard_deviation() < 1e-9,
            "{score:?}"
        );
        let unsure = inception_score(&Features::new(vec![0.3; 12], 4).unwrap(), 1).unwrap();
        assert!((unsure.mean() - 1.0).abs() < 1e-12, "{unsure:?}");
        assert!(inception_score(&Features::new(vec![0.3; 12], 4).unwrap(), 4).is_err());
    }

    /// With many classes a resampled set sees fewer of them.
    #[test]
    fn the_interval_holds_the_score() {
        let key = RandomKey::from_seed(1);
        let logits = (0..200 * 300).map(|i| (4.0 * key.split(i).uniform()) as f32).collect();
        let logits = Features::new(logits, 300).unwrap();
        let score = inception_score(&logits, 1).unwrap();
        let interval = inception_score_interval(&logits, &score, Resampling::default()).unwrap();
        assert!(
            interval.low < score.mean() && score.mean() < interval.high,
            "{interval:?}"
        );
    }
}
