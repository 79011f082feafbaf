//! Each family learns eight images by heart in seconds: the whole chain of network, loss, gradient and optimizer works.

use gander::{
    losses::Loss,
    models::{Discriminator, Generator, ImageSpec, ModelConfig, article, dcgan, fastgan, r3gan, sngan, stylegan2},
    regularizers,
};
use gander_nn::{
    Mode, Parameters,
    optim::{Adam, AdamConfig},
};
use gander_tensor::{Cpu, DeviceRef, GradOptions, RandomKey, Tensor, grad, no_grad};

const IMAGES: ImageSpec = ImageSpec {
    height_px: 16,
    width_px: 16,
    channels: 3,
    num_classes: 0,
};

/// Eight images to learn: ramps in eight directions, each of a color of its own.
fn ramps(device: &DeviceRef) -> Tensor {
    let mut values = Vec::new();
    for index in 0..8 {
        let (dy, dx) = (index as f32 * std::f32::consts::FRAC_PI_4).sin_cos();
        for position in 0..256 {
            let (y, x) = ((position / 16) as f32 / 7.5 - 1.0, (position % 16) as f32 / 7.5 - 1.0);
            let ramp = 0.6 * (dx * x + dy * y);
            values.extend((0..3).map(|channel| if index >> channel & 1 == 1 { ramp } else { -0.5 }));
        }
    }
    Tensor::from_slice(&values, [8, 16, 16, 3], device).expect("eight images")
}

fn update(loss: &Tensor, parameters: &Parameters, optimizer: &mut Adam) {
    let weights = parameters.weight_tensors();
    let inputs: Vec<&Tensor> = weights.iter().collect();
    let gradients = grad(&[loss], &inputs, GradOptions::default()).expect("every weight is used");
    drop(weights);
    optimizer.step(parameters, gradients).expect("a step");
}

fn adam(parameters: &Parameters, lr: f32, beta1: f32) -> Adam {
    Adam::new(
        AdamConfig {
            lr,
            beta1,
            beta2: 0.99,
            eps: 1e-8,
        },
        parameters,
    )
    .expect("an optimizer")
}

/// The mean squared distance of each image to the nearest fake, which only falls if all images are learned.
fn distance(generator: &dyn Generator, latents: &Tensor, images: &Tensor) -> f32 {
    let fakes = generator
        .forward(latents, None, Mode::Frozen)
        .expect("images")
        .to_vec()
        .expect("values");
    let images = images.to_vec().expect("values");
    let nearest = |image: &[f32]| {
        let squares = |fake: &[f32]| image.iter().zip(fake).map(|(a, b)| (a - b).powi(2)).sum::<f32>() / 768.0;
        fakes.chunks(768).map(squares).fold(f32::INFINITY, f32::min)
    };
    images.chunks(768).map(nearest).sum::<f32>() / 8.0
}

/// How a contest of a few hundred steps is held.
struct Contest {
    loss: Loss,
    steps: usize,
    lr: f32,
    beta1: f32,
    r1_and_r2_gamma: f32,
}

fn discriminator_step(
    contest: &Contest,
    discriminator: &dyn Discriminator,
    optimizer: &mut Adam,
    images: &Tensor,
    fakes: &Tensor,
) {
    let (real, fake) = (images.watch(), fakes.watch());
    let key = RandomKey::from_seed(optimizer.steps());
    let of_real = discriminator
        .judge_real(&real, None, Mode::Train, key)
        .expect("a judgment");
    let real_logits = of_real.logits;
    let fake_logits = discriminator.forward(&fake, None, Mode::Train).expect("logits");
    let mut loss = contest.loss.discriminator(&real_logits, &fake_logits).expect("a loss");
    if let Some(auxiliary_loss) = of_real.auxiliary_loss {
        loss = loss.add(&auxiliary_loss).expect("a sum");
    }
    if contest.r1_and_r2_gamma > 0.0 {
        let r1 = regularizers::r1(&real_logits, &real).expect("a penalty");
        let r2 = regularizers::r2(&fake_logits, &fake).expect("a penalty");
        let penalty = r1
            .add(&r2)
            .and_then(|sum| sum.mean_all()?.mul_scalar(0.5 * contest.r1_and_r2_gamma));
        loss = loss.add(&penalty.expect("a mean")).expect("a sum");
    }
    update(&loss, discriminator.parameters(), optimizer);
}

/// Distances before and after a contest over eight images, with eight latents that never change.
fn hold(contest: &Contest, config: &ModelConfig) -> [f32; 2] {
    config.validate().expect("settings in range");
    let device = Cpu::shared();
    let key = RandomKey::from_seed(1);
    let images = ramps(&device);
    let generator = config.generator(key, &device).expect("a generator");
    let discriminator = config.discriminator(key, &device).expect("a discriminator");
    let latents = generator.latents(key.named("latents"), 8, &device).expect("latents");
    let mut optimizers =
        [generator.parameters(), discriminator.parameters()].map(|network| adam(network, contest.lr, contest.beta1));
    let before = distance(generator.as_ref(), &latents, &images);
    for _ in 0..contest.steps {
        let fakes = no_grad(|| generator.forward(&latents, None, Mode::Train)).expect("images");
        discriminator_step(contest, discriminator.as_ref(), &mut optimizers[1], &images, &fakes);

        let judge = |images: &Tensor| discriminator.forward(images, None, Mode::Frozen).expect("logits");
        let fakes = generator.forward(&latents, None, Mode::Train).expect("images");
        let real_logits = contest.loss.needs_real_logits().then(|| no_grad(|| judge(&images)));
        let loss = contest
            .loss
            .generator(&judge(&fakes), real_logits.as_ref())
            .expect("a loss");
        update(&loss, generator.parameters(), &mut optimizers[0]);
    }
    [before, distance(generator.as_ref(), &latents, &images)]
}

fn assert_learned([before, after]: [f32; 2]) {
    assert!(after < 0.5 * before, "{before} only fell to {after}");
}

/// Without momentum, which lets the two players circle each other.
fn contest(loss: Loss, steps: usize, r1_and_r2_gamma: f32) -> Contest {
    Contest {
        loss,
        steps,
        lr: 1e-3,
        beta1: 0.0,
        r1_and_r2_gamma,
    }
}

#[test]
fn article_learns_eight_images() {
    let config = article::Config {
        latent_dim: 16,
        width: 32,
        ..article::Config::new(IMAGES)
    };
    // No normalization holds its discriminator, so that penalties have to.
    let contest = Contest {
        lr: 2e-3,
        ..contest(Loss::Relativistic, 200, 0.2)
    };
    assert_learned(hold(&contest, &ModelConfig::Article(config)));
}

#[test]
fn dcgan_learns_eight_images() {
    let config = dcgan::Config {
        latent_dim: 16,
        width: 16,
        ..dcgan::Config::new(IMAGES)
    };
    assert_learned(hold(
        &contest(Loss::NonSaturating, 200, 0.0),
        &ModelConfig::Dcgan(config),
    ));
}

#[test]
fn plain_sngan_learns_eight_images() {
    let config = sngan::Config {
        latent_dim: 16,
        width: 16,
        ..sngan::Config::new(IMAGES)
    };
    assert_learned(hold(&contest(Loss::Hinge, 150, 0.0), &ModelConfig::Sngan(config)));
}

#[test]
fn residual_sngan_learns_eight_images() {
    let architecture = sngan::Architecture::Residual;
    let config = sngan::Config {
        latent_dim: 16,
        width: 8,
        architecture,
        ..sngan::Config::new(IMAGES)
    };
    assert_learned(hold(&contest(Loss::Hinge, 120, 0.0), &ModelConfig::Sngan(config)));
}

#[test]
fn r3gan_learns_eight_images() {
    let config = r3gan::Config {
        latent_dim: 16,
        width: 16,
        width_max: 16,
        blocks: 1,
        ..r3gan::Config::new(IMAGES)
    };
    assert_learned(hold(
        &contest(Loss::Relativistic, 200, 0.05),
        &ModelConfig::R3gan(config),
    ));
}

#[test]
fn fastgan_learns_eight_images() {
    let config = fastgan::Config {
        latent_dim: 16,
        width: 4,
        ..fastgan::Config::new(IMAGES)
    };
    assert_learned(hold(&contest(Loss::SoftHinge, 150, 0.0), &ModelConfig::Fastgan(config)));
}

#[test]
fn stylegan2_learns_eight_images() {
    let config = stylegan2::Config {
        latent_dim: 16,
        width: 16,
        width_max: 16,
        ..stylegan2::Config::new(IMAGES)
    };
    assert_learned(hold(
        &contest(Loss::NonSaturating, 150, 0.05),
        &ModelConfig::Stylegan2(config),
    ));
}
