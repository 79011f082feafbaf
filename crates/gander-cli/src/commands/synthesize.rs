//! `gander synthesize`: new images of each class, and whether they help.

use std::{
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::Context;
use clap::Args;
use gander::{
    session::Length,
    synthesize::{
        self, Amount, Differing, Measured, Measuring, Plan, Progress, Request, Summary,
        split::{MIN_IMAGES, Unlabeled},
    },
};
use gander_data::Size;
use indicatif::ProgressBar;

use crate::{
    interrupt, progress,
    screen::{self, Screen},
    text, values,
};

/// Minutes where nobody says how long.
const MINUTES: f64 = 15.0;
/// Where nobody watches a bar, a line comes at most this often.
const LINE_EVERY: Duration = Duration::from_secs(30);

/// Grow a labeled dataset, and measure whether that helps a classifier
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  gander synthesize parts/ --out more/                   sub-folders are classes; fifteen minutes
  gander synthesize parts/ --out more/ --per-class 200 --minutes 60
  gander synthesize parts/ --out more/ --balance         fill rare classes up
  gander synthesize parts/ --out more/ --unlabeled all-parts/
  gander synthesize parts/ --out more/ --run runs/00001-parts
  gander synthesize digits/ --out more/ --labeled 50     what if there were 50 of each class?

Leaves a folder for each class as DATA has them, manifest.jsonl (seed, label and scores of each
image), report.html and generator.safetensors. The verdict compares classifiers on real images that
nothing learned from, with classical augmentation (shift, color, cutout, mixup) as the rival.

A run for --run was trained with `gander train DATA --labels --holdout 20%`.")]
pub(crate) struct Arguments {
    /// A labeled folder or archive, an IDX or NPZ file
    #[arg(value_name = "DATA")]
    data: PathBuf,
    /// Folder to write to: absent or empty, and outside DATA
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Images of each class [default: as many for each real one as measured best]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000), conflicts_with = "balance")]
    per_class: Option<u32>,
    /// Fill rare classes up to the largest
    #[arg(long)]
    balance: bool,
    /// Wall time of everything, measuring included [default: 15]
    #[arg(long, short, value_parser = values::positive, conflicts_with = "kimg")]
    minutes: Option<f64>,
    /// Thousands of images that the generator learns from, instead of a time: the same numbers on every run
    #[arg(long, short, value_parser = values::positive)]
    kimg: Option<f64>,
    /// Images without labels that may help: classifiers of the labeled ones name those that they are sure of
    #[arg(long, value_name = "DIR", alias = "unlabelled")]
    unlabeled: Option<PathBuf>,
    /// Begin from the weights of a run or generator of other images
    #[arg(long, value_name = "FILE")]
    init: Option<PathBuf>,
    /// Take the generator of a run that held images out
    #[arg(long, value_name = "RUN", conflicts_with_all = ["labeled", "holdout", "resolution", "unlabeled", "init"])]
    run: Option<PathBuf>,
    /// Learn from so many images of each class, as if there were no more; ten draws where there are enough
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(MIN_IMAGES as i64..))]
    labeled: Option<u32>,
    /// Share of the images to measure on, where DATA brings no split of its own [default: 20%]
    #[arg(long, value_name = "SHARE", value_parser = values::share, conflicts_with = "no_measure")]
    holdout: Option<f64>,
    /// Sides of the images: 64, or 92x112 for width by height [default: chosen for the data]
    #[arg(long, value_name = "PX|WxH", value_parser = values::size)]
    resolution: Option<Size>,
    #[command(flatten)]
    measuring: MeasuringFlags,
    /// Seed of everything random
    #[arg(long, value_name = "S", default_value_t = 0)]
    seed: u64,
    /// Compute threads; 0 for one per core
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(..=1024))]
    threads: u32,
    /// Print what came of it as JSON
    #[arg(long)]
    json: bool,
}

/// The later of the two counts.
#[derive(Debug, Args)]
struct MeasuringFlags {
    /// Find out whether the images help; this is the default
    #[arg(long, overrides_with = "no_measure")]
    measure: bool,
    /// Learn from all images, measure nothing
    #[arg(long, overrides_with = "measure")]
    no_measure: bool,
}

impl MeasuringFlags {
    fn measuring(&self) -> Measuring {
        if self.no_measure && !self.measure {
            Measuring::Off
        } else {
            Measuring::On
        }
    }
}

/// Synthesizes, measures, and says the verdict.
pub(crate) fn run(arguments: Arguments, screen: &Screen) -> anyhow::Result<ExitCode> {
    let is_json = arguments.json;
    let request = request(arguments);
    let data = request.data.display().to_string();
    let spinner = progress::spinner(screen, "opening the data");
    let plan = synthesize::plan(request);
    spinner.finish_and_clear();
    let plan = plan.with_context(|| format!("cannot grow {data}"))?;
    let mut follower = Follower::new(screen);
    tell_plan(&plan, &follower.screen);
    let stop = interrupt::listen(
        &follower.screen,
        "stopping after this step, no image will be written; Ctrl-C again leaves at once",
    )?;
    let done = synthesize::run(plan, &mut |progress| follower.show(progress), &stop);
    follower.bar.finish_and_clear();
    let summary = done.with_context(|| format!("cannot grow {data}"))?;
    if is_json {
        screen::print_json(&summary)?;
    }
    tell_summary(&summary, screen);
    Ok(ExitCode::SUCCESS)
}

fn request(arguments: Arguments) -> Request {
    let length = match (arguments.kimg, arguments.minutes) {
        (Some(kimg), _) => Length::Kimg(kimg),
        (None, minutes) => Length::Minutes(minutes.unwrap_or(MINUTES)),
    };
    let amount = match arguments.per_class {
        Some(wanted) => Amount::PerClass(wanted as usize),
        None if arguments.balance => Amount::Balance,
        None => Amount::ForEachReal,
    };
    Request {
        data: arguments.data,
        out: arguments.out,
        amount,
        length,
        unlabeled: arguments.unlabeled,
        init: arguments.init,
        run: arguments.run,
        labeled: arguments.labeled.map(|labeled| labeled as usize),
        holdout: arguments.holdout,
        size: arguments.resolution,
        classifier_images: None,
        measuring: arguments.measuring.measuring(),
        seed: arguments.seed,
        threads: arguments.threads as usize,
    }
}

/// Shows how far each piece of the work is: a bar where somebody watches, else lines.
struct Follower {
    screen: Screen,
    bar: ProgressBar,
    doing: String,
    last_line: Option<Instant>,
}

impl Follower {
    fn new(screen: &Screen) -> Self {
        let bar = progress::bar(screen, "", 1000);
        Self {
            screen: screen.with_bar(bar.clone()),
            bar,
            doing: String::new(),
            last_line: None,
        }
    }

    fn show(&mut self, progress: &Progress) {
        if self.doing != progress.doing {
            self.doing.clone_from(&progress.doing);
            self.bar.reset();
            self.bar.set_message(self.doing.clone());
        }
        self.bar.set_position((progress.done * 1000.0) as u64);
        let is_due = self.last_line.is_none_or(|last| last.elapsed() >= LINE_EVERY);
        if self.bar.is_hidden() && is_due {
            self.last_line = Some(Instant::now());
            self.screen
                .say(format!("{:3.0}%  {}", progress.done * 100.0, self.doing));
        }
    }
}

/// What is learned from, what is held out, and what was left out.
fn tell_plan(plan: &Plan, screen: &Screen) {
    let split = plan.split();
    for file in plan.skipped().iter().take(3) {
        screen.warn(format!("left out {}: {}", file.path.display(), file.reason));
    }
    for conflict in split.conflicts() {
        screen.warn(format!(
            "{} identical images stand in {}: left out, since nobody knows which is right",
            conflict.images,
            conflict.classes.join(" and ")
        ));
    }
    if split.repeated() > 0 {
        screen.warn(format!(
            "{} held out are training images too: left out of the measurement",
            text::plural(split.repeated() as u64, "image")
        ));
    }
    if let Some(unlabeled) = plan.unlabeled() {
        tell_unlabeled(unlabeled, screen);
    }
    screen.say(plan.introduction());
}

/// What of the images without labels is not used.
fn tell_unlabeled(unlabeled: &Unlabeled, screen: &Screen) {
    if unlabeled.held_out() > 0 {
        screen.warn(format!(
            "left out {} without labels: what measures is not learned from, mirrored neither",
            text::plural(unlabeled.held_out() as u64, "image")
        ));
    }
}

fn tell_summary(summary: &Summary, screen: &Screen) {
    if let Some(measured) = &summary.measured {
        for line in table(measured) {
            screen.say(line);
        }
    }
    if let Some(unlabeled) = &summary.unlabeled {
        let sentence = format!(
            "{} of {} without labels were taken for one of the classes",
            text::count(unlabeled.named as u64),
            text::plural(unlabeled.asked as u64, "image")
        );
        match unlabeled.asked {
            0 => screen.warn(format!(
                "{} shows nothing new: it changed nothing",
                unlabeled.path.display()
            )),
            _ => screen.say(sentence),
        }
    }
    let written: u64 = summary.classes.iter().map(|class| class.written as u64).sum();
    screen.say(&summary.verdict);
    for class in summary.classes.iter().filter(|class| class.written < class.wanted) {
        screen.warn(format!(
            "{}: {} of {} images; of {} that were made, {} were not surely of the class, {} copies, {} repeats",
            class.class,
            class.written,
            class.wanted,
            class.filter.made,
            class.filter.unsure,
            class.filter.copies,
            class.filter.repeats
        ));
    }
    screen.say(format!(
        "{} in {}",
        text::plural(written, "image"),
        text::duration(summary.seconds)
    ));
    screen.say(format!("  images    {}", summary.directory.display()));
    screen.say(format!("  manifest  {}", summary.manifest.display()));
    screen.say(format!("  report    {}", summary.report.display()));
}

/// A line for each setting.
fn table(measured: &Measured) -> Vec<String> {
    let differing = match measured.trials_differ_in {
        Differing::Draws => "draws",
        Differing::Seeds => "seeds",
    };
    let head = format!(
        "accuracy on {} held-out images, {} {differing}, 95 % intervals:",
        text::count(measured.num_images as u64),
        measured.trials
    );
    let line = |scores: &synthesize::measure::Scores| {
        let [value, low, high] =
            [scores.accuracy.value, scores.accuracy.low, scores.accuracy.high].map(|share| 100.0 * share);
        format!("  {:18} {value:5.1} %  {low:5.1} to {high:5.1}", scores.setting.name())
    };
    std::iter::once(head)
        .chain(measured.settings.iter().map(line))
        .collect()
}
