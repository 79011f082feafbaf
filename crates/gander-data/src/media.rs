//! One image file: what its header says, and its pixels.

mod decode;
mod header;

pub use decode::{color_profile, decode};
pub use header::{Header, Kind, header};

use crate::options::Size;
pub(crate) use header::{HeaderError, peek};

/// Bounds on what an image file may unpack to, against decompression bombs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MediaLimits {
    /// The longer side at most.
    pub max_side_px: usize,
    /// Width times height at most.
    pub max_pixels: u64,
}

impl MediaLimits {
    /// The reason to refuse an image of these sides, if there is one.
    fn refuse(self, width: u32, height: u32) -> Option<String> {
        if width == 0 || height == 0 {
            return Some(format!("an image without pixels: {width}x{height}"));
        }
        let pixels = u64::from(width) * u64::from(height);
        if width.max(height) as usize > self.max_side_px {
            return Some(format!(
                "the longer side is over the limit of {} px: {width}x{height}",
                self.max_side_px
            ));
        }
        (pixels > self.max_pixels).then(|| {
            format!(
                "{pixels} pixels are over the limit of {}: {width}x{height}",
                self.max_pixels
            )
        })
    }

    /// Limits for the decoders: 8 bytes for each pixel (16-bit RGBA) twice over, and 64 MiB for metadata.
    fn for_decoder(self) -> image::Limits {
        let mut limits = image::Limits::default();
        limits.max_alloc = Some(self.max_pixels.saturating_mul(16).saturating_add(64 << 20));
        limits
    }
}

/// Decoded pixels of 8 bits, upright.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// Columns.
    pub width_px: usize,
    /// Rows.
    pub height_px: usize,
    /// 1 (gray), 2 (gray and alpha), 3 (RGB) or 4 (RGBA, not premultiplied).
    pub channels: usize,
    /// `[height, width, channels]`, 0..=255.
    pub pixels: Vec<u8>,
}

impl Picture {
    /// Its sides.
    pub fn size(&self) -> Size {
        Size {
            width_px: self.width_px,
            height_px: self.height_px,
        }
    }

    /// Whether a pixel is not opaque.
    pub fn is_transparent(&self) -> bool {
        self.channels.is_multiple_of(2)
            && self
                .pixels
                .chunks_exact(self.channels)
                .any(|pixel| pixel[self.channels - 1] != 255)
    }

    /// Whether red, green and blue agree in every pixel.
    pub fn is_gray(&self) -> bool {
        self.channels < 3
            || self
                .pixels
                .chunks_exact(self.channels)
                .all(|p| p[0] == p[1] && p[1] == p[2])
    }
}
