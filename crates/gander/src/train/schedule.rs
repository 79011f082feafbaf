//! Settings that change over a run, by images seen.

use serde::{Deserialize, Serialize};

/// A setting that moves along half a cosine from `start` to `end` during the burn-in and stays there.
///
/// In `config.toml` a single number stands for a constant, `[start, end]` for a ramp.
///
/// # Source
/// Huang et al. 2024 (R3GAN), appendix on training settings, <https://arxiv.org/abs/2501.05441>.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(from = "Written", into = "Written")]
pub struct Ramp {
    /// At the first image.
    pub start: f64,
    /// After the burn-in.
    pub end: f64,
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Written {
    Constant(f64),
    Ramp([f64; 2]),
}

impl From<Written> for Ramp {
    fn from(written: Written) -> Self {
        match written {
            Written::Constant(value) => Self::constant(value),
            Written::Ramp([start, end]) => Self { start, end },
        }
    }
}

impl From<Ramp> for Written {
    fn from(ramp: Ramp) -> Self {
        if ramp.start == ramp.end {
            Self::Constant(ramp.end)
        } else {
            Self::Ramp([ramp.start, ramp.end])
        }
    }
}

impl Ramp {
    /// The same value all along.
    pub const fn constant(value: f64) -> Self {
        Self {
            start: value,
            end: value,
        }
    }

    /// From one value to another.
    pub const fn new(start: f64, end: f64) -> Self {
        Self { start, end }
    }

    /// The same course from another start; constant where this one is 0.
    #[must_use]
    pub fn from_start(self, start: f64) -> Self {
        let fall = if self.start > 0.0 { self.end / self.start } else { 1.0 };
        Self::new(start, start * fall)
    }

    /// The value at a share of the burn-in, 0 at its beginning and 1 or more after it.
    pub fn at(self, share: f64) -> f64 {
        let cosine = 0.5 * (1.0 + (std::f64::consts::PI * share.clamp(0.0, 1.0)).cos());
        self.end + (self.start - self.end) * cosine
    }
}

/// The probability of an augmentation: planned, or as the discriminator's overfitting asks for.
///
/// In `config.toml` a number, a pair, or `"adaptive"`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(untagged, expecting = "expected a number, a pair of numbers or the word adaptive")]
pub enum Probability {
    /// By the images seen.
    Planned(Ramp),
    /// By [`crate::augment::adaptive`].
    Measured(Word),
}

/// The word for [`Probability::Measured`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Word {
    /// Steered by overfitting.
    Adaptive,
}

impl Probability {
    /// Steered by overfitting.
    pub const ADAPTIVE: Self = Self::Measured(Word::Adaptive);

    /// The same probability all along.
    pub const fn constant(value: f64) -> Self {
        Self::Planned(Ramp::constant(value))
    }

    /// The planned value at a share of the burn-in; 0 where nothing has been measured.
    pub fn at(self, share: f64) -> f64 {
        match self {
            Self::Planned(ramp) => ramp.at(share),
            Self::Measured(Word::Adaptive) => 0.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ramp_meets_both_ends() {
        let ramp = Ramp::new(2.0, 1.0);
        assert_eq!((ramp.at(0.0), ramp.at(1.0), ramp.at(7.0)), (2.0, 1.0, 1.0));
        assert!((ramp.at(0.5) - 1.5).abs() < 1e-12);
    }

    #[test]
    fn it_is_written_as_a_number_or_a_pair() {
        #[derive(Serialize, Deserialize, PartialEq, Debug)]
        struct Settings {
            a: Ramp,
            b: Ramp,
        }
        let settings = Settings {
            a: Ramp::constant(3.0),
            b: Ramp::new(1.0, 0.5),
        };
        let text = toml::to_string(&settings).unwrap();
        assert_eq!(text, "a = 3.0\nb = [1.0, 0.5]\n");
        assert_eq!(toml::from_str::<Settings>(&text).unwrap(), settings);
    }

    #[test]
    fn a_probability_is_a_plan_or_a_word() {
        #[derive(Serialize, Deserialize, PartialEq, Debug)]
        struct Settings {
            p: Probability,
        }
        let read = |text: &str| toml::from_str::<Settings>(text).map(|settings| settings.p);
        assert_eq!(read("p = \"adaptive\"").unwrap(), Probability::ADAPTIVE);
        assert_eq!(
            read("p = [0.0, 0.5]").unwrap(),
            Probability::Planned(Ramp::new(0.0, 0.5))
        );
        assert_eq!(read("p = 0.25").unwrap().at(0.7), 0.25);
        assert!(read("p = \"sometimes\"").is_err());
        let text = toml::to_string(&Settings {
            p: Probability::ADAPTIVE,
        })
        .unwrap();
        assert_eq!(text, "p = \"adaptive\"\n");
    }
}
