//! Scores of a run while it trains: when they are taken, what they say, which moment was the best.

use std::{path::Path, sync::Arc, time::Instant};

use gander_data::{Dataset, label_counts};
use gander_tensor::{DeviceRef, RandomKey, Tensor};

use crate::{
    diagnosis::flatness::{LEAST, flat_since},
    error::{Error, Result},
    events::{Diagnosis, Event, Metric, Severity},
    features::{Classifier, ClassifierOptions, EffNet, FeatureSpace, Inception, Pixels, SpaceChoice},
    metrics::{Better, Judge, JudgeOptions, Resampling, ScoreKind},
    models::Generator,
    run::{LogContents, RunDirectory},
    shipped::{draw_class, generate},
    train::{RunConfig, Trainer, config::EvaluationConfig, contest::Product},
};

/// The most of the training's time that evaluations take.
const SHARE: f64 = 0.04;
/// Evaluations that a plan has room for, where they are cheap enough.
const IN_A_PLAN: u64 = 24;
/// A run that is younger is not judged: it says more in its pictures.
const FIRST_SECONDS: f64 = 30.0;

/// Images that are made at once.
const AT_ONCE: usize = 32;

/// Judges the generator of a run from time to time, always on the same latents.
///
/// Nothing here draws from the run's random state: whether and when it judges changes no byte of the run.
pub(super) struct Evaluator {
    config: EvaluationConfig,
    judge: Option<Judge>,
    latents: Option<(Tensor, Option<Vec<u32>>)>,
    /// Images seen and the score then.
    scores: Vec<(u64, f64)>,
    /// Images seen and seconds at the last evaluation, and what it took.
    last: (u64, f64),
    cost_seconds: f64,
    is_flat_told: bool,
    has_failed: bool,
}

/// What an evaluation said.
pub(super) struct Verdict {
    pub(super) metric: Metric,
    pub(super) is_best: bool,
}

impl Evaluator {
    /// One that knows what a log says of earlier scores. `None` where nothing is to be judged, or nothing can be.
    pub(super) fn new(trainer: &Trainer, earlier: &LogContents) -> Option<Self> {
        let config = trainer.config.evaluation.clone();
        if config.num < 2 || trainer.config.model.translates() {
            return None;
        }
        let name = name(&config);
        let score = |event: &Event| match event {
            Event::Metric(metric) if metric.name == name => Some((metric.images_seen, metric.value)),
            _ => None,
        };
        let scores: Vec<(u64, f64)> = earlier.as_it_stands().into_iter().filter_map(score).collect();
        let images_seen = scores.last().map_or(0, |(images_seen, _)| *images_seen);
        let mut evaluator = Self {
            config,
            judge: None,
            latents: None,
            scores,
            last: (images_seen, trainer.seconds()),
            cost_seconds: 0.0,
            is_flat_told: false,
            has_failed: false,
        };
        // A run that goes on although it is flat is wanted so.
        evaluator.is_flat_told = evaluator.flat_since().is_some();
        Some(evaluator)
    }

    /// Judges no more; what it said stands.
    pub(super) fn give_up(&mut self) {
        self.has_failed = true;
    }

    /// Whether it is time: at the interval that was asked for; else at the first of [`IN_A_PLAN`] moments of the plan that
    /// costs no more than [`SHARE`] of the time.
    pub(super) fn is_due(&self, trainer: &Trainer) -> bool {
        if self.has_failed {
            return false;
        }
        let images = trainer.state.progress.images_seen.saturating_sub(self.last.0);
        if let Some(kimg) = self.config.every_kimg {
            return images as f64 >= kimg * 1000.0;
        }
        let seconds = trainer.seconds();
        let is_affordable = seconds - self.last.1 >= self.cost_seconds / SHARE;
        seconds >= FIRST_SECONDS && images >= trainer.total_images() / IN_A_PLAN && is_affordable
    }

    /// Whether it has judged in this process.
    pub(super) fn has_judged(&self) -> bool {
        self.judge.is_some() && !self.has_failed
    }

    /// Whether the run's end should be judged: where it was judged on the way, and has moved since, and has time for it.
    pub(super) fn is_due_at_end(&self, trainer: &Trainer) -> bool {
        let images_seen = trainer.state.progress.images_seen;
        let is_affordable = self.config.every_kimg.is_some() || self.cost_seconds <= SHARE * trainer.seconds();
        !self.has_failed && is_affordable && self.scores.last().is_some_and(|(last, _)| *last < images_seen)
    }

    /// Forgets what lies beyond a checkpoint that the run went back to.
    pub(super) fn rewind(&mut self, images_seen: u64) {
        self.scores.retain(|(moment, _)| *moment <= images_seen);
        self.last.0 = self.last.0.min(images_seen);
    }

    /// Images seen at the best score, and that score.
    pub(super) fn best(&self) -> Option<(u64, f64)> {
        self.scores.iter().copied().min_by(|a, b| a.1.total_cmp(&b.1))
    }

    /// The moment after which the score no longer improved, if it has not for long.
    pub(super) fn flat_since(&self) -> Option<(u64, f64)> {
        let values: Vec<f64> = self.scores.iter().map(|(_, score)| *score).collect();
        flat_since(&values, Better::Lower).map(|index| self.scores[index])
    }

    /// That the score no longer improves, once.
    pub(super) fn news_of_flatness(&mut self, trainer: &Trainer) -> Option<Diagnosis> {
        let (images_seen, score) = self.flat_since()?;
        if self.is_flat_told {
            return None;
        }
        self.is_flat_told = true;
        Some(Diagnosis {
            images_seen: trainer.state.progress.images_seen,
            severity: Severity::Note,
            name: "the score no longer improves".into(),
            advice: format!(
                "{}. More time as it is buys little: stop, or change something; the best generator is kept",
                flatness(&self.name(), images_seen, score)
            ),
        })
    }

    /// Whether a run that no longer improves ends.
    pub(super) fn stops_when_flat(&self) -> bool {
        self.config.stop_when_flat
    }

    /// As many images as there are, of the latents of the evaluations: the averaged generator's now.
    pub(super) fn images(&self, trainer: &Trainer, num: usize) -> Result<Vec<u8>> {
        let Product::Generator(generator) = trainer.state.contest.product() else {
            return Ok(Vec::new());
        };
        let mut bytes = Vec::new();
        if let Some((latents, labels)) = &self.latents {
            let num = num.min(self.config.num);
            for from in (0..num).step_by(AT_ONCE) {
                let to = (from + AT_ONCE).min(num);
                let labels = labels.as_ref().map(|labels| &labels[from..to]);
                bytes.extend(generate(
                    generator,
                    &latents.slice(0, from, to)?,
                    labels,
                    trainer.device(),
                )?);
            }
        }
        Ok(bytes)
    }

    /// The name of the score.
    pub(super) fn name(&self) -> String {
        name(&self.config)
    }

    /// Judges the averaged generator now.
    pub(super) fn evaluate(&mut self, trainer: &Trainer, directory: &RunDirectory) -> Result<Option<Verdict>> {
        let Product::Generator(generator) = trainer.state.contest.product() else {
            return Ok(None);
        };
        if self.judge.is_none() {
            self.judge = Some(self.open(trainer, directory)?);
            self.latents = Some(draw(
                &trainer.config,
                trainer.dataset().as_ref(),
                generator,
                trainer.device(),
            )?);
        }
        let Some(judge) = &self.judge else { return Ok(None) };
        // The real side is looked at once; that is no part of what the next evaluation will take.
        let begun = Instant::now();
        let mut judging = judge.judging()?;
        judging.add_bytes(&self.images(trainer, self.config.num)?)?;
        let Some(score) = judging.finish()?.into_iter().next() else {
            return Ok(None);
        };
        let images_seen = trainer.state.progress.images_seen;
        let is_best = self.best().is_none_or(|(_, best)| score.value < best);
        self.scores.push((images_seen, score.value));
        self.is_flat_told &= !is_best;
        self.cost_seconds = begun.elapsed().as_secs_f64();
        self.last = (images_seen, trainer.seconds());
        Ok(Some(Verdict {
            metric: Metric {
                images_seen,
                name: score.name,
                value: score.value,
                low: score.interval.map(|interval| interval.low),
                high: score.interval.map(|interval| interval.high),
            },
            is_best,
        }))
    }

    fn open(&self, trainer: &Trainer, directory: &RunDirectory) -> Result<Judge> {
        let dataset = trainer.dataset().as_ref();
        let options = JudgeOptions {
            scores: vec![ScoreKind::Fid],
            num: self.config.num,
            resampling: Resampling::default(),
            ..JudgeOptions::default()
        };
        let space = open_space(&self.config.features, dataset, Some(directory.path()), trainer.device())?;
        Judge::new(space, dataset, options.with_seed(trainer.config.seed), trainer.device())
    }
}

/// The latents of all evaluations, and labels as often as in the data.
pub(super) fn draw(
    config: &RunConfig,
    dataset: &dyn Dataset,
    generator: &dyn Generator,
    device: &DeviceRef,
) -> Result<(Tensor, Option<Vec<u32>>)> {
    let key = RandomKey::from_seed(config.seed).named("evaluation");
    let num = config.evaluation.num;
    let latents = generator.latents(key.named("latents"), num, device)?;
    let counts = label_counts(dataset);
    let label = |index: usize| draw_class(&counts, key.named("labels").split(index as u64));
    let is_labeled = config.model.images().num_classes > 0;
    let labels = is_labeled.then(|| (0..num).map(label).collect());
    Ok((latents, labels))
}

/// Since when a score is flat, as a clause.
pub(super) fn flatness(name: &str, images_seen: u64, score: f64) -> String {
    format!(
        "{name} has not improved by {:.0} % since {:.1} kimg, when it was {score:.4}",
        100.0 * LEAST,
        images_seen as f64 / 1000.0
    )
}

fn name(config: &EvaluationConfig) -> String {
    crate::metrics::score_name("fid", config.num, Some(config.features.name()))
}

/// The space of a run. A classifier that is trained for it is kept in a folder, the run's own, so that a resumed run is
/// judged by the same one.
pub(super) fn open_space(
    choice: &SpaceChoice,
    dataset: &dyn Dataset,
    folder: Option<&Path>,
    device: &DeviceRef,
) -> Result<Arc<dyn FeatureSpace>> {
    Ok(match choice {
        SpaceChoice::Pixels => Arc::new(Pixels),
        SpaceChoice::Classifier(Some(file)) => Arc::new(Classifier::load(file, device)?),
        SpaceChoice::Classifier(None) => {
            let options = ClassifierOptions::default();
            Arc::new(match folder {
                Some(folder) => Classifier::cached(folder, dataset, None, options, device, &mut |_| {})?,
                None => Classifier::train(dataset, None, options, device, &mut |_| {})?,
            })
        }
        SpaceChoice::EffNet(file) => Arc::new(EffNet::load(file, device)?),
        SpaceChoice::Inception(Some(file), resizing) => Arc::new(Inception::load(file, *resizing, device)?),
        SpaceChoice::Inception(None, _) => {
            return Err(Error::InvalidSetting {
                setting: "evaluation.features",
                value: "inception without its file (inception:FILE)".into(),
            });
        }
    })
}
