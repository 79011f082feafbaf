//! Does it help? The same classifier after each mix of images, in pairs, with intervals.

use gander_tensor::RandomKey;
use serde::Serialize;

use super::split::Answers;
use crate::metrics::resampling::{below, quantile};

/// What a classifier learns from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Setting {
    /// Real images as they are.
    Real,
    /// Real images, cropped, mirrored where sensible, recolored, cut out and mixed.
    Classical,
    /// Real and synthetic images as they are.
    Synthetic,
    /// Real and synthetic images, both changed as in [`Setting::Classical`].
    Both,
}

impl Setting {
    /// All of them, in the order of the table.
    pub const ALL: [Self; 4] = [Self::Real, Self::Classical, Self::Synthetic, Self::Both];

    /// What a reader calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Real => "real alone",
            Self::Classical => "real + classical",
            Self::Synthetic => "real + synthetic",
            Self::Both => "real + both",
        }
    }

    pub(super) fn is_augmented(self) -> bool {
        matches!(self, Self::Classical | Self::Both)
    }
}

/// How synthetic images stand beside real ones.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Mix {
    /// Different synthetic images for each real one, over all classes.
    pub ratio: f64,
    /// Share of what is shown that is synthetic: their weight.
    pub share: f64,
}

/// A number and where 95 % of its resampled values lie.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Estimate {
    /// The number.
    pub value: f64,
    /// 2.5 % are below.
    pub low: f64,
    /// 2.5 % are above.
    pub high: f64,
}

/// What came of one setting.
#[derive(Debug, Clone, Serialize)]
pub struct Scores {
    /// Which.
    pub setting: Setting,
    /// Share of the held-out images that get their own class.
    pub accuracy: Estimate,
    /// The mean over the classes of the share of each that gets it.
    pub mean_recall: Estimate,
    /// That share for each class, in the order of the classes.
    pub recall: Vec<Estimate>,
    /// Expected calibration error: how far sureness and accuracy are apart, over 15 bins of sureness.
    pub calibration_error: Estimate,
}

/// How much more one setting gives than another, on the same images after the same seeds.
#[derive(Debug, Clone, Serialize)]
pub struct Difference {
    /// The one.
    pub of: Setting,
    /// The other.
    pub over: Setting,
    /// Of the accuracy.
    pub accuracy: Estimate,
    /// Of the mean recall.
    pub mean_recall: Estimate,
    /// Of the recall of each class.
    pub recall: Vec<Estimate>,
}

/// A mix that was tried on the images for choosing.
#[derive(Debug, Clone, Serialize)]
pub struct Tried {
    /// Which.
    pub mix: Mix,
    /// How much more accurate than [`Setting::Classical`]; of the mean recall where rare classes are filled up.
    pub gain: Estimate,
}

/// Sets that are drawn for an interval.
const RESAMPLES: u64 = 1000;
/// Bins of the calibration error (Guo et al. 2017, <https://arxiv.org/abs/1706.04599>).
const BINS: usize = 15;

/// The answers of the trials of one setting.
#[derive(Debug, Clone, Default)]
pub(super) struct Outcomes(pub(super) Vec<Answers>);

/// A number that is computed of some trials and some images, both counted as often as they were drawn.
type Measure<'a> = dyn Fn(&[usize], &[usize]) -> f64 + 'a;

/// The number for all, and its interval: trials and images are both drawn with replacement, so that it holds for other
/// seeds and other held-out images alike.
fn estimate(trials: usize, images: usize, measure: &Measure<'_>) -> Estimate {
    let value = measure(&(0..trials).collect::<Vec<_>>(), &(0..images).collect::<Vec<_>>());
    let key = RandomKey::from_seed(0).named("two-level resampling");
    let draw = |key: RandomKey, len: usize| -> Vec<usize> {
        (0..len).map(|place| below(key.split(place as u64), len)).collect()
    };
    let mut values: Vec<f64> = (0..RESAMPLES)
        .map(|set| {
            let key = key.split(set);
            measure(&draw(key.named("trials"), trials), &draw(key.named("images"), images))
        })
        .filter(|value| value.is_finite())
        .collect();
    values.sort_by(f64::total_cmp);
    let end = |share| {
        if values.is_empty() {
            value
        } else {
            quantile(&values, share)
        }
    };
    Estimate {
        value,
        low: end(0.025),
        high: end(0.975),
    }
}

impl Outcomes {
    fn labels(&self) -> &[u32] {
        self.0.first().map_or(&[], |answers| &answers.labels)
    }

    fn is_right(&self, trial: usize, image: usize) -> f64 {
        let answers = &self.0[trial];
        f64::from(u8::from(answers.labels[image] == answers.seen[image]))
    }

    fn accuracy(&self, trials: &[usize], images: &[usize]) -> f64 {
        let right = |&trial: &usize| images.iter().map(|&image| self.is_right(trial, image)).sum::<f64>();
        trials.iter().map(right).sum::<f64>() / (trials.len() * images.len()).max(1) as f64
    }

    /// Classes without an image in the draw do not count.
    fn mean_recall(&self, trials: &[usize], images: &[usize]) -> f64 {
        let labels = self.labels();
        let classes = labels.iter().max().map_or(0, |&label| label as usize + 1);
        let (mut right, mut count) = (vec![0.0; classes], vec![0.0; classes]);
        for &image in images {
            let class = labels[image] as usize;
            count[class] += trials.len() as f64;
            right[class] += trials.iter().map(|&trial| self.is_right(trial, image)).sum::<f64>();
        }
        let recalls: Vec<f64> = right
            .iter()
            .zip(&count)
            .filter(|(_, count)| **count > 0.0)
            .map(|(right, count)| right / count)
            .collect();
        recalls.iter().sum::<f64>() / recalls.len().max(1) as f64
    }

    fn calibration_error(&self, trials: &[usize], images: &[usize]) -> f64 {
        let of_trial = |&trial: &usize| {
            let mut bins = [(0.0, 0.0); BINS];
            for &image in images {
                let sure = f64::from(self.0[trial].confidence[image]);
                let bin = &mut bins[((sure * BINS as f64) as usize).min(BINS - 1)];
                bin.0 += sure;
                bin.1 += self.is_right(trial, image);
            }
            bins.iter().map(|(sure, right)| (sure - right).abs()).sum::<f64>() / images.len().max(1) as f64
        };
        trials.iter().map(of_trial).sum::<f64>() / trials.len().max(1) as f64
    }

    fn len(&self) -> (usize, usize) {
        (self.0.len(), self.labels().len())
    }

    /// Indices of the images of each class.
    fn of_class(&self, classes: usize) -> Vec<Vec<usize>> {
        let mut of_class = vec![Vec::new(); classes];
        for (image, &label) in self.labels().iter().enumerate() {
            of_class[label as usize].push(image);
        }
        of_class
    }

    /// Everything that is told of a setting.
    pub(super) fn scores(&self, setting: Setting, classes: usize) -> Scores {
        let (trials, images) = self.len();
        let recall = |own: &Vec<usize>| {
            let measure = |trials: &[usize], places: &[usize]| {
                let images: Vec<usize> = places.iter().map(|&place| own[place]).collect();
                self.accuracy(trials, &images)
            };
            estimate(trials, own.len(), &measure)
        };
        Scores {
            setting,
            accuracy: estimate(trials, images, &|trials, images| self.accuracy(trials, images)),
            mean_recall: estimate(trials, images, &|trials, images| self.mean_recall(trials, images)),
            recall: self.of_class(classes).iter().map(recall).collect(),
            calibration_error: estimate(trials, images, &|trials, images| self.calibration_error(trials, images)),
        }
    }

    /// How much more accurate than others, image by image and trial by trial.
    pub(super) fn gain(&self, over: &Self) -> Estimate {
        let (trials, images) = self.len();
        let measure =
            |trials: &[usize], images: &[usize]| self.accuracy(trials, images) - over.accuracy(trials, images);
        estimate(trials, images, &measure)
    }

    /// The same of the mean recall.
    pub(super) fn recall_gain(&self, over: &Self) -> Estimate {
        let (trials, images) = self.len();
        let measure =
            |trials: &[usize], images: &[usize]| self.mean_recall(trials, images) - over.mean_recall(trials, images);
        estimate(trials, images, &measure)
    }

    /// Everything that is told of a pair of settings.
    pub(super) fn difference(&self, of: Setting, (over, others): (Setting, &Self), classes: usize) -> Difference {
        let recall = |own: &Vec<usize>| {
            let measure = |trials: &[usize], places: &[usize]| {
                let images: Vec<usize> = places.iter().map(|&place| own[place]).collect();
                self.accuracy(trials, &images) - others.accuracy(trials, &images)
            };
            estimate(self.len().0, own.len(), &measure)
        };
        Difference {
            of,
            over,
            accuracy: self.gain(others),
            mean_recall: self.recall_gain(others),
            recall: self.of_class(classes).iter().map(recall).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two classes of `images` each; every image of a trial is right but the first `wrong` of each class.
    fn outcomes(images: usize, wrong: &[usize]) -> Outcomes {
        let labels: Vec<u32> = (0..2 * images).map(|image| (image / images) as u32).collect();
        let answers = |&wrong: &usize| Answers {
            seen: (0..2 * images)
                .map(|image| labels[image] ^ u32::from(image % images < wrong))
                .collect(),
            confidence: vec![0.75; 2 * images],
            labels: labels.clone(),
        };
        Outcomes(wrong.iter().map(answers).collect())
    }

    #[test]
    fn scores_by_hand() {
        let scores = outcomes(100, &[20, 30]).scores(Setting::Real, 2);
        assert!((scores.accuracy.value - 0.75).abs() < 1e-9);
        assert!((scores.mean_recall.value - 0.75).abs() < 1e-9 && (scores.recall[1].value - 0.75).abs() < 1e-9);
        // One trial is right in 0.8, the other in 0.7, both are 0.75 sure.
        assert!((scores.calibration_error.value - 0.05).abs() < 1e-6);
        assert!(scores.accuracy.low < 0.73 && scores.accuracy.high > 0.77, "{scores:?}");
    }

    #[test]
    fn a_difference_that_is_everywhere_has_a_narrow_interval() {
        let gain = outcomes(100, &[20, 30]).gain(&outcomes(100, &[30, 40]));
        // Ten images of a class that one gets and the other does not, whatever the trial.
        assert!((gain.value - 0.1).abs() < 1e-9);
        assert!(gain.low > 0.05 && gain.high < 0.15, "{gain:?}");
        let none = outcomes(100, &[20, 30]).gain(&outcomes(100, &[20, 30]));
        assert_eq!((none.low, none.value, none.high), (0.0, 0.0, 0.0));
    }

    #[test]
    fn a_gain_in_one_trial_of_three_is_no_sure_gain() {
        let gain = outcomes(100, &[10, 30, 30]).gain(&outcomes(100, &[30, 30, 30]));
        assert!(gain.value > 0.05 && gain.low <= 0.0, "{gain:?}");
    }
}
