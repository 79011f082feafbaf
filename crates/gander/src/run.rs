//! The directory of a run: where everything lies, and what is kept.

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use serde::Serialize;

use crate::error::{Error, Result};

mod crc32c;
mod lock;
mod log;
mod retention;
mod tensorboard;

pub use lock::RunLock;
pub use log::{Log, LogContents};
pub use retention::kept;
pub use tensorboard::TensorBoard;

/// Finds out whether a folder, there or yet to be made, can be written to. Nothing is left behind.
///
/// # Errors
/// [`Error::Io`] if the system does not allow it.
pub(crate) fn check_writable(folder: &Path) -> Result<()> {
    let place = folder.ancestors().find(|above| above.exists());
    let place = place.unwrap_or_else(|| Path::new("."));
    let probe = place.join(format!(".gander-{}", std::process::id()));
    let write = || {
        fs::write(&probe, [])?;
        fs::remove_file(&probe)
    };
    write().map_err(|source| Error::Io {
        action: "write to",
        path: folder.to_owned(),
        source,
    })
}

/// The directory of a run, such as `runs/00001-pottery`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunDirectory {
    path: PathBuf,
}

/// A file of a moment of the run.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment {
    /// Real images that the discriminator was shown.
    pub images_seen: u64,
    /// The file.
    pub path: PathBuf,
}

/// The longest name of data in the name of a run.
const MAX_NAME: usize = 40;

impl RunDirectory {
    /// Makes `base/00001-name` with the next free number, and what lies above it.
    ///
    /// Processes that do so at the same time get numbers of their own. Characters that make trouble in paths become
    /// dashes.
    ///
    /// # Errors
    /// [`Error::Io`] if the system does not allow it.
    pub fn create(base: &Path, name: &str) -> Result<Self> {
        let io = |source| Error::Io {
            action: "create run directory in",
            path: base.to_owned(),
            source,
        };
        fs::create_dir_all(base).map_err(io)?;
        let mut number = 1 + numbers(base).map_err(io)?.max().unwrap_or(0);
        let path = loop {
            // The hidden directory is the claim to the number: the names of two runs may differ, this cannot.
            let claim = base.join(format!(".{number:05}"));
            match fs::create_dir(&claim) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(io(error)),
                Ok(()) if numbers(base).map_err(io)?.any(|taken| taken == number) => {
                    fs::remove_dir(&claim).map_err(io)?;
                }
                Ok(()) => {
                    let path = base.join(format!("{number:05}-{}", file_name(name)));
                    fs::rename(&claim, &path).map_err(io)?;
                    break path;
                }
            }
            number += 1;
        };
        let directory = Self { path };
        for folder in [directory.samples_folder(), directory.checkpoints_folder()] {
            fs::create_dir(&folder).map_err(io)?;
        }
        Ok(directory)
    }

    /// A run that is there already. Nothing is written.
    ///
    /// # Errors
    /// [`Error::NotOurs`] if it is not a directory with a `config.toml` or a folder of checkpoints.
    pub fn open(path: &Path) -> Result<Self> {
        let directory = Self { path: path.to_owned() };
        let reason = match fs::metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => "there is nothing of this name",
            Err(source) => {
                return Err(Error::Io {
                    action: "open",
                    path: path.to_owned(),
                    source,
                });
            }
            Ok(found) if !found.is_dir() => "it is not a directory",
            Ok(_) if directory.config().is_file() || directory.checkpoints_folder().is_dir() => return Ok(directory),
            Ok(_) => "it holds neither config.toml nor checkpoints",
        };
        Err(Error::NotOurs {
            path: path.to_owned(),
            expected: "run directory",
            reason: reason.into(),
        })
    }

    /// Keeps other processes from training in this directory until the lock is dropped, and removes what a killed one
    /// left half written.
    ///
    /// # Errors
    /// [`Error::RunInUse`] with the process that has it.
    pub fn lock(&self) -> Result<RunLock> {
        let lock = RunLock::take(&self.path)?;
        for folder in [&self.path, &self.samples_folder(), &self.checkpoints_folder()] {
            if folder.is_dir() {
                gander_formats::atomic::remove_partial_files(folder)?;
            }
        }
        Ok(lock)
    }

    /// The directory itself.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The name of the run, such as `00001-pottery`.
    pub fn name(&self) -> String {
        let absolute = fs::canonicalize(&self.path).unwrap_or_else(|_| self.path.clone());
        absolute
            .file_name()
            .map_or_else(|| "run".to_owned(), |name| name.to_string_lossy().into_owned())
    }

    /// All settings, resolved.
    pub fn config(&self) -> PathBuf {
        self.path.join("config.toml")
    }

    /// The events, one in a line.
    pub fn log(&self) -> PathBuf {
        self.path.join("log.jsonl")
    }

    /// Images of the data, in a grid like the samples.
    pub fn reals(&self) -> PathBuf {
        self.path.join("reals.png")
    }

    /// The curves as a picture.
    pub fn curves(&self) -> PathBuf {
        self.path.join("curves.png")
    }

    /// The page that shows the run.
    pub fn report(&self) -> PathBuf {
        self.path.join("report.html")
    }

    /// The generator to ship.
    pub fn generator(&self) -> PathBuf {
        self.path.join("generator.safetensors")
    }

    /// The best generator by the run's own score.
    pub fn best_generator(&self) -> PathBuf {
        self.path.join("generator-best.safetensors")
    }

    /// Samples above the training images that they are most like.
    pub fn nearest(&self) -> PathBuf {
        self.path.join("nearest.png")
    }

    /// Where pictures of samples lie.
    pub fn samples_folder(&self) -> PathBuf {
        self.path.join("samples")
    }

    /// Where checkpoints lie.
    pub fn checkpoints_folder(&self) -> PathBuf {
        self.path.join("checkpoints")
    }

    /// The picture of samples of a moment: `samples/000012.800.png` after 12,800 images.
    pub fn sample(&self, images_seen: u64) -> PathBuf {
        self.samples_folder().join(format!("{}.png", kimg_name(images_seen)))
    }

    /// The checkpoint of a moment: `checkpoints/000012.800.safetensors` after 12,800 images.
    pub fn checkpoint(&self, images_seen: u64) -> PathBuf {
        self.checkpoints_folder()
            .join(format!("{}.safetensors", kimg_name(images_seen)))
    }

    /// A path below this directory as events tell it: relative to the directory, with slashes.
    pub fn relative(&self, path: &Path) -> PathBuf {
        let below = path.strip_prefix(&self.path).unwrap_or(path);
        PathBuf::from(below.to_string_lossy().replace('\\', "/"))
    }

    /// All pictures of samples, the oldest first.
    pub fn samples(&self) -> Result<Vec<Moment>> {
        moments(&self.samples_folder(), ".png")
    }

    /// All checkpoints, the oldest first.
    pub fn checkpoints(&self) -> Result<Vec<Moment>> {
        moments(&self.checkpoints_folder(), ".safetensors")
    }

    /// Removes the checkpoints that the rule of [`kept`] does not keep, and returns them.
    pub fn thin_checkpoints(&self, best: Option<u64>) -> Result<Vec<Moment>> {
        let all = self.checkpoints()?;
        let keep = kept(&all.iter().map(|moment| moment.images_seen).collect::<Vec<_>>(), best);
        let thinned: Vec<Moment> = all
            .into_iter()
            .filter(|moment| !keep.contains(&moment.images_seen))
            .collect();
        thinned.iter().try_for_each(|moment| remove(&moment.path))?;
        Ok(thinned)
    }

    /// Forgets what lies beyond a checkpoint that training goes on from, so that the run is as an unbroken one: later
    /// pictures and checkpoints go. [`Log::resume`] does the same for the log.
    pub fn rewind(&self, images_seen: u64) -> Result<()> {
        let later = self.samples()?.into_iter().chain(self.checkpoints()?);
        later
            .filter(|moment| moment.images_seen > images_seen)
            .try_for_each(|moment| remove(&moment.path))
    }

    /// Writes `config.toml`, with comments above the settings.
    ///
    /// # Errors
    /// [`Error::InvalidConfig`] for what TOML cannot hold, and what writing meets.
    pub fn write_config(&self, config: &impl Serialize, comments: &[String]) -> Result<()> {
        let settings = toml::to_string_pretty(config).map_err(|error| Error::InvalidConfig {
            reason: format!("cannot be written: {error}"),
        })?;
        let comments = comments.iter().map(|line| format!("# {line}\n"));
        let text = comments.chain([settings]).collect::<String>();
        let write = |file: &mut gander_formats::atomic::AtomicWriter| file.write_all(text.as_bytes());
        Ok(gander_formats::atomic::write_atomic(&self.config(), write)?)
    }

    /// Writes other settings into `config.toml`, below the comments that it has.
    ///
    /// # Errors
    /// Those of [`Self::write_config`].
    pub fn rewrite_config(&self, config: &impl Serialize) -> Result<()> {
        let old = fs::read_to_string(self.config()).unwrap_or_default();
        let comments: Vec<_> = old
            .lines()
            .map_while(|line| line.strip_prefix("# "))
            .map(str::to_owned)
            .collect();
        self.write_config(config, &comments)
    }
}

/// The time of day; zero on a machine whose clock stands before 1970.
fn seconds_since_1970() -> f64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0.0, |since| since.as_secs_f64())
}

/// Thousands of images with three decimals: exact, and in the order of time when sorted by name.
fn kimg_name(images_seen: u64) -> String {
    format!("{:06}.{:03}", images_seen / 1000, images_seen % 1000)
}

fn images_of_name(name: &str) -> Option<u64> {
    let (kimg, rest) = name.split_once('.')?;
    let are_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if rest.len() != 3 || !are_digits(kimg) || !are_digits(rest) {
        return None;
    }
    kimg.parse::<u64>()
        .ok()?
        .checked_mul(1000)?
        .checked_add(rest.parse().ok()?)
}

fn moments(folder: &Path, suffix: &str) -> Result<Vec<Moment>> {
    let io = |source| Error::Io {
        action: "list",
        path: folder.to_owned(),
        source,
    };
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(io)?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.map_err(io)?.path();
        let name = path
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default();
        if let Some(images_seen) = name.strip_suffix(suffix).and_then(images_of_name) {
            found.push(Moment { images_seen, path });
        }
    }
    found.sort();
    Ok(found)
}

pub(crate) fn remove(path: &Path) -> Result<()> {
    fs::remove_file(path).map_err(|source| Error::Io {
        action: "remove",
        path: path.to_owned(),
        source,
    })
}

/// Numbers of the runs in a directory.
fn numbers(base: &Path) -> io::Result<impl Iterator<Item = u64>> {
    let names = fs::read_dir(base)?
        .map(|entry| Ok(entry?.file_name()))
        .collect::<io::Result<Vec<_>>>()?;
    Ok(names.into_iter().filter_map(|name| {
        let (number, _) = name.to_str()?.split_once('-')?;
        if number.len() < 5 { None } else { number.parse().ok() }
    }))
}

/// What every file system takes as part of a name.
fn file_name(name: &str) -> String {
    let plain = |c: char| if c.is_alphanumeric() || c == '_' { c } else { '-' };
    let name: String = name.chars().map(plain).take(MAX_NAME).collect();
    let name = name.trim_matches('-');
    if name.is_empty() { "run".into() } else { name.into() }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, thread};

    use super::*;

    #[test]
    fn runs_are_numbered() {
        let base = tempfile::tempdir().unwrap();
        let base = base.path().join("deep/runs");
        let names: Vec<String> = ["pottery", "My Photos (2)/../x", "", "ö"]
            .map(|name| RunDirectory::create(&base, name).unwrap().name())
            .into();
        assert_eq!(
            names,
            ["00001-pottery", "00002-My-Photos--2-----x", "00003-run", "00004-ö"]
        );
        fs::create_dir(base.join("00041-mine")).unwrap();
        fs::create_dir(base.join("77-other")).unwrap();
        assert_eq!(RunDirectory::create(&base, "a").unwrap().name(), "00042-a");
    }

    #[test]
    fn runs_of_the_same_instant_have_numbers_of_their_own() {
        let base = tempfile::tempdir().unwrap();
        let base = &base;
        let create = |index: usize| {
            RunDirectory::create(base.path(), &format!("run{index}"))
                .unwrap()
                .name()
        };
        let names: Vec<String> = thread::scope(|scope| {
            let handles: Vec<_> = (0..8).map(|index| scope.spawn(move || create(index))).collect();
            handles.into_iter().map(|handle| handle.join().unwrap()).collect()
        });
        let numbers: BTreeSet<&str> = names.iter().map(|name| &name[..5]).collect();
        assert_eq!(numbers.len(), 8, "{names:?}");
        assert!(
            fs::read_dir(base.path())
                .unwrap()
                .all(|e| !e.unwrap().file_name().to_string_lossy().starts_with('.'))
        );
    }

    #[test]
    fn names_of_moments_are_exact_and_sort_by_time() {
        let moments = [0, 64, 999, 1000, 12_800, 999_999_999, 25_000_000_123];
        let names = moments.map(kimg_name);
        assert_eq!(
            names[..5],
            ["000000.000", "000000.064", "000000.999", "000001.000", "000012.800"]
        );
        assert_eq!(names.each_ref().map(|name| images_of_name(name)), moments.map(Some));
        for name in [
            "",
            ".",
            "1",
            "1.5",
            "x.000",
            "1.00x",
            "+1.000",
            "99999999999999999999.000",
        ] {
            assert_eq!(images_of_name(name), None, "{name}");
        }
    }

    #[test]
    fn what_is_not_a_run_is_refused() {
        let base = tempfile::tempdir().unwrap();
        fs::write(base.path().join("file"), "").unwrap();
        for path in [
            base.path().to_owned(),
            base.path().join("absent"),
            base.path().join("file"),
        ] {
            assert!(
                matches!(RunDirectory::open(&path), Err(Error::NotOurs { .. })),
                "{}",
                path.display()
            );
        }
        let run = RunDirectory::create(base.path(), "a").unwrap();
        assert_eq!(RunDirectory::open(run.path()).unwrap(), run);
    }

    #[test]
    fn checkpoints_are_listed_by_age_thinned_and_rewound() {
        let base = tempfile::tempdir().unwrap();
        let run = RunDirectory::create(base.path(), "a").unwrap();
        for images_seen in [0, 5000, 4000, 90_000, 70_000, 100_000] {
            fs::write(run.checkpoint(images_seen), "").unwrap();
            fs::write(run.sample(images_seen), "").unwrap();
        }
        fs::write(run.checkpoints_folder().join("mine.safetensors"), "").unwrap();
        let seen = |moments: Vec<Moment>| moments.iter().map(|moment| moment.images_seen).collect::<Vec<_>>();
        assert_eq!(
            seen(run.checkpoints().unwrap()),
            [0, 4000, 5000, 70_000, 90_000, 100_000]
        );
        assert_eq!(seen(run.thin_checkpoints(None).unwrap()), [0, 5000]);
        run.rewind(90_000).unwrap();
        assert_eq!(seen(run.checkpoints().unwrap()), [4000, 70_000, 90_000]);
        assert_eq!(seen(run.samples().unwrap()), [0, 4000, 5000, 70_000, 90_000]);
        assert!(run.checkpoints_folder().join("mine.safetensors").exists());
    }

    #[test]
    fn settings_are_written_as_toml() {
        #[derive(Serialize)]
        struct Settings {
            seed: u64,
        }
        let base = tempfile::tempdir().unwrap();
        let run = RunDirectory::create(base.path(), "a").unwrap();
        run.write_config(&Settings { seed: 7 }, &["why".into()]).unwrap();
        assert_eq!(fs::read_to_string(run.config()).unwrap(), "# why\nseed = 7\n");
        run.rewrite_config(&Settings { seed: 8 }).unwrap();
        assert_eq!(fs::read_to_string(run.config()).unwrap(), "# why\nseed = 8\n");
    }

    #[test]
    fn a_lock_clears_what_a_killed_process_left() {
        let base = tempfile::tempdir().unwrap();
        let run = RunDirectory::create(base.path(), "a").unwrap();
        let left = run.checkpoints_folder().join(".000001.000.safetensors.1-0.partial");
        fs::write(&left, "half").unwrap();
        let _lock = run.lock().unwrap();
        assert!(!left.exists());
    }
}
