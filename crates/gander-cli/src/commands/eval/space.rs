//! Which feature space looks, and why.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Context;
use gander::features::{Classifier, ClassifierHeader, EffNet, FeatureSpace, Inception, Pixels, SpaceChoice};
use gander_tensor::DeviceRef;

use super::{Arguments, cache, images::Reals, weights};
use crate::{failure::refuse, screen::Screen, text};

/// A space, why it was chosen, and what its classifier is.
pub(super) struct Chosen {
    pub(super) space: Arc<dyn FeatureSpace>,
    pub(super) reason: &'static str,
    pub(super) classifier: Option<ClassifierHeader>,
    /// The hash of the file that its weights come from.
    pub(super) weights_sha256: Option<String>,
}

fn cannot_load(file: &Path) -> String {
    format!("cannot load a feature space from {}", file.display())
}

/// A space that is never asked.
pub(super) fn unused() -> Chosen {
    Chosen {
        space: Arc::new(Pixels),
        reason: "no score needs features",
        classifier: None,
        weights_sha256: None,
    }
}

/// What a space may be made from.
pub(super) struct Spaces<'a> {
    pub(super) arguments: &'a Arguments,
    pub(super) reals: &'a Reals,
    pub(super) device: &'a DeviceRef,
    pub(super) screen: &'a Screen,
}

impl Spaces<'_> {
    /// The space that was asked for; else a classifier where there are labels, else pixels.
    pub(super) fn choose(&self) -> anyhow::Result<Chosen> {
        let has_labels = self.reals.train.classes().len() > 1;
        let plain = |space: Arc<dyn FeatureSpace>, reason| Chosen {
            space,
            reason,
            classifier: None,
            weights_sha256: None,
        };
        let chosen = match &self.arguments.features {
            None if has_labels => self.classifier(None, "the data has labels")?,
            None => plain(
                Arc::new(Pixels),
                "the data has no labels, and no file of a network was named",
            ),
            Some(SpaceChoice::Pixels) => plain(Arc::new(Pixels), "asked for"),
            Some(SpaceChoice::Classifier(file)) => self.classifier(file.as_ref(), "asked for")?,
            Some(SpaceChoice::EffNet(file)) => {
                let hash = weights::verified(file).with_context(|| cannot_load(file))?;
                let network = EffNet::load(file, self.device).with_context(|| cannot_load(file))?;
                Chosen {
                    weights_sha256: Some(hash),
                    ..plain(Arc::new(network), "asked for")
                }
            }
            Some(SpaceChoice::Inception(file, resizing)) => {
                let file = match file {
                    Some(file) => file.clone(),
                    None => weights::inception(cache::folder(self.arguments).as_deref(), self.screen)?,
                };
                let hash = weights::verified(&file).with_context(|| cannot_load(&file))?;
                let network = Inception::load(&file, *resizing, self.device).with_context(|| cannot_load(&file))?;
                Chosen {
                    weights_sha256: Some(hash),
                    ..plain(Arc::new(network), "asked for")
                }
            }
        };
        let name = chosen.space.name();
        self.screen.say(format!("features: {name} ({})", chosen.reason));
        if let Some(header) = &chosen.classifier {
            self.screen.say(format!(
                "classifier: {:.1} % of {} get their class",
                header.accuracy() * 100.0,
                text::plural(header.held_out as u64, "held-out image")
            ));
        }
        Ok(chosen)
    }

    fn classifier(&self, file: Option<&PathBuf>, reason: &'static str) -> anyhow::Result<Chosen> {
        let classifier = match file {
            Some(file) => self.read(file)?,
            None => self.train()?,
        };
        if let Some(path) = &self.arguments.keep_classifier {
            classifier.save(path)?;
            self.screen.say(format!("classifier in {}", path.display()));
        }
        Ok(Chosen {
            classifier: Some(classifier.header().clone()),
            space: Arc::new(classifier),
            reason,
            weights_sha256: None,
        })
    }

    fn read(&self, file: &Path) -> anyhow::Result<Classifier> {
        let classifier = Classifier::load(file, self.device)
            .with_context(|| format!("cannot load a classifier from {}", file.display()))?;
        let (expected, got) = (classifier.header().shape, self.reals.images.shape());
        if expected == got {
            return Ok(classifier);
        }
        Err(refuse(
            format!("this classifier looks at images of {expected}, not of {got}"),
            "it belongs to another dataset or size; leave the file out and one is trained for this",
        ))
    }

    fn train(&self) -> anyhow::Result<Classifier> {
        let Reals { train, holdout, .. } = self.reals;
        let (real, held_out) = (train.as_ref(), holdout.as_deref());
        cache::classifier(real, held_out, self.arguments, self.device, self.screen)
    }
}
