//! pix2pix's contest: a translator that draws one picture of a pair, against a judge of both.

use gander_nn::{
    Parameters,
    optim::{Adam, AdamConfig},
};
use gander_tensor::{DeviceRef, RandomKey, Tensor, concat};

use super::player::{Both, Player, distance, gradients, record};
use crate::{
    error::Result,
    losses::Loss,
    models::{
        patches::PatchDiscriminator,
        pix2pix::{Config, UNet},
        translator::Translator as _,
    },
    train::{
        config::TrainingConfig,
        contest::{Contest, Product, Turn},
        steps::Scalars,
    },
};

/// Everything that changes in a step.
#[derive(Debug)]
pub struct PairState {
    /// From A to B.
    pub to_b: Player<UNet>,
    /// Judges pairs.
    pub judge: Player<PatchDiscriminator>,
    config: Config,
}

impl PairState {
    /// Fresh networks.
    pub fn new(config: &Config, key: RandomKey, adam: AdamConfig, device: &DeviceRef) -> Result<Self> {
        let unet = config.translator(key.named("to_b"), device)?;
        let judge = config.discriminator(key.named("judge"), device)?;
        Ok(Self {
            to_b: Player::new("to_b", unet, UNet::parameters, adam)?,
            judge: Player::new("judge", judge, PatchDiscriminator::parameters, adam)?,
            config: *config,
        })
    }
}

impl Contest for PairState {
    fn tensors(&self) -> Vec<(&'static str, &Parameters)> {
        vec![("to_b", self.to_b.parameters()), ("judge", self.judge.parameters())]
    }

    fn optimizers(&self) -> Vec<(&'static str, &Adam)> {
        vec![
            ("to_b_optimizer", &self.to_b.optimizer),
            ("judge_optimizer", &self.judge.optimizer),
        ]
    }

    fn optimizers_mut(&mut self) -> Vec<(&'static str, &mut Adam)> {
        vec![
            ("to_b_optimizer", &mut self.to_b.optimizer),
            ("judge_optimizer", &mut self.judge.optimizer),
        ]
    }

    fn judges(&self) -> Vec<&Parameters> {
        vec![self.judge.parameters()]
    }

    fn loss_of_guessing(&self, _: &TrainingConfig) -> Option<f64> {
        Loss::NonSaturating.of_guessing().map(|loss| loss / 2.0)
    }

    fn step(&mut self, mut turn: Turn<'_>) -> Result<Scalars> {
        let key = turn.progress.next_key();
        let pairs = Both::moved(&mut turn, key)?;
        let adam = turn.progress.adam(turn.training);
        for (_, optimizer) in self.optimizers_mut() {
            optimizer.config = adam;
        }
        let scalars = pair_step(self, [&pairs.a, &pairs.b], key, turn.progress.images_seen)?;
        turn.progress.images_seen += pairs.a.side(0) as u64;
        Ok(scalars)
    }

    fn product(&self) -> Product<'_> {
        Product::Translators {
            to_b: &self.to_b.network,
            to_a: None,
        }
    }
}

/// One update of the discriminator, then one of the translator, on pairs `[a, b]`.
///
/// The loss is the cross-entropy on each patch, halved for the discriminator, and [`Config::l1_weight`] times the mean
/// distance to `b`.
///
/// # Source
/// Isola et al. 2017, sections 3.1 and 3.3, <https://arxiv.org/abs/1611.07004>.
pub fn pair_step(state: &mut PairState, [a, b]: [&Tensor; 2], key: RandomKey, images_seen: u64) -> Result<Scalars> {
    let mut scalars = Scalars::new();
    let drawn = state.to_b.network.forward(a, key.named("dropout"))?;
    let pair = |b: &Tensor| concat(&[a, b], -1);

    let judge = &state.judge.network;
    let (real_logits, fake_logits) = (judge.forward(&pair(b)?)?, judge.forward(&pair(&drawn.detach())?)?);
    let loss = Loss::NonSaturating
        .discriminator(&real_logits, &fake_logits)?
        .mul_scalar(0.5)?;
    record(&mut scalars, "discriminator_loss", &loss)?;
    record(&mut scalars, "real_logits", &real_logits.mean_all()?)?;
    record(&mut scalars, "fake_logits", &fake_logits.mean_all()?)?;
    let [for_judge] = gradients(&loss, [state.judge.parameters()])?;
    // Weights change in place once nothing else holds them.
    drop((loss, real_logits, fake_logits));
    state.judge.update(for_judge, &scalars, images_seen)?;

    let logits = state.judge.network.forward(&pair(&drawn)?)?;
    let l1 = distance(&drawn, b)?;
    let loss = Loss::NonSaturating
        .generator(&logits, None)?
        .add(&l1.mul_scalar(state.config.l1_weight)?)?;
    record(&mut scalars, "generator_loss", &loss)?;
    record(&mut scalars, "l1_distance", &l1)?;
    let [for_unet] = gradients(&loss, [state.to_b.parameters()])?;
    drop((loss, logits, drawn));
    state.to_b.update(for_unet, &scalars, images_seen)?;
    Ok(scalars)
}
