//! A run that diverged goes back to a checkpoint, at a lower rate.

use super::recording::Recorder;
use crate::{
    error::{Error, Result},
    events::{Diagnosis, Event, Severity},
    train::{
        Trainer, checkpoint,
        recovery::{self, MOST_TRIES, PENALTY_FACTOR, RATE_FACTOR, Recovery},
    },
};

/// What it is called in log and report.
const NAME: &str = "divergence";

/// Takes the run back to where it was well and corrects its settings by the rule of [`recovery`].
///
/// # Errors
/// `error` itself where it is no contest that failed, where there is no checkpoint, or after the last try.
pub(super) fn recover(trainer: &mut Trainer, recorder: &mut Recorder<'_>, error: Error) -> Result<()> {
    if !recovery::can_help(&error) {
        return Err(error);
    }
    let failed_at = trainer.state.progress.images_seen;
    let mut recoveries = trainer.state.progress.recoveries.clone();
    let tries = recoveries.len();
    let checkpoints = recorder.directory.checkpoints()?;
    let start = recovery::start(&checkpoints, &recoveries, failed_at).filter(|_| tries < MOST_TRIES);
    let begin_again = if trainer.config.model.translates() {
        "Begin again at a lower rate (--set training.learning_rate=1e-4)"
    } else {
        "Begin again with another kind of networks (--family r3gan) or more gamma (--gamma)"
    };
    let Some(start) = start else {
        recorder.tell(&Event::Diagnosis(Diagnosis {
            images_seen: failed_at,
            severity: Severity::Problem,
            name: NAME.into(),
            advice: format!(
                "{error}, and {tries} returns to a checkpoint did not help: the run ends, its last good checkpoint is \
                 whole. {begin_again}"
            ),
        }))?;
        return Err(error);
    };
    let (header, tensors) = checkpoint::load(&start.path, trainer.device())?;
    trainer.state.restore(&tensors, header.numbers)?;

    let rate_of = |trainer: &Trainer, recoveries: &[Recovery]| {
        let share = trainer.state.progress.burn_in_share(&trainer.config.training);
        recovery::corrected(&trainer.config.training, recoveries)
            .learning_rate
            .at(share)
    };
    let was = rate_of(trainer, &recoveries);
    recoveries.push(Recovery {
        failed_at,
        from: start.images_seen,
        reason: error.to_string(),
    });
    let is = rate_of(trainer, &recoveries);
    trainer.state.progress.recoveries = recoveries;
    recorder.rewind(trainer)?;

    // Told of the moment that the run went back to: a log that is read up to there holds it.
    let images_seen = start.images_seen;
    recorder.tell(&Event::Diagnosis(Diagnosis {
        images_seen,
        severity: Severity::Warning,
        name: NAME.into(),
        advice: format!(
            "{error}; back to the checkpoint of {:.1} kimg with the learning rate times {RATE_FACTOR} and penalties times \
             {PENALTY_FACTOR}, try {} of {MOST_TRIES}. If it comes to the last, begin again at this rate",
            images_seen as f64 / 1000.0,
            tries + 1
        ),
    }))?;
    recorder.tell(&Event::Correction {
        images_seen,
        setting: "training.learning_rate".into(),
        was: format!("{was:.3e}"),
        is: format!("{is:.3e}"),
        reason: format!("{error}"),
    })?;
    recorder.write_checkpoint(trainer)
}
