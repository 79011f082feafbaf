//! Matrix products.

use crate::{
    Activation, Array, Call, Device, Error, Operation, Result, Shape, Tensor, apply,
    autograd::only,
    ops::{conv::sum_to_channels, elementwise::require_float},
    shape::{self, num_elements},
};

/// A batch of products `c[i] = a[i] · b[i]`, with `c[i]` of `m × n` and a reduction over `k`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct MatmulGeometry {
    /// Number of independent products.
    pub batch: usize,
    /// Rows of the result.
    pub m: usize,
    /// Length of the reduction.
    pub k: usize,
    /// Columns of the result.
    pub n: usize,
    /// `a[i]` is stored `k × m` rather than `m × k`.
    pub transpose_a: bool,
    /// `b[i]` is stored `n × k` rather than `k × n`.
    pub transpose_b: bool,
}

impl MatmulGeometry {
    /// Number of values of `a`.
    pub fn left_len(&self) -> usize {
        num_elements(&[self.batch, self.m, self.k])
    }

    /// Number of values of `b`.
    pub fn right_len(&self) -> usize {
        num_elements(&[self.batch, self.k, self.n])
    }

    /// Number of values of `c`.
    pub fn output_len(&self) -> usize {
        num_elements(&[self.batch, self.m, self.n])
    }
}

/// Which operands are stored transposed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MatmulOptions {
    /// `a` is `[…, k, m]`.
    pub transpose_a: bool,
    /// `b` is `[…, n, k]`.
    pub transpose_b: bool,
}

/// The plain reference.
pub fn reference(g: &MatmulGeometry, a: &[f64], b: &[f64]) -> Vec<f64> {
    let mut c = vec![0.0; g.output_len()];
    for i in 0..g.batch {
        let (a, b) = (&a[i * g.m * g.k..], &b[i * g.k * g.n..]);
        for row in 0..g.m {
            for column in 0..g.n {
                c[(i * g.m + row) * g.n + column] = (0..g.k)
                    .map(|j| {
                        let a = if g.transpose_a {
                            a[j * g.m + row]
                        } else {
                            a[row * g.k + j]
                        };
                        let b = if g.transpose_b {
                            b[column * g.k + j]
                        } else {
                            b[j * g.n + column]
                        };
                        a * b
                    })
                    .sum();
            }
        }
    }
    c
}

/// A matrix product, or a batch of them.
///
/// # Shapes
/// - `a`: `[batch…, m, k]`, `b`: `[batch…, k, n]` with the same batch, or `[k, n]` for all; transposed by the options
/// - returns: `[batch…, m, n]`
pub fn matmul(a: &Tensor, b: &Tensor, options: MatmulOptions) -> Result<Tensor> {
    product(a, b, None, options, Activation::Identity)
}

/// A fully connected layer: `activation(x · weight + bias)`.
///
/// # Shapes
/// - `x`: `[…, in]`, `weight`: `[in, out]`, `bias`: `[out]`
/// - returns: `[…, out]`
///
/// # Errors
/// [`Error::InvalidArgument`] for a leaky relu of negative slope.
pub fn linear(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>, activation: Activation) -> Result<Tensor> {
    let op = "linear";
    activation.keeps_sign(op)?;
    if weight.shape().rank() != 2 || x.shape().rank() == 0 || x.shape().channels() != weight.side(0) {
        return Err(Error::ShapeMismatch {
            op,
            left: x.shape().clone(),
            right: weight.shape().clone(),
        });
    }
    if let Some(bias) = bias.filter(|bias| **bias.shape() != [weight.side(1)]) {
        return Err(Error::ShapeMismatch {
            op,
            left: weight.shape().clone(),
            right: bias.shape().clone(),
        });
    }
    let mut shape = x.shape().to_vec();
    *shape.last_mut().expect("rank checked above") = weight.side(1);
    let rows = x.reshape([x.shape().num_elements() / weight.side(0).max(1), weight.side(0)])?;
    product(&rows, weight, bias, MatmulOptions::default(), activation)?.reshape(shape)
}

fn product(
    a: &Tensor,
    b: &Tensor,
    bias: Option<&Tensor>,
    options: MatmulOptions,
    activation: Activation,
) -> Result<Tensor> {
    let mismatch = || Error::ShapeMismatch {
        op: "matmul",
        left: a.shape().clone(),
        right: b.shape().clone(),
    };
    let (rank_a, rank_b) = (a.shape().rank(), b.shape().rank());
    if rank_a < 2 || rank_b < 2 || (rank_b > 2 && a.shape()[..rank_a - 2] != b.shape()[..rank_b - 2]) {
        return Err(mismatch());
    }
    let (mut m, mut k) = (a.side(-2), a.side(-1));
    let (mut kb, mut n) = (b.side(-2), b.side(-1));
    if options.transpose_a {
        (m, k) = (k, m);
    }
    if options.transpose_b {
        (kb, n) = (n, kb);
    }
    if k != kb {
        return Err(mismatch());
    }
    let output = Shape::from([&a.shape()[..rank_a - 2], &[m, n]].concat()).countable("matmul")?;
    let batch = shape::product(&a.shape()[..rank_a - 2]).ok_or_else(mismatch)?;
    let one_weight = rank_b == 2 && rank_a > 2;
    if one_weight && options.transpose_a {
        let mut order: Vec<usize> = (0..rank_a).collect();
        order.swap(rank_a - 2, rank_a - 1);
        let options = MatmulOptions {
            transpose_a: false,
            ..options
        };
        return product(&a.permute(&order)?, b, bias, options, activation);
    }
    if one_weight {
        // One weight for every row of the batch: a single tall product.
        let rows = shape::product(&[batch, m]).ok_or_else(mismatch)?;
        return product(&a.reshape([rows, k])?, b, bias, options, activation)?.reshape(output);
    }
    let geometry = MatmulGeometry {
        batch,
        m,
        k,
        n,
        transpose_a: options.transpose_a,
        transpose_b: options.transpose_b,
    };
    let operation = Matmul {
        geometry,
        options,
        output,
        activation,
    };
    match bias {
        Some(bias) => apply(operation, &[a, b, bias]),
        None => apply(operation, &[a, b]),
    }
}

#[derive(Debug)]
struct Matmul {
    geometry: MatmulGeometry,
    options: MatmulOptions,
    output: Shape,
    activation: Activation,
}

impl Operation for Matmul {
    fn name(&self) -> &'static str {
        "matmul"
    }

    fn attributes(&self) -> Vec<(&'static str, String)> {
        vec![
            ("transpose_a", self.options.transpose_a.to_string()),
            ("transpose_b", self.options.transpose_b.to_string()),
            ("activation", format!("{:?}", self.activation)),
        ]
    }

    fn forward(&self, device: &dyn Device, inputs: &[&Array]) -> Result<Array> {
        require_float(self.name(), inputs)?;
        let c = device.matmul(
            &self.geometry,
            inputs[0],
            inputs[1],
            inputs.get(2).copied(),
            self.activation,
        )?;
        Ok(c.reshaped(self.output.clone()))
    }

    fn is_piecewise_linear(&self, varies: &[bool]) -> bool {
        self.activation.is_piecewise_linear() && varies[0] && !varies[1..].contains(&true)
    }

    fn tangent(&self, call: &Call<'_>, changes: &[Option<Tensor>]) -> Result<Tensor> {
        let product = matmul(only(changes, self.name())?, &call.inputs[1], self.options)?;
        self.activation.backward(&product, call.output)
    }

    fn backward(&self, call: &Call<'_>, grad: &Tensor) -> Result<Vec<Option<Tensor>>> {
        let (a, b) = (&call.inputs[0], &call.inputs[1]);
        let MatmulOptions {
            transpose_a,
            transpose_b,
        } = self.options;
        let options = |transpose_a, transpose_b| MatmulOptions {
            transpose_a,
            transpose_b,
        };
        let grad = self.activation.backward(grad, call.output)?;
        let for_a = || {
            if transpose_a {
                matmul(b, &grad, options(transpose_b, true))
            } else {
                matmul(&grad, b, options(false, !transpose_b))
            }
        };
        let for_b = || {
            let full = if transpose_b {
                matmul(&grad, a, options(true, transpose_a))?
            } else {
                matmul(a, &grad, options(!transpose_a, false))?
            };
            full.sum_to(b.shape())
        };
        let mut gradients = vec![call.want(0, for_a)?, call.want(1, for_b)?];
        if call.inputs.len() == 3 {
            gradients.push(call.want(2, || sum_to_channels(&grad))?);
        }
        Ok(gradients)
    }

    fn flops(&self, _inputs: &[&Shape], _output: &Shape) -> u64 {
        let g = &self.geometry;
        2 * (g.batch * g.m * g.k * g.n) as u64
    }
}

#[cfg(test)]
mod tests {
    use crate::Cpu;

    use super::*;

    #[test]
    fn a_leaky_relu_that_hides_the_sign_is_refused() {
        let device = Cpu::shared();
        let zeros = Tensor::zeros([2, 2], &device).unwrap();
        for (slope, fits) in [(0.2, true), (0.0, true), (-0.2, false), (f32::NAN, false)] {
            let made = linear(&zeros, &zeros, None, Activation::LeakyRelu(slope));
            assert_eq!(made.is_ok(), fits, "{slope}");
        }
    }

    #[test]
    fn results_that_cannot_be_counted_are_refused() {
        let device = Cpu::shared();
        let zeros = |shape: &[usize]| Tensor::zeros(shape, &device).unwrap();
        let options = MatmulOptions::default();
        // Wrapped around, the first result would have 16 values.
        for (a, b) in [
            ([(1 << 60) + 1, 0].as_slice(), [0, 16].as_slice()),
            (&[1 << 40, 1 << 40, 0], &[0, 4]),
            (&[1 << 40, 1 << 40, 3, 0], &[0, 0]),
        ] {
            assert!(matmul(&zeros(a), &zeros(b), options).is_err(), "{a:?} and {b:?}");
        }
        assert_eq!(
            **matmul(&zeros(&[3, 0]), &zeros(&[0, 2]), options).unwrap().shape(),
            [3, 2]
        );
    }
}
