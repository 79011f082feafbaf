//! A file's bytes into upright pixels of 8 bits.

use std::io::Cursor;
use std::panic::{AssertUnwindSafe, catch_unwind};

use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, metadata::Orientation};

use super::header::{JpegMarkers, lower};
use super::{MediaLimits, Picture};

/// Decodes PNG, JPEG, WebP, GIF (first frame), BMP, TIFF and PNM.
///
/// Samples of 16 bits are scaled to 8, palettes and CMYK become RGB, and the rotation that EXIF asks for is applied.
/// Color profiles are not applied.
///
/// # Errors
/// The reason, lower case: no image, damaged, cut off, or over the limits.
pub fn decode(bytes: &[u8], limits: MediaLimits) -> Result<Picture, String> {
    guard(|| decode_unguarded(bytes, limits)).and_then(|result| result)
}

/// The ICC color profile that stands in a file, of at most 4 MiB.
pub fn color_profile(bytes: &[u8]) -> Option<Vec<u8>> {
    const LARGEST: usize = 4 << 20;
    let read = || {
        let reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format().ok()?;
        reader.into_decoder().ok()?.icc_profile().ok()?
    };
    guard(read).ok()?.filter(|profile| profile.len() <= LARGEST)
}

/// Turns a decoder's panic into a reason: one malformed file must never end a run.
pub(super) fn guard<T>(f: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(f)).map_err(|_| "the decoder failed on malformed data".into())
}

fn decode_unguarded(bytes: &[u8], limits: MediaLimits) -> Result<Picture, String> {
    if bytes.is_empty() {
        return Err("the file is empty".into());
    }
    let mut reader = ImageReader::new(Cursor::new(bytes))
        .with_guessed_format()
        .map_err(|e| lower(&e))?;
    let format = reader.format().ok_or("not an image")?;
    reader.limits(limits.for_decoder());
    let mut decoder = reader.into_decoder().map_err(|e| lower(&e))?;
    let (width, height) = decoder.dimensions();
    if let Some(reason) = limits.refuse(width, height) {
        return Err(reason);
    }
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let mut image = DynamicImage::from_decoder(decoder).map_err(|e| lower(&e))?;
    if format == ImageFormat::Jpeg && !has_end(bytes) {
        return Err("the file is cut off: no end of image".into());
    }
    image.apply_orientation(orientation);
    Ok(to_picture(image))
}

/// Whether a JPEG file's scans end with their marker; the decoder pads a cut-off file with gray and reports nothing.
///
/// Inside a scan 0xFF is followed by 0 or a restart marker only, so that the pair can be searched for.
fn has_end(bytes: &[u8]) -> bool {
    let mut markers = JpegMarkers::new(bytes);
    // SOS, start of scan.
    let found = markers.any(|(marker, _)| marker == 0xDA);
    found && bytes[markers.position..].windows(2).any(|pair| pair == [0xFF, 0xD9])
}

fn to_picture(image: DynamicImage) -> Picture {
    let (width_px, height_px) = (image.width() as usize, image.height() as usize);
    let (channels, pixels) = match image {
        DynamicImage::ImageLuma8(pixels) => (1, pixels.into_raw()),
        DynamicImage::ImageLumaA8(pixels) => (2, pixels.into_raw()),
        DynamicImage::ImageRgb8(pixels) => (3, pixels.into_raw()),
        DynamicImage::ImageRgba8(pixels) => (4, pixels.into_raw()),
        DynamicImage::ImageLuma16(pixels) => (1, scale_16(pixels.as_raw())),
        DynamicImage::ImageLumaA16(pixels) => (2, scale_16(pixels.as_raw())),
        DynamicImage::ImageRgb16(pixels) => (3, scale_16(pixels.as_raw())),
        DynamicImage::ImageRgba16(pixels) => (4, scale_16(pixels.as_raw())),
        DynamicImage::ImageRgb32F(pixels) => (3, scale_float(pixels.as_raw())),
        DynamicImage::ImageRgba32F(pixels) => (4, scale_float(pixels.as_raw())),
        other => (4, other.into_rgba8().into_raw()),
    };
    Picture {
        width_px,
        height_px,
        channels,
        pixels,
    }
}

/// 0..=65535 to 0..=255, rounded: 65535 is 257 · 255.
fn scale_16(samples: &[u16]) -> Vec<u8> {
    samples
        .iter()
        .map(|&sample| ((u32::from(sample) + 128) / 257) as u8)
        .collect()
}

/// 0..=1 to 0..=255, rounded and clamped; not a number becomes 0.
fn scale_float(samples: &[f32]) -> Vec<u8> {
    samples
        .iter()
        .map(|&sample| (sample.clamp(0.0, 1.0) * 255.0).round() as u8)
        .collect()
}
