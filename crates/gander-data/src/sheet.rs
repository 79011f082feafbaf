//! A contact sheet: a set at a glance.

use image::{Rgb, RgbImage};

use crate::dataset::Dataset;
use crate::error::{Error, Result};
use crate::media::Picture;
use crate::transforms::to_channels;

/// White between images.
const GAP_PX: usize = 2;
/// The longer side of a sheet at most: that of a large screen, eight times over.
const MAX_SIDE_PX: usize = 32_768;

/// Images spread evenly over a set, in rows, transparency laid on white.
///
/// A set of fewer images than places leaves the last places white; with no more rows than are needed.
///
/// # Errors
/// [`Error::Option`] without columns or rows or if the sheet were over 32,768 px; what reading meets.
pub fn sheet(dataset: &dyn Dataset, columns: usize, rows: usize) -> Result<RgbImage> {
    let shape = dataset.shape();
    let count = dataset.len().min(columns.saturating_mul(rows));
    let rows = rows.min(count.div_ceil(columns.max(1)));
    let side = |tiles: usize, tile_px: usize| tiles.saturating_mul(tile_px + GAP_PX).saturating_add(GAP_PX);
    let (width, height) = (side(columns, shape.width_px), side(rows, shape.height_px));
    if columns == 0 || rows == 0 || width.max(height) > MAX_SIDE_PX {
        let expected = format!("from 1x1 to {MAX_SIDE_PX} px a side");
        return Err(Error::Option {
            option: "sheet",
            expected,
            got: format!("{columns}x{rows} images of {shape}"),
        });
    }
    let mut sheet = RgbImage::from_pixel(width as u32, height as u32, Rgb([255; 3]));
    let mut picture = Picture {
        width_px: shape.width_px,
        height_px: shape.height_px,
        channels: shape.channels,
        pixels: vec![0; shape.bytes()],
    };
    for place in 0..count {
        dataset.read(place * dataset.len() / count, &mut picture.pixels)?;
        let colors = to_channels(&picture, 3, [255; 3]);
        let left = GAP_PX + place % columns * (shape.width_px + GAP_PX);
        let top = GAP_PX + place / columns * (shape.height_px + GAP_PX);
        for (at, &color) in colors.pixels.as_chunks::<3>().0.iter().enumerate() {
            let (x, y) = (left + at % shape.width_px, top + at / shape.width_px);
            sheet.put_pixel(x as u32, y as u32, Rgb(color));
        }
    }
    Ok(sheet)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ImageShape, InMemory};

    #[test]
    fn images_are_spread_over_the_set() {
        let shape = ImageShape {
            height_px: 1,
            width_px: 1,
            channels: 1,
        };
        let set = InMemory::new(shape, (0..100).collect()).unwrap();
        let sheet = sheet(&set, 2, 2).unwrap();
        assert_eq!(sheet.dimensions(), (8, 8));
        let at = |x, y| sheet.get_pixel(x, y).0[0];
        assert_eq!([at(2, 2), at(5, 2), at(2, 5), at(5, 5), at(0, 0)], [0, 25, 50, 75, 255]);
    }

    #[test]
    fn a_small_set_needs_fewer_rows() {
        let shape = ImageShape {
            height_px: 2,
            width_px: 3,
            channels: 4,
        };
        let set = InMemory::new(shape, vec![0; 3 * 24]).unwrap();
        let image = sheet(&set, 2, 9).unwrap();
        assert_eq!(image.dimensions(), (12, 10));
        assert!(image.pixels().all(|pixel| pixel.0 == [255; 3]), "transparent is white");
        assert!(sheet(&set, 0, 1).is_err() && sheet(&set, 20_000, 1).is_err());
    }
}
