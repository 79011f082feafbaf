//! Images inside ZIP and tar files, read in place: nothing is ever written to disk.

use std::cell::Cell;
use std::io::Read;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use tar::{Archive, EntryType};
use zip::ZipArchive;

use crate::error::{Error, Result, Skipped};
use crate::image_folder::{Sort, sort, unread_reason};
use crate::options::OpenOptions;
use crate::source::{Compression, Entry, Listing, Place, SharedFile, corrupt, first_bytes, unpack};

/// Bytes of headers before a member of a compressed tar: more than any long name and the attributes of a file.
const MAX_HEADER_BYTES: u64 = 16 << 20;

/// A ZIP file whose table of contents has been read.
#[derive(Debug)]
pub(crate) struct ZipSource {
    pub(crate) path: Box<Path>,
    archive: ZipArchive<SharedFile>,
}

impl ZipSource {
    /// A member's first bytes (at most `limit`) and its length; a whole member is checked against its sum.
    pub(crate) fn read(&self, index: usize, limit: u64) -> Result<(Vec<u8>, u64), String> {
        // The table of contents is shared; a clone costs a counter.
        let mut archive = self.archive.clone();
        let mut file = archive.by_index(index).map_err(|error| error.to_string())?;
        let len = file.size();
        let bytes = first_bytes(&mut file, len, limit).map_err(|error| error.to_string())?;
        Ok((bytes, len))
    }
}

/// Lists the images of a ZIP file, sorted by name.
pub(crate) fn list_zip(path: &Path) -> Result<Listing> {
    let file = SharedFile::open(path).map_err(Error::io(path))?;
    let archive = ZipArchive::new(file).map_err(|error| corrupt(path, &error))?;
    let mut names = Vec::new();
    for index in 0..archive.len() {
        let name = archive
            .name_for_index(index)
            .and_then(Result::ok)
            .map(|name| name.replace('\\', "/"));
        names.push(name.unwrap_or_else(|| format!("member {index}")));
    }
    let source = Arc::new(ZipSource {
        path: path.into(),
        archive,
    });
    let mut listing = Listing::default();
    for (index, name) in names.into_iter().enumerate() {
        if name.ends_with('/') {
            continue;
        }
        let place = || {
            Ok::<_, Error>(Place::Zip {
                archive: source.clone(),
                index,
            })
        };
        add(&mut listing, path, &name, place)?;
    }
    listing.entries.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(listing)
}

/// Lists the images of a tar file, sorted by name.
///
/// The members of a plain tar are read in place when they are needed. A compressed one can only be read from start to
/// end: its images, as they are (JPEG, PNG, …), are kept in memory, up to [`OpenOptions::cache_bytes`]. A hard link is
/// another name of the member that it leads to.
pub(crate) fn list_tar(path: &Path, compression: Compression, options: &OpenOptions) -> Result<Listing> {
    if compression == Compression::None {
        let file = SharedFile::open(path).map_err(Error::io(path))?;
        let mut archive = Archive::new(file.clone());
        let members = archive.entries_with_seek().map_err(|error| corrupt(path, &error))?;
        return list_members(path, members, |member| {
            let (file, offset, len) = (file.clone(), member.raw_file_position(), member.size());
            Ok(Place::Span { file, offset, len })
        });
    }
    let left_bytes = Rc::new(Cell::new(MAX_HEADER_BYTES));
    let mut archive = Archive::new(Budget {
        reader: unpack(path, compression)?,
        left_bytes: left_bytes.clone(),
    });
    let members = archive.entries().map_err(|error| corrupt(path, &error))?;
    let members = members.inspect(|member| {
        if let Ok(member) = member {
            left_bytes.set(member.size().saturating_add(MAX_HEADER_BYTES));
        }
    });
    let limit_bytes = options.cache_bytes;
    let mut needed_bytes = 0_u64;
    list_members(path, members, |member| {
        let len = member.size();
        needed_bytes = needed_bytes.saturating_add(len);
        if needed_bytes > limit_bytes {
            return Err(Stop::At(Error::TarTooLarge {
                path: path.into(),
                limit_bytes,
            }));
        }
        let mut bytes = Vec::with_capacity(len.min(1 << 24) as usize);
        member.read_to_end(&mut bytes)?;
        Ok(Place::Memory {
            archive: path.into(),
            bytes: bytes.into(),
        })
    })
}

/// A reader that fails after so many bytes.
///
/// The tar crate reads a long name, and whatever else stands before a member, into memory before anyone sees the member.
struct Budget<R> {
    reader: R,
    left_bytes: Rc<Cell<u64>>,
}

impl<R: Read> Read for Budget<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let left = self.left_bytes.get();
        if left == 0 {
            let reason = format!("the header of a member has over {MAX_HEADER_BYTES} bytes");
            return Err(std::io::Error::other(reason));
        }
        let most = (buffer.len() as u64).min(left) as usize;
        let count = self.reader.read(&mut buffer[..most])?;
        self.left_bytes.set(left - count as u64);
        Ok(count)
    }
}

/// Why the reading of a tar file ends before its end.
enum Stop {
    /// Damage: what came before can be used.
    Damage(std::io::Error),
    /// The whole file cannot be used.
    At(Error),
}

impl From<std::io::Error> for Stop {
    fn from(error: std::io::Error) -> Self {
        Self::Damage(error)
    }
}

/// The images of a tar file; `place` says where one is.
fn list_members<'a, R: Read + 'a>(
    path: &Path,
    members: impl Iterator<Item = std::io::Result<tar::Entry<'a, R>>>,
    mut place: impl FnMut(&mut tar::Entry<'_, R>) -> Result<Place, Stop>,
) -> Result<Listing> {
    let mut listing = Listing::default();
    let mut links = Vec::new();
    for member in members {
        match member
            .map_err(Stop::Damage)
            .and_then(|mut member| add_member(&mut listing, &mut links, path, &mut member, &mut place))
        {
            Ok(()) => {}
            Err(Stop::At(error)) => return Err(error),
            Err(Stop::Damage(error)) => {
                let reason = format!(
                    "the archive ends early, after {} images: {error}",
                    listing.entries.len()
                );
                listing.skipped.push(Skipped {
                    path: path.into(),
                    reason,
                });
                break;
            }
        }
    }
    add_links(&mut listing, path, links)?;
    listing.entries.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(listing)
}

/// Adds a member, or notes the name and the target of a hard link.
fn add_member<R: Read>(
    listing: &mut Listing,
    links: &mut Vec<(String, String)>,
    path: &Path,
    member: &mut tar::Entry<'_, R>,
    place: &mut impl FnMut(&mut tar::Entry<'_, R>) -> Result<Place, Stop>,
) -> Result<(), Stop> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let name = text(&member.path_bytes());
    match member.header().entry_type() {
        EntryType::Regular | EntryType::Continuous => return add(listing, path, &name, || place(member)),
        EntryType::Link => links.push((name, text(&member.link_name_bytes().unwrap_or_default()))),
        EntryType::Symlink => leave_out(listing, path, &name, "a symbolic link, which is not followed"),
        EntryType::GNUSparse => leave_out(listing, path, &name, "a sparse member, which is not read"),
        _ => {}
    }
    Ok(())
}

/// Adds hard links, each as the image that it leads to.
fn add_links(listing: &mut Listing, path: &Path, links: Vec<(String, String)>) -> Result<()> {
    listing.entries.sort_by(|a, b| a.name.cmp(&b.name));
    let sorted = listing.entries.len();
    for (name, target) in links {
        let target = strip(&target);
        match listing.entries[..sorted].binary_search_by(|entry| entry.name.cmp(&target)) {
            Ok(index) => {
                let place = listing.entries[index].place.clone();
                add(listing, path, &name, || Ok::<_, Error>(place))?;
            }
            Err(_) => leave_out(listing, path, &name, format!("a hard link to no image: {target}")),
        }
    }
    Ok(())
}

/// Adds a member if it is an image; `place` is called only then.
fn add<E>(
    listing: &mut Listing,
    archive: &Path,
    name: &str,
    place: impl FnOnce() -> Result<Place, E>,
) -> Result<(), E> {
    let path = || archive.join(name.trim_start_matches('/'));
    match sort(&strip(name)) {
        // Nothing is written, so the name does no harm; but who made such an archive meant none of us well.
        Sort::Image | Sort::Unknown if leads_outside(name) => {
            let reason = "the name leads outside of the archive".into();
            listing.skipped.push(Skipped { path: path(), reason });
        }
        Sort::Image => listing.entries.push(Entry::new(strip(name), place()?)),
        Sort::Unread => listing.skipped.push(Skipped {
            path: path(),
            reason: unread_reason(name),
        }),
        Sort::Unknown | Sort::Other => listing.other_files += 1,
    }
    Ok(())
}

/// Counts a member that is not read, and reports it if its name is that of an image.
fn leave_out(listing: &mut Listing, archive: &Path, name: &str, reason: impl Into<String>) {
    let name = strip(name);
    match sort(&name) {
        Sort::Image | Sort::Unread => listing.skipped.push(Skipped {
            path: archive.join(name),
            reason: reason.into(),
        }),
        Sort::Unknown | Sort::Other => listing.other_files += 1,
    }
}

/// `./a//b.png` as `a/b.png`.
fn strip(name: &str) -> String {
    let parts: Vec<&str> = name
        .split('/')
        .filter(|part| !part.is_empty() && *part != "." && *part != "..")
        .collect();
    parts.join("/")
}

/// `../x.png`, `/etc/x.png`, `C:/x.png`.
fn leads_outside(name: &str) -> bool {
    name.starts_with('/') || name.as_bytes().get(1) == Some(&b':') || name.split('/').any(|part| part == "..")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_lead_outside_are_known() {
        for name in ["../a.png", "a/../../b.png", "/a.png", "C:/a.png"] {
            assert!(leads_outside(name), "{name}");
        }
        for name in ["a.png", "./a/b.png", "a..b/c.png"] {
            assert!(!leads_outside(name), "{name}");
        }
        assert_eq!(strip("./a//b.png"), "a/b.png");
    }
}
