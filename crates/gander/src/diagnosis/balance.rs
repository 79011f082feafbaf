//! Is the contest fair? A discriminator that always knows, or never, teaches the generator nothing.

use super::{Finding, Vitals, lasting_low};
use crate::{events::Severity, losses::Loss};

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

/// The discriminator tells real from fake images no better than a coin: [`LOST`].
pub fn loses(history: &[Vitals]) -> Option<Finding> {
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
