//! Two sets that are trained on together: pairs, and collections without pairs.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result, Skipped};
use crate::open::{Opened, build, held_out, pipeline, require_images};
use crate::options::{ClassLevel, OpenOptions, Size};
use crate::parallel;
use crate::scan::{Item, Scan, scan};
use crate::source::Place;
use crate::streamed::{Part, Pipeline};

/// Sides that nobody asked for are rounded down to multiples of this, so that networks halve them well.
const MULTIPLE_PX: usize = 16;

/// Proportions of two partners that agree within this are the same.
const SAME_PROPORTIONS: f64 = 1.05;

/// Opens pairs of pictures: sets `[a, b]` of which the same index shows partners.
///
/// **Layouts.** One source of pictures that each hold A on the left and B on the right; or two sources, or one folder
/// with two sub-folders, in which partners have the same path (the ending of its name may differ, and so
/// may folders that all pictures of a source lie in). A `train` beside
/// `test` or `val` is a split as in [`crate::open()`].
///
/// **Left out**, with the reason: pictures without a partner, several of one name, partners of different proportions,
/// pictures that are not wider than high where A and B stand side by side, and pairs of which a file is damaged.
///
/// **Size and channels** are chosen as by [`crate::open()`] over A and B together, so that a gray A beside a B in color
/// becomes RGB too; sides that nobody asked for are rounded down to multiples of 16.
///
/// # Errors
/// [`Error::NoImages`] if too few pairs are left, [`Error::Option`] for more than two sources, and those of
/// [`crate::open()`].
pub fn open_pairs(sources: &[PathBuf], options: &OpenOptions) -> Result<[Opened; 2]> {
    options.validate()?;
    let (mut a, b) = match sources {
        [_] => {
            // One folder tells A from B, whatever lies below it.
            let options = OpenOptions {
                class_level: ClassLevel::First,
                ..options.clone()
            };
            let all = scan(sources, &options, &|_| {})?;
            match two_folders(&all.items) {
                Some((names, depth)) => {
                    let (b, a) = all
                        .items
                        .iter()
                        .cloned()
                        .partition(|item| folder(item) == Some(&names[1]));
                    (Scan { items: a, ..all }, Some((b, [Own::At(depth); 2])))
                }
                None => (all, None),
            }
        }
        [first, second] => {
            let [mut a, b] = [first, second].map(|source| scan(std::slice::from_ref(source), options, &|_| {}));
            if let (Ok(a), Ok(b)) = (&mut a, &b) {
                a.skipped.extend(b.skipped.iter().cloned());
                a.found += b.found;
            }
            let (a, b) = (a?, b?.items);
            let own = folders_of_their_own([&a.items, &b]);
            (a, Some((b, own)))
        }
        several => return Err(too_many(several.len())),
    };
    let mut skipped = std::mem::take(&mut a.skipped);
    let (items, partners, parts) = if let Some((b, own)) = b {
        let (items, partners) = matched([std::mem::take(&mut a.items), b], own, &mut skipped);
        (items, partners, [Part::Whole; 2])
    } else {
        let items = halves(std::mem::take(&mut a.items), &mut skipped);
        (items.clone(), items, [Part::LeftHalf, Part::RightHalf])
    };
    let shared = shared_pipeline(&[&items, &partners], options);
    let pipelines = parts.map(|part| Pipeline { part, ..shared });
    let (items, partners) = readable([items, partners], pipelines, options, &mut skipped);
    let scan_of = |items, skipped| Scan {
        items,
        classes: Vec::new(),
        skipped,
        other_files: a.other_files,
        found: a.found,
        has_split: a.has_split,
    };
    let (a, b) = (scan_of(items, skipped), scan_of(partners, Vec::new()));
    require_images(sources, options, &a, a.items.len())?;
    let is_held = held_out(&a, options);
    Ok([
        build(sources, options, (a, is_held.clone()), pipelines[0], &|_| {})?,
        build(sources, options, (b, is_held), pipelines[1], &|_| {})?,
    ])
}

/// Opens two collections of pictures that have nothing to do with each other: sets `[a, b]` of one shape.
///
/// **Layouts.** Two sources; or one folder with two sub-folders; or one with `trainA` and `trainB` and, held out in
/// place of a share, `testA` and `testB`.
///
/// **Size and channels** are chosen as by [`crate::open()`] over both together: where one is gray and the other in
/// color, both become RGB. Sides that nobody asked for are rounded down to multiples of 16. Collections may differ in
/// length.
///
/// # Errors
/// Those of [`crate::open()`], and [`Error::Option`] if it is not two collections.
pub fn open_collections(sources: &[PathBuf], options: &OpenOptions) -> Result<[Opened; 2]> {
    options.validate()?;
    let (first, second, tests) = match sources {
        [first, second] => (first.clone(), second.clone(), None),
        [folder] => two_collections(folder)?,
        several => return Err(too_many(several.len())),
    };
    let scan_of = |source: &PathBuf| -> Result<Scan> {
        let sources = std::slice::from_ref(source);
        let found = scan(sources, options, &|_| {})?;
        require_images(sources, options, &found, found.items.len())?;
        Ok(found)
    };
    let (a, b) = (scan_of(&first)?, scan_of(&second)?);
    let shared = shared_pipeline(&[&a.items, &b.items], options);
    let open = |scan: Scan, source: PathBuf, test: Option<PathBuf>| -> Result<Opened> {
        // What the folder itself holds out takes the place of a share.
        let is_held = match test {
            Some(_) => vec![false; scan.items.len()],
            None => held_out(&scan, options),
        };
        let mut opened = build(&[source], options, (scan, is_held), shared, &|_| {})?;
        if let Some(test) = test {
            let found = self::scan(std::slice::from_ref(&test), options, &|_| {})?;
            let none = vec![false; found.items.len()];
            let held = build(&[test], options, (found, none), shared, &|_| {})?;
            opened.summary.holdout = held.train.len();
            opened.holdout = Some(held.train);
            opened.skipped.extend(held.skipped);
        }
        Ok(opened)
    };
    let [test_a, test_b] = tests.map_or([None, None], |tests| tests.map(Some));
    Ok([open(a, first, test_a)?, open(b, second, test_b)?])
}

/// The two collections of one folder, and what is held out of each.
fn two_collections(folder: &Path) -> Result<(PathBuf, PathBuf, Option<[PathBuf; 2]>)> {
    let [train_a, train_b, test_a, test_b] = ["trainA", "trainB", "testA", "testB"].map(|name| folder.join(name));
    if train_a.is_dir() && train_b.is_dir() {
        let tests = (test_a.is_dir() && test_b.is_dir()).then_some([test_a, test_b]);
        return Ok((train_a, train_b, tests));
    }
    let mut folders = Vec::new();
    if folder.is_dir() {
        for entry in std::fs::read_dir(folder).map_err(Error::io(folder))? {
            let path = entry.map_err(Error::io(folder))?.path();
            let is_hidden = path
                .file_name()
                .is_some_and(|name| name.to_string_lossy().starts_with('.'));
            if path.is_dir() && !is_hidden {
                folders.push(path);
            }
        }
    }
    folders.sort();
    match <[PathBuf; 2]>::try_from(folders) {
        Ok([a, b]) => Ok((a, b, None)),
        Err(folders) => Err(Error::Option {
            option: "sources",
            expected: "two collections, or a folder of two folders".into(),
            got: format!("{} with {} folders", folder.display(), folders.len()),
        }),
    }
}

fn too_many(got: usize) -> Error {
    Error::Option {
        option: "sources",
        expected: "one or two".into(),
        got: got.to_string(),
    }
}

/// The shape and limits of both sets.
pub(crate) fn shared_pipeline(sets: &[&Vec<Item>; 2], options: &OpenOptions) -> Pipeline {
    let all: Vec<Item> = sets.iter().flat_map(|items| items.iter().cloned()).collect();
    let mut pipeline = pipeline(&all, options);
    if options.size.is_none() {
        let shape = &mut pipeline.fit.shape;
        for side in [&mut shape.height_px, &mut shape.width_px] {
            *side = (*side / MULTIPLE_PX * MULTIPLE_PX).max(MULTIPLE_PX.min(*side));
        }
    }
    pipeline
}

/// The folder that an image stands in, as far as images differ in it.
fn folder(item: &Item) -> Option<&String> {
    item.entry.class.as_ref()
}

/// The two folders of a set whose images all stand in one of two, if any name is in both, and how deep they lie.
fn two_folders(items: &[Item]) -> Option<([String; 2], usize)> {
    let names: BTreeSet<&String> = items.iter().filter_map(folder).collect();
    let is_all = items.iter().all(|item| folder(item).is_some());
    let names: Vec<String> = names.into_iter().cloned().collect();
    let names = <[String; 2]>::try_from(names).ok().filter(|_| is_all)?;
    let is_at = |depth, item: &Item| item.entry.name.split('/').nth(depth) == folder(item).map(String::as_str);
    let mut depths = 0..items[0].entry.name.split('/').count();
    let depth = depths.find(|&depth| items.iter().all(|item| is_at(depth, item)))?;
    let of = |name: &String| -> BTreeSet<String> {
        let own = items.iter().filter(|item| folder(item) == Some(name));
        own.map(|item| key(item, Own::At(depth))).collect()
    };
    (!of(&names[0]).is_disjoint(&of(&names[1]))).then_some((names, depth))
}

/// Folders in the name of an image that its partner does not have.
#[derive(Clone, Copy)]
enum Own {
    /// One at this depth, which tells A from B.
    At(usize),
    /// So many, from the first on.
    First(usize),
}

/// None of two sources, unless no name is in both: then those that all images of a source lie in, as in an archive of a folder.
fn folders_of_their_own(sets: [&[Item]; 2]) -> [Own; 2] {
    let keys = sets.map(|items| {
        items
            .iter()
            .map(|item| key(item, Own::First(0)))
            .collect::<BTreeSet<_>>()
    });
    if !keys[0].is_disjoint(&keys[1]) {
        return [Own::First(0); 2];
    }
    keys.map(|keys| {
        let mut shared: Vec<&str> = keys.iter().next().map_or_else(Vec::new, |key| key.split('/').collect());
        shared.pop();
        for key in &keys {
            let same = shared.iter().zip(key.split('/')).take_while(|(a, b)| *a == b).count();
            shared.truncate(same);
        }
        Own::First(shared.len())
    })
}

/// What partners share: the name without its ending and without the folders of its own.
fn key(item: &Item, own: Own) -> String {
    let name = item.entry.name.as_str();
    let stem = match name.rsplit_once('.') {
        // The name of a row ends in its number.
        Some((stem, ending)) if !ending.contains('/') && !matches!(item.entry.place, Place::Row { .. }) => stem,
        _ => name,
    };
    let is_shared = |at| match own {
        Own::At(depth) => at != depth,
        Own::First(count) => at >= count,
    };
    let parts = stem.split('/').enumerate().filter(|&(at, _)| is_shared(at));
    parts.map(|(_, part)| part).collect::<Vec<_>>().join("/")
}

/// The images by key, without those that share one: nobody knows which of them the partner is.
fn keyed(items: Vec<Item>, own: Own, skipped: &mut Vec<Skipped>) -> Vec<(String, Item)> {
    let items: Vec<_> = items.into_iter().map(|item| (key(&item, own), item)).collect();
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for (key, _) in &items {
        *counts.entry(key.clone()).or_default() += 1;
    }
    let (alone, several): (Vec<_>, Vec<_>) = items.into_iter().partition(|(key, _)| counts[key] == 1);
    let several = several.iter();
    skipped.extend(several.map(|(_, item)| item.entry.skip("several files of this name")));
    alone
}

/// The images of both sets that have a partner of the same proportions, in the order of the first.
fn matched([a, b]: [Vec<Item>; 2], own: [Own; 2], skipped: &mut Vec<Skipped>) -> (Vec<Item>, Vec<Item>) {
    let [a, b] = [(a, own[0]), (b, own[1])].map(|(items, own)| keyed(items, own, skipped));
    let mut partners: BTreeMap<String, Item> = b.into_iter().collect();
    let (mut first, mut second) = (Vec::new(), Vec::new());
    for (key, item) in a {
        let Some(partner) = partners.remove(&key) else {
            skipped.push(item.entry.skip("no partner of the same name"));
            continue;
        };
        let ratio = |item: &Item| item.header.width_px as f64 / item.header.height_px as f64;
        let unlike = ratio(&item) / ratio(&partner);
        if unlike.max(1.0 / unlike) > SAME_PROPORTIONS {
            let sides = |item: &Item| format!("{}x{}", item.header.width_px, item.header.height_px);
            let reason = format!("{} beside a partner of {}", sides(&item), sides(&partner));
            skipped.push(item.entry.skip(reason));
            continue;
        }
        first.push(item);
        second.push(partner);
    }
    let alone = partners.values();
    skipped.extend(alone.map(|item| item.entry.skip("no partner of the same name")));
    (first, second)
}

/// The pictures that can hold A and B side by side, with the sides of a half.
fn halves(items: Vec<Item>, skipped: &mut Vec<Skipped>) -> Vec<Item> {
    let mut good = Vec::new();
    for mut item in items {
        let Size { width_px, height_px } = Size {
            width_px: item.header.width_px,
            height_px: item.header.height_px,
        };
        if width_px > height_px && width_px >= 2 {
            item.header.width_px /= 2;
            good.push(item);
        } else {
            let reason = format!("not wider than high, so no two pictures side by side: {width_px}x{height_px}");
            skipped.push(item.entry.skip(reason));
        }
    }
    good
}

/// The pairs of which both pictures can be decoded: a damaged one must not put others beside wrong partners.
fn readable(
    [a, b]: [Vec<Item>; 2],
    pipelines: [Pipeline; 2],
    options: &OpenOptions,
    skipped: &mut Vec<Skipped>,
) -> (Vec<Item>, Vec<Item>) {
    let threads = parallel::threads(options.threads);
    let problems = parallel::map(threads, a.len(), |index| {
        let problem = |item: &Item, pipeline: Pipeline| {
            let picture = pipeline.picture(&item.entry);
            picture.err().map(|reason| item.entry.skip(reason))
        };
        // Halves of one file are read once.
        let is_one = pipelines[0].part != Part::Whole;
        problem(&a[index], pipelines[0]).or_else(|| (!is_one).then(|| problem(&b[index], pipelines[1])).flatten())
    });
    let (mut first, mut second) = (Vec::new(), Vec::new());
    for ((a, b), problem) in a.into_iter().zip(b).zip(problems) {
        if let Some(problem) = problem {
            skipped.push(problem);
        } else {
            first.push(a);
            second.push(b);
        }
    }
    (first, second)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use image::{GrayImage, Luma, Rgb, RgbImage};

    use super::*;

    fn write(path: &Path, width: u32, height: u32, shade: u8) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        RgbImage::from_pixel(width, height, Rgb([shade, 0, 0]))
            .save(path)
            .unwrap();
    }

    /// The first byte of an image of each set.
    fn firsts(opened: &[Opened; 2], index: usize) -> [u8; 2] {
        [0, 1].map(|set: usize| {
            let train = &opened[set].train;
            let mut pixels = vec![0; train.shape().bytes()];
            train.read(index, &mut pixels).unwrap();
            pixels[0]
        })
    }

    #[test]
    fn halves_of_one_file_are_partners() {
        let directory = tempfile::tempdir().unwrap();
        for shade in 0..3u8 {
            let picture = RgbImage::from_fn(64, 32, |x, _| Rgb([shade + if x < 32 { 10 } else { 100 }, 0, 0]));
            picture.save(directory.path().join(format!("{shade}.png"))).unwrap();
        }
        write(&directory.path().join("square.png"), 32, 32, 5);
        let opened = open_pairs(&[directory.path().into()], &OpenOptions::default()).unwrap();
        assert_eq!(opened[0].train.shape().to_string(), "32x32x3");
        assert_eq!((opened[0].train.len(), opened[1].train.len()), (3, 3));
        for index in 0..3 {
            let [a, b] = firsts(&opened, index);
            assert_eq!(b, a + 90);
        }
        assert!(
            opened[0].skipped[0].reason.contains("side by side"),
            "{:?}",
            opened[0].skipped
        );
        assert_ne!(opened[0].train.fingerprint(), opened[1].train.fingerprint());
    }

    #[test]
    fn folders_pair_by_name_and_say_who_is_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        for shade in 0..4u8 {
            write(&path(&format!("A/{shade}.png")), 32, 32, shade + 10);
            write(&path(&format!("B/{shade}.bmp")), 64, 64, shade + 100);
        }
        write(&path("A/alone.png"), 32, 32, 1);
        write(&path("B/lonely.png"), 32, 32, 1);
        write(&path("A/wide.png"), 64, 32, 1);
        write(&path("B/wide.png"), 32, 32, 1);
        fs::write(path("B/2.bmp"), b"BM broken").unwrap();
        for sources in [vec![directory.path().to_owned()], vec![path("A"), path("B")]] {
            let opened = open_pairs(&sources, &OpenOptions::default()).unwrap();
            assert_eq!(
                (opened[0].train.len(), opened[1].train.len()),
                (3, 3),
                "{:?}",
                opened[0].skipped
            );
            for index in 0..3 {
                let [a, b] = firsts(&opened, index);
                assert_eq!(b, a + 90);
            }
            let reasons: Vec<&str> = opened[0]
                .skipped
                .iter()
                .map(|skipped| skipped.reason.as_str())
                .collect();
            assert!(reasons.contains(&"64x32 beside a partner of 32x32"), "{reasons:?}");
            assert!(reasons.iter().filter(|reason| reason.starts_with("no partner")).count() >= 2);
        }
    }

    /// So many pairs, of which the shade of B is 100 over that of A.
    fn assert_partners(opened: &[Opened; 2], count: usize) {
        assert_eq!(opened[0].train.len(), count, "{:?}", opened[0].skipped);
        for index in 0..count {
            let [a, b] = firsts(opened, index);
            assert_eq!(b, a + 100);
        }
    }

    #[test]
    fn partners_share_every_folder_but_their_own() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        for (at, name) in ["cat/1.png", "cat/2.png", "dog/1.png", "dog/2.png"]
            .into_iter()
            .enumerate()
        {
            for (side, shade) in [("A", 0), ("B", 100)] {
                write(&path(&format!("sets/{side}/{name}")), 16, 16, shade + at as u8);
                write(&path(&format!("top/DATA/{side}/{name}")), 16, 16, shade + at as u8);
                write(&path(&format!("deep/B/below/{side}/{name}")), 16, 16, shade + at as u8);
                let split = name.replace("cat", "train").replace("dog", "test");
                let (part, name) = split.split_once('/').unwrap();
                write(&path(&format!("split/{part}/{side}/{name}")), 16, 16, shade + at as u8);
            }
        }
        let options = OpenOptions::default();
        assert_partners(&open_pairs(&[path("sets/A"), path("sets/B")], &options).unwrap(), 4);
        for root in ["sets", "top", "deep"] {
            assert_partners(&open_pairs(&[path(root)], &options).unwrap(), 4);
        }
        // As in archives of two folders.
        for (side, top) in [("A", "wrapped/one/sketches"), ("B", "wrapped/two/photos")] {
            fs::create_dir_all(path(top)).unwrap();
            fs::rename(path(&format!("deep/B/below/{side}")), path(&format!("{top}/{side}"))).unwrap();
        }
        assert_partners(
            &open_pairs(&[path("wrapped/one"), path("wrapped/two")], &options).unwrap(),
            4,
        );
        let split = open_pairs(&[path("split")], &options).unwrap();
        assert_partners(&split, 2);
        let held = split.map(|opened| Opened {
            train: opened.holdout.clone().unwrap(),
            ..opened
        });
        assert_partners(&held, 2);
    }

    #[test]
    fn several_files_of_one_name_have_no_partner() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        for (name, shade) in [("1.png", 1), ("2.png", 2), ("2.bmp", 3), ("3.png", 4), ("4.png", 5)] {
            write(&path(&format!("A/{name}")), 16, 16, shade);
        }
        for (name, shade) in [
            ("1.png", 101),
            ("2.png", 102),
            ("3.png", 103),
            ("3.bmp", 104),
            ("4.png", 105),
        ] {
            write(&path(&format!("B/{name}")), 16, 16, shade);
        }
        let opened = open_pairs(&[directory.path().into()], &OpenOptions::default()).unwrap();
        assert_partners(&opened, 2);
        let reasons: Vec<(String, &str)> = opened[0]
            .skipped
            .iter()
            .map(|skipped| {
                let name = skipped.path.strip_prefix(directory.path()).unwrap();
                (name.to_string_lossy().into_owned(), skipped.reason.as_str())
            })
            .collect();
        let several = "several files of this name";
        for name in ["A/2.bmp", "A/2.png", "B/3.bmp", "B/3.png"] {
            assert!(reasons.contains(&(name.into(), several)), "{reasons:?}");
        }
        assert_eq!(reasons.len(), 6, "{reasons:?}");
    }

    #[test]
    fn rows_of_arrays_are_partners_by_number() {
        let directory = tempfile::tempdir().unwrap();
        let folders = ["A", "B"].map(|name| directory.path().join(name));
        for (folder, shade) in folders.iter().zip([0, 100]) {
            fs::create_dir(folder).unwrap();
            let rows = [0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 1, shade, shade + 1];
            fs::write(folder.join("train-images.idx3-ubyte"), rows).unwrap();
        }
        assert_partners(&open_pairs(&folders, &OpenOptions::default()).unwrap(), 2);
    }

    #[test]
    fn held_out_pairs_stay_pairs() {
        let directory = tempfile::tempdir().unwrap();
        for shade in 0..40u8 {
            write(&directory.path().join(format!("A/{shade}.png")), 16, 16, shade);
            write(&directory.path().join(format!("B/{shade}.png")), 16, 16, shade + 100);
        }
        let options = OpenOptions {
            holdout: Some(0.2),
            ..OpenOptions::default()
        };
        let [a, b] = open_pairs(&[directory.path().into()], &options).unwrap();
        let (a, b) = (a.holdout.unwrap(), b.holdout.unwrap());
        assert!(a.len() == b.len() && !a.is_empty());
        for index in 0..a.len() {
            let (mut left, mut right) = (vec![0; 768], vec![0; 768]);
            a.read(index, &mut left).unwrap();
            b.read(index, &mut right).unwrap();
            assert_eq!(left[0] + 100, right[0]);
        }
    }

    #[test]
    fn collections_share_size_and_channels() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        for index in 0..5u8 {
            fs::create_dir_all(path("photos")).unwrap();
            let gray = GrayImage::from_pixel(70, 70, Luma([index]));
            gray.save(path(&format!("photos/{index}.png"))).unwrap();
        }
        for index in 0..2u8 {
            write(&path(&format!("paintings/{index}.png")), 70, 70, index);
        }
        for sources in [
            vec![directory.path().to_owned()],
            vec![path("paintings"), path("photos")],
        ] {
            let [a, b] = open_collections(&sources, &OpenOptions::default()).unwrap();
            assert_eq!((a.train.len(), b.train.len()), (2, 5));
            assert_eq!(a.train.shape().to_string(), "64x64x3");
            assert_eq!(a.train.shape(), b.train.shape());
        }
        let error = open_collections(&[path("photos")], &OpenOptions::default()).unwrap_err();
        assert!(error.to_string().contains("two collections"), "{error}");
    }

    #[test]
    fn test_folders_of_collections_are_held_out() {
        let directory = tempfile::tempdir().unwrap();
        for folder in ["trainA", "trainB", "testA", "testB"] {
            for index in 0..3u8 {
                write(&directory.path().join(format!("{folder}/{index}.png")), 32, 32, index);
            }
        }
        fs::write(directory.path().join("testB/broken.png"), "words").unwrap();
        for holdout in [None, Some(0.5)] {
            let options = OpenOptions {
                holdout,
                ..OpenOptions::default()
            };
            let [a, b] = open_collections(&[directory.path().into()], &options).unwrap();
            assert_eq!((a.skipped.len(), b.skipped.len()), (0, 1));
            for opened in [a, b] {
                assert_eq!((opened.train.len(), opened.holdout.unwrap().len()), (3, 3));
                assert_eq!((opened.summary.train, opened.summary.holdout), (3, 3));
            }
        }
    }
}
