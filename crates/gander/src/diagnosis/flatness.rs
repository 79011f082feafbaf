//! When did a run stop getting better?

use crate::metrics::Better;

/// A score that improves by less than this share of itself counts as flat.
///
/// Scores of 1000 fakes from the same latents move by about one percent from one evaluation to the next.
pub const LEAST: f64 = 0.02;

/// Evaluations without improvement that make a run flat, or a third of all if that is more: a rate that falls along a
/// cosine has slow stretches.
pub const PATIENCE: usize = 6;

/// Where a score stopped improving: the index of the evaluation after which nothing better by more than [`LEAST`] came, if
/// [`PATIENCE`] has run out since.
pub fn flat_since(scores: &[f64], better: Better) -> Option<usize> {
    let mut since = 0;
    for (index, score) in scores.iter().enumerate() {
        let gain = match better {
            Better::Lower => scores[since] - score,
            Better::Higher => score - scores[since],
        };
        if gain > LEAST * scores[since].abs() {
            since = index;
        }
    }
    let waited = scores.len().checked_sub(since + 1)?;
    (waited >= PATIENCE.max(scores.len() / 3)).then_some(since)
}

#[cfg(test)]
mod tests {
    use super::{super::tests::noise, *};

    #[test]
    fn a_falling_score_is_not_flat_and_a_resting_one_is() {
        let falling: Vec<f64> = (0..40).map(|i| 100.0 * 0.95f64.powi(i)).collect();
        assert!((0..40).all(|end| flat_since(&falling[..end], Better::Lower).is_none()));
        let resting: Vec<f64> = (0..24)
            .map(|i| {
                if i < 8 {
                    100.0 / (i + 1) as f64
                } else {
                    12.5 + 0.1 * noise(i)
                }
            })
            .collect();
        assert_eq!(flat_since(&resting, Better::Lower), Some(7));
        assert_eq!(flat_since(&resting[..12], Better::Lower), None);
        let rising: Vec<f64> = resting.iter().map(|score| -score).collect();
        assert_eq!(flat_since(&rising, Better::Higher), Some(7));
        assert_eq!(flat_since(&[], Better::Lower), None);
    }
}
