//! From what a user asks for to settings and opened data.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use gander_data::{
    Dataset, Labels, Opened, Remembered, Size, Skipped,
    pottery::{PictureSize, Pottery, PotteryConfig},
};
use gander_tensor::{Cpu, CpuOptions, DeviceRef, Isa, Precision};

use super::{Length, TrainRequest, copies, rationale, two_sets};
use crate::{
    error::{Error, Result},
    models::ImageSpec,
    run::{RunDirectory, RunLock},
    train::{
        Budget, RunConfig, TrainState, checkpoint,
        config::{DataConfig, DeviceConfig, EvaluationConfig, TrainingConfig},
        defaults::{self, Material},
        fitting, overrides,
        schedule::Probability,
        trainer::{self, Pairing, Partners},
    },
};

/// Settings and opened data, before anything is written.
pub struct Planned {
    pub(super) config: RunConfig,
    pub(super) target: Target,
    pub(super) data: Data,
    pub(super) budget: Budget,
    pub(super) device: DeviceRef,
    pub(super) skipped: Vec<Skipped>,
    /// Why the settings are what they are, line by line; empty for a run that goes on.
    pub(super) rationale: Vec<String>,
    /// When the clock of a time budget began.
    pub(super) started: Instant,
}

/// Where the files of a run go, and what it starts from.
pub(super) enum Target {
    /// A new directory below this one.
    New { base: PathBuf, init: Option<PathBuf> },
    /// A run that goes on from a checkpoint, in a directory that is this process's own from before the checkpoint was read.
    Existing {
        directory: RunDirectory,
        lock: RunLock,
        state: Box<TrainState>,
    },
}

/// The images of a run.
pub(super) struct Data {
    pub(super) name: String,
    pub(super) train: Arc<dyn Dataset>,
    pub(super) holdout: Option<Arc<dyn Dataset>>,
    /// The second set of a family that translates.
    pub(super) partners: Option<Partners>,
    /// Those held out of the second set.
    pub(super) held_out_partners: Option<Partners>,
}

impl Data {
    /// Pairs that show what a translation should be: held-out ones, else those trained on; none of two collections.
    pub(super) fn held_out_pairs(&self) -> Option<[&Arc<dyn Dataset>; 2]> {
        let is_paired = |partners: &&Partners| partners.pairing == Pairing::Paired;
        let held = self
            .holdout
            .as_ref()
            .zip(self.held_out_partners.as_ref().filter(is_paired));
        let (images, partners) = held.or_else(|| Some((&self.train, self.partners.as_ref().filter(is_paired)?)))?;
        Some([images, &partners.images])
    }
}

/// Sides that are asked for are multiples of this: the networks halve the resolution at least twice.
pub const REQUESTED_MULTIPLE: usize = 4;

/// Images of each class from which a generator learns the classes without being told to.
///
/// Knowing the class makes better images where each class has thousands; with few images of each it can make a generator
/// repeat itself (Shahbazi et al. 2022, <https://arxiv.org/abs/2201.06578>).
pub const ENOUGH_OF_A_CLASS: u64 = 500;

/// Images below which a discriminator could learn them by heart within minutes, so that it is shown them changed as far as it
/// does.
const FEW_IMAGES: usize = 5000;

/// Classes beyond which folders are more likely names of something else, such as days.
const MOST_CLASSES: usize = 1000;

/// Images that are held out of sets without a split of their own, to see whether the others are learned by heart: as many as are
/// looked at. A tenth of a small set are fewer; of less than 400 images, none.
const AUTO_HOLDOUT: usize = copies::NUM;

/// The setting of a run's length.
const LENGTH: &str = "training.total_kimg";

/// The share of `--minutes` that writing the results at the end may take.
const MINUTES_FOR_TRAINING: f64 = 0.985;

/// Chooses what the user left open, and opens the data.
///
/// # Errors
/// Those of [`gander_data::open`], [`Error::InvalidConfig`] and [`Error::InvalidSetting`] for settings that cannot be,
/// [`Error::UnsupportedSize`] for a size that the family cannot make.
pub fn plan(request: &TrainRequest) -> Result<Planned> {
    let started = Instant::now();
    let material = request.family.as_deref().map_or(Material::Images, defaults::material);
    let knows_classes = request.family.as_deref().is_none_or(defaults::knows_classes);
    if request.labels == Some(true) && !knows_classes {
        let reason = "this family knows no classes: leave --labels out".into();
        return Err(Error::InvalidConfig { reason });
    }
    let minutes = request.minutes();
    if minutes.is_some() && request.set.iter().any(|(setting, _)| setting == LENGTH) {
        let reason = format!("{LENGTH} follows from the minutes: give the length as --kimg");
        return Err(Error::InvalidConfig { reason });
    }
    let mut data_config = data_config(request, material);
    // Settings of the data must be known before it is opened, those of the model can only be chosen after.
    overrides::apply_part("data", &mut data_config, &request.set)?;
    let (data, skipped) = open(&data_config, material)?;
    let base = base(request, &data_config.sources)?;
    data_config.sources.iter_mut().for_each(find_from_anywhere);
    let shape = data.train.shape();
    data_config.open.size = Some(Size {
        width_px: shape.width_px,
        height_px: shape.height_px,
    });
    let images = ImageSpec {
        height_px: shape.height_px,
        width_px: shape.width_px,
        channels: shape.channels,
        num_classes: match data_config.open.labels {
            Labels::Require => data.train.classes().len(),
            Labels::WherePresent => classes_to_learn(&data),
            Labels::Ignore => 0,
        },
    };

    let mut choice = defaults::choose(request.family.as_deref(), request.preset.as_deref(), images)?;
    if let Some(size) = request.size {
        check_requested(size, choice.model.family())?;
    }
    let device_config = device_config(request)?;
    let pace = minutes.map(|minutes| fitting::fit(&mut choice, minutes, &device(&device_config)?));
    let pace = pace.transpose()?;
    let mut training = choice.training;
    if request.leaves_family_open() && data.train.len() < FEW_IMAGES {
        training.augment_p = Probability::ADAPTIVE;
    }
    as_asked(&mut training, request);
    let config = RunConfig {
        version: RunConfig::VERSION,
        seed: request.seed.unwrap_or(0),
        data: data_config,
        model: choice.model,
        training,
        evaluation: EvaluationConfig {
            stop_when_flat: request.stop_when_flat,
            ..EvaluationConfig::default()
        },
        device: device_config,
        plan: Vec::new(),
    };
    let mut config = overrides::apply(config, &request.set)?;
    config.validate()?;
    let pace = pace.map(|pace| pace.of(&config.model)).transpose()?;
    let seconds = minutes.map(seconds_for_training);
    if let Some((pace, seconds)) = pace.zip(seconds) {
        // What a run goes on with that is killed before its first steps are timed.
        config
            .training
            .set_length((pace.images_per_second * seconds).ceil() / 1000.0);
    }
    let budget = seconds.map_or(Budget::Images, |seconds| Budget::Time { seconds });
    let rationale = rationale::of(request, &config, data.train.len(), pace);
    Ok(Planned {
        target: Target::New {
            base,
            init: request.init.clone(),
        },
        device: device(&config.device)?,
        config,
        data,
        budget,
        skipped,
        rationale,
        started,
    })
}

/// How the data is opened, before single settings.
fn data_config(request: &TrainRequest, material: Material) -> DataConfig {
    let open = gander_data::OpenOptions::default();
    let knows_classes = request.family.as_deref().is_none_or(defaults::knows_classes);
    DataConfig {
        sources: request.sources.clone(),
        flip: material != Material::Images,
        swap: false,
        pottery_images: defaults::POTTERY_IMAGES,
        open: gander_data::OpenOptions {
            size: request.size,
            labels: match request.labels {
                Some(true) => Labels::Require,
                None if knows_classes => Labels::WherePresent,
                None | Some(false) => Labels::Ignore,
            },
            holdout: request.holdout.filter(|share| *share > 0.0),
            auto_holdout: match request.holdout {
                None if material == Material::Images => AUTO_HOLDOUT,
                _ => 0,
            },
            threads: request.threads.unwrap_or(0),
            auto_side_px: request.minutes().map_or(open.auto_side_px, |minutes| {
                auto_side_px(material != Material::Images, minutes)
            }),
            ..open
        },
    }
}

/// What computes, single settings included: networks are fitted to its speed.
fn device_config(request: &TrainRequest) -> Result<DeviceConfig> {
    let mut config = DeviceConfig {
        threads: request.threads.unwrap_or(0),
        precision: Precision::F32,
        isa: None,
    };
    overrides::apply_part("device", &mut config, &request.set)?;
    let fastest = || config.isa.unwrap_or_else(Isa::detect).fastest_precision();
    config.precision = request.precision.unwrap_or_else(fastest);
    overrides::apply_part("device", &mut config, &request.set)?;
    Ok(config)
}

/// Where the run directory goes: not into the data, where the next run would learn from the samples of this one.
fn base(request: &TrainRequest, sources: &[PathBuf]) -> Result<PathBuf> {
    let base = request.out.clone().unwrap_or_else(|| PathBuf::from("runs"));
    if sources.iter().any(|source| gander_data::lies_in(&base, source)) {
        return Err(Error::Occupied {
            path: base,
            reason: "it lies in the data",
        });
    }
    Ok(base)
}

/// Makes a path mean the same whatever folder the run is resumed in.
fn find_from_anywhere(source: &mut PathBuf) {
    if let Ok(absolute) = std::path::absolute(&*source) {
        *source = absolute;
    }
}

fn seconds_for_training(minutes: f64) -> f64 {
    minutes * 60.0 * MINUTES_FOR_TRAINING
}

/// What of the training the request says itself.
fn as_asked(training: &mut TrainingConfig, request: &TrainRequest) {
    if let Some(Length::Kimg(kimg)) = request.length {
        training.set_length(kimg);
        fitting::fit_average(training, kimg);
    }
    training.batch = request.batch.unwrap_or(training.batch);
    training.accumulate = request.accumulate.unwrap_or(training.accumulate);
    if let Some(gamma) = request.gamma {
        training.set_gamma(gamma);
    }
}

/// Repeats a run from the settings in a file, as [`RunDirectory`] writes them; of the request only length in images,
/// seed, threads, where to and single settings count.
///
/// # Errors
/// [`Error::InvalidConfig`] for a file that does not hold the settings of a run, and those of [`plan`].
pub fn plan_again(path: &Path, request: &TrainRequest) -> Result<Planned> {
    let started = Instant::now();
    let mut config = RunConfig::read(path)?;
    config.seed = request.seed.unwrap_or(config.seed);
    config.device.threads = request.threads.unwrap_or(config.device.threads);
    if let Some(Length::Kimg(kimg)) = request.length {
        config.training.set_length(kimg);
    }
    let mut config = overrides::apply(config, &request.set)?;
    config.forget_other_plans();
    let base = base(request, &config.data.sources)?;
    config.validate()?;
    let (data, skipped) = open(&config.data, defaults::material(config.model.family()))?;
    Ok(Planned {
        target: Target::New { base, init: None },
        device: device(&config.device)?,
        config,
        data,
        budget: Budget::Images,
        skipped,
        rationale: Vec::new(),
        started,
    })
}

/// How many classes a dataset has that nobody spoke of, if every image has one and each has enough images, held-out ones included;
/// else none.
fn classes_to_learn(data: &Data) -> usize {
    let counts = gander_data::label_counts(data.train.as_ref());
    let all_have_one = counts.iter().sum::<u64>() == data.train.len() as u64;
    let held_out = data
        .holdout
        .as_deref()
        .map(gander_data::label_counts)
        .unwrap_or_default();
    let held_out = held_out.iter().copied().chain(std::iter::repeat(0));
    let are_enough = counts
        .iter()
        .zip(held_out)
        .all(|(count, held)| count + held >= ENOUGH_OF_A_CLASS);
    if all_have_one && are_enough && (2..=MOST_CLASSES).contains(&counts.len()) {
        counts.len()
    } else {
        0
    }
}

/// The longest side that is worth so many minutes, for families that translate or make images from latents.
///
/// On two cores: a DCGAN of width 32 is shown some 300 images of 64 px in a second, and a quarter as many of 128.
pub(super) fn auto_side_px(translates: bool, minutes: f64) -> usize {
    match (translates, minutes) {
        (false, ..=120.0) => 64,
        (false, ..=1440.0) | (true, ..=480.0) => 128,
        _ => 256,
    }
}

/// Whether a run could be asked to make images of this size.
///
/// # Errors
/// [`Error::UnsupportedSize`] if the family that a run takes by itself cannot.
pub fn check_size(size: Size) -> Result<()> {
    let images = ImageSpec {
        height_px: size.height_px,
        width_px: size.width_px,
        channels: 3,
        num_classes: 0,
    };
    let choice = defaults::choose(None, None, images)?;
    check_requested(size, choice.model.family())
}

/// A size that somebody asks for is one that networks halve well; the data's own may be any that the family can make,
/// and what its network needs beyond it is cropped.
fn check_requested(size: Size, family: &'static str) -> Result<()> {
    let Size { width_px, height_px } = size;
    if width_px.is_multiple_of(REQUESTED_MULTIPLE) && height_px.is_multiple_of(REQUESTED_MULTIPLE) {
        return Ok(());
    }
    let reason = format!("a resolution that is asked for has sides that are multiples of {REQUESTED_MULTIPLE}");
    Err(Error::UnsupportedSize {
        family,
        width_px,
        height_px,
        reason,
    })
}

/// Reads the newest whole checkpoint of a run, and opens its data again.
///
/// # Errors
/// [`Error::RunInUse`], [`Error::NoCheckpoint`], [`Error::NoReadableCheckpoint`], [`Error::DataChanged`] if the images are not
/// what they were, and [`Error::AlreadyLonger`] for a length that lies behind it.
pub fn plan_resume(directory: &Path, length: Option<Length>, threads: Option<usize>) -> Result<Planned> {
    let started = Instant::now();
    let directory = RunDirectory::open(directory)?;
    let lock = directory.lock()?;
    let (path, header) = newest_checkpoint(&directory)?;
    let mut config = header.config;
    config.validate()?;
    config.device.threads = threads.unwrap_or(config.device.threads);
    let device = device(&config.device)?;
    let (data, skipped) = open(&config.data, defaults::material(config.model.family()))?;
    let is = trainer::fingerprint(data.train.as_ref(), data.partners.as_ref());
    if is != header.data_fingerprint {
        return Err(Error::DataChanged {
            was: header.data_fingerprint,
            is,
        });
    }
    let (header, tensors) = checkpoint::load(&path, &device)?;
    let mut state = TrainState::new(&config, &device)?;
    state.restore(&tensors, header.numbers)?;
    if length.is_some() {
        // What an earlier run did from here on is no longer followed.
        config.plan.clear();
    }
    let budget = match length {
        None => Budget::Images,
        Some(Length::Kimg(kimg)) => {
            let images_seen = state.progress.images_seen;
            // A run ends with the step that fulfils its plan: asked for the same once more, it has nothing to do.
            let in_a_step = config.training.batch * config.training.discriminator_updates;
            if kimg * 1000.0 + in_a_step as f64 <= images_seen as f64 {
                return Err(Error::AlreadyLonger { images_seen, kimg });
            }
            state.progress.extend(&config.training, kimg);
            Budget::Images
        }
        Some(Length::Minutes(minutes)) => Budget::Time {
            seconds: state.progress.seconds + seconds_for_training(minutes),
        },
    };
    let target = Target::Existing {
        directory,
        lock,
        state: Box::new(state),
    };
    Ok(Planned {
        config,
        target,
        data,
        budget,
        device,
        skipped,
        rationale: Vec::new(),
        started,
    })
}

/// What a run that translates is judged by.
pub struct HeldOut {
    /// Images of the first set: held-out ones where there are any.
    pub inputs: Arc<dyn Dataset>,
    /// Of the second set, at which translations aim.
    pub targets: Arc<dyn Dataset>,
    /// Whether the same index shows an input and its truth.
    pub pairing: Pairing,
    /// The second set that the run trained on.
    pub trained_on: Arc<dyn Dataset>,
    /// Whether inputs and targets were never trained on.
    pub is_held_out: bool,
}

/// Opens the sets of a run that translates once more, as what its family learns from or as pairs.
///
/// # Errors
/// [`Error::MakesFromLatents`] if its family does not translate, and those of [`plan`].
pub fn held_out(config: &RunConfig, material: Material) -> Result<HeldOut> {
    let family = config.model.family();
    let (data, _) = open(&config.data, material)?;
    let partners = data.partners.ok_or(Error::MakesFromLatents { family })?;
    let trained_on = partners.images.clone();
    Ok(match data.holdout.zip(data.held_out_partners) {
        Some((inputs, held)) => HeldOut {
            inputs,
            targets: held.images,
            pairing: held.pairing,
            trained_on,
            is_held_out: true,
        },
        None => HeldOut {
            inputs: data.train,
            targets: partners.images,
            pairing: partners.pairing,
            trained_on,
            is_held_out: false,
        },
    })
}

/// Whether a file's bytes are not what was written. What the system does not give now, or another program wrote, is whole.
fn is_spoiled(error: &Error) -> bool {
    use gander_formats::Error::{OutOfMemory, Read};
    matches!(error, Error::Formats(error) if !matches!(error, Read { .. } | OutOfMemory { .. }))
}

/// The newest checkpoint that can be read; older ones serve where a disk spoiled the newest, but not where that is whole: its
/// work would be lost.
fn newest_checkpoint(directory: &RunDirectory) -> Result<(PathBuf, checkpoint::CheckpointHeader)> {
    let mut paths = directory.checkpoints()?;
    let mut newest_problem = None;
    while let Some(entry) = paths.pop() {
        match checkpoint::load_header(&entry.path) {
            Ok(header) => return Ok((entry.path, header)),
            Err(error) if is_spoiled(&error) => newest_problem = newest_problem.or(Some(error)),
            Err(error) => return Err(error),
        }
    }
    let path = directory.path().to_owned();
    Err(match newest_problem {
        Some(error) => Error::NoReadableCheckpoint {
            path,
            newest: crate::error::chain(&error),
        },
        None => Error::NoCheckpoint { path },
    })
}

fn device(config: &DeviceConfig) -> Result<DeviceRef> {
    let DeviceConfig {
        threads,
        precision,
        isa,
    } = *config;
    Ok(Cpu::with_options(CpuOptions {
        threads,
        isa,
        precision,
    })?)
}

/// Opens the images of a run, or throws pots.
pub(crate) fn open(config: &DataConfig, material: Material) -> Result<(Data, Vec<Skipped>)> {
    if material != Material::Images {
        return two_sets::open(config, material);
    }
    if config.sources.is_empty() {
        return Ok((pottery(config)?, Vec::new()));
    }
    let Opened {
        train,
        holdout,
        skipped,
        ..
    } = gander_data::open(&config.sources, &config.open)?;
    let data = Data {
        name: name_of(&config.sources[0]),
        train,
        holdout,
        partners: None,
        held_out_partners: None,
    };
    Ok((data, skipped))
}

/// What a source is called: its last part up to the first dot.
pub(super) fn name_of(source: &Path) -> String {
    let source = source.canonicalize().unwrap_or_else(|_| source.to_owned());
    let name = source
        .file_name()
        .map_or_else(|| "data".to_owned(), |name| name.to_string_lossy().into_owned());
    name.split('.').next().unwrap_or("data").to_owned()
}

/// The pots of a run, and as many more as a tenth of them, which are never trained on.
fn pottery(config: &DataConfig) -> Result<Data> {
    let Size { width_px, height_px } = config.open.size.unwrap_or(defaults::POTTERY_SIZE);
    let size = PictureSize { width_px, height_px };
    let pots = Pottery::new(PotteryConfig {
        size,
        len: config.pottery_images,
        ..PotteryConfig::default()
    })?;
    let holdout = pots.held_out(config.pottery_images.div_ceil(10))?;
    let train = Arc::new(Remembered::new(Arc::new(pots)));
    Ok(Data {
        name: "pottery".into(),
        train,
        holdout: Some(Arc::new(holdout)),
        partners: None,
        held_out_partners: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_becomes_a_length_before_the_first_step() {
        let request = TrainRequest {
            family: Some("r3gan".into()),
            size: Some(Size {
                width_px: 32,
                height_px: 32,
            }),
            length: Some(Length::Minutes(0.1)),
            set: vec![("data.pottery_images".into(), "20".into())],
            ..TrainRequest::default()
        };
        let training = plan(&request).unwrap().config.training;
        assert!((0.001..100.0).contains(&training.total_kimg), "{}", training.total_kimg);
        // A fifth of the run, as the family has it.
        assert!((training.burn_in_kimg / training.total_kimg - 0.2).abs() < 1e-9);
    }

    #[test]
    fn classes_are_learned_where_there_is_enough_of_each_and_the_family_can() {
        let classes = |family: Option<&str>, pottery_images: &str, labels| {
            let request = TrainRequest {
                family: family.map(str::to_owned),
                size: Some(Size {
                    width_px: 32,
                    height_px: 32,
                }),
                labels,
                length: Some(Length::Kimg(1.0)),
                set: vec![("data.pottery_images".into(), pottery_images.into())],
                ..TrainRequest::default()
            };
            plan(&request).unwrap().config().model.images().num_classes
        };
        // Of five classes.
        for family in [None, Some("dcgan"), Some("sngan"), Some("r3gan")] {
            assert_eq!(classes(family, "2500", None), 5, "{family:?}");
            assert_eq!(classes(family, "2000", None), 0, "{family:?}");
            assert_eq!(classes(family, "2000", Some(true)), 5, "{family:?}");
            assert_eq!(classes(family, "2500", Some(false)), 0, "{family:?}");
        }
        assert_eq!(classes(Some("article"), "2500", None), 0);
    }
}
