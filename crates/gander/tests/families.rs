//! Whole families held against `PyTorch`: `tests/golden/families.py`.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

#[path = "shared/hashed.rs"]
mod hashed;

use std::path::Path;

use gander::{
    losses::Loss,
    models::{
        Discriminator, Generator, ImageSpec, ModelConfig, RealJudgment, fastgan, pix2pix, stylegan2,
        translator::Translator as _, upsampling::Upsampling,
    },
    regularizers,
};
use gander_formats::safetensors::{self, SafeTensors};
use gander_nn::{Mode, Parameters};
use gander_tensor::{
    Cpu, CpuOptions, DeviceRef, GradOptions, Precision, RandomKey, Reference, Shape, Tensor, concat, grad, no_grad,
};
use hashed::{hashed, set_weights};

const IMAGES: ImageSpec = ImageSpec {
    height_px: 64,
    width_px: 96,
    channels: 3,
    num_classes: 0,
};

/// What the script stored of a family.
struct Case {
    family: &'static str,
    file: SafeTensors,
    device: DeviceRef,
    /// Relative to the largest value or to one.
    tolerance: f64,
}

impl Case {
    /// On plain loops in double precision, and on the processor's kernels.
    fn both(family: &'static str) -> [Self; 2] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/families.safetensors");
        let file = safetensors::read(&path).unwrap();
        let options = CpuOptions {
            precision: Precision::F32,
            ..CpuOptions::default()
        };
        let devices = [(Reference::shared(), 1e-5), (Cpu::with_options(options).unwrap(), 2e-3)];
        devices.map(|(device, tolerance)| Self {
            family,
            file: file.clone(),
            device,
            tolerance,
        })
    }

    /// Two networks with the weights of the script.
    fn networks(&self, model: &ModelConfig) -> (Box<dyn Generator>, Box<dyn Discriminator>) {
        let key = RandomKey::from_seed(0);
        let generator = model.generator(key, &self.device).unwrap();
        let discriminator = model.discriminator(key, &self.device).unwrap();
        self.set_weights("generator", generator.parameters());
        self.set_weights("discriminator", discriminator.parameters());
        (generator, discriminator)
    }

    fn set_weights(&self, network: &str, parameters: &Parameters) {
        set_weights(network, parameters, &self.device);
        set_singular_vectors(network, parameters, &self.device);
    }

    fn expected(&self, name: &str) -> (Shape, Vec<f32>) {
        let view = self.file.tensor(&format!("{}.{name}", self.family)).unwrap();
        (view.shape.into(), view.to_f32().unwrap())
    }

    fn hashed(&self, name: &str, shape: &[usize]) -> Tensor {
        hashed(name, shape, 1.0, &self.device)
    }

    fn assert_close(&self, name: &str, got: &Tensor) {
        let (shape, expected) = self.expected(name);
        assert_eq!(*got.shape(), shape, "{name}");
        self.assert_values(name, &got.to_vec_f64().unwrap(), &expected);
    }

    fn assert_values(&self, name: &str, got: &[f64], expected: &[f32]) {
        assert_eq!(got.len(), expected.len(), "{name}");
        let scale = expected.iter().fold(1.0, |scale: f32, value| scale.max(value.abs()));
        let bound = self.tolerance * f64::from(scale);
        for (index, (got, &expected)) in got.iter().zip(expected).enumerate() {
            assert!(
                (got - f64::from(expected)).abs() <= bound,
                "{}, {} {name}[{index}]: {got} instead of {expected}",
                self.device.name(),
                self.family
            );
        }
    }

    /// Compares the gradient of each weight along a direction of its own, in the order of their names.
    fn assert_gradients(&self, name: &str, parameters: &Parameters, loss: &Tensor) {
        let weights = parameters.weight_tensors();
        let inputs: Vec<&Tensor> = weights.iter().collect();
        let gradients = grad(&[loss], &inputs, GradOptions::default()).unwrap();
        let mut products: Vec<(&str, f64)> = parameters
            .weights()
            .zip(&gradients)
            .map(|(weight, gradient)| {
                let direction = self.hashed(&format!("direction.{}", weight.name()), gradient.shape());
                let product = gradient.mul(&direction).unwrap().sum_all().unwrap();
                (weight.name(), product.to_vec_f64().unwrap()[0])
            })
            .collect();
        products.sort_by_key(|(name, _)| *name);
        let products: Vec<f64> = products.into_iter().map(|(_, product)| product).collect();
        self.assert_values(name, &products, &self.expected(&format!("{name}.grad")).1);
    }
}

/// Where the power iterations stand.
fn set_singular_vectors(network: &str, parameters: &Parameters, device: &DeviceRef) {
    for vector in parameters.iter().filter(|vector| vector.name().ends_with("spectral_u")) {
        let shape = vector.get().shape().to_vec();
        let value = hashed(&format!("{network}.{}", vector.name()), &shape, 1.0, device);
        vector.set(&value).unwrap();
    }
}

/// Every fourth row and column.
fn thinned(images: &Tensor) -> Tensor {
    let [height, width] = [images.side(1), images.side(2)];
    images.resize_nearest(&[height / 4, width / 4]).unwrap()
}

#[test]
fn fastgan_is_that_of_the_script() {
    // So many keys draw each of the four quarters.
    const KEYS: u64 = 40;
    let config = fastgan::Config {
        latent_dim: 8,
        width: 2,
        ..fastgan::Config::new(IMAGES)
    };
    for case in Case::both("fastgan") {
        let (generator, discriminator) = case.networks(&ModelConfig::Fastgan(config));
        // Frozen, so that the singular vectors stay those of the script.
        let mode = Mode::Frozen;
        let judge = |images: &Tensor| discriminator.forward(images, None, mode).unwrap();
        let images = generator.forward(&case.hashed("latents", &[2, 8]), None, mode).unwrap();
        case.assert_close("images", &thinned(&images));

        let reals = case.hashed("reals", &[2, 64, 96, 3]);
        let judge_real = |seed| {
            let key = RandomKey::from_seed(seed);
            discriminator.judge_real(&reals, None, mode, key).unwrap()
        };
        let losses: Vec<f64> = (0..KEYS)
            .map(|seed| {
                let loss = no_grad(|| judge_real(seed)).auxiliary_loss.unwrap();
                loss.to_vec_f64().unwrap()[0]
            })
            .collect();
        let (_, expected) = case.expected("auxiliary");
        let seeds: Vec<u64> = expected
            .iter()
            .map(|&expected| {
                let distance = |seed: &u64| (losses[*seed as usize] - f64::from(expected)).abs();
                (0..KEYS)
                    .min_by(|a, b| distance(a).total_cmp(&distance(b)))
                    .expect("some")
            })
            .collect();
        let found: Vec<f64> = seeds.iter().map(|&seed| losses[seed as usize]).collect();
        case.assert_values("auxiliary", &found, &expected);

        let RealJudgment { logits, auxiliary_loss } = judge_real(seeds[3]);
        case.assert_close("logits", &logits);
        let loss = Loss::SoftHinge
            .discriminator(&logits, &judge(&images.detach()))
            .unwrap();
        let loss = loss.add(&auxiliary_loss.unwrap()).unwrap();
        case.assert_gradients("discriminator", discriminator.parameters(), &loss);

        let loss = Loss::SoftHinge.generator(&judge(&images), None).unwrap();
        case.assert_gradients("generator", generator.parameters(), &loss);
    }
}

#[test]
fn stylegan2_is_that_of_the_script() {
    let config = stylegan2::Config {
        latent_dim: 8,
        width: 2,
        width_max: 4,
        noise: stylegan2::NoiseInputs::None,
        ..stylegan2::Config::new(ImageSpec {
            height_px: 32,
            width_px: 48,
            ..IMAGES
        })
    };
    for case in Case::both("stylegan2") {
        let (generator, discriminator) = case.networks(&ModelConfig::Stylegan2(config));
        // Frozen, so that no styles are mixed.
        let mode = Mode::Frozen;
        let judge = |images: &Tensor| discriminator.forward(images, None, mode).unwrap();
        let latents = case.hashed("latents", &[2, 8]);
        let images = generator.forward(&latents, None, mode).unwrap();
        case.assert_close("images", &thinned(&images));
        let mean_style = generator.parameters().get("mean_style").unwrap();
        mean_style.set(&case.hashed("mean_style", &[8])).unwrap();
        let truncated = generator.forward_truncated(&latents, None, 0.5).unwrap();
        case.assert_close("truncated", &thinned(&truncated));

        let reals = case.hashed("reals", &[2, 32, 48, 3]).watch();
        let logits = judge(&reals);
        case.assert_close("logits", &logits);
        let penalty = regularizers::r1(&logits, &reals).unwrap();
        case.assert_close("r1", &penalty);
        let loss = Loss::NonSaturating
            .discriminator(&logits, &judge(&images.detach()))
            .unwrap();
        let loss = loss.add(&penalty.mean_all().unwrap()).unwrap();
        case.assert_gradients("discriminator", discriminator.parameters(), &loss);

        let loss = Loss::NonSaturating.generator(&judge(&images), None).unwrap();
        case.assert_gradients("generator", generator.parameters(), &loss);
    }
}

#[test]
fn pix2pix_is_that_of_the_script() {
    let images = ImageSpec {
        height_px: 32,
        width_px: 64,
        ..IMAGES
    };
    let config = pix2pix::Config {
        width: 2,
        upsampling: Upsampling::Transposed,
        patch_px: 70,
        discriminator_width: None,
        normalization: pix2pix::Normalization::Instance,
        dropout: 0.0,
        ..pix2pix::Config::new(images)
    };
    for case in Case::both("pix2pix") {
        let key = RandomKey::from_seed(0);
        let (unet, discriminator) = (
            config.translator(key, &case.device).unwrap(),
            config.discriminator(key, &case.device).unwrap(),
        );
        case.set_weights("generator", unet.parameters());
        case.set_weights("discriminator", discriminator.parameters());
        let [a, b] = ["sketches", "pictures"].map(|name| case.hashed(name, &[2, 32, 64, 3]));
        let judge = |picture: &Tensor| discriminator.forward(&concat(&[&a, picture], -1).unwrap()).unwrap();

        let drawn = unet.forward(&a, key).unwrap();
        case.assert_close("images", &thinned(&drawn));
        let logits = judge(&b);
        case.assert_close("logits", &logits);
        let loss = Loss::NonSaturating
            .discriminator(&logits, &judge(&drawn.detach()))
            .unwrap();
        case.assert_gradients(
            "discriminator",
            discriminator.parameters(),
            &loss.mul_scalar(0.5).unwrap(),
        );

        let l1 = drawn.sub(&b).unwrap().abs().unwrap().mean_all().unwrap();
        let loss = Loss::NonSaturating.generator(&judge(&drawn), None).unwrap();
        let loss = loss.add(&l1.mul_scalar(100.0).unwrap()).unwrap();
        case.assert_gradients("generator", unet.parameters(), &loss);
    }
}
