//! How far translations are from the truth.

use gander_data::Dataset;
use gander_tensor::{DType, DeviceRef, Tensor, no_grad};

use crate::{
    error::Result,
    metrics::{Pair, PairScores, Score},
    models::translator::{Statistics, Translator},
    shipped::to_bytes,
};

/// Scores of the translations of `inputs` beside `truths`, the means over at most `num` pairs evenly spread: `l1_N`,
/// `psnr_N`, `ssim_N`, `sharpness_N`.
///
/// # Errors
/// What reading the images meets.
pub fn score(
    translator: &dyn Translator,
    [inputs, truths]: [&dyn Dataset; 2],
    num: usize,
    device: &DeviceRef,
) -> Result<Vec<Score>> {
    let shape = inputs.shape();
    let len = inputs.len().min(truths.len());
    let num = num.min(len);
    let (mut input, mut truth) = (vec![0; shape.bytes()], vec![0; shape.bytes()]);
    let mut scores = PairScores::default();
    for index in 0..num {
        let index = index * len / num;
        inputs.read(index, &mut input)?;
        truths.read(index, &mut truth)?;
        let sides = [1, shape.height_px, shape.width_px, shape.channels];
        let image = Tensor::from_bytes(&input, DType::U8, sides, device)?;
        let image = image.cast(DType::F32)?.mul_scalar(2.0 / 255.0)?.add_scalar(-1.0)?;
        let made = no_grad(|| translator.translate(&image, &Statistics::own()))?;
        scores.add(Pair {
            made: &to_bytes(&made.to_vec()?),
            truth: &truth,
            width_px: shape.width_px,
            channels: shape.channels,
        })?;
    }
    Ok(scores.finish())
}
