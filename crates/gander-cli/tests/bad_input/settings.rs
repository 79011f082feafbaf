//! Options and settings that no run can have.

use std::time::{Duration, Instant};

use crate::{Place, copy, finished_run};

#[test]
fn sides_that_no_family_makes() {
    let place = Place::new();
    for family in ["dcgan", "sngan", "r3gan", "fastgan", "stylegan2"] {
        let said = place.refuses(&["train", "--family", family, "--resolution", "31"]);
        assert!(said.contains("--resolution 32"), "{said}");
    }
    place.refuses(&["train", "--family", "article", "--resolution", "4"]);
    place.refuses(&["train", "--resolution", "20000"]);
}

#[test]
fn learning_rates_that_are_no_rates() {
    let place = Place::new();
    for rate in ["nan", "inf", "-inf", "-0.1", "0", "[0.0002, nan]"] {
        let said = place.refuses(&["train", "--set", &format!("training.learning_rate={rate}")]);
        assert!(said.contains("training.learning_rate"), "{said}");
    }
}

#[test]
fn settings_that_are_none() {
    let place = Place::new();
    let said = place.refuses(&["train", "--set", "training.learning_rat=0.1"]);
    assert!(said.contains("did you mean training.learning_rate"), "{said}");
    place.refuses(&["train", "--set", "learning_rate=0.1"]);
    place.refuses(&["train", "--set", "training.learning_rate=fast"]);
    place.refuses(&["train", "--set", "training.loss=no-such-loss"]);
    place.refuses(&["train", "--set", "model.width=0"]);
    place.refuses(&["train", "--set", "model.width=100000000"]);
    place.refuses(&["train", "--set", "data.pottery_images=0"]);
    place.refuses(&["train", "--batch", "10", "--accumulate", "3"]);
}

#[test]
fn an_instruction_set_of_another_processor() {
    let place = Place::new();
    let other = if cfg!(target_arch = "aarch64") { "avx2" } else { "neon" };
    let said = place.refuses(&["train", "--isa", other]);
    assert!(said.contains("portable"), "{said}");
}

#[test]
fn a_grid_that_no_picture_holds() {
    let place = Place::new();
    copy(&finished_run(), &place.path("run"));
    let begun = Instant::now();
    let said = place.refuses(&["sample", "run", "--num", "4000000", "--grid", "grid.png"]);
    assert!(said.contains("grid out of range: 36002x36002 px"), "{said}");
    // Its images would take minutes.
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
}

#[test]
fn what_is_not_understood() {
    let place = Place::new();
    for arguments in [
        &["train", "photos", "--resume", "runs/00001-pottery"][..],
        &["train", "--resume", "runs/00001-pottery", "--seed", "1"],
        &["train", "--minutes", "3", "--kimg", "10"],
        &["train", "--minutes", "nan"],
        &["train", "--kimg", "-1"],
        &["train", "--gamma", "inf"],
        &["train", "--resolution", "64x"],
        &["train", "--resolution", "0"],
        &["train", "--holdout", "150%"],
        &["train", "--batch", "0"],
        &["train", "--set", "beta1"],
        &["train", "--family", "dcgn"],
        &["train", "--preset", "no-such-preset"],
        &["train", "--no-such-option"],
        &["sample", "run"],
        &["sample", "run", "--grid", "a.png", "--npz", "a.npz"],
        &["sample", "run", "--grid", "generator.safetensors"],
        &["sample", "run", "--seeds", "9-1", "--grid", "a.png"],
        &["sample", "run", "--seeds", "0-3", "--num", "4", "--grid", "a.png"],
        &["sample", "run", "--num", "0", "--grid", "a.png"],
        &["sample", "run", "--truncation", "nan", "--grid", "a.png"],
        &["data", "check"],
        &["data", "export", "mnist", "out"],
        &["completions", "no-such-shell"],
        &["no-such-verb"],
    ] {
        place.misunderstands(arguments);
    }
}
