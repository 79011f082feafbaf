//! The JSON header: where each tensor lies, checked so that views of the data cannot fail.

use std::{collections::BTreeMap, fmt};

use serde::{
    Deserialize, Serialize,
    de::{MapAccess, Visitor},
};

use super::{Entry, MAX_HEADER_BYTES};
use crate::{DType, Error, Result};

/// The key of the strings about the file.
const METADATA: &str = "__metadata__";

/// A checked header.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Header {
    pub(super) metadata: BTreeMap<String, String>,
    pub(super) tensors: BTreeMap<String, Place>,
}

/// What and where a tensor is; `begin..end` lies within the data and has the bytes of the shape.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Place {
    pub(super) dtype: DType,
    pub(super) shape: Vec<usize>,
    pub(super) begin: usize,
    pub(super) end: usize,
}

/// A tensor as the header spells it.
#[derive(Deserialize)]
struct Claim {
    dtype: String,
    shape: Vec<usize>,
    data_offsets: (u64, u64),
}

/// The header as it stands, repeated names included.
#[derive(Default)]
struct Raw {
    metadata: Vec<BTreeMap<String, String>>,
    tensors: Vec<(String, Claim)>,
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct RawVisitor;
        impl<'de> Visitor<'de> for RawVisitor {
            type Value = Raw;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map of tensors")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Raw, A::Error> {
                let mut raw = Raw::default();
                while let Some(name) = map.next_key::<String>()? {
                    if name == METADATA {
                        raw.metadata.push(map.next_value()?);
                    } else {
                        raw.tensors.push((name, map.next_value()?));
                    }
                }
                Ok(raw)
            }
        }
        deserializer.deserialize_map(RawVisitor)
    }
}

impl Header {
    /// Reads a header that is followed by `data_bytes` of values.
    pub(super) fn parse(text: &[u8], data_bytes: u64) -> Result<Self> {
        let mut raw: Raw = serde_json::from_slice(text).map_err(|source| Error::Header { source })?;
        if raw.metadata.len() > 1 {
            return Err(Error::DuplicateName { name: METADATA.into() });
        }
        raw.tensors.sort_by_key(|(_, claim)| claim.data_offsets);
        let mut tensors = BTreeMap::new();
        let mut expected = 0;
        for (name, claim) in raw.tensors {
            if tensors.contains_key(&name) {
                return Err(Error::DuplicateName { name });
            }
            let place = claim.check(&name, expected, data_bytes)?;
            expected = place.end as u64;
            tensors.insert(name, place);
        }
        if expected != data_bytes {
            return Err(Error::TrailingBytes {
                bytes: data_bytes - expected,
            });
        }
        Ok(Self {
            metadata: raw.metadata.pop().unwrap_or_default(),
            tensors,
        })
    }
}

impl Claim {
    /// Holds a claim against its neighbor and the data that is there.
    fn check(self, name: &str, expected: u64, data_bytes: u64) -> Result<Place> {
        let Some(dtype) = DType::ALL
            .into_iter()
            .find(|dtype| dtype.safetensors_name() == self.dtype)
        else {
            return Err(Error::UnknownDType {
                name: name.into(),
                dtype: self.dtype,
            });
        };
        let (begin, end) = self.data_offsets;
        if begin != expected || end < begin {
            return Err(Error::Offset {
                name: name.into(),
                begin,
                expected,
            });
        }
        if end > data_bytes {
            return Err(Error::Truncated {
                part: "the data",
                needed: end,
                available: data_bytes,
            });
        }
        if dtype.array_bytes(&self.shape).map(|bytes| bytes as u64) != Some(end - begin) {
            return Err(Error::SizeMismatch {
                name: name.into(),
                shape: self.shape,
                dtype,
                bytes: end - begin,
            });
        }
        // Both lie within data that is or will be in memory.
        Ok(Place {
            dtype,
            shape: self.shape,
            begin: begin as usize,
            end: end as usize,
        })
    }
}

#[derive(Serialize)]
struct Info<'a> {
    dtype: &'static str,
    shape: &'a [usize],
    data_offsets: (u64, u64),
}

#[derive(Serialize)]
#[serde(untagged)]
enum Value<'a> {
    Metadata(&'a BTreeMap<String, String>),
    Tensor(Info<'a>),
}

/// The header's bytes, and the entries in the order of their values in the file.
///
/// Wide elements come first, so that each tensor is aligned for its type, as the format's own implementation does it.
pub(super) fn encode<'e, 'a>(
    entries: &'e [Entry<'a>],
    metadata: &BTreeMap<String, String>,
) -> Result<(Vec<u8>, Vec<&'e Entry<'a>>)> {
    let mut order: Vec<_> = entries.iter().collect();
    order.sort_by(|a, b| {
        b.dtype
            .size_bytes()
            .cmp(&a.dtype.size_bytes())
            .then_with(|| a.name.cmp(&b.name))
    });
    let mut map = BTreeMap::new();
    if !metadata.is_empty() {
        map.insert(METADATA, Value::Metadata(metadata));
    }
    let mut begin = 0;
    for entry in &order {
        let bytes = entry.bytes.len() as u64;
        if entry.name == METADATA {
            return Err(Error::InvalidName {
                name: entry.name.to_string(),
            });
        }
        if entry.dtype.array_bytes(&entry.shape) != Some(entry.bytes.len()) {
            let (name, shape) = (entry.name.to_string(), entry.shape.clone());
            return Err(Error::SizeMismatch {
                name,
                shape,
                dtype: entry.dtype,
                bytes,
            });
        }
        let info = Info {
            dtype: entry.dtype.safetensors_name(),
            shape: &entry.shape,
            data_offsets: (begin, begin + bytes),
        };
        if map.insert(&entry.name, Value::Tensor(info)).is_some() {
            return Err(Error::DuplicateName {
                name: entry.name.to_string(),
            });
        }
        begin += bytes;
    }
    let mut header = serde_json::to_vec(&map).map_err(|source| Error::Header { source })?;
    // The values begin at a multiple of eight; the format allows spaces behind the header for that.
    header.resize(header.len().next_multiple_of(8), b' ');
    if header.len() as u64 > MAX_HEADER_BYTES {
        let claimed = header.len() as u64;
        return Err(Error::TooLarge {
            part: "the safetensors header",
            claimed,
            limit: MAX_HEADER_BYTES,
        });
    }
    Ok((header, order))
}
