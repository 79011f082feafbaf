//! The translations of a run, to be scored against the set that they aim at and, where it is known, the truth.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Context;
use gander::{
    metrics::{Judge, Pair, PairScores, Score},
    run::RunDirectory,
    session,
    train::{
        RunConfig,
        config::DataConfig,
        defaults::{self, Material},
        trainer::Pairing,
    },
    translation::{Direction, Picture, ShippedTranslator},
};
use gander_data::{Dataset, InMemory, OpenOptions};
use gander_tensor::DeviceRef;

use super::{
    Arguments, NUM,
    images::{Joined, POTTERY, Reals, channels},
};
use crate::{progress, screen::Screen, text};

/// Images that were made from others.
pub(super) struct Translated {
    pub(super) images: InMemory,
    /// What they are made of, where that is known.
    inputs: Option<InMemory>,
    /// What they should be, where that is known.
    truths: Option<InMemory>,
    pairs: Vec<Score>,
}

impl Translated {
    fn new(images: InMemory, inputs: Option<InMemory>, truths: Option<InMemory>) -> anyhow::Result<Self> {
        let shape = images.shape();
        let (mut made, mut truth) = (vec![0; shape.bytes()], vec![0; shape.bytes()]);
        let mut scores = PairScores::default();
        for (truths, index) in truths
            .iter()
            .flat_map(|truths| (0..truths.len()).map(move |index| (truths, index)))
        {
            images.read(index, &mut made)?;
            truths.read(index, &mut truth)?;
            scores.add(Pair {
                made: &made,
                truth: &truth,
                width_px: shape.width_px,
                channels: shape.channels,
            })?;
        }
        let pairs = if truths.is_some() { scores.finish() } else { Vec::new() };
        Ok(Self {
            images,
            inputs,
            truths,
            pairs,
        })
    }

    /// The scores, those of pairs first.
    pub(super) fn with_pairs(&self, scores: Vec<Score>) -> Vec<Score> {
        self.pairs.iter().cloned().chain(scores).collect()
    }

    /// How far they are from the truth, and how much of the inputs stays, through the eyes of a judge.
    pub(super) fn distances(&self, judge: &Judge) -> anyhow::Result<Vec<Score>> {
        let truth = self.truths.as_ref().map(|truths| ("features", truths));
        let content = self.inputs.as_ref().map(|inputs| ("content", inputs));
        let partners = [truth, content];
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
    let Ok(config) = std::fs::read_to_string(run.config()) else {
        return Ok(None);
    };
    let mut config: RunConfig = config.parse::<toml::Table>()?.try_into()?;
    if !config.model.translates() {
        return Ok(None);
    }
    let mut material = defaults::material(config.model.family());
    if !arguments.data.is_empty() {
        config.data = DataConfig {
            sources: arguments.data.clone(),
            open: OpenOptions {
                holdout: None,
                channels: Some(channels(config.model.images().channels)),
                ..config.data.open
            },
            ..config.data
        };
        if arguments.paired {
            material = Material::Pairs;
        }
    }
    if config.data.sources == [Path::new(POTTERY)] && !config.data.sources[0].exists() {
        config.data.sources.clear();
    }
    let translator = ShippedTranslator::load(path, device)
        .with_context(|| format!("cannot load a translator from {}", path.display()))?;
    let bar = progress::spinner(screen, "reading the images");
    let held = session::held_out(&config, material).context("cannot read the images to translate")?;
    bar.finish_and_clear();

    let asked = arguments.num.map_or(*NUM.start(), |num| num as usize);
    let inputs = spread(held.inputs.as_ref(), asked)?;
    let truths = (held.pairing == Pairing::Paired).then(|| spread(held.targets.as_ref(), asked));
    let images = translate(&translator, &inputs, screen)?;
    let translated = Translated::new(images, Some(inputs), truths.transpose()?)?;
    let sources = if config.data.sources.is_empty() {
        vec![POTTERY.into()]
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

/// Pictures that anything made and the truth of the same names; the truth is what they are scored against.
pub(super) fn of_pairs(path: &Path, arguments: &Arguments, screen: &Screen) -> anyhow::Result<(Translated, Reals)> {
    let options = OpenOptions {
        size: arguments.resolution,
        ..OpenOptions::default()
    };
    let sources: Vec<PathBuf> = std::iter::once(path.to_owned())
        .chain(arguments.data.iter().cloned())
        .collect();
    let bar = progress::spinner(screen, "reading the images");
    let [made, truths] = gander_data::open_pairs(&sources, &options)
        .with_context(|| format!("cannot pair the images of {} with those of --data", path.display()))?;
    bar.finish_and_clear();
    if let Some(first) = made.skipped.first() {
        let count = text::plural(made.skipped.len() as u64, "image");
        let (path, reason) = (first.path.display(), &first.reason);
        screen.warn(format!("{count} left out of the pairs (the first: {path}: {reason})"));
    }
    let asked = arguments.num.map_or(*NUM.end(), |num| num as usize);
    let (made, truths) = (Joined::all_of(made), Arc::new(Joined::all_of(truths)));
    let translated = Translated::new(spread(&made, asked)?, None, Some(spread(truths.as_ref(), asked)?))?;
    let reals = Reals {
        images: truths.clone(),
        train: truths,
        holdout: None,
        split: "train",
        sources: arguments.data.clone(),
    };
    Ok((translated, reals))
}

/// At most `num` images of a set, evenly spread.
fn spread(set: &dyn Dataset, num: usize) -> anyhow::Result<InMemory> {
    let shape = set.shape();
    let num = set.len().min(num);
    let mut pixels = vec![0; num * shape.bytes()];
    for (index, pixels) in pixels.chunks_exact_mut(shape.bytes()).enumerate() {
        set.read(index * set.len() / num, pixels)?;
    }
    Ok(InMemory::new(shape, pixels)?)
}

/// What becomes of each input.
fn translate(translator: &ShippedTranslator, inputs: &InMemory, screen: &Screen) -> anyhow::Result<InMemory> {
    let shape = inputs.shape();
    let bar = progress::bar(screen, "translated images", inputs.len() as u64);
    let mut made = Vec::with_capacity(inputs.len() * shape.bytes());
    for index in 0..inputs.len() {
        let mut pixels = vec![0; shape.bytes()];
        inputs.read(index, &mut pixels)?;
        let picture = Picture {
            width_px: shape.width_px,
            height_px: shape.height_px,
            channels: shape.channels,
            pixels,
        };
        made.extend(translator.translate(&picture, Direction::ToB, &mut |_, _| ())?.pixels);
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(InMemory::new(shape, made)?)
}
