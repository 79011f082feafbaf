//! Paths into a dataset: scan, choose a shape, decode what fits in memory.

mod choose;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::{Xxh3, xxh3_64_with_seed};

use crate::dataset::{Dataset, ImageShape};
use crate::error::{Error, Result, Skipped};
use crate::in_memory::InMemory;
use crate::media::MediaLimits;
use crate::options::{OpenOptions, Size};
use crate::parallel;
use crate::scan::{Item, Scan, scan};
use crate::source::{Place, Split};
use crate::streamed::{Part, Pipeline, Streamed};
use crate::transforms::Fit;

/// A step of opening a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Reading headers.
    Headers,
    /// Decoding images.
    Decode,
    /// Looking at decoded images, in [`crate::check()`].
    Check,
}

/// How far a step has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The step.
    pub stage: Stage,
    /// Files done.
    pub done: usize,
    /// Files in all.
    pub total: usize,
}

/// Counts files done by several threads and reports now and then.
pub(crate) struct Counter<'a> {
    stage: Stage,
    total: usize,
    done: AtomicUsize,
    report: &'a (dyn Fn(Progress) + Sync),
}

impl<'a> Counter<'a> {
    pub(crate) fn new(stage: Stage, total: usize, report: &'a (dyn Fn(Progress) + Sync)) -> Self {
        Self {
            stage,
            total,
            done: AtomicUsize::new(0),
            report,
        }
    }

    pub(crate) fn tick(&self) {
        let done = self.done.fetch_add(1, Ordering::Relaxed) + 1;
        if done.is_multiple_of(64) || done == self.total {
            (self.report)(Progress {
                stage: self.stage,
                done,
                total: self.total,
            });
        }
    }
}

/// How many images share a size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SizeCount {
    /// The size in the files, upright.
    pub size: Size,
    /// Images of that size.
    pub images: u64,
}

/// What a source holds and what was made of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Everything that looked like an image.
    pub found: usize,
    /// Images that train.
    pub train: usize,
    /// Images that are held out.
    pub holdout: usize,
    /// Files that are no images.
    pub other_files: u64,
    /// Bytes of the images as they are stored.
    pub stored_bytes: u64,
    /// Sizes in the files, the most frequent first.
    pub sizes: Vec<SizeCount>,
    /// Images of each mode: `gray`, `rgba 16-bit`, `palette`, …
    pub modes: BTreeMap<String, u64>,
    /// Images of each format: `png`, …, `array` for IDX and NPZ.
    pub formats: BTreeMap<String, u64>,
    /// The shape of the set.
    pub shape: ImageShape,
    /// Bytes of decoded images in memory; 0 if they are decoded when they are read.
    pub cached_bytes: u64,
}

/// An open source.
pub struct Opened {
    /// What trains.
    pub train: Arc<dyn Dataset>,
    /// What must never be trained on.
    pub holdout: Option<Arc<dyn Dataset>>,
    /// What was left out, and why.
    pub skipped: Vec<Skipped>,
    /// Counts.
    pub summary: Summary,
}

impl std::fmt::Debug for Opened {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Opened")
            .field("skipped", &self.skipped)
            .field("summary", &self.summary)
            .finish_non_exhaustive()
    }
}

/// Opens folders, archives, IDX and NPZ files, and joins them into one set.
///
/// **What is an image.** PNG, JPEG, WebP, GIF (first frame), BMP, TIFF and PNM, by content. A folder is searched at any
/// depth; one with IDX files in it is read as MNIST's; one without images but with a single archive or NPZ file stands
/// for that file.
///
/// **Size**, if not given: that of the images if they all have one and its longer side is at most
/// [`OpenOptions::auto_side_px`]. Else the shorter side is the median of the images' shorter sides, rounded down to one
/// of 16, 32, 48, 64, 96, 128, 192, 256, …; the set is square unless nine in ten images have the same proportions
/// within a tenth, which it then takes, its longer side a multiple of 16.
///
/// **Channels**, if not given: 4 with [`crate::AlphaPolicy::Keep`] if over half of the files are transparent somewhere (64 of
/// them are looked at), else 1 if all files are gray, else 3. Of formats without a gray mode (palette, GIF, BMP, WebP)
/// 64 files are looked at.
///
/// **Held out**: what lies in `test` or `val` beside `train`, the `t10k` files of IDX, or a share chosen by a hash of
/// each file's length and first 64 KiB (all bytes of BMP, TIFF and PNM) with [`OpenOptions::seed`]: equal files are on
/// one side, and a file stays on its side when others are added or it is renamed. At least one image is held out and
/// one trains; if all files are equal, all train.
///
/// **Memory.** If all decoded images fit in [`OpenOptions::cache_bytes`], they are decoded here, and files that fail are
/// left out. Else they are decoded when they are read, and a file that fails is replaced by the next of its class.
///
/// # Errors
/// [`Error::NoImages`] if fewer than [`OpenOptions::min_images`] can train, [`Error::NoLabels`] if labels are required
/// and there are none, [`Error::Option`] for options out of range, and what listing the sources meets.
pub fn open(sources: &[PathBuf], options: &OpenOptions) -> Result<Opened> {
    open_with_progress(sources, options, &|_| {})
}

/// [`open()`], telling how far it has come, from any thread.
///
/// # Errors
/// Those of [`open()`].
pub fn open_with_progress(
    sources: &[PathBuf],
    options: &OpenOptions,
    progress: &(dyn Fn(Progress) + Sync),
) -> Result<Opened> {
    options.validate()?;
    let scanned = scan(sources, options, progress)?;
    require_images(sources, options, &scanned, scanned.items.len())?;
    let pipeline = pipeline(&scanned.items, options);
    let is_held = held_out(&scanned, options);
    build(sources, options, (scanned, is_held), pipeline, progress)
}

pub(crate) fn require_images(sources: &[PathBuf], options: &OpenOptions, scan: &Scan, usable: usize) -> Result<()> {
    if usable >= options.min_images.max(1) {
        return Ok(());
    }
    Err(Error::NoImages {
        path: sources.first().cloned().unwrap_or_default(),
        found: scan.found,
        usable,
        needed: options.min_images.max(1),
        skipped: scan.skipped.clone(),
    })
}

/// Makes the sets of what a scan found, given which of it is held out.
pub(crate) fn build(
    sources: &[PathBuf],
    options: &OpenOptions,
    (mut scan, is_held): (Scan, Vec<bool>),
    pipeline: Pipeline,
    progress: &(dyn Fn(Progress) + Sync),
) -> Result<Opened> {
    let shape = pipeline.fit.shape;
    let mut summary = summarize(&scan, shape);
    let mut held = is_held.iter();
    let items = std::mem::take(&mut scan.items);
    let (held, train): (Vec<Item>, Vec<Item>) = items.into_iter().partition(|_| held.next() == Some(&true));
    let total = (train.len() + held.len()) as u64 * shape.bytes() as u64;
    // Rows of an array in the set's own shape are in memory already.
    let is_ready = |item: &Item| matches!(&item.entry.place, Place::Row { array, .. } if array.shape == shape && pipeline.part == Part::Whole);
    let is_ready = train.iter().chain(&held).all(is_ready);
    let is_cached = total <= options.cache_bytes && !is_ready;
    let counter = Counter::new(Stage::Decode, train.len() + held.len(), progress);
    let classes: Arc<[String]> = std::mem::take(&mut scan.classes).into();
    let mut make = |items: Vec<Item>| -> Arc<dyn Dataset> {
        if is_cached {
            let threads = parallel::threads(options.threads);
            Arc::new(cache(items, pipeline, &classes, threads, &counter, &mut scan.skipped))
        } else {
            Arc::new(stream(items, pipeline, &classes))
        }
    };
    let (train, held) = (make(train), (!held.is_empty()).then(|| make(held)));
    require_images(sources, options, &scan, train.len())?;
    let held = held.filter(|held| !held.is_empty());
    summary.train = train.len();
    summary.holdout = held.as_ref().map_or(0, |held| held.len());
    let images = summary.train + summary.holdout;
    summary.cached_bytes = if is_cached || is_ready {
        (images * shape.bytes()) as u64
    } else {
        0
    };
    Ok(Opened {
        train,
        holdout: held,
        skipped: scan.skipped,
        summary,
    })
}

/// The limits and the shape that options and headers lead to.
pub(crate) fn pipeline(items: &[Item], options: &OpenOptions) -> Pipeline {
    let limits = MediaLimits {
        max_side_px: options.max_side_px,
        max_pixels: options.max_pixels,
    };
    let size = options
        .size
        .unwrap_or_else(|| choose::size(items, options.auto_side_px));
    let shape = ImageShape {
        height_px: size.height_px,
        width_px: size.width_px,
        channels: 3,
    };
    let fit = Fit {
        shape,
        crop: options.crop,
        filter: options.filter,
        background: options.background(),
    };
    let mut pipeline = Pipeline {
        limits,
        fit,
        part: Part::Whole,
    };
    pipeline.fit.shape.channels = options
        .channels
        .unwrap_or_else(|| choose::channels(items, &pipeline, options))
        .count();
    pipeline
}

/// Counts of a scan; what becomes of it is filled in later.
pub(crate) fn summarize(scan: &Scan, shape: ImageShape) -> Summary {
    let mut sizes: BTreeMap<Size, u64> = BTreeMap::new();
    let (mut modes, mut formats) = (BTreeMap::new(), BTreeMap::new());
    for Item { header, .. } in &scan.items {
        *sizes
            .entry(Size {
                width_px: header.width_px,
                height_px: header.height_px,
            })
            .or_default() += 1;
        *modes.entry(header.mode()).or_default() += 1;
        *formats.entry(header.format_name().to_owned()).or_default() += 1;
    }
    let mut sizes: Vec<_> = sizes
        .into_iter()
        .map(|(size, images)| SizeCount { size, images })
        .collect();
    sizes.sort_by_key(|count| std::cmp::Reverse(count.images));
    let stored_bytes = scan.items.iter().map(|item| item.bytes).sum();
    let (found, other_files) = (scan.found, scan.other_files);
    Summary {
        found,
        train: 0,
        holdout: 0,
        other_files,
        stored_bytes,
        sizes,
        modes,
        formats,
        shape,
        cached_bytes: 0,
    }
}

/// For each item, whether it is held out.
pub(crate) fn held_out(scan: &Scan, options: &OpenOptions) -> Vec<bool> {
    if scan.has_split {
        return scan
            .items
            .iter()
            .map(|item| item.entry.split == Split::Holdout)
            .collect();
    }
    let draw = |item: &Item| xxh3_64_with_seed(&item.key.to_le_bytes(), options.seed);
    let draws: Vec<u64> = scan.items.iter().map(draw).collect();
    let least = draws.iter().copied().min().unwrap_or_default();
    let most = draws.iter().copied().max().unwrap_or_default();
    let threshold = match options.holdout {
        // 2^64 · share; the cast saturates.
        Some(share) => least.max((share * 18_446_744_073_709_551_616.0) as u64),
        None => match auto_holdout(draws.len(), options.auto_holdout) {
            0 => return vec![false; draws.len()],
            count => {
                let mut sorted = draws.clone();
                *sorted.select_nth_unstable(count - 1).1
            }
        },
    };
    draws.iter().map(|&draw| draw <= threshold && draw < most).collect()
}

/// How many of so many images to hold out where nobody says.
fn auto_holdout(images: usize, most: usize) -> usize {
    let count = most.min(images / 10);
    if count * 5 < most { 0 } else { count }
}

/// Decodes all items; the ones that fail move to `skipped`.
fn cache(
    items: Vec<Item>,
    pipeline: Pipeline,
    classes: &Arc<[String]>,
    threads: usize,
    counter: &Counter,
    skipped: &mut Vec<Skipped>,
) -> InMemory {
    let bytes = pipeline.fit.shape.bytes();
    let mut pixels = vec![0; items.len() * bytes];
    let results = parallel::fill(threads, &mut pixels, bytes, |index, image| {
        let result = pipeline.write(&items[index].entry, image);
        counter.tick();
        result
    });
    let mut good = Vec::with_capacity(items.len());
    for (index, (item, result)) in items.into_iter().zip(results).enumerate() {
        match result {
            Ok(()) => {
                pixels.copy_within(index * bytes..(index + 1) * bytes, good.len() * bytes);
                good.push(item);
            }
            Err(reason) => skipped.push(item.entry.skip(reason)),
        }
    }
    pixels.truncate(good.len() * bytes);
    let fingerprint = fingerprint(&good, &pipeline);
    InMemory::from_parts(pipeline.fit.shape, pixels, labels(&good), classes.clone(), fingerprint)
}

fn stream(items: Vec<Item>, pipeline: Pipeline, classes: &Arc<[String]>) -> Streamed {
    let (labels, fingerprint) = (labels(&items), fingerprint(&items, &pipeline));
    let entries = items.into_iter().map(|item| item.entry).collect();
    Streamed {
        pipeline,
        entries,
        labels,
        classes: classes.clone(),
        fingerprint,
        failed: Mutex::default(),
    }
}

fn labels(items: &[Item]) -> Vec<u32> {
    items.iter().filter_map(|item| item.label).collect()
}

/// A hash of how images are shaped, and of each image's name, label and [`Item::key`].
fn fingerprint(items: &[Item], pipeline: &Pipeline) -> String {
    let Pipeline {
        fit: Fit {
            shape,
            crop,
            filter,
            background,
        },
        part,
        ..
    } = pipeline;
    let mut hash = Xxh3::new();
    hash.update(format!("gander-data 1 {shape} {crop:?} {filter:?} {background:?}").as_bytes());
    if *part != Part::Whole {
        hash.update(format!("{part:?}").as_bytes());
    }
    for item in items {
        hash.update(&(item.entry.name.len() as u64).to_le_bytes());
        hash.update(item.entry.name.as_bytes());
        hash.update(&item.key.to_le_bytes());
        hash.update(&item.label.map_or(-1, i64::from).to_le_bytes());
    }
    format!("{:032x}", hash.digest128())
}
