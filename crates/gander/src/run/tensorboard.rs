//! Event files that `TensorBoard` shows.
//!
//! A file is a row of records, each with its length and checksums; a record is an `Event` of protocol buffers, of
//! which the few fields that we need are written by hand. Written from public format descriptions:
//! `tensorflow/core/lib/io/record_writer.h`, `tensorflow/core/util/event.proto`, `framework/summary.proto`.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
};

use super::{LogContents, crc32c::masked};
use crate::{
    error::{Error, Result},
    events::{Event, Listener, Metric, Tick},
};

/// In the name of each event file; by this `TensorBoard` finds them.
const INFIX: &str = "tfevents";

/// An event file that is being written. The step is the number of images seen.
#[derive(Debug)]
pub struct TensorBoard {
    file: File,
    path: PathBuf,
    directory: PathBuf,
}

impl TensorBoard {
    /// A new event file in a run directory, with what the log says so far.
    ///
    /// Older event files are removed: after a resume they hold steps that never were. A file has its own name, newer
    /// than those before, so that a `TensorBoard` that is watching moves on to it.
    pub fn create(directory: &Path, log: &LogContents) -> Result<Self> {
        let list = |source| Error::Io {
            action: "list",
            path: directory.to_owned(),
            source,
        };
        let mut old: Vec<PathBuf> = fs::read_dir(directory)
            .and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>())
            .map_err(list)?;
        old.retain(|path| is_event_file(path));
        let newest = old.iter().filter_map(|path| number(path)).max();
        let now = super::seconds_since_1970();
        let number = newest.map_or(now as u64, |newest| (newest + 1).max(now as u64));
        for path in old {
            fs::remove_file(&path).map_err(|source| Error::Io {
                action: "remove",
                path: path.clone(),
                source,
            })?;
        }
        let path = directory.join(format!("events.out.{INFIX}.{number:010}.gander"));
        let file = OpenOptions::new().create_new(true).append(true).open(&path);
        let file = file.map_err(|source| Error::Io {
            action: "write",
            path: path.clone(),
            source,
        })?;
        let mut board = Self {
            file,
            path,
            directory: directory.to_owned(),
        };
        let start = log.events.first().map_or(now, |(time, _)| *time);
        board.write(&Message::event(start, 0).text(3, "brain.Event:2"))?;
        log.events
            .iter()
            .try_for_each(|(time, event)| board.tell(*time, event))?;
        Ok(board)
    }

    fn tell(&mut self, time: f64, event: &Event) -> Result<()> {
        match event {
            Event::Tick(tick) => {
                let values = scalars(tick).fold(Message::default(), |summary, (name, value)| {
                    summary.message(1, &Message::default().text(1, &name).float(2, value as f32))
                });
                self.write(&Message::event(time, tick.images_seen).message(5, &values))
            }
            Event::Metric(Metric {
                images_seen,
                name,
                value,
                ..
            }) => {
                let value = Message::default()
                    .text(1, &format!("metrics/{name}"))
                    .float(2, *value as f32);
                self.write(&Message::event(time, *images_seen).message(5, &Message::default().message(1, &value)))
            }
            Event::SamplesWritten { images_seen, path } => {
                // A picture that was removed meanwhile, or is beyond reading, is only missing here.
                let path = self.directory.join(path);
                let (Ok(bytes), Ok((width, height))) = (fs::read(&path), image::image_dimensions(&path)) else {
                    return Ok(());
                };
                let picture = Message::default()
                    .number(1, height.into())
                    .number(2, width.into())
                    .number(3, 3)
                    .bytes(4, &bytes);
                let value = Message::default().text(1, "samples").message(4, &picture);
                self.write(&Message::event(time, *images_seen).message(5, &Message::default().message(1, &value)))
            }
            _ => Ok(()),
        }
    }

    fn write(&mut self, message: &Message) -> Result<()> {
        self.file.write_all(&record(&message.0)).map_err(|source| Error::Io {
            action: "write",
            path: self.path.clone(),
            source,
        })
    }
}

impl Listener for TensorBoard {
    fn on_event(&mut self, event: &Event) -> Result<()> {
        self.tell(super::seconds_since_1970(), event)
    }
}

/// All numbers of a tick with the names under which they are shown.
fn scalars(tick: &Tick) -> impl Iterator<Item = (String, f64)> {
    let own = [
        ("loss/discriminator", tick.discriminator_loss),
        ("loss/generator", tick.generator_loss),
        ("speed/images_per_second", tick.images_per_second),
        ("speed/training_seconds", tick.seconds),
    ];
    let extra = tick.scalars.iter().map(|(name, &value)| {
        let group = if name.ends_with("_logits") {
            "logits"
        } else {
            "training"
        };
        (format!("{group}/{name}"), value)
    });
    own.into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .chain(extra)
}

fn is_event_file(path: &Path) -> bool {
    let name = path
        .file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    name.starts_with(&format!("events.out.{INFIX}.")) && name.ends_with(".gander")
}

fn number(path: &Path) -> Option<u64> {
    path.file_name()?.to_str()?.split('.').nth(3)?.parse().ok()
}

/// Length, checksum of the length, data, checksum of the data.
fn record(data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u64).to_le_bytes();
    [
        &length[..],
        &masked(&length).to_le_bytes(),
        data,
        &masked(data).to_le_bytes(),
    ]
    .concat()
}

/// A message of protocol buffers, field by field.
#[derive(Debug, Default)]
struct Message(Vec<u8>);

impl Message {
    /// `Event { wall_time = 1, step = 2 }`
    fn event(time: f64, step: u64) -> Self {
        let mut message = Self::default();
        message.key(1, 1);
        message.0.extend(time.to_le_bytes());
        message.number(2, step)
    }

    fn key(&mut self, field: u64, wire_type: u64) {
        self.varint(field << 3 | wire_type);
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn number(mut self, field: u64, value: u64) -> Self {
        self.key(field, 0);
        self.varint(value);
        self
    }

    fn float(mut self, field: u64, value: f32) -> Self {
        self.key(field, 5);
        self.0.extend(value.to_le_bytes());
        self
    }

    fn bytes(mut self, field: u64, bytes: &[u8]) -> Self {
        self.key(field, 2);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
        self
    }

    fn text(self, field: u64, text: &str) -> Self {
        self.bytes(field, text.as_bytes())
    }

    fn message(self, field: u64, message: &Self) -> Self {
        self.bytes(field, &message.0)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// The first record of any event file. Bytes from `tensorboard` 2.21,
    /// `RecordWriter(f).write(Event(wall_time=1.5, step=300, file_version="brain.Event:2").SerializeToString())`.
    #[test]
    fn a_record_has_the_bytes_that_tensorboard_writes() {
        let message = Message::event(1.5, 300).text(3, "brain.Event:2");
        let written: Vec<String> = record(&message.0).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(written.concat(), FIRST_RECORD);
    }

    const FIRST_RECORD: &str = "1b000000000000001a0d9e1309000000000000f83f10ac021a0d627261696e2e4576656e743a320a8dc5e4";

    fn records(path: &Path) -> Vec<Vec<u8>> {
        let bytes = fs::read(path).unwrap();
        let (mut rest, mut records) = (bytes.as_slice(), Vec::new());
        while !rest.is_empty() {
            let length = u64::from_le_bytes(rest[..8].try_into().unwrap()) as usize;
            let data = &rest[12..12 + length];
            assert_eq!(rest[..16 + length], record(data));
            records.push(data.to_vec());
            rest = &rest[16 + length..];
        }
        records
    }

    #[test]
    fn a_new_file_replaces_the_old_and_repeats_the_log() {
        let directory = tempfile::tempdir().unwrap();
        let tick = |images_seen| {
            Event::Tick(Tick {
                images_seen,
                ..Tick::default()
            })
        };
        let mut first = TensorBoard::create(directory.path(), &LogContents::default()).unwrap();
        first.on_event(&tick(1)).unwrap();
        let other = directory.path().join("events.out.tfevents.1.of-somebody-else");
        fs::write(&other, "").unwrap();
        let log = LogContents {
            events: vec![(5.0, tick(1)), (6.0, tick(2))],
            num_skipped: 0,
        };
        let second = TensorBoard::create(directory.path(), &log).unwrap();
        assert!(!first.path.exists() && second.path > first.path && other.exists());
        assert_eq!(records(&second.path).len(), 3);
    }

    #[test]
    fn numbers_are_shown_by_group() {
        let scalars_of_tick = BTreeMap::from([("real_logits".to_owned(), 1.0), ("r1_penalty".to_owned(), 2.0)]);
        let tick = Tick {
            scalars: scalars_of_tick,
            ..Tick::default()
        };
        let names: Vec<String> = scalars(&tick).map(|(name, _)| name).collect();
        assert!(names.contains(&"logits/real_logits".into()) && names.contains(&"training/r1_penalty".into()));
    }

    #[test]
    fn a_picture_that_is_missing_is_left_out() {
        let directory = tempfile::tempdir().unwrap();
        let mut board = TensorBoard::create(directory.path(), &LogContents::default()).unwrap();
        let samples = |path: &str| Event::SamplesWritten {
            images_seen: 1,
            path: path.into(),
        };
        board.on_event(&samples("absent.png")).unwrap();
        assert_eq!(records(&board.path).len(), 1);
        let white = image::DynamicImage::new_rgb8(2, 3);
        crate::images::write_png(&directory.path().join("a.png"), &white).unwrap();
        board.on_event(&samples("a.png")).unwrap();
        assert_eq!(records(&board.path).len(), 2);
    }
}
