//! What `gander eval` is given and cannot use, or not as it seems.

use std::{fs, ops::Range};

use crate::{Place, finished_run, spoil};

/// A picture of each number in a folder.
fn fill(place: &Place, folder: &str, numbers: Range<u8>) {
    for number in numbers {
        place.write(&format!("{folder}/{number:02}.png"), spoil::png(number));
    }
}

/// A score that takes no time.
const QUICK: [&str; 4] = ["--metrics", "kid", "--features", "pixels"];

#[test]
fn unreadable_images_are_told_on_both_sides() {
    let place = Place::new();
    fill(&place, "some", 0..8);
    place.write("some/empty.png", "");
    let told = |arguments: &[&str]| {
        let output = place.gander(arguments);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{said}");
        said.matches("warning: 1 file could not be read and left out").count()
    };
    let eval = ["eval", "some", "--data", "some"];
    assert_eq!(told(&[eval.as_slice(), &QUICK].concat()), 2);
    assert_eq!(told(&["data", "sheet", "some", "sheet.png"]), 1);
}

#[test]
fn a_generator_beside_its_images_is_not_what_is_scored() {
    let place = Place::new();
    fill(&place, "more/bowl", 0..6);
    fill(&place, "real", 20..28);
    fs::copy(
        finished_run().join("generator.safetensors"),
        place.path("more/generator.safetensors"),
    )
    .unwrap();
    let eval = ["eval", "more", "--data", "real", "--json"];
    let output = place.gander(&[eval.as_slice(), &QUICK].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(told["num_fake"], 6);
}

#[test]
fn a_cache_that_cannot_be_written_costs_no_score() {
    let place = Place::new();
    fill(&place, "some/a", 0..12);
    fill(&place, "some/b", 60..72);
    place.write("file", "keep");
    let eval = ["eval", "some", "--data", "some", "--metrics", "kid"];
    let classifier = ["--features", "classifier", "--cache", "file/cache"];
    let output = place.gander(&[eval.as_slice(), &classifier].concat());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("warning: the classifier is not kept"), "{said}");
}

#[test]
fn a_classifier_to_keep_where_none_looks() {
    let place = Place::new();
    fill(&place, "some", 0..8);
    let eval = ["eval", "some", "--data", "some", "--keep-classifier"];
    for metric in ["kid", "swd"] {
        let pixels = ["kept.safetensors", "--metrics", metric, "--features", "pixels"];
        let said = place.refuses(&[eval.as_slice(), &pixels].concat());
        assert!(said.contains("no classifier to keep: pixels"), "{said}");
    }
    place.misunderstands(&[eval.as_slice(), &["photo.png"]].concat());
}
