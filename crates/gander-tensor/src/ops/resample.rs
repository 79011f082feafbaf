//! Linear maps along one axis: resizing, FIR filters, pooling, padding, slices and flips are all of this kind.

use std::sync::Arc;

/// A sparse matrix that maps an axis of `in_len` positions to one of `out_len`, in compressed rows.
///
/// `out[i] = Σ_j weights[j] · in[indices[j]]` for `j` in `starts[i]..starts[i + 1]`. Its transpose is its gradient.
#[derive(Debug, Clone, PartialEq)]
pub struct AxisMap {
    /// Positions before.
    pub in_len: usize,
    /// Positions after.
    pub out_len: usize,
    /// Where each output's taps begin; `out_len + 1` entries.
    pub starts: Arc<[u32]>,
    /// Input position of each tap.
    pub indices: Arc<[u32]>,
    /// Weight of each tap.
    pub weights: Arc<[f32]>,
}
