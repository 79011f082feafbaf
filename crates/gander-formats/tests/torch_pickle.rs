//! State dictionaries that `PyTorch` wrote (`fixtures/torch_pickle.py`), and what others may write.

use std::{
    fs,
    io::{Cursor, Read, Write},
    path::Path,
};

use gander_formats::{
    DType, Error,
    torch_pickle::{TorchTensor, read, read_bytes},
};
use proptest::prelude::*;
use zip::{CompressionMethod, ZipArchive, ZipWriter, write::SimpleFileOptions};

fn fixture(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn both_forms_are_read() {
    for name in ["torch_new.pth", "torch_old.pth", "torch_nested.pth"] {
        let tensors = read_bytes(&fixture(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        let floats = |key: &str| tensors[key].to_f32().expect("floats");
        assert_eq!(tensors.len(), 4, "{name}");
        assert_eq!(
            (floats("weight"), &tensors["weight"].shape),
            (vec![0.0, 1.0, 2.0, 3.0, 4.0, 5.0], &vec![2, 3])
        );
        assert_eq!(
            (floats("turned"), &tensors["turned"].shape),
            (vec![0.0, 3.0, 1.0, 4.0, 2.0, 5.0], &vec![3, 2])
        );
        assert_eq!((floats("half"), tensors["half"].dtype), (vec![0.5, -2.0], DType::F16));
        let count = TorchTensor {
            dtype: DType::I64,
            shape: vec![],
            bytes: 7i64.to_le_bytes().into(),
        };
        assert_eq!(tensors["count"], count);
    }
}

#[test]
fn programs_of_other_kinds_are_refused() {
    let long_name = [b"X\xe8\x03\0\0", &b"a".repeat(1000)[..], b"q\0h\0\x93."].concat();
    let long_nest: Vec<u8> = [b")".to_vec(), b"\x85".repeat(1 << 20), b".".to_vec()].concat();
    for (program, reason) in [
        (&b""[..], "it ends within an instruction"),
        (
            b"cos\nsystem\nX\x02\0\0\0ls\x85R.",
            "it is neither an archive nor begins with the magic number",
        ),
        (
            b"iposix\nsystem\n.",
            "it uses an instruction that no dictionary of tensors needs",
        ),
        (b"0.", "it takes a value that is not there"),
        (b"(.", "it takes a value that is not there"),
        (b"h\x01.", "it recalls what it never kept"),
        (b"X\xff\xff\xff\xff.", "it ends within an instruction"),
        (&long_nest, "its values nest too deep"),
        (&long_name, "the name of a function is too long"),
        (b"]Naq\0h\0Na.", "it changes a value that is shared"),
        (b"}NNsq\0NNs.", "it changes a value that is shared"),
    ] {
        match read_bytes(program) {
            Err(Error::Torch { reason: got }) => assert_eq!(got, reason),
            other => panic!("{other:?} instead of {reason}"),
        }
    }
    assert!(matches!(read(Path::new("/no/such/file")), Err(Error::Read { .. })));
}

/// A file in the new form whose storages go on in zeros.
fn padded(zeros: usize, method: CompressionMethod) -> zip::result::ZipResult<Vec<u8>> {
    let mut archive = ZipArchive::new(Cursor::new(fixture("torch_new.pth")))?;
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index)?;
        let name = entry.name()?.into_owned();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes)?;
        if name.contains("/data/") {
            bytes.resize(bytes.len() + zeros, 0);
        }
        let options = SimpleFileOptions::default().compression_method(method);
        writer.start_file(name, options)?;
        writer.write_all(&bytes)?;
    }
    Ok(writer.finish()?.into_inner())
}

#[test]
fn an_archive_unpacks_to_no_more_than_its_length() {
    let stored = padded(1 << 16, CompressionMethod::Stored).unwrap();
    assert_eq!(read_bytes(&stored).unwrap().len(), 4);
    let deflated = padded(1 << 16, CompressionMethod::Deflated).unwrap();
    match read_bytes(&deflated) {
        Err(Error::TooLarge { claimed, limit, .. }) => assert!(claimed > limit && limit == deflated.len() as u64),
        other => panic!("{other:?}"),
    }
}

/// Each line doubles what the last one holds; a machine that copied would need 2^60 values.
#[test]
fn sharing_does_not_copy() {
    let mut program = b")q\0".to_vec();
    for _ in 0..25 {
        program.extend(b"h\0h\0\x86q\0");
    }
    program.push(b'.');
    assert!(matches!(read_bytes(&program), Err(Error::Torch { .. })));
}

proptest! {
    #[test]
    fn spoiled_files_never_panic(old in any::<bool>(), changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
        let mut bytes = fixture(if old { "torch_old.pth" } else { "torch_new.pth" });
        for (index, byte) in changes {
            let index = index.index(bytes.len());
            bytes[index] = byte;
        }
        let _ = read_bytes(&bytes);
    }

    #[test]
    fn any_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = read_bytes(&bytes);
    }

    /// A tensor may claim any sides and strides over a small storage.
    #[test]
    fn claimed_sizes_are_checked(cut in any::<prop::sample::Index>(), value in any::<[u8; 4]>()) {
        let mut bytes = fixture("torch_old.pth");
        let at = cut.index(bytes.len() - 4);
        bytes[at..at + 4].copy_from_slice(&value);
        let _ = read_bytes(&bytes);
    }
}
