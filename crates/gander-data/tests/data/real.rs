//! Real sets from outside of the repository; skipped, and said so, where they are not there.

use std::path::{Path, PathBuf};

use gander_data::{Labels, OpenOptions, Opened, label_counts, open};

/// Opens a set with its labels, or says why not.
fn real(name: &str) -> Option<Opened> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../../shared/data")
        .join(name);
    if !path.exists() {
        println!("skipped: {} is not there", path.display());
        return None;
    }
    let options = OpenOptions {
        labels: Labels::WherePresent,
        ..OpenOptions::default()
    };
    let opened = open(&[PathBuf::from(&path)], &options).unwrap();
    assert!(opened.skipped.is_empty(), "{:?}", opened.skipped.first());
    Some(opened)
}

fn counts(opened: &Opened) -> (String, usize, usize, usize) {
    let (shape, classes) = (opened.summary.shape.to_string(), opened.train.classes().len());
    (shape, opened.summary.train, opened.summary.holdout, classes)
}

#[test]
fn fashion_mnist() {
    let Some(opened) = real("fashion-mnist") else { return };
    assert_eq!(counts(&opened), ("28x28x1".into(), 60_000, 10_000, 10));
    assert_eq!(label_counts(&*opened.train), [6000; 10]);
}

#[test]
fn quickdraw_has_class_names() {
    let Some(opened) = real("quickdraw3") else { return };
    assert_eq!(counts(&opened), ("28x28x1".into(), 3000, 0, 3));
    assert_eq!(opened.train.classes(), ["cat", "rainbow", "train"]);
}

#[test]
fn a_tree_in_a_compressed_tar() {
    let Some(opened) = real("cifar10/cifar10-jpeg.tar.xz") else {
        return;
    };
    assert_eq!(counts(&opened), ("32x32x3".into(), 50_000, 10_000, 10));
    assert_eq!(opened.train.classes()[0], "airplane");
    assert_eq!(label_counts(&*opened.holdout.unwrap()), [1000; 10]);
}

#[test]
fn zip_files_of_folders() {
    let sets = [
        ("cifar10/cifar10-tiny500-png.zip", ("32x32x3", 500, 0, 10)),
        ("flowers128", ("128x128x3", 3457, 0, 5)),
        ("faces-orl", ("92x112x1", 400, 0, 40)),
        ("objects-caltech6", ("128x128x3", 327, 0, 6)),
        ("omniglot", ("105x105x1", 2720, 0, 5)),
        ("emoji64/noto.zip", ("64x64x3", 1171, 0, 7)),
        ("openmoji-pairs128", ("256x128x3", 1713, 0, 0)),
    ];
    for (name, (shape, train, holdout, classes)) in sets {
        let Some(opened) = real(name) else { return };
        assert_eq!(counts(&opened), (shape.to_owned(), train, holdout, classes), "{name}");
    }
}
