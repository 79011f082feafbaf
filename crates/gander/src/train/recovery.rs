//! What a run does about values that run away: back to a checkpoint, at a lower rate.

use serde::{Deserialize, Serialize};

use super::{config::TrainingConfig, schedule::Ramp, steps::Scalars};
use crate::{
    error::{Error, Result},
    run::Moment,
};

/// How often a run goes back before it gives up: a rate that was up to 256 times too high is found by then.
pub const MOST_TRIES: usize = 4;

/// What the learning rate is multiplied by each time.
pub const RATE_FACTOR: f64 = 0.25;

/// What the weights of R1, R2 and the gradient penalty are multiplied by each time, where there are any.
pub const PENALTY_FACTOR: f64 = 2.0;

/// The largest logit or loss of a run that is still a contest.
///
/// Cross-entropies are linear out there, so that nothing in the loss brings the logits back. Runs of every family and loss
/// stayed below a hundred, also those of Wasserstein critics that drift; runs that diverged passed it within ten steps.
pub const LIMIT: f64 = 1e5;

/// That a run diverged and went back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recovery {
    /// Images seen when it diverged.
    pub failed_at: u64,
    /// Images seen at the checkpoint that it went back to.
    pub from: u64,
    /// What was seen.
    pub reason: String,
}

/// Refuses what no contest comes back from: a logit or a loss beyond [`LIMIT`].
///
/// # Errors
/// [`Error::Diverged`] names the number.
pub fn check(scalars: &Scalars, images_seen: u64) -> Result<()> {
    let matters = |name: &str| name.ends_with("logits") || name.ends_with("loss");
    match scalars
        .iter()
        .find(|(name, value)| matters(name) && value.abs() > LIMIT)
    {
        Some((name, value)) => Err(Error::Diverged {
            name: (*name).to_owned(),
            value: *value,
            images_seen,
        }),
        None => Ok(()),
    }
}

/// Whether going back can help: the contest failed, not a disk.
pub fn can_help(error: &Error) -> bool {
    matches!(error, Error::NonFinite { .. } | Error::Diverged { .. })
}

/// The settings after so many recoveries.
pub fn corrected(training: &TrainingConfig, recoveries: &[Recovery]) -> TrainingConfig {
    let tries = recoveries.len() as i32;
    let [rate, penalty] = [RATE_FACTOR, PENALTY_FACTOR].map(|factor| factor.powi(tries));
    TrainingConfig {
        learning_rate: scaled(training.learning_rate, rate),
        r1_gamma: scaled(training.r1_gamma, penalty),
        r2_gamma: scaled(training.r2_gamma, penalty),
        gradient_penalty: training.gradient_penalty * penalty,
        ..training.clone()
    }
}

fn scaled(ramp: Ramp, by: f64) -> Ramp {
    Ramp::new(ramp.start * by, ramp.end * by)
}

/// The checkpoint to go back to: the newest, unless a run that went back diverged again before it had gone half as far
/// again as the first time. Then what it saved on the way is suspect too, and one before the last start serves.
pub fn start<'a>(checkpoints: &'a [Moment], recoveries: &[Recovery], failed_at: u64) -> Option<&'a Moment> {
    let newest = checkpoints.iter().rev().find(|moment| moment.images_seen <= failed_at);
    let Some(last) = recoveries
        .last()
        .filter(|last| failed_at <= last.failed_at + last.failed_at / 2)
    else {
        return newest;
    };
    let earlier = checkpoints.iter().rev().find(|moment| moment.images_seen < last.from);
    let same = || checkpoints.iter().find(|moment| moment.images_seen == last.from);
    earlier.or_else(same).or(newest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::defaults;

    fn recovery(failed_at: u64, from: u64) -> Recovery {
        Recovery {
            failed_at,
            from,
            reason: "a".into(),
        }
    }

    #[test]
    fn each_time_the_rate_is_quartered_and_penalties_are_doubled() {
        let mut plain = defaults::plain();
        plain.learning_rate = Ramp::new(4e-3, 1e-3);
        plain.r1_gamma = Ramp::constant(1.0);
        assert_eq!(corrected(&plain, &[]), plain);
        let after = corrected(&plain, &[recovery(9, 3), recovery(8, 3)]);
        assert_eq!(after.learning_rate, Ramp::new(2.5e-4, 6.25e-5));
        assert_eq!(
            (after.r1_gamma, after.r2_gamma),
            (Ramp::constant(4.0), Ramp::constant(0.0))
        );
    }

    #[test]
    fn it_begins_earlier_where_the_newest_checkpoint_did_not_help() {
        let moment = |images_seen| Moment {
            images_seen,
            path: format!("{images_seen}").into(),
        };
        let checkpoints = [0, 1000, 4000, 5000].map(moment);
        let from = |recoveries: &[Recovery], failed_at| start(&checkpoints, recoveries, failed_at).unwrap().images_seen;
        assert_eq!(from(&[], 5600), 5000);
        assert_eq!(from(&[recovery(5600, 5000)], 5500), 4000);
        assert_eq!(from(&[recovery(5600, 5000), recovery(5500, 4000)], 5400), 1000);
        // There is nothing before the first.
        assert_eq!(from(&[recovery(200, 0)], 150), 0);
        // Trouble far beyond the last is another one.
        assert_eq!(from(&[recovery(1200, 1000)], 5600), 5000);
        assert!(start(&[], &[], 100).is_none());
    }

    #[test]
    fn only_logits_and_losses_run_away() {
        let scalars = |name: &'static str, value| Scalars::from([(name, value)]);
        assert!(check(&scalars("real_logits", 300.0), 1).is_ok());
        assert!(check(&scalars("r1_penalty", 1e9), 1).is_ok());
        let error = check(&scalars("fake_logits", -7.7e6), 512).unwrap_err();
        assert_eq!(
            error.to_string(),
            "training diverged after 512 images: fake_logits is -7.7e6"
        );
        assert!(
            can_help(&error)
                && !can_help(&Error::UnknownClass {
                    name: "a".into(),
                    classes: vec![]
                })
        );
    }
}
