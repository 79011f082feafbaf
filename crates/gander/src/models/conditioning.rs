//! How a network learns of classes: a vector beside the latents, a projection beside the logit.

use gander_nn::{Mode, layers::Embedding};
use gander_tensor::{Error, Result, Tensor, concat};

/// Latents with the vector of their class beside them.
///
/// # Shapes
/// - `latents`: `[batch, latent_dim]`, `labels`: u32 `[batch]`
/// - returns: `[batch, latent_dim + features]`, or the latents where there are no classes
pub(super) fn beside_latents(
    classes: Option<&Embedding>,
    latents: &Tensor,
    labels: Option<&Tensor>,
    mode: Mode,
) -> Result<Tensor> {
    match classes {
        None => Ok(latents.clone()),
        Some(classes) => concat(&[latents, &classes.forward(required("generator", labels)?, mode)?], 1),
    }
}

/// The dot product of features with the vector of the class that they are said to be of.
///
/// # Shapes
/// - `features`: `[batch, features]`, `labels`: u32 `[batch]`
/// - returns: `[batch]`
///
/// # Source
/// Miyato & Koyama 2018, section 3, <https://arxiv.org/abs/1802.05637>.
pub(super) fn projection(
    classes: &Embedding,
    features: &Tensor,
    labels: Option<&Tensor>,
    mode: Mode,
) -> Result<Tensor> {
    features
        .mul(&classes.forward(required("discriminator", labels)?, mode)?)?
        .sum_per_sample()
}

fn required<'a>(op: &'static str, labels: Option<&'a Tensor>) -> Result<&'a Tensor> {
    labels.ok_or_else(|| Error::InvalidArgument {
        op,
        argument: "labels",
        value: "none".into(),
    })
}
