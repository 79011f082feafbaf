//! What a run's directory tells about it.

use std::{collections::BTreeMap, fs};

use toml::Table;

use crate::{
    error::Result,
    events::{Diagnosis, Event, Metric, RunFinished, RunStarted, Tick},
    run::{Log, LogContents, RunDirectory},
};

/// What the log and the settings of a run say.
#[derive(Debug, Default)]
pub(super) struct Story {
    /// The name of the run.
    pub(super) name: String,
    /// How it began, or last went on.
    pub(super) started: Option<RunStarted>,
    /// How training went.
    pub(super) ticks: Vec<Tick>,
    /// Judgements, in their order.
    pub(super) metrics: Vec<Metric>,
    /// What looked wrong: each thing once, as it was last told.
    pub(super) diagnoses: Vec<Diagnosis>,
    /// Changes to the plan: when, what, why.
    pub(super) corrections: Vec<(u64, String, String)>,
    /// How it ended, unless it goes on or was killed.
    pub(super) finished: Option<RunFinished>,
    /// The settings.
    pub(super) settings: Table,
    /// The furthest that anything tells of.
    pub(super) images_seen: u64,
}

impl Story {
    /// Reads the log and the settings; what is not there, or cannot be read, is left out.
    pub(super) fn read(run: &RunDirectory) -> Result<Self> {
        let log = if run.log().is_file() {
            Log::read(&run.log())?
        } else {
            LogContents::default()
        };
        let settings = fs::read_to_string(run.config()).ok().and_then(|text| text.parse().ok());
        let mut story = Self {
            name: run.name(),
            settings: settings.unwrap_or_default(),
            ..Self::default()
        };
        let mut diagnoses = BTreeMap::new();
        for event in log.as_it_stands().into_iter().cloned() {
            story.images_seen = story.images_seen.max(event.images_seen());
            match event {
                Event::RunStarted(mut started) => {
                    // One that goes on has its reasons from before.
                    if let Some(earlier) = story.started.take().filter(|_| started.rationale.is_empty()) {
                        started.rationale = earlier.rationale;
                    }
                    (story.started, story.finished) = (Some(started), None);
                }
                Event::Tick(tick) => story.ticks.push(tick),
                Event::Metric(metric) => story.metrics.push(metric),
                Event::Diagnosis(diagnosis) => {
                    diagnoses.insert(diagnosis.name.clone(), diagnosis);
                }
                Event::Correction {
                    images_seen,
                    setting,
                    was,
                    is,
                    reason,
                } => {
                    story
                        .corrections
                        .push((images_seen, format!("{setting}: {was} → {is}"), reason));
                }
                Event::RunFinished(finished) => story.finished = Some(finished),
                Event::SamplesWritten { .. } | Event::CheckpointWritten { .. } => {}
            }
        }
        story.diagnoses = diagnoses.into_values().collect();
        story
            .diagnoses
            .sort_by_key(|diagnosis| (std::cmp::Reverse(diagnosis.severity), diagnosis.images_seen));
        Ok(story)
    }

    /// Seconds of training so far.
    pub(super) fn seconds(&self) -> f64 {
        let ticks = self.ticks.last().map_or(0.0, |tick| tick.seconds);
        self.finished
            .as_ref()
            .map_or(ticks, |finished| finished.seconds.max(ticks))
    }

    /// Seconds of training when so many images had been seen.
    pub(super) fn seconds_at(&self, images_seen: u64) -> f64 {
        let after = self.ticks.partition_point(|tick| tick.images_seen < images_seen);
        let point = |tick: &Tick| (tick.images_seen as f64, tick.seconds);
        let before = after.checked_sub(1).map_or((0.0, 0.0), |at| point(&self.ticks[at]));
        let Some(after) = self.ticks.get(after).map(point) else {
            return before.1;
        };
        let share = (images_seen as f64 - before.0) / (after.0 - before.0).max(1.0);
        before.1 + (after.1 - before.1) * share
    }

    /// A number of each tick, with the images seen in thousands.
    pub(super) fn values(&self, of: impl Fn(&Tick) -> Option<f64>) -> Vec<(f64, f64)> {
        let value = |tick: &Tick| Some((tick.images_seen as f64 / 1000.0, of(tick)?));
        self.ticks
            .iter()
            .filter_map(value)
            .filter(|(_, value)| value.is_finite())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{super::tests::made_up_run, *};

    #[test]
    fn times_lie_between_ticks() {
        let tick = |images_seen, seconds| Tick {
            images_seen,
            seconds,
            ..Tick::default()
        };
        let story = Story {
            ticks: vec![tick(100, 10.0), tick(200, 30.0)],
            ..Story::default()
        };
        let seconds = [0, 50, 100, 150, 200, 300].map(|images_seen| story.seconds_at(images_seen));
        assert_eq!(seconds, [0.0, 5.0, 10.0, 20.0, 30.0, 30.0]);
        assert_eq!(Story::default().seconds_at(7), 0.0);
    }

    #[test]
    fn a_stretch_that_is_told_again_holds_as_last_told() {
        let base = tempfile::tempdir().unwrap();
        let run = RunDirectory::create(base.path(), "a").unwrap();
        let mut log = Log::create(&run.log()).unwrap();
        for (images_seen, discriminator_loss) in [(100, 1.0), (200, 9.0), (300, 99.0), (150, 2.0), (250, 3.0)] {
            let tick = Tick {
                images_seen,
                discriminator_loss,
                ..Tick::default()
            };
            log.append(&Event::Tick(tick)).unwrap();
        }
        let losses = Story::read(&run).unwrap().values(|tick| Some(tick.discriminator_loss));
        assert_eq!(losses, [(0.1, 1.0), (0.15, 2.0), (0.25, 3.0)]);
    }

    #[test]
    fn a_log_becomes_a_story() {
        let base = tempfile::tempdir().unwrap();
        let story = Story::read(&made_up_run(base.path())).unwrap();
        assert_eq!(
            (story.ticks.len(), story.metrics.len(), story.images_seen),
            (200, 2, 72_000)
        );
        assert_eq!(story.seconds(), 171.0);
        // A value that is not finite is a gap.
        assert_eq!(story.values(|tick| Some(tick.discriminator_loss)).len(), 199);
        assert_eq!(story.settings["seed"].as_integer(), Some(7));
    }
}
