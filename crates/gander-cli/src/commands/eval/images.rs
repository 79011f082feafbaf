//! The two sides of a comparison: fakes from a generator or from files, and real images.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Context;
use gander::{
    features::SpaceChoice,
    metrics::{Judge, Score},
    run::RunDirectory,
    shipped::{self, SampleOptions, ShippedGenerator},
    train::{RunConfig, defaults},
};
use gander_data::{
    Channels, Dataset, ImageShape, Labels, OpenOptions, Opened, Pottery, PotteryConfig, Sampler, Size,
    pottery::PictureSize,
};
use gander_tensor::DeviceRef;

use super::{Arguments, Split, translated::Translated};
use crate::{failure::refuse, progress, screen::Screen, text};

/// Images that are made between two looks at the progress.
const CHUNK: usize = 64;
/// Sides up to which Inception sees images from files as they are, as the programs behind published scores do.
const LARGEST_PX: usize = 4096;
/// The name of the embedded dataset.
pub(super) const POTTERY: &str = "pottery";

/// What is scored, before its size is known.
pub(super) enum Fakes {
    Generator(Box<ShippedGenerator>),
    Translated(Box<Translated>),
    Files(PathBuf),
}

impl Fakes {
    /// A run or a generator file is a generator, everything else a set of images, even with a generator beside them:
    /// such are the folders of `gander synthesize`.
    pub(super) fn find(path: &Path, device: &DeviceRef) -> anyhow::Result<Self> {
        let is_run = RunDirectory::open(path).is_ok();
        let file = if is_run {
            shipped::resolve(path)
        } else {
            path.to_owned()
        };
        let is_weights = |path: &Path| path.extension().is_some_and(|extension| extension == "safetensors");
        if file.is_file() && is_weights(&file) {
            let generator = ShippedGenerator::load(&file, device)
                .with_context(|| format!("cannot load a generator from {}", path.display()))?;
            return Ok(Self::Generator(Box::new(generator)));
        }
        if is_run {
            return Err(refuse(
                format!("no generator in this run yet: {}", path.display()),
                "it is written with the first checkpoint; wait for it, or name another run",
            ));
        }
        Ok(Self::Files(path.to_owned()))
    }

    /// The shape of a generator's images.
    fn shape(&self) -> Option<ImageShape> {
        let Self::Generator(generator) = self else {
            return None;
        };
        let images = generator.header.model.images();
        Some(ImageShape {
            height_px: images.height_px,
            width_px: images.width_px,
            channels: images.channels,
        })
    }

    /// The fakes in the shape of the real images.
    pub(super) fn open(self, shape: ImageShape, screen: &Screen) -> anyhow::Result<Source> {
        let path = match self {
            Self::Generator(generator) => return Ok(Source::Generator(generator)),
            Self::Translated(translated) => return Ok(Source::Translated(translated)),
            Self::Files(path) => path,
        };
        let options = OpenOptions {
            size: Some(size(shape)),
            channels: Some(channels(shape.channels)),
            ..OpenOptions::default()
        };
        let opened = gander_data::open(std::slice::from_ref(&path), &options)
            .with_context(|| format!("cannot read images from {}", path.display()))?;
        if let Some(stored) = opened.summary.sizes.iter().find(|stored| stored.size != size(shape)) {
            screen.say(format!(
                "{} of {} brought to {}, the size of the real ones",
                text::plural(stored.images, "image"),
                stored.size,
                size(shape)
            ));
        }
        screen.warn_unread(opened.skipped.len());
        // A split of the fakes means nothing here.
        Ok(Source::Images(Arc::new(Joined::all_of(opened))))
    }
}

/// What is scored.
pub(super) enum Source {
    Generator(Box<ShippedGenerator>),
    Translated(Box<Translated>),
    Images(Arc<dyn Dataset>),
}

impl Source {
    /// The scores, and of how many images.
    pub(super) fn score(
        &self,
        judge: &Judge,
        num: usize,
        seed: u64,
        screen: &Screen,
    ) -> anyhow::Result<(Vec<Score>, usize)> {
        match self {
            Self::Generator(generator) => {
                let bar = progress::bar(screen, "generated images", num as u64);
                let mut judging = judge.judging()?;
                let seeds: Vec<u64> = (0..num as u64).map(|index| seed.wrapping_add(index)).collect();
                for seeds in seeds.chunks(CHUNK) {
                    let made = generator.sample(seeds, &SampleOptions::default())?;
                    judging.add_bytes(&made.images)?;
                    bar.inc(seeds.len() as u64);
                }
                bar.finish_and_clear();
                Ok((judging.finish()?, num))
            }
            Self::Translated(translated) => {
                let images = &translated.images;
                let mut scores = judge.score(images, &mut |_| ())?;
                scores.extend(translated.distances(judge)?);
                Ok((translated.with_pairs(scores), images.len().min(num)))
            }
            Self::Images(images) => {
                let num = images.len().min(num);
                let bar = progress::bar(screen, "images", num as u64);
                let scores = judge.score(images.as_ref(), &mut |done| bar.set_position(done as u64))?;
                bar.finish_and_clear();
                Ok((scores, num))
            }
        }
    }
}

impl Source {
    /// Some images in bytes, at most `num`.
    pub(super) fn images(&self, num: usize, seed: u64) -> anyhow::Result<Vec<u8>> {
        match self {
            Self::Generator(generator) => {
                let seeds: Vec<u64> = (0..num as u64).map(|index| seed.wrapping_add(index)).collect();
                Ok(generator.sample(&seeds, &SampleOptions::default())?.images)
            }
            Self::Translated(translated) => some(&translated.images, num),
            Self::Images(images) => some(images.as_ref(), num),
        }
    }
}

/// Indices of some images of a set, at most `num`, drawn at random: files often come class by class.
pub(super) fn drawn(images: &dyn Dataset, num: usize) -> Vec<usize> {
    let order = Sampler::new(0, images.len());
    (0..images.len().min(num) as u64)
        .map(|place| order.draw(place).index)
        .collect()
}

/// Some images of a set in bytes, at most `num`.
fn some(images: &dyn Dataset, num: usize) -> anyhow::Result<Vec<u8>> {
    let (bytes, drawn) = (images.shape().bytes(), drawn(images, num));
    let mut pixels = vec![0; drawn.len() * bytes];
    for (&index, pixels) in drawn.iter().zip(pixels.chunks_exact_mut(bytes)) {
        images.read(index, pixels)?;
    }
    Ok(pixels)
}

/// The real images.
pub(super) struct Reals {
    /// Those that are compared with.
    pub(super) images: Arc<dyn Dataset>,
    /// Those that a classifier may learn from.
    pub(super) train: Arc<dyn Dataset>,
    /// Those that it is tested on.
    pub(super) holdout: Option<Arc<dyn Dataset>>,
    /// Which of the two serve: `train` or `holdout`.
    pub(super) split: &'static str,
    /// Where they lie.
    pub(super) sources: Vec<PathBuf>,
}

impl Reals {
    pub(super) fn open(arguments: &Arguments, path: &Path, fakes: &Fakes, screen: &Screen) -> anyhow::Result<Self> {
        let shape = fakes.shape();
        if let (Some(shape), Some(asked)) = (shape, arguments.resolution)
            && size(shape) != asked
        {
            return Err(refuse(
                format!("the generator makes images of {}, not of {asked}", size(shape)),
                "leave --resolution out: the real images are brought to the generator's size",
            ));
        }
        let options = OpenOptions {
            size: shape.map(size).or(arguments.resolution),
            channels: shape.map(|shape| channels(shape.channels)),
            labels: Labels::WherePresent,
            ..OpenOptions::default()
        };
        let as_published = matches!(arguments.features, Some(SpaceChoice::Inception(..))) && options.size.is_none();
        let options = OpenOptions {
            auto_side_px: if as_published { LARGEST_PX } else { options.auto_side_px },
            ..options
        };
        let (sources, options, pots) = if arguments.data.is_empty() {
            of_run(path, &options)?
        } else {
            (arguments.data.clone(), options, defaults::POTTERY_IMAGES)
        };
        let is_pottery = sources.is_empty() || (sources == [Path::new(POTTERY)] && !sources[0].exists());
        let held_out_by_itself = if is_pottery { 0 } else { options.auto_holdout };
        let (train, holdout) = if is_pottery {
            pottery(&options, pots)?
        } else {
            let bar = progress::spinner(screen, "reading the real images");
            let opened = gander_data::open(&sources, &options)
                .with_context(|| format!("cannot read images from {}", list(&sources)))?;
            bar.finish_and_clear();
            screen.warn_unread(opened.skipped.len());
            if as_published && opened.summary.sizes.len() > 1 {
                let used = size(opened.train.shape());
                screen.warn(format!(
                    "the real images have several sizes and are brought to {used} first: published scores look at each as it is"
                ));
            }
            (opened.train, opened.holdout)
        };
        let (images, split) = match (arguments.split, &holdout) {
            (Some(Split::Holdout), None) => {
                return Err(refuse(
                    "the data has no held-out images",
                    "put them in a folder test/ beside train/, or leave --split out",
                ));
            }
            // What a run held out by itself is enough to be watched by, not to be scored by.
            (None, Some(holdout)) if holdout.len() <= held_out_by_itself => (train.clone(), "train"),
            (None | Some(Split::Holdout), Some(holdout)) => (holdout.clone(), "holdout"),
            _ => (train.clone(), "train"),
        };
        let sources = if is_pottery { vec![POTTERY.into()] } else { sources };
        Ok(Self {
            images,
            train,
            holdout,
            split,
            sources,
        })
    }

    /// `1,000 of 10,000 held-out images of photos/, 64x64 RGB`.
    pub(super) fn describe(&self, num: usize) -> String {
        let all = self.images.len();
        let which = match (self.split, &self.holdout) {
            ("holdout", _) => "held-out ",
            (_, Some(_)) => "training ",
            _ => "",
        };
        let count = if num == all {
            text::plural(all as u64, &format!("{which}image"))
        } else {
            format!(
                "{} of {}",
                text::count(num as u64),
                text::plural(all as u64, &format!("{which}image"))
            )
        };
        let shape = self.images.shape();
        format!(
            "{count} of {}, {} {}",
            list(&self.sources),
            size(shape),
            text::channels(shape.channels)
        )
    }
}

/// Sources, options and pots of the run that a generator is from.
fn of_run(path: &Path, asked: &OpenOptions) -> anyhow::Result<(Vec<PathBuf>, OpenOptions, usize)> {
    std::fs::metadata(path).with_context(|| format!("cannot read {}", path.display()))?;
    let no_data = || refuse("nothing to compare with", "name real images with --data DATA");
    let run = RunDirectory::open(path).map_err(|_| no_data())?;
    let config: RunConfig = std::fs::read_to_string(run.config())
        .with_context(|| format!("cannot read {}", run.config().display()))?
        .parse::<toml::Table>()?
        .try_into()?;
    let options = OpenOptions {
        labels: asked.labels,
        size: asked.size,
        channels: asked.channels,
        ..config.data.open
    };
    Ok((config.data.sources, options, config.data.pottery_images))
}

type Sets = (Arc<dyn Dataset>, Option<Arc<dyn Dataset>>);

/// The embedded dataset, its held-out pots a tenth as many: the same that a run holds out.
fn pottery(options: &OpenOptions, len: usize) -> anyhow::Result<Sets> {
    let Size { width_px, height_px } = options.size.unwrap_or(defaults::POTTERY_SIZE);
    if options.channels.is_some_and(|channels| channels != Channels::Rgb) {
        return Err(refuse(
            "pottery is in color, the generator's images are not",
            "name other images with --data",
        ));
    }
    let pots = Pottery::new(PotteryConfig {
        size: PictureSize { width_px, height_px },
        len,
        ..PotteryConfig::default()
    })?;
    let holdout = pots.held_out(len.div_ceil(10))?;
    Ok((Arc::new(pots), Some(Arc::new(holdout))))
}

/// `a and b`.
fn list(paths: &[PathBuf]) -> String {
    let names: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
    names.join(" and ")
}

fn size(shape: ImageShape) -> Size {
    Size {
        width_px: shape.width_px,
        height_px: shape.height_px,
    }
}

pub(super) fn channels(count: usize) -> Channels {
    match count {
        1 => Channels::Gray,
        4 => Channels::Rgba,
        _ => Channels::Rgb,
    }
}

/// Sets of one shape, one after the other, without labels.
pub(super) struct Joined(Vec<Arc<dyn Dataset>>);

impl Joined {
    /// Training and held-out images.
    pub(super) fn all_of(opened: Opened) -> Self {
        Self(std::iter::once(opened.train).chain(opened.holdout).collect())
    }
}

impl Dataset for Joined {
    fn len(&self) -> usize {
        self.0.iter().map(|set| set.len()).sum()
    }

    fn shape(&self) -> ImageShape {
        self.0[0].shape()
    }

    fn classes(&self) -> &[String] {
        &[]
    }

    fn label(&self, _: usize) -> Option<u32> {
        None
    }

    fn read(&self, mut index: usize, pixels: &mut [u8]) -> gander_data::Result<()> {
        for set in &self.0 {
            if index < set.len() {
                return set.read(index, pixels);
            }
            index -= set.len();
        }
        let len = self.len();
        Err(gander_data::Error::Index {
            index: len + index,
            len,
        })
    }

    fn fingerprint(&self) -> String {
        let parts: Vec<String> = self.0.iter().map(|set| set.fingerprint()).collect();
        parts.join("+")
    }
}
