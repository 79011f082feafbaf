//! Which image comes when: an endless shuffle whose whole state is one number.

use serde::{Deserialize, Serialize};

/// One draw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Draw {
    /// The image's index in the dataset.
    pub index: usize,
    /// A fair coin, for mirroring.
    pub flip: bool,
}

/// An endless sequence of draws, in epochs that each hold every image once.
///
/// Draw `i` is a pure function of `(seed, i, len)`: nothing is stored, any position can be asked for, and a run that
/// goes on from a position draws what an unbroken one would. With several processes, process `rank` of `world_size`
/// takes every `world_size`-th draw of the same sequence, so that together they see each image once an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sampler {
    /// Seed of the order and the coins.
    pub seed: u64,
    /// Images in the dataset, at least 1.
    pub len: u64,
    /// This process, below `world_size`.
    pub rank: u64,
    /// Processes that share the sequence.
    pub world_size: u64,
    /// Draws of this process so far: the state to save.
    pub position: u64,
}

impl Sampler {
    /// The first draws of one process over a set of `len` images (at least 1).
    pub fn new(seed: u64, len: usize) -> Self {
        Self {
            seed,
            len: (len as u64).max(1),
            rank: 0,
            world_size: 1,
            position: 0,
        }
    }

    /// The draw of this process at a position.
    pub fn draw(&self, position: u64) -> Draw {
        let global = position.wrapping_mul(self.world_size.max(1)).wrapping_add(self.rank);
        let len = self.len.max(1);
        let (epoch, offset) = (global / len, global % len);
        let key = mix(self.seed ^ mix(epoch ^ 0x9E37_79B9_7F4A_7C15));
        let index = permute(key, offset, len) as usize;
        let coin = mix(mix(self.seed ^ 0xD1B5_4A32_D192_ED03).wrapping_add(global));
        Draw {
            index,
            flip: coin >> 63 == 1,
        }
    }

    /// The draw at the current position, which moves on by one.
    pub fn next_draw(&mut self) -> Draw {
        let draw = self.draw(self.position);
        self.position += 1;
        draw
    }
}

/// A pseudo-random bijection of `0..len`: a Feistel network over the next power of four, walked until it is inside.
///
/// # Source
/// Cycle walking: Black and Rogaway 2002, "Ciphers with arbitrary finite domains", section 3.
fn permute(key: u64, value: u64, len: u64) -> u64 {
    // Four rounds are indistinguishable from random for long blocks (Luby and Rackoff 1988); blocks here are short.
    const ROUNDS: u64 = 8;
    let half_bits = (64 - (len - 1).leading_zeros()).div_ceil(2).max(1);
    let mask = (1_u64 << half_bits) - 1;
    let mut value = value;
    loop {
        let (mut left, mut right) = (value >> half_bits, value & mask);
        for round in 0..ROUNDS {
            let scrambled = mix(key.wrapping_add(mix(right ^ (round << 56)))) & mask;
            (left, right) = (right, left ^ scrambled);
        }
        value = left << half_bits | right;
        if value < len {
            return value;
        }
    }
}

/// The finalizer of `SplitMix64` (Steele, Lea and Flood 2014).
pub(crate) fn mix(mut x: u64) -> u64 {
    x = x.wrapping_add(0x9E37_79B9_7F4A_7C15);
    x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn indices(sampler: &Sampler, positions: std::ops::Range<u64>) -> Vec<usize> {
        positions.map(|position| sampler.draw(position).index).collect()
    }

    #[test]
    fn each_epoch_is_a_permutation() {
        for len in [1, 2, 3, 5, 8, 100, 1023, 1024, 1025] {
            let sampler = Sampler::new(7, len);
            for epoch in 0..3 {
                let mut drawn = indices(&sampler, epoch * len as u64..(epoch + 1) * len as u64);
                drawn.sort_unstable();
                assert_eq!(drawn, (0..len).collect::<Vec<_>>(), "length {len}, epoch {epoch}");
            }
        }
    }

    #[test]
    fn epochs_and_seeds_differ() {
        let sampler = Sampler::new(1, 1000);
        let first = indices(&sampler, 0..1000);
        assert_ne!(first, indices(&sampler, 1000..2000));
        assert_ne!(first, indices(&Sampler::new(2, 1000), 0..1000));
        assert_ne!(first, (0..1000).collect::<Vec<_>>());
    }

    #[test]
    fn places_are_shuffled_evenly() {
        // Over many epochs each of 10 images comes first about equally often: 1000 ± 4 standard deviations of 30.
        let sampler = Sampler::new(3, 10);
        for place in 0..10 {
            let mut counts = [0_i32; 10];
            (0..10_000).for_each(|epoch| counts[sampler.draw(epoch * 10 + place).index] += 1);
            assert!(
                counts.iter().all(|count| (count - 1000).abs() < 120),
                "place {place}: {counts:?}"
            );
        }
    }

    #[test]
    fn neighbors_are_not_drawn_together() {
        let drawn = indices(&Sampler::new(5, 60_000), 0..60_000);
        let close = drawn.windows(2).filter(|pair| pair[0].abs_diff(pair[1]) < 60).count();
        // A random order has 2 · 60 / 60000 of such pairs: 120 ± 4 standard deviations of 11.
        assert!((76..164).contains(&close), "{close}");
    }

    #[test]
    fn coins_are_fair() {
        let sampler = Sampler::new(11, 7);
        let heads = (0..10_000).filter(|&position| sampler.draw(position).flip).count();
        assert!((4800..5200).contains(&heads), "{heads}");
    }

    #[test]
    fn processes_share_one_sequence() {
        let whole = Sampler::new(9, 10);
        let mut parts: Vec<Sampler> = (0..3)
            .map(|rank| Sampler {
                rank,
                world_size: 3,
                ..whole
            })
            .collect();
        let together: Vec<Draw> = (0..30).map(|i| parts[i % 3].next_draw()).collect();
        assert_eq!(together, (0..30).map(|i| whole.draw(i)).collect::<Vec<_>>());
    }

    #[test]
    fn a_saved_position_goes_on_as_if_nothing_happened() {
        let mut unbroken = Sampler::new(4, 17);
        (0..25).for_each(|_| _ = unbroken.next_draw());
        let mut resumed = Sampler {
            position: 25,
            ..Sampler::new(4, 17)
        };
        assert!((0..50).all(|_| unbroken.next_draw() == resumed.next_draw()));
    }
}
