//! What is left on disk: a folder for each class, a manifest, the generator, a report.

use std::{
    collections::BTreeSet,
    fs,
    io::Write,
    path::{Path, PathBuf},
};

use gander_data::ImageShape;
use gander_formats::atomic::write_atomic;
use serde::Serialize;

use super::filter::{Kept, Pool};
use crate::{
    error::{Error, Result},
    images::{picture, write_png},
};

/// The name of the manifest.
pub const MANIFEST: &str = "manifest.jsonl";
/// The name of the report.
pub const REPORT: &str = "report.html";

/// A line of the manifest.
#[derive(Debug, Serialize)]
struct Line<'a> {
    /// Path below the folder.
    file: &'a str,
    class: &'a str,
    label: usize,
    /// The generator that made it.
    source: &'a str,
    /// Real images of its class that the generator learned from.
    #[serde(skip_serializing_if = "Option::is_none")]
    learned_from: Option<LearnedFrom>,
    #[serde(flatten)]
    kept: &'a Kept,
}

/// Real images of a class that a generator learned from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) struct LearnedFrom {
    /// With a label.
    pub(super) labeled: usize,
    /// Without one, taken for the class.
    pub(super) named: usize,
}

/// Where the images of a set go.
#[derive(Debug)]
pub(super) struct Folder<'a> {
    pub(super) path: &'a Path,
    /// Folder between it and those of the classes, as in the data: `train`, or nothing.
    pub(super) inner: Option<String>,
    pub(super) classes: &'a [String],
    pub(super) shape: ImageShape,
    /// Of each class; empty for a generator from elsewhere.
    pub(super) learned_from: Vec<LearnedFrom>,
}

impl Folder<'_> {
    /// Writes the first `counts` images of each class and the manifest; gives how many of each.
    pub(super) fn write(&self, pool: &Pool, counts: &[usize], source: &str) -> Result<Vec<usize>> {
        let mut manifest = Vec::new();
        let mut written = Vec::with_capacity(counts.len());
        let names = folder_names(self.classes);
        for (class, name) in names.iter().enumerate() {
            let folder = self.inner.as_ref().map_or_else(PathBuf::new, PathBuf::from).join(name);
            make(&self.path.join(&folder))?;
            let pixels = pool.images.of_class[class].chunks_exact(self.shape.bytes());
            let images = pixels.zip(&pool.kept[class]).take(counts[class]);
            written.push(images.len());
            for (place, (pixels, kept)) in images.enumerate() {
                let file = folder.join(format!("synthetic-{:05}.png", place + 1));
                let ImageShape {
                    height_px,
                    width_px,
                    channels,
                } = self.shape;
                write_png(&self.path.join(&file), &picture(pixels, width_px, height_px, channels)?)?;
                let line = Line {
                    file: &file.to_string_lossy().replace('\\', "/"),
                    class: &self.classes[class],
                    label: class,
                    source,
                    learned_from: self.learned_from.get(class).copied(),
                    kept,
                };
                manifest.push(serde_json::to_string(&line).unwrap_or_default());
            }
        }
        write_atomic(&self.path.join(MANIFEST), |out| {
            manifest.iter().try_for_each(|line| writeln!(out, "{line}"))
        })?;
        Ok(written)
    }
}

/// Makes a folder.
pub(super) fn make(path: &Path) -> Result<()> {
    fs::create_dir_all(path).map_err(|source| Error::Io {
        action: "make folder",
        path: path.to_owned(),
        source,
    })
}

/// Refuses a folder that holds something, or that lies where the next look at the data would find it, and data that has grown
/// already.
pub(super) fn check(out: &Path, data: &Path) -> Result<()> {
    let occupied = |reason: &'static str| {
        Err(Error::Occupied {
            path: out.to_owned(),
            reason,
        })
    };
    if out.is_file() {
        return occupied("it is a file");
    }
    if fs::read_dir(out).is_ok_and(|mut entries| entries.next().is_some()) {
        return occupied("it is not empty");
    }
    if gander_data::lies_in(out, data) {
        return occupied("it lies in the data");
    }
    if data.join(MANIFEST).is_file() {
        return Err(Error::Grown {
            path: data.to_owned(),
            manifest: MANIFEST,
        });
    }
    Ok(())
}

/// Names of classes as names of folders: spaces and letters of any script stay, what a path would be steered by does not.
fn folder_names(classes: &[String]) -> Vec<String> {
    let mut taken = BTreeSet::new();
    let plain = |class: &String| {
        let steers = |c: char| c.is_control() || "/\\:*?\"<>|".contains(c);
        let name: String = class.chars().map(|c| if steers(c) { '_' } else { c }).collect();
        if name.trim_matches(['.', ' ']).is_empty() {
            format!("class_{name}")
        } else {
            name
        }
    };
    let mut unique = |class: &String| {
        let mut name = plain(class);
        while !taken.insert(name.to_lowercase()) {
            name.push('_');
        }
        name
    };
    classes.iter().map(&mut unique).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn class_names_stay_readable_and_inside() {
        let classes = ["red wine", "白酒", "crème brûlée", "..", "a/b", "a_b", "", "A_B"].map(str::to_owned);
        let names = folder_names(&classes);
        assert_eq!(
            names,
            [
                "red wine",
                "白酒",
                "crème brûlée",
                "class_..",
                "a_b",
                "a_b_",
                "class_",
                "A_B__"
            ]
        );
    }

    #[test]
    fn nothing_is_written_over_or_into_the_data() {
        let place = tempfile::tempdir().unwrap();
        let (data, out) = (place.path().join("data"), place.path().join("out"));
        fs::create_dir_all(&data).unwrap();
        assert!(check(&out, &data).is_ok());
        fs::create_dir_all(&out).unwrap();
        assert!(check(&out, &data).is_ok());
        assert!(matches!(check(&data.join("more"), &data), Err(Error::Occupied { .. })));
        fs::write(out.join("a"), "").unwrap();
        assert!(matches!(check(&out, &data), Err(Error::Occupied { .. })));
        assert!(matches!(check(&out.join("a"), &data), Err(Error::Occupied { .. })));
        fs::write(data.join(MANIFEST), "").unwrap();
        assert!(matches!(
            check(&place.path().join("new"), &data),
            Err(Error::Grown { .. })
        ));
    }
}
