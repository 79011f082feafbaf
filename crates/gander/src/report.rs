//! `report.html`: a run on one page that needs nothing else, and `curves.png`, its losses as a picture.
//!
//! Both are made from what lies in the run directory (`log.jsonl`, `config.toml`, `reals.png`, `samples/`), so that
//! they can be made again at any time, also while the run goes on.

use std::{
    io::Write,
    path::{Path, PathBuf},
};

use crate::{error::Result, images::write_png, run::RunDirectory};

mod chart;
mod lettering;
mod page;
mod pictures;
mod plot;
mod raster;
mod story;
mod synthesis;
mod text;

use story::Story;
pub(crate) use synthesis::write_synthesis;

/// Writes `report.html` and `curves.png` into a run directory and returns the path of the report.
///
/// The page holds at most 24 pictures of samples, evenly spread over the run, in at most 4 MiB with the real images;
/// what is missing from the directory is missing from the page.
///
/// # Errors
/// [`crate::Error::NotOurs`] if it is no run directory, and what reading and writing meet.
///
/// ```no_run
/// let page = gander::report::write("runs/00001-pottery".as_ref())?;
/// # Ok::<(), gander::Error>(())
/// ```
pub fn write(directory: &Path) -> Result<PathBuf> {
    let run = RunDirectory::open(directory)?;
    let story = Story::read(&run)?;
    write_png(&run.curves(), &raster::curves(&story))?;
    let page = page::page(&run, &story)?;
    gander_formats::atomic::write_atomic(&run.report(), |file| file.write_all(page.as_bytes()))?;
    Ok(run.report())
}

#[cfg(test)]
pub(crate) mod tests {
    use std::{collections::BTreeMap, fs};

    use image::RgbImage;
    use serde::Serialize;

    use super::*;
    use crate::{
        error::Error,
        events::{Diagnosis, Event, Machine, Metric, Reason, RunFinished, RunStarted, Severity, Tick},
        run::Log,
    };

    #[derive(Serialize)]
    struct Settings {
        seed: u64,
        data: BTreeMap<&'static str, &'static str>,
    }

    /// A run of three minutes as it would be logged, with a name that a careless page would take for a tag.
    pub(crate) fn made_up_run(base: &Path) -> RunDirectory {
        let run = RunDirectory::create(base, "pottery").unwrap();
        let data = BTreeMap::from([("source", "<script>alert(1)</script> & \"pots\"")]);
        run.write_config(&Settings { seed: 7, data }, &[]).unwrap();
        let mut events = Vec::new();
        let mut tell = |event: &Event| events.push(event.clone());
        tell(&Event::RunStarted(started()));
        for tick in 0..200 {
            tell(&Event::Tick(tick_at(tick)));
        }
        for sample in 0..30 {
            let images_seen = sample * 2400;
            let shade = |x: u32, y: u32| image::Rgb([(x * 3) as u8, (y * 3) as u8, (sample * 8) as u8]);
            let picture = RgbImage::from_fn(70, 70, shade).into();
            write_png(&run.sample(images_seen), &picture).unwrap();
            write_png(&run.reals(), &picture).unwrap();
            tell(&Event::SamplesWritten {
                images_seen,
                path: run.relative(&run.sample(images_seen)),
            });
        }
        let (name, advice) = ("logits drift apart <b>".into(), "raise r1_gamma".into());
        tell(&Event::Diagnosis(Diagnosis {
            images_seen: 40_000,
            severity: Severity::Warning,
            name,
            advice,
        }));
        for (images_seen, value) in [(36_000, 41.5), (72_000, 28.75)] {
            let name = "fid10k_effnet".into();
            tell(&Event::Metric(Metric {
                images_seen,
                name,
                value,
                low: Some(value - 1.0),
                high: None,
            }));
        }
        tell(&Event::RunFinished(RunFinished {
            images_seen: 72_000,
            seconds: 171.0,
            reason: Reason::Completed,
        }));
        // A run tells of its moments in their order.
        events.sort_by_key(Event::images_seen);
        let mut log = Log::create(&run.log()).unwrap();
        for event in &events {
            log.append(event).unwrap();
        }
        run
    }

    fn started() -> RunStarted {
        RunStarted {
            program: "0.1.0".into(),
            family: "dcgan".into(),
            dataset: "pottery".into(),
            num_images: 20_000,
            height_px: 64,
            width_px: 64,
            channels: 3,
            generator_parameters: 3_576_704,
            discriminator_parameters: 2_765_568,
            batch: 64,
            total_kimg: 72.0,
            machine: Machine::here(2, "avx512", "bf16"),
            ..RunStarted::default()
        }
    }

    fn tick_at(index: u64) -> Tick {
        let wave = (index as f64 * 1.7).sin();
        Tick {
            images_seen: (index + 1) * 360,
            seconds: (index + 1) as f64 * 0.855,
            images_per_second: 420.0 + 10.0 * wave,
            discriminator_loss: if index == 50 { f64::NAN } else { 0.7 + 0.2 * wave },
            generator_loss: 1.5 + 0.4 * wave,
            scalars: BTreeMap::from([
                ("real_logits".to_owned(), 1.0 + wave),
                ("fake_logits".to_owned(), -1.0 - wave),
                ("learning_rate".to_owned(), 2e-4),
            ]),
            eta_seconds: None,
        }
    }

    #[test]
    fn the_report_is_one_whole_page() {
        let base = tempfile::tempdir().unwrap();
        let run = made_up_run(base.path());
        let path = write(run.path()).unwrap();
        let page = fs::read_to_string(&path).unwrap();
        for expected in [
            "72,000",
            "2 min 51 s",
            "fid10k_effnet",
            "<td>28.8</td>",
            "raise r1_gamma",
            "avx512",
            "seed",
            "3.58 M",
        ] {
            assert!(page.contains(expected), "{expected}");
        }
        assert_eq!(page.matches("<img").count(), 25);
        assert_eq!(page.matches("<svg class=").count(), page.matches("</svg>").count());
        // Nothing is fetched from elsewhere.
        assert!(!page.contains("http://") && !page.contains("https://") && !page.contains("src=\"/"));
        assert!(run.curves().is_file());
    }

    #[test]
    fn text_from_outside_stays_text() {
        let base = tempfile::tempdir().unwrap();
        let run = made_up_run(base.path());
        let page = fs::read_to_string(write(run.path()).unwrap()).unwrap();
        assert!(page.contains("&lt;script&gt;alert(1)") && !page.contains("<script>alert(1)"));
        assert!(page.contains("drift apart &lt;b&gt;"));
    }

    #[test]
    fn it_is_made_again_from_the_same_files_with_the_same_bytes() {
        let base = tempfile::tempdir().unwrap();
        let run = made_up_run(base.path());
        let pages = [(); 2].map(|()| fs::read(write(run.path()).unwrap()).unwrap());
        assert!(pages[0] == pages[1]);
    }

    #[test]
    fn a_run_that_has_hardly_begun_has_a_report() {
        let base = tempfile::tempdir().unwrap();
        let run = RunDirectory::create(base.path(), "new").unwrap();
        let page = fs::read_to_string(write(run.path()).unwrap()).unwrap();
        assert!(page.contains("00001-new") && page.ends_with("</html>\n"));
        fs::write(run.sample(0), "not a picture").unwrap();
        fs::write(run.config(), "= broken").unwrap();
        fs::write(run.log(), "\u{0}\n{}\n").unwrap();
        assert!(!fs::read_to_string(write(run.path()).unwrap()).unwrap().contains("<img"));
    }

    #[test]
    fn what_is_no_run_has_no_report() {
        let base = tempfile::tempdir().unwrap();
        assert!(matches!(write(base.path()), Err(Error::NotOurs { .. })));
    }
}
