//! Networks that learned other images before, from which a generator may begin.
//!
//! # Source
//! Wang et al. 2018, "Transferring GANs", <https://arxiv.org/abs/1805.01677>: with few images, networks that were trained on many
//! others are the better beginning.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use gander_data::{Dataset, ImageShape};
use gander_tensor::{DeviceRef, Tensor};

use super::{Measuring, generator::FAMILY};
use crate::{
    error::{Error, Result},
    models::{ImageSpec, ModelConfig, dcgan, is_of_classes},
    train::{
        RunConfig,
        checkpoint::{self, Trained},
    },
};

/// Networks that were trained before.
#[derive(Debug)]
pub(super) struct Origin {
    path: PathBuf,
    pub(super) model: dcgan::Config,
    /// By the names of a checkpoint.
    pub(super) weights: BTreeMap<String, Tensor>,
    /// What they learned from, where a run tells.
    learned_from: Option<(RunConfig, String)>,
}

impl Origin {
    /// Reads a run's newest checkpoint or a file of weights.
    ///
    /// # Errors
    /// [`Error::UnfitOrigin`] for another family or images of another shape, and those of reading.
    pub(super) fn read(path: &Path, shape: ImageShape, device: &DeviceRef) -> Result<Self> {
        let Trained {
            model,
            tensors,
            learned_from,
        } = checkpoint::load_trained(path, device)?;
        let ModelConfig::Dcgan(model) = model else {
            return Err(unfit(path, format!("it is a {}, not a {FAMILY}", model.family())));
        };
        if let Some(reason) = wrong_shape(model.images, shape) {
            return Err(unfit(path, reason));
        }
        let class_rates = dcgan::Config::new(model.images).class_rates;
        Ok(Self {
            path: path.to_owned(),
            model: dcgan::Config { class_rates, ..model },
            // Its classes are others, though they may be as many.
            weights: tensors.into_iter().filter(|(name, _)| !is_of_classes(name)).collect(),
            learned_from,
        })
    }

    /// Refuses networks that have seen what they would be measured on.
    pub(super) fn check(&self, data: &Path, train: &dyn Dataset, measuring: Measuring) -> Result<()> {
        let Some((config, fingerprint)) = &self.learned_from else {
            return Ok(());
        };
        let is_data = |source: &PathBuf| source.canonicalize().ok() == data.canonicalize().ok();
        let has_seen = *fingerprint == train.fingerprint() || config.data.sources.iter().any(is_data);
        if measuring == Measuring::On && has_seen {
            let reason = "it has learned these images, and would be measured on some of them";
            return Err(unfit(&self.path, reason.into()));
        }
        Ok(())
    }
}

fn unfit(path: &Path, reason: String) -> Error {
    Error::UnfitOrigin {
        path: path.to_owned(),
        reason,
    }
}

/// Why networks for some images do not serve for those of a shape.
pub(super) fn wrong_shape(images: ImageSpec, shape: ImageShape) -> Option<String> {
    let is_same =
        (images.height_px, images.width_px, images.channels) == (shape.height_px, shape.width_px, shape.channels);
    (!is_same).then(|| {
        format!(
            "it makes images of {}x{}x{}, the data has {shape}",
            images.width_px, images.height_px, images.channels
        )
    })
}
