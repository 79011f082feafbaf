//! The eyes of a run: what is measured at its ticks, and what alarms say of it.

use gander_data::Dataset;

use std::collections::BTreeMap;

use crate::{
    diagnosis::{Subject, Vitals, Watch},
    error::Result,
    events::{Diagnosis, Event, Tick},
    run::LogContents,
    train::{Trainer, vitals::Probe},
};

/// Measures and judges at every tick.
pub(super) struct Watcher {
    probe: Probe,
    watch: Watch,
}

impl Watcher {
    /// One that remembers what a log says, so that a resumed run is told nothing twice.
    pub(super) fn new(trainer: &Trainer, held_out: Option<&dyn Dataset>, earlier: &LogContents) -> Result<Self> {
        let config = &trainer.config;
        let mut watch = Watch::new(Subject {
            loss_of_guessing: trainer.state.contest.loss_of_guessing(&config.training),
            translates: config.model.translates(),
        });
        for event in earlier.as_it_stands() {
            if let Event::Tick(tick) = event {
                watch.observe(Vitals::from(tick));
            }
        }
        Ok(Self {
            probe: Probe::new(trainer, held_out)?,
            watch,
        })
    }

    /// What can be measured now by name, if it is time.
    pub(super) fn measure(&mut self, trainer: &Trainer) -> Result<BTreeMap<String, f64>> {
        self.probe.measure(trainer)
    }

    /// What is newly wrong.
    pub(super) fn judge(&mut self, tick: &Tick) -> Vec<Diagnosis> {
        self.watch.observe(Vitals::from(tick))
    }

    /// Forgets what lies beyond a checkpoint that the run went back to.
    pub(super) fn rewind(&mut self, images_seen: u64) {
        self.watch.rewind(images_seen);
    }
}
