//! The doctor's findings.

use std::path::PathBuf;

use gander_data::check::{CheckReport, check};
use gander_data::{OpenOptions, Size};
use image::{DynamicImage, ImageFormat, Rgb, RgbImage, imageops};

use crate::pictures::{any, encoded, folder, png, rgb};

fn names(paths: &[PathBuf]) -> Vec<String> {
    paths
        .iter()
        .map(|path| path.file_name().unwrap().to_string_lossy().into_owned())
        .collect()
}

/// A picture with some structure, different for each seed.
fn busy(seed: u32) -> RgbImage {
    let level = |x: u32, y: u32| {
        let mixed = (x / 6 * 31 + y / 6 * 17 + seed * 101).wrapping_mul(2_654_435_761);
        (mixed >> 24) as u8
    };
    RgbImage::from_fn(48, 48, |x, y| Rgb([level(x, y), level(y, x), 90]))
}

#[test]
fn a_mixed_folder_is_described() {
    let copy = encoded(busy(1), ImageFormat::Png);
    let gray = DynamicImage::ImageRgb8(busy(3)).to_luma8();
    let smaller = imageops::resize(&busy(2), 40, 40, imageops::FilterType::CatmullRom);
    let folder = folder(&[
        ("a/1.png", copy.clone()),
        ("a/1 copy.png", copy),
        ("a/1.bmp", encoded(busy(1), ImageFormat::Bmp)),
        ("a/2.png", encoded(busy(2), ImageFormat::Png)),
        ("b/2 smaller.png", encoded(smaller, ImageFormat::Png)),
        ("b/gray.png", encoded(gray.clone(), ImageFormat::Png)),
        (
            "b/gray as color.png",
            encoded(DynamicImage::ImageLuma8(gray).to_rgb8(), ImageFormat::Png),
        ),
        (
            "b/white.png",
            encoded(RgbImage::from_pixel(48, 48, Rgb([250; 3])), ImageFormat::Png),
        ),
        ("b/tiny.png", png(10, 60, 4)),
        ("b/broken.png", b"no".to_vec()),
        ("b/cut.png", encoded(busy(5), ImageFormat::Png)[..300].to_vec()),
        ("notes.txt", b"words".to_vec()),
    ]);
    let report = check(&[folder.path().into()], &any()).unwrap();
    assert_eq!(
        (report.summary.found, report.summary.train, report.summary.other_files),
        (11, 9, 1)
    );
    assert_eq!(report.summary.shape.to_string(), "48x48x3");
    let classes: Vec<_> = report
        .classes
        .iter()
        .map(|class| (&class.name[..], class.images))
        .collect();
    assert_eq!(classes, [("a", 4), ("b", 5)]);
    assert_eq!(report.imbalance, Some(1.25));
    assert_eq!(report.unreadable.len(), 2);
    assert_eq!(
        report
            .exact_duplicates
            .iter()
            .map(|group| names(group))
            .collect::<Vec<_>>(),
        [["1 copy.png", "1.bmp", "1.png"]]
    );
    let near: Vec<_> = report
        .near_duplicates
        .iter()
        .map(|p| names(&[p.first.clone(), p.second.clone()]))
        .collect();
    assert!(
        near.contains(&vec!["2.png".to_owned(), "2 smaller.png".to_owned()]),
        "{near:?}"
    );
    assert!(
        near.contains(&vec!["gray as color.png".to_owned(), "gray.png".to_owned()]),
        "{near:?}"
    );
    assert_eq!(near.len() as u64, report.near_duplicate_pairs);
    assert_eq!(
        (names(&report.tiny), names(&report.blank)),
        (vec!["tiny.png".into()], vec!["white.png".into()])
    );
    assert_eq!(report.gray_in_color, 2, "the gray one and the white one");
    assert_eq!(report.summary.modes.get("rgb"), Some(&8));
    assert_eq!((report.refused.clone(), report.leaked), (None, 0));
    let text = serde_json::to_string(&report).unwrap();
    assert_eq!(serde_json::from_str::<CheckReport>(&text).unwrap(), report);
}

#[test]
fn what_training_would_refuse_is_refused() {
    let texts = folder(&[("a.txt", b"words".to_vec())]);
    let report = check(&[texts.path().into()], &OpenOptions::default()).unwrap();
    assert!(report.refused.unwrap().starts_with("no images in "));
    let broken = folder(&[("a.png", vec![]), ("b.png", png(4, 4, 0))]);
    let report = check(&[broken.path().into()], &OpenOptions::default()).unwrap();
    let refused = report.refused.unwrap();
    assert!(refused.contains("found 2, usable 1, needed 2"), "{refused}");
    assert!(check(&["/nonexistent".into()], &OpenOptions::default()).is_err());
}

#[test]
fn held_out_copies_are_counted() {
    let folder = folder(&[
        ("train/1.png", png(8, 8, 1)),
        ("train/2.png", png(8, 8, 2)),
        ("test/2.png", png(8, 8, 2)),
        ("test/3.png", encoded(rgb(8, 8, 3), ImageFormat::Bmp)),
    ]);
    let size = Some(Size {
        width_px: 8,
        height_px: 8,
    });
    let report = check(&[folder.path().into()], &OpenOptions { size, ..any() }).unwrap();
    assert_eq!((report.summary.train, report.summary.holdout, report.leaked), (2, 2, 1));
}
