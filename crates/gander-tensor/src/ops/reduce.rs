//! Sums, means and maxima over axes.

use crate::{
    Array, BinaryOp, Call, Device, Operation, Reads, Result, Shape, Tensor, apply,
    autograd::only,
    ops::elementwise::{binary, require_float},
};

/// How values are combined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReduceOp {
    /// `Σ x`, accumulated in float32 by pairs or in wide lanes.
    Sum,
    /// The largest.
    Max,
}

/// The plain reference: every value meets its output in order.
pub fn reference(op: ReduceOp, x: &[f64], shape: &[usize], axes: &[bool]) -> Vec<f64> {
    let kept = reduced_shape(shape, axes);
    let start = match op {
        ReduceOp::Sum => 0.0,
        ReduceOp::Max => f64::NEG_INFINITY,
    };
    let mut y = vec![start; kept.iter().product()];
    let mut position = vec![0; shape.len()];
    for &value in x {
        let index = position
            .iter()
            .zip(&kept)
            .fold(0, |index, (&p, &side)| index * side + if side == 1 { 0 } else { p });
        y[index] = match op {
            ReduceOp::Sum => y[index] + value,
            ReduceOp::Max if value.is_nan() => value,
            ReduceOp::Max => y[index].max(value),
        };
        super::layout::advance(&mut position, shape);
    }
    y
}

fn reduced_shape(shape: &[usize], axes: &[bool]) -> Vec<usize> {
    shape
        .iter()
        .zip(axes)
        .map(|(&side, &reduced)| if reduced { 1 } else { side })
        .collect()
}

#[derive(Debug)]
struct Reduce {
    op: ReduceOp,
    axes: Vec<bool>,
}

impl Operation for Reduce {
    fn name(&self) -> &'static str {
        match self.op {
            ReduceOp::Sum => "sum",
            ReduceOp::Max => "max",
        }
    }

    fn attributes(&self) -> Vec<(&'static str, String)> {
        let axes: Vec<usize> = (0..self.axes.len()).filter(|&axis| self.axes[axis]).collect();
        vec![("axes", format!("{axes:?}"))]
    }

    fn reads(&self) -> Reads {
        match self.op {
            ReduceOp::Sum => Reads::NOTHING,
            ReduceOp::Max => Reads::default(),
        }
    }

    fn forward(&self, device: &dyn Device, inputs: &[&Array]) -> Result<Array> {
        require_float(self.name(), inputs)?;
        device.reduce(self.op, inputs[0], &self.axes)
    }

    fn is_piecewise_linear(&self, _varies: &[bool]) -> bool {
        self.op == ReduceOp::Sum
    }

    fn tangent(&self, _call: &Call<'_>, changes: &[Option<Tensor>]) -> Result<Tensor> {
        only(changes, self.name())?.reduce(self.op, &self.axes)
    }

    fn backward(&self, call: &Call<'_>, grad: &Tensor) -> Result<Vec<Option<Tensor>>> {
        let x = &call.inputs[0];
        let gradient = match self.op {
            ReduceOp::Sum => grad.broadcast_to(x.shape())?,
            ReduceOp::Max => {
                let winners = binary(BinaryOp::Equal, &x.detach(), &call.output.detach())?;
                let ties = winners.reduce(ReduceOp::Sum, &self.axes)?;
                grad.div(&ties)?.mul(&winners)?
            }
        };
        Ok(vec![Some(gradient)])
    }

    fn flops(&self, inputs: &[&Shape], _output: &Shape) -> u64 {
        inputs[0].num_elements() as u64
    }
}

#[derive(Debug)]
struct Broadcast(Shape);

impl Operation for Broadcast {
    fn name(&self) -> &'static str {
        "broadcast"
    }

    fn attributes(&self) -> Vec<(&'static str, String)> {
        vec![("shape", format!("{:?}", self.0))]
    }

    fn reads(&self) -> Reads {
        Reads::NOTHING
    }

    fn forward(&self, device: &dyn Device, inputs: &[&Array]) -> Result<Array> {
        require_float(self.name(), inputs)?;
        device.broadcast(inputs[0], &self.0)
    }

    fn is_piecewise_linear(&self, _varies: &[bool]) -> bool {
        true
    }

    fn tangent(&self, _call: &Call<'_>, changes: &[Option<Tensor>]) -> Result<Tensor> {
        only(changes, self.name())?.broadcast_to(self.0.clone())
    }

    fn backward(&self, call: &Call<'_>, grad: &Tensor) -> Result<Vec<Option<Tensor>>> {
        Ok(vec![Some(grad.sum_to(call.inputs[0].shape())?)])
    }

    fn flops(&self, _inputs: &[&Shape], _output: &Shape) -> u64 {
        0
    }
}

impl Tensor {
    fn reduce(&self, op: ReduceOp, axes: &[bool]) -> Result<Self> {
        if axes
            .iter()
            .zip(self.shape().iter())
            .all(|(&reduced, &side)| !reduced || side == 1)
        {
            return Ok(self.clone());
        }
        apply(
            Reduce {
                op,
                axes: axes.to_vec(),
            },
            &[self],
        )
    }

    fn reduce_axes(&self, op: ReduceOp, axes: &[isize]) -> Result<Self> {
        let mut marked = vec![false; self.shape().rank()];
        for &axis in axes {
            marked[self.shape().axis("reduce", axis)?] = true;
        }
        self.reduce(op, &marked)
    }

    /// Sum over `axes`, which stay with size one.
    pub fn sum_keep(&self, axes: &[isize]) -> Result<Self> {
        self.reduce_axes(ReduceOp::Sum, axes)
    }

    /// Mean over `axes`, which stay with size one.
    pub fn mean_keep(&self, axes: &[isize]) -> Result<Self> {
        let sum = self.sum_keep(axes)?;
        let values = self.shape().num_elements() / sum.shape().num_elements().max(1);
        sum.mul_scalar(1.0 / values as f32)
    }

    /// The largest over `axes`, which stay with size one; ties share the gradient.
    pub fn max_keep(&self, axes: &[isize]) -> Result<Self> {
        self.reduce_axes(ReduceOp::Max, axes)
    }

    /// The sum of everything: a scalar.
    pub fn sum_all(&self) -> Result<Self> {
        self.reduce(ReduceOp::Sum, &vec![true; self.shape().rank()])?
            .reshape([])
    }

    /// The mean of everything: a scalar.
    pub fn mean_all(&self) -> Result<Self> {
        let values = self.shape().num_elements();
        self.sum_all()?.mul_scalar(1.0 / values as f32)
    }

    /// The sum over all axes but the first: `[batch, …]` to `[batch]`.
    pub fn sum_per_sample(&self) -> Result<Self> {
        let batch = self.shape().batch("sum_per_sample")?;
        let axes: Vec<bool> = (0..self.shape().rank()).map(|axis| axis > 0).collect();
        self.reduce(ReduceOp::Sum, &axes)?.reshape([batch])
    }

    /// Repeated along axes of size one (and new leading axes).
    pub fn broadcast_to(&self, shape: impl Into<Shape>) -> Result<Self> {
        let shape = shape.into();
        if *self.shape() == shape {
            return Ok(self.clone());
        }
        let reached = Shape::broadcast("broadcast_to", self.shape(), &shape)?;
        if reached != shape {
            return Err(crate::Error::ShapeMismatch {
                op: "broadcast_to",
                left: self.shape().clone(),
                right: shape,
            });
        }
        apply(Broadcast(shape), &[self])
    }

    /// The transpose of [`Tensor::broadcast_to`]: summed down to `shape`.
    pub fn sum_to(&self, shape: &Shape) -> Result<Self> {
        if self.shape() == shape {
            return Ok(self.clone());
        }
        let Some(new_axes) = self.shape().rank().checked_sub(shape.rank()) else {
            return Err(crate::Error::ShapeMismatch {
                op: "sum_to",
                left: self.shape().clone(),
                right: shape.clone(),
            });
        };
        let axes: Vec<bool> = (0..self.shape().rank())
            .map(|axis| axis < new_axes || shape[axis - new_axes] == 1)
            .collect();
        self.reduce(ReduceOp::Sum, &axes)?.reshape(shape)
    }
}
