//! How many modes of a known distribution does a generator find?

use gander_tensor::RandomKey;
use serde::{Deserialize, Serialize};

use super::{
    Features,
    resampling::{Interval, Resampling, below},
};

/// A mixture of equal round Gaussians in the plane, the classic first test of a GAN.
#[derive(Debug, Clone, PartialEq)]
pub struct Mixture {
    /// Where they are.
    pub centers: Vec<[f64; 2]>,
    /// Their standard deviation along each axis.
    pub sigma: f64,
}

impl Mixture {
    /// Eight on a circle of radius 1, σ 0.01.
    ///
    /// # Source
    /// Metz et al. 2017, <https://arxiv.org/abs/1611.02163>, with the σ of Srivastava et al. 2017.
    pub fn ring() -> Self {
        let center = |index: u32| {
            let (sin, cos) = (f64::from(index) * std::f64::consts::FRAC_PI_4).sin_cos();
            [cos, sin]
        };
        Self {
            centers: (0..8).map(center).collect(),
            sigma: 0.01,
        }
    }

    /// Twenty-five on a square grid, 2 apart, σ 0.05.
    ///
    /// # Source
    /// Dumoulin et al. 2017, <https://arxiv.org/abs/1606.00704>.
    pub fn grid() -> Self {
        let center = |index: u32| [index % 5, index / 5].map(|at| f64::from(at) * 2.0 - 4.0);
        Self {
            centers: (0..25).map(center).collect(),
            sigma: 0.05,
        }
    }

    /// Counts samples within 3σ of their nearest mode.
    pub fn tally(&self, samples: impl IntoIterator<Item = [f64; 2]>) -> Tally {
        let mode = |sample: [f64; 2]| {
            let squared = |center: &[f64; 2]| (sample[0] - center[0]).powi(2) + (sample[1] - center[1]).powi(2);
            let nearest = self.centers.iter().map(squared).enumerate();
            let (mode, squared) = nearest.min_by(|a, b| a.1.total_cmp(&b.1))?;
            (squared <= (3.0 * self.sigma).powi(2)).then_some(mode)
        };
        Tally::new(samples.into_iter().map(mode), self.centers.len())
    }
}

/// Samples by the mode that they belong to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tally {
    of_mode: Vec<u64>,
    outside: u64,
}

impl Tally {
    /// Counts the mode of each sample; `None` for one that belongs to none.
    ///
    /// # Panics
    /// If a mode is not below `modes`.
    pub fn new(of_sample: impl IntoIterator<Item = Option<usize>>, modes: usize) -> Self {
        let mut tally = Self {
            of_mode: vec![0; modes],
            outside: 0,
        };
        for mode in of_sample {
            match mode {
                Some(mode) => tally.of_mode[mode] += 1,
                None => tally.outside += 1,
            }
        }
        tally
    }

    /// Number of samples.
    pub fn num(&self) -> u64 {
        self.of_mode.iter().sum::<u64>() + self.outside
    }

    /// What was found.
    pub fn count(&self) -> ModeCount {
        let good: u64 = self.of_mode.iter().sum();
        ModeCount {
            modes: self.of_mode.iter().filter(|&&count| count > 0).count(),
            total_modes: self.of_mode.len(),
            high_quality: good as f64 / self.num().max(1) as f64,
            divergence: divergence_from_uniform(&self.of_mode),
        }
    }

    /// Where 95 % of the counts of resampled samples lie. `None` for fewer than two samples or resamples.
    ///
    /// A resampled set never has a mode that the samples lack, and is less even than they are: the interval of the
    /// divergence is moved so that its middle is the divergence of the samples.
    pub fn intervals(&self, resampling: Resampling) -> Option<ModeIntervals> {
        self.intervals_by(resampling, &divergence_from_uniform)
    }

    /// Samples by class, as logits have it.
    pub(super) fn of_classes(logits: &Features) -> Self {
        let largest = |row: &[f32]| {
            let largest = row.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1));
            largest.map(|(class, _)| class)
        };
        Self::new(logits.rows().map(largest), logits.dim())
    }

    /// Divergence of these samples' shares from those of others.
    pub(super) fn divergence_from(&self, others: &Self) -> f64 {
        divergence(&self.of_mode, &others.of_mode)
    }

    /// [`Tally::intervals`], the divergence being that from the shares of others.
    pub(super) fn intervals_from(&self, others: &Self, resampling: Resampling) -> Option<ModeIntervals> {
        self.intervals_by(resampling, &|counts| divergence(counts, &others.of_mode))
    }

    fn intervals_by(&self, resampling: Resampling, divergence: &dyn Fn(&[u64]) -> f64) -> Option<ModeIntervals> {
        let num = self.num() as usize;
        if num < 2 || resampling.num < 2 {
            return None;
        }
        let of_sample: Vec<Option<usize>> = self
            .of_mode
            .iter()
            .enumerate()
            .flat_map(|(mode, &count)| std::iter::repeat_n(Some(mode), count as usize))
            .chain(std::iter::repeat_n(None, self.outside as usize))
            .collect();
        let key = RandomKey::from_seed(resampling.seed).named("modes");
        let tallies: Vec<Self> = (0..resampling.num as u64)
            .map(|set| {
                let drawn = (0..num as u64).map(|place| below(key.split(set).split(place), num));
                Self::new(drawn.map(|index| of_sample[index]), self.of_mode.len())
            })
            .collect();
        let values = |value: &dyn Fn(&Self) -> f64| tallies.iter().map(value).collect::<Vec<f64>>();
        let around = Interval::around(
            divergence(&self.of_mode),
            &mut values(&|tally| divergence(&tally.of_mode)),
        );
        Some(ModeIntervals {
            modes: Interval::of(&mut values(&|tally| tally.count().modes as f64)),
            high_quality: Interval::of(&mut values(&|tally| tally.count().high_quality)),
            divergence: Interval {
                low: around.low.max(0.0),
                high: around.high,
            },
        })
    }
}

/// Intervals of what [`ModeCount`] says.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ModeIntervals {
    /// Of the modes that are found.
    pub modes: Interval,
    /// Of the share that belongs to a mode.
    pub high_quality: Interval,
    /// Of the divergence.
    pub divergence: Interval,
}

/// What was found of a distribution's modes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ModeCount {
    /// Modes with at least one sample.
    pub modes: usize,
    /// Modes that there are.
    pub total_modes: usize,
    /// Share of the samples that belong to a mode.
    pub high_quality: f64,
    /// Kullback-Leibler divergence of the samples' modes from the uniform distribution, in nats.
    pub divergence: f64,
}

/// Modes of `StackedMNIST`: each image is three digits, one a channel, and stands for a number below 1000.
///
/// # Shapes
/// - `digits`: three for each image, each below ten, as a classifier sees the channels
///
/// # Source
/// Srivastava et al. 2017, section 4.3, <https://arxiv.org/abs/1705.07761>.
pub fn tally_stacked_digits(digits: impl IntoIterator<Item = [u8; 3]>) -> Tally {
    let number = |digits: [u8; 3]| {
        digits
            .iter()
            .fold(0, |number, &digit| number * 10 + usize::from(digit.min(9)))
    };
    Tally::new(digits.into_iter().map(|digits| Some(number(digits))), 1000)
}

/// `Σ p ln(p / q)` of the shares of two counts. A class that the second has none of counts as half an image there, so that
/// the sum stays finite.
fn divergence(counts: &[u64], of: &[u64]) -> f64 {
    let total = counts.iter().sum::<u64>() as f64;
    let weight = |&count: &u64| (count as f64).max(0.5);
    let total_of: f64 = of.iter().map(weight).sum();
    let pairs = counts.iter().zip(of).filter(|(count, _)| **count > 0);
    pairs
        .map(|(&count, of)| {
            let p = count as f64 / total;
            p * (p * total_of / weight(of)).ln()
        })
        .sum()
}

/// `Σ p ln(p · modes)`; infinite if there is no sample at all.
fn divergence_from_uniform(counts: &[u64]) -> f64 {
    let total: u64 = counts.iter().sum();
    if total == 0 {
        return f64::INFINITY;
    }
    let share = |&count: &u64| count as f64 / total as f64;
    let shares = counts.iter().map(share).filter(|&p| p > 0.0);
    shares.map(|p| p * (p * counts.len() as f64).ln()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_at_every_center_find_every_mode() {
        for (mixture, modes) in [(Mixture::ring(), 8), (Mixture::grid(), 25)] {
            let count = mixture.tally(mixture.centers.iter().copied()).count();
            assert_eq!(
                (count.modes, count.total_modes, count.high_quality),
                (modes, modes, 1.0)
            );
            assert!(count.divergence.abs() < 1e-12);
        }
    }

    /// Two at a mode, one 2σ and one 4σ from another: 2 modes, 3 of 4; KL = ⅔ ln(25·⅔) + ⅓ ln(25·⅓).
    #[test]
    fn a_few_samples_by_hand() {
        let count = Mixture::grid()
            .tally([[0.0, 0.0], [0.0, 0.0], [2.1, 2.0], [2.2, 2.0]])
            .count();
        let divergence = 2.0 / 3.0 * (50.0f64 / 3.0).ln() + 1.0 / 3.0 * (25.0f64 / 3.0).ln();
        assert_eq!((count.modes, count.high_quality), (2, 0.75));
        assert!((count.divergence - divergence).abs() < 1e-12);
    }

    #[test]
    fn centers_are_where_the_papers_have_them() {
        let grid = Mixture::grid();
        assert_eq!((grid.centers[0], grid.centers[24]), ([-4.0, -4.0], [4.0, 4.0]));
        let ring = Mixture::ring();
        assert!(ring.centers.iter().all(|[x, y]| (x.hypot(*y) - 1.0).abs() < 1e-12));
    }

    /// Shares ½, ½ against ¾, ¼: ½ ln ⅔ + ½ ln 2.
    #[test]
    fn classes_are_counted_and_compared() {
        let logits = Features::new(vec![0.0, 1.0, 3.0, -1.0], 2).unwrap();
        let [even, uneven] = [Tally::of_classes(&logits), Tally::new([0, 0, 0, 1].map(Some), 2)];
        assert_eq!(even.of_mode, [1, 1]);
        let expected = 0.5 * (2.0f64 / 3.0).ln() + 0.5 * 2.0f64.ln();
        assert!((even.divergence_from(&uneven) - expected).abs() < 1e-12);
        assert!(divergence(&[1, 1], &[4, 0]).is_finite());
    }

    #[test]
    fn stacked_digits_are_numbers() {
        let count = tally_stacked_digits([[0, 0, 7], [0, 0, 7], [9, 9, 9], [7, 0, 0]]).count();
        assert_eq!((count.modes, count.total_modes), (3, 1000));
        assert!((count.divergence - (0.5 * 500.0f64.ln() + 0.5 * 250.0f64.ln())).abs() < 1e-12);
        assert_eq!(tally_stacked_digits([]).count().divergence, f64::INFINITY);
    }

    /// A share of 0.9 of 2,000 has the deviation √(0.9 · 0.1 / 2000); 95 % lie within 1.96 of it.
    #[test]
    fn intervals_are_those_of_a_share() {
        let tally = Tally::new((0..2000).map(|i| (i % 10 > 0).then_some(i % 4)), 4);
        let intervals = tally.intervals(Resampling { num: 1000, seed: 1 }).unwrap();
        let half = 1.96 * (0.9f64 * 0.1 / 2000.0).sqrt();
        let Interval { low, high } = intervals.high_quality;
        assert!(
            (low - (0.9 - half)).abs() < 2e-3 && (high - (0.9 + half)).abs() < 2e-3,
            "{intervals:?}"
        );
        assert_eq!(intervals.modes, Interval { low: 4.0, high: 4.0 });
        let divergence = tally.count().divergence;
        assert!(intervals.divergence.low <= divergence && divergence <= intervals.divergence.high);
        assert!(tally.intervals(Resampling { num: 1, seed: 1 }).is_none());
        let itself = tally.intervals_from(&tally, Resampling::default()).unwrap();
        assert!(
            itself.divergence.low == 0.0 && itself.divergence.high < 0.01,
            "{itself:?}"
        );
    }
}
