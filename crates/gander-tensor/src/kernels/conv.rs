//! Convolutions, their input gradients (transposed convolutions) and their weight gradients.
//!
//! [`plan`] says which products there are, [`field`] brings the source of some of them together, [`forward`] and
//! [`weight_grad`] drive the register tiles of [`super::gemm`] over them. Dense convolutions with kernels of three and
//! of four are computed with fewer multiplications where that takes less time ([`winograd`]).

mod border;
mod field;
mod forward;
mod plan;
#[cfg(test)]
mod tests;
mod weight_grad;
mod winograd;

use forward::Reduce;
use plan::Plan;
use winograd::Pass;

use super::{
    Context, elementwise,
    gemm::{After, MAX_OUTS, matmul},
};
use crate::{
    Activation,
    ops::{conv::ConvGeometry, matmul::MatmulGeometry},
};

/// `y = conv(x, w)`, and what follows.
pub(crate) fn conv(ctx: &Context, g: &ConvGeometry, x: &[f32], w: &[f32], after: After<'_>, y: &mut [f32]) {
    check(g, x, w, y);
    check_after(after, g.out_channels, y.len());
    if let Some(product) = as_product(g) {
        matmul(ctx, &product, x, w, after.bias, after.activation, y);
        return follow(ctx, after, y);
    }
    let (inner, rest) = after.apart();
    if let Some(tiling) = winograd::tiling(ctx, g, Pass::Forward) {
        tiling.run(ctx, x, w, inner, y);
    } else {
        forward::run(ctx, &Plan::forward(g), (x, w, Reduce::Middle), inner, y);
    }
    follow(ctx, rest, y);
}

/// The gradient for the input, which is the transposed convolution: `dx = convᵀ(dy, w)`, and what follows.
pub(crate) fn conv_input_grad(
    ctx: &Context,
    g: &ConvGeometry,
    dy: &[f32],
    w: &[f32],
    after: After<'_>,
    dx: &mut [f32],
) {
    check(g, dx, w, dy);
    check_after(after, g.in_channels, dx.len());
    if let Some(MatmulGeometry { m, k, n, .. }) = as_product(g) {
        let product = MatmulGeometry {
            m,
            k: n,
            n: k,
            transpose_b: true,
            ..PRODUCT
        };
        let repeated = after.bias.map(|bias| bias.repeat(k / g.in_channels));
        matmul(ctx, &product, dy, w, repeated.as_deref(), after.activation, dx);
        return follow(ctx, after, dx);
    }
    let (inner, rest) = after.apart();
    if let Some(tiling) = winograd::tiling(ctx, g, Pass::InputGrad) {
        tiling.run(ctx, dy, w, inner, dx);
    } else {
        forward::run(ctx, &Plan::backward(g), (dy, w, Reduce::Last), inner, dx);
    }
    follow(ctx, rest, dx);
}

/// Gate and addition in passes of their own.
fn follow(ctx: &Context, after: After<'_>, y: &mut [f32]) {
    if let Some((result, slope)) = after.gate {
        elementwise::gate(ctx, y, result, slope);
    }
    if let Some(added) = after.added {
        elementwise::add_onto(ctx, y, added);
    }
}

/// The gradient for the weight.
pub(crate) fn conv_weight_grad(ctx: &Context, g: &ConvGeometry, x: &[f32], dy: &[f32], dw: &mut [f32]) {
    check(g, x, dw, dy);
    // With few columns transposing the images would cost more than the product.
    let product = as_product(g).filter(|product| product.n > MAX_OUTS);
    if let Some(MatmulGeometry { m, k, n, .. }) = product {
        let product = MatmulGeometry {
            m: k,
            k: m,
            n,
            transpose_a: true,
            ..PRODUCT
        };
        return matmul(ctx, &product, x, dy, None, Activation::Identity, dw);
    }
    if let Some(tiling) = winograd::tiling(ctx, g, Pass::WeightGrad) {
        return tiling.weight_grad(ctx, x, dy, dw);
    }
    weight_grad::run(ctx, &Plan::forward(g), x, dy, dw);
}

const PRODUCT: MatmulGeometry = MatmulGeometry {
    batch: 1,
    m: 0,
    k: 0,
    n: 0,
    transpose_a: false,
    transpose_b: false,
};

/// A convolution whose kernel covers its whole input is a product of matrices, each image a row.
fn as_product(g: &ConvGeometry) -> Option<MatmulGeometry> {
    let covers = g.groups == 1 && g.kernel == g.input && g.output == [1; 3] && g.padding == [0; 3];
    covers.then(|| MatmulGeometry {
        m: g.batch,
        k: g.kernel.iter().product::<usize>() * g.in_channels,
        n: g.out_channels,
        ..PRODUCT
    })
}

fn check_after(after: After<'_>, channels: usize, values: usize) {
    assert!(after.bias.is_none_or(|bias| bias.len() == channels));
    assert!(after.gate.is_none_or(|(result, _)| result.len() == values));
    assert!(after.added.is_none_or(|added| added.len() == values));
}

fn check(g: &ConvGeometry, x: &[f32], w: &[f32], y: &[f32]) {
    assert_eq!(
        [x.len(), w.len(), y.len()],
        [g.input_len(), g.weight_len(), g.output_len()]
    );
    assert!(g.in_channels.is_multiple_of(g.groups) && g.out_channels.is_multiple_of(g.groups));
    assert!((0..3).all(|axis| g.stride[axis] > 0));
}
