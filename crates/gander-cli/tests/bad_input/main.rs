//! Bad input gives one clear error with a hint and a non-zero exit, no panic, and leaves what was there.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod data;
mod disk;
mod eval;
mod files;
mod settings;
mod spoil;
mod synthesize;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::OnceLock,
};

use tempfile::TempDir;

/// A place to work in, with a command that runs there.
pub(crate) struct Place {
    directory: TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Writes a file and the folders above it.
    pub(crate) fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gander"));
        command
            .args(arguments)
            .current_dir(self.directory.path())
            .env("NO_COLOR", "1");
        command
    }

    pub(crate) fn gander(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Runs a command that must fail as users deserve, and returns what it said.
    pub(crate) fn refuses(&self, arguments: &[&str]) -> String {
        let before = contents(self.directory.path());
        let output = self.gander(arguments);
        assert_eq!(contents(self.directory.path()), before, "{arguments:?} changed files");
        let said = check(&output, &format!("{arguments:?}"));
        assert!(said.contains("\nhint: "), "{arguments:?} gives no hint:\n{said}");
        assert_eq!(output.status.code(), Some(1), "{arguments:?}:\n{said}");
        said
    }

    /// Runs a command that must not be understood, and returns what it said.
    pub(crate) fn misunderstands(&self, arguments: &[&str]) -> String {
        let before = contents(self.directory.path());
        let output = self.gander(arguments);
        assert_eq!(contents(self.directory.path()), before, "{arguments:?} changed files");
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        check(&output, &format!("{arguments:?}"))
    }
}

/// One error and no panic, whatever the exit code.
pub(crate) fn check(output: &Output, what: &str) -> String {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "{what} succeeded:\n{said}");
    assert_eq!(
        said.lines().filter(|line| line.starts_with("error: ")).count(),
        1,
        "{what}:\n{said}"
    );
    for word in ["panicked", "internal error", "bug in gander", "RUST_BACKTRACE"] {
        assert!(!said.contains(word), "{what} says {word}:\n{said}");
    }
    said
}

/// Every file below a folder with its bytes, and every folder.
pub(crate) fn contents(folder: &Path) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(contents(&path));
            all.insert(path, None);
        } else {
            let bytes = fs::read(&path).unwrap();
            all.insert(path, Some(bytes));
        }
    }
    all
}

/// Settings of a run of a second or two.
pub(crate) const TINY: [&str; 12] = [
    "--family",
    "dcgan",
    "--resolution",
    "16",
    "--kimg",
    "0.032",
    "--batch",
    "16",
    "--set",
    "data.pottery_images=32",
    "--set",
    "model.width=8",
];

/// A finished run on pottery with classes, made once.
pub(crate) fn finished_run() -> PathBuf {
    static RUN: OnceLock<(TempDir, PathBuf)> = OnceLock::new();
    let (_, path) = RUN.get_or_init(|| {
        let place = Place::new();
        let output = place.gander(&[&["train", "--labels"], TINY.as_slice()].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let run = place.path("runs/00001-pottery");
        (place.directory, run)
    });
    path.clone()
}

/// A copy of a folder.
pub(crate) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, &target).unwrap();
        }
    }
}
