//! What a device must be able to do.

use std::{fmt::Debug, sync::Arc};

use crate::{
    Activation, Array, BinaryOp, DType, Result, Shape, UnaryOp,
    ops::{conv::ConvGeometry, matmul::MatmulGeometry, pool::PoolGeometry, reduce::ReduceOp, resample::AxisMap},
};

/// A shared handle to a device.
pub type DeviceRef = Arc<dyn Device>;

/// Channels-last data seen as `[groups, rows, channels]`, each group and channel normalized over its rows.
///
/// Batch normalization has one group whose rows are all pixels of the batch; instance normalization has a group
/// for each image. What scales and shifts may be the same everywhere, or another for each image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NormGeometry {
    /// Independent groups.
    pub groups: usize,
    /// Values behind each statistic.
    pub rows: usize,
    /// Channels.
    pub channels: usize,
    /// How many scales and shifts a channel has: one for all data, or one for each of so many equal parts of it, a multiple of
    /// `groups`.
    pub maps: usize,
}

impl NormGeometry {
    /// Stretches of rows that share statistics, scale and shift.
    pub(crate) fn parts(&self) -> usize {
        self.groups.max(self.maps)
    }

    /// Rows of one part.
    pub(crate) fn rows_of_part(&self) -> usize {
        self.groups * self.rows / self.parts().max(1)
    }

    /// The group and the map of a part.
    pub(crate) fn of_part(&self, part: usize) -> [usize; 2] {
        [self.groups, self.maps].map(|count| part * count / self.parts())
    }
}

/// The mean and the biased variance of each group and channel, both `[groups, channels]`.
#[derive(Debug, Clone)]
pub struct BatchStatistics {
    /// Means.
    pub mean: Array,
    /// Variances, divided by the number of values.
    pub variance: Array,
}

/// A forward pass of [`Device::normalize`], for its gradient.
#[derive(Debug, Clone, Copy)]
pub struct NormPass<'a> {
    /// The operand.
    pub x: &'a Array,
    /// Means.
    pub mean: &'a Array,
    /// Reciprocal standard deviations.
    pub inv_std: &'a Array,
    /// Scale, if any.
    pub scale: Option<&'a Array>,
    /// Shift, if any.
    pub shift: Option<&'a Array>,
    /// What followed: nothing, a relu or a leaky relu.
    pub activation: Activation,
}

/// What follows the last addition of a convolution, in the same pass over memory: `gate(act(sum + bias)) + added`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Epilogue<'a> {
    /// One value for each channel.
    pub bias: Option<&'a Array>,
    /// A function of each value.
    pub activation: Activation,
    /// A factor for each value.
    pub gate: Option<Gate<'a>>,
    /// One value for each of the result.
    pub added: Option<&'a Array>,
}

/// The derivative of a leaky relu as a factor: one where its result is positive, else its slope.
#[derive(Debug, Clone, Copy)]
pub struct Gate<'a> {
    /// What the leaky relu gave, of the shape of what is multiplied.
    pub result: &'a Array,
    /// Its slope.
    pub slope: f32,
}

/// The numbers of one Adam step.
///
/// `m ← β1 m + (1 − β1) g`, `v ← β2 v + (1 − β2) g²`,
/// `w ← w − lr · (m / bias_correction1) / (√(v / bias_correction2) + eps)`.
///
/// # Source
/// Kingma & Ba 2015, algorithm 1, <https://arxiv.org/abs/1412.6980>.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamStep {
    /// Learning rate.
    pub lr: f32,
    /// Decay of the mean gradient.
    pub beta1: f32,
    /// Decay of the mean squared gradient.
    pub beta2: f32,
    /// Added to the denominator.
    pub eps: f32,
    /// `1 − β1^t`
    pub bias_correction1: f32,
    /// `1 − β2^t`
    pub bias_correction2: f32,
}

/// What a device must be able to do.
///
/// Shapes are checked by the operations before they come here. Floating point is [`DType::F32`] or
/// [`DType::Bf16`]; a result has the dtype of its first operand. Reading back ([`Device::download`],
/// [`Device::all_finite`]) is the only synchronization.
pub trait Device: Debug + Send + Sync {
    /// A name for messages, with the instruction set where there are several.
    fn name(&self) -> String;

    /// Number of compute threads.
    fn threads(&self) -> usize {
        1
    }

    /// Multiplications and additions that it does in a second at most, operands at hand, measured now; `None` where
    /// that means nothing.
    fn peak_operations_per_second(&self) -> Option<f64> {
        None
    }

    /// Little-endian bytes of `dtype` brought to the device.
    fn upload(&self, bytes: &[u8], dtype: DType, shape: &Shape) -> Result<Array>;
    /// The values as little-endian bytes of their dtype.
    fn download(&self, x: &Array) -> Result<Vec<u8>>;
    /// The values in double precision: exact on [`crate::Reference`], widened elsewhere.
    fn download_f64(&self, x: &Array) -> Result<Vec<f64>>;
    /// One value everywhere.
    fn full(&self, shape: &Shape, value: f32) -> Result<Array>;
    /// Converted to another dtype: to floating point rounded to nearest even, to integers rounded towards zero and held
    /// to their range.
    fn cast(&self, x: &Array, dtype: DType) -> Result<Array>;
    /// Uniform numbers in `0..1`; element `i` depends on `(key, counter, i)` alone.
    fn uniform(&self, shape: &Shape, key: u64, counter: u64) -> Result<Array>;
    /// Normal numbers; element `i` depends on `(key, counter, i)` alone.
    fn normal(&self, shape: &Shape, key: u64, counter: u64) -> Result<Array>;

    /// A function of each value.
    fn unary(&self, op: UnaryOp, x: &Array) -> Result<Array>;
    /// A function of two values, broadcast to `shape`.
    fn binary(&self, op: BinaryOp, a: &Array, b: &Array, shape: &Shape) -> Result<Array>;
    /// Repeated along axes of size one.
    fn broadcast(&self, x: &Array, shape: &Shape) -> Result<Array>;
    /// Combined over the axes marked in `axes`, which stay with size one.
    fn reduce(&self, op: ReduceOp, x: &Array, axes: &[bool]) -> Result<Array>;

    /// Axes in another order: axis `i` of the result is axis `order[i]` of `x`.
    fn permute(&self, x: &Array, order: &[usize]) -> Result<Array>;
    /// Joined along `axis`.
    fn concat(&self, parts: &[&Array], axis: usize) -> Result<Array>;
    /// A linear map along `axis`.
    fn map_axis(&self, x: &Array, axis: usize, map: &AxisMap) -> Result<Array>;
    /// Rows of `table` (`[rows, …]`) in the order of `indices` (u32 of any shape): `[indices…, …]`.
    fn gather_rows(&self, table: &Array, indices: &Array) -> Result<Array>;
    /// The transpose of [`Device::gather_rows`]: `values` added into `rows` rows of zeros.
    fn scatter_add_rows(&self, values: &Array, indices: &Array, rows: usize) -> Result<Array>;

    /// A batch of matrix products, with a bias over columns and an activation.
    fn matmul(&self, g: &MatmulGeometry, a: &Array, b: &Array, bias: Option<&Array>, act: Activation) -> Result<Array>;
    /// A convolution; the result is flat in the geometry's order and reshaped by the operation.
    fn conv(&self, g: &ConvGeometry, x: &Array, w: &Array, after: Epilogue<'_>) -> Result<Array>;
    /// Its gradient for the input, which is the transposed convolution.
    fn conv_input_grad(&self, g: &ConvGeometry, dy: &Array, w: &Array, after: Epilogue<'_>) -> Result<Array>;
    /// Its gradient for the weight.
    fn conv_weight_grad(&self, g: &ConvGeometry, x: &Array, dy: &Array) -> Result<Array>;
    /// For each output of a max pooling the flat index (u32) of its first largest input.
    fn max_pool_indices(&self, g: &PoolGeometry, x: &Array) -> Result<Array>;

    /// Mean and biased variance.
    fn moments(&self, g: NormGeometry, x: &Array) -> Result<BatchStatistics>;
    /// `act(scale · (x − mean) · inv_std + shift)`, scale and shift both `[channels]` or `[maps, channels]`.
    fn normalize(
        &self,
        g: NormGeometry,
        x: &Array,
        mean: &Array,
        inv_std: &Array,
        affine: Option<(&Array, &Array)>,
        act: Activation,
    ) -> Result<Array>;
    /// Gradients of [`Device::normalize`] for `x`, scale and shift, through the statistics too.
    fn normalize_backward(&self, g: NormGeometry, dy: &Array, pass: &NormPass<'_>) -> Result<[Array; 3]>;

    /// One step of Adam in place.
    fn adam(&self, w: &mut Array, m: &mut Array, v: &mut Array, grad: &Array, step: AdamStep) -> Result<()>;
    /// `a ← a + t (b − a)` in place: the moving average.
    fn lerp(&self, a: &mut Array, b: &Array, t: f32) -> Result<()>;
    /// Whether every value is finite.
    fn all_finite(&self, x: &Array) -> Result<bool>;
}
