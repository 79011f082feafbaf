//! The settings of opening a dataset.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// The sides of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Size {
    /// Columns.
    pub width_px: usize,
    /// Rows.
    pub height_px: usize,
}

impl std::fmt::Display for Size {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}x{}", self.width_px, self.height_px)
    }
}

/// The channels of a dataset's images.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Channels {
    /// One channel; colors become luma by ITU-R BT.601.
    Gray,
    /// Three channels.
    Rgb,
    /// Three channels and alpha, not premultiplied.
    Rgba,
}

impl Channels {
    /// 1, 3 or 4.
    pub fn count(self) -> usize {
        match self {
            Self::Gray => 1,
            Self::Rgb => 3,
            Self::Rgba => 4,
        }
    }
}

/// What becomes of the labels that a source has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Labels {
    /// Images only, in one unlabeled set.
    #[default]
    Ignore,
    /// Labels if the source has any.
    WherePresent,
    /// Labels, or [`Error::NoLabels`]; an image without one is left out.
    Require,
}

/// Which folder of `a/b/c.png` names the class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClassLevel {
    /// The outermost that differs between images: `a`.
    #[default]
    First,
    /// The whole path: `a/b`.
    Deepest,
}

/// What becomes of transparency.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlphaPolicy {
    /// Four channels, if most of the files are transparent somewhere; else as over white.
    Keep,
    /// Laid on a color.
    Over([u8; 3]),
}

/// How an image of another shape fits the dataset's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CropPolicy {
    /// The largest rectangle of the dataset's proportions is cut from the middle, then resized.
    #[default]
    Center,
    /// The whole image is resized, its proportions change.
    Stretch,
    /// The whole image is resized with its proportions and centered on a color (on transparency in RGBA sets).
    Pad([u8; 3]),
}

/// How pixels are resized, each axis by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Filter {
    /// An axis that shrinks takes the mean of the area that each pixel covers; one that grows uses Lanczos.
    #[default]
    Area,
    /// Lanczos with three lobes, widened by the scale where it shrinks.
    Lanczos,
}

/// How to open a dataset. The default suits a folder of pictures.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct OpenOptions {
    /// Sides of the images; `None` lets [`crate::open()`] choose.
    pub size: Option<Size>,
    /// Channels of the images; `None` lets [`crate::open()`] choose.
    pub channels: Option<Channels>,
    /// What becomes of labels.
    pub labels: Labels,
    /// Which folder names the class.
    pub class_level: ClassLevel,
    /// What becomes of transparency.
    pub alpha: AlphaPolicy,
    /// How an image of another shape fits.
    pub crop: CropPolicy,
    /// How pixels are resized.
    pub filter: Filter,
    /// Share of the images to hold out where the source has no split of its own, 0 < x < 1.
    pub holdout: Option<f64>,
    /// Images to hold out where neither the source nor `holdout` says which: these, or a tenth of a smaller set, or none where a
    /// tenth would be less than a fifth of them; 0.
    pub auto_holdout: usize,
    /// Seed of the choice of held-out images.
    pub seed: u64,
    /// Decoded images are kept in memory if all of them fit; 2 GiB. The same bound holds for what compressed tars
    /// and for what IDX and NPZ arrays unpack to, and for the list of their rows.
    pub cache_bytes: u64,
    /// The longer side that is chosen at most where `size` is `None`; 256.
    pub auto_side_px: usize,
    /// Images with a longer side are refused; 32,768.
    pub max_side_px: usize,
    /// Images with more pixels are refused; 2^27, some 134 megapixels.
    pub max_pixels: u64,
    /// Images that a set needs at least; 2.
    pub min_images: usize,
    /// Threads that scan and decode; 0 takes all processors.
    pub threads: usize,
}

impl Default for OpenOptions {
    fn default() -> Self {
        Self {
            size: None,
            channels: None,
            labels: Labels::default(),
            class_level: ClassLevel::default(),
            alpha: AlphaPolicy::Over([255; 3]),
            crop: CropPolicy::default(),
            filter: Filter::default(),
            holdout: None,
            auto_holdout: 0,
            seed: 0,
            cache_bytes: 2 << 30,
            auto_side_px: 256,
            max_side_px: 32_768,
            max_pixels: 1 << 27,
            min_images: 2,
            threads: 0,
        }
    }
}

impl OpenOptions {
    /// The color behind transparent pixels of images without an alpha channel.
    pub(crate) fn background(&self) -> [u8; 3] {
        match self.alpha {
            AlphaPolicy::Keep => [255; 3],
            AlphaPolicy::Over(color) => color,
        }
    }

    pub(crate) fn validate(&self) -> Result<()> {
        let refuse = |option, expected: &str, got: String| {
            Err(Error::Option {
                option,
                expected: expected.into(),
                got,
            })
        };
        if let Some(size) = self.size
            && (size.width_px.min(size.height_px) == 0 || size.width_px.max(size.height_px) > self.max_side_px)
        {
            return refuse(
                "size",
                &format!("from 1x1 to {0}x{0}", self.max_side_px),
                size.to_string(),
            );
        }
        if let Some(share) = self.holdout
            && !(share > 0.0 && share < 1.0)
        {
            return refuse("holdout", "between 0 and 1", share.to_string());
        }
        if self.auto_side_px < 4 {
            return refuse("auto_side_px", "4 or more", self.auto_side_px.to_string());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_survive_text_and_default_where_they_are_absent() {
        let options = OpenOptions {
            size: Some(Size {
                width_px: 92,
                height_px: 112,
            }),
            channels: Some(Channels::Gray),
            labels: Labels::Require,
            alpha: AlphaPolicy::Over([1, 2, 3]),
            crop: CropPolicy::Pad([0; 3]),
            filter: Filter::Lanczos,
            holdout: Some(0.05),
            ..OpenOptions::default()
        };
        let text = serde_json::to_string(&options).unwrap();
        assert_eq!(serde_json::from_str::<OpenOptions>(&text).unwrap(), options);
        let few: OpenOptions = serde_json::from_str(r#"{"labels": "where_present", "alpha": "keep"}"#).unwrap();
        let expected = OpenOptions {
            labels: Labels::WherePresent,
            alpha: AlphaPolicy::Keep,
            ..OpenOptions::default()
        };
        assert_eq!(few, expected);
    }

    #[test]
    fn options_out_of_range_are_refused() {
        for holdout in [0.0, 1.0, -0.1, f64::NAN] {
            assert!(
                OpenOptions {
                    holdout: Some(holdout),
                    ..OpenOptions::default()
                }
                .validate()
                .is_err()
            );
        }
        let size = Some(Size {
            width_px: 40_000,
            height_px: 1,
        });
        let error = OpenOptions {
            size,
            ..OpenOptions::default()
        }
        .validate()
        .unwrap_err();
        assert_eq!(error.to_string(), "size must be from 1x1 to 32768x32768: 40000x1");
    }
}
