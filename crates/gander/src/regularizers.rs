//! What keeps a discriminator smooth: gradient penalties and weight clipping.

use gander_nn::Parameters;
use gander_tensor::{GradOptions, RandomKey, Result, Tensor, grad, slopes};

use crate::error;

/// Squared gradient norm of the discriminator at real images (R1).
///
/// `penalty[i] = Σ (∂ logits[i] / ∂ images[i])²`. The loss adds `r1_gamma / 2` times its mean.
///
/// A discriminator that mixes its batch (batch normalization) makes `logits[i]` depend on other images too; the sum then
/// runs over the gradient of all logits.
///
/// # Shapes
/// - `logits`: `[batch]`, computed from `images`
/// - `images`: `[batch, height, width, channels]`, −1..=1, requires grad
/// - returns: `[batch]`, differentiable
///
/// # Errors
/// [`gander_tensor::Error::NoPath`] if `logits` does not depend on `images`.
///
/// # Source
/// Mescheder et al. 2018, equation 9, <https://arxiv.org/abs/1801.04406>.
pub fn r1(logits: &Tensor, images: &Tensor) -> Result<Tensor> {
    squared_gradient_norm(logits, images)
}

/// Squared gradient norm of the discriminator at fake images (R2).
///
/// `penalty[i] = Σ (∂ logits[i] / ∂ images[i])²`, with images that the generator made. The loss adds `r2_gamma / 2` times
/// its mean.
///
/// # Shapes
/// Those of [`r1`]; `images` are cut off from the generator and require grad.
///
/// # Errors
/// [`gander_tensor::Error::NoPath`] if `logits` does not depend on `images`.
///
/// # Source
/// Mescheder et al. 2018, equation 10, <https://arxiv.org/abs/1801.04406>.
pub fn r2(logits: &Tensor, images: &Tensor) -> Result<Tensor> {
    squared_gradient_norm(logits, images)
}

/// What a piecewise linear discriminator's weights get from its logits and from the slope at its images.
#[derive(Debug)]
pub struct Penalized {
    /// The mean of [`r1`] or [`r2`] over the batch.
    pub penalty: Tensor,
    /// For each weight.
    pub gradients: Vec<Tensor>,
}

/// Weight gradients of `Σ seedᵢ · logitᵢ + gamma / 2 · mean(r1)` in four passes over the network, none of second order.
///
/// The gradients of the adversarial loss for the logits are the seeds. A pass back from them leaves at each layer what
/// both terms share; one more pass forth, without biases, brings the change of the slope there. The numbers are those of
/// [`r1`] with `create_graph`, to rounding.
///
/// A seed counts at least a millionth of a mean's share, so that the slope can be told where a loss is saturated.
///
/// # Shapes
/// - `logits`, `seeds`: `[batch]`, the logits computed from `images` by [`gander_tensor::is_piecewise_linear`] operations
/// - `images`: `[batch, height, width, channels]`, requires grad
pub fn penalized(
    logits: &Tensor,
    images: &Tensor,
    seeds: &Tensor,
    gamma: f64,
    weights: &[&Tensor],
) -> Result<Penalized> {
    const LEAST_SHARE: f32 = 1e-6;
    let batch = logits.side(0);
    let least = LEAST_SHARE / batch as f32;
    let seeds: Vec<f32> = seeds
        .to_vec()?
        .into_iter()
        .map(|seed| if seed.abs() < least { least.copysign(seed) } else { seed })
        .collect();
    let seeds = Tensor::from_slice(&seeds, [batch], images.device())?;

    let slopes = slopes(logits, &seeds, &[images])?;
    let mut per_image = vec![1; images.shape().rank()];
    per_image[0] = batch;
    let seeds = seeds.reshape(per_image)?;
    let slope = slopes.gradients()[0].div(&seeds)?;
    let penalty = slope.square()?.sum_per_sample()?.mean_all()?;
    // The gradient of gamma / 2 · mean |slope|² for what was gone back with, which is seed · slope.
    let change = slope.mul_scalar(gamma as f32 / batch as f32)?.div(&seeds)?;
    let gradients = slopes.weight_gradients(vec![change], weights)?;
    Ok(Penalized { penalty, gradients })
}

/// Distance of the discriminator's slope from one, between real and fake images (WGAN-GP).
///
/// `penalty[i] = (‖∂ judge(x̂)[i] / ∂ x̂[i]‖ − 1)²` at `x̂[i] = ε real[i] + (1 − ε) fake[i]`, ε uniform in 0..1 for each `i`.
/// The loss adds ten times its mean.
///
/// # Shapes
/// - `real_images`, `fake_images`: `[batch, height, width, channels]`
/// - `judge`: images to logits, `[batch]`
/// - returns: `[batch]`, differentiable
///
/// # Source
/// Gulrajani et al. 2017, algorithm 1, <https://arxiv.org/abs/1704.00028>.
pub fn gradient_penalty(
    real_images: &Tensor,
    fake_images: &Tensor,
    key: RandomKey,
    judge: impl FnOnce(&Tensor) -> error::Result<Tensor>,
) -> error::Result<Tensor> {
    // Keeps the square root differentiable where the slope is zero.
    const EPS: f32 = 1e-12;
    let (real, fake) = (real_images.detach(), fake_images.detach());
    let mut per_image = vec![1; real.shape().rank()];
    per_image[0] = real.side(0);
    let share = Tensor::uniform(key, per_image, real.device())?;
    let mixed = fake.add(&share.mul(&real.sub(&fake)?)?)?.watch();
    let slope = squared_gradient_norm(&judge(&mixed)?, &mixed)?
        .add_scalar(EPS)?
        .sqrt()?;
    Ok(slope.add_scalar(-1.0)?.square()?)
}

/// Limits every weight to `−limit..=limit`, after each update of the discriminator.
///
/// # Source
/// Arjovsky et al. 2017, algorithm 1, with 0.01, <https://arxiv.org/abs/1701.07875>.
pub fn clip_weights(parameters: &Parameters, limit: f32) -> Result<()> {
    parameters
        .weights()
        .try_for_each(|weight| weight.set(&weight.get().detach().clamp(-limit, limit)?))
}

fn squared_gradient_norm(logits: &Tensor, images: &Tensor) -> Result<Tensor> {
    let gradient = grad(
        &[logits],
        &[images],
        GradOptions {
            create_graph: true,
            ..GradOptions::default()
        },
    )?
    .remove(0);
    gradient.square()?.sum_per_sample()
}

#[cfg(test)]
mod tests {
    use gander_nn::{Init, Scope};
    use gander_tensor::{ConvOptions, DeviceRef, Error, Reference, conv};

    use super::*;

    fn tensor(values: &[f32], shape: &[usize], device: &DeviceRef) -> Tensor {
        Tensor::from_slice(values, shape, device).expect("values of the shape")
    }

    fn assert_close(got: &[f64], expected: &[f64], tolerance: f64) {
        assert_eq!(got.len(), expected.len());
        for (index, (got, expected)) in got.iter().zip(expected).enumerate() {
            assert!(
                (got - expected).abs() <= tolerance,
                "index {index}: {got} instead of {expected}"
            );
        }
    }

    /// `logit = Σ a x²` has the gradient `2 a x` and the penalty `Σ 4 a² x²`, whose derivative for `a` is `Σ 8 a x²`.
    #[test]
    fn r1_of_a_quadratic_form() {
        let device = Reference::shared();
        let images = tensor(&[1.0, 2.0, -1.0, 0.5], &[2, 1, 2, 1], &device).watch();
        let a = tensor(&[3.0], &[1], &device).watch();
        let logits = images.square().unwrap().mul(&a).unwrap().sum_per_sample().unwrap();
        let penalty = r1(&logits, &images).unwrap();
        assert_close(&penalty.to_vec_f64().unwrap(), &[36.0 * 5.0, 36.0 * 1.25], 1e-9);
        let slope = grad(&[&penalty], &[&a], GradOptions::default()).unwrap().remove(0);
        assert_close(&slope.to_vec_f64().unwrap(), &[24.0 * 6.25], 1e-9);
        assert_eq!(
            penalty.to_vec().unwrap(),
            r2(&logits, &images).unwrap().to_vec().unwrap()
        );
    }

    /// A convolution, a resampling by a filter, a skip, a product: all that a discriminator without normalization has.
    fn piecewise(images: &Tensor, weights: &[Tensor]) -> Tensor {
        let leaky = ConvOptions {
            padding: 1,
            activation: gander_tensor::Activation::LeakyRelu(0.2),
            ..ConvOptions::default()
        };
        let x = conv(images, &weights[0], Some(&weights[1]), leaky).unwrap();
        let inner = conv(&x, &weights[2], None, leaky).unwrap();
        let x = x
            .add(&inner)
            .unwrap()
            .fir_downsample()
            .unwrap()
            .leaky_relu(0.1)
            .unwrap();
        let logits = gander_tensor::linear(
            &x.flatten().unwrap(),
            &weights[3],
            Some(&weights[4]),
            gander_tensor::Activation::Identity,
        )
        .unwrap();
        logits.reshape([images.side(0)]).unwrap()
    }

    #[test]
    fn four_passes_give_what_a_second_tape_gives() {
        let (device, key) = (Reference::shared(), RandomKey::from_seed(4));
        let normal = |i, shape: &[usize]| Tensor::normal(key.split(i), shape, &device).unwrap();
        let images = normal(0, &[3, 6, 4, 2]).watch();
        let shapes: [&[usize]; 5] = [&[3, 3, 2, 4], &[4], &[3, 3, 4, 4], &[3 * 2 * 4, 1], &[1]];
        let weights: Vec<Tensor> = (1..).zip(shapes).map(|(i, shape)| normal(i, shape).watch()).collect();
        let asked: Vec<&Tensor> = weights.iter().collect();
        // The last seed is below what counts; the reference takes the least that does.
        let seeds = [0.2, -0.4, 1e-9];
        let (gamma, least) = (3.0, 1e-6 / 3.0);
        let logits = piecewise(&images, &weights);
        assert!(gander_tensor::is_piecewise_linear(&logits, &[&images]));
        let seed = tensor(&seeds, &[3], &device);
        let got = penalized(&logits, &images, &seed, gamma, &asked).unwrap();

        let seed = tensor(&[0.2, -0.4, least], &[3], &device);
        let penalty = r1(&logits, &images).unwrap().mean_all().unwrap();
        let loss = logits.mul(&seed).unwrap().sum_all().unwrap();
        let loss = loss.add(&penalty.mul_scalar(0.5 * gamma as f32).unwrap()).unwrap();
        let expected = grad(&[&loss], &asked, GradOptions::default()).unwrap();
        let values = |tensor: &Tensor| tensor.to_vec_f64().unwrap();
        assert_close(&values(&got.penalty), &values(&penalty), 1e-6);
        for (got, expected) in got.gradients.iter().zip(&expected) {
            let scale = values(expected)
                .into_iter()
                .fold(1.0, |scale: f64, value| scale.max(value.abs()));
            // The seeds went through float32 once more on their way; everything else is in double precision.
            assert_close(&values(got), &values(expected), 1e-6 * scale);
        }
    }

    #[test]
    fn smooth_and_normalized_networks_are_told_apart() {
        let (device, key) = (Reference::shared(), RandomKey::from_seed(4));
        let images = Tensor::normal(key, [2, 4, 4, 3], &device).unwrap().watch();
        let weight = Tensor::normal(key, [3, 3, 3, 2], &device).unwrap().watch();
        let smooth = judge(&images, &weight);
        let (normalized, _) = gander_tensor::batch_norm(&images, None, gander_tensor::NormOptions::default()).unwrap();
        let squared = images.mul(&images).unwrap();
        for other in [smooth, normalized, squared] {
            assert!(!gander_tensor::is_piecewise_linear(&other, &[&images]));
        }
        assert!(!gander_tensor::is_piecewise_linear(&weight, &[&images]));
    }

    /// A small smooth discriminator: convolution, tanh, sum.
    fn judge(images: &Tensor, weight: &Tensor) -> Tensor {
        conv(images, weight, None, ConvOptions::default())
            .unwrap()
            .tanh()
            .unwrap()
            .sum_per_sample()
            .unwrap()
    }

    #[test]
    fn weight_gradients_of_penalties_match_finite_differences() {
        let device = Reference::shared();
        let key = RandomKey::from_seed(1);
        let shape = [2, 4, 5, 3];
        let images = Tensor::normal(key.split(0), shape, &device).unwrap();
        let fakes = Tensor::normal(key.split(1), shape, &device).unwrap();
        let weight = Tensor::normal(key.split(2), [3, 3, 3, 2], &device)
            .unwrap()
            .mul_scalar(0.3)
            .unwrap();
        let r1_loss = |weight: &Tensor| {
            let images = images.watch();
            r1(&judge(&images, weight), &images).unwrap().mean_all().unwrap()
        };
        let gp_loss = |weight: &Tensor| {
            let on_mixed = |mixed: &Tensor| Ok(judge(mixed, weight));
            gradient_penalty(&images, &fakes, key.split(3), on_mixed)
                .unwrap()
                .mean_all()
                .unwrap()
        };
        let losses: [&dyn Fn(&Tensor) -> Tensor; 2] = [&r1_loss, &gp_loss];
        for loss in losses {
            let watched = weight.watch();
            let slope = grad(&[&loss(&watched)], &[&watched], GradOptions::default())
                .unwrap()
                .remove(0);
            let slope = slope.to_vec_f64().unwrap();
            for index in [0, 7, 23, 53] {
                let step = 1e-4;
                let moved = |by: f32| {
                    let mut one = vec![0.0; 54];
                    one[index] = by;
                    let weight = weight.add(&tensor(&one, &[3, 3, 3, 2], &device)).unwrap();
                    loss(&weight).to_vec_f64().unwrap()[0]
                };
                let expected = (moved(step) - moved(-step)) / (2.0 * f64::from(step));
                assert_close(&[slope[index]], &[expected], 1e-5);
            }
        }
    }

    /// A linear judge with slope 3 everywhere: `(3 − 1)² = 4`, wherever the interpolates are.
    #[test]
    fn gradient_penalty_of_a_linear_judge() {
        let device = Reference::shared();
        let real = tensor(&[1.0, 2.0], &[2, 1, 1, 1], &device);
        let fake = tensor(&[-1.0, 0.0], &[2, 1, 1, 1], &device);
        let on_mixed = |mixed: &Tensor| {
            // Between fake and real: mixed − fake in 0..2.
            assert!(
                mixed
                    .sub(&fake)?
                    .to_vec()?
                    .iter()
                    .all(|&gap| (0.0..=2.0).contains(&gap))
            );
            Ok(mixed.mul_scalar(3.0)?.sum_per_sample()?)
        };
        let penalty = gradient_penalty(&real, &fake, RandomKey::from_seed(5), on_mixed).unwrap();
        assert_close(&penalty.to_vec_f64().unwrap(), &[4.0, 4.0], 1e-9);
    }

    #[test]
    fn a_flat_judge_gives_finite_gradients() {
        let device = Reference::shared();
        let images = Tensor::ones([2, 1, 1, 1], &device).unwrap();
        let weight = Tensor::zeros([1], &device).unwrap().watch();
        let on_mixed = |mixed: &Tensor| Ok(mixed.mul(&weight)?.sum_per_sample()?);
        let penalty = gradient_penalty(&images, &images, RandomKey::from_seed(5), on_mixed).unwrap();
        let slope = grad(&[&penalty], &[&weight], GradOptions::default()).unwrap().remove(0);
        assert!(slope.all_finite().unwrap());
    }

    #[test]
    fn independent_logits_are_an_error() {
        let device = Reference::shared();
        let images = Tensor::ones([1, 1, 1, 1], &device).unwrap().watch();
        let logits = Tensor::ones([1], &device).unwrap().watch();
        assert!(matches!(r1(&logits, &images), Err(Error::NoPath { .. })));
    }

    #[test]
    fn clipping_limits_weights_and_leaves_buffers() {
        let device = Reference::shared();
        let mut parameters = Parameters::default();
        let mut scope = Scope::new(&mut parameters, RandomKey::from_seed(1), &device);
        let weight = scope.weight("weight", [2], Init::ZEROS).unwrap();
        weight.set(&tensor(&[0.5, -0.005], &[2], &device)).unwrap();
        let buffer = scope.buffer("buffer", [1], Init::ONES).unwrap();
        clip_weights(&parameters, 0.01).unwrap();
        assert_eq!(weight.get().to_vec().unwrap(), [0.01, -0.005]);
        assert!(weight.get().requires_grad());
        assert_eq!(buffer.get().to_vec().unwrap(), [1.0]);
    }
}
