//! The first pass over a set: every header, no pixels.

use std::collections::BTreeMap;
use std::path::PathBuf;

use image::ImageFormat;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::error::{Error, Result, Skipped};
use crate::media::{Header, HeaderError, Kind, MediaLimits, peek};
use crate::open::{Progress, Stage};
use crate::options::{Labels, OpenOptions};
use crate::parallel;
use crate::source::{self, Entry, Place, Split};

/// Enough for the header of nearly every file; a longer one costs a second reading.
const PREFIX_BYTES: u64 = 64 << 10;
/// A member of a ZIP file is unpacked for its header up to this length: 1 MB may hold 1 GiB, on each thread at once.
const MAX_UNPACKED_BYTES: u64 = 64 << 20;

/// An image whose header is fine.
#[derive(Debug, Clone)]
pub(crate) struct Item {
    pub(crate) entry: Entry,
    pub(crate) header: Header,
    /// Length and first 64 KiB (all bytes of formats without compression), hashed: the same for equal files whatever
    /// their names.
    pub(crate) key: u64,
    pub(crate) bytes: u64,
    pub(crate) label: Option<u32>,
}

/// What the first pass found.
#[derive(Debug)]
pub(crate) struct Scan {
    pub(crate) items: Vec<Item>,
    pub(crate) classes: Vec<String>,
    pub(crate) skipped: Vec<Skipped>,
    pub(crate) other_files: u64,
    /// Everything that looked like an image.
    pub(crate) found: usize,
    /// Whether the source has a split of its own.
    pub(crate) has_split: bool,
}

/// Lists every source and reads every header.
pub(crate) fn scan(sources: &[PathBuf], options: &OpenOptions, progress: &(dyn Fn(Progress) + Sync)) -> Result<Scan> {
    let (mut entries, mut skipped, mut other_files) = (Vec::new(), Vec::new(), 0);
    let mut class_order = Vec::new();
    let mut listings = Vec::new();
    for path in sources {
        listings.push((path, source::list(path, options)?));
    }
    // Several folders without classes of their own, as in `cats/ dogs/`: each is a class.
    let sources_are_classes = listings.len() > 1
        && listings
            .iter()
            .all(|(_, listing)| listing.entries.iter().all(|e| e.class.is_none()));
    for (path, mut listing) in listings {
        if sources_are_classes {
            // `mr.smith` is a whole name if it is a folder's.
            let name = if path.is_dir() {
                path.file_name()
            } else {
                path.file_stem()
            };
            let name = name.unwrap_or(path.as_os_str()).to_string_lossy();
            listing
                .entries
                .iter_mut()
                .for_each(|entry| entry.class = Some(name.clone().into_owned()));
        }
        class_order.append(&mut listing.class_order);
        entries.append(&mut listing.entries);
        skipped.append(&mut listing.skipped);
        other_files += listing.other_files;
    }
    let found = entries.len() + skipped.len();
    let limits = MediaLimits {
        max_side_px: options.max_side_px,
        max_pixels: options.max_pixels,
    };
    let counter = crate::open::Counter::new(Stage::Headers, entries.len(), progress);
    let headers = parallel::map(parallel::threads(options.threads), entries.len(), |index| {
        let header = read_header(&entries[index], limits);
        counter.tick();
        header
    });
    let mut items = Vec::with_capacity(entries.len());
    for (entry, header) in entries.into_iter().zip(headers) {
        match header {
            Ok((header, key, bytes)) => items.push(Item {
                entry,
                header,
                key,
                bytes,
                label: None,
            }),
            Err(reason) => skipped.push(entry.skip(reason)),
        }
    }
    let classes = label(&mut items, class_order, &mut skipped, options, sources)?;
    let has_split = items.iter().any(|item| item.entry.split == Split::Holdout);
    Ok(Scan {
        items,
        classes,
        skipped,
        other_files,
        found,
        has_split,
    })
}

/// The header, the content's key and the length of an entry.
fn read_header(entry: &Entry, limits: MediaLimits) -> Result<(Header, u64, u64), String> {
    if let Place::Row { array, row } = &entry.place {
        let (shape, bytes) = (array.shape, array.row(*row));
        let kind = [Kind::Gray, Kind::GrayAlpha, Kind::Rgb, Kind::Rgba][shape.channels - 1];
        let alpha = shape.channels.is_multiple_of(2);
        let (width_px, height_px) = (shape.width_px, shape.height_px);
        let header = Header {
            format: None,
            width_px,
            height_px,
            kind,
            bits: 8,
            alpha,
        };
        return Ok((header, xxh3_64_with_seed(bytes, bytes.len() as u64), bytes.len() as u64));
    }
    let (prefix, len) = entry.read(PREFIX_BYTES)?;
    let goes_on = len > prefix.len() as u64;
    let header = match peek(&prefix, limits) {
        Err(HeaderError::Unreadable(_)) if len > MAX_UNPACKED_BYTES && matches!(entry.place, Place::Zip { .. }) => {
            return Err(format!(
                "no header in its first {PREFIX_BYTES} bytes, and too long to unpack for one: {len} bytes"
            ));
        }
        // Metadata before the sides, or a table of contents at the end, as in TIFF.
        Err(HeaderError::Unreadable(_)) if goes_on => peek(&entry.read_all()?, limits),
        result => result,
    }
    .map_err(HeaderError::reason)?;
    // Without compression, pictures of one size and background have the same length and begin with the same bytes.
    let is_plain = matches!(
        header.format,
        Some(ImageFormat::Bmp | ImageFormat::Pnm | ImageFormat::Tiff)
    );
    let key = if is_plain && goes_on {
        xxh3_64_with_seed(&entry.read_all()?, len)
    } else {
        xxh3_64_with_seed(&prefix, len)
    };
    Ok((header, key, len))
}

/// Numbers the classes, as far as labels are wanted, and returns their names.
fn label(
    items: &mut Vec<Item>,
    class_order: Vec<String>,
    skipped: &mut Vec<Skipped>,
    options: &OpenOptions,
    sources: &[PathBuf],
) -> Result<Vec<String>> {
    if options.labels == Labels::Ignore {
        return Ok(Vec::new());
    }
    let mut numbers: BTreeMap<String, Option<u32>> = BTreeMap::new();
    for class in items.iter().filter_map(|item| item.entry.class.as_ref()) {
        numbers.entry(class.clone()).or_default();
    }
    let is_required = options.labels == Labels::Require;
    if numbers.is_empty() && is_required && !items.is_empty() {
        return Err(Error::NoLabels {
            path: sources.first().cloned().unwrap_or_default(),
        });
    }
    // Where labels are only welcome, no image is left out for want of one.
    if numbers.is_empty() || !is_required && items.iter().any(|item| item.entry.class.is_none()) {
        return Ok(Vec::new());
    }
    let mut classes: Vec<String> = Vec::new();
    // A source's own order first, then the alphabet.
    for class in class_order
        .into_iter()
        .chain(numbers.keys().cloned().collect::<Vec<_>>())
    {
        let number = numbers.entry(class.clone()).or_default();
        if number.is_none() {
            *number = Some(classes.len() as u32);
            classes.push(class);
        }
    }
    items.retain_mut(|item| {
        item.label = item.entry.class.as_ref().and_then(|class| numbers[class]);
        if item.label.is_none() {
            skipped.push(item.entry.skip("in no class folder, and labels are wanted"));
        }
        item.label.is_some()
    });
    Ok(classes)
}
