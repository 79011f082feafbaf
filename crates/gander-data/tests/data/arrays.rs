//! IDX and NPZ files.

use std::io::{Cursor, Write};
use std::path::Path;

use gander_data::{Error, Labels, OpenOptions};
use gander_formats::DType;
use gander_formats::npy::ArrayRef;
use gander_formats::npz::{self, Compression};

use crate::pictures::{all, any, folder, open, write};

fn idx(axes: &[u32], values: &[u8]) -> Vec<u8> {
    let axis_bytes = axes.iter().flat_map(|axis| axis.to_be_bytes());
    [0, 0, 8, axes.len() as u8]
        .into_iter()
        .chain(axis_bytes)
        .chain(values.iter().copied())
        .collect()
}

fn gzipped(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn labeled() -> OpenOptions {
    OpenOptions {
        labels: Labels::Require,
        ..any()
    }
}

#[test]
fn the_four_files_of_mnist_are_a_set_and_its_test() {
    let folder = folder(&[
        (
            "train-images-idx3-ubyte.gz",
            gzipped(&idx(&[3, 2, 1], &[1, 2, 3, 4, 5, 6])),
        ),
        ("train-labels-idx1-ubyte.gz", gzipped(&idx(&[3], &[7, 0, 7]))),
        ("t10k-images-idx3-ubyte", idx(&[1, 2, 1], &[8, 9])),
        ("t10k-labels-idx1-ubyte", idx(&[1], &[2])),
        ("README.txt", b"words".to_vec()),
    ]);
    let opened = open(folder.path(), &labeled()).unwrap();
    let holdout = opened.holdout.unwrap();
    assert_eq!(all(&*opened.train), [[1, 2], [3, 4], [5, 6]]);
    assert_eq!(all(&*holdout), [[8, 9]]);
    assert_eq!(
        (opened.train.label(0), opened.train.label(1), holdout.label(0)),
        (Some(7), Some(0), Some(2))
    );
    assert_eq!(opened.train.classes().len(), 8);
    assert_eq!(opened.train.classes()[7], "7");
    assert_eq!(opened.train.shape().to_string(), "1x2x1");

    // The test file alone trains; labels are not asked for.
    let opened = open(&folder.path().join("t10k-images-idx3-ubyte"), &any()).unwrap();
    assert!(opened.holdout.is_none() && opened.train.classes().is_empty());
    assert_eq!(all(&*opened.train), [[8, 9]]);
}

#[test]
fn classes_have_the_names_of_the_file_beside_them() {
    let folder = folder(&[
        ("images-idx3-ubyte", idx(&[2, 1, 1], &[1, 2])),
        ("labels-idx1-ubyte", idx(&[2], &[1, 0])),
        ("classes.txt", b"cat\nrainbow\ntrain\n".to_vec()),
    ]);
    let opened = open(folder.path(), &labeled()).unwrap();
    assert_eq!(opened.train.classes(), ["cat", "rainbow", "train"]);
    assert_eq!((opened.train.label(0), opened.train.label(1)), (Some(1), Some(0)));
}

#[test]
fn idx_files_that_lie_are_refused() {
    let refused = |files: &[(&str, Vec<u8>)]| open(folder(files).path(), &labeled()).unwrap_err();
    let error = refused(&[("images-idx3-ubyte", idx(&[3, 2, 2], &[0; 11]))]);
    assert!(
        error
            .to_string()
            .ends_with("axes [3, 2, 2] promise 12 bytes, the file holds 11"),
        "{error}"
    );
    let error = refused(&[("images-idx3-ubyte", idx(&[u32::MAX, 4096, 4096], &[0; 11]))]);
    assert!(matches!(error, Error::TooLarge { .. }), "{error}");
    let images = ("images-idx3-ubyte", idx(&[2, 1, 1], &[0; 2]));
    let error = refused(&[images.clone(), ("labels-idx1-ubyte", idx(&[3], &[0; 3]))]);
    assert!(error.to_string().ends_with("axes [3] do not label 2 images"), "{error}");
    let error = refused(&[
        images.clone(),
        ("images-idx3-ubyte.gz", vec![1, 2, 3]),
        ("more-idx3-ubyte", vec![]),
    ]);
    assert!(matches!(error, Error::Ambiguous { .. }), "{error}");
    assert!(matches!(refused(&[images]), Error::NoLabels { .. }));
    let whole = gzipped(&idx(&[100, 4, 4], &[9; 1600]));
    let error = refused(&[("images-idx3-ubyte.gz", whole[..whole.len() / 2].to_vec())]);
    assert!(matches!(error, Error::Corrupt { .. }), "{error}");
}

fn npz(arrays: &[(&str, DType, &[usize], &[u8])]) -> Vec<u8> {
    let arrays: Vec<_> = arrays
        .iter()
        .map(|&(name, dtype, shape, bytes)| (name, ArrayRef { dtype, shape, bytes }))
        .collect();
    let mut file = Cursor::new(Vec::new());
    npz::write(&mut file, &arrays, Compression::Deflated).unwrap();
    file.into_inner()
}

fn open_npz(bytes: &[u8], options: &OpenOptions) -> gander_data::Result<gander_data::Opened> {
    let folder = folder(&[]);
    write(folder.path(), "set.npz", bytes);
    open(&folder.path().join(Path::new("set.npz")), options)
}

#[test]
fn npz_files_are_read_by_the_names_in_use() {
    let pixels: Vec<u8> = (0..12).collect();
    let labels: Vec<u8> = [2_i64, 0].iter().flat_map(|label| label.to_le_bytes()).collect();
    for (images, names) in [("images", "labels"), ("arr_0", "arr_1"), ("x_train", "y_train")] {
        let file = npz(&[
            (images, DType::U8, &[2, 2, 1, 3], &pixels),
            (names, DType::I64, &[2], &labels),
        ]);
        let opened = open_npz(&file, &labeled()).unwrap();
        assert_eq!(all(&*opened.train), [&pixels[..6], &pixels[6..]], "{images}");
        assert_eq!(opened.train.classes(), ["0", "1", "2"]);
        assert_eq!((opened.train.label(0), opened.train.label(1)), (Some(2), Some(0)));
    }
    let file = npz(&[
        ("x_train", DType::U8, &[2, 2, 3], &pixels),
        ("x_test", DType::U8, &[1, 2, 3], &pixels[6..]),
    ]);
    let opened = open_npz(&file, &any()).unwrap();
    assert_eq!((opened.train.shape().channels, opened.holdout.unwrap().len()), (1, 1));
}

#[test]
fn npz_files_of_other_things_are_refused() {
    let float = npz(&[("images", DType::F32, &[1, 1, 1], &[0; 4])]);
    let flat = npz(&[("images", DType::U8, &[4], &[0; 4])]);
    let deep = npz(&[("images", DType::U8, &[1, 1, 1, 5], &[0; 5])]);
    let other = npz(&[("weights", DType::U8, &[1, 1, 1], &[0; 1])]);
    for file in [&float, &flat, &deep, &other, &float[..40].to_vec()] {
        assert!(matches!(open_npz(file, &any()), Err(Error::Corrupt { .. })));
    }
    let large = npz(&[("images", DType::U8, &[1, 30, 30], &[0; 900])]);
    let error = open_npz(
        &large,
        &OpenOptions {
            cache_bytes: 500,
            ..any()
        },
    )
    .unwrap_err();
    assert!(matches!(error, Error::TooLarge { .. }), "{error}");
    let bad = npz(&[
        ("images", DType::U8, &[2, 1, 1], &[0; 2]),
        ("labels", DType::U8, &[3], &[0; 3]),
    ]);
    assert!(matches!(open_npz(&bad, &labeled()), Err(Error::Corrupt { .. })));
}

#[test]
fn a_large_npz_file_tells_the_limit_that_would_do() {
    let file = npz(&[
        ("x_train", DType::U8, &[1, 30, 30], &[0; 900]),
        ("y_train", DType::U8, &[1], &[0]),
        ("x_test", DType::U8, &[2, 30, 30], &[0; 1800]),
        ("masks", DType::U8, &[1, 60, 60], &[0; 3600]),
    ]);
    let open_within = |cache_bytes| {
        let options = OpenOptions {
            cache_bytes,
            ..labeled()
        };
        open_npz(&file, &options)
    };
    // Too few for the first array, for the second, for the third.
    for cache_bytes in [500, 900, 1000] {
        let error = open_within(cache_bytes).unwrap_err();
        let expected = format!("unpacks to 2701 bytes, over the limit of {cache_bytes}");
        assert!(error.to_string().ends_with(&expected), "{error}");
    }
    assert_eq!(open_within(2701).unwrap().train.len(), 1);
}

#[test]
fn more_rows_than_can_be_listed_are_refused() {
    let options = OpenOptions {
        cache_bytes: 5000,
        ..any()
    };
    let tiny = |rows| vec![("images-idx3-ubyte", idx(&[rows, 1, 1], &vec![0; rows as usize]))];
    assert_eq!(open(folder(&tiny(10)).path(), &options).unwrap().train.len(), 10);
    let error = open(folder(&tiny(1000)).path(), &options).unwrap_err();
    assert!(matches!(error, Error::TooLarge { limit_bytes: 5000, .. }), "{error}");
    let images = |rows: usize| npz(&[("x_train", DType::U8, &[rows, 1, 1], &vec![0; rows])]);
    assert_eq!(open_npz(&images(10), &options).unwrap().train.len(), 10);
    let error = open_npz(&images(1000), &options).unwrap_err();
    assert!(matches!(error, Error::TooLarge { limit_bytes: 5000, .. }), "{error}");
    // Each part could be listed alone.
    let parts = npz(&[
        ("x_train", DType::U8, &[30, 1, 1], &[0; 30]),
        ("x_test", DType::U8, &[30, 1, 1], &[0; 30]),
    ]);
    assert!(matches!(open_npz(&parts, &options), Err(Error::TooLarge { .. })));
}
