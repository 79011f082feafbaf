//! Layers: parameters and the operation that uses them.

mod conv;
mod embedding;
mod linear;
mod norm;
mod spectral;

pub use conv::{Conv, ConvConfig, ConvTranspose};
pub use embedding::{Embedding, EmbeddingConfig};
pub use linear::{Linear, LinearConfig};
pub use norm::{BatchNorm, BatchNormConfig};
pub use spectral::SpectralNorm;

/// Whether a network is being trained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Statistics of the batch; running averages and power iterations move on.
    Train,
    /// Statistics of the batch, nothing moves: the other player's pass.
    Frozen,
    /// Running averages; nothing moves.
    Evaluate,
}
