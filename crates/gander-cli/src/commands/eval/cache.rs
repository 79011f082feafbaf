//! Where classifiers are kept between commands.

use std::{
    env,
    ffi::OsString,
    path::{Path, PathBuf},
};

use gander::features::{Classifier, ClassifierOptions};
use gander_data::Dataset;
use gander_tensor::DeviceRef;

use super::Arguments;
use crate::{progress, screen::Screen};

/// The classifier of real images: one that is kept, else trained and kept.
pub(super) fn classifier(
    real: &dyn Dataset,
    held_out: Option<&dyn Dataset>,
    arguments: &Arguments,
    device: &DeviceRef,
    screen: &Screen,
) -> anyhow::Result<Classifier> {
    const STEPS: f64 = 1000.0;
    let options = ClassifierOptions {
        seed: arguments.seed,
        ..ClassifierOptions::default()
    };
    let folder = folder(arguments);
    let find = |folder| Classifier::find(folder, real, options, device);
    if let Some(found) = folder.as_deref().and_then(find) {
        return Ok(found);
    }
    let bar = progress::bar(screen, "classifier", STEPS as u64);
    let mut show = |done: f64| bar.set_position((done * STEPS) as u64);
    let made = Classifier::train(real, held_out, options, device, &mut show)?;
    bar.finish_and_clear();
    // It is here, and took a minute: no reason to fail.
    if let Some(Err(error)) = folder.map(|folder| made.keep(&folder, real)) {
        let error = anyhow::Error::new(error);
        screen.warn(format!("the classifier is not kept for the next time: {error:#}"));
    }
    Ok(made)
}

/// The folder for what can be made again: `--cache`, else `XDG_CACHE_HOME`, else what the system has for it. `None`
/// where nothing says.
pub(super) fn folder(arguments: &Arguments) -> Option<PathBuf> {
    let of_environment = || choose(|name| env::var_os(name).filter(|value| !value.is_empty()));
    arguments.cache.clone().or_else(of_environment)
}

/// The folder, given the environment.
fn choose(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let home = |below: &str| variable("HOME").map(|home| Path::new(&home).join(below));
    let of_system = || {
        if cfg!(windows) {
            variable("LOCALAPPDATA").map(PathBuf::from)
        } else if cfg!(target_os = "macos") {
            home("Library/Caches")
        } else {
            home(".cache")
        }
    };
    let base = variable("XDG_CACHE_HOME").map(PathBuf::from).or_else(of_system)?;
    Some(base.join("gander"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_says_where() {
        let given = |name: &str| (name == "XDG_CACHE_HOME").then(|| OsString::from("/c"));
        assert_eq!(choose(given), Some(PathBuf::from("/c/gander")));
        assert_eq!(choose(|_| None), None);
    }
}
