//! The comparison: every setting in every trial, the mix chosen on images of its own.

use std::iter;

use gander_data::Dataset;
use gander_tensor::DeviceRef;

use super::{
    Measured, Tell,
    classifier::{Beside, Lesson, ResNet},
    filter::Pool,
    measure::{Estimate, Mix, Outcomes, Setting, Tried},
    running::{First, PARTS, Work, ratio_of},
    split::{Answers, HeldOut},
    verdict::Deciding,
};
use crate::error::Result;

/// The pairs that are told.
const PAIRS: [(Setting, Setting); 4] = [
    (Setting::Both, Setting::Classical),
    (Setting::Synthetic, Setting::Real),
    (Setting::Classical, Setting::Real),
    (Setting::Both, Setting::Real),
];

/// What a setting answers in each trial, by [`PARTS`].
type AllAnswers = Vec<[Answers; 2]>;

/// What classifiers that learned from real images alone answer in each trial.
pub(super) struct Plain {
    real: AllAnswers,
    classical: AllAnswers,
}

/// A classifier that has learned, and what it answers.
pub(super) struct Taught {
    pub(super) classifier: ResNet,
    pub(super) answers: [Answers; 2],
}

impl Taught {
    /// Teaches a classifier and asks it about all held-out images.
    pub(super) fn by(lesson: Lesson<'_>, held_out: &HeldOut, device: &DeviceRef, tell: &mut Tell<'_>) -> Result<Self> {
        let classifier = ResNet::train(lesson, device, tell)?;
        let answers = [
            held_out.ask(PARTS[0], &classifier)?,
            held_out.ask(PARTS[1], &classifier)?,
        ];
        Ok(Self { classifier, answers })
    }
}

/// A mix with the synthetic images of each class that it uses.
#[derive(Clone, Copy)]
struct Candidate<'a> {
    mix: Mix,
    amount: &'a [usize],
}

impl<'a> Work<'a> {
    /// What a classifier of a trial learns in a setting, of synthetic images too where it is given some.
    pub(super) fn lesson<'l>(&self, trial: usize, setting: Setting, beside: Option<Beside<'l>>) -> Lesson<'l>
    where
        'a: 'l,
    {
        let plan = self.plan;
        let draw = trial.min(plan.draws.len() - 1);
        Lesson {
            real: &plan.draws[draw],
            synthetic: beside,
            augmentation: setting.is_augmented().then_some(self.augmentations[draw]),
            order: self.order(),
            seed: self.seed(trial),
            images: plan.classifier_images,
        }
    }

    /// Teaches a classifier with each of some lessons, side by side.
    fn teach(&mut self, doing: &str, lessons: &[Lesson<'_>]) -> Result<Vec<Taught>> {
        let plan = self.plan;
        self.piece(doing.to_owned(), |tell| {
            plan.crew.each(lessons, tell, &|&lesson, device, tell| {
                Taught::by(lesson, plan.split.held_out(), device, tell)
            })
        })
    }

    /// The settings without synthetic images in so many trials, and the classifiers of all classical ones but the first, which
    /// has answered already.
    pub(super) fn plain(&mut self, trials: usize, first: [Answers; 2]) -> Result<(Vec<ResNet>, Plain)> {
        if trials == 0 {
            let (real, classical) = (Vec::new(), vec![first]);
            return Ok((Vec::new(), Plain { real, classical }));
        }
        let real = (0..trials).map(|trial| self.lesson(trial, Setting::Real, None));
        let classical = (1..trials).map(|trial| self.lesson(trial, Setting::Classical, None));
        let lessons: Vec<Lesson<'_>> = real.chain(classical).collect();
        let mut real = self.teach("measuring without synthetic images", &lessons)?;
        let classical = real.split_off(trials);
        let real = real.into_iter().map(|taught| taught.answers).collect();
        let (classifiers, classical): (_, Vec<_>) = classical
            .into_iter()
            .map(|taught| (taught.classifier, taught.answers))
            .unzip();
        let classical = iter::once(first).chain(classical).collect();
        Ok((classifiers, Plain { real, classical }))
    }

    /// The four settings in pairs; `None` where the schedule has no time for it.
    pub(super) fn measure(&mut self, pools: &[Pool], first: &First) -> Result<Option<Measured>> {
        let (plan, trials) = (self.plan, first.schedule.trials);
        let pool = &pools[0];
        if trials == 0 || pool.kept.iter().all(Vec::is_empty) {
            return Ok(None);
        }
        let counts = plan.draws[0].counts();
        // Where few images pass the filter, several amounts come to the same.
        let mut amounts: Vec<Vec<usize>> = first.amounts.iter().map(|amount| pool.available(amount)).collect();
        amounts.dedup();
        let mixes = amounts
            .iter()
            .flat_map(|amount| first.shares.map(|share| (amount, share)));
        let candidates: Vec<Candidate<'_>> = mixes
            .map(|(amount, share)| Candidate {
                mix: Mix {
                    ratio: ratio_of(amount, &counts),
                    share,
                },
                amount,
            })
            .collect();

        let Plain { real, classical } = &first.plain;
        let (best, mut both, sweep) = self.choose(pools, classical, &candidates, first.schedule.choosers)?;
        let left = (both.len()..trials).map(|trial| (trial, Setting::Both, best));
        let synthetic = (0..trials).map(|trial| (trial, Setting::Synthetic, best));
        let mut answers = self.answers(
            "measuring with synthetic images",
            pools,
            &left.chain(synthetic).collect::<Vec<_>>(),
        )?;
        let synthetic = answers.split_off(trials - both.len());
        both.extend(answers);

        let classes = plan.draws[0].images().classes().len();
        let outcomes = |setting| {
            outcomes(
                match setting {
                    Setting::Real => real,
                    Setting::Classical => classical,
                    Setting::Synthetic => &synthetic,
                    Setting::Both => &both,
                },
                1,
            )
        };
        let difference = |(of, over)| outcomes(of).difference(of, (over, &outcomes(over)), classes);
        let settings = Setting::ALL.map(|setting| outcomes(setting).scores(setting, classes));
        Ok(Some(Measured {
            trials_differ_in: plan.differing,
            trials,
            num_images: plan.split.held_out().len(PARTS[1]),
            decided_by: self.deciding().name(),
            mix: best.mix,
            flip: self.augmentations[0].flip,
            shift: self.augmentations[0].shift,
            classifier_images: plan.classifier_images,
            settings: settings.into(),
            differences: PAIRS.map(difference).into(),
            sweep,
            num_images_for_choosing: plan.split.held_out().len(PARTS[0]),
        }))
    }

    /// The best mix on the images for choosing, its answers in the trials that chose it, and what all of them gave.
    fn choose<'c>(
        &mut self,
        pools: &'c [Pool],
        classical: &AllAnswers,
        candidates: &[Candidate<'c>],
        choosers: usize,
    ) -> Result<(Candidate<'c>, AllAnswers, Vec<Tried>)> {
        if choosers == 0 || candidates.len() == 1 || self.plan.split.held_out().is_empty(PARTS[0]) {
            return Ok((candidates[0], Vec::new(), Vec::new()));
        }
        let all = candidates
            .iter()
            .flat_map(|&candidate| (0..choosers).map(move |trial| (trial, Setting::Both, candidate)));
        let answers = self.answers("choosing the mix", pools, &all.collect::<Vec<_>>())?;
        let rival = outcomes(&classical[..choosers], 0);
        let gains: Vec<Estimate> = answers
            .chunks(choosers)
            .map(|answers| self.gain(&outcomes(answers, 0), &rival))
            .collect();
        let best = (0..candidates.len())
            .rev()
            .max_by(|&a, &b| gains[a].value.total_cmp(&gains[b].value));
        let best = best.unwrap_or(0);
        let sweep = candidates.iter().zip(gains).map(|(candidate, gain)| Tried {
            mix: candidate.mix,
            gain,
        });
        let of_best = answers[best * choosers..][..choosers].to_vec();
        Ok((candidates[best], of_best, sweep.collect()))
    }

    fn gain(&self, of: &Outcomes, over: &Outcomes) -> Estimate {
        match self.deciding() {
            Deciding::Accuracy => of.gain(over),
            Deciding::MeanRecall => of.recall_gain(over),
        }
    }

    /// The answers of classifiers that learn from synthetic images too: each of a trial, a setting and a mix.
    fn answers<'c>(
        &mut self,
        doing: &str,
        pools: &'c [Pool],
        each: &[(usize, Setting, Candidate<'c>)],
    ) -> Result<AllAnswers> {
        let lesson = |&(trial, setting, candidate): &(usize, Setting, Candidate<'c>)| {
            let beside = Beside {
                images: &pools[trial.min(pools.len() - 1)].images,
                per_class: candidate.amount,
                share: candidate.mix.share,
            };
            self.lesson(trial, setting, Some(beside))
        };
        let lessons: Vec<Lesson<'_>> = each.iter().map(lesson).collect();
        let taught = self.teach(doing, &lessons)?;
        Ok(taught.into_iter().map(|taught| taught.answers).collect())
    }
}

/// The answers of all trials for one part.
fn outcomes(answers: &[[Answers; 2]], part: usize) -> Outcomes {
    Outcomes(answers.iter().map(|answers| answers[part].clone()).collect())
}
