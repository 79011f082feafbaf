//! At a run's end: which training images are its samples most like, and are they copies?

use gander_data::Dataset;
use gander_tensor::RandomKey;

use crate::{
    error::Result,
    events::{Diagnosis, Metric, Severity},
    features::{Eyes, FeatureSpace as _, Pixels, View},
    images::{self, GridOptions, Tiles},
    metrics::{
        memorization::{self, CopyRate, FEWEST, Nearest},
        resampling::choose,
        score_name,
    },
    run::RunDirectory,
    train::{Trainer, vitals},
};

/// Samples and held-out images that are looked at.
pub(super) const NUM: usize = 200;

/// Training images that are looked at, at most: a second's work. Runs on more do not learn single ones by heart.
const MOST_TRAINING: usize = 10_000;

/// Samples in the picture, beside their nearest training images.
const SHOWN: usize = 16;
const COLUMNS: usize = 8;

/// What was found.
pub(super) struct Copies {
    pub(super) metric: Metric,
    pub(super) diagnosis: Diagnosis,
}

/// Compares samples with the training images, writes the picture of the most alike, and calibrates what counts as a copy on
/// held-out images. `None` where too few are held out for that.
pub(super) fn look(
    trainer: &Trainer,
    held_out: Option<&dyn Dataset>,
    samples: &[u8],
    directory: &RunDirectory,
) -> Result<Option<Copies>> {
    let (dataset, device) = (trainer.dataset().as_ref(), trainer.device());
    let shape = dataset.shape();
    let key = RandomKey::from_seed(trainer.config.seed).named("copies");
    let training = choose(key.named("training"), MOST_TRAINING, dataset.len());
    let eyes = Eyes {
        space: &Pixels,
        shape,
        device,
    };
    let mut known = eyes.see(dataset, &training, View::AsIs)?;
    if trainer.config.data.flip {
        known.append(eyes.see(dataset, &training, View::Mirrored)?)?;
    }
    let of_samples = memorization::nearest(&eyes.see_bytes(samples, View::AsIs)?, &known)?;
    let picture = picture(dataset, samples, &of_samples, &training)?;
    images::write_png(&directory.nearest(), &picture)?;
    let Some(held_out) = held_out.filter(|held_out| held_out.len() >= FEWEST) else {
        return Ok(None);
    };
    let chosen = choose(key.named("held out"), NUM, held_out.len());
    let of_held_out = memorization::nearest(&eyes.see(held_out, &chosen, View::AsIs)?, &known)?;
    Ok(CopyRate::of(&of_samples, &of_held_out).map(|rate| report(trainer, rate)))
}

/// What few held-out images cannot tell, or none.
pub(super) fn too_few(trainer: &Trainer, held_out: Option<&dyn Dataset>) -> Option<Diagnosis> {
    let num = held_out.map_or(0, Dataset::len);
    if num >= FEWEST {
        return None;
    }
    let blind = if num < vitals::FEWEST {
        "neither overfitting nor copies"
    } else {
        "no copies"
    };
    let (name, advice) = if num == 0 {
        (
            "no held-out images",
            format!("{blind} can be told: hold {FEWEST} images out (--holdout)"),
        )
    } else {
        (
            "few held-out images",
            format!("of {num} images {blind} can be told: hold {FEWEST} out (a larger --holdout)"),
        )
    };
    Some(Diagnosis {
        images_seen: trainer.state.progress.images_seen,
        severity: Severity::Note,
        name: name.into(),
        advice,
    })
}

fn report(trainer: &Trainer, rate: CopyRate) -> Copies {
    let (images_seen, num) = (trainer.state.progress.images_seen, rate.num_fakes);
    let is_suspicious = rate.is_suspicious();
    let finding = format!(
        "{:.1} % of {num} samples are as near to a single training image as {:.1} % of held-out images are",
        100.0 * rate.fakes,
        100.0 * rate.held_out
    );
    let verdict = if is_suspicious {
        "the generator repeats images that it was shown: collect more, augment (--set training.augment_p=adaptive), or stop \
         earlier; do not share its samples as new"
    } else {
        "no sign that training images are repeated"
    };
    Copies {
        metric: Metric {
            images_seen,
            name: score_name("copies", num, Some(Pixels.name())),
            value: rate.fakes,
            low: None,
            high: None,
        },
        diagnosis: Diagnosis {
            images_seen,
            severity: if is_suspicious {
                Severity::Warning
            } else {
                Severity::Note
            },
            name: "memorization".into(),
            advice: format!("{finding}: {verdict}"),
        },
    }
}

/// Rows of samples, each above a row of their nearest training images; the most alike first.
fn picture(
    dataset: &dyn Dataset,
    samples: &[u8],
    nearest: &[Nearest],
    training: &[usize],
) -> Result<image::DynamicImage> {
    let shape = dataset.shape();
    let mut order: Vec<usize> = (0..nearest.len()).collect();
    order.sort_by(|&a, &b| nearest[a].ratio.total_cmp(&nearest[b].ratio));
    order.truncate(SHOWN - SHOWN % COLUMNS);
    let mut bytes = Vec::new();
    let mut pixels = vec![0; shape.bytes()];
    for row in order.chunks(COLUMNS) {
        for &sample in row {
            bytes.extend(&samples[sample * shape.bytes()..(sample + 1) * shape.bytes()]);
        }
        for &sample in row {
            dataset.read(training[nearest[sample].index % training.len()], &mut pixels)?;
            bytes.extend(&pixels);
        }
    }
    let tiles = Tiles {
        num: bytes.len() / shape.bytes(),
        height_px: shape.height_px,
        width_px: shape.width_px,
        channels: shape.channels,
    };
    let options = GridOptions {
        columns: COLUMNS,
        ..GridOptions::default()
    };
    images::grid(&bytes, tiles, options)
}
