//! A table of vectors.

use gander_tensor::{Result, Tensor};

use super::{Mode, SpectralNorm};
use crate::{Init, Parameter, Scope};

/// A learned vector for each class.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EmbeddingConfig {
    /// Number of classes.
    pub count: usize,
    /// Length of a vector.
    pub features: usize,
    /// First values of the vectors.
    pub init: Init,
    /// Factor on the learning rate.
    pub lr_multiplier: f32,
}

impl EmbeddingConfig {
    /// Vectors that begin as N(0, 1).
    pub fn new(count: usize, features: usize) -> Self {
        Self {
            count,
            features,
            init: Init::normal(1.0),
            lr_multiplier: 1.0,
        }
    }

    /// The layer.
    pub fn init(self, scope: &mut Scope<'_>) -> Result<Embedding> {
        Ok(Embedding {
            table: scope.weight_with_lr("weight", [self.count, self.features], self.init, self.lr_multiplier)?,
            spectral: None,
        })
    }

    /// The layer with its table divided by the largest singular value.
    pub fn init_spectral(self, scope: &mut Scope<'_>) -> Result<Embedding> {
        let Embedding { table, .. } = self.init(scope)?;
        let spectral = Some(SpectralNorm::new(&table, scope)?);
        Ok(Embedding { table, spectral })
    }
}

/// The layer of [`EmbeddingConfig`].
#[derive(Debug)]
pub struct Embedding {
    table: Parameter,
    spectral: Option<SpectralNorm>,
}

impl Embedding {
    /// Labels (u32 `[batch]`) to `[batch, features]`.
    pub fn forward(&self, labels: &Tensor, mode: Mode) -> Result<Tensor> {
        let table = match &self.spectral {
            Some(spectral) => spectral.normalized(&self.table.get(), mode)?,
            None => self.table.get(),
        };
        table.gather_rows(labels)
    }
}

#[cfg(test)]
mod tests {
    use gander_tensor::{RandomKey, Reference};

    use super::*;
    use crate::Parameters;

    #[test]
    fn labels_pick_rows() {
        let device = Reference::shared();
        let mut parameters = Parameters::default();
        let mut scope = Scope::new(&mut parameters, RandomKey::from_seed(1), &device);
        let config = EmbeddingConfig::new(3, 2);
        let plain = config.init(&mut scope.child("plain")).unwrap();
        let spectral = config.init_spectral(&mut scope.child("spectral")).unwrap();
        let labels = Tensor::from_u32(&[2, 0], [2], &device).unwrap();
        let table = parameters.get("plain.weight").unwrap().get().to_vec().unwrap();
        let rows = plain.forward(&labels, Mode::Train).unwrap().to_vec().unwrap();
        assert_eq!(rows, [table[4], table[5], table[0], table[1]]);
        assert_eq!(spectral.forward(&labels, Mode::Train).unwrap().shape()[..], [2, 2]);
        assert!(
            plain
                .forward(&Tensor::from_u32(&[3], [1], &device).unwrap(), Mode::Train)
                .is_err()
        );
    }
}
