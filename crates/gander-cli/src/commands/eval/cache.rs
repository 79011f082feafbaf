//! Where classifiers are kept between commands.

use std::{
    env,
    ffi::OsString,
    path::{Path, PathBuf},
};

/// The folder for what can be made again: `XDG_CACHE_HOME`, else what the system has for it. `None` where nothing says.
pub(super) fn folder() -> Option<PathBuf> {
    choose(|name| env::var_os(name).filter(|value| !value.is_empty()))
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
