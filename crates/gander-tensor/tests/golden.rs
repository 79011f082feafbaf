//! Values and gradients of first and second order, held against fixtures that `PyTorch` made (`tests/golden/*.py`), on
//! the reference device and on the kernels of every instruction set that is there.

use std::{cell::RefCell, collections::BTreeSet};

use gander_tensor::{
    Activation, BinaryOp, ConvOptions, Cpu, CpuOptions, DeviceRef, GradOptions, Isa, MatmulOptions, NormOptions,
    Precision, Reference, Result, Tensor, UnaryOp, Unused, batch_norm, concat, conv, conv_transpose, grad, group_norm,
    instance_norm, layer_norm, linear, matmul,
    ops::{
        elementwise::{binary, unary},
        pool::minibatch_std,
    },
};
use safetensors::{Dtype, SafeTensors};

/// A file of cases; see `tests/golden/golden.py` for what the names mean.
struct Golden {
    bytes: Vec<u8>,
    checked: RefCell<BTreeSet<String>>,
    failures: RefCell<Vec<String>>,
}

impl Golden {
    fn open(name: &str) -> Self {
        let path = format!("{}/tests/golden/{name}.safetensors", env!("CARGO_MANIFEST_DIR"));
        let bytes = std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
        Self {
            bytes,
            checked: RefCell::default(),
            failures: RefCell::default(),
        }
    }

    fn get(&self, name: &str, device: &DeviceRef) -> Option<Tensor> {
        let file = SafeTensors::deserialize(&self.bytes).expect("a whole fixture");
        let view = file.tensor(name).ok()?;
        let words = || view.data().chunks_exact(4).map(|b| [b[0], b[1], b[2], b[3]]);
        Some(match view.dtype() {
            Dtype::F32 => Tensor::from_slice(
                &words().map(f32::from_le_bytes).collect::<Vec<_>>(),
                view.shape(),
                device,
            ),
            Dtype::U32 => Tensor::from_u32(
                &words().map(u32::from_le_bytes).collect::<Vec<_>>(),
                view.shape(),
                device,
            ),
            other => panic!("`{name}` has an element type that no script writes: {other}"),
        })
        .map(|tensor| tensor.expect("a tensor of the fixture"))
    }

    fn tensor(&self, name: &str, device: &DeviceRef) -> Tensor {
        self.get(name, device)
            .unwrap_or_else(|| panic!("the fixture lacks `{name}`"))
    }

    /// Notes a failure where `got` is further from the expected tensor than `tolerance` times its scale.
    fn compare(&self, name: &str, device: &DeviceRef, got: &Tensor, tolerance: f64) {
        let expected = self.get(name, device).map_or_else(
            || vec![0.0; got.shape().num_elements()],
            |expected| {
                assert_eq!(got.shape(), expected.shape(), "shape of `{name}`");
                expected.to_vec_f64().expect("values")
            },
        );
        let got = got.to_vec_f64().expect("values");
        let bound = tolerance * expected.iter().fold(1.0, |scale: f64, value| scale.max(value.abs()));
        let error = |i: usize| (got[i] - expected[i]).abs();
        // A value that is not a number is worse than any other.
        let rank = |i: usize| if error(i).is_nan() { f64::INFINITY } else { error(i) };
        let worst = (0..got.len()).max_by(|&a, &b| rank(a).total_cmp(&rank(b)));
        if let Some(worst) = worst.filter(|&worst| rank(worst) > bound) {
            self.failures.borrow_mut().push(format!(
                "{} `{name}`[{worst}]: {} instead of {}, |error| {:.1e} > {bound:.1e}",
                device.name(),
                got[worst],
                expected[worst],
                error(worst)
            ));
        }
    }

    /// Checks a case on every device: value, gradients with and without a graph, gradients of second order.
    fn check(&self, case: &str, function: impl Fn(&[Tensor]) -> Result<Tensor>) {
        self.check_with(&devices(), case, function);
    }

    /// The same, and with products in bf16. Not for masks, which rounding may turn where a value is near zero.
    fn check_products(&self, case: &str, function: impl Fn(&[Tensor]) -> Result<Tensor>) {
        let options = CpuOptions {
            precision: Precision::Bf16,
            ..CpuOptions::default()
        };
        let bf16 = Cpu::with_options(options).expect("the processor");
        let devices: Vec<_> = devices().into_iter().chain([(bf16, 2e-2)]).collect();
        self.check_with(&devices, case, function);
    }

    fn check_with(&self, devices: &[(DeviceRef, f64)], case: &str, function: impl Fn(&[Tensor]) -> Result<Tensor>) {
        for (device, tolerance) in devices {
            if let Err(error) = self.check_on(case, device, *tolerance, &function) {
                self.failures
                    .borrow_mut()
                    .push(format!("{} `{case}`: {error}", device.name()));
            }
        }
        self.checked.borrow_mut().insert(case.to_owned());
    }

    fn check_on(
        &self,
        case: &str,
        device: &DeviceRef,
        tolerance: f64,
        function: impl Fn(&[Tensor]) -> Result<Tensor>,
    ) -> Result<()> {
        let inputs: Vec<_> = (0..)
            .map_while(|i| self.get(&format!("{case}.in.{i}"), device))
            .collect();
        let inputs: Vec<_> = inputs.iter().map(Tensor::watch).collect();
        let upstream = self.tensor(&format!("{case}.upstream"), device).watch();
        let out = function(&inputs)?;
        self.compare(&format!("{case}.out"), device, &out, tolerance);

        let weighted = out.mul(&upstream)?.sum_all()?;
        let inputs: Vec<_> = inputs.iter().collect();
        let once = grad(&[&weighted], &inputs, GradOptions::default())?;
        let first = grad(
            &[&weighted],
            &inputs,
            GradOptions {
                create_graph: true,
                ..GradOptions::default()
            },
        )?;
        let mut penalty = Tensor::zeros([], device)?;
        for (i, (once, first)) in once.iter().zip(&first).enumerate() {
            self.compare(&format!("{case}.grad.{i}"), device, once, tolerance);
            self.compare(&format!("{case}.grad.{i}"), device, first, tolerance);
            penalty = penalty.add(&first.square()?.sum_all()?)?;
        }

        let sources: Vec<_> = inputs.iter().copied().chain([&upstream]).collect();
        let second = grad(
            &[&penalty],
            &sources,
            GradOptions {
                unused: Unused::Zeros,
                ..GradOptions::default()
            },
        )?;
        for (i, second) in second.iter().enumerate() {
            let key = if i == inputs.len() {
                "upstream".to_owned()
            } else {
                i.to_string()
            };
            self.compare(&format!("{case}.grad2.{key}"), device, second, tolerance);
        }
        Ok(())
    }

    /// Fails if a comparison did, or if a case of the file was not checked.
    fn finish(self) {
        let failures = self.failures.into_inner();
        assert!(
            failures.is_empty(),
            "{} failures:\n{}",
            failures.len(),
            failures.join("\n")
        );
        let file = SafeTensors::deserialize(&self.bytes).expect("a whole fixture");
        let cases: BTreeSet<_> = file
            .names()
            .into_iter()
            .filter_map(|name| name.strip_suffix(".out"))
            .map(str::to_owned)
            .collect();
        assert_eq!(cases, self.checked.into_inner(), "cases of the file, and those checked");
    }
}

/// The reference and every instruction set of this processor, with tolerances relative to the largest value or to one.
/// Expectations are float32.
fn devices() -> Vec<(DeviceRef, f64)> {
    let sets = [Isa::Avx512, Isa::Avx2, Isa::Neon, Isa::Portable]
        .into_iter()
        .filter(|isa| isa.available());
    let processors = sets.map(|isa| {
        let options = CpuOptions {
            isa: Some(isa),
            ..CpuOptions::default()
        };
        (Cpu::with_options(options).expect("an available instruction set"), 1e-5)
    });
    [(Reference::shared(), 1e-6)].into_iter().chain(processors).collect()
}

const LEAKY: Activation = Activation::LeakyRelu(0.2);

fn convolution(options: ConvOptions) -> impl Fn(&[Tensor]) -> Result<Tensor> {
    move |t| conv(&t[0], &t[1], Some(&t[2]), options)
}

fn transposed(options: ConvOptions) -> impl Fn(&[Tensor]) -> Result<Tensor> {
    move |t| conv_transpose(&t[0], &t[1], Some(&t[2]), options)
}

fn check_masked_or_not(
    golden: &Golden,
    activation: Activation,
    case: &str,
    function: impl Fn(&[Tensor]) -> Result<Tensor>,
) {
    match activation {
        Activation::Relu | Activation::LeakyRelu(_) => golden.check(case, function),
        _ => golden.check_products(case, function),
    }
}

#[test]
fn convolutions() {
    let golden = Golden::open("conv");
    let plain = ConvOptions::default();
    let padded = ConvOptions { padding: 1, ..plain };
    let halved = ConvOptions {
        stride: 2,
        padding: 1,
        ..plain
    };
    for (case, options) in [
        ("conv1_3", padded),
        (
            "conv1_5_stride2",
            ConvOptions {
                stride: 2,
                padding: 2,
                ..plain
            },
        ),
        ("conv2_1x1", plain),
        ("conv2_3x3", padded),
        ("conv2_3x1_valid", plain),
        ("conv2_4x4_stride2", halved),
        ("conv2_3x3_stride3_rest", ConvOptions { stride: 3, ..plain }),
        (
            "conv2_dilation2",
            ConvOptions {
                padding: 2,
                dilation: 2,
                ..plain
            },
        ),
        ("conv2_stride2_dilation2", ConvOptions { dilation: 2, ..halved }),
        ("conv2_groups4", ConvOptions { groups: 4, ..padded }),
        ("conv2_groups2_stride2", ConvOptions { groups: 2, ..halved }),
        ("conv2_depthwise", ConvOptions { groups: 7, ..padded }),
        ("conv2_depthwise_4x4", ConvOptions { groups: 5, ..plain }),
        ("conv2_depthwise_twofold_stride2", ConvOptions { groups: 3, ..halved }),
        ("conv2_wide", padded),
        (
            "conv2_leaky_relu",
            ConvOptions {
                activation: LEAKY,
                ..padded
            },
        ),
        (
            "conv2_tanh",
            ConvOptions {
                activation: Activation::Tanh,
                ..padded
            },
        ),
        ("conv3_3x3x3", padded),
        ("conv3_stride2", halved),
        ("conv3_groups2", ConvOptions { groups: 2, ..plain }),
    ] {
        check_masked_or_not(&golden, options.activation, case, convolution(options));
    }
    for (case, options) in [
        ("transposed1_4_stride2", halved),
        (
            "transposed1_25_stride4",
            ConvOptions {
                stride: 4,
                padding: 11,
                output_padding: 1,
                ..plain
            },
        ),
        ("transposed2_4x4_from_1x1", plain),
        ("transposed2_4x4_stride2", halved),
        (
            "transposed2_3x3_stride2_more",
            ConvOptions {
                output_padding: 1,
                ..halved
            },
        ),
        ("transposed2_3x3_stride2", halved),
        ("transposed2_dilation2", ConvOptions { dilation: 2, ..halved }),
        ("transposed2_groups2", ConvOptions { groups: 2, ..halved }),
        ("transposed2_depthwise", ConvOptions { groups: 5, ..halved }),
        (
            "transposed2_relu",
            ConvOptions {
                activation: Activation::Relu,
                ..halved
            },
        ),
        ("transposed3_4x4x4_stride2", halved),
    ] {
        check_masked_or_not(&golden, options.activation, case, transposed(options));
    }
    golden.finish();
}

#[test]
fn functions_of_each_value() {
    let golden = Golden::open("elementwise");
    for (case, op) in [
        ("neg", UnaryOp::Neg),
        ("abs", UnaryOp::Abs),
        ("exp", UnaryOp::Exp),
        ("square", UnaryOp::Square),
        ("sin", UnaryOp::Sin),
        ("cos", UnaryOp::Cos),
        ("tanh", UnaryOp::Tanh),
        ("tanh_far", UnaryOp::Tanh),
        ("sigmoid", UnaryOp::Sigmoid),
        ("sigmoid_far", UnaryOp::Sigmoid),
        ("softplus", UnaryOp::Softplus),
        ("softplus_far", UnaryOp::Softplus),
        ("relu", UnaryOp::Relu),
        ("leaky_relu", UnaryOp::LeakyRelu(0.2)),
        ("add_scalar", UnaryOp::AddScalar(0.75)),
        ("mul_scalar", UnaryOp::MulScalar(-1.5)),
        ("clamp", UnaryOp::Clamp { lo: -0.5, hi: 0.75 }),
        ("log", UnaryOp::Log),
        ("sqrt", UnaryOp::Sqrt),
        ("recip", UnaryOp::Recip),
        ("powf", UnaryOp::Powf(1.75)),
    ] {
        golden.check(case, |t| unary(op, &t[0]));
    }
    golden.check("glu", |t| t[0].glu());
    for (name, op) in [
        ("add", BinaryOp::Add),
        ("sub", BinaryOp::Sub),
        ("mul", BinaryOp::Mul),
        ("div", BinaryOp::Div),
        ("maximum", BinaryOp::Maximum),
        ("minimum", BinaryOp::Minimum),
    ] {
        for shapes in ["same", "channels", "batch", "styles", "one_value", "outer", "left"] {
            golden.check(&format!("{name}_{shapes}"), |t| binary(op, &t[0], &t[1]));
        }
    }
    golden.finish();
}

#[test]
fn reductions() {
    let golden = Golden::open("reduce");
    let all = [0, 1, 2, 3];
    for (name, axes) in [
        ("last", &[3][..]),
        ("first", &[0]),
        ("pixels", &[1, 2]),
        ("ends", &[0, 3]),
        ("all", &all),
    ] {
        golden.check(&format!("sum_{name}"), |t| t[0].sum_keep(axes));
        golden.check(&format!("mean_{name}"), |t| t[0].mean_keep(axes));
        golden.check(&format!("max_{name}"), |t| t[0].max_keep(axes));
    }
    golden.check("max_ties", |t| t[0].max_keep(&[1]));
    golden.check("sum_of_cubes", |t| t[0].square()?.mul(&t[0])?.sum_all());
    golden.check("mean_of_tanh", |t| t[0].tanh()?.mean_all());
    golden.check("sum_per_sample", |t| t[0].square()?.sum_per_sample());
    golden.check("broadcast_to", |t| t[0].broadcast_to([4, 3, 2, 5]));
    golden.check("sum_to", |t| t[0].sum_to(&[3, 1, 5].into()));
    golden.finish();
}

#[test]
fn normalizations() {
    let golden = Golden::open("norm");
    let options = |activation| NormOptions {
        activation,
        ..NormOptions::default()
    };
    let plain = NormOptions::default();
    for (case, activation) in [
        ("batch_norm", Activation::Identity),
        ("batch_norm_flat", Activation::Identity),
        ("batch_norm_relu", Activation::Relu),
        ("batch_norm_leaky_relu", LEAKY),
        ("batch_norm_tanh", Activation::Tanh),
    ] {
        golden.check(case, |t| {
            Ok(batch_norm(&t[0], Some((&t[1], &t[2])), options(activation))?.0)
        });
    }
    golden.check("batch_norm_plain", |t| Ok(batch_norm(&t[0], None, plain)?.0));
    golden.check("instance_norm", |t| instance_norm(&t[0], Some((&t[1], &t[2])), plain));
    golden.check("instance_norm_plain", |t| instance_norm(&t[0], None, plain));
    golden.check("instance_norm_relu", |t| {
        instance_norm(&t[0], Some((&t[1], &t[2])), options(Activation::Relu))
    });
    golden.check("group_norm_3", |t| group_norm(&t[0], 3, Some((&t[1], &t[2])), plain));
    golden.check("group_norm_1", |t| group_norm(&t[0], 1, Some((&t[1], &t[2])), plain));
    golden.check("layer_norm", |t| layer_norm(&t[0], Some((&t[1], &t[2])), plain));
    for (device, tolerance) in devices() {
        let x = golden.tensor("batch_norm.in.0", &device);
        let (_, statistics) = batch_norm(&x, None, plain).expect("a batch");
        for (name, got) in [
            ("batch_norm.mean", statistics.mean),
            ("batch_norm.variance", statistics.variance),
        ] {
            golden.compare(
                name,
                &device,
                &Tensor::from_array(got, &device).reshape([6]).expect("six channels"),
                tolerance,
            );
        }
    }
    golden.finish();
}

#[test]
fn pooling() {
    let golden = Golden::open("pool");
    for axes in 1..=3 {
        for (kernel, stride, padding) in [(2, 2, 0), (3, 2, 1), (3, 1, 1)] {
            let name = format!("{axes}_kernel{kernel}_stride{stride}_padding{padding}");
            golden.check(&format!("average{name}"), |t| {
                t[0].average_pool(kernel, stride, padding)
            });
            golden.check(&format!("max{name}"), |t| t[0].max_pool(kernel, stride, padding));
        }
    }
    golden.finish();
}

#[test]
fn resampling() {
    let golden = Golden::open("resample");
    for case in ["nearest_twofold", "nearest_1d", "nearest_3d"] {
        golden.check(case, |t| t[0].upsample_nearest(2));
    }
    golden.check("nearest_9x5", |t| t[0].resize_nearest(&[9, 5]));
    golden.check("nearest_4x3", |t| t[0].resize_nearest(&[4, 3]));
    for (name, sides) in [
        ("up", [12, 8]),
        ("up_odd", [7, 9]),
        ("down", [3, 2]),
        ("down_odd", [5, 3]),
        ("mixed", [9, 3]),
    ] {
        golden.check(&format!("bilinear_{name}"), |t| t[0].resize_bilinear(&sides));
    }
    golden.check("bilinear_1d", |t| t[0].resize_bilinear(&[8]));
    for (name, sides) in [("half", [3, 2]), ("odd", [4, 3]), ("one", [1, 1])] {
        golden.check(&format!("area_{name}"), |t| t[0].resize_area(&sides));
    }
    golden.check("fir_upsample", |t| t[0].fir_upsample());
    golden.check("fir_downsample", |t| t[0].fir_downsample());
    golden.finish();
}

#[test]
fn layouts() {
    let golden = Golden::open("layout");
    golden.check("pad_zero", |t| t[0].pad_zero(1, 1, 3)?.pad_zero(-2, 2, 1));
    golden.check("pad_reflect_1d", |t| t[0].pad_reflect(3));
    golden.check("pad_reflect_2d", |t| t[0].pad_reflect(2));
    golden.check("pad_reflect_3d", |t| t[0].pad_reflect(1));
    golden.check("slice", |t| t[0].slice(1, 1, 4)?.slice(-1, 1, 2));
    golden.check("flip", |t| t[0].flip(2));
    golden.check("permute", |t| t[0].permute(&[2, 0, 3, 1]));
    golden.check("transpose", |t| t[0].transpose());
    golden.check("reshape", |t| t[0].reshape([8, 15]));
    golden.check("concat_channels", |t| concat(&[&t[0], &t[1], &t[2]], -1));
    golden.check("concat_batch", |t| concat(&[&t[0], &t[1]], 0));
    let rows = |t: &[Tensor]| t[0].gather_rows(&golden.tensor("embedding.indices", t[0].device()));
    golden.check("embedding", rows);
    golden.check("embedding_tanh", |t| rows(t)?.tanh());
    golden.finish();
}

#[test]
fn products() {
    let golden = Golden::open("matmul");
    let plain = MatmulOptions::default();
    let transpose_a = MatmulOptions {
        transpose_a: true,
        ..plain
    };
    let transpose_b = MatmulOptions {
        transpose_b: true,
        ..plain
    };
    for (case, options) in [
        ("plain", plain),
        ("transposed_a", transpose_a),
        ("transposed_b", transpose_b),
        (
            "transposed_both",
            MatmulOptions {
                transpose_a: true,
                transpose_b: true,
            },
        ),
        ("batch", plain),
        ("batch_transposed_a", transpose_a),
        ("batch_transposed_b", transpose_b),
        ("shared_b", plain),
        ("wide", plain),
    ] {
        golden.check_products(case, |t| matmul(&t[0], &t[1], options));
    }
    for (case, activation) in [
        ("linear_identity", Activation::Identity),
        ("linear_relu", Activation::Relu),
        ("linear_leaky_relu", LEAKY),
        ("linear_tanh", Activation::Tanh),
        ("linear_sigmoid", Activation::Sigmoid),
        ("linear_positions", Activation::Identity),
    ] {
        check_masked_or_not(&golden, activation, case, |t| {
            linear(&t[0], &t[1], Some(&t[2]), activation)
        });
    }
    golden.check_products("linear_no_bias", |t| linear(&t[0], &t[1], None, Activation::Identity));
    golden.finish();
}

#[test]
fn minibatch_standard_deviation() {
    let golden = Golden::open("minibatch_std");
    golden.check("groups_of_4", |t| minibatch_std(&t[0], 4));
    golden.check("groups_of_3", |t| minibatch_std(&t[0], 3));
    golden.check("one_group", |t| minibatch_std(&t[0], 5));
    golden.finish();
}

/// The discriminator of `r1.py`, from images to one logit for each, `smooth` with softplus and else leaky relu.
fn discriminator(images: &Tensor, weights: &[Tensor], smooth: bool) -> Result<Tensor> {
    let [w0, b0, w1, b1, w2, b2] = weights else {
        panic!("six weights")
    };
    let options = ConvOptions {
        stride: 2,
        padding: 1,
        activation: if smooth { Activation::Identity } else { LEAKY },
        ..ConvOptions::default()
    };
    let finish = |x: Tensor| if smooth { x.softplus() } else { Ok(x) };
    let x = finish(conv(images, w0, Some(b0), options)?)?;
    let x = finish(conv(&x, w1, Some(b1), options)?)?;
    linear(&x.flatten()?, w2, Some(b2), Activation::Identity)?.reshape([images.side(0)])
}

const WEIGHTS: [&str; 6] = [
    "conv0.weight",
    "conv0.bias",
    "conv1.weight",
    "conv1.bias",
    "linear.weight",
    "linear.bias",
];

/// The penalty per sample and the gradient of its mean for each weight.
fn penalty(name: &str, images: &Tensor, weights: &[Tensor], smooth: bool) -> Result<(Tensor, Vec<Tensor>)> {
    let images = images.watch();
    let logits = discriminator(&images, weights, smooth)?;
    let gradient = grad(
        &[&logits],
        &[&images],
        GradOptions {
            create_graph: true,
            ..GradOptions::default()
        },
    )?
    .remove(0);
    let mut penalty = gradient.square()?.sum_per_sample()?;
    if name == "wgan_gp" {
        penalty = penalty.sqrt()?.add_scalar(-1.0)?.square()?;
    }
    let weights: Vec<_> = weights.iter().collect();
    let options = GradOptions {
        unused: Unused::Zeros,
        ..GradOptions::default()
    };
    let gradients = grad(&[&penalty.mean_all()?], &weights, options)?;
    Ok((penalty, gradients))
}

#[test]
fn gradient_penalties() {
    let golden = Golden::open("r1");
    for (device, tolerance) in devices() {
        let get = |name| golden.tensor(name, &device);
        let (real, fake, mix) = (get("real"), get("fake"), get("mix"));
        let weights: Vec<_> = WEIGHTS.iter().map(|name| get(name).watch()).collect();
        for (activation, smooth) in [("leaky_relu", false), ("softplus", true)] {
            let logits = discriminator(&real, &weights, smooth).expect("logits");
            golden.compare(&format!("{activation}.logits"), &device, &logits, tolerance);
            let step = fake
                .sub(&real)
                .and_then(|difference| difference.mul(&mix))
                .expect("one shape");
            let interpolates = real.add(&step).expect("one shape");
            for (name, images) in [("r1", &real), ("r2", &fake), ("wgan_gp", &interpolates)] {
                let (value, gradients) = penalty(name, images, &weights, smooth).expect("a penalty");
                let key = format!("{activation}.{name}");
                assert!(golden.get(&format!("{key}.grad.conv0.weight"), &device).is_some());
                golden.compare(&key, &device, &value, tolerance);
                for (weight, gradient) in WEIGHTS.iter().zip(&gradients) {
                    golden.compare(&format!("{key}.grad.{weight}"), &device, gradient, tolerance);
                }
            }
        }
    }
    golden.finish();
}
