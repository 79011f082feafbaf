//! Networks of feature spaces held against their own code: `tests/golden/effnet.py`, `inception.py`.

use std::path::{Path, PathBuf};

use gander::features::{EffNet, FeatureSpace, Inception, Resizing};
use gander_formats::safetensors::{self, SafeTensors};
use gander_tensor::{Cpu, Tensor};

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

fn open(name: &str) -> SafeTensors {
    safetensors::read(&path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn values(file: &SafeTensors, name: &str) -> Vec<f32> {
    file.tensor(name).and_then(|view| view.to_f32()).expect(name)
}

fn tensor(file: &SafeTensors, name: &str) -> Tensor {
    let shape = file.tensor(name).expect(name).shape;
    Tensor::from_slice(&values(file, name), shape, &Cpu::shared()).expect(name)
}

/// Relative to the largest value.
fn assert_close(name: &str, got: &[f32], expected: &[f32], tolerance: f32) {
    assert_eq!(got.len(), expected.len(), "{name}");
    let scale = expected.iter().fold(0.0, |scale: f32, value| scale.max(value.abs()));
    let apart = |i: &usize| (got[*i] - expected[*i]).abs();
    let worst = (0..got.len())
        .max_by(|a, b| apart(a).total_cmp(&apart(b)))
        .expect("values");
    assert!(
        apart(&worst) <= tolerance * scale,
        "{name}[{worst}]: {} instead of {} of at most {scale}",
        got[worst],
        expected[worst]
    );
}

#[test]
fn effnet_agrees_with_its_own_code() {
    let file = open("effnet.safetensors");
    let network = EffNet::load(&path("effnet.safetensors"), &Cpu::shared()).unwrap();
    let (features, logits) = network.forward(&tensor(&file, "in")).unwrap();
    assert_close(
        "features",
        &features.to_vec().unwrap(),
        &values(&file, "features"),
        1e-4,
    );
    assert_close("logits", &logits.to_vec().unwrap(), &values(&file, "logits"), 1e-4);
    assert_eq!((network.name(), network.num_classes()), ("effnet", Some(5)));
}

/// The published network agrees if its own code does, with random weights of fewer channels, on images that leave every
/// layer something to look at.
#[test]
fn inception_agrees_with_pytorch_fid() {
    let file = open("inception.safetensors");
    let path = path("inception.safetensors");
    let network = Inception::load(&path, Resizing::PytorchFid, &Cpu::shared()).unwrap();
    let (features, logits) = network.forward(&tensor(&file, "in")).unwrap();
    assert_close(
        "features",
        &features.to_vec().unwrap(),
        &values(&file, "features"),
        1e-3,
    );
    let bias = values(&file, "fc.bias");
    let expected: Vec<f32> = values(&file, "logits")
        .chunks(bias.len())
        .flat_map(|logits| logits.iter().zip(&bias).map(|(logit, bias)| logit - bias))
        .collect();
    assert_close("logits", &logits.to_vec().unwrap(), &expected, 1e-3);
    let clean = Inception::load(&path, Resizing::CleanFid, &Cpu::shared()).unwrap();
    assert_eq!((network.name(), clean.name()), ("inception", "inception_clean"));
}

/// With the weights that everybody uses, resizing included.
#[test]
fn effnet_agrees_on_images() {
    let weights = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/features");
    let weights = weights.join("efficientnet_lite0.f16.safetensors");
    if !weights.exists() {
        println!("skipped: {} is not there", weights.display());
        return;
    }
    let file = open("effnet_real.safetensors");
    let network = EffNet::load(&weights, &Cpu::shared()).unwrap();
    let images = file.tensor("images").unwrap();
    let pixels: Vec<f32> = images.bytes.iter().map(|&byte| f32::from(byte) / 127.5 - 1.0).collect();
    let images = Tensor::from_slice(&pixels, images.shape, &Cpu::shared()).unwrap();
    let seen = network.extract(&images).unwrap();
    assert_close("features", seen.features.values(), &values(&file, "features"), 1e-3);
    let logits: Vec<f32> = seen
        .logits
        .iter()
        .flat_map(|logits| logits.rows().flat_map(|row| row[..8].to_vec()))
        .collect();
    assert_close("logits", &logits, &values(&file, "logits"), 1e-3);
}
