//! A network with its optimizer, and what the steps of all translators do with it.

use gander_nn::{
    Parameters,
    optim::{Adam, AdamConfig},
};
use gander_tensor::{GradOptions, RandomKey, Tensor, grad};

use crate::{
    error::{Error, Result},
    train::{
        contest::Turn,
        steps::{Batch, Scalars, check_finite},
    },
};

/// A network and its optimizer.
#[derive(Debug)]
pub struct Player<N> {
    /// The network.
    pub network: N,
    /// Adam for its weights.
    pub optimizer: Adam,
    /// What the network is called in files.
    name: &'static str,
    /// The network's own, shared.
    parameters: Parameters,
}

impl<N> Player<N> {
    /// A network with an optimizer that has taken no step.
    pub fn new(
        name: &'static str,
        network: N,
        parameters: impl Fn(&N) -> &Parameters,
        adam: AdamConfig,
    ) -> Result<Self> {
        let parameters = parameters(&network).clone();
        Ok(Self {
            optimizer: Adam::new(adam, &parameters)?,
            name,
            network,
            parameters,
        })
    }

    /// The network's named tensors.
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// Lets the optimizer take a step.
    ///
    /// # Errors
    /// [`Error::NonFinite`] before anything that is not finite reaches the weights.
    pub(super) fn update(&mut self, gradients: Vec<Tensor>, scalars: &Scalars, images_seen: u64) -> Result<()> {
        check_finite(self.name, &self.parameters, scalars, &gradients, images_seen)?;
        Ok(self.optimizer.step(&self.parameters, gradients)?)
    }
}

/// Gradients of a loss for the weights of several networks.
pub(super) fn gradients<const N: usize>(loss: &Tensor, networks: [&Parameters; N]) -> Result<[Vec<Tensor>; N]> {
    let weights = networks.map(Parameters::weight_tensors);
    let inputs: Vec<&Tensor> = weights.iter().flatten().collect();
    let mut all = grad(&[loss], &inputs, GradOptions::default())?.into_iter();
    Ok(weights.map(|weights| all.by_ref().take(weights.len()).collect()))
}

/// Notes a number of a step.
pub(super) fn record(scalars: &mut Scalars, name: &'static str, value: &Tensor) -> Result<()> {
    scalars.insert(name, f64::from(value.item()?));
    Ok(())
}

/// The mean absolute difference.
pub(super) fn distance(a: &Tensor, b: &Tensor) -> gander_tensor::Result<Tensor> {
    a.sub(b)?.abs()?.mean_all()
}

/// The first and the second half of a batch.
pub(super) fn halves(x: &Tensor) -> gander_tensor::Result<(Tensor, Tensor)> {
    let half = x.side(0) / 2;
    Ok((x.slice(0, 0, half)?, x.slice(0, half, 2 * half)?))
}

/// Real images of both collections.
#[derive(Debug, Clone)]
pub(super) struct Both {
    pub(super) a: Tensor,
    pub(super) b: Tensor,
}

impl Both {
    /// The next images, as they are.
    pub(super) fn next(turn: &mut Turn<'_>) -> Result<Self> {
        let batch = (turn.next_batch)(turn.progress, 1)?.pop();
        let Some(Batch {
            images: a,
            partners: Some(b),
            ..
        }) = batch
        else {
            return Err(Error::InvalidConfig {
                reason: "this family needs two sets of images".into(),
            });
        };
        Ok(Self { a, b })
    }

    /// The next images, moved a little.
    ///
    /// Isola et al. 2017, appendix 6.2, and the authors of CycleGAN and CUT enlarge images from 256 to 286 px and cut
    /// 256 px out again: they move by up to 15 px each way. Here they move as far, with a mirrored border, and keep
    /// their size.
    pub(super) fn moved(turn: &mut Turn<'_>, key: RandomKey) -> Result<Self> {
        let Self { a, b } = Self::next(turn)?;
        // Pairs are moved together; for two collections it makes no difference.
        Ok(Self {
            a: moved(&a, key)?,
            b: moved(&b, key)?,
        })
    }
}

/// Images moved by up to 15 in 256 of their sides.
fn moved(images: &Tensor, key: RandomKey) -> Result<Tensor> {
    let (height, width) = (images.side(1), images.side(2));
    let padding = height.min(width) * 15 / 256;
    if padding == 0 {
        return Ok(images.clone());
    }
    let offset = |index| (key.named("moved").split(index).uniform() * (2 * padding + 1) as f64) as usize;
    let (top, left) = (offset(0), offset(1));
    let larger = images.pad_reflect(padding)?;
    Ok(larger.slice(1, top, top + height)?.slice(2, left, left + width)?)
}

#[cfg(test)]
mod tests {
    use gander_tensor::Reference;

    use super::*;

    #[test]
    fn images_move_as_wholes() {
        let device = Reference::shared();
        let values: Vec<f32> = (0..64 * 64).map(|i| (i % 64 + i / 64 * 64) as f32).collect();
        let image = Tensor::from_slice(&values, [1, 64, 64, 1], &device).unwrap();
        let mut seen = std::collections::BTreeSet::new();
        for seed in 0..40 {
            let moved = moved(&image, RandomKey::from_seed(seed)).unwrap();
            assert_eq!(moved.shape()[..], [1, 64, 64, 1]);
            let moved = moved.to_vec().unwrap();
            // The middle is the image, shifted by one offset.
            let shift = moved[32 * 64 + 32] - values[32 * 64 + 32];
            assert!((20..44).all(|i| moved[i * 64 + i] - values[i * 64 + i] == shift));
            seen.insert(shift as i64);
        }
        assert!(seen.len() > 20, "{seen:?}");
    }
}
