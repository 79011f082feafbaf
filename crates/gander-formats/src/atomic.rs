//! Files that are whole or absent: written beside their place and renamed into it.

use std::{
    ffi::OsStr,
    fs::{self, File, OpenOptions},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use crate::{Error, Result};

/// Ends the name of a file that is still being written; its first character is a dot.
const SUFFIX: &str = ".partial";

/// Where the contents of an atomically written file go: buffered, seekable.
pub type AtomicWriter = BufWriter<File>;

/// Replaces a file by what `write` produces, or leaves it as it was.
///
/// The contents go to a hidden file in the same directory, reach the disk, and take the name in one step, so that a
/// kill, a crash or a full disk at any instant leaves the old file or the new one. An error or a panic in `write`
/// removes the hidden file; a kill leaves it, and [`remove_partial_files`] clears it away.
///
/// # Errors
/// [`Error::Write`] with the path asked for and the system's reason, or the one that `write` returned.
///
/// ```
/// # let directory = tempfile::tempdir()?;
/// # let path = directory.path().join("note.txt");
/// use std::io::Write;
/// gander_formats::atomic::write_atomic(&path, |file| file.write_all(b"whole"))?;
/// assert_eq!(std::fs::read(&path)?, b"whole");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn write_atomic(path: &Path, write: impl FnOnce(&mut AtomicWriter) -> io::Result<()>) -> Result<()> {
    replace(path, write).map_err(|source| Error::Write {
        path: path.to_owned(),
        source,
    })
}

fn replace(path: &Path, write: impl FnOnce(&mut AtomicWriter) -> io::Result<()>) -> io::Result<()> {
    let name = path
        .file_name()
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "not a path of a file"))?;
    let directory = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    let (file, mut partial) = create_partial(directory, name)?;
    let mut writer = BufWriter::with_capacity(1 << 18, file);
    write(&mut writer)?;
    writer.flush()?;
    sync(writer.get_ref())?;
    drop(writer);
    fs::rename(&partial.path, path)?;
    partial.renamed = true;
    sync_directory(directory)
}

/// Removes its file unless that has taken its final name.
struct Partial {
    path: PathBuf,
    renamed: bool,
}

impl Drop for Partial {
    fn drop(&mut self) {
        if !self.renamed {
            // A failure leaves a hidden file behind, and there is a more important error on its way.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// A new hidden file, unlike any of other threads and processes.
fn create_partial(directory: &Path, name: &OsStr) -> io::Result<(File, Partial)> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    loop {
        let mut hidden = OsStr::new(".").to_owned();
        hidden.push(name);
        hidden.push(format!(
            ".{}-{}{SUFFIX}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        ));
        let path = directory.join(hidden);
        match OpenOptions::new().write(true).create_new(true).open(&path) {
            Ok(file) => return Ok((file, Partial { path, renamed: false })),
            // Left by a killed process that had this process's number.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
}

/// Makes a rename in a directory survive a loss of power, where the system can be asked for it.
fn sync_directory(directory: &Path) -> io::Result<()> {
    if cfg!(unix) {
        sync(&File::open(directory)?)
    } else {
        Ok(())
    }
}

/// Brings a file or a directory to the disk, as far as its file system can: some of networks and FUSE cannot.
fn sync(file: &File) -> io::Result<()> {
    match file.sync_all() {
        Err(error) if is_unsupported(&error) => Ok(()),
        other => other,
    }
}

/// Whether a file system refuses because it does not know what was asked for.
fn is_unsupported(error: &io::Error) -> bool {
    // ENOTTY, ENOTSUP and EOPNOTSUPP (Darwin, sys/errno.h), with which network volumes answer F_FULLFSYNC.
    const APPLE: [i32; 3] = [25, 45, 102];
    matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported)
        || cfg!(target_vendor = "apple") && error.raw_os_error().is_some_and(|code| APPLE.contains(&code))
}

/// Removes what killed writers left in a directory and returns how many files that were.
///
/// Only for a directory into which nobody else is writing.
///
/// # Errors
/// [`Error::Read`] if the directory cannot be listed, [`Error::Write`] if a file cannot be removed.
pub fn remove_partial_files(directory: &Path) -> Result<usize> {
    let read = |source| Error::Read {
        path: directory.to_owned(),
        source,
    };
    let mut removed = 0;
    for entry in fs::read_dir(directory).map_err(read)? {
        let path = entry.map_err(read)?.path();
        let is_partial = path.file_name().is_some_and(|name| {
            let name = name.as_encoded_bytes();
            name.starts_with(b".") && name.ends_with(SUFFIX.as_bytes())
        });
        if is_partial && path.is_file() {
            fs::remove_file(&path).map_err(|source| Error::Write {
                path: path.clone(),
                source,
            })?;
            removed += 1;
        }
    }
    Ok(removed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(directory)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn the_new_contents_replace_the_old() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a");
        for contents in [b"first".as_slice(), b"second"] {
            write_atomic(&path, |file| file.write_all(contents)).unwrap();
            assert_eq!(fs::read(&path).unwrap(), contents);
            assert_eq!(names(directory.path()), ["a"]);
        }
    }

    #[test]
    fn a_failure_leaves_the_old_file_and_no_litter() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a");
        fs::write(&path, "old").unwrap();
        let error = write_atomic(&path, |file| {
            file.write_all(&vec![0; 1 << 20])?;
            Err(io::ErrorKind::StorageFull.into())
        });
        assert!(matches!(error, Err(Error::Write { path: p, source }) if p == path
            && source.kind() == io::ErrorKind::StorageFull));
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(names(directory.path()), ["a"]);
    }

    #[test]
    fn a_panic_leaves_the_old_file_and_no_litter() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a");
        fs::write(&path, "old").unwrap();
        let panicked = std::panic::catch_unwind(|| {
            write_atomic(&path, |file| {
                file.write_all(b"half")?;
                std::panic::resume_unwind(Box::new("stop"))
            })
        });
        assert!(panicked.is_err());
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(names(directory.path()), ["a"]);
    }

    #[test]
    fn a_path_that_cannot_be_written_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("taken")).unwrap();
        for path in [
            directory.path().join("absent/a"),
            directory.path().join("taken"),
            PathBuf::from("/"),
        ] {
            assert!(
                matches!(write_atomic(&path, |_| Ok(())), Err(Error::Write { .. })),
                "{}",
                path.display()
            );
        }
        assert_eq!(names(directory.path()), ["taken"]);
    }

    #[test]
    fn a_file_system_that_cannot_sync_is_no_failure() {
        assert!(is_unsupported(&io::ErrorKind::Unsupported.into()));
        assert!(!is_unsupported(&io::ErrorKind::StorageFull.into()));
        for code in [25, 45, 102] {
            let is_apple = cfg!(target_vendor = "apple");
            assert_eq!(is_unsupported(&io::Error::from_raw_os_error(code)), is_apple, "{code}");
        }
        #[cfg(target_os = "linux")]
        sync(&File::open("/dev/null").unwrap()).unwrap();
    }

    #[test]
    fn what_a_killed_writer_left_is_cleared() {
        let directory = tempfile::tempdir().unwrap();
        for name in [".a.123-0.partial", "a", ".hidden", "b.partial"] {
            fs::write(directory.path().join(name), "x").unwrap();
        }
        assert_eq!(remove_partial_files(directory.path()).unwrap(), 1);
        assert_eq!(names(directory.path()), [".hidden", "a", "b.partial"]);
    }
}
