//! A run that was stopped, saved, loaded and continued ends in the same bytes as an unbroken one.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use gander::{
    Error, Result,
    models::{ImageSpec, ModelConfig, fastgan, stylegan2},
    train::{
        Budget, Outcome, RunConfig, TrainState, Trainer, checkpoint,
        config::{DataConfig, DeviceConfig, EvaluationConfig},
        defaults,
        recovery::Recovery,
        schedule::Probability,
        state::PlanCorrection,
        steps::Scalars,
        trainer::Observer,
    },
};
use gander_data::{
    Dataset, OpenOptions,
    pottery::{PictureSize, Pottery, PotteryConfig},
};
use gander_tensor::{Cpu, CpuOptions, DeviceRef, Precision};

/// Stops after some steps.
struct StopAfter<'a> {
    steps: u64,
    stop: &'a AtomicBool,
}

impl Observer for StopAfter<'_> {
    fn stepped(&mut self, trainer: &Trainer, _scalars: &Scalars) -> Result<()> {
        if trainer.state.progress.steps == self.steps {
            self.stop.store(true, Ordering::Relaxed);
        }
        Ok(())
    }

    fn corrected(&mut self, _trainer: &Trainer, _correction: &PlanCorrection) -> Result<()> {
        Ok(())
    }
}

fn pots() -> Arc<dyn Dataset> {
    let config = PotteryConfig {
        size: PictureSize::square(16),
        len: 37,
        ..PotteryConfig::default()
    };
    Arc::new(Pottery::new(config).expect("a small run works"))
}

fn config(family: &str, num_classes: usize) -> RunConfig {
    let images = ImageSpec {
        height_px: 16,
        width_px: 16,
        channels: 3,
        num_classes,
    };
    let (mut model, mut training) = defaults::for_family(family, images).expect("a small run works");
    if let ModelConfig::Fastgan(fastgan::Config { width, .. })
    | ModelConfig::Stylegan2(stylegan2::Config { width, .. }) = &mut model
    {
        *width = 8;
    }
    training.batch = 8;
    training.accumulate = 2;
    training.total_kimg = 0.096;
    training.burn_in_kimg = 0.08;
    RunConfig {
        version: RunConfig::VERSION,
        seed: 5,
        data: DataConfig {
            sources: Vec::new(),
            flip: true,
            swap: false,
            pottery_images: 37,
            open: OpenOptions::default(),
        },
        model,
        training,
        evaluation: EvaluationConfig::default(),
        device: DeviceConfig {
            threads: 2,
            precision: Precision::F32,
            isa: None,
        },
        plan: Vec::new(),
    }
}

fn device(threads: usize) -> DeviceRef {
    Cpu::with_options(CpuOptions {
        threads,
        ..CpuOptions::default()
    })
    .expect("a small run works")
}

/// Trains `state` until `steps` or the end, and saves the result.
fn train(state: TrainState, config: &RunConfig, steps: u64, device: &DeviceRef, path: &Path) -> Outcome {
    let stop = AtomicBool::new(false);
    let mut trainer = Trainer::new(state, config.clone(), pots(), Budget::Images, device);
    let outcome = trainer
        .run(&mut StopAfter { steps, stop: &stop }, &stop)
        .expect("a small run works");
    // The time of day is no part of the promise.
    trainer.state.progress.seconds = 0.0;
    checkpoint::save(path, &trainer.state, config, "pots").expect("a small run works");
    outcome
}

#[test]
fn more_time_makes_a_finished_run_longer() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("finished.safetensors");
    let (config, device) = (config("dcgan", 0), device(1));
    let state = TrainState::new(&config, &device).unwrap();
    assert_eq!(train(state, &config, u64::MAX, &device, &path), Outcome::Finished);

    let (header, tensors) = checkpoint::load(&path, &device).unwrap();
    let mut state = TrainState::new(&config, &device).unwrap();
    state.restore(&tensors, header.numbers).unwrap();
    state.progress.seconds = 10.0;
    let budget = Budget::Time { seconds: 10.5 };
    let stop = AtomicBool::new(false);
    let mut trainer = Trainer::new(state, config.clone(), pots(), budget, &device);
    let outcome = trainer.run(
        &mut StopAfter {
            steps: u64::MAX,
            stop: &stop,
        },
        &stop,
    );
    assert_eq!(outcome.unwrap(), Outcome::Finished);
    let progress = &trainer.state.progress;
    // Some steps at least, which say what the time is enough for.
    assert!(progress.images_seen >= 96 + 6 * 8, "{progress:?}");
    // What had come to its end does not begin anew.
    assert_eq!(progress.plan(&config.training).1, 80.0);
}

#[test]
fn a_little_more_time_is_used_however_long_the_run_was() {
    let (config, device) = (config("dcgan", 0), device(1));
    let mut state = TrainState::new(&config, &device).unwrap();
    state.progress.images_seen = 10_000_000;
    state.progress.seconds = 1000.0;
    state.progress.extend(&config.training, 10_000.0);
    let (stop, budget) = (AtomicBool::new(false), Budget::Time { seconds: 1000.5 });
    let mut trainer = Trainer::new(state, config, pots(), budget, &device);
    let mut forever = StopAfter {
        steps: u64::MAX,
        stop: &stop,
    };
    assert_eq!(trainer.run(&mut forever, &stop).unwrap(), Outcome::Finished);
    assert!(trainer.seconds() > 1000.3, "{}", trainer.seconds());
}

#[test]
fn a_resumed_run_ends_in_the_bytes_of_an_unbroken_one() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    for (family, num_classes) in [
        ("dcgan", 5),
        ("sngan", 0),
        ("r3gan", 5),
        ("fastgan", 5),
        ("stylegan2", 5),
        ("article", 0),
    ] {
        let mut config = config(family, num_classes);
        if family == "stylegan2" {
            config.training.penalty_every = 4;
        }
        if family == "sngan" {
            // Its strength moves every fourth step, in the first half and in the second.
            config.training.augment_p = Probability::ADAPTIVE;
        }
        if family == "r3gan" {
            // It repeats a run whose length changed twice, once in each half.
            let plan = |images_seen, total_kimg, burn_in_kimg| PlanCorrection {
                images_seen,
                total_kimg,
                burn_in_kimg,
            };
            config.plan = vec![plan(0, 0.01, 0.01), plan(16, 0.2, 0.1), plan(64, 0.096, 0.08)];
        }
        let fresh = |device: &DeviceRef| {
            let mut state = TrainState::new(&config, device).unwrap();
            if family == "dcgan" {
                // It diverged once before: its rate is a quarter from here on.
                state.progress.recoveries.push(Recovery {
                    failed_at: 8,
                    from: 0,
                    reason: "a test".into(),
                });
            }
            state
        };
        let whole = device(1);
        assert_eq!(
            train(fresh(&whole), &config, u64::MAX, &whole, &path("unbroken")),
            Outcome::Finished
        );

        // The first half on one thread, the second, in what could be another process, on three.
        let first = device(1);
        let middle = if family == "article" { 1 } else { 5 };
        assert_eq!(
            train(fresh(&first), &config, middle, &first, &path("half")),
            Outcome::Stopped
        );
        let second = device(3);
        let (header, tensors) = checkpoint::load(&path("half"), &second).unwrap();
        assert_eq!(header.config, config);
        let mut state = fresh(&second);
        state.restore(&tensors, header.numbers).unwrap();
        assert_eq!(
            train(state, &config, u64::MAX, &second, &path("resumed")),
            Outcome::Finished
        );

        let read = |name: &str| std::fs::read(path(name)).unwrap();
        assert!(read("unbroken") == read("resumed"), "{family}: the files differ");
        assert!(
            read("half") != read("resumed"),
            "{family}: nothing was learned after the resume"
        );
    }
}

/// Notes in which steps there was a penalty.
#[derive(Default)]
struct Penalties(Vec<bool>);

impl Observer for Penalties {
    fn stepped(&mut self, _trainer: &Trainer, scalars: &Scalars) -> Result<()> {
        self.0.push(scalars.contains_key("r1_penalty"));
        Ok(())
    }

    fn corrected(&mut self, _trainer: &Trainer, _correction: &PlanCorrection) -> Result<()> {
        Ok(())
    }
}

#[test]
fn lazy_penalties_come_every_so_many_steps() {
    let mut config = config("stylegan2", 0);
    config.training.penalty_every = 3;
    config.training.total_kimg = 0.056;
    let device = device(2);
    let state = TrainState::new(&config, &device).unwrap();
    let mut trainer = Trainer::new(state, config, pots(), Budget::Images, &device);
    let mut penalties = Penalties::default();
    trainer.run(&mut penalties, &AtomicBool::new(false)).unwrap();
    assert_eq!(penalties.0, [true, false, false, true, false, false, true]);
}

#[test]
fn a_checkpoint_of_another_shape_names_the_tensor() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("checkpoint");
    let device = device(1);
    let config = config("dcgan", 0);
    checkpoint::save(&path, &TrainState::new(&config, &device).unwrap(), &config, "pots").unwrap();
    let (header, tensors) = checkpoint::load(&path, &device).unwrap();
    let mut wider = config.clone();
    let ModelConfig::Dcgan(model) = &mut wider.model else {
        panic!("not a dcgan")
    };
    model.width *= 2;
    let error = TrainState::new(&wider, &device)
        .unwrap()
        .restore(&tensors, header.numbers)
        .unwrap_err();
    assert!(
        matches!(&error, Error::WrongShape { name, .. } if name.starts_with("generator.")),
        "{error}"
    );
}

#[test]
fn a_file_that_is_no_checkpoint_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("checkpoint");
    std::fs::write(&path, b"not a checkpoint").unwrap();
    assert!(matches!(checkpoint::load(&path, &device(1)), Err(Error::Formats(_))));
    let device = device(1);
    let config = config("dcgan", 0);
    checkpoint::save(&path, &TrainState::new(&config, &device).unwrap(), &config, "pots").unwrap();
    let whole = std::fs::read(&path).unwrap();
    for len in [0, 7, 100, whole.len() / 2, whole.len() - 1] {
        std::fs::write(&path, &whole[..len]).unwrap();
        assert!(
            checkpoint::load(&path, &device).is_err(),
            "{len} of {} bytes",
            whole.len()
        );
    }
}
