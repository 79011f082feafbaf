//! One array in `NumPy`'s format.
//!
//! Magic bytes, a version, a header that is a Python dictionary literal, and the values. Arrays are handed out in
//! little-endian and in C order, whatever the file has. Arrays of Python objects are pickles, that is code, and are
//! refused.
//!
//! # Source
//! <https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html>

use std::io::{self, Read, Write};

use crate::{DType, Error, Result};

mod header;

pub use header::Header;

/// An array in memory.
#[derive(Debug, Clone, PartialEq)]
pub struct Array {
    /// The element type.
    pub dtype: DType,
    /// The sides, outermost first.
    pub shape: Vec<usize>,
    /// The values, little-endian, in the order of the shape.
    pub bytes: Vec<u8>,
}

impl Array {
    /// Every value as `f32`, rounded to nearest where it has more digits.
    pub fn to_f32(&self) -> Vec<f32> {
        self.dtype.decode_f32(&self.bytes)
    }

    /// Every value of an array of integers; `None` for floating-point numbers and for numbers beyond `i64`.
    pub fn to_i64(&self) -> Option<Vec<i64>> {
        self.dtype.decode_i64(&self.bytes)
    }

    /// A view for writing.
    pub fn as_ref(&self) -> ArrayRef<'_> {
        ArrayRef {
            dtype: self.dtype,
            shape: &self.shape,
            bytes: &self.bytes,
        }
    }
}

/// An array to be written.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ArrayRef<'a> {
    /// The element type; `Bf16` has no NPY form.
    pub dtype: DType,
    /// The sides, outermost first.
    pub shape: &'a [usize],
    /// The values, little-endian, in the order of the shape.
    pub bytes: &'a [u8],
}

/// Reads a whole NPY file from memory.
///
/// # Errors
/// [`Error::Npy`], [`Error::Pickled`], [`Error::UnknownDType`], [`Error::Truncated`], [`Error::TrailingBytes`].
pub fn read_bytes(bytes: &[u8]) -> Result<Array> {
    read("array", bytes, bytes.len() as u64)
}

/// Reads an array from a stream that yields at most `limit` bytes of values.
///
/// Memory grows with what the stream really yields, never with what the header claims.
pub(crate) fn read(name: &str, mut reader: impl Read, limit: u64) -> Result<Array> {
    let unpack = |source| Error::Unpack {
        name: name.into(),
        source,
    };
    let header = Header::read(name, &mut reader)?;
    let Some(needed) = header.dtype.array_bytes(&header.shape).map(|bytes| bytes as u64) else {
        return Err(Error::TooLarge {
            part: "an array",
            claimed: u64::MAX,
            limit,
        });
    };
    let mut bytes = Vec::new();
    reader
        .by_ref()
        .take(needed.min(limit))
        .read_to_end(&mut bytes)
        .map_err(unpack)?;
    let available = bytes.len() as u64;
    if available < needed {
        return Err(if available == limit {
            Error::TooLarge {
                part: "an array",
                claimed: needed,
                limit,
            }
        } else {
            Error::Truncated {
                part: "an array",
                needed,
                available,
            }
        });
    }
    // Reading to the end also makes a ZIP entry check its sum.
    let trailing = io::copy(&mut reader.take(1 << 16), &mut io::sink()).map_err(unpack)?;
    if trailing > 0 {
        return Err(Error::TrailingBytes { bytes: trailing });
    }
    Ok(header.arrange(bytes))
}

/// Writes an array: version 1.0 of the format, little-endian, C order.
///
/// # Errors
/// `InvalidInput` for an array of `Bf16`, or of sides that its bytes do not fit; what the writer returns.
pub fn write(writer: &mut impl Write, array: ArrayRef<'_>) -> io::Result<()> {
    if array.dtype.array_bytes(array.shape) != Some(array.bytes.len()) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "the shape does not fit the bytes",
        ));
    }
    writer.write_all(&header::encode(array.dtype, array.shape)?)?;
    writer.write_all(array.bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn file(header: &str, values: &[u8]) -> Vec<u8> {
        [
            b"\x93NUMPY\x01\x00",
            (header.len() as u16).to_le_bytes().as_slice(),
            header.as_bytes(),
            values,
        ]
        .concat()
    }

    fn header(descr: &str, order: &str, shape: &str) -> String {
        format!("{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}\n")
    }

    #[test]
    fn foreign_orders_become_ours() {
        let fortran = file(&header("'|u1'", "True", "(2, 3)"), &[1, 4, 2, 5, 3, 6]);
        assert_eq!(read_bytes(&fortran).unwrap().bytes, [1, 2, 3, 4, 5, 6]);
        let cube: Vec<u8> = (0..24).collect();
        let fortran = read_bytes(&file(&header("'u1'", "True", "(2, 3, 4)"), &cube)).unwrap();
        for (i, j, k) in [(0, 0, 0), (1, 0, 0), (0, 2, 1), (1, 2, 3)] {
            assert_eq!(usize::from(fortran.bytes[(i * 3 + j) * 4 + k]), i + 2 * j + 6 * k);
        }
        let big = file(&header("'>i2'", "False", "(2,)"), &[1, 0, 255, 254]);
        assert_eq!(read_bytes(&big).unwrap().to_i64().unwrap(), [256, -2]);
    }

    #[test]
    fn scalars_and_empty_arrays_are_arrays() {
        let scalar = read_bytes(&file(&header("'<f8'", "False", "()"), &0.5f64.to_le_bytes())).unwrap();
        assert_eq!((scalar.to_f32(), scalar.shape), (vec![0.5], vec![]));
        let empty = read_bytes(&file(&header("'<i8'", "True", "(0, 3)"), &[])).unwrap();
        assert_eq!((empty.to_i64(), empty.shape), (Some(vec![]), vec![0, 3]));
    }

    #[test]
    fn broken_files_are_named_errors() {
        let good = header("'|u1'", "False", "(4,)");
        let reason = |bytes: &[u8]| read_bytes(bytes).unwrap_err().to_string();
        for (case, bytes, expected) in [
            ("empty", vec![], "truncated: the magic bytes needs 8 bytes, 0 are there"),
            (
                "magic",
                b"\x93NUMPX\x01\x00\x00\x00".to_vec(),
                "`array` is not an NPY array: no magic bytes",
            ),
            (
                "version",
                b"\x93NUMPY\x09\x00\x00\x00".to_vec(),
                "`array` is not an NPY array: unknown version",
            ),
            (
                "huge header",
                b"\x93NUMPY\x02\x00\xff\xff\xff\xff".to_vec(),
                "the NPY header claims 4294967295 bytes, the limit is 10000",
            ),
            (
                "cut header",
                file(&good, &[])[..20].to_vec(),
                "truncated: the NPY header needs 58 bytes, 10 are there",
            ),
            (
                "cut values",
                file(&good, &[0; 3]),
                "truncated: an array needs 4 bytes, 3 are there",
            ),
            (
                "more values",
                file(&good, &[0; 5]),
                "bytes after the end of the data: 1",
            ),
            (
                "overflow",
                file(&header("'<f8'", "False", "(9223372036854775807, 4)"), &[]),
                "an array claims 18446744073709551615 bytes, the limit is 88",
            ),
            (
                "pickle",
                file(&header("'|O'", "False", "(1,)"), &[]),
                "`array` holds pickled Python objects, which are never loaded",
            ),
            (
                "text",
                file(&header("'<U7'", "False", "(1,)"), &[]),
                "`array` has an element type that is not supported: <U7",
            ),
            (
                "record",
                file(&header("[('a', '<f4')]", "False", "(1,)"), &[]),
                "`array` is not an NPY array: the element type is a record",
            ),
            (
                "not a literal",
                file("__import__('os')", &[]),
                "`array` is not an NPY array: the header is not a dictionary",
            ),
            (
                "key missing",
                file("{'descr': '|u1', 'shape': (1,)}", &[0]),
                "`array` is not an NPY array: the header lacks a key",
            ),
            (
                "key twice",
                file(
                    "{'descr': '|u1', 'descr': '|u1', 'fortran_order': False, 'shape': ()}",
                    &[0],
                ),
                "`array` is not an NPY array: a key of the header is unknown or repeated",
            ),
            (
                "negative side",
                file(&header("'|u1'", "False", "(-1,)"), &[]),
                "`array` is not an NPY array: the shape is not a tuple of sizes",
            ),
            (
                "more behind",
                file("{'descr': '|u1', 'fortran_order': False, 'shape': ()} 1", &[0]),
                "`array` is not an NPY array: the header goes on after its end",
            ),
        ] {
            assert_eq!(reason(&bytes), expected, "{case}");
        }
    }

    fn arrays() -> impl Strategy<Value = Array> {
        let dtypes: Vec<_> = DType::ALL.into_iter().filter(|&dtype| dtype != DType::Bf16).collect();
        (
            prop::sample::select(dtypes),
            prop::collection::vec(0usize..4, 0..4),
            any::<u8>(),
        )
            .prop_map(|(dtype, shape, start)| {
                let len = dtype.array_bytes(&shape).unwrap();
                let bytes = (0..len).map(|i| start.wrapping_add(i as u8)).collect();
                Array { dtype, shape, bytes }
            })
    }

    proptest! {
        #[test]
        fn save_then_load_is_identity(array in arrays()) {
            let mut bytes = Vec::new();
            write(&mut bytes, array.as_ref()).unwrap();
            prop_assert_eq!((bytes.len() - array.bytes.len()) % 64, 0);
            prop_assert_eq!(read_bytes(&bytes).unwrap(), array);
        }

        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = read_bytes(&bytes);
            let _ = read_bytes(&file(&String::from_utf8_lossy(&bytes), &[]));
        }

        #[test]
        fn no_changed_byte_panics(array in arrays(), at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<bool>()) {
            let mut bytes = Vec::new();
            write(&mut bytes, array.as_ref()).unwrap();
            let at = at.index(bytes.len());
            if cut { bytes.truncate(at) } else { bytes[at] = byte }
            if let Ok(array) = read_bytes(&bytes) {
                prop_assert_eq!(array.dtype.array_bytes(&array.shape), Some(array.bytes.len()));
            }
        }

        #[test]
        fn no_dictionary_panics(text in "[{}()\\[\\],:'\"dfs 0-9TrueFalse\\\\|<>iufO]{0,60}") {
            let _ = read_bytes(&file(&text, &[]));
            let _ = read_bytes(&file(&header(&text, "False", "(1,)"), &[0]));
            let _ = read_bytes(&file(&header("'|u1'", "False", &text), &[0]));
        }
    }
}
