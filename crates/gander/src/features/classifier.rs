//! A feature space of the data itself: a small classifier that learns the labels of the real images.

mod network;
pub(crate) mod training;

use std::path::{Path, PathBuf};

use gander_data::{Dataset, ImageShape};
use gander_tensor::{DeviceRef, Tensor};
use serde::{Deserialize, Serialize};

use self::network::Network;
use super::{Extracted, FeatureSpace, rows};
use crate::{
    error::{Error, Result},
    train::{checkpoint, state::load_parameters},
};

/// The version of network, training and file: another one means other features.
const VERSION: u32 = 1;
const KIND: &str = "classifier";

/// How a classifier is trained.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ClassifierOptions {
    /// Seed of weights and order.
    pub seed: u64,
    /// Passes over the training images at most.
    pub epochs: u64,
    /// Arithmetic to spend at most, in multiplications and additions of the forward pass.
    pub operations: f64,
}

impl Default for ClassifierOptions {
    /// About a minute on two processor cores, less where there are few images: nothing depends on the clock, so that
    /// every machine trains the same network.
    fn default() -> Self {
        Self {
            seed: 0,
            epochs: 12,
            operations: 4e12,
        }
    }
}

/// A convolutional network trained on labeled real images: 128 features, and logits of the classes.
///
/// Its features tell apart what the classes of the data differ in, at the data's own size, which networks that were trained
/// on photographs of 299 pixels do not. Scores are comparable only between generators judged by one and the same
/// classifier, so the file of the one that was used can be kept and given again.
#[derive(Debug)]
pub struct Classifier {
    network: Network,
    header: ClassifierHeader,
}

/// What a classifier's file says beside its weights.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClassifierHeader {
    /// The shape of the images.
    pub shape: ImageShape,
    /// Names of the classes.
    pub classes: Vec<String>,
    /// The content that it was trained on: [`Dataset::fingerprint`].
    pub fingerprint: String,
    /// How it was trained.
    pub options: ClassifierOptions,
    /// Images that it saw, repetitions counted.
    pub images_seen: u64,
    /// Images that were held out to measure it.
    pub held_out: usize,
    /// How many of those it gives their own class.
    pub right: usize,
}

impl ClassifierHeader {
    /// Share of held-out images that it gives their own class.
    pub fn accuracy(&self) -> f64 {
        self.right as f64 / self.held_out.max(1) as f64
    }
}

impl Classifier {
    /// Length of a feature vector.
    pub const FEATURES: usize = network::FEATURES;

    /// Trains a classifier. Accuracy is measured on `held_out`, or on a tenth of `real` that is then not trained on.
    ///
    /// # Errors
    /// [`Error::Unlabeled`] if there are fewer than two classes, and what reading meets.
    pub fn train(
        real: &dyn Dataset,
        held_out: Option<&dyn Dataset>,
        options: ClassifierOptions,
        device: &DeviceRef,
        progress: &mut dyn FnMut(f64),
    ) -> Result<Self> {
        if real.classes().len() < 2 || real.label(0).is_none() {
            return Err(Error::Unlabeled { space: KIND });
        }
        training::train(real, held_out, options, device, progress)
    }

    /// The classifier of this data and these options from a folder of them; trained and put there if it is not in it.
    ///
    /// # Errors
    /// Those of [`Classifier::train`] and of writing. A file that cannot be read is replaced.
    pub fn cached(
        folder: &Path,
        real: &dyn Dataset,
        held_out: Option<&dyn Dataset>,
        options: ClassifierOptions,
        device: &DeviceRef,
        progress: &mut dyn FnMut(f64),
    ) -> Result<Self> {
        if let Some(found) = Self::find(folder, real, options, device) {
            return Ok(found);
        }
        let made = Self::train(real, held_out, options, device, progress)?;
        made.keep(folder, real)?;
        Ok(made)
    }

    /// The classifier of this data and these options from a folder of them, if it is there and can be read.
    pub fn find(folder: &Path, real: &dyn Dataset, options: ClassifierOptions, device: &DeviceRef) -> Option<Self> {
        let found = Self::load(&Self::cache_path(folder, real, options), device).ok()?;
        let is_its = found.header.fingerprint == real.fingerprint() && found.header.options == options;
        is_its.then_some(found)
    }

    /// Puts it where [`Classifier::find`] looks for the classifier of `real`.
    ///
    /// # Errors
    /// [`Error::Io`] for a folder that cannot be made, and those of writing.
    pub fn keep(&self, folder: &Path, real: &dyn Dataset) -> Result<()> {
        std::fs::create_dir_all(folder).map_err(|source| Error::Io {
            action: "make folder",
            path: folder.to_owned(),
            source,
        })?;
        self.save(&Self::cache_path(folder, real, self.header.options))
    }

    /// Where [`Classifier::keep`] puts it.
    pub fn cache_path(folder: &Path, real: &dyn Dataset, options: ClassifierOptions) -> PathBuf {
        let shape = real.shape();
        let (fingerprint, seed) = (real.fingerprint(), options.seed);
        folder.join(format!(
            "classifier-v{VERSION}-{fingerprint}-{shape}-seed{seed}.safetensors"
        ))
    }

    /// Writes it.
    pub fn save(&self, path: &Path) -> Result<()> {
        checkpoint::write(path, KIND, VERSION, &self.header, &self.network.parameters().to_map())
    }

    /// Reads one that [`Classifier::save`] wrote.
    ///
    /// # Errors
    /// [`Error::NotOurs`], [`Error::Version`], and those of reading.
    pub fn load(path: &Path, device: &DeviceRef) -> Result<Self> {
        let (header, tensors): (ClassifierHeader, _) = checkpoint::read(path, KIND, VERSION, device)?;
        let not_ours = |reason: &str| Error::NotOurs {
            path: path.to_owned(),
            expected: KIND,
            reason: reason.into(),
        };
        let is_sane = (1..=4).contains(&header.shape.channels) && (2..=100_000).contains(&header.classes.len());
        if !is_sane {
            return Err(not_ours("its header has channels or classes out of range"));
        }
        let network = Network::new(header.shape, header.classes.len(), header.options.seed, device)?;
        load_parameters(network.parameters(), "", &tensors)?;
        Ok(Self { network, header })
    }

    /// What its file says.
    pub fn header(&self) -> &ClassifierHeader {
        &self.header
    }

    /// Where the images have to be that it looks at.
    pub fn device(&self) -> &DeviceRef {
        self.network.device()
    }

    /// The class that it sees in each image.
    ///
    /// # Shapes
    /// - `images`: `[num, height, width, channels]`, −1..=1
    pub fn classify(&self, images: &Tensor) -> Result<Vec<u32>> {
        let (_, logits) = self.network.evaluate(images)?;
        Ok(largest(&logits.to_vec()?, logits.side(-1)))
    }
}

/// The index of the largest value of each row.
fn largest(values: &[f32], classes: usize) -> Vec<u32> {
    let of_row = |row: &[f32]| {
        let best = row.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1));
        best.map_or(0, |(class, _)| class as u32)
    };
    values.chunks_exact(classes.max(1)).map(of_row).collect()
}

impl FeatureSpace for Classifier {
    fn name(&self) -> &'static str {
        KIND
    }

    fn num_classes(&self) -> Option<usize> {
        Some(self.header.classes.len())
    }

    fn batch(&self) -> usize {
        128
    }

    fn extract(&self, images: &Tensor) -> Result<Extracted> {
        let (features, logits) = self.network.evaluate(images)?;
        Ok(Extracted {
            features: rows(&features)?,
            logits: Some(rows(&logits)?),
        })
    }
}

#[cfg(test)]
mod tests {
    use gander_data::{InMemory, Pottery, PotteryConfig, pottery::PictureSize};
    use gander_tensor::Cpu;

    use super::*;

    fn pots(len: usize) -> Pottery {
        Pottery::new(PotteryConfig {
            size: PictureSize::square(16),
            len,
            ..PotteryConfig::default()
        })
        .unwrap()
    }

    const SHORT: ClassifierOptions = ClassifierOptions {
        seed: 3,
        epochs: 6,
        operations: 1e12,
    };

    #[test]
    fn pots_are_told_apart_and_the_file_is_the_classifier() {
        let folder = tempfile::tempdir().unwrap();
        let (data, device) = (pots(300), Cpu::shared());
        let cached =
            |progress: &mut dyn FnMut(f64)| Classifier::cached(folder.path(), &data, None, SHORT, &device, progress);
        let made = cached(&mut |_| {}).unwrap();
        let header = made.header();
        // One of five by chance.
        assert!(header.accuracy() > 0.6, "{header:?}");
        assert_eq!((header.held_out, header.classes.len()), (30, 5));

        let again = cached(&mut |_| panic!("trained again")).unwrap();
        let images = Tensor::zeros([2, 16, 16, 3], &device).unwrap();
        assert_eq!(made.extract(&images).unwrap(), again.extract(&images).unwrap());
        assert_eq!(made.header(), again.header());
        // The same seed trains the same network.
        let twin = Classifier::train(&data, None, SHORT, &device, &mut |_| {}).unwrap();
        assert_eq!(made.extract(&images).unwrap(), twin.extract(&images).unwrap());
    }

    #[test]
    fn images_without_labels_are_refused() {
        let shape = ImageShape {
            height_px: 8,
            width_px: 8,
            channels: 1,
        };
        let data = InMemory::new(shape, vec![0; 64 * 4]).unwrap();
        let refused = Classifier::train(&data, None, SHORT, &Cpu::shared(), &mut |_| {});
        assert!(matches!(refused, Err(Error::Unlabeled { space: "classifier" })));
    }

    #[test]
    fn the_largest_logit_is_the_class() {
        assert_eq!(largest(&[0.0, 2.0, 1.0, -1.0, -3.0, -2.0], 3), [1, 0]);
    }
}
