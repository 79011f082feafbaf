//! A run is repeated from the settings that it leaves.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{fs, path::Path, process::Command};

fn train(directory: &Path, arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_gander"))
        .args(["train", "--threads", "1"])
        .args(arguments)
        .current_dir(directory)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    said
}

fn bytes(directory: &Path, run: &str) -> Vec<u8> {
    fs::read(directory.join("runs").join(run).join("generator.safetensors")).unwrap()
}

#[test]
fn its_settings_give_the_same_generator() {
    let place = tempfile::tempdir().unwrap();
    let small = [
        "--resolution",
        "16",
        "--set",
        "data.pottery_images=100",
        "--set",
        "model.width=8",
        "--batch",
        "8",
    ];
    train(place.path(), &[&small[..], &["--kimg", "0.4", "--seed", "3"]].concat());
    train(place.path(), &["--config", "runs/00001-pottery/config.toml"]);
    train(
        place.path(),
        &["--config", "runs/00001-pottery/config.toml", "--seed", "4"],
    );
    let [first, again, other] = ["00001-pottery", "00002-pottery", "00003-pottery"].map(|run| bytes(place.path(), run));
    assert_eq!(first, again);
    assert_ne!(first, other);
}

#[test]
fn a_run_by_the_clock_says_why_it_is_what_it_is() {
    let place = tempfile::tempdir().unwrap();
    let said = train(
        place.path(),
        &[
            "--minutes",
            "0.05",
            "--resolution",
            "16",
            "--set",
            "data.pottery_images=100",
        ],
    );
    let settings = fs::read_to_string(place.path().join("runs/00001-pottery/config.toml")).unwrap();
    for reason in [
        "images of 16x16, as asked for",
        "GFLOP/s on one thread",
        "dcgan of width",
        "batches of 16",
    ] {
        assert!(said.contains(reason), "{said}");
        assert!(settings.contains(reason), "{settings}");
    }
    // What the clock decided stands there too, so that the same steps come again; another length is a plan of its own.
    assert!(settings.contains("[[plan]]"), "{settings}");
    train(place.path(), &["--config", "runs/00001-pottery/config.toml"]);
    train(place.path(), &["--config", "runs/00002-pottery/config.toml"]);
    train(
        place.path(),
        &["--config", "runs/00001-pottery/config.toml", "--kimg", "0.1"],
    );
    let [first, again, once_more, shorter] =
        ["00001-pottery", "00002-pottery", "00003-pottery", "00004-pottery"].map(|run| bytes(place.path(), run));
    assert_eq!(first, again);
    assert_eq!(first, once_more);
    assert_ne!(first, shorter);
    let settings = fs::read_to_string(place.path().join("runs/00004-pottery/config.toml")).unwrap();
    assert!(!settings.contains("[[plan]]"), "{settings}");
}

#[test]
fn settings_that_are_not_a_runs_are_refused() {
    let place = tempfile::tempdir().unwrap();
    fs::write(place.path().join("some.toml"), "seed = 1\n").unwrap();
    fs::write(place.path().join("newer.toml"), "version = 99\n").unwrap();
    for (file, why) in [
        ("some.toml", "not a config.toml"),
        ("newer.toml", "version 99"),
        ("none.toml", "none.toml"),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_gander"))
            .args(["train", "--config", file])
            .current_dir(place.path())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains(why), "{said}");
    }
}
