//! Normalization by the statistics of a batch, an image, a group of channels or a position.

use crate::{
    Activation, Array, BatchStatistics, Call, Device, Error, NormGeometry, NormPass, Operation, Reads, Result, Shape,
    Tensor, apply, no_grad,
    ops::elementwise::{UnaryOp, require_float},
};

/// Settings of a normalization.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NormOptions {
    /// Added to the variance.
    pub eps: f32,
    /// What follows in the same pass.
    pub activation: Activation,
}

impl Default for NormOptions {
    fn default() -> Self {
        Self {
            eps: 1e-5,
            activation: Activation::Identity,
        }
    }
}

/// The plain reference of mean and biased variance: `x` seen as `[groups, rows, channels]`.
pub fn moments_reference(g: NormGeometry, x: &[f64]) -> (Vec<f64>, Vec<f64>) {
    let NormGeometry { groups, rows, channels } = g;
    let (mut means, mut variances) = (vec![0.0; groups * channels], vec![0.0; groups * channels]);
    for group in 0..groups {
        for c in 0..channels {
            let values = || (0..rows).map(|row| x[(group * rows + row) * channels + c]);
            let mean = values().sum::<f64>() / rows as f64;
            means[group * channels + c] = mean;
            variances[group * channels + c] = values().map(|v| (v - mean) * (v - mean)).sum::<f64>() / rows as f64;
        }
    }
    (means, variances)
}

/// Batch normalization with the batch's own statistics, then scale, shift and activation.
///
/// Returns the statistics too, for the running averages that sampling uses.
///
/// # Shapes
/// - `x`: `[…, channels]`; `affine`: scale and shift, both `[channels]`
/// - returns: `[…, channels]`
///
/// # Source
/// Ioffe & Szegedy 2015, <https://arxiv.org/abs/1502.03167>.
pub fn batch_norm(
    x: &Tensor,
    affine: Option<(&Tensor, &Tensor)>,
    options: NormOptions,
) -> Result<(Tensor, BatchStatistics)> {
    let channels = x.shape().channels();
    let rows = x.shape().num_elements() / channels.max(1);
    normalize(
        "batch_norm",
        x,
        NormGeometry {
            groups: 1,
            rows,
            channels,
        },
        affine,
        options,
    )
}

/// Instance normalization: each channel of each image by its own statistics.
///
/// # Shapes
/// - `x`: `[batch, spatial…, channels]`; `affine`: scale and shift, both `[channels]`
///
/// # Source
/// Ulyanov et al. 2016, <https://arxiv.org/abs/1607.08022>.
pub fn instance_norm(x: &Tensor, affine: Option<(&Tensor, &Tensor)>, options: NormOptions) -> Result<Tensor> {
    let (groups, channels) = (x.shape().batch("instance_norm")?, x.shape().channels());
    let rows = x.shape().num_elements() / (groups * channels).max(1);
    Ok(normalize(
        "instance_norm",
        x,
        NormGeometry { groups, rows, channels },
        affine,
        options,
    )?
    .0)
}

/// Group normalization: each group of channels of each image by its own statistics.
///
/// # Shapes
/// - `x`: `[batch, spatial…, channels]`, `groups` divides `channels`; `affine`: scale and shift, both `[channels]`
///
/// # Source
/// Wu & He 2018, <https://arxiv.org/abs/1803.08494>.
pub fn group_norm(
    x: &Tensor,
    groups: usize,
    affine: Option<(&Tensor, &Tensor)>,
    options: NormOptions,
) -> Result<Tensor> {
    let (batch, channels) = (x.shape().batch("group_norm")?, x.shape().channels());
    if groups == 0 || !channels.is_multiple_of(groups) {
        let value = format!("{groups} for {channels} channels");
        return Err(Error::InvalidArgument {
            op: "group_norm",
            argument: "groups",
            value,
        });
    }
    let pixels = x.shape().num_elements() / (batch * channels).max(1);
    let grouped = x.reshape([batch, pixels, groups, channels / groups])?;
    let y = standardize(&grouped, &[1, 3], options.eps)?.reshape(x.shape())?;
    finish(&y, affine, options.activation)
}

/// Layer normalization over the channels of each position.
///
/// # Shapes
/// - `x`: `[…, channels]`; `affine`: scale and shift, both `[channels]`
///
/// # Source
/// Ba et al. 2016, <https://arxiv.org/abs/1607.06450>.
pub fn layer_norm(x: &Tensor, affine: Option<(&Tensor, &Tensor)>, options: NormOptions) -> Result<Tensor> {
    finish(&standardize(x, &[-1], options.eps)?, affine, options.activation)
}

/// `(x − mean) / √(variance + eps)` over `axes`, in plain differentiable operations.
fn standardize(x: &Tensor, axes: &[isize], eps: f32) -> Result<Tensor> {
    let centered = x.sub(&x.mean_keep(axes)?)?;
    centered.div(&centered.square()?.mean_keep(axes)?.add_scalar(eps)?.sqrt()?)
}

fn finish(x: &Tensor, affine: Option<(&Tensor, &Tensor)>, activation: Activation) -> Result<Tensor> {
    let y = match affine {
        Some((scale, shift)) => x.mul(scale)?.add(shift)?,
        None => x.clone(),
    };
    activation.apply(&y)
}

fn normalize(
    name: &'static str,
    x: &Tensor,
    geometry: NormGeometry,
    affine: Option<(&Tensor, &Tensor)>,
    options: NormOptions,
) -> Result<(Tensor, BatchStatistics)> {
    for part in affine.iter().flat_map(|(scale, shift)| [scale, shift]) {
        if **part.shape() != [geometry.channels] {
            return Err(Error::ShapeMismatch {
                op: name,
                left: x.shape().clone(),
                right: part.shape().clone(),
            });
        }
    }
    require_float(name, &[x.array()])?;
    let device = x.device();
    let statistics = device.moments(geometry, x.array())?;
    let inv_std = no_grad(|| -> Result<Array> {
        let variance = Tensor::from_array(statistics.variance.clone(), device);
        Ok(variance.add_scalar(options.eps)?.sqrt()?.recip()?.into_array())
    })?;
    let operation = Normalize {
        name,
        geometry,
        options,
        mean: statistics.mean.clone(),
        inv_std,
    };
    let y = match affine {
        Some((scale, shift)) => apply(operation, &[x, scale, shift])?,
        None => apply(operation, &[x])?,
    };
    Ok((y, statistics))
}

/// The fused forward and backward passes; the statistics are a cache, not an operand.
#[derive(Debug)]
struct Normalize {
    name: &'static str,
    geometry: NormGeometry,
    options: NormOptions,
    mean: Array,
    inv_std: Array,
}

impl Operation for Normalize {
    fn name(&self) -> &'static str {
        self.name
    }

    fn attributes(&self) -> Vec<(&'static str, String)> {
        vec![
            ("eps", self.options.eps.to_string()),
            ("activation", format!("{:?}", self.options.activation)),
        ]
    }

    fn reads(&self) -> Reads {
        Reads {
            inputs: true,
            output: !self.options.activation.is_piecewise_linear(),
        }
    }

    fn forward(&self, device: &dyn Device, inputs: &[&Array]) -> Result<Array> {
        require_float(self.name(), inputs)?;
        let affine = (inputs.len() == 3).then(|| (inputs[1], inputs[2]));
        device.normalize(
            self.geometry,
            inputs[0],
            &self.mean,
            &self.inv_std,
            affine,
            self.options.activation,
        )
    }

    fn backward(&self, call: &Call<'_>, grad: &Tensor) -> Result<Vec<Option<Tensor>>> {
        let mut gradients = if call.create_graph || !self.options.activation.is_piecewise_linear() {
            self.plain_backward(call, grad)?
        } else {
            self.fused_backward(call, grad)?
        };
        gradients.truncate(call.inputs.len());
        Ok(gradients)
    }

    fn flops(&self, inputs: &[&Shape], _output: &Shape) -> u64 {
        8 * inputs[0].num_elements() as u64
    }
}

impl Normalize {
    fn fused_backward(&self, call: &Call<'_>, grad: &Tensor) -> Result<Vec<Option<Tensor>>> {
        let device = call.output.device();
        let pass = NormPass {
            x: call.inputs[0].array(),
            mean: &self.mean,
            inv_std: &self.inv_std,
            scale: call.inputs.get(1).map(Tensor::array),
            shift: call.inputs.get(2).map(Tensor::array),
            activation: self.options.activation,
        };
        let gradients = device.normalize_backward(self.geometry, grad.array(), &pass)?;
        Ok(gradients
            .into_iter()
            .map(|gradient| Some(Tensor::from_array(gradient, device)))
            .collect())
    }

    /// The same in differentiable operations:
    /// `dx = inv_std · (dx̂ − mean(dx̂) − x̂ · mean(dx̂ · x̂))` with `dx̂ = scale · grad`.
    fn plain_backward(&self, call: &Call<'_>, grad: &Tensor) -> Result<Vec<Option<Tensor>>> {
        let NormGeometry { groups, rows, channels } = self.geometry;
        let seen_as = |t: &Tensor| t.reshape([groups, rows, channels]);
        let x = seen_as(&call.inputs[0])?;
        let centered = x.sub(&x.mean_keep(&[1])?)?;
        let inv_std = centered
            .square()?
            .mean_keep(&[1])?
            .add_scalar(self.options.eps)?
            .sqrt()?
            .recip()?;
        let standardized = centered.mul(&inv_std)?;
        let activation = self.options.activation;
        let grad = if activation == Activation::Identity {
            seen_as(grad)?
        } else if activation.is_piecewise_linear() {
            let sum = match call.inputs {
                [_, scale, shift] => standardized.mul(scale)?.add(shift)?,
                _ => standardized.clone(),
            };
            activation.backward(&seen_as(grad)?, &sum)?
        } else {
            seen_as(&activation.backward(grad, call.output)?)?
        };
        let (dscale, dshift) = if call.inputs.len() == 3 {
            let shape = Shape::from([channels]);
            (
                Some(grad.mul(&standardized)?.sum_to(&shape)?),
                Some(grad.sum_to(&shape)?),
            )
        } else {
            (None, None)
        };
        let dx = call.want(0, || {
            let dx = if let Some(scale) = call.inputs.get(1) {
                grad.mul(scale)?
            } else {
                grad.clone()
            };
            let along = standardized.mul(&dx.mul(&standardized)?.mean_keep(&[1])?)?;
            dx.sub(&dx.mean_keep(&[1])?)?
                .sub(&along)?
                .mul(&inv_std)?
                .reshape(call.inputs[0].shape())
        })?;
        Ok(vec![dx, dscale, dshift])
    }
}

/// Normalization with given statistics: what sampling does with the running averages of training.
///
/// # Shapes
/// - `x`: `[…, channels]`; `mean`, `variance`, scale and shift: `[channels]`
pub fn normalize_with(
    x: &Tensor,
    mean: &Tensor,
    variance: &Tensor,
    affine: Option<(&Tensor, &Tensor)>,
    options: NormOptions,
) -> Result<Tensor> {
    let inv_std = variance.add_scalar(options.eps)?.sqrt()?.recip()?;
    let (scale, shift) = match affine {
        Some((scale, shift)) => {
            let scale = scale.mul(&inv_std)?;
            let shift = shift.sub(&mean.mul(&scale)?)?;
            (scale, shift)
        }
        None => (inv_std.clone(), mean.mul(&inv_std)?.neg()?),
    };
    finish(x, Some((&scale, &shift)), options.activation)
}

/// The plain reference of the whole normalization.
pub fn reference(
    g: NormGeometry,
    x: &[f64],
    (mean, inv_std): (&[f64], &[f64]),
    affine: Option<(&[f64], &[f64])>,
    activation: Option<UnaryOp>,
) -> Vec<f64> {
    x.iter()
        .enumerate()
        .map(|(i, &value)| {
            let c = i % g.channels;
            let at = i / (g.rows * g.channels) * g.channels + c;
            let standardized = (value - mean[at]) * inv_std[at];
            let y = affine.map_or(standardized, |(scale, shift)| scale[c] * standardized + shift[c]);
            activation.map_or(y, |op| op.reference(y))
        })
        .collect()
}
