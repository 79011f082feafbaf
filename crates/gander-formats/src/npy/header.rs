//! The header of an NPY file: a Python dictionary literal with three known keys.

use std::io::{self, Read};

use crate::{DType, Error, Result};

/// The longest header that is read: the limit of `numpy.lib.format` (`_MAX_HEADER_SIZE`).
const MAX_HEADER_BYTES: u64 = 10_000;

/// The most sides that an array can have: `NPY_MAXDIMS` of `NumPy` 2.
const MAX_RANK: usize = 64;

/// The values begin at a multiple of this many bytes: `ARRAY_ALIGN` of `numpy.lib.format`.
const ALIGNMENT: usize = 64;

/// The room for the first side, in digits: `GROWTH_AXIS_MAX_DIGITS` of `numpy.lib.format`.
const GROWTH_DIGITS: usize = 21;

/// What an array is, known before its values are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// The element type.
    pub dtype: DType,
    /// The sides, outermost first.
    pub shape: Vec<usize>,
    /// Whether the file has the bytes of each element most significant first.
    big_endian: bool,
    /// Whether the file has the first side innermost.
    fortran_order: bool,
}

impl Header {
    /// Reads magic bytes, version and header; the values follow in the reader.
    pub(crate) fn read(name: &str, reader: &mut impl Read) -> Result<Self> {
        let npy = |reason| Error::Npy {
            name: name.into(),
            reason,
        };
        let magic = take(name, reader, "the magic bytes", 8)?;
        if !magic.starts_with(b"\x93NUMPY") {
            return Err(npy("no magic bytes"));
        }
        // Versions 2 and 3 have a longer length; version 3 allows UTF-8 in names of records, which are refused anyway.
        let length_bytes = match magic[6] {
            1 => 2,
            2 | 3 => 4,
            _ => return Err(npy("unknown version")),
        };
        let length = take(name, reader, "the NPY header's length", length_bytes)?;
        let claimed = length.iter().rev().fold(0, |sum, &byte| sum << 8 | u64::from(byte));
        if claimed > MAX_HEADER_BYTES {
            return Err(Error::TooLarge {
                part: "the NPY header",
                claimed,
                limit: MAX_HEADER_BYTES,
            });
        }
        let text = take(name, reader, "the NPY header", claimed)?;
        let fields = Literal { rest: &text }.dictionary().map_err(npy)?;
        let (dtype, big_endian) = element_type(name, fields.descr)?;
        Ok(Self {
            dtype,
            shape: fields.shape,
            big_endian,
            fortran_order: fields.fortran_order,
        })
    }

    /// Brings the values of a file into little-endian and C order.
    pub(super) fn arrange(self, mut bytes: Vec<u8>) -> super::Array {
        let size = self.dtype.size_bytes();
        if self.big_endian {
            bytes.chunks_exact_mut(size).for_each(<[u8]>::reverse);
        }
        if self.fortran_order {
            bytes = to_c_order(&bytes, &self.shape, size);
        }
        super::Array {
            dtype: self.dtype,
            shape: self.shape,
            bytes,
        }
    }
}

/// Exactly the next bytes of a stream, few enough to be allocated at once.
fn take(name: &str, reader: &mut impl Read, part: &'static str, needed: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(needed as usize);
    let read = reader.take(needed).read_to_end(&mut bytes);
    match read.map_err(|source| Error::Unpack {
        name: name.into(),
        source,
    })? as u64
    {
        available if available < needed => Err(Error::Truncated {
            part,
            needed,
            available,
        }),
        _ => Ok(bytes),
    }
}

/// The type of an array-interface string, and whether its bytes are reversed.
///
/// # Source
/// <https://numpy.org/doc/stable/reference/arrays.interface.html#arrays-interface> (`typestr`).
fn element_type(name: &str, descr: &[u8]) -> Result<(DType, bool)> {
    let (order, kind) = match descr {
        [order @ (b'<' | b'>' | b'|' | b'='), kind @ ..] => (*order, kind),
        kind => (b'=', kind),
    };
    let dtype = match kind {
        b"b1" | b"?" => DType::Bool,
        b"u1" => DType::U8,
        b"i1" => DType::I8,
        b"u2" => DType::U16,
        b"i2" => DType::I16,
        b"f2" => DType::F16,
        b"u4" => DType::U32,
        b"i4" => DType::I32,
        b"f4" => DType::F32,
        b"u8" => DType::U64,
        b"i8" => DType::I64,
        b"f8" => DType::F64,
        [b'O', ..] => return Err(Error::Pickled { name: name.into() }),
        _ => {
            let dtype = String::from_utf8_lossy(descr).into_owned();
            return Err(Error::UnknownDType {
                name: name.into(),
                dtype,
            });
        }
    };
    Ok((dtype, order == b'>'))
}

/// Turns values whose first side is innermost around.
fn to_c_order(bytes: &[u8], shape: &[usize], size: usize) -> Vec<u8> {
    let mut arranged = Vec::with_capacity(bytes.len());
    let mut index = vec![0; shape.len()];
    for _ in 0..bytes.len() / size {
        let place = index
            .iter()
            .zip(shape)
            .rev()
            .fold(0, |place, (&i, &side)| place * side + i);
        arranged.extend_from_slice(&bytes[place * size..][..size]);
        for (i, &side) in index.iter_mut().zip(shape).rev() {
            *i += 1;
            if *i < side {
                break;
            }
            *i = 0;
        }
    }
    arranged
}

/// The header of an array: version 1.0, padded with spaces.
pub(super) fn encode(dtype: DType, shape: &[usize]) -> io::Result<Vec<u8>> {
    let kind = match dtype {
        DType::Bool => "|b1",
        DType::U8 => "|u1",
        DType::I8 => "|i1",
        DType::U16 => "<u2",
        DType::I16 => "<i2",
        DType::F16 => "<f2",
        DType::U32 => "<u4",
        DType::I32 => "<i4",
        DType::F32 => "<f4",
        DType::U64 => "<u8",
        DType::I64 => "<i8",
        DType::F64 => "<f8",
        DType::Bf16 => return Err(io::Error::new(io::ErrorKind::InvalidInput, "NPY has no bf16")),
    };
    let shape_text = match shape {
        [side] => format!("({side},)"),
        sides => format!(
            "({})",
            sides.iter().map(usize::to_string).collect::<Vec<_>>().join(", ")
        ),
    };
    let mut text = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape_text}, }}");
    // NumPy leaves room for the first side to grow, and at least one space; the same bytes are easy to test.
    let growth = shape
        .first()
        .map_or(0, |side| GROWTH_DIGITS.saturating_sub(side.to_string().len()));
    let padding = growth + ALIGNMENT - (10 + text.len() + growth + 1) % ALIGNMENT;
    text.extend(std::iter::repeat_n(' ', padding));
    text.push('\n');
    let length =
        u16::try_from(text.len()).map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "too many sides"))?;
    Ok([b"\x93NUMPY\x01\x00", length.to_le_bytes().as_slice(), text.as_bytes()].concat())
}

/// The three keys of a header.
struct Fields<'a> {
    descr: &'a [u8],
    fortran_order: bool,
    shape: Vec<usize>,
}

/// A reader of the few Python literals that `NumPy` writes. It evaluates nothing.
struct Literal<'a> {
    rest: &'a [u8],
}

/// Why a header was refused.
type Parsed<T> = std::result::Result<T, &'static str>;

impl<'a> Literal<'a> {
    fn dictionary(mut self) -> Parsed<Fields<'a>> {
        let (mut descr, mut fortran_order, mut shape) = (None, None, None);
        if !self.eat(b"{") {
            return Err("the header is not a dictionary");
        }
        while !self.eat(b"}") {
            let key = self.string().ok_or("the header is not a dictionary")?;
            if !self.eat(b":") {
                return Err("the header is not a dictionary");
            }
            match key {
                b"descr" if descr.is_none() => descr = Some(self.string().ok_or("the element type is a record")?),
                b"fortran_order" if fortran_order.is_none() => fortran_order = Some(self.boolean()?),
                b"shape" if shape.is_none() => shape = Some(self.tuple()?),
                _ => return Err("a key of the header is unknown or repeated"),
            }
            if !self.eat(b",") && !self.next_is(b"}") {
                return Err("the header is not a dictionary");
            }
        }
        self.skip_space();
        if !self.rest.is_empty() {
            return Err("the header goes on after its end");
        }
        match (descr, fortran_order, shape) {
            (Some(descr), Some(fortran_order), Some(shape)) => Ok(Fields {
                descr,
                fortran_order,
                shape,
            }),
            _ => Err("the header lacks a key"),
        }
    }

    fn skip_space(&mut self) {
        self.rest = self.rest.trim_ascii_start();
    }

    fn next_is(&mut self, token: &[u8]) -> bool {
        self.skip_space();
        self.rest.starts_with(token)
    }

    fn eat(&mut self, token: &[u8]) -> bool {
        let found = self.next_is(token);
        if found {
            self.rest = &self.rest[token.len()..];
        }
        found
    }

    /// A string in single or double quotes, without escapes.
    fn string(&mut self) -> Option<&'a [u8]> {
        self.skip_space();
        let (&quote, rest) = self
            .rest
            .split_first()
            .filter(|(quote, _)| matches!(quote, b'\'' | b'"'))?;
        let end = rest.iter().position(|&byte| byte == quote)?;
        self.rest = &rest[end + 1..];
        Some(&rest[..end])
    }

    fn boolean(&mut self) -> Parsed<bool> {
        match (self.eat(b"True"), self.eat(b"False")) {
            (true, _) => Ok(true),
            (_, true) => Ok(false),
            _ => Err("the order is not True or False"),
        }
    }

    /// A tuple of sizes, as Python 2 and 3 write them.
    fn tuple(&mut self) -> Parsed<Vec<usize>> {
        let mut sides = Vec::new();
        let malformed = "the shape is not a tuple of sizes";
        if !self.eat(b"(") {
            return Err(malformed);
        }
        while !self.eat(b")") {
            self.skip_space();
            let digits = self.rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
            let text = str::from_utf8(&self.rest[..digits]).map_err(|_| malformed)?;
            sides.push(text.parse().map_err(|_| malformed)?);
            self.rest = &self.rest[digits..];
            // Python 2 wrote long integers as `3L`.
            self.eat(b"L");
            if !self.eat(b",") && !self.next_is(b")") || sides.len() > MAX_RANK {
                return Err(malformed);
            }
        }
        Ok(sides)
    }
}
