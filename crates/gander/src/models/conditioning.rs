//! How a network learns of classes: a vector beside the latents, scales and shifts behind normalizations, a projection
//! beside the logit.

use gander_nn::{
    Init, Mode, Scope,
    layers::{BatchNorm, BatchNormConfig, Embedding, EmbeddingConfig},
};
use gander_tensor::{Error, Result, Tensor, concat};

/// Names of what a class adds to a normalization.
const SCALE: &str = "class_scale";
const SHIFT: &str = "class_shift";

/// Classes that a generator's normalizations know.
#[derive(Debug, Clone, Copy)]
pub(super) struct Classes {
    pub(super) count: usize,
    /// Factor on the learning rate of what they add.
    pub(super) lr_multiplier: f32,
}

impl Classes {
    /// None.
    pub(super) const NONE: Self = Self {
        count: 0,
        lr_multiplier: 1.0,
    };
}

/// The factors where what a class adds learns like everything else.
pub(super) fn no_rates() -> [u32; 2] {
    [1; 2]
}

/// Whether a parameter of this name says something of single classes.
pub(crate) fn is_of_classes(name: &str) -> bool {
    let layer = name.rsplit('.').nth(1);
    layer.is_some_and(|layer| ["classes", SCALE, SHIFT].contains(&layer))
}

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

/// Batch normalization whose scale and shift depend on the class, where there are classes.
///
/// A class that came in beside the latents would soon drown them in a generator without a penalty on its judge: every
/// image of a class the same.
///
/// # Source
/// De Vries et al. 2017, section 3, <https://arxiv.org/abs/1707.00683>; in a generator: Miyato & Koyama 2018, section 5.
#[derive(Debug)]
pub(super) struct ClassNorm {
    norm: BatchNorm,
    classes: Option<ClassScales>,
}

/// What each class adds to a normalization's scale and shift.
#[derive(Debug)]
struct ClassScales {
    scale: Embedding,
    shift: Embedding,
}

impl ClassNorm {
    /// Classes begin alike.
    pub(super) fn new(config: BatchNormConfig, classes: Classes, scope: &mut Scope<'_>) -> Result<Self> {
        let table = EmbeddingConfig {
            init: Init::ZEROS,
            lr_multiplier: classes.lr_multiplier,
            ..EmbeddingConfig::new(classes.count, config.channels)
        };
        let classes = match classes.count {
            0 => None,
            _ => Some(ClassScales {
                scale: table.init(&mut scope.child(SCALE))?,
                shift: table.init(&mut scope.child(SHIFT))?,
            }),
        };
        Ok(Self {
            norm: config.init(scope)?,
            classes,
        })
    }

    /// `[batch, height, width, channels]` to the same, with labels u32 `[batch]`.
    pub(super) fn forward(&self, x: &Tensor, labels: Option<&Tensor>, mode: Mode) -> Result<Tensor> {
        let Some(classes) = &self.classes else {
            return self.norm.forward(x, mode);
        };
        let labels = required("generator", labels)?;
        let [scale, shift] = [&classes.scale, &classes.shift].map(|table| table.forward(labels, mode));
        self.norm.forward_changed(x, &scale?, &shift?, mode)
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

/// The labels, which a network that knows classes cannot do without.
pub(super) fn required<'a>(op: &'static str, labels: Option<&'a Tensor>) -> Result<&'a Tensor> {
    labels.ok_or_else(|| Error::InvalidArgument {
        op,
        argument: "labels",
        value: "none".into(),
    })
}

#[cfg(test)]
mod tests {
    use gander_nn::Parameters;
    use gander_tensor::{Activation, RandomKey, Reference};

    use super::*;

    /// A batch of values 0 and 4 is normalized to -1 and 1; class 1 has the scale 1 + 2 and the shift 5.
    #[test]
    fn each_class_has_a_scale_and_a_shift() {
        let device = Reference::shared();
        let mut parameters = Parameters::default();
        let config = BatchNormConfig {
            eps: 0.0,
            ..BatchNormConfig::new(1, Activation::Relu)
        };
        let mut scope = Scope::new(&mut parameters, RandomKey::from_seed(0), &device);
        let classes = Classes {
            count: 2,
            lr_multiplier: 1.0,
        };
        let norm = ClassNorm::new(config, classes, &mut scope).unwrap();
        let x = Tensor::from_slice(&[0.0, 4.0, 0.0, 4.0], [4, 1, 1, 1], &device).unwrap();
        let labels = Tensor::from_u32(&[0, 0, 1, 1], [4], &device).unwrap();
        let y = norm.forward(&x, Some(&labels), Mode::Frozen).unwrap();
        assert_eq!(y.to_vec().unwrap(), [0.0, 1.0, 0.0, 1.0]);
        for (name, of_second) in [("class_scale.weight", 2.0), ("class_shift.weight", 5.0)] {
            let table = Tensor::from_slice(&[0.0, of_second], [2, 1], &device).unwrap();
            parameters.get(name).unwrap().set(&table).unwrap();
        }
        let y = norm.forward(&x, Some(&labels), Mode::Frozen).unwrap();
        assert_eq!(y.to_vec().unwrap(), [0.0, 1.0, 2.0, 8.0]);
        assert!(norm.forward(&x, None, Mode::Frozen).is_err());
    }
}
