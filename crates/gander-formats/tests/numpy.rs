//! Archives that `NumPy` wrote (`tests/fixtures/make.py`), and the same arrays written here.

use std::{io::Read, path::PathBuf};

use gander_formats::{DType, Error, npy, npz};

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(name)
}

#[test]
fn numpy_s_archives_are_read() {
    for name in ["stored.npz", "deflated.npz"] {
        let arrays = npz::read(&fixture(name)).unwrap();
        assert_eq!(arrays.len(), 12);
        let images = &arrays["images"];
        assert_eq!((images.dtype, &*images.shape), (DType::U8, &[2, 2, 2, 3][..]));
        assert_eq!(images.bytes, (0..24).collect::<Vec<u8>>());
        assert_eq!(arrays["labels"].to_i64().unwrap(), [3, -1]);
        assert_eq!(arrays["half"].to_f32(), [0.5, -2.0, 65504.0]);
        assert_eq!(arrays["single"].to_f32(), [1.5, -0.25]);
        assert_eq!(arrays["double"].to_f32(), [0.1]);
        assert!(arrays["double"].shape.is_empty());
        assert_eq!(arrays["short"].to_i64().unwrap(), [1, 2, 3, -4]);
        assert_eq!(arrays["unsigned"].to_i64().unwrap(), [65535]);
        assert_eq!(arrays["int"].to_i64().unwrap(), [-7, (1 << 31) - 1]);
        assert_eq!(arrays["mask"].to_i64().unwrap(), [1, 0]);
        assert_eq!(arrays["fortran"].to_f32(), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
        assert_eq!(arrays["big_endian"].to_i64().unwrap(), [1, -2]);
        assert_eq!(arrays["empty"].shape, [0, 5]);
    }
}

#[test]
fn arrays_have_the_bytes_that_numpy_gives_them() {
    let mut archive = zip::ZipArchive::new(std::fs::File::open(fixture("stored.npz")).unwrap()).unwrap();
    let arrays = npz::read(&fixture("stored.npz")).unwrap();
    for (name, array) in arrays
        .iter()
        .filter(|(name, _)| !["fortran", "big_endian"].contains(&name.as_str()))
    {
        let mut theirs = Vec::new();
        archive
            .by_name(&format!("{name}.npy"))
            .unwrap()
            .read_to_end(&mut theirs)
            .unwrap();
        let mut ours = Vec::new();
        npy::write(&mut ours, array.as_ref()).unwrap();
        assert_eq!(ours, theirs, "{name}");
    }
}

#[test]
fn pickles_are_refused() {
    let error = npz::read(&fixture("pickled.npz")).unwrap_err();
    assert!(matches!(error, Error::Pickled { name } if name == "objects"));
}
