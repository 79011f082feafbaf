//! Style transfer from training to a picture on disk: every door of it once.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::{
    path::Path,
    process::{Command, Output, Stdio},
};

use image::{
    GrayImage, ImageDecoder, ImageEncoder, ImageReader, Luma, Rgb, RgbImage, Rgba, RgbaImage, codecs::png::PngEncoder,
};

fn gander(directory: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_gander"))
        .args(arguments)
        .current_dir(directory)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn works(directory: &Path, arguments: &[&str]) -> String {
    let output = gander(directory, arguments);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{arguments:?}: {said}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn refused(directory: &Path, arguments: &[&str]) -> String {
    let output = gander(directory, arguments);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{arguments:?}: {said}");
    assert!(said.contains("hint:"), "{said}");
    said
}

/// A run of a few steps: what it makes is nothing to look at.
const SMALL: [&str; 9] = [
    "--resolution",
    "32",
    "--kimg",
    "0.006",
    "--set",
    "model.width=4",
    "--set",
    "data.pottery_images=40",
    "--quiet",
];

#[test]
fn pots_are_translated_both_ways() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path();
    let train = [
        &["train", "--family", "cyclegan", "--set", "model.blocks=1"][..],
        &SMALL,
    ]
    .concat();
    works(place, &train);
    let run = "runs/00001-pottery";
    for file in ["report.html", "reals.png", "generator.safetensors"] {
        assert!(place.join(run).join(file).is_file(), "{file}");
    }

    RgbImage::from_pixel(50, 41, Rgb([9, 99, 199]))
        .save(place.join("color.png"))
        .unwrap();
    GrayImage::from_pixel(33, 64, Luma([80]))
        .save(place.join("gray.png"))
        .unwrap();
    let clear = RgbaImage::from_fn(40, 40, |x, _| Rgba([200, 10, 10, x as u8]));
    clear.save(place.join("clear.png")).unwrap();
    let mut profile = vec![0; 128];
    profile[16..20].copy_from_slice(b"RGB ");
    let file = std::fs::File::create(place.join("profiled.png")).unwrap();
    let mut encoder = PngEncoder::new(file);
    encoder.set_icc_profile(profile.clone()).unwrap();
    RgbImage::new(20, 20).write_with_encoder(encoder).unwrap();
    std::fs::write(place.join("broken.png"), "no picture").unwrap();
    let inputs = ["color.png", "gray.png", "clear.png", "profiled.png", "broken.png"];
    for direction in ["ab", "ba"] {
        let out = format!("out-{direction}");
        let translate = [
            &["translate", run][..],
            &inputs,
            &["--out", &out, "--direction", direction],
        ]
        .concat();
        works(place, &translate);
        let sides = |name: &str| {
            ImageReader::open(place.join(&out).join(name))
                .unwrap()
                .decode()
                .unwrap()
        };
        assert_eq!((sides("color.png").width(), sides("color.png").height()), (50, 41));
        assert_eq!((sides("gray.png").width(), sides("gray.png").height()), (33, 64));
        let kept = sides("clear.png").to_rgba8();
        assert!(
            (0..40).all(|x| kept.get_pixel(x, 20)[3] == x as u8),
            "transparency is kept"
        );
        let mut decoder = ImageReader::open(place.join(&out).join("profiled.png"))
            .unwrap()
            .into_decoder()
            .unwrap();
        assert_eq!(decoder.icc_profile().unwrap(), Some(profile.clone()));
        assert!(!place.join(&out).join("broken.png").exists());
    }
    works(
        place,
        &["translate", run, "color.png", "--out", "as-it-was", "--strength", "0"],
    );
    let same = ImageReader::open(place.join("as-it-was/color.png"))
        .unwrap()
        .decode()
        .unwrap();
    assert_eq!(same.to_rgb8().get_pixel(7, 7), &Rgb([9, 99, 199]));

    let before = std::fs::read(place.join("color.png")).unwrap();
    let said = refused(place, &["translate", run, "color.png", "--out", "."]);
    assert!(said.contains("would be replaced by its translation"), "{said}");
    assert_eq!(std::fs::read(place.join("color.png")).unwrap(), before);

    let scores = works(
        place,
        &["eval", run, "--num", "4", "--metrics", "kid", "--features", "pixels"],
    );
    for score in [
        "l1_4",
        "psnr_4",
        "ssim_4",
        "sharpness_4",
        "kid4_pixels",
        "features4_pixels",
        "content4_pixels",
    ] {
        assert!(scores.contains(score), "{score} in {scores}");
    }
    what_is_there_stays(place, run);
    #[cfg(target_os = "linux")]
    names_in_another_encoding(place, run);
    scores_of_other_pictures(place, run);
    assert!(works(place, &["inspect", run]).contains("cyclegan"));
    assert!(refused(place, &["sample", run, "--grid", "a.png"]).contains("gander translate"));
    let more = ["train", "--resume", run, "--kimg", "0.008", "--quiet"];
    works(place, &more);
}

/// Nothing is replaced that nobody asked to.
fn what_is_there_stays(place: &Path, run: &str) {
    let translate = ["translate", run, "gray.png", "--out", "mine"];
    std::fs::create_dir(place.join("mine")).unwrap();
    std::fs::write(place.join("mine/gray.png"), "mine").unwrap();
    let said = refused(place, &translate);
    assert!(
        said.contains("is there already") && said.contains("--overwrite"),
        "{said}"
    );
    assert_eq!(std::fs::read(place.join("mine/gray.png")).unwrap(), b"mine");
    works(place, &[translate.as_slice(), &["--overwrite"]].concat());
    assert!(image::open(place.join("mine/gray.png")).is_ok());
}

/// JSON holds Unicode only.
#[cfg(target_os = "linux")]
fn names_in_another_encoding(place: &Path, run: &str) {
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt};

    let folder = place.join("latin");
    std::fs::create_dir(&folder).unwrap();
    std::fs::copy(place.join("gray.png"), folder.join("plain.png")).unwrap();
    std::fs::write(folder.join(OsStr::from_bytes(b"caf\xe9.png")), "no picture").unwrap();
    let told = works(place, &["translate", run, "latin", "--out", "unicode", "--json"]);
    let told: serde_json::Value = serde_json::from_str(&told).unwrap();
    assert_eq!(told["skipped"][0]["path"], "latin/caf\u{fffd}.png");
    assert_eq!(told["files"], serde_json::json!(["unicode/plain.png"]));
}

/// Folders in place of the run's own data, with and without partners of one name; and what was made beside its truth.
fn scores_of_other_pictures(place: &Path, run: &str) {
    for (folder, shade) in [("others", 40u8), ("truths", 60)] {
        std::fs::create_dir(place.join(folder)).unwrap();
        for index in 0..5 {
            let picture = RgbImage::from_fn(32, 32, |x, y| Rgb([shade * index, 7 * x as u8, 5 * y as u8]));
            picture.save(place.join(format!("{folder}/{index}.png"))).unwrap();
        }
    }
    let scores = |arguments: &[&str]| {
        let usual = ["--metrics", "kid", "--features", "pixels"];
        works(place, &[&["eval"][..], arguments, &usual].concat())
    };
    let unpaired = scores(&[run, "--data", "others", "truths"]);
    assert!(
        unpaired.contains("content5_pixels") && !unpaired.contains("l1_5"),
        "{unpaired}"
    );
    let paired = scores(&[run, "--data", "others", "truths", "--paired"]);
    assert!(
        paired.contains("content5_pixels") && paired.contains("l1_5"),
        "{paired}"
    );

    works(place, &["translate", run, "others", "--out", "made", "--quiet"]);
    let l1 = |scores: &str| {
        let line = scores.lines().find(|line| line.trim_start().starts_with("l1_5"));
        line.unwrap().split_whitespace().nth(1).unwrap().to_owned()
    };
    let made = scores(&["made", "--data", "truths", "--paired"]);
    assert_eq!(l1(&made), l1(&paired), "the same pictures, made by `translate`");
    std::fs::remove_file(place.join("truths/0.png")).unwrap();
    assert!(scores(&["made", "--data", "truths", "--paired"]).contains("l1_4"));
}

#[test]
fn one_picture_takes_the_look_of_another() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path();
    RgbImage::from_fn(70, 51, |x, y| image::Rgb([x as u8, 2 * y as u8, 90]))
        .save(place.join("photo.png"))
        .unwrap();
    image::GrayImage::new(48, 64).save(place.join("painting.png")).unwrap();
    let narrow = [
        "--resolution",
        "32",
        "--kimg",
        "0.032",
        "--set",
        "model.width=4",
        "--set",
        "model.discriminator_width=4",
        "--quiet",
    ];
    let train = ["train", "--family", "sincut", "photo.png", "painting.png"];
    works(place, &[&train[..], &narrow].concat());
    let run = "runs/00001-photo-to-painting";
    works(place, &["translate", run, "photo.png", "--out", "painted"]);
    let painted = image::open(place.join("painted/photo.png")).unwrap();
    assert_eq!((painted.width(), painted.height()), (70, 51));

    let with = |sources: &[&str]| refused(place, &[&["train", "--family", "sincut"][..], sources].concat());
    assert!(with(&["photo.png"]).contains("two files"));
    assert!(with(&[".", "photo.png"]).contains("one on each side"));
    assert!(with(&["photo.png", "painting.png"]).contains("--resolution 32"));
}

#[test]
fn what_does_not_fit_is_refused_in_words() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path();
    works(place, &[&["train", "--family", "pix2pix"][..], &SMALL].concat());
    RgbImage::new(40, 40).save(place.join("a.png")).unwrap();
    let back = [
        "translate",
        "runs/00001-pottery",
        "a.png",
        "--out",
        "o",
        "--direction",
        "ba",
    ];
    assert!(refused(place, &back).contains("from A to B only"));
    let none = ["translate", "runs/00001-pottery", "runs", "--out", "o"];
    assert!(refused(place, &none).contains("no pictures in runs"));
    std::fs::create_dir(place.join("one")).unwrap();
    for index in 0..3 {
        RgbImage::new(32, 32)
            .save(place.join(format!("one/{index}.png")))
            .unwrap();
    }
    assert!(refused(place, &["train", "--family", "cyclegan", "one"]).contains("two collections"));
    // No picture is wider than high, so none holds two.
    assert!(refused(place, &["train", "--family", "pix2pix", "one"]).contains("side by side"));
    assert!(refused(place, &["train", "--family", "cut", "one", "one", "--labels"]).contains("--labels"));
    let penalized = ["train", "--family", "cut", "--gamma", "1", "--kimg", "1"];
    assert!(refused(place, &penalized).contains("training.r1_gamma"));
}
