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
    let NormGeometry {
        groups, rows, channels, ..
    } = g;
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
/// - `x`: `[…, channels]`; `affine`: scale and shift, both `[channels]`, or `[batch, channels]` where each image has its own
/// - returns: `[…, channels]`
///
/// # Source
/// Ioffe & Szegedy 2015, <https://arxiv.org/abs/1502.03167>.
pub fn batch_norm(
    x: &Tensor,
    affine: Option<(&Tensor, &Tensor)>,
    options: NormOptions,
) -> Result<(Tensor, BatchStatistics)> {
    let geometry = geometry("batch_norm", x, 1, affine)?;
    normalize("batch_norm", x, geometry, affine, options)
}

/// Instance normalization: each channel of each image by its own statistics.
///
/// # Shapes
/// - `x`: `[batch, spatial…, channels]`; `affine`: scale and shift, both `[channels]` or `[batch, channels]`
///
/// # Source
/// Ulyanov et al. 2016, <https://arxiv.org/abs/1607.08022>.
pub fn instance_norm(x: &Tensor, affine: Option<(&Tensor, &Tensor)>, options: NormOptions) -> Result<Tensor> {
    let geometry = geometry("instance_norm", x, x.shape().batch("instance_norm")?, affine)?;
    Ok(normalize("instance_norm", x, geometry, affine, options)?.0)
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

/// `x` in groups, with one scale and shift for all or one for each image.
fn geometry(op: &'static str, x: &Tensor, groups: usize, affine: Option<(&Tensor, &Tensor)>) -> Result<NormGeometry> {
    let channels = x.shape().channels();
    let maps = match affine {
        Some((scale, _)) if scale.shape().rank() == 2 => x.shape().batch(op)?,
        _ => 1,
    };
    for part in affine.iter().flat_map(|(scale, shift)| [scale, shift]) {
        let is_of_all = maps == 1 && **part.shape() == [channels];
        if !is_of_all && **part.shape() != [maps, channels] {
            return Err(Error::ShapeMismatch {
                op,
                left: x.shape().clone(),
                right: part.shape().clone(),
            });
        }
    }
    Ok(NormGeometry {
        groups,
        rows: x.shape().num_elements() / (groups * channels).max(1),
        channels,
        maps,
    })
}

fn normalize(
    name: &'static str,
    x: &Tensor,
    geometry: NormGeometry,
    affine: Option<(&Tensor, &Tensor)>,
    options: NormOptions,
) -> Result<(Tensor, BatchStatistics)> {
    require_float(name, &[x.array()])?;
    let statistics = x.device().moments(geometry, x.array())?;
    let operation = Normalize {
        name,
        geometry,
        options,
        mean: statistics.mean.clone(),
        inv_std: inv_std(&Tensor::from_array(statistics.variance.clone(), x.device()), options)?,
        are_given: false,
    };
    Ok((operation.of(x, affine)?, statistics))
}

fn inv_std(variance: &Tensor, options: NormOptions) -> Result<Array> {
    no_grad(|| Ok(variance.add_scalar(options.eps)?.sqrt()?.recip()?.into_array()))
}

/// The fused forward and backward passes. The statistics are no operands: a cache, or given and constant.
#[derive(Debug)]
struct Normalize {
    name: &'static str,
    geometry: NormGeometry,
    options: NormOptions,
    mean: Array,
    inv_std: Array,
    /// Whether the statistics are not those of the operand.
    are_given: bool,
}

impl Normalize {
    fn of(self, x: &Tensor, affine: Option<(&Tensor, &Tensor)>) -> Result<Tensor> {
        match affine {
            Some((scale, shift)) => apply(self, &[x, scale, shift]),
            None => apply(self, &[x]),
        }
    }
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
        let is_fused = !self.are_given && self.options.activation.is_piecewise_linear();
        if call.create_graph || !is_fused {
            self.plain_backward(call, grad)
        } else {
            self.fused_backward(call, grad)
        }
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
        let gradients = gradients.map(|gradient| Tensor::from_array(gradient, device));
        // A map for all data is `[channels]`, while that of the one image of a batch is `[1, channels]`.
        let shaped = call.inputs.iter().zip(gradients);
        shaped
            .map(|(input, gradient)| gradient.reshape(input.shape()).map(Some))
            .collect()
    }

    /// The same in differentiable operations:
    /// `dx = inv_std · (dx̂ − mean(dx̂) − x̂ · mean(dx̂ · x̂))` with `dx̂ = scale · grad`.
    fn plain_backward(&self, call: &Call<'_>, grad: &Tensor) -> Result<Vec<Option<Tensor>>> {
        let NormGeometry {
            groups, channels, maps, ..
        } = self.geometry;
        let parts = self.geometry.parts() / groups.max(1);
        let seen_as = |t: &Tensor| t.reshape([groups, parts, self.geometry.rows_of_part(), channels]);
        let by_map = match maps {
            1 => Shape::from([channels]),
            _ => Shape::from([groups, parts, 1, channels]),
        };
        let maps = call.inputs[1..].iter().map(|map| map.reshape(&by_map));
        let maps = maps.collect::<Result<Vec<_>>>()?;
        let x = seen_as(&call.inputs[0])?;
        let (mean, inv_std) = self.statistics_of(&x)?;
        let standardized = x.sub(&mean)?.mul(&inv_std)?;
        let activation = self.options.activation;
        let grad = if activation == Activation::Identity {
            seen_as(grad)?
        } else if activation.is_piecewise_linear() {
            let sum = match &maps[..] {
                [scale, shift] => standardized.mul(scale)?.add(shift)?,
                _ => standardized.clone(),
            };
            activation.backward(&seen_as(grad)?, &sum)?
        } else {
            seen_as(&activation.backward(grad, call.output)?)?
        };
        let dx = call.want(0, || {
            let scaled = match maps.first() {
                Some(scale) => grad.mul(scale)?,
                None => grad.clone(),
            };
            let dx = if self.are_given {
                scaled
            } else {
                let along = standardized.mul(&scaled.mul(&standardized)?.mean_keep(&[1, 2])?)?;
                scaled.sub(&scaled.mean_keep(&[1, 2])?)?.sub(&along)?
            };
            dx.mul(&inv_std)?.reshape(call.inputs[0].shape())
        })?;
        let Some(map) = call.inputs.get(1) else {
            return Ok(vec![dx]);
        };
        let of_map = |by_value: &Tensor| by_value.sum_to(&by_map)?.reshape(map.shape());
        let dscale = call.want(1, || of_map(&grad.mul(&standardized)?))?;
        let dshift = call.want(2, || of_map(&grad))?;
        Ok(vec![dx, dscale, dshift])
    }

    /// Mean and reciprocal standard deviation, in differentiable operations where they are the operand's own.
    ///
    /// # Shapes
    /// - `x`: `[groups, parts, rows, channels]`
    /// - returns: `[groups, 1, 1, channels]` both
    fn statistics_of(&self, x: &Tensor) -> Result<(Tensor, Tensor)> {
        if self.are_given {
            let shape = [x.side(0), 1, 1, x.side(-1)];
            let known = |array: &Array| Tensor::from_array(array.clone(), x.device()).reshape(shape);
            return Ok((known(&self.mean)?, known(&self.inv_std)?));
        }
        let mean = x.mean_keep(&[1, 2])?;
        let variance = x.sub(&mean)?.square()?.mean_keep(&[1, 2])?;
        Ok((mean, variance.add_scalar(self.options.eps)?.sqrt()?.recip()?))
    }
}

/// Normalization with given statistics, which are constants: what sampling does with the running averages of training.
///
/// # Shapes
/// - `x`: `[…, channels]`; `mean`, `variance`: `[channels]`; scale and shift: `[channels]` or `[batch, channels]`
pub fn normalize_with(
    x: &Tensor,
    mean: &Tensor,
    variance: &Tensor,
    affine: Option<(&Tensor, &Tensor)>,
    options: NormOptions,
) -> Result<Tensor> {
    let name = "normalize_with";
    let geometry = geometry(name, x, 1, affine)?;
    for statistic in [mean, variance] {
        if **statistic.shape() != [geometry.channels] {
            return Err(Error::ShapeMismatch {
                op: name,
                left: x.shape().clone(),
                right: statistic.shape().clone(),
            });
        }
    }
    let operation = Normalize {
        name,
        geometry,
        options,
        mean: mean.array().clone(),
        inv_std: inv_std(variance, options)?,
        are_given: true,
    };
    operation.of(x, affine)
}

/// Where the mean, and where the scale and the shift of a value lie.
pub(crate) fn of_value(g: NormGeometry, i: usize) -> [usize; 2] {
    let part = i / (g.rows_of_part() * g.channels);
    g.of_part(part).map(|row| row * g.channels + i % g.channels)
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
            let [at, map_at] = of_value(g, i);
            let standardized = (value - mean[at]) * inv_std[at];
            let y = affine.map_or(standardized, |(scale, shift)| {
                scale[map_at] * standardized + shift[map_at]
            });
            activation.map_or(y, |op| op.reference(y))
        })
        .collect()
}
