//! Images that are rows of one array, as IDX and NPZ files hold them.

use std::path::Path;

use crate::dataset::ImageShape;
use crate::error::{Error, Result};
use crate::source::Entry;

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

/// Refuses an array whose rows, beside those that are listed, would take over `limit_bytes` to list.
pub(crate) fn require_room(path: &Path, listed: usize, rows: usize, limit_bytes: u64) -> Result<()> {
    // The memory of a name, such as `train-images-idx3-ubyte#59999`.
    const NAME_BYTES: usize = 32;
    let rows = listed.saturating_add(rows) as u64;
    let needed_bytes = rows.saturating_mul((size_of::<Entry>() + NAME_BYTES) as u64);
    if needed_bytes > limit_bytes {
        return Err(Error::TooLarge {
            path: path.into(),
            needed_bytes,
            limit_bytes,
        });
    }
    Ok(())
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
