//! Memory that is used again: what a training step frees, the next one takes.

use std::{
    alloc::{Layout, alloc, dealloc, handle_alloc_error},
    collections::BTreeMap,
    fmt,
    ptr::NonNull,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Start addresses are multiples of a cache line, which is also the widest vector.
const ALIGNMENT: usize = 64;
/// Sizes from here on are rounded to pages; smaller ones to powers of two.
const PAGE: usize = 4096;
/// What one entry of the processor's address cache covers with a huge page.
const HUGE_PAGE: usize = 2 << 20;
/// Idle and used memory together may reach this multiple of the most that was ever used at once. A step's sizes
/// come in a fixed order, so that this is met only where shapes change (another resolution or batch).
const KEPT_OF_PEAK: usize = 3;

/// A source of buffers that keeps those given back. Clones share one stock.
#[derive(Clone, Default)]
pub(crate) struct Pool {
    stock: Arc<Stock>,
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shelves = self.stock.lock();
        f.debug_struct("Pool")
            .field("used_bytes", &shelves.used)
            .field("idle_bytes", &shelves.idle)
            .finish()
    }
}

#[derive(Default)]
struct Stock {
    shelves: Mutex<Shelves>,
}

/// Idle blocks by capacity, each with the time at which it came back.
#[derive(Default)]
struct Shelves {
    blocks: BTreeMap<usize, Vec<(u64, Block)>>,
    clock: u64,
    used: usize,
    idle: usize,
    peak: usize,
    fresh: usize,
}

/// Memory from the system.
struct Block {
    start: NonNull<u8>,
    capacity: usize,
}

// SAFETY: a block is owned memory, tied to no thread.
unsafe impl Send for Block {}
// SAFETY: it gives no access through a shared reference.
unsafe impl Sync for Block {}

impl Pool {
    /// An empty pool.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// A buffer of `bytes` bytes with arbitrary contents.
    pub(crate) fn take(&self, bytes: usize) -> Buffer {
        let capacity = rounded(bytes);
        let found = self.stock.lock().find(capacity);
        let block = found.unwrap_or_else(|| {
            let unwanted = self.stock.lock().make_room(capacity);
            drop(unwanted);
            Block::new(capacity)
        });
        Buffer {
            block: Some(block),
            len: bytes,
            stock: Arc::clone(&self.stock),
        }
    }

    /// How many buffers needed memory from the system so far.
    #[cfg(test)]
    pub(crate) fn fresh_allocations(&self) -> usize {
        self.stock.lock().fresh
    }
}

impl Stock {
    fn lock(&self) -> MutexGuard<'_, Shelves> {
        self.shelves.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shelves {
    /// The smallest idle block that fits without wasting more than a quarter of what is asked for.
    fn find(&mut self, capacity: usize) -> Option<Block> {
        let size = *self
            .blocks
            .range(capacity..=capacity + capacity / 4)
            .find(|(_, blocks)| !blocks.is_empty())?
            .0;
        let (_, block) = self.blocks.get_mut(&size)?.pop()?;
        self.idle -= size;
        self.count_used(size);
        Some(block)
    }

    /// Books a new block of `capacity` and gives up idle ones, the longest unused first, that would be too much.
    fn make_room(&mut self, capacity: usize) -> Vec<Block> {
        self.fresh += 1;
        self.count_used(capacity);
        let mut unwanted = Vec::new();
        while self.idle > 0 && self.used + self.idle > KEPT_OF_PEAK * self.peak {
            let oldest = self
                .blocks
                .iter()
                .filter_map(|(&size, blocks)| Some((blocks.first()?.0, size)))
                .min()
                .and_then(|(_, size)| Some(self.blocks.get_mut(&size)?.remove(0).1));
            let Some(block) = oldest else { break };
            self.idle -= block.capacity;
            unwanted.push(block);
        }
        unwanted
    }

    fn count_used(&mut self, capacity: usize) {
        self.used += capacity;
        self.peak = self.peak.max(self.used);
    }

    fn give_back(&mut self, block: Block) {
        self.clock += 1;
        self.used -= block.capacity;
        self.idle += block.capacity;
        self.blocks.entry(block.capacity).or_default().push((self.clock, block));
    }
}

/// The capacity that serves `bytes`.
fn rounded(bytes: usize) -> usize {
    if bytes < PAGE {
        bytes.max(ALIGNMENT).next_power_of_two()
    } else {
        bytes.next_multiple_of(PAGE)
    }
}

impl Block {
    /// Zeros from the system, on huge pages where they fit and the system offers them.
    fn new(capacity: usize) -> Self {
        let layout = Self::layout(capacity);
        // SAFETY: the capacity is not zero.
        let Some(start) = NonNull::new(unsafe { alloc(layout) }) else {
            handle_alloc_error(layout)
        };
        advise_huge_pages(start, capacity);
        // Written once here, so that the memory is initialized and its pages are there before a kernel needs them.
        // SAFETY: the memory was just allocated with this size.
        unsafe { start.write_bytes(0, capacity) };
        Self { start, capacity }
    }

    fn layout(capacity: usize) -> Layout {
        let alignment = if capacity >= HUGE_PAGE { HUGE_PAGE } else { ALIGNMENT };
        Layout::from_size_align(capacity, alignment).expect("a size below isize::MAX")
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        // SAFETY: allocated by `Block::new` with the same layout.
        unsafe { dealloc(self.start.as_ptr(), Self::layout(self.capacity)) };
    }
}

#[cfg(target_os = "linux")]
fn advise_huge_pages(start: NonNull<u8>, capacity: usize) {
    use std::ffi::{c_int, c_void};
    /// `MADV_HUGEPAGE` of `<sys/mman.h>`, the same number on every architecture that Rust runs on.
    const HUGE_PAGES: c_int = 14;
    unsafe extern "C" {
        fn madvise(start: *mut c_void, len: usize, advice: c_int) -> c_int;
    }
    if capacity >= HUGE_PAGE {
        // SAFETY: the range is a fresh allocation that begins at a page; the call changes how pages are provided,
        // not what they hold. It is advice: where it fails, small pages serve.
        unsafe { madvise(start.as_ptr().cast(), capacity, HUGE_PAGES) };
    }
}

#[cfg(not(target_os = "linux"))]
fn advise_huge_pages(_start: NonNull<u8>, _capacity: usize) {}

/// Memory of a [`Pool`], to which it returns when dropped.
pub(crate) struct Buffer {
    block: Option<Block>,
    len: usize,
    stock: Arc<Stock>,
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Buffer").field("len", &self.len).finish_non_exhaustive()
    }
}

impl Buffer {
    fn start(&self) -> NonNull<u8> {
        self.block.as_ref().map_or(NonNull::dangling(), |block| block.start)
    }

    /// The bytes.
    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: the block has at least `len` initialized bytes and belongs to this buffer.
        unsafe { std::slice::from_raw_parts(self.start().as_ptr(), self.len) }
    }

    /// The bytes, to change.
    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `bytes`, and this is the only reference.
        unsafe { std::slice::from_raw_parts_mut(self.start().as_ptr(), self.len) }
    }

    /// As values of another type; bytes after the last whole one are left out.
    pub(crate) fn as_slice<T: bytemuck::Pod>(&self) -> &[T] {
        let whole = self.len / size_of::<T>() * size_of::<T>();
        bytemuck::cast_slice(&self.bytes()[..whole])
    }

    /// As values of another type, to change; bytes after the last whole one are left out.
    pub(crate) fn as_mut_slice<T: bytemuck::Pod>(&mut self) -> &mut [T] {
        let whole = self.len / size_of::<T>() * size_of::<T>();
        bytemuck::cast_slice_mut(&mut self.bytes_mut()[..whole])
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if let Some(block) = self.block.take() {
            self.stock.lock().give_back(block);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_aligned_and_have_their_length() {
        let pool = Pool::new();
        for bytes in [
            0,
            1,
            63,
            64,
            65,
            4095,
            4096,
            4097,
            HUGE_PAGE - 1,
            HUGE_PAGE,
            3 * HUGE_PAGE + 5,
        ] {
            let mut buffer = pool.take(bytes);
            assert_eq!(buffer.bytes().len(), bytes);
            assert_eq!(buffer.bytes().as_ptr().addr() % ALIGNMENT, 0);
            buffer.bytes_mut().fill(0xab);
            assert_eq!(buffer.as_slice::<f32>().len(), bytes / 4);
        }
    }

    #[test]
    fn a_repeated_step_takes_no_fresh_memory() {
        let pool = Pool::new();
        let step = |sizes: &[usize]| {
            let held: Vec<_> = sizes.iter().map(|&size| pool.take(size)).collect();
            held.into_iter().skip(1).step_by(2).for_each(drop);
            sizes.iter().rev().for_each(|&size| drop(pool.take(size)));
        };
        let sizes: Vec<_> = (0..60).map(|i| 100 + 7919 * i * i).collect();
        step(&sizes);
        let warm = pool.fresh_allocations();
        for _ in 0..5 {
            step(&sizes);
        }
        assert_eq!(pool.fresh_allocations(), warm);
    }

    #[test]
    fn a_block_serves_only_what_nearly_fills_it() {
        let pool = Pool::new();
        let address = |bytes| pool.take(bytes).bytes().as_ptr().addr();
        let first = address(10 * PAGE);
        assert_eq!(address(9 * PAGE), first);
        assert_eq!(address(8 * PAGE), first);
        assert_ne!(address(7 * PAGE), first);
        assert_ne!(address(11 * PAGE), first);
    }

    #[test]
    fn memory_of_shapes_no_longer_used_is_given_up() {
        let pool = Pool::new();
        for pages in 1..200 {
            drop(pool.take(pages * 2 * PAGE));
        }
        let shelves = pool.stock.lock();
        assert_eq!(shelves.used, 0);
        assert!(
            shelves.idle <= KEPT_OF_PEAK * shelves.peak,
            "{} idle, {} peak",
            shelves.idle,
            shelves.peak
        );
    }

    #[test]
    fn threads_share_a_pool_and_buffers_outlive_it() {
        let pool = Pool::new();
        let buffers: Vec<Buffer> = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..4u8)
                .map(|id| {
                    let pool = pool.clone();
                    scope.spawn(move || {
                        for i in 0..1000 {
                            pool.take(i * 16).bytes_mut().fill(id);
                        }
                        let mut last = pool.take(5000);
                        last.bytes_mut().fill(id);
                        last
                    })
                })
                .collect();
            workers.into_iter().map(|worker| worker.join().unwrap()).collect()
        });
        drop(pool);
        for (id, buffer) in buffers.iter().enumerate() {
            assert!(buffer.bytes().iter().all(|&byte| usize::from(byte) == id));
        }
    }
}
