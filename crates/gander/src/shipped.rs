//! The file that a run ends in: a generator to ship, and images from it.

use std::path::{Path, PathBuf};

use gander_formats::safetensors;
use gander_nn::{Mode, Parameters};
use gander_tensor::{DeviceRef, RandomKey, Tensor, no_grad};
use serde::{Deserialize, Serialize};

use crate::{
    error::{Error, Result},
    models::{Generator, ModelConfig},
    train::{checkpoint, state::load_parameters},
};

/// What such a file calls itself.
pub(crate) const KIND: &str = "generator";

/// The version of generator file that this program writes and reads.
pub const VERSION: u32 = 1;

/// The name of the file in a run directory.
pub const FILE_NAME: &str = "generator.safetensors";

/// What a generator file says beside its weights.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GeneratorHeader {
    /// The settings of the model.
    pub model: ModelConfig,
    /// Names of the classes; empty without labels.
    pub classes: Vec<String>,
    /// How often each class stood in the training data; the shares of samples without a chosen label.
    pub class_counts: Vec<u64>,
    /// Real images that the discriminator was shown.
    pub images_seen: u64,
    /// What it was trained on.
    pub dataset: String,
}

/// What a generator file says beside its weights.
pub(crate) fn read_header(path: &Path) -> Result<GeneratorHeader> {
    checkpoint::header(&safetensors::read(path)?, path, KIND, VERSION)
}

/// A generator to make images with.
///
/// ```no_run
/// use gander::shipped::{SampleOptions, ShippedGenerator};
/// use gander_tensor::Cpu;
///
/// let generator = ShippedGenerator::load("generator.safetensors".as_ref(), &Cpu::shared())?;
/// let samples = generator.sample(&[1, 2, 3], &SampleOptions::default())?;
/// assert_eq!(samples.images.len(), 3 * 64 * 64 * 3);
/// # Ok::<(), gander::Error>(())
/// ```
#[derive(Debug)]
pub struct ShippedGenerator {
    /// What the file says.
    pub header: GeneratorHeader,
    generator: Box<dyn Generator>,
    device: DeviceRef,
}

/// Which images to make.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SampleOptions {
    /// The class of all images; by the training frequencies if `None`.
    pub label: Option<u32>,
    /// Latents are multiplied by this: below one less variety, above one more. One if `None`.
    pub truncation_psi: Option<f32>,
}

/// Images in bytes, `[num, height, width, channels]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Samples {
    /// The bytes.
    pub images: Vec<u8>,
    /// Their classes, where there are any.
    pub labels: Option<Vec<u32>>,
}

/// Writes a generator file with the weights of its networks, each with what their names begin with: nothing for a
/// generator.
pub fn save(path: &Path, networks: &[(&str, &Parameters)], header: &GeneratorHeader) -> Result<()> {
    let named = |(prefix, weights): &(&str, &Parameters)| {
        let prefix = (*prefix).to_owned();
        let map = weights.to_map().into_iter();
        map.map(move |(name, tensor)| (format!("{prefix}{name}"), tensor))
    };
    let tensors = networks.iter().flat_map(named).collect();
    checkpoint::write(path, KIND, VERSION, header, &tensors)
}

/// The generator file of a path, which may be a run directory.
pub fn resolve(path: &Path) -> PathBuf {
    if path.is_dir() {
        path.join(FILE_NAME)
    } else {
        path.to_owned()
    }
}

impl ShippedGenerator {
    /// Most images that are computed at once.
    const BATCH: usize = 16;

    /// Reads a generator file, or that of a run directory.
    pub fn load(path: &Path, device: &DeviceRef) -> Result<Self> {
        let path = resolve(path);
        let (header, tensors): (GeneratorHeader, _) = checkpoint::read(&path, KIND, VERSION, device)?;
        header.model.validate()?;
        let num_classes = header.model.images().num_classes;
        if [header.classes.len(), header.class_counts.len()] != [num_classes; 2] {
            return Err(Error::NotOurs {
                path,
                expected: KIND,
                reason: format!("it makes {num_classes} classes and names {}", header.classes.len()),
            });
        }
        let generator = header.model.generator(RandomKey::from_seed(0), device)?;
        load_parameters(generator.parameters(), "", &tensors)?;
        Ok(Self {
            header,
            generator,
            device: device.clone(),
        })
    }

    /// A generator at hand, such as the average of a run in progress.
    pub fn from_parts(header: GeneratorHeader, generator: Box<dyn Generator>, device: &DeviceRef) -> Self {
        Self {
            header,
            generator,
            device: device.clone(),
        }
    }

    /// Writes its file.
    pub fn save(&self, path: &Path) -> Result<()> {
        save(path, &[("", self.generator.parameters())], &self.header)
    }

    /// Number of learned values.
    pub fn num_weights(&self) -> usize {
        self.generator.parameters().num_weights()
    }

    /// Length of a latent vector.
    pub fn latent_dim(&self) -> usize {
        self.generator.latent_dim()
    }

    /// The index of a class.
    ///
    /// # Errors
    /// [`Error::UnknownClass`] with the names there are.
    pub fn class_index(&self, name: &str) -> Result<u32> {
        let classes = &self.header.classes;
        classes
            .iter()
            .position(|class| class == name)
            .map(|index| index as u32)
            .ok_or_else(|| Error::UnknownClass {
                name: name.to_owned(),
                classes: classes.clone(),
            })
    }

    /// One image for each seed. An image depends on its seed and the options alone, not on its neighbors.
    pub fn sample(&self, seeds: &[u64], options: &SampleOptions) -> Result<Samples> {
        let mut images = Vec::new();
        let mut labels = (!self.header.classes.is_empty()).then(Vec::new);
        for seeds in seeds.chunks(Self::BATCH) {
            let latents: Vec<Tensor> = seeds
                .iter()
                .map(|&seed| {
                    self.generator
                        .latents(image_key(seed).named("latents"), 1, &self.device)
                })
                .collect::<Result<_, _>>()?;
            let latents = gander_tensor::concat(&latents.iter().collect::<Vec<_>>(), 0)?;
            let own: Option<Vec<u32>> = labels
                .is_some()
                .then(|| seeds.iter().map(|&seed| self.label(seed, options)).collect());
            let tensor = label_tensor(own.as_deref(), &self.device)?;
            let made = no_grad(|| match options.truncation_psi {
                Some(psi) => self.generator.forward_truncated(&latents, tensor.as_ref(), psi),
                None => self.generator.forward(&latents, tensor.as_ref(), Mode::Evaluate),
            })?;
            images.extend(to_bytes(&made.to_vec()?));
            if let (Some(labels), Some(own)) = (&mut labels, own) {
                labels.extend(own);
            }
        }
        Ok(Samples { images, labels })
    }

    fn label(&self, seed: u64, options: &SampleOptions) -> u32 {
        options
            .label
            .unwrap_or_else(|| draw_class(&self.header.class_counts, image_key(seed).named("label")))
    }
}

fn image_key(seed: u64) -> RandomKey {
    RandomKey::from_seed(seed).named("sample")
}

/// A class by the frequencies of the training data.
pub(crate) fn draw_class(counts: &[u64], key: RandomKey) -> u32 {
    let total: u64 = counts.iter().sum();
    let mut rest = (key.uniform() * total as f64) as u64;
    for (class, &count) in counts.iter().enumerate() {
        if rest < count {
            return class as u32;
        }
        rest -= count;
    }
    0
}

fn label_tensor(labels: Option<&[u32]>, device: &DeviceRef) -> Result<Option<Tensor>> {
    let tensor = labels.map(|labels| Tensor::from_u32(labels, [labels.len()], device));
    Ok(tensor.transpose()?)
}

/// Images in bytes from latents.
pub(crate) fn generate(
    generator: &dyn Generator,
    latents: &Tensor,
    labels: Option<&[u32]>,
    device: &DeviceRef,
) -> Result<Vec<u8>> {
    let labels = label_tensor(labels, device)?;
    let images = no_grad(|| generator.forward(latents, labels.as_ref(), Mode::Evaluate))?;
    Ok(to_bytes(&images.to_vec()?))
}

/// Pixels 0..=255 from values −1..=1, rounded to the nearest; beyond is cut.
pub fn to_bytes(values: &[f32]) -> Vec<u8> {
    values
        .iter()
        .map(|&value| ((value + 1.0) * 127.5 + 0.5).clamp(0.0, 255.0) as u8)
        .collect()
}
