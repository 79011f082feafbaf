//! How much is measured in the time at hand.

use super::{Amount, Measuring, Request, classifier::Pace, crew::Crew, naming::Effort};
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

    /// How many they are.
    pub(super) fn count(self) -> usize {
        self.ratios.len() * self.shares.len()
    }

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
/// How much longer measuring may take than it seems at first: other programs come, and the slowest of a round ends it.
const SLACK: f64 = 1.125;
/// Images that a classifier sees at least, however little time there is.
const FEWEST_IMAGES: u64 = 8_000;

/// Share of the time that measuring may take beside training a generator, or without.
const MEASURING: f64 = 0.55;
const MEASURING_ALONE: f64 = 0.9;
/// The same where unlabeled images are named, and what that may take.
const MEASURING_BESIDE_NAMING: f64 = 0.4;
const NAMING: f64 = 0.2;
/// What is left for filtering and writing, and for filtering alone.
const REST: f64 = 0.08;
const FILTERING: f64 = 0.06;
/// Share of the time that a generator learns at least.
const LEARNING: f64 = 0.1;

/// How much is measured.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Schedule {
    /// Trials of each setting; 0 where nothing is measured.
    pub(super) trials: usize,
    /// Trials that the mix is chosen by; 0 where the first mix is taken.
    pub(super) choosers: usize,
    costs: Costs,
}

/// What a schedule has to go by.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Costs {
    /// Trials that are wished for.
    pub(super) trials: usize,
    /// Whether each trial has a generator of its own.
    pub(super) is_drawn: bool,
    /// Whether a generator was given.
    pub(super) is_given: bool,
    /// Mixes that could be tried.
    pub(super) mixes: usize,
    /// Who does it.
    pub(super) crew: Crew,
    /// Seconds of a classifier beside as many others as there can be, as it seems.
    pub(super) round_seconds: f64,
    /// Seconds of naming unlabeled images, for each generator.
    pub(super) naming_seconds: f64,
    /// Seconds since it all began.
    pub(super) elapsed_seconds: f64,
}

/// Images that each classifier sees in some minutes: as many as are usual, or fewer, so that three trials and a choice among
/// four mixes fit. Each is asked about the held-out images, too, which takes a third of what learning from them would.
pub(super) fn classifier_images(
    (minutes, measuring_share): (f64, f64),
    (usual, held_out): (u64, usize),
    crew: Crew,
    pace: Pace,
) -> u64 {
    let (plain, mixed) = rounds(crew, (MIN_TRIALS, 1), Mixes::LABELED.count());
    let rounds = plain + mixed;
    let seconds = measuring_share * minutes * 60.0 / (rounds as f64 * SLACK);
    let affordable = (seconds / pace.abreast - held_out as f64 / 3.0) as u64;
    affordable.clamp(FEWEST_IMAGES.min(usual), usual)
}

/// Rounds of classifiers side by side: those that need no synthetic images, of which the first comes before all; and those that
/// do, each mix in the trials that choose and then what is left.
fn rounds(crew: Crew, (trials, choosers): (usize, usize), mixes: usize) -> (usize, usize) {
    if trials == 0 {
        return (0, 0);
    }
    let of = |classifiers| crew.rounds(classifiers);
    (of(2 * trials - 1), of(mixes * choosers) + of(2 * trials - choosers))
}

/// Share of the time that measuring may take.
pub(super) fn measuring_share(request: &Request, is_given: bool) -> f64 {
    match (is_given, &request.unlabeled) {
        (true, _) => MEASURING_ALONE,
        (false, Some(_)) => MEASURING_BESIDE_NAMING,
        (false, None) => MEASURING,
    }
}

/// As much as fits for naming unlabeled images of each of so many draws, by the seconds of one classifier alone and beside
/// others.
pub(super) fn effort(length: Length, (alone, abreast): (f64, f64), draws: usize, crew: Crew) -> Effort {
    let Length::Minutes(minutes) = length else {
        return Effort::ALL[0];
    };
    let seconds = NAMING * minutes * 60.0 / draws.max(1) as f64;
    let fits = |effort: &Effort| {
        let of_each = if effort.members == 1 { alone } else { abreast };
        crew.rounds(effort.members) as f64 * effort.classifiers() * of_each <= seconds
    };
    Effort::ALL
        .into_iter()
        .find(fits)
        .unwrap_or(Effort::ALL[Effort::ALL.len() - 1])
}

impl Schedule {
    /// As much as fits. Without a clock everything, so that the same seed gives the same numbers anywhere.
    pub(super) fn new(request: &Request, costs: Costs) -> Self {
        let is_measured = request.measuring == Measuring::On;
        let found = match request.length {
            _ if !is_measured => None,
            Length::Kimg(_) => Some((costs.trials, CHOOSERS)),
            Length::Minutes(minutes) => {
                let seconds = minutes * 60.0;
                let fits = |wish, affordable: f64| {
                    let (plain, mixed) = rounds(costs.crew, wish, costs.mixes);
                    (plain + mixed) as f64 * SLACK * costs.round_seconds <= affordable
                };
                let usual = measuring_share(request, costs.is_given) * seconds;
                // Nobody waits for a word that does not come: where classifiers are slower than they were at first, the
                // generator has less.
                let utmost = (1.0 - LEARNING - REST) * seconds - costs.elapsed_seconds;
                (MIN_TRIALS..=costs.trials.max(MIN_TRIALS))
                    .rev()
                    .flat_map(|trials| (1..=CHOOSERS).rev().map(move |choosers| (trials, choosers)))
                    .find(|&wish| fits(wish, usual))
                    .or_else(|| {
                        let least = [(MIN_TRIALS, 1), (MIN_TRIALS, 0)];
                        least.into_iter().find(|&wish| fits(wish, utmost))
                    })
            }
        };
        let (trials, choosers) = found.unwrap_or((0, 0));
        Self {
            trials,
            choosers,
            costs,
        }
    }

    /// Seconds for making and filtering the images of each generator, where the clock decides.
    pub(super) fn filtering_seconds(&self, length: Length) -> Option<f64> {
        match length {
            Length::Minutes(minutes) => Some(FILTERING * minutes * 60.0 / self.generators() as f64),
            Length::Kimg(_) => None,
        }
    }

    fn generators(&self) -> usize {
        if self.costs.is_drawn { self.trials.max(1) } else { 1 }
    }

    /// How long each generator learns: what is left of the time once the settings without synthetic images are measured, which
    /// took so many seconds and ended so long after the beginning.
    pub(super) fn generator_length(&self, length: Length, plain_seconds: f64, elapsed_seconds: f64) -> Length {
        let Length::Minutes(minutes) = length else {
            return length;
        };
        let (costs, seconds) = (&self.costs, minutes * 60.0);
        let (plain, mixed) = rounds(costs.crew, (self.trials, self.choosers), costs.mixes);
        let round_seconds = if plain > 0 {
            plain_seconds / plain as f64
        } else {
            costs.round_seconds
        };
        let generators = self.generators();
        let naming = (generators - 1) as f64 * costs.naming_seconds;
        let measuring = mixed as f64 * SLACK * round_seconds;
        let left = seconds * (1.0 - REST) - elapsed_seconds - naming - measuring;
        let least = LEARNING * seconds / generators as f64;
        Length::Minutes((left / generators as f64).max(least) / 60.0)
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

    use gander_tensor::CpuOptions;

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

    fn crew(threads: usize) -> Crew {
        Crew::new(CpuOptions {
            threads,
            ..CpuOptions::default()
        })
    }

    fn schedule(minutes: f64, threads: usize, round_seconds: f64) -> Schedule {
        let costs = Costs {
            trials: 5,
            is_drawn: false,
            is_given: false,
            mixes: 4,
            crew: crew(threads),
            round_seconds,
            naming_seconds: 0.0,
            elapsed_seconds: 10.0,
        };
        Schedule::new(&request(Length::Minutes(minutes)), costs)
    }

    #[test]
    fn more_time_is_shared_between_measuring_and_the_generator() {
        let ten = Length::Minutes(10.0);
        // 600 s: nine classifiers of 10 s without synthetic images, eight that choose and eight more, with an eighth to be safe.
        let plenty = schedule(10.0, 1, 10.0);
        assert_eq!((plenty.trials, plenty.choosers), (5, 2));
        // What is left of 552 s after the first, the nine, and the sixteen to come.
        let left = 552.0 - 10.0 - 90.0 - 16.0 * 11.25;
        assert_eq!(plenty.generator_length(ten, 90.0, 100.0), Length::Minutes(left / 60.0));
        // Something else began meanwhile.
        let left = 552.0 - 10.0 - 180.0 - 16.0 * 22.5;
        assert_eq!(left, 2.0);
        assert_eq!(
            plenty.generator_length(ten, 180.0, 190.0),
            Length::Minutes(1.0),
            "a tenth at least"
        );
        let little = schedule(10.0, 1, 20.0);
        assert_eq!((little.trials, little.choosers), (3, 1));
        // Side by side they take five rounds, four and four.
        let abreast = schedule(10.0, 2, 20.0);
        assert_eq!((abreast.trials, abreast.choosers), (5, 2));
        let left = 552.0 - 110.0 - 8.0 * 22.5;
        assert_eq!(
            abreast.generator_length(ten, 100.0, 110.0),
            Length::Minutes(left / 60.0)
        );
        // Eight rounds of 40 s are more than 55 % of the time, and leave the generator something.
        let slow = schedule(10.0, 2, 40.0);
        assert_eq!((slow.trials, slow.choosers), (3, 1));
        let none = schedule(10.0, 2, 100.0);
        assert_eq!(none.trials, 0, "no time to measure");
        assert_eq!(none.generator_length(ten, 0.0, 90.0), Length::Minutes(462.0 / 60.0));
    }

    #[test]
    fn classifiers_see_less_where_time_is_short() {
        let pace = Pace {
            alone: 0.001,
            abreast: 0.001,
        };
        let of = |minutes, threads| classifier_images((minutes, MEASURING), (60_000, 3_000), crew(threads), pace);
        assert_eq!(of(60.0, 1), 60_000);
        // 55 % of 600 s for fourteen, each asked about 3,000 images.
        assert_eq!(of(10.0, 1), 19_952);
        assert_eq!(schedule(10.0, 1, 20.9).trials, 3, "then it is measured");
        assert_eq!(of(1.0, 1), 8_000);
        // Eight rounds.
        assert_eq!(of(10.0, 2), 35_666);
        assert_eq!(schedule(10.0, 2, 36.6).trials, 3);
    }

    #[test]
    fn names_take_their_share_of_the_time() {
        let of = |minutes, draws, threads| effort(Length::Minutes(minutes), (10.0, 14.0), draws, crew(threads));
        assert_eq!(of(30.0, 1, 1), Effort::ALL[0]);
        assert_eq!(of(15.0, 1, 1), Effort::ALL[1]);
        assert_eq!(of(15.0, 1, 2), Effort::ALL[0], "both side by side");
        assert_eq!(of(30.0, 10, 1), Effort::ALL[3]);
        assert_eq!(of(1.0, 10, 2), Effort::ALL[4], "the least is done whatever it takes");
        assert_eq!(effort(Length::Kimg(1.0), (1e9, 1e9), 10, crew(1)), Effort::ALL[0]);
    }

    #[test]
    fn a_length_in_images_measures_everything() {
        let costs = Costs {
            trials: 10,
            is_drawn: true,
            is_given: false,
            mixes: 4,
            crew: crew(1),
            round_seconds: 1e9,
            naming_seconds: 1e9,
            elapsed_seconds: 0.0,
        };
        let schedule = Schedule::new(&request(Length::Kimg(3.0)), costs);
        assert_eq!((schedule.trials, schedule.choosers), (10, CHOOSERS));
        assert_eq!(
            schedule.generator_length(Length::Kimg(3.0), 1e9, 1e9),
            Length::Kimg(3.0)
        );
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
