//! What a run leaves behind on its way: ticks, pictures, checkpoints.

use std::{
    collections::BTreeMap,
    ops::RangeInclusive,
    path::{Path, PathBuf},
    time::Instant,
};

use gander_data::label_counts;

use super::{
    copies::{self, Copies},
    evaluation::{Evaluator, flatness},
    exhibit::{self, Exhibit},
    planning::Data,
    watching::Watcher,
};
use crate::{
    error::{Error, Result},
    events::{Diagnosis, Event, Listeners, Severity, Tick, is_disk_full},
    images,
    run::{self, LogContents, RunDirectory},
    shipped::{self, GeneratorHeader},
    train::{TrainState, Trainer, checkpoint, state::PlanCorrection, steps::Scalars, trainer::Observer},
};

/// Most seconds of work that a kill can cost, and how long a young run trains before its second checkpoint. In between
/// a kill costs at most half of the training so far: a run of three minutes writes nine checkpoints.
const CHECKPOINT_SECONDS: RangeInclusive<f64> = 1.0..=45.0;
const CHECKPOINT_SHARE: f64 = 0.5;

/// Ticks and pictures come at these intervals at first, later after these shares of the time so far, so that a run of
/// a minute and one of a week both leave some hundred lines and some dozen pictures.
const TICK: Rhythm = Rhythm {
    seconds: 1.0,
    share: 0.005,
};
const SAMPLES: Rhythm = Rhythm {
    seconds: 15.0,
    share: 0.08,
};

#[derive(Debug, Clone, Copy)]
struct Rhythm {
    seconds: f64,
    share: f64,
}

impl Rhythm {
    fn is_due(self, last: f64, now: f64) -> bool {
        now - last >= self.seconds.max(self.share * now)
    }
}

/// Listens to the trainer and writes what a run directory holds.
pub(super) struct Recorder<'a> {
    pub(super) directory: RunDirectory,
    pub(super) listeners: Listeners<'a>,
    exhibit: Box<dyn Exhibit>,
    watcher: Watcher,
    evaluator: Option<Evaluator>,
    is_satisfied: bool,
    header: GeneratorHeader,
    fingerprint: String,
    sums: BTreeMap<&'static str, (f64, u64)>,
    last_tick: (f64, u64),
    last_samples: f64,
    last_checkpoint: (Instant, u64),
}

impl<'a> Recorder<'a> {
    pub(super) fn new(
        trainer: &Trainer,
        directory: RunDirectory,
        listeners: Listeners<'a>,
        data: &Data,
        earlier: &LogContents,
    ) -> Result<Self> {
        let dataset = trainer.dataset();
        let is_labeled = trainer.config.model.images().num_classes > 0;
        let header = GeneratorHeader {
            model: trainer.config.model.clone(),
            classes: if is_labeled {
                dataset.classes().to_vec()
            } else {
                Vec::new()
            },
            class_counts: if is_labeled {
                label_counts(dataset.as_ref())
            } else {
                Vec::new()
            },
            images_seen: 0,
            dataset: data.name.clone(),
        };
        let seconds = trainer.seconds();
        Ok(Self {
            directory,
            listeners,
            exhibit: exhibit::of(trainer, data)?,
            watcher: Watcher::new(trainer, data.holdout.as_deref(), earlier)?,
            evaluator: Evaluator::new(trainer, earlier),
            is_satisfied: false,
            header,
            fingerprint: trainer.data_fingerprint(),
            sums: BTreeMap::new(),
            last_tick: (seconds, trainer.state.progress.images_seen),
            last_samples: seconds,
            last_checkpoint: (Instant::now(), trainer.state.progress.images_seen),
        })
    }

    /// A picture of the real images, as many as of the samples.
    pub(super) fn write_reals(&self, trainer: &Trainer) -> Result<()> {
        images::write_png(&self.directory.reals(), &self.exhibit.reals(trainer)?)
    }

    /// A picture of what the run makes now.
    pub(super) fn write_samples(&mut self, trainer: &Trainer) -> Result<PathBuf> {
        let images_seen = trainer.state.progress.images_seen;
        let path = self.directory.sample(images_seen);
        images::write_png(&path, &self.exhibit.now(trainer)?)?;
        self.last_samples = trainer.seconds();
        self.tell(&Event::SamplesWritten {
            images_seen,
            path: self.directory.relative(&path),
        })?;
        Ok(path)
    }

    /// The whole state and the generator to ship; then old checkpoints are thinned.
    pub(super) fn write_checkpoint(&mut self, trainer: &Trainer) -> Result<()> {
        let images_seen = trainer.state.progress.images_seen;
        let path = self.directory.checkpoint(images_seen);
        checkpoint::save(&path, &trainer.state, &trainer.config, &self.fingerprint)?;
        self.write_plan(trainer)?;
        self.write_generator(&trainer.state, &self.directory.generator())?;
        self.directory
            .thin_checkpoints(self.best().map(|(images_seen, _)| images_seen))?;
        self.last_checkpoint = (Instant::now(), images_seen);
        self.tell(&Event::CheckpointWritten {
            images_seen,
            path: self.directory.relative(&path),
        })
    }

    /// The settings again, with the plan in images that a time budget became, and how it became that: a run from them takes the
    /// same steps.
    fn write_plan(&self, trainer: &Trainer) -> Result<()> {
        let (progress, config) = (&trainer.state.progress, &trainer.config);
        if progress.corrections.is_empty() {
            return Ok(());
        }
        let plans = progress.plans(&config.training);
        self.directory.rewrite_config(&config.clone().with_plans(plans))
    }

    /// Images seen at the best score so far, and that score.
    pub(super) fn best(&self) -> Option<(u64, f64)> {
        self.evaluator.as_ref().and_then(Evaluator::best)
    }

    /// The name of the run's score.
    pub(super) fn score_name(&self) -> Option<String> {
        self.evaluator.as_ref().map(Evaluator::name)
    }

    /// Judges the generator, and keeps it if it is the best so far. An evaluation that fails is the last one.
    pub(super) fn evaluate(&mut self, trainer: &Trainer) -> Result<()> {
        let Some(evaluator) = &mut self.evaluator else {
            return Ok(());
        };
        let verdict = match evaluator.evaluate(trainer, &self.directory) {
            Ok(Some(verdict)) => verdict,
            Ok(None) => return Ok(()),
            Err(error) => {
                evaluator.give_up();
                return self.tell_failure(trainer, error);
            }
        };
        let flat = evaluator.news_of_flatness(trainer);
        self.is_satisfied |= flat.is_some() && evaluator.stops_when_flat();
        if verdict.is_best {
            self.write_generator(&trainer.state, &self.directory.best_generator())?;
        }
        self.tell(&Event::Metric(verdict.metric))?;
        if let Some(flat) = flat {
            self.tell(&Event::Diagnosis(flat))?;
        }
        if verdict.is_best {
            self.write_checkpoint(trainer)?;
        }
        Ok(())
    }

    /// Says that something could not be judged. That is no reason to lose a training, unless the disk is full.
    fn tell_failure(&mut self, trainer: &Trainer, error: Error) -> Result<()> {
        if is_disk_full(&error) {
            return Err(error);
        }
        self.tell(&Event::Diagnosis(Diagnosis {
            images_seen: trainer.state.progress.images_seen,
            severity: Severity::Warning,
            name: "evaluation stopped".into(),
            advice: format!(
                "training goes on without it; the reason: {}",
                crate::error::chain(&error)
            ),
        }))
    }

    /// Judges the end of a run: by its score where it was judged on its way, by copies of training images, by translations whose
    /// truth is known.
    pub(super) fn evaluate_end(&mut self, trainer: &Trainer, data: &Data) -> Result<()> {
        if self
            .evaluator
            .as_ref()
            .is_some_and(|evaluator| evaluator.is_due_at_end(trainer))
        {
            self.evaluate(trainer)?;
        }
        let findings = self
            .look_for_copies(trainer, data)
            .and_then(|copies| Ok((copies, exhibit::score_translation(trainer, data)?)));
        let (copies, scores) = match findings {
            Ok(findings) => findings,
            Err(error) => return self.tell_failure(trainer, error),
        };
        if let Some(copies) = copies {
            self.tell(&Event::Metric(copies.metric))?;
            self.tell(&Event::Diagnosis(copies.diagnosis))?;
        }
        scores
            .into_iter()
            .try_for_each(|score| self.tell(&Event::Metric(score)))
    }

    fn look_for_copies(&self, trainer: &Trainer, data: &Data) -> Result<Option<Copies>> {
        let Some(evaluator) = self.evaluator.as_ref().filter(|evaluator| evaluator.has_judged()) else {
            return Ok(None);
        };
        let samples = evaluator.images(trainer, copies::NUM)?;
        copies::look(trainer, data.holdout.as_deref(), &samples, &self.directory)
    }

    /// Why a satisfied run ended.
    pub(super) fn satisfaction(&self) -> String {
        let evaluator = self.evaluator.as_ref();
        let since = evaluator.and_then(|evaluator| Some((evaluator.name(), evaluator.flat_since()?)));
        since.map_or_else(String::new, |(name, (images_seen, score))| {
            flatness(&name, images_seen, score)
        })
    }

    /// Goes on from a checkpoint that the run went back to, as if nothing had been seen beyond.
    pub(super) fn rewind(&mut self, trainer: &Trainer) -> Result<()> {
        let images_seen = trainer.state.progress.images_seen;
        self.directory.rewind(images_seen)?;
        self.watcher.rewind(images_seen);
        let best = self.best();
        if let Some(evaluator) = &mut self.evaluator {
            evaluator.rewind(images_seen);
        }
        if self.best() != best {
            self.restore_best(trainer)?;
        }
        self.sums.clear();
        self.last_tick = (trainer.seconds(), images_seen);
        Ok(())
    }

    /// Makes the best generator that of the best score, where an earlier process ended between the two.
    pub(super) fn match_best(&mut self, trainer: &Trainer) -> Result<()> {
        let kept = shipped::read_header(&self.directory.best_generator()).ok();
        if kept.map(|header| header.images_seen) == self.best().map(|(images_seen, _)| images_seen) {
            return Ok(());
        }
        self.restore_best(trainer)
    }

    /// Writes the best generator anew from its checkpoint. Where that is no longer there, scores begin anew.
    fn restore_best(&mut self, trainer: &Trainer) -> Result<()> {
        let path = self.directory.best_generator();
        let checkpoint = self
            .best()
            .map(|(images_seen, _)| self.directory.checkpoint(images_seen))
            .and_then(|checkpoint| checkpoint::load(&checkpoint, trainer.device()).ok());
        let Some((header, tensors)) = checkpoint else {
            if let Some(evaluator) = &mut self.evaluator {
                evaluator.rewind(0);
            }
            return if path.exists() { run::remove(&path) } else { Ok(()) };
        };
        let mut state = TrainState::new(&trainer.config, trainer.device())?;
        state.restore(&tensors, header.numbers)?;
        self.write_generator(&state, &path)
    }

    /// The averaged generator.
    fn write_generator(&self, state: &TrainState, path: &Path) -> Result<()> {
        let header = GeneratorHeader {
            images_seen: state.progress.images_seen,
            ..self.header.clone()
        };
        shipped::save(path, &state.contest.product().networks(), &header)
    }

    pub(super) fn tell(&mut self, event: &Event) -> Result<()> {
        self.listeners.tell(event)
    }

    /// The means of the numbers since the last tick, unless there has been no step.
    pub(super) fn tick(&mut self, trainer: &Trainer) -> Result<()> {
        if self.sums.is_empty() {
            return Ok(());
        }
        let progress = &trainer.state.progress;
        let training = progress.applied(&trainer.config.training);
        let mut scalars: BTreeMap<String, f64> = std::mem::take(&mut self.sums)
            .into_iter()
            .map(|(name, (sum, count))| (name.to_owned(), sum / count as f64))
            .collect();
        let mut take = |name: &str| scalars.remove(name).unwrap_or(f64::NAN);
        let (discriminator_loss, generator_loss) = (take("discriminator_loss"), take("generator_loss"));
        let share = progress.burn_in_share(&training);
        scalars.insert("learning_rate".into(), progress.learning_rate(&training));
        scalars.insert("r1_gamma".into(), training.r1_gamma.at(share));
        scalars.insert("augment_p".into(), training.augment_p.at(share));
        scalars.insert("ema_half_life_kimg".into(), training.ema_half_life_kimg.at(share));
        scalars.extend(self.watcher.measure(trainer)?);
        let (seconds, images_seen) = (trainer.seconds(), progress.images_seen);
        let images_per_second = (images_seen - self.last_tick.1) as f64 / (seconds - self.last_tick.0).max(1e-9);
        let left = trainer.total_images().saturating_sub(images_seen) as f64;
        self.last_tick = (seconds, images_seen);
        let tick = Tick {
            images_seen,
            seconds,
            images_per_second,
            discriminator_loss,
            generator_loss,
            scalars,
            eta_seconds: (images_per_second > 0.0).then(|| left / images_per_second),
        };
        let news = self.watcher.judge(&tick);
        self.tell(&Event::Tick(tick))?;
        news.into_iter()
            .try_for_each(|diagnosis| self.tell(&Event::Diagnosis(diagnosis)))
    }
}

impl Observer for Recorder<'_> {
    fn stepped(&mut self, trainer: &Trainer, scalars: &Scalars) -> Result<()> {
        for (name, value) in scalars {
            let (sum, count) = self.sums.entry(name).or_default();
            *sum += value;
            *count += 1;
        }
        let now = trainer.seconds();
        if TICK.is_due(self.last_tick.0, now) {
            self.tick(trainer)?;
        }
        if SAMPLES.is_due(self.last_samples, now) {
            self.write_samples(trainer)?;
        }
        let patience = (CHECKPOINT_SHARE * now).clamp(*CHECKPOINT_SECONDS.start(), *CHECKPOINT_SECONDS.end());
        if self.last_checkpoint.0.elapsed().as_secs_f64() >= patience {
            self.write_checkpoint(trainer)?;
        }
        if self
            .evaluator
            .as_ref()
            .is_some_and(|evaluator| evaluator.is_due(trainer))
        {
            self.evaluate(trainer)?;
        }
        Ok(())
    }

    fn is_satisfied(&self) -> bool {
        self.is_satisfied
    }

    fn corrected(&mut self, trainer: &Trainer, correction: &PlanCorrection) -> Result<()> {
        let before = trainer.state.progress.corrections.iter().rev().nth(1);
        let was = before.map_or(trainer.config.training.total_kimg, |before| before.total_kimg);
        self.tell(&Event::Correction {
            images_seen: correction.images_seen,
            setting: "training.total_kimg".into(),
            was: format!("{was:.1}"),
            is: format!("{:.1}", correction.total_kimg),
            reason: if trainer.config.plan.is_empty() {
                "what the time that is left is enough for at the speed so far".into()
            } else {
                "as in the run that is repeated".into()
            },
        })
    }
}
