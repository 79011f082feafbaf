//! Pixels into the shape of a dataset: crop, channels, alpha, size, flip.

mod resize;

pub use resize::resize;

use std::borrow::Cow;

use crate::dataset::ImageShape;
use crate::media::Picture;
use crate::options::{CropPolicy, Filter, Size};

/// How pictures of any shape become images of one shape.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fit {
    /// The shape to reach.
    pub shape: ImageShape,
    /// How other proportions fit.
    pub crop: CropPolicy,
    /// How pixels are resized.
    pub filter: Filter,
    /// The color behind transparent pixels where the shape has no alpha.
    pub background: [u8; 3],
}

impl Fit {
    /// Writes a picture in this shape.
    ///
    /// # Shapes
    /// - `pixels`: `[height, width, channels]`, [`ImageShape::bytes`] long
    pub fn write(&self, picture: &Picture, pixels: &mut [u8]) {
        debug_assert_eq!(pixels.len(), self.shape.bytes());
        let channels = self.shape.channels;
        let target = Size {
            width_px: self.shape.width_px,
            height_px: self.shape.height_px,
        };
        let whole = picture.size();
        match self.crop {
            CropPolicy::Center => {
                let window = center_window(whole, target);
                let cut = convert(picture, window, channels, self.background);
                pixels.copy_from_slice(&resize_alpha(cut, window.size, target, channels, self.filter));
            }
            CropPolicy::Stretch => {
                let window = Window {
                    left: 0,
                    top: 0,
                    size: whole,
                };
                let all = convert(picture, window, channels, self.background);
                pixels.copy_from_slice(&resize_alpha(all, whole, target, channels, self.filter));
            }
            CropPolicy::Pad(color) => {
                let window = Window {
                    left: 0,
                    top: 0,
                    size: whole,
                };
                let all = convert(picture, window, channels, self.background);
                let inner = inside(whole, target);
                let small = resize_alpha(all, whole, inner, channels, self.filter);
                let mut backdrop = [0; 4];
                put([color[0], color[1], color[2], 0], channels, &mut backdrop);
                pixels
                    .chunks_exact_mut(channels)
                    .for_each(|pixel| pixel.copy_from_slice(&backdrop[..channels]));
                let left = (target.width_px - inner.width_px) / 2;
                let top = (target.height_px - inner.height_px) / 2;
                let row_bytes = inner.width_px * channels;
                for (y, row) in small.chunks_exact(row_bytes).enumerate() {
                    let start = ((top + y) * target.width_px + left) * channels;
                    pixels[start..start + row_bytes].copy_from_slice(row);
                }
            }
        }
    }
}

/// A rectangle of a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Window {
    pub(crate) left: usize,
    pub(crate) top: usize,
    pub(crate) size: Size,
}

/// A window of a picture of 1, 3 or 4 channels, resized.
pub(crate) fn cut(picture: &Picture, window: Window, target: Size, filter: Filter) -> Vec<u8> {
    let channels = picture.channels;
    let part = convert(picture, window, channels, [0; 3]);
    resize_alpha(part, window.size, target, channels, filter).into_owned()
}

/// The largest window of the target's proportions in the middle of a picture.
fn center_window(whole: Size, target: Size) -> Window {
    let (w, h) = (whole.width_px as u64, whole.height_px as u64);
    let (tw, th) = (target.width_px as u64, target.height_px as u64);
    let rounded = |a: u64, b: u64| ((a + b / 2) / b).max(1);
    let (width, height) = if w * th >= h * tw {
        (rounded(h * tw, th).min(w), h)
    } else {
        (w, rounded(w * th, tw).min(h))
    };
    let size = Size {
        width_px: width as usize,
        height_px: height as usize,
    };
    Window {
        left: (whole.width_px - size.width_px) / 2,
        top: (whole.height_px - size.height_px) / 2,
        size,
    }
}

/// The largest size of a picture's proportions inside the target.
fn inside(whole: Size, target: Size) -> Size {
    let (w, h) = (whole.width_px as u64, whole.height_px as u64);
    let (tw, th) = (target.width_px as u64, target.height_px as u64);
    let rounded = |a: u64, b: u64| ((a + b / 2) / b).max(1) as usize;
    if w * th >= h * tw {
        Size {
            width_px: target.width_px,
            height_px: rounded(h * tw, w).min(target.height_px),
        }
    } else {
        Size {
            width_px: rounded(w * th, h).min(target.width_px),
            height_px: target.height_px,
        }
    }
}

/// One pixel as RGBA into 1, 3 or 4 channels.
fn put([r, g, b, a]: [u8; 4], channels: usize, pixel: &mut [u8]) {
    match channels {
        1 => pixel[0] = luma(r, g, b),
        3 => pixel[..3].copy_from_slice(&[r, g, b]),
        _ => pixel[..4].copy_from_slice(&[r, g, b, a]),
    }
}

/// Luma of gamma-coded colors, ITU-R BT.601 (0.299, 0.587, 0.114), in 16-bit fixed point.
fn luma(r: u8, g: u8, b: u8) -> u8 {
    ((u32::from(r) * 19_595 + u32::from(g) * 38_470 + u32::from(b) * 7_471 + 32_768) >> 16) as u8
}

/// `color` over `under` with an opacity of `alpha` / 255, rounded.
fn over(color: u8, under: u8, alpha: u8) -> u8 {
    let alpha = u32::from(alpha);
    ((u32::from(color) * alpha + u32::from(under) * (255 - alpha) + 127) / 255) as u8
}

/// A picture with these channels (1, 3 or 4); alpha is laid on `background` unless they have it too.
pub fn to_channels(picture: &Picture, channels: usize, background: [u8; 3]) -> Picture {
    let whole = Window {
        left: 0,
        top: 0,
        size: picture.size(),
    };
    Picture {
        width_px: picture.width_px,
        height_px: picture.height_px,
        channels,
        pixels: convert(picture, whole, channels, background).into_owned(),
    }
}

/// A window of a picture with the wanted channels; alpha is laid on `background` unless the target keeps it.
fn convert(picture: &Picture, window: Window, channels: usize, background: [u8; 3]) -> Cow<'_, [u8]> {
    let from = picture.channels;
    if from == channels && window.size == picture.size() {
        return Cow::Borrowed(&picture.pixels);
    }
    let mut pixels = vec![0; window.size.width_px * window.size.height_px * channels];
    let rows = pixels.chunks_exact_mut(window.size.width_px * channels);
    for (y, row) in rows.enumerate() {
        let start = ((window.top + y) * picture.width_px + window.left) * from;
        let source = &picture.pixels[start..start + window.size.width_px * from];
        if from == channels {
            row.copy_from_slice(source);
            continue;
        }
        for (to, pixel) in row.chunks_exact_mut(channels).zip(source.chunks_exact(from)) {
            let [r, g, b, a] = match *pixel {
                [y] => [y, y, y, 255],
                [y, a] => [y, y, y, a],
                [r, g, b] => [r, g, b, 255],
                [r, g, b, a, ..] => [r, g, b, a],
                [] => [0; 4],
            };
            let color = if channels == 4 || a == 255 {
                [r, g, b, a]
            } else {
                [
                    over(r, background[0], a),
                    over(g, background[1], a),
                    over(b, background[2], a),
                    255,
                ]
            };
            put(color, channels, to);
        }
    }
    Cow::Owned(pixels)
}

/// [`resize`], weighing colors by their alpha, so that the color of invisible pixels does not bleed.
fn resize_alpha(pixels: Cow<'_, [u8]>, from: Size, to: Size, channels: usize, filter: Filter) -> Cow<'_, [u8]> {
    if from == to {
        return pixels;
    }
    let transparent = channels == 4 && pixels.chunks_exact(4).any(|pixel| pixel[3] != 255);
    if !transparent {
        return Cow::Owned(resize(&pixels, from, to, channels, filter));
    }
    let mut weighed = pixels.into_owned();
    for pixel in weighed.chunks_exact_mut(4) {
        let alpha = pixel[3];
        pixel[..3].iter_mut().for_each(|value| *value = over(*value, 0, alpha));
    }
    let mut small = resize(&weighed, from, to, channels, filter);
    for pixel in small.chunks_exact_mut(4) {
        let alpha = u32::from(pixel[3]).max(1);
        pixel[..3]
            .iter_mut()
            .for_each(|value| *value = ((u32::from(*value) * 255 + alpha / 2) / alpha).min(255) as u8);
    }
    Cow::Owned(small)
}

/// Mirrors an image left to right in place.
///
/// # Shapes
/// - `pixels`: `[height, width, channels]`
pub fn flip_horizontal(pixels: &mut [u8], shape: ImageShape) {
    let channels = shape.channels;
    for row in pixels.chunks_exact_mut(shape.width_px * channels) {
        for x in 0..shape.width_px / 2 {
            let mirrored = shape.width_px - 1 - x;
            for channel in 0..channels {
                row.swap(x * channels + channel, mirrored * channels + channel);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fit(width_px: usize, height_px: usize, channels: usize, crop: CropPolicy) -> Fit {
        let shape = ImageShape {
            height_px,
            width_px,
            channels,
        };
        Fit {
            shape,
            crop,
            filter: Filter::Area,
            background: [255; 3],
        }
    }

    fn write(fit: Fit, picture: &Picture) -> Vec<u8> {
        let mut pixels = vec![0; fit.shape.bytes()];
        fit.write(picture, &mut pixels);
        pixels
    }

    /// Left half black, right half white, as gray.
    fn halves(width_px: usize, height_px: usize) -> Picture {
        let pixels = (0..width_px * height_px)
            .map(|i| if i % width_px < width_px / 2 { 0 } else { 255 })
            .collect();
        Picture {
            width_px,
            height_px,
            channels: 1,
            pixels,
        }
    }

    #[test]
    fn a_center_crop_keeps_the_middle() {
        assert_eq!(write(fit(2, 2, 1, CropPolicy::Center), &halves(8, 4)), [0, 255, 0, 255]);
        let tall = Picture {
            width_px: 1,
            height_px: 3,
            channels: 1,
            pixels: vec![1, 2, 3],
        };
        assert_eq!(write(fit(1, 1, 1, CropPolicy::Center), &tall), [2]);
    }

    #[test]
    fn padding_keeps_the_whole_picture() {
        let padded = write(fit(4, 4, 1, CropPolicy::Pad([7; 3])), &halves(8, 4));
        assert_eq!(padded, [7, 7, 7, 7, 0, 0, 255, 255, 0, 0, 255, 255, 7, 7, 7, 7]);
    }

    #[test]
    fn stretching_uses_every_pixel() {
        assert_eq!(
            write(fit(2, 4, 1, CropPolicy::Stretch), &halves(8, 4)),
            [0, 255].repeat(4)
        );
    }

    #[test]
    fn alpha_is_laid_on_the_background_or_kept() {
        let half = Picture {
            width_px: 1,
            height_px: 1,
            channels: 4,
            pixels: vec![255, 0, 0, 0],
        };
        assert_eq!(write(fit(1, 1, 3, CropPolicy::Center), &half), [255; 3]);
        assert_eq!(write(fit(1, 1, 4, CropPolicy::Center), &half), [255, 0, 0, 0]);
        let gray = Picture {
            width_px: 1,
            height_px: 1,
            channels: 2,
            pixels: vec![0, 51],
        };
        assert_eq!(write(fit(1, 1, 1, CropPolicy::Center), &gray), [204]);
        assert_eq!(write(fit(1, 1, 4, CropPolicy::Center), &gray), [0, 0, 0, 51]);
    }

    #[test]
    fn invisible_colors_do_not_bleed_when_resized() {
        let pixels = [[255, 0, 0, 255], [0, 255, 0, 0]].concat();
        let picture = Picture {
            width_px: 2,
            height_px: 1,
            channels: 4,
            pixels,
        };
        assert_eq!(write(fit(1, 1, 4, CropPolicy::Stretch), &picture), [255, 0, 0, 128]);
    }

    #[test]
    fn colors_become_luma() {
        let rgb = Picture {
            width_px: 1,
            height_px: 1,
            channels: 3,
            pixels: vec![255, 0, 0],
        };
        assert_eq!(write(fit(1, 1, 1, CropPolicy::Center), &rgb), [76]);
        assert_eq!(luma(255, 255, 255), 255);
    }

    #[test]
    fn flipping_twice_is_nothing() {
        let shape = ImageShape {
            height_px: 2,
            width_px: 3,
            channels: 2,
        };
        let mut pixels: Vec<u8> = (0..12).collect();
        flip_horizontal(&mut pixels, shape);
        assert_eq!(pixels, [4, 5, 2, 3, 0, 1, 10, 11, 8, 9, 6, 7]);
        flip_horizontal(&mut pixels, shape);
        assert_eq!(pixels, (0..12).collect::<Vec<u8>>());
    }
}
