//! A judge: holds what is known of the real images and scores streams of fake ones.

use std::sync::Arc;

use gander_data::{Dataset, ImageShape, Sampler};
use gander_tensor::{DeviceRef, RandomKey, Tensor, no_grad};
use serde::{Deserialize, Serialize};

use super::{
    Features, Interval, KernelOptions, Resampling, SlicedOptions, SlicedSet, Statistics, distance_to_partners,
    frechet::frechet_distance_with_interval,
    inception_score::{inception_score, inception_score_interval},
    kernel_distance,
    modes::Tally,
    neighbors::{NEIGHBORS, neighborhoods},
    resampling::choose,
    score_name,
    sliced::sliced_interval,
    sliced_distance,
};
use crate::{
    error::{Error, Result},
    features::FeatureSpace,
    images::to_tensor,
    shipped::to_bytes,
};

/// What can be scored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScoreKind {
    /// Fréchet distance.
    Fid,
    /// Kernel distance.
    Kid,
    /// Inception score.
    Is,
    /// Precision, recall, density, coverage.
    Prdc,
    /// Sliced Wasserstein distance.
    Swd,
    /// Classes that are found, and how unevenly.
    Modes,
}

impl ScoreKind {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Fid, Self::Kid, Self::Is, Self::Prdc, Self::Swd, Self::Modes];

    /// Its name as users write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fid => "fid",
            Self::Kid => "kid",
            Self::Is => "is",
            Self::Prdc => "prdc",
            Self::Swd => "swd",
            Self::Modes => "modes",
        }
    }

    /// Whether the feature space has to name classes.
    pub fn needs_classes(self) -> bool {
        matches!(self, Self::Is | Self::Modes)
    }

    /// Whether a feature space looks.
    pub fn needs_features(self) -> bool {
        self != Self::Swd
    }
}

/// How a judge works.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct JudgeOptions {
    /// What it scores.
    pub scores: Vec<ScoreKind>,
    /// Images of each side at most; drawn at random where there are more.
    pub num: usize,
    /// Neighbors that make a neighborhood.
    pub neighbors: usize,
    /// Parts of the Inception score.
    pub splits: usize,
    /// Subsets of the kernel distance.
    pub kernel: KernelOptions,
    /// Patches of the sliced distance.
    pub sliced: SlicedOptions,
    /// Intervals.
    pub resampling: Resampling,
    /// Seed of the choice of images.
    pub seed: u64,
}

impl Default for JudgeOptions {
    fn default() -> Self {
        Self {
            scores: vec![ScoreKind::Fid],
            num: 10_000,
            neighbors: NEIGHBORS,
            splits: 10,
            kernel: KernelOptions::default(),
            sliced: SlicedOptions::default(),
            resampling: Resampling::default(),
            seed: 0,
        }
    }
}

impl JudgeOptions {
    /// Every seed in them set to one.
    #[must_use]
    pub fn with_seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self.kernel.seed = seed;
        self.sliced.seed = seed;
        self.resampling.seed = seed;
        self
    }

    fn wants(&self, kind: ScoreKind) -> bool {
        self.scores.contains(&kind)
    }
}

/// A score of a set of fakes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// What it is, of how many fakes, in which feature space: `fid10k_effnet`.
    pub name: String,
    /// Its value.
    pub value: f64,
    /// Where 95 % of resampled scores lie, where that is known.
    pub interval: Option<Interval>,
    /// Whether lower or higher values are better.
    pub better: Better,
}

/// The direction in which a score gets better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Better {
    /// A distance.
    Lower,
    /// A share or a number of things.
    Higher,
}

/// Holds what is known of the real images in a feature space, once, and scores any number of streams of fakes.
#[derive(Debug)]
pub struct Judge {
    space: Arc<dyn FeatureSpace>,
    shape: ImageShape,
    options: JudgeOptions,
    real: Side,
    statistics: Option<Statistics>,
    device: DeviceRef,
}

/// What is kept of the images of one side.
#[derive(Debug, Clone)]
struct Side {
    num: usize,
    features: Features,
    logits: Features,
    patches: Option<SlicedSet>,
}

impl Judge {
    /// Looks at the real images, at most [`JudgeOptions::num`] of them.
    ///
    /// # Errors
    /// [`Error::TooFewImages`], [`Error::Classless`] for an Inception score in a space without classes, and what reading
    /// and the space meet.
    pub fn new(
        space: Arc<dyn FeatureSpace>,
        real: &dyn Dataset,
        options: JudgeOptions,
        device: &DeviceRef,
    ) -> Result<Self> {
        Self::with_progress(space, real, options, device, &mut |_| {})
    }

    /// [`Judge::new`], telling how many images it has looked at.
    ///
    /// # Errors
    /// Those of [`Judge::new`].
    pub fn with_progress(
        space: Arc<dyn FeatureSpace>,
        real: &dyn Dataset,
        options: JudgeOptions,
        device: &DeviceRef,
        progress: &mut dyn FnMut(usize),
    ) -> Result<Self> {
        if let Some(kind) = options.scores.iter().find(|kind| kind.needs_classes())
            && space.num_classes().is_none()
        {
            return Err(Error::Classless { score: kind.name() });
        }
        let shape = real.shape();
        let mut judge = Self {
            real: Side::new(shape, &options)?,
            space,
            shape,
            options,
            statistics: None,
            device: device.clone(),
        };
        let mut side = judge.real.clone();
        judge.look_at_all(real, &mut side, progress)?;
        if judge.options.wants(ScoreKind::Fid) {
            judge.statistics = Some(Statistics::of(&side.features)?);
        }
        judge.real = side;
        Ok(judge)
    }

    /// The shape of the images that it compares.
    pub fn shape(&self) -> ImageShape {
        self.shape
    }

    /// Number of real images that it knows.
    pub fn num_real(&self) -> usize {
        self.real.num
    }

    /// The feature space.
    pub fn space(&self) -> &dyn FeatureSpace {
        self.space.as_ref()
    }

    /// Begins to score a stream of fakes.
    pub fn judging(&self) -> Result<Judging<'_>> {
        Ok(Judging {
            judge: self,
            side: Side::new(self.shape, &self.options)?,
        })
    }

    /// Scores a set of images, at most [`JudgeOptions::num`] of them.
    ///
    /// # Errors
    /// [`Error::UnlikeImages`] if they are of another shape, and those of [`Judging::finish`].
    pub fn score(&self, fakes: &dyn Dataset, progress: &mut dyn FnMut(usize)) -> Result<Vec<Score>> {
        check_like(self.shape, fakes.shape())?;
        let mut judging = self.judging()?;
        self.look_at_all(fakes, &mut judging.side, progress)?;
        judging.finish()
    }

    /// How far images are from their partners of the same index in the feature space, see [`distance_to_partners`]; `None`
    /// if no score looks at features, or for a single image.
    ///
    /// # Errors
    /// [`Error::UnlikeImages`] if they are of another shape, and those of [`distance_to_partners`].
    pub fn distance(&self, score: &str, [made, partners]: [&dyn Dataset; 2]) -> Result<Option<Score>> {
        if made.len() < 2 || !self.options.scores.iter().any(|kind| kind.needs_features()) {
            return Ok(None);
        }
        let features = |images: &dyn Dataset| {
            check_like(self.shape, images.shape())?;
            let mut side = Side::new(self.shape, &self.options)?;
            self.look_at_all(images, &mut side, &mut |_| ())?;
            Ok::<_, Error>(side.features)
        };
        let (made, partners) = (features(made)?, features(partners)?);
        let name = score_name(score, made.num(), Some(self.space.name()));
        distance_to_partners(name, [&made, &partners], self.options.resampling).map(Some)
    }

    fn look_at_all(&self, images: &dyn Dataset, side: &mut Side, progress: &mut dyn FnMut(usize)) -> Result<()> {
        let num = images.len().min(self.options.num);
        let order = Sampler::new(self.options.seed, images.len());
        let mut pixels = Vec::new();
        for from in (0..num).step_by(self.space.batch()) {
            let to = (from + self.space.batch()).min(num);
            pixels.resize((to - from) * self.shape.bytes(), 0);
            for (place, pixels) in (from..to).zip(pixels.chunks_exact_mut(self.shape.bytes())) {
                // Of a set that is taken whole, too, in an order of chance: files often come class by class, and some scores
                // look at the first few.
                images.read(order.draw(place as u64).index, pixels)?;
            }
            self.look(&pixels, side)?;
            progress(to);
        }
        Ok(())
    }

    /// Features of images in bytes, as many as [`FeatureSpace::batch`] at once.
    fn look(&self, pixels: &[u8], side: &mut Side) -> Result<()> {
        let images = to_tensor(pixels, self.shape, &self.device)?;
        if let Some(patches) = &mut side.patches {
            patches.add(&images.to_vec()?);
        }
        side.num += images.side(0);
        if !self.options.scores.iter().any(|kind| kind.needs_features()) {
            return Ok(());
        }
        let extracted = no_grad(|| self.space.extract(&images))?;
        side.features.append(extracted.features)?;
        if self.options.scores.iter().any(|kind| kind.needs_classes())
            && let Some(logits) = extracted.logits
        {
            side.logits.append(logits)?;
        }
        Ok(())
    }
}

fn check_like(expected: ImageShape, got: ImageShape) -> Result<()> {
    if expected == got {
        return Ok(());
    }
    Err(Error::UnlikeImages {
        expected: expected.to_string(),
        got: got.to_string(),
    })
}

impl Side {
    fn new(shape: ImageShape, options: &JudgeOptions) -> Result<Self> {
        let patches = options
            .wants(ScoreKind::Swd)
            .then(|| SlicedSet::new(shape, options.sliced))
            .transpose()?;
        Ok(Self {
            num: 0,
            features: Features::default(),
            logits: Features::default(),
            patches,
        })
    }
}

/// A stream of fakes on its way to a score.
#[derive(Debug)]
pub struct Judging<'a> {
    judge: &'a Judge,
    side: Side,
}

impl Judging<'_> {
    /// Looks at images, rounded to bytes first as they would be in a file.
    ///
    /// # Shapes
    /// - `images`: `[num, height, width, channels]`, −1..=1
    ///
    /// # Errors
    /// [`Error::UnlikeImages`] if they are of another shape than the real ones.
    pub fn add(&mut self, images: &Tensor) -> Result<()> {
        let [height_px, width_px, channels] = [1, 2, 3].map(|axis| images.side(axis));
        check_like(
            self.judge.shape,
            ImageShape {
                height_px,
                width_px,
                channels,
            },
        )?;
        self.add_bytes(&to_bytes(&images.to_vec()?))
    }

    /// [`Judging::add`] with bytes 0..=255.
    ///
    /// # Errors
    /// What the feature space meets.
    pub fn add_bytes(&mut self, pixels: &[u8]) -> Result<()> {
        let batch = self.judge.space.batch() * self.judge.shape.bytes();
        pixels
            .chunks(batch)
            .try_for_each(|pixels| self.judge.look(pixels, &mut self.side))
    }

    /// Images so far.
    pub fn num(&self) -> usize {
        self.side.num
    }

    /// The scores, in the order of [`ScoreKind::ALL`].
    ///
    /// # Errors
    /// [`Error::TooFewImages`] names the score.
    pub fn finish(self) -> Result<Vec<Score>> {
        let (judge, options, fake) = (self.judge, &self.judge.options, self.side);
        let space = Some(judge.space.name());
        let mut scores = Vec::new();
        let mut push = |name: &str, num: usize, space: Option<&str>, value, interval, better| {
            scores.push(Score {
                name: score_name(name, num, space),
                value,
                interval,
                better,
            });
        };
        if let Some(statistics) = &judge.statistics {
            let (value, interval) = frechet_distance_with_interval(statistics, &fake.features, options.resampling)?;
            push("fid", fake.num, space, value, interval, Better::Lower);
        }
        if options.wants(ScoreKind::Kid) {
            let distances = kernel_distance(&judge.real.features, &fake.features, options.kernel)?;
            push(
                "kid",
                fake.num,
                space,
                distances.mean(),
                distances.interval(),
                Better::Lower,
            );
        }
        if options.wants(ScoreKind::Is) {
            // Files often come class by class, and a split of one class would score nothing.
            let order = choose(RandomKey::from_seed(options.seed).named("splits"), fake.num, fake.num);
            let shuffled = fake.logits.select(&order);
            let score = inception_score(&shuffled, options.splits)?;
            let interval = inception_score_interval(&shuffled, &score, options.resampling);
            push("is", fake.num, space, score.mean(), interval, Better::Higher);
        }
        if options.wants(ScoreKind::Prdc) {
            let found = neighborhoods(&judge.real.features, &fake.features, options.neighbors)?;
            let values = found.scores();
            let values = [
                ("precision", values.precision),
                ("recall", values.recall),
                ("density", values.density),
                ("coverage", values.coverage),
            ];
            for ((name, value), interval) in values.into_iter().zip(found.intervals(options.resampling)) {
                push(name, fake.num, space, value, interval, Better::Higher);
            }
        }
        if let (Some(real), Some(fake)) = (&judge.real.patches, &fake.patches) {
            let num = real.num().min(fake.num());
            let [real, fake] = [real, fake].map(|patches| patches.first(num));
            let scales = sliced_distance(&real, &fake)?;
            let mean = scales.iter().sum::<f64>() / scales.len() as f64;
            let interval = sliced_interval(&real, &fake, mean, options.resampling);
            push("swd", num, None, mean, interval, Better::Lower);
        }
        if options.wants(ScoreKind::Modes) {
            let [real, found] = [&judge.real.logits, &fake.logits].map(Tally::of_classes);
            let intervals = found.intervals_from(&real, options.resampling);
            let [of_modes, of_divergence] = [
                intervals.map(|intervals| intervals.modes),
                intervals.map(|intervals| intervals.divergence),
            ];
            let (modes, divergence) = (found.count().modes as f64, found.divergence_from(&real));
            push("modes", fake.num, space, modes, of_modes, Better::Higher);
            push("class_kl", fake.num, space, divergence, of_divergence, Better::Lower);
        }
        Ok(scores)
    }
}

#[cfg(test)]
mod tests {
    use gander_data::{InMemory, Pottery, PotteryConfig, pottery::PictureSize};
    use gander_tensor::Cpu;

    use super::*;
    use crate::features::Pixels;

    fn pots(seed: u64, num: usize) -> Pottery {
        Pottery::new(PotteryConfig {
            size: PictureSize::square(32),
            len: num,
            seed,
            ..PotteryConfig::default()
        })
        .unwrap()
    }

    fn judge(scores: &[ScoreKind]) -> Judge {
        let options = JudgeOptions {
            scores: scores.to_vec(),
            num: 60,
            ..JudgeOptions::default()
        };
        Judge::new(Arc::new(Pixels), &pots(1, 80), options, &Cpu::shared()).unwrap()
    }

    #[test]
    fn every_score_has_its_name() {
        let kinds = [ScoreKind::Fid, ScoreKind::Kid, ScoreKind::Prdc, ScoreKind::Swd];
        let scores = judge(&kinds).score(&pots(2, 60), &mut |_| {}).unwrap();
        let names: Vec<&str> = scores.iter().map(|score| score.name.as_str()).collect();
        assert_eq!(
            names.join(" "),
            "fid60_pixels kid60_pixels precision60_pixels recall60_pixels density60_pixels coverage60_pixels swd60"
        );
        assert!(scores.iter().all(|score| score.value.is_finite()), "{scores:?}");
    }

    /// A stream in odd parts is the set; floats are rounded to the bytes that a file would hold.
    #[test]
    fn a_stream_scores_as_the_set_does() {
        let judge = judge(&[ScoreKind::Fid, ScoreKind::Swd]);
        let fakes = pots(2, 30);
        let bytes = judge.shape().bytes();
        // In the order in which the judge looks at a set.
        let order = Sampler::new(judge.options.seed, 30);
        let mut pixels = vec![0; 30 * bytes];
        for (place, pixels) in pixels.chunks_exact_mut(bytes).enumerate() {
            fakes.read(order.draw(place as u64).index, pixels).unwrap();
        }
        let mut judging = judge.judging().unwrap();
        judging.add_bytes(&pixels[..7 * bytes]).unwrap();
        let rest: Vec<f32> = pixels[7 * bytes..]
            .iter()
            .map(|&b| f32::from(b) / 127.5 - 0.998)
            .collect();
        let shape = [
            23,
            judge.shape().height_px,
            judge.shape().width_px,
            judge.shape().channels,
        ];
        judging
            .add(&Tensor::from_slice(&rest, shape, &Cpu::shared()).unwrap())
            .unwrap();
        assert_eq!(judging.num(), 30);
        assert_eq!(judging.finish().unwrap(), judge.score(&fakes, &mut |_| {}).unwrap());
    }

    /// Files come class by class, and patches are cut from the first few images.
    #[test]
    fn a_set_is_not_judged_by_its_first_images() {
        let shape = ImageShape {
            height_px: 16,
            width_px: 16,
            channels: 1,
        };
        let smooth = |at: usize| (at % 16 * 10 + at / 256) as u8;
        let rough = |at: usize| (at * 73 % 251) as u8;
        let set = |kinds: [&dyn Fn(usize) -> u8; 2]| {
            let pixels = (0..32 * 256).map(|at| kinds[at / (16 * 256)](at)).collect();
            InMemory::new(shape, pixels).unwrap()
        };
        let options = JudgeOptions {
            scores: vec![ScoreKind::Swd],
            sliced: SlicedOptions {
                num: 12,
                ..SlicedOptions::default()
            },
            ..JudgeOptions::default()
        };
        let distance = |real: &InMemory, fake: &InMemory| {
            let judge = Judge::new(Arc::new(Pixels), real, options.clone(), &Cpu::shared()).unwrap();
            judge.score(fake, &mut |_| {}).unwrap()[0].value
        };
        let (one, other) = (set([&smooth, &rough]), set([&rough, &smooth]));
        let apart = distance(&set([&smooth, &smooth]), &set([&rough, &rough]));
        assert!(
            distance(&one, &other) < 0.5 * apart,
            "{} {apart}",
            distance(&one, &other)
        );
    }

    #[test]
    fn what_cannot_be_scored_is_named() {
        let options = JudgeOptions {
            scores: vec![ScoreKind::Is],
            ..JudgeOptions::default()
        };
        let refused = Judge::new(Arc::new(Pixels), &pots(1, 8), options, &Cpu::shared());
        assert!(matches!(refused, Err(Error::Classless { score: "is" })));
        let judge = judge(&[ScoreKind::Fid]);
        let small = InMemory::new(
            ImageShape {
                height_px: 8,
                width_px: 8,
                channels: 3,
            },
            vec![0; 192 * 2],
        )
        .unwrap();
        assert!(matches!(
            judge.score(&small, &mut |_| {}),
            Err(Error::UnlikeImages { .. })
        ));
        let mut judging = judge.judging().unwrap();
        judging.add_bytes(&vec![0; judge.shape().bytes()]).unwrap();
        assert!(matches!(
            judging.finish(),
            Err(Error::TooFewImages { score: "fid", .. })
        ));
    }
}
