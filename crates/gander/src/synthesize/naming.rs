//! Names for unlabeled images: what classifiers see in them that learned to see the same in images and their distortions.
//!
//! # Source
//! Lee 2013, "Pseudo-Label", for what becomes of the names.

use gander_tensor::RandomKey;
use serde::Serialize;

use super::{
    Tell,
    classical::Augmentation,
    classifier::{Probabilities, ResNet},
    consistency::Consistency,
    crew::Crew,
    split::{TrainingSet, Unlabeled},
};
use crate::error::Result;

/// The probability that the classifiers must give in the mean to what they see: more than to everything else together.
pub const MIN_CONFIDENCE: f32 = 0.5;

/// Share of the images seen as a class that is believed, the surest first.
const BELIEVED: f64 = 0.8;

/// A class is given at most so many times its even share of the images, however many are seen as it.
const MOST_OF_A_CLASS: f64 = 1.5;

/// Images that are asked about, at most: thousands for each of ten classes.
pub(super) const ASKED: usize = 20_000;

/// How much is done for the names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Effort {
    /// Classifiers whose mean is taken.
    pub members: usize,
    /// Arithmetic of each, in classifiers that learn from labeled images alone; 0 for the one that is there.
    pub lessons: usize,
}

impl Effort {
    /// From what is best to what is least.
    pub(super) const ALL: [Self; 5] = [
        Self::of(2, 12),
        Self::of(1, 12),
        Self::of(1, 6),
        Self::of(1, 3),
        Self::of(1, 0),
    ];

    const fn of(members: usize, lessons: usize) -> Self {
        Self { members, lessons }
    }

    /// Arithmetic of a member, in classifiers that learn from labeled images alone; asking is a forward pass.
    pub(super) fn classifiers(self) -> f64 {
        self.lessons as f64 + 0.3
    }
}

/// Classifiers whose mean is the answer.
#[derive(Debug)]
pub(super) struct Committee(pub(super) Vec<ResNet>);

impl Committee {
    /// The probabilities of the classes for each image.
    ///
    /// # Shapes
    /// - `pixels`: bytes of whole images, one after another
    pub(super) fn probabilities(&self, pixels: &[u8]) -> Result<Probabilities> {
        let mut sums = Probabilities::new();
        for member in &self.0 {
            let own = member.probabilities(pixels)?;
            if sums.is_empty() {
                sums = own;
                continue;
            }
            for (sum, own) in sums.iter_mut().flatten().zip(own.iter().flatten()) {
                *sum += own;
            }
        }
        let members = self.0.len() as f32;
        sums.iter_mut().flatten().for_each(|sum| *sum /= members);
        Ok(sums)
    }
}

/// What the names rest on.
#[derive(Clone, Copy)]
pub(super) struct Naming<'a> {
    pub(super) labeled: &'a TrainingSet,
    pub(super) unlabeled: &'a Unlabeled,
    pub(super) augmentation: Augmentation,
    pub(super) effort: Effort,
    pub(super) seed: u64,
    /// Images that a classifier of the labeled ones sees.
    pub(super) images: u64,
    pub(super) crew: Crew,
}

/// Unlabeled images with the classes that they were given.
#[derive(Debug, Clone)]
pub(super) struct Named {
    /// Images that were asked about.
    pub(super) asked: usize,
    /// Indices of the unlabeled images that were given each class, the surest first.
    pub(super) of_class: Vec<Vec<usize>>,
}

impl Named {
    /// Images that were given a class.
    pub(super) fn count(&self) -> usize {
        self.of_class.iter().map(Vec::len).sum()
    }
}

impl Naming<'_> {
    /// Names the images; gives the classifiers too, which have learned from them.
    ///
    /// `first` has learned from the labeled images with classical augmentation.
    pub(super) fn run(self, first: ResNet, tell: &mut Tell<'_>) -> Result<(Committee, Named)> {
        let key = RandomKey::from_seed(self.seed).named("unlabeled");
        let asked = self.unlabeled.beside(self.labeled, ASKED, key)?;
        let Effort { members, lessons } = self.effort;
        let mut committee = Committee(vec![first]);
        if lessons > 0 && !asked.is_empty() {
            let steps = Consistency::steps(lessons as u64 * self.images);
            let members: Vec<u64> = (0..members as u64).collect();
            committee.0 = self.crew.each(&members, tell, &|&member, device, tell| {
                let consistency = Consistency {
                    labeled: self.labeled,
                    unlabeled: self.unlabeled,
                    asked: &asked,
                    augmentation: self.augmentation,
                    seed: key.split(member).value(),
                    device,
                };
                consistency.train(steps, tell)
            })?;
        }
        let of_class = self.believed(&committee, &asked)?;
        let asked = asked.len();
        Ok((committee, Named { asked, of_class }))
    }

    /// The images that are believed to be of each class.
    fn believed(&self, committee: &Committee, asked: &[usize]) -> Result<Vec<Vec<usize>>> {
        let mut seen = Vec::with_capacity(asked.len());
        for indices in asked.chunks(ResNet::AT_ONCE) {
            let pixels: Vec<&[u8]> = indices.iter().map(|&index| self.unlabeled.image(index)).collect();
            for probabilities in committee.probabilities(&pixels.concat())? {
                let best = probabilities.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1));
                seen.push(best.map_or((0, 0.0), |(class, &confidence)| (class, confidence)));
            }
        }
        let classes = believed(&seen, self.labeled.of_class().len(), BELIEVED);
        let indices = |places: Vec<usize>| places.into_iter().map(|place| asked[place]).collect();
        Ok(classes.into_iter().map(indices).collect())
    }
}

/// Of images with the class that each is seen as and its probability: those to believe, by class, the surest first.
fn believed(seen: &[(usize, f32)], classes: usize, share: f64) -> Vec<Vec<usize>> {
    let most = (MOST_OF_A_CLASS * share * seen.len() as f64 / classes.max(1) as f64).ceil() as usize;
    let of_class = |class: usize| {
        let mut places: Vec<usize> = (0..seen.len()).filter(|&place| seen[place].0 == class).collect();
        let wanted = (share * places.len() as f64).ceil() as usize;
        places.sort_by(|&a, &b| seen[b].1.total_cmp(&seen[a].1));
        places.truncate(wanted.min(most));
        places.retain(|&place| seen[place].1 >= MIN_CONFIDENCE);
        places
    };
    (0..classes).map(of_class).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_surest_of_each_class_are_believed_and_no_class_swallows_the_others() {
        // Twelve are seen as the first class, four as the second, none as the third.
        let first = (0..12).map(|at| (0, 0.6 + 0.03 * at as f32));
        let second = [(1, 0.7), (1, 0.9), (1, 0.45), (1, 0.8)];
        let seen: Vec<_> = first.chain(second).collect();
        // Half of sixteen over three classes, one and a half times: four.
        assert_eq!(believed(&seen, 3, 0.5), [vec![11, 10, 9, 8], vec![13, 15], vec![]]);
        // All of them: eight of the first, and what is not likely stays out of the second.
        let all = believed(&seen, 3, 1.0);
        assert_eq!((all[0].len(), &all[1][..]), (8, &[13, 15, 12][..]));
    }

    #[test]
    fn less_effort_costs_less() {
        let costs = Effort::ALL.map(|effort| effort.members as f64 * effort.classifiers());
        assert!(costs.is_sorted_by(|more, less| more > less), "{costs:?}");
        assert!(costs[4] < 1.0, "one look at the images");
    }
}
