//! After its first steps a training takes its memory from what it freed before.
#![cfg(target_os = "linux")]

use std::process::Command;

#[test]
fn a_step_takes_next_to_no_fresh_pages() {
    let output = Command::new(env!("CARGO_BIN_EXE_gander"))
        .args(["bench", "article28", "--steps", "1", "--json", "--quiet"])
        .output()
        .unwrap();
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let pages = report["page_faults_per_step"].as_f64().unwrap();
    assert!(pages < 100.0, "{report}");
}
