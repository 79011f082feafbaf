//! The families of networks: for each its settings, its generator and its discriminator.

pub mod article;
mod conditioning;
pub mod cut;
pub mod cyclegan;
pub mod dcgan;
pub mod fastgan;
mod limits;
pub mod patches;
pub mod pix2pix;
pub mod r3gan;
pub mod residual;
pub mod sincut;
pub mod sngan;
pub mod stylegan2;
pub mod translator;
pub mod upsampling;

use std::fmt::Debug;

pub(crate) use conditioning::is_of_classes;
use gander_nn::{Mode, Parameters};
use gander_tensor::{DeviceRef, Error as TensorError, RandomKey, Result, Tensor};
use limits::Sides;
use serde::{Deserialize, Serialize};

use crate::error::{self, Error};

/// What every family is told: the images to make and the classes to tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageSpec {
    /// Rows.
    pub height_px: usize,
    /// Columns.
    pub width_px: usize,
    /// 1 (gray), 3 (RGB) or 4 (RGBA).
    pub channels: usize,
    /// Classes to condition on; 0 for none.
    pub num_classes: usize,
}

/// A network that makes images.
pub trait Generator: Debug + Send + Sync {
    /// Its named tensors.
    fn parameters(&self) -> &Parameters;

    /// Length of a latent vector.
    fn latent_dim(&self) -> usize;

    /// Random latents `[batch, latent_dim]` of the distribution it was made for.
    fn latents(&self, key: RandomKey, batch: usize, device: &DeviceRef) -> Result<Tensor> {
        Tensor::normal(key, [batch, self.latent_dim()], device)
    }

    /// Images from latents.
    ///
    /// # Shapes
    /// - `latents`: `[batch, latent_dim]`
    /// - `labels`: u32 `[batch]` where there are classes
    /// - returns: `[batch, height, width, channels]`, −1..=1 (may exceed it a little where no tanh ends the network)
    fn forward(&self, latents: &Tensor, labels: Option<&Tensor>, mode: Mode) -> Result<Tensor>;

    /// Finished images nearer to the mean of all, where `psi` is below 1, or further from it: latents times `psi`, where
    /// the family knows no better place.
    fn forward_truncated(&self, latents: &Tensor, labels: Option<&Tensor>, psi: f32) -> Result<Tensor> {
        self.forward(&latents.mul_scalar(psi)?, labels, Mode::Evaluate)
    }
}

/// A network that judges images.
pub trait Discriminator: Debug + Send + Sync {
    /// Its named tensors.
    fn parameters(&self) -> &Parameters;

    /// Logits from images: large for real.
    ///
    /// # Shapes
    /// - `images`: `[batch, height, width, channels]`
    /// - `labels`: u32 `[batch]` where there are classes
    /// - returns: `[batch]`, or `[batch, positions]` where parts of an image are judged one by one
    fn forward(&self, images: &Tensor, labels: Option<&Tensor>, mode: Mode) -> Result<Tensor>;

    /// The same of real images, with what the network is to learn of them besides; `key` is for what that draws.
    fn judge_real(&self, images: &Tensor, labels: Option<&Tensor>, mode: Mode, key: RandomKey) -> Result<RealJudgment> {
        let _ = key;
        Ok(RealJudgment {
            logits: self.forward(images, labels, mode)?,
            auxiliary_loss: None,
        })
    }
}

/// What a discriminator finds out about real images.
#[derive(Debug, Clone)]
pub struct RealJudgment {
    /// Those of [`Discriminator::forward`].
    pub logits: Tensor,
    /// A scalar that its own update adds to the adversarial loss, where the family has one.
    pub auxiliary_loss: Option<Tensor>,
}

/// What the settings of every family tell.
trait Settings {
    /// The sides of images that it can make, by settings that [`Self::check`] lets pass.
    fn sides(&self) -> Sides;

    /// Refuses settings that no networks can be made of.
    fn check(&self) -> error::Result<()>;
}

/// The settings of a model of any family, as they stand in `config.toml` and in a shipped generator.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "family", rename_all = "lowercase")]
#[non_exhaustive]
pub enum ModelConfig {
    /// The small GAN of countless tutorials, made right.
    Article(article::Config),
    /// Radford et al. 2016.
    Dcgan(dcgan::Config),
    /// Miyato et al. 2018.
    Sngan(sngan::Config),
    /// Huang et al. 2024.
    R3gan(r3gan::Config),
    /// Liu et al. 2021.
    Fastgan(fastgan::Config),
    /// Karras et al. 2020.
    Stylegan2(stylegan2::Config),
    /// Isola et al. 2017: from the first picture of a pair to the second.
    Pix2pix(pix2pix::Config),
    /// Zhu et al. 2017: between two collections, both ways.
    Cyclegan(cyclegan::Config),
    /// Park et al. 2020: from one collection to another.
    Cut(cut::Config),
    /// Its quicker form.
    Fastcut(cut::Config),
    /// Its form for one picture and another.
    Sincut(sincut::Config),
}

/// The same of the settings of every family.
macro_rules! each {
    ($model:expr, $config:ident => $value:expr) => {
        match $model {
            ModelConfig::Article($config) => $value,
            ModelConfig::Dcgan($config) => $value,
            ModelConfig::Sngan($config) => $value,
            ModelConfig::R3gan($config) => $value,
            ModelConfig::Fastgan($config) => $value,
            ModelConfig::Stylegan2($config) => $value,
            ModelConfig::Pix2pix($config) => $value,
            ModelConfig::Cyclegan($config) => $value,
            ModelConfig::Cut($config) | ModelConfig::Fastcut($config) => $value,
            ModelConfig::Sincut($config) => $value,
        }
    };
}

impl ModelConfig {
    /// The family's name.
    pub fn family(&self) -> &'static str {
        match self {
            Self::Article(_) => "article",
            Self::Dcgan(_) => "dcgan",
            Self::Sngan(_) => "sngan",
            Self::R3gan(_) => "r3gan",
            Self::Fastgan(_) => "fastgan",
            Self::Stylegan2(_) => "stylegan2",
            Self::Pix2pix(_) => "pix2pix",
            Self::Cyclegan(_) => "cyclegan",
            Self::Cut(_) => "cut",
            Self::Fastcut(_) => "fastcut",
            Self::Sincut(_) => "sincut",
        }
    }

    /// Whether it makes images from images of another collection, not from latents.
    pub fn translates(&self) -> bool {
        matches!(
            self,
            Self::Pix2pix(_) | Self::Cyclegan(_) | Self::Cut(_) | Self::Fastcut(_) | Self::Sincut(_)
        )
    }

    /// The translators with fresh weights, to B and, where the family learns it, back to A.
    ///
    /// # Errors
    /// [`Error::MakesFromLatents`] for a family that does not translate.
    pub fn translators(&self, key: RandomKey, device: &DeviceRef) -> error::Result<Translators> {
        let (to_b, to_a) = (key.named("to_b"), key.named("to_a"));
        Ok(match self {
            Self::Pix2pix(config) => Translators {
                to_b: Box::new(config.translator(to_b, device)?),
                to_a: None,
            },
            Self::Cyclegan(config) => Translators {
                to_b: Box::new(config.translator(to_b, device)?),
                to_a: Some(Box::new(config.translator(to_a, device)?)),
            },
            Self::Cut(config) | Self::Fastcut(config) => Translators {
                to_b: Box::new(config.translator(to_b, device)?),
                to_a: None,
            },
            Self::Sincut(config) => Translators {
                to_b: Box::new(config.translator(to_b, device)?),
                to_a: None,
            },
            other => return Err(Error::MakesFromLatents { family: other.family() }),
        })
    }

    /// The images it makes and the classes it knows.
    pub fn images(&self) -> ImageSpec {
        each!(self, config => config.images)
    }

    /// The setting that makes its networks wide or narrow, where it has one.
    pub fn width_mut(&mut self) -> Option<&mut usize> {
        match self {
            Self::Article(_) => None,
            model => Some(each!(model, config => &mut config.width)),
        }
    }

    /// Refuses what no networks can be made of.
    ///
    /// | family | sides |
    /// |---|---|
    /// | `article` | 8 to 256 |
    /// | `dcgan`, `sngan`, `fastgan` | 16 to 256 |
    /// | `r3gan`, `stylegan2` | 16 to 512 |
    /// | `pix2pix` | 32 to 512, multiples of two for each halving |
    /// | `cyclegan`, `cut`, `fastcut` | 32 to 512, multiples of 4 |
    /// | `sincut` (of a crop) | 32 to 512, multiples of 4 |
    ///
    /// `article` and translators know no classes. Width and height need not agree: inside, sides are rounded up so that they halve
    /// without a rest.
    ///
    /// # Errors
    /// [`Error::UnsupportedSize`] for a size that the family cannot make, [`Error::InvalidSetting`] for another setting.
    pub fn validate(&self) -> error::Result<()> {
        let images = self.images();
        limits::between("model.images.channels", images.channels, 1..=4)?;
        each!(self, config => config.check())?;
        each!(self, config => config.sides()).check(self.family(), images)
    }

    /// A generator with fresh weights.
    ///
    /// # Errors
    /// [`Error::Translates`] for a family that makes images from images.
    pub fn generator(&self, key: RandomKey, device: &DeviceRef) -> error::Result<Box<dyn Generator>> {
        let key = key.named("generator");
        Ok(match self {
            Self::Article(config) => Box::new(config.generator(key, device)?),
            Self::Dcgan(config) => Box::new(config.generator(key, device)?),
            Self::Sngan(config) => Box::new(config.generator(key, device)?),
            Self::R3gan(config) => Box::new(config.generator(key, device)?),
            Self::Fastgan(config) => Box::new(config.generator(key, device)?),
            Self::Stylegan2(config) => Box::new(config.generator(key, device)?),
            other => return Err(Error::Translates { family: other.family() }),
        })
    }

    /// A discriminator of images with fresh weights.
    ///
    /// # Errors
    /// [`Error::Translates`] for a family that makes images from images; its judges see patches.
    pub fn discriminator(&self, key: RandomKey, device: &DeviceRef) -> error::Result<Box<dyn Discriminator>> {
        let key = key.named("discriminator");
        Ok(match self {
            Self::Article(config) => Box::new(config.discriminator(key, device)?),
            Self::Dcgan(config) => Box::new(config.discriminator(key, device)?),
            Self::Sngan(config) => Box::new(config.discriminator(key, device)?),
            Self::R3gan(config) => Box::new(config.discriminator(key, device)?),
            Self::Fastgan(config) => Box::new(config.discriminator(key, device)?),
            Self::Stylegan2(config) => Box::new(config.discriminator(key, device)?),
            other => return Err(Error::Translates { family: other.family() }),
        })
    }
}

/// The networks of a family that translates.
#[derive(Debug)]
pub struct Translators {
    /// From A to B.
    pub to_b: Box<dyn translator::Translator>,
    /// From B to A.
    pub to_a: Option<Box<dyn translator::Translator>>,
}

/// The grid that a network with `halvings` of the resolution works on: sides rounded up, cropped on the way out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Grid {
    /// Rows and columns of the smallest feature map.
    pub(crate) smallest: [usize; 2],
    /// How often the resolution halves.
    pub(crate) halvings: usize,
    images: ImageSpec,
}

impl Grid {
    /// As many halvings as bring the shorter side of the smallest map nearest to 4 positions: to 3 to 6 of them.
    ///
    /// So 28 px have three, on a grid of 32: a third halving let a DCGAN of the same width learn more from each image
    /// of Fashion-MNIST than two did.
    pub(crate) fn new(images: ImageSpec) -> Self {
        let short = images.height_px.min(images.width_px);
        let halvings = (short as f64 / 4.0).log2().round().max(0.0) as usize;
        let smallest = [images.height_px, images.width_px].map(|side| side.div_ceil(1 << halvings));
        Self {
            smallest,
            halvings,
            images,
        }
    }

    /// Cuts a generated image down to the size of the data.
    pub(crate) fn crop(&self, images: &Tensor) -> Result<Tensor> {
        images
            .slice(1, 0, self.images.height_px)?
            .slice(2, 0, self.images.width_px)
    }

    /// Zeros added below and to the right, so that the sides halve without a rest.
    ///
    /// # Errors
    /// [`TensorError::InvalidShape`] for images of another size.
    pub(crate) fn pad(&self, images: &Tensor) -> Result<Tensor> {
        let ImageSpec {
            height_px,
            width_px,
            channels,
            ..
        } = self.images;
        if images.shape().get(1..) != Some(&[height_px, width_px, channels]) {
            let expected = format!("images of shape [batch, {height_px}, {width_px}, {channels}]");
            return Err(TensorError::InvalidShape {
                op: "discriminator",
                expected,
                got: images.shape().clone(),
            });
        }
        let missing = |axis: usize| (self.smallest[axis] << self.halvings) - images.shape()[axis + 1];
        let pad = |images: Tensor, axis: usize| match missing(axis) {
            0 => Ok(images),
            after => images.pad_zero(axis as isize + 1, 0, after),
        };
        pad(pad(images.clone(), 0)?, 1)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use gander_tensor::Reference;

    use super::*;

    pub(crate) fn images(height_px: usize, width_px: usize, channels: usize, num_classes: usize) -> ImageSpec {
        ImageSpec {
            height_px,
            width_px,
            channels,
            num_classes,
        }
    }

    /// Every family and variant, narrow enough for plain loops.
    fn narrow(images: ImageSpec) -> Vec<ModelConfig> {
        let sngan = sngan::Config {
            latent_dim: 6,
            width: 2,
            ..sngan::Config::new(images)
        };
        vec![
            ModelConfig::Article(article::Config {
                latent_dim: 6,
                width: 4,
                ..article::Config::new(images)
            }),
            ModelConfig::Dcgan(dcgan::Config {
                latent_dim: 6,
                width: 2,
                ..dcgan::Config::new(images)
            }),
            ModelConfig::Sngan(sngan),
            ModelConfig::Sngan(sngan::Config {
                architecture: sngan::Architecture::Residual,
                ..sngan
            }),
            ModelConfig::R3gan(r3gan::Config {
                latent_dim: 6,
                class_dim: 5,
                width: 8,
                width_max: 16,
                blocks: 1,
                ..r3gan::Config::new(images)
            }),
            ModelConfig::Fastgan(fastgan::Config {
                latent_dim: 6,
                width: 1,
                ..fastgan::Config::new(images)
            }),
            ModelConfig::Stylegan2(stylegan2::Config {
                latent_dim: 6,
                width: 2,
                width_max: 3,
                ..stylegan2::Config::new(images)
            }),
            ModelConfig::Dcgan(dcgan::Config {
                latent_dim: 6,
                width: 2,
                skips: true,
                ..dcgan::Config::new(images)
            }),
        ]
    }

    #[test]
    fn images_have_the_size_that_was_asked_for() {
        let device = Reference::shared();
        let key = RandomKey::from_seed(1);
        for spec in [
            images(16, 16, 1, 0),
            images(28, 28, 3, 0),
            images(20, 36, 4, 0),
            images(40, 16, 3, 3),
        ] {
            for config in narrow(spec) {
                let knows_classes = config.family() != "article";
                assert_eq!(
                    config.validate().is_ok(),
                    knows_classes || spec.num_classes == 0,
                    "{config:?}"
                );
                let (generator, discriminator) = (
                    config.generator(key, &device).unwrap(),
                    config.discriminator(key, &device).unwrap(),
                );
                let latents = generator.latents(key, 2, &device).unwrap();
                let labels = Tensor::from_u32(&[0, 2], [2], &device).unwrap();
                let labels = (spec.num_classes > 0).then_some(&labels);
                for mode in [Mode::Train, Mode::Evaluate] {
                    let fakes = generator.forward(&latents, labels, mode).unwrap();
                    assert_eq!(
                        fakes.shape()[..],
                        [2, spec.height_px, spec.width_px, spec.channels],
                        "{config:?}"
                    );
                    let logits = discriminator.forward(&fakes, labels, mode).unwrap();
                    assert_eq!(logits.side(0), 2, "{config:?}");
                    assert!(logits.all_finite().unwrap(), "{config:?}");
                }
            }
        }
    }

    #[test]
    fn classes_change_images_and_logits() {
        let device = Reference::shared();
        let key = RandomKey::from_seed(2);
        for config in narrow(images(16, 16, 3, 2)) {
            if config.family() == "article" {
                continue;
            }
            let (generator, discriminator) = (
                config.generator(key, &device).unwrap(),
                config.discriminator(key, &device).unwrap(),
            );
            // Classes may begin alike: what each has of its own is learned.
            for parameter in generator.parameters().weights() {
                if parameter.name().contains("class_shift") {
                    let shape = parameter.get().shape().clone();
                    parameter.set(&Tensor::normal(key, shape, &device).unwrap()).unwrap();
                }
            }
            // The same latents twice, so that only the label can make a difference.
            let latents = generator
                .latents(key, 1, &device)
                .unwrap()
                .broadcast_to([2, generator.latent_dim()])
                .unwrap();
            let labels = Tensor::from_u32(&[0, 1], [2], &device).unwrap();
            let differ = |values: &Tensor| {
                let values = values.to_vec().unwrap();
                values[..values.len() / 2] != values[values.len() / 2..]
            };
            assert!(
                differ(&generator.forward(&latents, Some(&labels), Mode::Evaluate).unwrap()),
                "{config:?}"
            );
            let image = Tensor::uniform(key, [1, 16, 16, 3], &device)
                .unwrap()
                .broadcast_to([2, 16, 16, 3])
                .unwrap();
            assert!(
                differ(&discriminator.forward(&image, Some(&labels), Mode::Evaluate).unwrap()),
                "{config:?}"
            );
            assert!(generator.forward(&latents, None, Mode::Evaluate).is_err(), "{config:?}");
            assert!(
                discriminator.forward(&image, None, Mode::Evaluate).is_err(),
                "{config:?}"
            );
        }
    }

    #[test]
    fn images_of_another_size_are_an_error() {
        let device = Reference::shared();
        let key = RandomKey::from_seed(3);
        let other = Tensor::zeros([1, 20, 20, 3], &device).unwrap();
        for config in narrow(images(16, 16, 3, 0)) {
            let discriminator = config.discriminator(key, &device).unwrap();
            assert!(discriminator.forward(&other, None, Mode::Train).is_err(), "{config:?}");
        }
    }

    #[test]
    fn sizes_are_refused_with_the_reason() {
        let refused = |family: usize, height, width| {
            let error = narrow(images(height, width, 3, 0)).remove(family).validate().err();
            error.map(|error| error.to_string())
        };
        let expected = "dcgan cannot make images of 257x31: its sides are from 16 to 256";
        assert_eq!(refused(1, 31, 257).as_deref(), Some(expected));
        let expected = "article cannot make images of 28x4: its sides are from 8 to 256";
        assert_eq!(refused(0, 4, 28).as_deref(), Some(expected));
        assert!(refused(1, 12, 16).is_some() && refused(2, 16, 260).is_some() && refused(4, 516, 512).is_some());
        assert!(refused(1, 112, 92).is_none() && refused(0, 31, 9).is_none() && refused(4, 512, 16).is_none());
    }

    #[test]
    fn a_discriminator_can_have_a_width_of_its_own() {
        let (device, key) = (Reference::shared(), RandomKey::from_seed(4));
        let image = Tensor::zeros([1, 16, 16, 3], &device).unwrap();
        for mut config in narrow(images(16, 16, 3, 0)) {
            let set = match &mut config {
                ModelConfig::Dcgan(config) => &mut config.discriminator_width,
                ModelConfig::Sngan(config) => &mut config.discriminator_width,
                ModelConfig::R3gan(config) => &mut config.discriminator_width,
                _ => continue,
            };
            *set = Some(4);
            config.validate().unwrap();
            let text = toml::to_string(&config).unwrap();
            assert_eq!(toml::from_str::<ModelConfig>(&text).unwrap(), config);
            let weights = |config: &ModelConfig| {
                let discriminator = config.discriminator(key, &device).unwrap();
                let logits = discriminator.forward(&image, None, Mode::Train).unwrap();
                assert_eq!(logits.shape()[..], [1], "{config:?}");
                let generator = config.generator(key, &device).unwrap();
                [generator.parameters(), discriminator.parameters()].map(Parameters::num_weights)
            };
            let [generator, own] = weights(&config);
            let plain = text.replace("discriminator_width = 4\n", "");
            let [same, usual] = weights(&toml::from_str(&plain).unwrap());
            assert!(generator == same && own != usual, "{config:?}");
        }
        let spec = images(32, 32, 3, 0);
        let odd = r3gan::Config {
            discriminator_width: Some(12),
            ..r3gan::Config::new(spec)
        };
        let error = ModelConfig::R3gan(odd).validate().unwrap_err().to_string();
        assert_eq!(error, "model.discriminator_width out of range: 12");
    }

    #[test]
    fn settings_out_of_range_are_refused() {
        let spec = images(32, 32, 3, 0);
        let dcgan = dcgan::Config::new(spec);
        let r3gan = r3gan::Config::new(spec);
        let stylegan2 = stylegan2::Config::new(spec);
        let cases = [
            (
                "model.images.channels",
                ModelConfig::Dcgan(dcgan::Config::new(images(32, 32, 5, 0))),
            ),
            (
                "model.latent_dim",
                ModelConfig::Dcgan(dcgan::Config { latent_dim: 0, ..dcgan }),
            ),
            (
                "model.width",
                ModelConfig::Dcgan(dcgan::Config {
                    width: 1 << 40,
                    ..dcgan
                }),
            ),
            ("model.width", ModelConfig::R3gan(r3gan::Config { width: 12, ..r3gan })),
            (
                "model.width_max",
                ModelConfig::R3gan(r3gan::Config { width_max: 0, ..r3gan }),
            ),
            (
                "model.width_max",
                ModelConfig::Stylegan2(stylegan2::Config {
                    width_max: 0,
                    ..stylegan2
                }),
            ),
            ("model.blocks", ModelConfig::R3gan(r3gan::Config { blocks: 0, ..r3gan })),
        ];
        for (setting, config) in cases {
            let error = config.validate().expect_err(setting).to_string();
            assert!(error.starts_with(&format!("{setting} out of range: ")), "{error}");
        }
    }

    #[test]
    fn settings_come_back_from_toml() {
        for config in narrow(images(32, 48, 3, 10)) {
            let text = toml::to_string(&config).unwrap();
            assert!(text.starts_with(&format!("family = \"{}\"", config.family())), "{text}");
            assert_eq!(toml::from_str::<ModelConfig>(&text).unwrap(), config);
            assert!(toml::from_str::<ModelConfig>(&format!("depth = 3\n{text}")).is_err());
        }
    }

    #[test]
    fn the_smallest_map_has_some_four_positions_along_its_shorter_side() {
        for short in (16..=512).step_by(4) {
            let grid = Grid::new(images(short, 512, 3, 0));
            assert!((3..=6).contains(&grid.smallest[0]), "{short}: {grid:?}");
            assert!(grid.smallest[0] << grid.halvings >= short && grid.smallest[1] << grid.halvings >= 512);
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_weights() {
        let device = Reference::shared();
        let config = &narrow(images(16, 16, 3, 0))[1];
        let weights = |seed| {
            let generator = config.generator(RandomKey::from_seed(seed), &device).unwrap();
            let first = generator
                .parameters()
                .weights()
                .next()
                .map(|weight| weight.get().to_vec().unwrap());
            first.expect("a network has weights")
        };
        assert_eq!(weights(1), weights(1));
        assert_ne!(weights(1), weights(2));
    }
}
