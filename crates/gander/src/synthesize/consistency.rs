//! A classifier that learns from images without labels too: what it is sure of in an image it has to see in a changed one.
//!
//! # Source
//! Sohn et al. 2020 (`FixMatch`), <https://arxiv.org/abs/2001.07685>. How sure is enough differs by class, since hard ones are
//! seldom sure: Zhang et al. 2021 (`FlexMatch`), <https://arxiv.org/abs/2110.08263>, equations 6 to 11. Their batches have
//! seven images without labels for each with one; here four.

use gander_data::{Dataset, Sampler};
use gander_nn::Mode;
use gander_tensor::{DeviceRef, RandomKey, Tensor, no_grad};

use super::{
    Tell,
    classical::{self, Augmentation},
    classifier::{Probabilities, ResNet, softmax, tensor},
    split::{TrainingSet, Unlabeled},
};
use crate::{error::Result, features::classifier::training::Examples};

/// Images with labels in a step, and without.
const LABELED: usize = 16;
const UNLABELED: usize = 64;

/// The probability from which on an image without a label counts, in a class that is recognized as often as any.
const SURE: f32 = 0.95;

/// What a classifier learns from.
#[derive(Clone, Copy)]
pub(super) struct Consistency<'a> {
    pub(super) labeled: &'a TrainingSet,
    pub(super) unlabeled: &'a Unlabeled,
    /// Which of the unlabeled images.
    pub(super) asked: &'a [usize],
    pub(super) augmentation: Augmentation,
    pub(super) seed: u64,
    pub(super) device: &'a DeviceRef,
}

impl Consistency<'_> {
    /// Steps with as much arithmetic as a lesson of so many images. An image that is only looked at takes a third of one
    /// that is learned from.
    pub(super) fn steps(images: u64) -> u64 {
        let step = LABELED + UNLABELED + UNLABELED.div_ceil(3);
        images / step as u64
    }

    /// Trains a classifier, telling the share that is done.
    pub(super) fn train(self, steps: u64, tell: &mut Tell<'_>) -> Result<ResNet> {
        let real = self.labeled.images();
        let network = ResNet::new(real.shape(), real.classes().len(), self.seed, self.device)?;
        let key = RandomKey::from_seed(self.seed).named("consistency");
        let mut labeled = Sampler::new(key.named("labeled").value(), real.len());
        let mut unlabeled = Sampler::new(key.named("unlabeled").value(), self.asked.len());
        let mut recognized = Recognized::new(self.asked.len(), real.classes().len());
        let mut examples = |step: u64| {
            tell(step as f64 / steps as f64)?;
            let labeled: Vec<usize> = (0..LABELED).map(|_| labeled.next_draw().index).collect();
            let places: Vec<usize> = (0..UNLABELED).map(|_| unlabeled.next_draw().index).collect();
            let key = key.split(step);
            let seen = self.look(&network, &places, key)?;
            self.examples(&labeled, &places, &recognized.targets(&places, &seen), key)
        };
        network.learn(steps, &mut examples)?;
        Ok(network)
    }

    /// What the network sees in images that are hardly changed.
    fn look(&self, network: &ResNet, places: &[usize], key: RandomKey) -> Result<Probabilities> {
        let shape = self.labeled.images().shape();
        let mut values = Vec::with_capacity(places.len() * shape.bytes());
        for (at, &place) in places.iter().enumerate() {
            let pixels = self.unlabeled.image(self.asked[place]);
            let key = key.named("weak").split(at as u64);
            values.extend(classical::shift(pixels, shape, self.augmentation, key));
        }
        let images = tensor(&values, shape, self.device)?;
        let logits = no_grad(|| network.logits(&images, Mode::Train))?;
        let classes = logits.side(-1);
        Ok(logits.to_vec()?.chunks_exact(classes).map(softmax).collect())
    }

    /// Labeled images, hardly changed, and unlabeled ones, much changed, under the class that was seen in them or none.
    /// Targets are weighed so that both kinds have a mean of their own.
    fn examples(
        &self,
        labeled: &[usize],
        places: &[usize],
        seen: &[Option<usize>],
        key: RandomKey,
    ) -> Result<Examples> {
        let images = self.labeled.images();
        let (shape, classes) = (images.shape(), images.classes().len());
        let all = labeled.len() + places.len();
        let (mut values, mut targets) = (Vec::with_capacity(all * shape.bytes()), vec![0.0; all * classes]);
        let (of_labeled, of_unlabeled) = targets.split_at_mut(labeled.len() * classes);
        let mut pixels = vec![0; shape.bytes()];
        for (at, (&index, target)) in labeled.iter().zip(of_labeled.chunks_exact_mut(classes)).enumerate() {
            images.read(index, &mut pixels)?;
            let key = key.named("labeled").split(at as u64);
            values.extend(classical::shift(&pixels, shape, self.augmentation, key));
            target[images.label(index).unwrap_or(0) as usize] = all as f32 / labeled.len() as f32;
        }
        for (at, (&place, target)) in places.iter().zip(of_unlabeled.chunks_exact_mut(classes)).enumerate() {
            let key = key.named("strong").split(at as u64);
            let pixels = self.unlabeled.image(self.asked[place]);
            values.extend(classical::distort(pixels, shape, self.augmentation, key));
            if let Some(class) = seen[at] {
                target[class] = all as f32 / places.len() as f32;
            }
        }
        Ok(Examples {
            images: tensor(&values, shape, self.device)?,
            targets: Tensor::from_slice(&targets, [all, classes], self.device)?,
        })
    }
}

/// Which images were ever surely recognized, and as what.
struct Recognized {
    /// The class in which each image was last surely seen.
    of_image: Vec<Option<usize>>,
    /// How many images that are for each class.
    counts: Vec<usize>,
}

impl Recognized {
    fn new(images: usize, classes: usize) -> Self {
        Self {
            of_image: vec![None; images],
            counts: vec![0; classes],
        }
    }

    /// How sure is enough: in a class that is recognized as often as any [`SURE`], less in others, and at first in all.
    fn threshold(&self, class: usize) -> f32 {
        let unused = self.of_image.len() - self.counts.iter().sum::<usize>();
        let most = self.counts.iter().copied().max().unwrap_or(0).max(unused).max(1);
        let share = self.counts[class] as f32 / most as f32;
        SURE * share / (2.0 - share)
    }

    /// The class of each image for which the network is sure enough, and a note of those that it is quite sure of.
    fn targets(&mut self, places: &[usize], seen: &[Vec<f32>]) -> Vec<Option<usize>> {
        let best = |probabilities: &Vec<f32>| {
            let best = probabilities
                .iter()
                .copied()
                .enumerate()
                .max_by(|a, b| a.1.total_cmp(&b.1));
            best.unwrap_or((0, 0.0))
        };
        let best: Vec<(usize, f32)> = seen.iter().map(best).collect();
        let targets = best
            .iter()
            .map(|&(class, sure)| (sure > self.threshold(class)).then_some(class));
        let targets = targets.collect();
        for (&place, &(class, sure)) in places.iter().zip(&best) {
            if sure > SURE {
                if let Some(before) = self.of_image[place].replace(class) {
                    self.counts[before] -= 1;
                }
                self.counts[class] += 1;
            }
        }
        targets
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_that_are_seldom_sure_need_less() {
        let mut recognized = Recognized::new(4, 2);
        // At first anything counts, and what is sure is noted.
        let seen = [vec![0.99, 0.01], vec![0.4, 0.6], vec![0.97, 0.03]];
        assert_eq!(recognized.targets(&[0, 1, 2], &seen), [Some(0), Some(1), Some(0)]);
        assert_eq!(recognized.counts, [2, 0]);
        // The first class is seen as often as what is not yet: the usual threshold.
        assert!((recognized.threshold(0) - SURE).abs() < 1e-6);
        assert_eq!(
            recognized.targets(&[3, 1], &[vec![0.9, 0.1], vec![0.02, 0.98]]),
            [None, Some(1)]
        );
        assert_eq!(recognized.counts, [2, 1]);
        assert!((recognized.threshold(1) - SURE * 0.5 / 1.5).abs() < 1e-6);
        // An image that looks otherwise now counts once.
        recognized.targets(&[0], &[vec![0.01, 0.99]]);
        assert_eq!(recognized.counts, [1, 2]);
    }

    #[test]
    fn steps_take_the_arithmetic_of_a_lesson() {
        assert_eq!(Consistency::steps(30_600), 300);
    }
}
