//! How a classifier learns: Adam on the cross-entropy, for a fixed amount of arithmetic.

use gander_data::{Dataset, Sampler};
use gander_nn::{
    Mode, Parameters,
    optim::{Adam, AdamConfig},
};
use gander_tensor::{DeviceRef, GradOptions, Tensor, grad};

use super::{Classifier, ClassifierHeader, ClassifierOptions, largest, network::Network};
use crate::error::Result;

/// Images in a step; fewer where a set is so small that it would have few steps.
const BATCH: usize = 64;
const SMALL_BATCH: usize = 16;
/// The rate rises over the first tenth and falls to zero along a cosine.
const LEARNING_RATE: f64 = 2e-3;
/// Every tenth image is held out where nothing else is.
const HOLD_OUT: usize = 10;

/// What a classifier learns from in one step.
pub(crate) struct Examples {
    /// `[num, height, width, channels]`, −1..=1.
    pub(crate) images: Tensor,
    /// Each image's share of each class, `[num, classes]`; the shares of an image sum to its weight, mostly one.
    pub(crate) targets: Tensor,
}

/// How long and how hard a network is taught.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Course {
    /// Updates.
    pub(crate) steps: u64,
    /// Share of itself that a weight loses in a step at a rate of one, beside the gradient's part (Loshchilov & Hutter
    /// 2019, <https://arxiv.org/abs/1711.05101>).
    pub(crate) weight_decay: f64,
}

impl Course {
    /// Teaches the weights of a network that gives `logits`, with the examples of each step.
    pub(crate) fn teach(
        self,
        parameters: &Parameters,
        examples: &mut dyn FnMut(u64) -> Result<Examples>,
        logits: &dyn Fn(&Tensor) -> Result<Tensor>,
    ) -> Result<()> {
        let config = AdamConfig {
            lr: 0.0,
            beta1: 0.9,
            beta2: 0.99,
            eps: 1e-8,
        };
        let mut optimizer = Adam::new(config, parameters)?;
        for step in 0..self.steps {
            let Examples { images, targets } = examples(step)?;
            let rate = rate(step as f64 / self.steps as f64);
            optimizer.config.lr = rate as f32;
            let loss = cross_entropy(&logits(&images)?, &targets)?;
            let weights = parameters.weight_tensors();
            let gradients = grad(&[&loss], &weights.iter().collect::<Vec<_>>(), GradOptions::default())?;
            drop((weights, loss));
            if self.weight_decay > 0.0 {
                decay(parameters, (rate * self.weight_decay) as f32)?;
            }
            optimizer.step(parameters, gradients)?;
        }
        Ok(())
    }
}

/// Takes a share of each kernel and matrix away; scales and shifts stay.
fn decay(parameters: &Parameters, share: f32) -> Result<()> {
    for weight in parameters.weights() {
        let value = weight.get();
        if value.shape().len() > 1 {
            let (zeros, device) = (Tensor::zeros(value.shape(), value.device())?, value.device().clone());
            drop(value);
            weight.update(|array| device.lerp(array, zeros.array(), share))?;
        }
    }
    Ok(())
}

pub(super) fn train(
    real: &dyn Dataset,
    held_out: Option<&dyn Dataset>,
    options: ClassifierOptions,
    device: &DeviceRef,
    progress: &mut dyn FnMut(f64),
) -> Result<Classifier> {
    let (shape, classes) = (real.shape(), real.classes().to_vec());
    let network = Network::new(shape, classes.len(), options.seed, device)?;
    let order = Sampler::new(options.seed, real.len());
    let shuffled = |place: usize| order.draw(place as u64).index;
    let own = if held_out.is_some() { 0 } else { real.len() / HOLD_OUT };
    let kept: Vec<usize> = (0..own).map(shuffled).collect();
    let training: Vec<usize> = (own..real.len()).map(shuffled).collect();

    let batch = if training.len() < 100 * BATCH {
        SMALL_BATCH
    } else {
        BATCH
    }
    .min(training.len());
    // A forward and a backward pass are three times the arithmetic of the first.
    let affordable = (options.operations / (3.0 * network.operations())) as u64;
    let images = (options.epochs * training.len() as u64).min(affordable);
    let steps = (images / batch as u64).max(1);
    let mut sampler = Sampler::new(options.seed.wrapping_add(1), training.len());
    let mut examples = |step: u64| {
        progress(step as f64 / steps as f64);
        let indices: Vec<usize> = (0..batch).map(|_| training[sampler.next_draw().index]).collect();
        let (images, labels) = read(real, &indices, device)?;
        let targets = one_hot(&labels, classes.len(), device)?;
        Ok(Examples { images, targets })
    };
    let logits = |images: &Tensor| Ok(network.forward(images, Mode::Train)?.1);
    let course = Course {
        steps,
        weight_decay: 0.0,
    };
    course.teach(network.parameters(), &mut examples, &logits)?;
    progress(1.0);

    let (judged, indices) = match held_out {
        Some(held_out) => (held_out, (0..held_out.len()).collect()),
        None => (real, kept),
    };
    let right = count_right(&network, judged, &indices, device)?;
    let header = ClassifierHeader {
        shape,
        classes,
        fingerprint: real.fingerprint(),
        options,
        images_seen: steps * batch as u64,
        held_out: indices.len(),
        right,
    };
    Ok(Classifier { network, header })
}

/// The learning rate after a share of the training.
fn rate(done: f64) -> f64 {
    const RISE: f64 = 0.1;
    if done < RISE {
        return LEARNING_RATE * (done / RISE).max(0.02);
    }
    LEARNING_RATE * 0.5 * (1.0 + ((done - RISE) / (1.0 - RISE) * std::f64::consts::PI).cos())
}

/// Images in −1..=1 and their labels.
fn read(data: &dyn Dataset, indices: &[usize], device: &DeviceRef) -> Result<(Tensor, Vec<u32>)> {
    let shape = data.shape();
    let mut pixels = vec![0; indices.len() * shape.bytes()];
    for (&index, pixels) in indices.iter().zip(pixels.chunks_exact_mut(shape.bytes())) {
        data.read(index, pixels)?;
    }
    let values: Vec<f32> = pixels.iter().map(|&pixel| f32::from(pixel) / 127.5 - 1.0).collect();
    let sides = [indices.len(), shape.height_px, shape.width_px, shape.channels];
    let labels = indices.iter().map(|&index| data.label(index).unwrap_or(0)).collect();
    Ok((Tensor::from_slice(&values, sides, device)?, labels))
}

/// All of each image's share for its own class.
fn one_hot(labels: &[u32], classes: usize, device: &DeviceRef) -> Result<Tensor> {
    let mut shares = vec![0.0; labels.len() * classes];
    for (row, &label) in shares.chunks_exact_mut(classes).zip(labels) {
        row[label as usize] = 1.0;
    }
    Ok(Tensor::from_slice(&shares, [labels.len(), classes], device)?)
}

/// `−mean Σ targets · ln softmax(logits)`.
fn cross_entropy(logits: &Tensor, targets: &Tensor) -> Result<Tensor> {
    let shifted = logits.sub(&logits.detach().max_keep(&[1])?)?;
    let log_sum = shifted.exp()?.sum_keep(&[1])?.log()?;
    let of_targets = log_sum.sub(&shifted)?.mul(targets)?.sum_keep(&[1])?;
    Ok(of_targets.mean_all()?)
}

/// Images that get their own class.
fn count_right(network: &Network, data: &dyn Dataset, indices: &[usize], device: &DeviceRef) -> Result<usize> {
    const AT_ONCE: usize = 128;
    let mut right = 0;
    for indices in indices.chunks(AT_ONCE) {
        let (images, labels) = read(data, indices, device)?;
        let (_, logits) = network.evaluate(&images)?;
        let seen = largest(&logits.to_vec()?, logits.side(-1));
        right += seen.iter().zip(&labels).filter(|(seen, label)| seen == label).count();
    }
    Ok(right)
}

#[cfg(test)]
mod tests {
    use gander_tensor::Reference;

    use super::*;

    /// −ln of ½ and of e/(e + 1), averaged.
    #[test]
    fn cross_entropy_by_hand() {
        let device = Reference::shared();
        let logits = Tensor::from_slice(&[3.0, 3.0, 0.0, 1.0], [2, 2], &device).unwrap();
        let loss = |targets: &Tensor| f64::from(cross_entropy(&logits, targets).unwrap().item().unwrap());
        let expected = f64::midpoint(2.0f64.ln(), (1.0 + (-1.0f64).exp()).ln());
        let whole = loss(&one_hot(&[0, 1], 2, &device).unwrap());
        assert!((whole - expected).abs() < 1e-6, "{whole}");
        // Half of the second image is of the other class, whose logit is one lower.
        let mixed = Tensor::from_slice(&[1.0, 0.0, 0.5, 0.5], [2, 2], &device).unwrap();
        assert!((loss(&mixed) - expected - 0.25).abs() < 1e-6, "{}", loss(&mixed));
        // An image without a target counts for nothing but the mean.
        let half = Tensor::from_slice(&[1.0, 0.0, 0.0, 0.0], [2, 2], &device).unwrap();
        assert!((loss(&half) - 0.5 * 2.0f64.ln()).abs() < 1e-6, "{}", loss(&half));
    }

    #[test]
    fn the_rate_rises_and_falls() {
        assert!(rate(0.0) > 0.0 && rate(0.05) < rate(0.1));
        assert!((rate(0.1) - LEARNING_RATE).abs() < 1e-12 && rate(1.0) < 1e-12);
    }
}
