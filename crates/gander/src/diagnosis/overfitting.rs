//! Does the discriminator know the images, or what they have in common?

use super::{Finding, Vitals, lasting_high, surely_above};
use crate::events::Severity;

/// Overfitting from which the discriminator counts as learning by heart: held-out images look as much like fakes as like
/// the images that it was shown.
///
/// Runs on 10,000 pots and 60,000 pieces of clothing stayed below 0.2 in the median; on 340 faces the same networks reached
/// 0.35 after 12 kimg and 0.5 after 30.
pub const BY_HEART: f64 = 0.5;

/// What the mean of the last measurements must exceed besides, by two standard errors.
///
/// Where a penalty holds the discriminator, the logits of some dozens of images say little: single measurements lay 0.2 to 0.4 around
/// 0.1, and of 22 healthy runs (CIFAR-10, Fashion-MNIST, pots) five in a row were above [`BY_HEART`] in three. None of these came
/// above 0.25 at such a moment; on 400 faces the alarm comes when it came without.
pub const SURELY: f64 = 0.3;

/// How far held-out images have fallen from the logits of training images towards those of fakes: 0 where the
/// discriminator treats them as training images, 1 where it takes them for fakes.
///
/// `(mean D(training) − mean D(held out)) / (mean D(training) − mean D(fakes))`, which does not change where all logits move,
/// so that it holds for losses that compare pairs too. `None` where training images and fakes are told apart by less than
/// half a standard deviation: then the number is noise.
///
/// # Source
/// Karras et al. 2020, equation 1, `r_v`, <https://arxiv.org/abs/2006.06676>.
pub fn overfitting(training: &[f64], held_out: &[f64], fakes: &[f64]) -> Option<f64> {
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len().max(1) as f64;
    let [of_training, of_held_out, of_fakes] = [training, held_out, fakes].map(mean);
    let square = |value: &f64| (value - of_training).powi(2);
    let deviation = (training.iter().map(square).sum::<f64>() / training.len().max(1) as f64).sqrt();
    let gap = of_training - of_fakes;
    (gap > 0.5 * deviation && gap > 0.0).then(|| (of_training - of_held_out) / gap)
}

/// Held-out images look like fakes to the discriminator: [`BY_HEART`], and not by chance: [`SURELY`].
pub fn learns_by_heart(history: &[Vitals]) -> Option<Finding> {
    let share = lasting_high(history, |vitals| vitals.overfitting)?;
    let surely = surely_above(history, |vitals| vitals.overfitting)?;
    (share > BY_HEART && surely > SURELY).then(|| Finding {
        severity: Severity::Warning,
        seen: format!(
            "it holds held-out images for {:.0} % as fake as what the generator makes (alarm above {:.0} %)",
            share * 100.0,
            BY_HEART * 100.0
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::{
        super::tests::{noise, series},
        *,
    };

    #[test]
    fn overfitting_by_hand() {
        let [training, fakes] = [[3.0, 5.0], [-1.0, 1.0]];
        assert_eq!(overfitting(&training, &[4.0], &fakes), Some(0.0));
        assert_eq!(overfitting(&training, &[1.0], &fakes), Some(0.75));
        assert_eq!(overfitting(&training, &[0.0], &fakes), Some(1.0));
        // All logits moved.
        assert_eq!(overfitting(&[13.0, 15.0], &[11.0], &[9.0, 11.0]), Some(0.75));
        // Nothing can be said without a gap.
        assert_eq!(overfitting(&training, &[4.0], &[3.9, 3.9]), None);
        assert_eq!(overfitting(&training, &[4.0], &[9.0]), None);
    }

    #[test]
    fn only_what_lasts_is_an_alarm() {
        let shares = |level: f64| series((0..20).map(|i| level + 0.3 * noise(i)), |v, x| v.overfitting = Some(x));
        assert!(learns_by_heart(&shares(0.95)).is_some());
        assert!(learns_by_heart(&shares(0.1)).is_none());
    }

    /// Five in a row that are high by chance, as they were on CIFAR-10; and as many of a number that rose.
    #[test]
    fn what_is_high_by_chance_is_no_alarm() {
        let history = |shares: &[f64]| series([0.1; 10].iter().chain(shares).copied(), |v, x| v.overfitting = Some(x));
        assert!(learns_by_heart(&history(&[-0.2, 0.53, 0.24, 0.56, 0.06, 0.55, 0.9])).is_none());
        let risen: Vec<f64> = (0..12).map(|i| 0.3 + 0.025 * f64::from(i)).collect();
        assert!(learns_by_heart(&history(&risen)).is_some());
    }
}
