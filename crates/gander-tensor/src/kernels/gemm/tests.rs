use half::bf16;

use super::*;
use crate::{
    kernels::{Context, memory::Pool, threads::ThreadPool},
    ops::matmul::{MatmulGeometry, reference},
};

/// `[batch, m, k, n]`
const SHAPES: &[[usize; 4]] = &[
    [1, 1, 1, 1],
    [1, 7, 5, 3],
    [1, 1, 100, 70],
    [3, 13, 33, 65],
    [2, 64, 16, 128],
    [1, 200, 700, 130],
    [1, 30, 40, 1],
    [2, 25, 64, 4],
    [4, 16, 17, 16],
    [1, 5, 0, 6],
    [1, 100, 3, 520],
];

fn contexts(threads: usize) -> impl Iterator<Item = Context> {
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

fn geometries() -> impl Iterator<Item = MatmulGeometry> {
    SHAPES.iter().flat_map(|&[batch, m, k, n]| {
        (0..4).map(move |bits| MatmulGeometry {
            batch,
            m,
            k,
            n,
            transpose_a: bits & 1 > 0,
            transpose_b: bits & 2 > 0,
        })
    })
}

/// Numbers in −1..1 without a pattern that a wrong index would repeat.
fn numbers(len: usize, seed: u32) -> Vec<f32> {
    let number = |i: u32| {
        (i ^ seed)
            .wrapping_mul(0x9e37_79b1)
            .rotate_left(13)
            .wrapping_mul(0x85eb_ca6b)
    };
    (0..len as u32)
        .map(|i| f64::from(number(i)) / f64::from(u32::MAX) * 2.0 - 1.0)
        .map(|v| v as f32)
        .collect()
}

fn operands(g: &MatmulGeometry) -> (Vec<f32>, Vec<f32>) {
    (numbers(g.batch * g.m * g.k, 17), numbers(g.batch * g.k * g.n, 99))
}

fn product(ctx: &Context, g: &MatmulGeometry, a: &[f32], b: &[f32]) -> Vec<f32> {
    let mut c = vec![f32::NAN; g.batch * g.m * g.n];
    matmul(ctx, g, a, b, None, Activation::Identity, &mut c);
    c
}

#[test]
fn products_equal_the_reference() {
    for ctx in contexts(2) {
        for g in geometries() {
            let (a, b) = operands(&g);
            let seen = |values: &[f32]| -> Vec<f64> {
                let seen = |&v: &f32| {
                    if ctx.precision == Precision::Bf16 {
                        bf16::from_f32(v).to_f64()
                    } else {
                        v.into()
                    }
                };
                values.iter().map(seen).collect()
            };
            let size = |values: &[f32]| seen(values).iter().map(|v| v.abs()).collect::<Vec<f64>>();
            let expected = reference(&g, &seen(&a), &seen(&b));
            let sizes = reference(&g, &size(&a), &size(&b));
            let epsilon = f64::from(f32::EPSILON) / 2.0;
            for (i, got) in product(&ctx, &g, &a, &b).into_iter().enumerate() {
                let error = (f64::from(got) - expected[i]).abs();
                let bound = (g.k + 1) as f64 * epsilon * sizes[i];
                assert!(error <= bound, "{:?} {g:?}: at {i} {got} for {}", ctx.isa, expected[i]);
            }
        }
    }
}

#[test]
fn bytes_do_not_depend_on_threads_or_neighboring_rows() {
    for (one, many) in contexts(1).zip(contexts(3)) {
        for g in geometries() {
            let (a, b) = operands(&g);
            let c = product(&one, &g, &a, &b);
            assert_eq!(c, product(&many, &g, &a, &b), "{g:?}");
            if g.batch == 1 && !g.transpose_a {
                let row = MatmulGeometry { m: 1, ..g };
                for i in 0..g.m {
                    assert_eq!(
                        c[i * g.n..(i + 1) * g.n],
                        product(&one, &row, &a[i * g.k..(i + 1) * g.k], &b),
                        "{g:?}"
                    );
                }
            }
        }
    }
}

#[test]
fn bias_and_activation_follow_the_product() {
    for ctx in contexts(1) {
        for g in geometries() {
            let (a, b) = operands(&g);
            let bias = numbers(g.n, 5);
            let mut c = vec![f32::NAN; g.batch * g.m * g.n];
            matmul(&ctx, &g, &a, &b, Some(&bias), Activation::LeakyRelu(0.25), &mut c);
            for (i, (got, sum)) in c.iter().zip(product(&ctx, &g, &a, &b)).enumerate() {
                let v = sum + bias[i % g.n];
                assert_eq!(*got, if v < 0.0 { 0.25 * v } else { v }, "{:?} {g:?} at {i}", ctx.isa);
            }
        }
    }
}
