//! How far is a picture from what it should be? Scores of pairs, which need no network.
//!
//! Peak signal-to-noise ratio and structural similarity are scikit-image's, `peak_signal_noise_ratio` and
//! `structural_similarity`, over bytes 0..=255.

use super::judge::{Better, Score};
use crate::error::{Error, Result};

/// Side of the window of [`structural_similarity`], scikit-image's default.
const WINDOW: usize = 7;

/// The largest difference of two bytes.
const RANGE: f64 = 255.0;

/// Two pictures of one shape, `[height, width, channels]`, 0..=255.
#[derive(Debug, Clone, Copy)]
pub struct Pair<'a> {
    /// What was made.
    pub made: &'a [u8],
    /// What it should be.
    pub truth: &'a [u8],
    /// Columns.
    pub width_px: usize,
    /// Values of a pixel.
    pub channels: usize,
}

impl Pair<'_> {
    fn check(&self) -> Result<()> {
        let row = self.width_px * self.channels;
        if self.made.len() == self.truth.len() && row > 0 && self.made.len().is_multiple_of(row) {
            return Ok(());
        }
        Err(Error::UnlikeImages {
            expected: format!("{} bytes", self.truth.len()),
            got: format!("{} bytes", self.made.len()),
        })
    }

    fn height_px(&self) -> usize {
        self.truth.len() / (self.width_px * self.channels)
    }
}

/// The mean absolute difference, 0..=1.
///
/// # Errors
/// [`Error::UnlikeImages`] for pictures of different lengths.
pub fn mean_distance(pair: Pair<'_>) -> Result<f64> {
    pair.check()?;
    let differences = pair.made.iter().zip(pair.truth);
    let sum: u64 = differences.map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
    Ok(sum as f64 / pair.made.len() as f64 / RANGE)
}

/// `10 log₁₀(255² / mean squared difference)`, in decibels; infinite for equal pictures.
///
/// # Errors
/// [`Error::UnlikeImages`] for pictures of different lengths.
pub fn signal_to_noise(pair: Pair<'_>) -> Result<f64> {
    pair.check()?;
    let squares = pair
        .made
        .iter()
        .zip(pair.truth)
        .map(|(a, b)| u64::from(a.abs_diff(*b)).pow(2));
    let mean = squares.sum::<u64>() as f64 / pair.made.len() as f64;
    Ok(10.0 * (RANGE * RANGE / mean).log10())
}

/// Structural similarity (SSIM), −1..=1: likeness of means, variances and covariance in windows of 7 × 7, the mean over
/// all windows that lie inside, and over channels.
///
/// # Errors
/// [`Error::UnlikeImages`] for pictures of different lengths or with a side under 7.
///
/// # Source
/// Wang et al. 2004, <https://doi.org/10.1109/TIP.2003.819861>, with uniform windows and sample covariances.
pub fn structural_similarity(pair: Pair<'_>) -> Result<f64> {
    pair.check()?;
    let (width, height) = (pair.width_px, pair.height_px());
    if width.min(height) < WINDOW {
        return Err(Error::UnlikeImages {
            expected: format!("at least {WINDOW}x{WINDOW}"),
            got: format!("{width}x{height}"),
        });
    }
    let channels = (0..pair.channels).map(|channel| similarity_of(pair, channel));
    Ok(channels.sum::<f64>() / pair.channels as f64)
}

/// Sums over windows: of both pictures, of their squares and of their products.
type Sums = [f64; 5];

fn similarity_of(pair: Pair<'_>, channel: usize) -> f64 {
    let (width, height) = (pair.width_px, pair.height_px());
    let at = |x: usize, y: usize| {
        let index = (y * width + x) * pair.channels + channel;
        let (a, b) = (f64::from(pair.made[index]), f64::from(pair.truth[index]));
        [a, b, a * a, b * b, a * b]
    };
    let add = |sums: &mut Sums, values: Sums, sign: f64| {
        for (sum, value) in sums.iter_mut().zip(values) {
            *sum += sign * value;
        }
    };
    // Bytes and their products are whole numbers, so that sums that slide along stay exact.
    let mut columns: Vec<Sums> = (0..width)
        .map(|x| {
            let mut sums = Sums::default();
            (0..WINDOW - 1).for_each(|y| add(&mut sums, at(x, y), 1.0));
            sums
        })
        .collect();
    let (mut total, mut count) = (0.0, 0u64);
    for y in WINDOW - 1..height {
        for (x, column) in columns.iter_mut().enumerate() {
            add(column, at(x, y), 1.0);
        }
        let mut window = Sums::default();
        for x in 0..width {
            add(&mut window, columns[x], 1.0);
            if x + 1 >= WINDOW {
                total += similarity(window);
                count += 1;
                add(&mut window, columns[x + 1 - WINDOW], -1.0);
            }
        }
        for (x, column) in columns.iter_mut().enumerate() {
            add(column, at(x, y + 1 - WINDOW), -1.0);
        }
    }
    total / count as f64
}

fn similarity(sums: Sums) -> f64 {
    let (c1, c2) = ((0.01 * RANGE).powi(2), (0.03 * RANGE).powi(2));
    let num = (WINDOW * WINDOW) as f64;
    let [a, b, aa, bb, ab] = sums.map(|sum| sum / num);
    let sample = num / (num - 1.0);
    let (var_a, var_b, covariance) = (sample * (aa - a * a), sample * (bb - b * b), sample * (ab - a * b));
    let likeness = (2.0 * a * b + c1) * (2.0 * covariance + c2);
    likeness / ((a * a + b * b + c1) * (var_a + var_b + c2))
}

/// The mean size of the steps from pixel to pixel, right and down, of what was made over that of the truth: under 1
/// where it is blurred, over 1 where it is noisy.
///
/// # Errors
/// [`Error::UnlikeImages`] for pictures of different lengths.
pub fn sharpness(pair: Pair<'_>) -> Result<f64> {
    pair.check()?;
    let row = pair.width_px * pair.channels;
    let steps = |pixels: &[u8]| {
        let right = pixels.chunks_exact(row).map(|row| total(row, &row[pair.channels..]));
        right.sum::<u64>() + total(pixels, &pixels[row..])
    };
    Ok(steps(pair.made) as f64 / (steps(pair.truth) as f64).max(1.0))
}

fn total(a: &[u8], b: &[u8]) -> u64 {
    a.iter().zip(b).map(|(a, b)| u64::from(a.abs_diff(*b))).sum()
}

/// The means of all scores over many pairs.
#[derive(Debug, Clone, Default)]
pub struct PairScores {
    sums: [f64; 4],
    num: usize,
}

impl PairScores {
    /// Adds a pair.
    ///
    /// # Errors
    /// Those of the scores.
    pub fn add(&mut self, pair: Pair<'_>) -> Result<()> {
        let scores = [
            mean_distance(pair)?,
            // Equal pictures have no noise at all; 100 dB stand for it in a mean.
            signal_to_noise(pair)?.min(100.0),
            structural_similarity(pair)?,
            sharpness(pair)?,
        ];
        for (sum, score) in self.sums.iter_mut().zip(scores) {
            *sum += score;
        }
        self.num += 1;
        Ok(())
    }

    /// `l1_N`, `psnr_N` in decibels, `ssim_N` and `sharpness_N`, where N is the number of pairs.
    pub fn finish(&self) -> Vec<Score> {
        let names = [
            ("l1", Better::Lower),
            ("psnr", Better::Higher),
            ("ssim", Better::Higher),
            ("sharpness", Better::Higher),
        ];
        let score = |((name, better), sum): ((&str, Better), f64)| Score {
            name: format!("{name}_{}", self.num),
            value: sum / self.num.max(1) as f64,
            interval: None,
            better,
        };
        names.into_iter().zip(self.sums).map(score).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair<'a>(made: &'a [u8], truth: &'a [u8], width_px: usize) -> Pair<'a> {
        Pair {
            made,
            truth,
            width_px,
            channels: 1,
        }
    }

    #[test]
    fn values_by_hand() {
        let (made, truth) = ([0, 51, 102, 153], [0, 0, 102, 255]);
        let pair = pair(&made, &truth, 2);
        assert!((mean_distance(pair).unwrap() - (51.0 + 102.0) / 4.0 / 255.0).abs() < 1e-12);
        let mean = (51.0f64.powi(2) + 102.0f64.powi(2)) / 4.0;
        assert!((signal_to_noise(pair).unwrap() - 10.0 * (65025.0 / mean).log10()).abs() < 1e-12);
        // Right 51 + 51, down 102 + 102; right 0 + 153, down 102 + 255.
        assert!((sharpness(pair).unwrap() - 306.0 / 510.0).abs() < 1e-12);
    }

    #[test]
    fn a_picture_is_most_like_itself() {
        let picture: Vec<u8> = (0..100u32).map(|i| (i * 37 % 251) as u8).collect();
        let inverse: Vec<u8> = picture.iter().map(|value| 255 - value).collect();
        assert!((structural_similarity(pair(&picture, &picture, 10)).unwrap() - 1.0).abs() < 1e-9);
        assert!(structural_similarity(pair(&picture, &inverse, 10)).unwrap() < -0.5);
        assert!(signal_to_noise(pair(&picture, &picture, 10)).unwrap().is_infinite());
    }

    #[test]
    fn unlike_and_small_pictures_are_refused() {
        assert!(mean_distance(pair(&[1, 2], &[1], 1)).is_err());
        assert!(structural_similarity(pair(&[0; 36], &[0; 36], 6)).is_err());
    }
}
