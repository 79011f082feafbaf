//! Why a run has the settings that it has, in a few lines for whoever started it.

use super::{TrainRequest, planning};
use crate::train::{
    RunConfig,
    config::TrainingConfig,
    fitting::Pace,
    schedule::{Probability, Ramp},
};

/// What was chosen and why: images, time, networks, updates, augmentation.
pub(super) fn of(request: &TrainRequest, config: &RunConfig, num_images: usize, pace: Option<Pace>) -> Vec<String> {
    let asked = Asked(request);
    let mut lines = vec![images(asked, config)];
    lines.extend(pace.map(|pace| time(asked, config, num_images, pace)));
    lines.extend([
        networks(asked, config, pace),
        updates(asked, config),
        augmentation(asked, config, num_images),
    ]);
    lines
}

#[derive(Clone, Copy)]
struct Asked<'a>(&'a TrainRequest);

impl Asked<'_> {
    fn sets(self, setting: &str) -> bool {
        self.0.set.iter().any(|(path, _)| path == setting)
    }
}

fn images(Asked(request): Asked<'_>, config: &RunConfig) -> String {
    let images = config.model.images();
    let size = format!("images of {}x{}", images.width_px, images.height_px);
    let minutes = request.minutes();
    match (request.size, minutes) {
        (Some(_), _) => format!("{size}, as asked for"),
        (None, Some(minutes)) => {
            let most = planning::auto_side_px(config.model.translates(), minutes);
            format!("{size}: the data's own size up to {most} px, which is what the time is worth")
        }
        (None, None) => format!("{size}: the data's own size"),
    }
}

fn time(Asked(request): Asked<'_>, config: &RunConfig, num_images: usize, pace: Pace) -> String {
    let minutes = request.minutes().unwrap_or_default();
    let shown = pace.images_per_second * minutes * 60.0;
    let times = shown / num_images.max(1) as f64;
    format!(
        "{:.0} GFLOP/s on {} in such a step, measured in {:.1} s: some {:.0} kimg, each image {} times",
        pace.operations_per_second / 1e9,
        match config.device.threads {
            0 => "all cores".to_owned(),
            1 => "one thread".to_owned(),
            threads => format!("{threads} threads"),
        },
        pace.seconds,
        shown / 1000.0,
        if times < 10.0 {
            format!("{times:.1}")
        } else {
            format!("{times:.0}")
        },
    )
}

fn networks(asked: Asked<'_>, config: &RunConfig, pace: Option<Pace>) -> String {
    let family = config.model.family();
    let networks = match config.model.clone().width_mut() {
        Some(width) => format!("{family} of width {width}"),
        None => family.to_owned(),
    };
    let networks = match config.model.images().num_classes {
        0 => networks,
        classes => format!("{networks} for {classes} classes"),
    };
    let why = match pace {
        _ if asked.sets("model.width") => "as asked for",
        Some(_) => "half of more time goes into width, half into more images",
        None => "as its paper has it; --minutes would fit it to the time",
    };
    format!("{networks}: {why}")
}

fn updates(asked: Asked<'_>, config: &RunConfig) -> String {
    let training = &config.training;
    let Ramp { start, end } = training.learning_rate;
    let rate = if start == end {
        format!("rate {start}")
    } else {
        format!("rate from {start} to {end}")
    };
    let is_tried = asked.0.leaves_family_open();
    let why = match (asked.0.batch, is_tried) {
        (Some(_), _) => "the batch as asked for",
        (None, true) => "in minutes many small steps won over few large ones",
        (None, false) => "as the method has it",
    };
    let average = training.ema_half_life_kimg.end;
    let average = if average > 0.0 {
        format!("; samples from an average over some {average} kimg")
    } else {
        String::new()
    };
    format!("batches of {}, {rate}: {why}{average}", training.batch)
}

fn augmentation(asked: Asked<'_>, config: &RunConfig, num_images: usize) -> String {
    let images = format!("{num_images} images");
    let what = match config.training.augment_p {
        Probability::Measured(_) => "augmentation as the discriminator overfits".to_owned(),
        Probability::Planned(Ramp { start: 0.0, end: 0.0 }) => "no augmentation".to_owned(),
        Probability::Planned(Ramp { start, end }) if start == end => format!("augmentation of {start} of the images"),
        Probability::Planned(Ramp { start, end }) => format!("augmentation of {start} to {end} of the images"),
    };
    let why = if asked.sets("training.augment_p") {
        "as asked for".to_owned()
    } else if config.training.augment_p == Probability::ADAPTIVE {
        format!("{images} could be learned by heart")
    } else {
        images
    };
    format!("{what}: {why}{}", penalty(&config.training))
}

/// What holds the discriminator besides.
pub(super) fn penalty(training: &TrainingConfig) -> String {
    let gamma = training.r1_gamma.start;
    match training.penalty_every {
        _ if gamma == 0.0 => String::new(),
        1 => format!("; R1 of {gamma} holds the discriminator"),
        every => format!("; R1 of {gamma} once in {every} steps holds the discriminator"),
    }
}
