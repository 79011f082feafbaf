//! Who may see which image: a part to learn from, and a part that only measures.
//!
//! Everything that learns takes a [`TrainingSet`], which nothing but a [`Split`] makes. The held-out images have no way out
//! of [`HeldOut`] except the answers that a finished classifier gave for them. [`Unlabeled`] images, which only a [`Split`]
//! makes either, join a training set under the classes that classifiers gave them.

mod evenly;
mod unlabeled;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use gander_data::{Dataset, ImageShape, InMemory};
use gander_tensor::RandomKey;
use serde::Serialize;

pub(super) use self::evenly::Evenly;
pub use self::unlabeled::Unlabeled;
use super::{
    classifier::{Probabilities, ResNet},
    naming::Committee,
};
use crate::{
    error::{Error, Result},
    metrics::resampling::choose,
};

/// Images of a class below which there is nothing to split or to learn.
pub const MIN_IMAGES: usize = 4;

/// Every third held-out image chooses the mix, the others measure: what was chosen on an image says nothing of it.
const CHOOSING: usize = 3;

/// Labeled images, parted before anything learns.
#[derive(Debug)]
pub struct Split {
    training: TrainingSet,
    held_out: HeldOut,
    conflicts: Vec<Conflict>,
    moved: usize,
}

/// How a set without a split of its own is parted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SplitOptions {
    /// Share of each class that is held out, one image at least; none at zero.
    pub share: f64,
    /// Seed of the draw.
    pub seed: u64,
}

/// Identical images with different labels; none of them is used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Conflict {
    /// The classes that they claim.
    pub classes: Vec<String>,
    /// How many images.
    pub images: usize,
}

/// Labeled images that may be learned from.
#[derive(Debug, Clone)]
pub struct TrainingSet {
    images: Arc<InMemory>,
    of_class: Arc<[Vec<usize>]>,
}

/// Labeled images that nothing learns from.
#[derive(Debug)]
pub struct HeldOut {
    pixels: Vec<u8>,
    labels: Vec<u32>,
    shape: ImageShape,
}

/// A part of the held-out images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Those that the mix of real and synthetic images is chosen on.
    Choosing,
    /// Those that the scores are of.
    Measuring,
}

/// What a classifier said of held-out images.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Answers {
    /// The classes that they are of.
    pub labels: Vec<u32>,
    /// The classes that it saw.
    pub seen: Vec<u32>,
    /// The probability that it gave to the class it saw.
    pub confidence: Vec<f32>,
}

/// Images with labels, before they are parted.
struct Found {
    pixels: Vec<u8>,
    labels: Vec<u32>,
}

impl Split {
    /// Parts a set; where it brings held-out images of its own, those are taken.
    ///
    /// Identical images stay on one side: held-out ones that are identical to a training image move there, or are left
    /// out where the set has a split of its own. Identical images with different labels are left out of both.
    ///
    /// # Errors
    /// [`Error::OneClass`], [`Error::SmallClass`], and what reading meets.
    pub fn new(data: &dyn Dataset, own: Option<&dyn Dataset>, options: SplitOptions) -> Result<Self> {
        let (shape, classes) = (data.shape(), data.classes().to_vec());
        let mut training = Found::read(data)?;
        let mut held_out = own.map(Found::read).transpose()?;
        let conflicts = disagreements(&[Some(&training), held_out.as_ref()], shape, &classes);
        for found in [Some(&mut training), held_out.as_mut()].into_iter().flatten() {
            found.keep(shape, |pixels, _| !conflicts.contains_key(pixels));
        }
        let mut moved = 0;
        let held_out = if let Some(mut held_out) = held_out {
            let known: BTreeSet<&[u8]> = training.images(shape).map(|(pixels, _)| pixels).collect();
            let before = held_out.labels.len();
            held_out.keep(shape, |pixels, _| !known.contains(pixels));
            moved = before - held_out.labels.len();
            held_out
        } else {
            training.part(shape, classes.len(), options)
        };
        check_classes(&classes, &training, &held_out)?;
        Ok(Self {
            training: TrainingSet::new(shape, training, classes)?,
            held_out: HeldOut {
                pixels: held_out.pixels,
                labels: held_out.labels,
                shape,
            },
            conflicts: conflicts.into_values().collect(),
            moved,
        })
    }

    /// The images to learn from.
    pub fn training(&self) -> &TrainingSet {
        &self.training
    }

    /// The images to measure on.
    pub fn held_out(&self) -> &HeldOut {
        &self.held_out
    }

    /// Identical images with different labels, which were left out.
    pub fn conflicts(&self) -> &[Conflict] {
        &self.conflicts
    }

    /// Images of the set's own held-out part that were left out, since they are training images too.
    pub fn repeated(&self) -> usize {
        self.moved
    }
}

fn check_classes(classes: &[String], training: &Found, held_out: &Found) -> Result<()> {
    let counts = |found: &Found| {
        let mut counts = vec![0; classes.len()];
        found.labels.iter().for_each(|&label| counts[label as usize] += 1);
        counts
    };
    let (training, held_out) = (counts(training), counts(held_out));
    if training.iter().filter(|&&count| count > 0).count() < 2 {
        return Err(Error::OneClass {
            classes: classes.to_vec(),
        });
    }
    for (class, (&training, &held_out)) in classes.iter().zip(training.iter().zip(&held_out)) {
        if training < MIN_IMAGES - 1 || held_out == 0 && training < MIN_IMAGES {
            return Err(Error::SmallClass {
                class: class.clone(),
                got: training + held_out,
                needed: MIN_IMAGES,
            });
        }
    }
    Ok(())
}

/// Identical images with different labels, by their pixels.
fn disagreements(parts: &[Option<&Found>], shape: ImageShape, classes: &[String]) -> BTreeMap<Vec<u8>, Conflict> {
    let mut labels: BTreeMap<&[u8], Vec<u32>> = BTreeMap::new();
    for (pixels, label) in parts.iter().flatten().flat_map(|part| part.images(shape)) {
        labels.entry(pixels).or_default().push(label);
    }
    let conflict = |(pixels, mut labels): (&[u8], Vec<u32>)| {
        let images = labels.len();
        labels.sort_unstable();
        labels.dedup();
        let classes = labels.iter().map(|&label| classes[label as usize].clone()).collect();
        (labels.len() > 1).then(|| (pixels.to_vec(), Conflict { classes, images }))
    };
    labels.into_iter().filter_map(conflict).collect()
}

impl Found {
    fn read(data: &dyn Dataset) -> Result<Self> {
        Self::read_some(data, &(0..data.len()).collect::<Vec<_>>())
    }

    fn read_some(data: &dyn Dataset, indices: &[usize]) -> Result<Self> {
        let bytes = data.shape().bytes();
        let mut pixels = vec![0; indices.len() * bytes];
        for (&index, image) in indices.iter().zip(pixels.chunks_exact_mut(bytes)) {
            data.read(index, image)?;
        }
        let labels = indices.iter().map(|&index| data.label(index).unwrap_or(0)).collect();
        Ok(Self { pixels, labels })
    }

    fn images(&self, shape: ImageShape) -> impl Iterator<Item = (&[u8], u32)> {
        self.pixels.chunks_exact(shape.bytes()).zip(self.labels.iter().copied())
    }

    /// Leaves out what `is_kept` does not want.
    fn keep(&mut self, shape: ImageShape, mut is_kept: impl FnMut(&[u8], usize) -> bool) {
        let kept: Vec<bool> = self
            .images(shape)
            .enumerate()
            .map(|(index, (pixels, _))| is_kept(pixels, index))
            .collect();
        let images = self.images(shape).zip(&kept).filter(|(_, kept)| **kept);
        let (pixels, labels): (Vec<&[u8]>, Vec<u32>) = images.map(|(image, _)| image).unzip();
        (self.pixels, self.labels) = (pixels.concat(), labels);
    }

    /// Takes a share of each class out, at least one image; identical images go together.
    fn part(&mut self, shape: ImageShape, num_classes: usize, options: SplitOptions) -> Self {
        let mut is_held = vec![false; self.labels.len()];
        for class in 0..num_classes as u32 {
            let mut groups: BTreeMap<&[u8], Vec<usize>> = BTreeMap::new();
            let mut count = 0;
            for (index, (pixels, _)) in self.images(shape).enumerate().filter(|(_, (_, label))| *label == class) {
                groups.entry(pixels).or_default().push(index);
                count += 1;
            }
            // By the first index, so that the draw does not follow the brightness.
            let mut groups: Vec<Vec<usize>> = groups.into_values().collect();
            groups.sort_unstable();
            let wanted = (count as f64 * options.share).round() as usize;
            let wanted = if options.share > 0.0 { wanted.max(1) } else { 0 };
            let key = RandomKey::from_seed(options.seed)
                .named("held out")
                .split(u64::from(class));
            let mut held = 0;
            for group in choose(key, groups.len().saturating_sub(MIN_IMAGES - 1), groups.len()) {
                if held >= wanted {
                    break;
                }
                held += groups[group].len();
                groups[group].iter().for_each(|&index| is_held[index] = true);
            }
        }
        let mut held = Self {
            pixels: self.pixels.clone(),
            labels: self.labels.clone(),
        };
        held.keep(shape, |_, index| is_held[index]);
        self.keep(shape, |_, index| !is_held[index]);
        held
    }
}

impl TrainingSet {
    fn new(shape: ImageShape, found: Found, classes: impl Into<Arc<[String]>>) -> Result<Self> {
        let classes = classes.into();
        let mut of_class = vec![Vec::new(); classes.len()];
        for (index, &label) in found.labels.iter().enumerate() {
            of_class[label as usize].push(index);
        }
        Ok(Self {
            images: Arc::new(InMemory::with_labels(shape, found.pixels, found.labels, classes)?),
            of_class: of_class.into(),
        })
    }

    /// The images.
    pub fn images(&self) -> &Arc<InMemory> {
        &self.images
    }

    /// Indices of the images of each class.
    pub fn of_class(&self) -> &[Vec<usize>] {
        &self.of_class
    }

    /// Number of images of each class.
    pub fn counts(&self) -> Vec<usize> {
        self.of_class.iter().map(Vec::len).collect()
    }

    /// At most so many images of each class, drawn anew for each `draw`.
    pub fn subset(&self, per_class: usize, key: RandomKey) -> Result<Self> {
        let shape = self.images.shape();
        let mut found = Found {
            pixels: Vec::new(),
            labels: Vec::new(),
        };
        let mut pixels = vec![0; shape.bytes()];
        for (class, indices) in self.of_class.iter().enumerate() {
            let mut drawn = choose(key.split(class as u64), per_class, indices.len());
            drawn.sort_unstable();
            for place in drawn {
                self.images.read(indices[place], &mut pixels)?;
                found.pixels.extend_from_slice(&pixels);
                found.labels.push(class as u32);
            }
        }
        Self::new(shape, found, self.images.classes().to_vec())
    }
}

impl HeldOut {
    /// Number of images of a part.
    pub fn len(&self, part: Part) -> usize {
        self.indices(part).count()
    }

    /// Whether a part has no image.
    pub fn is_empty(&self, part: Part) -> bool {
        self.len(part) == 0
    }

    fn indices(&self, part: Part) -> impl Iterator<Item = usize> {
        let mut of_class: BTreeMap<u32, usize> = BTreeMap::new();
        self.labels.iter().enumerate().filter_map(move |(index, &label)| {
            // Counted within the class, so that both parts have its share; where there is one image, it measures.
            let place = of_class.entry(label).and_modify(|place| *place += 1).or_insert(0);
            let own = if *place % CHOOSING == 1 {
                Part::Choosing
            } else {
                Part::Measuring
            };
            (own == part).then_some(index)
        })
    }

    /// What a classifier says of a part; all that is ever learned of these images.
    pub(super) fn ask(&self, part: Part, classifier: &ResNet) -> Result<Answers> {
        self.answers(part, &|pixels| classifier.probabilities(pixels))
    }

    /// The share of a part whose class several classifiers see in the mean; `None` of no image.
    pub(super) fn right(&self, part: Part, committee: &Committee) -> Result<Option<f64>> {
        let answers = self.answers(part, &|pixels| committee.probabilities(pixels))?;
        let pairs = || answers.labels.iter().zip(&answers.seen);
        let right = pairs().filter(|(label, seen)| label == seen).count();
        Ok((!answers.labels.is_empty()).then(|| right as f64 / answers.labels.len() as f64))
    }

    fn answers(&self, part: Part, probabilities: &dyn Fn(&[u8]) -> Result<Probabilities>) -> Result<Answers> {
        let mut answers = Answers::default();
        let indices: Vec<usize> = self.indices(part).collect();
        for indices in indices.chunks(ResNet::AT_ONCE) {
            let bytes = self.shape.bytes();
            let pixels: Vec<&[u8]> = indices
                .iter()
                .map(|index| &self.pixels[index * bytes..(index + 1) * bytes])
                .collect();
            for (row, &index) in probabilities(&pixels.concat())?.iter().zip(indices) {
                let best = row.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1));
                let (seen, &confidence) = best.unwrap_or((0, &0.0));
                answers.labels.push(self.labels[index]);
                answers.seen.push(seen as u32);
                answers.confidence.push(confidence);
            }
        }
        Ok(answers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: ImageShape = ImageShape {
        height_px: 1,
        width_px: 2,
        channels: 1,
    };
    const OPTIONS: SplitOptions = SplitOptions { share: 0.2, seed: 3 };

    /// Images of two classes; an image is two bytes.
    fn set(images: &[([u8; 2], u32)]) -> InMemory {
        let pixels = images.iter().flat_map(|(pixels, _)| *pixels).collect();
        let labels = images.iter().map(|(_, label)| *label).collect();
        InMemory::with_labels(SHAPE, pixels, labels, ["a", "b"].map(str::to_owned)).unwrap()
    }

    /// Different images, half of each class.
    fn different(begin: u8, count: u8) -> Vec<([u8; 2], u32)> {
        (0..count).map(|at| ([begin, at], u32::from(at % 2))).collect()
    }

    fn training(split: &Split) -> Vec<u8> {
        let (images, mut all) = (split.training().images(), Vec::new());
        for index in 0..images.len() {
            let mut pixels = [0; 2];
            images.read(index, &mut pixels).unwrap();
            all.extend(pixels);
        }
        all
    }

    #[test]
    fn each_class_gives_its_share_and_nothing_is_on_both_sides() {
        let all = different(0, 50);
        let split = Split::new(&set(&all), None, OPTIONS).unwrap();
        let (kept, held) = (training(&split), &split.held_out.pixels);
        assert_eq!((kept.len(), held.len()), (80, 20));
        assert_eq!(split.held_out.labels.iter().filter(|&&label| label == 0).count(), 5);
        assert!(held.chunks(2).all(|image| !kept.chunks(2).any(|other| other == image)));
        // Both parts of the held-out images have images of both classes.
        assert_eq!(
            (
                split.held_out().len(Part::Choosing),
                split.held_out().len(Part::Measuring)
            ),
            (4, 6)
        );
        let again = Split::new(&set(&all), None, OPTIONS).unwrap();
        assert_eq!(training(&again), kept);
        let none = Split::new(&set(&all), None, SplitOptions { share: 0.0, ..OPTIONS }).unwrap();
        assert_eq!(training(&none).len(), 100);
    }

    #[test]
    fn identical_images_stay_on_one_side() {
        let mut all = different(0, 20);
        let copies = all.clone();
        all.extend(copies);
        let split = Split::new(&set(&all), None, OPTIONS).unwrap();
        let kept = training(&split);
        assert!(!split.held_out.pixels.is_empty());
        assert!(
            split
                .held_out
                .pixels
                .chunks(2)
                .all(|image| !kept.chunks(2).any(|other| other == image))
        );

        let own = [different(1, 6), different(0, 2)].concat();
        let split = Split::new(&set(&different(0, 20)), Some(&set(&own)), OPTIONS).unwrap();
        assert_eq!((split.repeated(), split.held_out.labels.len()), (2, 6));
    }

    #[test]
    fn labels_that_disagree_are_told_and_left_out() {
        let mut all = different(0, 20);
        all.push(([0, 0], 1));
        let split = Split::new(&set(&all), None, OPTIONS).unwrap();
        let expected = Conflict {
            classes: ["a", "b"].map(str::to_owned).into(),
            images: 2,
        };
        assert_eq!(split.conflicts(), [expected]);
        assert_eq!(training(&split).len() + split.held_out.pixels.len(), 2 * 19);
    }

    #[test]
    fn too_little_is_refused() {
        let one_class: Vec<_> = (0..9).map(|at| ([0, at], 1)).collect();
        assert!(matches!(
            Split::new(&set(&one_class), None, OPTIONS),
            Err(Error::OneClass { .. })
        ));
        let one_image = [one_class, vec![([1, 0], 0)]].concat();
        let refused = Split::new(&set(&one_image), None, OPTIONS);
        assert!(matches!(refused, Err(Error::SmallClass { got: 1, .. })), "{refused:?}");
    }

    #[test]
    fn draws_differ_and_are_balanced() {
        let split = Split::new(&set(&different(0, 60)), None, OPTIONS).unwrap();
        let draw = |seed| {
            let drawn = split.training().subset(5, RandomKey::from_seed(seed)).unwrap();
            assert_eq!(drawn.of_class().iter().map(Vec::len).collect::<Vec<_>>(), [5, 5]);
            drawn.images().fingerprint()
        };
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
    }
}
