//! How the classifier learns: Adam on the cross-entropy, for a fixed amount of arithmetic.

use gander_data::{Dataset, Sampler};
use gander_nn::{
    Mode,
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
    let mut optimizer = Adam::new(
        AdamConfig {
            lr: 0.0,
            beta1: 0.9,
            beta2: 0.99,
            eps: 1e-8,
        },
        network.parameters(),
    )?;
    let mut sampler = Sampler::new(options.seed.wrapping_add(1), training.len());
    for step in 0..steps {
        let indices: Vec<usize> = (0..batch).map(|_| training[sampler.next_draw().index]).collect();
        let (images, labels) = read(real, &indices, device)?;
        optimizer.config.lr = rate(step as f64 / steps as f64) as f32;
        let (_, logits) = network.forward(&images, Mode::Train)?;
        let loss = cross_entropy(&logits, &labels)?;
        let weights = network.parameters().weight_tensors();
        let gradients = grad(&[&loss], &weights.iter().collect::<Vec<_>>(), GradOptions::default())?;
        optimizer.step(network.parameters(), gradients)?;
        progress((step + 1) as f64 / steps as f64);
    }

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

/// `−mean ln softmax(logits)[label]`.
fn cross_entropy(logits: &Tensor, labels: &[u32]) -> Result<Tensor> {
    let (num, classes) = (logits.side(0), logits.side(1));
    let mut chosen = vec![0.0; num * classes];
    for (row, &label) in chosen.chunks_exact_mut(classes).zip(labels) {
        row[label as usize] = 1.0;
    }
    let chosen = Tensor::from_slice(&chosen, [num, classes], logits.device())?;
    let shifted = logits.sub(&logits.detach().max_keep(&[1])?)?;
    let log_sum = shifted.exp()?.sum_keep(&[1])?.log()?;
    let of_label = shifted.mul(&chosen)?.sum_keep(&[1])?;
    Ok(log_sum.sub(&of_label)?.mean_all()?)
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
        let logits = Tensor::from_slice(&[3.0, 3.0, 0.0, 1.0], [2, 2], &Reference::shared()).unwrap();
        let loss = cross_entropy(&logits, &[0, 1]).unwrap().item().unwrap();
        let expected = f64::midpoint(2.0f64.ln(), (1.0 + (-1.0f64).exp()).ln());
        assert!((f64::from(loss) - expected).abs() < 1e-6, "{loss}");
    }

    #[test]
    fn the_rate_rises_and_falls() {
        assert!(rate(0.0) > 0.0 && rate(0.05) < rate(0.1));
        assert!((rate(0.1) - LEARNING_RATE).abs() < 1e-12 && rate(1.0) < 1e-12);
    }
}
