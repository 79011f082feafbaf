//! The file that a run of translators ends in.

use std::path::Path;

use gander_tensor::{DeviceRef, RandomKey};

use super::tiles::{self, Picture};
use crate::{
    error::{Error, Result},
    models::{Translators, translator::Translator},
    shipped::{self, GeneratorHeader},
    train::{checkpoint, state::load_parameters},
};

/// Which way to translate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Direction {
    /// From the first set to the second.
    #[default]
    ToB,
    /// From the second to the first, where the family learns it.
    ToA,
}

/// Translators to make pictures with.
#[derive(Debug)]
pub struct ShippedTranslator {
    /// What the file says.
    pub header: GeneratorHeader,
    translators: Translators,
    device: DeviceRef,
}

impl ShippedTranslator {
    /// Reads a generator file, or that of a run directory.
    ///
    /// # Errors
    /// [`Error::MakesFromLatents`] if its family does not translate, [`Error::MissingTensor`] and [`Error::WrongShape`]
    /// with the tensor's name, and what reading meets.
    pub fn load(path: &Path, device: &DeviceRef) -> Result<Self> {
        let path = shipped::resolve(path);
        let (header, tensors): (GeneratorHeader, _) = checkpoint::read(&path, shipped::KIND, shipped::VERSION, device)?;
        header.model.validate()?;
        let translators = header.model.translators(RandomKey::from_seed(0), device)?;
        load_parameters(translators.to_b.parameters(), "to_b", &tensors)?;
        if let Some(to_a) = &translators.to_a {
            load_parameters(to_a.parameters(), "to_a", &tensors)?;
        }
        Ok(Self {
            header,
            translators,
            device: device.clone(),
        })
    }

    /// The network of a direction.
    ///
    /// # Errors
    /// [`Error::OneWay`] if the family does not learn it.
    pub fn translator(&self, direction: Direction) -> Result<&dyn Translator> {
        match direction {
            Direction::ToB => Ok(self.translators.to_b.as_ref()),
            Direction::ToA => self.translators.to_a.as_deref().ok_or_else(|| Error::OneWay {
                family: self.header.model.family(),
            }),
        }
    }

    /// Number of learned values.
    pub fn num_weights(&self) -> usize {
        let to_a = self.translators.to_a.as_ref();
        let networks = std::iter::once(&self.translators.to_b).chain(to_a);
        networks.map(|network| network.parameters().num_weights()).sum()
    }

    /// A picture of any size in the style of the other set; see [`tiles::translate`].
    ///
    /// # Errors
    /// [`Error::OneWay`], and [`Error::UnlikeImages`] if the picture's channels are not the network's.
    pub fn translate(
        &self,
        picture: &Picture,
        direction: Direction,
        progress: &mut dyn FnMut(usize, usize),
    ) -> Result<Picture> {
        let channels = self.header.model.images().channels;
        if picture.channels != channels {
            return Err(Error::UnlikeImages {
                expected: format!("of {channels} channels"),
                got: format!("of {} channels", picture.channels),
            });
        }
        tiles::translate(self.translator(direction)?, picture, &self.device, progress)
    }
}
