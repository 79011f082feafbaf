//! Matrix products.

/// A batch of products `c[i] = a[i] · b[i]`, with `c[i]` of `m × n` and a reduction over `k`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct MatmulGeometry {
    /// Number of independent products.
    pub batch: usize,
    /// Rows of the result.
    pub m: usize,
    /// Length of the reduction.
    pub k: usize,
    /// Columns of the result.
    pub n: usize,
    /// `a[i]` is stored `k × m` rather than `m × k`.
    pub transpose_a: bool,
    /// `b[i]` is stored `n × k` rather than `k × n`.
    pub transpose_b: bool,
    /// One `b` serves the whole batch.
    pub shared_b: bool,
}
