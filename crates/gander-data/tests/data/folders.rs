//! Folders: depth, classes, splits, broken files, sizes, memory.

use std::path::PathBuf;

use gander_data::{ClassLevel, CropPolicy, Error, Filter, Labels, OpenOptions, Size, label_counts};
use image::{ImageFormat, Rgb, RgbImage};

use crate::pictures::{all, any, encoded, folder, open, png, png_bomb, read, reasons, write};

#[test]
fn images_are_found_at_any_depth_in_the_order_of_their_names() {
    let folder = folder(&[
        ("b.png", png(4, 4, 1)),
        ("a/x/y/z.png", png(4, 4, 0)),
        ("c/1.png", png(4, 4, 2)),
        ("c/notes.txt", b"hello".to_vec()),
        (".hidden.png", png(4, 4, 3)),
        ("no_ending", png(4, 4, 4)),
    ]);
    let opened = open(folder.path(), &any()).unwrap();
    let numbers: Vec<u8> = all(&*opened.train).iter().map(|pixels| pixels[2] / 23).collect();
    assert_eq!(numbers, [0, 1, 2, 4]);
    assert_eq!((opened.summary.train, opened.summary.other_files), (4, 2));
    assert_eq!(opened.summary.shape.to_string(), "4x4x3");
    assert!(opened.train.classes().is_empty() && opened.train.label(0).is_none());
}

#[test]
fn folders_are_classes_if_asked() {
    let files: Vec<(String, Vec<u8>)> = (0..6)
        .map(|i| {
            (
                format!("set/{}/{i}.png", if i < 4 { "dog" } else { "cat" }),
                png(4, 4, i),
            )
        })
        .collect();
    let files: Vec<_> = files.iter().map(|(name, bytes)| (&name[..], bytes.clone())).collect();
    let folder = folder(&files);
    let opened = open(
        folder.path(),
        &OpenOptions {
            labels: Labels::Require,
            ..any()
        },
    )
    .unwrap();
    assert_eq!(opened.train.classes(), ["cat", "dog"]);
    assert_eq!(label_counts(&*opened.train), [2, 4]);
    assert_eq!(opened.train.label(0), Some(0));

    write(folder.path(), "set/stray.png", &png(4, 4, 9));
    let opened = open(
        folder.path(),
        &OpenOptions {
            labels: Labels::Require,
            ..any()
        },
    )
    .unwrap();
    assert_eq!(
        reasons(&opened),
        ["stray.png: in no class folder, and labels are wanted"]
    );
    let opened = open(
        folder.path(),
        &OpenOptions {
            labels: Labels::WherePresent,
            ..any()
        },
    )
    .unwrap();
    assert_eq!((opened.train.len(), opened.train.classes().len()), (7, 0));
}

#[test]
fn deep_folders_can_be_classes() {
    let folder = folder(&[
        ("a/1/x.png", png(4, 4, 0)),
        ("a/2/x.png", png(4, 4, 1)),
        ("b/1/x.png", png(4, 4, 2)),
    ]);
    let options = OpenOptions {
        labels: Labels::Require,
        class_level: ClassLevel::Deepest,
        ..any()
    };
    assert_eq!(
        open(folder.path(), &options).unwrap().train.classes(),
        ["a/1", "a/2", "b/1"]
    );
}

#[test]
fn no_labels_is_an_error_if_they_are_required() {
    let folder = folder(&[("1.png", png(4, 4, 0)), ("2.png", png(4, 4, 1))]);
    let error = open(
        folder.path(),
        &OpenOptions {
            labels: Labels::Require,
            ..any()
        },
    )
    .unwrap_err();
    assert!(matches!(error, Error::NoLabels { .. }), "{error}");
}

#[test]
fn several_folders_are_joined_and_can_be_the_classes() {
    let cats = folder(&[("1.png", png(4, 4, 0))]);
    let dogs = folder(&[("1.png", png(4, 4, 1)), ("2.png", png(4, 4, 2))]);
    let sources: Vec<PathBuf> = [&cats, &dogs].map(|folder| folder.path().into()).into();
    let opened = gander_data::open(
        &sources,
        &OpenOptions {
            labels: Labels::Require,
            ..any()
        },
    )
    .unwrap();
    assert_eq!(opened.train.len(), 3);
    let labels: Vec<_> = (0..3).map(|index| opened.train.label(index).unwrap()).collect();
    assert!(labels[0] != labels[1] && labels[1] == labels[2], "{labels:?}");
}

#[test]
fn folders_with_dots_are_classes_of_their_own() {
    let both = folder(&[("mr.smith/1.png", png(4, 4, 0)), ("mr.jones/1.png", png(4, 4, 1))]);
    let sources = ["mr.smith", "mr.jones"].map(|name| both.path().join(name));
    let options = OpenOptions {
        labels: Labels::Require,
        ..any()
    };
    let opened = gander_data::open(&sources, &options).unwrap();
    assert_eq!(opened.train.classes(), ["mr.jones", "mr.smith"]);
}

#[test]
fn test_beside_train_is_held_out() {
    let folder = folder(&[
        ("train/cat/1.png", png(4, 4, 1)),
        ("train/dog/1.png", png(4, 4, 2)),
        ("test/cat/1.png", png(4, 4, 3)),
        ("val/dog/1.png", png(4, 4, 4)),
    ]);
    // A share to hold out changes nothing where there is a split.
    let options = OpenOptions {
        labels: Labels::Require,
        holdout: Some(0.5),
        ..any()
    };
    let opened = open(folder.path(), &options).unwrap();
    let holdout = opened.holdout.unwrap();
    assert_eq!((opened.train.len(), holdout.len()), (2, 2));
    assert_eq!(
        (opened.train.classes(), holdout.classes()),
        (&["cat".to_owned(), "dog".to_owned()][..], opened.train.classes())
    );
    assert_eq!((holdout.label(0), holdout.label(1)), (Some(0), Some(1)));
}

#[test]
fn a_share_is_held_out_and_never_leaks() {
    let folder = folder(&[]);
    for i in 0..100 {
        write(folder.path(), &format!("{i:03}.png"), &png(4, 4, i));
        // The same file under another name.
        write(folder.path(), &format!("copy/{i:03}.png"), &png(4, 4, i));
    }
    let size = Some(Size {
        width_px: 4,
        height_px: 4,
    });
    let options = OpenOptions {
        holdout: Some(0.2),
        size,
        ..any()
    };
    let opened = open(folder.path(), &options).unwrap();
    let holdout = opened.holdout.unwrap();
    assert_eq!(opened.train.len() + holdout.len(), 200);
    assert!((16..70).contains(&holdout.len()), "{}", holdout.len());
    let train = all(&*opened.train);
    assert!(
        all(&*holdout).iter().all(|image| !train.contains(image)),
        "a copy of a held-out image trains"
    );

    // The choice depends on content and seed, not on names or on what else is there.
    let renamed = crate::pictures::folder(&[]);
    for i in 0..50 {
        write(renamed.path(), &format!("renamed {i}.png"), &png(4, 4, i));
    }
    let again = open(renamed.path(), &options).unwrap();
    let held: Vec<_> = all(&*again.holdout.unwrap());
    let before = all(&*holdout);
    assert!(held.iter().all(|image| before.contains(image)));
    let other = open(renamed.path(), &OpenOptions { seed: 1, ..options }).unwrap();
    assert_ne!(held, all(&*other.holdout.unwrap()));
}

#[test]
fn a_set_can_hold_a_few_images_out_by_itself() {
    let folder = folder(&[]);
    for i in 0..60 {
        write(folder.path(), &format!("{i}.png"), &png(4, 4, i));
    }
    let held_out = |auto_holdout| {
        let options = OpenOptions { auto_holdout, ..any() };
        open(folder.path(), &options).unwrap().summary.holdout
    };
    // At most a tenth, and none where that is less than a fifth of what was wanted.
    assert_eq!([0, 4, 6, 20, 31].map(held_out), [0, 4, 6, 6, 0]);
}

#[test]
fn never_all_images_are_held_out() {
    let options = OpenOptions {
        holdout: Some(0.999_999),
        ..any()
    };
    let two = folder(&[("1.png", png(4, 4, 1)), ("2.png", png(4, 4, 2))]);
    let opened = open(two.path(), &options).unwrap();
    assert_eq!((opened.train.len(), opened.summary.holdout), (1, 1));
    let equal = folder(&[("1.png", png(4, 4, 1)), ("2.png", png(4, 4, 1))]);
    let opened = open(equal.path(), &options).unwrap();
    assert_eq!((opened.train.len(), opened.summary.holdout), (2, 0));
}

#[test]
fn pictures_without_compression_are_told_apart_by_all_their_bytes() {
    for format in [ImageFormat::Bmp, ImageFormat::Pnm, ImageFormat::Tiff] {
        // White in the first and the last 64 KiB: BMP begins with the lowest row.
        let picture = |shade: u8| {
            let mut image = RgbImage::from_pixel(300, 300, Rgb([255; 3]));
            image.put_pixel(150, 150, Rgb([shade; 3]));
            encoded(image, format)
        };
        let folder = folder(&[]);
        for shade in 0..20 {
            write(folder.path(), &format!("{shade}.bmp"), &picture(shade));
        }
        let size = Some(Size {
            width_px: 8,
            height_px: 8,
        });
        let options = OpenOptions { size, ..any() };
        let fingerprint = || open(folder.path(), &options).unwrap().train.fingerprint();
        let holdout = Some(0.5);
        let opened = open(folder.path(), &OpenOptions { holdout, ..options }).unwrap();
        let held = opened.summary.holdout;
        assert!((1..20).contains(&held), "{format:?}: {held}");
        let before = fingerprint();
        write(folder.path(), "7.bmp", &picture(77));
        assert_ne!(fingerprint(), before, "{format:?}");
    }
}

#[test]
fn broken_files_are_skipped_with_their_reasons() {
    let whole = png(30, 30, 1);
    let folder = folder(&[
        ("1.png", whole.clone()),
        ("2.png", png(30, 30, 2)),
        ("cut.png", whole[..whole.len() / 2].to_vec()),
        ("empty.png", vec![]),
        ("text.png", b"this is no picture".to_vec()),
        ("photo.heic", b"....ftypheic".to_vec()),
        ("bomb.png", png_bomb(40_000, 40_000)),
        ("wide.png", png_bomb(30_000, 20_000)),
    ]);
    let opened = open(folder.path(), &any()).unwrap();
    assert_eq!((opened.train.len(), opened.summary.found), (2, 8));
    let mut reasons = reasons(&opened);
    reasons.sort();
    assert_eq!(
        reasons[0],
        "bomb.png: the longer side is over the limit of 32768 px: 40000x40000"
    );
    assert!(reasons[1].starts_with("cut.png: "), "{reasons:?}");
    assert_eq!(reasons[2], "empty.png: the file is empty");
    assert_eq!(reasons[3], "photo.heic: images of this format are not read: heic");
    assert_eq!(reasons[4], "text.png: not an image");
    assert_eq!(
        reasons[5],
        "wide.png: 600000000 pixels are over the limit of 134217728: 30000x20000"
    );
}

#[test]
fn too_few_images_are_an_error_with_facts() {
    let empty = folder(&[]);
    let error = open(empty.path(), &any()).unwrap_err();
    assert!(
        matches!(
            error,
            Error::NoImages {
                found: 0,
                usable: 0,
                ..
            }
        ),
        "{error}"
    );
    assert!(error.to_string().starts_with("no images in "), "{error}");

    let texts = folder(&[("a.txt", b"a".to_vec()), ("b.md", b"b".to_vec())]);
    assert!(matches!(
        open(texts.path(), &any()).unwrap_err(),
        Error::NoImages { found: 0, .. }
    ));

    let broken = folder(&[("a.png", vec![]), ("b.png", b"no".to_vec())]);
    let error = open(broken.path(), &any()).unwrap_err();
    assert!(
        matches!(&error, Error::NoImages { found: 2, usable: 0, skipped, .. } if skipped.len() == 2),
        "{error}"
    );

    let whole = png(30, 30, 1);
    let one = folder(&[("a.png", whole.clone()), ("b.png", whole[..whole.len() - 30].to_vec())]);
    let error = open(one.path(), &OpenOptions::default()).unwrap_err();
    assert!(
        matches!(
            error,
            Error::NoImages {
                found: 2,
                usable: 1,
                needed: 2,
                ..
            }
        ),
        "{error}"
    );

    let error = open(&one.path().join("absent"), &any()).unwrap_err();
    assert!(matches!(error, Error::Io { .. }), "{error}");
    let error = open(&one.path().join("../nothing.csv"), &any()).unwrap_err();
    assert!(matches!(error, Error::Io { .. }), "{error}");
}

#[test]
fn any_rectangle_can_be_asked_for() {
    let folder = folder(&[("1.png", png(64, 48, 0)), ("2.png", png(30, 90, 1))]);
    for crop in [CropPolicy::Center, CropPolicy::Stretch, CropPolicy::Pad([0; 3])] {
        for filter in [Filter::Area, Filter::Lanczos] {
            let size = Some(Size {
                width_px: 20,
                height_px: 28,
            });
            let opened = open(
                folder.path(),
                &OpenOptions {
                    size,
                    crop,
                    filter,
                    ..any()
                },
            )
            .unwrap();
            assert_eq!(opened.train.shape().to_string(), "20x28x3");
            assert_eq!(all(&*opened.train).len(), 2);
        }
    }
    let size = Some(Size {
        width_px: 0,
        height_px: 28,
    });
    assert!(matches!(
        open(folder.path(), &OpenOptions { size, ..any() }),
        Err(Error::Option { option: "size", .. })
    ));
    let holdout = Some(1.5);
    assert!(matches!(
        open(folder.path(), &OpenOptions { holdout, ..any() }),
        Err(Error::Option { .. })
    ));
}

#[test]
fn a_streamed_set_is_the_cached_one() {
    let folder = folder(&[]);
    for i in 0..10 {
        write(folder.path(), &format!("{i}.png"), &png(20 + u32::from(i), 20, i));
    }
    let cached = open(folder.path(), &any()).unwrap();
    let streamed = open(
        folder.path(),
        &OpenOptions {
            cache_bytes: 100,
            ..any()
        },
    )
    .unwrap();
    assert!(cached.summary.cached_bytes > 0 && streamed.summary.cached_bytes == 0);
    assert_eq!(all(&*cached.train), all(&*streamed.train));
    assert_eq!(cached.train.fingerprint(), streamed.train.fingerprint());
    let few = OpenOptions {
        size: Some(Size {
            width_px: 8,
            height_px: 8,
        }),
        ..any()
    };
    assert_ne!(
        cached.train.fingerprint(),
        open(folder.path(), &few).unwrap().train.fingerprint()
    );
}

#[test]
fn a_file_that_fails_later_is_replaced_by_the_next_of_its_class() {
    let folder = folder(&[]);
    for i in 0..8 {
        let class = if i % 2 == 0 { "a" } else { "b" };
        write(folder.path(), &format!("{class}/{i}.png"), &png(30, 30, i));
    }
    let whole = png(30, 30, 99);
    write(folder.path(), "a/2.png", &whole[..whole.len() - 40]);
    let options = OpenOptions {
        cache_bytes: 100,
        labels: Labels::Require,
        ..any()
    };
    let opened = open(folder.path(), &options).unwrap();
    let set = &*opened.train;
    assert_eq!((set.len(), set.failures().len()), (8, 0), "the header is fine");
    // Class a holds 0, 2, 4 and 6 at the indices 0 to 3.
    assert_eq!(read(set, 1), read(set, 2));
    assert_eq!(set.failures().len(), 1);
    assert!(set.failures()[0].path.ends_with("a/2.png"));
}

#[test]
fn a_file_over_the_limit_is_left_out_unread() {
    let folder = folder(&[("1.png", png(4, 4, 0)), ("2.png", png(4, 4, 1))]);
    let file = std::fs::OpenOptions::new()
        .write(true)
        .open(folder.path().join("2.png"))
        .unwrap();
    file.set_len((1 << 30) + 1).unwrap();
    let options = OpenOptions {
        cache_bytes: 10,
        ..any()
    };
    let opened = open(folder.path(), &options).unwrap();
    assert_eq!(opened.train.len(), 1);
    assert_eq!(
        reasons(&opened),
        ["2.png: the file has 1073741825 bytes, over the limit of 1073741824"]
    );
}

#[test]
fn the_longest_link_ends() {
    let folder = folder(&[("a/1.png", png(4, 4, 0)), ("a/2.png", png(4, 4, 1))]);
    #[cfg(unix)]
    std::os::unix::fs::symlink(folder.path(), folder.path().join("a/loop")).unwrap();
    assert_eq!(open(folder.path(), &any()).unwrap().train.len(), 2);
}
