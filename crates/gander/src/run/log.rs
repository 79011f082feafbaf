//! `log.jsonl`: the events of a run, one in a line.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::{
    error::{Error, Result},
    events::{Event, Listener},
};

/// A log that is being written.
#[derive(Debug)]
pub struct Log {
    file: File,
    path: PathBuf,
}

/// What a log says.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LogContents {
    /// The events in their order, with the seconds since 1970 at which they were written.
    pub events: Vec<(f64, Event)>,
    /// Lines that are none: half written when the process was killed, or of another version.
    pub num_skipped: usize,
}

impl LogContents {
    /// The events as they stand: ticks and scores of a stretch that a run abandoned when it went back to a checkpoint are left
    /// out, and of those that it told twice of a moment the last holds.
    pub fn as_it_stands(&self) -> Vec<&Event> {
        let mut standing: Vec<&Event> = Vec::with_capacity(self.events.len());
        let mut latest = 0;
        for (_, event) in &self.events {
            let now = event.images_seen();
            let has_gone_back = now < latest;
            standing.retain(|earlier| match (*earlier, event) {
                (Event::Tick(tick), Event::Tick(_)) => tick.images_seen < now,
                (Event::Metric(old), Event::Metric(new)) if old.name == new.name => old.images_seen < now,
                (Event::Tick(_) | Event::Metric(_), _) => !has_gone_back || earlier.images_seen() <= now,
                _ => true,
            });
            latest = now;
            standing.push(event);
        }
        standing
    }
}

#[derive(Serialize)]
struct Line<'a> {
    time: f64,
    #[serde(flatten)]
    event: &'a Event,
}

#[derive(Deserialize)]
struct ReadLine {
    #[serde(default)]
    time: f64,
    #[serde(flatten)]
    event: Event,
}

impl Log {
    /// A new log in place of any that was there.
    pub fn create(path: &Path) -> Result<Self> {
        let file = File::create(path).map_err(|source| write_error(path, source))?;
        Ok(Self {
            file,
            path: path.to_owned(),
        })
    }

    /// Goes on with a log from a checkpoint, as if the run had never been broken: what was told of later images goes,
    /// and so does the end that an earlier process announced. What was told of the same moment stays. A log that is not
    /// there is begun.
    pub fn resume(path: &Path, images_seen: u64) -> Result<Self> {
        let text = match fs::read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            bytes => bytes.map_err(|source| Error::Io {
                action: "read",
                path: path.to_owned(),
                source,
            })?,
        };
        let mut kept = Vec::with_capacity(text.len());
        for line in text.split_inclusive(|&byte| byte == b'\n') {
            let is_kept = serde_json::from_slice::<ReadLine>(line).is_ok_and(|ReadLine { event, .. }| {
                event.images_seen() <= images_seen && !matches!(event, Event::RunFinished(_))
            });
            if is_kept {
                kept.extend_from_slice(line);
            }
        }
        if kept.last().is_some_and(|&byte| byte != b'\n') {
            kept.push(b'\n');
        }
        if kept != text {
            gander_formats::atomic::write_atomic(path, |file| file.write_all(&kept))?;
        }
        let file = OpenOptions::new().append(true).create(true).open(path);
        Ok(Self {
            file: file.map_err(|source| write_error(path, source))?,
            path: path.to_owned(),
        })
    }

    /// Adds an event, with the time of day.
    pub fn append(&mut self, event: &Event) -> Result<()> {
        let time = (super::seconds_since_1970() * 1000.0).round() / 1000.0;
        let mut line = serde_json::to_vec(&Line { time, event })
            .map_err(|error| write_error(&self.path, io::Error::new(io::ErrorKind::InvalidData, error)))?;
        line.push(b'\n');
        // One call, so that nobody who reads along sees half a line for long.
        self.file
            .write_all(&line)
            .map_err(|source| write_error(&self.path, source))
    }

    /// Reads a log; lines that cannot be read are counted and skipped.
    pub fn read(path: &Path) -> Result<LogContents> {
        let bytes = fs::read(path).map_err(|source| Error::Io {
            action: "read",
            path: path.to_owned(),
            source,
        })?;
        let mut contents = LogContents::default();
        for line in bytes.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
            match serde_json::from_slice(line) {
                Ok(ReadLine { time, event }) => contents.events.push((time, event)),
                Err(_) => contents.num_skipped += 1,
            }
        }
        Ok(contents)
    }
}

impl Listener for Log {
    fn on_event(&mut self, event: &Event) -> Result<()> {
        self.append(event)
    }
}

fn write_error(path: &Path, source: io::Error) -> Error {
    Error::Io {
        action: "write",
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::{Diagnosis, Metric, Reason, RunFinished, Severity, Tick};

    fn tick(images_seen: u64) -> Event {
        Event::Tick(Tick {
            images_seen,
            seconds: 0.25,
            ..Tick::default()
        })
    }

    fn finished(images_seen: u64) -> Event {
        Event::RunFinished(RunFinished {
            images_seen,
            seconds: 1.0,
            reason: Reason::Stopped,
        })
    }

    #[test]
    fn a_stretch_that_was_abandoned_does_not_stand() {
        let score = |images_seen, value| {
            Event::Metric(Metric {
                images_seen,
                name: "fid".into(),
                value,
                low: None,
                high: None,
            })
        };
        let gone_back = Event::Diagnosis(Diagnosis {
            images_seen: 200,
            severity: Severity::Warning,
            name: "divergence".into(),
            advice: String::new(),
        });
        // Back to 200, and at 300 judged once more.
        let (a, b, c, d, e, f) = (
            tick(100),
            score(200, 9.0),
            tick(300),
            score(300, 1.0),
            tick(400),
            gone_back,
        );
        let (g, h, i) = (tick(250), score(300, 7.0), score(300, 6.0));
        let told = [&a, &b, &c, &d, &e, &f, &g, &h, &i];
        let contents = LogContents {
            events: told.iter().map(|event| (0.0, (*event).clone())).collect(),
            num_skipped: 0,
        };
        assert_eq!(contents.as_it_stands(), [&a, &b, &f, &g, &i]);
    }

    fn events(path: &Path) -> Vec<Event> {
        Log::read(path)
            .unwrap()
            .events
            .into_iter()
            .map(|(_, event)| event)
            .collect()
    }

    #[test]
    fn what_is_written_is_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log.jsonl");
        let mut log = Log::create(&path).unwrap();
        let told = [tick(1), tick(2), finished(2)];
        for event in &told {
            log.append(event).unwrap();
        }
        assert_eq!(events(&path), told);
        assert!(Log::read(&path).unwrap().events[0].0 > 1.7e9);
        assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 3);
    }

    #[test]
    fn a_resumed_log_is_as_of_an_unbroken_run() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log.jsonl");
        let mut log = Log::create(&path).unwrap();
        for event in [tick(1), tick(2), finished(2), tick(3), tick(4)] {
            log.append(&event).unwrap();
        }
        let mut log = Log::resume(&path, 3).unwrap();
        log.append(&tick(5)).unwrap();
        assert_eq!(events(&path), [tick(1), tick(2), tick(3), tick(5)]);
    }

    #[test]
    fn a_line_that_is_half_written_is_skipped_when_read_and_gone_when_resumed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log.jsonl");
        Log::create(&path).unwrap().append(&tick(1)).unwrap();
        let whole = fs::read(&path).unwrap();
        for end in 1..whole.len() {
            let mut cut = whole.clone();
            cut.extend_from_slice(&whole[..end]);
            fs::write(&path, &cut).unwrap();
            let contents = Log::read(&path).unwrap();
            // Without its last byte, which ends the line, a line is whole nevertheless.
            let is_whole = end == whole.len() - 1;
            assert_eq!(
                (contents.events.len(), contents.num_skipped),
                if is_whole { (2, 0) } else { (1, 1) },
                "{end}"
            );
            Log::resume(&path, 9).unwrap().append(&tick(2)).unwrap();
            let expected: &[Event] = if is_whole {
                &[tick(1), tick(1), tick(2)]
            } else {
                &[tick(1), tick(2)]
            };
            assert_eq!(events(&path), expected, "{end}");
            assert_eq!(Log::read(&path).unwrap().num_skipped, 0, "{end}");
        }
    }

    #[test]
    fn any_bytes_are_read_without_a_panic() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log.jsonl");
        let bytes: Vec<u8> = (0..4096u32)
            .map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8)
            .collect();
        fs::write(&path, &bytes).unwrap();
        assert!(Log::read(&path).unwrap().events.is_empty());
        drop(Log::resume(&path, 1).unwrap());
        assert!(fs::read(&path).unwrap().is_empty());
    }

    #[test]
    fn a_log_that_is_not_there_is_begun_when_resumed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log.jsonl");
        Log::resume(&path, 0).unwrap().append(&tick(0)).unwrap();
        assert_eq!(events(&path), [tick(0)]);
    }
}
