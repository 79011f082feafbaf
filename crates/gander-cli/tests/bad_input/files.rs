//! Checkpoints and generators that are damaged, foreign or of another time.

use std::fs;

use crate::{Place, check, copy, finished_run, spoil};

const GENERATOR: &str = "generator.safetensors";

/// A whole generator of a finished run.
fn generator() -> Vec<u8> {
    fs::read(finished_run().join(GENERATOR)).unwrap()
}

/// A file of ours with another first digit of a setting, so that every length stays as it was.
fn with_digit(mut file: Vec<u8>, setting: &str, digit: u8) -> Vec<u8> {
    // The header is JSON in JSON.
    let setting = format!(r#"\"{setting}\":"#);
    let found = file
        .windows(setting.len())
        .position(|bytes| bytes == setting.as_bytes());
    file[found.unwrap() + setting.len()] = digit;
    file
}

/// Everything that reads a generator.
fn all_refuse(place: &Place, file: &str) -> String {
    place.refuses(&["inspect", file]);
    place.refuses(&["train", "--init", file, "--kimg", "0.1"]);
    place.refuses(&["sample", file, "--grid", "grid.png"])
}

#[test]
fn a_file_that_is_not_there() {
    let place = Place::new();
    all_refuse(&place, "absent.safetensors");
    place.refuses(&["train", "--resume", "absent"]);
    fs::create_dir(place.path("empty")).unwrap();
    all_refuse(&place, "empty");
    place.refuses(&["train", "--resume", "empty"]);
}

#[test]
fn a_header_that_claims_a_huge_size() {
    let place = Place::new();
    place.write("header.safetensors", spoil::safetensors_that_claims());
    all_refuse(&place, "header.safetensors");
    place.write("tensor.safetensors", spoil::safetensors_with_a_huge_tensor());
    all_refuse(&place, "tensor.safetensors");
}

#[test]
fn a_generator_that_is_damaged() {
    let place = Place::new();
    let whole = generator();
    for (name, bytes) in [
        ("none", Vec::new()),
        ("few", whole[..5].to_vec()),
        ("head", whole[..100].to_vec()),
        ("half", whole[..whole.len() / 2].to_vec()),
        ("last", whole[..whole.len() - 1].to_vec()),
        ("more", [whole.as_slice(), b"x"].concat()),
        ("noise", vec![0xa5; 4096]),
    ] {
        let name = format!("{name}.safetensors");
        place.write(&name, bytes);
        all_refuse(&place, &name);
    }
}

#[test]
fn a_generator_of_a_later_version() {
    let place = Place::new();
    place.write("new.safetensors", spoil::with_version(&generator(), "99"));
    let said = place.refuses(&["sample", "new.safetensors", "--grid", "grid.png"]);
    assert!(said.contains("version 99") && said.contains("update"), "{said}");
    place.write("odd.safetensors", spoil::with_version(&generator(), "one"));
    place.refuses(&["sample", "odd.safetensors", "--grid", "grid.png"]);
}

#[test]
fn a_generator_whose_settings_are_absurd() {
    let place = Place::new();
    place.write("wide.safetensors", with_digit(generator(), "width", b'9'));
    let said = place.refuses(&["sample", "wide.safetensors", "--grid", "grid.png"]);
    assert!(said.contains("does not hold this model"), "{said}");
    // More classes than it names.
    place.write("classes.safetensors", with_digit(generator(), "num_classes", b'7'));
    let said = place.refuses(&["sample", "classes.safetensors", "--grid", "grid.png"]);
    assert!(said.contains("it makes 7 classes and names 5"), "{said}");
}

#[test]
fn every_checkpoint_of_a_run_is_spoiled() {
    type Spoil = fn(&[u8]) -> Vec<u8>;
    let ways: [(&str, Spoil); 5] = [
        ("cut", |bytes| bytes[..bytes.len() / 2].to_vec()),
        ("empty", |_| Vec::new()),
        ("noise", |bytes| vec![0xa5; bytes.len()]),
        ("new", |bytes| spoil::with_version(bytes, "99")),
        ("claims", |_| spoil::safetensors_that_claims()),
    ];
    for (way, spoil) in ways {
        let place = Place::new();
        copy(&finished_run(), &place.path("run"));
        for entry in fs::read_dir(place.path("run/checkpoints")).unwrap() {
            let path = entry.unwrap().path();
            fs::write(&path, spoil(&fs::read(&path).unwrap())).unwrap();
        }
        let said = place.refuses(&["train", "--resume", "run", "--kimg", "1"]);
        assert_eq!(said.contains("version 99"), way == "new", "{way}: {said}");
    }
}

#[test]
fn a_run_whose_newest_checkpoint_is_spoiled_goes_on_from_the_one_before() {
    let place = Place::new();
    copy(&finished_run(), &place.path("run"));
    let mut checkpoints: Vec<_> = fs::read_dir(place.path("run/checkpoints"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    checkpoints.sort();
    assert!(checkpoints.len() > 1, "{checkpoints:?}");
    fs::write(checkpoints.last().unwrap(), "spoiled").unwrap();
    let resumed = place.gander(&["train", "--resume", "run"]);
    assert!(resumed.status.success(), "{}", String::from_utf8_lossy(&resumed.stderr));
    let finished = fs::read(finished_run().join(GENERATOR)).unwrap();
    assert!(
        fs::read(place.path("run").join(GENERATOR)).unwrap() == finished,
        "another generator"
    );
}

#[test]
fn a_run_whose_newest_checkpoint_is_of_a_later_version_keeps_it() {
    let place = Place::new();
    copy(&finished_run(), &place.path("run"));
    let checkpoints = fs::read_dir(place.path("run/checkpoints")).unwrap();
    let newest = checkpoints.map(|entry| entry.unwrap().path()).max().unwrap();
    fs::write(&newest, spoil::with_version(&fs::read(&newest).unwrap(), "99")).unwrap();
    for arguments in [["train", "--resume", "run"], ["train", "--init", "run"]] {
        let said = place.refuses(&arguments);
        assert!(said.contains("version 99") && said.contains("update"), "{said}");
    }
}

#[test]
fn a_checkpoint_whose_settings_are_absurd() {
    let place = Place::new();
    copy(&finished_run(), &place.path("run"));
    for entry in fs::read_dir(place.path("run/checkpoints")).unwrap() {
        let path = entry.unwrap().path();
        fs::write(&path, with_digit(fs::read(&path).unwrap(), "accumulate", b'0')).unwrap();
    }
    let said = place.refuses(&["train", "--resume", "run"]);
    assert!(said.contains("training.accumulate"), "{said}");
}

#[test]
fn a_length_that_lies_behind_a_run() {
    let place = Place::new();
    copy(&finished_run(), &place.path("run"));
    let said = place.refuses(&["train", "--resume", "run", "--kimg", "0.008"]);
    assert!(said.contains("--minutes from now on"), "{said}");
    // The same once more is nothing to do.
    let again = place.gander(&["train", "--resume", "run", "--kimg", "0.032"]);
    assert!(again.status.success(), "{}", String::from_utf8_lossy(&again.stderr));
}

#[test]
fn the_data_of_a_run_has_changed() {
    let place = Place::new();
    for number in 0..8 {
        place.write(&format!("some/{number}.png"), spoil::png(number));
    }
    let trained = place.gander(&[&["train", "some"], crate::TINY.as_slice()].concat());
    assert!(trained.status.success(), "{}", String::from_utf8_lossy(&trained.stderr));
    place.write("some/another.png", spoil::png(77));
    let said = place.refuses(&["train", "--resume", "runs/00001-some", "--kimg", "1"]);
    assert!(said.contains("data has changed"), "{said}");
}

#[test]
fn weights_that_are_not_what_they_say() {
    let place = Place::new();
    copy(&finished_run(), &place.path("run"));
    let eval = |features: &str| {
        let mut command = place.command(&["eval", "run", "--num", "8", "--cache", "cache", "--features", features]);
        // Nobody listens at port 9.
        let output = command.env("GANDER_WEIGHTS", "http://127.0.0.1:9").output().unwrap();
        check(&output, features)
    };
    place.write("net-12345678.pth", "no network");
    let said = eval("inception:net-12345678.pth");
    assert!(said.contains("is not what its name says"), "{said}");
    let said = eval("inception");
    assert!(said.contains("hint: fetch https://"), "{said}");
    assert!(!place.path("cache").exists());
}

#[test]
fn a_class_that_the_generator_does_not_know() {
    let place = Place::new();
    copy(&finished_run(), &place.path("run"));
    let said = place.refuses(&["sample", "run", "--label", "vas", "--grid", "grid.png"]);
    assert!(said.contains("did you mean vase?"), "{said}");
}
