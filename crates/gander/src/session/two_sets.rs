//! The two sets of a run that translates, opened.

use std::sync::Arc;

use gander_data::{
    Crops, CropsConfig, Dataset, Opened, Remembered, Size, Skipped,
    media::Picture,
    pottery::{GlazeStyle, PictureSize, Pottery, PotteryConfig, RenderMode},
};

use super::planning::{Data, name_of};
use crate::{
    error::Result,
    train::{
        config::DataConfig,
        defaults::{self, Material},
        trainer::{Pairing, Partners},
    },
};

/// Opens pairs, two collections or two pictures, or throws pots of two kinds.
pub(super) fn open(config: &DataConfig, material: Material) -> Result<(Data, Vec<Skipped>)> {
    if material == Material::Pictures {
        return Ok((pictures(config)?, Vec::new()));
    }
    if config.sources.is_empty() {
        return Ok((pottery(config, material)?, Vec::new()));
    }
    let (opened, pairing) = match material {
        Material::Pairs => (gander_data::open_pairs(&config.sources, &config.open)?, Pairing::Paired),
        _ => (
            gander_data::open_collections(&config.sources, &config.open)?,
            Pairing::Unpaired,
        ),
    };
    let [a, b] = swapped(opened, config);
    let mut skipped = a.skipped;
    skipped.extend(b.skipped);
    let partners = |images: Arc<dyn Dataset>| Partners { images, pairing };
    let data = Data {
        name: names(config),
        train: a.train,
        holdout: a.holdout,
        partners: Some(partners(b.train)),
        held_out_partners: b.holdout.map(partners),
    };
    Ok((data, skipped))
}

/// What a run is called: `photos-to-paintings`.
fn names(config: &DataConfig) -> String {
    let mut names: Vec<String> = config.sources.iter().map(|source| name_of(source)).collect();
    if config.swap {
        names.reverse();
    }
    names.join("-to-")
}

/// Crops of two pictures, of which others are held out; without any, of a pot in porcelain and of another in iron.
fn pictures(config: &DataConfig) -> Result<Data> {
    let size = config.open.size.unwrap_or(defaults::CROP_SIZE);
    let (name, crops) = if config.sources.is_empty() {
        ("pottery".to_owned(), large_pots(size, config)?)
    } else {
        let crops = gander_data::open_pictures(&config.sources, &config.open, size, defaults::CROPS)?;
        (names(config), crops)
    };
    let [a, b] = if config.swap {
        let [a, b] = crops;
        [b, a]
    } else {
        crops
    };
    let partners = |crops| Partners {
        images: Arc::new(crops),
        pairing: Pairing::Unpaired,
    };
    Ok(Data {
        name,
        holdout: Some(Arc::new(a.others())),
        held_out_partners: Some(partners(b.others())),
        train: Arc::new(a),
        partners: Some(partners(b)),
    })
}

/// Crops of two pictures of pots of one class, four times as large as a crop: in porcelain and in iron.
fn large_pots(size: Size, config: &DataConfig) -> Result<[Crops; 2]> {
    const LARGER: usize = 4;
    let whole = PictureSize {
        width_px: LARGER * size.width_px,
        height_px: LARGER * size.height_px,
    };
    let pots = Pottery::new(PotteryConfig {
        size: whole,
        len: config.pottery_images,
        ..PotteryConfig::default()
    })?;
    let is_alike = |&index: &usize| pots.label(index) == pots.label(0);
    let other = (1..pots.len()).find(is_alike).unwrap_or(0);
    let crops = |index, style, seed| -> Result<Crops> {
        let pot = pots.with_mode(RenderMode::Styled(style));
        let mut pixels = vec![0; pot.shape().bytes()];
        pot.read(index, &mut pixels)?;
        let picture = Picture {
            width_px: whole.width_px,
            height_px: whole.height_px,
            channels: pot.shape().channels,
            pixels,
        };
        let config = CropsConfig {
            size,
            len: defaults::CROPS,
            seed,
            filter: config.open.filter,
        };
        Ok(Crops::new(picture, config)?)
    };
    Ok([crops(0, GlazeStyle::Porcelain, 0)?, crops(other, GlazeStyle::Iron, 2)?])
}

fn swapped([a, b]: [Opened; 2], config: &DataConfig) -> [Opened; 2] {
    if config.swap { [b, a] } else { [a, b] }
}

/// Outlines and the glazed pots that they show; or pots in two styles of glaze, the same ones only among those held
/// out.
fn pottery(config: &DataConfig, material: Material) -> Result<Data> {
    let Size { width_px, height_px } = config.open.size.unwrap_or(defaults::POTTERY_SIZE);
    let mut modes = match material {
        Material::Pairs => [RenderMode::Outline, RenderMode::Glazed],
        _ => [GlazeStyle::Porcelain, GlazeStyle::Iron].map(RenderMode::Styled),
    };
    if config.swap {
        modes.reverse();
    }
    let pots = Pottery::new(PotteryConfig {
        size: PictureSize { width_px, height_px },
        len: config.pottery_images,
        ..PotteryConfig::default()
    })?;
    let others = Pottery::new(PotteryConfig {
        seed: pots.config().seed + 1,
        ..*pots.config()
    })?;
    let held = pots.held_out(config.pottery_images.div_ceil(10))?;
    let [held_a, held_b] = modes.map(|mode| Arc::new(held.with_mode(mode)));
    let (second, pairing) = match material {
        Material::Pairs => (pots.clone(), Pairing::Paired),
        _ => (others, Pairing::Unpaired),
    };
    let remembered = |pots: Pottery| Arc::new(Remembered::new(Arc::new(pots)));
    Ok(Data {
        name: "pottery".into(),
        train: remembered(pots.with_mode(modes[0])),
        holdout: Some(held_a),
        partners: Some(Partners {
            images: remembered(second.with_mode(modes[1])),
            pairing,
        }),
        held_out_partners: Some(Partners {
            images: held_b,
            pairing: Pairing::Paired,
        }),
    })
}
