//! One training step of CycleGAN: two translators, there and back, against two discriminators.

use gander_nn::{
    Parameters,
    optim::{Adam, AdamConfig},
};
use gander_tensor::{DeviceRef, GradOptions, RandomKey, Tensor, concat, grad};
use serde::{Deserialize, Serialize};

use crate::{
    error::{Error, Result},
    losses::Loss,
    models::cyclegan::{Config, PatchDiscriminator, Translator},
    train::steps::{Gradients, Scalars},
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
///
/// One direction after the other, so that what one keeps for its gradients is gone before the other begins.
fn update_translators(
    state: &mut CycleState,
    reals: Reals<'_>,
    weights: CycleWeights,
    scalars: &mut Scalars,
) -> Result<[Tensor; 2]> {
    let Reals { a, b } = reals;
    let mut gradients = Gradients::default();
    let mut fake = |direction: Direction<'_>| {
        let players = [&state.to_a, &state.to_b];
        let asked: Vec<Tensor> = players
            .iter()
            .flat_map(|player| player.network.parameters().weight_tensors())
            .collect();
        let (loss, fake) = direction.loss(weights, scalars)?;
        gradients.add(grad(
            &[&loss],
            &asked.iter().collect::<Vec<_>>(),
            GradOptions::default(),
        )?)?;
        Ok::<_, Error>(fake)
    };
    let to_b = Direction {
        there: &state.to_b.network,
        back: &state.to_a.network,
        judge: &state.judge_b.network,
        source: a,
        target: b,
    };
    let fake_b = fake(to_b)?;
    let to_a = Direction {
        there: &state.to_a.network,
        back: &state.to_b.network,
        judge: &state.judge_a.network,
        source: b,
        target: a,
    };
    let fake_a = fake(to_a)?;
    let mut for_a = gradients.sum();
    let for_b = for_a.split_off(state.to_a.network.parameters().weights().count());
    for (player, gradients) in [(&mut state.to_a, for_a), (&mut state.to_b, for_b)] {
        player.optimizer.step(player.network.parameters(), gradients)?;
    }
    Ok([fake_a, fake_b])
}

/// From a collection to the other, and back.
struct Direction<'a> {
    there: &'a Translator,
    back: &'a Translator,
    judge: &'a PatchDiscriminator,
    source: &'a Tensor,
    target: &'a Tensor,
}

impl Direction<'_> {
    /// This direction's part of the translators' loss, and the fakes.
    fn loss(&self, weights: CycleWeights, scalars: &mut Scalars) -> Result<(Tensor, Tensor)> {
        // Both collections in one pass: instances are normalized one by one.
        let (fake, same) = halves(&self.there.forward(&concat(&[self.source, self.target], 0)?)?)?;
        let logits = self.judge.forward(&fake)?;
        // The translators' least squares stand in the paper without the half.
        let adversarial = Loss::LeastSquares.generator(&logits, None)?.mul_scalar(2.0)?;
        let cycle = distance(&self.back.forward(&fake)?, self.source)?;
        let identity = distance(&same, self.target)?;
        let loss = adversarial
            .add(&cycle.mul_scalar(weights.cycle)?)?
            .add(&identity.mul_scalar(weights.identity)?)?;
        for (name, part) in [
            ("generator_loss", &loss),
            ("cycle_distance", &cycle),
            ("identity_distance", &identity),
        ] {
            *scalars.entry(name).or_default() += f64::from(part.item()?);
        }
        Ok((loss, fake.detach()))
    }
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
