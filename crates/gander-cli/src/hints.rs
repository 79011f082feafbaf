//! What to do about an error, chosen by its kind: libraries tell facts, this file tells the way out.

use std::{error::Error as StdError, io, path::Path};

use gander::{
    models::ImageSpec,
    session::{self, TrainRequest},
    train::defaults,
};
use gander_data::Size;
use gander_tensor::Isa;
use toml::{Table, Value};

use crate::{
    failure::{self, Refused},
    text,
};

/// What a dataset may be.
pub(crate) const IMAGES: &str = "gander reads PNG, JPEG, WebP, GIF, BMP, TIFF and PNM images in folders, in ZIP and tar \
                                 archives, and in IDX and NPZ files";

const SPOILED: &str = "the file is damaged or of another kind: copy it again from where it came, or name another";
const FULL: &str = "free some space or choose another disk; every file that was there is as it was";
const BUG: &str = "this is a bug in gander: please report it with the command you typed";

/// Settings that are absent where nobody chose them.
const OPTIONAL_SETTINGS: [&str; 4] = [
    "device.isa",
    "data.open.channels",
    "data.open.holdout",
    "evaluation.every_kimg",
];

/// The hint for an error, from the first of its causes that has one.
pub(crate) fn hint(error: &anyhow::Error) -> Option<String> {
    error.chain().find_map(of_any)
}

fn of_any(error: &(dyn StdError + 'static)) -> Option<String> {
    let of_refused = |refused: &Refused| Some(refused.hint.clone());
    None.or_else(|| error.downcast_ref().and_then(of_refused))
        .or_else(|| error.downcast_ref().and_then(of_gander))
        .or_else(|| error.downcast_ref().and_then(of_data))
        .or_else(|| error.downcast_ref().and_then(of_formats))
        .or_else(|| error.downcast_ref().and_then(of_tensor))
        .or_else(|| error.downcast_ref().and_then(of_io))
}

fn of_gander(error: &gander::Error) -> Option<String> {
    use gander::Error;
    Some(match error {
        Error::Tensor(error) => return of_tensor(error),
        Error::Data(error) => return of_data(error),
        Error::Formats(error) => return of_formats(error),
        Error::Io { source, .. } => return of_io(source),
        Error::NonFinite { .. } | Error::Diverged { .. } => {
            "training diverged; the last checkpoint is whole. Begin again with a lower rate \
             (--set training.learning_rate=1e-4) or three times the penalty (--gamma 0.3 where training.r1_gamma is 0.1)"
                .into()
        }
        Error::InvalidSetting { setting, .. } => of_setting(setting),
        Error::UnsupportedSize {
            family,
            width_px,
            height_px,
            ..
        } => of_size(family, *width_px, *height_px)?,
        Error::MissingTensor { .. } | Error::WrongShape { .. } => {
            "the file does not hold this model, or is damaged; `gander inspect` says what a file is".into()
        }
        Error::NotOurs { path, .. } => of_foreign(path),
        Error::Version { got, expected, .. } if *got > u64::from(*expected) => {
            "a newer gander wrote it: update this one".into()
        }
        Error::Version { .. } => "an older gander wrote it: read it with that one".into(),
        Error::NoCheckpoint { .. } => {
            "name a run directory such as runs/00001-pottery, or begin a new run without --resume".into()
        }
        Error::NoReadableCheckpoint { path, .. } => {
            let init = text::shell(&path.join(gander::shipped::FILE_NAME));
            format!("begin a new run from its weights, if they are whole: gander train DATA --init {init}")
        }
        Error::DataChanged { .. } => {
            "a resumed run needs the very images it began with: put them back, or begin a new \
                                      run from its weights with --init RUN"
                .into()
        }
        Error::AlreadyLonger { .. } => {
            "--kimg is the length of the whole run, what lies behind it included: name more, or --minutes from now on".into()
        }
        Error::Translates { .. } => {
            "translate pictures with it: gander translate RUN photo.jpg --out translated/".into()
        }
        Error::MakesFromLatents { .. } => {
            "make images with it: gander sample RUN --grid samples.png; families that translate are pix2pix, cyclegan, \
             cut, fastcut and sincut"
                .into()
        }
        Error::OneWay { .. } => {
            "leave --direction out; cyclegan learns both ways, and training with --set data.swap=true the other one"
                .into()
        }
        Error::UnknownClass { name, classes } => of_class(name, classes),
        Error::RunInUse { .. } => "wait until that process has ended, or stop it with Ctrl-C".into(),
        Error::TooFewImages { .. } => "score more images: a larger --num, or more of them on the smaller side".into(),
        Error::UnlikeImages { .. } => "pass --resolution so that both sides have a size that the score can use".into(),
        Error::NotDigits { .. } => {
            "name MNIST or another set of gray images with ten classes; without --data the suite has its Gaussians".into()
        }
        Error::Unlabeled { .. } => {
            "put the images of each class in a folder of its own, or take --features pixels or effnet:FILE".into()
        }
        Error::Classless { .. } => "take --features classifier with labeled images, or effnet:FILE".into(),
        Error::WrongNetwork { .. } => {
            "name a file with the weights of that network; `gander eval --help` lists them".into()
        }
        Error::NonFiniteFeatures { .. } | Error::NoEigenvalues { .. } => {
            "the weights of the generator or of the feature space are damaged: try --features pixels".into()
        }
        Error::OneClass { .. } => {
            "put the images of each class in a folder of its own: two classes at least, such as parts/good and parts/bad"
                .into()
        }
        Error::SmallClass { .. } => "add images of that class, or take its folder out".into(),
        Error::NothingToBalance { .. } => "all classes are as large as each other: pass --per-class N instead".into(),
        Error::Occupied { .. } => "name a folder that is not there yet, outside the data, with --out".into(),
        Error::Grown { .. } => "name the real images alone, without those that were added to them".into(),
        Error::UnfitRun { .. } => {
            "train with `gander train DATA --labels --holdout 20%` and name its run directory; --no-measure takes any \
             generator of these classes; without --run one is trained"
                .into()
        }
        Error::UnfitOrigin { .. } => {
            "train with `gander train OTHER --no-labels` at the resolution of the data, on other images, and name \
             its run directory; --no-measure lets it be the same images"
                .into()
        }
        Error::InvalidConfig { .. } => {
            "config.toml in any run directory shows the settings, and `gander train --help` the options".into()
        }
        _ => return error.source().and_then(of_any),
    })
}

fn of_data(error: &gander_data::Error) -> Option<String> {
    use gander_data::Error;
    Some(match error {
        Error::Io { source, .. } => return of_io(source),
        Error::NoImages { found: 0, .. } | Error::UnknownFormat { .. } => IMAGES.into(),
        Error::NoImages {
            found, usable, needed, ..
        } if found == usable => format!("add images: {needed} at least"),
        Error::NoImages { path, .. } => {
            format!(
                "`gander data check {}` lists what was left out and why",
                text::shell(path)
            )
        }
        Error::Ambiguous { .. } => "name the one that you mean".into(),
        Error::Corrupt { .. } => SPOILED.into(),
        Error::TooLarge { needed_bytes, .. } => {
            format!(
                "if you trust the file and have the memory, for training: \
                 --set data.open.cache_bytes={needed_bytes}"
            )
        }
        Error::TarTooLarge { .. } => "unpack it, or pack it as ZIP or plain tar: those are read in place".into(),
        Error::NoLabels { .. } => {
            "put the images of each class in a folder of its own; training without classes needs none".into()
        }
        Error::Decode { .. } => "`gander data check DATA` lists every file that cannot be read".into(),
        Error::Option { option: "size", .. } => "pass another --resolution, such as 64 or 92x112".into(),
        Error::Option { option: "holdout", .. } => "pass a share such as --holdout 5%".into(),
        Error::Option { option: "pictures", .. } => {
            "name two files: gander train --family sincut photo.jpg painting.jpg; cut is for folders of many".into()
        }
        Error::Option {
            option: "a picture", ..
        } => "take a larger picture, or smaller crops, such as --resolution 32".into(),
        Error::Option { option: "sources", .. } => {
            "name two collections, photos/ paintings/, or one folder with two in it; \
             pairs may also be A and B side by side in one file"
                .into()
        }
        Error::Option { option: "sheet", .. } => "pass fewer --columns and --rows, or a smaller --resolution".into(),
        Error::Option { .. } => "`gander data --help` and `gander train --help` show the options".into(),
        Error::Index { .. } | Error::Buffer { .. } | Error::Worker { .. } => BUG.into(),
        _ => return error.source().and_then(of_any),
    })
}

fn of_formats(error: &gander_formats::Error) -> Option<String> {
    use gander_formats::Error;
    Some(match error {
        Error::Read { source, .. } => return of_io(source),
        Error::Write { source, .. } => return of_io(source).or_else(|| Some(WRITABLE.into())),
        Error::OutOfMemory { .. } => "close other programs, or take a machine with more memory".into(),
        Error::UnknownDType { .. } | Error::WrongDType { .. } => "save it with another element type".into(),
        Error::Pickled { .. } => "save the arrays without allow_pickle: pickles are code".into(),
        Error::InvalidName { .. } | Error::DuplicateName { .. } => BUG.into(),
        _ => SPOILED.into(),
    })
}

fn of_tensor(error: &gander_tensor::Error) -> Option<String> {
    use gander_tensor::Error;
    Some(match error {
        Error::IsaUnavailable { .. } => {
            let here: Vec<String> = Isa::ALL
                .iter()
                .filter(|isa| isa.available())
                .map(ToString::to_string)
                .collect();
            format!(
                "this processor has {}; without --isa the best is taken",
                here.join(", ")
            )
        }
        Error::InvalidArgument { .. } | Error::InvalidShape { .. } | Error::ShapeMismatch { .. } => BUG.into(),
        _ => return None,
    })
}

const WRITABLE: &str = "choose a place that you may write to (for training: --out DIR)";

fn of_io(error: &io::Error) -> Option<String> {
    use io::ErrorKind as Kind;
    Some(match error.kind() {
        Kind::NotFound => "check the spelling and the folder you are in".into(),
        Kind::PermissionDenied | Kind::ReadOnlyFilesystem => {
            format!("its owner or its mode does not allow it; {WRITABLE}")
        }
        Kind::NotADirectory | Kind::AlreadyExists => format!("a file is in the way; {WRITABLE}"),
        Kind::IsADirectory => "it is a folder: name a file".into(),
        Kind::StorageFull | Kind::QuotaExceeded | Kind::FileTooLarge => FULL.into(),
        Kind::InvalidFilename => "choose a shorter or plainer name".into(),
        _ => return None,
    })
}

fn of_setting(setting: &str) -> String {
    let range = match setting {
        "training.learning_rate" => "a rate is a number above 0",
        "training.accumulate" => "the parts must divide the batch",
        "training.beta1" | "training.beta2" => "from 0 up to but not including 1",
        "training.augment_p" => "a probability is from 0 to 1, or the word adaptive",
        "evaluation.every_kimg" => "thousands of images between evaluations, above 0",
        "grid" => return "ask for fewer images, or write single files with --out DIR".into(),
        _ => "config.toml in any run directory shows values that fit",
    };
    let example = match setting {
        "training.learning_rate" => "; for example --set training.learning_rate=0.0002",
        "training.accumulate" => "; for example --batch 64 --accumulate 4",
        _ => "",
    };
    format!("{range}{example}")
}

/// The nearest sides that the family makes, found by asking it.
fn of_size(family: &str, width_px: usize, height_px: usize) -> Option<String> {
    const FARTHEST_PX: usize = 32_768;
    let fits = |side: usize| {
        let images = ImageSpec {
            height_px: side,
            width_px: side,
            channels: 3,
            num_classes: 0,
        };
        side > 0
            && side.is_multiple_of(session::REQUESTED_MULTIPLE)
            && defaults::for_family(family, images).is_ok_and(|(model, _)| model.validate().is_ok())
    };
    let nearest = |side: usize| {
        (0..FARTHEST_PX)
            .flat_map(|off| [side.saturating_add(off), side.saturating_sub(off)])
            .find(|&side| fits(side))
    };
    let (width_px, height_px) = (nearest(width_px)?, nearest(height_px)?);
    let size = if width_px == height_px {
        width_px.to_string()
    } else {
        Size { width_px, height_px }.to_string()
    };
    Some(format!("the nearest that {family} makes: --resolution {size}"))
}

fn of_foreign(path: &Path) -> String {
    if path.is_dir() {
        "a run directory is one that `gander train` made, such as runs/00001-pottery".into()
    } else if path.exists() {
        "`gander inspect FILE` says what a file is; a generator to sample from is generator.safetensors in a run".into()
    } else {
        "check the spelling and the folder you are in; runs lie in runs/ unless --out said otherwise".into()
    }
}

fn of_class(name: &str, classes: &[String]) -> String {
    const SHOWN: usize = 30;
    if classes.is_empty() {
        return "this generator knows no classes: leave --label out, or train one with --labels".into();
    }
    let mut list = classes
        .iter()
        .take(SHOWN)
        .map(String::as_str)
        .collect::<Vec<_>>()
        .join(", ");
    if classes.len() > SHOWN {
        list += &format!(", and {} more", classes.len() - SHOWN);
    }
    match text::near(name, classes.iter().map(String::as_str)).first() {
        Some(near) => format!("did you mean {near}? There are {list}"),
        None => format!("there are {list}"),
    }
}

/// Explains an error of the settings by the `--set` that is to blame, if one is.
pub(crate) fn of_settings(error: gander::Error, request: &TrainRequest) -> anyhow::Error {
    if !matches!(error, gander::Error::InvalidConfig { .. }) {
        return error.into();
    }
    let known = known_settings(request.family.as_deref());
    let is_known = |key: &str| known.iter().any(|known| known == key);
    let Some((key, _)) = request.set.iter().find(|(key, _)| !is_known(key)) else {
        return error.into();
    };
    if known.is_empty() {
        return error.into();
    }
    let near = text::near(key, known.iter().map(String::as_str));
    let hint = if near.is_empty() {
        "config.toml in any run directory shows the settings".to_owned()
    } else {
        format!("did you mean {}?", near.join(" or "))
    };
    failure::explain(format!("no setting named {key}"), hint, error)
}

/// The paths of all settings, from a run on pottery that is planned and never begun.
fn known_settings(family: Option<&str>) -> Vec<String> {
    let request = TrainRequest {
        family: family.map(str::to_owned),
        size: Some(Size {
            width_px: 32,
            height_px: 32,
        }),
        set: vec![("data.pottery_images".to_owned(), "2".to_owned())],
        ..TrainRequest::default()
    };
    let Ok(planned) = session::plan(&request) else {
        return Vec::new();
    };
    let mut known = Vec::new();
    if let Ok(table) = Table::try_from(planned.config()) {
        leaves(&table, "", &mut |key, _| known.push(key));
    }
    known.extend(OPTIONAL_SETTINGS.map(str::to_owned));
    known
}

/// Every setting of a table with its path.
pub(crate) fn leaves(table: &Table, path: &str, visit: &mut impl FnMut(String, &Value)) {
    for (key, value) in table {
        let key = if path.is_empty() {
            key.clone()
        } else {
            format!("{path}.{key}")
        };
        match value {
            Value::Table(inner) => leaves(inner, &key, visit),
            value => visit(key, value),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hint_of(error: gander::Error) -> String {
        hint(&anyhow::Error::new(error).context("cannot")).unwrap_or_default()
    }

    #[test]
    fn every_kind_of_failure_has_a_way_out() {
        let full = gander::Error::Io {
            action: "write",
            path: "a".into(),
            source: io::ErrorKind::StorageFull.into(),
        };
        assert_eq!(hint_of(full), FULL);
        let denied = io::Error::from(io::ErrorKind::PermissionDenied);
        let denied = gander::Error::Io {
            action: "create run directory in",
            path: "/".into(),
            source: denied,
        };
        assert!(hint_of(denied).contains("--out DIR"));
        let source = io::ErrorKind::StorageFull.into();
        assert_eq!(
            hint_of(
                gander_formats::Error::Write {
                    path: "a".into(),
                    source
                }
                .into()
            ),
            FULL
        );
        let rate = gander::Error::InvalidSetting {
            setting: "training.learning_rate",
            value: "NaN".into(),
        };
        assert!(hint_of(rate).contains("--set training.learning_rate="));
        let newer = gander::Error::Version {
            path: "a".into(),
            got: 99,
            expected: 1,
        };
        assert!(hint_of(newer).contains("update"));
        let none = gander_data::Error::NoImages {
            path: "a".into(),
            found: 0,
            usable: 0,
            needed: 2,
            skipped: Vec::new(),
        };
        assert_eq!(hint_of(none.into()), IMAGES);
        let large = gander_data::Error::TooLarge {
            path: "a.npz".into(),
            needed_bytes: 9,
            limit_bytes: 8,
        };
        assert!(hint_of(large.into()).ends_with("for training: --set data.open.cache_bytes=9"));
        let large = gander_data::Error::TarTooLarge {
            path: "a.tar.gz".into(),
            limit_bytes: 8,
        };
        assert!(hint_of(large.into()).starts_with("unpack it"));
        let spoiled = gander_formats::Error::Truncated {
            part: "data",
            needed: 2,
            available: 1,
        };
        assert_eq!(hint_of(spoiled.into()), SPOILED);
    }

    #[test]
    fn the_nearest_size_is_found_by_asking_the_family() {
        assert_eq!(
            of_size("dcgan", 31, 31).unwrap(),
            "the nearest that dcgan makes: --resolution 32"
        );
        assert_eq!(
            of_size("dcgan", 4, 1000).unwrap(),
            "the nearest that dcgan makes: --resolution 16x256"
        );
        assert_eq!(of_size("no such family", 31, 31), None);
    }

    #[test]
    fn a_size_that_is_offered_can_be_asked_for() {
        assert_eq!(
            of_size("article", 30, 30).unwrap(),
            "the nearest that article makes: --resolution 32"
        );
    }

    #[test]
    fn classes_are_listed_the_nearest_first() {
        let classes = ["vase", "bowl", "jug"].map(str::to_owned);
        assert_eq!(
            of_class("vasse", &classes),
            "did you mean vase? There are vase, bowl, jug"
        );
        assert_eq!(of_class("xyz", &classes), "there are vase, bowl, jug");
        assert!(of_class("a", &[]).contains("knows no classes"));
    }

    #[test]
    fn a_mistyped_setting_is_named_with_its_neighbor() {
        let request = TrainRequest {
            set: vec![
                ("seed".into(), "1".into()),
                ("training.learning_rat".into(), "1".into()),
            ],
            ..TrainRequest::default()
        };
        let error = of_settings(
            gander::Error::InvalidConfig {
                reason: "no such setting".into(),
            },
            &request,
        );
        assert_eq!(error.to_string(), "no setting named training.learning_rat");
        assert!(
            hint(&error)
                .unwrap_or_default()
                .starts_with("did you mean training.learning_rate"),
            "{error:?}"
        );
    }
}
