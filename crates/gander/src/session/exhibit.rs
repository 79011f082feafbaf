//! What a run shows: pictures of the same latents or the same images all along, and how near translations are to the truth.

use gander_data::{Dataset, ImageShape, label_counts};
use gander_tensor::{RandomKey, Tensor, no_grad};
use image::DynamicImage;

use super::planning::Data;
use crate::{
    error::{Error, Result},
    events::Metric,
    images::{self, GridOptions, Tiles},
    metrics::Score,
    models::translator::{Statistics, Translator},
    shipped::{draw_class, generate, to_bytes},
    train::{Trainer, contest::Product},
    translation,
};

/// Images that are made at once.
const BATCH: usize = 16;

/// Pairs that a run's translations are scored on at its end.
const SCORED_PAIRS: usize = 200;

/// What the pictures of a run show.
pub(super) trait Exhibit {
    /// Real images, as many as of the samples.
    fn reals(&self, trainer: &Trainer) -> Result<DynamicImage>;
    /// What the run makes now.
    fn now(&self, trainer: &Trainer) -> Result<DynamicImage>;
}

/// The pictures of a run.
pub(super) fn of(trainer: &Trainer, data: &Data) -> Result<Box<dyn Exhibit>> {
    Ok(match trainer.state.contest.product() {
        Product::Generator(_) => Box::new(FixedLatents::new(trainer)?),
        Product::Translators { to_a, .. } => Box::new(FixedExamples::new(trainer, data, to_a.is_some())?),
    })
}

/// How far translations of held-out images are from the truth, where it is known.
pub(super) fn score_translation(trainer: &Trainer, data: &Data) -> Result<Vec<Metric>> {
    let Product::Translators { to_b, .. } = trainer.state.contest.product() else {
        return Ok(Vec::new());
    };
    let Some([inputs, truths]) = data.held_out_pairs() else {
        return Ok(Vec::new());
    };
    let scores = translation::score(to_b, [inputs.as_ref(), truths.as_ref()], SCORED_PAIRS, trainer.device())?;
    let images_seen = trainer.state.progress.images_seen;
    let metric = |score: Score| Metric {
        images_seen,
        name: score.name,
        value: score.value,
        low: None,
        high: None,
    };
    Ok(scores.into_iter().map(metric).collect())
}

fn grid(bytes: &[u8], shape: ImageShape, columns: usize) -> Result<DynamicImage> {
    let ImageShape {
        height_px,
        width_px,
        channels,
    } = shape;
    let tiles = Tiles {
        num: bytes.len() / shape.bytes(),
        height_px,
        width_px,
        channels,
    };
    let options = GridOptions {
        columns,
        ..GridOptions::default()
    };
    images::grid(bytes, tiles, options)
}

/// `count` images of a set, evenly spread.
fn spread(dataset: &dyn Dataset, count: usize) -> Result<Vec<u8>> {
    let bytes = dataset.shape().bytes();
    let mut pixels = vec![0; count.min(dataset.len()) * bytes];
    let stride = dataset.len() / count.clamp(1, dataset.len());
    for (i, pixels) in pixels.chunks_exact_mut(bytes).enumerate() {
        dataset.read(i * stride, pixels)?;
    }
    Ok(pixels)
}

/// Latents and labels of the pictures of progress, the same all along.
struct FixedLatents {
    latents: Tensor,
    labels: Option<Vec<u32>>,
    shape: ImageShape,
    columns: usize,
}

impl FixedLatents {
    fn new(trainer: &Trainer) -> Result<Self> {
        let (shape, state) = (trainer.dataset().shape(), &trainer.state);
        let (columns, rows) = images::grid_size(shape.width_px, shape.height_px);
        let key = RandomKey::from_seed(trainer.config.seed).named("fixed samples");
        let product = state.contest.product();
        let latents = generator(product, trainer)?.latents(key.named("latents"), columns * rows, trainer.device())?;
        let num_classes = trainer.config.model.images().num_classes;
        // One class a column where they fit, so that a column shows what a class looks like.
        let counts = label_counts(trainer.dataset().as_ref());
        let label = |i: usize| match num_classes {
            classes if classes <= columns => (i % columns % classes) as u32,
            _ => draw_class(&counts, key.named("labels").split(i as u64)),
        };
        let labels = (num_classes > 0).then(|| (0..columns * rows).map(label).collect());
        Ok(Self {
            latents,
            labels,
            shape,
            columns,
        })
    }
}

fn generator<'a>(product: Product<'a>, trainer: &Trainer) -> Result<&'a dyn crate::models::Generator> {
    let translates = Error::Translates {
        family: trainer.config.model.family(),
    };
    match product {
        Product::Generator(generator) => Ok(generator),
        Product::Translators { .. } => Err(translates),
    }
}

impl Exhibit for FixedLatents {
    fn reals(&self, trainer: &Trainer) -> Result<DynamicImage> {
        let pixels = spread(trainer.dataset().as_ref(), self.latents.side(0))?;
        grid(&pixels, self.shape, self.columns)
    }

    /// The averaged generator's images, some at a time.
    fn now(&self, trainer: &Trainer) -> Result<DynamicImage> {
        let generator = generator(trainer.state.contest.product(), trainer)?;
        let count = self.latents.side(0);
        let mut bytes = Vec::new();
        for start in (0..count).step_by(BATCH) {
            let end = (start + BATCH).min(count);
            let labels = self.labels.as_ref().map(|labels| &labels[start..end]);
            let latents = self.latents.slice(0, start, end)?;
            bytes.extend(generate(generator, &latents, labels, trainer.device())?);
        }
        grid(&bytes, self.shape, self.columns)
    }
}

/// Images that are translated for the pictures of progress, the same all along: held-out ones where there are any.
///
/// Each example is a few tiles in a row: input, output and truth of a pair; input, output and the way back where the
/// family learns it, in turn from A and from B; else input and output.
struct FixedExamples {
    a: Vec<u8>,
    b: Vec<u8>,
    shape: ImageShape,
    tiles: usize,
    columns: usize,
    is_paired: bool,
}

impl FixedExamples {
    fn new(trainer: &Trainer, data: &Data, learns_the_way_back: bool) -> Result<Self> {
        let shape = trainer.dataset().shape();
        let missing = || Error::InvalidConfig {
            reason: "a family that translates needs two sets of images".into(),
        };
        let partners = data.partners.as_ref().ok_or_else(missing)?;
        let held = data.holdout.as_ref().zip(data.held_out_partners.as_ref());
        let pairs = data.held_out_pairs().filter(|_| !learns_the_way_back);
        let is_paired = pairs.is_some();
        let [a, b] = pairs
            .or_else(|| held.map(|(a, b)| [a, &b.images]))
            .unwrap_or([&data.train, &partners.images]);
        let tiles = if is_paired || learns_the_way_back { 3 } else { 2 };
        let (columns, rows) = images::grid_size(shape.width_px, shape.height_px);
        let beside = (columns / tiles).max(1);
        let count = beside * rows;
        Ok(Self {
            a: spread(a.as_ref(), count)?,
            b: spread(b.as_ref(), count)?,
            shape,
            tiles,
            columns: beside * tiles,
            is_paired,
        })
    }

    fn translated(&self, translator: &dyn Translator, pixels: &[u8], trainer: &Trainer) -> Result<Vec<u8>> {
        let mut made = Vec::with_capacity(pixels.len());
        for chunk in pixels.chunks(BATCH * self.shape.bytes()) {
            let images = images::to_tensor(chunk, self.shape, trainer.device())?;
            let images = no_grad(|| translator.translate(&images, &Statistics::own()))?;
            made.extend(to_bytes(&images.to_vec()?));
        }
        Ok(made)
    }

    /// Tiles of several kinds, in turn.
    fn in_turn(&self, kinds: &[&[u8]]) -> Vec<u8> {
        let bytes = self.shape.bytes();
        let count = kinds.iter().map(|kind| kind.len() / bytes).min().unwrap_or(0);
        let tile = |index: usize| {
            kinds
                .iter()
                .flat_map(move |kind| kind[index * bytes..(index + 1) * bytes].iter().copied())
        };
        (0..count).flat_map(tile).collect()
    }
}

impl Exhibit for FixedExamples {
    fn reals(&self, _: &Trainer) -> Result<DynamicImage> {
        grid(
            &self.in_turn(&[&self.a, &self.b]),
            self.shape,
            self.columns / self.tiles * 2,
        )
    }

    fn now(&self, trainer: &Trainer) -> Result<DynamicImage> {
        let Product::Translators { to_b, to_a } = trainer.state.contest.product() else {
            return Err(Error::MakesFromLatents {
                family: trainer.config.model.family(),
            });
        };
        let there = self.translated(to_b, &self.a, trainer)?;
        let bytes = match to_a {
            Some(to_a) => {
                let back = self.translated(to_a, &there, trainer)?;
                let from_b = self.translated(to_a, &self.b, trainer)?;
                let back_to_b = self.translated(to_b, &from_b, trainer)?;
                let example = self.tiles * self.shape.bytes();
                let forth = self.in_turn(&[&self.a, &there, &back]);
                let other = self.in_turn(&[&self.b, &from_b, &back_to_b]);
                let in_turn = forth.chunks(example).zip(other.chunks(example)).enumerate();
                in_turn
                    .flat_map(|(index, (forth, other))| if index % 2 == 0 { forth } else { other })
                    .copied()
                    .collect()
            }
            None if self.is_paired => self.in_turn(&[&self.a, &there, &self.b]),
            None => self.in_turn(&[&self.a, &there]),
        };
        grid(&bytes, self.shape, self.columns)
    }
}
