//! Operations that move values and change none: reshape, permute, concatenate, gather.

use super::elementwise::require_float;
use crate::{Array, Call, DType, Device, Error, Operation, Reads, Result, Shape, Tensor, apply, autograd::only};

/// The next position in the order of memory.
pub(crate) fn advance(position: &mut [usize], shape: &[usize]) {
    for (p, &side) in position.iter_mut().zip(shape).rev() {
        *p += 1;
        if *p < side {
            return;
        }
        *p = 0;
    }
}

/// The plain reference of a permutation.
pub fn permute_reference<T: Copy>(x: &[T], shape: &[usize], order: &[usize]) -> Vec<T> {
    let permuted: Vec<usize> = order.iter().map(|&axis| shape[axis]).collect();
    let mut position = vec![0; shape.len()];
    let mut y = Vec::with_capacity(x.len());
    for _ in 0..x.len() {
        let mut source = vec![0; shape.len()];
        for (&axis, &p) in order.iter().zip(&position) {
            source[axis] = p;
        }
        y.push(x[source.iter().zip(shape).fold(0, |index, (&p, &side)| index * side + p)]);
        advance(&mut position, &permuted);
    }
    y
}

#[derive(Debug)]
struct Reshape(Shape);

impl Operation for Reshape {
    fn name(&self) -> &'static str {
        "reshape"
    }

    fn attributes(&self) -> Vec<(&'static str, String)> {
        vec![("shape", format!("{:?}", self.0))]
    }

    fn reads(&self) -> Reads {
        Reads::NOTHING
    }

    fn forward(&self, _device: &dyn Device, inputs: &[&Array]) -> Result<Array> {
        Ok(inputs[0].reshaped(self.0.clone()))
    }

    fn is_piecewise_linear(&self, _varies: &[bool]) -> bool {
        true
    }

    fn tangent(&self, _call: &Call<'_>, changes: &[Option<Tensor>]) -> Result<Tensor> {
        only(changes, self.name())?.reshape(self.0.clone())
    }

    fn backward(&self, call: &Call<'_>, grad: &Tensor) -> Result<Vec<Option<Tensor>>> {
        Ok(vec![Some(grad.reshape(call.inputs[0].shape())?)])
    }

    fn flops(&self, _inputs: &[&Shape], _output: &Shape) -> u64 {
        0
    }
}

#[derive(Debug)]
struct Permute(Vec<usize>);

impl Operation for Permute {
    fn name(&self) -> &'static str {
        "permute"
    }

    fn attributes(&self) -> Vec<(&'static str, String)> {
        vec![("order", format!("{:?}", self.0))]
    }

    fn reads(&self) -> Reads {
        Reads::NOTHING
    }

    fn forward(&self, device: &dyn Device, inputs: &[&Array]) -> Result<Array> {
        require_float(self.name(), inputs)?;
        device.permute(inputs[0], &self.0)
    }

    fn is_piecewise_linear(&self, _varies: &[bool]) -> bool {
        true
    }

    fn tangent(&self, _call: &Call<'_>, changes: &[Option<Tensor>]) -> Result<Tensor> {
        only(changes, self.name())?.permute(&self.0)
    }

    fn backward(&self, _call: &Call<'_>, grad: &Tensor) -> Result<Vec<Option<Tensor>>> {
        let mut inverse = vec![0; self.0.len()];
        for (to, &from) in self.0.iter().enumerate() {
            inverse[from] = to;
        }
        Ok(vec![Some(grad.permute(&inverse)?)])
    }

    fn flops(&self, _inputs: &[&Shape], _output: &Shape) -> u64 {
        0
    }
}

#[derive(Debug)]
struct Concat {
    axis: usize,
}

impl Operation for Concat {
    fn name(&self) -> &'static str {
        "concat"
    }

    fn attributes(&self) -> Vec<(&'static str, String)> {
        vec![("axis", self.axis.to_string())]
    }

    fn reads(&self) -> Reads {
        Reads::NOTHING
    }

    fn forward(&self, device: &dyn Device, inputs: &[&Array]) -> Result<Array> {
        require_float(self.name(), inputs)?;
        device.concat(inputs, self.axis)
    }

    fn is_piecewise_linear(&self, _varies: &[bool]) -> bool {
        true
    }

    fn tangent(&self, call: &Call<'_>, changes: &[Option<Tensor>]) -> Result<Tensor> {
        let parts = call
            .inputs
            .iter()
            .zip(changes)
            .map(|(input, change)| match change {
                Some(change) => Ok(change.clone()),
                None => Tensor::zeros(input.shape(), input.device()),
            })
            .collect::<Result<Vec<_>>>()?;
        concat(&parts.iter().collect::<Vec<_>>(), self.axis as isize)
    }

    fn backward(&self, call: &Call<'_>, grad: &Tensor) -> Result<Vec<Option<Tensor>>> {
        let mut start = 0;
        let mut gradients = Vec::with_capacity(call.inputs.len());
        for (index, input) in call.inputs.iter().enumerate() {
            let end = start + input.shape()[self.axis];
            gradients.push(call.want(index, || grad.slice(self.axis as isize, start, end))?);
            start = end;
        }
        Ok(gradients)
    }

    fn flops(&self, _inputs: &[&Shape], _output: &Shape) -> u64 {
        0
    }
}

/// Joined along an axis; the other sides must agree.
pub fn concat(parts: &[&Tensor], axis: isize) -> Result<Tensor> {
    let Some(first) = parts.first() else {
        return Err(Error::InvalidArgument {
            op: "concat",
            argument: "parts",
            value: "none".into(),
        });
    };
    let axis = first.shape().axis("concat", axis)?;
    for part in parts {
        let fits = part.shape().rank() == first.shape().rank()
            && (0..first.shape().rank()).all(|i| i == axis || part.shape()[i] == first.shape()[i]);
        if !fits {
            let (left, right) = (first.shape().clone(), part.shape().clone());
            return Err(Error::ShapeMismatch {
                op: "concat",
                left,
                right,
            });
        }
    }
    if let [only] = parts {
        return Ok((*only).clone());
    }
    apply(Concat { axis }, parts)
}

#[derive(Debug)]
struct GatherRows;

impl Operation for GatherRows {
    fn name(&self) -> &'static str {
        "gather_rows"
    }

    fn forward(&self, device: &dyn Device, inputs: &[&Array]) -> Result<Array> {
        require_float(self.name(), &inputs[..1])?;
        device.gather_rows(inputs[0], inputs[1])
    }

    fn is_piecewise_linear(&self, varies: &[bool]) -> bool {
        varies == [true, false]
    }

    fn tangent(&self, call: &Call<'_>, changes: &[Option<Tensor>]) -> Result<Tensor> {
        only(changes, self.name())?.gather_rows(&call.inputs[1])
    }

    fn backward(&self, call: &Call<'_>, grad: &Tensor) -> Result<Vec<Option<Tensor>>> {
        let rows = call.inputs[0].shape()[0];
        Ok(vec![
            call.want(0, || apply(ScatterAddRows { rows }, &[grad, &call.inputs[1]]))?,
            None,
        ])
    }

    fn flops(&self, _inputs: &[&Shape], _output: &Shape) -> u64 {
        0
    }
}

#[derive(Debug)]
struct ScatterAddRows {
    rows: usize,
}

impl Operation for ScatterAddRows {
    fn name(&self) -> &'static str {
        "scatter_add_rows"
    }

    fn attributes(&self) -> Vec<(&'static str, String)> {
        vec![("rows", self.rows.to_string())]
    }

    fn forward(&self, device: &dyn Device, inputs: &[&Array]) -> Result<Array> {
        require_float(self.name(), &inputs[..1])?;
        device.scatter_add_rows(inputs[0], inputs[1], self.rows)
    }

    fn backward(&self, call: &Call<'_>, grad: &Tensor) -> Result<Vec<Option<Tensor>>> {
        Ok(vec![
            call.want(0, || apply(GatherRows, &[grad, &call.inputs[1]]))?,
            None,
        ])
    }
}

impl Tensor {
    /// The same values with other sides of the same product.
    pub fn reshape(&self, shape: impl Into<Shape>) -> Result<Self> {
        let shape = shape.into().countable("reshape")?;
        if shape == *self.shape() {
            return Ok(self.clone());
        }
        if shape.num_elements() != self.shape().num_elements() {
            return Err(Error::ShapeMismatch {
                op: "reshape",
                left: self.shape().clone(),
                right: shape,
            });
        }
        apply(Reshape(shape), &[self])
    }

    /// All axes but the first merged: `[batch, features]`.
    pub fn flatten(&self) -> Result<Self> {
        let batch = self.shape().batch("flatten")?;
        self.reshape([batch, self.shape().num_elements() / batch.max(1)])
    }

    /// Axes in another order: axis `i` of the result is axis `order[i]`.
    pub fn permute(&self, order: &[usize]) -> Result<Self> {
        let mut sorted = order.to_vec();
        sorted.sort_unstable();
        if sorted.iter().copied().ne(0..self.shape().rank()) {
            let value = format!("{order:?} for shape {:?}", self.shape());
            return Err(Error::InvalidArgument {
                op: "permute",
                argument: "order",
                value,
            });
        }
        if order.is_sorted() {
            return Ok(self.clone());
        }
        apply(Permute(order.to_vec()), &[self])
    }

    /// The two axes of a matrix swapped.
    pub fn transpose(&self) -> Result<Self> {
        self.permute(&[1, 0])
    }

    /// Rows (along the first axis) in the order of `indices`: an embedding.
    ///
    /// # Shapes
    /// - `self`: `[rows, …]`
    /// - `indices`: u32, any shape, each below `rows`
    /// - returns: `[indices…, …]`
    pub fn gather_rows(&self, indices: &Self) -> Result<Self> {
        if indices.dtype() != DType::U32 {
            return Err(Error::UnsupportedDType {
                op: "gather_rows",
                got: indices.dtype(),
            });
        }
        self.shape().batch("gather_rows")?;
        apply(GatherRows, &[self, indices])
    }

    /// Converted to another dtype; gradients pass through as they are. Integers lose what follows the point.
    pub fn cast(&self, dtype: DType) -> Result<Self> {
        if dtype == self.dtype() {
            Ok(self.clone())
        } else {
            apply(Cast(dtype), &[self])
        }
    }
}

#[derive(Debug)]
struct Cast(DType);

impl Operation for Cast {
    fn name(&self) -> &'static str {
        "cast"
    }

    fn attributes(&self) -> Vec<(&'static str, String)> {
        vec![("dtype", self.0.to_string())]
    }

    fn reads(&self) -> Reads {
        Reads::NOTHING
    }

    fn forward(&self, device: &dyn Device, inputs: &[&Array]) -> Result<Array> {
        device.cast(inputs[0], self.0)
    }

    fn backward(&self, call: &Call<'_>, grad: &Tensor) -> Result<Vec<Option<Tensor>>> {
        Ok(vec![Some(grad.cast(call.inputs[0].dtype())?)])
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        Activation, ConvOptions, Cpu, MatmulOptions, NormOptions, Reference, batch_norm, conv, conv_transpose, linear,
        matmul,
    };

    use super::*;

    type Named = (&'static str, fn(&Tensor) -> Result<Tensor>);

    #[test]
    fn integers_are_rounded_towards_zero_and_held_to_their_range() {
        let values = [-1.5, 0.5, 1.5, 2.75, 300.0, f32::NAN];
        for device in [Cpu::shared(), Reference::shared()] {
            let x = Tensor::from_slice(&values, [6], &device).unwrap();
            let cast = |dtype| x.cast(dtype).unwrap().to_vec().unwrap();
            assert_eq!(cast(DType::U8), [0.0, 0.0, 1.0, 2.0, 255.0, 0.0]);
            assert_eq!(cast(DType::U32), [0.0, 0.0, 1.0, 2.0, 300.0, 0.0]);
        }
    }

    #[test]
    fn labels_and_pixels_are_not_computed_with() {
        let image: [Named; 14] = [
            ("permute", |x| x.permute(&[0, 2, 1])),
            ("concat", |x| concat(&[x, x], 0)),
            ("slice", |x| x.slice(1, 0, 1)),
            ("pad", |x| x.pad_zero(1, 1, 0)),
            ("flip", |x| x.flip(1)),
            ("broadcast", |x| x.broadcast_to([2, 2, 4, 2])),
            ("sum", |x| x.sum_keep(&[1])),
            ("max", |x| x.max_keep(&[1])),
            ("max_pool", |x| x.max_pool(2, 1, 0)),
            ("conv", |x| {
                conv(x, &Tensor::ones([1, 2, 2], x.device())?, None, ConvOptions::default())
            }),
            ("conv_transpose", |x| {
                conv_transpose(x, &Tensor::ones([1, 2, 2], x.device())?, None, ConvOptions::default())
            }),
            ("batch_norm", |x| Ok(batch_norm(x, None, NormOptions::default())?.0)),
            ("matmul", |x| {
                matmul(x, &Tensor::ones([2, 2], x.device())?, MatmulOptions::default())
            }),
            ("linear", |x| {
                linear(x, &Tensor::ones([2, 2], x.device())?, None, Activation::Identity)
            }),
        ];
        for device in [Cpu::shared(), Reference::shared()] {
            let words = Tensor::from_u32(&[7; 16], [2, 4, 2], &device).unwrap();
            let bytes = Tensor::from_bytes(&[7; 16], DType::U8, [2, 4, 2], &device).unwrap();
            let first = Tensor::from_u32(&[0], [1], &device).unwrap();
            for x in [&words, &bytes] {
                for (name, f) in image {
                    let error = f(x).expect_err(name);
                    assert!(matches!(error, Error::UnsupportedDType { .. }), "{name}: {error}");
                }
                assert!(x.gather_rows(&first).is_err());
                assert!(x.all_finite().unwrap());
            }
        }
    }
}
