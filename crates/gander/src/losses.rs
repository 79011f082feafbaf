//! Adversarial losses: pure functions of logits.
//!
//! Logits are what a discriminator returns, `[batch]`, large for real. Every loss is a mean over the batch, to be made
//! small by the network that it is named after.

use gander_tensor::{Error, Result, Tensor};
use serde::{Deserialize, Serialize};

/// The contest between generator and discriminator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Loss {
    /// Cross-entropy, and for the generator its form that does not fade while the discriminator wins.
    ///
    /// `D: softplus(−real) + softplus(fake)`, `G: softplus(−fake)`
    ///
    /// # Source
    /// Goodfellow et al. 2014, section 3, <https://arxiv.org/abs/1406.2661>.
    NonSaturating,
    /// Distance of the logits from 1 for real and 0 for fake.
    ///
    /// `D: ½ (real − 1)² + ½ fake²`, `G: ½ (fake − 1)²`
    ///
    /// # Source
    /// Mao et al. 2017 with their labels 0 and 1, <https://arxiv.org/abs/1611.04076>.
    LeastSquares,
    /// What is beyond a margin of one no longer counts.
    ///
    /// `D: relu(1 − real) + relu(1 + fake)`, `G: −fake`
    ///
    /// # Source
    /// Lim & Ye 2017, <https://arxiv.org/abs/1705.02894>.
    Hinge,
    /// The hinge with a margin that is anything from 0.8 to 1 for each logit, in the mean over all margins.
    ///
    /// `D: h(1 − real) + h(1 + fake)`, `G: −fake` with `h(t) = relu(t − 0.2) + clamp(t, 0, 0.2)² / 0.4`
    ///
    /// # Source
    /// Liu et al. 2021, who draw the margins, <https://arxiv.org/abs/2101.04775>.
    SoftHinge,
    /// The difference of the means, an earth mover's distance as long as a penalty or clipping bounds the critic's slope.
    ///
    /// `D: fake − real`, `G: −fake`
    ///
    /// # Source
    /// Arjovsky et al. 2017, <https://arxiv.org/abs/1701.07875>.
    Wasserstein,
    /// Each fake is compared with a real one, so that neither network gains by moving all logits.
    ///
    /// `D: softplus(fake − real)`, `G: softplus(real − fake)`
    ///
    /// # Source
    /// Jolicoeur-Martineau 2018, <https://arxiv.org/abs/1807.00734>; pairs as in Huang et al. 2024, equation 2,
    /// <https://arxiv.org/abs/2501.05441>.
    Relativistic,
}

impl Loss {
    /// What the discriminator's loss is if it gives every image the logit that says "I do not know"; `None` where there is
    /// none.
    ///
    /// ```
    /// use gander::losses::Loss;
    /// assert_eq!(Loss::Hinge.of_guessing(), Some(2.0));
    /// ```
    pub fn of_guessing(self) -> Option<f64> {
        use std::f64::consts::LN_2;
        match self {
            Self::NonSaturating => Some(2.0 * LN_2),
            Self::Relativistic => Some(LN_2),
            // ½ for all: half of a quarter, twice.
            Self::LeastSquares => Some(0.25),
            Self::Hinge => Some(2.0),
            // The mean margin is 0.9.
            Self::SoftHinge => Some(1.8),
            Self::Wasserstein => None,
        }
    }

    /// What the discriminator makes small.
    ///
    /// # Shapes
    /// - `real_logits`, `fake_logits`: `[batch]`
    /// - returns: a scalar
    pub fn discriminator(self, real_logits: &Tensor, fake_logits: &Tensor) -> Result<Tensor> {
        let (real, fake) = (real_logits, fake_logits);
        match self {
            Self::NonSaturating => real.neg()?.softplus()?.mean_all()?.add(&fake.softplus()?.mean_all()?),
            Self::LeastSquares => half_square(&real.add_scalar(-1.0)?)?.add(&half_square(fake)?),
            Self::Hinge => {
                let real = real.neg()?.add_scalar(1.0)?.relu()?.mean_all()?;
                real.add(&fake.add_scalar(1.0)?.relu()?.mean_all()?)
            }
            Self::SoftHinge => soft_hinge(&real.neg()?)?.add(&soft_hinge(fake)?),
            Self::Wasserstein => fake.mean_all()?.sub(&real.mean_all()?),
            Self::Relativistic => fake.sub(real)?.softplus()?.mean_all(),
        }
    }

    /// What the generator makes small.
    ///
    /// # Shapes
    /// - `fake_logits`: `[batch]`; `real_logits`: `[batch]` where [`Loss::needs_real_logits`], else left alone
    /// - returns: a scalar
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] if the loss compares with real logits and there are none.
    pub fn generator(self, fake_logits: &Tensor, real_logits: Option<&Tensor>) -> Result<Tensor> {
        match self {
            Self::NonSaturating => fake_logits.neg()?.softplus()?.mean_all(),
            Self::LeastSquares => half_square(&fake_logits.add_scalar(-1.0)?),
            Self::Hinge | Self::SoftHinge | Self::Wasserstein => fake_logits.mean_all()?.neg(),
            Self::Relativistic => {
                let missing = || Error::InvalidArgument {
                    op: "relativistic",
                    argument: "real_logits",
                    value: "none".into(),
                };
                real_logits
                    .ok_or_else(missing)?
                    .sub(fake_logits)?
                    .softplus()?
                    .mean_all()
            }
        }
    }

    /// Whether the generator's loss depends on real logits too.
    pub fn needs_real_logits(self) -> bool {
        self == Self::Relativistic
    }
}

/// The mean of `relu(m + x)` over `m` from 0.8 to 1.
fn soft_hinge(x: &Tensor) -> Result<Tensor> {
    const SPREAD: f32 = 0.2;
    let beyond = x.add_scalar(1.0)?;
    let within = beyond.clamp(0.0, SPREAD)?.square()?.mul_scalar(0.5 / SPREAD)?;
    beyond.add_scalar(-SPREAD)?.relu()?.add(&within)?.mean_all()
}

fn half_square(x: &Tensor) -> Result<Tensor> {
    x.square()?.mean_all()?.mul_scalar(0.5)
}

#[cfg(test)]
mod tests {
    use gander_tensor::{GradOptions, Reference, grad};

    use super::*;

    const ALL: [Loss; 6] = [
        Loss::NonSaturating,
        Loss::LeastSquares,
        Loss::Hinge,
        Loss::SoftHinge,
        Loss::Wasserstein,
        Loss::Relativistic,
    ];

    fn logits(real: [f32; 2], fake: [f32; 2]) -> (Tensor, Tensor) {
        let device = Reference::shared();
        let tensor = |values: [f32; 2]| Tensor::from_slice(&values, [2], &device).expect("two values");
        (tensor(real), tensor(fake))
    }

    fn assert_close(got: &Tensor, expected: f64, what: Loss) {
        let got = got.to_vec_f64().expect("a scalar")[0];
        assert!((got - expected).abs() < 1e-12, "{what:?}: {got} instead of {expected}");
    }

    /// Real logits 2 and −½, fake logits 0 and 1, worked by hand; `softplus(x) = ln(1 + eˣ)`.
    #[test]
    fn values_are_those_of_the_formulas() {
        let softplus = |x: f64| x.exp().ln_1p();
        let (real, fake) = logits([2.0, -0.5], [0.0, 1.0]);
        let cases = [
            (
                Loss::NonSaturating,
                (softplus(-2.0) + softplus(0.5) + softplus(0.0) + softplus(1.0)) / 2.0,
                f64::midpoint(softplus(0.0), softplus(-1.0)),
            ),
            // ½ · (1 + 2.25)/2 + ½ · (0 + 1)/2; ½ · (1 + 0)/2
            (Loss::LeastSquares, 1.0625, 0.25),
            // (0 + 1.5)/2 + (1 + 2)/2; −½
            (Loss::Hinge, 2.25, -0.5),
            // (0 + 1.4)/2 + (0.9 + 1.9)/2; −½
            (Loss::SoftHinge, 2.1, -0.5),
            // ½ − ¾
            (Loss::Wasserstein, -0.25, -0.5),
            (
                Loss::Relativistic,
                f64::midpoint(softplus(-2.0), softplus(1.5)),
                f64::midpoint(softplus(2.0), softplus(-1.5)),
            ),
        ];
        for (loss, discriminator, generator) in cases {
            assert_close(&loss.discriminator(&real, &fake).unwrap(), discriminator, loss);
            assert_close(&loss.generator(&fake, Some(&real)).unwrap(), generator, loss);
        }
    }

    #[test]
    fn players_pull_in_opposite_directions() {
        let (real, fake) = logits([0.1, -0.2], [0.3, -0.4]);
        let fake = fake.watch();
        for loss in ALL {
            let slope = |loss: &Tensor| {
                grad(&[loss], &[&fake], GradOptions::default()).unwrap()[0]
                    .to_vec()
                    .unwrap()
            };
            let discriminator = slope(&loss.discriminator(&real, &fake).unwrap());
            let generator = slope(&loss.generator(&fake, Some(&real)).unwrap());
            assert!(generator.iter().all(|&slope| slope < 0.0), "{loss:?}: {generator:?}");
            // Least squares lets the discriminator raise a fake logit below its label.
            if loss != Loss::LeastSquares {
                assert!(
                    discriminator.iter().all(|&slope| slope > 0.0),
                    "{loss:?}: {discriminator:?}"
                );
            }
        }
    }

    /// At 0.9 half of the margins are passed: the mean of `0.1 − u` over `u` in 0..0.1, half of the time.
    #[test]
    fn a_soft_hinge_is_the_mean_over_its_margins() {
        let (real, fake) = logits([0.9, 1.5], [-0.9, -1.5]);
        let loss = Loss::SoftHinge.discriminator(&real, &fake).unwrap();
        let got = loss.to_vec_f64().unwrap()[0];
        assert!((got - 0.025).abs() < 1e-7, "{got}");
    }

    #[test]
    fn large_logits_stay_finite() {
        let (real, fake) = logits([-1e4, 1e4], [1e4, -1e4]);
        for loss in ALL {
            assert!(
                loss.discriminator(&real, &fake).unwrap().all_finite().unwrap(),
                "{loss:?}"
            );
            assert!(
                loss.generator(&fake, Some(&real)).unwrap().all_finite().unwrap(),
                "{loss:?}"
            );
        }
    }

    #[test]
    fn only_the_relativistic_loss_needs_real_logits() {
        let (_, fake) = logits([0.0; 2], [0.0, 1.0]);
        for loss in ALL {
            assert_eq!(
                loss.generator(&fake, None).is_err(),
                loss.needs_real_logits(),
                "{loss:?}"
            );
        }
    }

    #[test]
    fn names_are_lowercase() {
        let names: Vec<String> = ALL.iter().map(|loss| serde_json::to_string(loss).unwrap()).collect();
        assert_eq!(
            names.join(" "),
            r#""nonsaturating" "leastsquares" "hinge" "softhinge" "wasserstein" "relativistic""#
        );
    }
}
