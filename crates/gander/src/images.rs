//! Pictures from bytes: one image, or many in a grid, PNG files that are whole or absent; and what networks are shown of them.

use std::path::Path;

use gander_data::ImageShape;
use gander_tensor::{DType, DeviceRef, Tensor};
use image::{
    DynamicImage, GrayAlphaImage, GrayImage, ImageEncoder as _, Luma, Rgb, RgbImage, RgbaImage, codecs::png::PngEncoder,
};

use crate::error::{Error, Result};

/// The images of a grid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tiles {
    /// How many.
    pub num: usize,
    /// Rows of each.
    pub height_px: usize,
    /// Columns of each.
    pub width_px: usize,
    /// 1 (gray), 2 (gray and alpha), 3 (RGB) or 4 (RGBA).
    pub channels: usize,
}

/// How a grid looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GridOptions {
    /// Images in a row; as many as make the grid nearly square if 0.
    pub columns: usize,
    /// White around and between images.
    pub margin_px: usize,
}

impl Default for GridOptions {
    fn default() -> Self {
        Self {
            columns: 0,
            margin_px: 2,
        }
    }
}

impl GridOptions {
    /// How many of the images stand in a row.
    fn columns_of(self, tiles: Tiles) -> usize {
        if self.columns == 0 {
            tiles.num.isqrt()
        } else {
            self.columns.min(tiles.num)
        }
    }
}

/// What networks are shown of images.
///
/// # Shapes
/// - `pixels`: bytes 0..=255 of whole images, one after another
/// - returns: `[num, height, width, channels]`, −1..=1
///
/// # Errors
/// [`Error::Tensor`] for a part of an image.
pub fn to_tensor(pixels: &[u8], shape: ImageShape, device: &DeviceRef) -> Result<Tensor> {
    let num = pixels.len() / shape.bytes();
    let sides = [num, shape.height_px, shape.width_px, shape.channels];
    let bytes = Tensor::from_bytes(pixels, DType::U8, sides, device)?;
    Ok(bytes.cast(DType::F32)?.mul_scalar(2.0 / 255.0)?.add_scalar(-1.0)?)
}

/// The longer side of a grid at most: eight large screens in a row.
const MAX_SIDE_PX: usize = 32_768;
/// The side of a square of the checkerboard beneath transparent pixels.
const CHECKER_PX: usize = 8;

impl Tiles {
    /// Bytes of one image.
    fn bytes(self) -> usize {
        self.height_px * self.width_px * self.channels
    }

    fn check(self, images: &[u8]) -> Result<()> {
        let expected = [self.num, self.height_px, self.width_px, self.channels];
        let length = expected
            .iter()
            .try_fold(1usize, |product, &side| product.checked_mul(side));
        if length == Some(images.len()) && (1..=4).contains(&self.channels) {
            return Ok(());
        }
        Err(Error::WrongShape {
            name: "images".into(),
            got: vec![images.len()],
            expected: expected.to_vec(),
        })
    }
}

/// Columns and rows of a grid of samples: as many images as fit 768 px a side, from 3 to 8 of them.
///
/// 8x8 up to 96 px, 6x6 for 128 px, 3x3 from 256 px on; an image that is not square has its own number each way.
pub fn grid_size(width_px: usize, height_px: usize) -> (usize, usize) {
    let fit = |side_px: usize| (768 / side_px.max(1)).clamp(3, 8);
    (fit(width_px), fit(height_px))
}

/// Width and height of the picture that [`grid`] makes.
///
/// # Errors
/// [`Error::InvalidSetting`] if it would be empty or over 32,768 px.
pub fn grid_px(tiles: Tiles, options: GridOptions) -> Result<(u32, u32)> {
    let columns = options.columns_of(tiles);
    let rows = tiles.num.div_ceil(columns.max(1));
    let side = |count: usize, side_px: usize| {
        (side_px.saturating_add(options.margin_px))
            .saturating_mul(count)
            .saturating_add(options.margin_px)
    };
    let (width, height) = (side(columns, tiles.width_px), side(rows, tiles.height_px));
    let is_empty = [tiles.num, tiles.width_px, tiles.height_px].contains(&0);
    if is_empty || width.max(height) > MAX_SIDE_PX {
        return Err(Error::InvalidSetting {
            setting: "grid",
            value: format!("{width}x{height} px"),
        });
    }
    Ok((width as u32, height as u32))
}

/// Many images in rows, from the top left; places that are left over stay white.
///
/// Gray images make a gray picture, all others an RGB one: transparent pixels are laid on a light checkerboard, so
/// that one sees where they are.
///
/// # Shapes
/// - `images`: `[num, height, width, channels]`, bytes, channels last
///
/// # Errors
/// [`Error::WrongShape`] if the bytes are not as many as that, and those of [`grid_px`].
pub fn grid(images: &[u8], tiles: Tiles, options: GridOptions) -> Result<DynamicImage> {
    tiles.check(images)?;
    let (width, height) = grid_px(tiles, options)?;
    let columns = options.columns_of(tiles);
    let pixels = images
        .chunks_exact(tiles.bytes())
        .enumerate()
        .flat_map(|(tile, image)| {
            let left = options.margin_px + tile % columns * (tiles.width_px + options.margin_px);
            let top = options.margin_px + tile / columns * (tiles.height_px + options.margin_px);
            image.chunks_exact(tiles.channels).enumerate().map(move |(at, pixel)| {
                let (x, y) = (at % tiles.width_px, at / tiles.width_px);
                ((left + x) as u32, (top + y) as u32, on_checkerboard(pixel, x, y))
            })
        });
    Ok(if tiles.channels == 1 {
        let mut picture = GrayImage::from_pixel(width, height, Luma([255]));
        pixels.for_each(|(x, y, [gray, ..])| picture.put_pixel(x, y, Luma([gray])));
        picture.into()
    } else {
        let mut picture = RgbImage::from_pixel(width, height, Rgb([255; 3]));
        pixels.for_each(|(x, y, color)| picture.put_pixel(x, y, Rgb(color)));
        picture.into()
    })
}

fn on_checkerboard(pixel: &[u8], x: usize, y: usize) -> [u8; 3] {
    let is_dark = (x / CHECKER_PX + y / CHECKER_PX) % 2 == 1;
    let below: u16 = if is_dark { 214 } else { 242 };
    let lay = |value: u8, alpha: u8| {
        let alpha = u16::from(alpha);
        let sum = u32::from(u16::from(value)) * u32::from(alpha) + u32::from(below) * u32::from(255 - alpha);
        ((sum + 127) / 255) as u8
    };
    match *pixel {
        [r, g, b, a] => [lay(r, a), lay(g, a), lay(b, a)],
        [r, g, b] => [r, g, b],
        [gray, a] => [lay(gray, a); 3],
        [gray, ..] => [gray; 3],
        [] => [255; 3],
    }
}

/// One image, its alpha kept.
///
/// # Shapes
/// - `pixels`: `[height, width, channels]`, bytes, 1 to 4 channels
///
/// # Errors
/// [`Error::WrongShape`] if the bytes are not as many as that.
pub fn picture(pixels: &[u8], width_px: usize, height_px: usize, channels: usize) -> Result<DynamicImage> {
    Tiles {
        num: 1,
        height_px,
        width_px,
        channels,
    }
    .check(pixels)?;
    let (width, height, bytes) = (width_px as u32, height_px as u32, pixels.to_vec());
    match channels {
        1 => GrayImage::from_raw(width, height, bytes).map(DynamicImage::from),
        2 => GrayAlphaImage::from_raw(width, height, bytes).map(DynamicImage::from),
        3 => RgbImage::from_raw(width, height, bytes).map(DynamicImage::from),
        _ => RgbaImage::from_raw(width, height, bytes).map(DynamicImage::from),
    }
    .ok_or_else(|| Error::WrongShape {
        name: "image".into(),
        got: vec![pixels.len()],
        expected: vec![height_px, width_px, channels],
    })
}

/// Writes a PNG, whole or not at all.
pub fn write_png(path: &Path, picture: &DynamicImage) -> Result<()> {
    write_png_in(path, picture, None)
}

/// Writes a PNG whose colors mean what an ICC profile says, whole or not at all.
pub fn write_png_in(path: &Path, picture: &DynamicImage, profile: Option<&[u8]>) -> Result<()> {
    let write = |file: &mut gander_formats::atomic::AtomicWriter| {
        let mut encoder = PngEncoder::new(file);
        if let Some(profile) = profile {
            encoder
                .set_icc_profile(profile.to_vec())
                .map_err(std::io::Error::other)?;
        }
        picture.write_with_encoder(encoder).map_err(|error| match error {
            image::ImageError::IoError(error) => error,
            other => std::io::Error::other(other),
        })
    };
    Ok(gander_formats::atomic::write_atomic(path, write)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tiles(num: usize, channels: usize) -> Tiles {
        Tiles {
            num,
            height_px: 1,
            width_px: 2,
            channels,
        }
    }

    #[test]
    fn images_stand_in_rows_with_white_between() {
        let bytes: Vec<u8> = (0..6).collect();
        let picture = grid(
            &bytes,
            tiles(3, 1),
            GridOptions {
                columns: 2,
                margin_px: 1,
            },
        )
        .unwrap();
        let rows: Vec<&[u8]> = picture.as_luma8().unwrap().chunks_exact(7).collect();
        let w = 255;
        assert_eq!(
            rows,
            [[w; 7], [w, 0, 1, w, 2, 3, w], [w; 7], [w, 4, 5, w, w, w, w], [w; 7]]
                .iter()
                .collect::<Vec<_>>()
        );
    }

    #[test]
    fn a_grid_is_nearly_square_unless_told_otherwise() {
        let side = |num, columns| {
            let picture = grid(&vec![0; num * 2], tiles(num, 1), GridOptions { columns, margin_px: 0 }).unwrap();
            (picture.width() / 2, picture.height())
        };
        assert_eq!(side(64, 0), (8, 8));
        assert_eq!(side(7, 0), (2, 4));
        assert_eq!(side(3, 10), (3, 1));
    }

    #[test]
    fn transparent_pixels_lie_on_a_checkerboard() {
        let all = |bytes: &[u8], channels| {
            grid(
                bytes,
                tiles(1, channels),
                GridOptions {
                    columns: 0,
                    margin_px: 0,
                },
            )
            .unwrap()
            .into_rgb8()
            .into_raw()
        };
        assert_eq!(all(&[9, 255, 9, 0], 2), [9, 9, 9, 242, 242, 242]);
        assert_eq!(all(&[1, 2, 3, 255, 1, 2, 3, 0], 4), [1, 2, 3, 242, 242, 242]);
        assert_eq!(all(&[1, 2, 3, 4, 5, 6], 3), [1, 2, 3, 4, 5, 6]);
    }

    #[test]
    fn a_grid_fits_the_screen() {
        let sizes = [
            (28, 28),
            (64, 64),
            (92, 112),
            (128, 128),
            (256, 256),
            (1024, 512),
            (0, 1),
        ];
        let grids = sizes.map(|(width, height)| grid_size(width, height));
        assert_eq!(grids, [(8, 8), (8, 8), (8, 6), (6, 6), (3, 3), (3, 3), (8, 8)]);
    }

    #[test]
    fn bytes_that_do_not_fit_are_refused() {
        for (bytes, tiles) in [
            (5, tiles(3, 1)),
            (30, tiles(3, 5)),
            (0, tiles(0, 0)),
            (0, tiles(usize::MAX, 4)),
        ] {
            let result = grid(&vec![0; bytes], tiles, GridOptions::default());
            assert!(matches!(result, Err(Error::WrongShape { .. })), "{tiles:?}: {result:?}");
        }
        assert!(matches!(
            grid(&[], tiles(0, 1), GridOptions::default()),
            Err(Error::InvalidSetting { .. })
        ));
    }

    #[test]
    fn a_picture_keeps_its_alpha_through_a_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.png");
        for channels in 1..=4 {
            let bytes: Vec<u8> = (0..6 * channels as u8).collect();
            write_png(&path, &picture(&bytes, 3, 2, channels).unwrap()).unwrap();
            let read = image::open(&path).unwrap();
            assert_eq!(
                (read.as_bytes(), read.color().channel_count()),
                (bytes.as_slice(), channels as u8)
            );
        }
    }
}
