//! A translator over a picture of any size, part by part where it is large.
//!
//! Instance normalization looks at the whole picture, so parts that are translated each by their own differ in tone and
//! contrast where they meet. So a large picture is looked at first: a mosaic of patches from all over it goes through
//! the network, and the statistics that its normalizations meet there are given to all parts. Nothing but convolutions
//! is left, which look no further than [`Translator::reach_px`]; with that much of the picture around each part, parts
//! meet exactly. A U-Net looks further than memory allows; its parts overlap and are blended.

use gander_tensor::{DType, DeviceRef, Tensor, no_grad};

use crate::{
    error::Result,
    models::translator::{Statistics, Translator},
};

pub use gander_data::media::Picture;

/// Pictures of up to this many pixels are translated in one piece.
const WHOLE_PX: usize = 512 * 512;

/// Patches along each side of the mosaic, and their side.
const PATCHES: usize = 5;
const PATCH_PX: usize = 128;

/// The side of a part without what lies around it.
const PART_PX: usize = 384;

/// The most that is looked at around a part, and over how much of it parts are blended.
const MARGIN_PX: usize = 128;
const BLEND_PX: usize = 8;
const WIDE_BLEND_PX: usize = 64;

/// No side of what a network sees is under this.
const MIN_SIDE_PX: usize = 64;

/// Translates a picture of any size.
///
/// Up to 512 × 512 px in one piece, larger ones in parts of at most 640 px (1024 px for a U-Net of eight halvings).
/// Memory: what the network takes for a part, and about 20 bytes for each value of the picture.
///
/// `progress` is told how many parts are done of how many.
///
/// # Errors
/// What the engine meets.
pub fn translate(
    translator: &dyn Translator,
    picture: &Picture,
    device: &DeviceRef,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Picture> {
    let multiple_px = translator.multiple_px();
    if picture.width_px * picture.height_px <= WHOLE_PX {
        let whole = Window {
            left: 0,
            top: 0,
            width_px: picture.width_px,
            height_px: picture.height_px,
        };
        let values = run(
            translator,
            &cut(picture, whole, multiple_px),
            &Statistics::own(),
            device,
        )?;
        progress(1, 1);
        let bytes = crate::shipped::to_bytes(&values);
        let side = padded(picture.width_px, multiple_px) * picture.channels;
        let row = picture.width_px * picture.channels;
        let rows = bytes.chunks_exact(side).take(picture.height_px);
        return Ok(Picture {
            pixels: rows.flat_map(|line| &line[..row]).copied().collect(),
            width_px: picture.width_px,
            height_px: picture.height_px,
            channels: picture.channels,
        });
    }
    let kept = Statistics::kept();
    run(translator, &mosaic(picture, multiple_px), &kept, device)?;
    let plan = Plan::new(translator);
    let (columns, rows) = (plan.spans(picture.width_px), plan.spans(picture.height_px));
    let mut sums = vec![0.0f32; picture.pixels.len()];
    let total = columns.len() * rows.len();
    for (index, (vertical, horizontal)) in rows
        .iter()
        .flat_map(|vertical| columns.iter().map(move |horizontal| (vertical, horizontal)))
        .enumerate()
    {
        let window = Window {
            left: horizontal.seen.start,
            top: vertical.seen.start,
            width_px: horizontal.seen.len(),
            height_px: vertical.seen.len(),
        };
        let part = cut(picture, window, multiple_px);
        let values = run(translator, &part, &kept.given(), device)?;
        let line = part.width_px * picture.channels;
        for (y, line) in vertical.seen.clone().zip(values.chunks_exact(line)) {
            let down = vertical.weight(y);
            if down == 0.0 {
                continue;
            }
            for (x, pixel) in horizontal.seen.clone().zip(line.chunks_exact(picture.channels)) {
                let weight = down * horizontal.weight(x);
                let at = (y * picture.width_px + x) * picture.channels;
                for (sum, value) in sums[at..].iter_mut().zip(pixel) {
                    *sum += weight * value;
                }
            }
        }
        progress(index + 1, total);
    }
    Ok(Picture {
        pixels: crate::shipped::to_bytes(&sums),
        width_px: picture.width_px,
        height_px: picture.height_px,
        channels: picture.channels,
    })
}

/// A rectangle of a picture.
#[derive(Debug, Clone, Copy)]
struct Window {
    left: usize,
    top: usize,
    width_px: usize,
    height_px: usize,
}

/// A stretch of an axis: what is written of it, and what the network sees around that.
#[derive(Debug, Clone, PartialEq)]
struct Span {
    written: std::ops::Range<usize>,
    seen: std::ops::Range<usize>,
    blend_px: usize,
    len: usize,
}

impl Span {
    /// How much the part counts at a place: all within, in a line from none to all around its borders. With its
    /// neighbors' it adds up to one.
    fn weight(&self, at: usize) -> f32 {
        let ramp = |border: usize| {
            let from = at as f32 + 0.5 - (border as f32 - self.blend_px as f32);
            (from / (2 * self.blend_px) as f32).clamp(0.0, 1.0)
        };
        let before = if self.written.start == 0 {
            1.0
        } else {
            ramp(self.written.start)
        };
        let after = if self.written.end == self.len {
            0.0
        } else {
            ramp(self.written.end)
        };
        before - after
    }
}

/// How a large picture is cut for a network.
#[derive(Debug, Clone, Copy)]
struct Plan {
    /// What the sides of parts are multiples of.
    multiple: usize,
    /// The side of a part at most, in pixels as all that follows.
    part: usize,
    /// What is seen around it.
    margin: usize,
    /// Half of the stretch over which two parts are blended.
    blend: usize,
}

impl Plan {
    fn new(translator: &dyn Translator) -> Self {
        let multiple_px = translator.multiple_px();
        let (reach, blend_px) = match translator.reach_px() {
            reach if reach + BLEND_PX <= MARGIN_PX => (reach, BLEND_PX),
            _ => (MARGIN_PX - WIDE_BLEND_PX, WIDE_BLEND_PX),
        };
        Self {
            multiple: multiple_px,
            part: PART_PX.next_multiple_of(multiple_px),
            margin: (reach + blend_px).next_multiple_of(multiple_px),
            blend: blend_px,
        }
    }

    /// Parts along an axis, as even as the network's multiple lets them be.
    fn spans(self, len: usize) -> Vec<Span> {
        let part = len.div_ceil(len.div_ceil(self.part)).next_multiple_of(self.multiple);
        let spans = (0..len.div_ceil(part)).map(|index| {
            let start = index * part;
            let end = (start + part).min(len);
            Span {
                seen: start.saturating_sub(self.margin)..(end + self.margin).min(len),
                written: start..end,
                blend_px: self.blend,
                len,
            }
        });
        spans.collect()
    }
}

fn padded(side: usize, multiple_px: usize) -> usize {
    side.max(MIN_SIDE_PX).next_multiple_of(multiple_px)
}

/// The place in `0..len` that a mirror at both ends shows.
fn mirrored(at: usize, len: usize) -> usize {
    let period = (2 * len - 2).max(1);
    let at = at % period;
    if at < len { at } else { period - at }
}

/// A part of a picture, mirrored to the right and below until its sides fit the network.
fn cut(picture: &Picture, window: Window, multiple_px: usize) -> Picture {
    let (width_px, height_px) = (
        padded(window.width_px, multiple_px),
        padded(window.height_px, multiple_px),
    );
    let channels = picture.channels;
    let mut pixels = Vec::with_capacity(width_px * height_px * channels);
    for y in 0..height_px {
        let y = window.top + mirrored(y, window.height_px);
        for x in 0..width_px {
            let x = window.left + mirrored(x, window.width_px);
            let at = (y * picture.width_px + x) * channels;
            pixels.extend_from_slice(&picture.pixels[at..at + channels]);
        }
    }
    Picture {
        width_px,
        height_px,
        channels,
        pixels,
    }
}

/// Patches from all over a picture, beside each other as they lie in it.
fn mosaic(picture: &Picture, multiple_px: usize) -> Picture {
    let starts = |len: usize| -> Vec<usize> {
        let last = len.saturating_sub(PATCH_PX);
        (0..PATCHES).map(|index| index * last / (PATCHES - 1)).collect()
    };
    let (lefts, tops) = (starts(picture.width_px), starts(picture.height_px));
    let side = PATCHES * PATCH_PX;
    let channels = picture.channels;
    let mut pixels = Vec::with_capacity(side * side * channels);
    for y in 0..side {
        let from_y = (tops[y / PATCH_PX] + y % PATCH_PX).min(picture.height_px - 1);
        for x in 0..side {
            let from_x = (lefts[x / PATCH_PX] + x % PATCH_PX).min(picture.width_px - 1);
            let at = (from_y * picture.width_px + from_x) * channels;
            pixels.extend_from_slice(&picture.pixels[at..at + channels]);
        }
    }
    let all = Picture {
        width_px: side,
        height_px: side,
        channels,
        pixels,
    };
    let window = Window {
        left: 0,
        top: 0,
        width_px: side,
        height_px: side,
    };
    cut(&all, window, multiple_px)
}

/// The network's values for a picture, −1..=1.
fn run(
    translator: &dyn Translator,
    picture: &Picture,
    statistics: &Statistics,
    device: &DeviceRef,
) -> Result<Vec<f32>> {
    let sides = [1, picture.height_px, picture.width_px, picture.channels];
    let bytes = Tensor::from_bytes(&picture.pixels, DType::U8, sides, device)?;
    let image = bytes.cast(DType::F32)?.mul_scalar(2.0 / 255.0)?.add_scalar(-1.0)?;
    let made = no_grad(|| translator.translate(&image, statistics))?;
    Ok(made.to_vec()?)
}

#[cfg(test)]
mod tests {
    use gander_tensor::{Cpu, RandomKey};

    use super::*;
    use crate::models::{cyclegan, pix2pix, tests::images};

    fn picture(width_px: usize, height_px: usize, pixel: impl Fn(usize, usize) -> [u8; 3]) -> Picture {
        let pixels = (0..width_px * height_px).flat_map(|at| pixel(at % width_px, at / width_px));
        Picture {
            width_px,
            height_px,
            channels: 3,
            pixels: pixels.collect(),
        }
    }

    fn gradient(width: usize, height: usize) -> Picture {
        picture(width, height, |x, y| {
            [x * 255 / width, y * 255 / height, (x + y) * 255 / (width + height)].map(|value| value as u8)
        })
    }

    fn noise(width: usize, height: usize) -> Picture {
        picture(width, height, |x, y| {
            let bits = RandomKey::from_seed((y * width + x) as u64).value();
            [bits as u8, (bits >> 8) as u8, (bits >> 16) as u8]
        })
    }

    /// The mean step from one column to the next, at the borders of parts and elsewhere.
    fn steps(picture: &Picture, borders: &[usize]) -> [f64; 2] {
        let step = |x: usize| -> f64 {
            let column = |x: usize| {
                (0..picture.height_px).flat_map(move |y| {
                    let at = (y * picture.width_px + x) * 3;
                    picture.pixels[at..at + 3].iter()
                })
            };
            let sum: u64 = column(x)
                .zip(column(x - 1))
                .map(|(a, b)| u64::from(a.abs_diff(*b)))
                .sum();
            sum as f64 / (3 * picture.height_px) as f64
        };
        let mean = |columns: Vec<usize>| columns.iter().map(|&x| step(x)).sum::<f64>() / columns.len() as f64;
        let near = |x: &usize| borders.iter().any(|border| x.abs_diff(*border) <= 1);
        let inner = 8..picture.width_px - 8;
        [
            mean(inner.clone().filter(|x| near(x)).collect()),
            mean(inner.filter(|x| !near(x)).collect()),
        ]
    }

    fn cyclegan_translator(device: &DeviceRef) -> impl Translator + use<> {
        let config = cyclegan::Config {
            width: 4,
            blocks: 2,
            ..cyclegan::Config::new(images(64, 64, 3, 0))
        };
        config.translator(RandomKey::from_seed(1), device).unwrap()
    }

    #[test]
    fn parts_meet_exactly_within_the_reach_of_the_network() {
        let device = Cpu::shared();
        let translator = cyclegan_translator(&device);
        for picture in [gradient(900, 420), noise(900, 420)] {
            let parts = translate(&translator, &picture, &device, &mut |_, _| ()).unwrap();
            // The same in one piece, with the same statistics.
            let kept = Statistics::kept();
            run(&translator, &mosaic(&picture, 4), &kept, &device).unwrap();
            let whole = run(&translator, &picture, &kept.given(), &device).unwrap();
            let whole = crate::shipped::to_bytes(&whole);
            let worst = parts.pixels.iter().zip(&whole).map(|(a, b)| a.abs_diff(*b)).max();
            assert!(worst <= Some(2), "{worst:?} levels apart");
        }
    }

    #[test]
    fn a_u_net_leaves_no_seams() {
        let device = Cpu::shared();
        let config = pix2pix::Config {
            width: 4,
            ..pix2pix::Config::new(images(64, 64, 3, 0))
        };
        let unet = config.translator(RandomKey::from_seed(1), &device).unwrap();
        for picture in [gradient(1000, 420), noise(1000, 420)] {
            let made = translate(&unet, &picture, &device, &mut |_, _| ()).unwrap();
            let [at_borders, elsewhere] = steps(&made, &[384]);
            assert!(
                at_borders <= 1.25 * elsewhere + 0.3,
                "{at_borders} at borders, {elsewhere} elsewhere"
            );
        }
    }

    #[test]
    fn every_size_keeps_its_size() {
        let device = Cpu::shared();
        let translator = cyclegan_translator(&device);
        for (width, height) in [(1, 1), (3, 200), (65, 63), (130, 67)] {
            let made = translate(&translator, &gradient(width, height), &device, &mut |_, _| ()).unwrap();
            assert_eq!((made.width_px, made.height_px), (width, height));
            assert_eq!(made.pixels.len(), width * height * 3);
        }
    }

    #[test]
    fn weights_of_parts_add_up_to_one() {
        let plan = Plan {
            multiple: 4,
            part: 64,
            margin: 24,
            blend: 8,
        };
        for len in [40, 64, 130, 300, 319] {
            let spans = plan.spans(len);
            for at in 0..len {
                let sum: f32 = spans
                    .iter()
                    .filter(|span| span.seen.contains(&at))
                    .map(|span| span.weight(at))
                    .sum();
                assert!((sum - 1.0).abs() < 1e-6, "{sum} at {at} of {len}");
            }
        }
    }
}
