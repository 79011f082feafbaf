//! Labeled sets that cannot be grown, and folders that images cannot be written to.

use std::fs;

use crate::{Place, TINY, contents, finished_run, spoil};

/// So many different pictures of a class.
fn class(place: &Place, name: &str, numbers: std::ops::Range<u8>) {
    for number in numbers {
        place.write(&format!("{name}/{number:02}.png"), spoil::png(number));
    }
}

fn refuses(place: &Place, more: &[&str]) -> String {
    place.refuses(&[&["synthesize", "parts", "--out", "more"], more].concat())
}

#[test]
fn one_class() {
    let place = Place::new();
    class(&place, "parts/good", 0..9);
    let said = refuses(&place, &[]);
    assert!(said.contains("no labels in parts"), "{said}");
}

#[test]
fn a_class_with_one_image() {
    let place = Place::new();
    class(&place, "parts/good one", 0..9);
    class(&place, "parts/не годен", 20..21);
    let said = refuses(&place, &[]);
    assert!(said.contains("не годен") && said.contains("4 at least: 1"), "{said}");
}

#[test]
fn nothing_to_balance() {
    let place = Place::new();
    class(&place, "parts/a", 0..10);
    class(&place, "parts/b", 20..30);
    let said = refuses(&place, &["--balance"]);
    assert!(said.contains("nothing to balance"), "{said}");
    place.misunderstands(&["synthesize", "parts", "--out", "more", "--balance", "--per-class", "3"]);
    place.misunderstands(&["synthesize", "parts", "--out", "more", "--labeled", "1"]);
}

#[test]
fn labels_that_disagree_between_duplicates_are_told_and_nothing_else_is_lost() {
    let place = Place::new();
    class(&place, "parts/good one", 0..10);
    class(&place, "parts/не годен", 9..20);
    let before = contents(&place.path("parts"));
    let short = ["--no-measure", "--minutes", "0.1", "--per-class", "1", "--json"];
    let output = place.gander(&[&["synthesize", "parts", "--out", "more"], short.as_slice()].concat());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(
        said.contains("2 identical images stand in good one and не годен: left out"),
        "{said}"
    );
    let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&told["num_training"], &told["use"]),
        (&19.into(), &serde_json::Value::Null)
    );
    assert!(told["verdict"].as_str().unwrap().starts_with("Not measured"));
    assert!(place.path("more/не годен").is_dir() && place.path("more/good one").is_dir());
    for file in ["manifest.jsonl", "report.html", "generator.safetensors"] {
        assert!(place.path("more").join(file).is_file(), "{file}");
    }
    assert_eq!(contents(&place.path("parts")), before);
}

#[test]
fn unlabeled_images_that_cannot_help() {
    let place = Place::new();
    class(&place, "parts/a", 0..10);
    class(&place, "parts/b", 20..30);
    fs::create_dir(place.path("empty")).unwrap();
    let said = refuses(&place, &["--unlabeled", "empty"]);
    assert!(said.contains("empty") && said.contains("no images"), "{said}");
    // The British spelling does as well.
    refuses(&place, &["--unlabelled", "absent"]);
    place.misunderstands(&[
        "synthesize",
        "parts",
        "--out",
        "more",
        "--unlabeled",
        "all",
        "--run",
        "runs/1",
    ]);
    class(&place, "all", 40..42);
    let said = place.refuses(&["synthesize", "parts", "--out", "all/more", "--unlabeled", "all"]);
    assert!(said.contains("it lies in the data"), "{said}");
}

#[test]
fn unlabeled_images_of_other_sizes_and_channels_are_brought_to_those_of_the_data() {
    let place = Place::new();
    class(&place, "parts/a", 0..10);
    class(&place, "parts/b", 60..70);
    for (number, (side, gray)) in [(24, 120), (40, 160), (16, 200)].into_iter().enumerate() {
        let picture = image::GrayImage::from_fn(side, side, |x, y| image::Luma([(x + 2 * y) as u8 + gray / 2]));
        picture.save(place.path(&format!("{number}.png"))).unwrap();
        place.write(
            &format!("all/{number}.png"),
            fs::read(place.path(&format!("{number}.png"))).unwrap(),
        );
    }
    // By the clock one classifier names, not three in three rounds.
    let short = ["--no-measure", "--minutes", "0.05", "--per-class", "1", "--json"];
    let more = ["synthesize", "parts", "--out", "more", "--unlabeled", "all"];
    let output = place.gander(&[more.as_slice(), short.as_slice()].concat());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("3 without labels"), "{said}");
    let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(told["unlabeled"]["asked"], 3);

    let itself = ["synthesize", "parts", "--out", "again", "--unlabeled", "parts"];
    let output = place.gander(&[itself.as_slice(), short.as_slice()].concat());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && said.contains("parts shows nothing new"),
        "{said}"
    );
}

#[test]
fn folders_that_are_in_use() {
    let place = Place::new();
    class(&place, "parts/a", 0..10);
    class(&place, "parts/b", 20..30);
    place.write("more/letter.txt", "mine");
    assert!(refuses(&place, &[]).contains("it is not empty"));
    let said = place.refuses(&["synthesize", "parts", "--out", "parts/more"]);
    assert!(said.contains("it lies in the data"), "{said}");
    assert_eq!(fs::read(place.path("more/letter.txt")).unwrap(), b"mine");
}

#[test]
fn runs_that_do_not_serve() {
    let place = Place::new();
    class(&place, "parts/a", 0..10);
    class(&place, "parts/b", 20..30);
    let run = finished_run();
    let said = refuses(&place, &["--run", run.to_str().unwrap()]);
    assert!(said.contains("its classes are"), "{said}");
    refuses(&place, &["--run", "absent"]);

    let trained = place.gander(&[&["train", "parts", "--labels"], TINY.as_slice()].concat());
    assert!(trained.status.success(), "{}", String::from_utf8_lossy(&trained.stderr));
    let said = refuses(&place, &["--run", "runs/00001-parts"]);
    assert!(said.contains("none is left to measure on"), "{said}");

    let said = refuses(&place, &["--init", "runs/00001-parts"]);
    assert!(said.contains("it has learned these images"), "{said}");
    assert!(said.contains("gander train OTHER --no-labels"), "{said}");
    let said = refuses(&place, &["--init", run.to_str().unwrap(), "--resolution", "32"]);
    assert!(said.contains("it makes images of"), "{said}");
    refuses(&place, &["--init", "absent"]);
    place.misunderstands(&["synthesize", "parts", "--out", "more", "--init", "a", "--run", "b"]);
}
