//! Folders of images at any depth.

use std::collections::HashSet;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::source::{Entry, Listing, Place};

/// Name endings of the formats that are read.
const IMAGES: [&str; 14] = [
    "png", "jpg", "jpeg", "jpe", "jfif", "webp", "gif", "bmp", "dib", "tif", "tiff", "pnm", "pgm", "ppm",
];
/// More of them: 1-bit and arbitrary maps, and animated PNG.
const MORE_IMAGES: [&str; 3] = ["pbm", "pam", "apng"];
/// Pictures that people have, in formats that are not read: reported, not passed over.
const UNREAD: [&str; 14] = [
    "heic", "heif", "avif", "jxl", "jp2", "svg", "psd", "xcf", "exr", "hdr", "dng", "cr2", "nef", "arw",
];

/// What a name says about a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sort {
    /// To be read as an image.
    Image,
    /// An image in a format that is not read.
    Unread,
    /// No ending: the content decides.
    Unknown,
    /// Not an image.
    Other,
}

/// Judges a file by the ending of its name. Hidden files and those of macOS archives are not images.
pub(crate) fn sort(name: &str) -> Sort {
    if name.split('/').any(|part| part.starts_with('.') || part == "__MACOSX") {
        return Sort::Other;
    }
    let file = name.rsplit('/').next().unwrap_or(name);
    let Some((_, ending)) = file.rsplit_once('.') else {
        return Sort::Unknown;
    };
    let ending = ending.to_ascii_lowercase();
    if IMAGES.contains(&&ending[..]) || MORE_IMAGES.contains(&&ending[..]) {
        Sort::Image
    } else if UNREAD.contains(&&ending[..]) {
        Sort::Unread
    } else {
        Sort::Other
    }
}

/// The reason for leaving out a [`Sort::Unread`] file.
pub(crate) fn unread_reason(name: &str) -> String {
    format!(
        "images of this format are not read: {}",
        name.rsplit('.').next().unwrap_or(name).to_lowercase()
    )
}

/// What a folder holds.
#[derive(Debug, Default)]
pub(crate) struct Walked {
    /// The images.
    pub(crate) listing: Listing,
    /// IDX files of images at the top, sorted.
    pub(crate) idx_files: Vec<PathBuf>,
    /// Archives and NPZ files at the top, sorted.
    pub(crate) containers: Vec<PathBuf>,
}

/// Finds the images below a folder, sorted by name; links to folders are followed once.
pub(crate) fn walk(root: &Path) -> Result<Walked> {
    let mut walked = Walked::default();
    let mut visited = HashSet::new();
    visit(root, "", &mut visited, &mut walked)?;
    walked.listing.entries.sort_by(|a, b| a.name.cmp(&b.name));
    walked.idx_files.sort();
    walked.containers.sort();
    Ok(walked)
}

fn visit(folder: &Path, prefix: &str, visited: &mut HashSet<PathBuf>, walked: &mut Walked) -> Result<()> {
    let canonical = folder.canonicalize().map_err(Error::io(folder))?;
    if !visited.insert(canonical) {
        return Ok(());
    }
    let mut items = Vec::new();
    for item in std::fs::read_dir(folder).map_err(Error::io(folder))? {
        items.push(item.map_err(Error::io(folder))?.path());
    }
    items.sort();
    for path in items {
        let file_name = path.file_name().unwrap_or_default().to_string_lossy();
        let name = if prefix.is_empty() {
            file_name.into_owned()
        } else {
            format!("{prefix}/{file_name}")
        };
        match std::fs::metadata(&path) {
            Ok(meta) if meta.is_dir() => {
                if !name
                    .rsplit('/')
                    .next()
                    .is_some_and(|part| part.starts_with('.') || part == "__MACOSX")
                {
                    let result = visit(&path, &name, visited, walked);
                    skip_unreadable(result, walked)?;
                }
            }
            Ok(_) => place(path, name, prefix.is_empty(), walked),
            // A dangling link, or no permission.
            Err(source) => skip_unreadable(Err(Error::Io { path, source }), walked)?,
        }
    }
    Ok(())
}

/// A folder that cannot be read is reported like a file that cannot.
fn skip_unreadable(result: Result<()>, walked: &mut Walked) -> Result<()> {
    if let Err(Error::Io { path, source }) = result {
        walked.listing.skipped.push(crate::Skipped {
            path,
            reason: source.to_string(),
        });
        return Ok(());
    }
    result
}

fn place(path: PathBuf, name: String, at_top: bool, walked: &mut Walked) {
    let listing = &mut walked.listing;
    let sort = match sort(&name) {
        Sort::Unknown if is_image(&path) => Sort::Image,
        Sort::Unknown if !at_top => Sort::Other,
        sort => sort,
    };
    match sort {
        Sort::Image => listing.entries.push(Entry::new(name, Place::File(path))),
        Sort::Unread => {
            let reason = unread_reason(&name);
            listing.skipped.push(crate::Skipped { path, reason });
        }
        Sort::Unknown | Sort::Other => {
            let lower = name.to_lowercase();
            if at_top && is_idx_name(&lower) {
                walked.idx_files.push(path);
            } else if at_top && is_container_name(&lower) {
                walked.containers.push(path);
            } else {
                listing.other_files += 1;
            }
        }
    }
}

fn is_idx_name(name: &str) -> bool {
    !name.starts_with('.') && (name.contains("idx3") || name.contains("idx4"))
}

fn is_container_name(name: &str) -> bool {
    let endings = [".zip", ".npz", ".tar", ".tgz", ".tar.gz", ".txz", ".tar.xz"];
    !name.starts_with('.') && endings.iter().any(|ending| name.ends_with(ending))
}

/// Whether a file without an ending starts like an image.
fn is_image(path: &Path) -> bool {
    let mut start = Vec::new();
    let read = File::open(path).and_then(|file| file.take(32).read_to_end(&mut start));
    read.is_ok() && image::guess_format(&start).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_judged_by_their_ending() {
        for name in ["a.png", "x/y/b.JPEG", "c.tiff", "d.e.pbm"] {
            assert_eq!(sort(name), Sort::Image, "{name}");
        }
        assert_eq!(sort("photo.HEIC"), Sort::Unread);
        assert_eq!(unread_reason("photo.HEIC"), "images of this format are not read: heic");
        for name in ["README.txt", "__MACOSX/._a.png", "x/.a.png", ".DS_Store"] {
            assert_eq!(sort(name), Sort::Other, "{name}");
        }
        assert_eq!(sort("x/ILSVRC_0001"), Sort::Unknown);
    }
}
