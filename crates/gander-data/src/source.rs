//! The files, archive members and array rows that a path stands for, before any of them is decoded.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use flate2::read::MultiGzDecoder;
use lzma_rust2::XzReader;

use crate::archive::{self, ZipSource};
use crate::arrays::Array;
use crate::error::{Error, Result, Skipped};
use crate::image_folder;
use crate::layout;
use crate::options::OpenOptions;
use crate::{idx, npz};

/// A file of more bytes is no image to train on.
const MAX_FILE_BYTES: u64 = 1 << 30;

/// The part of a set that an image belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Split {
    Train,
    Holdout,
}

/// Something that should be an image.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    /// Path inside the source with `/`, the same in a folder and an archive of it.
    pub(crate) name: String,
    pub(crate) place: Place,
    pub(crate) split: Split,
    pub(crate) class: Option<String>,
}

/// Where the bytes are.
#[derive(Debug, Clone)]
pub(crate) enum Place {
    File(PathBuf),
    Zip { archive: Arc<ZipSource>, index: usize },
    Span { file: SharedFile, offset: u64, len: u64 },
    Memory { archive: Arc<Path>, bytes: Arc<[u8]> },
    Row { array: Arc<Array>, row: usize },
}

impl Entry {
    pub(crate) fn new(name: String, place: Place) -> Self {
        Self {
            name,
            place,
            split: Split::Train,
            class: None,
        }
    }

    /// The path for reports: the file, or the archive and the name in it.
    pub(crate) fn path(&self) -> PathBuf {
        match &self.place {
            Place::File(path) => path.clone(),
            Place::Zip { archive, .. } => archive.path.join(&self.name),
            Place::Span { file, .. } => file.path.join(&self.name),
            Place::Memory { archive, .. } => archive.join(&self.name),
            Place::Row { array, .. } => array.path.join(&self.name),
        }
    }

    pub(crate) fn skip(&self, reason: impl Into<String>) -> Skipped {
        Skipped {
            path: self.path(),
            reason: reason.into(),
        }
    }

    /// The first bytes (at most `limit`), and the length of all, which is at most 1 GiB.
    pub(crate) fn read(&self, limit: u64) -> Result<(Vec<u8>, u64), String> {
        let read = |reader: &mut dyn Read, len: u64| first_bytes(reader, len, limit).map(|bytes| (bytes, len));
        match &self.place {
            Place::File(path) => File::open(path).and_then(|mut file| {
                let len = file.metadata()?.len();
                read(&mut file, len)
            }),
            Place::Zip { archive, index } => return archive.read(*index, limit),
            Place::Span { file, offset, len } => read(&mut file.at(*offset).take(*len), *len),
            Place::Memory { bytes, .. } => read(&mut &bytes[..], bytes.len() as u64),
            Place::Row { array, row } => read(&mut array.row(*row), array.shape.bytes() as u64),
        }
        .map_err(|error| error.to_string())
    }

    /// All bytes.
    pub(crate) fn read_all(&self) -> Result<Vec<u8>, String> {
        let (bytes, len) = self.read(MAX_FILE_BYTES)?;
        if (bytes.len() as u64) < len {
            return Err(format!("the file is cut off: {} of {len} bytes", bytes.len()));
        }
        Ok(bytes)
    }
}

/// The first bytes (at most `limit`) of a file of this length.
pub(crate) fn first_bytes(reader: &mut dyn Read, len: u64, limit: u64) -> std::io::Result<Vec<u8>> {
    if len > MAX_FILE_BYTES {
        let reason = format!("the file has {len} bytes, over the limit of {MAX_FILE_BYTES}");
        return Err(std::io::Error::other(reason));
    }
    let mut bytes = Vec::with_capacity(len.min(limit).min(1 << 24) as usize);
    reader.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// An open file that several threads read, each at its own place.
#[derive(Clone, Debug)]
pub(crate) struct SharedFile {
    pub(crate) path: Arc<Path>,
    file: Arc<Mutex<File>>,
    len: u64,
    position: u64,
}

impl SharedFile {
    pub(crate) fn open(path: &Path) -> std::io::Result<Self> {
        let file = File::open(path)?;
        let len = file.metadata()?.len();
        Ok(Self {
            path: path.into(),
            file: Arc::new(Mutex::new(file)),
            len,
            position: 0,
        })
    }

    fn at(&self, position: u64) -> Self {
        Self {
            position,
            ..self.clone()
        }
    }
}

impl Read for SharedFile {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.seek(SeekFrom::Start(self.position))?;
        let count = file.read(buffer)?;
        self.position += count as u64;
        Ok(count)
    }
}

impl Seek for SharedFile {
    fn seek(&mut self, to: SeekFrom) -> std::io::Result<u64> {
        let position = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::End(delta) => self.len.checked_add_signed(delta),
            SeekFrom::Current(delta) => self.position.checked_add_signed(delta),
        };
        self.position = position.ok_or(std::io::ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}

/// What a path stands for.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    pub(crate) entries: Vec<Entry>,
    pub(crate) skipped: Vec<Skipped>,
    /// Files that are no images and were passed over.
    pub(crate) other_files: u64,
    /// Class names in the order of their numbers, where the source has its own order.
    pub(crate) class_order: Vec<String>,
}

/// The kinds of file that hold many images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Container {
    Zip,
    Npz,
    Tar,
    Idx,
    /// One picture.
    Image,
}

/// The compression around a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compression {
    None,
    Gzip,
    Xz,
}

/// Lists a folder, an archive, an IDX or NPZ file, or a single image.
pub(crate) fn list(path: &Path, options: &OpenOptions) -> Result<Listing> {
    let meta = std::fs::metadata(path).map_err(Error::io(path))?;
    let mut listing = if meta.is_dir() {
        list_folder(path, options)?
    } else {
        list_file(path, options)?
    };
    layout::assign(&mut listing, options.class_level);
    Ok(listing)
}

fn list_folder(path: &Path, options: &OpenOptions) -> Result<Listing> {
    let walked = image_folder::walk(path)?;
    if !walked.idx_files.is_empty() {
        return idx::list(path, &walked.idx_files, options);
    }
    if !walked.listing.entries.is_empty() {
        return Ok(walked.listing);
    }
    match &walked.containers[..] {
        [] => Ok(walked.listing),
        [only] => list_file(only, options),
        several => Err(Error::Ambiguous {
            path: path.into(),
            candidates: several.to_vec(),
        }),
    }
}

fn list_file(path: &Path, options: &OpenOptions) -> Result<Listing> {
    let (container, compression) = sniff(path)?.ok_or_else(|| Error::UnknownFormat { path: path.into() })?;
    match container {
        Container::Zip => archive::list_zip(path),
        Container::Npz => npz::list(path, options),
        Container::Tar => archive::list_tar(path, compression, options),
        Container::Idx => idx::list(path.parent().unwrap_or(path), &[path.to_path_buf()], options),
        Container::Image => {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            Ok(Listing {
                entries: vec![Entry::new(name, Place::File(path.into()))],
                ..Listing::default()
            })
        }
    }
}

/// Tells a file's kind by its content.
fn sniff(path: &Path) -> Result<Option<(Container, Compression)>> {
    // A tar's magic stands at 257 in its first block of 512 bytes.
    const BLOCK: u64 = 512;
    let named = |ending: &str| path.to_string_lossy().to_lowercase().ends_with(ending);
    let mut start = Vec::new();
    File::open(path)
        .and_then(|file| file.take(BLOCK).read_to_end(&mut start))
        .map_err(Error::io(path))?;
    if start.starts_with(b"PK\x03\x04") || start.starts_with(b"PK\x05\x06") {
        let container = if named(".npz") { Container::Npz } else { Container::Zip };
        return Ok(Some((container, Compression::None)));
    }
    let compression = match &start[..] {
        [0x1F, 0x8B, ..] => Compression::Gzip,
        [0xFD, b'7', b'z', b'X', b'Z', 0, ..] => Compression::Xz,
        _ => Compression::None,
    };
    let mut block = Vec::new();
    unpack(path, compression)?
        .take(BLOCK)
        .read_to_end(&mut block)
        .map_err(|error| corrupt(path, &error))?;
    let is_tar = block.get(257..262) == Some(b"ustar") || [".tar", ".tgz", ".tar.gz", ".tar.xz"].into_iter().any(named);
    let container = match &block[..] {
        _ if is_tar => Some(Container::Tar),
        [0, 0, 0x08..=0x0E, 1..=4, ..] => Some(Container::Idx),
        bytes if compression == Compression::None && image::guess_format(bytes).is_ok() => Some(Container::Image),
        _ => None,
    };
    Ok(container.map(|container| (container, compression)))
}

/// A file's bytes without its compression.
pub(crate) fn unpack(path: &Path, compression: Compression) -> Result<Box<dyn Read>> {
    // An xz dictionary of the highest preset is 64 MiB; no more is taken from a header's word.
    const XZ_MEMORY_KIB: u32 = 256 << 10;
    let file = std::io::BufReader::with_capacity(1 << 16, File::open(path).map_err(Error::io(path))?);
    Ok(match compression {
        Compression::None => Box::new(file),
        Compression::Gzip => Box::new(MultiGzDecoder::new(file)),
        Compression::Xz => Box::new(XzReader::new_mem_limit(file, true, XZ_MEMORY_KIB)),
    })
}

/// An [`Error::Corrupt`] with a reader's reason.
pub(crate) fn corrupt(path: &Path, reason: &dyn std::fmt::Display) -> Error {
    Error::Corrupt {
        path: path.into(),
        reason: reason.to_string(),
    }
}

/// Whether a file or folder, there or yet to be made, lies in a folder of data, where the next look at the data would find it.
pub fn lies_in(path: &Path, data: &Path) -> bool {
    // The nearest folder above that is there says where it will be.
    let place = path.ancestors().find_map(|above| {
        let is_here = above.as_os_str().is_empty();
        let above = if is_here { Path::new(".") } else { above };
        above.canonicalize().ok()
    });
    let data = data.canonicalize().ok().filter(|data| data.is_dir());
    place.zip(data).is_some_and(|(place, data)| place.starts_with(data))
}
