//! A run that is killed again and again ends in the same bytes as one that nobody disturbs.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test fails by panicking and says what it skipped"
)]

use std::{
    fs,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant, SystemTime},
};

/// A small run of some seconds; the threads are more than one, so that their order could matter.
const RUN: [&str; 18] = [
    "--family",
    "dcgan",
    "--resolution",
    "16",
    "--kimg",
    "40",
    "--batch",
    "16",
    "--seed",
    "7",
    "--threads",
    "2",
    "--labels",
    "--set",
    "data.pottery_images=200",
    "--set",
    "model.width=8",
    "--quiet",
];
/// Kills before the run is left to finish.
const KILLS: u32 = 4;

fn start(directory: &Path, arguments: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_gander"))
        .arg("train")
        .args(arguments)
        .current_dir(directory)
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn finish(child: Child) {
    let output = child.wait_with_output().unwrap();
    assert!(
        output.status.success(),
        "{:?}: {}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
}

fn generator(directory: &Path) -> Vec<u8> {
    fs::read(directory.join("runs/00001-pottery/generator.safetensors")).unwrap()
}

/// The names of the checkpoints of a run that has any.
fn checkpoints(directory: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(directory.join("runs/00001-pottery/checkpoints")) else {
        return Vec::new();
    };
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.retain(|name| name.ends_with(".safetensors"));
    names.sort();
    names
}

/// Numbers between 0 and 1 that are others on each day; the seed is printed, so that a failure can be followed.
struct Moments(u64);

impl Moments {
    fn new() -> Self {
        let seed = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap()
            .as_nanos() as u64;
        println!("moments of seed {seed}");
        Self(seed)
    }

    /// SplitMix64, <https://prng.di.unimi.it/splitmix64.c>.
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }
}

#[test]
fn a_killed_run_ends_in_the_same_bytes() {
    let unbroken = tempfile::tempdir().unwrap();
    let began = Instant::now();
    finish(start(unbroken.path(), &RUN));
    let whole = began.elapsed();
    println!("unbroken: {whole:?}");

    let broken = tempfile::tempdir().unwrap();
    let mut moments = Moments::new();
    let mut killed = 0;
    for attempt in 0.. {
        let is_begun = !checkpoints(broken.path()).is_empty();
        let arguments: &[&str] = if is_begun {
            &["--resume", "runs/00001-pottery", "--quiet"]
        } else {
            &RUN
        };
        if !is_begun {
            // A run killed before its first checkpoint left a directory that can only be begun anew.
            let _ = fs::remove_dir_all(broken.path().join("runs"));
        }
        let mut child = start(broken.path(), arguments);
        if attempt == KILLS {
            finish(child);
            break;
        }
        // Longer and longer, so that the kills fall over the whole run and not on its first second only.
        let patience = whole.mul_f64(moments.next() * f64::from(attempt + 1) / f64::from(KILLS));
        if attempt < KILLS - 1 {
            thread::sleep(patience.max(Duration::from_millis(20)));
        } else {
            // The last one as soon as there is a checkpoint of the run's own, so that the rest begins in its middle.
            while checkpoints(broken.path()).len() < 2 && child.try_wait().unwrap().is_none() {
                thread::sleep(Duration::from_millis(5));
            }
            thread::sleep(whole.mul_f64(moments.next() / 10.0));
        }
        let was_running = child.try_wait().unwrap().is_none();
        // SIGKILL on Unix: nothing can be saved any more.
        child.kill().unwrap();
        child.wait().unwrap();
        killed += u32::from(was_running);
        println!(
            "killed after {patience:?}, running: {was_running}, checkpoints: {:?}",
            checkpoints(broken.path())
        );
    }
    assert!(killed > 0, "every kill came after the end");
    assert!(
        generator(broken.path()) == generator(unbroken.path()),
        "the generators differ"
    );

    stop_and_go(&generator(unbroken.path()), whole);
}

/// Ctrl-C saves in the middle of a step's wake, so that the rest is trained by another process for certain.
#[cfg(unix)]
fn stop_and_go(expected: &[u8], whole: Duration) {
    let place = tempfile::tempdir().unwrap();
    let child = start(place.path(), &RUN);
    thread::sleep(whole / 3);
    let pid = child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    assert_eq!(
        output.status.code(),
        Some(130),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    println!("stopped at {:?}", checkpoints(place.path()).last());
    assert!(
        generator(place.path()) != expected,
        "the run was over before it was stopped"
    );

    // Killed once more, on its way from the checkpoint that Ctrl-C left.
    let mut child = start(place.path(), &["--resume", "runs/00001-pottery", "--quiet"]);
    thread::sleep(whole / 4);
    child.kill().unwrap();
    child.wait().unwrap();
    finish(start(place.path(), &["--resume", "runs/00001-pottery", "--quiet"]));
    assert!(generator(place.path()) == expected, "the generators differ");
}

#[cfg(not(unix))]
fn stop_and_go(_expected: &[u8], _whole: Duration) {
    println!("skipped: a Ctrl-C cannot be sent to a single process here");
}
