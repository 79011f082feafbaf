//! CycleGAN's contest: two translators, there and back, against two discriminators.

use gander_nn::{
    Parameters,
    optim::{Adam, AdamConfig},
};
use gander_tensor::{DeviceRef, RandomKey, Tensor, concat};

use super::{
    player::{Both, Player, distance, gradients, halves, record},
    pool::ImagePool,
};
use crate::{
    error::{Error, Result},
    losses::Loss,
    models::{
        cyclegan::Config, patches::PatchDiscriminator, residual::ResidualTranslator, translator::Translator as _,
    },
    train::{
        config::TrainingConfig,
        contest::{Contest, Product, Turn},
        steps::{Gradients, Scalars},
    },
};

/// Everything that changes in a step.
#[derive(Debug)]
pub struct CycleState {
    /// From B to A.
    pub to_a: Player<ResidualTranslator>,
    /// From A to B.
    pub to_b: Player<ResidualTranslator>,
    /// Judges images of A.
    pub judge_a: Player<PatchDiscriminator>,
    /// Judges images of B.
    pub judge_b: Player<PatchDiscriminator>,
    /// Earlier fakes of A and B.
    pools: [ImagePool; 2],
    config: Config,
}

impl CycleState {
    /// Fresh networks.
    pub fn new(config: &Config, key: RandomKey, adam: AdamConfig, device: &DeviceRef) -> Result<Self> {
        let translator = |name| {
            let network = config.translator(key.named(name), device)?;
            Player::new(name, network, ResidualTranslator::parameters, adam)
        };
        let judge = |name| {
            let network = config.discriminator(key.named(name), device)?;
            Player::new(name, network, PatchDiscriminator::parameters, adam)
        };
        let pool = || ImagePool::new(config.pool, config.images, device);
        Ok(Self {
            to_a: translator("to_a")?,
            to_b: translator("to_b")?,
            judge_a: judge("judge_a")?,
            judge_b: judge("judge_b")?,
            pools: [pool()?, pool()?],
            config: *config,
        })
    }
}

impl Contest for CycleState {
    fn tensors(&self) -> Vec<(&'static str, &Parameters)> {
        vec![
            ("to_a", self.to_a.parameters()),
            ("to_b", self.to_b.parameters()),
            ("judge_a", self.judge_a.parameters()),
            ("judge_b", self.judge_b.parameters()),
            ("pool_a", self.pools[0].tensors()),
            ("pool_b", self.pools[1].tensors()),
        ]
    }

    fn optimizers(&self) -> Vec<(&'static str, &Adam)> {
        vec![
            ("to_a_optimizer", &self.to_a.optimizer),
            ("to_b_optimizer", &self.to_b.optimizer),
            ("judge_a_optimizer", &self.judge_a.optimizer),
            ("judge_b_optimizer", &self.judge_b.optimizer),
        ]
    }

    fn optimizers_mut(&mut self) -> Vec<(&'static str, &mut Adam)> {
        vec![
            ("to_a_optimizer", &mut self.to_a.optimizer),
            ("to_b_optimizer", &mut self.to_b.optimizer),
            ("judge_a_optimizer", &mut self.judge_a.optimizer),
            ("judge_b_optimizer", &mut self.judge_b.optimizer),
        ]
    }

    fn judges(&self) -> Vec<&Parameters> {
        vec![self.judge_a.parameters(), self.judge_b.parameters()]
    }

    /// Of both judges.
    fn loss_of_guessing(&self, _: &TrainingConfig) -> Option<f64> {
        Loss::LeastSquares.of_guessing().map(|loss| 2.0 * loss)
    }

    fn step(&mut self, mut turn: Turn<'_>) -> Result<Scalars> {
        let key = turn.progress.next_key();
        let reals = Both::moved(&mut turn, key)?;
        let adam = turn.progress.adam(turn.training);
        for (_, optimizer) in self.optimizers_mut() {
            optimizer.config = adam;
        }
        let moment = Moment {
            key,
            images_seen: turn.progress.images_seen,
        };
        let reals = Reals {
            a: &reals.a,
            b: &reals.b,
        };
        let scalars = cycle_step(self, reals, moment)?;
        turn.progress.images_seen += reals.a.side(0) as u64;
        Ok(scalars)
    }

    fn product(&self) -> Product<'_> {
        Product::Translators {
            to_b: &self.to_b.network,
            to_a: Some(&self.to_a.network),
        }
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

/// When a step is taken.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    /// The step's randomness.
    pub key: RandomKey,
    /// Images seen before it.
    pub images_seen: u64,
}

/// One update of both translators, then one of both discriminators.
///
/// Adversarial losses are least squares; those of the discriminators are halved, as in section 4 of the paper.
///
/// # Source
/// Zhu et al. 2017, section 3, <https://arxiv.org/abs/1703.10593>.
pub fn cycle_step(state: &mut CycleState, reals: Reals<'_>, moment: Moment) -> Result<Scalars> {
    let mut scalars = Scalars::new();
    let [fake_a, fake_b] = update_translators(state, reals, moment, &mut scalars)?;
    let shown_a = state.pools[0].exchange(&fake_a, moment.key.named("a"))?;
    let shown_b = state.pools[1].exchange(&fake_b, moment.key.named("b"))?;
    let loss = update_judge(&mut state.judge_a, reals.a, &shown_a, moment)?
        + update_judge(&mut state.judge_b, reals.b, &shown_b, moment)?;
    scalars.insert("discriminator_loss", loss);
    Ok(scalars)
}

/// Returns the fakes of both collections, cut off from the translators.
///
/// One direction after the other, so that what one keeps for its gradients is gone before the other begins.
fn update_translators(
    state: &mut CycleState,
    reals: Reals<'_>,
    moment: Moment,
    scalars: &mut Scalars,
) -> Result<[Tensor; 2]> {
    let Reals { a, b } = reals;
    let (mut sum_a, mut sum_b) = (Gradients::default(), Gradients::default());
    let mut fake = |direction: Direction<'_>| {
        let (loss, fake) = direction.loss(&state.config, scalars)?;
        let [for_a, for_b] = gradients(&loss, [state.to_a.parameters(), state.to_b.parameters()])?;
        // What the loss keeps for its gradients goes before their sums come.
        drop(loss);
        sum_a.add(for_a)?;
        sum_b.add(for_b)?;
        Ok::<_, Error>(fake)
    };
    let fake_b = fake(Direction {
        there: &state.to_b.network,
        back: &state.to_a.network,
        judge: &state.judge_b.network,
        source: a,
        target: b,
    })?;
    let fake_a = fake(Direction {
        there: &state.to_a.network,
        back: &state.to_b.network,
        judge: &state.judge_a.network,
        source: b,
        target: a,
    })?;
    state.to_a.update(sum_a.sum(), scalars, moment.images_seen)?;
    state.to_b.update(sum_b.sum(), scalars, moment.images_seen)?;
    Ok([fake_a, fake_b])
}

/// From a collection to the other, and back.
struct Direction<'a> {
    there: &'a ResidualTranslator,
    back: &'a ResidualTranslator,
    judge: &'a PatchDiscriminator,
    source: &'a Tensor,
    target: &'a Tensor,
}

impl Direction<'_> {
    /// This direction's part of the translators' loss, and the fakes.
    fn loss(&self, config: &Config, scalars: &mut Scalars) -> Result<(Tensor, Tensor)> {
        // Both collections in one pass: instances are normalized one by one.
        let (fake, same) = halves(&self.there.forward(&concat(&[self.source, self.target], 0)?)?)?;
        let logits = self.judge.forward(&fake)?;
        // The translators' least squares stand in the paper without the half.
        let adversarial = Loss::LeastSquares.generator(&logits, None)?.mul_scalar(2.0)?;
        let cycle = distance(&self.back.forward(&fake)?, self.source)?;
        let identity = distance(&same, self.target)?;
        let loss = adversarial
            .add(&cycle.mul_scalar(config.cycle_weight)?)?
            .add(&identity.mul_scalar(config.identity_weight)?)?;
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

fn update_judge(judge: &mut Player<PatchDiscriminator>, real: &Tensor, fake: &Tensor, moment: Moment) -> Result<f64> {
    let (real_logits, fake_logits) = halves(&judge.network.forward(&concat(&[real, fake], 0)?)?)?;
    let loss = Loss::LeastSquares.discriminator(&real_logits, &fake_logits)?;
    let mut scalars = Scalars::new();
    record(&mut scalars, "discriminator_loss", &loss)?;
    let [gradients] = gradients(&loss, [judge.parameters()])?;
    // Weights change in place once nothing else holds them.
    drop((real_logits, fake_logits, loss));
    judge.update(gradients, &scalars, moment.images_seen)?;
    Ok(scalars["discriminator_loss"])
}
