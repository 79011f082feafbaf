//! A doctor for datasets: what is in it, what is wrong with it, what training would make of it.

mod duplicates;

use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::dataset::ImageShape;
use crate::error::{Error, Result, Skipped};
use crate::media::Picture;
use crate::open::{Counter, Progress, Stage, Summary, held_out, pipeline, summarize};
use crate::options::{CropPolicy, Filter, Labels, OpenOptions};
use crate::parallel;
use crate::scan::{Item, Scan, scan};
use crate::streamed::Pipeline;
use crate::transforms::Fit;

/// An image whose brightest and darkest value differ by no more in any channel is blank.
const BLANK_RANGE: u8 = 4;
/// Near duplicates are counted all, and listed up to this many.
const LISTED_PAIRS: usize = 1000;

/// The images of a class.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClassCount {
    /// The class.
    pub name: String,
    /// Its images, held-out ones included.
    pub images: u64,
}

/// Two images that look the same and are not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NearPair {
    /// One.
    pub first: PathBuf,
    /// The other.
    pub second: PathBuf,
    /// Bits of their 64-bit difference hashes that differ.
    pub distance: u32,
}

/// What [`check()`] found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CheckReport {
    /// The layout of this report: 1.
    pub version: u32,
    /// What was checked.
    pub sources: Vec<PathBuf>,
    /// Counts, sizes, modes, and the shape that training would choose (0x0x0 if no image can be read).
    pub summary: Summary,
    /// Classes by name, if the source has any.
    pub classes: Vec<ClassCount>,
    /// Images of the largest class for each of the smallest.
    pub imbalance: Option<f64>,
    /// Files that would be left out, and why.
    pub unreadable: Vec<Skipped>,
    /// Groups of images with the same pixels.
    pub exact_duplicates: Vec<Vec<PathBuf>>,
    /// Pairs that look the same: difference hashes at most 3 bits apart and 8x8 thumbnails at most 4 levels (root mean
    /// square). The first thousand.
    pub near_duplicates: Vec<NearPair>,
    /// All such pairs.
    pub near_duplicate_pairs: u64,
    /// Images whose shorter side is under half of the set's: they would be enlarged more than twice.
    pub tiny: Vec<PathBuf>,
    /// Images of one color, to within 4 levels of 255.
    pub blank: Vec<PathBuf>,
    /// Images stored in color whose pixels are all gray.
    pub gray_in_color: u64,
    /// Images held out that also train, pixel for pixel.
    pub leaked: u64,
    /// Why training would refuse the set, if it would.
    pub refused: Option<String>,
}

/// What is kept of an image once it was looked at.
struct Look {
    pixels: u64,
    hash: u64,
    thumbnail: [u8; duplicates::THUMBNAIL_BYTES],
    is_blank: bool,
    hides_gray: bool,
}

/// Looks at every image of a set once.
///
/// # Errors
/// What listing the sources meets, as in [`crate::open()`]. Too few images are no error here but
/// [`CheckReport::refused`].
pub fn check(sources: &[PathBuf], options: &OpenOptions) -> Result<CheckReport> {
    check_with_progress(sources, options, &|_| {})
}

/// [`check()`], telling how far it has come, from any thread.
///
/// # Errors
/// Those of [`check()`].
pub fn check_with_progress(
    sources: &[PathBuf],
    options: &OpenOptions,
    progress: &(dyn Fn(Progress) + Sync),
) -> Result<CheckReport> {
    let mut options = options.clone();
    if options.labels == Labels::Ignore {
        options.labels = Labels::WherePresent;
    }
    options.validate()?;
    let mut scan = scan(sources, &options, progress)?;
    let pipeline = pipeline(&scan.items, &options);
    let threads = parallel::threads(options.threads);
    let counter = Counter::new(Stage::Check, scan.items.len(), progress);
    let results = parallel::map(threads, scan.items.len(), |index| {
        let look = look(&scan.items[index], &pipeline);
        counter.tick();
        look
    });
    let is_held = held_out(&scan, &options);
    let (mut items, mut looks, mut held) = (Vec::new(), Vec::new(), Vec::new());
    for ((item, result), is_held) in std::mem::take(&mut scan.items).into_iter().zip(results).zip(is_held) {
        match result {
            Ok(look) => {
                items.push(item);
                looks.push(look);
                held.push(is_held);
            }
            Err(reason) => scan.skipped.push(item.entry.skip(reason)),
        }
    }
    scan.items = items;
    Ok(report(
        sources,
        &options,
        scan,
        &pipeline,
        &Looks { looks, held },
        threads,
    ))
}

/// What was seen of each image, and whether it is held out.
struct Looks {
    looks: Vec<Look>,
    held: Vec<bool>,
}

fn report(
    sources: &[PathBuf],
    options: &OpenOptions,
    mut scan: Scan,
    pipeline: &Pipeline,
    seen: &Looks,
    threads: usize,
) -> CheckReport {
    let none = ImageShape {
        height_px: 0,
        width_px: 0,
        channels: 0,
    };
    let shape = if scan.items.is_empty() {
        none
    } else {
        pipeline.fit.shape
    };
    let mut summary = summarize(&scan, shape);
    summary.holdout = seen.held.iter().filter(|&&held| held).count();
    summary.train = seen.held.len() - summary.holdout;
    let refused = crate::open::require_images(sources, options, &scan, summary.train).err();
    let where_is = |test: &dyn Fn(&Item, &Look) -> bool| -> Vec<PathBuf> {
        let pairs = scan.items.iter().zip(&seen.looks);
        pairs
            .filter(|(item, look)| test(item, look))
            .map(|(item, _)| item.entry.path())
            .collect()
    };
    let shorter = shape.height_px.min(shape.width_px);
    let tiny = where_is(&|item, _| item.header.width_px.min(item.header.height_px) * 2 < shorter);
    let blank = where_is(&|_, look| look.is_blank);
    let near = duplicates::near(&seen.looks, threads, LISTED_PAIRS);
    let near_duplicates = near.listed.iter().map(|pair| NearPair {
        first: scan.items[pair.first].entry.path(),
        second: scan.items[pair.second].entry.path(),
        distance: pair.distance,
    });
    let classes = count_classes(&scan);
    CheckReport {
        version: 1,
        sources: sources.to_vec(),
        imbalance: imbalance(&classes),
        classes,
        exact_duplicates: same_pixels(&scan, seen),
        near_duplicates: near_duplicates.collect(),
        near_duplicate_pairs: near.count,
        tiny,
        blank,
        gray_in_color: seen.looks.iter().filter(|look| look.hides_gray).count() as u64,
        leaked: leaked(seen),
        refused: refused.as_ref().map(Error::to_string),
        unreadable: std::mem::take(&mut scan.skipped),
        summary,
    }
}

fn look(item: &Item, pipeline: &Pipeline) -> Result<Look, String> {
    let picture = pipeline.picture(&item.entry)?;
    let sides = [picture.width_px, picture.height_px, picture.channels];
    let seed = sides.iter().fold(0, |seed, &side| seed * 100_003 + side as u64);
    let fit = |width_px: usize, height_px: usize, channels: usize| {
        let shape = ImageShape {
            height_px,
            width_px,
            channels,
        };
        let fit = Fit {
            shape,
            crop: CropPolicy::Stretch,
            filter: Filter::Area,
            background: pipeline.fit.background,
        };
        let mut pixels = vec![0; shape.bytes()];
        fit.write(&picture, &mut pixels);
        pixels
    };
    let mut thumbnail = [0; duplicates::THUMBNAIL_BYTES];
    thumbnail.copy_from_slice(&fit(8, 8, 3));
    Ok(Look {
        pixels: xxh3_64_with_seed(&picture.pixels, seed),
        hash: duplicates::difference_hash(&fit(9, 8, 1)),
        thumbnail,
        is_blank: is_blank(&picture),
        hides_gray: !item.header.is_gray() && picture.is_gray(),
    })
}

/// Whether no channel varies; one that is invisible everywhere is blank whatever its colors.
fn is_blank(picture: &Picture) -> bool {
    let channels = picture.channels;
    let is_flat = |channel: usize| {
        let values = picture.pixels.iter().skip(channel).step_by(channels);
        let (low, high) = values.fold((255, 0), |(low, high), &value| (value.min(low), value.max(high)));
        high.saturating_sub(low) <= BLANK_RANGE
    };
    let is_invisible = channels.is_multiple_of(2)
        && picture
            .pixels
            .chunks_exact(channels)
            .all(|pixel| pixel[channels - 1] == 0);
    is_invisible || (0..channels).all(is_flat)
}

fn count_classes(scan: &Scan) -> Vec<ClassCount> {
    let mut counts = vec![0; scan.classes.len()];
    for label in scan.items.iter().filter_map(|item| item.label) {
        counts[label as usize] += 1;
    }
    scan.classes
        .iter()
        .zip(counts)
        .map(|(name, images)| ClassCount {
            name: name.clone(),
            images,
        })
        .collect()
}

fn imbalance(classes: &[ClassCount]) -> Option<f64> {
    let counts = || classes.iter().map(|class| class.images);
    let (least, most) = (counts().min()?, counts().max()?);
    (least > 0).then(|| most as f64 / least as f64)
}

/// Groups of images with equal pixels, in the order of their first member.
fn same_pixels(scan: &Scan, seen: &Looks) -> Vec<Vec<PathBuf>> {
    let mut groups: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
    for (index, look) in seen.looks.iter().enumerate() {
        groups.entry(look.pixels).or_default().push(index);
    }
    let mut groups: Vec<Vec<usize>> = groups.into_values().filter(|group| group.len() > 1).collect();
    groups.sort_unstable();
    let paths = |group: Vec<usize>| group.into_iter().map(|index| scan.items[index].entry.path()).collect();
    groups.into_iter().map(paths).collect()
}

/// Held-out images whose pixels train as well.
fn leaked(seen: &Looks) -> u64 {
    let both = || seen.looks.iter().zip(&seen.held);
    let train: HashSet<u64> = both()
        .filter(|(_, held)| !**held)
        .map(|(look, _)| look.pixels)
        .collect();
    both()
        .filter(|(look, held)| **held && train.contains(&look.pixels))
        .count() as u64
}
