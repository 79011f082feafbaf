//! Functions of one or two values, element by element.

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
