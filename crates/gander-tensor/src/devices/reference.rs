//! Plain loops in double precision that anyone can read, and that every fast kernel is compared with.

use std::sync::Arc;

use half::bf16;

use crate::{
    Activation, AdamStep, Array, BatchStatistics, BinaryOp, DType, Device, DeviceRef, Epilogue, Error, Gate,
    NormGeometry, NormPass, Result, Shape, UnaryOp,
    kernels::random::{normal_at, uniform_at},
    ops::{
        conv::{self, ConvGeometry},
        layout,
        matmul::{self, MatmulGeometry},
        norm,
        pool::{self, PoolGeometry},
        reduce::{self, ReduceOp},
        resample::{self, AxisMap},
    },
};

/// A device of plain loops.
///
/// Floating-point values are kept in double precision whatever their dtype says, and rounded only when they are
/// downloaded: results are exact to about 1e-15, which is what central differences need.
#[derive(Debug, Default)]
pub struct Reference;

impl Reference {
    /// A handle to share.
    pub fn shared() -> DeviceRef {
        Arc::new(Self)
    }
}

fn floats(x: &Array) -> &[f64] {
    x.storage()
        .downcast_ref::<Vec<f64>>()
        .expect("storage of the reference device")
}

fn words(x: &Array) -> &[u32] {
    x.storage()
        .downcast_ref::<Vec<u32>>()
        .expect("integer storage of the reference device")
}

fn array(shape: impl Into<Shape>, dtype: DType, values: Vec<f64>) -> Array {
    Array::new(shape, dtype, Arc::new(values))
}

fn flat(like: &Array, values: Vec<f64>) -> Array {
    array([values.len()], like.dtype(), values)
}

fn integers(shape: impl Into<Shape>, dtype: DType, values: Vec<u32>) -> Array {
    Array::new(shape, dtype, Arc::new(values))
}

/// The bias and the activation after a convolution or a product.
fn finish(mut y: Vec<f64>, bias: Option<&Array>, act: Activation) -> Vec<f64> {
    if let Some(bias) = bias.map(floats) {
        for (i, value) in y.iter_mut().enumerate() {
            *value += bias[i % bias.len()];
        }
    }
    if let Some(op) = act.as_unary() {
        for value in &mut y {
            *value = op.reference(*value);
        }
    }
    y
}

/// All that may follow a convolution.
fn follow(y: Vec<f64>, after: Epilogue<'_>) -> Vec<f64> {
    let mut y = finish(y, after.bias, after.activation);
    if let Some(Gate { result, slope }) = after.gate {
        let op = BinaryOp::LeakyReluGrad(slope);
        let gates = y.iter_mut().zip(floats(result));
        gates.for_each(|(value, &result)| *value = op.reference(*value, result));
    }
    if let Some(added) = after.added {
        y.iter_mut()
            .zip(floats(added))
            .for_each(|(value, &added)| *value += added);
    }
    y
}

/// The index into an operand of `shape` for each position of a broadcast result.
fn broadcast_indices(shape: &Shape, result: &Shape) -> Vec<usize> {
    let missing = result.rank() - shape.rank();
    let mut position = vec![0; result.rank()];
    (0..result.num_elements())
        .map(|_| {
            let index = position[missing..]
                .iter()
                .zip(shape.iter())
                .fold(0, |index, (&p, &side)| index * side + if side == 1 { 0 } else { p });
            layout::advance(&mut position, result);
            index
        })
        .collect()
}

impl Device for Reference {
    fn name(&self) -> String {
        "reference".into()
    }

    fn upload(&self, bytes: &[u8], dtype: DType, shape: &Shape) -> Result<Array> {
        let quads = || bytes.chunks_exact(4).map(|b| [b[0], b[1], b[2], b[3]]);
        Ok(match dtype {
            DType::F32 => array(
                shape,
                dtype,
                quads().map(|b| f64::from(f32::from_le_bytes(b))).collect(),
            ),
            DType::Bf16 => {
                let pairs = bytes
                    .chunks_exact(2)
                    .map(|b| bf16::from_le_bytes([b[0], b[1]]).to_f64());
                array(shape, dtype, pairs.collect())
            }
            DType::U32 => integers(shape, dtype, quads().map(u32::from_le_bytes).collect()),
            DType::U8 => integers(shape, dtype, bytes.iter().map(|&b| u32::from(b)).collect()),
        })
    }

    fn download(&self, x: &Array) -> Result<Vec<u8>> {
        Ok(match x.dtype() {
            DType::F32 => floats(x).iter().flat_map(|&v| (v as f32).to_le_bytes()).collect(),
            DType::Bf16 => floats(x)
                .iter()
                .flat_map(|&v| bf16::from_f64(v).to_le_bytes())
                .collect(),
            DType::U32 => words(x).iter().flat_map(|&v| v.to_le_bytes()).collect(),
            DType::U8 => words(x).iter().map(|&v| v as u8).collect(),
        })
    }

    fn download_f64(&self, x: &Array) -> Result<Vec<f64>> {
        Ok(if x.dtype().is_float() {
            floats(x).to_vec()
        } else {
            words(x).iter().map(|&v| f64::from(v)).collect()
        })
    }

    fn full(&self, shape: &Shape, value: f32) -> Result<Array> {
        Ok(array(shape, DType::F32, vec![f64::from(value); shape.num_elements()]))
    }

    fn cast(&self, x: &Array, dtype: DType) -> Result<Array> {
        let values = self.download_f64(x)?;
        Ok(match dtype {
            DType::F32 => array(x.shape(), dtype, values),
            DType::Bf16 => array(
                x.shape(),
                dtype,
                values.iter().map(|&v| bf16::from_f64(v).to_f64()).collect(),
            ),
            DType::U32 => integers(x.shape(), dtype, values.iter().map(|&v| v as u32).collect()),
            DType::U8 => integers(x.shape(), dtype, values.iter().map(|&v| u32::from(v as u8)).collect()),
        })
    }

    fn uniform(&self, shape: &Shape, key: u64, counter: u64) -> Result<Array> {
        let value = |i| f64::from(uniform_at(key, counter, i as u64));
        Ok(array(shape, DType::F32, (0..shape.num_elements()).map(value).collect()))
    }

    fn normal(&self, shape: &Shape, key: u64, counter: u64) -> Result<Array> {
        let value = |i| f64::from(normal_at(key, counter, i as u64));
        Ok(array(shape, DType::F32, (0..shape.num_elements()).map(value).collect()))
    }

    fn unary(&self, op: UnaryOp, x: &Array) -> Result<Array> {
        Ok(array(
            x.shape(),
            x.dtype(),
            floats(x).iter().map(|&v| op.reference(v)).collect(),
        ))
    }

    fn binary(&self, op: BinaryOp, a: &Array, b: &Array, shape: &Shape) -> Result<Array> {
        let (left, right) = (broadcast_indices(a.shape(), shape), broadcast_indices(b.shape(), shape));
        let pairs = left.into_iter().zip(right);
        Ok(array(
            shape,
            a.dtype(),
            pairs.map(|(i, j)| op.reference(floats(a)[i], floats(b)[j])).collect(),
        ))
    }

    fn broadcast(&self, x: &Array, shape: &Shape) -> Result<Array> {
        let values = broadcast_indices(x.shape(), shape)
            .into_iter()
            .map(|i| floats(x)[i])
            .collect();
        Ok(array(shape, x.dtype(), values))
    }

    fn reduce(&self, op: ReduceOp, x: &Array, axes: &[bool]) -> Result<Array> {
        let kept: Vec<usize> = x
            .shape()
            .iter()
            .zip(axes)
            .map(|(&side, &gone)| if gone { 1 } else { side })
            .collect();
        Ok(array(
            kept,
            x.dtype(),
            reduce::reference(op, floats(x), x.shape(), axes),
        ))
    }

    fn permute(&self, x: &Array, order: &[usize]) -> Result<Array> {
        let shape: Vec<usize> = order.iter().map(|&axis| x.shape()[axis]).collect();
        Ok(array(
            shape,
            x.dtype(),
            layout::permute_reference(floats(x), x.shape(), order),
        ))
    }

    fn concat(&self, parts: &[&Array], axis: usize) -> Result<Array> {
        let first = parts[0].shape();
        let outer: usize = first[..axis].iter().product();
        let mut values = Vec::new();
        for row in 0..outer {
            for part in parts {
                let len: usize = part.shape()[axis..].iter().product();
                values.extend_from_slice(&floats(part)[row * len..(row + 1) * len]);
            }
        }
        let mut shape = first.to_vec();
        shape[axis] = parts.iter().map(|part| part.shape()[axis]).sum();
        Ok(array(shape, parts[0].dtype(), values))
    }

    fn map_axis(&self, x: &Array, axis: usize, map: &AxisMap) -> Result<Array> {
        let outer = x.shape()[..axis].iter().product();
        let inner = x.shape()[axis + 1..].iter().product();
        let mut shape = x.shape().to_vec();
        shape[axis] = map.out_len;
        Ok(array(
            shape,
            x.dtype(),
            resample::reference(map, floats(x), outer, inner),
        ))
    }

    fn gather_rows(&self, table: &Array, indices: &Array) -> Result<Array> {
        let len: usize = table.shape()[1..].iter().product();
        let row = |&i: &u32| {
            let start = i as usize * len;
            floats(table)
                .get(start..start + len)
                .ok_or_else(|| index_error(i, table.shape()))
        };
        let rows = words(indices).iter().map(row).collect::<Result<Vec<_>>>()?;
        let shape = [&**indices.shape(), &table.shape()[1..]].concat();
        Ok(array(shape, table.dtype(), rows.concat()))
    }

    fn scatter_add_rows(&self, values: &Array, indices: &Array, rows: usize) -> Result<Array> {
        let tail = &values.shape()[indices.shape().rank()..];
        let len: usize = tail.iter().product();
        let mut table = vec![0.0; rows * len];
        for (n, &i) in words(indices).iter().enumerate() {
            for c in 0..len {
                table[i as usize * len + c] += floats(values)[n * len + c];
            }
        }
        Ok(array([&[rows], tail].concat(), values.dtype(), table))
    }

    fn matmul(&self, g: &MatmulGeometry, a: &Array, b: &Array, bias: Option<&Array>, act: Activation) -> Result<Array> {
        Ok(flat(a, finish(matmul::reference(g, floats(a), floats(b)), bias, act)))
    }

    fn conv(&self, g: &ConvGeometry, x: &Array, w: &Array, after: Epilogue<'_>) -> Result<Array> {
        Ok(flat(x, follow(conv::reference(g, floats(x), floats(w)), after)))
    }

    fn conv_input_grad(&self, g: &ConvGeometry, dy: &Array, w: &Array, after: Epilogue<'_>) -> Result<Array> {
        Ok(flat(
            dy,
            follow(conv::input_grad_reference(g, floats(dy), floats(w)), after),
        ))
    }

    fn conv_weight_grad(&self, g: &ConvGeometry, x: &Array, dy: &Array) -> Result<Array> {
        Ok(flat(x, conv::weight_grad_reference(g, floats(x), floats(dy))))
    }

    fn max_pool_indices(&self, g: &PoolGeometry, x: &Array) -> Result<Array> {
        let indices = pool::max_indices_reference(g, floats(x));
        Ok(integers([indices.len()], DType::U32, indices))
    }

    fn moments(&self, g: NormGeometry, x: &Array) -> Result<BatchStatistics> {
        let (mean, variance) = norm::moments_reference(g, floats(x));
        let shape = [g.groups, g.channels];
        Ok(BatchStatistics {
            mean: array(shape, DType::F32, mean),
            variance: array(shape, DType::F32, variance),
        })
    }

    fn normalize(
        &self,
        g: NormGeometry,
        x: &Array,
        mean: &Array,
        inv_std: &Array,
        affine: Option<(&Array, &Array)>,
        act: Activation,
    ) -> Result<Array> {
        let affine = affine.map(|(scale, shift)| (floats(scale), floats(shift)));
        let y = norm::reference(g, floats(x), (floats(mean), floats(inv_std)), affine, act.as_unary());
        Ok(array(x.shape(), x.dtype(), y))
    }

    fn normalize_backward(&self, g: NormGeometry, dy: &Array, pass: &NormPass<'_>) -> Result<[Array; 3]> {
        let NormPass {
            x,
            scale,
            shift,
            activation,
            ..
        } = *pass;
        let (mean, inv_std) = (floats(pass.mean), floats(pass.inv_std));
        let slope = f64::from(activation.slope().unwrap_or(1.0));
        let mut dx = vec![0.0; x.num_elements()];
        let maps = g.maps * g.channels;
        let (mut dscale, mut dshift) = (vec![0.0; maps], vec![0.0; maps]);
        for group in 0..g.groups {
            for c in 0..g.channels {
                let at = group * g.channels + c;
                let rows = || (0..g.rows).map(|row| (group * g.rows + row) * g.channels + c);
                let map_of = |i: usize| norm::of_value(g, i)[1];
                let scale_of = |i: usize| scale.map_or(1.0, |scale| floats(scale)[map_of(i)]);
                let shift_of = |i: usize| shift.map_or(0.0, |shift| floats(shift)[map_of(i)]);
                let standardized = |i: usize| (floats(x)[i] - mean[at]) * inv_std[at];
                let before = |i: usize| {
                    let y = scale_of(i) * standardized(i) + shift_of(i);
                    floats(dy)[i] * if y > 0.0 { 1.0 } else { slope }
                };
                let scaled = |i: usize| scale_of(i) * before(i);
                let sum: f64 = rows().map(scaled).sum();
                let along: f64 = rows().map(|i| scaled(i) * standardized(i)).sum();
                for i in rows() {
                    let centered = scaled(i) - (sum + standardized(i) * along) / g.rows as f64;
                    dx[i] = inv_std[at] * centered;
                    dscale[map_of(i)] += before(i) * standardized(i);
                    dshift[map_of(i)] += before(i);
                }
            }
        }
        let by_map = |values| array([g.maps, g.channels], DType::F32, values);
        Ok([array(x.shape(), x.dtype(), dx), by_map(dscale), by_map(dshift)])
    }

    fn adam(&self, w: &mut Array, m: &mut Array, v: &mut Array, grad: &Array, step: AdamStep) -> Result<()> {
        let [lr, beta1, beta2, eps, correction1, correction2] = [
            step.lr,
            step.beta1,
            step.beta2,
            step.eps,
            step.bias_correction1,
            step.bias_correction2,
        ]
        .map(f64::from);
        let (mut weights, mut means, mut squares) = (floats(w).to_vec(), floats(m).to_vec(), floats(v).to_vec());
        for (i, &g) in floats(grad).iter().enumerate() {
            means[i] = beta1 * means[i] + (1.0 - beta1) * g;
            squares[i] = beta2 * squares[i] + (1.0 - beta2) * g * g;
            weights[i] -= lr * (means[i] / correction1) / ((squares[i] / correction2).sqrt() + eps);
        }
        for (array, values) in [(w, weights), (m, means), (v, squares)] {
            *array.storage_mut() = Arc::new(values);
        }
        Ok(())
    }

    fn lerp(&self, a: &mut Array, b: &Array, t: f32) -> Result<()> {
        let moved = floats(a)
            .iter()
            .zip(floats(b))
            .map(|(&a, &b)| a + f64::from(t) * (b - a))
            .collect::<Vec<_>>();
        *a.storage_mut() = Arc::new(moved);
        Ok(())
    }

    fn all_finite(&self, x: &Array) -> Result<bool> {
        Ok(!x.dtype().is_float() || floats(x).iter().all(|v| v.is_finite()))
    }
}

/// A row that a table does not have.
pub(crate) fn index_error(index: u32, table: &Shape) -> Error {
    Error::InvalidArgument {
        op: "gather_rows",
        argument: "index",
        value: format!("{index} for table {table:?}"),
    }
}
