//! Losses and penalties held against what `PyTorch` computes: `tests/golden/losses.py` here, and `r1.py` of the tensors.

use std::path::Path;

use gander::{losses::Loss, regularizers};
use gander_formats::safetensors::{self, SafeTensors};
use gander_tensor::{
    Activation, ConvOptions, Cpu, DeviceRef, GradOptions, Reference, Result, Tensor, Unused, conv, grad, linear,
};

struct Golden {
    file: SafeTensors,
    device: DeviceRef,
    /// Relative to the largest value or to one.
    tolerance: f64,
}

impl Golden {
    /// A fixture, for each device.
    fn open(path: &str) -> [Self; 2] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
        let file = safetensors::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        [(Reference::shared(), 1e-6), (Cpu::shared(), 1e-5)].map(|(device, tolerance)| Self {
            file: file.clone(),
            device,
            tolerance,
        })
    }

    fn tensor(&self, name: &str) -> Tensor {
        let view = self.file.tensor(name).unwrap_or_else(|error| panic!("{error}"));
        let values = view.to_f32().unwrap_or_else(|error| panic!("{error}"));
        Tensor::from_slice(&values, view.shape, &self.device).expect("a tensor of the fixture")
    }

    /// Compares with the tensor of the fixture, or with zero where it has none.
    fn assert_close(&self, name: &str, got: &Tensor) {
        let expected = if self.file.get(name).is_some() {
            self.tensor(name)
        } else {
            Tensor::zeros(got.shape(), &self.device).expect("zeros")
        };
        assert_eq!(got.shape(), expected.shape(), "shape of `{name}`");
        let (got, expected) = (
            got.to_vec_f64().expect("values"),
            expected.to_vec_f64().expect("values"),
        );
        let bound = self.tolerance * expected.iter().fold(1.0, |scale: f64, value| scale.max(value.abs()));
        let error = |i: usize| {
            if got[i].is_finite() {
                (got[i] - expected[i]).abs()
            } else {
                f64::INFINITY
            }
        };
        let worst = (0..got.len())
            .max_by(|&a, &b| error(a).total_cmp(&error(b)))
            .expect("values");
        assert!(
            error(worst) <= bound,
            "{} `{name}`[{worst}]: {} instead of {}, |error| {:.1e} > {bound:.1e}",
            self.device.name(),
            got[worst],
            expected[worst],
            error(worst)
        );
    }
}

#[test]
fn losses_and_their_gradients() {
    for golden in Golden::open("tests/golden/losses.safetensors") {
        let real = golden.tensor("real_logits").watch();
        let fake = golden.tensor("fake_logits").watch();
        for (name, loss) in [
            ("non_saturating", Loss::NonSaturating),
            ("least_squares", Loss::LeastSquares),
            ("hinge", Loss::Hinge),
            ("soft_hinge", Loss::SoftHinge),
            ("wasserstein", Loss::Wasserstein),
            ("relativistic", Loss::Relativistic),
        ] {
            for (player, value) in [
                ("discriminator", loss.discriminator(&real, &fake)),
                ("generator", loss.generator(&fake, Some(&real))),
            ] {
                let value = value.unwrap();
                golden.assert_close(&format!("{name}.{player}"), &value);
                let options = GradOptions {
                    unused: Unused::Zeros,
                    ..GradOptions::default()
                };
                let gradients = grad(&[&value], &[&real, &fake], options).unwrap();
                golden.assert_close(&format!("{name}.{player}.real.grad"), &gradients[0]);
                golden.assert_close(&format!("{name}.{player}.fake.grad"), &gradients[1]);
            }
        }
    }
}

const WEIGHTS: [&str; 6] = [
    "conv0.weight",
    "conv0.bias",
    "conv1.weight",
    "conv1.bias",
    "linear.weight",
    "linear.bias",
];

/// The discriminator of `r1.py` with leaky relus.
fn discriminator(images: &Tensor, weights: &[Tensor]) -> Result<Tensor> {
    let options = ConvOptions {
        stride: 2,
        padding: 1,
        activation: Activation::LeakyRelu(0.2),
        ..ConvOptions::default()
    };
    let x = conv(images, &weights[0], Some(&weights[1]), options)?;
    let x = conv(&x, &weights[2], Some(&weights[3]), options)?;
    linear(&x.flatten()?, &weights[4], Some(&weights[5]), Activation::Identity)?.reshape([images.side(0)])
}

#[test]
fn penalties_and_their_gradients() {
    for golden in Golden::open("../gander-tensor/tests/golden/r1.safetensors") {
        let weights: Vec<_> = WEIGHTS.iter().map(|name| golden.tensor(name).watch()).collect();
        let sources: Vec<_> = weights.iter().collect();
        for (name, images) in [("r1", "real"), ("r2", "fake")] {
            let images = golden.tensor(images).watch();
            let logits = discriminator(&images, &weights).unwrap();
            let of = if name == "r1" {
                regularizers::r1
            } else {
                regularizers::r2
            };
            let penalty = of(&logits, &images).unwrap();
            golden.assert_close(&format!("leaky_relu.{name}"), &penalty);
            let options = GradOptions {
                unused: Unused::Zeros,
                ..GradOptions::default()
            };
            let gradients = grad(&[&penalty.mean_all().unwrap()], &sources, options).unwrap();
            for (weight, gradient) in WEIGHTS.iter().zip(&gradients) {
                golden.assert_close(&format!("leaky_relu.{name}.grad.{weight}"), gradient);
            }
        }
    }
}
