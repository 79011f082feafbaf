//! The translations of a run, to be scored against the set that they aim at and, where it is known, the truth.

use std::path::Path;

use anyhow::Context;
use gander::{
    metrics::{Judge, Pair, PairScores, Score},
    run::RunDirectory,
    session,
    train::{RunConfig, trainer::Pairing},
    translation::{Direction, Picture, ShippedTranslator},
};
use gander_data::InMemory;
use gander_tensor::DeviceRef;

use super::{Arguments, NUM, images::Reals};
use crate::{failure::refuse, progress, screen::Screen};

/// What a run made of images that it has not seen.
pub(super) struct Translated {
    pub(super) images: InMemory,
    inputs: InMemory,
    /// What they should be, where that is known.
    truths: Option<InMemory>,
    pairs: Vec<Score>,
}

impl Translated {
    /// The scores, those of pairs first.
    pub(super) fn with_pairs(&self, scores: Vec<Score>) -> Vec<Score> {
        self.pairs.iter().cloned().chain(scores).collect()
    }

    /// How far they are from the truth, and how much of the inputs stays, through the eyes of a judge.
    pub(super) fn distances(&self, judge: &Judge) -> anyhow::Result<Vec<Score>> {
        let truth = self.truths.as_ref().map(|truths| ("features", truths));
        let partners = [truth, Some(("content", &self.inputs))];
        let distances = partners.into_iter().flatten();
        let distances = distances.map(|(score, partners)| judge.distance(score, [&self.images, partners]));
        Ok(distances
            .collect::<Result<Vec<_>, _>>()?
            .into_iter()
            .flatten()
            .collect())
    }
}

/// The translations of a run and what they are scored against; `None` if the path is no run that translates.
pub(super) fn of_run(
    path: &Path,
    arguments: &Arguments,
    device: &DeviceRef,
    screen: &Screen,
) -> anyhow::Result<Option<(Translated, Reals)>> {
    let Ok(run) = RunDirectory::open(path) else {
        return Ok(None);
    };
    let Ok(text) = std::fs::read_to_string(run.config()) else {
        return Ok(None);
    };
    let config: RunConfig = text.parse::<toml::Table>()?.try_into()?;
    if !config.model.translates() {
        return Ok(None);
    }
    if !arguments.data.is_empty() {
        return Err(refuse(
            "a run that translates is scored on its own data",
            "leave --data out; `gander eval FOLDER --data DATA` scores pictures that `gander translate` made",
        ));
    }
    let translator = ShippedTranslator::load(path, device)
        .with_context(|| format!("cannot load a translator from {}", path.display()))?;
    let bar = progress::spinner(screen, "reading the images");
    let held = session::held_out(&config).context("cannot read the images of the run")?;
    bar.finish_and_clear();

    let shape = held.inputs.shape();
    let asked = arguments.num.map_or(*NUM.start(), |num| num as usize);
    let num = held.inputs.len().min(asked);
    let bar = progress::bar(screen, "translated images", num as u64);
    let (mut pixels, mut scores) = (Vec::with_capacity(num * shape.bytes()), PairScores::default());
    let (mut inputs, mut truths) = (Vec::new(), Vec::new());
    let mut truth = vec![0; shape.bytes()];
    for index in 0..num {
        let index = index * held.inputs.len() / num;
        let mut input = vec![0; shape.bytes()];
        held.inputs.read(index, &mut input)?;
        inputs.extend_from_slice(&input);
        let picture = Picture {
            width_px: shape.width_px,
            height_px: shape.height_px,
            channels: shape.channels,
            pixels: input,
        };
        let made = translator.translate(&picture, Direction::ToB, &mut |_, _| ())?;
        if held.pairing == Pairing::Paired {
            held.targets.read(index, &mut truth)?;
            scores.add(Pair {
                made: &made.pixels,
                truth: &truth,
                width_px: shape.width_px,
                channels: shape.channels,
            })?;
            truths.extend_from_slice(&truth);
        }
        pixels.extend(made.pixels);
        bar.inc(1);
    }
    bar.finish_and_clear();
    let is_paired = held.pairing == Pairing::Paired;
    let translated = Translated {
        images: InMemory::new(shape, pixels)?,
        inputs: InMemory::new(shape, inputs)?,
        truths: is_paired.then(|| InMemory::new(shape, truths)).transpose()?,
        pairs: if is_paired { scores.finish() } else { Vec::new() },
    };
    let sources = if config.data.sources.is_empty() {
        vec!["pottery".into()]
    } else {
        config.data.sources
    };
    let reals = Reals {
        images: held.targets.clone(),
        train: held.trained_on,
        holdout: held.is_held_out.then_some(held.targets),
        split: if held.is_held_out { "holdout" } else { "train" },
        sources,
    };
    Ok(Some((translated, reals)))
}
