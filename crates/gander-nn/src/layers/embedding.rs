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
        Self::new_with_lr(count, features, init, 1.0, scope)
    }

    /// The same with a factor on the learning rate.
    pub fn new_with_lr(
        count: usize,
        features: usize,
        init: Init,
        lr_multiplier: f32,
        scope: &mut Scope<'_>,
    ) -> Result<Self> {
        Ok(Self {
            table: scope.weight_with_lr("weight", [count, features], init, lr_multiplier)?,
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
        let plain = Embedding::new(3, 2, Init::normal(1.0), &mut scope.child("plain")).unwrap();
        let spectral = Embedding::new_spectral(3, 2, Init::normal(1.0), &mut scope.child("spectral")).unwrap();
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
