//! `gander eval --suite modes`: GANs trained on distributions whose modes are known.

use std::{path::Path, process::ExitCode, sync::Arc};

use anyhow::Context;
use gander::{
    images::{self, GridOptions, Tiles},
    metrics::{Better, Resampling, Score, modes::Tally, score_name},
    suite::{
        gaussians::{self, Shape},
        picture,
        stacked::{self, Options, StackedDigits},
    },
    train::Budget,
};
use gander_data::{Channels, Labels, OpenOptions};
use gander_tensor::{Cpu, CpuOptions, DeviceRef, Isa};
use serde::Serialize;

use super::{Arguments, cache, output};
use crate::{
    interrupt, progress,
    screen::{self, Screen},
    text,
};

/// Minutes of training on stacked digits where nobody chose.
const MINUTES: f64 = 20.0;
/// The steps of a bar.
const STEPS: f64 = 1000.0;

/// Everything that a suite says.
#[derive(Debug, Serialize)]
struct Report {
    version: u32,
    suite: &'static str,
    seed: u64,
    /// Sets that were drawn for the intervals.
    resamples: usize,
    tests: Vec<Test>,
}

/// What came of one distribution.
#[derive(Debug, Serialize)]
struct Test {
    name: &'static str,
    /// Modes that there are.
    modes: usize,
    /// Samples that were counted.
    num: u64,
    /// Of training.
    seconds: f64,
    kimg: f64,
    /// Share of held-out digits that the classifier gives their class, where one looked.
    #[serde(skip_serializing_if = "Option::is_none")]
    classifier_accuracy: Option<f64>,
    scores: Vec<Score>,
}

/// Trains and counts.
pub(super) fn run(arguments: &Arguments, device: &DeviceRef, screen: &Screen) -> anyhow::Result<ExitCode> {
    if let Some(folder) = &arguments.pictures {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
    }
    let resampling = Resampling {
        seed: arguments.seed,
        ..Resampling::default()
    };
    // Digits that are none are better told of before a minute of Gaussians than after.
    let digits = Digits::open(arguments, screen)?;
    let mut tests = Vec::new();
    for shape in Shape::ALL {
        tests.push(gaussians(shape, arguments, resampling, device, screen)?);
    }
    if let Some(digits) = &digits {
        tests.push(digits.test(arguments, resampling, device, screen)?);
    }
    let report = Report {
        version: 1,
        suite: "modes",
        seed: arguments.seed,
        resamples: resampling.num,
        tests,
    };
    if arguments.json {
        screen::print_json(&report)?;
    } else {
        let scores: Vec<&Score> = report.tests.iter().flat_map(|test| &test.scores).collect();
        screen::print(&text::harmless(&output::table(&scores)))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn gaussians(
    shape: Shape,
    arguments: &Arguments,
    resampling: Resampling,
    device: &DeviceRef,
    screen: &Screen,
) -> anyhow::Result<Test> {
    let recipe = gaussians::recipe();
    let bar = progress::bar(screen, shape.name(), STEPS as u64);
    let mut show = |done: f64| bar.set_position((done * STEPS) as u64);
    let outcome = gaussians::run(shape, &recipe, arguments.seed, device, &mut show)?;
    bar.finish_and_clear();
    if let Some(folder) = &arguments.pictures {
        let picture = picture::scatter(&shape.mixture(), &outcome.points);
        images::write_png(&folder.join(format!("{}.png", shape.name())), &picture)?;
    }
    let test = Test {
        name: shape.name(),
        modes: outcome.tally.count().total_modes,
        num: outcome.tally.num(),
        seconds: outcome.seconds,
        kimg: recipe.1.total_kimg,
        classifier_accuracy: None,
        scores: scores(shape.name(), &outcome.tally, resampling),
    };
    screen.say(test.describe(&outcome.tally));
    Ok(test)
}

impl Test {
    /// `grid: 25 of 25 modes, trained in 20s on 750 kimg`.
    fn describe(&self, tally: &Tally) -> String {
        let looked = self.classifier_accuracy.map_or_else(String::new, |share| {
            format!("; {:.1} % of held-out digits get their class", 100.0 * share)
        });
        format!(
            "{}: {} of {} modes, trained in {} on {:.0} kimg{looked}",
            self.name,
            tally.count().modes,
            text::count(self.modes as u64),
            text::duration(self.seconds),
            self.kimg,
        )
    }
}

/// What a tally says, as scores.
fn scores(test: &'static str, tally: &Tally, resampling: Resampling) -> Vec<Score> {
    let (count, intervals) = (tally.count(), tally.intervals(resampling));
    let score = |name: &str, value, interval, better| Score {
        name: score_name(name, tally.num() as usize, Some(test)),
        value,
        interval,
        better,
    };
    let mut scores = vec![score(
        "modes",
        count.modes as f64,
        intervals.map(|intervals| intervals.modes),
        Better::Higher,
    )];
    // A digit is always some digit: only points can lie beside their mode.
    if test != STACKED {
        scores.push(score(
            "quality",
            count.high_quality,
            intervals.map(|intervals| intervals.high_quality),
            Better::Higher,
        ));
    }
    scores.push(score(
        "kl",
        count.divergence,
        intervals.map(|intervals| intervals.divergence),
        Better::Lower,
    ));
    scores
}

/// The name of the test of stacked digits.
const STACKED: &str = "stacked";

/// Single digits with their classes.
struct Digits {
    train: Arc<dyn gander_data::Dataset>,
    holdout: Option<Arc<dyn gander_data::Dataset>>,
}

impl Digits {
    /// Those of DATA, if there is any.
    fn open(arguments: &Arguments, screen: &Screen) -> anyhow::Result<Option<Self>> {
        if arguments.data.is_empty() {
            return Ok(None);
        }
        let options = OpenOptions {
            channels: Some(Channels::Gray),
            labels: Labels::WherePresent,
            ..OpenOptions::default()
        };
        let spinner = progress::spinner(screen, "reading the digits");
        let opened = gander_data::open(&arguments.data, &options).context("cannot read digits")?;
        spinner.finish_and_clear();
        screen.warn_unread(opened.skipped.len());
        StackedDigits::new(Arc::clone(&opened.train), arguments.seed)?;
        Ok(Some(Self {
            train: opened.train,
            holdout: opened.holdout,
        }))
    }

    fn test(
        &self,
        arguments: &Arguments,
        resampling: Resampling,
        device: &DeviceRef,
        screen: &Screen,
    ) -> anyhow::Result<Test> {
        let (real, held_out) = (self.train.as_ref(), self.holdout.as_deref());
        let classifier = cache::classifier(real, held_out, arguments, device, screen)?;
        let (model, mut training) = stacked::recipe(self.train.shape())?;
        let budget = match arguments.kimg {
            Some(kimg) => {
                training.set_length(kimg);
                Budget::Images
            }
            None => Budget::Time {
                seconds: 60.0 * arguments.minutes.unwrap_or(MINUTES),
            },
        };
        let options = Options {
            budget,
            seed: arguments.seed,
        };
        let stop = interrupt::listen(
            screen,
            "stopping after this step, without scores; Ctrl-C again leaves at once",
        )?;
        // Where the processor multiplies bf16 faster, more images fit into the minutes.
        let device = Cpu::with_options(CpuOptions {
            threads: arguments.threads as usize,
            precision: Isa::detect().fastest_precision(),
            ..CpuOptions::default()
        })?;
        let bar = progress::bar(screen, STACKED, STEPS as u64);
        let mut show = |done: f64| bar.set_position((done * STEPS) as u64);
        let outcome = stacked::run(
            &self.train,
            &classifier,
            (model, training),
            options,
            &device,
            (&mut show, &stop),
        )?;
        bar.finish_and_clear();
        if let Some(folder) = &arguments.pictures {
            let shape = self.train.shape();
            let tiles = Tiles {
                num: stacked::KEPT,
                height_px: shape.height_px,
                width_px: shape.width_px,
                channels: 3,
            };
            let picture = images::grid(&outcome.images, tiles, GridOptions::default())?;
            images::write_png(&folder.join(Path::new(STACKED).with_extension("png")), &picture)?;
        }
        let test = Test {
            name: STACKED,
            modes: outcome.tally.count().total_modes,
            num: outcome.tally.num(),
            seconds: outcome.seconds,
            kimg: outcome.images_seen as f64 / 1000.0,
            classifier_accuracy: Some(classifier.header().accuracy()),
            scores: scores(STACKED, &outcome.tally, resampling),
        };
        screen.say(test.describe(&outcome.tally));
        Ok(test)
    }
}
