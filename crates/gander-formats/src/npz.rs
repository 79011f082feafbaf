//! Named arrays in a ZIP archive, as `NumPy`'s `savez` and `savez_compressed` write them.
//!
//! Entries are stored or deflated. An archive is a few bytes that may claim or unpack to very many: reading stops at a
//! limit, and memory grows with what is really unpacked.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, BufReader, Read, Seek, SeekFrom, Write},
    path::Path,
};

use zip::{CompressionMethod, DateTime, ZipArchive, ZipWriter, write::SimpleFileOptions};

use crate::{
    Error, Result, atomic,
    npy::{self, Array, ArrayRef},
};

/// The most that the arrays of one archive may unpack to, unless another limit is set: 8 GiB.
pub const DEFAULT_LIMIT_BYTES: u64 = 8 << 30;

/// An NPZ archive whose arrays are read one by one.
#[derive(Debug)]
pub struct NpzReader<R> {
    archive: ZipArchive<R>,
    /// Where each array is in the archive.
    indices: BTreeMap<String, usize>,
    /// Bytes that may still be unpacked.
    left_bytes: u64,
}

impl NpzReader<BufReader<File>> {
    /// Opens a file.
    ///
    /// # Errors
    /// [`Error::Read`] if the system refuses, [`Error::Archive`] if it is not a ZIP archive.
    pub fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(|source| Error::Read {
            path: path.to_owned(),
            source,
        })?;
        Self::new(BufReader::new(file))
    }
}

impl<R: Read + Seek> NpzReader<R> {
    /// Reads the directory of an archive. Entries that are no arrays are passed over.
    ///
    /// # Errors
    /// [`Error::Archive`] if it is not a ZIP archive.
    pub fn new(reader: R) -> Result<Self> {
        let archive = ZipArchive::new(reader).map_err(|source| Error::Archive { source })?;
        let indices = archive
            .file_names()
            .enumerate()
            .filter_map(|(index, name)| Some((name.ok()?.strip_suffix(".npy")?.to_owned(), index)))
            .collect();
        Ok(Self {
            archive,
            indices,
            left_bytes: DEFAULT_LIMIT_BYTES,
        })
    }

    /// Sets how many bytes all further arrays together may unpack to.
    #[must_use]
    pub fn with_limit_bytes(mut self, limit_bytes: u64) -> Self {
        self.left_bytes = limit_bytes;
        self
    }

    /// The names of the arrays, in order, without `.npy`.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.indices.keys().map(String::as_str)
    }

    /// Whether there is an array of this name.
    pub fn contains(&self, name: &str) -> bool {
        self.indices.contains_key(name)
    }

    /// Type and shape of an array, without its values.
    ///
    /// # Errors
    /// Those of [`NpzReader::read`].
    pub fn header(&mut self, name: &str) -> Result<npy::Header> {
        npy::Header::read(name, &mut self.entry(name)?)
    }

    /// An array.
    ///
    /// # Errors
    /// [`Error::NotFound`] if the archive has none of this name, [`Error::Archive`] or [`Error::Unpack`] if it is
    /// broken, [`Error::TooLarge`] beyond the limit, and those of [`npy::read_bytes`].
    pub fn read(&mut self, name: &str) -> Result<Array> {
        let limit = self.left_bytes;
        let array = npy::read(name, self.entry(name)?, limit)?;
        self.left_bytes -= array.bytes.len() as u64;
        Ok(array)
    }

    fn entry(&mut self, name: &str) -> Result<impl Read> {
        let &index = self
            .indices
            .get(name)
            .ok_or_else(|| Error::NotFound { name: name.into() })?;
        self.archive.by_index(index).map_err(|source| Error::Archive { source })
    }
}

/// All arrays of a file.
///
/// # Errors
/// Those of [`NpzReader::open`] and [`NpzReader::read`].
pub fn read(path: &Path) -> Result<BTreeMap<String, Array>> {
    let mut reader = NpzReader::open(path)?;
    let names: Vec<_> = reader.names().map(str::to_owned).collect();
    names
        .into_iter()
        .map(|name| reader.read(&name).map(|array| (name, array)))
        .collect()
}

/// How the entries of an archive are packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compression {
    /// As they are, as `numpy.savez` does.
    #[default]
    Stored,
    /// Deflated, as `numpy.savez_compressed` does.
    Deflated,
}

/// Writes an archive. The same arrays give the same bytes.
///
/// # Errors
/// What the writer returns; `InvalidInput` for two arrays of one name and for those that [`npy::write`] refuses.
pub fn write(writer: impl Write + Seek, arrays: &[(&str, ArrayRef<'_>)], compression: Compression) -> io::Result<()> {
    let method = match compression {
        Compression::Stored => CompressionMethod::Stored,
        Compression::Deflated => CompressionMethod::Deflated,
    };
    let mut archive = ZipWriter::new(FailOnce::new(writer));
    for (name, array) in arrays {
        let options = SimpleFileOptions::default()
            .compression_method(method)
            // The time of writing would make each file different.
            .last_modified_time(DateTime::default())
            // Sizes of 4 GiB and more need fields that older readers do not know.
            .large_file(array.bytes.len() as u64 >= (1 << 32) - (1 << 16));
        archive.start_file(format!("{name}.npy"), options)?;
        npy::write(&mut archive, *array)?;
    }
    archive.finish()?.flush()
}

/// Tells the first failure of a writer, and takes in silence what comes after it.
///
/// A ZIP writer that is dropped after a failure tries once more to end its archive, and prints to stderr that it
/// cannot.
struct FailOnce<W> {
    writer: W,
    has_failed: bool,
}

impl<W> FailOnce<W> {
    fn new(writer: W) -> Self {
        Self {
            writer,
            has_failed: false,
        }
    }

    fn attempt<T>(&mut self, silent: T, act: impl FnOnce(&mut W) -> io::Result<T>) -> io::Result<T> {
        if self.has_failed {
            return Ok(silent);
        }
        let result = act(&mut self.writer);
        self.has_failed = matches!(&result, Err(error) if error.kind() != io::ErrorKind::Interrupted);
        result
    }
}

impl<W: Write> Write for FailOnce<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.attempt(bytes.len(), |writer| writer.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.attempt((), Write::flush)
    }
}

impl<W: Seek> Seek for FailOnce<W> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.attempt(0, |writer| writer.seek(to))
    }
}

/// Replaces a file by an archive, or leaves it as it was.
///
/// # Errors
/// [`Error::Write`] with the reason of [`write()`].
pub fn write_atomic(path: &Path, arrays: &[(&str, ArrayRef<'_>)], compression: Compression) -> Result<()> {
    atomic::write_atomic(path, |file| write(file, arrays, compression))
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use proptest::prelude::*;

    use super::*;
    use crate::DType;

    fn packed(arrays: &[(&str, ArrayRef<'_>)], compression: Compression) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        write(&mut bytes, arrays, compression).unwrap();
        bytes.into_inner()
    }

    fn zeros(sides: &[usize]) -> Array {
        Array {
            dtype: DType::U8,
            shape: sides.to_vec(),
            bytes: vec![0; sides.iter().product()],
        }
    }

    #[test]
    fn arrays_come_back() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("samples.npz");
        let images = Array {
            dtype: DType::U8,
            shape: vec![2, 2, 2, 3],
            bytes: (0..24).collect(),
        };
        let labels = Array {
            dtype: DType::I64,
            shape: vec![2],
            bytes: [3i64, -1].map(i64::to_le_bytes).concat(),
        };
        for compression in [Compression::Stored, Compression::Deflated] {
            let arrays = [("images", images.as_ref()), ("labels", labels.as_ref())];
            write_atomic(&path, &arrays, compression).unwrap();
            let first = std::fs::read(&path).unwrap();
            assert_eq!(
                first,
                packed(&arrays, compression),
                "the bytes depend on more than the arrays"
            );
            let all = read(&path).unwrap();
            assert_eq!((&all["images"], &all["labels"]), (&images, &labels));
            let mut reader = NpzReader::open(&path).unwrap();
            assert_eq!(reader.names().collect::<Vec<_>>(), ["images", "labels"]);
            let header = reader.header("images").unwrap();
            assert_eq!((header.dtype, header.shape), (DType::U8, vec![2, 2, 2, 3]));
            assert!(matches!(reader.read("masks"), Err(Error::NotFound { name }) if name == "masks"));
        }
    }

    #[test]
    fn an_archive_that_unpacks_to_too_much_is_refused() {
        let big = zeros(&[1 << 22]);
        let bytes = packed(&[("a", big.as_ref()), ("b", big.as_ref())], Compression::Deflated);
        assert!(bytes.len() < 1 << 14);
        let mut reader = NpzReader::new(Cursor::new(&bytes)).unwrap().with_limit_bytes(6 << 20);
        assert_eq!(reader.read("a").unwrap(), big);
        assert!(matches!(
            reader.read("b"),
            Err(Error::TooLarge {
                claimed: 0x40_0000,
                limit: 0x20_0000,
                ..
            })
        ));
    }

    #[test]
    fn a_changed_value_fails_its_check_sum() {
        let images = zeros(&[100]);
        let mut bytes = packed(&[("a", images.as_ref())], Compression::Stored);
        let middle = bytes.len() / 2;
        bytes[middle] = 1;
        let mut reader = NpzReader::new(Cursor::new(&bytes)).unwrap();
        assert!(matches!(reader.read("a"), Err(Error::Unpack { name, .. }) if name == "a"));
    }

    #[test]
    fn what_is_no_archive_is_an_error() {
        for bytes in [b"".as_slice(), b"PK", b"not an archive at all"] {
            assert!(matches!(NpzReader::new(Cursor::new(bytes)), Err(Error::Archive { .. })));
        }
        let image = zeros(&[3]);
        let bytes = packed(&[("a", image.as_ref())], Compression::Stored);
        assert!(matches!(
            NpzReader::new(Cursor::new(&bytes[..bytes.len() - 5])),
            Err(Error::Archive { .. })
        ));
        assert!(matches!(
            NpzReader::open(Path::new("/absent.npz")),
            Err(Error::Read { .. })
        ));
    }

    #[test]
    fn arrays_that_cannot_be_written_are_errors() {
        let image = zeros(&[3]);
        let twice = [("a", image.as_ref()), ("a", image.as_ref())];
        assert!(write(Cursor::new(Vec::new()), &twice, Compression::Stored).is_err());
        for wrong in [
            ArrayRef {
                dtype: DType::Bf16,
                shape: &[1],
                bytes: &[0; 2],
            },
            ArrayRef {
                dtype: DType::U8,
                shape: &[2],
                bytes: &[0],
            },
        ] {
            let error = write(Cursor::new(Vec::new()), &[("a", wrong)], Compression::Stored).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        }
    }

    #[test]
    fn a_full_disk_is_told_once() {
        /// Counts what it refuses.
        struct Full(usize);

        impl Write for Full {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                self.0 += 1;
                Err(io::ErrorKind::StorageFull.into())
            }

            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }

        impl Seek for Full {
            fn seek(&mut self, _: SeekFrom) -> io::Result<u64> {
                Ok(0)
            }
        }

        let mut full = Full(0);
        let error = write(&mut full, &[("a", zeros(&[3]).as_ref())], Compression::Stored).unwrap_err();
        assert_eq!((error.kind(), full.0), (io::ErrorKind::StorageFull, 1));
    }

    proptest! {
        #[test]
        fn no_changed_byte_panics(
            at in any::<prop::sample::Index>(),
            byte in any::<u8>(),
            cut in any::<bool>(),
            deflated in any::<bool>(),
        ) {
            let compression = if deflated { Compression::Deflated } else { Compression::Stored };
            let mut bytes = packed(&[("images", zeros(&[2, 2]).as_ref()), ("b", zeros(&[]).as_ref())], compression);
            let at = at.index(bytes.len());
            if cut { bytes.truncate(at) } else { bytes[at] = byte }
            if let Ok(mut reader) = NpzReader::new(Cursor::new(&bytes)) {
                let names: Vec<_> = reader.names().map(str::to_owned).collect();
                for name in names {
                    if let Ok(array) = reader.read(&name) {
                        prop_assert!(array.bytes.len() < 1000);
                    }
                }
            }
        }

        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = NpzReader::new(Cursor::new(&bytes));
            let _ = NpzReader::new(Cursor::new([b"PK\x03\x04", bytes.as_slice(), b"PK\x05\x06", &[0; 18]].concat()));
        }
    }
}
