//! Convolution over one, two or three spatial axes, and the two gradients that close it under differentiation.

/// The complete geometry of a convolution, with shorter spatial ranks led by axes of size one.
///
/// Layouts: input `[batch, depth, height, width, in_channels]`, weight
/// `[kd, kh, kw, in_channels / groups, out_channels]`, output `[batch, od, oh, ow, out_channels]`.
/// Output channel `o` belongs to group `o / (out_channels / groups)`.
/// `output[p] = Σ_k input[p · stride + k · dilation − padding] · weight[k]`, zero outside the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ConvGeometry {
    /// Number of images.
    pub batch: usize,
    /// Input sides: depth, height, width.
    pub input: [usize; 3],
    /// Output sides.
    pub output: [usize; 3],
    /// Kernel sides.
    pub kernel: [usize; 3],
    /// Step between neighboring outputs, in input positions.
    pub stride: [usize; 3],
    /// Distance between neighboring taps, in input positions.
    pub dilation: [usize; 3],
    /// Zeros before the first input position (those after follow from `output`).
    pub padding: [usize; 3],
    /// Channels of the input.
    pub in_channels: usize,
    /// Channels of the output.
    pub out_channels: usize,
    /// Number of groups that do not see each other.
    pub groups: usize,
}
