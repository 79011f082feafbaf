//! How much is measured in the time at hand.

use super::{Amount, Measuring, Request, naming::Effort};
use crate::session::Length;

/// What is tried.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Mixes {
    /// Different synthetic images for each real one.
    ratios: [usize; 2],
    /// Shares of what is shown that are synthetic.
    pub(super) shares: [f64; 2],
}

impl Mixes {
    const LABELED: Self = Self {
        ratios: [1, 4],
        shares: [0.25, 0.5],
    };
    /// A generator that learned from thousands of images knows more than the labeled ones say.
    const UNLABELED: Self = Self {
        ratios: [4, 16],
        shares: [0.25, 0.5],
    };

    /// For a generator that learned from so many unlabeled images.
    pub(super) fn of(named: usize) -> Self {
        if named > 0 { Self::UNLABELED } else { Self::LABELED }
    }
}

/// Synthetic images that are made of the user's own accord, at most.
const POOL: usize = 20_000;
/// Trials that the mix is chosen by, at most.
const CHOOSERS: usize = 2;
/// Trials below which there is no interval worth the name.
const MIN_TRIALS: usize = 3;
/// Classifiers of so many trials of four settings, of four mixes in one trial, and two to be safe.
const LEAST_CLASSIFIERS: usize = 4 * MIN_TRIALS + 4 + 2;
/// Images that a classifier sees at least, however little time there is.
const FEWEST_IMAGES: u64 = 8_000;

/// Share of the time that measuring may take beside training a generator, or without.
const MEASURING: f64 = 0.55;
const MEASURING_ALONE: f64 = 0.9;
/// The same where unlabeled images are named, and what that may take.
const MEASURING_BESIDE_NAMING: f64 = 0.4;
const NAMING: f64 = 0.2;
/// What is left for filtering and writing.
const REST: f64 = 0.05;

/// How much is measured, and how long a generator learns.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Schedule {
    /// Trials of each setting; 0 where nothing is measured.
    pub(super) trials: usize,
    /// Trials that the mix is chosen by; 0 where the first mix is taken.
    pub(super) choosers: usize,
    /// How long each generator learns.
    pub(super) length: Length,
}

/// What a schedule has to go by.
#[derive(Debug, Clone, Copy)]
pub(super) struct Costs {
    /// Trials that are wished for.
    pub(super) trials: usize,
    /// Whether each trial has a generator of its own.
    pub(super) is_drawn: bool,
    /// Whether a generator was given.
    pub(super) is_given: bool,
    /// Mixes that could be tried.
    pub(super) mixes: usize,
    /// Seconds of one classifier.
    pub(super) classifier_seconds: f64,
    /// Seconds of naming unlabeled images, for each generator.
    pub(super) naming_seconds: f64,
    /// Seconds since it all began.
    pub(super) elapsed_seconds: f64,
}

/// Images that each classifier sees: as many as are usual, or fewer, so that three trials and a choice of the mix fit into the
/// time. Each is asked about the held-out images, too, which takes a third of what learning from them would.
pub(super) fn classifier_images(
    request: &Request,
    is_given: bool,
    (usual, held_out): (u64, usize),
    seconds_of_an_image: f64,
) -> u64 {
    let Length::Minutes(minutes) = request.length else {
        return usual;
    };
    let seconds = measuring_share(request, is_given) * minutes * 60.0 / LEAST_CLASSIFIERS as f64;
    let affordable = (seconds / seconds_of_an_image - held_out as f64 / 3.0) as u64;
    affordable.clamp(FEWEST_IMAGES.min(usual), usual)
}

/// Share of the time that measuring may take.
fn measuring_share(request: &Request, is_given: bool) -> f64 {
    match (is_given, &request.unlabeled) {
        (true, _) => MEASURING_ALONE,
        (false, Some(_)) => MEASURING_BESIDE_NAMING,
        (false, None) => MEASURING,
    }
}

/// As much as fits for naming unlabeled images of each of so many draws, by the seconds of one classifier.
pub(super) fn effort(length: Length, classifier_seconds: f64, draws: usize) -> Effort {
    let Length::Minutes(minutes) = length else {
        return Effort::ALL[0];
    };
    let seconds = NAMING * minutes * 60.0 / draws.max(1) as f64;
    let fits = |effort: &Effort| effort.classifiers() * classifier_seconds <= seconds;
    Effort::ALL
        .into_iter()
        .find(fits)
        .unwrap_or(Effort::ALL[Effort::ALL.len() - 1])
}

impl Schedule {
    /// As much as fits. Without a clock everything, so that the same seed gives the same numbers anywhere.
    pub(super) fn new(request: &Request, costs: Costs) -> Self {
        let is_measured = request.measuring == Measuring::On;
        let Length::Minutes(minutes) = request.length else {
            return Self {
                trials: if is_measured { costs.trials } else { 0 },
                choosers: if is_measured { CHOOSERS } else { 0 },
                length: request.length,
            };
        };
        let seconds = minutes * 60.0;
        let affordable =
            (measuring_share(request, costs.is_given) * seconds / costs.classifier_seconds.max(1e-3)) as usize;
        let classifiers = |(trials, choosers): (usize, usize)| 4 * trials + costs.mixes * choosers;
        let wishes = (MIN_TRIALS..=costs.trials.max(MIN_TRIALS))
            .rev()
            .flat_map(|trials| (1..=CHOOSERS).rev().map(move |choosers| (trials, choosers)))
            .chain([(MIN_TRIALS, 0)]);
        let found = wishes
            .filter(|_| is_measured)
            .find(|&wish| classifiers(wish) <= affordable);
        let (trials, choosers) = found.unwrap_or((0, 0));
        let measuring = classifiers((trials, choosers)) as f64 * costs.classifier_seconds;
        let generators = if costs.is_drawn { trials.max(1) } else { 1 };
        let naming = (generators - 1) as f64 * costs.naming_seconds;
        let left = seconds * (1.0 - REST) - costs.elapsed_seconds - naming - measuring;
        let least = 0.1 * seconds / generators as f64;
        Self {
            trials,
            choosers,
            length: Length::Minutes((left / generators as f64).max(least) / 60.0),
        }
    }
}

/// How many synthetic images of each class are tried, for these real ones.
pub(super) fn amounts(amount: Amount, measuring: Measuring, mixes: Mixes, real: &[usize]) -> Vec<Vec<usize>> {
    let of_each = |wanted: &dyn Fn(usize) -> usize| -> Vec<usize> {
        let wanted = |&count: &usize| if count == 0 { 0 } else { wanted(count) };
        real.iter().map(wanted).collect()
    };
    let total: usize = real.iter().sum();
    let most = real.iter().copied().max().unwrap_or(0);
    match (amount, measuring) {
        (Amount::PerClass(wanted), _) => vec![of_each(&|_| wanted)],
        (Amount::Balance, _) => vec![of_each(&|count| most - count)],
        (Amount::ForEachReal, measuring) => {
            let ratios = if measuring == Measuring::On {
                &mixes.ratios[..]
            } else {
                &mixes.ratios[..1]
            };
            let mut all: Vec<Vec<usize>> = ratios
                .iter()
                .map(|ratio| {
                    let ratio = (*ratio as f64).min(POOL as f64 / total.max(1) as f64);
                    of_each(&|count| (ratio * count as f64).round() as usize)
                })
                .collect();
            all.dedup();
            all
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn request(length: Length) -> Request {
        Request {
            data: PathBuf::from("data"),
            out: PathBuf::from("out"),
            amount: Amount::ForEachReal,
            length,
            unlabeled: None,
            init: None,
            run: None,
            labeled: None,
            holdout: None,
            size: None,
            measuring: Measuring::On,
            classifier_images: None,
            seed: 0,
            threads: 0,
        }
    }

    fn schedule(minutes: f64, classifier_seconds: f64) -> Schedule {
        let costs = Costs {
            trials: 5,
            is_drawn: false,
            is_given: false,
            mixes: 4,
            classifier_seconds,
            naming_seconds: 0.0,
            elapsed_seconds: classifier_seconds,
        };
        Schedule::new(&request(Length::Minutes(minutes)), costs)
    }

    #[test]
    fn more_time_is_shared_between_measuring_and_the_generator() {
        // 600 s: 28 classifiers of 10 s, and what is left of 570 s after them and the first.
        let plenty = schedule(10.0, 10.0);
        assert_eq!((plenty.trials, plenty.choosers), (5, 2));
        assert_eq!(plenty.length, Length::Minutes((570.0 - 10.0 - 280.0) / 60.0));
        let little = schedule(10.0, 20.0);
        assert_eq!((little.trials, little.choosers), (3, 1));
        assert_eq!(schedule(10.0, 100.0).trials, 0, "no time to measure");
    }

    #[test]
    fn classifiers_see_less_where_time_is_short() {
        let of = |minutes| classifier_images(&request(Length::Minutes(minutes)), false, (60_000, 3_000), 0.001);
        assert_eq!(of(60.0), 60_000);
        // 55 % of 600 s for 18 of them, each asked about 3,000 images.
        assert_eq!(of(10.0), 17_333);
        assert_eq!(of(1.0), 8_000);
        assert_eq!(schedule(10.0, 19.4).trials, 3, "then it is measured");
        assert_eq!(
            classifier_images(&request(Length::Kimg(1.0)), false, (60_000, 3_000), 1.0),
            60_000
        );
    }

    #[test]
    fn names_take_their_share_of_the_time() {
        let of = |minutes, draws| effort(Length::Minutes(minutes), 10.0, draws);
        assert_eq!(of(30.0, 1), Effort::ALL[0]);
        assert_eq!(of(30.0, 10), Effort::ALL[3]);
        assert_eq!(of(1.0, 10), Effort::ALL[4], "the least is done whatever it takes");
        assert_eq!(effort(Length::Kimg(1.0), 1e9, 10), Effort::ALL[0]);
    }

    #[test]
    fn a_length_in_images_measures_everything() {
        let costs = Costs {
            trials: 10,
            is_drawn: true,
            is_given: false,
            mixes: 4,
            classifier_seconds: 1e9,
            naming_seconds: 1e9,
            elapsed_seconds: 0.0,
        };
        let schedule = Schedule::new(&request(Length::Kimg(3.0)), costs);
        assert_eq!((schedule.trials, schedule.choosers), (10, CHOOSERS));
        assert_eq!(schedule.length, Length::Kimg(3.0));
    }

    #[test]
    fn amounts_follow_the_real_images() {
        let real = [50, 10, 0];
        let of = |amount, measuring| amounts(amount, measuring, Mixes::LABELED, &real);
        assert_eq!(of(Amount::ForEachReal, Measuring::On), [[50, 10, 0], [200, 40, 0]]);
        assert_eq!(of(Amount::ForEachReal, Measuring::Off), [[50, 10, 0]]);
        assert_eq!(of(Amount::Balance, Measuring::On), [[0, 40, 0]]);
        assert_eq!(of(Amount::PerClass(7), Measuring::On), [[7, 7, 0]]);
        let more = amounts(Amount::ForEachReal, Measuring::On, Mixes::UNLABELED, &real);
        assert_eq!(more, [[200, 40, 0], [800, 160, 0]]);
        let many = amounts(Amount::ForEachReal, Measuring::On, Mixes::LABELED, &[40_000, 40_000]);
        assert_eq!(many, [[10_000, 10_000]]);
    }
}
