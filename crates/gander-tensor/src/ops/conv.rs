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

use crate::{
    Activation, Array, Call, Device, Epilogue, Error, Gate, Operation, Reads, Result, Shape, Tensor, apply,
    autograd::Onward, ops::elementwise::require_float, shape::num_elements,
};

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
        let [depth, height, width] = self.input;
        num_elements(&[self.batch, depth, height, width, self.in_channels])
    }

    /// Number of output values.
    pub fn output_len(&self) -> usize {
        let [depth, height, width] = self.output;
        num_elements(&[self.batch, depth, height, width, self.out_channels])
    }

    /// Number of weights.
    pub fn weight_len(&self) -> usize {
        let [depth, height, width] = self.kernel;
        num_elements(&[depth, height, width, self.in_channels / self.groups, self.out_channels])
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

pub(crate) fn positions(sides: [usize; 3]) -> impl Iterator<Item = [usize; 3]> {
    let [depth, height, width] = sides;
    (0..depth).flat_map(move |z| (0..height).flat_map(move |y| (0..width).map(move |x| [z, y, x])))
}

pub(crate) fn flat(n: usize, at: [usize; 3], sides: [usize; 3]) -> usize {
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
///
/// # Errors
/// [`Error::InvalidArgument`] for a leaky relu of negative slope.
pub fn conv(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>, options: ConvOptions) -> Result<Tensor> {
    conv_of(x, weight, bias, None, options)
}

/// A convolution and what is added to it in the same pass, as at the end of a residual block.
///
/// # Shapes
/// - `added`: that of the result; the others are those of [`conv`]
///
/// # Errors
/// [`Error::InvalidArgument`] for an activation, of which nothing would be left to see behind the sum.
pub fn conv_added(
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    added: &Tensor,
    options: ConvOptions,
) -> Result<Tensor> {
    if options.activation != Activation::Identity {
        return Err(Error::InvalidArgument {
            op: "conv_added",
            argument: "activation",
            value: format!("{:?}", options.activation),
        });
    }
    conv_of(x, weight, bias, Some(added), options)
}

fn conv_of(
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    added: Option<&Tensor>,
    options: ConvOptions,
) -> Result<Tensor> {
    let op = "conv";
    options.activation.keeps_sign(op)?;
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
    let mut padded = Vec::with_capacity(spatial);
    for (&side, &k) in x.shape()[1..=spatial].iter().zip(kernel) {
        let full = options.padding.saturating_mul(2).saturating_add(side);
        let reach = options.dilation.saturating_mul(k - 1).saturating_add(1);
        let Some(room) = full.checked_sub(reach) else {
            let expected = format!("sides of at least {reach} with padding {}", options.padding);
            return Err(Error::InvalidShape {
                op,
                expected,
                got: x.shape().clone(),
            });
        };
        sides.push(room / options.stride + 1);
        padded.push(full);
    }
    check_padded(op, x, &padded, out_channels)?;
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
        output: Shape::from([&[x.side(0)], sides.as_slice(), &[out_channels]].concat()).countable(op)?,
    };
    check_bias(op, bias, out_channels)?;
    if let Some(added) = added
        && *added.shape() != shapes.output
    {
        return Err(Error::ShapeMismatch {
            op,
            left: shapes.output,
            right: added.shape().clone(),
        });
    }
    let behind = Behind {
        bias: bias.is_some(),
        activation: options.activation,
        added: added.is_some(),
        ..Behind::default()
    };
    let operands = [Some(x), Some(weight), bias, added];
    let conv = Conv {
        geometry,
        shapes,
        behind,
    };
    apply(conv, &operands.into_iter().flatten().collect::<Vec<_>>())
}

/// A transposed convolution: the gradient of a convolution, used as a layer that makes images larger.
///
/// # Shapes
/// - `x`: `[batch, spatial…, in]`
/// - `weight`: `[kernel…, out / groups, in]`, the weight of the convolution whose gradient this is
/// - `bias`: `[out]`
/// - returns: `[batch, spatial…, out]`, each side
///   `(side − 1)·stride − 2·padding + dilation·(kernel − 1) + output_padding + 1`
///
/// # Errors
/// As for [`conv`].
pub fn conv_transpose(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>, options: ConvOptions) -> Result<Tensor> {
    let op = "conv_transpose";
    options.activation.keeps_sign(op)?;
    let spatial = check_operands(op, x, weight, options)?;
    let out_channels = weight.shape().channels();
    if x.shape().channels() != out_channels || !out_channels.is_multiple_of(options.groups) {
        return Err(Error::ShapeMismatch {
            op,
            left: x.shape().clone(),
            right: weight.shape().clone(),
        });
    }
    let in_channels = weight.side(-2) * options.groups;
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
    let mut padded = Vec::with_capacity(spatial);
    for (&side, &k) in x.shape()[1..=spatial].iter().zip(kernel) {
        let full = side
            .saturating_sub(1)
            .saturating_mul(options.stride)
            .saturating_add(options.dilation.saturating_mul(k - 1))
            .saturating_add(options.output_padding + 1);
        let cut = options.padding.saturating_mul(2);
        let Some(side) = full.checked_sub(cut).filter(|&side| side > 0) else {
            let expected = format!("sides that leave something after padding {}", options.padding);
            return Err(Error::InvalidShape {
                op,
                expected,
                got: x.shape().clone(),
            });
        };
        sides.push(side);
        padded.push(full);
    }
    check_padded(op, x, &padded, in_channels)?;
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
        input: Shape::from([&[x.side(0)], sides.as_slice(), &[in_channels]].concat()).countable(op)?,
        weight: weight.shape().clone(),
        output: x.shape().clone(),
    };
    check_bias(op, bias, in_channels)?;
    let behind = Behind {
        bias: bias.is_some(),
        activation: options.activation,
        ..Behind::default()
    };
    let operands = [Some(x), Some(weight), bias];
    let transposed = ConvInputGrad {
        geometry,
        shapes,
        behind,
    };
    apply(transposed, &operands.into_iter().flatten().collect::<Vec<_>>())
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

/// Kernels copy images with their padding, of the channels of either side.
fn check_padded(op: &'static str, x: &Tensor, padded: &[usize], channels: usize) -> Result<()> {
    let (batch, channels) = (x.side(0).max(1), channels.max(x.shape().channels()));
    Shape::from([&[batch], padded, &[channels]].concat())
        .countable(op)
        .map(drop)
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

/// The shapes with their own number of spatial axes.
#[derive(Debug, Clone)]
struct Shapes {
    input: Shape,
    weight: Shape,
    output: Shape,
}

impl Shapes {
    fn attributes(geometry: &ConvGeometry, behind: Behind) -> Vec<(&'static str, String)> {
        let mut attributes = vec![
            ("kernel", format!("{:?}", geometry.kernel)),
            ("stride", format!("{:?}", geometry.stride)),
            ("padding", format!("{:?}", geometry.padding)),
            ("dilation", format!("{:?}", geometry.dilation)),
            ("groups", geometry.groups.to_string()),
            ("activation", format!("{:?}", behind.activation)),
        ];
        if behind.added {
            attributes.push(("added", "last operand".into()));
        }
        attributes
    }
}

/// What follows in the same pass, `gate(act(sum + bias)) + added`. It takes operands behind the first two, in this
/// order: bias, gate, added. Of activation and the other two only one is there.
#[derive(Debug, Clone, Copy, Default)]
struct Behind {
    bias: bool,
    activation: Activation,
    gate: Option<f32>,
    added: bool,
}

impl Behind {
    fn gate_at(&self) -> usize {
        2 + usize::from(self.bias)
    }

    fn added_at(&self) -> usize {
        self.gate_at() + usize::from(self.gate.is_some())
    }

    fn epilogue<'a>(&self, inputs: &[&'a Array]) -> Epilogue<'a> {
        Epilogue {
            bias: self.bias.then(|| inputs[2]),
            activation: self.activation,
            gate: self.gate.map(|slope| Gate {
                result: inputs[self.gate_at()],
                slope,
            }),
            added: self.added.then(|| inputs[self.added_at()]),
        }
    }

    fn reads(&self) -> Reads {
        Reads {
            inputs: true,
            output: self.activation != Activation::Identity,
        }
    }

    fn reads_operand(&self, index: usize) -> bool {
        index < 2 || (self.gate.is_some() && index == self.gate_at())
    }

    /// The sum is one of what varies, each times what does not.
    fn is_piecewise_linear(&self, varies: &[bool]) -> bool {
        let is_held = |index: usize| index == 0 || (self.added && index == self.added_at()) || !varies[index];
        self.activation.is_piecewise_linear() && self.gate.is_none() && (0..varies.len()).all(is_held)
    }

    /// The gradient of the sum, from that of the result.
    fn backward(&self, call: &Call<'_>, grad: &Tensor) -> Result<Tensor> {
        match self.gate {
            Some(slope) => Activation::LeakyRelu(slope).backward(grad, &call.inputs[self.gate_at()]),
            None if call.is_gated => Ok(grad.clone()),
            None => self.activation.backward(grad, call.output),
        }
    }

    /// The gradients of the operands behind the first two, from those of the result and of the sum.
    fn gradients(&self, call: &Call<'_>, grad: &Tensor, of_sum: &Tensor) -> Result<Vec<Option<Tensor>>> {
        let mut gradients = Vec::new();
        if self.bias {
            gradients.push(call.want(2, || sum_to_channels(of_sum))?);
        }
        if self.gate.is_some() {
            gradients.push(None);
        }
        if self.added {
            gradients.push(call.want(self.added_at(), || Ok(grad.clone()))?);
        }
        Ok(gradients)
    }

    /// The change of the result; `sum` makes that of the sum, and what follows, of the change of the first operand.
    fn tangent(
        &self,
        call: &Call<'_>,
        changes: &[Option<Tensor>],
        sum: impl FnOnce(&Tensor, Onward<'_>) -> Result<Tensor>,
    ) -> Result<Tensor> {
        let added = if self.added {
            changes[self.added_at()].as_ref()
        } else {
            None
        };
        let gate = self.activation.slope().map(|slope| (call.output, slope));
        match (&changes[0], added) {
            (Some(change), added) => sum(change, Onward { gate, added }),
            (None, Some(added)) => Ok(added.clone()),
            (None, None) => Err(Error::NotLinear { op: "conv" }),
        }
    }
}

#[derive(Debug)]
struct Conv {
    geometry: ConvGeometry,
    shapes: Shapes,
    behind: Behind,
}

#[derive(Debug)]
struct ConvInputGrad {
    geometry: ConvGeometry,
    shapes: Shapes,
    behind: Behind,
}

#[derive(Debug)]
struct ConvWeightGrad {
    geometry: ConvGeometry,
    shapes: Shapes,
}

/// What follows, and the operands that it takes.
fn behind<'a>(first: [&'a Tensor; 2], onward: Onward<'a>) -> (Behind, Vec<&'a Tensor>) {
    let behind = Behind {
        gate: onward.gate.map(|(_, slope)| slope),
        added: onward.added.is_some(),
        ..Behind::default()
    };
    let more = [onward.gate.map(|(result, _)| result), onward.added];
    (behind, first.into_iter().chain(more.into_iter().flatten()).collect())
}

fn plain_conv(geometry: ConvGeometry, shapes: &Shapes, [x, w]: [&Tensor; 2], onward: Onward<'_>) -> Result<Tensor> {
    let (behind, operands) = behind([x, w], onward);
    let conv = Conv {
        geometry,
        shapes: shapes.clone(),
        behind,
    };
    apply(conv, &operands)
}

fn input_grad(geometry: ConvGeometry, shapes: &Shapes, [dy, w]: [&Tensor; 2], onward: Onward<'_>) -> Result<Tensor> {
    let (behind, operands) = behind([dy, w], onward);
    let transposed = ConvInputGrad {
        geometry,
        shapes: shapes.clone(),
        behind,
    };
    apply(transposed, &operands)
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
        Shapes::attributes(&self.geometry, self.behind)
    }

    fn reads(&self) -> Reads {
        self.behind.reads()
    }

    fn reads_operand(&self, index: usize) -> bool {
        self.behind.reads_operand(index)
    }

    fn gate(&self) -> Option<f32> {
        self.behind.activation.slope()
    }

    fn forward(&self, device: &dyn Device, inputs: &[&Array]) -> Result<Array> {
        require_float(self.name(), inputs)?;
        let y = device.conv(&self.geometry, inputs[0], inputs[1], self.behind.epilogue(inputs))?;
        Ok(y.reshaped(self.shapes.output.clone()))
    }

    fn is_piecewise_linear(&self, varies: &[bool]) -> bool {
        self.behind.is_piecewise_linear(varies)
    }

    fn tangent(&self, call: &Call<'_>, changes: &[Option<Tensor>]) -> Result<Tensor> {
        self.behind.tangent(call, changes, |change, onward| {
            plain_conv(self.geometry, &self.shapes, [change, &call.inputs[1]], onward)
        })
    }

    fn backward(&self, call: &Call<'_>, grad: &Tensor) -> Result<Vec<Option<Tensor>>> {
        let (x, w) = (&call.inputs[0], &call.inputs[1]);
        let of_sum = self.behind.backward(call, grad)?;
        let mut gradients = vec![
            call.want(0, || {
                input_grad(self.geometry, &self.shapes, [&of_sum, w], call.onward(0))
            })?,
            call.want(1, || weight_grad(self.geometry, &self.shapes, x, &of_sum))?,
        ];
        gradients.extend(self.behind.gradients(call, grad, &of_sum)?);
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
        Shapes::attributes(&self.geometry, self.behind)
    }

    fn reads(&self) -> Reads {
        self.behind.reads()
    }

    fn reads_operand(&self, index: usize) -> bool {
        self.behind.reads_operand(index)
    }

    fn gate(&self) -> Option<f32> {
        self.behind.activation.slope()
    }

    fn forward(&self, device: &dyn Device, inputs: &[&Array]) -> Result<Array> {
        require_float(self.name(), inputs)?;
        let dx = device.conv_input_grad(&self.geometry, inputs[0], inputs[1], self.behind.epilogue(inputs))?;
        Ok(dx.reshaped(self.shapes.input.clone()))
    }

    fn is_piecewise_linear(&self, varies: &[bool]) -> bool {
        self.behind.is_piecewise_linear(varies)
    }

    fn tangent(&self, call: &Call<'_>, changes: &[Option<Tensor>]) -> Result<Tensor> {
        self.behind.tangent(call, changes, |change, onward| {
            input_grad(self.geometry, &self.shapes, [change, &call.inputs[1]], onward)
        })
    }

    fn backward(&self, call: &Call<'_>, grad: &Tensor) -> Result<Vec<Option<Tensor>>> {
        let (dy, w) = (&call.inputs[0], &call.inputs[1]);
        let of_sum = self.behind.backward(call, grad)?;
        let mut gradients = vec![
            call.want(0, || {
                plain_conv(self.geometry, &self.shapes, [&of_sum, w], call.onward(0))
            })?,
            call.want(1, || weight_grad(self.geometry, &self.shapes, &of_sum, dy))?,
        ];
        gradients.extend(self.behind.gradients(call, grad, &of_sum)?);
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
        Shapes::attributes(&self.geometry, Behind::default())
    }

    fn forward(&self, device: &dyn Device, inputs: &[&Array]) -> Result<Array> {
        require_float(self.name(), inputs)?;
        Ok(device
            .conv_weight_grad(&self.geometry, inputs[0], inputs[1])?
            .reshaped(self.shapes.weight.clone()))
    }

    fn backward(&self, call: &Call<'_>, grad: &Tensor) -> Result<Vec<Option<Tensor>>> {
        let (x, dy) = (&call.inputs[0], &call.inputs[1]);
        Ok(vec![
            call.want(0, || {
                input_grad(self.geometry, &self.shapes, [dy, grad], call.onward(0))
            })?,
            call.want(1, || {
                plain_conv(self.geometry, &self.shapes, [x, grad], Onward::default())
            })?,
        ])
    }

    fn flops(&self, _inputs: &[&Shape], _output: &Shape) -> u64 {
        self.geometry.flops()
    }
}

#[cfg(test)]
mod tests {
    use crate::Cpu;

    use super::*;

    #[test]
    fn a_leaky_relu_that_hides_the_sign_is_refused() {
        let device = Cpu::shared();
        let (x, weight) = (Tensor::zeros([1, 5, 1], &device), Tensor::zeros([3, 1, 1], &device));
        let (x, weight) = (x.unwrap(), weight.unwrap());
        for (slope, fits) in [(0.2, true), (0.0, true), (-0.2, false)] {
            let options = ConvOptions {
                activation: Activation::LeakyRelu(slope),
                ..ConvOptions::default()
            };
            assert_eq!(conv(&x, &weight, None, options).is_ok(), fits, "{slope}");
            assert_eq!(conv_transpose(&x, &weight, None, options).is_ok(), fits, "{slope}");
        }
    }

    #[test]
    fn sides_that_cannot_be_counted_are_refused() {
        let device = Cpu::shared();
        let zeros = |shape: &[usize]| Tensor::zeros(shape, &device).unwrap();
        let (x, weight) = (zeros(&[1, 5, 1]), zeros(&[3, 1, 1]));
        // Of each, what is wrapped around would be a window within the image.
        for (padding, dilation) in [(1 << 63, 1), (0, 1 << 63), (1 << 62, 1 << 62), (1 << 60, 1 << 60)] {
            let options = ConvOptions {
                padding,
                dilation,
                ..ConvOptions::default()
            };
            assert!(conv(&x, &weight, None, options).is_err(), "{options:?}");
            assert!(conv_transpose(&x, &weight, None, options).is_err(), "{options:?}");
        }
        let options = ConvOptions {
            padding: 8,
            ..ConvOptions::default()
        };
        assert!(conv(&zeros(&[1 << 60, 0, 1]), &zeros(&[1, 1, 16]), None, options).is_err());
        let options = ConvOptions {
            stride: 1 << 62,
            ..ConvOptions::default()
        };
        assert!(conv_transpose(&x, &weight, None, options).is_err());
    }
}
