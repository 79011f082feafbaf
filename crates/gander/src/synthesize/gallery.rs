//! Pictures for the report: real and synthetic images by class, and the synthetic ones that are nearest to a real one.

use gander_data::{Dataset, ImageShape};
use image::DynamicImage;

use super::{copies::Copies, filter::Pool, split::TrainingSet};
use crate::{
    error::Result,
    images::{self, GridOptions, Tiles},
};

/// Classes in the picture, and images of each.
const CLASSES: usize = 12;
const COLUMNS: usize = 8;

/// Pictures for the report.
#[derive(Debug)]
pub(crate) struct Gallery {
    /// Names of the classes in the two pictures, a row each.
    pub(crate) classes: Vec<String>,
    /// Real images, a class in a row.
    pub(crate) real: DynamicImage,
    /// Synthetic images, a class in a row.
    pub(crate) synthetic: DynamicImage,
    /// The synthetic images nearest to a real one above it; `None` without images.
    pub(crate) nearest: Option<DynamicImage>,
}

impl Gallery {
    pub(super) fn new(real: &TrainingSet, pool: &Pool, copies: &Copies) -> Result<Self> {
        let shape = real.images().shape();
        let classes: Vec<usize> = (0..real.of_class().len())
            .filter(|&class| !real.of_class()[class].is_empty())
            .take(CLASSES)
            .collect();
        let (mut reals, mut made) = (Tiled::new(shape), Tiled::new(shape));
        for &class in &classes {
            for place in 0..COLUMNS {
                match real.of_class()[class].get(place) {
                    Some(&index) => reals.real(real, index)?,
                    None => reals.white(),
                }
                match pool.images.of_class[class].chunks_exact(shape.bytes()).nth(place) {
                    Some(pixels) => made.pixels.extend_from_slice(pixels),
                    None => made.white(),
                }
            }
        }
        let names = real.images().classes();
        Ok(Self {
            classes: classes.iter().map(|&class| names[class].clone()).collect(),
            real: reals.picture()?,
            synthetic: made.picture()?,
            nearest: nearest(real, pool, copies)?,
        })
    }
}

/// The kept images that came nearest to the limit of a copy, below the real images that they are near to.
fn nearest(real: &TrainingSet, pool: &Pool, copies: &Copies) -> Result<Option<DynamicImage>> {
    let mut all: Vec<(f32, usize, usize)> = Vec::new();
    for (class, kept) in pool.kept.iter().enumerate() {
        let limit = copies.limit(class).max(f32::MIN_POSITIVE);
        all.extend(
            kept.iter()
                .enumerate()
                .map(|(place, kept)| (kept.nearest_training / limit, class, place)),
        );
    }
    all.sort_by(|a, b| a.0.total_cmp(&b.0));
    all.truncate(COLUMNS);
    if all.is_empty() {
        return Ok(None);
    }
    let shape = real.images().shape();
    let mut tiles = Tiled::new(shape);
    for &(_, class, place) in &all {
        tiles.real(real, pool.kept[class][place].nearest_index)?;
    }
    (all.len()..COLUMNS).for_each(|_| tiles.white());
    for &(_, class, place) in &all {
        let at = place * shape.bytes();
        tiles
            .pixels
            .extend_from_slice(&pool.images.of_class[class][at..at + shape.bytes()]);
    }
    (all.len()..COLUMNS).for_each(|_| tiles.white());
    tiles.picture().map(Some)
}

struct Tiled {
    shape: ImageShape,
    pixels: Vec<u8>,
}

impl Tiled {
    fn new(shape: ImageShape) -> Self {
        Self {
            shape,
            pixels: Vec::new(),
        }
    }

    fn real(&mut self, real: &TrainingSet, index: usize) -> Result<()> {
        let at = self.pixels.len();
        self.white();
        Ok(real.images().read(index, &mut self.pixels[at..])?)
    }

    fn white(&mut self) {
        self.pixels.resize(self.pixels.len() + self.shape.bytes(), 255);
    }

    fn picture(&self) -> Result<DynamicImage> {
        let ImageShape {
            height_px,
            width_px,
            channels,
        } = self.shape;
        let tiles = Tiles {
            num: self.pixels.len() / self.shape.bytes(),
            height_px,
            width_px,
            channels,
        };
        let options = GridOptions {
            columns: COLUMNS,
            ..GridOptions::default()
        };
        images::grid(&self.pixels, tiles, options)
    }
}
