//! A seeded, splittable source of random keys whose whole state is two numbers.

/// A key: the same key gives the same random tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RandomKey(u64);

impl RandomKey {
    /// The key of a seed.
    pub fn from_seed(seed: u64) -> Self {
        Self(mix(seed ^ 0x6761_6e64_6572_0001))
    }

    /// An independent key for a part of the work: the `index`-th image, a worker, a layer.
    #[must_use]
    pub fn split(self, index: u64) -> Self {
        Self(mix(self.0 ^ mix(index.wrapping_add(0x9e37_79b9_7f4a_7c15))))
    }

    /// An independent key for a named part of the work.
    #[must_use]
    pub fn named(self, name: &str) -> Self {
        // FNV-1a, <http://www.isthe.com/chongo/tech/comp/fnv/>.
        let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        self.split(hash)
    }

    /// The number behind it.
    pub fn value(self) -> u64 {
        self.0
    }

    /// A uniform number in `0..1`, for decisions on the host.
    pub fn uniform(self) -> f64 {
        (mix(self.0 ^ 0x5851_f42d_4c95_7f2d) >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// A source of keys that is part of what a run saves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RandomState {
    /// Where it began.
    pub seed: u64,
    /// How many keys it gave out.
    pub drawn: u64,
}

impl RandomState {
    /// The beginning of a seed's sequence.
    pub fn new(seed: u64) -> Self {
        Self { seed, drawn: 0 }
    }

    /// The next key.
    pub fn next_key(&mut self) -> RandomKey {
        self.drawn += 1;
        RandomKey::from_seed(self.seed).split(self.drawn)
    }
}

/// A bijection of 64 bits that spreads every input bit over all output bits: the finalizer of SplitMix64.
///
/// # Source
/// Steele, Lea & Flood 2014, "Fast splittable pseudorandom number generators", <https://doi.org/10.1145/2714064.2660195>.
fn mix(mut z: u64) -> u64 {
    z = z.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_differ_and_repeat() {
        let (mut a, mut b) = (RandomState::new(7), RandomState::new(7));
        let keys: Vec<_> = (0..1000).map(|_| a.next_key()).collect();
        assert_eq!(keys, (0..1000).map(|_| b.next_key()).collect::<Vec<_>>());
        let distinct: std::collections::HashSet<_> = keys.iter().collect();
        assert_eq!(distinct.len(), 1000);
        assert_ne!(RandomKey::from_seed(1).named("a"), RandomKey::from_seed(1).named("b"));
    }

    #[test]
    fn uniform_fills_its_range() {
        let mean = (0..10_000).map(|i| RandomKey::from_seed(i).uniform()).sum::<f64>() / 10_000.0;
        assert!((mean - 0.5).abs() < 0.01, "{mean}");
    }
}
