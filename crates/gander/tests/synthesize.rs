//! Growing a dataset from the images on disk to the folder that is left.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::atomic::AtomicBool,
};

use gander::{
    Error, images,
    session::Length,
    shipped::{SampleOptions, ShippedGenerator},
    synthesize::{self, Amount, Differing, Measuring, Request, Summary},
};
use gander_data::{Dataset, Pottery, PotteryConfig, pottery::PictureSize};
use gander_tensor::Cpu;

/// Names as users have them.
const CLASSES: [&str; 5] = ["red wine", "白酒", "crème brûlée", "d", "e"];

fn pots(seed: u64) -> Pottery {
    Pottery::new(PotteryConfig {
        size: PictureSize::square(16),
        len: 60,
        seed,
        ..PotteryConfig::default()
    })
    .unwrap()
}

/// Writes so many pots of each class below a folder.
fn write_pots(folder: &Path, seed: u64, per_class: [usize; 5]) {
    let pots = pots(seed);
    let mut pixels = vec![0; pots.shape().bytes()];
    let mut counts = [0; 5];
    for index in 0..pots.len() {
        let class = pots.label(index).unwrap() as usize;
        if counts[class] < per_class[class] {
            counts[class] += 1;
            pots.read(index, &mut pixels).unwrap();
            let folder = folder.join(CLASSES[class]);
            fs::create_dir_all(&folder).unwrap();
            let picture = images::picture(&pixels, 16, 16, 3).unwrap();
            images::write_png(&folder.join(format!("{seed}-{index}.png")), &picture).unwrap();
        }
    }
    assert_eq!(counts, per_class);
}

fn request(data: &Path, out: PathBuf) -> Request {
    Request {
        data: data.to_owned(),
        out,
        amount: Amount::PerClass(3),
        length: Length::Kimg(0.064),
        unlabeled: None,
        init: None,
        run: None,
        labeled: None,
        holdout: None,
        size: None,
        measuring: Measuring::On,
        classifier_images: Some(480),
        seed: 1,
        threads: 2,
    }
}

fn grow(request: Request) -> Result<Summary, Error> {
    synthesize::run(synthesize::plan(request)?, &mut |_| {}, &AtomicBool::new(false))
}

/// Every file below a folder.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut all = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                all.insert(path.strip_prefix(folder).unwrap().to_owned(), fs::read(&path).unwrap());
            }
        }
    }
    all
}

/// Whatever stands in the held-out part, the generator, the images and their scores are the same.
///
/// Of two classes, one gets even odds or more of any image: some images of even a generator of two steps pass.
#[test]
fn nothing_that_is_held_out_leaks() {
    let place = tempfile::tempdir().unwrap();
    let grown = [7, 8].map(|seed| {
        let data = place.path().join(format!("{seed}/data"));
        write_pots(&data.join("train"), 0, [6, 6, 0, 0, 0]);
        write_pots(&data.join("test"), seed, [4, 4, 0, 0, 0]);
        // Some held-out images are training images too: they must not count.
        write_pots(&data.join("test"), 0, [1, 1, 0, 0, 0]);
        let out = place.path().join(format!("out{seed}"));
        let summary = grow(request(&data, out.clone())).unwrap();
        assert_eq!(summary.num_held_out, 8);
        (summary, files(&out))
    });
    let [(summary, mut files), (other, mut others)] = grown;
    let written: usize = summary.classes.iter().map(|class| class.written).sum();
    assert!(written > 0, "{}", summary.verdict);
    let measured = summary.measured.unwrap();
    assert_eq!((measured.trials, measured.trials_differ_in), (5, Differing::Seeds));
    assert_ne!(
        serde_json::to_string(&measured).unwrap(),
        serde_json::to_string(&other.measured.unwrap()).unwrap(),
        "other images are measured on"
    );
    for files in [&mut files, &mut others] {
        files.remove(Path::new(synthesize::REPORT)).unwrap();
    }
    assert!(files == others, "{:?}", files.keys());

    let manifest = String::from_utf8(files[Path::new(synthesize::MANIFEST)].clone()).unwrap();
    assert_eq!(manifest.lines().count(), written);
    for line in manifest.lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        let file = PathBuf::from(line["file"].as_str().unwrap());
        assert!(
            file.starts_with(Path::new("train").join(line["class"].as_str().unwrap())),
            "{file:?}"
        );
        assert!(files.contains_key(&file) && line["seed"].is_u64() && line["confidence"].is_f64());
    }
}

/// Classifiers learn one after the other, or side by side.
#[test]
fn the_number_of_threads_changes_no_number() {
    let place = tempfile::tempdir().unwrap();
    let data = place.path().join("data");
    write_pots(&data.join("train"), 0, [6, 6, 0, 0, 0]);
    write_pots(&data.join("test"), 8, [4, 4, 0, 0, 0]);
    let measured = [1, 3].map(|threads| {
        let request = Request {
            threads,
            ..request(&data, place.path().join(format!("out{threads}")))
        };
        serde_json::to_string(&grow(request).unwrap().measured.unwrap()).unwrap()
    });
    assert_eq!(measured[0], measured[1]);
}

/// Copies images of a folder into one without classes: as they are, mirrored, and at twice the size.
fn copy_in_disguise(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for (number, (path, _)) in files(from).into_iter().enumerate() {
        let picture = image::open(from.join(path)).unwrap();
        let disguises = [
            picture.clone(),
            picture.fliph(),
            picture.resize_exact(32, 32, image::imageops::FilterType::Nearest),
        ];
        for (kind, disguise) in disguises.iter().enumerate() {
            images::write_png(&to.join(format!("leak-{number}-{kind}.png")), disguise).unwrap();
        }
    }
}

/// Whatever stands in the held-out part, in whatever disguise it is given again as unlabeled, the images are the same.
#[test]
fn nothing_that_is_held_out_leaks_through_unlabeled_images() {
    let place = tempfile::tempdir().unwrap();
    let grown = [7, 8].map(|seed| {
        let (data, unlabeled) = (
            place.path().join(format!("{seed}/data")),
            place.path().join(format!("{seed}/more")),
        );
        write_pots(&data.join("train"), 0, [6, 6, 0, 0, 0]);
        write_pots(&data.join("test"), seed, [4, 4, 0, 0, 0]);
        // The training images are nothing new, those of another seed are.
        write_pots(&unlabeled, 0, [6, 6, 0, 0, 0]);
        write_pots(&unlabeled, 3, [9, 9, 9, 0, 0]);
        copy_in_disguise(&data.join("test"), &unlabeled);
        let out = place.path().join(format!("out{seed}"));
        let request = Request {
            unlabeled: Some(unlabeled),
            measuring: Measuring::On,
            ..request(&data, out.clone())
        };
        (grow(request).unwrap(), files(&out))
    });
    let [(summary, mut files), (_, mut others)] = grown;
    let unlabeled = summary.unlabeled.unwrap();
    assert_eq!((unlabeled.held_out, unlabeled.asked), (24, 27));
    let named: usize = summary.classes.iter().map(|class| class.named).sum();
    assert!(unlabeled.named > 0 && unlabeled.named == named, "{unlabeled:?}");
    for files in [&mut files, &mut others] {
        files.remove(Path::new(synthesize::REPORT)).unwrap();
    }
    assert!(files == others, "{:?}", files.keys());
    let manifest = String::from_utf8(files[Path::new(synthesize::MANIFEST)].clone()).unwrap();
    for line in manifest.lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        let class = &summary.classes[line["label"].as_u64().unwrap() as usize];
        assert_eq!(line["learned_from"]["labeled"], class.real);
        assert_eq!(line["learned_from"]["named"], class.named);
    }
}

/// The labeled images given once more, without their labels, change nothing.
#[test]
fn the_labeled_folder_given_as_unlabeled_changes_nothing() {
    let place = tempfile::tempdir().unwrap();
    let data = place.path().join("data");
    write_pots(&data, 0, [8, 8, 0, 0, 0]);
    let [(alone, files), (again, others)] = [None, Some(data.clone())].map(|unlabeled| {
        let out = place.path().join(format!("out{}", unlabeled.is_some()));
        let request = Request {
            unlabeled,
            ..request(&data, out.clone())
        };
        (grow(request).unwrap(), crate::files(&out))
    });
    assert_eq!(alone.unlabeled, None);
    assert_eq!(again.unlabeled.unwrap().asked, 0);
    let images = |files: BTreeMap<PathBuf, Vec<u8>>| -> Vec<_> {
        let is_image = |(path, _): &(PathBuf, Vec<u8>)| path.extension().is_some_and(|kind| kind == "png");
        files.into_iter().filter(is_image).collect()
    };
    assert_eq!(images(files), images(others));
}

#[test]
fn rare_classes_are_filled_up() {
    let place = tempfile::tempdir().unwrap();
    let data = place.path().join("data");
    write_pots(&data, 0, [10, 10, 5, 10, 10]);
    let balance = Request {
        amount: Amount::Balance,
        ..request(&data, place.path().join("out"))
    };
    let summary = grow(balance).unwrap();
    let wanted: Vec<usize> = summary.classes.iter().map(|class| class.wanted).collect();
    let rare = CLASSES.iter().position(|name| summary.classes[0].class == *name);
    assert!(
        rare.is_some() && wanted.iter().filter(|&&wanted| wanted == 4).count() == 1,
        "{wanted:?}"
    );
    assert_eq!(
        wanted.iter().sum::<usize>(),
        4,
        "eight real images to learn from, four of the rare class"
    );
    let decided_by = summary.measured.map_or("mean recall", |measured| measured.decided_by);
    assert_eq!(decided_by, "mean recall");
}

#[test]
fn few_labels_of_many_are_drawn_anew_for_each_trial() {
    let place = tempfile::tempdir().unwrap();
    let data = place.path().join("data");
    write_pots(&data.join("train"), 0, [9; 5]);
    write_pots(&data.join("test"), 1, [3; 5]);
    let drawn = Request {
        labeled: Some(4),
        ..request(&data, place.path().join("out"))
    };
    let summary = grow(drawn).unwrap();
    assert_eq!(summary.num_training, 20);
    if let Some(measured) = &summary.measured {
        assert_eq!((measured.trials, measured.trials_differ_in), (10, Differing::Draws));
        assert_eq!(measured.settings.len(), 4);
    }
    let gain = summary.measured.map(|measured| measured.differences[0].accuracy.low);
    assert_eq!(summary.is_use, Some(gain.is_some_and(|low| low > 0.0)));
}

/// Its images after two steps are nearer to those that its origin made of the same latents than others are.
#[test]
fn a_generator_that_begins_from_another_has_its_weights() {
    let place = tempfile::tempdir().unwrap();
    let (other, data) = (place.path().join("other"), place.path().join("data"));
    write_pots(&other, 5, [6, 6, 0, 0, 0]);
    write_pots(&data, 0, [6, 6, 0, 0, 0]);
    let images = |data: &Path, name: &str, init: Option<PathBuf>| {
        let out = place.path().join(name);
        let request = Request {
            init,
            measuring: Measuring::Off,
            seed: if name == "origin" { 2 } else { 1 },
            ..request(data, out.clone())
        };
        let summary = grow(request).unwrap();
        let generator = ShippedGenerator::load(&out, &Cpu::shared()).unwrap();
        let samples = generator.sample(&[3, 4, 5, 6], &SampleOptions::default()).unwrap();
        (samples.images, summary.init)
    };
    let (origin, none) = images(&other, "origin", None);
    let (fresh, _) = images(&data, "fresh", None);
    let file = place.path().join("origin/generator.safetensors");
    let (begun, told) = images(&data, "begun", Some(file.clone()));
    assert_eq!((none, told), (None, Some(file)));
    let distance = |images: &[u8]| -> u64 {
        let pairs = images.iter().zip(&origin);
        pairs.map(|(&a, &b)| u64::from(a.abs_diff(b))).sum()
    };
    assert!(
        2 * distance(&begun) < distance(&fresh),
        "{} {}",
        distance(&begun),
        distance(&fresh)
    );
}

#[test]
fn a_request_to_stop_leaves_nothing() {
    let place = tempfile::tempdir().unwrap();
    let data = place.path().join("data");
    write_pots(&data, 0, [6; 5]);
    let out = place.path().join("out");
    let plan = synthesize::plan(request(&data, out.clone())).unwrap();
    let stopped = synthesize::run(plan, &mut |_| {}, &AtomicBool::new(true));
    assert!(matches!(stopped, Err(Error::Stopped)));
    assert!(!out.exists());
}
