//! The page itself: every part of it from top to bottom.

use std::fmt::Write;

use toml::{Table, Value};

use super::{
    chart, pictures, plot,
    story::Story,
    text::{count, duration, escape, grouped, prose, short, significant},
};
use crate::{
    error::Result,
    events::{Metric, Reason, Severity},
    run::RunDirectory,
    train::defaults::{self, Material},
};

pub(super) const STYLE: &str = include_str!("page.css");
pub(super) const SCRIPT: &str = include_str!("page.js");

/// Scores that are shown without being asked for.
const SHOWN_SCORES: usize = 8;

/// The whole page.
pub(super) fn page(run: &RunDirectory, story: &Story) -> Result<String> {
    let name = escape(&story.name);
    let mut html = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; img-src data:; \
         style-src 'unsafe-inline'; script-src 'unsafe-inline'\">\n\
         <title>{name} · Gander</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n"
    );
    html.push_str(&header(story));
    html.push_str(&timeline(run, story)?);
    html.push_str(&figures(story));
    html.push_str(&diagnoses(story));
    html.push_str(&scores(story));
    html.push_str(&nearest(run));
    html.push_str(&curves(story));
    html.push_str(&settings(story));
    html.push_str(&next(run, story));
    let _ = write!(html, "</main>\n<script>\n{SCRIPT}</script>\n</body>\n</html>\n");
    Ok(html)
}

fn header(story: &Story) -> String {
    let dataset = story
        .started
        .as_ref()
        .map_or(story.name.as_str(), |started| started.dataset.as_str());
    let what = story.started.as_ref().map_or_else(String::new, |started| {
        format!(
            " <span>·</span> {} <span>·</span> {}×{}",
            escape(&started.family),
            started.width_px,
            started.height_px
        )
    });
    let (class, word, sentence) = verdict(story);
    format!(
        "<header>\n<div class=\"eyebrow\"><p>Gander <span>·</span> {}{what}</p>\
         <button type=\"button\" id=\"theme\" aria-label=\"light or dark\">◐</button></div>\n<h1>{}</h1>\n\
         <p class=\"verdict\"><strong class=\"{class}\">{word}</strong> {sentence}</p>\n</header>\n",
        escape(&story.name),
        escape(dataset)
    )
}

/// A class for its color, a word, and a sentence of what came of the run.
fn verdict(story: &Story) -> (&'static str, &'static str, String) {
    let images = format!("{} images in {}", grouped(story.images_seen), duration(story.seconds()));
    let (class, word, mut sentence) = match story.finished.as_ref().map(|finished| &finished.reason) {
        Some(Reason::Completed) => ("good", "Finished", format!("{images}, to the end of the plan.")),
        Some(Reason::Flat(why)) => (
            "good",
            "Finished",
            format!("{images}, then no better: {}.", escape(why)),
        ),
        Some(Reason::Stopped) => (
            "calm",
            "Stopped",
            format!("{images}, then stopped on request. It can go on."),
        ),
        Some(Reason::Failed(message)) => ("bad", "Failed", format!("{images}, then: {}.", escape(message))),
        None => (
            "calm",
            "Unfinished",
            format!("{images} so far: still training, or ended without a word."),
        ),
    };
    let warnings = story
        .diagnoses
        .iter()
        .filter(|diagnosis| diagnosis.severity > Severity::Note)
        .count();
    if warnings > 0 {
        let _ = write!(
            sentence,
            " <a href=\"#diagnosis\">{} below.</a>",
            count(warnings, "warning")
        );
    }
    (class, word, sentence)
}

/// The samples from fixed latents, from the first to the last, beside real images.
fn timeline(run: &RunDirectory, story: &Story) -> Result<String> {
    let moments = run.samples()?;
    let frames: Vec<(u64, String)> = pictures::spread(&moments)
        .into_iter()
        .filter_map(|moment| Some((moment.images_seen, pictures::embed(&moment.path)?)))
        .collect();
    let reals = pictures::embed(&run.reals());
    if frames.is_empty() && reals.is_none() {
        return Ok(String::new());
    }
    let mut html = String::from("<section class=\"gallery\">\n");
    if let Some(last) = frames.len().checked_sub(1) {
        html.push_str(
            "<figure class=\"card\"><figcaption><h2>Samples</h2><output></output></figcaption><div class=\"frames\">",
        );
        for (at, (images_seen, address)) in frames.iter().enumerate() {
            let when = format!(
                "{} images, {}",
                grouped(*images_seen),
                duration(story.seconds_at(*images_seen))
            );
            let hidden = if at == last { "" } else { " hidden" };
            let _ = write!(
                html,
                "<img src=\"{address}\" alt=\"samples after {when}\" data-when=\"{when}\"{hidden}>"
            );
        }
        let _ = writeln!(
            html,
            "</div><div class=\"player\"><button type=\"button\" class=\"play\" aria-label=\"play\">▶</button>\
             <input type=\"range\" min=\"0\" max=\"{last}\" value=\"{last}\" aria-label=\"moment of the run\"></div>\
             </figure>"
        );
    }
    if let Some(address) = reals {
        let images = story
            .started
            .as_ref()
            .map_or_else(String::new, |s| format!("of {} images", grouped(s.num_images)));
        let _ = writeln!(
            html,
            "<figure class=\"card\"><figcaption><h2>Real</h2><span class=\"aside\">{images}</span></figcaption>\
             <div class=\"frames\"><img src=\"{address}\" alt=\"real images\"></div>\
             <p class=\"note\">{}</p></figure>",
            note(story)
        );
    }
    html.push_str("</section>\n");
    Ok(html)
}

/// What the places of the samples keep along the slider.
fn note(story: &Story) -> &'static str {
    match story.started.as_ref().map(|started| started.family.as_str()) {
        Some("pix2pix") => {
            "Three tiles of the samples belong together: input, output, truth. The inputs stay the same."
        }
        Some("cyclegan") => {
            "Three tiles of the samples belong together: input, output, and the input as it comes back from the \
             output; in turn from the one collection and from the other. The inputs stay the same."
        }
        Some("cut" | "fastcut" | "sincut") => {
            "The tiles of the samples belong together in order: input, output and, where it is known, truth. The \
             inputs stay the same."
        }
        _ => {
            "Each place of the samples keeps its own latent vector: what changes along the slider is the generator alone."
        }
    }
}

fn figures(story: &Story) -> String {
    let seconds = story.seconds();
    let mut figures = vec![
        ("images seen", grouped(story.images_seen)),
        ("training time", duration(seconds)),
        (
            "images per second",
            if seconds > 0.0 {
                short(story.images_seen as f64 / seconds)
            } else {
                "–".into()
            },
        ),
    ];
    if let Some(started) = &story.started {
        figures.push(("generator parameters", short(started.generator_parameters as f64)));
        figures.push((
            "discriminator parameters",
            short(started.discriminator_parameters as f64),
        ));
        figures.push(("training images", grouped(started.num_images)));
    }
    if story.finished.is_none()
        && let Some(eta) = story.ticks.last().and_then(|tick| tick.eta_seconds)
    {
        figures.push(("left", duration(eta)));
    }
    let cell = |(name, value): &(&str, String)| format!("<div><dd>{value}</dd><dt>{name}</dt></div>");
    let cells: String = figures.iter().map(cell).collect();
    format!("<dl class=\"figures\">{cells}</dl>\n")
}

fn diagnoses(story: &Story) -> String {
    if story.diagnoses.is_empty() && story.corrections.is_empty() {
        return String::new();
    }
    let mut html = String::from("<section id=\"diagnosis\"><h2>Diagnosis</h2><ul class=\"diagnoses\">\n");
    for diagnosis in &story.diagnoses {
        let (class, word) = match diagnosis.severity {
            Severity::Note => ("calm", "note"),
            Severity::Warning => ("warn", "warning"),
            Severity::Problem => ("bad", "problem"),
        };
        let (name, advice) = (prose(&diagnosis.name), prose(&diagnosis.advice));
        let at = moment(diagnosis.images_seen);
        let _ = writeln!(
            html,
            "<li><strong class=\"{class}\">{word}</strong><div><b>{name}</b> <span class=\"aside\">{at}</span><p>{advice}</p></div></li>"
        );
    }
    // A plan that is fitted to the clock changes often by little; the last changes say where it went.
    for (images_seen, what, why) in story.corrections.iter().rev().take(3) {
        let (what, why, at) = (prose(what), prose(why), moment(*images_seen));
        let _ = writeln!(
            html,
            "<li><strong class=\"calm\">plan</strong><div><b>{what}</b> <span class=\"aside\">{at}</span><p>{why}</p></div></li>"
        );
    }
    html.push_str("</ul></section>\n");
    html
}

fn moment(images_seen: u64) -> String {
    if images_seen == 0 {
        "at the start".into()
    } else {
        format!("after {} images", grouped(images_seen))
    }
}

fn scores(story: &Story) -> String {
    if story.metrics.is_empty() {
        return String::new();
    }
    let is_best = |metric: &Metric| {
        let same = story.metrics.iter().filter(|other| other.name == metric.name);
        let values: Vec<f64> = same.map(|other| other.value).collect();
        // Of the scores that a run takes of itself, which are distances.
        values.len() > 1 && metric.name.starts_with("fid") && values.iter().all(|&value| metric.value <= value)
    };
    let row = |metric: &Metric| {
        let end = |value: Option<f64>| value.map_or("–".into(), significant);
        let interval = match (metric.low, metric.high) {
            (None, None) => "–".into(),
            (low, high) => format!("{} to {}", end(low), end(high)),
        };
        let (name, value) = (escape(&metric.name), significant(metric.value));
        let at = grouped(metric.images_seen);
        let best = if is_best(metric) {
            " <strong class=\"good\">best</strong>"
        } else {
            ""
        };
        format!("<tr><td>{name}{best}</td><td>{at}</td><td>{value}</td><td>{interval}</td></tr>\n")
    };
    // The last few and the best; the others are in the curve.
    let (shown, folded): (Vec<_>, Vec<_>) = story
        .metrics
        .iter()
        .rev()
        .enumerate()
        .partition(|(place, metric)| *place < SHOWN_SCORES || is_best(metric));
    let table = |rows: &[(usize, &Metric)]| {
        let rows: String = rows.iter().map(|(_, metric)| row(metric)).collect();
        format!(
            "<div class=\"wide\"><table><thead><tr><th>metric</th><th>images seen</th><th>value</th><th>interval</th></tr>\
             </thead><tbody>\n{rows}</tbody></table></div>"
        )
    };
    let folded = if folded.is_empty() {
        String::new()
    } else {
        format!(
            "<details><summary>{} earlier</summary>{}</details>",
            folded.len(),
            table(&folded)
        )
    };
    format!("<section><h2>Scores</h2>{}{folded}</section>\n", table(&shown))
}

/// Samples above the training images that they are most like.
fn nearest(run: &RunDirectory) -> String {
    let Some(address) = pictures::embed(&run.nearest()) else {
        return String::new();
    };
    format!(
        "<section class=\"gallery\"><figure class=\"card\"><figcaption><h2>Nearest training images</h2></figcaption>\
         <div class=\"frames\"><img src=\"{address}\" alt=\"samples above their nearest training images\"></div>\
         <p class=\"note\">Of 200 samples, the sixteen most like a single training image, which stands below each: two of a \
         kind are a copy.</p></figure></section>\n"
    )
}

fn curves(story: &Story) -> String {
    let plots = plot::plots(story);
    if plots.is_empty() {
        return String::new();
    }
    let figures: String = plots.iter().map(chart::figure).collect();
    format!(
        "<section><h2>Curves</h2><p class=\"note\">Over thousands of images seen. Bold: smoothed; faint: as \
         measured.</p><div class=\"charts\">\n{figures}</div></section>\n"
    )
}

fn settings(story: &Story) -> String {
    let mut groups = Vec::new();
    let run: Table = story
        .settings
        .iter()
        .filter(|(_, value)| !value.is_table())
        .map(own)
        .collect();
    groups.push(("run".to_owned(), rows(&run, "")));
    for (name, value) in &story.settings {
        if let Value::Table(table) = value {
            groups.push((name.clone(), rows(table, "")));
        }
    }
    if let Some(started) = &story.started {
        let machine = &started.machine;
        let facts = [
            ("platform", machine.platform.clone()),
            ("instruction set", machine.isa.clone()),
            ("precision", machine.precision.clone()),
            ("threads", machine.threads.to_string()),
            ("gander", started.program.clone()),
        ];
        groups.push((
            "machine".into(),
            facts.into_iter().map(|(name, value)| (name.into(), value)).collect(),
        ));
    }
    groups.retain(|(_, rows)| !rows.is_empty());
    if groups.is_empty() {
        return String::new();
    }
    let row =
        |(name, value): &(String, String)| format!("<tr><td>{}</td><td>{}</td></tr>", escape(name), escape(value));
    let group = |(name, rows): &(String, Vec<(String, String)>)| {
        let rows: String = rows.iter().map(row).collect();
        format!(
            "<div class=\"card group\"><h3>{}</h3><table><tbody>{rows}</tbody></table></div>\n",
            escape(name)
        )
    };
    let groups: String = groups.iter().map(group).collect();
    let mut rationale = String::new();
    for line in story.started.iter().flat_map(|started| &started.rationale) {
        let _ = write!(rationale, "<li>{}</li>", escape(line));
    }
    if !rationale.is_empty() {
        rationale = format!("<ul class=\"note\">{rationale}</ul>\n");
    }
    format!("<section><h2>Settings</h2>{rationale}<div class=\"groups\">\n{groups}</div></section>\n")
}

fn own((name, value): (&String, &Value)) -> (String, Value) {
    (name.clone(), value.clone())
}

/// Settings by their path, as `--set` takes them.
fn rows(table: &Table, before: &str) -> Vec<(String, String)> {
    let row = |(name, value): (&String, &Value)| match value {
        Value::Table(inner) => rows(inner, &format!("{before}{name}.")),
        Value::String(text) => vec![(format!("{before}{name}"), text.clone())],
        other => vec![(format!("{before}{name}"), other.to_string())],
    };
    table.iter().flat_map(row).collect()
}

fn next(run: &RunDirectory, story: &Story) -> String {
    let path = run.path().to_string_lossy();
    let is_plain = path.chars().all(|c| c.is_alphanumeric() || "/._-\\:".contains(c));
    let path = if is_plain {
        path.into_owned()
    } else {
        format!("\"{path}\"")
    };
    let path = escape(&path);
    let translates = |family: &str| defaults::material(family) != Material::Images;
    let use_it = if story
        .started
        .as_ref()
        .is_some_and(|started| translates(&started.family))
    {
        format!("gander translate {path} photo.jpg --out translated/")
    } else {
        format!("gander sample {path} --num 64 --grid samples.png")
    };
    format!(
        "<footer><h2>Go on</h2><pre><code>{use_it}\n\
         gander train --resume {path}</code></pre></footer>\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::{Diagnosis, RunFinished};

    #[test]
    fn the_verdict_says_how_it_ended() {
        let verdict_of = |reason: Option<Reason>| {
            let finished = reason.map(|reason| RunFinished {
                images_seen: 1500,
                seconds: 61.0,
                reason,
            });
            verdict(&Story {
                finished,
                images_seen: 1500,
                ..Story::default()
            })
        };
        let (class, word, sentence) = verdict_of(Some(Reason::Completed));
        assert_eq!((class, word), ("good", "Finished"));
        assert_eq!(sentence, "1,500 images in 1 min 1 s, to the end of the plan.");
        assert_eq!(
            verdict_of(Some(Reason::Failed("<x>".into()))).2,
            "1,500 images in 1 min 1 s, then: &lt;x&gt;."
        );
        assert_eq!(verdict_of(None).1, "Unfinished");
    }

    #[test]
    fn warnings_are_counted_and_notes_are_not() {
        let diagnosis = |severity| Diagnosis {
            images_seen: 1,
            severity,
            name: "a".into(),
            advice: "b".into(),
        };
        let diagnoses = vec![diagnosis(Severity::Warning), diagnosis(Severity::Note)];
        let story = Story {
            diagnoses,
            ..Story::default()
        };
        assert!(verdict(&story).2.contains("1 warning below"));
        assert_eq!(self::diagnoses(&story).matches("<li>").count(), 2);
    }

    #[test]
    fn settings_stand_by_their_path() {
        let table: Table = "a = 1\n[b]\nc = [1, 2]\n[b.d]\ne = \"text\"".parse().unwrap();
        let rows = rows(&table, "");
        let rows: Vec<(&str, &str)> = rows
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        assert_eq!(rows, [("a", "1"), ("b.c", "[1, 2]"), ("b.d.e", "text")]);
    }
}
