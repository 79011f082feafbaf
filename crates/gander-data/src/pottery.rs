//! Pottery, the embedded world: hand-thrown pots made by code, at any size, without a download.
//!
//! A picture is a pure function of a seed and an index, with the same bytes on every platform. A pot is a surface of
//! revolution from a spline profile, with foot, lip, handle and spout as its class wants them, dipped and banded in
//! glazes that potters use, on a table under a large soft light.

mod camera;
mod glaze;
mod light;
mod line_drawing;
mod numbers;
mod palette;
mod parameters;
mod raster;
mod render;
mod shape;
mod wheel;

use serde::{Deserialize, Serialize};

use crate::dataset::{Dataset, ImageShape, check_read};
use crate::error::{Error, Result};
use numbers::Random;
pub use parameters::{ControlPoint, PotClass, PotParameters};
pub use render::{GlazeStyle, PictureSize, RenderMode, render};

/// Which of two disjoint streams of pots is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PotterySplit {
    /// For training.
    #[default]
    Training,
    /// Never trained on.
    HeldOut,
}

/// What to throw.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PotteryConfig {
    /// Sides of the images, each from 8 to 4096.
    pub size: PictureSize,
    /// Number of images, at least 1; they cost nothing until read.
    pub len: usize,
    /// Another seed gives other pots.
    pub seed: u64,
    /// Which stream of pots.
    pub split: PotterySplit,
    /// How they are shown.
    pub mode: RenderMode,
}

impl Default for PotteryConfig {
    /// 10,000 glazed pots of 64x64 to train on.
    fn default() -> Self {
        Self {
            size: PictureSize::square(64),
            len: 10_000,
            seed: 0,
            split: PotterySplit::Training,
            mode: RenderMode::Glazed,
        }
    }
}

/// Pots as a dataset; classes are `vase`, `bowl`, `jug`, `plate` and `cup`, each a fifth of any five in a row.
#[derive(Clone, Debug)]
pub struct Pottery {
    config: PotteryConfig,
    classes: Vec<String>,
}

/// Counts changes of the pictures behind an unchanged configuration.
const VERSION: u32 = 2;
/// Sides that can be asked for.
const SIDES_PX: std::ops::RangeInclusive<usize> = 8..=4096;

impl Pottery {
    /// Checks a configuration.
    ///
    /// # Errors
    /// [`Error::Option`] for a side or a length out of range.
    pub fn new(config: PotteryConfig) -> Result<Self> {
        for side in [config.size.width_px, config.size.height_px] {
            if !SIDES_PX.contains(&side) {
                return Err(option("size", "from 8 to 4096", side));
            }
        }
        if config.len == 0 {
            return Err(option("len", "at least 1", config.len));
        }
        let classes = PotClass::ALL.map(|class| class.name().to_string()).to_vec();
        Ok(Self { config, classes })
    }

    /// As it was configured.
    pub fn config(&self) -> &PotteryConfig {
        &self.config
    }

    /// Pots of the same seed that are in no training set.
    ///
    /// # Errors
    /// [`Error::Option`] if `len` is 0.
    pub fn held_out(&self, len: usize) -> Result<Self> {
        Self::new(PotteryConfig {
            len,
            split: PotterySplit::HeldOut,
            ..self.config
        })
    }

    /// The same pots, shown in another way: the partners of a pair have one index.
    #[must_use]
    pub fn with_mode(&self, mode: RenderMode) -> Self {
        Self {
            config: PotteryConfig { mode, ..self.config },
            classes: self.classes.clone(),
        }
    }

    /// The numbers behind an image. Indices past the end give pots too.
    pub fn parameters(&self, index: usize) -> PotParameters {
        let mut random = Random::new(self.config.seed, self.stream(), index as u64);
        PotParameters::draw(self.class(index), &mut random)
    }

    /// The class of an image: every block of five indices holds each class once, in an order of its own.
    pub fn class(&self, index: usize) -> PotClass {
        let mut random = Random::new(self.config.seed, self.stream() | 1 << 32, (index / 5) as u64);
        let mut order = PotClass::ALL;
        for i in (1..order.len()).rev() {
            order.swap(i, random.below(i + 1));
        }
        order[index % 5]
    }

    fn stream(&self) -> u64 {
        match self.config.split {
            PotterySplit::Training => 1,
            PotterySplit::HeldOut => 2,
        }
    }
}

impl Dataset for Pottery {
    fn len(&self) -> usize {
        self.config.len
    }

    fn shape(&self) -> ImageShape {
        let PictureSize { width_px, height_px } = self.config.size;
        ImageShape {
            height_px,
            width_px,
            channels: 3,
        }
    }

    fn classes(&self) -> &[String] {
        &self.classes
    }

    fn label(&self, index: usize) -> Option<u32> {
        Some(self.class(index) as u32)
    }

    fn read(&self, index: usize, pixels: &mut [u8]) -> Result<()> {
        check_read(self.len(), self.shape(), index, pixels)?;
        render::render_into(&self.parameters(index), self.config.size, self.config.mode, pixels);
        Ok(())
    }

    fn fingerprint(&self) -> String {
        let PotteryConfig {
            len, seed, split, mode, ..
        } = self.config;
        format!("pottery{VERSION}-{}-{len}-{seed}-{split:?}-{mode:?}", self.shape())
    }
}

fn option(option: &'static str, expected: &str, got: usize) -> Error {
    Error::Option {
        option,
        expected: expected.into(),
        got: got.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn set(side_px: usize, mode: RenderMode) -> Pottery {
        Pottery::new(PotteryConfig {
            size: PictureSize::square(side_px),
            mode,
            ..Default::default()
        })
        .unwrap()
    }

    fn image(pottery: &Pottery, index: usize) -> Vec<u8> {
        let mut pixels = vec![0; pottery.shape().bytes()];
        pottery.read(index, &mut pixels).unwrap();
        pixels
    }

    const MODES: [RenderMode; 6] = [
        RenderMode::Glazed,
        RenderMode::Outline,
        RenderMode::Styled(GlazeStyle::Porcelain),
        RenderMode::Styled(GlazeStyle::Iron),
        RenderMode::Wheel { rising: 0.0, turn: 0.3 },
        RenderMode::Wheel { rising: 0.7, turn: 1.9 },
    ];

    #[test]
    fn an_index_always_gives_the_same_bytes() {
        let pottery = set(32, RenderMode::Glazed);
        for index in [0, 1, 9_999] {
            assert_eq!(image(&pottery, index), image(&pottery.clone(), index));
        }
        assert_ne!(image(&pottery, 0), image(&pottery, 5));
        let other = Pottery::new(PotteryConfig {
            seed: 1,
            ..*pottery.config()
        })
        .unwrap();
        assert_ne!(pottery.parameters(0), other.parameters(0));
    }

    /// The promise of [`render`]: every platform gives these bytes. A change here needs another [`VERSION`].
    #[test]
    fn bytes_are_the_same_on_every_platform() {
        let mut hash = 0xCBF2_9CE4_8422_2325_u64;
        for (index, mode) in MODES.into_iter().enumerate() {
            let pixels = image(&set(48, mode), index);
            for byte in pixels {
                hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3);
            }
        }
        assert_eq!(hash, CHECKSUM, "{hash:#x}");
    }

    /// FNV-1a of six pictures.
    const CHECKSUM: u64 = 0x5A1D_6DAE_2CC0_DAD2;

    #[test]
    fn classes_are_balanced_and_mixed() {
        let pottery = set(32, RenderMode::Glazed);
        assert_eq!(crate::label_counts(&pottery), [2000; 5]);
        assert_eq!(pottery.classes(), ["vase", "bowl", "jug", "plate", "cup"]);
        let starts = (0..100).filter(|block| pottery.label(block * 5) == Some(0)).count();
        assert!((5..40).contains(&starts), "{starts} of 100 blocks begin with a vase");
    }

    #[test]
    fn sizes_show_the_same_pot() {
        let (small, large) = (set(64, RenderMode::Glazed), set(128, RenderMode::Glazed));
        for index in 0..10 {
            let (a, b) = (image(&small, index), image(&large, index));
            let mut total = 0.0;
            for (i, &byte) in a.iter().enumerate() {
                let (x, y, c) = (i / 3 % 64, i / 192, i % 3);
                let at = |dx: usize, dy: usize| f32::from(b[((2 * y + dy) * 128 + 2 * x + dx) * 3 + c]);
                total += (f32::from(byte) - 0.25 * (at(0, 0) + at(1, 0) + at(0, 1) + at(1, 1))).abs();
            }
            let mean = total / a.len() as f32;
            assert!(mean < 1.5, "pot {index} differs by {mean} levels");
        }
    }

    /// Each number in a tree of JSON, as the path to it.
    fn numbers(value: &Value, path: &str, found: &mut Vec<String>) {
        match value {
            Value::Number(_) => found.push(path.to_string()),
            Value::Array(items) => {
                items
                    .iter()
                    .enumerate()
                    .for_each(|(i, item)| numbers(item, &format!("{path}/{i}"), found));
            }
            Value::Object(items) => items
                .iter()
                .for_each(|(key, item)| numbers(item, &format!("{path}/{key}"), found)),
            _ => {}
        }
    }

    #[test]
    fn every_parameter_changes_the_picture() {
        let pottery = set(96, RenderMode::Glazed);
        let jug = (0..5).find(|&index| pottery.class(index) == PotClass::Jug).unwrap();
        let mut parameters = pottery.parameters(jug);
        parameters.dip = 0.85;
        parameters.band_count = 2.0;
        parameters.speckle_density = 0.5;
        parameters.glaze_line = 0.05;
        parameters.base_color = [0.6, 0.5, 0.4];
        parameters.camera_tilt = 0.12;
        let before = render(&parameters, PictureSize::square(96), RenderMode::Glazed);
        let tree = serde_json::to_value(&parameters).unwrap();
        let mut paths = Vec::new();
        numbers(&tree, "", &mut paths);
        assert!(paths.len() > 50);
        for path in paths {
            let mut tree = tree.clone();
            let number = tree.pointer_mut(&path).unwrap();
            *number = match number.as_u64() {
                Some(seed) if path == "/pattern_seed" => Value::from((seed + 4321) % (1 << 32)),
                _ => Value::from(number.as_f64().unwrap() * 1.2 + 0.01),
            };
            let changed: PotParameters = serde_json::from_value(tree).unwrap();
            let after = render(&changed, PictureSize::square(96), RenderMode::Glazed);
            let count = before.iter().zip(&after).filter(|(a, b)| a != b).count();
            assert!(count > 12, "{path} changes {count} bytes");
        }
    }

    /// A value that is not finite would end as a black pixel, and nothing in these pictures is that dark.
    #[test]
    fn every_pixel_is_finite_in_every_mode_and_shape() {
        for (i, mode) in MODES.into_iter().enumerate() {
            for (j, (width_px, height_px)) in [(8, 8), (33, 71), (90, 41)].into_iter().enumerate() {
                let pottery = set(32, mode);
                for index in 0..5 {
                    let parameters = pottery.parameters(100 * i + 10 * j + index);
                    let pixels = render(&parameters, PictureSize { width_px, height_px }, mode);
                    assert_eq!(pixels.len(), width_px * height_px * 3);
                    assert!(
                        pixels.chunks(3).all(|pixel| pixel != [0, 0, 0]),
                        "{mode:?} {width_px}x{height_px}"
                    );
                }
            }
        }
    }

    #[test]
    fn the_pot_fills_the_frame_and_stays_inside() {
        let pottery = set(64, RenderMode::Outline);
        for index in 0..100 {
            let pixels = image(&pottery, index);
            let inked = |x: usize, y: usize| pixels[(y * 64 + x) * 3] < 225;
            let border = (0..64).any(|i| inked(i, 0) || inked(i, 63) || inked(0, i) || inked(63, i));
            assert!(!border, "pot {index} touches the border");
            let columns = (0..64).filter(|&x| (0..64).any(|y| inked(x, y))).count();
            let rows = (0..64).filter(|&y| (0..64).any(|x| inked(x, y))).count();
            assert!(columns.max(rows) >= 44, "pot {index} is {columns}x{rows}");
        }
    }

    #[test]
    fn held_out_pots_are_others() {
        let training = set(32, RenderMode::Glazed);
        let held_out = training.held_out(50).unwrap();
        assert_eq!(held_out.len(), 50);
        for index in 0..50 {
            assert!((0..200).all(|other| held_out.parameters(index) != training.parameters(other)));
        }
        assert_ne!(held_out.fingerprint(), training.fingerprint());
    }

    #[test]
    fn styles_differ_in_glaze_alone() {
        let pottery = set(64, RenderMode::Glazed);
        let (porcelain, iron) = (pottery.with_mode(MODES[2]), pottery.with_mode(MODES[3]));
        let mut gap = 0.0;
        for index in 0..20 {
            let pictures = [image(&pottery, index), image(&porcelain, index), image(&iron, index)];
            // The corners show the backdrop, the middle the pot.
            assert!(pictures.iter().all(|picture| picture[..12] == pictures[0][..12]));
            let blue = |picture: &[u8]| f32::from(picture[32 * 64 * 3 + 98]) / 20.0;
            gap += blue(&pictures[1]) - blue(&pictures[2]);
        }
        assert!(gap > 60.0, "porcelain is bluer by {gap} levels");
    }

    #[test]
    fn a_pot_rises_on_the_wheel() {
        let parameters = (0..5).map(|index| set(64, RenderMode::Glazed).parameters(index));
        for parameters in parameters.filter(|p| p.class == PotClass::Vase) {
            let frames = [0.0, 0.5, 1.0].map(|rising| wheel::thrown(&parameters, rising, 0.0).now.profile[5].height);
            assert!(frames[0] < frames[1] && frames[1] < frames[2], "{frames:?}");
            assert_eq!(frames[2], parameters.profile[5].height);
        }
    }

    #[test]
    fn sizes_and_lengths_out_of_range_are_refused() {
        let tiny = PotteryConfig {
            size: PictureSize {
                width_px: 7,
                height_px: 64,
            },
            ..Default::default()
        };
        let error = Pottery::new(tiny).unwrap_err();
        assert_eq!(error.to_string(), "size must be from 8 to 4096: 7");
        let none = PotteryConfig {
            len: 0,
            ..Default::default()
        };
        assert!(matches!(Pottery::new(none), Err(Error::Option { option: "len", .. })));
        let pottery = set(8, RenderMode::Glazed);
        assert!(matches!(pottery.read(10_000, &mut [0; 192]), Err(Error::Index { .. })));
        assert!(matches!(pottery.read(0, &mut [0; 191]), Err(Error::Buffer { .. })));
    }
}
