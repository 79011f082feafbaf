//! Images that are rows of one array, as IDX and NPZ files hold them.

use std::path::Path;

use crate::dataset::ImageShape;

/// Rows of equal shape in memory.
#[derive(Debug)]
pub(crate) struct Array {
    /// The file that it came from.
    pub(crate) path: Box<Path>,
    pub(crate) shape: ImageShape,
    /// `[rows, height, width, channels]`
    pub(crate) pixels: Vec<u8>,
}

impl Array {
    /// One image.
    pub(crate) fn row(&self, row: usize) -> &[u8] {
        let bytes = self.shape.bytes();
        &self.pixels[row * bytes..(row + 1) * bytes]
    }
}

/// The image shape of an array's axes `[n, h, w]` or `[n, h, w, c]`, and n; the reason if it is another.
pub(crate) fn image_axes(axes: &[usize]) -> Result<(usize, ImageShape), String> {
    let (&count, shape) = match axes {
        [n, height, width] => (
            n,
            ImageShape {
                height_px: *height,
                width_px: *width,
                channels: 1,
            },
        ),
        [n, height, width, channels] => (
            n,
            ImageShape {
                height_px: *height,
                width_px: *width,
                channels: *channels,
            },
        ),
        _ => {
            return Err(format!(
                "images need the axes [n, height, width] or [n, height, width, channels]: {axes:?}"
            ));
        }
    };
    if shape.height_px == 0 || shape.width_px == 0 || !(1..=4).contains(&shape.channels) {
        return Err(format!("images need sides over 0 and 1 to 4 channels: {axes:?}"));
    }
    Ok((count, shape))
}
