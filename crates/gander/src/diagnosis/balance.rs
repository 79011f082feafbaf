//! Is the contest fair? A discriminator that always knows, or never, teaches the generator nothing.

use super::{Finding, Vitals, recent};
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

/// What the discriminator's loss is if it gives every image the logit that says "I do not know"; `None` where there is none.
///
/// ```
/// use gander::{diagnosis::balance, losses::Loss};
/// assert_eq!(balance::of_guessing(Loss::Hinge), Some(2.0));
/// ```
pub fn of_guessing(loss: Loss) -> Option<f64> {
    use std::f64::consts::LN_2;
    match loss {
        Loss::NonSaturating => Some(2.0 * LN_2),
        Loss::Relativistic => Some(LN_2),
        // ½ for all: half of a quarter, twice.
        Loss::LeastSquares => Some(0.25),
        Loss::Hinge => Some(2.0),
        Loss::Wasserstein => None,
    }
}

/// Saturation: the discriminator's loss is below [`WON`] of what guessing costs. A Wasserstein critic cannot win.
pub fn wins(loss: Loss, history: &[Vitals]) -> Option<Finding> {
    let share = recent(history, |vitals| vitals.discriminator_loss)? / of_guessing(loss)?;
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
    let accuracy = recent(history, |vitals| vitals.accuracy)?;
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

    #[test]
    fn a_loss_near_zero_is_a_win() {
        let losses = |level: f64| {
            series((0..20).map(|i| level * (1.0 + 0.5 * noise(i))), |v, x| {
                v.discriminator_loss = Some(x)
            })
        };
        assert!(wins(Loss::NonSaturating, &losses(0.3)).is_none());
        assert!(wins(Loss::NonSaturating, &losses(0.005)).is_some());
        assert!(wins(Loss::Wasserstein, &losses(-40.0)).is_none());
        // One step that wins is everyday life.
        let mut spike = losses(0.3);
        spike[12].discriminator_loss = Some(0.0);
        assert!((13..=20).all(|end| wins(Loss::NonSaturating, &spike[..end]).is_none()));
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
