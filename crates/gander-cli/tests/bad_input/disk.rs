//! Places that cannot be written to, and disks that are full.

use std::{fs, process::Command};

use crate::{Place, TINY, check, contents, copy, finished_run};

#[test]
fn an_output_below_a_file() {
    let place = Place::new();
    copy(&finished_run(), &place.path("run"));
    place.write("file", "keep");
    for out in ["file", "file/runs"] {
        place.refuses(&[&["train", "--out", out], TINY.as_slice()].concat());
    }
    place.refuses(&["sample", "run", "--grid", "file/grid.png"]);
    place.refuses(&["sample", "run", "--npz", "file/made.npz"]);
    place.refuses(&["sample", "run", "--out", "file"]);
    place.refuses(&["sample", "run", "--grid", "absent/grid.png"]);
    fs::create_dir(place.path("taken.png")).unwrap();
    place.refuses(&["sample", "run", "--grid", "taken.png"]);
    place.refuses(&["data", "export", "pottery", "file"]);
}

/// Where even the owner of everything cannot write.
#[cfg(target_os = "linux")]
#[test]
fn an_output_that_the_system_refuses() {
    let place = Place::new();
    copy(&finished_run(), &place.path("run"));
    let said = place.refuses(&[&["train", "--out", "/proc/gander/runs"], TINY.as_slice()].concat());
    assert!(said.contains("--out DIR") || said.contains("spelling"), "{said}");
    place.refuses(&["sample", "run", "--grid", "/proc/grid.png"]);
}

#[cfg(unix)]
#[test]
fn a_folder_without_permission() {
    use std::os::unix::fs::PermissionsExt;

    let place = Place::new();
    fs::create_dir(place.path("locked")).unwrap();
    fs::set_permissions(place.path("locked"), fs::Permissions::from_mode(0o555)).unwrap();
    if fs::write(place.path("locked/probe"), "").is_ok() {
        println!("skipped: this user may write anywhere (root)");
        return;
    }
    let said = place.refuses(&[&["train", "--out", "locked"], TINY.as_slice()].concat());
    assert!(said.contains("--out DIR"), "{said}");
}

/// Runs a command in a namespace of its own where `small` is a file system of a megabyte; the script has the program
/// in `$GANDER`. `None` where the system does not allow it.
#[cfg(target_os = "linux")]
fn with_small_disk(place: &Place, script: &str) -> Option<std::process::Output> {
    fs::create_dir_all(place.path("small")).unwrap();
    let mount = "mount -t tmpfs -o size=1m tmpfs small";
    let run = |script: &str| {
        Command::new("unshare")
            .args(["--user", "--map-root-user", "--mount", "sh", "-c", script])
            .current_dir(place.path(""))
            .env("GANDER", env!("CARGO_BIN_EXE_gander"))
            .env("NO_COLOR", "1")
            .output()
    };
    match run(mount) {
        Ok(probe) if probe.status.success() => Some(run(&format!("{mount} && {script}")).unwrap()),
        _ => None,
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_disk_that_fills_up_while_training() {
    let place = Place::new();
    // The weights of two networks and of their optimizers are more than a megabyte.
    let script = "\"$GANDER\" train --out small --resolution 32 --kimg 0.1 --set data.pottery_images=32; code=$?; \
                  find small -name '*.partial' >&2; exit $code";
    let Some(output) = with_small_disk(&place, script) else {
        println!("skipped: no small file system can be mounted here");
        return;
    };
    let said = check(&output, "train on a full disk");
    assert!(said.contains("hint: free some space"), "{said}");
    assert!(!said.contains(".partial"), "litter: {said}");
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_keeps_the_file_that_was_there() {
    let place = Place::new();
    copy(&finished_run(), &place.path("run"));
    let before = contents(&place.path("run"));
    let script = "echo old > small/made.npz; dd if=/dev/zero of=small/filler bs=4096 2>/dev/null; \
                  \"$GANDER\" sample run --num 2000 --npz small/made.npz; code=$?; \
                  [ \"$(cat small/made.npz)\" = old ] || exit 99; exit $code";
    let Some(output) = with_small_disk(&place, script) else {
        println!("skipped: no small file system can be mounted here");
        return;
    };
    let said = check(&output, "sample on a full disk");
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("hint: free some space"), "{said}");
    assert_eq!(contents(&place.path("run")), before);
}
