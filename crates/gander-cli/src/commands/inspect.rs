//! `gander inspect`: what a run or a file is.

use std::{
    collections::BTreeMap,
    fmt::Write,
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context;
use clap::Args;
use gander::{
    events::{Event, Reason},
    models::ModelConfig,
    run::{Log, RunDirectory},
    shipped::{self, ShippedGenerator},
    train::{checkpoint, contest},
    translation::ShippedTranslator,
};
use gander_formats::safetensors;
use gander_tensor::{Cpu, CpuOptions, DeviceRef};
use serde::Serialize;
use toml::Table;

use crate::{hints, screen, text};

/// Say what a run, a generator or a checkpoint is
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  gander inspect runs/00001-pottery
  gander inspect generator.safetensors --json | jq .family")]
pub(crate) struct Arguments {
    /// A run directory, a generator file or a checkpoint
    #[arg(value_name = "RUN|FILE")]
    path: PathBuf,
    /// Print it as JSON
    #[arg(long)]
    json: bool,
}

/// What is known of a run or a file.
#[derive(Debug, Serialize)]
struct Facts {
    version: u32,
    kind: &'static str,
    path: PathBuf,
    family: String,
    dataset: String,
    width_px: usize,
    height_px: usize,
    channels: usize,
    classes: Vec<String>,
    generator_parameters: usize,
    discriminator_parameters: Option<usize>,
    images_seen: u64,
    seconds: Option<f64>,
    state: Option<&'static str>,
    scores: BTreeMap<String, f64>,
    checkpoints: Vec<PathBuf>,
    file_bytes: u64,
    settings: Table,
}

/// Prints what is known.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let path = &arguments.path;
    let facts = facts(path).with_context(|| format!("cannot inspect {}", path.display()))?;
    if arguments.json {
        screen::print_json(&facts)?;
    } else {
        screen::print(&text::harmless(&describe(&facts)))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn facts(path: &Path) -> anyhow::Result<Facts> {
    if path.is_dir() {
        return of_run(&RunDirectory::open(path)?);
    }
    let file = safetensors::read(path)?;
    if file
        .metadata()
        .get("gander.kind")
        .is_some_and(|kind| kind == "checkpoint")
    {
        return of_checkpoint(path);
    }
    of_generator(path)
}

/// Nothing is computed on it: one thread starts faster than many.
fn idle_device() -> anyhow::Result<DeviceRef> {
    let options = CpuOptions {
        threads: 1,
        ..CpuOptions::default()
    };
    Ok(Cpu::with_options(options)?)
}

fn of_generator(path: &Path) -> anyhow::Result<Facts> {
    let device = idle_device()?;
    let (header, num_weights) = match ShippedGenerator::load(path, &device) {
        Err(gander::Error::Translates { .. }) => {
            let translator = ShippedTranslator::load(path, &device)?;
            (translator.header.clone(), translator.num_weights())
        }
        generator => {
            let generator = generator?;
            (generator.header.clone(), generator.num_weights())
        }
    };
    let settings = Table::from_iter([("model".to_owned(), toml::Value::try_from(&header.model)?)]);
    Ok(Facts {
        dataset: header.dataset.clone(),
        classes: header.classes.clone(),
        generator_parameters: num_weights,
        images_seen: header.images_seen,
        ..of_model("generator", path, &header.model, settings)
    })
}

fn of_checkpoint(path: &Path) -> anyhow::Result<Facts> {
    let header = checkpoint::load_header(path)?;
    let model = &header.config.model;
    model.validate()?;
    let contest = contest::new(&header.config, &idle_device()?)?;
    let judges = contest.judges().iter().fold(0, |sum, judge| sum + judge.num_weights());
    let progress = &header.numbers.progress;
    Ok(Facts {
        generator_parameters: contest.product().num_weights(),
        discriminator_parameters: Some(judges),
        images_seen: progress.images_seen,
        seconds: Some(progress.seconds),
        ..of_model(
            "checkpoint",
            path,
            &header.config.model,
            Table::try_from(&header.config)?,
        )
    })
}

fn of_model(kind: &'static str, path: &Path, model: &ModelConfig, settings: Table) -> Facts {
    let images = model.images();
    Facts {
        version: 1,
        kind,
        path: text::unicode(path),
        family: model.family().to_owned(),
        dataset: String::new(),
        width_px: images.width_px,
        height_px: images.height_px,
        channels: images.channels,
        classes: Vec::new(),
        generator_parameters: 0,
        discriminator_parameters: None,
        images_seen: 0,
        seconds: None,
        state: None,
        scores: BTreeMap::new(),
        checkpoints: Vec::new(),
        file_bytes: fs::metadata(path).map_or(0, |file| file.len()),
        settings,
    }
}

/// The generator of a run and what its log says; of a run that has none yet, its newest checkpoint.
fn of_run(run: &RunDirectory) -> anyhow::Result<Facts> {
    let generator = run.path().join(shipped::FILE_NAME);
    let checkpoints: Vec<PathBuf> = run.checkpoints()?.into_iter().map(|moment| moment.path).collect();
    let mut facts = match checkpoints.last() {
        Some(newest) if !generator.exists() => of_checkpoint(newest)?,
        _ => of_generator(&generator)?,
    };
    facts.kind = "run";
    facts.path = text::unicode(run.path());
    facts.checkpoints = checkpoints.iter().map(|path| text::unicode(path)).collect();
    if run.config().is_file() {
        let config = run.config();
        let text = fs::read_to_string(&config).with_context(|| format!("cannot read {}", config.display()))?;
        facts.settings = text
            .parse()
            .with_context(|| format!("cannot read {}", config.display()))?;
    }
    if run.log().is_file() {
        for (_, event) in Log::read(&run.log())?.events {
            facts.hear(&event);
        }
    }
    Ok(facts)
}

impl Facts {
    fn hear(&mut self, event: &Event) {
        match event {
            Event::RunStarted(started) => {
                self.dataset.clone_from(&started.dataset);
                self.discriminator_parameters = usize::try_from(started.discriminator_parameters).ok();
                self.state = Some("unfinished");
            }
            Event::Tick(tick) => self.seconds = Some(tick.seconds),
            Event::Metric(metric) => _ = self.scores.insert(metric.name.clone(), metric.value),
            Event::RunFinished(finished) => {
                self.seconds = Some(finished.seconds);
                self.state = Some(match finished.reason {
                    Reason::Completed => "finished",
                    Reason::Flat(_) => "finished when its score no longer improved",
                    Reason::Stopped => "stopped",
                    Reason::Failed(_) => "failed",
                });
            }
            _ => {}
        }
    }
}

fn describe(facts: &Facts) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let mut line = |name: &str, value: String| _ = writeln!(text, "{name:<12} {value}");
    line(facts.kind, facts.path.display().to_string());
    line("family", facts.family.clone());
    if !facts.dataset.is_empty() {
        line("data", facts.dataset.clone());
    }
    line(
        "resolution",
        format!(
            "{}x{} {}",
            facts.width_px,
            facts.height_px,
            text::channels(facts.channels)
        ),
    );
    if !facts.classes.is_empty() {
        line(
            "classes",
            format!("{}: {}", facts.classes.len(), facts.classes.join(", ")),
        );
    }
    let mut parameters = format!("{} generator", text::count(facts.generator_parameters as u64));
    if let Some(discriminator) = facts.discriminator_parameters {
        parameters += &format!(", {} discriminator", text::count(discriminator as u64));
    }
    line("parameters", parameters);
    let mut seen = format!("{} kimg", text::kimg(facts.images_seen));
    if let Some(seconds) = facts.seconds {
        seen += &format!(" in {}", text::duration(seconds));
    }
    if let Some(state) = facts.state {
        seen += &format!(", {state}");
    }
    line("images seen", seen);
    let scores = facts
        .scores
        .iter()
        .map(|(name, &value)| format!("{name} {}", text::number(value)));
    let scores = scores.collect::<Vec<_>>().join(", ");
    line("scores", if scores.is_empty() { "none".to_owned() } else { scores });
    line("size", text::bytes(facts.file_bytes));
    if let Some(newest) = facts.checkpoints.last() {
        line(
            "checkpoints",
            format!("{}, the newest {}", facts.checkpoints.len(), newest.display()),
        );
    }
    line("settings", String::new());
    hints::leaves(&facts.settings, "", &mut |key, value| {
        _ = writeln!(text, "  {key} = {value}");
    });
    text
}
