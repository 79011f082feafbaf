//! The report of a grown dataset: the answer, what it rests on, and the images themselves.

use std::{fmt::Write, io::Write as _};

use super::{
    page::{SCRIPT, STYLE},
    pictures,
    text::{duration, escape, grouped, significant},
};
use crate::{
    error::Result,
    synthesize::{
        Differing, Gallery, Measured, Summary, UnlabeledSummary,
        measure::{Difference, Estimate, Setting},
    },
};

const OWN_STYLE: &str = include_str!("synthesis.css");

/// Writes the report of a grown dataset where its summary says.
pub(crate) fn write_synthesis(summary: &Summary, gallery: &Gallery) -> Result<()> {
    let page = page(summary, gallery);
    gander_formats::atomic::write_atomic(&summary.report, |file| file.write_all(page.as_bytes()))?;
    Ok(())
}

fn page(summary: &Summary, gallery: &Gallery) -> String {
    let name = summary.directory.file_name().unwrap_or(summary.directory.as_os_str());
    let name = escape(&name.to_string_lossy());
    let mut html = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; img-src data:; \
         style-src 'unsafe-inline'; script-src 'unsafe-inline'\">\n\
         <title>{name} · Gander</title>\n<style>\n{STYLE}{OWN_STYLE}</style>\n</head>\n<body>\n<main>\n"
    );
    let (class, word) = match summary.is_use {
        Some(true) => ("good", "Yes."),
        Some(false) => ("bad", "No."),
        None => ("calm", "Unknown."),
    };
    let _ = write!(
        html,
        "<header>\n<div class=\"eyebrow\"><p>Gander <span>·</span> synthetic images</p>\
         <button type=\"button\" id=\"theme\" aria-label=\"light or dark\">◐</button></div>\n<h1>{name}</h1>\n\
         <p class=\"verdict\">Do they help? <strong class=\"{class}\">{word}</strong> {}</p>\n</header>\n",
        escape(&summary.verdict)
    );
    html.push_str(&figures(summary));
    if let Some(measured) = &summary.measured {
        html.push_str(&settings(measured));
        html.push_str(&differences(measured));
    }
    html.push_str(&pictures(gallery));
    html.push_str(&classes(summary));
    if let Some(measured) = &summary.measured {
        html.push_str(&sweep(measured));
    }
    let _ = write!(html, "</main>\n<script>\n{SCRIPT}</script>\n</body>\n</html>\n");
    html
}

fn figures(summary: &Summary) -> String {
    let sum = |of: &dyn Fn(&crate::synthesize::ClassSummary) -> u64| -> String {
        grouped(summary.classes.iter().map(of).sum())
    };
    let figures = [
        ("real images learned from", grouped(summary.num_training as u64)),
        ("real images held out", grouped(summary.num_held_out as u64)),
        ("synthetic images written", sum(&|class| class.written as u64)),
        ("made in all", sum(&|class| class.filter.made)),
        ("turned away as copies", sum(&|class| class.filter.copies)),
        ("time", duration(summary.seconds)),
    ];
    let named = ("images without labels learned from", sum(&|class| class.named as u64));
    let figures = summary.unlabeled.as_ref().map(|_| named).into_iter().chain(figures);
    let cell = |(name, value): (&str, String)| format!("<div><dd>{value}</dd><dt>{name}</dt></div>");
    let cells: String = figures.map(cell).collect();
    format!("<dl class=\"figures\">{cells}</dl>\n")
}

/// A horizontal axis that several intervals share.
struct Axis {
    low: f64,
    high: f64,
}

impl Axis {
    fn around<'a>(estimates: impl Iterator<Item = &'a Estimate>) -> Self {
        let (low, high) = estimates.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), estimate| {
            (low.min(estimate.low), high.max(estimate.high))
        });
        let margin = ((high - low) * 0.08).max(1e-3);
        Self {
            low: low - margin,
            high: high + margin,
        }
    }

    fn percent(&self, value: f64) -> f64 {
        (100.0 * (value - self.low) / (self.high - self.low)).clamp(0.0, 100.0)
    }

    /// A line from end to end with a dot at the value; a rule at zero where the axis has one.
    fn whisker(&self, estimate: Estimate, class: &str) -> String {
        let [low, at, high] = [estimate.low, estimate.value, estimate.high].map(|value| self.percent(value));
        let zero = if self.low < 0.0 && self.high > 0.0 {
            format!("<s style=\"left:{:.2}%\"></s>", self.percent(0.0))
        } else {
            String::new()
        };
        format!(
            "<div class=\"whisker {class}\">{zero}<i style=\"left:{low:.2}%;width:{:.2}%\"></i>\
             <b style=\"left:{at:.2}%\"></b></div>",
            high - low
        )
    }
}

fn percent(estimate: Estimate) -> String {
    let [value, low, high] = [estimate.value, estimate.low, estimate.high].map(|share| 100.0 * share);
    format!("{value:.1} % <span class=\"aside\">{low:.1} to {high:.1}</span>")
}

fn points(estimate: Estimate) -> String {
    let [value, low, high] = [estimate.value, estimate.low, estimate.high].map(|share| 100.0 * share);
    format!("{value:+.1} <span class=\"aside\">{low:+.1} to {high:+.1}</span>")
}

/// The color of a gain: only an interval clear of zero has one.
fn color(gain: Estimate) -> &'static str {
    if gain.low > 0.0 {
        "good"
    } else if gain.high < 0.0 {
        "bad"
    } else {
        "soft"
    }
}

fn settings(measured: &Measured) -> String {
    let axis = Axis::around(measured.settings.iter().map(|scores| &scores.accuracy));
    let mut rows = String::new();
    for scores in &measured.settings {
        let class = if scores.setting == Setting::Both { "own" } else { "" };
        let _ = writeln!(
            rows,
            "<tr><td>{}</td><td class=\"drawn\">{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
            scores.setting.name(),
            axis.whisker(scores.accuracy, class),
            percent(scores.accuracy),
            percent(scores.mean_recall),
            percent(scores.calibration_error)
        );
    }
    let trials = match measured.trials_differ_in {
        Differing::Draws => "each with labeled images, a generator and a classifier of its own",
        Differing::Seeds => "each with a seed of its own for the classifier, on the same images and generator",
    };
    let flip = if measured.flip {
        "Images were mirrored, too."
    } else {
        "Images were not mirrored: mirrored ones look less like their class."
    };
    format!(
        "<section><h2>One classifier, four diets</h2><div class=\"wide\"><table><thead><tr><th></th>\
         <th></th><th>accuracy</th><th>mean recall</th><th>calibration error</th></tr></thead><tbody>\n{rows}\
         </tbody></table></div>\n<p class=\"note\">Answers on {} held-out real images that neither generator nor filter \
         nor classifier learned from; {} trials, {trials}. Every classifier saw {} images. Intervals hold 95 % of the \
         values when trials and held-out images are drawn anew. Classical: shifts by up to {:.0} % of the side, color, \
         cutout and mixup. {flip}</p></section>\n",
        grouped(measured.num_images as u64),
        measured.trials,
        grouped(measured.classifier_images),
        100.0 * measured.shift
    )
}

fn differences(measured: &Measured) -> String {
    let of = |difference: &Difference| {
        if measured.decided_by == "accuracy" {
            difference.accuracy
        } else {
            difference.mean_recall
        }
    };
    let all: Vec<Estimate> = measured.differences.iter().map(of).collect();
    let axis = Axis::around(all.iter());
    let mut rows = String::new();
    for (difference, &gain) in measured.differences.iter().zip(&all) {
        let _ = writeln!(
            rows,
            "<tr><td>{} <span class=\"aside\">over {}</span></td><td class=\"drawn\">{}</td><td>{} points</td></tr>",
            difference.of.name(),
            difference.over.name(),
            axis.whisker(gain, color(gain)),
            points(gain)
        );
    }
    format!(
        "<section><h2>What each adds</h2><div class=\"wide\"><table><thead><tr><th></th><th></th><th>{}</th></tr>\
         </thead><tbody>\n{rows}</tbody></table></div>\n<p class=\"note\">In pairs: the same seeds, the same held-out \
         images. The first line decides. A bar that crosses zero is no gain that can be told from chance.</p></section>\n",
        measured.decided_by
    )
}

fn pictures(gallery: &Gallery) -> String {
    let figure = |title: &str, picture: &image::DynamicImage, note: &str| {
        format!(
            "<figure class=\"card\"><figcaption><h2>{title}</h2></figcaption><div class=\"frames\"><img src=\"{}\" \
             alt=\"{title}\"></div><p class=\"note\">{note}</p></figure>\n",
            pictures::address_of(picture)
        )
    };
    let rows: Vec<String> = gallery.classes.iter().map(|class| escape(class)).collect();
    let rows = format!("Row by row: {}.", rows.join(", "));
    let mut html = String::from("<section class=\"gallery\">\n");
    html += &figure("Real", &gallery.real, &rows);
    html += &figure("Synthetic", &gallery.synthetic, &rows);
    html.push_str("</section>\n");
    if let Some(nearest) = &gallery.nearest {
        let note = "Above the real images, below the synthetic ones that came nearest to being turned away as their \
                    copies. Whoever sees one picture twice has found a copy that the limit let through.";
        let _ = write!(
            html,
            "<section class=\"gallery\">\n{}</section>\n",
            figure("The nearest to a copy", nearest, note)
        );
    }
    html
}

fn classes(summary: &Summary) -> String {
    let both = summary.measured.as_ref().and_then(|measured| {
        let of = |difference: &&Difference| (difference.of, difference.over) == (Setting::Both, Setting::Classical);
        measured.differences.iter().find(of)
    });
    let classical = summary.measured.as_ref().and_then(|measured| {
        measured
            .settings
            .iter()
            .find(|scores| scores.setting == Setting::Classical)
    });
    let of_named = |text: &str| summary.unlabeled.as_ref().map_or_else(String::new, |_| text.to_owned());
    let mut rows = String::new();
    let (mut recalls, mut gains) = (
        classical.map(|scores| scores.recall.iter()),
        both.map(|difference| difference.recall.iter()),
    );
    for class in &summary.classes {
        let counts = class.filter;
        let recall = recalls.as_mut().and_then(Iterator::next).copied();
        let gain = gains.as_mut().and_then(Iterator::next).copied();
        let short = if class.written < class.wanted {
            format!(" <span class=\"warn\">of {}</span>", grouped(class.wanted as u64))
        } else {
            String::new()
        };
        let cells = recall.zip(gain).map_or_else(String::new, |(recall, gain)| {
            format!(
                "<td>{}</td><td class=\"{}\">{}</td>",
                percent(recall),
                color(gain),
                points(gain)
            )
        });
        let named = of_named(&format!("<td>{}</td>", grouped(class.named as u64)));
        let _ = writeln!(
            rows,
            "<tr><td>{}</td><td>{}</td>{named}<td>{}{short}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td>{cells}</tr>",
            escape(&class.class),
            grouped(class.real as u64),
            grouped(class.written as u64),
            grouped(counts.made),
            grouped(counts.unsure),
            grouped(counts.copies),
            grouped(counts.repeats),
        );
    }
    let measured = if both.is_some() {
        "<th>recall, classical</th><th>both adds, points</th>"
    } else {
        ""
    };
    format!(
        "<section><h2>Class by class</h2><div class=\"wide\"><table><thead><tr><th>class</th><th>real</th>{}<th>written</th>\
         <th>made</th><th>unsure</th><th>copies</th><th>repeats</th>{measured}</tr></thead><tbody>\n{rows}</tbody></table></div>\n\
         <p class=\"note\">Of the images that were made, the classifier gave some less than even odds of being of their \
         class (unsure), some were nearer to a training image than training images of the class are to each other \
         (copies), some as near as that to one that was kept before (repeats).{}</p></section>\n",
        of_named("<th>taken</th>"),
        summary.unlabeled.as_ref().map_or_else(String::new, unlabeled)
    )
}

/// What became of the images without labels, in two sentences.
fn unlabeled(unlabeled: &UnlabeledSummary) -> String {
    if unlabeled.asked == 0 {
        return " The images without labels show nothing new.".into();
    }
    let left_out = match unlabeled.held_out {
        0 => String::new(),
        held_out => format!(
            " {} were held-out images or their mirror images, and left out.",
            grouped(held_out as u64)
        ),
    };
    let right = unlabeled.right.map_or_else(String::new, |right| {
        format!(" They are right about {:.1} % of the held-out images.", 100.0 * right)
    });
    format!(
        " Of {} images without labels, {} were taken for one of the classes, by {} that also learned to see the same in each and \
         its distortions: generator and filter learned from them too, classifiers without synthetic images did not.{right} Sure means 80 % here.{left_out}",
        grouped(unlabeled.asked as u64),
        grouped(unlabeled.named as u64),
        counted(unlabeled.effort.members, "classifier")
    )
}

fn counted(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

fn sweep(measured: &Measured) -> String {
    if measured.sweep.is_empty() {
        return String::new();
    }
    let axis = Axis::around(measured.sweep.iter().map(|tried| &tried.gain));
    let mut rows = String::new();
    for tried in &measured.sweep {
        let chosen = if tried.mix == measured.mix { " ← chosen" } else { "" };
        let _ = writeln!(
            rows,
            "<tr><td>{}</td><td>{:.0} %{chosen}</td><td class=\"drawn\">{}</td><td>{} points</td></tr>",
            significant(tried.mix.ratio),
            100.0 * tried.mix.share,
            axis.whisker(tried.gain, color(tried.gain)),
            points(tried.gain)
        );
    }
    format!(
        "<section><h2>How many, and how much weight</h2><div class=\"wide\"><table><thead><tr><th>synthetic for each real \
         one</th><th>share of what is shown</th><th></th><th>{} over classical</th></tr></thead><tbody>\n{rows}</tbody></table></div>\n\
         <p class=\"note\">Chosen on {} other held-out images, so that the choice says nothing of the scores above.</p>\
         </section>\n",
        measured.decided_by,
        grouped(measured.num_images_for_choosing as u64)
    )
}
