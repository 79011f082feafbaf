//! Signals that stop a command: what is kept, what is said of it, and which of them are none of its business.
#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    io::{BufRead, BufReader, Read},
    path::Path,
    process::{Child, ChildStderr, Command, Stdio},
};

/// A small run of some seconds.
const RUN: [&str; 15] = [
    "train",
    "--family",
    "dcgan",
    "--resolution",
    "16",
    "--kimg",
    "40",
    "--batch",
    "16",
    "--threads",
    "2",
    "--set",
    "data.pottery_images=200",
    "--set",
    "model.width=8",
];

/// A command in the middle of its work.
struct Running {
    child: Child,
    said: BufReader<ChildStderr>,
}

impl Running {
    /// Starts a command and waits for a line that begins so.
    fn until(command: &mut Command, directory: &Path, beginning: &str) -> Self {
        let quiet = command.current_dir(directory).stdin(Stdio::null());
        let mut child = quiet.stderr(Stdio::piped()).spawn().unwrap();
        let mut said = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        while !line.starts_with(beginning) {
            line.clear();
            assert!(said.read_line(&mut line).unwrap() > 0, "it never said {beginning}");
        }
        Self { child, said }
    }

    fn send(&self, signal: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
    }

    /// The exit code, and what was said since.
    fn end(mut self) -> (Option<i32>, String) {
        let mut rest = String::new();
        self.said.read_to_string(&mut rest).unwrap();
        (self.child.wait().unwrap().code(), rest)
    }
}

fn gander(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gander"));
    command.args(arguments);
    command
}

#[test]
fn a_kill_that_comes_twice_saves() {
    let place = tempfile::tempdir().unwrap();
    let run = Running::until(&mut gander(&RUN), place.path(), "training");
    // As `timeout` does it: to the program, and to its group.
    run.send("-TERM");
    run.send("-TERM");
    let (code, said) = run.end();
    assert_eq!(code, Some(130), "{said}");
    assert!(said.contains("stopped and saved after"), "{said}");
}

/// As `nohup` starts a program.
#[cfg(target_os = "linux")]
#[test]
fn a_hangup_that_is_ignored_stops_nothing() {
    let place = tempfile::tempdir().unwrap();
    let mut shell = Command::new("sh");
    shell
        .args(["-c", r#"trap "" HUP; exec "$0" "$@""#, env!("CARGO_BIN_EXE_gander")])
        .args(RUN);
    let run = Running::until(&mut shell, place.path(), "training");
    run.send("-HUP");
    let (code, said) = run.end();
    assert_eq!(code, Some(0), "{said}");
}

#[test]
fn a_search_that_is_stopped_promises_no_more_than_it_keeps() {
    let place = tempfile::tempdir().unwrap();
    let penalized = ["--set", "training.r1_gamma=1", "--set", "training.r2_gamma=1"];
    let mut search = gander(&[&RUN[..], &penalized, &["--gamma", "search"]].concat());
    // The first of five trials is over.
    let run = Running::until(&mut search, place.path(), "gamma");
    run.send("-INT");
    let (code, said) = run.end();
    assert_eq!(code, Some(130), "{said}");
    assert!(said.contains("saving the run if it has begun"), "{said}");
    assert!(!place.path().join("runs").exists(), "nothing has begun");
}
