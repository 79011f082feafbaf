//! Named tensors and a little text in one file: the format of checkpoints and shipped generators.
//!
//! A file is the length of its header (8 bytes, little-endian), a JSON header with the type, shape and place of each
//! tensor and a map of strings (`__metadata__`), and the values, without gaps.
//!
//! The reader is our own rather than the `safetensors` crate's for three reasons (version 0.8): that one's writer puts
//! the metadata in random order, where a run must give the same bytes twice; its sum of offsets can overflow; and its
//! errors do not say what was expected. The tests hold the two against each other.
//!
//! # Source
//! <https://huggingface.co/docs/safetensors/index#format>

use std::{
    borrow::Cow,
    collections::BTreeMap,
    fs::File,
    io::{self, Read, Write},
    path::Path,
};

use crate::{DType, Error, Result, atomic};

mod header;

use header::Header;

/// The largest header that is read or written; the limit of the format's own implementation.
const MAX_HEADER_BYTES: u64 = 100_000_000;

/// One tensor of a file that was read.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TensorView<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its element type.
    pub dtype: DType,
    /// Its sides, outermost first.
    pub shape: &'a [usize],
    /// Its values, little-endian, in the order of the shape.
    pub bytes: &'a [u8],
}

impl TensorView<'_> {
    /// The values of a floating-point tensor.
    ///
    /// # Errors
    /// [`Error::WrongDType`] if it holds integers.
    pub fn to_f32(&self) -> Result<Vec<f32>> {
        if !self.dtype.is_float() {
            return Err(Error::WrongDType {
                name: self.name.into(),
                expected: "floating point",
                got: self.dtype,
            });
        }
        Ok(self.dtype.decode_f32(self.bytes))
    }

    /// The values of an integer tensor.
    ///
    /// # Errors
    /// [`Error::WrongDType`] if it holds floating-point numbers or numbers beyond `i64`.
    pub fn to_i64(&self) -> Result<Vec<i64>> {
        self.dtype.decode_i64(self.bytes).ok_or_else(|| Error::WrongDType {
            name: self.name.into(),
            expected: "integers within i64",
            got: self.dtype,
        })
    }
}

/// One tensor to be written.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry<'a> {
    /// Its name.
    pub name: Cow<'a, str>,
    /// Its element type.
    pub dtype: DType,
    /// Its sides, outermost first.
    pub shape: Vec<usize>,
    /// Its values, little-endian, in the order of the shape.
    pub bytes: Cow<'a, [u8]>,
}

impl<'a> Entry<'a> {
    /// Values of any type as little-endian bytes.
    pub fn new(
        name: impl Into<Cow<'a, str>>,
        dtype: DType,
        shape: impl Into<Vec<usize>>,
        bytes: impl Into<Cow<'a, [u8]>>,
    ) -> Self {
        Self {
            name: name.into(),
            dtype,
            shape: shape.into(),
            bytes: bytes.into(),
        }
    }

    /// Single-precision values.
    pub fn f32(name: impl Into<Cow<'a, str>>, shape: impl Into<Vec<usize>>, values: &'a [f32]) -> Self {
        let bytes = if cfg!(target_endian = "little") {
            Cow::Borrowed(bytemuck::cast_slice(values))
        } else {
            Cow::Owned(values.iter().flat_map(|value| value.to_le_bytes()).collect())
        };
        Self::new(name, DType::F32, shape, bytes)
    }
}

/// A file that was read: tensors by name, and metadata.
#[derive(Debug, Clone, PartialEq)]
pub struct SafeTensors {
    header: Header,
    /// The values of all tensors.
    data: Vec<u8>,
}

impl SafeTensors {
    /// Pairs of strings about the file.
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.header.metadata
    }

    /// Number of tensors.
    pub fn len(&self) -> usize {
        self.header.tensors.len()
    }

    /// Whether there are no tensors.
    pub fn is_empty(&self) -> bool {
        self.header.tensors.is_empty()
    }

    /// The tensor of this name, if there is one.
    pub fn get(&self, name: &str) -> Option<TensorView<'_>> {
        self.header
            .tensors
            .get_key_value(name)
            .map(|(name, place)| self.view(name, place))
    }

    /// The tensor of this name.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is none.
    pub fn tensor(&self, name: &str) -> Result<TensorView<'_>> {
        self.get(name).ok_or_else(|| Error::NotFound { name: name.into() })
    }

    /// All tensors in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = TensorView<'_>> {
        self.header.tensors.iter().map(|(name, place)| self.view(name, place))
    }

    /// The names of all tensors, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.header.tensors.keys().map(String::as_str)
    }

    fn view<'a>(&'a self, name: &'a str, place: &'a header::Place) -> TensorView<'a> {
        TensorView {
            name,
            dtype: place.dtype,
            shape: &place.shape,
            bytes: &self.data[place.begin..place.end],
        }
    }
}

/// Reads a file.
///
/// Nothing is allocated for what the file only claims to hold: sizes are checked against the file's length first.
///
/// # Errors
/// [`Error::Read`] if the system refuses; any error of [`read_bytes`].
pub fn read(path: &Path) -> Result<SafeTensors> {
    let refused = |source| Error::Read {
        path: path.to_owned(),
        source,
    };
    let mut file = File::open(path).map_err(refused)?;
    let length = file.metadata().map_err(refused)?.len();
    let mut prefix = [0; 8];
    if length >= 8 {
        file.read_exact(&mut prefix).map_err(refused)?;
    }
    let header_bytes = header_length(prefix, length)?;
    let text = read_part(&mut file, header_bytes).map_err(refused)??;
    let header = Header::parse(&text, length - 8 - header_bytes)?;
    let data = read_part(&mut file, length - 8 - header_bytes).map_err(refused)??;
    Ok(SafeTensors { header, data })
}

/// Reads a file that is already in memory.
///
/// # Errors
/// [`Error::Truncated`], [`Error::TooLarge`], [`Error::Header`], [`Error::UnknownDType`], [`Error::SizeMismatch`],
/// [`Error::Offset`], [`Error::DuplicateName`] or [`Error::TrailingBytes`] for bytes that are not a whole file.
pub fn read_bytes(bytes: &[u8]) -> Result<SafeTensors> {
    let (prefix, rest) = bytes
        .split_first_chunk()
        .map_or(([0; 8], bytes), |(prefix, rest)| (*prefix, rest));
    let header_bytes = header_length(prefix, bytes.len() as u64)?;
    let (text, data) = rest.split_at(header_bytes as usize);
    let header = Header::parse(text, data.len() as u64)?;
    Ok(SafeTensors {
        header,
        data: data.to_vec(),
    })
}

/// The length that the first eight bytes give, checked against that of the whole file.
fn header_length(prefix: [u8; 8], file_bytes: u64) -> Result<u64> {
    let Some(available) = file_bytes.checked_sub(8) else {
        return Err(Error::Truncated {
            part: "the header's length",
            needed: 8,
            available: file_bytes,
        });
    };
    match u64::from_le_bytes(prefix) {
        claimed if claimed > MAX_HEADER_BYTES => Err(Error::TooLarge {
            part: "the safetensors header",
            claimed,
            limit: MAX_HEADER_BYTES,
        }),
        needed if needed > available => Err(Error::Truncated {
            part: "the safetensors header",
            needed,
            available,
        }),
        length => Ok(length),
    }
}

/// The next bytes of a file that has at least so many.
fn read_part(file: &mut File, length: u64) -> io::Result<Result<Vec<u8>>> {
    let mut bytes = Vec::new();
    if usize::try_from(length)
        .ok()
        .is_none_or(|length| bytes.try_reserve_exact(length).is_err())
    {
        return Ok(Err(Error::OutOfMemory { bytes: length }));
    }
    let read = file.take(length).read_to_end(&mut bytes)? as u64;
    // Someone shortened the file meanwhile.
    let whole = read == length;
    Ok(if whole {
        Ok(bytes)
    } else {
        Err(Error::Truncated {
            part: "the file",
            needed: length,
            available: read,
        })
    })
}

/// The bytes of a file. The same contents give the same bytes, in whatever order they are given.
///
/// # Errors
/// [`Error::DuplicateName`], [`Error::InvalidName`], [`Error::SizeMismatch`] or [`Error::TooLarge`].
pub fn to_bytes(entries: &[Entry<'_>], metadata: &BTreeMap<String, String>) -> Result<Vec<u8>> {
    let (header, order) = header::encode(entries, metadata)?;
    let values = order.iter().map(|entry| &*entry.bytes);
    let prefix = (header.len() as u64).to_le_bytes();
    Ok([prefix.as_slice(), &header]
        .into_iter()
        .chain(values)
        .collect::<Vec<_>>()
        .concat())
}

/// Replaces a file by these tensors and metadata, or leaves it as it was.
///
/// # Errors
/// Those of [`to_bytes`] before anything is written; [`Error::Write`] if the system refuses.
pub fn write_atomic(path: &Path, entries: &[Entry<'_>], metadata: &BTreeMap<String, String>) -> Result<()> {
    let (header, order) = header::encode(entries, metadata)?;
    atomic::write_atomic(path, |file| {
        file.write_all(&(header.len() as u64).to_le_bytes())?;
        file.write_all(&header)?;
        order.iter().try_for_each(|entry| file.write_all(&entry.bytes))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn file(header: &str, data: &[u8]) -> Vec<u8> {
        [&(header.len() as u64).to_le_bytes(), header.as_bytes(), data].concat()
    }

    /// The text of the error for a file, which must be the same from memory and from the disk.
    fn refusal(bytes: &[u8]) -> String {
        let disk = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(disk.path(), bytes).unwrap();
        let (from_memory, from_disk) = (read_bytes(bytes).unwrap_err(), read(disk.path()).unwrap_err());
        assert_eq!(from_memory.to_string(), from_disk.to_string());
        from_memory.to_string()
    }

    #[test]
    fn broken_headers_are_named_errors() {
        let malformed = "the safetensors header is malformed";
        for (bytes, expected) in [
            (vec![], "truncated: the header's length needs 8 bytes, 0 are there"),
            (
                vec![1, 0, 0],
                "truncated: the header's length needs 8 bytes, 3 are there",
            ),
            (
                (1u64 << 60).to_le_bytes().to_vec(),
                "the safetensors header claims 1152921504606846976 bytes, the limit is 100000000",
            ),
            (
                9u64.to_le_bytes().to_vec(),
                "truncated: the safetensors header needs 9 bytes, 0 are there",
            ),
            (file("{", &[]), malformed),
            ([&2u64.to_le_bytes(), b"\"\xff".as_slice()].concat(), malformed),
            (file("[]", &[]), malformed),
            (file(&"[".repeat(1 << 20), &[]), malformed),
            (file(r#"{"__metadata__":{"a":1}}"#, &[]), malformed),
            (
                file(r#"{"__metadata__":{},"__metadata__":{}}"#, &[]),
                "two arrays have the same name: __metadata__",
            ),
            (
                file(r#"{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}"#, &[0; 4]),
                malformed,
            ),
        ] {
            assert_eq!(refusal(&bytes), expected);
        }
    }

    #[test]
    fn broken_tensors_are_named_errors() {
        // Eight tensors of 2^61 − 1 bytes and a ninth: the sum of their offsets and the header's passes 2^64.
        let step = (1u64 << 61) - 1;
        let sums: Vec<_> = (0..9)
            .map(|i| (step, i * step, (i * step).saturating_add(step)))
            .collect();
        let tensors = |list: &[(u64, u64, u64)]| {
            let one = |(i, (side, begin, end)): (usize, &(u64, u64, u64))| {
                format!(r#""{i}":{{"dtype":"U8","shape":[{side}],"data_offsets":[{begin},{end}]}}"#)
            };
            format!("{{{}}}", list.iter().enumerate().map(one).collect::<Vec<_>>().join(","))
        };
        for (header, data_bytes, expected) in [
            (
                tensors(&[(8, 0, 8)]),
                7,
                "truncated: the data needs 8 bytes, 7 are there",
            ),
            (tensors(&[(4, 0, 4)]), 6, "bytes after the end of the data: 2"),
            (
                tensors(&[(4, 0, 4), (4, 2, 6)]),
                6,
                "`1` overlaps its neighbor or leaves a gap: it begins at byte 2, expected 4",
            ),
            (
                tensors(&[(4, 0, 4), (4, 5, 9)]),
                9,
                "`1` overlaps its neighbor or leaves a gap: it begins at byte 5, expected 4",
            ),
            (
                tensors(&[(0, 4, 0)]),
                4,
                "`0` overlaps its neighbor or leaves a gap: it begins at byte 4, expected 0",
            ),
            (
                tensors(&[(3, 0, 4)]),
                4,
                "`0` has shape [3] of u8, which does not fit its bytes: 4",
            ),
            (
                tensors(&[(4, 0, 4)]).replace("[4]", "[4294967296,4294967296]"),
                4,
                "`0` has shape [4294967296, 4294967296] of u8, which does not fit its bytes: 4",
            ),
            (
                tensors(&sums),
                0,
                "truncated: the data needs 2305843009213693951 bytes, 0 are there",
            ),
            (
                tensors(&[(4, 0, 4)]).replace("U8", "F7"),
                4,
                "`0` has an element type that is not supported: F7",
            ),
            (
                tensors(&[(1, 0, 1), (1, 1, 2)]).replace(r#""1":"#, r#""0":"#),
                2,
                "two arrays have the same name: 0",
            ),
        ] {
            assert_eq!(refusal(&file(&header, &vec![0; data_bytes])), expected);
        }
    }

    #[test]
    fn a_file_that_is_absent_or_a_directory_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        for path in [directory.path(), &directory.path().join("absent")] {
            assert!(matches!(read(path), Err(Error::Read { path: p, .. }) if p == path));
        }
    }

    #[test]
    fn entries_that_cannot_be_written_leave_the_old_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.safetensors");
        std::fs::write(&path, "old").unwrap();
        let good = Entry::f32("a", [1], &[1.0]);
        for (entries, expected) in [
            (vec![good.clone(), good.clone()], "two arrays have the same name: a"),
            (
                vec![Entry::f32("__metadata__", [1], &[1.0])],
                "not a name for an array: \"__metadata__\"",
            ),
            (
                vec![Entry::f32("a", [2], &[1.0])],
                "`a` has shape [2] of f32, which does not fit its bytes: 4",
            ),
        ] {
            assert_eq!(
                write_atomic(&path, &entries, &BTreeMap::new()).unwrap_err().to_string(),
                expected
            );
        }
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
        write_atomic(&path, &[good], &BTreeMap::new()).unwrap();
        assert_eq!(read(&path).unwrap().tensor("a").unwrap().to_f32().unwrap(), [1.0]);
    }

    #[test]
    fn values_come_back_as_what_they_are() {
        let metadata = BTreeMap::from([("version".into(), "1".into())]);
        let labels = [7i64.to_le_bytes(), (-2i64).to_le_bytes()].concat();
        let bytes = to_bytes(
            &[
                Entry::f32("w", [2, 1], &[0.5, -1.0]),
                Entry::new("l", DType::I64, [2], &labels),
            ],
            &metadata,
        )
        .unwrap();
        let file = read_bytes(&bytes).unwrap();
        assert_eq!(file.metadata(), &metadata);
        assert_eq!(file.names().collect::<Vec<_>>(), ["l", "w"]);
        assert_eq!(file.tensor("w").unwrap().to_f32().unwrap(), [0.5, -1.0]);
        assert_eq!(file.tensor("l").unwrap().to_i64().unwrap(), [7, -2]);
        assert!(matches!(
            file.tensor("l").unwrap().to_f32(),
            Err(Error::WrongDType { got: DType::I64, .. })
        ));
        assert!(matches!(
            file.tensor("w").unwrap().to_i64(),
            Err(Error::WrongDType { got: DType::F32, .. })
        ));
        assert!(matches!(file.tensor("x"), Err(Error::NotFound { name }) if name == "x"));
    }

    fn entries() -> impl Strategy<Value = Vec<Entry<'static>>> {
        let one = (0..DType::ALL.len(), prop::collection::vec(0usize..4, 0..4), any::<u8>());
        prop::collection::btree_map(".{0,6}", one, 0..6).prop_map(|map| {
            map.into_iter()
                .map(|(name, (dtype, shape, fill))| {
                    let dtype = DType::ALL[dtype];
                    let bytes = vec![fill; dtype.array_bytes(&shape).unwrap()];
                    Entry::new(name, dtype, shape, bytes)
                })
                .collect()
        })
    }

    proptest! {
        #[test]
        fn save_then_load_is_identity(
            entries in entries(),
            metadata in prop::collection::btree_map(".{0,5}", ".{0,5}", 0..5),
        ) {
            let bytes = to_bytes(&entries, &metadata).unwrap();
            let mut reversed = entries.clone();
            reversed.reverse();
            prop_assert_eq!(&to_bytes(&reversed, &metadata).unwrap(), &bytes, "the order of the entries changes the bytes");
            let file = read_bytes(&bytes).unwrap();
            prop_assert_eq!(file.metadata(), &metadata);
            prop_assert_eq!(file.len(), entries.len());
            for entry in &entries {
                let tensor = file.tensor(&entry.name).unwrap();
                prop_assert_eq!((tensor.dtype, tensor.shape, tensor.bytes), (entry.dtype, &*entry.shape, &*entry.bytes));
                // A memory map can be cast in place.
                let start = tensor.bytes.as_ptr() as usize - file.data.as_ptr() as usize;
                prop_assert_eq!(start % entry.dtype.size_bytes(), 0);
            }
        }

        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = read_bytes(&bytes);
            let _ = read_bytes(&[&(bytes.len() as u64).to_le_bytes()[..], &bytes].concat());
        }

        #[test]
        fn no_changed_byte_panics(entries in entries(), at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<bool>()) {
            let mut bytes = to_bytes(&entries, &BTreeMap::new()).unwrap();
            let at = at.index(bytes.len());
            if cut { bytes.truncate(at) } else { bytes[at] = byte }
            if let Ok(file) = read_bytes(&bytes) {
                for tensor in file.iter() {
                    prop_assert_eq!(tensor.dtype.array_bytes(tensor.shape), Some(tensor.bytes.len()));
                }
            }
        }
    }
}
