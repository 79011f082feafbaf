//! Everything that decides a run, as it stands in `config.toml`.

use std::{
    fs,
    path::{Path, PathBuf},
};

use gander_data::OpenOptions;
use gander_tensor::{Isa, Precision};
use serde::{Deserialize, Serialize};

use super::{
    schedule::{Probability, Ramp},
    state::PlanCorrection,
};
use crate::{
    augment::AugmentPolicy,
    error::{Error, Result},
    features::SpaceChoice,
    losses::Loss,
    models::{ModelConfig, pix2pix::Normalization},
};

/// Everything that decides a run. Together with the data it makes the run repeatable.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunConfig {
    /// Version of this format.
    pub version: u32,
    /// Seed of everything random.
    pub seed: u64,
    /// Where and how the images are read.
    pub data: DataConfig,
    /// The two networks.
    pub model: ModelConfig,
    /// How they are trained.
    pub training: TrainingConfig,
    /// How it is judged on the way.
    #[serde(default)]
    pub evaluation: EvaluationConfig,
    /// What the processor does.
    pub device: DeviceConfig,
    /// How the plan's length changed on the way, where it did, as by the clock of `--minutes`; a run from these settings follows it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub plan: Vec<PlanCorrection>,
}

impl RunConfig {
    /// The version that this program writes.
    pub const VERSION: u32 = 1;

    /// Reads what stands in a `config.toml`.
    ///
    /// # Errors
    /// [`Error::Io`] for a file that cannot be read, [`Error::NotOurs`] for one that does not hold all settings of a
    /// run, [`Error::Version`] for those of another version.
    pub fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).map_err(|source| Error::Io {
            action: "read",
            path: path.to_owned(),
            source,
        })?;
        let not_ours = |reason: &toml::de::Error| Error::NotOurs {
            path: path.to_owned(),
            expected: "config.toml",
            reason: reason.message().to_owned(),
        };
        let table: toml::Table = text.parse().map_err(|error| not_ours(&error))?;
        match table.get("version").and_then(toml::Value::as_integer) {
            Some(got) if got != i64::from(Self::VERSION) => Err(Error::Version {
                path: path.to_owned(),
                got: u64::try_from(got).unwrap_or_default(),
                expected: Self::VERSION,
            }),
            _ => table.try_into().map_err(|error| not_ours(&error)),
        }
    }

    /// Refuses what no run can be made of.
    ///
    /// # Errors
    /// [`Error::InvalidSetting`] names the setting, [`Error::UnsupportedSize`] what the family cannot make.
    pub fn validate(&self) -> Result<()> {
        self.model.validate()?;
        self.evaluation.validate()?;
        self.training.validate()?;
        self.validate_plan()?;
        if self.model.translates() {
            let takes_r1 = matches!(self.model, ModelConfig::Sincut(_));
            self.training.validate_translation(takes_r1)?;
            if let ModelConfig::Pix2pix(config) = &self.model
                && config.normalization == Normalization::Batch
                && self.training.batch < 2
            {
                return Err(Error::InvalidSetting {
                    setting: "model.normalization",
                    value: "batch, with training.batch=1 (instance is for batches of one)".into(),
                });
            }
        }
        Ok(())
    }

    /// The settings with the length that a run had in the end, and how it came to it.
    pub(crate) fn with_plans(mut self, plans: Vec<PlanCorrection>) -> Self {
        if let Some(last) = plans.last() {
            (self.training.total_kimg, self.training.burn_in_kimg) = (last.total_kimg, last.burn_in_kimg);
        }
        self.plan = plans;
        self
    }

    /// Forgets how the length came about where somebody wants another one.
    pub(crate) fn forget_other_plans(&mut self) {
        let TrainingConfig {
            total_kimg,
            burn_in_kimg,
            ..
        } = self.training;
        let leads_here = |last: &PlanCorrection| (last.total_kimg, last.burn_in_kimg) == (total_kimg, burn_in_kimg);
        if !self.plan.last().is_some_and(leads_here) {
            self.plan.clear();
        }
    }

    fn validate_plan(&self) -> Result<()> {
        let is_length = |correction: &PlanCorrection| {
            let PlanCorrection {
                total_kimg,
                burn_in_kimg,
                ..
            } = *correction;
            total_kimg.is_finite() && total_kimg > 0.0 && burn_in_kimg.is_finite() && burn_in_kimg >= 0.0
        };
        if self.plan.iter().all(is_length) && self.plan.is_sorted_by_key(|correction| correction.images_seen) {
            return Ok(());
        }
        Err(Error::InvalidSetting {
            setting: "plan",
            value: "lengths that are not positive, or not in order".into(),
        })
    }
}

/// Where and how the images are read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataConfig {
    /// Folders, archives, IDX or NPZ files; none for pottery.
    pub sources: Vec<PathBuf>,
    /// Whether each drawn image is mirrored half of the time.
    pub flip: bool,
    /// Whether families that translate take the second pictures for A and the first for B.
    #[serde(default)]
    pub swap: bool,
    /// Images that pottery has.
    pub pottery_images: usize,
    /// Size, channels, labels, cropping.
    pub open: OpenOptions,
}

/// How the two networks are trained.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainingConfig {
    /// Thousands of images that the discriminator sees in all.
    pub total_kimg: f64,
    /// Thousands of images over which ramps move.
    pub burn_in_kimg: f64,
    /// Images in one update.
    pub batch: usize,
    /// Parts that a batch is computed in, one after the other, to save memory.
    pub accumulate: usize,
    /// Share of the run, at its end, over which the learning rate falls to zero in a line; 0 for none.
    #[serde(default)]
    pub decay_share: f64,
    /// Discriminator updates in one step.
    pub discriminator_updates: usize,
    /// Generator updates in one step.
    pub generator_updates: usize,
    /// The contest.
    pub loss: Loss,
    /// Adam's learning rate.
    pub learning_rate: Ramp,
    /// Adam's decay of the mean gradient.
    pub beta1: f64,
    /// Adam's decay of the mean squared gradient.
    pub beta2: Ramp,
    /// Adam's eps.
    pub adam_eps: f64,
    /// Weight of R1: `r1_gamma / 2` times the squared gradient norm at real images; 0 for none.
    pub r1_gamma: Ramp,
    /// Weight of R2, the same at fake images.
    pub r2_gamma: Ramp,
    /// Steps from one R1 and R2 to the next, each of which counts that many times as much.
    #[serde(default = "every_step")]
    pub penalty_every: u64,
    /// Weight of the WGAN-GP penalty; 0 for none.
    pub gradient_penalty: f64,
    /// Limit of the discriminator's weights; 0 for none.
    pub weight_clip: f64,
    /// What the discriminator sees changed.
    pub augment: AugmentPolicy,
    /// Probability of each change: a number, a ramp, or `"adaptive"` to be steered by overfitting.
    pub augment_p: Probability,
    /// Half-life of the averaged generator, in thousands of images.
    pub ema_half_life_kimg: Ramp,
}

fn every_step() -> u64 {
    1
}

impl TrainingConfig {
    /// Plans for another length, with the same share of it for the burn-in.
    pub fn set_length(&mut self, kimg: f64) {
        let share = self.burn_in_kimg / self.total_kimg;
        (self.total_kimg, self.burn_in_kimg) = (kimg, kimg * share);
    }

    /// R1 of this weight at first, and R2 where the family has it, each falling as the family's own does.
    pub fn set_gamma(&mut self, gamma: f64) {
        self.r1_gamma = self.r1_gamma.from_start(gamma);
        if self.r2_gamma != Ramp::constant(0.0) {
            self.r2_gamma = self.r2_gamma.from_start(gamma);
        }
    }

    fn validate(&self) -> Result<()> {
        let check = |setting, value: f64, fits: bool| {
            let value = value.to_string();
            if fits {
                Ok(())
            } else {
                Err(Error::InvalidSetting { setting, value })
            }
        };
        let positive = |setting, value: f64| check(setting, value, value.is_finite() && value > 0.0);
        let not_negative = |setting, value: f64| check(setting, value, value.is_finite() && value >= 0.0);
        let share = |setting, value: f64| check(setting, value, (0.0..=1.0).contains(&value));
        positive("training.total_kimg", self.total_kimg)?;
        not_negative("training.burn_in_kimg", self.burn_in_kimg)?;
        positive("training.batch", self.batch as f64)?;
        positive("training.discriminator_updates", self.discriminator_updates as f64)?;
        positive("training.generator_updates", self.generator_updates as f64)?;
        positive("training.adam_eps", self.adam_eps)?;
        check("training.beta1", self.beta1, (0.0..1.0).contains(&self.beta1))?;
        positive("training.penalty_every", self.penalty_every as f64)?;
        not_negative("training.gradient_penalty", self.gradient_penalty)?;
        not_negative("training.weight_clip", self.weight_clip)?;
        share("training.decay_share", self.decay_share)?;
        self.augment.validate()?;
        let divides = self.accumulate > 0 && self.batch.is_multiple_of(self.accumulate);
        check("training.accumulate", self.accumulate as f64, divides)?;
        for end in [0.0, 1.0] {
            positive("training.learning_rate", self.learning_rate.at(end))?;
            let beta2 = self.beta2.at(end);
            check("training.beta2", beta2, (0.0..1.0).contains(&beta2))?;
            not_negative("training.r1_gamma", self.r1_gamma.at(end))?;
            not_negative("training.r2_gamma", self.r2_gamma.at(end))?;
            share("training.augment_p", self.augment_p.at(end))?;
            not_negative("training.ema_half_life_kimg", self.ema_half_life_kimg.at(end))?;
        }
        Ok(())
    }

    /// Refuses what would do nothing: contests of translators have their own losses and no penalties.
    fn validate_translation(&self, takes_r1: bool) -> Result<()> {
        let zero = |setting, ramp: Ramp| {
            if ramp == Ramp::constant(0.0) {
                return Ok(());
            }
            let value = format!("{} (families that translate take none)", ramp.start.max(ramp.end));
            Err(Error::InvalidSetting { setting, value })
        };
        if !takes_r1 {
            zero("training.r1_gamma", self.r1_gamma)?;
        }
        zero("training.r2_gamma", self.r2_gamma)?;
        zero("training.gradient_penalty", Ramp::constant(self.gradient_penalty))?;
        zero("training.weight_clip", Ramp::constant(self.weight_clip))?;
        if self.augment_p != Probability::constant(0.0) {
            let value = "not 0 (families that translate take none)".into();
            return Err(Error::InvalidSetting {
                setting: "training.augment_p",
                value,
            });
        }
        zero("training.ema_half_life_kimg", self.ema_half_life_kimg)?;
        let one = |setting, value: u64| match value {
            1 => Ok(()),
            _ => Err(Error::InvalidSetting {
                setting,
                value: format!("{value} (families that translate take 1)"),
            }),
        };
        one("training.penalty_every", self.penalty_every)?;
        one("training.discriminator_updates", self.discriminator_updates as u64)?;
        one("training.generator_updates", self.generator_updates as u64)?;
        zero("training.accumulate", Ramp::constant(self.accumulate as f64 - 1.0))
    }
}

/// How a run is judged while it trains. Nothing here changes what it learns.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EvaluationConfig {
    /// Fakes and real images in an evaluation; 0 for none.
    pub num: usize,
    /// Who looks.
    pub features: SpaceChoice,
    /// Thousands of images between evaluations; about 24 in a run, within a twenty-fifth of its time, if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub every_kimg: Option<f64>,
    /// Whether the run ends when its score no longer improves.
    pub stop_when_flat: bool,
}

impl Default for EvaluationConfig {
    /// A thousand images: the covariance of 768 features needs more than that many, and they take a second.
    fn default() -> Self {
        Self {
            num: 1000,
            features: SpaceChoice::Pixels,
            every_kimg: None,
            stop_when_flat: false,
        }
    }
}

impl EvaluationConfig {
    fn validate(&self) -> Result<()> {
        match self.every_kimg {
            Some(kimg) if !(kimg.is_finite() && kimg > 0.0) => Err(Error::InvalidSetting {
                setting: "evaluation.every_kimg",
                value: kimg.to_string(),
            }),
            _ => Ok(()),
        }
    }
}

/// What the processor does.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeviceConfig {
    /// Compute threads; 0 for one per core.
    pub threads: usize,
    /// Precision of multiplications.
    #[serde(with = "precision")]
    pub precision: Precision,
    /// Instruction set; the best at hand if absent.
    #[serde(with = "isa", default, skip_serializing_if = "Option::is_none")]
    pub isa: Option<Isa>,
}

mod precision {
    use gander_tensor::Precision;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
    pub(super) fn serialize<S: Serializer>(precision: &Precision, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(match precision {
            Precision::Bf16 => "bf16",
            _ => "f32",
        })
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Precision, D::Error> {
        match String::deserialize(deserializer)?.as_str() {
            "f32" => Ok(Precision::F32),
            "bf16" => Ok(Precision::Bf16),
            other => Err(D::Error::unknown_variant(other, &["f32", "bf16"])),
        }
    }
}

mod isa {
    use gander_tensor::Isa;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    const NAMES: [(&str, Isa); 4] = [
        ("avx512", Isa::Avx512),
        ("avx2", Isa::Avx2),
        ("neon", Isa::Neon),
        ("portable", Isa::Portable),
    ];

    #[expect(
        clippy::trivially_copy_pass_by_ref,
        clippy::ref_option,
        reason = "serde gives a reference"
    )]
    pub(super) fn serialize<S: Serializer>(isa: &Option<Isa>, serializer: S) -> Result<S::Ok, S::Error> {
        match NAMES.iter().find(|(_, known)| Some(*known) == *isa) {
            Some((name, _)) => serializer.serialize_some(name),
            None => serializer.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Isa>, D::Error> {
        let name = String::deserialize(deserializer)?;
        match NAMES.iter().find(|(known, _)| *known == name) {
            Some((_, isa)) => Ok(Some(*isa)),
            None => Err(D::Error::unknown_variant(
                &name,
                &["avx512", "avx2", "neon", "portable"],
            )),
        }
    }
}
