//! A search for the weight of R1, and of R2 where the family has it: short runs of the same settings at powers of ten, judged as
//! the run will be.

use std::sync::atomic::AtomicBool;

use super::{Planned, evaluation, planning::Target, rationale};
use crate::{
    error::{Error, Result},
    metrics::{Judge, JudgeOptions, Resampling, ScoreKind},
    run,
    shipped::generate,
    train::{
        Budget, Outcome, RunConfig, TrainState, Trainer, contest::Product, fitting, recovery, state::PlanCorrection,
        steps::Scalars, trainer::Observer,
    },
};

/// Powers of ten beside the weight that was planned.
const EXPONENTS: [i32; 5] = [-2, -1, 0, 1, 2];

/// The part of the run's length that all trials take together. In a fifth of that each, weights that collapse have
/// collapsed and weights that hold everything back are behind.
const SHARE: f64 = 0.25;

/// Images that are judged where the run itself is not.
const NUM: usize = 1000;
/// Images that are made at once.
const AT_ONCE: usize = 32;

/// A weight that was tried.
#[derive(Debug, Clone, PartialEq)]
pub struct Trial {
    /// The weight at the beginning.
    pub gamma: f64,
    /// Images that the discriminator saw.
    pub images_seen: u64,
    /// What came of it.
    pub verdict: Verdict,
}

/// What came of a trial.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// The score of its averaged generator, lower for better.
    Scored {
        /// What it is, such as `fid1k_pixels`.
        name: String,
        /// Its value.
        value: f64,
    },
    /// It ran away.
    Diverged {
        /// What was seen.
        reason: String,
    },
}

impl Verdict {
    fn value(&self) -> Option<f64> {
        match self {
            Self::Scored { value, .. } => Some(*value),
            Self::Diverged { .. } => None,
        }
    }
}

/// Tries weights around the planned one and puts the best into the plan, with the reason. The time that it takes is part
/// of a run's minutes; images are not part of its kimg.
///
/// # Errors
/// [`Error::InvalidConfig`] for a run without R1 and R2 or if every trial diverged, [`Error::Stopped`], and what training
/// and judging meet.
pub fn search_gamma(mut planned: Planned, tell: &mut dyn FnMut(&Trial), stop: &AtomicBool) -> Result<Planned> {
    let planned_gamma = planned.config.training.r1_gamma.start;
    if planned_gamma <= 0.0 || planned.config.model.translates() {
        let family = planned.config.model.family();
        let reason = format!("there is no gamma to search for: {family} is trained without R1 and R2 here");
        return Err(Error::InvalidConfig { reason });
    }
    if let Target::New { base, .. } = &planned.target {
        // Better now than after a quarter of the time.
        run::check_writable(base)?;
    }
    let mut judged = planned.config.clone();
    if judged.evaluation.num < 2 {
        judged.evaluation.num = NUM;
    }
    let judge = open_judge(&planned, &judged)?;
    let share = SHARE / EXPONENTS.len() as f64;
    let mut length = match planned.budget {
        Budget::Time { seconds } => Length::Seconds(seconds * share),
        Budget::Images => Length::Kimg(planned.config.training.total_kimg * share),
    };
    let mut trials: Vec<Trial> = Vec::new();
    for exponent in EXPONENTS {
        let gamma = planned_gamma * 10f64.powi(exponent);
        let trial = run((&planned, judged.clone()), gamma, length, &judge, stop)?;
        tell(&trial);
        // The clock decides the first one's length; the others are given as many images.
        if let (Length::Seconds(_), Verdict::Scored { .. }) = (length, &trial.verdict) {
            length = Length::Kimg(trial.images_seen as f64 / 1000.0);
        }
        trials.push(trial);
    }
    let scored = trials
        .iter()
        .filter_map(|trial| Some((trial.gamma, trial.verdict.value()?)));
    let Some((best, _)) = scored.min_by(|a, b| a.1.total_cmp(&b.1)) else {
        let reason = "every gamma that was tried diverged: the learning rate is too high".into();
        return Err(Error::InvalidConfig { reason });
    };
    let planned_penalty = rationale::penalty(&planned.config.training);
    planned.config.training.set_gamma(best);
    let penalty = rationale::penalty(&planned.config.training);
    for line in &mut planned.rationale {
        *line = line.replace(&planned_penalty, &penalty);
    }
    planned.rationale.push(reason(best, &trials));
    Ok(planned)
}

/// `gamma 0.1: lowest fid1k_pixels of short runs of 3.2 kimg: 0.01 81.2, 0.1 60.5, 1 74.0`
fn reason(best: f64, trials: &[Trial]) -> String {
    let found: Vec<String> = trials
        .iter()
        .map(|Trial { gamma, verdict, .. }| match verdict {
            Verdict::Scored { value, .. } => format!("{gamma} {value:.4}"),
            Verdict::Diverged { .. } => format!("{gamma} diverged"),
        })
        .collect();
    let name = trials.iter().find_map(|trial| match &trial.verdict {
        Verdict::Scored { name, .. } => Some((name.as_str(), trial.images_seen)),
        Verdict::Diverged { .. } => None,
    });
    let (name, images_seen) = name.unwrap_or_default();
    let kimg = images_seen as f64 / 1000.0;
    format!(
        "gamma {best}: the lowest {name} of short runs of {kimg:.1} kimg: {}",
        found.join(", ")
    )
}

/// How long a trial is.
#[derive(Debug, Clone, Copy)]
enum Length {
    Seconds(f64),
    Kimg(f64),
}

fn run(
    (planned, mut config): (&Planned, RunConfig),
    gamma: f64,
    length: Length,
    judge: &Judge,
    stop: &AtomicBool,
) -> Result<Trial> {
    config.training.set_gamma(gamma);
    let budget = match length {
        Length::Seconds(seconds) => Budget::Time { seconds },
        Length::Kimg(kimg) => {
            config.training.set_length(kimg);
            Budget::Images
        }
    };
    let kimg = match length {
        Length::Kimg(kimg) => kimg,
        Length::Seconds(_) => config.training.total_kimg * SHARE / EXPONENTS.len() as f64,
    };
    fitting::fit_average(&mut config.training, kimg);
    let state = TrainState::new(&config, &planned.device)?;
    let mut trainer = Trainer::new(state, config, planned.data.train.clone(), budget, &planned.device);
    let verdict = match trainer.run(&mut Unheard, stop) {
        Ok(Outcome::Stopped) => return Err(Error::Stopped),
        Ok(Outcome::Finished | Outcome::Flat) => score(&trainer, judge)?,
        Err(error) if recovery::can_help(&error) => Verdict::Diverged {
            reason: error.to_string(),
        },
        Err(error) => return Err(error),
    };
    Ok(Trial {
        gamma,
        images_seen: trainer.state.progress.images_seen,
        verdict,
    })
}

/// Trials keep no log.
struct Unheard;

impl Observer for Unheard {
    fn stepped(&mut self, _trainer: &Trainer, _scalars: &Scalars) -> Result<()> {
        Ok(())
    }

    fn corrected(&mut self, _trainer: &Trainer, _correction: &PlanCorrection) -> Result<()> {
        Ok(())
    }
}

fn open_judge(planned: &Planned, config: &RunConfig) -> Result<Judge> {
    let dataset = planned.data.train.as_ref();
    let space = evaluation::open_space(&config.evaluation.features, dataset, None, &planned.device)?;
    let options = JudgeOptions {
        scores: vec![ScoreKind::Fid],
        num: config.evaluation.num,
        // Nobody reads an interval here.
        resampling: Resampling { num: 0, seed: 0 },
        ..JudgeOptions::default()
    };
    Judge::new(space, dataset, options.with_seed(config.seed), &planned.device)
}

fn score(trainer: &Trainer, judge: &Judge) -> Result<Verdict> {
    let Product::Generator(generator) = trainer.state.contest.product() else {
        let family = trainer.config.model.family();
        return Err(Error::Translates { family });
    };
    let (latents, labels) = evaluation::draw(&trainer.config, trainer.dataset().as_ref(), generator, trainer.device())?;
    let mut judging = judge.judging()?;
    let num = latents.side(0);
    for from in (0..num).step_by(AT_ONCE) {
        let to = (from + AT_ONCE).min(num);
        let labels = labels.as_ref().map(|labels| &labels[from..to]);
        judging.add_bytes(&generate(
            generator,
            &latents.slice(0, from, to)?,
            labels,
            trainer.device(),
        )?)?;
    }
    match judging.finish()?.into_iter().next() {
        Some(score) if score.value.is_finite() => Ok(Verdict::Scored {
            name: score.name,
            value: score.value,
        }),
        _ => Ok(Verdict::Diverged {
            reason: "its images have no score".into(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_names_every_trial() {
        let trial = |gamma, verdict| Trial {
            gamma,
            images_seen: 3200,
            verdict,
        };
        let scored = |value| Verdict::Scored {
            name: "fid1k_pixels".into(),
            value,
        };
        let ran_away = Verdict::Diverged { reason: "a".into() };
        let trials = [
            trial(0.01, ran_away),
            trial(0.1, scored(60.5)),
            trial(1.0, scored(74.0)),
        ];
        assert_eq!(
            reason(0.1, &trials),
            "gamma 0.1: the lowest fid1k_pixels of short runs of 3.2 kimg: 0.01 diverged, 0.1 60.5000, 1 74.0000"
        );
    }
}
