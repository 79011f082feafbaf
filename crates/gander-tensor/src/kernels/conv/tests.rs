use half::bf16;

use super::*;
use crate::{
    kernels::{
        isa::{Isa, Precision},
        memory::Pool,
        threads::ThreadPool,
    },
    ops::conv::{input_grad_reference, reference, weight_grad_reference},
};

/// `[batch, in, out, groups]`, and for each axis from the last: `[input, kernel, stride, dilation, before, after]`.
type Case = ([usize; 4], &'static [[usize; 6]]);

const CASES: &[Case] = &[
    // One by one, and a batch of pixels that fills no tile.
    ([3, 5, 7, 1], &[[4, 1, 1, 1, 0, 0], [3, 1, 1, 1, 0, 0]]),
    ([1, 64, 128, 1], &[[9, 1, 1, 1, 0, 0], [9, 1, 1, 1, 0, 0]]),
    // Three by three, around and without a border.
    ([2, 16, 33, 1], &[[7, 3, 1, 1, 1, 1], [6, 3, 1, 1, 1, 1]]),
    ([2, 3, 64, 1], &[[9, 3, 1, 1, 0, 0], [8, 3, 1, 1, 0, 0]]),
    ([1, 40, 3, 1], &[[8, 3, 1, 1, 1, 1], [9, 3, 1, 1, 1, 1]]),
    ([2, 70, 80, 1], &[[5, 3, 1, 1, 1, 1], [5, 3, 1, 1, 1, 1]]),
    // Four by four with a stride of two, down to single positions.
    ([2, 3, 20, 1], &[[16, 4, 2, 1, 1, 1], [16, 4, 2, 1, 1, 1]]),
    ([7, 40, 72, 1], &[[8, 4, 2, 1, 1, 1], [8, 4, 2, 1, 1, 1]]),
    ([3, 130, 20, 1], &[[4, 4, 1, 1, 0, 0], [4, 4, 1, 1, 0, 0]]),
    ([5, 33, 1, 1], &[[4, 4, 1, 1, 0, 0], [4, 4, 1, 1, 0, 0]]),
    // Borders that differ, sides that the stride does not divide, taps that never meet data.
    ([2, 6, 5, 1], &[[11, 4, 3, 1, 2, 0], [7, 3, 2, 1, 0, 3]]),
    ([1, 9, 11, 1], &[[3, 5, 1, 1, 4, 1], [2, 3, 2, 1, 2, 2]]),
    ([1, 2, 3, 1], &[[5, 1, 3, 1, 0, 0], [8, 2, 4, 1, 0, 0]]),
    // Dilation, alone and with a stride.
    ([2, 7, 17, 1], &[[12, 3, 1, 2, 2, 2], [10, 3, 1, 3, 3, 0]]),
    ([2, 8, 9, 1], &[[13, 3, 2, 3, 1, 2], [9, 2, 2, 2, 1, 1]]),
    // Groups, also of odd and of single channels, and depthwise.
    ([2, 48, 48, 3], &[[7, 3, 1, 1, 1, 1], [6, 3, 1, 1, 1, 1]]),
    ([1, 9, 6, 3], &[[6, 3, 2, 1, 1, 1], [5, 3, 1, 1, 1, 1]]),
    ([2, 4, 12, 4], &[[6, 3, 1, 1, 1, 1], [5, 3, 1, 1, 1, 1]]),
    ([2, 37, 37, 37], &[[10, 4, 2, 1, 1, 1], [8, 4, 2, 1, 1, 1]]),
    ([1, 64, 64, 64], &[[6, 3, 1, 1, 1, 1], [6, 3, 1, 1, 1, 1]]),
    ([1, 5, 5, 5], &[[7, 3, 1, 1, 0, 0], [7, 3, 1, 1, 0, 0]]),
    // One axis and three.
    ([2, 3, 18, 1], &[[700, 25, 4, 1, 11, 10]]),
    ([1, 17, 1, 1], &[[300, 7, 1, 1, 3, 3]]),
    (
        [2, 5, 6, 1],
        &[[5, 3, 1, 1, 1, 1], [6, 4, 2, 1, 1, 1], [4, 3, 2, 1, 1, 0]],
    ),
    (
        [1, 16, 32, 2],
        &[[5, 3, 1, 2, 2, 2], [4, 3, 1, 1, 1, 1], [6, 2, 2, 1, 0, 0]],
    ),
    // A reduction longer than a block of weights.
    ([1, 600, 66, 1], &[[4, 3, 1, 1, 1, 1], [4, 3, 1, 1, 1, 1]]),
];

fn geometry(&([batch, in_channels, out_channels, groups], axes): &Case) -> ConvGeometry {
    let at = |axis: usize, index: usize, fill: usize| axes.get(2 - axis).map_or(fill, |values| values[index]);
    let every = |index, fill| [0, 1, 2].map(|axis| at(axis, index, fill));
    let (input, kernel, stride, dilation) = (every(0, 1), every(1, 1), every(2, 1), every(3, 1));
    let (padding, after) = (every(4, 0), every(5, 0));
    let output = [0, 1, 2].map(|axis| {
        (input[axis] + padding[axis] + after[axis] - dilation[axis] * (kernel[axis] - 1) - 1) / stride[axis] + 1
    });
    ConvGeometry {
        batch,
        input,
        output,
        kernel,
        stride,
        dilation,
        padding,
        in_channels,
        out_channels,
        groups,
    }
}

pub(super) fn contexts(threads: usize) -> impl Iterator<Item = Context> {
    Isa::ALL.into_iter().filter(|isa| isa.available()).flat_map(move |isa| {
        [Precision::F32, Precision::Bf16]
            .into_iter()
            .filter(move |&precision| precision == Precision::F32 || isa.has_bf16())
            .map(move |precision| Context {
                isa,
                precision,
                threads: ThreadPool::new(threads),
                pool: Pool::new(),
            })
    })
}

/// Numbers of both signs between a quarter and one.
pub(super) fn numbers(len: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..len)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let size = 0.25 + 0.75 * ((state >> 40) as f32 / (1 << 24) as f32);
            if state & 1 == 0 { size } else { -size }
        })
        .collect()
}

/// What the products see: the numbers, or the nearest bfloat16.
fn seen(ctx: &Context, depthwise: bool, values: &[f32]) -> Vec<f64> {
    let rounds = ctx.precision == Precision::Bf16 && !depthwise;
    values
        .iter()
        .map(|&v| {
            if rounds {
                bf16::from_f32(v).to_f64()
            } else {
                f64::from(v)
            }
        })
        .collect()
}

/// Compares sums with exact ones. A sum of `terms` products is off by at most `(terms + 1) · ε · Σ |product|`, where
/// ε is half the distance between neighbors (2⁻²⁴).
fn assert_sums(got: &[f32], exact: &[f64], sizes: &[f64], terms: usize, what: &str) {
    assert_eq!(got.len(), exact.len());
    let epsilon = f64::from(f32::EPSILON) / 2.0;
    for (i, ((&got, &exact), &size)) in got.iter().zip(exact).zip(sizes).enumerate() {
        let error = (f64::from(got) - exact).abs();
        let bound = (terms + 1) as f64 * epsilon * size;
        assert!(
            error <= bound,
            "{what}: at {i} {got} for {exact}, off by {error:e} where {bound:e} is possible"
        );
    }
}

pub(super) fn absolute(values: &[f64]) -> Vec<f64> {
    values.iter().map(|v| v.abs()).collect()
}

fn conv_of(ctx: &Context, g: &ConvGeometry, x: &[f32], w: &[f32]) -> Vec<f32> {
    let mut y = vec![f32::NAN; g.output_len()];
    conv(ctx, g, x, w, After::default(), &mut y);
    y
}

fn input_grad_of(ctx: &Context, g: &ConvGeometry, dy: &[f32], w: &[f32]) -> Vec<f32> {
    let mut dx = vec![f32::NAN; g.input_len()];
    conv_input_grad(ctx, g, dy, w, After::default(), &mut dx);
    dx
}

fn weight_grad_of(ctx: &Context, g: &ConvGeometry, x: &[f32], dy: &[f32]) -> Vec<f32> {
    let mut dw = vec![f32::NAN; g.weight_len()];
    conv_weight_grad(ctx, g, x, dy, &mut dw);
    dw
}

fn operands(g: &ConvGeometry) -> (Vec<f32>, Vec<f32>, Vec<f32>) {
    (
        numbers(g.input_len(), 1),
        numbers(g.weight_len(), 2),
        numbers(g.output_len(), 3),
    )
}

fn is_depthwise(g: &ConvGeometry) -> bool {
    g.groups > 1 && g.in_channels == g.groups && g.out_channels == g.groups
}

#[test]
fn all_three_equal_the_reference() {
    for ctx in contexts(2) {
        for g in CASES.iter().map(geometry) {
            let (x, w, dy) = operands(&g);
            let what = format!("{:?} {:?} {g:?}", ctx.isa, ctx.precision);
            let exact = [&x, &w, &dy].map(|values| seen(&ctx, is_depthwise(&g), values));
            let sizes = [0, 1, 2].map(|i| absolute(&exact[i]));
            let taps: usize = g.kernel.iter().product();

            let (expected, size) = (reference(&g, &exact[0], &exact[1]), reference(&g, &sizes[0], &sizes[1]));
            let terms = taps * g.in_channels / g.groups;
            assert_sums(
                &conv_of(&ctx, &g, &x, &w),
                &expected,
                &size,
                terms,
                &format!("conv {what}"),
            );

            let expected = input_grad_reference(&g, &exact[2], &exact[1]);
            let size = input_grad_reference(&g, &sizes[2], &sizes[1]);
            let terms = taps * g.out_channels / g.groups;
            assert_sums(
                &input_grad_of(&ctx, &g, &dy, &w),
                &expected,
                &size,
                terms,
                &format!("input grad {what}"),
            );

            let expected = weight_grad_reference(&g, &exact[0], &exact[2]);
            let size = weight_grad_reference(&g, &sizes[0], &sizes[2]);
            let terms = g.batch * g.output.iter().product::<usize>();
            assert_sums(
                &weight_grad_of(&ctx, &g, &x, &dy),
                &expected,
                &size,
                terms,
                &format!("weight grad {what}"),
            );
        }
    }
}

#[test]
fn bytes_do_not_depend_on_the_number_of_threads() {
    for (one, many) in contexts(1).zip(contexts(3)) {
        for g in CASES.iter().map(geometry) {
            let (x, w, dy) = operands(&g);
            assert_eq!(conv_of(&one, &g, &x, &w), conv_of(&many, &g, &x, &w), "{g:?}");
            assert_eq!(
                input_grad_of(&one, &g, &dy, &w),
                input_grad_of(&many, &g, &dy, &w),
                "{g:?}"
            );
            assert_eq!(
                weight_grad_of(&one, &g, &x, &dy),
                weight_grad_of(&many, &g, &x, &dy),
                "{g:?}"
            );
        }
    }
}

#[test]
fn bytes_of_an_image_do_not_depend_on_its_batch() {
    for ctx in contexts(1) {
        for g in CASES.iter().map(geometry).filter(|g| g.batch > 1) {
            let (x, w, dy) = operands(&g);
            let one = ConvGeometry { batch: 1, ..g };
            let (y, dx) = (conv_of(&ctx, &g, &x, &w), input_grad_of(&ctx, &g, &dy, &w));
            for n in 0..g.batch {
                let input = n * one.input_len()..(n + 1) * one.input_len();
                let output = n * one.output_len()..(n + 1) * one.output_len();
                assert_eq!(y[output.clone()], conv_of(&ctx, &one, &x[input.clone()], &w), "{g:?}");
                assert_eq!(dx[input], input_grad_of(&ctx, &one, &dy[output], &w), "{g:?}");
            }
        }
    }
}

#[test]
fn bias_and_activation_follow_the_sum() {
    let acts = [
        Activation::Relu,
        Activation::LeakyRelu(0.2),
        Activation::Tanh,
        Activation::Sigmoid,
    ];
    for ctx in contexts(1) {
        for (i, g) in CASES.iter().map(geometry).enumerate() {
            let (x, w, dy) = operands(&g);
            let act = acts[i % acts.len()];
            let after = |sums: &[f32], bias: &[f32]| -> Vec<f64> {
                let after = |(i, sum): (usize, &f32)| {
                    let v = f64::from(sum + bias[i % bias.len()]);
                    match act {
                        Activation::Relu => v.max(0.0),
                        Activation::LeakyRelu(slope) => {
                            if v > 0.0 {
                                v
                            } else {
                                f64::from(slope) * v
                            }
                        }
                        Activation::Tanh => v.tanh(),
                        _ => 1.0 / (1.0 + (-v).exp()),
                    }
                };
                sums.iter().enumerate().map(after).collect()
            };
            let what = format!("{act:?} {:?} {g:?}", ctx.isa);
            // Eight steps of a float32 for the functions, which are bounded in tests of their own.
            let sizes = |values: &[f64]| values.iter().map(|v| v.abs().max(1e-3)).collect::<Vec<_>>();

            let bias = numbers(g.out_channels, 4);
            let mut y = vec![f32::NAN; g.output_len()];
            conv(&ctx, &g, &x, &w, After::bias(Some(&bias), act), &mut y);
            let expected = after(&conv_of(&ctx, &g, &x, &w), &bias);
            assert_sums(&y, &expected, &sizes(&expected), 15, &what);

            let bias = numbers(g.in_channels, 5);
            let mut dx = vec![f32::NAN; g.input_len()];
            conv_input_grad(&ctx, &g, &dy, &w, After::bias(Some(&bias), act), &mut dx);
            let expected = after(&input_grad_of(&ctx, &g, &dy, &w), &bias);
            assert_sums(&dx, &expected, &sizes(&expected), 15, &what);
        }
    }
}

/// The same bytes as in passes of their own.
#[test]
fn gate_and_addition_follow_the_activation() {
    let acts = [Activation::Identity, Activation::LeakyRelu(0.5), Activation::Tanh];
    for ctx in contexts(2) {
        for (i, g) in CASES.iter().map(geometry).enumerate() {
            let (x, w, dy) = operands(&g);
            let act = acts[i % acts.len()];
            let followed = |mut sums: Vec<f32>, after: After<'_>| {
                let (result, slope) = after.gate.unwrap();
                for ((sum, &result), &added) in sums.iter_mut().zip(result).zip(after.added.unwrap()) {
                    *sum = if result > 0.0 { *sum } else { slope * *sum } + added;
                }
                sums
            };
            let after = |gate, added| After {
                gate: Some((gate, 0.25)),
                added: Some(added),
                ..After::bias(None, act)
            };
            let what = format!("{act:?} {:?} {:?} {g:?}", ctx.isa, ctx.precision);

            let (gate, added) = (numbers(g.output_len(), 6), numbers(g.output_len(), 7));
            let (mut alone, mut y) = (vec![f32::NAN; g.output_len()], vec![f32::NAN; g.output_len()]);
            conv(&ctx, &g, &x, &w, After::bias(None, act), &mut alone);
            conv(&ctx, &g, &x, &w, after(&gate, &added), &mut y);
            assert_eq!(y, followed(alone, after(&gate, &added)), "{what}");

            let (gate, added) = (numbers(g.input_len(), 8), numbers(g.input_len(), 9));
            let (mut alone, mut dx) = (vec![f32::NAN; g.input_len()], vec![f32::NAN; g.input_len()]);
            conv_input_grad(&ctx, &g, &dy, &w, After::bias(None, act), &mut alone);
            conv_input_grad(&ctx, &g, &dy, &w, after(&gate, &added), &mut dx);
            assert_eq!(dx, followed(alone, after(&gate, &added)), "{what}");
        }
    }
}

#[test]
fn an_empty_batch_gives_nothing_and_no_gradient() {
    for ctx in contexts(1) {
        let g = ConvGeometry {
            batch: 0,
            ..geometry(&CASES[2])
        };
        let (x, w, dy) = operands(&g);
        assert!(conv_of(&ctx, &g, &x, &w).is_empty());
        assert!(input_grad_of(&ctx, &g, &dy, &w).is_empty());
        assert!(weight_grad_of(&ctx, &g, &x, &dy).iter().all(|&value| value == 0.0));
    }
}

#[test]
fn what_is_not_finite_stays_visible() {
    for ctx in contexts(1) {
        let g = geometry(&([1, 8, 4, 1], &[[5, 3, 1, 1, 1, 1], [5, 3, 1, 1, 1, 1]]));
        let (mut x, w, _) = operands(&g);
        x[12 * 8 + 3] = f32::NAN;
        let mut y = vec![0.0; g.output_len()];
        conv(&ctx, &g, &x, &w, After::bias(None, Activation::LeakyRelu(0.2)), &mut y);
        assert!(y[12 * 4..13 * 4].iter().all(|value| value.is_nan()));
        assert!(y[..4].iter().all(|value| value.is_finite()));
    }
}
