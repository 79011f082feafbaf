//! The processor's kernels against the plain reference, on odd shapes, for every instruction set at hand.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use gander_tensor::{
    Activation, BinaryOp, ConvOptions, Cpu, CpuOptions, DeviceRef, GradOptions, Isa, MatmulOptions, NormOptions,
    Precision, RandomKey, Reference, Result, Tensor, UnaryOp, batch_norm, concat, conv, conv_added, conv_transpose,
    grad, instance_norm, linear, matmul,
    ops::elementwise::{binary, unary},
};
use proptest::prelude::*;

type Function<'a> = &'a dyn Fn(&[Tensor]) -> Result<Tensor>;

/// Every instruction set of this processor in float32, with one thread and with three.
fn devices() -> Vec<DeviceRef> {
    let sets = [Isa::Avx512, Isa::Avx2, Isa::Neon, Isa::Portable];
    sets.into_iter()
        .filter(|isa| isa.available())
        .flat_map(|isa| {
            [1, 3].map(|threads| CpuOptions {
                threads,
                isa: Some(isa),
                precision: Precision::F32,
            })
        })
        .map(|options| Cpu::with_options(options).unwrap())
        .collect()
}

fn random(shape: &[usize], seed: u64) -> Vec<f32> {
    let device = Reference::shared();
    Tensor::normal(RandomKey::from_seed(seed), shape, &device)
        .unwrap()
        .to_vec()
        .unwrap()
}

/// `f` and the gradients of a weighted sum of its result, on one device.
fn run(device: &DeviceRef, inputs: &[(Vec<usize>, Vec<f32>)], f: Function<'_>) -> Vec<Vec<f32>> {
    let tensors: Vec<Tensor> = inputs
        .iter()
        .map(|(shape, values)| Tensor::from_slice(values, shape.clone(), device).unwrap().watch())
        .collect();
    let y = f(&tensors).unwrap();
    let weights = Tensor::from_slice(&random(y.shape(), 77), y.shape(), device).unwrap();
    let sum = y.mul(&weights).unwrap().sum_all().unwrap();
    let references: Vec<&Tensor> = tensors.iter().collect();
    let gradients = grad(&[&sum], &references, GradOptions::default()).unwrap();
    std::iter::once(&y)
        .chain(&gradients)
        .map(|tensor| tensor.to_vec().unwrap())
        .collect()
}

/// Errors of float32 arithmetic on sums of `terms` values of size one, with room for a few operations in a row.
fn compare(what: &str, inputs: &[Vec<usize>], terms: usize, f: Function<'_>) {
    let inputs: Vec<_> = inputs
        .iter()
        .enumerate()
        .map(|(seed, shape)| (shape.clone(), random(shape, seed as u64)))
        .collect();
    let expected = run(&Reference::shared(), &inputs, f);
    for device in devices() {
        let got = run(&device, &inputs, f);
        for (part, (got, expected)) in got.iter().zip(&expected).enumerate() {
            let largest = expected.iter().fold(1.0f32, |largest, v| largest.max(v.abs()));
            let bound = 16.0 * f32::EPSILON * (terms as f32).sqrt().max(1.0) * largest;
            let worst = (0..got.len()).max_by(|&i, &j| {
                let error = |i: usize| (got[i] - expected[i]).abs();
                error(i).total_cmp(&error(j))
            });
            if let Some(i) = worst {
                let (got, expected) = (got[i], expected[i]);
                let error = (got - expected).abs();
                let name = device.name();
                assert!(
                    error <= bound,
                    "{what} part {part} on {name}: {got} against {expected} at {i}, bound {bound}"
                );
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn convolutions(
        batch in 1usize..4,
        sides in prop::collection::vec(1usize..9, 1..=3),
        kernel in 1usize..5,
        (stride, padding, dilation) in (1usize..4, 0usize..3, 1usize..3),
        (groups, inputs, outputs) in (1usize..4, 1usize..10, 1usize..20),
    ) {
        let reach = dilation * (kernel - 1) + 1;
        prop_assume!(sides.iter().all(|&side| side + 2 * padding >= reach));
        let options = ConvOptions {
            stride, padding, dilation, groups, activation: Activation::LeakyRelu(0.2), ..ConvOptions::default()
        };
        let mut x = vec![batch];
        x.extend(&sides);
        x.push(groups * inputs);
        let mut w = vec![kernel; sides.len()];
        w.extend([inputs, groups * outputs]);
        let terms = batch * kernel.pow(sides.len() as u32) * sides.iter().product::<usize>() * inputs.max(outputs);
        let shapes = [x, w, vec![groups * outputs]];
        compare("conv", &shapes, terms, &|t| conv(&t[0], &t[1], Some(&t[2]), options));
    }

    #[test]
    fn residual_blocks(
        batch in 1usize..4,
        (height, width) in (1usize..9, 1usize..9),
        (groups, channels) in (1usize..4, 1usize..20),
    ) {
        let inside = 2 * groups * channels;
        let leaky = |padding, groups| ConvOptions {
            padding, groups, activation: Activation::LeakyRelu(0.2), ..ConvOptions::default()
        };
        let shapes = [
            vec![batch, height, width, channels],
            vec![1, 1, channels, inside],
            vec![3, 3, inside / groups, inside],
            vec![1, 1, inside, channels],
        ];
        let terms = batch * height * width * 9 * inside * 8;
        compare("residual block", &shapes, terms, &|t| {
            let wide = conv(&t[0], &t[1], None, leaky(0, 1))?;
            let mixed = conv(&wide, &t[2], None, leaky(1, groups))?.mul_scalar(0.1)?;
            conv_added(&mixed, &t[3], None, &t[0], ConvOptions::default())
        });
    }

    #[test]
    fn transposed_convolutions(
        batch in 1usize..4,
        sides in prop::collection::vec(1usize..6, 1..=3),
        kernel in 1usize..5,
        (stride, padding) in (1usize..4, 0usize..2),
        (groups, inputs, outputs) in (1usize..4, 1usize..10, 1usize..20),
    ) {
        prop_assume!(sides.iter().all(|&side| (side - 1) * stride + kernel > 2 * padding));
        let options = ConvOptions { stride, padding, groups, activation: Activation::Tanh, ..ConvOptions::default() };
        let mut x = vec![batch];
        x.extend(&sides);
        x.push(groups * inputs);
        let mut w = vec![kernel; sides.len()];
        w.extend([outputs, groups * inputs]);
        let terms = batch * (kernel * stride).pow(sides.len() as u32) * sides.iter().product::<usize>() * inputs * outputs;
        let shapes = [x, w, vec![groups * outputs]];
        compare("conv_transpose", &shapes, terms, &|t| conv_transpose(&t[0], &t[1], Some(&t[2]), options));
    }

    #[test]
    fn products(
        (m, k, n) in (1usize..40, 1usize..70, 1usize..90),
        (transpose_a, transpose_b) in (any::<bool>(), any::<bool>()),
        batch in 1usize..3,
    ) {
        let sides = |rows, columns, swap| if swap { vec![batch, columns, rows] } else { vec![batch, rows, columns] };
        let options = MatmulOptions { transpose_a, transpose_b };
        let shapes = [sides(m, k, transpose_a), sides(k, n, transpose_b)];
        compare("matmul", &shapes, m.max(k).max(n), &|t| matmul(&t[0], &t[1], options));
        let shapes = [vec![m, k], vec![k, n], vec![n]];
        compare("linear", &shapes, m.max(k).max(n), &|t| linear(&t[0], &t[1], Some(&t[2]), Activation::Relu));
    }

    #[test]
    fn broadcasting(
        shape in prop::collection::vec(1usize..7, 1..=4),
        ones in prop::collection::vec(any::<bool>(), 4),
        missing in 0usize..3,
    ) {
        let mut other: Vec<usize> =
            shape.iter().zip(&ones).map(|(&side, &one)| if one { 1 } else { side }).collect();
        other.drain(..missing.min(shape.len()));
        let terms = shape.iter().product();
        for op in [BinaryOp::Add, BinaryOp::Sub, BinaryOp::Mul, BinaryOp::Maximum, BinaryOp::LeakyReluGrad(0.2)] {
            let shapes = [shape.clone(), other.clone()];
            // The piecewise constant second operand has no gradient, so that both enter once more as they are.
            compare("binary", &shapes, terms, &|t| binary(op, &t[0], &t[1])?.add(&t[0])?.add(&t[1]));
        }
    }

    #[test]
    fn reductions_and_layout(shape in prop::collection::vec(1usize..8, 2..=4), axis in 0usize..4, seed in 0usize..9) {
        let axis = (axis % shape.len()) as isize;
        let terms = shape.iter().product();
        let mut order: Vec<usize> = (0..shape.len()).collect();
        order.rotate_left(seed % shape.len());
        let one = [shape.clone()];
        compare("sum", &one, terms, &|t| t[0].square()?.sum_keep(&[axis]));
        compare("max", &one, terms, &|t| t[0].max_keep(&[axis]));
        compare("mean", &one, terms, &|t| t[0].square()?.mean_all());
        compare("per sample", &one, terms, &|t| t[0].square()?.sum_per_sample());
        compare("permute", &one, terms, &|t| t[0].permute(&order)?.square());
        compare("concat", &one, terms, &|t| concat(&[&t[0], &t[0].square()?], axis));
        compare("flip", &one, terms, &|t| t[0].flip(axis)?.square());
        compare("pad", &one, terms, &|t| t[0].pad_zero(axis, seed, 2)?.square());
    }

    #[test]
    fn resampling((batch, height, width, channels) in (1usize..3, 3usize..10, 3usize..10, 1usize..20), side in 1usize..17) {
        let one = [vec![batch, height, width, channels]];
        let terms = height * width;
        compare("nearest", &one, terms, &|t| t[0].upsample_nearest(2));
        compare("bilinear", &one, terms, &|t| t[0].resize_bilinear(&[side, height]));
        compare("area", &one, terms, &|t| t[0].resize_area(&[height, side]));
        compare("fir up", &one, terms, &|t| t[0].fir_upsample());
        compare("fir down", &one, terms, &|t| t[0].fir_downsample());
        compare("reflect", &one, terms, &|t| t[0].pad_reflect(2));
        compare("average pool", &one, terms, &|t| t[0].average_pool(3, 2, 1));
        compare("max pool", &one, terms, &|t| t[0].max_pool(2, 1, 0));
    }

    #[test]
    fn normalizations((batch, rows, channels) in (2usize..6, 3usize..40, 1usize..40)) {
        let shapes = [vec![channels], vec![batch, channels]].map(|map| [vec![batch, rows, channels], map.clone(), map]);
        let activations = [Activation::Identity, Activation::Relu, Activation::LeakyRelu(0.2)];
        for (shapes, activation) in shapes.iter().flat_map(|shapes| activations.map(|activation| (shapes, activation))) {
            let options = NormOptions { eps: 1e-2, activation };
            let terms = 64 * batch * rows;
            compare("batch norm", shapes, terms, &|t| Ok(batch_norm(&t[0], Some((&t[1], &t[2])), options)?.0));
            compare("instance norm", shapes, terms, &|t| instance_norm(&t[0], Some((&t[1], &t[2])), options));
        }
    }
}

#[test]
fn functions_of_one_value() {
    for len in [1, 7, 16, 33, 1000, 70_001] {
        let shape = [vec![len]];
        for op in [
            UnaryOp::Neg,
            UnaryOp::Abs,
            UnaryOp::Exp,
            UnaryOp::Square,
            UnaryOp::Sin,
            UnaryOp::Cos,
            UnaryOp::Tanh,
            UnaryOp::Sigmoid,
            UnaryOp::Softplus,
            UnaryOp::LeakyRelu(0.2),
            UnaryOp::Relu,
            UnaryOp::Clamp { lo: -0.5, hi: 1.0 },
        ] {
            compare(&format!("{op:?} of {len}"), &shape, 1, &|t| unary(op, &t[0]));
        }
        for op in [UnaryOp::Log, UnaryOp::Sqrt, UnaryOp::Recip, UnaryOp::Powf(1.5)] {
            compare(&format!("{op:?} of {len}"), &shape, 1, &|t| {
                unary(op, &t[0].abs()?.add_scalar(0.5)?)
            });
        }
    }
}

/// Relative error of a product in bf16: each operand is rounded to 8 bits.
#[test]
fn bf16_products_round_their_operands_alone() {
    let options = CpuOptions {
        precision: Precision::Bf16,
        ..CpuOptions::default()
    };
    let device = Cpu::with_options(options).unwrap();
    let shapes = [vec![2, 9, 7, 37], vec![3, 3, 37, 21]];
    let inputs: Vec<_> = shapes
        .iter()
        .enumerate()
        .map(|(seed, s)| (s.clone(), random(s, seed as u64)))
        .collect();
    let f: Function<'_> = &|t| {
        conv(
            &t[0],
            &t[1],
            None,
            ConvOptions {
                padding: 1,
                ..ConvOptions::default()
            },
        )
    };
    let (got, expected) = (run(&device, &inputs, f), run(&Reference::shared(), &inputs, f));
    for (got, expected) in got.iter().zip(&expected) {
        let size = (expected.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>() / expected.len() as f64).sqrt();
        let error = got
            .iter()
            .zip(expected)
            .map(|(a, b)| f64::from(a - b).powi(2))
            .sum::<f64>()
            / got.len() as f64;
        // Two roundings of relative size 2⁻⁹ at most, independent from product to product.
        assert!(error.sqrt() < size * 2f64.powi(-8), "{} of {size}", error.sqrt());
    }
}
