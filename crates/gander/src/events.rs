//! What happens in a run, as plain data for whoever listens: a terminal, a log, a browser.

use std::{collections::BTreeMap, io, path::PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::Result;

/// The version of the events that this program writes. A reader skips what it does not know.
pub const VERSION: u32 = 1;

/// Something that happened in a run.
///
/// In `log.jsonl` an event is an object with its name in `event` and its fields beside it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Event {
    /// A run began, or goes on in a new process.
    RunStarted(RunStarted),
    /// How training goes.
    Tick(Tick),
    /// A picture of samples lies in the run directory.
    SamplesWritten {
        /// Real images that the discriminator was shown.
        images_seen: u64,
        /// The picture, relative to the run directory.
        path: PathBuf,
    },
    /// A checkpoint lies in the run directory.
    CheckpointWritten {
        /// Real images that the discriminator was shown.
        images_seen: u64,
        /// The checkpoint, relative to the run directory.
        path: PathBuf,
    },
    /// The generator was judged.
    Metric(Metric),
    /// Something looks wrong, or is worth knowing.
    Diagnosis(Diagnosis),
    /// The run changed its own plan.
    Correction {
        /// Real images that the discriminator was shown.
        images_seen: u64,
        /// The setting that changed.
        setting: String,
        /// Its value before.
        was: String,
        /// Its value from now on.
        is: String,
        /// Why.
        reason: String,
    },
    /// A run ended.
    RunFinished(RunFinished),
}

/// How a run begins.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RunStarted {
    /// The version of the events, [`VERSION`].
    pub version: u32,
    /// The version of the program.
    pub program: String,
    /// Real images that the discriminator was shown before: 0 for a new run.
    pub images_seen: u64,
    /// The family of networks.
    pub family: String,
    /// Name of the data.
    pub dataset: String,
    /// Images to train on.
    pub num_images: u64,
    /// Images held out, never trained on.
    pub num_holdout: u64,
    /// Names of the classes that the generator learns; empty without labels.
    pub classes: Vec<String>,
    /// Rows of an image.
    pub height_px: u32,
    /// Columns of an image.
    pub width_px: u32,
    /// Channels of an image.
    pub channels: u32,
    /// Learned values of the generator.
    pub generator_parameters: u64,
    /// Learned values of the discriminator.
    pub discriminator_parameters: u64,
    /// Images in one update.
    pub batch: u32,
    /// Thousands of images that the run is planned for.
    pub total_kimg: f64,
    /// Wall time that the plan is fitted to, if any.
    pub budget_seconds: Option<f64>,
    /// The seed of everything random.
    pub seed: u64,
    /// What computes.
    pub machine: Machine,
    /// Why the settings are what they are, line by line; empty for a run that goes on.
    pub rationale: Vec<String>,
}

/// What computes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Machine {
    /// Compute threads.
    pub threads: u32,
    /// Instruction set of the kernels.
    pub isa: String,
    /// Precision of multiplications.
    pub precision: String,
    /// The operating system and the processor's architecture.
    pub platform: String,
}

impl Machine {
    /// This machine.
    pub fn here(threads: usize, isa: impl Into<String>, precision: impl Into<String>) -> Self {
        let platform = format!("{} {}", std::env::consts::OS, std::env::consts::ARCH);
        Self {
            threads: threads as u32,
            isa: isa.into(),
            precision: precision.into(),
            platform,
        }
    }
}

/// How training goes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Tick {
    /// Real images that the discriminator was shown.
    pub images_seen: u64,
    /// Seconds of training so far, over all processes that worked on the run.
    pub seconds: f64,
    /// Speed since the tick before.
    #[serde(with = "number")]
    pub images_per_second: f64,
    /// Loss of the discriminator.
    #[serde(with = "number")]
    pub discriminator_loss: f64,
    /// Loss of the generator.
    #[serde(with = "number")]
    pub generator_loss: f64,
    /// Further numbers by name, such as `real_logits`, `r1_penalty` or `learning_rate`.
    #[serde(with = "numbers")]
    pub scalars: BTreeMap<String, f64>,
    /// Seconds until the end of the plan, as far as they can be known.
    pub eta_seconds: Option<f64>,
}

/// A judgement of the generator.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Metric {
    /// Real images that the discriminator was shown.
    pub images_seen: u64,
    /// Its name with the sample count and feature space, such as `fid10k_effnet`.
    pub name: String,
    /// The value.
    #[serde(with = "number")]
    pub value: f64,
    /// Lower end of the interval that holds the true value, where known.
    pub low: Option<f64>,
    /// Upper end of that interval.
    pub high: Option<f64>,
}

/// Something that looks wrong, or is worth knowing, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diagnosis {
    /// Real images that the discriminator was shown.
    pub images_seen: u64,
    /// How much it matters.
    pub severity: Severity,
    /// What it is, in a few words.
    pub name: String,
    /// What to do.
    pub advice: String,
}

/// How much a diagnosis matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Worth knowing.
    Note,
    /// The result may suffer.
    Warning,
    /// The result is spoiled unless something changes.
    Problem,
}

/// How a run ends.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunFinished {
    /// Real images that the discriminator was shown.
    pub images_seen: u64,
    /// Seconds of training, over all processes that worked on the run.
    pub seconds: f64,
    /// Why it ended.
    pub reason: Reason,
}

/// Why a run ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "reason", content = "message")]
pub enum Reason {
    /// The plan is fulfilled.
    Completed,
    /// Its score no longer improved; the message says since when.
    Flat(String),
    /// Somebody asked it to stop; it can go on.
    Stopped,
    /// An error ended it.
    Failed(String),
}

impl Event {
    /// Real images that the discriminator was shown when this happened.
    pub fn images_seen(&self) -> u64 {
        match self {
            Self::RunStarted(RunStarted { images_seen, .. })
            | Self::Tick(Tick { images_seen, .. })
            | Self::SamplesWritten { images_seen, .. }
            | Self::CheckpointWritten { images_seen, .. }
            | Self::Metric(Metric { images_seen, .. })
            | Self::Diagnosis(Diagnosis { images_seen, .. })
            | Self::Correction { images_seen, .. }
            | Self::RunFinished(RunFinished { images_seen, .. }) => *images_seen,
        }
    }
}

/// Somebody who wants to know what happens in a run.
pub trait Listener {
    /// Something happened.
    fn on_event(&mut self, event: &Event) -> Result<()>;
}

impl<F: FnMut(&Event) -> Result<()>> Listener for F {
    fn on_event(&mut self, event: &Event) -> Result<()> {
        self(event)
    }
}

/// Everybody who listens to a run.
#[derive(Default)]
pub struct Listeners<'a> {
    listeners: Vec<(String, Box<dyn Listener + 'a>)>,
}

impl<'a> Listeners<'a> {
    /// Nobody.
    pub fn new() -> Self {
        Self::default()
    }

    /// One more, under the name that a failure of theirs is told by.
    pub fn add(&mut self, name: impl Into<String>, listener: impl Listener + 'a) {
        self.listeners.push((name.into(), Box::new(listener)));
    }

    /// Tells everybody.
    ///
    /// A listener that fails is told nothing any more and the others learn of it by a [`Diagnosis`]: a picture that
    /// cannot be drawn is no reason to lose a training.
    ///
    /// # Errors
    /// That of a listener whose disk is full: the next checkpoint would fail too.
    pub fn tell(&mut self, event: &Event) -> Result<()> {
        let mut failed = Vec::new();
        let mut at = 0;
        while at < self.listeners.len() {
            match self.listeners[at].1.on_event(event) {
                Ok(()) => at += 1,
                Err(error) if is_disk_full(&error) => return Err(error),
                Err(error) => {
                    let (name, _) = self.listeners.remove(at);
                    failed.push(Event::Diagnosis(Diagnosis {
                        images_seen: event.images_seen(),
                        severity: Severity::Warning,
                        name: format!("{name} stopped"),
                        advice: format!(
                            "training goes on without it; the reason: {}",
                            crate::error::chain(&error)
                        ),
                    }));
                }
            }
        }
        failed.iter().try_for_each(|event| self.tell(event))
    }
}

/// Whether an error comes from a disk, or a share of it, that is full.
pub fn is_disk_full(error: &(dyn std::error::Error + 'static)) -> bool {
    std::iter::successors(Some(error), |error| error.source())
        .filter_map(|error| error.downcast_ref::<io::Error>())
        .any(|error| matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded))
}

/// JSON has no numbers that are not finite; they are written as null and read as NaN.
mod number {
    use serde::{Deserialize, Deserializer, Serializer};

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
    pub(super) fn serialize<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
        if value.is_finite() {
            serializer.serialize_f64(*value)
        } else {
            serializer.serialize_none()
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
        Ok(Option::deserialize(deserializer)?.unwrap_or(f64::NAN))
    }
}

/// As [`number`], by name.
mod numbers {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    type Numbers = BTreeMap<String, f64>;

    pub(super) fn serialize<S: Serializer>(values: &Numbers, serializer: S) -> Result<S::Ok, S::Error> {
        let finite = |value: f64| value.is_finite().then_some(value);
        let values: BTreeMap<&str, Option<f64>> = values.iter().map(|(name, &v)| (name.as_str(), finite(v))).collect();
        values.serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Numbers, D::Error> {
        let values: BTreeMap<String, Option<f64>> = BTreeMap::deserialize(deserializer)?;
        Ok(values
            .into_iter()
            .map(|(name, value)| (name, value.unwrap_or(f64::NAN)))
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;
    use crate::error::Error;

    fn tick(images_seen: u64) -> Event {
        Event::Tick(Tick {
            images_seen,
            generator_loss: 1.5,
            ..Tick::default()
        })
    }

    #[test]
    fn an_event_is_an_object_with_its_name() {
        let json = serde_json::to_value(tick(64)).unwrap();
        assert_eq!((&json["event"], &json["images_seen"]), (&"tick".into(), &64.into()));
        let finished = Event::RunFinished(RunFinished {
            images_seen: 1,
            seconds: 2.0,
            reason: Reason::Failed("a".into()),
        });
        let json = serde_json::to_value(&finished).unwrap();
        assert_eq!(
            json["reason"],
            serde_json::json!({ "reason": "failed", "message": "a" })
        );
        assert_eq!(serde_json::from_value::<Event>(json).unwrap(), finished);
    }

    #[test]
    fn numbers_that_are_not_finite_survive_as_not_a_number() {
        let mut event = Tick {
            discriminator_loss: f64::INFINITY,
            ..Tick::default()
        };
        event.scalars.insert("penalty".into(), f64::NAN);
        let text = serde_json::to_string(&Event::Tick(event)).unwrap();
        let Event::Tick(read) = serde_json::from_str(&text).unwrap() else {
            panic!("not a tick: {text}")
        };
        assert!(read.discriminator_loss.is_nan() && read.scalars["penalty"].is_nan());
        assert_eq!(read.generator_loss, 0.0);
    }

    #[test]
    fn a_field_that_an_older_log_lacks_has_its_default() {
        let event: Event = serde_json::from_str(r#"{"event":"tick","images_seen":3,"of_the_future":1}"#).unwrap();
        assert_eq!(
            event,
            Event::Tick(Tick {
                images_seen: 3,
                ..Tick::default()
            })
        );
    }

    fn failure(kind: io::ErrorKind) -> Error {
        Error::Io {
            action: "write",
            path: "a".into(),
            source: kind.into(),
        }
    }

    #[test]
    fn a_listener_that_fails_is_left_out_and_the_others_are_told() {
        let heard = RefCell::new(Vec::new());
        let mut listeners = Listeners::new();
        listeners.add("curves", |_: &Event| Err(failure(io::ErrorKind::PermissionDenied)));
        listeners.add("log", |event: &Event| {
            heard.borrow_mut().push(event.clone());
            Ok(())
        });
        listeners.tell(&tick(1)).unwrap();
        listeners.tell(&tick(2)).unwrap();
        drop(listeners);
        let heard = heard.into_inner();
        assert_eq!(heard.len(), 3);
        assert_eq!((&heard[0], &heard[2]), (&tick(1), &tick(2)));
        let Event::Diagnosis(Diagnosis { name, advice, .. }) = &heard[1] else {
            panic!("{:?}", heard[1])
        };
        assert!(
            name == "curves stopped" && advice.contains("cannot write a"),
            "{name}: {advice}"
        );
    }

    #[test]
    fn a_full_disk_stops_the_run() {
        let mut listeners = Listeners::new();
        listeners.add("log", |_: &Event| Err(failure(io::ErrorKind::StorageFull)));
        assert!(matches!(listeners.tell(&tick(1)), Err(Error::Io { .. })));
    }
}
