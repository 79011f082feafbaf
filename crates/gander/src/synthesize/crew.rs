//! Pieces of work that do not need each other, side by side.
//!
//! A small network keeps few threads busy: on two cores two classifiers that learn one after the other with both threads take
//! 1.4 times as long as two that learn side by side with a thread each (28 px, 80 and 56 seconds).

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc,
    },
    thread,
};

use gander_tensor::{Cpu, CpuOptions, DeviceRef};

use super::Tell;
use crate::error::{Error, Result};

/// Pieces that are worked on at a time, at most: each needs memory of its own.
const MOST: usize = 8;

/// The compute threads, to be shared out.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Crew {
    options: CpuOptions,
}

impl Crew {
    /// All threads of devices made in this way.
    pub(super) fn new(options: CpuOptions) -> Self {
        let threads = match options.threads {
            0 => thread::available_parallelism().map_or(1, usize::from),
            threads => threads,
        };
        Self {
            options: CpuOptions { threads, ..options },
        }
    }

    /// How many of so many pieces are worked on at a time.
    pub(super) fn abreast(self, pieces: usize) -> usize {
        self.options.threads.min(MOST).min(pieces).max(1)
    }

    /// Rounds that so many pieces take.
    pub(super) fn rounds(self, pieces: usize) -> usize {
        pieces.div_ceil(self.abreast(pieces))
    }

    /// Does each piece on a device with its share of the threads, and gives what came of them in their order. Whoever is done
    /// takes the next.
    ///
    /// # Errors
    /// The first of a piece, or what `tell` says to the mean share that is done; the others stop then.
    pub(super) fn each<P: Sync, T: Send>(
        self,
        pieces: &[P],
        tell: &mut Tell<'_>,
        work: &(dyn Fn(&P, &DeviceRef, &mut Tell<'_>) -> Result<T> + Sync),
    ) -> Result<Vec<T>> {
        let workers = self.abreast(pieces.len());
        let devices = (0..workers).map(|worker| {
            let threads = (self.options.threads + worker) / workers;
            Cpu::with_options(CpuOptions {
                threads,
                ..self.options
            })
        });
        let devices = devices.collect::<gander_tensor::Result<Vec<DeviceRef>>>()?;
        let (next, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
        let results: Vec<Mutex<Option<Result<T>>>> = pieces.iter().map(|_| Mutex::new(None)).collect();
        let (sender, progress) = mpsc::channel();
        let told = thread::scope(|scope| {
            for device in &devices {
                let (sender, next, stop, results) = (sender.clone(), &next, &stop, &results);
                scope.spawn(move || {
                    while let Some((at, piece)) = take(next, stop, pieces) {
                        let mut tell = |share: f64| {
                            // Nobody listens any more once it was stopped.
                            let _ = sender.send((at, share));
                            if stop.load(Ordering::Relaxed) {
                                Err(Error::Stopped)
                            } else {
                                Ok(())
                            }
                        };
                        let result = work(piece, device, &mut tell);
                        if result.is_err() {
                            stop.store(true, Ordering::Relaxed);
                        }
                        let _ = tell(1.0);
                        *results[at].lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
                    }
                });
            }
            drop(sender);
            let mut shares = vec![0.0; pieces.len()];
            let mut told = Ok(());
            while let Ok((at, share)) = progress.recv() {
                shares[at] = share;
                if told.is_ok() {
                    told = tell(shares.iter().sum::<f64>() / pieces.len() as f64);
                    stop.fetch_or(told.is_err(), Ordering::Relaxed);
                }
            }
            told
        });
        told?;
        let results = results
            .into_iter()
            .filter_map(|result| result.into_inner().unwrap_or_else(PoisonError::into_inner));
        let (done, failed): (Vec<_>, Vec<_>) = results.partition(Result::is_ok);
        // Who was stopped was so because of another.
        let failed = failed.into_iter().filter_map(Result::err);
        match failed.min_by_key(|error| matches!(error, Error::Stopped)) {
            Some(error) => Err(error),
            None => done.into_iter().collect(),
        }
    }
}

/// The next piece and its place, unless there is none or it was stopped.
fn take<'p, P>(next: &AtomicUsize, stop: &AtomicBool, pieces: &'p [P]) -> Option<(usize, &'p P)> {
    if stop.load(Ordering::Relaxed) {
        return None;
    }
    let at = next.fetch_add(1, Ordering::Relaxed);
    pieces.get(at).map(|piece| (at, piece))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn crew(threads: usize) -> Crew {
        Crew::new(CpuOptions {
            threads,
            ..CpuOptions::default()
        })
    }

    #[test]
    fn every_piece_is_done_once_and_given_in_its_place() {
        for threads in [1, 2, 5, 20] {
            let pieces: Vec<usize> = (0..11).collect();
            let mut last = 0.0;
            let mut tell = |share| {
                assert!(share >= last, "{share} after {last}");
                last = share;
                Ok(())
            };
            let shares = crew(threads).each(&pieces, &mut tell, &|&piece, device, tell| {
                tell(0.5)?;
                Ok((10 * piece, device.threads()))
            });
            let (done, threads_of): (Vec<usize>, Vec<usize>) = shares.unwrap().into_iter().unzip();
            assert_eq!(done, pieces.iter().map(|piece| 10 * piece).collect::<Vec<_>>());
            assert!(
                threads_of.iter().all(|&own| own >= 1 && own <= threads),
                "{threads_of:?}"
            );
            assert!((last - 1.0).abs() < 1e-12);
        }
        assert_eq!(
            crew(4).each(&[0; 0], &mut |_| Ok(()), &|_, _, _| Ok(())).unwrap().len(),
            0
        );
    }

    #[test]
    fn threads_are_shared_out() {
        let crew = crew(7);
        let threads = crew.each(&[(); 3], &mut |_| Ok(()), &|(), device, tell| {
            // Until all have begun, so that each has a device of its own.
            thread::sleep(std::time::Duration::from_millis(50));
            tell(0.5)?;
            Ok(device.threads())
        });
        let mut threads = threads.unwrap();
        threads.sort_unstable();
        assert_eq!(threads, [2, 2, 3]);
        assert_eq!((crew.abreast(3), crew.abreast(0), crew.abreast(100)), (3, 1, 7));
        assert_eq!((crew.rounds(3), crew.rounds(0), crew.rounds(100)), (1, 0, 15));
    }

    #[test]
    fn the_first_error_ends_the_others_and_is_told() {
        let run = |tell: &mut Tell<'_>| {
            crew(3).each(&[0, 1, 2, 3], tell, &|&piece, _, tell| {
                for step in 0..10_000 {
                    if piece == 1 && step == 10 {
                        return Err(Error::NothingToBalance { each: 7 });
                    }
                    tell(f64::from(step) / 10_000.0)?;
                }
                Ok(())
            })
        };
        assert!(matches!(run(&mut |_| Ok(())), Err(Error::NothingToBalance { each: 7 })));
        assert!(matches!(run(&mut |_| Err(Error::Stopped)), Err(Error::Stopped)));
    }
}
