use super::{scheme::Matrix, *};
use crate::{
    Activation,
    kernels::conv::tests::{absolute, contexts, numbers},
    ops::conv::{input_grad_reference, reference, weight_grad_reference},
};

/// `[batch, in, out]` and input sides, with padding for the kernels of three.
const CASES: &[([usize; 3], [usize; 2], usize)] = &[
    ([2, 5, 7], [8, 7], 1),
    ([1, 33, 20], [2, 2], 1),
    ([3, 16, 70], [5, 11], 0),
    ([2, 40, 3], [7, 4], 2),
    ([1, 70, 130], [6, 9], 1),
    // More than a block of tiles.
    ([9, 17, 18], [10, 12], 1),
];

/// The convolutions of a case that a scheme computes.
fn geometry(scheme: Scheme, &([batch, in_channels, out_channels], [height, width], padding): &Case) -> ConvGeometry {
    let (kernel, stride, padding) = match scheme {
        Scheme::Two | Scheme::Four => (3, 1, padding),
        Scheme::Down | Scheme::Up => (4, 2, 1),
    };
    let input = [1, height, width];
    let side = |side: usize| (side + 2 * padding - kernel) / stride + 1;
    ConvGeometry {
        batch,
        input,
        output: [1, side(height), side(width)],
        kernel: [1, kernel, kernel],
        stride: [1, stride, stride],
        dilation: [1; 3],
        padding: [0, padding, padding],
        in_channels,
        out_channels,
        groups: 1,
    }
}

type Case = ([usize; 3], [usize; 2], usize);

fn cases(scheme: Scheme) -> impl Iterator<Item = ConvGeometry> {
    CASES.iter().map(move |case| geometry(scheme, case))
}

/// The passes that a scheme computes.
fn passes(scheme: Scheme) -> &'static [Pass] {
    match scheme {
        Scheme::Two | Scheme::Four => &[Pass::Forward, Pass::InputGrad, Pass::WeightGrad],
        Scheme::Down => &[Pass::Forward, Pass::WeightGrad],
        Scheme::Up => &[Pass::InputGrad],
    }
}

/// The operands of a pass, and how many values its result has.
fn operands(g: &ConvGeometry, pass: Pass) -> ([Vec<f32>; 2], usize) {
    let (x, w, dy) = (
        numbers(g.input_len(), 1),
        numbers(g.weight_len(), 2),
        numbers(g.output_len(), 3),
    );
    match pass {
        Pass::Forward => ([x, w], g.output_len()),
        Pass::InputGrad => ([dy, w], g.input_len()),
        Pass::WeightGrad => ([x, dy], g.weight_len()),
    }
}

fn compute(ctx: &Context, tiling: &Tiling, pass: Pass, [a, b]: &[Vec<f32>; 2], len: usize) -> Vec<f32> {
    let mut result = vec![f32::NAN; len];
    match pass {
        Pass::WeightGrad => tiling.weight_grad(ctx, a, b, &mut result),
        _ => tiling.run(ctx, a, b, After::default(), &mut result),
    }
    result
}

fn exact(g: &ConvGeometry, pass: Pass, [a, b]: &[Vec<f64>; 2]) -> Vec<f64> {
    match pass {
        Pass::Forward => reference(g, a, b),
        Pass::InputGrad => input_grad_reference(g, a, b),
        Pass::WeightGrad => weight_grad_reference(g, a, b),
    }
}

type Plane = Vec<Vec<f64>>;

/// `|matrix| · values · |matrixᵀ|`
fn sizes_through(matrix: &Matrix, values: &Plane) -> Plane {
    let at = |i: usize, j: usize| f64::from(matrix.at[i][j].abs());
    let columns = 0..matrix.columns;
    let sum = |i: usize, j: usize| {
        let row = |k: usize| columns.clone().map(move |l| (k, l));
        columns
            .clone()
            .flat_map(row)
            .map(|(k, l)| at(i, k) * values[k][l] * at(j, l))
            .sum()
    };
    (0..matrix.rows)
        .map(|i| (0..matrix.rows).map(|j| sum(i, j)).collect())
        .collect()
}

fn transposed(matrix: &Matrix) -> Matrix {
    let mut at = matrix.at;
    for (i, row) in at.iter_mut().enumerate() {
        for (j, value) in row.iter_mut().enumerate() {
            *value = matrix.at[j][i];
        }
    }
    Matrix {
        rows: matrix.columns,
        columns: matrix.rows,
        at,
        first: matrix.first,
    }
}

/// The size of every sum on the way to a result, when nothing cancels: the algorithm by definition, in double
/// precision, with the absolute values of operands and matrices.
fn sizes(tiling: &Tiling, pass: Pass, operands: &[Vec<f64>; 2], len: usize) -> Vec<f64> {
    let axis = tiling.scheme.axis();
    let [a, b] = operands;
    let (sources, targets) = (tiling.source_channels, tiling.target_channels);
    let (window, outputs) = (axis.source.columns, axis.target.rows);
    let [down, across] = tiling.along();
    let plane = |side: usize, value: &dyn Fn(usize, usize) -> f64| -> Plane {
        (0..side).map(|i| (0..side).map(|j| value(i, j)).collect()).collect()
    };
    // A value of an image, or zero.
    let at = |values: &[f64], sides: [usize; 2], channels: usize, image: usize, [y, x]: [isize; 2], c: usize| {
        let inside = y >= 0 && x >= 0 && y < sides[0] as isize && x < sides[1] as isize;
        if inside {
            values[((image * sides[0] + y as usize) * sides[1] + x as usize) * channels + c]
        } else {
            0.0
        }
    };
    let source_of = |tile: usize, c: usize| {
        let (image, y, x) = (tile / (down * across), tile / across % down, tile % across);
        let value = |i: usize, j: usize| {
            let at_axis = |tile: usize, k: usize, low: isize| (tile * axis.step + k) as isize + low;
            let position = [at_axis(y, i, tiling.low[0]), at_axis(x, j, tiling.low[1])];
            at(a, tiling.source, sources, image, position, c)
        };
        sizes_through(&axis.source, &plane(window, &value))
    };
    let n = axis.planes.len();
    let mut result = vec![0.0; len];
    // A kernel's place among the weights, or that of its mirror image where channels are exchanged.
    let weight_at = |tap: usize, c: usize, k: usize| {
        let taps = axis.taps() * axis.taps();
        match (pass, tiling.reversed) {
            (Pass::InputGrad, true) => ((taps - 1 - tap) * targets + k) * sources + c,
            (Pass::InputGrad, false) => (tap * targets + k) * sources + c,
            _ => (tap * sources + c) * targets + k,
        }
    };
    for c in 0..sources {
        let planes: Vec<Plane> = (0..tiling.tiles()).map(|tile| source_of(tile, c)).collect();
        for k in 0..targets {
            if pass == Pass::WeightGrad {
                let mut sums = plane(n, &|_, _| 0.0);
                for (tile, planes) in planes.iter().enumerate() {
                    let (image, y, x) = (tile / (down * across), tile / across % down, tile % across);
                    let value = |i: usize, j: usize| {
                        let position = [(y * outputs + i) as isize, (x * outputs + j) as isize];
                        at(b, tiling.target, targets, image, position, k)
                    };
                    let points = sizes_through(&transposed(&axis.target), &plane(outputs, &value));
                    for i in 0..n {
                        for j in 0..n {
                            let point = &points[i / axis.terms()][j / axis.terms()];
                            sums[i][j] += point * planes[axis.planes[i]][axis.planes[j]];
                        }
                    }
                }
                let taps = sizes_through(&transposed(&axis.weight), &sums);
                for tap in 0..axis.taps() * axis.taps() {
                    result[weight_at(tap, c, k)] = taps[tap / axis.taps()][tap % axis.taps()];
                }
                continue;
            }
            let kernel = plane(axis.taps(), &|i, j| b[weight_at(i * axis.taps() + j, c, k)]);
            let weights = sizes_through(&axis.weight, &kernel);
            for (tile, planes) in planes.iter().enumerate() {
                let mut points = plane(axis.target.columns, &|_, _| 0.0);
                for i in 0..n {
                    for j in 0..n {
                        let product = weights[i][j] * planes[axis.planes[i]][axis.planes[j]];
                        points[i / axis.terms()][j / axis.terms()] += product;
                    }
                }
                let (image, y, x) = (tile / (down * across), tile / across % down, tile % across);
                for (i, row) in sizes_through(&axis.target, &points).into_iter().enumerate() {
                    for (j, size) in row.into_iter().enumerate() {
                        let (y, x) = (y * outputs + i, x * outputs + j);
                        if y < tiling.target[0] && x < tiling.target[1] {
                            result[((image * tiling.target[0] + y) * tiling.target[1] + x) * targets + k] += size;
                        }
                    }
                }
            }
        }
    }
    result
}

/// How far a result may be off, as a part of its size when nothing cancels.
///
/// Every operation multiplies what goes into it by `1 + δ`, where `|δ|` is at most half the distance of neighbors:
/// 2⁻²⁴ in float32 and 2⁻⁸ in bfloat16. A row of a matrix with `n` elements takes `n` operations and is applied twice,
/// a sum takes one for each of its terms, and an element of a matrix may itself be rounded. Both operands of a product
/// are rounded to bfloat16 once.
fn possible(ctx: &Context, tiling: &Tiling, pass: Pass) -> f64 {
    let axis = tiling.scheme.axis();
    let longest = |matrix: &Matrix| {
        let elements = |i: usize| matrix.at[i].iter().filter(|&&v| v != 0.0).count();
        (0..matrix.rows).map(elements).max().unwrap_or(0)
    };
    let (source, weight, target) = match pass {
        Pass::WeightGrad => (
            longest(&axis.source),
            longest(&transposed(&axis.weight)),
            longest(&transposed(&axis.target)),
        ),
        _ => (longest(&axis.source), longest(&axis.weight), longest(&axis.target)),
    };
    let terms = match pass {
        Pass::WeightGrad => tiling.tiles(),
        _ => tiling.source_channels * axis.terms() * axis.terms(),
    };
    let operations = 2 * (source + weight + target) + 2 + terms + 1;
    let rounded = if ctx.precision == Precision::Bf16 { 2.0 } else { 0.0 };
    (operations as f64 * f64::powi(2.0, -24) + rounded * f64::powi(2.0, -8)).exp_m1()
}

#[test]
fn every_scheme_equals_the_reference() {
    for scheme in Scheme::ALL {
        for g in cases(scheme) {
            for &pass in passes(scheme) {
                let (values, len) = operands(&g, pass);
                let wide = [0, 1].map(|i| values[i].iter().map(|&v| f64::from(v)).collect::<Vec<_>>());
                let exact = exact(&g, pass, &wide);
                let tiling = Tiling::new(&g, scheme, pass);
                let sizes = sizes(&tiling, pass, &[absolute(&wide[0]), absolute(&wide[1])], len);
                for ctx in contexts(2) {
                    let possible = possible(&ctx, &tiling, pass);
                    let got = compute(&ctx, &tiling, pass, &values, len);
                    for (i, (&got, (&exact, size))) in got.iter().zip(exact.iter().zip(&sizes)).enumerate() {
                        let error = (f64::from(got) - exact).abs();
                        assert!(
                            error <= possible * size,
                            "{scheme:?} {pass:?} {:?} {:?} {g:?}: at {i} {got} for {exact}, off by {error:e} where \
                             {:e} is possible",
                            ctx.isa,
                            ctx.precision,
                            possible * size
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn bytes_depend_neither_on_threads_nor_on_the_place_in_the_batch() {
    let bits = |values: &[f32]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
    for scheme in Scheme::ALL {
        for g in cases(scheme) {
            for &pass in passes(scheme) {
                let (values, len) = operands(&g, pass);
                let tiling = Tiling::new(&g, scheme, pass);
                for (one, many) in contexts(1).zip(contexts(3)) {
                    let expected = compute(&one, &tiling, pass, &values, len);
                    let what = format!("{scheme:?} {pass:?} {:?} {:?} {g:?}", one.isa, one.precision);
                    assert_eq!(
                        bits(&expected),
                        bits(&compute(&many, &tiling, pass, &values, len)),
                        "{what}"
                    );
                    if pass == Pass::WeightGrad || g.batch == 1 {
                        continue;
                    }
                    let single = Tiling::new(&ConvGeometry { batch: 1, ..g }, scheme, pass);
                    let last = [
                        values[0][values[0].len() / g.batch * (g.batch - 1)..].to_vec(),
                        values[1].clone(),
                    ];
                    let alone = compute(&one, &single, pass, &last, len / g.batch);
                    assert_eq!(bits(&alone), bits(&expected[len - len / g.batch..]), "{what}");
                }
            }
        }
    }
}

#[test]
fn bias_and_activation_follow_the_sum() {
    for scheme in Scheme::ALL {
        for (g, act) in cases(scheme).zip([
            Activation::Relu,
            Activation::LeakyRelu(0.2),
            Activation::Tanh,
            Activation::Sigmoid,
        ]) {
            for &pass in passes(scheme).iter().filter(|&&pass| pass != Pass::WeightGrad) {
                let (values, len) = operands(&g, pass);
                let tiling = Tiling::new(&g, scheme, pass);
                let bias = numbers(tiling.target_channels, 4);
                for ctx in contexts(2) {
                    let sums = compute(&ctx, &tiling, pass, &values, len);
                    let mut got = vec![f32::NAN; len];
                    tiling.run(&ctx, &values[0], &values[1], After::bias(Some(&bias), act), &mut got);
                    for (i, (got, sum)) in got.into_iter().zip(sums).enumerate() {
                        let v = f64::from(sum + bias[i % bias.len()]);
                        let expected = match act {
                            Activation::Relu => v.max(0.0),
                            Activation::LeakyRelu(slope) => v.max(f64::from(slope) * v),
                            Activation::Tanh => v.tanh(),
                            _ => 1.0 / (1.0 + (-v).exp()),
                        };
                        // Eight steps of a float32 for the functions, which are bounded in tests of their own.
                        let bound = 8.0 * f64::from(f32::EPSILON) * expected.abs().max(1e-3);
                        assert!(
                            (f64::from(got) - expected).abs() <= bound,
                            "{scheme:?} {pass:?} {act:?} {:?}: at {i} {got} for {expected}",
                            ctx.isa
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn an_empty_batch_gives_nothing_and_no_gradient() {
    for ctx in contexts(2) {
        for scheme in Scheme::ALL {
            let g = ConvGeometry {
                batch: 0,
                ..geometry(scheme, &CASES[0])
            };
            for &pass in passes(scheme) {
                let (values, len) = operands(&g, pass);
                let result = compute(&ctx, &Tiling::new(&g, scheme, pass), pass, &values, len);
                assert!(result.iter().all(|&value| value == 0.0));
                assert_eq!(result.is_empty(), pass != Pass::WeightGrad);
            }
        }
    }
}

#[test]
fn schemes_are_chosen_where_they_pay() {
    let layer = |[batch, side]: [usize; 2], [kernel, stride, padding]: [usize; 3], [i, o]: [usize; 2]| {
        let output = (side + 2 * padding - kernel) / stride + 1;
        ConvGeometry {
            batch,
            input: [1, side, side],
            output: [1, output, output],
            kernel: [1, kernel, kernel],
            stride: [1, stride, stride],
            dilation: [1; 3],
            padding: [0, padding, padding],
            in_channels: i,
            out_channels: o,
            groups: 1,
        }
    };
    let all = [Pass::Forward, Pass::InputGrad, Pass::WeightGrad];
    for ctx in contexts(1) {
        let chosen = |g: ConvGeometry| all.map(|pass| tiling(&ctx, &g, pass).map(|tiling| tiling.scheme));
        let wide = if ctx.precision == Precision::Bf16 {
            Scheme::Two
        } else {
            Scheme::Four
        };
        let one_image = chosen(layer([1, 34], [3, 1, 0], [256, 256]));
        assert!(one_image.iter().all(Option::is_some));
        assert_eq!(chosen(layer([100, 14], [3, 1, 1], [128, 128])), [Some(wide); 3]);
        assert_eq!(
            chosen(layer([64, 32], [4, 2, 1], [64, 128])),
            [Some(Scheme::Down), Some(Scheme::Up), Some(Scheme::Down)]
        );
        // Few channels, few pixels, other kernels, strides and groups.
        assert_eq!(chosen(layer([100, 28], [3, 1, 1], [64, 3])), [None; 3]);
        assert_eq!(chosen(layer([1, 4], [3, 1, 1], [256, 256]))[2], None);
        // However many images there are, each is computed the same way.
        let alone = chosen(layer([1, 4], [3, 1, 1], [256, 256]));
        assert_eq!(alone[..2], chosen(layer([100, 4], [3, 1, 1], [256, 256]))[..2]);
        assert_eq!(chosen(layer([64, 32], [3, 2, 1], [64, 64])), [None; 3]);
        assert_eq!(chosen(layer([64, 32], [4, 2, 0], [64, 64])), [None; 3]);
        assert_eq!(chosen(layer([64, 32], [5, 1, 2], [64, 64])), [None; 3]);
        let grouped = ConvGeometry {
            groups: 2,
            ..layer([64, 32], [3, 1, 1], [64, 64])
        };
        assert_eq!(chosen(grouped), [None; 3]);
    }
}
