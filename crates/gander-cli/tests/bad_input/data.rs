//! Folders and archives that are no datasets.

use std::fs;

use crate::{Place, TINY, spoil};

/// Everything that opens data, on a source that none of them can use.
fn all_refuse(place: &Place, source: &str) -> String {
    place.refuses(&["data", "check", source]);
    place.refuses(&["data", "sheet", source, "sheet.png"]);
    place.refuses(&["train", source, "--minutes", "0.1"])
}

#[test]
fn an_empty_folder() {
    let place = Place::new();
    fs::create_dir(place.path("empty")).unwrap();
    let said = all_refuse(&place, "empty");
    assert!(said.contains("no images in empty"), "{said}");
}

#[test]
fn a_folder_of_text_files() {
    let place = Place::new();
    place.write("notes/a.txt", "not an image");
    place.write("notes/b.md", "# not one either");
    let said = all_refuse(&place, "notes");
    assert!(said.contains("no images in notes"), "{said}");
}

#[test]
fn a_source_that_is_not_there() {
    let said = all_refuse(&Place::new(), "absent");
    assert!(said.contains("absent"), "{said}");
}

#[test]
fn truncated_and_empty_pngs() {
    let place = Place::new();
    for number in 0..4 {
        let whole = spoil::png(number);
        place.write(&format!("cut/{number}.png"), &whole[..whole.len() / 2]);
        place.write(&format!("cut/empty{number}.png"), "");
    }
    all_refuse(&place, "cut");
}

#[test]
fn broken_pngs_among_enough_others_stop_nothing() {
    let place = Place::new();
    for number in 0..12 {
        place.write(&format!("some/{number:02}.png"), spoil::png(number));
    }
    let whole = spoil::png(99);
    place.write("some/cut.png", &whole[..whole.len() - 30]);
    place.write("some/empty.png", "");
    place.write("some/bomb.png", spoil::png_that_claims(40_000, 40_000));
    let checked = place.gander(&["data", "check", "some", "--json"]);
    assert!(checked.status.success());
    let report: serde_json::Value = serde_json::from_slice(&checked.stdout).unwrap();
    assert_eq!(
        (
            &report["summary"]["train"],
            report["unreadable"].as_array().unwrap().len()
        ),
        (&12.into(), 3)
    );
    let trained = place.gander(&[&["train", "some"], TINY.as_slice()].concat());
    let said = String::from_utf8_lossy(&trained.stderr);
    assert!(trained.status.success(), "{said}");
    assert!(said.contains("warning: 3 files left out of the data"), "{said}");
}

#[test]
fn pictures_that_claim_to_be_huge() {
    let place = Place::new();
    for number in 0..3 {
        place.write(&format!("bombs/{number}.png"), spoil::png_that_claims(40_000, 40_000));
    }
    all_refuse(&place, "bombs");
}

#[test]
fn an_archive_that_climbs_out() {
    let place = Place::new();
    place.write(
        "deep/escape.zip",
        spoil::zip(&[("../a.png", spoil::png(1)), ("../../b.png", spoil::png(2))]),
    );
    all_refuse(&place, "deep/escape.zip");
    // Among honest names they are left out, and nothing is written beside the archive.
    let honest = (0..4).map(|number| (format!("{number}.png"), spoil::png(number)));
    let mut files: Vec<(String, Vec<u8>)> = honest.collect();
    files.push(("../a.png".to_owned(), spoil::png(9)));
    let files: Vec<(&str, Vec<u8>)> = files
        .iter()
        .map(|(name, bytes)| (name.as_str(), bytes.clone()))
        .collect();
    place.write("deep/mixed.zip", spoil::zip(&files));
    let before = crate::contents(&place.path(""));
    let checked = place.gander(&["data", "check", "deep/mixed.zip"]);
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    assert_eq!(crate::contents(&place.path("")), before);
}

#[test]
fn an_archive_that_is_damaged() {
    let place = Place::new();
    let whole = spoil::zip(&[("a.png", spoil::png(1)), ("b.png", spoil::png(2))]);
    place.write("cut.zip", &whole[..whole.len() / 2]);
    place.write("noise.npz", [7; 500]);
    all_refuse(&place, "cut.zip");
    all_refuse(&place, "noise.npz");
}

#[test]
fn a_picture_in_place_of_the_data() {
    let place = Place::new();
    for number in 0..4 {
        place.write(&format!("flat/{number}.png"), spoil::png(number));
    }
    place.write(
        "flat.zip",
        spoil::zip(&[("a.png", spoil::png(1)), ("b.png", spoil::png(2))]),
    );
    let said = place.refuses(&["data", "sheet", "flat", "flat/0.png"]);
    assert!(said.contains("among the images"), "{said}");
    place.misunderstands(&["data", "sheet", "flat", "flat.zip"]);
    let said = place.refuses(&["data", "check", "flat", "--resolution", "30"]);
    assert!(said.contains("--resolution 32"), "{said}");
}

#[test]
fn a_single_image() {
    let place = Place::new();
    place.write("one/1.png", spoil::png(1));
    for arguments in [["train", "one"].as_slice(), &["data", "check", "one"]] {
        let said = place.refuses(arguments);
        assert!(said.contains("hint: add images"), "{said}");
    }
}

#[test]
fn labels_where_there_are_none() {
    let place = Place::new();
    for number in 0..4 {
        place.write(&format!("flat/{number}.png"), spoil::png(number));
    }
    let said = place.refuses(&["train", "flat", "--labels"]);
    assert!(said.contains("no labels in flat"), "{said}");
}

#[test]
fn a_folder_in_the_way_of_an_export() {
    let place = Place::new();
    place.write("pots/mine.txt", "keep");
    let said = place.refuses(&["data", "export", "pottery", "pots"]);
    assert!(said.contains("not empty"), "{said}");
}

/// JSON holds Unicode only.
#[cfg(target_os = "linux")]
#[test]
fn a_name_in_another_encoding() {
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt};

    let place = Place::new();
    for number in 0..4 {
        place.write(&format!("some/{number}.png"), spoil::png(number));
    }
    fs::write(place.path("some").join(OsStr::from_bytes(b"caf\xe9.png")), "").unwrap();
    let checked = place.gander(&["data", "check", "some", "--json"]);
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    let report: serde_json::Value = serde_json::from_slice(&checked.stdout).unwrap();
    assert_eq!(report["unreadable"][0]["path"], "some/caf\u{fffd}.png");
}
