//! CUT's contest: a translator that keeps, patch by patch, what its input shows, against a judge.

use gander_nn::{
    Parameters,
    optim::{Adam, AdamConfig},
};
use gander_tensor::{DeviceRef, MatmulOptions, RandomKey, Tensor, concat, matmul, no_grad};

use super::player::{Both, Player, distance, gradients, halves, record};
use crate::{
    error::Result,
    losses::Loss,
    models::{
        cut::{self, Heads},
        sincut,
        translator::{Features, Judge},
    },
    regularizers,
    train::{
        config::TrainingConfig,
        contest::{Contest, Product, Turn},
        steps::Scalars,
    },
};

/// What the translator is asked for, and how its judge is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Terms {
    /// The contest of the translator with its judge.
    pub adversarial: Adversarial,
    /// Weight of the contrast.
    pub contrast_weight: f32,
    /// Whether images of the target collection, too, are held to themselves by contrast.
    pub identity: bool,
    /// Weight of their mean distance to what the translator makes of them; counts with `identity` only.
    pub identity_weight: f32,
    /// Whether a mirrored input has to give the mirrored output's features.
    pub mirror: bool,
    /// Places at which patches are compared, at each depth.
    pub patches: usize,
    /// Among which patches one has to be found.
    pub others: Others,
    /// Features of a patch that are compared.
    pub feature_dim: usize,
    /// By which similarities are divided.
    pub temperature: f32,
}

/// The contest of a translator with its judge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Adversarial {
    /// Least squares, halved for the judge.
    LeastSquares,
    /// Cross-entropies, halved for the judge, whose slope at real images is penalized.
    NonSaturating,
}

/// Among which patches one has to be found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Others {
    /// Those of its image.
    OfImage,
    /// Those of all images of its collection in the batch.
    OfBatch,
}

/// Everything that changes in a step.
#[derive(Debug)]
pub struct ContrastState {
    /// From A to B.
    pub to_b: Player<Box<dyn Features>>,
    /// Judges images of B.
    pub judge: Player<Box<dyn Judge>>,
    /// Look at the translator's features.
    pub heads: Player<Heads>,
    terms: Terms,
}

impl ContrastState {
    /// Fresh networks of CUT or `FastCUT`.
    pub fn cut(config: &cut::Config, key: RandomKey, adam: AdamConfig, device: &DeviceRef) -> Result<Self> {
        let terms = Terms {
            adversarial: Adversarial::LeastSquares,
            contrast_weight: config.contrast_weight,
            identity: config.identity,
            identity_weight: 0.0,
            mirror: config.mirror,
            patches: config.patches,
            others: Others::OfImage,
            feature_dim: config.feature_dim,
            temperature: config.temperature,
        };
        let to_b = config.translator(key.named("to_b"), device)?;
        let heads = config.heads(&to_b, key.named("heads"), device)?;
        let judge = config.discriminator(key.named("judge"), device)?;
        Self::new(Box::new(to_b), Box::new(judge), heads, terms, adam)
    }

    /// Fresh networks of `SinCUT`.
    pub fn sincut(config: &sincut::Config, key: RandomKey, adam: AdamConfig, device: &DeviceRef) -> Result<Self> {
        let terms = Terms {
            adversarial: Adversarial::NonSaturating,
            contrast_weight: config.contrast_weight,
            identity: true,
            identity_weight: config.identity_weight,
            mirror: false,
            patches: config.patches,
            others: Others::OfBatch,
            feature_dim: config.feature_dim,
            temperature: config.temperature,
        };
        let to_b = config.translator(key.named("to_b"), device)?;
        let heads = config.heads(&to_b, key.named("heads"), device)?;
        let judge = config.discriminator(key.named("judge"), device)?;
        Self::new(Box::new(to_b), Box::new(judge), heads, terms, adam)
    }

    fn new(
        to_b: Box<dyn Features>,
        judge: Box<dyn Judge>,
        heads: Heads,
        terms: Terms,
        adam: AdamConfig,
    ) -> Result<Self> {
        Ok(Self {
            to_b: Player::new("to_b", to_b, |to_b| to_b.parameters(), adam)?,
            judge: Player::new("judge", judge, |judge| judge.parameters(), adam)?,
            heads: Player::new("heads", heads, Heads::parameters, adam)?,
            terms,
        })
    }
}

impl Contest for ContrastState {
    fn tensors(&self) -> Vec<(&'static str, &Parameters)> {
        vec![
            ("to_b", self.to_b.parameters()),
            ("judge", self.judge.parameters()),
            ("heads", self.heads.parameters()),
        ]
    }

    fn optimizers(&self) -> Vec<(&'static str, &Adam)> {
        vec![
            ("to_b_optimizer", &self.to_b.optimizer),
            ("judge_optimizer", &self.judge.optimizer),
            ("heads_optimizer", &self.heads.optimizer),
        ]
    }

    fn optimizers_mut(&mut self) -> Vec<(&'static str, &mut Adam)> {
        vec![
            ("to_b_optimizer", &mut self.to_b.optimizer),
            ("judge_optimizer", &mut self.judge.optimizer),
            ("heads_optimizer", &mut self.heads.optimizer),
        ]
    }

    fn judges(&self) -> Vec<&Parameters> {
        vec![self.judge.parameters()]
    }

    fn loss_of_guessing(&self, _: &TrainingConfig) -> Option<f64> {
        match self.terms.adversarial {
            Adversarial::LeastSquares => Loss::LeastSquares.of_guessing(),
            Adversarial::NonSaturating => Loss::NonSaturating.of_guessing().map(|loss| loss / 2.0),
        }
    }

    fn step(&mut self, mut turn: Turn<'_>) -> Result<Scalars> {
        let key = turn.progress.next_key();
        let reals = match self.terms.others {
            Others::OfImage => Both::moved(&mut turn, key)?,
            // Crops lie anywhere already.
            Others::OfBatch => Both::next(&mut turn)?,
        };
        let adam = turn.progress.adam(turn.training);
        for (_, optimizer) in self.optimizers_mut() {
            optimizer.config = adam;
        }
        let share = turn.progress.burn_in_share(turn.training);
        let penalty = turn.training.r1_gamma.at(share) as f32;
        let scalars = contrast_step(self, [&reals.a, &reals.b], penalty, key, turn.progress.images_seen)?;
        turn.progress.images_seen += reals.a.side(0) as u64;
        Ok(scalars)
    }

    fn product(&self) -> Product<'_> {
        Product::Translators {
            to_b: self.to_b.network.as_ref(),
            to_a: None,
        }
    }
}

/// One update of the discriminator, then one of the translator and the heads, on images `[a, b]` of both collections.
///
/// # Source
/// Park et al. 2020, section 3 and appendix B, <https://arxiv.org/abs/2007.15651>.
pub fn contrast_step(
    state: &mut ContrastState,
    [a, b]: [&Tensor; 2],
    r1_gamma: f32,
    key: RandomKey,
    images_seen: u64,
) -> Result<Scalars> {
    let mut scalars = Scalars::new();
    let terms = state.terms;
    let is_mirrored = terms.mirror && key.named("mirror").uniform() < 0.5;
    let mirror = |x: &Tensor| if is_mirrored { x.flip(2) } else { Ok(x.clone()) };
    let inputs = if terms.identity { concat(&[a, b], 0)? } else { a.clone() };
    let (made, mut keys) = state.to_b.network.translate_with_features(&mirror(&inputs)?)?;
    if is_mirrored {
        keys = no_grad(|| state.to_b.network.features(&inputs))?;
    }
    let (fakes, same) = if terms.identity {
        let (fakes, same) = halves(&made)?;
        (fakes, Some(same))
    } else {
        (made.clone(), None)
    };

    let is_penalized = r1_gamma > 0.0;
    let reals = if is_penalized { b.watch() } else { b.clone() };
    let logits = state.judge.network.judge(&concat(&[&reals, &fakes.detach()], 0)?)?;
    let (real_logits, fake_logits) = halves(&logits)?;
    let loss = match terms.adversarial {
        // `LeastSquares` carries the half already.
        Adversarial::LeastSquares => Loss::LeastSquares.discriminator(&real_logits, &fake_logits)?,
        Adversarial::NonSaturating => {
            let loss = Loss::NonSaturating.discriminator(&real_logits, &fake_logits)?;
            loss.mul_scalar(0.5)?
        }
    };
    record(&mut scalars, "discriminator_loss", &loss)?;
    record(&mut scalars, "real_logits", &real_logits.mean_all()?)?;
    record(&mut scalars, "fake_logits", &fake_logits.mean_all()?)?;
    let loss = if is_penalized {
        let penalty = regularizers::r1(&real_logits, &reals)?.mean_all()?;
        record(&mut scalars, "r1_penalty", &penalty)?;
        loss.add(&penalty.mul_scalar(r1_gamma / 2.0)?)?
    } else {
        loss
    };
    let [for_judge] = gradients(&loss, [state.judge.parameters()])?;
    // Weights change in place once nothing else holds them.
    drop((loss, real_logits, fake_logits, logits, reals));
    state.judge.update(for_judge, &scalars, images_seen)?;

    let logits = state.judge.network.judge(&fakes)?;
    let adversarial = match terms.adversarial {
        Adversarial::LeastSquares => Loss::LeastSquares.generator(&logits, None)?.mul_scalar(2.0)?,
        Adversarial::NonSaturating => Loss::NonSaturating.generator(&logits, None)?,
    };
    let queries = state.to_b.network.features(&made)?;
    let queries = queries.iter().map(mirror).collect::<Result<Vec<_>, _>>()?;
    // With the identity term half of the batch are images of B, which counts both alike: a mean over the batch.
    let contrast = contrast(state, &queries, &keys, key)?;
    let mut loss = adversarial.add(&contrast.mul_scalar(terms.contrast_weight)?)?;
    if let Some(same) = same.filter(|_| terms.identity_weight > 0.0) {
        let identity = distance(&same, b)?;
        record(&mut scalars, "identity_distance", &identity)?;
        loss = loss.add(&identity.mul_scalar(terms.identity_weight)?)?;
    }
    record(&mut scalars, "generator_loss", &loss)?;
    record(&mut scalars, "contrast", &contrast)?;
    let [for_translator, for_heads] = gradients(&loss, [state.to_b.parameters(), state.heads.parameters()])?;
    drop((loss, adversarial, contrast, logits, queries, keys, made, fakes));
    state.to_b.update(for_translator, &scalars, images_seen)?;
    state.heads.update(for_heads, &scalars, images_seen)?;
    Ok(scalars)
}

/// The mean over depths of [`patch_contrast`] at random places.
fn contrast(state: &ContrastState, queries: &[Tensor], keys: &[Tensor], key: RandomKey) -> Result<Tensor> {
    let terms = &state.terms;
    let mut sum: Option<Tensor> = None;
    for (depth, (query, kept)) in queries.iter().zip(keys).enumerate() {
        let places = places(
            query.side(1) * query.side(2),
            terms.patches,
            key.named("places").split(depth as u64),
        );
        let look = |features: &Tensor| -> Result<Tensor> {
            let rows = patches(features, &places)?;
            let vectors = state.heads.network.forward(depth, &rows)?;
            let images = match terms.others {
                Others::OfImage => features.side(0),
                Others::OfBatch => 1 + usize::from(terms.identity),
            };
            let patches = features.side(0) * places.len() / images;
            Ok(vectors.reshape([images, patches, terms.feature_dim])?)
        };
        let loss = patch_contrast(&look(query)?, &look(&kept.detach())?.detach(), terms.temperature)?;
        sum = Some(match sum {
            Some(sum) => sum.add(&loss)?,
            None => loss,
        });
    }
    let sum = sum.ok_or_else(|| crate::Error::InvalidConfig {
        reason: "no features to compare".into(),
    })?;
    Ok(sum.mul_scalar(1.0 / queries.len() as f32)?)
}

/// How far each patch is from being most like its own counterpart: the cross-entropy of finding it among all patches of
/// the image.
///
/// `−log( exp(qᵢ·kᵢ / τ) / Σⱼ exp(qᵢ·kⱼ / τ) )`, the mean over patches and images.
///
/// # Shapes
/// - `queries`, `keys`: `[batch, patches, features]`, vectors of length one
/// - returns: a scalar
///
/// # Source
/// Park et al. 2020, equations 2 and 3.
pub fn patch_contrast(queries: &Tensor, keys: &Tensor, temperature: f32) -> Result<Tensor> {
    let options = MatmulOptions {
        transpose_b: true,
        ..MatmulOptions::default()
    };
    let inverse = 1.0 / temperature;
    let similar = matmul(queries, keys, options)?.mul_scalar(inverse)?;
    // Vectors of length one are at most `inverse` alike: no exponential is over one.
    let others = similar.add_scalar(-inverse)?.exp()?.sum_keep(&[-1])?.log()?;
    let own = queries.mul(keys)?.sum_keep(&[-1])?.mul_scalar(inverse)?;
    Ok(others.add_scalar(inverse)?.sub(&own)?.mean_all()?)
}

/// Different places among `count`, in a random order; all of them where there are fewer than `wanted`.
fn places(count: usize, wanted: usize, key: RandomKey) -> Vec<u32> {
    let mut all: Vec<u32> = (0..count as u32).collect();
    let wanted = wanted.min(count);
    for at in 0..wanted {
        let other = at + (key.split(at as u64).uniform() * (count - at) as f64) as usize;
        all.swap(at, other);
    }
    all.truncate(wanted);
    all
}

/// Features at some places of each image, `[batch · places, channels]`.
fn patches(features: &Tensor, places: &[u32]) -> Result<Tensor> {
    let (batch, positions, channels) = (
        features.side(0),
        features.side(1) * features.side(2),
        features.shape().channels(),
    );
    let indices: Vec<u32> = (0..batch)
        .flat_map(|image| places.iter().map(move |&place| (image * positions) as u32 + place))
        .collect();
    let indices = Tensor::from_u32(&indices, [indices.len()], features.device())?;
    Ok(features.reshape([batch * positions, channels])?.gather_rows(&indices)?)
}

#[cfg(test)]
mod tests {
    use gander_tensor::{GradOptions, Reference, grad};

    use super::*;

    /// Two patches at right angles: `log(1 + exp(−1 / τ))` when each finds itself, `1 / τ` more when each finds the
    /// other.
    #[test]
    fn contrast_by_hand() {
        let device = Reference::shared();
        let tensor = |values: &[f32]| Tensor::from_slice(values, [1, 2, 2], &device).unwrap();
        let (straight, crossed) = (tensor(&[1.0, 0.0, 0.0, 1.0]), tensor(&[0.0, 1.0, 1.0, 0.0]));
        let loss = |keys: &Tensor| patch_contrast(&straight, keys, 0.5).unwrap().to_vec_f64().unwrap()[0];
        let found = (1.0 + (-2.0f64).exp()).ln();
        assert!((loss(&straight) - found).abs() < 1e-9, "{}", loss(&straight));
        assert!((loss(&crossed) - found - 2.0).abs() < 1e-9, "{}", loss(&crossed));
    }

    #[test]
    fn its_gradient_is_that_of_differences() {
        let device = Reference::shared();
        let normal = |seed| {
            let x = Tensor::normal(RandomKey::from_seed(seed), [2, 5, 4], &device).unwrap();
            let length = x.square().unwrap().sum_keep(&[-1]).unwrap().sqrt().unwrap();
            x.div(&length).unwrap()
        };
        let (queries, keys) = (normal(1).watch(), normal(2));
        let loss = patch_contrast(&queries, &keys, 0.3).unwrap();
        let slope = grad(&[&loss], &[&queries], GradOptions::default()).unwrap()[0]
            .to_vec_f64()
            .unwrap();
        let values = queries.to_vec().unwrap();
        for index in [0, 7, 23, 39] {
            let at = |shift: f32| {
                let mut values = values.clone();
                values[index] += shift;
                let queries = Tensor::from_slice(&values, [2, 5, 4], &device).unwrap();
                patch_contrast(&queries, &keys, 0.3).unwrap().to_vec_f64().unwrap()[0]
            };
            let expected = (at(1e-3) - at(-1e-3)) / 2e-3;
            assert!(
                (slope[index] - expected).abs() < 1e-4,
                "{} instead of {expected}",
                slope[index]
            );
        }
    }

    #[test]
    fn places_differ_and_cover_small_maps() {
        let mut some = places(1000, 256, RandomKey::from_seed(4));
        assert_ne!(some, places(1000, 256, RandomKey::from_seed(5)));
        some.sort_unstable();
        some.dedup();
        assert_eq!(some.len(), 256);
        let mut all = places(16, 256, RandomKey::from_seed(4));
        all.sort_unstable();
        assert_eq!(all, (0..16).collect::<Vec<u32>>());
    }

    #[test]
    fn patches_are_those_of_each_image() {
        let device = Reference::shared();
        let values: Vec<f32> = (0..2 * 4 * 3).map(|i| i as f32).collect();
        let features = Tensor::from_slice(&values, [2, 2, 2, 3], &device).unwrap();
        let rows = patches(&features, &[3, 0]).unwrap();
        assert_eq!(rows.shape()[..], [4, 3]);
        let firsts: Vec<f32> = rows.to_vec().unwrap().chunks(3).map(|row| row[0]).collect();
        assert_eq!(firsts, [9.0, 0.0, 21.0, 12.0]);
    }
}
