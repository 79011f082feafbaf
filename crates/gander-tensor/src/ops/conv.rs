//! Convolution over one, two or three spatial axes, and the two gradients that close it under differentiation.
//!
//! Write `C(x, w)` for the convolution. It is linear in both operands; call the two adjoints `I(dy, w)` (for the input)
//! and `W(x, dy)` (for the weight). Then every gradient of every one of the three is again one of the three:
//!
//! | | with respect to the first | to the second |
//! |---|---|---|
//! | `C(x, w)` | `I(g, w)` | `W(x, g)` |
//! | `I(dy, w)` | `C(g, w)` | `W(g, dy)` |
//! | `W(x, dy)` | `I(dy, g)` | `C(x, g)` |

use crate::{Activation, Array, Call, Device, Error, Operation, Reads, Result, Shape, Tensor, apply, autograd::only};

/// The complete geometry of a convolution, with shorter spatial ranks led by axes of size one.
///
/// Layouts: input `[batch, depth, height, width, in_channels]`, weight
/// `[kd, kh, kw, in_channels / groups, out_channels]`, output `[batch, od, oh, ow, out_channels]`.
/// Output channel `o` belongs to group `o / (out_channels / groups)`.
/// `output[p] = Σ_k input[p · stride + k · dilation − padding] · weight[k]`, zero outside the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ConvGeometry {
    /// Number of images.
    pub batch: usize,
    /// Input sides: depth, height, width.
    pub input: [usize; 3],
    /// Output sides.
    pub output: [usize; 3],
    /// Kernel sides.
    pub kernel: [usize; 3],
    /// Step between neighboring outputs, in input positions.
    pub stride: [usize; 3],
    /// Distance between neighboring taps, in input positions.
    pub dilation: [usize; 3],
    /// Zeros before the first input position (those after follow from `output`).
    pub padding: [usize; 3],
    /// Channels of the input.
    pub in_channels: usize,
    /// Channels of the output.
    pub out_channels: usize,
    /// Number of groups that do not see each other.
    pub groups: usize,
}

impl ConvGeometry {
    /// Number of input values.
    pub fn input_len(&self) -> usize {
        self.batch * self.input.iter().product::<usize>() * self.in_channels
    }

    /// Number of output values.
    pub fn output_len(&self) -> usize {
        self.batch * self.output.iter().product::<usize>() * self.out_channels
    }

    /// Number of weights.
    pub fn weight_len(&self) -> usize {
        self.kernel.iter().product::<usize>() * self.in_channels / self.groups * self.out_channels
    }

    /// Multiplications and additions of the direct algorithm, padding counted as data.
    pub fn flops(&self) -> u64 {
        let taps = self.kernel.iter().product::<usize>() * self.in_channels / self.groups;
        2 * self.output_len() as u64 * taps as u64
    }

    /// Calls `visit(input index, weight index, output index)` for each product of the convolution: the whole reference.
    pub fn for_each_product(&self, mut visit: impl FnMut(usize, usize, usize)) {
        let (ci, co) = (self.in_channels / self.groups, self.out_channels / self.groups);
        for n in 0..self.batch {
            for o in positions(self.output) {
                for k in positions(self.kernel) {
                    let at: [isize; 3] = std::array::from_fn(|a| {
                        (o[a] * self.stride[a] + k[a] * self.dilation[a]) as isize - self.padding[a] as isize
                    });
                    if (0..3).any(|a| at[a] < 0 || at[a] >= self.input[a] as isize) {
                        continue;
                    }
                    let x = flat(n, at.map(|p| p as usize), self.input) * self.in_channels;
                    let w = flat(0, k, self.kernel) * ci * self.out_channels;
                    let y = flat(n, o, self.output) * self.out_channels;
                    for out in 0..self.out_channels {
                        for c in 0..ci {
                            visit(x + out / co * ci + c, w + c * self.out_channels + out, y + out);
                        }
                    }
                }
            }
        }
    }
}

fn positions(sides: [usize; 3]) -> impl Iterator<Item = [usize; 3]> {
    let [depth, height, width] = sides;
    (0..depth).flat_map(move |z| (0..height).flat_map(move |y| (0..width).map(move |x| [z, y, x])))
}

fn flat(n: usize, at: [usize; 3], sides: [usize; 3]) -> usize {
    ((n * sides[0] + at[0]) * sides[1] + at[1]) * sides[2] + at[2]
}

/// The plain reference of the convolution.
pub fn reference(g: &ConvGeometry, x: &[f64], w: &[f64]) -> Vec<f64> {
    let mut y = vec![0.0; g.output_len()];
    g.for_each_product(|i, k, o| y[o] += x[i] * w[k]);
    y
}

/// The plain reference of its gradient for the input.
pub fn input_grad_reference(g: &ConvGeometry, dy: &[f64], w: &[f64]) -> Vec<f64> {
    let mut dx = vec![0.0; g.input_len()];
    g.for_each_product(|i, k, o| dx[i] += dy[o] * w[k]);
    dx
}

/// The plain reference of its gradient for the weight.
pub fn weight_grad_reference(g: &ConvGeometry, x: &[f64], dy: &[f64]) -> Vec<f64> {
    let mut dw = vec![0.0; g.weight_len()];
    g.for_each_product(|i, k, o| dw[k] += x[i] * dy[o]);
    dw
}

/// Settings of a convolution, the same for every spatial axis.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ConvOptions {
    /// Step between neighboring outputs.
    pub stride: usize,
    /// Zeros around the input.
    pub padding: usize,
    /// Distance between neighboring taps.
    pub dilation: usize,
    /// Groups of channels that do not see each other.
    pub groups: usize,
    /// Only for the transposed convolution: extra positions at the end of each spatial axis, below `stride`.
    pub output_padding: usize,
    /// What follows in the same pass.
    pub activation: Activation,
}

impl Default for ConvOptions {
    fn default() -> Self {
        Self {
            stride: 1,
            padding: 0,
            dilation: 1,
            groups: 1,
            output_padding: 0,
            activation: Activation::Identity,
        }
    }
}

/// Three spatial sides from one, two or three, led by ones.
fn three(sides: &[usize], fill: usize) -> [usize; 3] {
    let mut all = [fill; 3];
    all[3 - sides.len()..].copy_from_slice(sides);
    all
}

/// A convolution over one, two or three spatial axes.
///
/// # Shapes
/// - `x`: `[batch, spatial…, in]`
/// - `weight`: `[kernel…, in / groups, out]`
/// - `bias`: `[out]`
/// - returns: `[batch, spatial…, out]`, each side `(side + 2·padding − dilation·(kernel − 1) − 1) / stride + 1`
pub fn conv(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>, options: ConvOptions) -> Result<Tensor> {
    let op = "conv";
    let spatial = check_operands(op, x, weight, options)?;
    let (in_channels, out_channels) = (x.shape().channels(), weight.shape().channels());
    let group_channels = weight.side(-2);
    if in_channels != group_channels * options.groups || !out_channels.is_multiple_of(options.groups) {
        return Err(Error::ShapeMismatch {
            op,
            left: x.shape().clone(),
            right: weight.shape().clone(),
        });
    }
    let kernel = &weight.shape()[..spatial];
    let mut sides = Vec::with_capacity(spatial);
    for (&side, &k) in x.shape()[1..=spatial].iter().zip(kernel) {
        let reach = options.dilation * (k - 1) + 1;
        let Some(room) = (side + 2 * options.padding).checked_sub(reach) else {
            let expected = format!("sides of at least {reach} with padding {}", options.padding);
            return Err(Error::InvalidShape {
                op,
                expected,
                got: x.shape().clone(),
            });
        };
        sides.push(room / options.stride + 1);
    }
    let geometry = ConvGeometry {
        batch: x.side(0),
        input: three(&x.shape()[1..=spatial], 1),
        output: three(&sides, 1),
        kernel: three(kernel, 1),
        stride: three(&vec![options.stride; spatial], 1),
        dilation: three(&vec![options.dilation; spatial], 1),
        padding: three(&vec![options.padding; spatial], 0),
        in_channels,
        out_channels,
        groups: options.groups,
    };
    let shapes = Shapes {
        input: x.shape().clone(),
        weight: weight.shape().clone(),
        output: [&[x.side(0)], sides.as_slice(), &[out_channels]].concat().into(),
    };
    check_bias(op, bias, out_channels)?;
    apply_with_bias(
        Conv {
            geometry,
            shapes,
            activation: options.activation,
        },
        x,
        weight,
        bias,
    )
}

/// A transposed convolution: the gradient of a convolution, used as a layer that makes images larger.
///
/// # Shapes
/// - `x`: `[batch, spatial…, in]`
/// - `weight`: `[kernel…, out / groups, in]`, the weight of the convolution whose gradient this is
/// - `bias`: `[out]`
/// - returns: `[batch, spatial…, out]`, each side
///   `(side − 1)·stride − 2·padding + dilation·(kernel − 1) + output_padding + 1`
pub fn conv_transpose(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>, options: ConvOptions) -> Result<Tensor> {
    let op = "conv_transpose";
    let spatial = check_operands(op, x, weight, options)?;
    let (in_channels, out_channels) = (weight.side(-2) * options.groups, weight.shape().channels());
    if x.shape().channels() != out_channels || !out_channels.is_multiple_of(options.groups) {
        return Err(Error::ShapeMismatch {
            op,
            left: x.shape().clone(),
            right: weight.shape().clone(),
        });
    }
    if options.output_padding >= options.stride.max(options.dilation) {
        let value = options.output_padding.to_string();
        return Err(Error::InvalidArgument {
            op,
            argument: "output_padding",
            value,
        });
    }
    let kernel = &weight.shape()[..spatial];
    let mut sides = Vec::with_capacity(spatial);
    for (&side, &k) in x.shape()[1..=spatial].iter().zip(kernel) {
        let full = side.saturating_sub(1) * options.stride + options.dilation * (k - 1) + options.output_padding + 1;
        let Some(side) = full.checked_sub(2 * options.padding).filter(|&side| side > 0) else {
            let expected = format!("sides that leave something after padding {}", options.padding);
            return Err(Error::InvalidShape {
                op,
                expected,
                got: x.shape().clone(),
            });
        };
        sides.push(side);
    }
    let geometry = ConvGeometry {
        batch: x.side(0),
        input: three(&sides, 1),
        output: three(&x.shape()[1..=spatial], 1),
        kernel: three(kernel, 1),
        stride: three(&vec![options.stride; spatial], 1),
        dilation: three(&vec![options.dilation; spatial], 1),
        padding: three(&vec![options.padding; spatial], 0),
        in_channels,
        out_channels,
        groups: options.groups,
    };
    let shapes = Shapes {
        input: [&[x.side(0)], sides.as_slice(), &[in_channels]].concat().into(),
        weight: weight.shape().clone(),
        output: x.shape().clone(),
    };
    check_bias(op, bias, in_channels)?;
    apply_with_bias(
        ConvInputGrad {
            geometry,
            shapes,
            activation: options.activation,
        },
        x,
        weight,
        bias,
    )
}

fn check_operands(op: &'static str, x: &Tensor, weight: &Tensor, options: ConvOptions) -> Result<usize> {
    let rank = x.shape().rank();
    if !(3..=5).contains(&rank) || weight.shape().rank() != rank {
        return Err(Error::ShapeMismatch {
            op,
            left: x.shape().clone(),
            right: weight.shape().clone(),
        });
    }
    for (argument, value) in [
        ("stride", options.stride),
        ("dilation", options.dilation),
        ("groups", options.groups),
    ] {
        if value == 0 {
            return Err(Error::InvalidArgument {
                op,
                argument,
                value: "0".into(),
            });
        }
    }
    if weight.shape().contains(&0) {
        return Err(Error::InvalidShape {
            op,
            expected: "a weight".into(),
            got: weight.shape().clone(),
        });
    }
    Ok(rank - 2)
}

fn check_bias(op: &'static str, bias: Option<&Tensor>, channels: usize) -> Result<()> {
    match bias {
        Some(bias) if **bias.shape() != [channels] => {
            let expected = format!("a bias of shape [{channels}]");
            Err(Error::InvalidShape {
                op,
                expected,
                got: bias.shape().clone(),
            })
        }
        _ => Ok(()),
    }
}

fn apply_with_bias(operation: impl Operation, x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    match bias {
        Some(bias) => apply(operation, &[x, weight, bias]),
        None => apply(operation, &[x, weight]),
    }
}

/// The shapes with their own number of spatial axes.
#[derive(Debug, Clone)]
struct Shapes {
    input: Shape,
    weight: Shape,
    output: Shape,
}

impl Shapes {
    fn attributes(geometry: &ConvGeometry, activation: Activation) -> Vec<(&'static str, String)> {
        vec![
            ("kernel", format!("{:?}", geometry.kernel)),
            ("stride", format!("{:?}", geometry.stride)),
            ("padding", format!("{:?}", geometry.padding)),
            ("dilation", format!("{:?}", geometry.dilation)),
            ("groups", geometry.groups.to_string()),
            ("activation", format!("{activation:?}")),
        ]
    }
}

#[derive(Debug)]
struct Conv {
    geometry: ConvGeometry,
    shapes: Shapes,
    activation: Activation,
}

#[derive(Debug)]
struct ConvInputGrad {
    geometry: ConvGeometry,
    shapes: Shapes,
    activation: Activation,
}

#[derive(Debug)]
struct ConvWeightGrad {
    geometry: ConvGeometry,
    shapes: Shapes,
}

fn plain_conv(geometry: ConvGeometry, shapes: &Shapes, x: &Tensor, w: &Tensor) -> Result<Tensor> {
    apply(
        Conv {
            geometry,
            shapes: shapes.clone(),
            activation: Activation::Identity,
        },
        &[x, w],
    )
}

fn input_grad(geometry: ConvGeometry, shapes: &Shapes, dy: &Tensor, w: &Tensor) -> Result<Tensor> {
    apply(
        ConvInputGrad {
            geometry,
            shapes: shapes.clone(),
            activation: Activation::Identity,
        },
        &[dy, w],
    )
}

fn weight_grad(geometry: ConvGeometry, shapes: &Shapes, x: &Tensor, dy: &Tensor) -> Result<Tensor> {
    apply(
        ConvWeightGrad {
            geometry,
            shapes: shapes.clone(),
        },
        &[x, dy],
    )
}

/// The sum over everything but channels: a bias gradient.
pub(crate) fn sum_to_channels(grad: &Tensor) -> Result<Tensor> {
    grad.sum_to(&[grad.shape().channels()].into())
}

impl Operation for Conv {
    fn name(&self) -> &'static str {
        "conv"
    }

    fn attributes(&self) -> Vec<(&'static str, String)> {
        Shapes::attributes(&self.geometry, self.activation)
    }

    fn reads(&self) -> Reads {
        Reads {
            inputs: true,
            output: self.activation != Activation::Identity,
        }
    }

    fn forward(&self, device: &dyn Device, inputs: &[&Array]) -> Result<Array> {
        let y = device.conv(
            &self.geometry,
            inputs[0],
            inputs[1],
            inputs.get(2).copied(),
            self.activation,
        )?;
        Ok(y.reshaped(self.shapes.output.clone()))
    }

    fn is_piecewise_linear(&self, varies: &[bool]) -> bool {
        self.activation.is_piecewise_linear() && varies[0] && !varies[1..].contains(&true)
    }

    fn tangent(&self, call: &Call<'_>, changes: &[Option<Tensor>]) -> Result<Tensor> {
        let change = only(changes, self.name())?;
        let sum = plain_conv(self.geometry, &self.shapes, change, &call.inputs[1])?;
        self.activation.backward(&sum, call.output)
    }

    fn backward(&self, call: &Call<'_>, grad: &Tensor) -> Result<Vec<Option<Tensor>>> {
        let (x, w) = (&call.inputs[0], &call.inputs[1]);
        let grad = self.activation.backward(grad, call.output)?;
        let mut gradients = vec![
            call.want(0, || input_grad(self.geometry, &self.shapes, &grad, w))?,
            call.want(1, || weight_grad(self.geometry, &self.shapes, x, &grad))?,
        ];
        if call.inputs.len() == 3 {
            gradients.push(call.want(2, || sum_to_channels(&grad))?);
        }
        Ok(gradients)
    }

    fn flops(&self, _inputs: &[&Shape], _output: &Shape) -> u64 {
        self.geometry.flops()
    }
}

impl Operation for ConvInputGrad {
    fn name(&self) -> &'static str {
        "conv_transpose"
    }

    fn attributes(&self) -> Vec<(&'static str, String)> {
        Shapes::attributes(&self.geometry, self.activation)
    }

    fn reads(&self) -> Reads {
        Reads {
            inputs: true,
            output: self.activation != Activation::Identity,
        }
    }

    fn forward(&self, device: &dyn Device, inputs: &[&Array]) -> Result<Array> {
        let bias = inputs.get(2).copied();
        let dx = device.conv_input_grad(&self.geometry, inputs[0], inputs[1], bias, self.activation)?;
        Ok(dx.reshaped(self.shapes.input.clone()))
    }

    fn is_piecewise_linear(&self, varies: &[bool]) -> bool {
        self.activation.is_piecewise_linear() && varies[0] && !varies[1..].contains(&true)
    }

    fn tangent(&self, call: &Call<'_>, changes: &[Option<Tensor>]) -> Result<Tensor> {
        let change = only(changes, self.name())?;
        let sum = input_grad(self.geometry, &self.shapes, change, &call.inputs[1])?;
        self.activation.backward(&sum, call.output)
    }

    fn backward(&self, call: &Call<'_>, grad: &Tensor) -> Result<Vec<Option<Tensor>>> {
        let (dy, w) = (&call.inputs[0], &call.inputs[1]);
        let grad = self.activation.backward(grad, call.output)?;
        let mut gradients = vec![
            call.want(0, || plain_conv(self.geometry, &self.shapes, &grad, w))?,
            call.want(1, || weight_grad(self.geometry, &self.shapes, &grad, dy))?,
        ];
        if call.inputs.len() == 3 {
            gradients.push(call.want(2, || sum_to_channels(&grad))?);
        }
        Ok(gradients)
    }

    fn flops(&self, _inputs: &[&Shape], _output: &Shape) -> u64 {
        self.geometry.flops()
    }
}

impl Operation for ConvWeightGrad {
    fn name(&self) -> &'static str {
        "conv_weight_grad"
    }

    fn attributes(&self) -> Vec<(&'static str, String)> {
        Shapes::attributes(&self.geometry, Activation::Identity)
    }

    fn forward(&self, device: &dyn Device, inputs: &[&Array]) -> Result<Array> {
        Ok(device
            .conv_weight_grad(&self.geometry, inputs[0], inputs[1])?
            .reshaped(self.shapes.weight.clone()))
    }

    fn backward(&self, call: &Call<'_>, grad: &Tensor) -> Result<Vec<Option<Tensor>>> {
        let (x, dy) = (&call.inputs[0], &call.inputs[1]);
        Ok(vec![
            call.want(0, || input_grad(self.geometry, &self.shapes, dy, grad))?,
            call.want(1, || plain_conv(self.geometry, &self.shapes, x, grad))?,
        ])
    }

    fn flops(&self, _inputs: &[&Shape], _output: &Shape) -> u64 {
        self.geometry.flops()
    }
}
