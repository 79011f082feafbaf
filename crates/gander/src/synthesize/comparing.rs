//! The comparison: every setting in every trial, the mix chosen on images of its own.

use gander_data::Dataset;

use super::{
    Measured,
    classifier::ResNet,
    measure::{Estimate, Mix, Outcomes, Setting, Trial, Tried},
    running::{First, Grown, PARTS, Work, ratio_of},
    split::Answers,
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

/// A mix with the synthetic images of each class that it uses.
#[derive(Clone, Copy)]
struct Candidate<'a> {
    mix: Mix,
    amount: &'a [usize],
}

impl Work<'_> {
    /// The four settings in pairs; `None` where the schedule has no time for it.
    pub(super) fn measure(&mut self, grown: &[Grown], first: &First) -> Result<Option<Measured>> {
        let (plan, trials) = (self.plan, first.schedule.trials);
        let pool = &grown[0].pool;
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

        let mut classical: AllAnswers = grown.iter().take(trials).map(|grown| grown.answers.clone()).collect();
        for trial in classical.len()..trials {
            classical.push(self.answers(grown, trial, Setting::Classical, candidates[0])?);
        }
        let (best, mut both, sweep) = self.choose(grown, &classical, &candidates, first.schedule.choosers)?;
        for trial in both.len()..trials {
            both.push(self.answers(grown, trial, Setting::Both, best)?);
        }
        let mut plainly = |setting| {
            (0..trials)
                .map(|trial| self.answers(grown, trial, setting, best))
                .collect::<Result<AllAnswers>>()
        };
        let (real, synthetic) = (plainly(Setting::Real)?, plainly(Setting::Synthetic)?);

        let classes = plan.draws[0].images().classes().len();
        let outcomes = |setting| {
            outcomes(
                match setting {
                    Setting::Real => &real,
                    Setting::Classical => &classical,
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
            flip: grown[0].augmentation.flip,
            shift: grown[0].augmentation.shift,
            classifier_images: plan.classifier_images,
            settings: settings.into(),
            differences: PAIRS.map(difference).into(),
            sweep,
            num_images_for_choosing: plan.split.held_out().len(PARTS[0]),
        }))
    }

    /// The best mix on the images for choosing, its answers in the trials that chose it, and what all of them gave.
    fn choose<'a>(
        &mut self,
        grown: &[Grown],
        classical: &AllAnswers,
        candidates: &[Candidate<'a>],
        choosers: usize,
    ) -> Result<(Candidate<'a>, AllAnswers, Vec<Tried>)> {
        let mut sweep = Vec::new();
        let mut best: Option<(f64, Candidate<'a>, AllAnswers)> = None;
        let is_empty = self.plan.split.held_out().is_empty(PARTS[0]);
        if choosers > 0 && candidates.len() > 1 && !is_empty {
            let rival = outcomes(&classical[..choosers.min(classical.len())], 0);
            for &candidate in candidates {
                let answers = (0..choosers)
                    .map(|trial| self.answers(grown, trial, Setting::Both, candidate))
                    .collect::<Result<AllAnswers>>()?;
                let gain = self.gain(&outcomes(&answers, 0), &rival);
                sweep.push(Tried {
                    mix: candidate.mix,
                    gain,
                });
                if best.as_ref().is_none_or(|(most, ..)| gain.value > *most) {
                    best = Some((gain.value, candidate, answers));
                }
            }
        }
        let (_, best, answers) = best.unwrap_or((0.0, candidates[0], Vec::new()));
        Ok((best, answers, sweep))
    }

    fn gain(&self, of: &Outcomes, over: &Outcomes) -> Estimate {
        match self.deciding() {
            Deciding::Accuracy => of.gain(over),
            Deciding::MeanRecall => of.recall_gain(over),
        }
    }

    /// Teaches a classifier in a setting and asks it about all held-out images.
    fn answers(
        &mut self,
        grown: &[Grown],
        trial: usize,
        setting: Setting,
        candidate: Candidate<'_>,
    ) -> Result<[Answers; 2]> {
        let plan = self.plan;
        let at = trial.min(grown.len() - 1);
        let own = Trial {
            real: &plan.draws[at],
            synthetic: &grown[at].pool.images,
            augmentation: grown[at].augmentation,
            order: self.order(),
            seed: self.seed(trial),
            images: plan.classifier_images,
        };
        let doing = format!("measuring {}, trial {}", setting.name(), trial + 1);
        let lesson = own.lesson(setting, candidate.amount, candidate.mix.share);
        let classifier = self.piece(doing, |tell| ResNet::train(lesson, &plan.device, tell))?;
        let held_out = plan.split.held_out();
        Ok([
            held_out.ask(PARTS[0], &classifier)?,
            held_out.ask(PARTS[1], &classifier)?,
        ])
    }
}

/// The answers of all trials for one part.
fn outcomes(answers: &[[Answers; 2]], part: usize) -> Outcomes {
    Outcomes(answers.iter().map(|answers| answers[part].clone()).collect())
}
