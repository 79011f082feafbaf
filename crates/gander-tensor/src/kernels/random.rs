//! Random numbers by counting: element `i` is a function of a key, a counter and `i`, computed in any order.

use std::marker::PhantomData;

use super::{
    Context,
    isa::{Arithmetic, Kernel, Portable},
    math,
};

/// Blocks of four numbers that are computed side by side.
const BLOCKS: usize = 16;
/// Numbers that one task makes; a multiple of those computed side by side.
const PART: usize = 16 * 1024;

/// Four random words for a counter: ten rounds of Philox 4x32.
///
/// # Source
/// Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3", section 3.3 and table 2,
/// <https://doi.org/10.1145/2063384.2063405>.
#[inline(always)]
pub(crate) fn philox(counter: [u32; 4], key: [u32; 2]) -> [u32; 4] {
    let [mut a, mut b, mut c, mut d] = counter;
    let [mut k0, mut k1] = key;
    for _ in 0..10 {
        let first = u64::from(a) * 0xd251_1f53;
        let second = u64::from(c) * 0xcd9e_8d57;
        (a, b, c, d) = (
            (second >> 32) as u32 ^ b ^ k0,
            second as u32,
            (first >> 32) as u32 ^ d ^ k1,
            first as u32,
        );
        // The golden ratio and √3 − 1, as fractions of 2³².
        k0 = k0.wrapping_add(0x9e37_79b9);
        k1 = k1.wrapping_add(0xbb67_ae85);
    }
    [a, b, c, d]
}

#[inline(always)]
fn halves(word: u64) -> [u32; 2] {
    [word as u32, (word >> 32) as u32]
}

/// The words of elements `4 · block` to `4 · block + 3`.
#[inline(always)]
fn words(key: u64, counter: u64, block: u64) -> [u32; 4] {
    let ([low, high], [c0, c1]) = (halves(block), halves(counter));
    philox([low, high, c0, c1], halves(key))
}

/// How four random words become four numbers.
trait Distribution {
    fn numbers(words: [u32; 4]) -> [f32; 4];
}

struct Uniform;

impl Distribution for Uniform {
    #[inline(always)]
    fn numbers(words: [u32; 4]) -> [f32; 4] {
        // 24 bits are what a float32 holds; the product is exact and below one.
        words.map(|word| (word >> 8) as f32 * (1.0 / 16_777_216.0))
    }
}

struct Normal;

impl Distribution for Normal {
    #[inline(always)]
    fn numbers([a, b, c, d]: [u32; 4]) -> [f32; 4] {
        let ([x, y], [z, w]) = (normal_pair(a, b), normal_pair(c, d));
        [x, y, z, w]
    }
}

/// Two normal numbers from two words, with 32 bits behind the radius, so that they reach ±6.7.
///
/// # Source
/// Box & Muller 1958, <https://doi.org/10.1214/aoms/1177706645>.
#[inline(always)]
fn normal_pair(radius: u32, turn: u32) -> [f32; 2] {
    let uniform = (radius as f32 + 0.5) * (1.0 / 4_294_967_296.0);
    // Rounded separately on every instruction set, so that random numbers are the same on all.
    let log = math::ln::<Portable>(uniform);
    let radius = (if log < 0.0 { -2.0 * log } else { 0.0 }).sqrt();
    let (sin, cos) = math::sin_cos_of_turn(turn);
    [radius * cos, radius * sin]
}

/// A run of numbers that begins at element `4 · first_block`.
struct Fill<'a, D> {
    key: u64,
    counter: u64,
    first_block: u64,
    out: &'a mut [f32],
    distribution: PhantomData<D>,
}

impl<D: Distribution> Kernel for Fill<'_, D> {
    type Output = ();

    #[inline(always)]
    fn run<A: Arithmetic>(self) {
        let mut block = self.first_block;
        let mut side_by_side = [[0.0; BLOCKS]; 4];
        for part in self.out.chunks_mut(4 * BLOCKS) {
            for lane in 0..BLOCKS {
                let numbers = D::numbers(words(self.key, self.counter, block.wrapping_add(lane as u64)));
                for (row, number) in side_by_side.iter_mut().zip(numbers) {
                    row[lane] = number;
                }
            }
            for (i, value) in part.iter_mut().enumerate() {
                *value = side_by_side[i % 4][i / 4];
            }
            block += BLOCKS as u64;
        }
    }
}

fn fill<D: Distribution>(ctx: &Context, key: u64, counter: u64, out: &mut [f32]) {
    ctx.threads.for_each_part(out, PART, |index, out| {
        let first_block = (index * PART / 4) as u64;
        ctx.isa.run(Fill::<D> {
            key,
            counter,
            first_block,
            out,
            distribution: PhantomData,
        });
    });
}

/// Uniform numbers in `0..1`; element `i` depends on `(key, counter, i)` alone.
pub(crate) fn fill_uniform(ctx: &Context, key: u64, counter: u64, out: &mut [f32]) {
    fill::<Uniform>(ctx, key, counter, out);
}

/// Normal numbers; element `i` depends on `(key, counter, i)` alone, and on no instruction set.
pub(crate) fn fill_normal(ctx: &Context, key: u64, counter: u64, out: &mut [f32]) {
    fill::<Normal>(ctx, key, counter, out);
}

/// Element `i` of [`fill_uniform`].
pub(crate) fn uniform_at(key: u64, counter: u64, i: u64) -> f32 {
    Uniform::numbers(words(key, counter, i / 4))[(i % 4) as usize]
}

/// Element `i` of [`fill_normal`].
pub(crate) fn normal_at(key: u64, counter: u64, i: u64) -> f32 {
    Normal::numbers(words(key, counter, i / 4))[(i % 4) as usize]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::{SIZES, on_every_isa};

    /// `philox4x32 10` of the file `kat_vectors` in Random123 1.14, <https://github.com/DEShawResearch/random123>.
    #[test]
    fn known_answers() {
        let ones = u32::MAX;
        assert_eq!(
            philox([0; 4], [0; 2]),
            [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]
        );
        assert_eq!(
            philox([ones; 4], [ones; 2]),
            [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]
        );
        let pi = [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344];
        let answer = [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1];
        assert_eq!(philox(pi, [0xa409_3822, 0x299f_31d0]), answer);
    }

    #[test]
    fn an_element_depends_on_its_index_alone() {
        for len in SIZES {
            for (isa, y) in on_every_isa(len, |ctx, y| fill_uniform(ctx, 7, 9, y)) {
                assert!(
                    y.iter().enumerate().all(|(i, &v)| v == uniform_at(7, 9, i as u64)),
                    "{isa} {len}"
                );
                assert!(y.iter().all(|v| (0.0..1.0).contains(v)));
            }
            for (isa, y) in on_every_isa(len, |ctx, y| fill_normal(ctx, 7, 9, y)) {
                assert!(
                    y.iter().enumerate().all(|(i, &v)| v == normal_at(7, 9, i as u64)),
                    "{isa} {len}"
                );
            }
        }
    }

    #[test]
    fn keys_and_counters_give_other_numbers() {
        let start = |key, counter| {
            (0..8)
                .map(|i| uniform_at(key, counter, i).to_bits())
                .collect::<Vec<_>>()
        };
        let all = [
            start(1, 1),
            start(2, 1),
            start(1, 2),
            start(1 << 32, 1),
            start(1, 1 << 32),
        ];
        let distinct: std::collections::HashSet<_> = all.iter().collect();
        assert_eq!(distinct.len(), all.len());
    }

    #[test]
    fn normal_numbers_have_the_moments_of_their_law() {
        let (_, y) = on_every_isa(1 << 20, |ctx, y| fill_normal(ctx, 42, 0, y)).remove(0);
        let moment = |power| y.iter().map(|&v| f64::from(v).powi(power)).sum::<f64>() / y.len() as f64;
        // Five standard errors of each moment: the variance of xᵏ is E x²ᵏ − (E xᵏ)².
        for (power, expected, variance) in [
            (1, 0.0, 1.0),
            (2, 1.0, 2.0),
            (3, 0.0, 15.0),
            (4, 3.0, 96.0),
            (6, 15.0, 10_170.0),
        ] {
            let bound = 5.0 * (variance / y.len() as f64).sqrt();
            assert!(
                (moment(power) - expected).abs() < bound,
                "moment {power}: {}",
                moment(power)
            );
        }
        let largest = y.iter().fold(0.0, |largest: f32, v| largest.max(v.abs()));
        assert!((4.0..6.7).contains(&largest), "{largest}");
    }

    #[test]
    fn neighbors_and_pairs_are_uncorrelated() {
        let y: Vec<f64> = (0..1 << 18).map(|i| f64::from(normal_at(3, 5, i))).collect();
        for lag in 1..6 {
            let product = y.iter().zip(&y[lag..]).map(|(a, b)| a * b).sum::<f64>() / y.len() as f64;
            let squares = y.iter().zip(&y[lag..]).map(|(a, b)| a * a * b * b).sum::<f64>() / y.len() as f64;
            assert!(product.abs() < 5.0 / 512.0, "lag {lag}: {product}");
            assert!(
                (squares - 1.0).abs() < 5.0 * 8f64.sqrt() / 512.0,
                "lag {lag}: {squares}"
            );
        }
    }
}
