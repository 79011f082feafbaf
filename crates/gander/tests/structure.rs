//! The structure that `ARCHITECTURE.md` promises: who may depend on whom, and what no crate may be called.

use std::{collections::BTreeMap, fs, path::Path};

/// Each crate with the crates of this workspace that it may use.
const ARROWS: [(&str, &[&str]); 6] = [
    ("gander-tensor", &[]),
    ("gander-nn", &["gander-tensor"]),
    ("gander-formats", &["gander-tensor"]),
    ("gander-data", &["gander-tensor", "gander-formats"]),
    (
        "gander",
        &["gander-tensor", "gander-nn", "gander-data", "gander-formats"],
    ),
    (
        "gander-cli",
        &["gander", "gander-tensor", "gander-nn", "gander-data", "gander-formats"],
    ),
];

/// Only doors speak to people.
const ONLY_IN_DOORS: [&str; 5] = ["anyhow", "clap", "axum", "pyo3", "indicatif"];

fn dependencies() -> BTreeMap<String, Vec<String>> {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("crates/");
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(crates).expect("crates/ can be listed") {
        let path = entry.expect("an entry of crates/").path();
        let manifest = fs::read_to_string(path.join("Cargo.toml")).expect("each crate has a manifest");
        let table: toml::Table = manifest.parse().expect("a manifest is TOML");
        let names = table.get("dependencies").and_then(toml::Value::as_table);
        let names = names.map(|table| table.keys().cloned().collect()).unwrap_or_default();
        all.insert(
            path.file_name().expect("a folder").to_string_lossy().into_owned(),
            names,
        );
    }
    all
}

#[test]
fn arrows_point_down() {
    let allowed: BTreeMap<&str, &[&str]> = ARROWS.into_iter().collect();
    for (name, dependencies) in dependencies() {
        let allowed = allowed
            .get(name.as_str())
            .unwrap_or_else(|| panic!("{name} has no place in the structure"));
        for dependency in dependencies
            .iter()
            .filter(|dependency| dependency.starts_with("gander"))
        {
            assert!(
                allowed.contains(&dependency.as_str()),
                "{name} must not use {dependency}"
            );
        }
    }
}

#[test]
fn only_doors_speak_to_people() {
    for (name, dependencies) in dependencies() {
        if name != "gander-cli" {
            for dependency in &dependencies {
                assert!(
                    !ONLY_IN_DOORS.contains(&dependency.as_str()),
                    "{name} must not use {dependency}"
                );
            }
        }
    }
}

#[test]
fn names_say_what_a_crate_is() {
    for name in dependencies().keys() {
        assert!(
            !["util", "common", "core", "misc", "helper"]
                .iter()
                .any(|word| name.contains(word)),
            "{name}"
        );
    }
}
