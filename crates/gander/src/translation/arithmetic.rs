//! What a step of a family that translates costs.

use gander_tensor::{Cpu, RandomKey, Tensor, trace};

use crate::{
    error::Result,
    models::{
        ModelConfig,
        translator::{Judge, Statistics},
    },
};

/// Operations of one step for each image of the first set, by the direct algorithms.
///
/// A backward pass for data costs a forward pass, that for weights another.
pub(crate) fn operations_per_image(model: &ModelConfig) -> Result<f64> {
    let (device, key) = (Cpu::shared(), RandomKey::from_seed(0));
    let images = model.images();
    let zeros = |channels| Tensor::zeros([1, images.height_px, images.width_px, channels], &device);
    let to_b = model.translators(key, &device)?.to_b;
    let (made, translating) = trace(|| to_b.translate(&zeros(images.channels)?, &Statistics::own()))?;
    let judge: Box<dyn Judge> = match model {
        ModelConfig::Pix2pix(config) => Box::new(config.discriminator(key, &device)?),
        ModelConfig::Cyclegan(config) => Box::new(config.discriminator(key, &device)?),
        ModelConfig::Cut(config) | ModelConfig::Fastcut(config) => Box::new(config.discriminator(key, &device)?),
        ModelConfig::Sincut(config) => Box::new(config.discriminator(key, &device)?),
        _ => return Ok(0.0),
    };
    let seen = match model {
        ModelConfig::Pix2pix(_) => zeros(2 * images.channels)?,
        _ => made,
    };
    let (_, judging) = trace(|| judge.judge(&seen))?;
    // How often each of both runs forward and back, in forward passes: three for what learns from a pass, two for a
    // judge that only passes the slope on.
    let (translations, judgements) = match model {
        // There, back and to itself, both ways; real and fake learn, a fake passes on, both ways.
        ModelConfig::Cyclegan(_) => (18, 16),
        // Two images there, and half of the way again for their features.
        ModelConfig::Cut(_) => (9, 8),
        ModelConfig::Fastcut(_) => (5, 8),
        // As CUT, and the slope at real images with its gradient.
        ModelConfig::Sincut(_) => (9, 13),
        _ => (3, 8),
    };
    Ok((translations * translating.flops() + judgements * judging.flops()) as f64)
}
