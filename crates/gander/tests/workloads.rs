//! The first steps of `gander bench`'s workloads held against `PyTorch`: `tests/golden/workloads.py`.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

#[path = "shared/hashed.rs"]
mod hashed;

use std::{
    path::Path,
    sync::atomic::{AtomicUsize, Ordering},
};

use gander::{
    bench::{Run, Workload},
    models::Generator,
};
use gander_formats::safetensors;
use gander_nn::{Mode, Parameters};
use gander_tensor::{Cpu, CpuOptions, DeviceRef, Precision, RandomKey, Result, Tensor};
use hashed::{hashed, set_weights};

const LOSSES: [&str; 2] = ["discriminator_loss", "generator_loss"];

/// A generator whose latents are those of the script, call by call.
#[derive(Debug)]
struct Scripted {
    generator: Box<dyn Generator>,
    calls: AtomicUsize,
}

impl Generator for Scripted {
    fn parameters(&self) -> &Parameters {
        self.generator.parameters()
    }

    fn latent_dim(&self) -> usize {
        self.generator.latent_dim()
    }

    fn latents(&self, _key: RandomKey, batch: usize, device: &DeviceRef) -> Result<Tensor> {
        let call = self.calls.fetch_add(1, Ordering::Relaxed);
        Ok(hashed(
            &format!("latents{call}"),
            &[batch, self.latent_dim()],
            1.0,
            device,
        ))
    }

    fn forward(&self, latents: &Tensor, labels: Option<&Tensor>, mode: Mode) -> Result<Tensor> {
        self.generator.forward(latents, labels, mode)
    }
}

/// Three steps, each on as many batches as it takes, with the named scalars compared.
///
/// The first step is float32 against the script's float64. Then Adam divides gradients by their own size, so that those
/// that are nearly zero may move their weights either way by the learning rate: what that does is some thousandths.
fn assert_steps(workload: Workload, side: usize, images_a_step: usize, scalars: &[&str]) {
    let device = Cpu::with_options(CpuOptions {
        precision: Precision::F32,
        ..CpuOptions::default()
    })
    .unwrap();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/workloads.safetensors");
    let file = safetensors::read(&path).unwrap();
    let expected = file.tensor(&workload.to_string()).unwrap().to_f32().unwrap();

    let mut run = Run::new(workload, &device).unwrap();
    if let Some((model, place)) = run.generator_mut() {
        *place = Box::new(Scripted {
            generator: model.generator(RandomKey::from_seed(0), &device).unwrap(),
            calls: AtomicUsize::new(0),
        });
    }
    run.change_networks(&mut |name, parameters| set_weights(name, parameters, &device));
    let shape = [run.batch(), side, side, 3];
    for (step, expected) in expected.chunks_exact(scalars.len()).enumerate() {
        let names: Vec<String> = if workload == Workload::Cyclegan128 {
            vec!["realsa".into(), "realsb".into()]
        } else {
            (0..images_a_step)
                .map(|i| format!("reals{}", step * images_a_step + i))
                .collect()
        };
        let reals: Vec<Tensor> = names.iter().map(|name| hashed(name, &shape, 1.0, &device)).collect();
        let got = run.step_on(&reals).unwrap();
        let tolerance = if step == 0 { 1e-4 } else { 5e-3 };
        for (name, &expected) in scalars.iter().zip(expected) {
            let (got, expected) = (got[name], f64::from(expected));
            assert!(
                (got - expected).abs() <= tolerance * expected.abs().max(1.0),
                "{workload} step {step}, {name}: {got} instead of {expected}"
            );
        }
    }
}

#[test]
fn article28() {
    assert_steps(Workload::Article28, 28, 1, &LOSSES);
}

#[test]
fn dcgan64() {
    assert_steps(Workload::Dcgan64, 64, 1, &LOSSES);
}

#[test]
fn r3gan32() {
    let scalars = ["discriminator_loss", "generator_loss", "r1_penalty", "r2_penalty"];
    assert_steps(Workload::R3gan32, 32, 2, &scalars);
}

#[test]
fn cyclegan128() {
    assert_steps(Workload::Cyclegan128, 128, 2, &LOSSES);
}
