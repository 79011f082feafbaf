//! Work on many images in a few threads, with results in the order of the images.

use std::num::NonZero;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// Items claimed at once: few enough to balance, many enough to make the counter cheap.
const CLAIM: usize = 8;

/// The number of threads that a setting means; 0 takes all processors.
pub fn threads(setting: usize) -> usize {
    if setting > 0 {
        setting
    } else {
        thread::available_parallelism().map_or(1, NonZero::get)
    }
}

/// `f` of each index below `count`, in order.
pub fn map<T: Send>(threads: usize, count: usize, f: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        loop {
            let start = next.fetch_add(CLAIM, Ordering::Relaxed);
            if start >= count {
                return done;
            }
            done.push((start, (start..count.min(start + CLAIM)).map(&f).collect::<Vec<T>>()));
        }
    };
    let mut pieces = run(threads.min(count.div_ceil(CLAIM)), work);
    pieces.sort_unstable_by_key(|(start, _)| *start);
    pieces.into_iter().flat_map(|(_, piece)| piece).collect()
}

/// `f` of each index and its own slice of `buffer`, in order.
pub(crate) fn fill<T: Send>(
    threads: usize,
    buffer: &mut [u8],
    item_bytes: usize,
    f: impl Fn(usize, &mut [u8]) -> T + Sync,
) -> Vec<T> {
    let count = buffer.len() / item_bytes.max(1);
    let chunks = Mutex::new(buffer.chunks_mut(item_bytes.max(1) * CLAIM).enumerate());
    let work = || {
        let mut done = Vec::new();
        loop {
            let claimed = chunks.lock().unwrap_or_else(std::sync::PoisonError::into_inner).next();
            let Some((chunk_index, chunk)) = claimed else {
                return done;
            };
            let start = chunk_index * CLAIM;
            let items = chunk.chunks_mut(item_bytes.max(1)).enumerate();
            done.push((start, items.map(|(i, item)| f(start + i, item)).collect::<Vec<T>>()));
        }
    };
    let mut pieces = run(threads.min(count.div_ceil(CLAIM)), work);
    pieces.sort_unstable_by_key(|(start, _)| *start);
    pieces.into_iter().flat_map(|(_, piece)| piece).collect()
}

/// Runs `work` in some threads, this one among them, and joins their results.
fn run<T: Send>(threads: usize, work: impl Fn() -> Vec<T> + Sync) -> Vec<T> {
    thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(&work)).collect();
        let mut all = work();
        for other in others {
            match other.join() {
                Ok(part) => all.extend(part),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        all
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_in_order_whatever_the_threads() {
        for count in [0, 1, 7, 8, 9, 1000] {
            for threads in [1, 3, 16] {
                assert_eq!(
                    map(threads, count, |i| i * 2),
                    (0..count).map(|i| i * 2).collect::<Vec<_>>()
                );
            }
        }
    }

    #[test]
    fn each_item_has_its_own_slice() {
        let mut buffer = vec![0; 3 * 100];
        let seen = fill(4, &mut buffer, 3, |index, item| {
            item.fill(index as u8);
            index
        });
        assert_eq!(seen, (0..100).collect::<Vec<_>>());
        assert!(buffer.chunks(3).enumerate().all(|(i, item)| item == [i as u8; 3]));
    }
}
