//! Brightness, saturation and contrast.

use gander_tensor::{Result, Tensor, concat};

use super::{AugmentPolicy, Draws};

/// Images with changed colors; alpha stays.
pub(super) fn change(images: &Tensor, policy: AugmentPolicy, draws: Draws) -> Result<Tensor> {
    let brightness = amounts(draws, "brightness", policy.brightness);
    let saturation = amounts(draws, "saturation", policy.saturation);
    let contrast = amounts(draws, "contrast", policy.contrast);
    if [&brightness, &saturation, &contrast]
        .iter()
        .all(|amounts| amounts.is_none())
    {
        return Ok(images.clone());
    }
    let channels = images.side(-1);
    let num_colors = if channels.is_multiple_of(2) {
        channels - 1
    } else {
        channels
    };
    let mut colors = images.slice(-1, 0, num_colors)?;
    if let Some(amounts) = brightness {
        colors = colors.add(&per_image(&amounts, &colors)?)?;
    }
    if let Some(amounts) = saturation.filter(|_| num_colors > 1) {
        colors = stretch(&colors, &colors.mean_keep(&[-1])?, &amounts)?;
    }
    if let Some(amounts) = contrast {
        colors = stretch(&colors, &colors.mean_keep(&[1, 2, 3])?, &amounts)?;
    }
    if num_colors == channels {
        return Ok(colors);
    }
    concat(&[&colors, &images.slice(-1, num_colors, channels)?], -1)
}

/// A number in `−largest..largest` for each image, zero where the change is not made; `None` if it is made nowhere.
fn amounts(draws: Draws, change: &str, largest: f64) -> Option<Vec<f32>> {
    let amounts = draws.each(change, |key| ((2.0 * key.uniform() - 1.0) * largest) as f32);
    let made = largest > 0.0 && amounts.iter().any(Option::is_some);
    made.then(|| amounts.into_iter().map(Option::unwrap_or_default).collect())
}

fn per_image(values: &[f32], like: &Tensor) -> Result<Tensor> {
    Tensor::from_slice(values, [values.len(), 1, 1, 1], like.device())
}

/// `x + amount (x − center)`, which is exactly `x` where the amount is zero.
fn stretch(x: &Tensor, center: &Tensor, amounts: &[f32]) -> Result<Tensor> {
    x.add(&x.sub(center)?.mul(&per_image(amounts, x)?)?)
}
