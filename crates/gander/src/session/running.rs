//! A planned run, carried out.

use std::{path::Path, sync::atomic::AtomicBool};

use gander_nn::Parameters;

use super::{
    BestGenerator, RunSummary, copies,
    planning::{Data, Planned, Target},
    recording::Recorder,
    recovering::recover,
};
use crate::{
    error::Result,
    events::{self, Diagnosis, Event, Listeners, Machine, Reason, RunFinished, RunStarted, Severity},
    report,
    run::{Log, RunDirectory, TensorBoard},
    train::{Budget, Outcome, RunConfig, TrainState, Trainer, checkpoint},
};

/// Trains as planned and leaves a complete run directory.
///
/// # Errors
/// [`crate::Error::NonFinite`] and [`crate::Error::Diverged`] stop a run that did not recover by the rule of
/// [`crate::train::recovery`]; its last checkpoint is whole. Everything else is about files.
pub fn train(planned: Planned, listen: &mut dyn FnMut(&Event), stop: &AtomicBool) -> Result<RunSummary> {
    let Planned {
        config,
        target,
        data,
        budget,
        device,
        rationale,
        started,
        ..
    } = planned;
    let is_new = matches!(target, Target::New { .. });
    let (directory, _lock, state, note) = match target {
        Target::Existing { directory, lock, state } => (directory, lock, *state, None),
        Target::New { base, init } => {
            let state = TrainState::new(&config, &device)?;
            let note = init.map(|path| start_from(&path, &state, &device)).transpose()?;
            let directory = RunDirectory::create(&base, &data.name)?;
            let lock = directory.lock()?;
            (directory, lock, state, note)
        }
    };
    let log = if is_new {
        directory.write_config(&config, &rationale)?;
        Log::create(&directory.log())?
    } else {
        directory.rewind(state.progress.images_seen)?;
        Log::resume(&directory.log(), state.progress.images_seen)?
    };
    let earlier = Log::read(&directory.log())?;
    let tensorboard = TensorBoard::create(directory.path(), &earlier)?;
    let mut listeners = Listeners::new();
    listeners.add("log", log);
    listeners.add("TensorBoard log", tensorboard);
    listeners.add("caller", |event: &Event| {
        listen(event);
        Ok(())
    });

    let mut trainer =
        Trainer::new(state, config, data.train.clone(), budget, &device).with_partners(data.partners.clone());
    trainer.begin_clock(started);
    let mut recorder = Recorder::new(&trainer, directory, listeners, &data, &earlier)?;
    let mut begun = started_event(&trainer, &data, budget);
    begun.rationale = rationale;
    recorder.tell(&Event::RunStarted(begun))?;
    if let Some(note) = note {
        recorder.tell(&note)?;
    }
    if is_new {
        if let Some(note) = copies::too_few(&trainer, data.holdout.as_deref()) {
            recorder.tell(&Event::Diagnosis(note))?;
        }
        recorder.write_reals(&trainer)?;
        recorder.write_samples(&trainer)?;
        recorder.write_checkpoint(&trainer)?;
    } else {
        recorder.match_best(&trainer)?;
    }
    let outcome = loop {
        match trainer.run(&mut recorder, stop) {
            Err(error) => {
                if let Err(error) = recover(&mut trainer, &mut recorder, error) {
                    break Err(error);
                }
            }
            outcome => break outcome,
        }
    };
    finish(&trainer, &mut recorder, &data, outcome)
}

/// The last tick, picture, checkpoint, scores and report; after an error the report alone.
fn finish(trainer: &Trainer, recorder: &mut Recorder<'_>, data: &Data, outcome: Result<Outcome>) -> Result<RunSummary> {
    let progress = &trainer.state.progress;
    let reason = match &outcome {
        Ok(Outcome::Finished) => Reason::Completed,
        Ok(Outcome::Flat) => Reason::Flat(recorder.satisfaction()),
        Ok(Outcome::Stopped) => Reason::Stopped,
        Err(error) => Reason::Failed(crate::error::chain(error)),
    };
    if outcome.is_ok() {
        recorder.tick(trainer)?;
        recorder.write_samples(trainer)?;
        // Before anything that takes time or can fail.
        recorder.write_checkpoint(trainer)?;
        recorder.evaluate_end(trainer, data)?;
    }
    let finished = RunFinished {
        images_seen: progress.images_seen,
        seconds: trainer.seconds(),
        reason,
    };
    let told = recorder.tell(&Event::RunFinished(finished));
    let report = report::write(recorder.directory.path());
    // An error of the training says more than one that follows from it.
    let outcome = outcome?;
    told?;
    let directory = recorder.directory.path().to_owned();
    Ok(RunSummary {
        generator: recorder.directory.generator(),
        report: report?,
        samples: recorder.directory.sample(progress.images_seen),
        images_seen: progress.images_seen,
        seconds: trainer.seconds(),
        translates: trainer.config.model.translates(),
        finished: outcome != Outcome::Stopped,
        best: recorder
            .best()
            .zip(recorder.score_name())
            .map(|((images_seen, value), score)| BestGenerator {
                path: recorder.directory.best_generator(),
                score,
                value,
                images_seen,
            }),
        directory,
    })
}

fn started_event(trainer: &Trainer, data: &Data, budget: Budget) -> RunStarted {
    let (config, state): (&RunConfig, _) = (&trainer.config, &trainer.state);
    let judges = state.contest.judges().into_iter().map(Parameters::num_weights);
    let images = config.model.images();
    let seconds = match budget {
        Budget::Time { seconds } => Some(seconds),
        Budget::Images => None,
    };
    let precision = format!("{:?}", config.device.precision).to_lowercase();
    RunStarted {
        version: events::VERSION,
        program: env!("CARGO_PKG_VERSION").into(),
        images_seen: state.progress.images_seen,
        family: config.model.family().into(),
        dataset: data.name.clone(),
        num_images: data.train.len() as u64,
        num_holdout: data.holdout.as_ref().map_or(0, |holdout| holdout.len() as u64),
        classes: if images.num_classes > 0 {
            data.train.classes().to_vec()
        } else {
            Vec::new()
        },
        height_px: images.height_px as u32,
        width_px: images.width_px as u32,
        channels: images.channels as u32,
        generator_parameters: state.contest.product().num_weights() as u64,
        discriminator_parameters: judges.sum::<usize>() as u64,
        batch: config.training.batch as u32,
        total_kimg: trainer.total_images() as f64 / 1000.0,
        budget_seconds: seconds,
        seed: config.seed,
        machine: Machine::here(trainer.device().threads(), trainer.device().name(), precision),
        rationale: Vec::new(),
    }
}

/// Takes the weights of another run or generator as far as names and shapes agree.
fn start_from(path: &Path, state: &TrainState, device: &gander_tensor::DeviceRef) -> Result<Event> {
    let taken = state.take(&checkpoint::load_trained(path, device)?.tensors)?;
    let counts: Vec<String> = taken
        .iter()
        .map(|(part, (got, of))| format!("{part} {got} of {of}"))
        .collect();
    Ok(Event::Diagnosis(Diagnosis {
        images_seen: 0,
        severity: Severity::Note,
        name: format!("weights taken from {}", path.display()),
        advice: format!("tensors whose names and shapes agreed: {}", counts.join(", ")),
    }))
}
