//! Bicubic resizing as Pillow has it for float images, which clean-fid calls for.

use gander_tensor::{Shape, Tensor, ops::resample::AxisMap};

use crate::error::Result;

/// Catmull-Rom's parameter, Pillow's.
const A: f64 = -0.5;
/// The kernel's reach in pixels, before it is widened.
const REACH: f64 = 2.0;

/// Images −1..=1 at `side`, then `(x − 128) / 128` of `x` in 0..=255, cut to that range.
pub(super) fn clean(images: &Tensor, side: usize) -> Result<Tensor> {
    // Pillow goes along rows first.
    let x = along(&along(images, 2, side)?, 1, side)?;
    let x = x.clamp(-1.0, 1.0)?;
    // x = 127.5 (v + 1)
    Ok(x.mul_scalar(127.5 / 128.0)?.add_scalar(-0.5 / 128.0)?)
}

fn along(x: &Tensor, axis: usize, side: usize) -> Result<Tensor> {
    if x.shape()[axis] == side {
        return Ok(x.clone());
    }
    let device = x.device();
    let y = device.map_axis(x.array(), axis, &bicubic(x.shape()[axis], side))?;
    let mut sides = x.shape().to_vec();
    sides[axis] = side;
    Ok(Tensor::from_array(y, device).reshape(Shape::from(sides))?)
}

/// Weights of each output: the cubic kernel, widened where the image shrinks, normalized at the edges.
fn bicubic(in_len: usize, out_len: usize) -> AxisMap {
    let scale = in_len as f64 / out_len as f64;
    let wide = scale.max(1.0);
    AxisMap::new(
        in_len,
        (0..out_len).map(|i| {
            let center = (i as f64 + 0.5) * scale;
            let first = (center - REACH * wide + 0.5).max(0.0) as usize;
            let last = ((center + REACH * wide + 0.5) as usize).min(in_len);
            let weight = |at: usize| cubic((at as f64 - center + 0.5) / wide);
            let total: f64 = (first..last).map(weight).sum();
            (first..last)
                .map(|at| (at as isize, (weight(at) / total) as f32))
                .collect()
        }),
    )
}

fn cubic(x: f64) -> f64 {
    let x = x.abs();
    if x < 1.0 {
        ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        (((x - 5.0) * x + 8.0) * x - 4.0) * A
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use gander_tensor::Reference;

    use super::*;

    /// `Image.fromarray(np.array([[0, 100, 50, 255]], "f"), mode="F").resize((n, 1), Image.BICUBIC)` of Pillow 13.0.0.
    #[test]
    fn rows_are_those_of_pillow() {
        let image = Tensor::from_slice(&[0.0, 100.0, 50.0, 255.0], [1, 1, 4, 1], &Reference::shared()).unwrap();
        for (side, expected) in [(PILLOW_6.len(), &PILLOW_6[..]), (PILLOW_3.len(), &PILLOW_3)] {
            let got = along(&image, 2, side).unwrap().to_vec().unwrap();
            for (got, expected) in got.iter().zip(expected) {
                assert!((got - expected).abs() < 1e-3, "{got} instead of {expected}");
            }
        }
    }

    const PILLOW_6: [f32; 6] = [-6.5789, 50.0000, 97.3958, 45.3125, 155.5882, 268.4868];
    const PILLOW_3: [f32; 3] = [27.5744, 71.3039, 201.476];
}
