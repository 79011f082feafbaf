//! Batches for training, decoded ahead by worker threads.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use serde::{Deserialize, Serialize};

use crate::dataset::{Dataset, ImageShape};
use crate::error::{Error, Result};
use crate::sampler::Sampler;
use crate::transforms::flip_horizontal;

/// Mirroring of training images.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Flip {
    /// Images as they are.
    #[default]
    None,
    /// Half of the draws are mirrored left to right.
    Horizontal,
}

/// How batches are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LoaderOptions {
    /// Images in a batch, at least 1.
    pub batch: usize,
    /// Mirroring.
    pub flip: Flip,
    /// Threads that read ahead; 0 reads in [`Loader::next_batch`] itself. The batches are the same.
    pub workers: usize,
    /// Batches that are read ahead, at least 1.
    pub ahead: usize,
}

impl Default for LoaderOptions {
    fn default() -> Self {
        Self {
            batch: 64,
            flip: Flip::None,
            workers: 1,
            ahead: 4,
        }
    }
}

/// Images for one step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// `[n, height, width, channels]`, 0..=255
    pub images: Vec<u8>,
    /// `[n]`, or `None` if the set has no labels.
    pub labels: Option<Vec<u32>>,
    /// `[n]`: which images of the set these are.
    pub indices: Vec<usize>,
    /// The shape of each image.
    pub shape: ImageShape,
}

impl Batch {
    /// Number of images.
    pub fn len(&self) -> usize {
        self.indices.len()
    }

    /// Whether there is no image.
    pub fn is_empty(&self) -> bool {
        self.indices.is_empty()
    }
}

/// An endless source of shuffled batches.
///
/// Batch `k` after a start position is a pure function of the dataset, the sampler and the options: the number of
/// workers changes nothing but the time.
pub struct Loader {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
}

/// What workers and the trainer's thread both see.
struct Shared {
    dataset: Arc<dyn Dataset>,
    options: LoaderOptions,
    /// The sampler at the start; batches are numbered from there.
    sampler: Sampler,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// The next batch that nobody makes yet.
    unclaimed: u64,
    /// The next batch to hand out.
    wanted: u64,
    ready: BTreeMap<u64, Result<Batch>>,
    /// Buffers of batches that were used up.
    spare: Vec<Vec<u8>>,
    is_closed: bool,
}

impl Loader {
    /// Starts to read from where the sampler stands.
    ///
    /// # Errors
    /// [`Error::Option`] if the batch is 0 or the sampler was made for another number of images.
    pub fn new(dataset: Arc<dyn Dataset>, sampler: Sampler, options: LoaderOptions) -> Result<Self> {
        if options.batch == 0 {
            return Err(Error::Option {
                option: "batch",
                expected: "1 or more".into(),
                got: "0".into(),
            });
        }
        if sampler.len != dataset.len() as u64 {
            let (expected, got) = (format!("of {} images", dataset.len()), sampler.len.to_string());
            return Err(Error::Option {
                option: "sampler",
                expected,
                got,
            });
        }
        let (state, changed) = (Mutex::default(), Condvar::new());
        let shared = Arc::new(Shared {
            dataset,
            options,
            sampler,
            state,
            changed,
        });
        let spawn = |_| {
            let shared = shared.clone();
            std::thread::spawn(move || shared.work())
        };
        let workers = (0..options.workers).map(spawn).collect();
        Ok(Self { shared, workers })
    }

    /// The next batch; waits for it if the workers are behind.
    ///
    /// # Errors
    /// What reading meets, [`Error::Worker`] if a reader panicked. The next call goes on with the batch after.
    pub fn next_batch(&mut self) -> Result<Batch> {
        let shared = &self.shared;
        let mut state = shared.lock();
        let number = state.wanted;
        if self.workers.is_empty() {
            state.wanted += 1;
            let spare = state.spare.pop();
            drop(state);
            return shared.make_safely(number, spare);
        }
        loop {
            if let Some(batch) = state.ready.remove(&number) {
                state.wanted += 1;
                drop(state);
                shared.changed.notify_all();
                return batch;
            }
            state = shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Gives a used batch's memory back, so that reading takes no fresh pages.
    pub fn recycle(&mut self, batch: Batch) {
        let mut state = self.shared.lock();
        if state.spare.len() <= self.shared.options.ahead {
            state.spare.push(batch.images);
        }
    }

    /// The sampler as of the batches handed out: a loader that starts with it goes on as this one does.
    pub fn sampler(&self) -> Sampler {
        Sampler {
            position: self.position(),
            ..self.shared.sampler
        }
    }

    /// Draws in the batches handed out so far, counted from the sampler's beginning.
    pub fn position(&self) -> u64 {
        self.shared.sampler.position + self.shared.lock().wanted * self.shared.options.batch as u64
    }

    /// The dataset.
    pub fn dataset(&self) -> &Arc<dyn Dataset> {
        &self.shared.dataset
    }
}

impl Drop for Loader {
    fn drop(&mut self) {
        self.shared.lock().is_closed = true;
        self.shared.changed.notify_all();
        for worker in self.workers.drain(..) {
            // Workers catch panics; there is nobody to tell of another.
            let _ = worker.join();
        }
    }
}

impl std::fmt::Debug for Loader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Loader")
            .field("options", &self.shared.options)
            .field("position", &self.position())
            .finish_non_exhaustive()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes batches until the loader is dropped, never more than `ahead` before the one that is wanted.
    fn work(&self) {
        let ahead = self.options.ahead.max(1) as u64;
        loop {
            let mut state = self.lock();
            while !state.is_closed && state.unclaimed >= state.wanted + ahead {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            if state.is_closed {
                return;
            }
            let number = state.unclaimed;
            state.unclaimed += 1;
            let spare = state.spare.pop();
            drop(state);
            let batch = self.make_safely(number, spare);
            self.lock().ready.insert(number, batch);
            self.changed.notify_all();
        }
    }

    /// A panic in a dataset becomes an error: the trainer must not wait for a batch that never comes.
    fn make_safely(&self, number: u64, spare: Option<Vec<u8>>) -> Result<Batch> {
        catch_unwind(AssertUnwindSafe(|| self.make(number, spare))).unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let reason = text
                .or_else(|| panic.downcast_ref::<&str>().copied())
                .unwrap_or("unknown")
                .to_owned();
            Err(Error::Worker { reason })
        })
    }

    fn make(&self, number: u64, spare: Option<Vec<u8>>) -> Result<Batch> {
        let (batch, shape) = (self.options.batch, self.dataset.shape());
        let mut images = spare.unwrap_or_default();
        images.resize(batch * shape.bytes(), 0);
        let mut indices = Vec::with_capacity(batch);
        let start = self.sampler.position + number * batch as u64;
        for (position, pixels) in (start..).zip(images.chunks_exact_mut(shape.bytes())) {
            let draw = self.sampler.draw(position);
            self.dataset.read(draw.index, pixels)?;
            if self.options.flip == Flip::Horizontal && draw.flip {
                flip_horizontal(pixels, shape);
            }
            indices.push(draw.index);
        }
        let labels = indices.iter().map(|&index| self.dataset.label(index)).collect();
        Ok(Batch {
            images,
            labels,
            indices,
            shape,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::InMemory;

    const SHAPE: ImageShape = ImageShape {
        height_px: 1,
        width_px: 2,
        channels: 1,
    };

    /// Image i is `[i, 100 + i]`.
    fn set(len: u8) -> Arc<dyn Dataset> {
        let pixels = (0..len).flat_map(|i| [i, 100 + i]).collect();
        let labels = (0..len).map(|i| u32::from(i % 2)).collect();
        Arc::new(InMemory::with_labels(SHAPE, pixels, labels, ["even".to_owned(), "odd".to_owned()]).unwrap())
    }

    fn loader(workers: usize, position: u64) -> Loader {
        let options = LoaderOptions {
            batch: 3,
            flip: Flip::Horizontal,
            workers,
            ahead: 2,
        };
        Loader::new(
            set(10),
            Sampler {
                position,
                ..Sampler::new(5, 10)
            },
            options,
        )
        .unwrap()
    }

    fn take(loader: &mut Loader, count: usize) -> Vec<Batch> {
        (0..count).map(|_| loader.next_batch().unwrap()).collect()
    }

    #[test]
    fn batches_do_not_depend_on_the_workers() {
        let inline = take(&mut loader(0, 0), 40);
        assert_eq!(inline, take(&mut loader(1, 0), 40));
        assert_eq!(inline, take(&mut loader(4, 0), 40));
    }

    #[test]
    fn images_and_labels_belong_together() {
        let batches = take(&mut loader(2, 0), 20);
        let mut mirrored = 0;
        for batch in &batches {
            for ((pixels, &label), &index) in batch
                .images
                .chunks(2)
                .zip(batch.labels.as_ref().unwrap())
                .zip(&batch.indices)
            {
                let [low, high] = [index as u8, 100 + index as u8];
                assert!(pixels == [low, high] || pixels == [high, low], "{index}: {pixels:?}");
                mirrored += usize::from(pixels == [high, low]);
                assert_eq!(label, index as u32 % 2);
            }
        }
        assert!((15..45).contains(&mirrored), "{mirrored} of 60 mirrored");
    }

    #[test]
    fn a_position_resumes_exactly() {
        let mut unbroken = loader(2, 0);
        take(&mut unbroken, 7);
        assert_eq!(unbroken.position(), 21);
        let sampler = unbroken.sampler();
        let mut resumed = Loader::new(set(10), sampler, unbroken.shared.options).unwrap();
        assert_eq!(take(&mut unbroken, 9), take(&mut resumed, 9));
    }

    #[test]
    fn recycled_memory_changes_nothing() {
        let (mut keeping, mut recycling) = (loader(1, 0), loader(1, 0));
        for _ in 0..20 {
            let batch = recycling.next_batch().unwrap();
            assert_eq!(keeping.next_batch().unwrap(), batch);
            recycling.recycle(batch);
        }
    }

    /// Panics at one image.
    struct Panicking;

    impl Dataset for Panicking {
        fn len(&self) -> usize {
            3
        }
        fn shape(&self) -> ImageShape {
            SHAPE
        }
        fn classes(&self) -> &[String] {
            &[]
        }
        fn label(&self, _: usize) -> Option<u32> {
            None
        }
        fn read(&self, index: usize, _: &mut [u8]) -> Result<()> {
            assert_ne!(index, 1, "image 1 is bad");
            Ok(())
        }
        fn fingerprint(&self) -> String {
            String::new()
        }
    }

    #[test]
    fn a_panic_in_a_worker_is_an_error() {
        for workers in [0, 2] {
            let options = LoaderOptions {
                batch: 3,
                workers,
                ..LoaderOptions::default()
            };
            let mut loader = Loader::new(Arc::new(Panicking), Sampler::new(0, 3), options).unwrap();
            let error = loader.next_batch().unwrap_err();
            assert!(error.to_string().contains("image 1 is bad"), "{error}");
        }
    }

    #[test]
    fn bad_arguments_are_refused() {
        let none = LoaderOptions {
            batch: 0,
            ..LoaderOptions::default()
        };
        assert!(Loader::new(set(10), Sampler::new(0, 10), none).is_err());
        assert!(Loader::new(set(10), Sampler::new(0, 11), LoaderOptions::default()).is_err());
    }
}
