//! `gander train`: from images to a generator.

use std::{path::PathBuf, process::ExitCode};

use anyhow::Context;
use clap::{Args, builder::PossibleValuesParser};
use gander::{
    events::Event,
    session::{self, Length, Planned, RunSummary, TrainRequest, Trial, Verdict},
    train::defaults,
};
use gander_data::Size;
use gander_tensor::Isa;
use serde::Serialize;

use crate::{
    failure::explain,
    hints, interrupt, progress,
    progress::RunProgress,
    screen::{self, Screen},
    text,
    values::{self, Gamma, PrecisionChoice},
};

/// Train a GAN on a folder of images, an archive, an IDX or NPZ file, or on pottery
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  gander train                                     three minutes on pottery, the embedded dataset
  gander train photos/ --minutes 30                your own pictures, half an hour
  gander train photos.zip --resolution 96x64       straight from an archive, 96 wide and 64 high
  gander train animals/ --labels --holdout 5%      sub-folders are classes; a twentieth is held out
  gander train --family cyclegan photos/ paintings/ --minutes 60
  gander train --family pix2pix pairs/             A and B side by side, or in A/ and B/
  gander train photos/ --family r3gan --kimg 500 --set training.learning_rate=1e-4
  gander train photos/ --family r3gan --gamma search --minutes 30
  gander train --resume runs/00001-photos          go on as if nothing had happened
  gander train --resume runs/00001-photos --minutes 60
  gander train --config runs/00001-photos/config.toml --seed 1

Leaves runs/00001-NAME/ with samples, report.html and generator.safetensors.
Ctrl-C saves and stops (exit code 130); a second one leaves at once.")]
pub(crate) struct Arguments {
    /// Folders, ZIP or tar archives, IDX or NPZ files; pottery if there is none
    #[arg(value_name = "DATA")]
    sources: Vec<PathBuf>,
    /// Go on with a run
    #[arg(long, value_name = "RUN", conflicts_with_all = ["sources", "family", "preset", "resolution", "labels", "no_labels",
        "holdout", "batch", "accumulate", "gamma", "stop_when_flat", "init", "seed", "out", "precision", "isa", "settings",
        "config"])]
    resume: Option<PathBuf>,
    /// Repeat a run: all settings from its config.toml, on the same data
    #[arg(long, value_name = "FILE", conflicts_with_all = ["sources", "family", "preset", "resolution", "labels", "no_labels",
        "holdout", "minutes", "batch", "accumulate", "gamma", "stop_when_flat", "init", "precision"])]
    config: Option<PathBuf>,
    /// Kind of networks [default: dcgan, as in --preset quick]
    #[arg(long, value_parser = PossibleValuesParser::new(defaults::FAMILIES))]
    family: Option<String>,
    /// A named set of settings
    #[arg(long, value_parser = PossibleValuesParser::new(defaults::preset_names()))]
    preset: Option<String>,
    /// Sides of the images: 64, or 92x112 for width by height [default: chosen for the data and the time]
    #[arg(long, value_name = "PX|WxH", value_parser = values::size)]
    resolution: Option<Size>,
    #[command(flatten)]
    classes: Classes,
    /// Share of the images never to train on, such as 5%, or 0 [default: 200 images, or a tenth of 400 to 2,000, where the data
    /// has no split of its own]
    #[arg(long, value_name = "SHARE", value_parser = values::share_or_none)]
    holdout: Option<f64>,
    /// Wall time to spend in all, or from now on with --resume [default: 3]
    #[arg(long, short, value_parser = values::positive, conflicts_with = "kimg")]
    minutes: Option<f64>,
    /// Thousands of images to show to the discriminator in all, those before --resume included
    #[arg(long, short, value_parser = values::positive)]
    kimg: Option<f64>,
    /// Images in one update
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    batch: Option<u32>,
    /// Parts that a batch is computed in, to save memory
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    accumulate: Option<u32>,
    /// Weight of the gradient penalty R1, and of R2 where the family has it; more is steadier and slower. Or `search` for the
    /// best of five powers of ten, for a quarter of the time
    #[arg(long, value_name = "G", value_parser = values::gamma)]
    gamma: Option<Gamma>,
    /// End the run when its score no longer improves
    #[arg(long)]
    stop_when_flat: bool,
    /// Start from the weights of another run or generator, as far as they fit
    #[arg(long, value_name = "FILE")]
    init: Option<PathBuf>,
    /// Seed of everything random: with --kimg or --config, the same seed and settings give the same generator on one instruction
    /// set
    /// [default: 0]
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
    /// Where run directories are made [default: runs]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Compute threads; 0 for one per core [default: 0]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(..=1024))]
    threads: Option<u32>,
    /// Precision of multiplications; sums are float32 in any case
    #[arg(long, value_enum, default_value_t = PrecisionChoice::Auto)]
    precision: PrecisionChoice,
    /// Instruction set: avx512, avx2, neon or portable [default: the best that the processor has]
    #[arg(long, value_parser = values::isa)]
    isa: Option<Isa>,
    /// A setting by its path in config.toml, such as training.beta1=0.5; may be repeated
    #[arg(long = "set", id = "settings", value_name = "KEY=VALUE", value_parser = values::setting)]
    settings: Vec<(String, String)>,
    /// Print what happens to stdout, one JSON object a line
    #[arg(long)]
    json: bool,
}

/// Whether the classes are learned.
#[derive(Debug, Args)]
struct Classes {
    /// Learn the classes, so that samples can be asked for by class [default: where each has 500 images]
    #[arg(long)]
    labels: bool,
    /// Take no notice of classes
    #[arg(long, conflicts_with = "labels")]
    no_labels: bool,
}

impl Classes {
    /// What was asked for, if anything.
    fn choice(&self) -> Option<bool> {
        (self.labels || self.no_labels).then_some(self.labels)
    }
}

/// The last line of `--json`.
#[derive(Debug, Serialize)]
struct Summary<'a> {
    event: &'static str,
    version: u32,
    finished: bool,
    images_seen: u64,
    seconds: f64,
    directory: &'a PathBuf,
    samples: &'a PathBuf,
    report: &'a PathBuf,
    generator: &'a PathBuf,
    #[serde(skip_serializing_if = "Option::is_none")]
    best: Option<Best<'a>>,
}

/// The best moment of a run by its own score.
#[derive(Debug, Serialize)]
struct Best<'a> {
    generator: &'a PathBuf,
    score: &'a str,
    value: f64,
    images_seen: u64,
}

/// Trains, and says where everything is.
pub(crate) fn run(arguments: Arguments, screen: &Screen) -> anyhow::Result<ExitCode> {
    let is_json = arguments.json;
    let searches = arguments.gamma == Some(Gamma::Search);
    let mut planned = plan(arguments, screen)?;
    tell_skipped(&planned, screen);
    let mut progress = RunProgress::new(screen);
    // A search keeps none of the runs that it trains.
    let kept = if searches {
        "saving the run if it has begun"
    } else {
        "saving"
    };
    let stop = interrupt::listen(
        progress.screen(),
        format!("stopping after this step and {kept}; Ctrl-C again leaves at once and loses what is not saved"),
    )?;
    if searches {
        let mut tell = |trial: &Trial| tell_trial(trial, progress.screen());
        let hint = if planned.config().training.r1_gamma.start > 0.0 {
            "lower the learning rate: --set training.learning_rate=1e-4"
        } else {
            "take a family that is trained with them (--family r3gan), or give them a first weight: --set \
             training.r1_gamma=1 --set training.r2_gamma=1"
        };
        planned = session::search_gamma(planned, &mut tell, &stop).map_err(|error| match error {
            gander::Error::InvalidConfig { .. } => explain("cannot search for gamma", hint, error),
            error => error.into(),
        })?;
    }
    let mut stdout = Ok(());
    let mut listen = |event: &Event| {
        progress.show(event);
        if is_json && stdout.is_ok() {
            stdout = print_line(event);
        }
    };
    let done = session::train(planned, &mut listen, &stop);
    drop(progress);
    let summary = done.context("training stopped")?;
    stdout?;
    if is_json {
        print_line(&to_json(&summary))?;
    }
    tell_summary(&summary, screen);
    Ok(if summary.finished {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(interrupt::EXIT_CODE)
    })
}

fn plan(arguments: Arguments, screen: &Screen) -> anyhow::Result<Planned> {
    let length = match (arguments.minutes, arguments.kimg) {
        (Some(minutes), _) => Some(Length::Minutes(minutes)),
        (None, kimg) => kimg.map(Length::Kimg),
    };
    let threads = arguments.threads.map(|threads| threads as usize);
    let spinner = progress::spinner(screen, "opening the data");
    let planned = if let Some(directory) = &arguments.resume {
        session::plan_resume(directory, length, threads)
            .with_context(|| format!("cannot resume {}", directory.display()))
    } else if let Some(path) = arguments.config.clone() {
        session::plan_again(&path, &request(arguments, length))
            .with_context(|| format!("cannot repeat the run of {}", path.display()))
    } else {
        let sources: Vec<String> = arguments
            .sources
            .iter()
            .map(|path| path.display().to_string())
            .collect();
        let data = if sources.is_empty() {
            "pottery".to_owned()
        } else {
            sources.join(" and ")
        };
        let request = request(arguments, length);
        session::plan(&request)
            .map_err(|error| hints::of_settings(error, &request))
            .with_context(|| format!("cannot train on {data}"))
    };
    spinner.finish_and_clear();
    planned
}

fn request(arguments: Arguments, length: Option<Length>) -> TrainRequest {
    let mut set = arguments.settings;
    if let Some(isa) = arguments.isa {
        set.push(("device.isa".to_owned(), isa.to_string()));
    }
    TrainRequest {
        sources: arguments.sources,
        family: arguments.family,
        preset: arguments.preset,
        size: arguments.resolution,
        labels: arguments.classes.choice(),
        holdout: arguments.holdout,
        length,
        batch: arguments.batch.map(|batch| batch as usize),
        accumulate: arguments.accumulate.map(|parts| parts as usize),
        gamma: match arguments.gamma {
            Some(Gamma::Given(gamma)) => Some(gamma),
            Some(Gamma::Search) | None => None,
        },
        stop_when_flat: arguments.stop_when_flat,
        init: arguments.init,
        seed: arguments.seed,
        out: arguments.out,
        threads: arguments.threads.map(|threads| threads as usize),
        precision: arguments.precision.precision(),
        set,
    }
}

/// Says what was left out of the data; a broken file stops nothing.
fn tell_skipped(planned: &Planned, screen: &Screen) {
    const SHOWN: usize = 3;
    let skipped = planned.skipped();
    if skipped.is_empty() {
        return;
    }
    let source = planned
        .config()
        .data
        .sources
        .first()
        .map(|path| text::shell(path))
        .unwrap_or_default();
    let mut lines = format!("{} left out of the data:", text::plural(skipped.len() as u64, "file"));
    for file in skipped.iter().take(SHOWN) {
        lines += &format!("\n  {}: {}", file.path.display(), file.reason);
    }
    if skipped.len() > SHOWN {
        lines += &format!(
            "\n  and {} more: gander data check {source}",
            text::count((skipped.len() - SHOWN) as u64)
        );
    }
    screen.warn(lines);
}

fn tell_trial(trial: &Trial, screen: &Screen) {
    let kimg = text::kimg(trial.images_seen);
    let gamma = trial.gamma;
    screen.say(match &trial.verdict {
        Verdict::Scored { name, value } => {
            format!("gamma {gamma:<8} {name} {} after {kimg} kimg", text::number(*value))
        }
        Verdict::Diverged { reason } => format!("gamma {gamma:<8} {reason}"),
    });
}

fn print_line(value: &impl Serialize) -> anyhow::Result<()> {
    screen::print(&(serde_json::to_string(value)? + "\n"))
}

fn to_json(summary: &RunSummary) -> Summary<'_> {
    let RunSummary {
        directory,
        generator,
        report,
        samples,
        best,
        images_seen,
        seconds,
        finished,
        translates: _,
    } = summary;
    let best = best.as_ref().map(|best| Best {
        generator: &best.path,
        score: &best.score,
        value: best.value,
        images_seen: best.images_seen,
    });
    Summary {
        event: "run_summary",
        version: 1,
        finished: *finished,
        images_seen: *images_seen,
        seconds: *seconds,
        directory,
        samples,
        report,
        generator,
        best,
    }
}

fn tell_summary(summary: &RunSummary, screen: &Screen) {
    let run = text::shell(&summary.directory);
    let verb = if summary.finished {
        "trained"
    } else {
        "stopped and saved after"
    };
    screen.say(format!(
        "{verb} {} kimg in {}",
        text::kimg(summary.images_seen),
        text::duration(summary.seconds)
    ));
    screen.say(format!("  samples    {}", summary.samples.display()));
    screen.say(format!("  report     {}", summary.report.display()));
    screen.say(format!("  generator  {}", summary.generator.display()));
    if let Some(best) = &summary.best {
        screen.say(format!(
            "  best       {} ({} {} after {} kimg)",
            best.path.display(),
            best.score,
            text::number(best.value),
            text::kimg(best.images_seen)
        ));
    }
    let sample = if summary.translates {
        format!("translate with: gander translate {run} photo.jpg --out translated/")
    } else {
        format!("sample with:   gander sample {run} --grid samples.png")
    };
    if summary.finished {
        screen.say(sample);
        screen.say(format!("go on with:    gander train --resume {run} --minutes 10"));
    } else {
        screen.say(format!("resume with:   gander train --resume {run}"));
        screen.say(sample);
    }
}
