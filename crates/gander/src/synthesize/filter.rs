//! Which images of a generator are kept: surely of their class, no copies, unlike each other.

use std::time::{Duration, Instant};

use gander_data::{ImageShape, parallel};
use serde::Serialize;

use super::{
    Tell,
    classifier::Synthetic,
    copies::{Copies, Thumbnails},
    naming::Committee,
};
use crate::{
    error::Result,
    shipped::{SampleOptions, ShippedGenerator},
};

/// The probability that the classifier must give to the label. It learned from the same few images and is often too
/// sure, so that this is little more than its first choice.
pub const MIN_CONFIDENCE: f32 = 0.5;

/// The same of classifiers that named unlabeled images: they learned their own mistakes too, and repeat them surely. Of
/// Fashion-MNIST, 50 labels a class, a classifier of all labels agreed with 77 % of the images at even odds or more, with
/// 86 % of those from here on.
pub const MIN_CONFIDENCE_AFTER_NAMING: f32 = 0.8;

/// Images that are made for each that is wanted, at most.
const CANDIDATES: usize = 8;
/// Images that are made between two looks.
const CHUNK: usize = 100;

/// An image that was kept.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Kept {
    /// What `gander sample --seeds` makes it from again.
    pub(super) seed: u64,
    /// The probability that the classifier gives to its label.
    pub(super) confidence: f32,
    /// Distance to the nearest training image.
    pub(super) nearest_training: f32,
    /// Index of that image among the training images.
    #[serde(skip)]
    pub(super) nearest_index: usize,
    /// Distance to the nearest image of its class that was kept before.
    pub(super) nearest_sibling: Option<f32>,
}

/// How many images of a class were made, and what became of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Counts {
    /// Images that the generator made.
    pub made: u64,
    /// Kept.
    pub kept: u64,
    /// The classifier was not sure enough of the label.
    pub unsure: u64,
    /// Nearer to a training image than training images are to each other.
    pub copies: u64,
    /// As near as that to one that was kept before.
    pub repeats: u64,
}

/// Who decides.
pub(super) struct Filter<'a> {
    pub(super) classifier: &'a Committee,
    pub(super) copies: &'a Copies,
    /// The probability that the classifiers must give to the label.
    pub(super) min_confidence: f32,
    pub(super) shape: ImageShape,
    /// When it ends, where the clock decides.
    pub(super) until: Option<Instant>,
    pub(super) threads: usize,
}

/// What was kept of each class.
#[derive(Debug, Default)]
pub(super) struct Pool {
    pub(super) images: Synthetic,
    pub(super) kept: Vec<Vec<Kept>>,
    pub(super) counts: Vec<Counts>,
}

impl Pool {
    /// As many of each class as are wanted and there.
    pub(super) fn available(&self, wanted: &[usize]) -> Vec<usize> {
        let least = |(kept, &wanted): (&Vec<Kept>, &usize)| kept.len().min(wanted);
        self.kept.iter().zip(wanted).map(least).collect()
    }
}

impl Filter<'_> {
    /// Makes and filters until there are as many of each class as `wanted`, or too few are good enough, or its share of the time is
    /// over.
    ///
    /// Image number `i` of class `c` has the seed `c · 2³² + i`, whatever is asked for.
    pub(super) fn fill(&self, generator: &ShippedGenerator, wanted: &[usize], progress: &mut Tell<'_>) -> Result<Pool> {
        let mut pool = Pool::default();
        let total: usize = wanted.iter().sum();
        let mut done = 0;
        let classes = wanted.len();
        for (class, &wanted) in wanted.iter().enumerate() {
            let mut chosen = Chosen::new(wanted, self.shape);
            let share = |left: Duration| left / (classes - class) as u32;
            let end = self.until.map(|until| {
                let now = Instant::now();
                now + share(until.saturating_duration_since(now))
            });
            let has_time = |made: u64| made == 0 || end.is_none_or(|end| Instant::now() < end);
            while chosen.kept.len() < wanted
                && chosen.counts.made < (wanted * CANDIDATES) as u64
                && has_time(chosen.counts.made)
            {
                let first = ((class as u64) << 32) + chosen.counts.made;
                let seeds: Vec<u64> = (first..first + CHUNK as u64).collect();
                self.look_at(generator, class, &seeds, &mut chosen)?;
                progress((done + chosen.kept.len()) as f64 / total.max(1) as f64)?;
            }
            done += wanted;
            pool.images.of_class.push(chosen.pixels);
            pool.kept.push(chosen.kept);
            pool.counts.push(chosen.counts);
        }
        Ok(pool)
    }

    fn look_at(&self, generator: &ShippedGenerator, class: usize, seeds: &[u64], chosen: &mut Chosen) -> Result<()> {
        let options = SampleOptions {
            label: Some(class as u32),
            truncation_psi: None,
        };
        let samples = generator.sample(seeds, &options)?;
        let probabilities = self.classifier.probabilities(&samples.images)?;
        let images: Vec<&[u8]> = samples.images.chunks_exact(self.shape.bytes()).collect();
        let limit = self.copies.limit(class);
        let is_sure = |index: usize| probabilities[index][class] >= self.min_confidence;
        let nearest = parallel::map(parallel::threads(self.threads), images.len(), |index| {
            is_sure(index).then(|| self.copies.nearest(images[index])).flatten()
        });
        for (index, ((&seed, pixels), nearest)) in seeds.iter().zip(&images).zip(nearest).enumerate() {
            if chosen.kept.len() == chosen.wanted {
                return Ok(());
            }
            chosen.counts.made += 1;
            if !is_sure(index) {
                chosen.counts.unsure += 1;
                continue;
            }
            let Some(nearest) = nearest.filter(|nearest| nearest.distance >= limit) else {
                chosen.counts.copies += 1;
                continue;
            };
            let thumbnail = self.copies.thumbnail(pixels);
            let other = chosen.thumbnails.nearest(&thumbnail, None);
            if other.is_some_and(|other| other.distance < limit) {
                chosen.counts.repeats += 1;
                continue;
            }
            chosen.counts.kept += 1;
            chosen.thumbnails.add(&thumbnail);
            chosen.pixels.extend_from_slice(pixels);
            chosen.kept.push(Kept {
                seed,
                confidence: probabilities[index][class],
                nearest_training: nearest.distance,
                nearest_index: nearest.index,
                nearest_sibling: other.map(|other| other.distance),
            });
        }
        Ok(())
    }
}

/// What was kept of one class so far.
struct Chosen {
    wanted: usize,
    pixels: Vec<u8>,
    kept: Vec<Kept>,
    counts: Counts,
    thumbnails: Thumbnails,
}

impl Chosen {
    fn new(wanted: usize, shape: ImageShape) -> Self {
        Self {
            wanted,
            pixels: Vec::new(),
            kept: Vec::new(),
            counts: Counts::default(),
            thumbnails: Thumbnails::new(shape),
        }
    }
}
