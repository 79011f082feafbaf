//! Images that look the same, found by hashes that are close.

use std::collections::BinaryHeap;
use std::sync::{Mutex, PoisonError};

use super::Look;
use crate::parallel;

/// An 8x8 RGB thumbnail.
pub(super) const THUMBNAIL_BYTES: usize = 8 * 8 * 3;

/// Bits that may differ. One less than the bands: two hashes this close agree in a whole band.
const MAX_DISTANCE: u32 = 3;
const BANDS: u32 = MAX_DISTANCE + 1;
const BAND_BITS: u32 = 64 / BANDS;
/// Thumbnails may differ by this many levels, root mean square. Hashes alone take every slim white stroke on black for
/// the same digit.
const MAX_RMS: u32 = 4;
/// Images that agree in a band and are compared with one; keeps a million images of one background affordable.
const MAX_COMPARED: usize = 4096;

/// Two images that look the same, in the order of the images.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Pair {
    pub(super) first: usize,
    pub(super) second: usize,
    pub(super) distance: u32,
}

/// All pairs that look the same.
pub(super) struct Near {
    /// The first of them, in order.
    pub(super) listed: Vec<Pair>,
    pub(super) count: u64,
}

/// One bit for each two neighbors in a row of 9: whether the right one is brighter.
///
/// # Shapes
/// - `pixels`: `[8, 9]`, gray
///
/// # Source
/// Krawetz 2013, "Kind of like that", <https://www.hackerfactor.com/blog/?/archives/529-Kind-of-Like-That.html>.
pub(super) fn difference_hash(pixels: &[u8]) -> u64 {
    let bits = pixels
        .chunks_exact(9)
        .flat_map(|row| row.windows(2).map(|pair| pair[1] > pair[0]));
    bits.fold(0, |hash, bit| hash << 1 | u64::from(bit))
}

/// Pairs that look the same, of which the first `limit` are listed. Blank images and equal pixels are left out.
pub(super) fn near(looks: &[Look], threads: usize, limit: usize) -> Near {
    // The frames of a film have hundreds of millions of pairs: no more are kept than are listed.
    let listed: Mutex<BinaryHeap<Pair>> = Mutex::default();
    let mut count = 0;
    for band in 0..BANDS {
        let key = |index: usize| looks[index].hash.rotate_right(band * BAND_BITS);
        let band_of = |index: usize| key(index) & ((1 << BAND_BITS) - 1);
        let mut order: Vec<usize> = (0..looks.len()).filter(|&index| !looks[index].is_blank).collect();
        order.sort_unstable_by_key(|&index| (band_of(index), key(index), index));
        let counts = parallel::map(threads, order.len(), |place| {
            let index = order[place];
            let others = order[place + 1..].iter().take(MAX_COMPARED).copied();
            let others = others.take_while(|&other| band_of(other) == band_of(index));
            let found = others.filter_map(|other| compare(looks, index, other, band));
            let found: Vec<Pair> = found.collect();
            let count = found.len() as u64;
            let mut listed = listed.lock().unwrap_or_else(PoisonError::into_inner);
            for pair in found {
                keep(&mut listed, pair, limit);
            }
            count
        });
        count += counts.iter().sum::<u64>();
    }
    let listed = listed.into_inner().unwrap_or_else(PoisonError::into_inner);
    Near {
        listed: listed.into_sorted_vec(),
        count,
    }
}

/// Keeps a pair if it is one of the first `limit`, whatever order they come in.
fn keep(listed: &mut BinaryHeap<Pair>, pair: Pair, limit: usize) {
    if listed.len() < limit {
        listed.push(pair);
    } else if let Some(mut last) = listed.peek_mut()
        && pair < *last
    {
        *last = pair;
    }
}

/// The pair, if it looks the same, its pixels differ, and no earlier band has found it.
fn compare(looks: &[Look], a: usize, b: usize, band: u32) -> Option<Pair> {
    let differing = looks[a].hash ^ looks[b].hash;
    let distance = differing.count_ones();
    if distance > MAX_DISTANCE || looks[a].pixels == looks[b].pixels {
        return None;
    }
    let agrees = |earlier: u32| differing.rotate_right(earlier * BAND_BITS) & ((1 << BAND_BITS) - 1) == 0;
    if (0..band).any(agrees) {
        return None;
    }
    let pairs = looks[a].thumbnail.iter().zip(&looks[b].thumbnail);
    let squares: u32 = pairs.map(|(x, y)| u32::from(x.abs_diff(*y)).pow(2)).sum();
    let is_near = squares <= MAX_RMS * MAX_RMS * THUMBNAIL_BYTES as u32;
    is_near.then(|| Pair {
        first: a.min(b),
        second: a.max(b),
        distance,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(hash: u64, level: u8) -> Look {
        let pixels = hash ^ u64::from(level) << 40;
        Look {
            pixels,
            hash,
            thumbnail: [level; THUMBNAIL_BYTES],
            is_blank: false,
            hides_gray: false,
        }
    }

    fn found(looks: &[Look]) -> Vec<(usize, usize, u32)> {
        let near = near(looks, 2, 1000);
        assert_eq!(near.count, near.listed.len() as u64);
        near.listed
            .iter()
            .map(|pair| (pair.first, pair.second, pair.distance))
            .collect()
    }

    #[test]
    fn bits_tell_where_it_gets_brighter() {
        let mut pixels = [0; 72];
        pixels[1] = 9;
        pixels[71] = 9;
        assert_eq!(difference_hash(&pixels), 1 << 63 | 1);
    }

    #[test]
    fn every_pair_within_three_bits_is_found_once() {
        let hash = 0x0123_4567_89AB_CDEF;
        for bits in [[0, 1, 2], [0, 16, 32], [15, 31, 63], [16, 33, 50]] {
            let near = bits.iter().fold(hash, |hash, bit| hash ^ 1 << bit);
            assert_eq!(
                found(&[look(hash, 0), look(!hash, 0), look(near, 1)]),
                [(0, 2, 3)],
                "{bits:?}"
            );
        }
        assert_eq!(
            found(&[look(hash, 0), look(hash ^ 0x1_0001_0001_0001, 1)]),
            [],
            "four bits"
        );
        assert_eq!(found(&[look(hash, 0), look(hash, 1)]), [(0, 1, 0)]);
    }

    #[test]
    fn all_pairs_are_counted_and_the_first_are_listed() {
        // The last image is compared first, for its hash.
        let hashes = [7, 5, 5, 5, 4].into_iter().zip(0..);
        let looks: Vec<Look> = hashes.map(|(hash, level)| look(hash, level)).collect();
        for threads in [1, 4] {
            let near = near(&looks, threads, 3);
            let listed: Vec<_> = near.listed.iter().map(|pair| (pair.first, pair.second)).collect();
            assert_eq!((near.count, listed), (10, vec![(0, 1), (0, 2), (0, 3)]));
        }
    }

    #[test]
    fn thumbnails_and_pixels_are_compared_too() {
        assert_eq!(found(&[look(5, 0), look(5, 4)]), [(0, 1, 0)]);
        assert_eq!(found(&[look(5, 0), look(5, 5)]), [], "other colors");
        assert_eq!(
            found(&[look(5, 0), look(5, 0)]),
            [],
            "the same pixels are exact duplicates"
        );
    }
}
