//! Which checkpoints a run keeps.

use std::collections::BTreeSet;

/// The moments, in images seen, whose checkpoints are kept.
///
/// - the newest two, should a disk spoil the last;
/// - the best, if a score has named one;
/// - the first of each fourfold: the first from 1 kimg on, from 4 kimg on, from 16 kimg on, and so forth, so that a
///   run can be looked at, or taken up, at every scale. Of a run of 25,000 kimg these are eight.
///
/// What is thinned once stays the same however often it is thinned on the way.
pub fn kept(images_seen: &[u64], best: Option<u64>) -> BTreeSet<u64> {
    let all: BTreeSet<u64> = images_seen.iter().copied().collect();
    let newest = all.iter().rev().take(2);
    let best = best.iter().filter(|moment| all.contains(moment));
    let mut kept: BTreeSet<u64> = newest.chain(best).copied().collect();
    let mut fourfold = None;
    for &moment in &all {
        let own = (moment / 1000).checked_ilog(4);
        if own > fourfold {
            fourfold = own;
            kept.insert(moment);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rule_is_as_stated() {
        let kimg = |moments: &[u64], best: Option<u64>| {
            let images: Vec<u64> = moments.iter().map(|moment| moment * 1000).collect();
            kept(&images, best.map(|best| best * 1000))
                .iter()
                .map(|images| images / 1000)
                .collect::<Vec<_>>()
        };
        assert!(kimg(&[], None).is_empty());
        assert_eq!(kimg(&[0], None), [0]);
        assert_eq!(kimg(&[0, 1], None), [0, 1]);
        assert_eq!(kimg(&[0, 1, 2, 3], None), [1, 2, 3]);
        let hundred: Vec<u64> = (0..=100).collect();
        assert_eq!(kimg(&hundred, None), [1, 4, 16, 64, 99, 100]);
        assert_eq!(kimg(&hundred, Some(50)), [1, 4, 16, 50, 64, 99, 100]);
        assert_eq!(kimg(&hundred, Some(101)), [1, 4, 16, 64, 99, 100]);
    }

    #[test]
    fn thinning_on_the_way_keeps_what_thinning_at_the_end_keeps() {
        let all: Vec<u64> = (0..3000).map(|step| step * 777).collect();
        let mut disk = Vec::new();
        for &moment in &all {
            disk.push(moment);
            disk = kept(&disk, None).into_iter().collect();
            assert!(disk.len() <= 9, "{disk:?}");
        }
        assert_eq!(disk, kept(&all, None).into_iter().collect::<Vec<_>>());
    }
}
