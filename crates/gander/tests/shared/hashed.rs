//! Values from an integer hash of their name and index, which the scripts of `tests/golden` make too.

use gander_nn::Parameters;
use gander_tensor::{DeviceRef, Tensor};

/// Values in −bound..bound from a hash of the name and the index, as in the script.
pub(crate) fn hashed(name: &str, shape: &[usize], bound: f64, device: &DeviceRef) -> Tensor {
    let seed = name
        .bytes()
        .fold(0u32, |seed, byte| seed.wrapping_mul(31).wrapping_add(byte.into()));
    let value = |i: usize| {
        let mut x = seed.wrapping_add(i as u32);
        for _ in 0..2 {
            x ^= x >> 16;
            x = x.wrapping_mul(0x045d_9f3b);
        }
        x ^= x >> 16;
        ((f64::from(x) / f64::from(1u32 << 31) - 1.0) * bound) as f32
    };
    let values: Vec<f32> = (0..shape.iter().product()).map(value).collect();
    Tensor::from_slice(&values, shape, device).unwrap()
}

/// Every weight from its name, as in `tests/golden/networks.py`.
pub(crate) fn set_weights(network: &str, parameters: &Parameters, device: &DeviceRef) {
    for weight in parameters.weights() {
        let shape = weight.get().shape().to_vec();
        let (bound, middle) = match shape.split_last() {
            Some((_, [])) => (
                0.1,
                if weight.name().ends_with("norm.weight") {
                    1.0
                } else {
                    0.0
                },
            ),
            Some((_, inputs)) => ((3.0 / inputs.iter().product::<usize>() as f64).sqrt(), 0.0),
            None => panic!("{} has no axes", weight.name()),
        };
        let values = hashed(&format!("{network}.{}", weight.name()), &shape, bound, device);
        weight.set(&values.add_scalar(middle).unwrap()).unwrap();
    }
}
