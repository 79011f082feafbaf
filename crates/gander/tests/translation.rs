//! Families that translate: each learns a pair by heart in seconds, and resumes to the bit.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use gander::{
    Result,
    models::{ImageSpec, ModelConfig, translator::Statistics},
    train::{
        Budget, Outcome, RunConfig, TrainState, Trainer, checkpoint,
        config::{DataConfig, DeviceConfig, EvaluationConfig},
        contest::{self, Product, Turn},
        defaults::{self, Material},
        schedule::Ramp,
        state::{PlanCorrection, Progress},
        steps::{Batch, Scalars},
        trainer::{Observer, Pairing, Partners},
    },
};
use gander_data::{
    Dataset, OpenOptions,
    pottery::{GlazeStyle, PictureSize, Pottery, PotteryConfig, RenderMode},
};
use gander_tensor::{Cpu, CpuOptions, DType, DeviceRef, Precision, Tensor, no_grad};

const FAMILIES: [&str; 5] = ["pix2pix", "cyclegan", "cut", "fastcut", "sincut"];
const SIDE: usize = 32;

fn config(family: &str) -> RunConfig {
    let images = ImageSpec {
        height_px: SIDE,
        width_px: SIDE,
        channels: 3,
        num_classes: 0,
    };
    let (mut model, mut training) = defaults::for_family(family, images).expect("a family");
    match &mut model {
        ModelConfig::Pix2pix(config) => (config.width, config.dropout) = (8, 0.5),
        ModelConfig::Cyclegan(config) => (config.width, config.blocks, config.pool) = (8, 2, 3),
        ModelConfig::Cut(config) | ModelConfig::Fastcut(config) => {
            (config.width, config.blocks, config.patches, config.feature_dim) = (8, 2, 32, 16);
        }
        ModelConfig::Sincut(config) => {
            (config.width, config.discriminator_width) = (8, 8);
            (config.patches, config.feature_dim) = (32, 16);
        }
        other => panic!("{other:?}"),
    }
    // Twelve steps.
    training.total_kimg = 0.012 * training.batch as f64;
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

fn pots(mode: RenderMode, len: usize) -> Pottery {
    let config = PotteryConfig {
        size: PictureSize::square(SIDE),
        len,
        mode,
        ..PotteryConfig::default()
    };
    Pottery::new(config).expect("pots")
}

/// Outlines and pots; or two glazes, of which there are not equally many.
fn sets(family: &str) -> (Arc<dyn Dataset>, Partners) {
    let (images, partners, pairing) = match defaults::material(family) {
        Material::Pairs => (
            pots(RenderMode::Outline, 37),
            pots(RenderMode::Glazed, 37),
            Pairing::Paired,
        ),
        _ => (
            pots(RenderMode::Styled(GlazeStyle::Porcelain), 37),
            pots(RenderMode::Styled(GlazeStyle::Iron), 11),
            Pairing::Unpaired,
        ),
    };
    let images_of_b = Arc::new(partners);
    (
        Arc::new(images),
        Partners {
            images: images_of_b,
            pairing,
        },
    )
}

fn first(dataset: &dyn Dataset, device: &DeviceRef) -> Tensor {
    let mut pixels = vec![0; dataset.shape().bytes()];
    dataset.read(0, &mut pixels).expect("a pot");
    let bytes = Tensor::from_bytes(&pixels, DType::U8, [1, SIDE, SIDE, 3], device).expect("a tensor");
    let values = bytes
        .cast(DType::F32)
        .and_then(|x| x.mul_scalar(2.0 / 255.0)?.add_scalar(-1.0));
    values.expect("values")
}

/// The numbers of the first and of the last steps on one pair, and how far the translation is from the truth before
/// and after.
fn by_heart(family: &str, steps: usize) -> ([Scalars; 2], [f32; 2]) {
    let mut config = config(family);
    config.training.total_kimg = 1000.0;
    // Ten times the papers' rate: seconds, not hours.
    config.training.learning_rate = Ramp::constant(2e-3);
    let device = Cpu::shared();
    let (a, b) = sets(family);
    let (a, b) = (first(a.as_ref(), &device), first(b.images.as_ref(), &device));
    let mut contest = contest::new(&config, &device).expect("networks");
    let mut progress = Progress::new(1);
    let distance = |contest: &dyn contest::Contest| {
        let Product::Translators { to_b, .. } = contest.product() else {
            panic!("{family} does not translate")
        };
        let made = no_grad(|| to_b.translate(&a, &Statistics::own())).expect("a picture");
        let distance = made.sub(&b).and_then(|x| x.abs()?.mean_all()?.item());
        distance.expect("a distance")
    };
    let before = distance(contest.as_ref());
    let mut told = Vec::new();
    for _ in 0..steps {
        let turn = Turn {
            progress: &mut progress,
            training: &config.training,
            next_batch: &mut |_, _| {
                Ok(vec![Batch {
                    images: a.clone(),
                    labels: None,
                    partners: Some(b.clone()),
                }])
            },
        };
        told.push(contest.step(turn).expect("a step"));
    }
    let after = distance(contest.as_ref());
    let last = told.pop().expect("a step");
    ([told.swap_remove(0), last], [before, after])
}

#[test]
fn pix2pix_learns_a_pair_by_heart() {
    let (_, [before, after]) = by_heart("pix2pix", 200);
    assert!(after < 0.5 * before, "{before} only fell to {after}");
}

#[test]
fn cyclegan_finds_the_way_back() {
    let ([first, last], _) = by_heart("cyclegan", 120);
    let (before, after) = (first["cycle_distance"], last["cycle_distance"]);
    assert!(after < 0.5 * before, "{before} only fell to {after}");
    let (before, after) = (first["identity_distance"], last["identity_distance"]);
    assert!(after < 0.5 * before, "{before} only fell to {after}");
}

#[test]
fn cut_keeps_what_its_input_shows() {
    for family in ["cut", "fastcut", "sincut"] {
        let ([_, last], _) = by_heart(family, 200);
        // Who cannot tell 32 patches apart has a loss of ln 32.
        let (chance, after) = (32.0f64.ln(), last["contrast"]);
        assert!(after < 0.8 * chance, "{family}: {after} where chance has {chance}");
    }
}

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

fn device(threads: usize) -> DeviceRef {
    let options = CpuOptions {
        threads,
        ..CpuOptions::default()
    };
    Cpu::with_options(options).expect("a processor")
}

fn train(state: TrainState, config: &RunConfig, steps: u64, device: &DeviceRef, path: &Path) -> Outcome {
    let stop = AtomicBool::new(false);
    let (images, partners) = sets(config.model.family());
    let mut trainer = Trainer::new(state, config.clone(), images, Budget::Images, device).with_partners(Some(partners));
    let outcome = trainer
        .run(&mut StopAfter { steps, stop: &stop }, &stop)
        .expect("a small run works");
    // The time of day is no part of the promise.
    trainer.state.progress.seconds = 0.0;
    checkpoint::save(path, &trainer.state, config, "pots").expect("a checkpoint");
    outcome
}

#[test]
fn a_resumed_run_ends_in_the_bytes_of_an_unbroken_one() {
    let directory = tempfile::tempdir().expect("a folder");
    let path = |name: &str| directory.path().join(name);
    for family in FAMILIES {
        let config = config(family);
        config.validate().expect("settings in range");
        let fresh = |device: &DeviceRef| TrainState::new(&config, device).expect("networks");
        let whole = device(1);
        let outcome = train(fresh(&whole), &config, u64::MAX, &whole, &path("unbroken"));
        assert_eq!(outcome, Outcome::Finished);

        // The first half on one thread, the second on three; the pool of earlier fakes is full by then.
        let first = device(1);
        assert_eq!(
            train(fresh(&first), &config, 7, &first, &path("half")),
            Outcome::Stopped
        );
        let second = device(3);
        let (header, tensors) = checkpoint::load(&path("half"), &second).expect("a checkpoint");
        let mut state = fresh(&second);
        state.restore(&tensors, header.numbers).expect("the same networks");
        let outcome = train(state, &config, u64::MAX, &second, &path("resumed"));
        assert_eq!(outcome, Outcome::Finished);

        let read = |name: &str| std::fs::read(path(name)).expect("a file");
        assert!(read("unbroken") == read("resumed"), "{family}: the files differ");
    }
}

#[test]
fn the_learning_rate_falls_to_zero_in_a_line() {
    let training = config("cyclegan").training;
    let rate_at = |images_seen| {
        let progress = Progress {
            images_seen,
            ..Progress::new(0)
        };
        progress.learning_rate(&training)
    };
    assert_eq!((rate_at(0), rate_at(6)), (2e-4, 2e-4));
    assert!((rate_at(9) - 1e-4).abs() < 1e-12);
    assert_eq!(rate_at(12), 0.0);
}

#[test]
fn settings_that_would_do_nothing_are_refused() {
    let mut config = config("pix2pix");
    config.training.weight_clip = 0.01;
    let error = config.validate().expect_err("a penalty").to_string();
    assert!(error.contains("training.weight_clip"), "{error}");
}
