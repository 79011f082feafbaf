//! One process at a time in a run directory.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use crate::error::{Error, Result};

/// The file that is locked; it holds the number of the process and stays, empty, when the lock is dropped.
const FILE_NAME: &str = ".lock";

/// A run directory of which this process is the only one to train in it, until this is dropped.
///
/// The system holds the lock and lets go of it when the process dies, however it dies. Where a file system cannot
/// lock, the number in the file decides: whose process is gone, or cannot be known, is taken over.
#[derive(Debug)]
pub struct RunLock {
    file: File,
}

impl RunLock {
    pub(super) fn take(directory: &Path) -> Result<Self> {
        let path = directory.join(FILE_NAME);
        let io = |source| Error::Io {
            action: "lock",
            path: path.clone(),
            source,
        };
        let options = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .clone();
        let mut file = options.open(&path).map_err(io)?;
        let in_use = |pid| Error::RunInUse {
            path: directory.to_owned(),
            pid,
        };
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(in_use(read_pid(&mut file).unwrap_or(0))),
            Err(TryLockError::Error(_)) => {
                if let Some(pid) = read_pid(&mut file).filter(|&pid| pid != std::process::id() && is_alive(pid)) {
                    return Err(in_use(pid));
                }
            }
        }
        write_pid(&mut file).map_err(io)?;
        Ok(Self { file })
    }
}

impl Drop for RunLock {
    fn drop(&mut self) {
        // The file stays: removing it would let one process lock the removed file and another a new one. A number
        // that stays behind does no harm either.
        let _ = self.file.set_len(0);
        let _ = self.file.unlock();
    }
}

fn read_pid(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.seek(SeekFrom::Start(0)).ok()?;
    file.take(16).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

fn write_pid(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.seek(SeekFrom::Start(0))?;
    file.write_all(format!("{}\n", std::process::id()).as_bytes())
}

/// Whether a process is known to live.
fn is_alive(pid: u32) -> bool {
    let process = PathBuf::from(format!("/proc/{pid}"));
    cfg!(target_os = "linux") && process.exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_has_one_process_at_a_time() {
        let directory = tempfile::tempdir().unwrap();
        let first = RunLock::take(directory.path()).unwrap();
        let Err(Error::RunInUse { path, pid }) = RunLock::take(directory.path()) else {
            panic!("locked twice")
        };
        assert_eq!(path, directory.path());
        // Where locks are mandatory the number cannot be read.
        assert!(pid == std::process::id() || cfg!(windows) && pid == 0, "{pid}");
        drop(first);
        drop(RunLock::take(directory.path()).unwrap());
    }

    #[test]
    fn what_a_dead_process_left_is_taken_over() {
        let directory = tempfile::tempdir().unwrap();
        for left in ["4194999\n", "", "not a number", "99999999999999999999"] {
            std::fs::write(directory.path().join(FILE_NAME), left).unwrap();
            drop(RunLock::take(directory.path()).unwrap());
        }
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn the_living_are_told_from_the_dead() {
        assert!(is_alive(std::process::id()));
        // Beyond the largest number that Linux gives out, 2^22.
        assert!(!is_alive(5_000_000));
    }
}
