//! How wide the networks of a translator are worth making for the time there is.

use gander_tensor::{Cpu, RandomKey, Tensor, trace};

use crate::{
    error::Result,
    models::{ModelConfig, patches::PatchDiscriminator, translator::Statistics},
    train::defaults::MINUTES,
};

/// The most operations for an image of a run of three minutes: a few dozen images a second on two cores. It grows with
/// the root of the time: half of a longer time goes into more images, half into wider networks.
const OPERATIONS_PER_IMAGE: f64 = 4e9;

/// The narrowest networks, and by how much they differ.
const WIDTH_STEP: usize = 8;
const NARROWEST: usize = 16;

/// Makes the networks as wide as the time is worth, and never wider than the paper's.
pub(crate) fn fit(model: &mut ModelConfig, minutes: f64) -> Result<()> {
    let affordable = OPERATIONS_PER_IMAGE * (minutes / MINUTES).sqrt();
    // The paper's nine blocks are for 256 px.
    if let ModelConfig::Cut(config) | ModelConfig::Fastcut(config) = model
        && config.images.height_px.min(config.images.width_px) < 256
    {
        config.blocks = config.blocks.min(6);
    }
    while width(model).is_some_and(|width| *width > NARROWEST) && operations_per_image(model)? > affordable {
        if let Some(width) = width(model) {
            *width -= WIDTH_STEP;
        }
    }
    Ok(())
}

fn width(model: &mut ModelConfig) -> Option<&mut usize> {
    match model {
        ModelConfig::Pix2pix(config) => Some(&mut config.width),
        ModelConfig::Cyclegan(config) => Some(&mut config.width),
        ModelConfig::Cut(config) | ModelConfig::Fastcut(config) => Some(&mut config.width),
        _ => None,
    }
}

/// Operations of one step for each image of the first set, by the direct algorithms.
///
/// A backward pass for data costs a forward pass, that for weights another.
fn operations_per_image(model: &ModelConfig) -> Result<f64> {
    let (device, key) = (Cpu::shared(), RandomKey::from_seed(0));
    let images = model.images();
    let zeros = |channels| Tensor::zeros([1, images.height_px, images.width_px, channels], &device);
    let to_b = model.translators(key, &device)?.to_b;
    let (made, translating) = trace(|| to_b.translate(&zeros(images.channels)?, &Statistics::own()))?;
    let judge: PatchDiscriminator = match model {
        ModelConfig::Pix2pix(config) => config.discriminator(key, &device)?,
        ModelConfig::Cyclegan(config) => config.discriminator(key, &device)?,
        ModelConfig::Cut(config) | ModelConfig::Fastcut(config) => config.discriminator(key, &device)?,
        _ => return Ok(0.0),
    };
    let seen = match model {
        ModelConfig::Pix2pix(_) => zeros(2 * images.channels)?,
        _ => made,
    };
    let (_, judging) = trace(|| judge.forward(&seen))?;
    // How often each of both runs forward and back, in forward passes: three for what learns from a pass, two for a
    // judge that only passes the slope on.
    let (translations, judgements) = match model {
        // There, back and to itself, both ways; real and fake learn, a fake passes on, both ways.
        ModelConfig::Cyclegan(_) => (18, 16),
        // Two images there, and half of the way again for their features.
        ModelConfig::Cut(_) => (9, 8),
        ModelConfig::Fastcut(_) => (5, 8),
        _ => (3, 8),
    };
    Ok((translations * translating.flops() + judgements * judging.flops()) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{models::ImageSpec, train::defaults};

    fn fitted(family: &str, minutes: f64) -> usize {
        let images = ImageSpec {
            height_px: 64,
            width_px: 64,
            channels: 3,
            num_classes: 0,
        };
        let (mut model, _) = defaults::for_family(family, images).unwrap();
        fit(&mut model, minutes).unwrap();
        model.validate().unwrap();
        *width(&mut model).unwrap()
    }

    #[test]
    fn more_time_makes_wider_networks_up_to_the_papers() {
        for family in ["pix2pix", "cyclegan", "cut", "fastcut"] {
            let widths = [3.0, 60.0, 10_000.0].map(|minutes| fitted(family, minutes));
            assert!(widths[0] >= NARROWEST && widths[0] <= widths[1], "{family}: {widths:?}");
            assert_eq!(widths[2], 64, "{family}");
        }
    }
}
