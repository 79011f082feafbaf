//! Gradients of first and second order against central differences, in double precision on the reference device.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use gander_tensor::{
    Activation, BinaryOp, ConvOptions, DeviceRef, GradOptions, MatmulOptions, NormOptions, RandomKey, Reference,
    Result, Tensor, Unused, batch_norm, concat, conv, conv_added, conv_transpose, grad, group_norm, instance_norm,
    layer_norm, linear, matmul, ops::elementwise::binary, ops::norm::normalize_with, ops::pool::minibatch_std,
};

/// Step of the differences: their error is of order `h²`, rounding's of order `1e-16 / h`.
const H: f32 = 1.0 / 4096.0;
const TOLERANCE: f64 = 2e-5;

/// A function of one value and what messages call it.
type Named = (&'static str, fn(&Tensor) -> Result<Tensor>);
type Function<'a> = &'a dyn Fn(&[Tensor]) -> Result<Tensor>;

fn random(shape: &[usize], seed: u64, device: &DeviceRef) -> Tensor {
    Tensor::normal(RandomKey::from_seed(seed), shape, device).unwrap()
}

/// A scalar that weighs every output differently, so that no gradient hides in a symmetry.
fn scalar(y: &Tensor, seed: u64) -> Tensor {
    y.mul(&random(y.shape(), seed, y.device())).unwrap().sum_all().unwrap()
}

fn value(y: &Tensor) -> f64 {
    y.to_vec_f64().unwrap()[0]
}

/// Compares the gradient of `f` along a random direction with the central difference along it.
fn check(what: &str, inputs: &[Tensor], f: Function<'_>) {
    let leaves: Vec<Tensor> = inputs.iter().map(Tensor::watch).collect();
    let references: Vec<&Tensor> = leaves.iter().collect();
    let y = f(&leaves).unwrap_or_else(|error| panic!("{what}: {error}"));
    let options = GradOptions {
        unused: Unused::Zeros,
        ..GradOptions::default()
    };
    let gradients = grad(&[&y], &references, options).unwrap();
    for (index, gradient) in gradients.iter().enumerate() {
        let direction = random(inputs[index].shape(), 900 + index as u64, inputs[index].device());
        let along = value(&gradient.mul(&direction).unwrap().sum_all().unwrap());
        let moved = |h: f32| {
            let mut inputs = inputs.to_vec();
            inputs[index] = inputs[index].add(&direction.mul_scalar(h).unwrap()).unwrap();
            value(&f(&inputs).unwrap())
        };
        let difference = (moved(H) - moved(-H)) / (2.0 * f64::from(H));
        let scale = 1.0 + along.abs();
        assert!(
            (along - difference).abs() < TOLERANCE * scale,
            "{what}, input {index}: {along} against {difference}"
        );
    }
}

/// First order of `f`, then of a function of its gradients.
fn check_twice(what: &str, inputs: &[Tensor], f: Function<'_>) {
    check(what, inputs, &|x| Ok(scalar(&f(x)?, 1)));
    let penalty = |x: &[Tensor]| {
        let watched: Vec<Tensor> = x
            .iter()
            .map(|x| if x.requires_grad() { x.clone() } else { x.watch() })
            .collect();
        let references: Vec<&Tensor> = watched.iter().collect();
        let options = GradOptions {
            create_graph: true,
            unused: Unused::Zeros,
        };
        let gradients = grad(&[&scalar(&f(&watched)?, 2)], &references, options)?;
        let mut sum = scalar(&gradients[0].square()?, 3);
        for (index, gradient) in gradients.iter().enumerate().skip(1) {
            sum = sum.add(&scalar(&gradient.square()?, 3 + index as u64))?;
        }
        Ok(sum)
    };
    check(&format!("{what} (second order)"), inputs, &penalty);
}

fn device() -> DeviceRef {
    Reference::shared()
}

#[test]
fn functions_of_one_value() {
    let device = device();
    let x = random(&[3, 5], 11, &device);
    let positive = x.abs().unwrap().add_scalar(0.5).unwrap();
    let functions: [Named; 12] = [
        ("neg", Tensor::neg),
        ("abs", Tensor::abs),
        ("exp", Tensor::exp),
        ("square", Tensor::square),
        ("sin", Tensor::sin),
        ("cos", Tensor::cos),
        ("tanh", Tensor::tanh),
        ("sigmoid", Tensor::sigmoid),
        ("softplus", Tensor::softplus),
        ("relu", Tensor::relu),
        ("leaky_relu", |x| x.leaky_relu(0.2)),
        ("clamp", |x| x.clamp(-0.5, 0.75)),
    ];
    for (name, f) in functions {
        check_twice(name, std::slice::from_ref(&x), &|x| f(&x[0]));
    }
    let of_positive: [Named; 4] = [
        ("log", Tensor::log),
        ("sqrt", Tensor::sqrt),
        ("recip", Tensor::recip),
        ("powf", |x| x.powf(1.7)),
    ];
    for (name, f) in of_positive {
        check_twice(name, std::slice::from_ref(&positive), &|x| f(&x[0]));
    }
    check_twice("glu", &[random(&[3, 6], 12, &device)], &|x| x[0].glu());
}

#[test]
fn functions_of_two_values_with_broadcasting() {
    let device = device();
    let operations = [
        BinaryOp::Add,
        BinaryOp::Sub,
        BinaryOp::Mul,
        BinaryOp::Div,
        BinaryOp::Maximum,
        BinaryOp::Minimum,
        BinaryOp::TanhGrad,
        BinaryOp::SigmoidGrad,
        BinaryOp::LeakyReluGrad(0.2),
    ];
    for op in operations {
        for (a, b) in [
            (&[2, 3, 4][..], &[2, 3, 4][..]),
            (&[2, 3, 4], &[4]),
            (&[2, 1, 4], &[3, 1]),
            (&[], &[3]),
        ] {
            let a = random(a, 21, &device);
            let b = random(b, 22, &device).abs().unwrap().add_scalar(0.5).unwrap();
            check_twice(&format!("{op:?}"), &[a, b], &|x| binary(op, &x[0], &x[1]));
        }
    }
}

#[test]
fn reductions_and_layout() {
    let device = device();
    let x = random(&[2, 3, 4, 5], 31, &device);
    let one = std::slice::from_ref(&x);
    check_twice("sum", one, &|x| x[0].sum_keep(&[1, -1])?.square());
    check_twice("mean", one, &|x| x[0].mean_all()?.square());
    check_twice("max", one, &|x| x[0].max_keep(&[2])?.square());
    check_twice("per sample", one, &|x| x[0].sum_per_sample()?.square());
    check_twice("permute", one, &|x| x[0].permute(&[3, 0, 2, 1])?.square());
    check_twice("reshape", one, &|x| x[0].reshape([6, 20])?.square());
    check_twice("slice", one, &|x| x[0].slice(2, 1, 3)?.square());
    check_twice("flip", one, &|x| x[0].flip(1)?.square());
    check_twice("pad", one, &|x| x[0].pad_zero(1, 2, 1)?.square());
    check_twice("reflect", one, &|x| x[0].pad_reflect(2)?.square());
    let y = random(&[2, 2, 4, 5], 32, &device);
    check_twice("concat", &[x.clone(), y], &|x| {
        concat(&[&x[0], &x[1], &x[0]], 1)?.square()
    });
    let table = random(&[5, 3], 33, &device);
    let indices = Tensor::from_u32(&[4, 0, 4, 2], [2, 2], &device).unwrap();
    check_twice("gather", &[table], &|x| x[0].gather_rows(&indices)?.square());
    check_twice("broadcast", &[random(&[3, 1], 34, &device)], &|x| {
        x[0].broadcast_to([2, 3, 4])?.square()
    });
}

#[test]
fn resampling_and_pooling() {
    let device = device();
    let x = random(&[2, 5, 6, 3], 41, &device);
    let one = std::slice::from_ref(&x);
    check_twice("nearest", one, &|x| x[0].upsample_nearest(2)?.square());
    check_twice("bilinear", one, &|x| x[0].resize_bilinear(&[7, 4])?.square());
    check_twice("area", one, &|x| x[0].resize_area(&[3, 2])?.square());
    check_twice("fir up", one, &|x| x[0].fir_upsample()?.square());
    check_twice("fir down", one, &|x| x[0].fir_downsample()?.square());
    check_twice("average pool", one, &|x| x[0].average_pool(3, 2, 1)?.square());
    check_twice("max pool", one, &|x| x[0].max_pool(3, 2, 1)?.square());
    check_twice("minibatch std", &[random(&[4, 2, 2, 3], 42, &device)], &|x| {
        minibatch_std(&x[0], 2)
    });
}

#[test]
fn products() {
    let device = device();
    for (transpose_a, transpose_b) in [(false, false), (true, false), (false, true), (true, true)] {
        let options = MatmulOptions {
            transpose_a,
            transpose_b,
        };
        let sides = |rows: usize, columns: usize, swap: bool| if swap { [columns, rows] } else { [rows, columns] };
        let a = random(&sides(3, 4, transpose_a), 51, &device);
        let b = random(&sides(4, 5, transpose_b), 52, &device);
        check_twice(&format!("{options:?}"), &[a.clone(), b.clone()], &|x| {
            matmul(&x[0], &x[1], options)
        });
        let batched = |t: &Tensor| {
            concat(&[t, t], 0)
                .unwrap()
                .reshape([&[2], &**t.shape()].concat())
                .unwrap()
        };
        check_twice("shared", &[batched(&a), b.clone()], &|x| matmul(&x[0], &x[1], options));
        check_twice("batched", &[batched(&a), batched(&b)], &|x| {
            matmul(&x[0], &x[1], options)
        });
    }
    let (x, w, b) = (
        random(&[2, 3, 4], 53, &device),
        random(&[4, 5], 54, &device),
        random(&[5], 55, &device),
    );
    for activation in [
        Activation::Identity,
        Activation::LeakyRelu(0.2),
        Activation::Tanh,
        Activation::Sigmoid,
    ] {
        check_twice("linear", &[x.clone(), w.clone(), b.clone()], &|x| {
            linear(&x[0], &x[1], Some(&x[2]), activation)
        });
    }
}

fn pointwise() -> ConvOptions {
    ConvOptions::default()
}

fn leaky(padding: usize, groups: usize) -> ConvOptions {
    ConvOptions {
        padding,
        groups,
        activation: Activation::LeakyRelu(0.2),
        ..ConvOptions::default()
    }
}

/// A block whose leaky maps have several readers: `x, w0, b0, w1, w2` to the sum of a residual path and of two more.
fn block(t: &[Tensor]) -> Result<[Tensor; 2]> {
    let wide = conv(&t[0], &t[1], Some(&t[2]), leaky(0, 1))?;
    let inside = conv(&wide, &t[3], None, leaky(1, 2))?;
    let y = conv_added(&inside, &t[4], None, &t[0], pointwise())?;
    let beside = conv(&wide, &t[4], None, pointwise())?.mul(&y)?;
    let y = y.add(&beside)?.add(&wide.square()?.sum_all()?)?;
    Ok([y, wide])
}

fn block_inputs() -> Vec<Tensor> {
    let device = Reference::shared();
    let shapes: [&[usize]; 5] = [&[2, 3, 4, 4], &[1, 1, 4, 8], &[8], &[3, 3, 4, 8], &[1, 1, 8, 4]];
    let inputs = shapes.iter().enumerate();
    inputs
        .map(|(seed, shape)| random(shape, seed as u64, &device).mul_scalar(0.3).unwrap())
        .collect()
}

/// Gates and sums that the tape leaves to convolutions give what the rules give one by one.
#[test]
fn residual_blocks() {
    check_twice("residual block", &block_inputs(), &|t| {
        Ok(block(t)?.into_iter().next().unwrap())
    });
}

/// A gradient that is asked for has not been through the leaky relu that made its tensor.
#[test]
fn gradients_in_the_middle_of_a_block() {
    let leaves: Vec<Tensor> = block_inputs().iter().map(Tensor::watch).collect();
    let [y, wide] = block(&leaves).unwrap();
    let asked = [&wide, &leaves[0], &leaves[1]];
    let gradients = |create_graph| {
        let options = GradOptions {
            create_graph,
            ..GradOptions::default()
        };
        let gradients = grad(&[&scalar(&y, 5)], &asked, options).unwrap();
        gradients
            .iter()
            .flat_map(|gradient| gradient.to_vec_f64().unwrap())
            .collect::<Vec<_>>()
    };
    for (fused, plain) in gradients(false).iter().zip(gradients(true)) {
        assert!(
            (fused - plain).abs() < 1e-12 * (1.0 + plain.abs()),
            "{fused} and {plain}"
        );
    }
}

#[test]
fn convolutions() {
    let device = device();
    let cases: [(&[usize], &[usize], ConvOptions); 6] = [
        (
            &[2, 7, 3],
            &[3, 3, 4],
            ConvOptions {
                stride: 2,
                padding: 1,
                ..ConvOptions::default()
            },
        ),
        (
            &[2, 5, 6, 3],
            &[3, 2, 3, 4],
            ConvOptions {
                activation: Activation::LeakyRelu(0.2),
                ..Default::default()
            },
        ),
        (
            &[1, 5, 6, 4],
            &[3, 3, 2, 6],
            ConvOptions {
                groups: 2,
                padding: 1,
                dilation: 2,
                ..Default::default()
            },
        ),
        (
            &[2, 6, 6, 3],
            &[4, 4, 1, 3],
            ConvOptions {
                groups: 3,
                stride: 2,
                padding: 1,
                ..Default::default()
            },
        ),
        (
            &[1, 3, 4, 5, 2],
            &[2, 3, 3, 2, 3],
            ConvOptions {
                stride: 2,
                padding: 1,
                ..Default::default()
            },
        ),
        (
            &[2, 4, 4, 5],
            &[1, 1, 5, 2],
            ConvOptions {
                activation: Activation::Tanh,
                ..Default::default()
            },
        ),
    ];
    for (x, w, options) in cases {
        let out = w[w.len() - 1];
        let inputs = [
            random(x, 61, &device),
            random(w, 62, &device),
            random(&[out], 63, &device),
        ];
        check_twice(&format!("conv {options:?}"), &inputs, &|x| {
            conv(&x[0], &x[1], Some(&x[2]), options)
        });

        // The same weight the other way: x has the convolution's output channels.
        let mut small = x.to_vec();
        small[x.len() - 1] = out;
        let back = w[w.len() - 2] * options.groups;
        let inputs = [
            random(&small, 64, &device),
            random(w, 65, &device),
            random(&[back], 66, &device),
        ];
        let what = format!("conv_transpose {options:?}");
        check_twice(&what, &inputs, &|x| conv_transpose(&x[0], &x[1], Some(&x[2]), options));
    }
}

#[test]
fn normalizations() {
    let device = device();
    let (x, scale, shift) = (
        random(&[3, 2, 4, 6], 71, &device),
        random(&[6], 72, &device),
        random(&[6], 73, &device),
    );
    for activation in [Activation::Identity, Activation::LeakyRelu(0.2), Activation::Tanh] {
        let options = NormOptions { eps: 1e-3, activation };
        let inputs = [x.clone(), scale.clone(), shift.clone()];
        check_twice("group", &inputs, &|x| {
            group_norm(&x[0], 3, Some((&x[1], &x[2])), options)
        });
        check_twice("layer", &inputs, &|x| layer_norm(&x[0], Some((&x[1], &x[2])), options));
        let (mean, variance) = (random(&[6], 76, &device), random(&[6], 77, &device).square().unwrap());
        let of_images = [x.clone(), random(&[3, 6], 74, &device), random(&[3, 6], 75, &device)];
        for (inputs, what) in [(&inputs, "one map"), (&of_images, "a map for each image")] {
            check_twice(&format!("batch, {what}"), inputs, &|x| {
                Ok(batch_norm(&x[0], Some((&x[1], &x[2])), options)?.0)
            });
            check_twice(&format!("instance, {what}"), inputs, &|x| {
                instance_norm(&x[0], Some((&x[1], &x[2])), options)
            });
            check_twice(&format!("given statistics, {what}"), inputs, &|x| {
                normalize_with(&x[0], &mean, &variance, Some((&x[1], &x[2])), options)
            });
        }
        check_twice("batch, plain", &inputs[..1], &|x| {
            Ok(batch_norm(&x[0], None, options)?.0)
        });
    }
}

#[test]
fn an_unused_input_is_named() {
    let device = device();
    let (x, y) = (random(&[2], 81, &device).watch(), random(&[2], 82, &device).watch());
    let z = x.square().unwrap();
    let error = grad(&[&z], &[&x, &y], GradOptions::default()).unwrap_err();
    assert_eq!(error.to_string(), "grad: no path from the outputs to input 1");
}

#[test]
fn tensors_of_two_devices_do_not_mix() {
    let (x, y) = (random(&[2], 81, &device()), random(&[2], 82, &device()));
    let error = x.add(&y).unwrap_err().to_string();
    assert!(error.contains("different devices"), "{error}");
    assert_eq!(x.device().name(), "reference");
}
