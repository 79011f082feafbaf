//! A plan, carried out: classifier, generator, filter, measurement, folder.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use gander_data::Dataset;

use super::{
    Amount, ClassSummary, Differing, Measured, Measuring, Plan, Progress, Summary, UnlabeledSummary,
    classical::Augmentation,
    classifier::{Order, ResNet},
    comparing::{Plain, Taught},
    copies::Copies,
    filter::{self, Filter, Pool},
    folder::{self, Folder, LearnedFrom, MANIFEST, REPORT},
    gallery::Gallery,
    generator::{Recipe, Training},
    measure::Setting,
    naming::{Committee, Effort, Named, Naming},
    schedule::{self, Costs, Mixes, Schedule},
    split::{Part, TrainingSet},
    verdict::{self, Deciding},
};
use crate::{
    error::{Error, Result},
    report,
    session::Length,
    shipped::{self, ShippedGenerator},
};

/// The classifiers that filter, and what they named.
struct Judge {
    committee: Committee,
    named: Option<(Named, Effort)>,
    /// The share of the held-out images for measuring that the committee gets right.
    right: Option<f64>,
    /// What the generator learns from: the labeled images, and those that were named.
    images: TrainingSet,
    naming_seconds: f64,
}

impl Judge {
    fn recipe(&self) -> Recipe {
        match &self.named {
            Some((named, _)) => Recipe::for_named(&self.images, named),
            None => Recipe::Few,
        }
    }

    fn min_confidence(&self) -> f32 {
        match &self.named {
            Some((named, _)) if named.count() > 0 => filter::MIN_CONFIDENCE_AFTER_NAMING,
            _ => filter::MIN_CONFIDENCE,
        }
    }
}

/// What of the first draw goes into the folder.
pub(super) struct First {
    generator: ShippedGenerator,
    source: String,
    copies: Copies,
    /// What the generator learned from, and what of it was named.
    images: TrainingSet,
    named: Option<(Named, Effort)>,
    right: Option<f64>,
    pub(super) schedule: Schedule,
    /// What classifiers that learned from real images alone answer.
    pub(super) plain: Plain,
    /// Synthetic images of each class that are tried.
    pub(super) amounts: Vec<Vec<usize>>,
    /// Shares of what is shown that are synthetic, that are tried.
    pub(super) shares: [f64; 2],
}

/// The parts of the held-out images, in the order of answers.
pub(super) const PARTS: [Part; 2] = [Part::Choosing, Part::Measuring];

/// Trains, synthesizes, filters, measures and writes.
///
/// # Errors
/// [`Error::Stopped`] if `stop` was set; nothing is written then. Those of training, reading and writing.
pub fn run(mut plan: Plan, tell: &mut dyn FnMut(&Progress), stop: &AtomicBool) -> Result<Summary> {
    let given = plan.given.take();
    let mut work = Work {
        plan: &plan,
        augmentations: plan.draws.iter().map(Augmentation::for_images).collect::<Result<_>>()?,
        tell,
        stop,
    };
    let (pools, first) = work.grow(given)?;
    let measured = work.measure(&pools, &first)?;
    work.write(&pools[0], &first, measured)
}

pub(super) struct Work<'a> {
    pub(super) plan: &'a Plan,
    /// Of the images of each draw.
    pub(super) augmentations: Vec<Augmentation>,
    tell: &'a mut dyn FnMut(&Progress),
    stop: &'a AtomicBool,
}

impl Work<'_> {
    /// Does a piece of work that tells how far it is and can be stopped.
    pub(super) fn piece<T>(
        &mut self,
        doing: String,
        work: impl FnOnce(&mut super::Tell<'_>) -> Result<T>,
    ) -> Result<T> {
        let mut progress = Progress { doing, done: 0.0 };
        let (tell, stop) = (&mut *self.tell, self.stop);
        tell(&progress);
        work(&mut |done| {
            progress.done = done;
            tell(&progress);
            if stop.load(Ordering::Relaxed) {
                Err(Error::Stopped)
            } else {
                Ok(())
            }
        })
    }

    /// Draw by draw a classifier, a generator, and the images that the one lets through of the other.
    fn grow(&mut self, given: Option<(ShippedGenerator, String)>) -> Result<(Vec<Pool>, First)> {
        let (plan, begun) = (self.plan, Instant::now());
        let lesson = self.lesson(0, Setting::Classical, None);
        let Taught { classifier, answers } = self.piece("classifier".into(), |tell| {
            Taught::by(lesson, plan.split.held_out(), &plan.device, tell)
        })?;
        let seconds = begun.elapsed().as_secs_f64();
        let abreast_seconds = seconds * plan.pace.map_or(1.0, |pace| pace.abreast / pace.alone);
        let effort = schedule::effort(
            plan.request.length,
            (seconds, abreast_seconds),
            plan.draws.len(),
            plan.crew,
        );
        let judge = self.judge(0, classifier, effort)?;
        let mixes = Mixes::of(judge.named.as_ref().map_or(0, |(named, _)| named.count()));
        let amounts = schedule::amounts(
            plan.request.amount,
            plan.request.measuring,
            mixes,
            &plan.draws[0].counts(),
        );
        let schedule = Schedule::new(
            &plan.request,
            Costs {
                trials: plan.trials,
                is_drawn: plan.differing == Differing::Draws,
                is_given: given.is_some(),
                mixes: amounts.len() * mixes.shares.len(),
                crew: plan.crew,
                round_seconds: abreast_seconds,
                naming_seconds: judge.naming_seconds,
                elapsed_seconds: plan.started.elapsed().as_secs_f64(),
            },
        );
        let begun = Instant::now();
        let (classifiers, plain) = self.plain(schedule.trials, answers)?;
        let length = schedule.generator_length(
            plan.request.length,
            begun.elapsed().as_secs_f64(),
            plan.started.elapsed().as_secs_f64(),
        );
        let (generator, source) = match given {
            Some(given) => given,
            None => (self.train(0, &judge, length)?, shipped::FILE_NAME.to_owned()),
        };
        let filtering = schedule.filtering_seconds(plan.request.length);
        let (copies, pool) = self.pool(0, &judge, &generator, (&amounts, filtering))?;
        let mut pools = vec![pool];
        let draws = 1..plan.draws.len().min(schedule.trials);
        for (at, classifier) in draws.zip(classifiers) {
            let judge = self.judge(at, classifier, effort)?;
            let generator = self.train(at, &judge, length)?;
            pools.push(self.pool(at, &judge, &generator, (&amounts, filtering))?.1);
        }
        let first = First {
            generator,
            source,
            copies,
            images: judge.images,
            named: judge.named,
            right: judge.right,
            schedule,
            plain,
            amounts,
            shares: mixes.shares,
        };
        Ok((pools, first))
    }

    /// The classifiers that filter the images of a draw: one of [`Setting::Classical`], or where there are unlabeled images
    /// those that learned from these too.
    fn judge(&mut self, at: usize, classifier: ResNet, effort: Effort) -> Result<Judge> {
        let (plan, real, begun) = (self.plan, &self.plan.draws[at], Instant::now());
        let Some(unlabeled) = &plan.unlabeled else {
            return Ok(Judge {
                committee: Committee(vec![classifier]),
                named: None,
                right: None,
                images: real.clone(),
                naming_seconds: 0.0,
            });
        };
        let naming = Naming {
            labeled: real,
            unlabeled,
            augmentation: self.augmentations[at],
            effort,
            seed: self.seed(at),
            images: plan.classifier_images,
            crew: plan.crew,
        };
        let (committee, named) = self.piece(self.of_draw("naming", at), |tell| naming.run(classifier, tell))?;
        Ok(Judge {
            right: plan.split.held_out().right(PARTS[1], &committee)?,
            images: real.joined(unlabeled, &named.of_class)?,
            committee,
            named: Some((named, effort)),
            naming_seconds: begun.elapsed().as_secs_f64(),
        })
    }

    fn train(&mut self, at: usize, judge: &Judge, length: Length) -> Result<ShippedGenerator> {
        let plan = self.plan;
        let training = Training {
            dataset: &plan.dataset,
            recipe: judge.recipe(),
            origin: plan.origin.as_ref(),
            order: self.order(),
            length,
            seed: self.seed(at),
            device: &plan.device,
        };
        self.piece(self.of_draw("generator", at), |tell| training.run(&judge.images, tell))
    }

    /// As many images of each class as the largest of the amounts, as far as they pass in so many seconds, and what was too near to
    /// them.
    fn pool(
        &mut self,
        at: usize,
        judge: &Judge,
        generator: &ShippedGenerator,
        (amounts, seconds): (&[Vec<usize>], Option<f64>),
    ) -> Result<(Copies, Pool)> {
        let until = seconds.map(|seconds| Instant::now() + Duration::from_secs_f64(seconds));
        let threads = self.plan.request.threads;
        let copies = Copies::new(&judge.images, threads)?;
        let real = &self.plan.draws[at];
        let most = |class: usize| amounts.iter().map(|amount| amount[class]).max().unwrap_or(0);
        let wanted: Vec<usize> = (0..real.of_class().len()).map(most).collect();
        let filter = Filter {
            classifier: &judge.committee,
            copies: &copies,
            min_confidence: judge.min_confidence(),
            shape: real.images().shape(),
            until,
            threads,
        };
        let pool = self.piece(self.of_draw("images", at), |tell| filter.fill(generator, &wanted, tell))?;
        Ok((copies, pool))
    }

    fn of_draw(&self, doing: &str, at: usize) -> String {
        match self.plan.draws.len() {
            1 => doing.to_owned(),
            _ => format!("{doing}, draw {}", at + 1),
        }
    }

    pub(super) fn order(&self) -> Order {
        match self.plan.request.amount {
            Amount::Balance => Order::Evenly,
            _ => Order::ByFrequency,
        }
    }

    /// Which number decides: of classes that are filled up, each counts alike.
    pub(super) fn deciding(&self) -> Deciding {
        match self.plan.request.amount {
            Amount::Balance => Deciding::MeanRecall,
            _ => Deciding::Accuracy,
        }
    }

    pub(super) fn seed(&self, trial: usize) -> u64 {
        self.plan.request.seed.wrapping_add(trial as u64)
    }

    /// Images, manifest, generator and report.
    fn write(&mut self, pool: &Pool, first: &First, measured: Option<Measured>) -> Result<Summary> {
        let (plan, request) = (self.plan, &self.plan.request);
        let real = &plan.draws[0];
        let counts = real.counts();
        let wanted = match (&measured, request.amount) {
            (Some(measured), Amount::ForEachReal) => {
                let is_best = |amount: &&Vec<usize>| ratio_of(&pool.available(amount), &counts) == measured.mix.ratio;
                first.amounts.iter().find(is_best).unwrap_or(&first.amounts[0]).clone()
            }
            _ => first.amounts[0].clone(),
        };
        let images = real.images();
        let named = |class: usize| first.named.as_ref().map_or(0, |(named, _)| named.of_class[class].len());
        let learned_from = |class: usize| LearnedFrom {
            labeled: counts[class],
            named: named(class),
        };
        let learned_from: Vec<LearnedFrom> = match request.run {
            Some(_) => Vec::new(),
            None => (0..counts.len()).map(learned_from).collect(),
        };
        let folder = Folder {
            path: &request.out,
            inner: gander_data::training_folder(&request.data),
            classes: images.classes(),
            shape: images.shape(),
            learned_from,
        };
        folder::make(&request.out)?;
        let written = self.piece("writing".into(), |_| folder.write(pool, &wanted, &first.source))?;
        if request.run.is_none() {
            first.generator.save(&request.out.join(shipped::FILE_NAME))?;
        }
        let class = |class: usize| ClassSummary {
            class: images.classes()[class].clone(),
            real: counts[class],
            named: named(class),
            wanted: wanted[class],
            written: written[class],
            filter: pool.counts[class],
        };
        let made: u64 = pool.counts.iter().map(|counts| counts.made).sum();
        let (is_use, verdict) = match &measured {
            None if written.iter().all(|&count| count == 0) => {
                let sentence = format!("Do not use this generator: none of {made} images passed the filter.");
                (Some(false), sentence)
            }
            measured => self.verdict(measured.as_ref()),
        };
        let summary = Summary {
            version: 1,
            verdict,
            is_use,
            directory: request.out.clone(),
            manifest: request.out.join(MANIFEST),
            report: request.out.join(REPORT),
            classes: (0..counts.len())
                .filter(|&class| counts[class] > 0)
                .map(class)
                .collect(),
            num_training: images.len(),
            num_held_out: PARTS.iter().map(|&part| plan.split.held_out().len(part)).sum(),
            generator_kimg: first.generator.header.images_seen as f64 / 1000.0,
            init: request.init.clone(),
            unlabeled: self.unlabeled_summary(first),
            conflicts: plan.split.conflicts().to_vec(),
            measured,
            seconds: plan.started.elapsed().as_secs_f64(),
            seed: request.seed,
        };
        report::write_synthesis(&summary, &Gallery::new(&first.images, pool, &first.copies)?)?;
        Ok(summary)
    }

    fn unlabeled_summary(&self, first: &First) -> Option<UnlabeledSummary> {
        let unlabeled = self.plan.unlabeled.as_ref()?;
        let (named, effort) = first.named.as_ref()?;
        Some(UnlabeledSummary {
            path: self.plan.request.unlabeled.clone()?,
            held_out: unlabeled.held_out(),
            asked: named.asked,
            named: named.count(),
            effort: *effort,
            right: first.right,
        })
    }

    fn verdict(&self, measured: Option<&Measured>) -> (Option<bool>, String) {
        let Some(measured) = measured else {
            let why = match self.plan.request.measuring {
                Measuring::Off => "nothing was held out to measure on",
                Measuring::On => "there was not enough time: allow more minutes",
            };
            return (
                None,
                format!("Not measured, {why}; whether the images help is not known."),
            );
        };
        let both = measured
            .differences
            .iter()
            .find(|difference| (difference.of, difference.over) == (Setting::Both, Setting::Classical));
        both.map_or((None, String::new()), |both| {
            let verdict = verdict::verdict(self.deciding(), &measured.settings, both, measured.mix);
            (Some(verdict.is_use), verdict.sentence)
        })
    }
}

/// Synthetic images for each real one.
pub(super) fn ratio_of(amount: &[usize], counts: &[usize]) -> f64 {
    amount.iter().sum::<usize>() as f64 / counts.iter().sum::<usize>().max(1) as f64
}
