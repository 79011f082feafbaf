//! One training step of CycleGAN: two translators, there and back, against two discriminators.

use gander_nn::{
    Parameters,
    optim::{Adam, AdamConfig},
};
use gander_tensor::{DeviceRef, GradOptions, RandomKey, Tensor, concat, grad};
use serde::{Deserialize, Serialize};

use crate::{
    error::Result,
    losses::Loss,
    models::cyclegan::{Config, PatchDiscriminator, Translator},
    train::steps::Scalars,
};

/// What the translators make small beside the adversarial loss.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CycleWeights {
    /// Of the mean distance between an image and what comes back from the other collection.
    pub cycle: f32,
    /// Of the mean distance between an image and what its own collection's translator makes of it.
    pub identity: f32,
}

impl Default for CycleWeights {
    /// Sections 4 and 5.2 of the paper: 10, and half of it.
    fn default() -> Self {
        Self {
            cycle: 10.0,
            identity: 5.0,
        }
    }
}

/// A network and its optimizer.
#[derive(Debug)]
pub struct Player<N> {
    /// The network.
    pub network: N,
    /// Adam for its weights.
    pub optimizer: Adam,
}

impl<N> Player<N> {
    fn new(network: N, parameters: impl Fn(&N) -> &Parameters, adam: AdamConfig) -> Result<Self> {
        let optimizer = Adam::new(adam, parameters(&network))?;
        Ok(Self { network, optimizer })
    }
}

/// Everything that changes in a step.
#[derive(Debug)]
pub struct CycleState {
    /// From B to A.
    pub to_a: Player<Translator>,
    /// From A to B.
    pub to_b: Player<Translator>,
    /// Judges images of A.
    pub judge_a: Player<PatchDiscriminator>,
    /// Judges images of B.
    pub judge_b: Player<PatchDiscriminator>,
}

impl CycleState {
    /// Fresh networks.
    pub fn new(config: &Config, key: RandomKey, adam: AdamConfig, device: &DeviceRef) -> Result<Self> {
        let translator = |name| {
            let network = config.translator(key.named(name), device)?;
            Player::new(network, Translator::parameters, adam)
        };
        let judge = |name| {
            let network = config.discriminator(key.named(name), device)?;
            Player::new(network, PatchDiscriminator::parameters, adam)
        };
        Ok(Self {
            to_a: translator("to_a")?,
            to_b: translator("to_b")?,
            judge_a: judge("judge_a")?,
            judge_b: judge("judge_b")?,
        })
    }
}

/// Real images of both collections.
#[derive(Debug, Clone, Copy)]
pub struct Reals<'a> {
    /// `[batch, height, width, channels]`, −1..=1
    pub a: &'a Tensor,
    /// The same of the other collection.
    pub b: &'a Tensor,
}

/// One update of both translators, then one of both discriminators.
///
/// Adversarial losses are least squares; those of the discriminators are halved, as in section 4 of the paper.
///
/// # Source
/// Zhu et al. 2017, section 3, <https://arxiv.org/abs/1703.10593>.
pub fn cycle_step(state: &mut CycleState, reals: Reals<'_>, weights: CycleWeights) -> Result<Scalars> {
    let mut scalars = Scalars::new();
    let [fake_a, fake_b] = update_translators(state, reals, weights, &mut scalars)?;
    let loss =
        update_judge(&mut state.judge_a, reals.a, &fake_a)? + update_judge(&mut state.judge_b, reals.b, &fake_b)?;
    scalars.insert("discriminator_loss", loss);
    Ok(scalars)
}

/// Returns the fakes of both collections, cut off from the translators.
fn update_translators(
    state: &mut CycleState,
    reals: Reals<'_>,
    weights: CycleWeights,
    scalars: &mut Scalars,
) -> Result<[Tensor; 2]> {
    let mut weights_of_both = state.to_a.network.parameters().weight_tensors();
    let count = weights_of_both.len();
    weights_of_both.extend(state.to_b.network.parameters().weight_tensors());
    let (loss, fakes) = translators_loss(state, reals, weights, scalars)?;
    let inputs: Vec<&Tensor> = weights_of_both.iter().collect();
    let mut for_a = grad(&[&loss], &inputs, GradOptions::default())?;
    let for_b = for_a.split_off(count);
    // Weights change in place once nothing else holds them.
    drop((loss, weights_of_both));
    for (player, gradients) in [(&mut state.to_a, for_a), (&mut state.to_b, for_b)] {
        player.optimizer.step(player.network.parameters(), gradients)?;
    }
    Ok(fakes)
}

fn translators_loss(
    state: &CycleState,
    Reals { a, b }: Reals<'_>,
    weights: CycleWeights,
    scalars: &mut Scalars,
) -> Result<(Tensor, [Tensor; 2])> {
    let (to_a, to_b) = (&state.to_a.network, &state.to_b.network);
    // A translator meets both collections in one pass: instances are normalized one by one.
    let (fake_b, same_b) = halves(&to_b.forward(&concat(&[a, b], 0)?)?)?;
    let (fake_a, same_a) = halves(&to_a.forward(&concat(&[b, a], 0)?)?)?;
    let (back_a, back_b) = (to_a.forward(&fake_b)?, to_b.forward(&fake_a)?);

    let fooling = |judge: &Player<PatchDiscriminator>, fake: &Tensor| {
        let logits = judge.network.forward(fake)?;
        // The translators' least squares stand in the paper without the half.
        Loss::LeastSquares.generator(&logits, None)?.mul_scalar(2.0)
    };
    let adversarial = fooling(&state.judge_a, &fake_a)?.add(&fooling(&state.judge_b, &fake_b)?)?;
    let cycle = distance(&back_a, a)?.add(&distance(&back_b, b)?)?;
    let identity = distance(&same_a, a)?.add(&distance(&same_b, b)?)?;
    let loss = adversarial
        .add(&cycle.mul_scalar(weights.cycle)?)?
        .add(&identity.mul_scalar(weights.identity)?)?;
    for (name, part) in [
        ("generator_loss", &loss),
        ("cycle_distance", &cycle),
        ("identity_distance", &identity),
    ] {
        scalars.insert(name, f64::from(part.item()?));
    }
    Ok((loss, [fake_a.detach(), fake_b.detach()]))
}

fn update_judge(judge: &mut Player<PatchDiscriminator>, real: &Tensor, fake: &Tensor) -> Result<f64> {
    let (real_logits, fake_logits) = halves(&judge.network.forward(&concat(&[real, fake], 0)?)?)?;
    let loss = Loss::LeastSquares.discriminator(&real_logits, &fake_logits)?;
    let value = f64::from(loss.item()?);
    let weights = judge.network.parameters().weight_tensors();
    let gradients = grad(&[&loss], &weights.iter().collect::<Vec<_>>(), GradOptions::default())?;
    // Weights change in place once nothing else holds them.
    drop((real_logits, fake_logits, loss, weights));
    judge.optimizer.step(judge.network.parameters(), gradients)?;
    Ok(value)
}

/// The mean absolute difference.
fn distance(a: &Tensor, b: &Tensor) -> gander_tensor::Result<Tensor> {
    a.sub(b)?.abs()?.mean_all()
}

/// The first and the second half of a batch.
fn halves(x: &Tensor) -> gander_tensor::Result<(Tensor, Tensor)> {
    let half = x.side(0) / 2;
    Ok((x.slice(0, 0, half)?, x.slice(0, half, 2 * half)?))
}
