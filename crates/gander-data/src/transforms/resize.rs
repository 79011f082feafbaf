//! Separable resizing of 8-bit pixels in integers, so that every machine gives the same bytes.

use std::f64::consts::PI;

use crate::options::{Filter, Size};

/// Fraction bits of a weight: with 8-bit samples and weights of Lanczos (absolute sum below 2) sums fit 31 bits.
const WEIGHT_BITS: u32 = 20;

/// The output sample that a run of input samples makes.
struct Taps {
    start: usize,
    weights: Vec<i32>,
}

/// Resizes an image, rows first.
///
/// An axis that shrinks follows `filter`; an axis that grows uses Lanczos. Nothing is weighed by alpha: premultiply
/// before where there is one.
///
/// # Shapes
/// - `pixels`: `[from.height, from.width, channels]`, 1 to 4 channels
/// - returns: `[to.height, to.width, channels]`
pub fn resize(pixels: &[u8], from: Size, to: Size, channels: usize, filter: Filter) -> Vec<u8> {
    let tall = if from.height_px == to.height_px {
        None
    } else {
        Some(resize_rows(
            pixels,
            from.width_px * channels,
            &taps(from.height_px, to.height_px, filter),
        ))
    };
    let rows = tall.as_deref().unwrap_or(pixels);
    if from.width_px == to.width_px {
        return rows.to_vec();
    }
    let taps = taps(from.width_px, to.width_px, filter);
    match channels {
        1 => resize_columns::<1>(rows, from.width_px, &taps),
        2 => resize_columns::<2>(rows, from.width_px, &taps),
        3 => resize_columns::<3>(rows, from.width_px, &taps),
        _ => resize_columns::<4>(rows, from.width_px, &taps),
    }
}

/// Rows of one weight are added before they are multiplied: most of an area is covered in full, and processors without
/// a 32-bit vector product (plain x86-64) add several times faster.
fn resize_rows(pixels: &[u8], row_bytes: usize, taps: &[Taps]) -> Vec<u8> {
    // 257 · 255 fits 16 bits.
    const ROWS_ADDED: usize = 257;
    let mut result = Vec::with_capacity(taps.len() * row_bytes);
    let (mut sums, mut added) = (vec![0_i32; row_bytes], vec![0_u16; row_bytes]);
    for Taps { start, weights } in taps {
        sums.fill(1 << (WEIGHT_BITS - 1));
        let mut rows = pixels[start * row_bytes..].chunks_exact(row_bytes);
        for group in weights
            .chunk_by(|a, b| a == b)
            .flat_map(|group| group.chunks(ROWS_ADDED))
        {
            added.fill(0);
            for row in rows.by_ref().take(group.len()) {
                for (sum, &sample) in added.iter_mut().zip(row) {
                    *sum += u16::from(sample);
                }
            }
            for (sum, &added) in sums.iter_mut().zip(&added) {
                *sum += group[0] * i32::from(added);
            }
        }
        result.extend(sums.iter().map(|&sum| to_sample(sum)));
    }
    result
}

fn resize_columns<const CHANNELS: usize>(pixels: &[u8], width: usize, taps: &[Taps]) -> Vec<u8> {
    let mut result = Vec::with_capacity(pixels.len() / width * taps.len());
    for row in pixels.chunks_exact(width * CHANNELS) {
        for Taps { start, weights } in taps {
            let mut sums = [1 << (WEIGHT_BITS - 1); CHANNELS];
            let run = row[start * CHANNELS..].chunks_exact(CHANNELS);
            for (&weight, pixel) in weights.iter().zip(run) {
                for (sum, &sample) in sums.iter_mut().zip(pixel) {
                    *sum += weight * i32::from(sample);
                }
            }
            result.extend(sums.map(to_sample));
        }
    }
    result
}

fn to_sample(sum: i32) -> u8 {
    (sum >> WEIGHT_BITS).clamp(0, 255) as u8
}

fn taps(from: usize, to: usize, filter: Filter) -> Vec<Taps> {
    let scale = from as f64 / to as f64;
    let area = filter == Filter::Area && to < from;
    (0..to)
        .map(|index| {
            if area {
                area_taps(index, scale, from)
            } else {
                lanczos_taps(index, scale, from)
            }
        })
        .collect()
}

/// Each input sample weighs what the output pixel covers of it.
fn area_taps(index: usize, scale: f64, from: usize) -> Taps {
    let (low, high) = (index as f64 * scale, ((index + 1) as f64 * scale).min(from as f64));
    let start = low.floor() as usize;
    let end = (high.ceil() as usize).clamp(start + 1, from);
    let covered = |sample: usize| (high.min((sample + 1) as f64) - low.max(sample as f64)).max(0.0);
    quantize(start, &(start..end).map(covered).collect::<Vec<_>>())
}

/// sinc(x) · sinc(x / 3) for |x| < 3, widened by the scale where it shrinks.
fn lanczos_taps(index: usize, scale: f64, from: usize) -> Taps {
    const LOBES: f64 = 3.0;
    let sinc = |x: f64| if x.abs() < 1e-9 { 1.0 } else { (PI * x).sin() / (PI * x) };
    let widening = scale.max(1.0);
    let center = (index as f64 + 0.5) * scale;
    let start = (center - LOBES * widening).floor().max(0.0) as usize;
    let end = ((center + LOBES * widening).ceil() as usize).clamp(start + 1, from);
    let weight = |sample: usize| {
        let x = (sample as f64 + 0.5 - center) / widening;
        if x.abs() < LOBES {
            sinc(x) * sinc(x / LOBES)
        } else {
            0.0
        }
    };
    quantize(start, &(start..end).map(weight).collect::<Vec<_>>())
}

/// Weights as integers that sum to one exactly, so that flat areas stay as they are.
fn quantize(start: usize, weights: &[f64]) -> Taps {
    let total: f64 = weights.iter().sum();
    let one = f64::from(1_i32 << WEIGHT_BITS);
    let mut integers: Vec<i32> = weights
        .iter()
        .map(|weight| (weight / total * one).round() as i32)
        .collect();
    let error = (1 << WEIGHT_BITS) - integers.iter().sum::<i32>();
    if let Some(largest) = integers.iter_mut().max() {
        *largest += error;
    }
    Taps {
        start,
        weights: integers,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn size(width_px: usize, height_px: usize) -> Size {
        Size { width_px, height_px }
    }

    #[test]
    fn area_is_the_mean_of_what_is_covered() {
        let pixels = [0, 10, 20, 30, 40, 50];
        assert_eq!(resize(&pixels, size(6, 1), size(3, 1), 1, Filter::Area), [5, 25, 45]);
        // 1.5 samples each: (0 + 10 / 2) / 1.5, …
        assert_eq!(
            resize(&pixels, size(6, 1), size(4, 1), 1, Filter::Area),
            [3, 17, 33, 47]
        );
        assert_eq!(resize(&pixels, size(1, 6), size(1, 2), 1, Filter::Area), [10, 40]);
    }

    #[test]
    fn lanczos_doubles_a_ramp_smoothly() {
        let ramp: Vec<u8> = (0..32).map(|x| x * 8).collect();
        let doubled = resize(&ramp, size(32, 1), size(64, 1), 1, Filter::Area);
        let inside = &doubled[8..56];
        assert!(
            inside.windows(2).all(|pair| (3..=5).contains(&(pair[1] - pair[0]))),
            "{inside:?}"
        );
    }

    #[test]
    fn lanczos_matches_an_independent_sum() {
        let pixels = [12_u8, 200, 31, 90, 255, 0, 77, 140];
        let result = resize(&pixels, size(8, 1), size(3, 1), 1, Filter::Lanczos);
        let scale = 8.0 / 3.0;
        for (index, &got) in result.iter().enumerate() {
            let center = (index as f64 + 0.5) * scale;
            let (mut sum, mut total) = (0.0, 0.0);
            for (sample, &value) in pixels.iter().enumerate() {
                let x: f64 = (sample as f64 + 0.5 - center) / scale;
                if x.abs() < 3.0 {
                    let lobe = |x: f64| if x == 0.0 { 1.0 } else { (PI * x).sin() / (PI * x) };
                    sum += lobe(x) * lobe(x / 3.0) * f64::from(value);
                    total += lobe(x) * lobe(x / 3.0);
                }
            }
            let expected: f64 = (sum / total).clamp(0.0, 255.0);
            assert!(
                (f64::from(got) - expected).abs() <= 1.0,
                "sample {index}: {got}, expected {expected}"
            );
        }
    }

    proptest! {
        #[test]
        fn flat_images_stay_flat(
            value: u8, w in 1..40_usize, h in 1..40_usize, to_w in 1..40_usize, to_h in 1..40_usize,
            channels in 1..5_usize, lanczos: bool,
        ) {
            let filter = if lanczos { Filter::Lanczos } else { Filter::Area };
            let result = resize(&vec![value; w * h * channels], size(w, h), size(to_w, to_h), channels, filter);
            prop_assert_eq!(result, vec![value; to_w * to_h * channels]);
        }

        #[test]
        fn area_keeps_the_mean(pixels in proptest::collection::vec(any::<u8>(), 60), to in 1..60_usize) {
            let result = resize(&pixels, size(60, 1), size(to, 1), 1, Filter::Area);
            let mean = |values: &[u8]| values.iter().map(|&v| f64::from(v)).sum::<f64>() / values.len() as f64;
            // Each output is rounded by at most a half, and a fraction for the weights.
            prop_assert!((mean(&pixels) - mean(&result)).abs() <= 0.51);
        }
    }
}
