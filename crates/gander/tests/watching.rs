//! A run that is judged on its way, that diverges, that no longer improves: what it leaves behind.

use std::{
    path::{Path, PathBuf},
    sync::atomic::AtomicBool,
};

use gander::{
    Error,
    events::{Event, Reason, Severity},
    run::{Log, RunDirectory},
    session::{self, Length, RunSummary, TrainRequest, Trial, Verdict},
    shipped::ShippedGenerator,
    train::{RunConfig, checkpoint, recovery::MOST_TRIES, schedule::Ramp},
};
use gander_data::Size;
use gander_tensor::{Cpu, Precision};

/// A run of a few steps on small pots.
fn request(base: &Path, kimg: f64, set: &[(&str, &str)]) -> TrainRequest {
    let set = [("data.pottery_images", "64"), ("model.width", "8")].iter().chain(set);
    TrainRequest {
        family: Some("dcgan".into()),
        size: Some(Size {
            width_px: 16,
            height_px: 16,
        }),
        length: Some(Length::Kimg(kimg)),
        batch: Some(16),
        precision: Some(Precision::F32),
        out: Some(base.to_owned()),
        set: set
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect(),
        ..TrainRequest::default()
    }
}

fn train(request: &TrainRequest) -> gander::Result<RunSummary> {
    session::train(session::plan(request)?, &mut |_| {}, &AtomicBool::new(false))
}

fn events(directory: &Path) -> Vec<Event> {
    let log = Log::read(&directory.join("log.jsonl")).expect("a run leaves a log");
    log.events.into_iter().map(|(_, event)| event).collect()
}

/// The only run below a folder.
fn only_run(base: &Path) -> PathBuf {
    let mut entries = std::fs::read_dir(base).expect("a run was begun");
    entries
        .next()
        .expect("a run was begun")
        .expect("a run was begun")
        .path()
}

const JUDGED: [(&str, &str); 2] = [("evaluation.num", "32"), ("evaluation.every_kimg", "0.064")];

#[test]
fn a_judged_run_keeps_its_best_and_learns_the_same() {
    let base = tempfile::tempdir().unwrap();
    let judged = train(&request(&base.path().join("judged"), 0.32, &JUDGED)).unwrap();
    let plain = train(&request(&base.path().join("plain"), 0.32, &[("evaluation.num", "0")])).unwrap();
    let bytes = |path: &Path| std::fs::read(path).unwrap();
    assert!(
        bytes(&judged.generator) == bytes(&plain.generator),
        "judging changed the run"
    );
    assert!(plain.best.is_none());

    let scores: Vec<(u64, f64)> = events(&judged.directory)
        .iter()
        .filter_map(|event| match event {
            Event::Metric(metric) => {
                assert_eq!(metric.name, "fid32_pixels");
                Some((metric.images_seen, metric.value))
            }
            _ => None,
        })
        .collect();
    assert_eq!(
        scores.iter().map(|score| score.0).collect::<Vec<_>>(),
        [64, 128, 192, 256, 320]
    );
    let least = scores.iter().copied().min_by(|a, b| a.1.total_cmp(&b.1)).unwrap();
    let best = judged.best.unwrap();
    assert_eq!(best.images_seen, least.0);
    // A number that was written as text may come back with another last digit.
    assert!((best.value - least.1).abs() < 1e-9);
    let run = RunDirectory::open(&judged.directory).unwrap();
    assert!(run.checkpoint(best.images_seen).is_file() && best.path.is_file());
    let page = std::fs::read_to_string(&judged.report).unwrap();
    assert!(
        page.contains("fid32_pixels <strong class=\"good\">best</strong>"),
        "no best score in the report"
    );
}

#[test]
fn a_resumed_run_remembers_its_scores() {
    let base = tempfile::tempdir().unwrap();
    let first = train(&request(base.path(), 0.192, &JUDGED)).unwrap();
    let more = Some(Length::Kimg(0.32));
    let second = session::resume(&first.directory, more, None, &mut |_| {}, &AtomicBool::new(false)).unwrap();
    let moments: Vec<u64> = events(&second.directory)
        .iter()
        .filter(|event| matches!(event, Event::Metric(_)))
        .map(Event::images_seen)
        .collect();
    assert_eq!(moments, [64, 128, 192, 256, 320]);
    assert!(second.best.unwrap().value < first.best.unwrap().value + 1e-9);
}

#[test]
fn a_run_that_no_longer_improves_ends_when_asked() {
    let base = tempfile::tempdir().unwrap();
    // A rate at which nothing moves.
    let set = [JUDGED[0], JUDGED[1], ("training.learning_rate", "1e-12")];
    let request = TrainRequest {
        stop_when_flat: true,
        ..request(base.path(), 64.0, &set)
    };
    let summary = train(&request).unwrap();
    assert!(
        summary.finished && summary.images_seen < 2000,
        "{} images",
        summary.images_seen
    );
    let events = events(&summary.directory);
    let Some(Event::RunFinished(finished)) = events.last() else {
        panic!("no end in the log")
    };
    assert!(
        matches!(&finished.reason, Reason::Flat(why) if why.contains("has not improved")),
        "{finished:?}"
    );
    assert!(
        std::fs::read_to_string(&summary.report)
            .unwrap()
            .contains("then no better")
    );
}

/// The divergences that a log tells of, and the corrections of the learning rate.
fn troubles(events: &[Event]) -> (Vec<Severity>, Vec<String>) {
    let divergences = events.iter().filter_map(|event| match event {
        Event::Diagnosis(diagnosis) if diagnosis.name == "divergence" => Some(diagnosis.severity),
        _ => None,
    });
    let rates = events.iter().filter_map(|event| match event {
        Event::Correction { setting, is, .. } if setting == "training.learning_rate" => Some(is.clone()),
        _ => None,
    });
    (divergences.collect(), rates.collect())
}

#[test]
fn a_run_that_cannot_recover_says_so_and_leaves_a_whole_checkpoint() {
    let base = tempfile::tempdir().unwrap();
    let set = [("training.learning_rate", "1e30"), ("evaluation.num", "0")];
    let error = train(&request(base.path(), 0.32, &set)).unwrap_err();
    assert!(
        matches!(error, Error::NonFinite { .. } | Error::Diverged { .. }),
        "{error}"
    );
    let directory = only_run(base.path());
    let (divergences, rates) = troubles(&events(&directory));
    assert_eq!(rates.len(), MOST_TRIES);
    assert_eq!(divergences.len(), MOST_TRIES + 1);
    assert_eq!(divergences.last(), Some(&Severity::Problem));
    let last = RunDirectory::open(&directory)
        .unwrap()
        .checkpoints()
        .unwrap()
        .pop()
        .unwrap();
    let (header, tensors) = checkpoint::load(&last.path, &Cpu::shared()).unwrap();
    assert_eq!(header.numbers.progress.recoveries.len(), MOST_TRIES);
    assert!(tensors.values().all(|tensor| tensor.all_finite().unwrap()));
    let page = std::fs::read_to_string(directory.join("report.html")).unwrap();
    assert!(page.contains("divergence") && page.contains("Failed"));
}

/// A run that diverges, and goes on at a lower rate.
const DIVERGING: [(&str, &str); 2] = [("training.loss", "wasserstein"), ("training.learning_rate", "0.3")];

#[test]
fn a_run_that_recovers_goes_on_at_a_lower_rate() {
    let base = tempfile::tempdir().unwrap();
    let set = [&DIVERGING[..], &[("evaluation.num", "0")]].concat();
    let summary = train(&request(base.path(), 0.64, &set)).unwrap();
    let (divergences, rates) = troubles(&events(&summary.directory));
    assert!(!rates.is_empty() && rates.len() == divergences.len(), "{rates:?}");
    let run = RunDirectory::open(&summary.directory).unwrap();
    let last = run.checkpoints().unwrap().pop().unwrap();
    let header = checkpoint::load_header(&last.path).unwrap();
    assert_eq!(header.numbers.progress.recoveries.len(), rates.len());
    // Later ticks stand at the lower rate.
    let rate = events(&summary.directory).iter().rev().find_map(|event| match event {
        Event::Tick(tick) => tick.scalars.get("learning_rate").copied(),
        _ => None,
    });
    assert!((rate.unwrap() - 0.3 * 0.25f64.powi(rates.len() as i32)).abs() < 1e-9);
}

#[test]
fn the_best_generator_is_of_a_stretch_that_stands() {
    let base = tempfile::tempdir().unwrap();
    let judged = [("evaluation.num", "16"), ("evaluation.every_kimg", "0.016")];
    let set = [DIVERGING, judged].concat();
    let summary = train(&request(base.path(), 0.64, &set)).unwrap();
    assert!(!troubles(&events(&summary.directory)).0.is_empty(), "it should diverge");
    let best = summary.best.unwrap();
    let generator = ShippedGenerator::load(&best.path, &Cpu::shared()).unwrap();
    assert_eq!(generator.header.images_seen, best.images_seen);
    let log = Log::read(&summary.directory.join("log.jsonl")).unwrap();
    let stands = log.as_it_stands().into_iter().any(|event| match event {
        Event::Metric(metric) => (metric.images_seen, metric.value) == (best.images_seen, best.value),
        _ => false,
    });
    assert!(stands, "{best:?}");
}

#[test]
fn a_search_for_gamma_tries_powers_of_ten_and_keeps_the_best() {
    let base = tempfile::tempdir().expect("a folder");
    let request = TrainRequest {
        family: Some("r3gan".into()),
        gamma: Some(0.1),
        ..request(
            base.path(),
            0.64,
            &[
                ("model.blocks", "1"),
                ("model.width_max", "8"),
                ("evaluation.num", "32"),
            ],
        )
    };
    let search = || {
        let mut trials: Vec<Trial> = Vec::new();
        let planned = session::plan(&request).expect("a plan");
        let planned = session::search_gamma(
            planned,
            &mut |trial| trials.push(trial.clone()),
            &AtomicBool::new(false),
        );
        (planned.expect("a gamma"), trials)
    };
    let (planned, trials) = search();
    let tried: Vec<f64> = trials.iter().map(|trial| (trial.gamma * 1e6).round() / 1e6).collect();
    assert_eq!(tried, [0.001, 0.01, 0.1, 1.0, 10.0]);
    assert!(trials.iter().all(|trial| trial.images_seen == 32), "{trials:?}");
    let value = |trial: &Trial| match trial.verdict {
        Verdict::Scored { value, .. } => value,
        Verdict::Diverged { .. } => f64::INFINITY,
    };
    let best = trials
        .iter()
        .min_by(|a, b| value(a).total_cmp(&value(b)))
        .expect("five trials");
    let Ramp { start, end } = planned.config().training.r1_gamma;
    assert_eq!(start, best.gamma);
    assert!((10.0 * end / start - 1.0).abs() < 1e-12, "{start} to {end}");
    assert_eq!(planned.config().training.r2_gamma, planned.config().training.r1_gamma);
    // By images everything repeats; so does the run, from its file.
    assert_eq!(search().1, trials);
    let directory = session::train(planned, &mut |_| {}, &AtomicBool::new(false))
        .expect("a run")
        .directory;
    let written = RunConfig::read(&directory.join("config.toml")).expect("settings");
    assert_eq!(written.training.r1_gamma.start, best.gamma);
}

#[test]
fn there_is_no_gamma_to_search_for_without_penalties() {
    let base = tempfile::tempdir().expect("a folder");
    let planned = session::plan(&request(base.path(), 0.064, &[])).expect("a plan");
    let refused = session::search_gamma(planned, &mut |_| {}, &AtomicBool::new(false));
    let Err(Error::InvalidConfig { reason }) = refused else {
        panic!("searched");
    };
    assert_eq!(
        reason,
        "there is no gamma to search for: dcgan is trained without R1 and R2 here"
    );
}
