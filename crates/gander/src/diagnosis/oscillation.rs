//! Do the two networks chase each other in a circle?

use super::{Finding, Vitals, median, settled};
use crate::events::Severity;

/// Measurements in which a cycle is looked for.
const SPAN: usize = 48;
/// Cycles that must fit into them: two could be chance.
const CYCLES: usize = 3;

/// How alike a series is to itself one cycle later, and how unlike half a cycle later.
///
/// Noise of 48 values has correlations of 0.14 in the standard deviation (1/√48), a quarter of the least that counts; and
/// a drift is alike at every distance, so it never dips.
pub const ALIKE: f64 = 0.55;

/// Swing (standard deviation) of the logit gap as a share of its level, from which a cycle matters: below, the loss breathes
/// and the images do not.
pub const SWING: f64 = 0.35;

/// The period of a cycle in a series, in measurements: the first distance at which it is like itself again after having
/// been unlike. `None` if there is none, or fewer than three cycles.
pub fn period(values: &[f64]) -> Option<usize> {
    let mean = values.iter().sum::<f64>() / values.len().max(1) as f64;
    let centered: Vec<f64> = values.iter().map(|value| value - mean).collect();
    let power: f64 = centered.iter().map(|value| value * value).sum::<f64>() / centered.len().max(1) as f64;
    let alike = |distance: usize| {
        let pairs = centered.iter().zip(&centered[distance..]);
        let count = centered.len() - distance;
        pairs.map(|(a, b)| a * b).sum::<f64>() / count as f64 / power
    };
    if power <= 0.0 {
        return None;
    }
    let mut has_dipped = false;
    let mut best: Option<(usize, f64)> = None;
    for distance in 1..=values.len() / CYCLES {
        let now = alike(distance);
        has_dipped |= now < -ALIKE;
        if has_dipped && now > ALIKE && best.is_none_or(|(_, most)| now > most) {
            best = Some((distance, now));
        }
    }
    best.map(|(distance, _)| distance)
}

/// The gap between real and fake logits swings in a cycle by more than [`SWING`] of its level.
pub fn oscillates(history: &[Vitals]) -> Option<Finding> {
    let gaps: Vec<f64> = settled(history).iter().filter_map(|vitals| vitals.logit_gap).collect();
    let last = &gaps[gaps.len().checked_sub(SPAN)?..];
    let level = median(&mut last.to_vec()).abs();
    let mean = last.iter().sum::<f64>() / SPAN as f64;
    let swing = (last.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / SPAN as f64).sqrt();
    if swing < SWING * level {
        return None;
    }
    let period = period(last)?;
    Some(Finding {
        severity: Severity::Warning,
        seen: format!(
            "the gap between real and fake logits swings by {:.0} % of its level (alarm above {:.0} %) in a cycle of {period} ticks: \
             each network undoes what the other learned",
            100.0 * swing / level.max(f64::MIN_POSITIVE),
            100.0 * SWING
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::{
        super::tests::{noise, series},
        *,
    };

    fn gaps(of: impl Fn(usize) -> f64) -> Vec<Vitals> {
        series((0..80).map(of), |vitals, value| vitals.logit_gap = Some(value))
    }

    #[test]
    fn a_cycle_is_found_with_its_period() {
        let wave = |i: usize| 2.0 + 1.5 * (i as f64 * std::f64::consts::TAU / 12.0).sin() + 0.3 * noise(i);
        let values: Vec<f64> = (0..48).map(wave).collect();
        assert_eq!(period(&values), Some(12));
        assert!(oscillates(&gaps(wave)).unwrap().seen.contains("12 ticks"));
    }

    #[test]
    fn noise_drift_and_walks_are_none() {
        assert!(oscillates(&gaps(|i| 2.0 + 2.0 * noise(i))).is_none());
        assert!(oscillates(&gaps(|i| 0.1 * i as f64)).is_none());
        assert!(oscillates(&gaps(|i| (0..i).map(noise).sum())).is_none());
        assert!(oscillates(&gaps(|_| 1.0)).is_none());
        // Breathing: a cycle that is small beside the level.
        assert!(oscillates(&gaps(|i| 5.0 + (i as f64 / 2.0).sin())).is_none());
    }
}
