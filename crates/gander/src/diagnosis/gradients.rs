//! Do gradients explode, vanish, or pass some channels by?
//!
//! Adam keeps the mean of each weight's squared gradient. What is asked here of all gradients is asked of those means, so
//! that watching costs the step nothing: the numbers are there already. What two moments of a mean differ by is the mean of
//! the steps between them.

use std::collections::BTreeMap;

use gander_nn::{Parameters, optim::Adam};
use gander_tensor::Tensor;

use super::{Finding, Vitals, lasting_high, median, recent, settled};
use crate::{error::Result, events::Severity};

/// How many times its usual size a gradient is when it explodes.
///
/// The usual size is the median over the run so far. It moved by a factor of at most six within healthy runs; Adam divides
/// by it, so only a growth that outruns Adam's own memory throws weights about.
pub const EXPLODES: f64 = 30.0;

/// The share of its usual size to which a gradient sinks when it vanishes. The same distance downwards.
pub const VANISHES: f64 = 1.0 / 30.0;

/// Share of a layer's channels that no gradient reaches from which it is an alarm: half of its width is not there.
pub const DEAD: f64 = 0.5;

/// Share of its weights' size that a network's step may have.
///
/// At that pace a network is another one after some sixty steps, and what the other learned of it is void. After the warm-up
/// healthy runs on pottery and Fashion-MNIST stayed below 0.011, and fell; a hundred times DCGAN's rate gave 0.029, and fell
/// only as the weights grew without aim.
pub const LEAP: f64 = 0.015;

/// A channel is dead if its mean gradient is this little beside the root of its mean squared gradient.
///
/// With β1 0.5 the mean falls below within 14 steps without a gradient. That a living channel's gradients cancel so far is
/// a chance of one in ten thousand.
const NOTHING: f64 = 1e-4;

/// Layers of fewer channels are left alone: a lone bias may have no gradient by right, as the last one of a relativistic
/// discriminator.
const FEWEST_CHANNELS: usize = 4;

/// Moments of a run before its usual gradient is known.
const USUAL: usize = 20;

/// Adam's mean of the whole gradient's squared length at a moment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SquaredGradient {
    /// `Σ v`, as it stands: from zero on.
    sum: f64,
    steps: u64,
    beta2: f64,
}

impl SquaredGradient {
    /// Before the first step.
    pub const NONE: Self = Self {
        sum: 0.0,
        steps: 0,
        beta2: 0.0,
    };

    /// Now.
    ///
    /// # Errors
    /// What reading back meets.
    pub fn of(optimizer: &Adam) -> Result<Self> {
        let mut sum = 0.0;
        for (name, moment) in optimizer.to_map() {
            if name.starts_with("square.") {
                sum += f64::from(moment.sum_all()?.item()?);
            }
        }
        Ok(Self {
            sum,
            steps: optimizer.steps(),
            beta2: f64::from(optimizer.config.beta2),
        })
    }

    /// The root mean square of the gradient's length in the `n` steps since another moment: `v − β2ⁿ v'` are their squares, with
    /// weights that sum to `1 − β2ⁿ`. `None` where there was no step, or where the optimizer was put back.
    pub fn norm_since(self, earlier: Self) -> Option<f64> {
        let steps = self.steps.checked_sub(earlier.steps).filter(|&steps| steps > 0)?;
        let kept = self.beta2.powf(steps as f64);
        Some(((self.sum - kept * earlier.sum).max(0.0) / (1.0 - kept)).sqrt())
    }
}

/// The size of the last step beside that of the weights: `rate · √(Σ m̂² / Σ v̂) / rms(weights)`, over all kernels.
///
/// # Errors
/// What reading back meets.
pub fn step_share(optimizer: &Adam, parameters: &Parameters) -> Result<f64> {
    let (_, decays) = optimizer.counters();
    let moments = optimizer.to_map();
    // Σ m², Σ v, Σ w² and the number of weights.
    let mut sums = [0.0; 4];
    for weight in parameters.weights() {
        let value = weight.get();
        let moment = |kind: &str| moments.get(&format!("{kind}.{}", weight.name()));
        let (Some(mean), Some(square)) = (moment("mean"), moment("square")) else {
            continue;
        };
        if value.shape().len() < 2 {
            continue;
        }
        let terms = [mean.square()?, square.clone(), value.detach().square()?];
        // A weight with a rate of its own counts as the one that it is a multiple of, which learns at the common rate.
        let rate = f64::from(weight.lr_multiplier()).powi(2);
        for ((sum, term), factor) in sums.iter_mut().zip(&terms).zip([rate, rate, 1.0 / rate]) {
            *sum += factor * f64::from(term.sum_all()?.item()?);
        }
        sums[3] += value.shape().iter().product::<usize>() as f64;
    }
    let [mean, square, weights, count] = sums;
    if square <= 0.0 || weights <= 0.0 {
        return Ok(0.0);
    }
    let [mean, square] = [mean / (1.0 - decays[0]).powi(2), square / (1.0 - decays[1])];
    Ok(f64::from(optimizer.config.lr) * (mean / square).sqrt() / (weights / count).sqrt())
}

/// The layer with the largest share of channels that no gradient reaches any more, by its biases and scales.
///
/// # Errors
/// What reading back meets.
pub fn dead_channels(optimizer: &Adam) -> Result<f64> {
    let moments = optimizer.to_map();
    let mut most: f64 = 0.0;
    for (name, mean) in &moments {
        let Some(name) = name.strip_prefix("mean.") else {
            continue;
        };
        let Some(square) = vector(&moments, name) else { continue };
        let (mean, square) = (mean.to_vec()?, square.to_vec()?);
        let is_dead = |(mean, square): (&f32, &f32)| f64::from(mean.abs()) <= NOTHING * f64::from(*square).sqrt();
        let dead = mean.iter().zip(&square).filter(|pair| is_dead(*pair)).count();
        most = most.max(dead as f64 / mean.len() as f64);
    }
    Ok(most)
}

/// The mean squares of a bias or a scale.
fn vector<'a>(moments: &'a BTreeMap<String, Tensor>, name: &str) -> Option<&'a Tensor> {
    let square = moments.get(&format!("square.{name}"))?;
    (square.shape().len() == 1 && square.side(0) >= FEWEST_CHANNELS).then_some(square)
}

/// The largest and the smallest of both networks' gradients, as multiples of their usual sizes.
fn multiples(history: &[Vitals]) -> Vec<(&'static str, f64)> {
    type Of = fn(&Vitals) -> Option<f64>;
    let networks: [(&str, Of); 2] = [
        ("generator", |vitals| vitals.generator_gradient),
        ("discriminator", |vitals| vitals.discriminator_gradient),
    ];
    let multiple = |(name, of): (&'static str, Of)| {
        let mut all: Vec<f64> = settled(history).iter().filter_map(of).collect();
        if all.len() < USUAL {
            return None;
        }
        let (now, _) = recent(history, of)?;
        let usual = median(&mut all);
        (usual > 0.0).then_some((name, now / usual))
    };
    networks.into_iter().filter_map(multiple).collect()
}

/// A network's gradient is [`EXPLODES`] times its usual size.
pub fn explode(history: &[Vitals]) -> Option<Finding> {
    let (network, multiple) = multiples(history)
        .into_iter()
        .find(|(_, multiple)| *multiple > EXPLODES)?;
    Some(Finding {
        severity: Severity::Problem,
        seen: format!("the {network}'s gradient is {multiple:.0} times its usual size (alarm above {EXPLODES:.0})"),
    })
}

/// A network's gradient is [`VANISHES`] of its usual size.
pub fn vanish(history: &[Vitals]) -> Option<Finding> {
    let (network, multiple) = multiples(history)
        .into_iter()
        .find(|(_, multiple)| *multiple < VANISHES)?;
    Some(Finding {
        severity: Severity::Warning,
        seen: format!(
            "the {network}'s gradient is {:.2} % of its usual size (alarm below {:.1} %)",
            100.0 * multiple,
            100.0 * VANISHES
        ),
    })
}

/// A network's steps are larger than [`LEAP`] of its weights.
pub fn leap(history: &[Vitals]) -> Option<Finding> {
    let share = lasting_high(history, |vitals| vitals.step_share)?;
    (share > LEAP).then(|| Finding {
        severity: Severity::Warning,
        seen: format!(
            "a step changes weights by {:.1} % of their size (alarm above {:.1} %), so a network is another one before the other \
             has learned from it",
            100.0 * share,
            100.0 * LEAP
        ),
    })
}

/// No gradient reaches more than [`DEAD`] of some layer's channels.
pub fn die(history: &[Vitals]) -> Option<Finding> {
    let share = lasting_high(history, |vitals| vitals.dead_channels)?;
    (share > DEAD).then(|| Finding {
        severity: Severity::Warning,
        seen: format!(
            "no gradient reaches {:.0} % of a layer's channels (alarm above {:.0} %)",
            100.0 * share,
            100.0 * DEAD
        ),
    })
}

#[cfg(test)]
mod tests {
    use gander_nn::{Init, Parameters, Scope, optim::AdamConfig};
    use gander_tensor::{RandomKey, Reference};

    use super::{
        super::tests::{noise, series},
        *,
    };

    #[test]
    fn a_gradient_is_held_against_its_own_past() {
        let gradients = |of: &dyn Fn(usize) -> f64| series((0..60).map(of), |v, x| v.generator_gradient = Some(x));
        let steady = gradients(&|i| 3.0 + noise(i));
        assert!(explode(&steady).is_none() && vanish(&steady).is_none());
        let exploding = gradients(&|i| if i < 45 { 3.0 } else { 300.0 });
        assert!(
            explode(&exploding)
                .unwrap()
                .seen
                .contains("generator's gradient is 100 times")
        );
        let vanishing = gradients(&|i| if i < 45 { 3.0 } else { 0.01 });
        assert!(vanish(&vanishing).is_some() && explode(&vanishing).is_none());
        // A run that has always been so is another matter.
        assert!(explode(&gradients(&|_| 1e6)).is_none());
    }

    #[test]
    fn a_rate_that_rewrites_the_network_is_an_alarm() {
        let shares = |level: f64| {
            series((0..20).map(|i| level * (1.0 + 0.3 * noise(i))), |v, x| {
                v.step_share = Some(x);
            })
        };
        assert!(leap(&shares(0.008)).is_none());
        assert!(leap(&shares(0.06)).is_some());
    }

    #[test]
    fn the_norm_and_dead_channels_come_from_adam() {
        let device = Reference::shared();
        let mut parameters = Parameters::default();
        let mut scope = Scope::new(&mut parameters, RandomKey::from_seed(0), &device);
        scope.weight("kernel", [2, 2], Init::normal(0.1)).unwrap();
        scope.weight("scale", [4], Init::normal(0.1)).unwrap();
        let config = AdamConfig {
            lr: 0.1,
            beta1: 0.5,
            beta2: 0.9,
            eps: 1e-8,
        };
        let mut adam = Adam::new(config, &parameters).unwrap();
        let begin = SquaredGradient::of(&adam).unwrap();
        assert_eq!((begin.sum, begin.norm_since(begin)), (0.0, None));
        let mut middle = begin;
        let tensor = |values: &[f32], shape: &[usize]| Tensor::from_slice(values, shape.to_vec(), &device).unwrap();
        for step in 0..40 {
            // From the twentieth step on, one channel gets no gradient.
            let last = if step < 20 { 4.0 } else { 0.0 };
            let gradients = parameters.weights().map(|weight| match weight.name() {
                "kernel" => tensor(&[3.0, 0.0, 0.0, 0.0], &[2, 2]),
                _ => tensor(&[0.0, 1.0, 1.0, last], &[4]),
            });
            let gradients = gradients.collect();
            adam.step(&parameters, gradients).unwrap();
            if step == 10 {
                let norm = SquaredGradient::of(&adam).unwrap().norm_since(begin).unwrap();
                assert!((norm - 27f64.sqrt()).abs() < 1e-3, "{norm}");
                assert_eq!(dead_channels(&adam).unwrap(), 0.25);
            }
            if step == 19 {
                middle = SquaredGradient::of(&adam).unwrap();
            }
        }
        // Of the last twenty steps alone.
        let end = SquaredGradient::of(&adam).unwrap();
        let norm = end.norm_since(middle).unwrap();
        assert!((norm - 11f64.sqrt()).abs() < 1e-3, "{norm}");
        assert_eq!(middle.norm_since(end), None, "put back");
        assert_eq!(dead_channels(&adam).unwrap(), 0.5);
        // The first kernel weight walks by the whole rate each time, of four that began at 0.1 or less.
        let share = step_share(&adam, &parameters).unwrap();
        assert!((0.03..0.06).contains(&share), "{share}");
    }
}
