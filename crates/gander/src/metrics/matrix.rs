//! Double-precision matrices for scores: the little that they need, on top of faer.

use faer::{Accum, Mat, MatRef, Par, Side, linalg::matmul::matmul};

use super::Features;
use crate::error::{Error, Result};

/// Threads of a product; results do not depend on their number as long as sums are not split, which faer does not do.
pub(super) fn threads() -> Par {
    faer::get_global_parallelism()
}

/// `a · b`.
pub(super) fn product(a: MatRef<'_, f64>, b: MatRef<'_, f64>) -> Mat<f64> {
    let mut out = Mat::zeros(a.nrows(), b.ncols());
    matmul(out.as_mut(), Accum::Replace, a, b, 1.0, threads());
    out
}

/// Rows `from..to` as columns of a matrix, `[dim, to − from]`, less `center`: rows of an array are columns of faer.
pub(super) fn columns(features: &Features, from: usize, to: usize, center: Option<&[f64]>) -> Mat<f64> {
    let dim = features.dim();
    let values = &features.values()[from * dim..to * dim];
    Mat::from_fn(dim, to - from, |i, j| {
        f64::from(values[j * dim + i]) - center.map_or(0.0, |center| center[i])
    })
}

/// Eigenvalues and eigenvectors (as columns) of a symmetric matrix.
pub(super) fn eigen(matrix: MatRef<'_, f64>) -> Result<(Vec<f64>, Mat<f64>)> {
    let decomposed = matrix.self_adjoint_eigen(Side::Lower).map_err(|_| failed(matrix))?;
    let values = decomposed.S().column_vector().iter().copied().collect();
    Ok((values, decomposed.U().to_owned()))
}

/// Eigenvalues of a symmetric matrix.
pub(super) fn eigenvalues(matrix: MatRef<'_, f64>) -> Result<Vec<f64>> {
    matrix.self_adjoint_eigenvalues(Side::Lower).map_err(|_| failed(matrix))
}

fn failed(matrix: MatRef<'_, f64>) -> Error {
    Error::NoEigenvalues { side: matrix.nrows() }
}

/// Columns scaled by one factor each.
pub(super) fn scale_columns(mut matrix: Mat<f64>, factor: impl Fn(usize) -> f64) -> Mat<f64> {
    for j in 0..matrix.ncols() {
        let by = factor(j);
        for value in matrix.col_mut(j).iter_mut() {
            *value *= by;
        }
    }
    matrix
}
