//! Is the contest fair? A discriminator that always knows, or never, teaches the generator nothing.

use super::{Finding, Vitals, lasting_high, lasting_low, surely_above};
use crate::{
    events::Severity,
    losses::Loss,
    metrics::{Features, square_distance},
};

/// Share of the loss of guessing below which the discriminator has won.
///
/// At a fiftieth, cross-entropy on logits is 0.028: real and fake images are told apart with probability 0.986 each, and of
/// the gradient that a losing generator gets through its least certain images little more than one in fifty counts. Healthy
/// runs on pottery and Fashion-MNIST stayed above a tenth.
pub const WON: f64 = 0.02;

/// Accuracy below which the discriminator sees no difference.
///
/// A coin is right half of the time. Healthy runs, also well-trained ones of R3GAN, stayed above 0.6: only a discriminator
/// that is too weak for its task sinks to the coin, or one that was thrown out of any useful state.
pub const LOST: f64 = 0.53;

/// How much more of the images a comparison with their nearest neighbors may tell right than the discriminator does, after
/// [`BEGINNING`].
///
/// Neighbors in small pictures learn nothing, so that a discriminator which they outdo is too weak for its task. One of width 4
/// told 55 to 65 % of pots right and they mostly 70 to 85 %; in healthy runs on pots, CIFAR-10 and Fashion-MNIST they came down to some
/// 50 to 60 %, and the discriminators were ahead of them.
pub const OUTDONE: f64 = 0.1;

/// Images after which neighbors are listened to: what a generator makes at first anybody tells, and discriminators that are held by a
/// penalty or by spectral normalization need time. An SNGAN on Fashion-MNIST was outdone until 19 kimg.
pub const BEGINNING: u64 = 20_000;

/// Share of real and fake images whose nearest neighbor among all of them is of their own kind: ½ where they cannot be told apart.
///
/// # Source
/// The leave-one-out accuracy of Lopez-Paz & Oquab 2017, section 4, <https://arxiv.org/abs/1610.06545>.
pub fn neighbor_accuracy(reals: &Features, fakes: &Features) -> f64 {
    let all: Vec<(bool, &[f32])> = [(true, reals), (false, fakes)]
        .into_iter()
        .flat_map(|(is_real, set)| set.rows().map(move |row| (is_real, row)))
        .collect();
    // Of each image the square distance of the nearest other, and whether that is of its kind.
    let mut nearest = vec![(f32::INFINITY, false); all.len()];
    for (i, (kind, image)) in all.iter().enumerate() {
        for (j, (other_kind, other)) in all.iter().enumerate().take(i) {
            let distance = square_distance(image, other);
            for place in [i, j] {
                if distance < nearest[place].0 {
                    nearest[place] = (distance, kind == other_kind);
                }
            }
        }
    }
    nearest.iter().filter(|(_, is_its_kind)| *is_its_kind).count() as f64 / all.len().max(1) as f64
}

/// How well a discriminator tells real from fake images.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Judgement {
    /// Share of both that is told right: 0..=1, and ½ for a coin.
    pub accuracy: f64,
    /// Share of real images taken for real less the share taken for fake: −1..=1.
    pub real_sign: f64,
}

/// What logits say of real and fake images: above the level of doubt is real.
///
/// That level is 0, and ½ where the loss wants 0 and 1. Relativistic and Wasserstein losses leave it open, so that pairs are
/// compared there: a pair is told right if its real logit is the larger.
pub fn judgement(loss: Loss, real: &[f64], fake: &[f64]) -> Judgement {
    let signs = |differences: &mut dyn Iterator<Item = f64>| {
        let (mut sum, mut count) = (0.0, 0.0);
        for difference in differences {
            sum += if difference == 0.0 { 0.0 } else { difference.signum() };
            count += 1.0;
        }
        sum / f64::max(count, 1.0)
    };
    let level = match loss {
        Loss::NonSaturating | Loss::Hinge | Loss::SoftHinge => 0.0,
        Loss::LeastSquares => 0.5,
        Loss::Relativistic | Loss::Wasserstein => {
            let real_sign = signs(&mut real.iter().zip(fake).map(|(real, fake)| real - fake));
            return Judgement {
                accuracy: 0.5 * (1.0 + real_sign),
                real_sign,
            };
        }
    };
    let [real_sign, fake_sign] = [real, fake].map(|logits| signs(&mut logits.iter().map(|logit| logit - level)));
    Judgement {
        accuracy: 0.5 + 0.25 * (real_sign - fake_sign),
        real_sign,
    }
}

/// Saturation: the discriminator's loss is below [`WON`] of what guessing costs. A Wasserstein critic cannot win.
pub fn wins(loss_of_guessing: Option<f64>, history: &[Vitals]) -> Option<Finding> {
    let share = lasting_low(history, |vitals| vitals.discriminator_loss)? / loss_of_guessing?;
    (share < WON).then(|| Finding {
        severity: Severity::Warning,
        seen: format!(
            "its loss is {:.2} % of what guessing would cost (alarm below {:.0} %), so little is left to learn from",
            share * 100.0,
            WON * 100.0
        ),
    })
}

/// The discriminator tells real from fake images no better than a coin, or worse than nearest neighbors do: [`LOST`],
/// [`OUTDONE`].
pub fn loses(history: &[Vitals]) -> Option<Finding> {
    let lead = |vitals: &Vitals| Some(vitals.neighbor_accuracy? - vitals.accuracy?);
    let later = &history[history.partition_point(|vitals| vitals.images_seen < BEGINNING)..];
    let is_sure = surely_above(later, lead).is_some_and(|lead| lead > 0.5 * OUTDONE);
    if let Some(lead) = lasting_high(later, lead).filter(|&lead| is_sure && lead > OUTDONE) {
        return Some(Finding {
            severity: Severity::Warning,
            seen: format!(
                "a comparison of small pictures, which has learned nothing, tells {:.0} of 100 images more right than it does (alarm \
                 above {:.0}), so it is too weak to show the generator what is wrong",
                lead * 100.0,
                OUTDONE * 100.0
            ),
        });
    }
    let accuracy = lasting_low(history, |vitals| vitals.accuracy)?;
    (accuracy < LOST).then(|| Finding {
        severity: Severity::Warning,
        seen: format!(
            "it tells {:.0} % right, and a coin 50 % (alarm below {:.0} %), so the generator learns nothing from it",
            accuracy * 100.0,
            LOST * 100.0
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::{
        super::tests::{noise, series},
        *,
    };

    const GUESSING: Option<f64> = Some(2.0 * std::f64::consts::LN_2);

    #[test]
    fn neighbors_tell_what_can_be_told() {
        let features = |values: &[f32]| Features::new(values.to_vec(), 1).unwrap();
        assert_eq!(neighbor_accuracy(&features(&[0.0, 1.0]), &features(&[7.0, 8.5])), 1.0);
        // Each one's nearest is of the other kind.
        assert_eq!(neighbor_accuracy(&features(&[0.0, 10.0]), &features(&[1.0, 11.0])), 0.0);
        // 0 and 1 are alike, 2 is nearer to 1 and 9 to 2.
        assert_eq!(neighbor_accuracy(&features(&[0.0, 1.0]), &features(&[2.0, 9.0])), 0.75);
    }

    /// Numbers as they were in two runs on pots and CIFAR-10, and with a discriminator of width 4.
    #[test]
    fn a_discriminator_that_neighbors_outdo_loses() {
        let history = |from: u64, pairs: &[(f64, f64)]| {
            let vitals = |(index, &(neighbors, own))| Vitals {
                images_seen: from + 500 * index as u64,
                neighbor_accuracy: Some(neighbors),
                accuracy: Some(own),
                ..Vitals::default()
            };
            pairs.iter().enumerate().map(vitals).collect::<Vec<_>>()
        };
        let narrow = [(0.96, 0.67), (0.8, 0.65), (0.79, 0.63), (0.76, 0.63), (0.8, 0.62)];
        let finding = loses(&history(BEGINNING, &narrow));
        assert!(finding.is_some_and(|finding| finding.seen.contains("tells 16 of 100")));
        // A beginner may be outdone.
        assert!(loses(&history(BEGINNING / 2, &narrow)).is_none());
        let noisy = [(0.76, 0.61), (0.73, 0.59), (0.62, 0.6), (0.61, 0.59), (0.75, 0.63)];
        assert!(loses(&history(BEGINNING, &noisy)).is_none());
        let healthy = [(0.72, 0.92), (0.61, 0.94), (0.56, 0.98), (0.55, 0.98), (0.5, 0.99)];
        assert!(loses(&history(BEGINNING, &healthy)).is_none());
    }

    #[test]
    fn a_loss_near_zero_is_a_win() {
        let losses = |level: f64| {
            series((0..20).map(|i| level * (1.0 + 0.5 * noise(i))), |v, x| {
                v.discriminator_loss = Some(x);
            })
        };
        assert!(wins(GUESSING, &losses(0.3)).is_none());
        assert!(wins(GUESSING, &losses(0.005)).is_some());
        assert!(wins(Loss::Wasserstein.of_guessing(), &losses(-40.0)).is_none());
        // One step that wins is everyday life.
        let mut spike = losses(0.3);
        spike[12].discriminator_loss = Some(0.0);
        assert!((13..=20).all(|end| wins(GUESSING, &spike[..end]).is_none()));
    }

    #[test]
    fn judgements_by_hand() {
        let (real, fake) = ([2.0, 1.0, 0.25, -1.0], [-1.0, 0.75, -2.0, -3.0]);
        let of = |loss| judgement(loss, &real, &fake);
        assert_eq!(
            of(Loss::Hinge),
            Judgement {
                accuracy: 0.75,
                real_sign: 0.5
            }
        );
        assert_eq!(
            of(Loss::LeastSquares),
            Judgement {
                accuracy: 0.625,
                real_sign: 0.0
            }
        );
        assert_eq!(
            of(Loss::Relativistic),
            Judgement {
                accuracy: 1.0,
                real_sign: 1.0
            }
        );
        let undecided = judgement(Loss::Wasserstein, &[3.0, 3.0], &[3.0, 3.0]);
        assert_eq!(
            undecided,
            Judgement {
                accuracy: 0.5,
                real_sign: 0.0
            }
        );
    }

    #[test]
    fn a_coin_is_no_judge() {
        let accuracies = |level: f64| series((0..20).map(|i| level + 0.02 * noise(i)), |v, x| v.accuracy = Some(x));
        assert!(loses(&accuracies(0.5)).is_some());
        assert!(loses(&accuracies(0.7)).is_none());
        // Nothing is said of the first images.
        assert!(loses(&accuracies(0.5)[..6]).is_none());
    }
}
