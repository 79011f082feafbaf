//! Spectral normalization: a weight divided by its largest singular value.

use gander_tensor::{MatmulOptions, Result, Tensor, matmul, no_grad};

use super::Mode;
use crate::{Init, Parameter, Scope};

/// Keeps a weight's largest singular value at one, by a power iteration of one step for each training pass.
///
/// The weight is seen as a matrix `[rest, out]`.
///
/// # Source
/// Miyato et al. 2018, algorithm 1, <https://arxiv.org/abs/1802.05957>.
#[derive(Debug)]
pub struct SpectralNorm {
    /// The left singular vector, of length `out`.
    u: Parameter,
}

impl SpectralNorm {
    /// Added to the length before a division by it.
    const EPS: f32 = 1e-12;

    /// For a weight whose last side is `out`.
    pub fn new(weight: &Parameter, scope: &mut Scope<'_>) -> Result<Self> {
        let out = weight.get().shape().channels();
        Ok(Self {
            u: scope.buffer("spectral_u", [1, out], Init::normal(1.0))?,
        })
    }

    /// `weight / σ`, with a gradient through σ for fixed singular vectors.
    pub fn normalized(&self, weight: &Tensor, mode: Mode) -> Result<Tensor> {
        let out = weight.shape().channels();
        let matrix = weight.reshape([weight.shape().num_elements() / out.max(1), out])?;
        let (u, v) = no_grad(|| self.singular_vectors(&matrix.detach(), mode))?;
        // σ = v W uᵀ
        let sigma = matmul(&matmul(&v, &matrix, MatmulOptions::default())?, &u, transposed_right())?;
        weight.div(&sigma.reshape([])?)
    }

    fn singular_vectors(&self, matrix: &Tensor, mode: Mode) -> Result<(Tensor, Tensor)> {
        let u = unit(&self.u.get())?;
        let v = unit(&matmul(&u, matrix, transposed_right())?)?;
        if mode != Mode::Train {
            return Ok((u, v));
        }
        let u = unit(&matmul(&v, matrix, MatmulOptions::default())?)?;
        self.u.set(&u)?;
        Ok((u, v))
    }
}

fn transposed_right() -> MatmulOptions {
    MatmulOptions {
        transpose_b: true,
        ..MatmulOptions::default()
    }
}

fn unit(vector: &Tensor) -> Result<Tensor> {
    vector.div(&vector.square()?.sum_all()?.sqrt()?.add_scalar(SpectralNorm::EPS)?)
}

#[cfg(test)]
mod tests {
    use gander_tensor::{GradOptions, RandomKey, Reference, grad};

    use super::*;
    use crate::Parameters;

    /// A weight with singular values 3 and ½, and its normalization.
    fn case() -> (Parameters, Parameter, SpectralNorm) {
        let device = Reference::shared();
        let mut parameters = Parameters::default();
        let mut scope = Scope::new(&mut parameters, RandomKey::from_seed(1), &device);
        let weight = scope.weight("weight", [1, 3, 2], Init::ZEROS).unwrap();
        weight
            .set(&Tensor::from_slice(&[0.0, 3.0, 0.5, 0.0, 0.0, 0.0], [1, 3, 2], &device).unwrap())
            .unwrap();
        let spectral = SpectralNorm::new(&weight, &mut scope).unwrap();
        (parameters, weight, spectral)
    }

    #[test]
    fn iterations_find_the_largest_singular_value() {
        let (_, weight, spectral) = case();
        let largest = |mode| {
            let values = spectral.normalized(&weight.get(), mode).unwrap().to_vec().unwrap();
            values[1]
        };
        for _ in 0..10 {
            largest(Mode::Train);
        }
        assert!((largest(Mode::Evaluate) - 1.0).abs() < 1e-6);
    }

    #[test]
    fn only_training_moves_the_vector() {
        let (parameters, weight, spectral) = case();
        let u = || parameters.get("spectral_u").unwrap().get().to_vec().unwrap();
        let before = u();
        for mode in [Mode::Evaluate, Mode::Frozen] {
            spectral.normalized(&weight.get(), mode).unwrap();
            assert_eq!(u(), before, "{mode:?}");
        }
        spectral.normalized(&weight.get(), Mode::Train).unwrap();
        assert_ne!(u(), before);
    }

    /// `W / σ(W)` does not change with the length of `W`, so its gradient is orthogonal to `W`.
    #[test]
    fn gradients_pass_through_the_singular_value() {
        let (_, weight, spectral) = case();
        (0..20).for_each(|_| drop(spectral.normalized(&weight.get(), Mode::Train)));
        let w = weight.get();
        let loss = spectral
            .normalized(&w, Mode::Frozen)
            .unwrap()
            .add_scalar(0.3)
            .unwrap()
            .square()
            .unwrap();
        let slope = grad(&[&loss], &[&w], GradOptions::default()).unwrap().remove(0);
        assert!(slope.to_vec().unwrap().iter().any(|value| value.abs() > 1e-3));
        let along = slope.mul(&w).unwrap().sum_all().unwrap().to_vec_f64().unwrap()[0];
        assert!(along.abs() < 1e-9, "{along}");
    }
}
