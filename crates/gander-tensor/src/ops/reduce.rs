//! Sums, means and maxima over axes.

/// How values are combined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReduceOp {
    /// `Σ x`, accumulated in float32 by pairs or in wide lanes.
    Sum,
    /// The largest.
    Max,
}
