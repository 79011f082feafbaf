//! ZIP and tar files, plain and compressed, whole and damaged.

use std::io::{Cursor, Write};

use gander_data::{Error, Labels, OpenOptions, label_counts};
use zip::write::SimpleFileOptions;

use crate::pictures::{all, any, folder, open, png, reasons};

type Files<'a> = [(&'a str, Vec<u8>)];

fn zipped(files: &Files, method: zip::CompressionMethod) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in files {
        writer
            .start_file(*name, SimpleFileOptions::default().compression_method(method))
            .unwrap();
        writer.write_all(bytes).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

fn tarred(files: &Files) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, bytes) in files {
        let mut header = tar::Header::new_gnu();
        // Written directly: the builder refuses `../`.
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        builder.append(&header, &bytes[..]).unwrap();
    }
    builder.into_inner().unwrap()
}

fn gzipped(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn xzipped(bytes: &[u8]) -> Vec<u8> {
    let mut writer = lzma_rust2::XzWriter::new(Vec::new(), lzma_rust2::XzOptions::with_preset(1)).unwrap();
    writer.write_all(bytes).unwrap();
    writer.finish().unwrap()
}

fn pictures() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("set/dog/2.png", png(9, 8, 2)),
        ("set/cat/1.png", png(9, 8, 1)),
        ("set/dog/3.png", png(9, 8, 3)),
        ("set/README.txt", b"words".to_vec()),
        ("__MACOSX/set/cat/._1.png", b"fork".to_vec()),
    ]
}

/// The files packed in every way.
fn packed(files: &Files) -> Vec<(&'static str, Vec<u8>)> {
    let tar = tarred(files);
    vec![
        ("stored.zip", zipped(files, zip::CompressionMethod::Stored)),
        ("deflated.zip", zipped(files, zip::CompressionMethod::Deflated)),
        ("set.tar.gz", gzipped(&tar)),
        ("set.tar.xz", xzipped(&tar)),
        ("set.tar", tar),
    ]
}

#[test]
fn an_archive_is_the_folder_that_it_holds() {
    let labels = OpenOptions {
        labels: Labels::Require,
        ..any()
    };
    let unpacked = folder(&pictures());
    let expected = open(unpacked.path(), &labels).unwrap();
    for (name, bytes) in packed(&pictures()) {
        let folder = folder(&[(name, bytes)]);
        for options in [
            labels.clone(),
            OpenOptions {
                cache_bytes: 600,
                ..labels.clone()
            },
        ] {
            let opened = open(&folder.path().join(name), &options).unwrap();
            assert_eq!(all(&*opened.train), all(&*expected.train), "{name}");
            assert_eq!(opened.train.fingerprint(), expected.train.fingerprint(), "{name}");
            assert_eq!(opened.train.classes(), ["cat", "dog"], "{name}");
            assert_eq!((opened.summary.other_files, opened.skipped.len()), (2, 0), "{name}");
        }
        // A folder with one archive and no image stands for it.
        assert_eq!(open(folder.path(), &labels).unwrap().train.len(), 3, "{name}");
        let left = std::fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(left, 1, "nothing is unpacked to disk");
    }
}

#[test]
fn two_archives_are_ambiguous() {
    let folder = folder(&packed(&pictures())[..2]);
    let error = open(folder.path(), &any()).unwrap_err();
    assert!(
        error
            .to_string()
            .ends_with("holds several sets: deflated.zip, stored.zip"),
        "{error}"
    );
}

#[test]
fn names_that_lead_outside_are_reported_and_harm_nothing() {
    let mut files = pictures();
    files.push(("../../evil.png", png(9, 8, 7)));
    files.push(("/abs.png", png(9, 8, 8)));
    for (name, bytes) in packed(&files) {
        let folder = folder(&[(&format!("deep/down/{name}"), bytes)]);
        let opened = open(&folder.path().join("deep/down").join(name), &any()).unwrap();
        assert_eq!(opened.train.len(), 3, "{name}");
        let reasons = reasons(&opened);
        assert_eq!(reasons.len(), 2, "{name}: {reasons:?}");
        assert!(
            reasons
                .iter()
                .all(|reason| reason.ends_with(": the name leads outside of the archive")),
            "{reasons:?}"
        );
        assert!(!folder.path().join("evil.png").exists());
    }
}

#[test]
fn a_cut_off_compressed_tar_gives_what_came_before() {
    let mut files = pictures();
    files.push((
        "set/zebra/9.png",
        (0..50_000_u32)
            .flat_map(|i| i.wrapping_mul(2_654_435_761).to_le_bytes())
            .collect(),
    ));
    for (name, bytes) in packed(&files).into_iter().filter(|(name, _)| name.contains(".tar.")) {
        let folder = folder(&[(name, bytes[..bytes.len() * 3 / 4].to_vec())]);
        let opened = open(&folder.path().join(name), &any()).unwrap();
        let reasons = reasons(&opened);
        assert_eq!(opened.train.len(), 3, "{name}");
        assert!(
            reasons[0].starts_with(&format!("{name}: the archive ends early, after 3 images")),
            "{reasons:?}"
        );
    }
}

#[test]
fn a_cut_off_zip_is_an_error() {
    let whole = zipped(&pictures(), zip::CompressionMethod::Stored);
    let folder = folder(&[("a.zip", whole[..whole.len() / 2].to_vec())]);
    let error = open(&folder.path().join("a.zip"), &any()).unwrap_err();
    assert!(matches!(error, Error::Corrupt { .. }), "{error}");
}

#[test]
fn damage_inside_a_zip_costs_one_image() {
    let mut whole = zipped(&pictures(), zip::CompressionMethod::Stored);
    let picture = png(9, 8, 1);
    let at = whole
        .windows(picture.len())
        .position(|window| window == picture)
        .unwrap();
    whole[at + picture.len() / 2] ^= 0xFF;
    let folder = folder(&[("a.zip", whole)]);
    let opened = open(&folder.path().join("a.zip"), &any()).unwrap();
    assert_eq!((opened.train.len(), opened.skipped.len()), (2, 1));
}

#[test]
fn a_compressed_tar_over_the_limit_is_refused() {
    let folder = folder(&[("a.tar.gz", gzipped(&tarred(&pictures())))]);
    let error = open(
        &folder.path().join("a.tar.gz"),
        &OpenOptions {
            cache_bytes: 100,
            ..any()
        },
    )
    .unwrap_err();
    assert!(matches!(error, Error::TarTooLarge { limit_bytes: 100, .. }), "{error}");
}

#[test]
fn links_in_a_tar_are_followed_or_reported() {
    let mut builder = tar::Builder::new(Vec::new());
    for (number, name) in [(1, "set/cat/1.png"), (2, "./set/dog/2.png")] {
        let picture = png(9, 8, number);
        let mut header = tar::Header::new_gnu();
        header.set_size(picture.len() as u64);
        builder.append_data(&mut header, name, &picture[..]).unwrap();
    }
    for (kind, name, target) in [
        (tar::EntryType::Link, "set/dog/1.png", "set/cat/1.png"),
        (tar::EntryType::Link, "set/cat/2.png", "./set/dog/2.png"),
        (tar::EntryType::Link, "set/dog/3.png", "set/absent.png"),
        (tar::EntryType::Symlink, "set/dog/4.png", "2.png"),
        (tar::EntryType::Symlink, "set/newest", "dog"),
        (tar::EntryType::GNUSparse, "set/dog/5.png", "nothing"),
    ] {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(0);
        header.as_gnu_mut().unwrap().set_real_size(0);
        builder.append_link(&mut header, name, target).unwrap();
    }
    let tar = builder.into_inner().unwrap();
    let labels = OpenOptions {
        labels: Labels::Require,
        ..any()
    };
    for (name, bytes) in [("set.tar.gz", gzipped(&tar)), ("set.tar", tar)] {
        let folder = folder(&[(name, bytes)]);
        let opened = open(&folder.path().join(name), &labels).unwrap();
        let images = all(&*opened.train);
        assert_eq!(images.len(), 4, "{name}");
        assert!(images[0] == images[2] && images[1] == images[3], "{name}");
        assert_eq!(label_counts(&*opened.train), [2, 2], "{name}");
        assert_eq!(opened.summary.other_files, 1, "{name}");
        let mut reasons = reasons(&opened);
        reasons.sort();
        assert_eq!(
            reasons,
            [
                "3.png: a hard link to no image: set/absent.png",
                "4.png: a symbolic link, which is not followed",
                "5.png: a sparse member, which is not read"
            ],
            "{name}"
        );
    }
}

#[test]
fn a_header_without_end_is_damage() {
    let much = vec![b'a'; 20 << 20];
    let mut builder = tar::Builder::new(Vec::new());
    let mut add = |name: &str, kind, bytes: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(bytes.len() as u64);
        builder.append_data(&mut header, name, bytes).unwrap();
    };
    let long = format!("{}/2.png", "long".repeat(50));
    add("1.png", tar::EntryType::Regular, &png(9, 8, 1));
    add("words.txt", tar::EntryType::Regular, &much);
    add(&long, tar::EntryType::Regular, &png(9, 8, 2));
    add("name", tar::EntryType::GNULongName, &much);
    add("3.png", tar::EntryType::Regular, &png(9, 8, 3));
    let folder = folder(&[("set.tar.gz", gzipped(&builder.into_inner().unwrap()))]);
    let opened = open(&folder.path().join("set.tar.gz"), &any()).unwrap();
    assert_eq!((opened.train.len(), opened.summary.other_files), (2, 1));
    assert_eq!(
        reasons(&opened),
        ["set.tar.gz: the archive ends early, after 2 images: the header of a member has over 16777216 bytes"]
    );
}

#[test]
fn a_long_member_without_a_header_is_not_unpacked() {
    let mut files = pictures();
    files.push(("set/dog/zeros.png", vec![0; 65 << 20]));
    let folder = folder(&[("set.zip", zipped(&files, zip::CompressionMethod::Deflated))]);
    let opened = open(&folder.path().join("set.zip"), &any()).unwrap();
    assert_eq!(opened.train.len(), 3);
    let expected = "zeros.png: no header in its first 65536 bytes, and too long to unpack for one: 68157440 bytes";
    assert_eq!(reasons(&opened), [expected]);
}

#[test]
fn other_files_are_no_sets() {
    let files = [
        ("a.txt", b"words".to_vec()),
        ("b.gz", gzipped(b"words")),
        ("c.xz", xzipped(b"words")),
    ];
    let folder = folder(&files);
    for (name, _) in files {
        let error = open(&folder.path().join(name), &any()).unwrap_err();
        assert!(matches!(error, Error::UnknownFormat { .. }), "{name}: {error}");
    }
}

/// Numbers that look random, the same in every run.
fn scrambled(seed: usize) -> usize {
    let mixed = (seed as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    ((mixed ^ (mixed >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9) >> 20) as usize
}

#[test]
fn no_damage_makes_an_archive_panic() {
    let folder = folder(&[]);
    for (name, whole) in packed(&pictures()) {
        let path = folder.path().join(name);
        for round in 0..150 {
            let mut bytes = whole.clone();
            for flip in 0..=round % 4 {
                let place = scrambled(round * 8 + flip) % bytes.len();
                bytes[place] = scrambled(round * 8 + flip + 4) as u8;
            }
            if round % 5 == 0 {
                bytes.truncate(scrambled(round) % bytes.len());
            }
            std::fs::write(&path, &bytes).unwrap();
            match open(
                &path,
                &OpenOptions {
                    min_images: 1,
                    threads: 1,
                    ..OpenOptions::default()
                },
            ) {
                Ok(opened) => assert!(opened.train.len() <= pictures().len()),
                Err(error) => assert!(!error.to_string().is_empty()),
            }
        }
    }
}
