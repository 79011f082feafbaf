//! What folder names say: which images train, which are held out, and of which class they are.

use std::{fs, path::Path};

use crate::options::ClassLevel;
use crate::source::{Listing, Split};

/// Folders of the training part, in lower case.
const TRAIN: [&str; 2] = ["train", "training"];
/// Folders that are held out where one of [`TRAIN`] stands beside them.
const HOLDOUT: [&str; 7] = ["test", "testing", "val", "valid", "validation", "eval", "holdout"];

/// Sets split and class of entries that do not have them.
///
/// Folders that all images share say nothing and are passed over. Below them, `train` beside `test` or `val` is a
/// split, and images beside both are of neither part. The next folder is the class.
pub(crate) fn assign(listing: &mut Listing, level: ClassLevel) {
    if listing
        .entries
        .iter()
        .any(|entry| entry.class.is_some() || entry.split == Split::Holdout)
    {
        return;
    }
    let shared = shared_folders(listing);
    let has = |names: &[&str]| {
        listing
            .entries
            .iter()
            .filter_map(|entry| folders(&entry.name).nth(shared))
            .any(|name| is_one(name, names))
    };
    let is_split = has(&TRAIN) && has(&HOLDOUT);
    let before = listing.entries.len();
    listing.entries.retain_mut(|entry| {
        let mut rest = folders(&entry.name).skip(shared);
        if is_split {
            match rest.next() {
                Some(name) if is_one(name, &TRAIN) => {}
                Some(name) if is_one(name, &HOLDOUT) => entry.split = Split::Holdout,
                _ => return false,
            }
        }
        let class = match level {
            ClassLevel::First => rest.next().unwrap_or_default().to_owned(),
            ClassLevel::Deepest => rest.collect::<Vec<_>>().join("/"),
        };
        entry.class = (!class.is_empty()).then_some(class);
        true
    });
    listing.other_files += (before - listing.entries.len()) as u64;
}

/// The folder of the training part in a folder of data, where one stands beside a held-out part or alone.
pub fn training_folder(data: &Path) -> Option<String> {
    let entries = fs::read_dir(data).ok()?.flatten();
    let names: Vec<String> = entries
        .filter(|entry| entry.path().is_dir())
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    let find = |known: &[&str]| names.iter().find(|name| is_one(name, known));
    let is_alone = names.len() == 1;
    find(&TRAIN).filter(|_| is_alone || find(&HOLDOUT).is_some()).cloned()
}

/// The folders of a name, without the file.
fn folders(name: &str) -> impl Iterator<Item = &str> {
    let folders = name.rsplit_once('/').map_or("", |(folders, _)| folders);
    folders.split('/').filter(|part| !part.is_empty() && *part != ".")
}

fn is_one(name: &str, names: &[&str]) -> bool {
    names.iter().any(|known| name.eq_ignore_ascii_case(known))
}

/// How many leading folders all images have in common.
fn shared_folders(listing: &Listing) -> usize {
    let Some(first) = listing.entries.first() else { return 0 };
    let common: Vec<&str> = folders(&first.name).collect();
    listing.entries.iter().fold(common.len(), |shared, entry| {
        folders(&entry.name)
            .zip(&common[..shared])
            .take_while(|(a, b)| a == *b)
            .count()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::{Entry, Place};

    fn assigned(names: &[&str], level: ClassLevel) -> Vec<(String, Split, Option<String>)> {
        let entries = names
            .iter()
            .map(|name| Entry::new((*name).into(), Place::File(name.into())))
            .collect();
        let mut listing = Listing {
            entries,
            ..Listing::default()
        };
        assign(&mut listing, level);
        listing
            .entries
            .into_iter()
            .map(|entry| (entry.name, entry.split, entry.class))
            .collect()
    }

    fn classes(names: &[&str], level: ClassLevel) -> Vec<Option<String>> {
        assigned(names, level).into_iter().map(|(_, _, class)| class).collect()
    }

    #[test]
    fn a_class_named_train_is_no_training_part() {
        let data = tempfile::tempdir().unwrap();
        assert_eq!(training_folder(&data.path().join("absent")), None);
        fs::create_dir(data.path().join("train")).unwrap();
        assert_eq!(training_folder(data.path()).as_deref(), Some("train"));
        fs::create_dir(data.path().join("bus")).unwrap();
        fs::write(data.path().join("test"), "a file").unwrap();
        assert_eq!(training_folder(data.path()), None);
        fs::create_dir(data.path().join("Val")).unwrap();
        assert_eq!(training_folder(data.path()).as_deref(), Some("train"));
    }

    #[test]
    fn the_first_folder_that_differs_is_the_class() {
        let names = ["root/cat/1.png", "root/cat/old/2.png", "root/dog/1.png"];
        let [cat, dog] = ["cat", "dog"].map(|name| Some(name.to_owned()));
        assert_eq!(
            classes(&names, ClassLevel::First),
            [cat.clone(), cat.clone(), dog.clone()]
        );
        assert_eq!(classes(&names, ClassLevel::Deepest), [cat, Some("cat/old".into()), dog]);
    }

    #[test]
    fn a_single_folder_is_no_class() {
        assert_eq!(classes(&["a/1.png", "a/2.png"], ClassLevel::First), [None, None]);
        assert_eq!(classes(&["1.png", "2.png"], ClassLevel::First), [None, None]);
    }

    #[test]
    fn train_beside_test_is_a_split() {
        let names = [
            "c/Train/cat/1.png",
            "c/Train/dog/1.png",
            "c/test/cat/2.png",
            "c/preview.png",
        ];
        let found = assigned(&names, ClassLevel::First);
        assert_eq!(found.len(), 3, "the picture beside both is of neither part");
        assert_eq!(found[0], (names[0].into(), Split::Train, Some("cat".into())));
        assert_eq!(found[2], (names[2].into(), Split::Holdout, Some("cat".into())));
    }

    #[test]
    fn train_alone_is_an_ordinary_folder() {
        let found = assigned(&["train/cat/1.png", "train/dog/1.png"], ClassLevel::First);
        assert!(found.iter().all(|(_, split, _)| *split == Split::Train));
        assert_eq!(found[1].2, Some("dog".into()));
    }
}
