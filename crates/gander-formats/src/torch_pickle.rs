//! Tensors by name from a file of `PyTorch`'s `torch.save`, read as data: nothing in it is ever executed.
//!
//! Such a file is a program for Python's pickle machine. What stands here understands the few instructions that a
//! dictionary of tensors is made of (`machine.rs`); a call of any function but those that rebuild tensors and ordered
//! dictionaries makes a value that nobody looks into. Both forms are read: the ZIP archive of `PyTorch` 1.6 and later, and
//! the stream of pickles of the versions before.

mod machine;

use std::{
    collections::{BTreeMap, btree_map::Entry},
    fs::File,
    io::{Cursor, Read},
    path::Path,
};

use zip::ZipArchive;

use self::machine::{Machine, StorageRef, TensorRef, Value};
use crate::{DType, Error, Result};

/// The largest file that is read, and the most that its tensors may hold: 8 GiB.
const LIMIT_BYTES: u64 = 8 << 30;
/// The number that begins the old form.
const MAGIC: [u8; 10] = [0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];

/// A tensor of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TorchTensor {
    /// Its element type.
    pub dtype: DType,
    /// Its sides, outermost first.
    pub shape: Vec<usize>,
    /// Its values, little-endian, in the order of the shape.
    pub bytes: Vec<u8>,
}

impl TorchTensor {
    /// The values of a floating-point tensor; `None` for integers.
    pub fn to_f32(&self) -> Option<Vec<f32>> {
        self.dtype.is_float().then(|| self.dtype.decode_f32(&self.bytes))
    }
}

/// The tensors of a file that holds a dictionary of them, or a dictionary with one under `state_dict`.
///
/// # Errors
/// [`Error::Read`] if the system refuses, and those of [`read_bytes`].
pub fn read(path: &Path) -> Result<BTreeMap<String, TorchTensor>> {
    let refused = |source| Error::Read {
        path: path.to_owned(),
        source,
    };
    let mut bytes = Vec::new();
    let mut file = File::open(path).map_err(refused)?.take(LIMIT_BYTES + 1);
    file.read_to_end(&mut bytes).map_err(refused)?;
    read_bytes(&bytes)
}

/// [`read`] of a file that is in memory.
///
/// # Errors
/// [`Error::Torch`] for anything that is not such a file, [`Error::TooLarge`] for one that claims more than the limit.
pub fn read_bytes(bytes: &[u8]) -> Result<BTreeMap<String, TorchTensor>> {
    if bytes.len() as u64 > LIMIT_BYTES {
        return Err(too_large(bytes.len() as u64, LIMIT_BYTES));
    }
    if bytes.starts_with(b"PK") {
        return read_archive(bytes);
    }
    read_stream(bytes)
}

fn bad(reason: &'static str) -> Error {
    Error::Torch { reason }
}

fn too_large(claimed: u64, limit: u64) -> Error {
    Error::TooLarge {
        part: "a PyTorch file",
        claimed,
        limit,
    }
}

/// The form since `PyTorch` 1.6: `NAME/data.pkl` and a file `NAME/data/KEY` for each storage.
fn read_archive(bytes: &[u8]) -> Result<BTreeMap<String, TorchTensor>> {
    let mut archive = ZipArchive::new(Cursor::new(bytes)).map_err(|_| bad("its archive is broken"))?;
    let names: Vec<String> = archive
        .file_names()
        .filter_map(|name| name.ok().map(std::borrow::Cow::into_owned))
        .collect();
    let pickle = names.iter().find(|name| name.ends_with("/data.pkl"));
    let pickle = pickle.ok_or_else(|| bad("its archive has no data.pkl"))?;
    let folder = pickle.trim_end_matches("data.pkl").to_owned();
    // `torch.save` stores its files as they are: together they are no longer than the archive.
    let limit = bytes.len() as u64;
    let mut used = 0;
    let mut entry = |name: &str| -> Result<Vec<u8>> {
        let entry = archive.by_name(name).map_err(|_| bad("its archive lacks a storage"))?;
        let mut unpacked = Vec::new();
        entry
            .take(limit - used + 1)
            .read_to_end(&mut unpacked)
            .map_err(|_| bad("its archive is broken"))?;
        used += unpacked.len() as u64;
        if used > limit {
            return Err(too_large(used, limit));
        }
        Ok(unpacked)
    };
    let program = entry(pickle)?;
    let (root, _) = Machine::run(&program)?;
    let tensors = tensors_of(&root)?;
    let mut storages: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    for tensor in tensors.values() {
        let key = tensor.storage.key.to_string();
        if let Entry::Vacant(place) = storages.entry(key) {
            let unpacked = entry(&format!("{folder}data/{}", place.key()))?;
            place.insert(unpacked);
        }
    }
    gather(&tensors, &storages)
}

/// The form before: pickles of a magic number, a version, facts of the system, the object, and the keys of its storages,
/// then each storage's number of elements and its bytes.
fn read_stream(bytes: &[u8]) -> Result<BTreeMap<String, TorchTensor>> {
    let mut rest = bytes;
    let mut next = || -> Result<Value> {
        let (value, used) = Machine::run(rest)?;
        rest = &rest[used..];
        Ok(value)
    };
    match next()? {
        Value::Long(magic) if *magic == MAGIC => {}
        _ => return Err(bad("it is neither an archive nor begins with the magic number")),
    }
    next()?;
    next()?;
    let root = next()?;
    let Value::List(keys) = next()? else {
        return Err(bad("it has no list of storages"));
    };
    let tensors = tensors_of(&root)?;
    let sizes: BTreeMap<String, &StorageRef> = tensors
        .values()
        .map(|tensor| (tensor.storage.key.to_string(), &*tensor.storage))
        .collect();
    let mut storages = BTreeMap::new();
    for key in &keys.items {
        let Value::Str(key) = key else {
            return Err(bad("the key of a storage is no text"));
        };
        // A storage that no tensor uses has a size that only its type would tell: nothing behind it can be read.
        let Some(storage) = sizes.get(&**key) else { break };
        let (count, after) = rest
            .split_first_chunk()
            .ok_or_else(|| bad("it ends within a storage"))?;
        let elements = u64::from_le_bytes(*count);
        let len = elements.checked_mul(storage.dtype.size_bytes() as u64);
        let len = len.filter(|&len| len <= after.len() as u64);
        let len = len.ok_or_else(|| bad("it ends within a storage"))?;
        let (own, after) = after.split_at(len as usize);
        storages.insert(key.to_string(), own.to_vec());
        rest = after;
    }
    gather(&tensors, &storages)
}

/// The tensors of a dictionary.
fn tensors_of(root: &Value) -> Result<BTreeMap<String, TensorRef>> {
    let Value::Dict(dict) = root else {
        return Err(bad("it holds no dictionary"));
    };
    let named = |wanted: &str| {
        let mut pairs = dict.items.chunks_exact(2);
        pairs.find_map(|pair| matches!(&pair[0], Value::Str(name) if &**name == wanted).then(|| &pair[1]))
    };
    if let Some(inner @ Value::Dict(_)) = named("state_dict") {
        return tensors_of(inner);
    }
    let mut tensors = BTreeMap::new();
    for pair in dict.items.chunks_exact(2) {
        if let (Value::Str(name), Value::Tensor(tensor)) = (&pair[0], &pair[1]) {
            tensors.insert(name.to_string(), (**tensor).clone());
        }
    }
    if tensors.is_empty() {
        return Err(bad("its dictionary has no tensors"));
    }
    Ok(tensors)
}

/// Values of the tensors in the order of their shapes.
fn gather(
    tensors: &BTreeMap<String, TensorRef>,
    storages: &BTreeMap<String, Vec<u8>>,
) -> Result<BTreeMap<String, TorchTensor>> {
    // Tied weights are views of one storage; more views than this are no network's, and would fill the memory.
    let total: u64 = storages.values().map(|storage| storage.len() as u64).sum();
    let limit = total.saturating_mul(4).min(LIMIT_BYTES);
    let mut left = limit;
    let mut of = |tensor: &TensorRef| -> Result<TorchTensor> {
        let storage = storages.get(&*tensor.storage.key);
        let storage = storage.ok_or_else(|| bad("a tensor has no storage"))?;
        let size = tensor.storage.dtype.size_bytes();
        let elements = tensor.shape.iter().try_fold(1usize, |all, &side| all.checked_mul(side));
        let elements = elements.filter(|&all| all.checked_mul(size).is_some_and(|bytes| bytes as u64 <= left));
        let elements = elements.ok_or_else(|| too_large(u64::MAX, limit))?;
        left -= (elements * size) as u64;
        // Strides of zero repeat values: what a tensor claims must be there.
        if elements * size > storage.len() {
            return Err(bad("a tensor is larger than its storage"));
        }
        let mut bytes = Vec::with_capacity(elements * size);
        let mut index = vec![0usize; tensor.shape.len()];
        for _ in 0..elements {
            let mut steps = index.iter().zip(&tensor.strides);
            let at = steps.try_fold(tensor.offset, |at, (&index, &stride)| {
                at.checked_add(index.checked_mul(stride)?)
            });
            let range = at.and_then(|at| Some(at.checked_mul(size)?..at.checked_add(1)?.checked_mul(size)?));
            let value = range.and_then(|range| storage.get(range));
            bytes.extend_from_slice(value.ok_or_else(|| bad("a tensor reaches beyond its storage"))?);
            for (index, &side) in index.iter_mut().zip(&tensor.shape).rev() {
                *index += 1;
                if *index < side {
                    break;
                }
                *index = 0;
            }
        }
        Ok(TorchTensor {
            dtype: tensor.storage.dtype,
            shape: tensor.shape.clone(),
            bytes,
        })
    };
    tensors
        .iter()
        .map(|(name, tensor)| Ok((name.clone(), of(tensor)?)))
        .collect()
}
