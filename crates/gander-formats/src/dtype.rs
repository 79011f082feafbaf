//! The element types of stored arrays.

use std::fmt;

/// The element type of a stored array. Values are little-endian.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum DType {
    /// One byte, 0 or 1.
    Bool,
    /// Unsigned, 8 bits.
    U8,
    /// Signed, 8 bits.
    I8,
    /// Unsigned, 16 bits.
    U16,
    /// Signed, 16 bits.
    I16,
    /// IEEE half precision.
    F16,
    /// The upper half of an `F32`.
    Bf16,
    /// Unsigned, 32 bits.
    U32,
    /// Signed, 32 bits.
    I32,
    /// IEEE single precision.
    F32,
    /// Unsigned, 64 bits.
    U64,
    /// Signed, 64 bits.
    I64,
    /// IEEE double precision.
    F64,
}

impl DType {
    /// Every element type.
    pub const ALL: [Self; 13] = [
        Self::Bool,
        Self::U8,
        Self::I8,
        Self::U16,
        Self::I16,
        Self::F16,
        Self::Bf16,
        Self::U32,
        Self::I32,
        Self::F32,
        Self::U64,
        Self::I64,
        Self::F64,
    ];

    /// Bytes of one element.
    pub fn size_bytes(self) -> usize {
        match self {
            Self::Bool | Self::U8 | Self::I8 => 1,
            Self::U16 | Self::I16 | Self::F16 | Self::Bf16 => 2,
            Self::U32 | Self::I32 | Self::F32 => 4,
            Self::U64 | Self::I64 | Self::F64 => 8,
        }
    }

    /// Whether the elements are floating-point numbers.
    pub fn is_float(self) -> bool {
        matches!(self, Self::F16 | Self::Bf16 | Self::F32 | Self::F64)
    }

    /// The name in a safetensors header.
    pub fn safetensors_name(self) -> &'static str {
        match self {
            Self::Bool => "BOOL",
            Self::U8 => "U8",
            Self::I8 => "I8",
            Self::U16 => "U16",
            Self::I16 => "I16",
            Self::F16 => "F16",
            Self::Bf16 => "BF16",
            Self::U32 => "U32",
            Self::I32 => "I32",
            Self::F32 => "F32",
            Self::U64 => "U64",
            Self::I64 => "I64",
            Self::F64 => "F64",
        }
    }

    /// Bytes of an array of this type, `None` where they are more than memory can address.
    pub(crate) fn array_bytes(self, shape: &[usize]) -> Option<usize> {
        shape
            .iter()
            .try_fold(self.size_bytes(), |bytes, &side| bytes.checked_mul(side))
    }

    /// Every element as `f32`, rounded to nearest where it has more digits.
    pub(crate) fn decode_f32(self, bytes: &[u8]) -> Vec<f32> {
        match self {
            Self::Bool | Self::U8 => bytes.iter().map(|&byte| f32::from(byte)).collect(),
            Self::I8 => decode(bytes, |[byte]: [u8; 1]| f32::from(i8::from_le_bytes([byte]))),
            Self::U16 => decode(bytes, |b| f32::from(u16::from_le_bytes(b))),
            Self::I16 => decode(bytes, |b| f32::from(i16::from_le_bytes(b))),
            Self::F16 => decode(bytes, |b| half::f16::from_le_bytes(b).to_f32()),
            Self::Bf16 => decode(bytes, |b| half::bf16::from_le_bytes(b).to_f32()),
            Self::U32 => decode(bytes, |b| u32::from_le_bytes(b) as f32),
            Self::I32 => decode(bytes, |b| i32::from_le_bytes(b) as f32),
            Self::F32 => decode(bytes, f32::from_le_bytes),
            Self::U64 => decode(bytes, |b| u64::from_le_bytes(b) as f32),
            Self::I64 => decode(bytes, |b| i64::from_le_bytes(b) as f32),
            Self::F64 => decode(bytes, |b| f64::from_le_bytes(b) as f32),
        }
    }

    /// Every element as `i64`; `None` for floating-point types and for values that do not fit.
    pub(crate) fn decode_i64(self, bytes: &[u8]) -> Option<Vec<i64>> {
        Some(match self {
            Self::Bool | Self::U8 => bytes.iter().map(|&byte| i64::from(byte)).collect(),
            Self::I8 => decode(bytes, |[byte]: [u8; 1]| i64::from(i8::from_le_bytes([byte]))),
            Self::U16 => decode(bytes, |b| i64::from(u16::from_le_bytes(b))),
            Self::I16 => decode(bytes, |b| i64::from(i16::from_le_bytes(b))),
            Self::U32 => decode(bytes, |b| i64::from(u32::from_le_bytes(b))),
            Self::I32 => decode(bytes, |b| i64::from(i32::from_le_bytes(b))),
            Self::I64 => decode(bytes, i64::from_le_bytes),
            Self::U64 => {
                let values = decode(bytes, u64::from_le_bytes);
                values
                    .into_iter()
                    .map(|value| i64::try_from(value).ok())
                    .collect::<Option<_>>()?
            }
            Self::F16 | Self::Bf16 | Self::F32 | Self::F64 => return None,
        })
    }
}

/// Applies `f` to the bytes of each element.
fn decode<const N: usize, T>(bytes: &[u8], f: impl Fn([u8; N]) -> T) -> Vec<T> {
    bytes.as_chunks::<N>().0.iter().map(|&element| f(element)).collect()
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bool => "bool",
            Self::U8 => "u8",
            Self::I8 => "i8",
            Self::U16 => "u16",
            Self::I16 => "i16",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
            Self::U32 => "u32",
            Self::I32 => "i32",
            Self::F32 => "f32",
            Self::U64 => "u64",
            Self::I64 => "i64",
            Self::F64 => "f64",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_decode_to_the_numbers_they_hold() {
        assert_eq!(DType::I8.decode_f32(&[255, 2]), [-1.0, 2.0]);
        assert_eq!(DType::F16.decode_f32(&0x3e00u16.to_le_bytes()), [1.5]);
        assert_eq!(DType::Bf16.decode_f32(&0xc040u16.to_le_bytes()), [-3.0]);
        assert_eq!(DType::F64.decode_f32(&0.25f64.to_le_bytes()), [0.25]);
        assert_eq!(DType::I16.decode_i64(&(-300i16).to_le_bytes()), Some(vec![-300]));
        assert_eq!(DType::U64.decode_i64(&u64::MAX.to_le_bytes()), None);
        assert_eq!(DType::F32.decode_i64(&1f32.to_le_bytes()), None);
    }

    #[test]
    fn sizes_that_overflow_are_none() {
        assert_eq!(DType::F32.array_bytes(&[2, 3]), Some(24));
        assert_eq!(DType::F32.array_bytes(&[]), Some(4));
        assert_eq!(DType::U8.array_bytes(&[usize::MAX, 2]), None);
    }
}
