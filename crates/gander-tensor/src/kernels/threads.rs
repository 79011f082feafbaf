//! A pool of compute threads that share out numbered tasks.

use std::{
    any::Any,
    cell::{Cell, UnsafeCell},
    fmt,
    marker::PhantomData,
    ops::Range,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// Passes over fewer elements than this stay on the calling thread: waking a sleeping one costs some 10 µs, in
/// which one core handles about this many.
pub(crate) const SMALLEST_PARALLEL: usize = 32 * 1024;

/// How long an idle worker looks out for the next job before it sleeps. Kernels of one training step follow each
/// other within this time.
const SPIN: Duration = Duration::from_micros(50);

thread_local! {
    /// Whether this thread is inside a task, so that a nested call runs inline.
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// Threads that take part in [`ThreadPool::for_each`]; they live as long as the pool.
pub(crate) struct ThreadPool {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
}

impl fmt::Debug for ThreadPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ThreadPool").field("threads", &self.threads()).finish()
    }
}

/// What the caller asks for: valid for those inside the job while the gate is open.
#[derive(Clone, Copy)]
struct Job {
    run: unsafe fn(*const (), usize),
    data: *const (),
    tasks: usize,
}

unsafe fn run_nothing(_: *const (), _: usize) {}

/// The gate counts, in one word, the workers inside the job (low half) and the jobs so far (high half); the bit
/// between them says whether the job may still be entered. A worker that wakes late finds the gate closed, so
/// that the caller never waits for it.
struct Shared {
    gate: AtomicU64,
    job: UnsafeCell<Job>,
    next: AtomicUsize,
    busy: AtomicBool,
    stop: AtomicBool,
    sleeping: Vec<AtomicBool>,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
}

const INSIDE_MASK: u64 = (1 << 31) - 1;
const OPEN: u64 = 1 << 31;
const ONE_JOB: u64 = 1 << 32;

// SAFETY: `job` is written only by the thread that holds `busy` while the gate is closed and nobody is inside, and
// read only by those inside; its pointer is to a `Sync` closure.
unsafe impl Sync for Shared {}
// SAFETY: as above; nothing in it belongs to a thread.
unsafe impl Send for Shared {}

impl ThreadPool {
    /// A pool of `threads` threads, the caller included; 0 for one per core.
    pub(crate) fn new(threads: usize) -> Self {
        let threads = if threads == 0 {
            thread::available_parallelism().map_or(1, usize::from)
        } else {
            threads
        };
        let shared = Arc::new(Shared {
            gate: AtomicU64::new(0),
            job: UnsafeCell::new(Job {
                run: run_nothing,
                data: std::ptr::null(),
                tasks: 0,
            }),
            next: AtomicUsize::new(0),
            busy: AtomicBool::new(false),
            stop: AtomicBool::new(false),
            sleeping: (1..threads).map(|_| AtomicBool::new(false)).collect(),
            panic: Mutex::new(None),
        });
        let workers = (1..threads)
            .map_while(|number| {
                let shared = Arc::clone(&shared);
                // Where the system gives no more threads, those that there are do the work.
                thread::Builder::new()
                    .name(format!("gander-{number}"))
                    .spawn(move || work(&shared, number - 1))
                    .ok()
            })
            .collect();
        Self { shared, workers }
    }

    /// Number of threads that take part, the caller included.
    pub(crate) fn threads(&self) -> usize {
        self.workers.len() + 1
    }

    /// Calls `f` for every number below `tasks`, on all threads, and returns when all calls have.
    ///
    /// Which thread runs which task differs from run to run; results must not depend on it. A panic in a task
    /// reaches the caller, and tasks not begun are left out. Calls from within a task, and calls while another
    /// thread uses the pool, run on the calling thread.
    pub(crate) fn for_each(&self, tasks: usize, f: impl Fn(usize) + Sync) {
        if tasks <= 1 || self.workers.is_empty() || INSIDE.get() || self.shared.busy.swap(true, Ordering::Acquire) {
            (0..tasks).for_each(f);
            return;
        }
        let panic = self.share_out(tasks, &f);
        self.shared.busy.store(false, Ordering::Release);
        if let Some(payload) = panic {
            resume_unwind(payload);
        }
    }

    /// The same where the work is too small to wake anybody: `elements` is the size of the whole pass.
    pub(crate) fn for_each_sized(&self, elements: usize, tasks: usize, f: impl Fn(usize) + Sync) {
        if elements < SMALLEST_PARALLEL {
            (0..tasks).for_each(f);
        } else {
            self.for_each(tasks, f);
        }
    }

    /// `values` in parts of `part_len` (the last may be shorter), each given once with its index.
    pub(crate) fn for_each_part<T: Send>(&self, values: &mut [T], part_len: usize, f: impl Fn(usize, &mut [T]) + Sync) {
        let part_len = part_len.max(1);
        let len = values.len();
        let parts = SharedMut::new(values);
        self.for_each_sized(len, len.div_ceil(part_len), |index| {
            let range = index * part_len..len.min((index + 1) * part_len);
            // SAFETY: the ranges of different tasks do not overlap.
            f(index, unsafe { parts.slice(range) });
        });
    }

    fn share_out<F: Fn(usize) + Sync>(&self, tasks: usize, f: &F) -> Option<Box<dyn Any + Send>> {
        unsafe fn call<F: Fn(usize) + Sync>(data: *const (), task: usize) {
            // SAFETY: `data` points to an `F` that outlives the job.
            let f = unsafe { &*data.cast::<F>() };
            f(task);
        }
        let shared = &*self.shared;
        let job = Job {
            run: call::<F>,
            data: std::ptr::from_ref(f).cast(),
            tasks,
        };
        // SAFETY: this thread holds `busy`, and the gate has been closed with nobody inside since the last job.
        unsafe { *shared.job.get() = job };
        shared.next.store(0, Ordering::Relaxed);
        // Closed and empty, so adding both at once only opens it. Sequentially consistent, as is the worker's
        // announcement of its sleep: either it sees this job, or this thread sees it sleep.
        shared.gate.fetch_add(ONE_JOB + OPEN, Ordering::SeqCst);
        for (worker, sleeping) in self.workers.iter().zip(&shared.sleeping).take(tasks - 1) {
            if sleeping.load(Ordering::SeqCst) {
                worker.thread().unpark();
            }
        }
        INSIDE.set(true);
        claim(shared, job);
        INSIDE.set(false);
        shared.gate.fetch_and(!OPEN, Ordering::AcqRel);
        let start = Instant::now();
        while shared.gate.load(Ordering::Acquire) & INSIDE_MASK != 0 {
            // The last task of another thread; on a crowded machine that thread may need this core.
            if start.elapsed() < SPIN {
                std::hint::spin_loop();
            } else {
                thread::yield_now();
            }
        }
        shared.panic.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Drop for ThreadPool {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        for worker in self.workers.drain(..) {
            worker.thread().unpark();
            // A worker catches the panics of its tasks, so that there is nothing left to report.
            let _ = worker.join();
        }
    }
}

/// Runs tasks until none is left. A panic is kept for the caller and ends the job early.
fn claim(shared: &Shared, job: Job) {
    let result = catch_unwind(AssertUnwindSafe(|| {
        loop {
            let task = shared.next.fetch_add(1, Ordering::Relaxed);
            if task >= job.tasks {
                break;
            }
            // SAFETY: this thread is inside the job, so that the closure behind `data` is alive.
            unsafe { (job.run)(job.data, task) };
        }
    }));
    if let Err(payload) = result {
        shared.next.store(job.tasks, Ordering::Relaxed);
        shared
            .panic
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get_or_insert(payload);
    }
}

/// The life of a worker.
fn work(shared: &Shared, number: usize) {
    INSIDE.set(true);
    let mut seen = 0;
    while let Some(gate) = wait(shared, number, seen) {
        seen = gate / ONE_JOB;
        if enter(shared, gate) {
            // SAFETY: this thread is inside, so that the job stays as it is.
            let job = unsafe { *shared.job.get() };
            claim(shared, job);
            shared.gate.fetch_sub(1, Ordering::Release);
        }
    }
}

/// Adds this thread to those inside; false if the job has been closed meanwhile.
fn enter(shared: &Shared, mut gate: u64) -> bool {
    let job = gate / ONE_JOB;
    while gate & OPEN != 0 && gate / ONE_JOB == job {
        match shared
            .gate
            .compare_exchange_weak(gate, gate + 1, Ordering::Acquire, Ordering::Acquire)
        {
            Ok(_) => return true,
            Err(now) => gate = now,
        }
    }
    false
}

/// The gate once it shows a job after `seen`; `None` when the pool ends.
fn wait(shared: &Shared, number: usize, seen: u64) -> Option<u64> {
    let news = || {
        let gate = shared.gate.load(Ordering::SeqCst);
        (gate / ONE_JOB != seen).then_some(gate)
    };
    let start = Instant::now();
    while start.elapsed() < SPIN {
        for _ in 0..16 {
            if let Some(gate) = news() {
                return Some(gate);
            }
            std::hint::spin_loop();
        }
    }
    let sleeping = &shared.sleeping[number];
    sleeping.store(true, Ordering::SeqCst);
    let found = loop {
        if shared.stop.load(Ordering::SeqCst) {
            break None;
        }
        if let Some(gate) = news() {
            break Some(gate);
        }
        thread::park();
    };
    sleeping.store(false, Ordering::SeqCst);
    found
}

/// A mutable slice whose parts different tasks write.
#[derive(Clone, Copy)]
pub(crate) struct SharedMut<'a, T> {
    start: *mut T,
    len: usize,
    values: PhantomData<&'a mut [T]>,
}

// SAFETY: whoever takes a part promises that no other task has it; the parts are as sendable as the values.
unsafe impl<T: Send> Sync for SharedMut<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Send> Send for SharedMut<'_, T> {}

impl<'a, T> SharedMut<'a, T> {
    /// Of the whole slice.
    pub(crate) fn new(values: &'a mut [T]) -> Self {
        Self {
            start: values.as_mut_ptr(),
            len: values.len(),
            values: PhantomData,
        }
    }

    /// A part of it.
    ///
    /// # Safety
    /// No two parts that are in use at the same time may overlap.
    pub(crate) unsafe fn slice(&self, range: Range<usize>) -> &'a mut [T] {
        assert!(
            range.start <= range.end && range.end <= self.len,
            "{range:?} of {}",
            self.len
        );
        // SAFETY: inside the slice, and by the caller's promise nobody else has it.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(range.start), range.end - range.start) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_task_runs_once() {
        for threads in 1..5 {
            let pool = ThreadPool::new(threads);
            assert_eq!(pool.threads(), threads);
            for tasks in [0, 1, 2, 3, 17, 1000] {
                let counts: Vec<_> = (0..tasks).map(|_| AtomicUsize::new(0)).collect();
                pool.for_each(tasks, |task| {
                    counts[task].fetch_add(1, Ordering::Relaxed);
                });
                assert!(
                    counts.iter().all(|count| count.load(Ordering::Relaxed) == 1),
                    "{threads} {tasks}"
                );
            }
        }
    }

    #[test]
    fn thousands_of_short_jobs_with_and_without_pauses() {
        let pool = ThreadPool::new(3);
        let total = AtomicUsize::new(0);
        for job in 0..20_000 {
            pool.for_each(1 + job % 5, |task| {
                total.fetch_add(task + 1, Ordering::Relaxed);
            });
            if job % 500 == 0 {
                thread::sleep(2 * SPIN);
            }
        }
        assert_eq!(total.into_inner(), 4000 * (1 + 3 + 6 + 10 + 15));
    }

    #[test]
    fn a_panic_reaches_the_caller_and_the_pool_goes_on() {
        let pool = ThreadPool::new(3);
        for round in 0..100 {
            let result = catch_unwind(AssertUnwindSafe(|| {
                pool.for_each(8, |task| {
                    if task == round % 8 {
                        std::panic::panic_any(task);
                    }
                });
            }));
            assert_eq!(*result.unwrap_err().downcast::<usize>().unwrap(), round % 8);
            let count = AtomicUsize::new(0);
            pool.for_each(8, |_| {
                count.fetch_add(1, Ordering::Relaxed);
            });
            assert_eq!(count.into_inner(), 8);
        }
    }

    #[test]
    fn nested_calls_run_inline() {
        let pool = ThreadPool::new(3);
        let total = AtomicUsize::new(0);
        pool.for_each(10, |_| {
            let thread = thread::current().id();
            pool.for_each(10, |_| {
                assert_eq!(thread::current().id(), thread);
                total.fetch_add(1, Ordering::Relaxed);
            });
        });
        assert_eq!(total.into_inner(), 100);
    }

    #[test]
    fn several_callers_share_a_pool() {
        let pool = ThreadPool::new(2);
        let total = AtomicUsize::new(0);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..500 {
                        pool.for_each(7, |_| {
                            total.fetch_add(1, Ordering::Relaxed);
                        });
                    }
                });
            }
        });
        assert_eq!(total.into_inner(), 4 * 500 * 7);
    }

    #[test]
    fn parts_cover_the_slice() {
        let pool = ThreadPool::new(2);
        for len in [0, 1, 15, 16, 17, SMALLEST_PARALLEL + 5] {
            let mut values = vec![0; len];
            pool.for_each_part(&mut values, 16, |index, part| part.fill(index + 1));
            assert!(values.iter().enumerate().all(|(i, &value)| value == i / 16 + 1));
        }
    }
}
