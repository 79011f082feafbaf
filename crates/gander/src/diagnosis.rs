//! Is this training healthy? Alarms on the numbers of a run, each with a name, a threshold, its reason, and advice.
//!
//! | alarm | looks at | file |
//! |---|---|---|
//! | the discriminator wins, the discriminator loses | loss, accuracy, and that of nearest neighbors | [`balance`] |
//! | the discriminator learns by heart | logits of held-out images | [`overfitting`] |
//! | mode collapse | distances between fakes | [`diversity`] |
//! | oscillation | the logits' way | [`oscillation`] |
//! | exploding and vanishing gradients, steps too large, dead channels | the optimizers' moments | [`gradients`] |
//!
//! Everything here is a pure function of numbers that stand in the ticks of a log, so that a log can be judged again.
//! Alarms look at medians of a few measurements: a single bad one is a GAN's everyday life. [`flatness`] says when a score
//! no longer improves.

pub mod balance;
pub mod diversity;
pub mod flatness;
pub mod gradients;
pub mod oscillation;
pub mod overfitting;

use std::collections::BTreeMap;

use crate::events::{Diagnosis, Severity, Tick};

/// What was measured at a moment of a run; what was not is `None`.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Vitals {
    /// Real images that the discriminator was shown.
    pub images_seen: u64,
    /// Loss of the discriminator, without penalties.
    pub discriminator_loss: Option<f64>,
    /// Share of real and fake images that the discriminator tells right; of pairs where it compares pairs.
    pub accuracy: Option<f64>,
    /// [`balance::neighbor_accuracy`] of as many fakes and real images.
    pub neighbor_accuracy: Option<f64>,
    /// Mean logit of real images less that of fakes.
    pub logit_gap: Option<f64>,
    /// [`overfitting::overfitting`] of the discriminator.
    pub overfitting: Option<f64>,
    /// [`diversity::Diversity::spread`] of the fakes.
    pub fake_spread: Option<f64>,
    /// [`diversity::Diversity::nearest`] of the fakes.
    pub fake_nearest: Option<f64>,
    /// [`gradients::SquaredGradient::norm_since`] the last look, of the generator.
    pub generator_gradient: Option<f64>,
    /// [`gradients::SquaredGradient::norm_since`] the last look, of the discriminator.
    pub discriminator_gradient: Option<f64>,
    /// [`gradients::step_share`] of the network whose steps are larger.
    pub step_share: Option<f64>,
    /// [`gradients::dead_channels`] of the layer that has most.
    pub dead_channels: Option<f64>,
}

impl From<&Tick> for Vitals {
    fn from(tick: &Tick) -> Self {
        let finite = |value: f64| value.is_finite().then_some(value);
        let scalar = |name: &str| tick.scalars.get(name).copied().and_then(finite);
        let gap = scalar("real_logits").zip(scalar("fake_logits"));
        Self {
            images_seen: tick.images_seen,
            discriminator_loss: finite(tick.discriminator_loss),
            accuracy: scalar("accuracy"),
            neighbor_accuracy: scalar("neighbor_accuracy"),
            logit_gap: gap.map(|(real, fake)| real - fake),
            overfitting: scalar("overfitting"),
            fake_spread: scalar("fake_spread"),
            fake_nearest: scalar("fake_nearest"),
            generator_gradient: scalar("generator_gradient"),
            discriminator_gradient: scalar("discriminator_gradient"),
            step_share: scalar("step_share"),
            dead_channels: scalar("dead_channels"),
        }
    }
}

/// What can look wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Alarm {
    /// [`balance::wins`]
    DiscriminatorWins,
    /// [`balance::loses`]
    DiscriminatorLoses,
    /// [`overfitting::learns_by_heart`]
    LearnsByHeart,
    /// [`diversity::collapses`]
    ModeCollapse,
    /// [`oscillation::oscillates`]
    Oscillation,
    /// [`gradients::explode`]
    ExplodingGradients,
    /// [`gradients::vanish`]
    VanishingGradients,
    /// [`gradients::leap`]
    StepsTooLarge,
    /// [`gradients::die`]
    DeadChannels,
}

impl Alarm {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::DiscriminatorWins,
        Self::DiscriminatorLoses,
        Self::LearnsByHeart,
        Self::ModeCollapse,
        Self::Oscillation,
        Self::ExplodingGradients,
        Self::VanishingGradients,
        Self::StepsTooLarge,
        Self::DeadChannels,
    ];

    /// What it is called in log and report.
    pub fn name(self) -> &'static str {
        match self {
            Self::DiscriminatorWins => "the discriminator wins",
            Self::DiscriminatorLoses => "the discriminator loses",
            Self::LearnsByHeart => "the discriminator learns by heart",
            Self::ModeCollapse => "mode collapse",
            Self::Oscillation => "oscillation",
            Self::ExplodingGradients => "exploding gradients",
            Self::VanishingGradients => "vanishing gradients",
            Self::StepsTooLarge => "steps too large",
            Self::DeadChannels => "dead channels",
        }
    }

    /// What to do, where the run can: those that translate take neither augmentation nor penalties nor other families.
    pub fn advice(self, translates: bool) -> &'static str {
        match self {
            Self::DiscriminatorWins if translates => {
                "lower the learning rate (--set training.learning_rate=1e-4), or let it see more pictures"
            }
            Self::DeadChannels if translates => {
                "these channels are lost for this run: begin again with a lower learning rate"
            }
            Self::Oscillation if translates => "lower the learning rate by three",
            Self::DiscriminatorWins => {
                "lower the learning rate (--set training.learning_rate=1e-4), hold it with three times its \
                 penalty (--gamma 0.3 where training.r1_gamma is 0.1), or give it a harder task (--set training.augment_p=0.3)"
            }
            Self::DiscriminatorLoses => {
                "give it more width (--set model.width=32) or a lighter penalty (a tenth of --gamma); if it never learned, \
                 lower the learning rate"
            }
            Self::LearnsByHeart => {
                "augment what it sees (--set training.augment_p=adaptive), collect more images, or stop earlier: the best \
                 checkpoint is kept"
            }
            Self::ModeCollapse => {
                "go back to an earlier checkpoint; raise the penalty tenfold (--gamma), lower the learning rate, or take \
                 --family r3gan"
            }
            Self::Oscillation => {
                "lower the learning rate by three, or raise the penalty (--gamma); the averaged generator smooths what \
                 is left"
            }
            Self::ExplodingGradients => {
                "lower the learning rate by ten, or raise the penalty (--gamma); a checkpoint from before is in \
                 checkpoints/"
            }
            Self::VanishingGradients => {
                "this network no longer learns: lower the other's learning rate, or raise the penalty (--gamma)"
            }
            Self::StepsTooLarge => "lower the learning rate by ten (--set training.learning_rate=1e-4)",
            Self::DeadChannels => {
                "these channels are lost for this run: begin again with a lower learning rate, or take --family r3gan, \
                 whose units cannot die"
            }
        }
    }

    /// Looks at a run so far.
    pub fn check(self, subject: Subject, history: &[Vitals]) -> Option<Finding> {
        match self {
            Self::DiscriminatorWins => balance::wins(subject.loss_of_guessing, history),
            Self::DiscriminatorLoses => balance::loses(history),
            Self::LearnsByHeart => overfitting::learns_by_heart(history),
            Self::ModeCollapse => diversity::collapses(history),
            Self::Oscillation => oscillation::oscillates(history),
            Self::ExplodingGradients => gradients::explode(history),
            Self::VanishingGradients => gradients::vanish(history),
            Self::StepsTooLarge => gradients::leap(history),
            Self::DeadChannels => gradients::die(history),
        }
    }
}

/// What an alarm saw.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    /// How much it matters.
    pub severity: Severity,
    /// The numbers, as a clause.
    pub seen: String,
}

/// What must be known of a run to judge its numbers.
#[derive(Debug, Clone, Copy)]
pub struct Subject {
    /// What its discriminator's loss is if that only guesses; `None` where no loss says so.
    pub loss_of_guessing: Option<f64>,
    /// Whether it makes images from images.
    pub translates: bool,
}

/// Watches one run.
#[derive(Debug)]
pub struct Watch {
    subject: Subject,
    history: Vec<Vitals>,
    /// Of each alarm that was told: how bad it was, and for how many moments it has been silent since.
    told: BTreeMap<Alarm, (Severity, usize)>,
}

/// Moments of silence after which an alarm is told again.
const QUIET: usize = 20;

impl Watch {
    /// Before the first moment.
    pub fn new(subject: Subject) -> Self {
        Self {
            subject,
            history: Vec::new(),
            told: BTreeMap::new(),
        }
    }

    /// Forgets what lies beyond a checkpoint that the run went back to.
    pub fn rewind(&mut self, images_seen: u64) {
        self.history.retain(|vitals| vitals.images_seen <= images_seen);
    }

    /// One more moment, and what is newly wrong: each alarm once, and again when it grows worse or comes back.
    pub fn observe(&mut self, vitals: Vitals) -> Vec<Diagnosis> {
        self.history.push(vitals);
        let findings = Alarm::ALL.map(|alarm| (alarm, alarm.check(self.subject, &self.history)));
        let mut news = Vec::new();
        for (alarm, finding) in findings {
            let before = self.told.get_mut(&alarm);
            match (finding, before) {
                (None, None) => {}
                (None, Some((_, silent))) => *silent += 1,
                (Some(found), Some((severity, silent))) if found.severity <= *severity && *silent < QUIET => {
                    *silent = 0;
                }
                (Some(found), _) => {
                    self.told.insert(alarm, (found.severity, 0));
                    news.push(Diagnosis {
                        images_seen: vitals.images_seen,
                        severity: found.severity,
                        name: alarm.name().into(),
                        advice: format!("{}. {}", found.seen, capitalized(alarm.advice(self.subject.translates))),
                    });
                }
            }
        }
        news
    }
}

fn capitalized(text: &str) -> String {
    let mut letters = text.chars();
    letters
        .next()
        .map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// Images before which no alarm looks: the first steps of any GAN look like a failure. The slowest start that was seen, of an
/// SNGAN on Fashion-MNIST, made nearly the same image from all latents until 9 kimg, and then all kinds.
pub const WARM_UP_IMAGES: u64 = 5000;

/// Measurements whose median an alarm looks at.
pub const WINDOW: usize = 5;

/// How low a number has lately been: the larger of its last measurement and of the median of the last [`WINDOW`] since the
/// warm-up, so that what has got better is no alarm. `None` while there are fewer.
fn lasting_low(history: &[Vitals], of: impl Fn(&Vitals) -> Option<f64>) -> Option<f64> {
    recent(history, of).map(|(middle, last)| middle.max(last))
}

/// How high a number has lately been: the smaller of the two.
fn lasting_high(history: &[Vitals], of: impl Fn(&Vitals) -> Option<f64>) -> Option<f64> {
    recent(history, of).map(|(middle, last)| middle.min(last))
}

/// What the mean of a number's last measurements, twice [`WINDOW`] of them or as many as there are, surely exceeds: two
/// standard errors below it.
fn surely_above(history: &[Vitals], of: impl Fn(&Vitals) -> Option<f64>) -> Option<f64> {
    let last: Vec<f64> = settled(history).iter().rev().filter_map(of).take(2 * WINDOW).collect();
    let count = last.len() as f64;
    let mean = last.iter().sum::<f64>() / count;
    let squares: f64 = last.iter().map(|value| (value - mean).powi(2)).sum();
    (last.len() >= WINDOW).then(|| mean - 2.0 * (squares / (count * (count - 1.0))).sqrt())
}

/// The median of the last [`WINDOW`] measurements of a number since the warm-up, and the last of them.
fn recent(history: &[Vitals], of: impl Fn(&Vitals) -> Option<f64>) -> Option<(f64, f64)> {
    let mut last: Vec<f64> = settled(history).iter().rev().filter_map(of).take(WINDOW).collect();
    let newest = *last.first()?;
    (last.len() == WINDOW).then(|| (median(&mut last), newest))
}

/// The moments after the warm-up.
fn settled(history: &[Vitals]) -> &[Vitals] {
    let from = history.partition_point(|vitals| vitals.images_seen < WARM_UP_IMAGES);
    &history[from..]
}

/// The middle value; the mean of two where there is none.
pub(crate) fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    let (low, high) = (values.get((values.len().max(1) - 1) / 2), values.get(values.len() / 2));
    low.zip(high).map_or(f64::NAN, |(&low, &high)| f64::midpoint(low, high))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A history in which one number moves, 500 images apart.
    pub(crate) fn series(values: impl IntoIterator<Item = f64>, set: impl Fn(&mut Vitals, f64)) -> Vec<Vitals> {
        let moment = |(index, value): (usize, f64)| {
            let mut vitals = Vitals {
                images_seen: (index as u64 + 1) * 500,
                ..Vitals::default()
            };
            set(&mut vitals, value);
            vitals
        };
        values.into_iter().enumerate().map(moment).collect()
    }

    /// The same numbers in −1..1 each time.
    pub(crate) fn noise(index: usize) -> f64 {
        gander_tensor::RandomKey::from_seed(7).split(index as u64).uniform() * 2.0 - 1.0
    }

    #[test]
    fn an_alarm_is_told_once_and_again_when_it_grows_worse_or_comes_back() {
        let mut watch = Watch::new(Subject {
            loss_of_guessing: None,
            translates: false,
        });
        let mut told = Vec::new();
        let spreads = [(30, 0.9), (20, 0.4), (20, 0.1), (40, 0.9), (20, 0.1)];
        let spreads = spreads
            .into_iter()
            .flat_map(|(count, spread)| [spread; 40].into_iter().take(count));
        for vitals in series(spreads, |vitals, value| vitals.fake_spread = Some(value)) {
            told.extend(watch.observe(vitals));
        }
        let severities: Vec<Severity> = told.iter().map(|diagnosis| diagnosis.severity).collect();
        assert_eq!(severities[..2], [Severity::Warning, Severity::Problem]);
        // It comes back by way of the milder one.
        assert_eq!(severities.last(), Some(&Severity::Problem));
        assert!(
            told.iter().all(|diagnosis| diagnosis.name == "mode collapse"),
            "{told:?}"
        );
        assert!(
            told[0].advice.contains("40 %") && told[0].advice.contains(". Go back"),
            "{}",
            told[0].advice
        );
    }

    #[test]
    fn a_tick_says_what_was_measured() {
        let mut tick = Tick {
            images_seen: 5,
            discriminator_loss: f64::NAN,
            ..Tick::default()
        };
        tick.scalars.insert("real_logits".into(), 2.0);
        tick.scalars.insert("fake_logits".into(), -1.0);
        let expected = Vitals {
            images_seen: 5,
            logit_gap: Some(3.0),
            ..Vitals::default()
        };
        assert_eq!(Vitals::from(&tick), expected);
    }

    #[test]
    fn medians_by_hand() {
        assert_eq!(median(&mut [3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&mut [4.0, 1.0, 2.0, 3.0]), 2.5);
        assert!(median(&mut []).is_nan());
    }
}
