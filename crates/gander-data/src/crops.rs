//! Crops of one picture, as many as one likes: what a translator from one picture to another learns from.

use std::path::PathBuf;
use std::sync::Arc;

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::dataset::{Dataset, ImageShape, check_read};
use crate::error::{Error, Result};
use crate::media::Picture;
use crate::options::{Filter, OpenOptions, Size};
use crate::scan::scan;
use crate::transforms::{Window, cut, to_channels};
use crate::two::shared_pipeline;

/// Which crops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CropsConfig {
    /// Sides of a crop.
    pub size: Size,
    /// Number of crops.
    pub len: usize,
    /// Where they lie: a function of this and of their index.
    pub seed: u64,
    /// How pixels are resized.
    pub filter: Filter,
}

/// How far a picture is zoomed out at most before a crop is taken, along each axis by itself.
///
/// # Source
/// The code of Park et al. 2020: a factor between 1/3 and 1, `data/singleimage_dataset.py` of
/// <https://github.com/taesungp/contrastive-unpaired-translation>.
const FARTHEST: f64 = 3.0;

/// Crops of a picture at random places, each zoomed out by a random factor.
#[derive(Clone, Debug)]
pub struct Crops {
    picture: Arc<Picture>,
    config: CropsConfig,
}

impl Crops {
    /// Crops of a picture of 1, 3 or 4 channels.
    ///
    /// # Errors
    /// [`Error::Option`] for a picture that is smaller than a crop.
    pub fn new(picture: Picture, config: CropsConfig) -> Result<Self> {
        let (whole, least) = (picture.size(), config.size);
        if whole.width_px < least.width_px || whole.height_px < least.height_px {
            return Err(Error::Option {
                option: "a picture",
                expected: format!("at least as large as a crop of {least}"),
                got: whole.to_string(),
            });
        }
        let picture = Arc::new(picture);
        Ok(Self { picture, config })
    }

    /// As many other crops of the same picture.
    #[must_use]
    pub fn others(&self) -> Self {
        let seed = self.config.seed + 1;
        Self {
            config: CropsConfig { seed, ..self.config },
            picture: Arc::clone(&self.picture),
        }
    }

    /// The part of the picture that a crop shows.
    fn window(&self, index: usize) -> Window {
        let bits = xxh3_64_with_seed(&(index as u64).to_le_bytes(), self.config.seed);
        // Four numbers from 0 to 1 of sixteen bits each.
        let uniform = |number: u32| f64::from((bits >> (16 * number)) as u16) / 65_536.0;
        let along = |least: usize, whole: usize, number| {
            let nearest = 1.0 / FARTHEST;
            let zoom = nearest + uniform(number) * (1.0 - nearest);
            let side = ((least as f64 / zoom).round() as usize).clamp(least, whole);
            let first = (uniform(number + 1) * (whole - side + 1) as f64) as usize;
            (first, side)
        };
        let (whole, least) = (self.picture.size(), self.config.size);
        let (left, width_px) = along(least.width_px, whole.width_px, 0);
        let (top, height_px) = along(least.height_px, whole.height_px, 2);
        let size = Size { width_px, height_px };
        Window { left, top, size }
    }
}

impl Dataset for Crops {
    fn len(&self) -> usize {
        self.config.len
    }

    fn shape(&self) -> ImageShape {
        ImageShape {
            height_px: self.config.size.height_px,
            width_px: self.config.size.width_px,
            channels: self.picture.channels,
        }
    }

    fn classes(&self) -> &[String] {
        &[]
    }

    fn label(&self, _: usize) -> Option<u32> {
        None
    }

    fn read(&self, index: usize, pixels: &mut [u8]) -> Result<()> {
        check_read(self.len(), self.shape(), index, pixels)?;
        let CropsConfig { size, filter, .. } = self.config;
        pixels.copy_from_slice(&cut(&self.picture, self.window(index), size, filter));
        Ok(())
    }

    fn fingerprint(&self) -> String {
        let CropsConfig { size, len, seed, .. } = self.config;
        let hash = xxh3_64(&self.picture.pixels);
        format!(
            "crops-{hash:016x}-{}-{size}x{}-{len}-{seed}",
            self.picture.size(),
            self.picture.channels
        )
    }
}

/// Opens two pictures, each a set of crops that train and as many others: `[content, style]`, of one shape.
///
/// Each source is a file, or a folder or archive with one picture in it. Where one is gray and the other in color, both
/// become RGB.
///
/// # Errors
/// [`Error::Option`] if it is not two single pictures or one is smaller than a crop, [`Error::Decode`] for one that is
/// damaged, and those of [`crate::open()`].
pub fn open_pictures(sources: &[PathBuf], options: &OpenOptions, size: Size, len: usize) -> Result<[Crops; 2]> {
    options.validate()?;
    let [content, style] = sources else {
        return Err(Error::Option {
            option: "pictures",
            expected: "two, the content and the style".into(),
            got: sources.len().to_string(),
        });
    };
    let mut items = Vec::new();
    for source in [content, style] {
        let mut found = scan(std::slice::from_ref(source), options, &|_| {})?;
        if found.items.len() != 1 {
            return Err(match found.skipped.pop() {
                Some(skipped) if found.items.is_empty() => Error::Decode {
                    path: skipped.path,
                    reason: skipped.reason,
                },
                _ => Error::Option {
                    option: "pictures",
                    expected: "one on each side".into(),
                    got: format!("{} with {}", source.display(), found.items.len()),
                },
            });
        }
        items.push(found.items);
    }
    let pipeline = shared_pipeline(&[&items[0], &items[1]], options);
    let crops = |index: usize| {
        let entry = &items[index][0].entry;
        let picture = pipeline.picture(entry).map_err(|reason| Error::Decode {
            path: entry.path(),
            reason,
        })?;
        let config = CropsConfig {
            size,
            len,
            // The two sets lie apart even where both are of one picture.
            seed: 2 * index as u64,
            filter: options.filter,
        };
        Crops::new(
            to_channels(&picture, pipeline.fit.shape.channels, pipeline.fit.background),
            config,
        )
    };
    Ok([crops(0)?, crops(1)?])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Red grows to the right, green down.
    fn slopes(width_px: usize, height_px: usize) -> Picture {
        let pixel = |i: usize| [(i % width_px) as u8, (i / width_px) as u8, 7];
        Picture {
            width_px,
            height_px,
            channels: 3,
            pixels: (0..width_px * height_px).flat_map(pixel).collect(),
        }
    }

    fn config(len: usize) -> CropsConfig {
        CropsConfig {
            size: Size {
                width_px: 32,
                height_px: 16,
            },
            len,
            seed: 0,
            filter: Filter::Area,
        }
    }

    #[test]
    fn crops_cover_the_picture_at_all_scales() {
        let crops = Crops::new(slopes(200, 150), config(500)).unwrap();
        let windows: Vec<Window> = (0..500).map(|index| crops.window(index)).collect();
        assert!(
            windows
                .iter()
                .all(|w| (32..=96).contains(&w.size.width_px) && (16..=48).contains(&w.size.height_px))
        );
        assert!(
            windows
                .iter()
                .all(|w| w.left + w.size.width_px <= 200 && w.top + w.size.height_px <= 150)
        );
        let ends = |w: &Window| (w.left + w.size.width_px, w.top + w.size.height_px);
        assert!(windows.iter().any(|w| w.left < 5) && windows.iter().any(|w| ends(w).0 > 195));
        assert!(windows.iter().any(|w| w.top < 5) && windows.iter().any(|w| ends(w).1 > 145));
        assert!(windows.iter().any(|w| w.size.width_px > 90) && windows.iter().any(|w| w.size.width_px < 36));
    }

    #[test]
    fn a_crop_shows_its_window() {
        let crops = Crops::new(slopes(200, 150), config(50)).unwrap();
        let mut pixels = vec![0; crops.shape().bytes()];
        for index in 0..50 {
            crops.read(index, &mut pixels).unwrap();
            let Window { left, top, size } = crops.window(index);
            let near = |got: u8, expected: usize| usize::from(got).abs_diff(expected) <= 3;
            assert!(near(pixels[0], left) && near(pixels[1], top) && pixels[2] == 7);
            let last = &pixels[pixels.len() - 3..];
            assert!(near(last[0], left + size.width_px - 1) && near(last[1], top + size.height_px - 1));
        }
        assert_ne!(crops.fingerprint(), crops.others().fingerprint());
        assert_ne!(crops.window(0), crops.others().window(0));
    }

    #[test]
    fn a_picture_of_a_crops_size_has_one_window() {
        let crops = Crops::new(slopes(32, 16), config(9)).unwrap();
        assert!((0..9).all(|index| crops.window(index).size == crops.config.size));
        assert!(Crops::new(slopes(31, 40), config(9)).is_err());
    }
}
