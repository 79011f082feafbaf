//! One training step: an update of the discriminator and one of the generator.

use std::{collections::BTreeMap, fmt};

use gander_nn::{Mode, Parameters, optim::AdamConfig};
use gander_tensor::{GradOptions, RandomKey, Tensor, Unused, grad, is_piecewise_linear, no_grad};

use super::{config::TrainingConfig, contest::Turn, duel::Duel, state::Progress};
use crate::{
    augment,
    diagnosis::balance,
    error::{Error, Result},
    losses::Loss,
    models::RealJudgment,
    regularizers::{self, Penalized},
};

/// Real images in −1..=1 and, where there are classes, their labels (u32).
#[derive(Debug, Clone)]
pub struct Batch {
    /// `[batch, height, width, channels]`
    pub images: Tensor,
    /// `[batch]`
    pub labels: Option<Tensor>,
    /// For families that translate, images of the other collection: `[batch, height, width, channels]`
    pub partners: Option<Tensor>,
}

/// What a step tells about itself, by name.
pub type Scalars = BTreeMap<&'static str, f64>;

/// Lets gradients pass on their way to the optimizer: the place where many machines would agree on them.
pub type Reducer<'a> = &'a dyn Fn(Vec<Tensor>) -> Result<Vec<Tensor>>;

/// The settings of this moment of the run.
#[derive(Clone, Copy)]
pub struct Settings<'a> {
    /// The plan.
    pub training: &'a TrainingConfig,
    /// How much of the burn-in is behind the run.
    pub share: f64,
    /// The optimizers' settings.
    pub adam: AdamConfig,
    /// Real images that the discriminator was shown when the step began.
    pub images_seen: u64,
    /// How much R1 and R2 count in this step: nothing between the lazy ones (Karras et al. 2020, section 3.1).
    pub penalty_factor: f64,
    /// Where gradients pass.
    pub reduce: Reducer<'a>,
}

impl fmt::Debug for Settings<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("training", &self.training)
            .field("share", &self.share)
            .field("adam", &self.adam)
            .field("images_seen", &self.images_seen)
            .field("penalty_factor", &self.penalty_factor)
            .finish_non_exhaustive()
    }
}

/// Fake images with the labels they were made for, on a graph if `for_generator`.
struct Fakes {
    images: Tensor,
    labels: Option<Tensor>,
}

fn make_fakes(duel: &Duel, key: RandomKey, like: &Batch) -> Result<Fakes> {
    let latents = duel
        .generator
        .latents(key.named("latents"), like.images.side(0), like.images.device())?;
    let images = duel.generator.forward(&latents, like.labels.as_ref(), Mode::Train)?;
    Ok(Fakes {
        images,
        labels: like.labels.clone(),
    })
}

/// Images as the discriminator sees them; the gradient reaches those before the augmentation.
fn augmented(settings: Settings<'_>, key: RandomKey, images: &Tensor) -> Result<Tensor> {
    let probability = settings.training.augment_p.at(settings.share);
    Ok(augment::augment(
        images,
        settings.training.augment,
        probability as f32,
        key,
    )?)
}

/// Judges images as they look after augmentation.
fn judge(
    duel: &Duel,
    settings: Settings<'_>,
    key: RandomKey,
    images: &Tensor,
    labels: Option<&Tensor>,
    mode: Mode,
) -> Result<Tensor> {
    Ok(duel
        .discriminator
        .forward(&augmented(settings, key, images)?, labels, mode)?)
}

/// One step: the discriminator's updates, the generator's, the average.
pub fn step(duel: &mut Duel, turn: Turn<'_>) -> Result<Scalars> {
    let Turn {
        progress,
        training,
        next_batch,
    } = turn;
    let settings = Settings {
        training,
        share: progress.burn_in_share(training),
        adam: progress.adam(training),
        images_seen: progress.images_seen,
        penalty_factor: if progress.steps.is_multiple_of(training.penalty_every.max(1)) {
            training.penalty_every as f64
        } else {
            0.0
        },
        reduce: &|gradients| Ok(gradients),
    };
    let mut scalars = Scalars::new();
    if can_share_fakes(training) {
        let real = next_batch(progress, 1)?;
        scalars = joint_step(duel, progress, &real[0], settings)?;
    } else {
        for _ in 0..training.discriminator_updates {
            let real = next_batch(progress, training.accumulate)?;
            scalars.extend(discriminator_step(duel, progress, &real, settings)?);
        }
        for _ in 0..training.generator_updates {
            let real = next_batch(progress, training.accumulate)?;
            scalars.extend(generator_step(duel, progress, &real, settings)?);
        }
    }
    update_average(duel, progress.images_seen - settings.images_seen, settings)?;
    Ok(scalars)
}

/// One update of the discriminator: real and fake images, logits, adversarial loss, the family's own loss on real images,
/// penalties, optimizer.
///
/// `batches` are the parts of an accumulated batch.
pub fn discriminator_step(
    duel: &mut Duel,
    progress: &mut Progress,
    batches: &[Batch],
    settings: Settings<'_>,
) -> Result<Scalars> {
    let mut scalars = Scalars::new();
    let mut sum = Gradients::default();
    for batch in batches {
        let key = progress.next_key();
        let fakes = no_grad(|| make_fakes(duel, key, batch))?;
        sum.add(discriminator_gradients(
            duel,
            batch,
            &fakes,
            settings,
            key,
            &mut scalars,
        )?)?;
    }
    update_discriminator(duel, sum.mean(batches.len())?, &scalars, settings)?;
    progress.images_seen += batches.iter().map(|batch| batch.images.side(0) as u64).sum::<u64>();
    Ok(scalars)
}

fn update_discriminator(
    duel: &mut Duel,
    gradients: Vec<Tensor>,
    scalars: &Scalars,
    settings: Settings<'_>,
) -> Result<()> {
    let gradients = (settings.reduce)(gradients)?;
    let parameters = duel.discriminator.parameters();
    check_finite("discriminator", parameters, scalars, &gradients, settings.images_seen)?;
    duel.discriminator_optimizer.config = settings.adam;
    duel.discriminator_optimizer.step(parameters, gradients)?;
    if settings.training.weight_clip > 0.0 {
        regularizers::clip_weights(parameters, settings.training.weight_clip as f32)?;
    }
    Ok(())
}

fn discriminator_gradients(
    duel: &Duel,
    batch: &Batch,
    fakes: &Fakes,
    settings: Settings<'_>,
    key: RandomKey,
    scalars: &mut Scalars,
) -> Result<Vec<Tensor>> {
    let training = settings.training;
    let (r1_gamma, r2_gamma) = (
        settings.penalty_factor * training.r1_gamma.at(settings.share),
        settings.penalty_factor * training.r2_gamma.at(settings.share),
    );
    let watched = |images: &Tensor, gamma: f64| if gamma > 0.0 { images.watch() } else { images.detach() };
    let real_images = watched(&batch.images, r1_gamma);
    let fake_images = watched(&fakes.images, r2_gamma);

    let judge = |images: &Tensor, labels: &Option<Tensor>, part: &str| {
        judge(duel, settings, key.named(part), images, labels.as_ref(), Mode::Train)
    };
    let RealJudgment {
        logits: real_logits,
        auxiliary_loss,
    } = duel.discriminator.judge_real(
        &augmented(settings, key.named("real"), &real_images)?,
        batch.labels.as_ref(),
        Mode::Train,
        key.named("auxiliary"),
    )?;
    let fake_logits = judge(&fake_images, &fakes.labels, "fake")?;

    let mut loss = training.loss.discriminator(&real_logits, &fake_logits)?;
    record(scalars, "discriminator_loss", &loss)?;
    record_logits(scalars, training.loss, &real_logits, &fake_logits)?;
    let penalties = [
        ("r1_penalty", r1_gamma, &real_logits, &real_images),
        ("r2_penalty", r2_gamma, &fake_logits, &fake_images),
    ];
    if let Some(auxiliary_loss) = &auxiliary_loss {
        record(scalars, "auxiliary_loss", auxiliary_loss)?;
        loss = loss.add(auxiliary_loss)?;
    } else if can_share_slopes(training, &penalties) {
        return shared_slopes(&loss, &penalties, duel.discriminator.parameters(), scalars);
    }
    for (name, gamma, logits, images) in penalties {
        if gamma > 0.0 {
            // R2 is the same function of fakes.
            let penalty = regularizers::r1(logits, images)?.mean_all()?;
            record(scalars, name, &penalty)?;
            loss = loss.add(&penalty.mul_scalar(0.5 * gamma as f32)?)?;
        }
    }
    if training.gradient_penalty > 0.0 {
        let on_interpolates = |images: &Tensor| judge(images, &batch.labels, "interpolates");
        let penalty =
            regularizers::gradient_penalty(&batch.images, &fake_images.detach(), key.named("mix"), on_interpolates)?;
        let penalty = penalty.mean_all()?;
        record(scalars, "gradient_penalty", &penalty)?;
        loss = loss.add(&penalty.mul_scalar(training.gradient_penalty as f32)?)?;
    }
    weight_gradients(&loss, duel.discriminator.parameters())
}

/// A penalty's name, its weight, and the logits and images whose slope it limits.
type Penalty<'a> = (&'static str, f64, &'a Tensor, &'a Tensor);

/// Whether the penalties' weight gradients come with those of the loss, in one pass more and without a second tape.
fn can_share_slopes(training: &TrainingConfig, penalties: &[Penalty<'_>]) -> bool {
    training.gradient_penalty == 0.0
        && penalties
            .iter()
            .all(|(_, gamma, logits, images)| *gamma > 0.0 && is_piecewise_linear(logits, &[images]))
}

fn shared_slopes(
    loss: &Tensor,
    penalties: &[Penalty<'_>; 2],
    parameters: &Parameters,
    scalars: &mut Scalars,
) -> Result<Vec<Tensor>> {
    let weights = parameters.weight_tensors();
    let weights: Vec<&Tensor> = weights.iter().collect();
    let logits = penalties.each_ref().map(|(_, _, logits, _)| *logits);
    let seeds = grad(&[loss], &logits, GradOptions::default())?;
    let mut sum = Gradients::default();
    for ((name, gamma, logits, images), seeds) in penalties.iter().zip(&seeds) {
        let Penalized { penalty, gradients } = regularizers::penalized(logits, images, seeds, *gamma, &weights)?;
        record(scalars, name, &penalty)?;
        sum.add(gradients)?;
    }
    Ok(sum.0)
}

/// One update of the generator: fake images, logits, adversarial loss, optimizer.
///
/// The discriminator is frozen: gradients are asked for the generator's weights alone.
pub fn generator_step(
    duel: &mut Duel,
    progress: &mut Progress,
    batches: &[Batch],
    settings: Settings<'_>,
) -> Result<Scalars> {
    let mut scalars = Scalars::new();
    let mut sum = Gradients::default();
    for batch in batches {
        let key = progress.next_key();
        let fakes = make_fakes(duel, key, batch)?;
        let loss = generator_loss(duel, batch, &fakes, settings, key, &mut scalars)?;
        sum.add(weight_gradients(&loss, duel.generator.parameters())?)?;
    }
    update_generator(duel, sum.mean(batches.len())?, &scalars, settings)?;
    Ok(scalars)
}

fn generator_loss(
    duel: &Duel,
    batch: &Batch,
    fakes: &Fakes,
    settings: Settings<'_>,
    key: RandomKey,
    scalars: &mut Scalars,
) -> Result<Tensor> {
    let judge = |images: &Tensor, labels: &Option<Tensor>, part: &str| {
        judge(duel, settings, key.named(part), images, labels.as_ref(), Mode::Frozen)
    };
    let loss = settings.training.loss;
    let fake_logits = judge(&fakes.images, &fakes.labels, "fake for generator")?;
    let real_logits = loss
        .needs_real_logits()
        .then(|| no_grad(|| judge(&batch.images, &batch.labels, "real for generator")))
        .transpose()?;
    let loss = loss.generator(&fake_logits, real_logits.as_ref())?;
    record(scalars, "generator_loss", &loss)?;
    Ok(loss)
}

fn update_generator(duel: &mut Duel, gradients: Vec<Tensor>, scalars: &Scalars, settings: Settings<'_>) -> Result<()> {
    let gradients = (settings.reduce)(gradients)?;
    let parameters = duel.generator.parameters();
    check_finite("generator", parameters, scalars, &gradients, settings.images_seen)?;
    duel.generator_optimizer.config = settings.adam;
    Ok(duel.generator_optimizer.step(parameters, gradients)?)
}

/// Whether one forward pass of the generator can serve both updates: one update each, of a batch in one part, by a
/// loss that compares no pairs (those want fresh images for each update).
pub fn can_share_fakes(training: &TrainingConfig) -> bool {
    let one_each = training.discriminator_updates == 1 && training.generator_updates == 1;
    one_each && training.accumulate == 1 && !training.loss.needs_real_logits()
}

/// One update of each network on the same fake images, as in DCGAN's own code: the generator runs forward once.
pub fn joint_step(duel: &mut Duel, progress: &mut Progress, batch: &Batch, settings: Settings<'_>) -> Result<Scalars> {
    let mut scalars = Scalars::new();
    let key = progress.next_key();
    let fakes = make_fakes(duel, key, batch)?;

    let gradients = discriminator_gradients(duel, batch, &fakes, settings, key, &mut scalars)?;
    update_discriminator(duel, gradients, &scalars, settings)?;
    progress.images_seen += batch.images.side(0) as u64;

    let loss = generator_loss(duel, batch, &fakes, settings, key, &mut scalars)?;
    let gradients = weight_gradients(&loss, duel.generator.parameters())?;
    update_generator(duel, gradients, &scalars, settings)?;
    Ok(scalars)
}

/// Moves the averaged generator after `images` more images.
///
/// `average ← generator + β (average − generator)` with `β = 0.5^(images / half_life)`.
pub fn update_average(duel: &Duel, images: u64, settings: Settings<'_>) -> Result<()> {
    let half_life = settings.training.ema_half_life_kimg.at(settings.share) * 1000.0;
    let beta = if half_life > 0.0 {
        0.5f64.powf(images as f64 / half_life)
    } else {
        0.0
    };
    Ok(duel
        .ema_generator
        .parameters()
        .average_towards(duel.generator.parameters(), beta as f32)?)
}

/// In the order of [`Parameters::weights`]; zeros where the loss does not depend on a weight.
fn weight_gradients(loss: &Tensor, parameters: &Parameters) -> Result<Vec<Tensor>> {
    let weights = parameters.weight_tensors();
    let inputs: Vec<&Tensor> = weights.iter().collect();
    let options = GradOptions {
        unused: Unused::Zeros,
        ..GradOptions::default()
    };
    Ok(grad(&[loss], &inputs, options)?)
}

/// Gradients summed over the parts of a batch, or of a loss.
#[derive(Default)]
pub(crate) struct Gradients(Vec<Tensor>);

impl Gradients {
    pub(crate) fn add(&mut self, new: Vec<Tensor>) -> Result<()> {
        self.0 = if self.0.is_empty() {
            new
        } else {
            let sums = std::mem::take(&mut self.0);
            sums.into_iter()
                .zip(new)
                .map(|(sum, new)| sum.add(&new))
                .collect::<Result<_, _>>()?
        };
        Ok(())
    }

    pub(crate) fn sum(self) -> Vec<Tensor> {
        self.0
    }

    fn mean(self, parts: usize) -> Result<Vec<Tensor>> {
        if parts == 1 {
            return Ok(self.0);
        }
        Ok(self
            .0
            .iter()
            .map(|sum| sum.mul_scalar(1.0 / parts as f32))
            .collect::<Result<_, _>>()?)
    }
}

/// Notes a scalar; the last part of an accumulated batch stands for all.
fn record(scalars: &mut Scalars, name: &'static str, value: &Tensor) -> Result<()> {
    scalars.insert(name, f64::from(value.item()?));
    Ok(())
}

/// Notes what the discriminator says of real and fake images: its means, and how well it tells them apart.
fn record_logits(scalars: &mut Scalars, loss: Loss, real_logits: &Tensor, fake_logits: &Tensor) -> Result<()> {
    let (real, fake) = (real_logits.to_vec_f64()?, fake_logits.to_vec_f64()?);
    let mean = |logits: &[f64]| logits.iter().sum::<f64>() / logits.len() as f64;
    let judgement = balance::judgement(loss, &real, &fake);
    scalars.extend([
        ("real_logits", mean(&real)),
        ("fake_logits", mean(&fake)),
        ("accuracy", judgement.accuracy),
        ("real_sign", judgement.real_sign),
    ]);
    Ok(())
}

/// Stops before anything non-finite reaches the weights.
pub(crate) fn check_finite(
    network: &'static str,
    parameters: &Parameters,
    scalars: &Scalars,
    gradients: &[Tensor],
    images_seen: u64,
) -> Result<()> {
    if let Some((name, _)) = scalars.iter().find(|(_, value)| !value.is_finite()) {
        return Err(Error::NonFinite {
            tensor: (*name).to_owned(),
            images_seen,
        });
    }
    for (weight, gradient) in parameters.weights().zip(gradients) {
        if !gradient.all_finite()? {
            let tensor = format!("gradient of {network}.{}", weight.name());
            return Err(Error::NonFinite { tensor, images_seen });
        }
    }
    Ok(())
}
