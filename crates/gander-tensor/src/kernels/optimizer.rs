//! What changes weights in place: the step of Adam and the moving average.

use super::{
    Context,
    isa::{Arithmetic, Kernel},
    threads::SharedMut,
};
use crate::AdamStep;

/// Weights of one task.
const PART: usize = 16 * 1024;

struct AdamPart<'a> {
    param: &'a mut [f32],
    m: &'a mut [f32],
    v: &'a mut [f32],
    grad: &'a [f32],
    step: AdamStep,
}

impl Kernel for AdamPart<'_> {
    type Output = ();

    #[inline(always)]
    fn run<A: Arithmetic>(self) {
        let AdamStep {
            lr,
            beta1,
            beta2,
            eps,
            bias_correction1,
            bias_correction2,
        } = self.step;
        let (rest1, rest2) = (1.0 - beta1, 1.0 - beta2);
        // `lr · (m / c1) / (√(v / c2) + eps)`, with the divisions by constants taken out.
        let (step_size, root_scale) = (lr / bias_correction1, (1.0 / bias_correction2).sqrt());
        let state = self.param.iter_mut().zip(self.m).zip(self.v);
        for (((param, m), v), &g) in state.zip(self.grad) {
            *m = A::mul_add(rest1, g, beta1 * *m);
            *v = A::mul_add(rest2, g * g, beta2 * *v);
            *param -= step_size * *m / A::mul_add(v.sqrt(), root_scale, eps);
        }
    }
}

/// One step of Adam on `param`, with its running means `m` of the gradient and `v` of its square.
pub(crate) fn adam(ctx: &Context, param: &mut [f32], m: &mut [f32], v: &mut [f32], grad: &[f32], step: AdamStep) {
    let len = grad.len();
    assert_eq!(
        [param.len(), m.len(), v.len()],
        [len; 3],
        "lengths of weights, state and gradient"
    );
    let [param, m, v] = [param, m, v].map(SharedMut::new);
    ctx.threads.for_each_sized(len, len.div_ceil(PART), |task| {
        let range = task * PART..len.min((task + 1) * PART);
        // SAFETY: the ranges of different tasks do not overlap.
        let [param, m, v] = [param, m, v].map(|values| unsafe { values.slice(range.clone()) });
        ctx.isa.run(AdamPart {
            param,
            m,
            v,
            grad: &grad[range],
            step,
        });
    });
}

struct LerpPart<'a> {
    a: &'a mut [f32],
    b: &'a [f32],
    t: f32,
}

impl Kernel for LerpPart<'_> {
    type Output = ();

    #[inline(always)]
    fn run<A: Arithmetic>(self) {
        for (a, &b) in self.a.iter_mut().zip(self.b) {
            *a = A::mul_add(self.t, b - *a, *a);
        }
    }
}

/// `a ← a + t (b − a)`: the moving average of weights.
pub(crate) fn lerp(ctx: &Context, a: &mut [f32], b: &[f32], t: f32) {
    assert_eq!(a.len(), b.len(), "lengths of average and weights");
    ctx.threads.for_each_part(a, PART, |index, a| {
        let b = &b[index * PART..][..a.len()];
        ctx.isa.run(LerpPart { a, b, t });
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::{SIZES, assert_close, on_every_isa, values, wide};

    #[test]
    fn three_steps_of_adam_agree_with_the_formula() {
        for (len, (beta1, beta2)) in SIZES
            .into_iter()
            .flat_map(|len| [(len, (0.5, 0.999)), (len, (0.0, 0.9))])
        {
            let start = values(len, 1);
            let grads: Vec<_> = (2..5).map(|seed| values(len, seed)).collect();
            let step = |t: i32| AdamStep {
                lr: 2e-4,
                beta1,
                beta2,
                eps: 1e-8,
                bias_correction1: 1.0 - beta1.powi(t),
                bias_correction2: 1.0 - beta2.powi(t),
            };
            let (mut w, mut m, mut v) = (wide(&start), vec![0.0; len], vec![0.0; len]);
            for (t, grad) in (1..).zip(&grads) {
                let (beta1, beta2, step) = (f64::from(beta1), f64::from(beta2), step(t));
                for (i, &g) in wide(grad).iter().enumerate() {
                    m[i] = beta1 * m[i] + (1.0 - beta1) * g;
                    v[i] = beta2 * v[i] + (1.0 - beta2) * g * g;
                    let mean = m[i] / f64::from(step.bias_correction1);
                    let root = (v[i] / f64::from(step.bias_correction2)).sqrt();
                    w[i] -= f64::from(step.lr) * mean / (root + f64::from(step.eps));
                }
            }
            let results = on_every_isa(3 * len, |ctx, y| {
                y.fill(0.0);
                y[..len].copy_from_slice(&start);
                let (w, rest) = y.split_at_mut(len);
                let (m, v) = rest.split_at_mut(len);
                for (t, grad) in (1..).zip(&grads) {
                    adam(ctx, w, m, v, grad, step(t));
                }
            });
            for (isa, y) in results {
                let what = format!("{len} on {isa}");
                assert_close(&y[..len], &w, (2e-7, 1.0), &what);
                assert_close(&y[len..2 * len], &m, (1e-6, 0.1), &what);
                assert_close(&y[2 * len..], &v, (2e-5, 1e-3), &what);
            }
        }
    }

    #[test]
    fn an_average_moves_by_its_share() {
        for len in SIZES {
            let (a, b) = (values(len, 1), values(len, 2));
            let exact: Vec<f64> = wide(&a)
                .iter()
                .zip(wide(&b))
                .map(|(a, b)| a + f64::from(0.01f32) * (b - a))
                .collect();
            let results = on_every_isa(len, |ctx, y| {
                y.copy_from_slice(&a);
                lerp(ctx, y, &b, 0.01);
            });
            for (isa, y) in results {
                assert_close(&y, &exact, (2e-7, 1.0), &format!("{len} on {isa}"));
            }
        }
    }
}
