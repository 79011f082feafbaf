//! The answer in a sentence: use them at this ratio, or do not.

use super::measure::{Difference, Estimate, Mix, Scores, Setting};

/// What the measurement says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Verdict {
    /// Whether to use the images.
    pub(super) is_use: bool,
    /// The sentence.
    pub(super) sentence: String,
}

/// Which number decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Deciding {
    /// The share of all held-out images.
    Accuracy,
    /// The mean share of the classes: where rare ones are filled up, they count as much as the others.
    MeanRecall,
}

impl Deciding {
    pub(super) fn of_scores(self, scores: &Scores) -> Estimate {
        match self {
            Self::Accuracy => scores.accuracy,
            Self::MeanRecall => scores.mean_recall,
        }
    }

    fn of_difference(self, difference: &Difference) -> Estimate {
        match self {
            Self::Accuracy => difference.accuracy,
            Self::MeanRecall => difference.mean_recall,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Accuracy => "accuracy",
            Self::MeanRecall => "mean recall",
        }
    }
}

/// The verdict on [`Setting::Both`] beside [`Setting::Classical`], which costs nothing and comes first.
///
/// Only an interval clear of zero is a reason to use the images.
pub(super) fn verdict(deciding: Deciding, scores: &[Scores], difference: &Difference, mix: Mix) -> Verdict {
    let gain = deciding.of_difference(difference);
    let value = |setting| {
        let found = scores.iter().find(|scores| scores.setting == setting);
        100.0 * found.map_or(f64::NAN, |scores| deciding.of_scores(scores).value)
    };
    let (before, after) = (value(Setting::Classical), value(Setting::Both));
    let change = format!(
        "{} goes from {before:.1} % with classical augmentation alone to {after:.1} % with both ({})",
        deciding.name(),
        points(gain)
    );
    let how = format!(
        "{} synthetic for each real one, {:.0} % of what is shown",
        ratio(mix.ratio),
        100.0 * mix.share
    );
    let is_use = gain.low > 0.0;
    let sentence = if is_use {
        format!("Use them, {how}: {change}.")
    } else if gain.high < 0.0 {
        format!("Do not use them: they do harm. At their best, {how}, {change}.")
    } else {
        format!("Do not use them: no gain can be told from chance. At their best, {how}, {change}.")
    };
    Verdict { is_use, sentence }
}

/// `+1.2 points, 95 % interval +0.3 to +2.1`.
pub(super) fn points(gain: Estimate) -> String {
    let [value, low, high] = [gain.value, gain.low, gain.high].map(|share| 100.0 * share);
    format!("{value:+.1} points, 95 % interval {low:+.1} to {high:+.1}")
}

/// `4`, `0.5`.
pub(super) fn ratio(ratio: f64) -> String {
    let text = format!("{ratio:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn estimate(value: f64, half: f64) -> Estimate {
        Estimate {
            value,
            low: value - half,
            high: value + half,
        }
    }

    fn verdict_of(gain: Estimate) -> Verdict {
        let scores = |setting, value| Scores {
            setting,
            accuracy: estimate(value, 0.01),
            mean_recall: estimate(value, 0.01),
            recall: Vec::new(),
            calibration_error: estimate(0.1, 0.01),
        };
        let difference = Difference {
            of: Setting::Both,
            over: Setting::Classical,
            accuracy: gain,
            mean_recall: gain,
            recall: Vec::new(),
        };
        let all = [scores(Setting::Classical, 0.8), scores(Setting::Both, 0.8 + gain.value)];
        let mix = Mix {
            ratio: 4.0,
            share: 0.25,
        };
        verdict(Deciding::Accuracy, &all, &difference, mix)
    }

    #[test]
    fn only_a_gain_that_is_clear_of_zero_is_one() {
        let good = verdict_of(estimate(0.014, 0.008));
        assert!(good.is_use);
        assert_eq!(
            good.sentence,
            "Use them, 4 synthetic for each real one, 25 % of what is shown: accuracy goes from 80.0 % with classical \
             augmentation alone to 81.4 % with both (+1.4 points, 95 % interval +0.6 to +2.2)."
        );
        let unclear = verdict_of(estimate(0.01, 0.011));
        assert!(
            !unclear.is_use && unclear.sentence.contains("told from chance"),
            "{unclear:?}"
        );
        let bad = verdict_of(estimate(-0.02, 0.01));
        assert!(!bad.is_use && bad.sentence.contains("they do harm"), "{bad:?}");
    }

    #[test]
    fn ratios_are_short() {
        assert_eq!([4.0, 0.5, 1.25, 0.333].map(ratio), ["4", "0.5", "1.25", "0.33"]);
    }
}
