//! Layers and optimizers with a state, step by step, held against what `PyTorch` does (`tests/golden/layers.py`), on the
//! reference device and on the processor's kernels.

use gander_nn::{
    Init, Parameter, Parameters, Scope,
    layers::{BatchNormConfig, Mode, SpectralNorm},
    optim::{Adam, AdamConfig},
};
use gander_tensor::{Activation, Cpu, DeviceRef, GradOptions, RandomKey, Reference, Tensor, grad};
use safetensors::SafeTensors;

struct Golden {
    bytes: Vec<u8>,
    device: DeviceRef,
    /// Relative to the largest value or to one.
    tolerance: f64,
}

impl Golden {
    /// The fixture for each device.
    fn open() -> [Self; 2] {
        let path = format!("{}/tests/golden/layers.safetensors", env!("CARGO_MANIFEST_DIR"));
        let bytes = std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
        [(Reference::shared(), 1e-6), (Cpu::shared(), 1e-5)].map(|(device, tolerance)| Self {
            bytes: bytes.clone(),
            device,
            tolerance,
        })
    }

    fn tensor(&self, name: &str) -> Tensor {
        let file = SafeTensors::deserialize(&self.bytes).expect("a whole fixture");
        let view = file.tensor(name).unwrap_or_else(|error| panic!("`{name}`: {error}"));
        let values: Vec<_> = view
            .data()
            .chunks_exact(4)
            .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
            .collect();
        Tensor::from_slice(&values, view.shape(), &self.device).expect("a tensor of the fixture")
    }

    fn number(&self, name: &str) -> f32 {
        self.tensor(name).item().expect("one number")
    }

    /// A network's only parameters, with the values of the fixture.
    fn fill(&self, parameters: &Parameters, values: &[(&str, &str)]) {
        for (name, key) in values {
            let parameter = parameters.get(name).unwrap_or_else(|| panic!("no parameter `{name}`"));
            parameter.set(&self.tensor(key)).expect("the shape of the fixture");
        }
    }

    fn assert_close(&self, name: &str, got: &Tensor) {
        let expected = self.tensor(name);
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

fn parameter<'a>(parameters: &'a Parameters, name: &str) -> &'a Parameter {
    parameters.get(name).unwrap_or_else(|| panic!("no parameter `{name}`"))
}

#[test]
fn batch_norm_keeps_running_averages() {
    for golden in Golden::open() {
        let mut parameters = Parameters::default();
        let mut scope = Scope::new(&mut parameters, RandomKey::from_seed(0), &golden.device);
        let layer = BatchNormConfig::new(5, Activation::Identity).init(&mut scope).unwrap();
        golden.fill(
            &parameters,
            &[("weight", "batch_norm.scale"), ("bias", "batch_norm.shift")],
        );
        for step in 0..3 {
            let x = golden.tensor(&format!("batch_norm.{step}.x"));
            let frozen = layer.forward(&x, Mode::Frozen).unwrap();
            golden.assert_close(&format!("batch_norm.{step}.y"), &frozen);
            let trained = layer.forward(&x, Mode::Train).unwrap();
            golden.assert_close(&format!("batch_norm.{step}.y"), &trained);
            golden.assert_close(
                &format!("batch_norm.{step}.mean"),
                &parameter(&parameters, "running_mean").get(),
            );
            golden.assert_close(
                &format!("batch_norm.{step}.var"),
                &parameter(&parameters, "running_var").get(),
            );
        }
        let evaluated = layer.forward(&golden.tensor("batch_norm.2.x"), Mode::Evaluate).unwrap();
        golden.assert_close("batch_norm.evaluated", &evaluated);
    }
}

#[test]
fn spectral_norm_iterates_once_a_pass() {
    for golden in Golden::open() {
        let mut parameters = Parameters::default();
        let mut scope = Scope::new(&mut parameters, RandomKey::from_seed(0), &golden.device);
        let weight = scope.weight("weight", [3, 3, 4, 6], Init::ZEROS).unwrap();
        let layer = SpectralNorm::new(&weight, &mut scope).unwrap();
        golden.fill(&parameters, &[("weight", "spectral.weight")]);
        let u = parameter(&parameters, "spectral_u");
        u.set(&golden.tensor("spectral.u").reshape([1, 6]).unwrap()).unwrap();
        for step in 0..3 {
            let value = weight.get();
            let normalized = layer.normalized(&value, Mode::Train).unwrap();
            golden.assert_close(&format!("spectral.{step}.normalized"), &normalized);
            golden.assert_close(&format!("spectral.{step}.u"), &u.get().reshape([6]).unwrap());
            if step == 2 {
                let sum = normalized
                    .mul(&golden.tensor("spectral.upstream"))
                    .unwrap()
                    .sum_all()
                    .unwrap();
                let gradient = grad(&[&sum], &[&value], GradOptions::default()).unwrap().remove(0);
                golden.assert_close("spectral.grad", &gradient);
            }
        }
        for mode in [Mode::Frozen, Mode::Evaluate] {
            golden.assert_close("spectral.evaluated", &layer.normalized(&weight.get(), mode).unwrap());
        }
        golden.assert_close("spectral.2.u", &u.get().reshape([6]).unwrap());
    }
}

#[test]
fn adam_takes_the_same_steps() {
    for golden in Golden::open() {
        for run in ["adam_0", "adam_1"] {
            let mut parameters = Parameters::default();
            let mut scope = Scope::new(&mut parameters, RandomKey::from_seed(0), &golden.device);
            scope.weight("kernel", [4, 5], Init::ZEROS).unwrap();
            scope.weight("bias", [7], Init::ZEROS).unwrap();
            for name in ["kernel", "bias"] {
                golden.fill(&parameters, &[(name, &format!("{run}.{name}.weight"))]);
            }
            let number = |name: &str| golden.number(&format!("{run}.{name}"));
            let config = AdamConfig {
                lr: number("lr"),
                beta1: number("beta1"),
                beta2: number("beta2"),
                eps: 1e-8,
            };
            let mut adam = Adam::new(config, &parameters).unwrap();
            for step in 0..3 {
                let gradient = |name| golden.tensor(&format!("{run}.{step}.{name}.grad"));
                adam.step(&parameters, vec![gradient("kernel"), gradient("bias")])
                    .unwrap();
                for name in ["kernel", "bias"] {
                    golden.assert_close(
                        &format!("{run}.{step}.{name}.weight"),
                        &parameter(&parameters, name).get(),
                    );
                }
            }
        }
    }
}
