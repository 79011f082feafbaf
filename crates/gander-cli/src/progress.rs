//! How a run looks while it trains: a bar on a terminal, plain lines elsewhere.

use std::time::{Duration, Instant};

use gander::events::{Event, RunStarted, Severity, Tick};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::{screen::Screen, text};

/// Where nobody watches a bar, a line comes at most this often: a log of an hour has 120 of them.
const LINE_EVERY: Duration = Duration::from_secs(30);
/// The bar's steps; its length is a share of the run, since the plan of a time budget moves.
const STEPS: u64 = 1000;

/// A bar for a number of things of one kind; hidden where nobody watches.
pub(crate) fn bar(screen: &Screen, what: &str, total: u64) -> ProgressBar {
    let bar = new_bar(screen, total);
    bar.set_style(style("{msg} [{bar:30}] {human_pos}/{human_len}, {eta} left"));
    bar.set_message(what.to_owned());
    bar
}

/// A sign of life for a step of unknown length.
pub(crate) fn spinner(screen: &Screen, what: &str) -> ProgressBar {
    let bar = new_bar(screen, 0);
    bar.set_style(style("{spinner} {msg} ({elapsed})"));
    bar.set_message(what.to_owned());
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

fn new_bar(screen: &Screen, total: u64) -> ProgressBar {
    let target = if screen.shows_bars() {
        ProgressDrawTarget::stderr()
    } else {
        ProgressDrawTarget::hidden()
    };
    ProgressBar::with_draw_target(Some(total), target)
}

fn style(template: &str) -> ProgressStyle {
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    style.progress_chars("=> ")
}

/// Follows the events of a run.
pub(crate) struct RunProgress {
    screen: Screen,
    bar: ProgressBar,
    total_kimg: f64,
    /// When the last plain line was written.
    last_line: Option<Instant>,
}

impl RunProgress {
    /// Before the first event.
    pub(crate) fn new(screen: &Screen) -> Self {
        let bar = new_bar(screen, STEPS);
        bar.set_style(style("[{bar:24}] {msg}"));
        Self {
            screen: screen.with_bar(bar.clone()),
            bar,
            total_kimg: 0.0,
            last_line: None,
        }
    }

    /// A screen that writes above the bar.
    pub(crate) fn screen(&self) -> &Screen {
        &self.screen
    }

    /// Shows what happened.
    pub(crate) fn show(&mut self, event: &Event) {
        match event {
            Event::RunStarted(started) => {
                self.total_kimg = started.total_kimg;
                self.screen.say(introduction(started));
            }
            Event::Tick(tick) => self.tick(tick),
            Event::Diagnosis(diagnosis) => {
                let line = format!("{}: {}", diagnosis.name, diagnosis.advice);
                match diagnosis.severity {
                    Severity::Note => self.screen.say(line),
                    Severity::Warning | Severity::Problem => self.screen.warn(line),
                }
            }
            Event::Metric(metric) => self
                .screen
                .say(format!("{} {}", metric.name, text::number(metric.value))),
            Event::Correction { setting, is, .. } if setting == "training.total_kimg" => {
                self.total_kimg = is.parse().unwrap_or(self.total_kimg);
            }
            Event::Correction {
                setting,
                was,
                is,
                reason,
                ..
            } => {
                self.screen
                    .say(format!("{setting} is {is} from now on, was {was}: {reason}"));
            }
            Event::RunFinished(_) => self.bar.finish_and_clear(),
            // The bar tells enough; where the files are is said at the end.
            _ => {}
        }
    }

    fn tick(&mut self, tick: &Tick) {
        let share = share(tick, self.total_kimg);
        let message = message(tick, self.total_kimg);
        self.bar.set_position((share * STEPS as f64) as u64);
        self.bar.set_message(message.clone());
        let is_due = self.last_line.is_none_or(|last| last.elapsed() >= LINE_EVERY);
        if self.bar.is_hidden() && is_due {
            self.last_line = Some(Instant::now());
            self.screen.say(format!("{:3.0}%  {message}", share * 100.0));
        }
    }
}

impl Drop for RunProgress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// The share of the run that is done: by time where the end is foreseen, else by images.
fn share(tick: &Tick, total_kimg: f64) -> f64 {
    let share = match tick.eta_seconds {
        Some(left) if tick.seconds + left > 0.0 => tick.seconds / (tick.seconds + left),
        _ => tick.images_seen as f64 / (total_kimg * 1000.0).max(1.0),
    };
    share.clamp(0.0, 1.0)
}

fn message(tick: &Tick, total_kimg: f64) -> String {
    let mut message = text::kimg(tick.images_seen);
    if total_kimg > 0.0 {
        message += &format!("/{}", text::kimg((total_kimg * 1000.0).round() as u64));
    }
    message += &format!(
        " kimg, {} images/s, loss D {} G {}",
        text::count(tick.images_per_second.max(0.0).round() as u64),
        text::number(tick.discriminator_loss),
        text::number(tick.generator_loss),
    );
    match tick.eta_seconds {
        Some(left) => message + &format!(", {} left", text::duration(left)),
        None => message,
    }
}

fn introduction(run: &RunStarted) -> String {
    let channels = text::channels(run.channels as usize);
    let mut data = format!(
        "{} of {}x{} {channels}",
        text::plural(run.num_images, "image"),
        run.width_px,
        run.height_px
    );
    if run.num_holdout > 0 {
        data += &format!(", {} held out", text::count(run.num_holdout));
    }
    if !run.classes.is_empty() {
        data += &format!(", {} classes", run.classes.len());
    }
    let verb = if run.images_seen == 0 { "training" } else { "resuming" };
    let length = match run.budget_seconds {
        Some(seconds) => text::duration(seconds),
        None => format!("{} kimg", text::kimg((run.total_kimg * 1000.0).round() as u64)),
    };
    let introduction = format!(
        "{verb} {} on {}: {data}\n{} and {} weights, batch {}, {length}, seed {}; {}, {}, {}",
        run.family,
        run.dataset,
        text::count(run.generator_parameters),
        text::count(run.discriminator_parameters),
        run.batch,
        run.seed,
        text::plural(u64::from(run.machine.threads), "thread"),
        run.machine.isa,
        run.machine.precision,
    );
    let reasons = run.rationale.iter().map(|line| format!("  {line}"));
    std::iter::once(introduction)
        .chain(reasons)
        .collect::<Vec<_>>()
        .join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tick_is_a_line() {
        let mut tick = Tick {
            images_seen: 12_800,
            seconds: 30.0,
            images_per_second: 426.7,
            discriminator_loss: 0.65432,
            generator_loss: 1.2,
            ..Tick::default()
        };
        assert_eq!(message(&tick, 0.0), "12.8 kimg, 427 images/s, loss D 0.654 G 1.200");
        tick.eta_seconds = Some(90.0);
        assert_eq!(
            message(&tick, 51.2),
            "12.8/51.2 kimg, 427 images/s, loss D 0.654 G 1.200, 1m 30s left"
        );
        assert_eq!(share(&tick, 51.2), 0.25);
        tick.eta_seconds = None;
        assert_eq!(share(&tick, 25.6), 0.5);
    }

    #[test]
    fn a_run_is_introduced() {
        let run = RunStarted {
            family: "dcgan".into(),
            dataset: "pottery".into(),
            num_images: 20_000,
            num_holdout: 0,
            height_px: 112,
            width_px: 92,
            channels: 3,
            generator_parameters: 1_500_000,
            discriminator_parameters: 1_400_000,
            batch: 64,
            total_kimg: 12.0,
            machine: gander::events::Machine::here(2, "avx512", "bf16"),
            rationale: vec!["batches of 64: as the method has it".into()],
            ..RunStarted::default()
        };
        assert_eq!(
            introduction(&run),
            "training dcgan on pottery: 20,000 images of 92x112 RGB\n\
             1,500,000 and 1,400,000 weights, batch 64, 12.0 kimg, seed 0; 2 threads, avx512, bf16\n  \
             batches of 64: as the method has it"
        );
    }
}
