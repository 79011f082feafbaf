//! Functions of two values with the broadcasting of `NumPy`.

use super::PART;
use crate::{
    BinaryOp,
    kernels::{
        Context,
        isa::{Arithmetic, Kernel},
    },
};

/// Rows shorter than this are repeated into a tile, so that vectors run over their ends.
const SHORT_ROW: usize = 128;
/// Length of such a tile, at least.
const TILE: usize = 1024;

/// A function of two values that loops make vectors of.
trait Function: Copy + Sync {
    fn apply(self, a: f32, b: f32) -> f32;
}

macro_rules! functions {
    ($($name:ident $(($field:ident))? |$a:ident, $b:ident| $body:expr;)*) => {$(
        #[derive(Clone, Copy)]
        struct $name { $($field: f32)? }

        impl Function for $name {
            #[inline(always)]
            fn apply(self, $a: f32, $b: f32) -> f32 {
                $(let Self { $field } = self;)?
                $body
            }
        }
    )*};
}

functions! {
    First |a, _b| a;
    Add |a, b| a + b;
    Sub |a, b| a - b;
    Mul |a, b| a * b;
    Div |a, b| a / b;
    // NaN on either side goes through.
    Maximum |a, b| if a > b || a.is_nan() { a } else { b };
    Minimum |a, b| if a < b || a.is_nan() { a } else { b };
    Greater |a, b| if a > b { 1.0 } else { 0.0 };
    Equal |a, b| if a == b { 1.0 } else { 0.0 };
    TanhGrad |a, b| a * (1.0 - b * b);
    SigmoidGrad |a, b| a * b * (1.0 - b);
    LeakyReluGrad(slope) |a, b| if b > 0.0 { a } else { slope * a };
}

/// One dimension of the result, with the steps that the operands take along it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Dim {
    size: usize,
    a: usize,
    b: usize,
}

/// The steps of an operand along the axes of the result, zero where it is repeated.
fn strides(shape: &[usize], result: &[usize]) -> Vec<usize> {
    let missing = result.len() - shape.len();
    let mut strides = vec![0; result.len()];
    let mut step = 1;
    for (axis, &size) in shape.iter().enumerate().rev() {
        if size != 1 {
            assert_eq!(
                size,
                result[missing + axis],
                "shape {shape:?} does not broadcast to {result:?}"
            );
            strides[missing + axis] = step;
        }
        step *= size;
    }
    strides
}

/// The result's dimensions, those that can be walked as one joined.
fn dims(a_shape: &[usize], b_shape: &[usize], result: &[usize]) -> Vec<Dim> {
    let mut dims: Vec<Dim> = Vec::with_capacity(result.len());
    for ((&size, a), b) in result
        .iter()
        .zip(strides(a_shape, result))
        .zip(strides(b_shape, result))
    {
        if size == 1 {
            continue;
        }
        match dims.last_mut() {
            Some(outer) if outer.a == a * size && outer.b == b * size => {
                *outer = Dim {
                    size: outer.size * size,
                    a,
                    b,
                }
            }
            _ => dims.push(Dim { size, a, b }),
        }
    }
    dims
}

/// How an operand runs along the innermost loop.
#[derive(Clone, Copy)]
enum Run<'a> {
    /// One value throughout.
    Constant,
    /// The next value each time.
    Steps,
    /// A short row over and over, of this period; the tile holds it many times.
    Cycle(usize, &'a [f32]),
}

/// Values of an operand for a stretch of the result.
#[derive(Clone, Copy)]
enum View<'a> {
    Constant(f32),
    Values(&'a [f32]),
}

impl Run<'_> {
    /// Longest stretch from `offset` on that one view can give.
    fn reach(self, offset: usize) -> usize {
        match self {
            Self::Cycle(period, tile) => tile.len() - offset % period,
            _ => usize::MAX,
        }
    }

    fn view<'v>(&'v self, values: &'v [f32], start: usize, offset: usize, len: usize) -> View<'v> {
        match self {
            Self::Constant => View::Constant(values[start]),
            Self::Steps => View::Values(&values[start + offset..][..len]),
            Self::Cycle(period, tile) => View::Values(&tile[offset % period..][..len]),
        }
    }
}

/// The innermost loop over a stretch of the result.
#[inline(always)]
fn apply<F: Function>(f: F, a: View<'_>, b: View<'_>, y: &mut [f32]) {
    match (a, b) {
        (View::Values(a), View::Values(b)) => {
            for ((y, &a), &b) in y.iter_mut().zip(a).zip(b) {
                *y = f.apply(a, b);
            }
        }
        (View::Values(a), View::Constant(b)) => y.iter_mut().zip(a).for_each(|(y, &a)| *y = f.apply(a, b)),
        (View::Constant(a), View::Values(b)) => y.iter_mut().zip(b).for_each(|(y, &b)| *y = f.apply(a, b)),
        (View::Constant(a), View::Constant(b)) => y.fill(f.apply(a, b)),
    }
}

/// The whole pass, ready to be walked in parts.
struct Plan<'a> {
    a: &'a [f32],
    b: &'a [f32],
    outer: Vec<Dim>,
    inner: usize,
    a_run: Run<'a>,
    b_run: Run<'a>,
}

struct Part<'a, F> {
    f: F,
    plan: &'a Plan<'a>,
    start: usize,
    y: &'a mut [f32],
}

impl<F: Function> Kernel for Part<'_, F> {
    type Output = ();

    #[inline(always)]
    fn run<A: Arithmetic>(self) {
        let Plan {
            a,
            b,
            outer,
            inner,
            a_run,
            b_run,
        } = self.plan;
        let (mut row, mut offset, mut y) = (self.start / inner, self.start % inner, self.y);
        while !y.is_empty() {
            let (mut a_start, mut b_start, mut rest) = (0, 0, row);
            for dim in outer.iter().rev() {
                let position = rest % dim.size;
                rest /= dim.size;
                a_start += position * dim.a;
                b_start += position * dim.b;
            }
            let mut left = (inner - offset).min(y.len());
            while left > 0 {
                let len = left.min(a_run.reach(offset)).min(b_run.reach(offset));
                let (now, later) = y.split_at_mut(len);
                let (a, b) = (a_run.view(a, a_start, offset, len), b_run.view(b, b_start, offset, len));
                apply(self.f, a, b, now);
                (y, offset, left) = (later, offset + len, left - len);
            }
            (row, offset) = (row + 1, 0);
        }
    }
}

/// `row` over and over; one period longer than a tile, so that it can begin anywhere.
fn tile(row: &[f32]) -> Vec<f32> {
    row.iter()
        .copied()
        .cycle()
        .take((TILE / row.len() + 1) * row.len())
        .collect()
}

fn run<F: Function>(
    ctx: &Context,
    f: F,
    (a, a_shape): (&[f32], &[usize]),
    (b, b_shape): (&[f32], &[usize]),
    y: (&mut [f32], &[usize]),
) {
    let (y, y_shape) = y;
    if y.is_empty() {
        return;
    }
    assert_eq!(y.len(), y_shape.iter().product::<usize>(), "length of the result");
    let mut outer = dims(a_shape, b_shape, y_shape);
    let last = outer.pop().unwrap_or(Dim { size: 1, a: 0, b: 0 });
    let single = |step| if step == 0 { Run::Constant } else { Run::Steps };
    // A short row of one operand under a long row of the other: [3] against [height, width, 3].
    let short = outer.last().copied().filter(|_| last.size < SHORT_ROW);
    let repeats = |outer_step: usize, step: usize| outer_step == 0 && step == 1;
    let goes_on = |outer_step: usize, step: usize| outer_step == last.size * step;
    let (a_tile, b_tile);
    let plan = match short {
        Some(dim)
            if repeats(dim.b, last.b)
                && goes_on(dim.a, last.a)
                && outer[..outer.len() - 1].iter().all(|d| d.b == 0) =>
        {
            outer.pop();
            b_tile = tile(&b[..last.size]);
            let b_run = Run::Cycle(last.size, &b_tile);
            Plan {
                a,
                b,
                outer,
                inner: dim.size * last.size,
                a_run: single(last.a),
                b_run,
            }
        }
        Some(dim)
            if repeats(dim.a, last.a)
                && goes_on(dim.b, last.b)
                && outer[..outer.len() - 1].iter().all(|d| d.a == 0) =>
        {
            outer.pop();
            a_tile = tile(&a[..last.size]);
            let a_run = Run::Cycle(last.size, &a_tile);
            Plan {
                a,
                b,
                outer,
                inner: dim.size * last.size,
                a_run,
                b_run: single(last.b),
            }
        }
        _ => Plan {
            a,
            b,
            outer,
            inner: last.size,
            a_run: single(last.a),
            b_run: single(last.b),
        },
    };
    ctx.threads.for_each_part(y, PART, |index, y| {
        ctx.isa.run(Part {
            f,
            plan: &plan,
            start: index * PART,
            y,
        });
    });
}

/// `y = op(a, b)` with both broadcast to the shape of `y`.
#[expect(
    clippy::too_many_arguments,
    reason = "two operands and a result, each with its shape"
)]
pub(crate) fn binary(
    ctx: &Context,
    op: BinaryOp,
    a: &[f32],
    a_shape: &[usize],
    b: &[f32],
    b_shape: &[usize],
    y: &mut [f32],
    y_shape: &[usize],
) {
    let (a, b, y) = ((a, a_shape), (b, b_shape), (y, y_shape));
    match op {
        BinaryOp::Add => run(ctx, Add {}, a, b, y),
        BinaryOp::Sub => run(ctx, Sub {}, a, b, y),
        BinaryOp::Mul => run(ctx, Mul {}, a, b, y),
        BinaryOp::Div => run(ctx, Div {}, a, b, y),
        BinaryOp::Maximum => run(ctx, Maximum {}, a, b, y),
        BinaryOp::Minimum => run(ctx, Minimum {}, a, b, y),
        BinaryOp::Greater => run(ctx, Greater {}, a, b, y),
        BinaryOp::Equal => run(ctx, Equal {}, a, b, y),
        BinaryOp::TanhGrad => run(ctx, TanhGrad {}, a, b, y),
        BinaryOp::SigmoidGrad => run(ctx, SigmoidGrad {}, a, b, y),
        BinaryOp::LeakyReluGrad(slope) => run(ctx, LeakyReluGrad { slope }, a, b, y),
    }
}

struct OntoPart<'a, F> {
    f: F,
    y: &'a mut [f32],
    b: &'a [f32],
}

impl<F: Function> Kernel for OntoPart<'_, F> {
    type Output = ();

    #[inline(always)]
    fn run<A: Arithmetic>(self) {
        for (y, &b) in self.y.iter_mut().zip(self.b) {
            *y = self.f.apply(*y, b);
        }
    }
}

fn onto<F: Function>(ctx: &Context, f: F, y: &mut [f32], b: &[f32]) {
    assert_eq!(y.len(), b.len(), "lengths of both operands");
    ctx.threads.for_each_part(y, PART, |index, y| {
        let b = &b[index * PART..][..y.len()];
        ctx.isa.run(OntoPart { f, y, b });
    });
}

/// `y = y + b`, both of one length.
pub(crate) fn add_onto(ctx: &Context, y: &mut [f32], b: &[f32]) {
    onto(ctx, Add {}, y, b);
}

/// `y` where `by` is positive, else `slope · y`, both of one length.
pub(crate) fn gate(ctx: &Context, y: &mut [f32], by: &[f32], slope: f32) {
    onto(ctx, LeakyReluGrad { slope }, y, by);
}

/// `x` repeated to the shape of `y`.
pub(crate) fn broadcast(ctx: &Context, x: &[f32], x_shape: &[usize], y: &mut [f32], y_shape: &[usize]) {
    run(ctx, First {}, (x, x_shape), (&[0.0], &[]), (y, y_shape));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::{on_every_isa, ulp_error, values};

    const OPS: [BinaryOp; 11] = [
        BinaryOp::Add,
        BinaryOp::Sub,
        BinaryOp::Mul,
        BinaryOp::Div,
        BinaryOp::Maximum,
        BinaryOp::Minimum,
        BinaryOp::Greater,
        BinaryOp::Equal,
        BinaryOp::TanhGrad,
        BinaryOp::SigmoidGrad,
        BinaryOp::LeakyReluGrad(0.2),
    ];

    /// The index into an operand at a position of the result, by plain arithmetic.
    fn index(mut flat: usize, shape: &[usize], result: &[usize]) -> usize {
        let (mut index, mut step) = (0, 1);
        for (back, &side) in result.iter().rev().enumerate() {
            let position = flat % side;
            flat /= side;
            if let Some(&size) = shape.len().checked_sub(back + 1).and_then(|axis| shape.get(axis)) {
                index += if size == 1 { 0 } else { position * step };
                step *= size;
            }
        }
        index
    }

    fn check(op: BinaryOp, a_shape: &[usize], b_shape: &[usize], result: &[usize]) {
        let len = |shape: &[usize]| shape.iter().product::<usize>();
        let (a, b) = (values(len(a_shape), 1), values(len(b_shape), 2));
        for (isa, y) in on_every_isa(len(result), |ctx, y| {
            binary(ctx, op, &a, a_shape, &b, b_shape, y, result);
        }) {
            for (i, &y) in y.iter().enumerate() {
                let (a, b) = (
                    f64::from(a[index(i, a_shape, result)]),
                    f64::from(b[index(i, b_shape, result)]),
                );
                let exact = op.reference(a, b);
                // The gradients of tanh and sigmoid subtract from one, whose rounding counts.
                let close = ulp_error(y, exact) <= 1.0 || (f64::from(y) - exact).abs() < 2e-7 * a.abs();
                assert!(
                    close,
                    "{op:?} on {isa}: {a_shape:?} {b_shape:?} at {i}: {y} for {exact}"
                );
            }
        }
    }

    #[test]
    fn every_function_agrees_with_its_reference() {
        for op in OPS {
            for len in crate::kernels::testing::SIZES {
                check(op, &[len], &[len], &[len]);
            }
        }
    }

    #[test]
    fn broadcasting_agrees_with_plain_indices() {
        let shapes: [(&[usize], &[usize], &[usize]); 19] = [
            (&[2, 3], &[], &[2, 3]),
            (&[], &[2, 3], &[2, 3]),
            (&[], &[], &[2, 3]),
            (&[], &[], &[]),
            (&[40_000], &[1], &[40_000]),
            (&[4, 60, 60, 3], &[3], &[4, 60, 60, 3]),
            (&[3], &[4, 60, 60, 3], &[4, 60, 60, 3]),
            (&[3], &[], &[4, 60, 60, 3]),
            (&[5, 7, 7, 200], &[200], &[5, 7, 7, 200]),
            (&[5, 7, 7, 20], &[5, 1, 1, 1], &[5, 7, 7, 20]),
            (&[5, 7, 7, 20], &[5, 1, 1, 20], &[5, 7, 7, 20]),
            (&[5, 1, 1, 130], &[5, 20, 20, 130], &[5, 20, 20, 130]),
            (&[5, 7, 7, 20], &[5, 7, 7, 1], &[5, 7, 7, 20]),
            (&[9, 1], &[1, 11], &[9, 11]),
            (&[1, 11], &[9, 1], &[9, 11]),
            (&[2, 1, 3, 1], &[4, 1, 5], &[2, 4, 3, 5]),
            (&[7, 1, 3], &[7, 5, 3], &[7, 5, 3]),
            (&[2, 0, 3], &[3], &[2, 0, 3]),
            (&[3, 1, 2, 2], &[1, 5, 1, 2], &[3, 5, 2, 2]),
        ];
        for (a, b, result) in shapes {
            check(BinaryOp::Sub, a, b, result);
        }
    }

    #[test]
    fn repeating_keeps_values_and_signs() {
        let x = [-0.0, 1.5, f32::NAN];
        for (_, y) in on_every_isa(3 * 50, |ctx, y| broadcast(ctx, &x, &[1, 3], y, &[50, 3])) {
            assert!(y.iter().zip(x.iter().cycle()).all(|(y, x)| y.to_bits() == x.to_bits()));
        }
    }

    #[test]
    fn not_a_number_goes_through_maximum_and_minimum() {
        for op in [BinaryOp::Maximum, BinaryOp::Minimum] {
            for (a, b) in [(f32::NAN, 1.0), (1.0, f32::NAN)] {
                for (isa, y) in on_every_isa(20, |ctx, y| binary(ctx, op, &[a; 20], &[20], &[b; 20], &[20], y, &[20])) {
                    assert!(y.iter().all(|v| v.is_nan()), "{isa}");
                }
            }
        }
    }
}
