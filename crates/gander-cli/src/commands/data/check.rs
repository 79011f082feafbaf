//! `gander data check`: a doctor for datasets.

use std::{fmt::Write, path::PathBuf, process::ExitCode};

use anyhow::Context;
use clap::Args;
use gander::session;
use gander_data::{CheckReport, OpenOptions, Size, check::check_with_progress};

use crate::{
    failure, progress,
    screen::{self, Screen},
    text, values,
};

/// Paths of one kind that are listed; all of them are in `--json`.
const LISTED: usize = 5;

/// Say what is in a dataset, what is wrong with it, and what training would make of it
///
/// Exit code 1 if training would refuse it.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  gander data check photos/
  gander data check photos.zip --json | jq '.unreadable'")]
pub(crate) struct Arguments {
    /// Folders, ZIP or tar archives, IDX or NPZ files
    #[arg(value_name = "DATA", required = true)]
    sources: Vec<PathBuf>,
    /// Sides of the images: 64, or 92x112 for width by height [default: chosen for the data]
    #[arg(long, value_name = "PX|WxH", value_parser = values::size)]
    resolution: Option<Size>,
    /// Print everything to stdout as JSON
    #[arg(long)]
    json: bool,
}

/// Looks at every image once.
pub(crate) fn run(arguments: &Arguments, screen: &Screen) -> anyhow::Result<ExitCode> {
    if let Some(size) = arguments.resolution {
        session::check_size(size)?;
    }
    let options = OpenOptions {
        size: arguments.resolution,
        ..OpenOptions::default()
    };
    let bar = progress::bar(screen, "looking at images", 0);
    let report = check_with_progress(&arguments.sources, &options, &|progress| {
        bar.set_length(progress.total as u64);
        bar.set_position(progress.done as u64);
    });
    bar.finish_and_clear();
    let mut report = report.with_context(|| format!("cannot check {}", arguments.sources[0].display()))?;
    if arguments.json {
        to_unicode(&mut report);
        screen::print_json(&report)?;
    } else {
        screen::print(&text::harmless(&describe(&report)))?;
    }
    let Some(reason) = report.refused else {
        return Ok(ExitCode::SUCCESS);
    };
    let hint = if report.unreadable.is_empty() && report.summary.train > 0 {
        "add images"
    } else {
        crate::hints::IMAGES
    };
    let error = failure::refuse(reason, hint);
    Err(error.context(format!("training would refuse {}", arguments.sources[0].display())))
}

/// Makes every path one that JSON can hold.
fn to_unicode(report: &mut CheckReport) {
    let lists = [&mut report.sources, &mut report.tiny, &mut report.blank];
    let groups = lists.into_iter().chain(&mut report.exact_duplicates).flatten();
    let unreadable = report.unreadable.iter_mut().map(|file| &mut file.path);
    let pairs = report.near_duplicates.iter_mut();
    let pairs = pairs.flat_map(|pair| [&mut pair.first, &mut pair.second]);
    for path in groups.chain(unreadable).chain(pairs) {
        *path = text::unicode(path);
    }
}

fn describe(report: &CheckReport) -> String {
    let summary = &report.summary;
    let mut text = String::new();
    // Writing to a string cannot fail.
    let mut line = |name: &str, value: String| _ = writeln!(text, "{name:<12} {value}");
    let (train, holdout) = (summary.train as u64, summary.holdout as u64);
    line(
        "images",
        format!("{} to train, {} held out", text::count(train), text::count(holdout)),
    );
    if summary.other_files > 0 {
        line("other files", text::count(summary.other_files));
    }
    line("stored", text::bytes(summary.stored_bytes));
    line(
        "formats",
        counted(summary.formats.iter().map(|(name, &images)| (name.clone(), images))),
    );
    line(
        "modes",
        counted(summary.modes.iter().map(|(name, &images)| (name.clone(), images))),
    );
    line(
        "sizes",
        counted(summary.sizes.iter().map(|size| (size.size.to_string(), size.images))),
    );
    let shape = summary.shape;
    if shape.channels > 0 {
        let channels = text::channels(shape.channels);
        line(
            "resolution",
            format!("{}x{} {channels}", shape.width_px, shape.height_px),
        );
    }
    if report.classes.is_empty() {
        line("classes", "none".to_owned());
    } else {
        let classes = report.classes.iter().map(|class| (class.name.clone(), class.images));
        line("classes", format!("{}: {}", report.classes.len(), counted(classes)));
    }
    if let Some(imbalance) = report.imbalance {
        line(
            "imbalance",
            format!("the largest class has {imbalance:.1} times the images of the smallest"),
        );
    }
    let unreadable = report
        .unreadable
        .iter()
        .map(|file| format!("{}: {}", file.path.display(), file.reason));
    line("unreadable", listed(report.unreadable.len(), unreadable));
    let paths = |paths: &[PathBuf]| listed(paths.len(), paths.iter().map(|path| path.display().to_string()));
    let groups = report.exact_duplicates.iter().map(|group| {
        let names: Vec<_> = group
            .iter()
            .take(LISTED)
            .map(|path| path.display().to_string())
            .collect();
        names.join(" = ") + if group.len() > LISTED { " = …" } else { "" }
    });
    line("duplicates", listed(report.exact_duplicates.len(), groups));
    let pairs = report
        .near_duplicates
        .iter()
        .map(|pair| format!("{} ~ {}", pair.first.display(), pair.second.display()));
    line("near ones", listed(report.near_duplicate_pairs as usize, pairs));
    line("tiny", paths(&report.tiny));
    line("blank", paths(&report.blank));
    if report.gray_in_color > 0 {
        line(
            "gray",
            format!(
                "{} stored in color without any",
                text::plural(report.gray_in_color, "image")
            ),
        );
    }
    if report.leaked > 0 {
        line(
            "leaked",
            format!(
                "{} held out that also train, pixel for pixel",
                text::plural(report.leaked, "image")
            ),
        );
    }
    line(
        "verdict",
        if report.refused.is_some() {
            "training would refuse it"
        } else {
            "ready to train"
        }
        .to_owned(),
    );
    text
}

/// `a (3), b (2), and 4 more`.
fn counted(counts: impl Iterator<Item = (String, u64)>) -> String {
    const SHOWN: usize = 8;
    let counts: Vec<_> = counts
        .map(|(name, images)| format!("{name} ({})", text::count(images)))
        .collect();
    let mut text = counts.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
    if counts.len() > SHOWN {
        text += &format!(", and {} more", counts.len() - SHOWN);
    }
    if text.is_empty() { "none".to_owned() } else { text }
}

/// The number, and the first of them on lines of their own.
fn listed(count: usize, items: impl Iterator<Item = String>) -> String {
    let mut text = if count == 0 {
        "none".to_owned()
    } else {
        text::count(count as u64)
    };
    for item in items.take(LISTED) {
        text += &format!("\n             {item}");
    }
    if count > LISTED {
        text += &format!(
            "\n             and {} more; --json lists them",
            text::count((count - LISTED) as u64)
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_show_the_first_few() {
        let names = || (0..7).map(|i| format!("{i}.png"));
        assert_eq!(listed(0, std::iter::empty()), "none");
        assert_eq!(listed(2, names().take(2)), "2\n             0.png\n             1.png");
        assert!(listed(7, names()).ends_with("\n             4.png\n             and 2 more; --json lists them"));
        assert_eq!(
            counted((1..3).map(|i| (format!("m{i}"), 1000 * i))),
            "m1 (1,000), m2 (2,000)"
        );
        assert!(counted((0..9).map(|i| (i.to_string(), i))).ends_with(", and 1 more"));
        assert_eq!(counted(std::iter::empty()), "none");
    }
}
