//! Functions of one or two values, element by element.

use crate::{Array, Call, Device, Error, Operation, Reads, Result, Shape, Tensor, apply, autograd::only};

/// A function of one value.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum UnaryOp {
    /// `−x`
    Neg,
    /// `|x|`
    Abs,
    /// `exp x`
    Exp,
    /// `ln x`
    Log,
    /// `√x`
    Sqrt,
    /// `1 / x`
    Recip,
    /// `x²`
    Square,
    /// `sin x`
    Sin,
    /// `cos x`
    Cos,
    /// `tanh x`
    Tanh,
    /// `1 / (1 + exp −x)`
    Sigmoid,
    /// `ln(1 + exp x)`, without overflow
    Softplus,
    /// `max(x, 0)`
    Relu,
    /// `x` where positive, else `slope · x`
    LeakyRelu(f32),
    /// −1, 0 or 1
    Sign,
    /// `x + c`
    AddScalar(f32),
    /// `c · x`
    MulScalar(f32),
    /// `x` to the power `c`, for positive `x`
    Powf(f32),
    /// `x` limited to `lo..=hi`
    Clamp {
        /// Smallest value.
        lo: f32,
        /// Largest value.
        hi: f32,
    },
}

/// A function of two values, with broadcasting.
///
/// The gradient helpers (`*Grad`) take the incoming gradient first; they are linear in it.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum BinaryOp {
    /// `a + b`
    Add,
    /// `a − b`
    Sub,
    /// `a · b`
    Mul,
    /// `a / b`
    Div,
    /// The larger.
    Maximum,
    /// The smaller.
    Minimum,
    /// 1 where `a > b`, else 0.
    Greater,
    /// 1 where `a = b`, else 0.
    Equal,
    /// `a · (1 − b²)`: the gradient of tanh from its output `b`.
    TanhGrad,
    /// `a · b · (1 − b)`: the gradient of the sigmoid from its output `b`.
    SigmoidGrad,
    /// `a` where `b > 0`, else `slope · a`: the gradient of the leaky relu from its input or output `b`.
    LeakyReluGrad(f32),
}

/// What follows a convolution, a product or a normalization in the same pass over memory.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
#[non_exhaustive]
pub enum Activation {
    /// Nothing.
    #[default]
    Identity,
    /// `max(x, 0)`
    Relu,
    /// `x` where positive, else `slope · x`
    LeakyRelu(f32),
    /// `tanh x`
    Tanh,
    /// `1 / (1 + exp −x)`
    Sigmoid,
}

impl Activation {
    /// As an operation of its own; `None` for the identity.
    pub fn as_unary(self) -> Option<UnaryOp> {
        match self {
            Self::Identity => None,
            Self::Relu => Some(UnaryOp::Relu),
            Self::LeakyRelu(slope) => Some(UnaryOp::LeakyRelu(slope)),
            Self::Tanh => Some(UnaryOp::Tanh),
            Self::Sigmoid => Some(UnaryOp::Sigmoid),
        }
    }

    /// The activation of a tensor.
    pub fn apply(self, x: &Tensor) -> Result<Tensor> {
        self.as_unary().map_or_else(|| Ok(x.clone()), |op| unary(op, x))
    }

    /// The slope of negative values, of a relu or a leaky relu.
    #[inline]
    pub(crate) fn slope(self) -> Option<f32> {
        match self {
            Self::Relu => Some(0.0),
            Self::LeakyRelu(slope) => Some(slope),
            _ => None,
        }
    }

    /// The gradient behind a sum asks the result alone on which side of zero the sum was, which a negative slope hides.
    pub(super) fn keeps_sign(self, op: &'static str) -> Result<()> {
        if self.slope().is_none_or(|slope| slope >= 0.0) {
            return Ok(());
        }
        Err(Error::InvalidArgument {
            op,
            argument: "activation",
            value: format!("{self:?}"),
        })
    }

    /// Whether it is a factor on each side of zero.
    pub(crate) fn is_piecewise_linear(self) -> bool {
        matches!(self, Self::Identity | Self::Relu | Self::LeakyRelu(_))
    }

    /// The gradient before the activation, from that after it and the activation's output.
    pub(crate) fn backward(self, grad: &Tensor, output: &Tensor) -> Result<Tensor> {
        match self {
            Self::Identity => Ok(grad.clone()),
            Self::Relu => binary(BinaryOp::LeakyReluGrad(0.0), grad, output),
            Self::LeakyRelu(slope) => binary(BinaryOp::LeakyReluGrad(slope), grad, output),
            Self::Tanh => binary(BinaryOp::TanhGrad, grad, output),
            Self::Sigmoid => binary(BinaryOp::SigmoidGrad, grad, output),
        }
    }
}

impl UnaryOp {
    /// The plain reference.
    pub fn reference(self, x: f64) -> f64 {
        match self {
            Self::Neg => -x,
            Self::Abs => x.abs(),
            Self::Exp => x.exp(),
            Self::Log => x.ln(),
            Self::Sqrt => x.sqrt(),
            Self::Recip => 1.0 / x,
            Self::Square => x * x,
            Self::Sin => x.sin(),
            Self::Cos => x.cos(),
            Self::Tanh => x.tanh(),
            Self::Sigmoid => 1.0 / (1.0 + (-x).exp()),
            Self::Softplus => x.max(0.0) + (-x.abs()).exp().ln_1p(),
            Self::Relu => nan_or(x, x.max(0.0)),
            Self::LeakyRelu(slope) => {
                if x > 0.0 {
                    x
                } else {
                    f64::from(slope) * x
                }
            }
            Self::Sign => nan_or(x, f64::from(i8::from(x > 0.0) - i8::from(x < 0.0))),
            Self::AddScalar(c) => x + f64::from(c),
            Self::MulScalar(c) => x * f64::from(c),
            Self::Powf(c) => x.powf(f64::from(c)),
            Self::Clamp { lo, hi } => nan_or(x, x.max(f64::from(lo)).min(f64::from(hi))),
        }
    }
}

impl BinaryOp {
    /// The plain reference.
    pub fn reference(self, a: f64, b: f64) -> f64 {
        match self {
            Self::Add => a + b,
            Self::Sub => a - b,
            Self::Mul => a * b,
            Self::Div => a / b,
            Self::Maximum => nan_or(a, nan_or(b, a.max(b))),
            Self::Minimum => nan_or(a, nan_or(b, a.min(b))),
            Self::Greater => f64::from(u8::from(a > b)),
            Self::Equal => f64::from(u8::from(a == b)),
            Self::TanhGrad => a * (1.0 - b * b),
            Self::SigmoidGrad => a * b * (1.0 - b),
            Self::LeakyReluGrad(slope) => {
                if b > 0.0 {
                    a
                } else {
                    f64::from(slope) * a
                }
            }
        }
    }
}

/// A value that is not a number stays one: `f64::max` would drop it, and hide what must stop a run.
fn nan_or(x: f64, value: f64) -> f64 {
    if x.is_nan() { x } else { value }
}

/// A function of each value.
pub fn unary(op: UnaryOp, x: &Tensor) -> Result<Tensor> {
    apply(Unary(op), &[x])
}

/// A function of two values, broadcast by the rules of NumPy.
pub fn binary(op: BinaryOp, a: &Tensor, b: &Tensor) -> Result<Tensor> {
    apply(Binary(op), &[a, b])
}

#[derive(Debug)]
struct Unary(UnaryOp);

impl Operation for Unary {
    fn name(&self) -> &'static str {
        match self.0 {
            UnaryOp::Neg => "neg",
            UnaryOp::Abs => "abs",
            UnaryOp::Exp => "exp",
            UnaryOp::Log => "log",
            UnaryOp::Sqrt => "sqrt",
            UnaryOp::Recip => "recip",
            UnaryOp::Square => "square",
            UnaryOp::Sin => "sin",
            UnaryOp::Cos => "cos",
            UnaryOp::Tanh => "tanh",
            UnaryOp::Sigmoid => "sigmoid",
            UnaryOp::Softplus => "softplus",
            UnaryOp::Relu => "relu",
            UnaryOp::LeakyRelu(_) => "leaky_relu",
            UnaryOp::Sign => "sign",
            UnaryOp::AddScalar(_) => "add_scalar",
            UnaryOp::MulScalar(_) => "mul_scalar",
            UnaryOp::Powf(_) => "powf",
            UnaryOp::Clamp { .. } => "clamp",
        }
    }

    fn attributes(&self) -> Vec<(&'static str, String)> {
        match self.0 {
            UnaryOp::LeakyRelu(slope) => vec![("slope", slope.to_string())],
            UnaryOp::AddScalar(value) | UnaryOp::MulScalar(value) => vec![("value", value.to_string())],
            UnaryOp::Powf(exponent) => vec![("exponent", exponent.to_string())],
            UnaryOp::Clamp { lo, hi } => vec![("min", lo.to_string()), ("max", hi.to_string())],
            _ => Vec::new(),
        }
    }

    fn reads(&self) -> Reads {
        match self.0 {
            UnaryOp::Neg | UnaryOp::AddScalar(_) | UnaryOp::MulScalar(_) => Reads::NOTHING,
            _ => Reads::default(),
        }
    }

    fn forward(&self, device: &dyn Device, inputs: &[&Array]) -> Result<Array> {
        require_float(self.name(), inputs)?;
        device.unary(self.0, inputs[0])
    }

    fn is_piecewise_linear(&self, _varies: &[bool]) -> bool {
        matches!(
            self.0,
            UnaryOp::Neg | UnaryOp::Relu | UnaryOp::LeakyRelu(_) | UnaryOp::AddScalar(_) | UnaryOp::MulScalar(_)
        )
    }

    fn tangent(&self, call: &Call<'_>, changes: &[Option<Tensor>]) -> Result<Tensor> {
        let change = only(changes, self.name())?;
        // On a piece such a function is a factor, the same as on the way back.
        let factored = self.backward(call, change)?.swap_remove(0);
        factored.ok_or(Error::NotLinear { op: self.name() })
    }

    fn backward(&self, call: &Call<'_>, grad: &Tensor) -> Result<Vec<Option<Tensor>>> {
        let (x, y) = (&call.inputs[0], call.output);
        let gradient = match self.0 {
            UnaryOp::Neg => grad.neg()?,
            UnaryOp::Abs => grad.mul(&unary(UnaryOp::Sign, x)?)?,
            UnaryOp::Exp => grad.mul(y)?,
            UnaryOp::Log => grad.div(x)?,
            UnaryOp::Sqrt => grad.div(y)?.mul_scalar(0.5)?,
            UnaryOp::Recip => grad.mul(&y.square()?)?.neg()?,
            UnaryOp::Square => grad.mul(x)?.mul_scalar(2.0)?,
            UnaryOp::Sin => grad.mul(&x.cos()?)?,
            UnaryOp::Cos => grad.mul(&x.sin()?)?.neg()?,
            UnaryOp::Tanh => binary(BinaryOp::TanhGrad, grad, y)?,
            UnaryOp::Sigmoid => binary(BinaryOp::SigmoidGrad, grad, y)?,
            UnaryOp::Softplus => grad.mul(&x.sigmoid()?)?,
            UnaryOp::Relu => binary(BinaryOp::LeakyReluGrad(0.0), grad, x)?,
            UnaryOp::LeakyRelu(slope) => binary(BinaryOp::LeakyReluGrad(slope), grad, x)?,
            UnaryOp::Sign => return Ok(vec![None]),
            UnaryOp::AddScalar(_) => grad.clone(),
            UnaryOp::MulScalar(c) => grad.mul_scalar(c)?,
            UnaryOp::Powf(c) => grad.mul(&x.powf(c - 1.0)?)?.mul_scalar(c)?,
            UnaryOp::Clamp { lo, hi } => {
                let above = unary(UnaryOp::Relu, &unary(UnaryOp::Sign, &x.add_scalar(-hi)?)?)?;
                let below = unary(UnaryOp::Relu, &unary(UnaryOp::Sign, &x.neg()?.add_scalar(lo)?)?)?;
                grad.mul(&above.add(&below)?.neg()?.add_scalar(1.0)?)?
            }
        };
        Ok(vec![Some(gradient)])
    }
}

#[derive(Debug)]
struct Binary(BinaryOp);

impl Operation for Binary {
    fn name(&self) -> &'static str {
        match self.0 {
            BinaryOp::Add => "add",
            BinaryOp::Sub => "sub",
            BinaryOp::Mul => "mul",
            BinaryOp::Div => "div",
            BinaryOp::Maximum => "maximum",
            BinaryOp::Minimum => "minimum",
            BinaryOp::Greater => "greater",
            BinaryOp::Equal => "equal",
            BinaryOp::TanhGrad => "tanh_grad",
            BinaryOp::SigmoidGrad => "sigmoid_grad",
            BinaryOp::LeakyReluGrad(_) => "leaky_relu_grad",
        }
    }

    fn attributes(&self) -> Vec<(&'static str, String)> {
        match self.0 {
            BinaryOp::LeakyReluGrad(slope) => vec![("slope", slope.to_string())],
            _ => Vec::new(),
        }
    }

    fn reads(&self) -> Reads {
        match self.0 {
            BinaryOp::Add | BinaryOp::Sub => Reads::NOTHING,
            BinaryOp::Mul => Reads::INPUTS,
            _ => Reads::default(),
        }
    }

    fn forward(&self, device: &dyn Device, inputs: &[&Array]) -> Result<Array> {
        let (a, b) = (inputs[0], inputs[1]);
        require_float(self.name(), inputs)?;
        let shape = Shape::broadcast(self.name(), a.shape(), b.shape())?;
        device.binary(self.0, a, b, &shape)
    }

    fn is_piecewise_linear(&self, varies: &[bool]) -> bool {
        match self.0 {
            BinaryOp::Add | BinaryOp::Sub => true,
            BinaryOp::Mul => varies != [true, true],
            _ => false,
        }
    }

    fn tangent(&self, call: &Call<'_>, changes: &[Option<Tensor>]) -> Result<Tensor> {
        let (a, b) = (&call.inputs[0], &call.inputs[1]);
        let changed = match (self.0, changes) {
            (BinaryOp::Add, [Some(da), Some(db)]) => da.add(db)?,
            (BinaryOp::Sub, [Some(da), Some(db)]) => da.sub(db)?,
            (BinaryOp::Add | BinaryOp::Sub, [Some(da), None]) => da.clone(),
            (BinaryOp::Add, [None, Some(db)]) => db.clone(),
            (BinaryOp::Sub, [None, Some(db)]) => db.neg()?,
            (BinaryOp::Mul, [Some(da), None]) => da.mul(b)?,
            (BinaryOp::Mul, [None, Some(db)]) => a.mul(db)?,
            _ => return Err(Error::NotLinear { op: self.name() }),
        };
        changed.broadcast_to(call.output.shape())
    }

    fn backward(&self, call: &Call<'_>, grad: &Tensor) -> Result<Vec<Option<Tensor>>> {
        let (a, b, y) = (&call.inputs[0], &call.inputs[1], call.output);
        let for_a = || match self.0 {
            BinaryOp::Add | BinaryOp::Sub => Ok(grad.clone()),
            BinaryOp::Mul => grad.mul(b),
            BinaryOp::Div => grad.div(b),
            BinaryOp::Maximum => grad.mul(&share_of_larger(a, b)?),
            BinaryOp::Minimum => grad.mul(&share_of_larger(b, a)?),
            BinaryOp::Greater | BinaryOp::Equal => grad.mul_scalar(0.0),
            op @ (BinaryOp::TanhGrad | BinaryOp::SigmoidGrad | BinaryOp::LeakyReluGrad(_)) => binary(op, grad, b),
        };
        let for_b = || match self.0 {
            BinaryOp::Add => Ok(grad.clone()),
            BinaryOp::Sub => grad.neg(),
            BinaryOp::Mul => grad.mul(a),
            BinaryOp::Div => grad.mul(y)?.div(b)?.neg(),
            BinaryOp::Maximum => grad.mul(&share_of_larger(b, a)?),
            BinaryOp::Minimum => grad.mul(&share_of_larger(a, b)?),
            BinaryOp::Greater | BinaryOp::Equal | BinaryOp::LeakyReluGrad(_) => grad.mul_scalar(0.0),
            BinaryOp::TanhGrad => grad.mul(a)?.mul(b)?.mul_scalar(-2.0),
            BinaryOp::SigmoidGrad => grad.mul(a)?.mul(&b.mul_scalar(-2.0)?.add_scalar(1.0)?),
        };
        let piecewise_constant_in_b = matches!(self.0, BinaryOp::LeakyReluGrad(_));
        let constant = matches!(self.0, BinaryOp::Greater | BinaryOp::Equal);
        Ok(vec![
            if constant {
                None
            } else {
                call.want(0, || for_a()?.sum_to(a.shape()))?
            },
            if constant || piecewise_constant_in_b {
                None
            } else {
                call.want(1, || for_b()?.sum_to(b.shape()))?
            },
        ])
    }
}

/// One where `a` is larger than `b`, a half where they are equal, else zero.
fn share_of_larger(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let (a, b) = (a.detach(), b.detach());
    binary(BinaryOp::Greater, &a, &b)?.add(&binary(BinaryOp::Equal, &a, &b)?.mul_scalar(0.5)?)
}

/// Devices compute with floating point alone.
pub(super) fn require_float(op: &'static str, inputs: &[&Array]) -> Result<()> {
    match inputs.iter().find(|x| !x.dtype().is_float()) {
        Some(x) => Err(Error::UnsupportedDType { op, got: x.dtype() }),
        None => Ok(()),
    }
}

macro_rules! unary_methods {
    ($($(#[$doc:meta])* $name:ident => $op:expr;)*) => {
        impl Tensor {
            $($(#[$doc])* pub fn $name(&self) -> Result<Self> { unary($op, self) })*
        }
    };
}

unary_methods! {
    /// `−x`
    neg => UnaryOp::Neg;
    /// `|x|`
    abs => UnaryOp::Abs;
    /// `exp x`
    exp => UnaryOp::Exp;
    /// `ln x`
    log => UnaryOp::Log;
    /// `√x`
    sqrt => UnaryOp::Sqrt;
    /// `1 / x`
    recip => UnaryOp::Recip;
    /// `x²`
    square => UnaryOp::Square;
    /// `sin x`
    sin => UnaryOp::Sin;
    /// `cos x`
    cos => UnaryOp::Cos;
    /// `tanh x`
    tanh => UnaryOp::Tanh;
    /// `1 / (1 + exp −x)`
    sigmoid => UnaryOp::Sigmoid;
    /// `ln(1 + exp x)`, without overflow
    softplus => UnaryOp::Softplus;
    /// `max(x, 0)`
    relu => UnaryOp::Relu;
}

macro_rules! binary_methods {
    ($($(#[$doc:meta])* $name:ident => $op:expr;)*) => {
        impl Tensor {
            $($(#[$doc])* pub fn $name(&self, other: &Self) -> Result<Self> { binary($op, self, other) })*
        }
    };
}

binary_methods! {
    /// Sum, broadcast by the rules of NumPy.
    add => BinaryOp::Add;
    /// Difference, broadcast.
    sub => BinaryOp::Sub;
    /// Product, broadcast.
    mul => BinaryOp::Mul;
    /// Quotient, broadcast.
    div => BinaryOp::Div;
    /// The larger, broadcast; ties share the gradient.
    maximum => BinaryOp::Maximum;
    /// The smaller, broadcast; ties share the gradient.
    minimum => BinaryOp::Minimum;
}

impl Tensor {
    /// `x` where positive, else `slope · x`.
    pub fn leaky_relu(&self, slope: f32) -> Result<Self> {
        unary(UnaryOp::LeakyRelu(slope), self)
    }

    /// `x + c`
    pub fn add_scalar(&self, c: f32) -> Result<Self> {
        unary(UnaryOp::AddScalar(c), self)
    }

    /// `c · x`
    pub fn mul_scalar(&self, c: f32) -> Result<Self> {
        unary(UnaryOp::MulScalar(c), self)
    }

    /// `x` to the power `c`, for positive `x`.
    pub fn powf(&self, c: f32) -> Result<Self> {
        unary(UnaryOp::Powf(c), self)
    }

    /// `x` limited to `lo..=hi`; outside no gradient passes.
    pub fn clamp(&self, lo: f32, hi: f32) -> Result<Self> {
        unary(UnaryOp::Clamp { lo, hi }, self)
    }

    /// Gated linear unit: the first half of the channels times the sigmoid of the second.
    ///
    /// # Source
    /// Dauphin et al. 2017, <https://arxiv.org/abs/1612.08083>.
    pub fn glu(&self) -> Result<Self> {
        let channels = self.shape().channels();
        if !channels.is_multiple_of(2) {
            let expected = "an even number of channels".into();
            return Err(Error::InvalidShape {
                op: "glu",
                expected,
                got: self.shape().clone(),
            });
        }
        let half = channels / 2;
        self.slice(-1, 0, half)?
            .mul(&self.slice(-1, half, channels)?.sigmoid()?)
    }
}
