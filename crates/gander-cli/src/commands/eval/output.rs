//! What is printed: a table for people, JSON for programs.

use std::path::{Path, PathBuf};

use gander::metrics::{Better, Interval, Judge, Score};
use serde::Serialize;

use super::{images::Reals, space::Chosen};
use crate::text;

/// Everything that an evaluation says.
#[derive(Debug, Serialize)]
pub(super) struct Evaluation {
    version: u32,
    images: PathBuf,
    num_fake: usize,
    data: Vec<PathBuf>,
    split: &'static str,
    num_real: usize,
    height_px: usize,
    width_px: usize,
    channels: usize,
    features: String,
    features_reason: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    classifier: Option<ClassifierFacts>,
    /// Of the file with the network's weights.
    #[serde(skip_serializing_if = "Option::is_none")]
    weights_sha256: Option<String>,
    /// Sets that were drawn for the intervals.
    resamples: usize,
    seed: u64,
    scores: Vec<Score>,
}

/// How good the classifier is that looked.
#[derive(Debug, Serialize)]
struct ClassifierFacts {
    accuracy: f64,
    held_out: usize,
    images_seen: u64,
}

impl Evaluation {
    pub(super) fn new(
        (images, seed): (&Path, u64),
        reals: &Reals,
        judge: &Judge,
        space: &Chosen,
        (scores, num_fake, resamples): (Vec<Score>, usize, usize),
    ) -> Self {
        let shape = judge.shape();
        Self {
            version: 1,
            images: text::unicode(images),
            num_fake,
            data: reals.sources.iter().map(|path| text::unicode(path)).collect(),
            split: reals.split,
            num_real: judge.num_real(),
            height_px: shape.height_px,
            width_px: shape.width_px,
            channels: shape.channels,
            features: space.space.name().to_owned(),
            features_reason: space.reason,
            classifier: space.classifier.as_ref().map(|header| ClassifierFacts {
                accuracy: header.accuracy(),
                held_out: header.held_out,
                images_seen: header.images_seen,
            }),
            weights_sha256: space.weights_sha256.clone(),
            resamples,
            seed,
            scores,
        }
    }

    /// A line for each score.
    pub(super) fn table(&self) -> String {
        table(&self.scores.iter().collect::<Vec<_>>())
    }
}

/// A line for each score: name, value, interval, direction.
pub(super) fn table(scores: &[&Score]) -> String {
    let cells: Vec<[String; 3]> = scores
        .iter()
        .map(|score| [score.name.clone(), value(score.value), interval(score.interval)])
        .collect();
    let width = |column: usize| cells.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let widths = [0, 1, 2].map(width);
    let line = |(cells, score): (&[String; 3], &&Score)| {
        let [name, value, interval] = cells;
        let better = match score.better {
            Better::Lower => "lower is better",
            Better::Higher => "higher is better",
        };
        let [a, b, c] = widths;
        format!("{name:a$}  {value:>b$}  {interval:c$}  {better}\n")
    };
    cells.iter().zip(scores).map(line).collect()
}

/// Four digits that count, for a kernel distance of thousandths as for a Fréchet distance of hundreds.
fn value(value: f64) -> String {
    let digits = if value == 0.0 {
        0
    } else {
        value.abs().log10().floor() as i32
    };
    format!("{value:.*}", (3 - digits).clamp(0, 6) as usize)
}

fn interval(interval: Option<Interval>) -> String {
    interval.map_or_else(String::new, |interval| {
        format!("{} to {}", value(interval.low), value(interval.high))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_four_digits() {
        assert_eq!(
            [0.0, 0.001_234_5, 0.5, 7.0, 12.345, 306.0, 12_345.6].map(value),
            ["0.000", "0.001234", "0.5000", "7.000", "12.35", "306.0", "12346"]
        );
    }
}
