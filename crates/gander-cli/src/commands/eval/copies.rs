//! How many images look like copies of training images?

use gander::{
    features::{Eyes, View},
    metrics::{
        Better, Score,
        memorization::{self, CopyRate, FEWEST},
        score_name,
    },
};
use gander_data::Dataset;

use super::images::{Reals, drawn};
use crate::{failure::refuse, screen::Screen};

/// Images of each side that are held against the training images.
pub(super) const NUM: usize = 1000;

/// The share of images that lie as near to one training image as a twentieth of the held-out ones do.
pub(super) fn score(images: &[u8], reals: &Reals, eyes: &Eyes<'_>, screen: &Screen) -> anyhow::Result<Score> {
    let held_out = reals.holdout.as_ref().filter(|held_out| held_out.len() >= FEWEST);
    let Some(held_out) = held_out else {
        return Err(refuse(
            format!("copies are calibrated on held-out images, {FEWEST} at least"),
            "train with --holdout 5%, put them in a folder test/ beside train/, or leave copies out of --metrics",
        ));
    };
    let see = |set: &dyn Dataset, num: usize| eyes.see(set, &drawn(set, num), View::AsIs);
    let training = see(reals.train.as_ref(), usize::MAX)?;
    let of_held_out = memorization::nearest(&see(held_out.as_ref(), NUM)?, &training)?;
    let of_images = memorization::nearest(&eyes.see_bytes(images, View::AsIs)?, &training)?;
    let Some(rate) = CopyRate::of(&of_images, &of_held_out) else {
        return Err(refuse("there are no images to look at", "ask for more with --num"));
    };
    let num = of_images.len();
    if rate.is_suspicious() {
        screen.warn(format!(
            "{:.1} % of the images are as near to one training image as {:.1} % of held-out ones: some are copies",
            100.0 * rate.fakes,
            100.0 * rate.held_out
        ));
    }
    Ok(Score {
        name: score_name("copies", num, Some(eyes.space.name())),
        value: rate.fakes,
        interval: None,
        better: Better::Lower,
    })
}
