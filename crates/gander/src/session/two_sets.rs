//! The two sets of a run that translates, opened.

use std::sync::Arc;

use gander_data::{
    Dataset, Opened, Remembered, Size, Skipped,
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

/// Opens pairs or two collections, or throws pots of two kinds.
pub(super) fn open(config: &DataConfig, material: Material) -> Result<(Data, Vec<Skipped>)> {
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
    let mut names: Vec<String> = config.sources.iter().map(|source| name_of(source)).collect();
    if config.swap {
        names.reverse();
    }
    let mut skipped = a.skipped;
    skipped.extend(b.skipped);
    let partners = |images: Arc<dyn Dataset>| Partners { images, pairing };
    let data = Data {
        name: names.join("-to-"),
        train: a.train,
        holdout: a.holdout,
        partners: Some(partners(b.train)),
        held_out_partners: b.holdout.map(partners),
    };
    Ok((data, skipped))
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
