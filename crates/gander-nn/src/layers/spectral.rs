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
        weight.div(&sigma.reshape(&[])?)
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
