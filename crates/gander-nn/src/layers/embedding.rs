//! A table of vectors.

use gander_tensor::{Result, Tensor};

use super::{Mode, SpectralNorm};
use crate::{Init, Parameter, Scope};

/// A learned vector for each class.
#[derive(Debug)]
pub struct Embedding {
    table: Parameter,
    spectral: Option<SpectralNorm>,
}

impl Embedding {
    /// `count` vectors of `features` values.
    pub fn new(count: usize, features: usize, init: Init, scope: &mut Scope<'_>) -> Result<Self> {
        Ok(Self {
            table: scope.weight("weight", [count, features], init)?,
            spectral: None,
        })
    }

    /// The same with the table divided by its largest singular value.
    pub fn new_spectral(count: usize, features: usize, init: Init, scope: &mut Scope<'_>) -> Result<Self> {
        let table = scope.weight("weight", [count, features], init)?;
        let spectral = Some(SpectralNorm::new(&table, scope)?);
        Ok(Self { table, spectral })
    }

    /// Labels (u32 `[batch]`) to `[batch, features]`.
    pub fn forward(&self, labels: &Tensor, mode: Mode) -> Result<Tensor> {
        let table = match &self.spectral {
            Some(spectral) => spectral.normalized(&self.table.get(), mode)?,
            None => self.table.get(),
        };
        table.gather_rows(labels)
    }
}
