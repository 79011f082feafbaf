//! Are the fakes as unlike each other as real images are?

use super::{Finding, Vitals, lasting_low};
use crate::{
    events::Severity,
    metrics::{Features, square_distance},
};

/// Share of the reals' spread below which fakes have collapsed: [`THIN`] warns, below [`COLLAPSED`] little is left.
///
/// Generators that look healthy had 0.75 to 1.1 of the reals' mean distance on pottery and Fashion-MNIST; half of it means
/// that whole directions of the data are gone.
pub const THIN: f64 = 0.5;
/// See [`THIN`].
pub const COLLAPSED: f64 = 0.25;

/// Share of the reals' nearest distance below which fakes repeat each other, however far the repeated ones lie apart.
///
/// With as many modes as images, the nearest of 64 fakes is as far as the nearest of 64 reals (0.6 to 1 in healthy runs:
/// fakes are smoother). With a dozen modes it is a near copy.
pub const REPEATED: f64 = 0.3;

/// Distances within a set of images.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Distances {
    /// Mean over all pairs.
    pub mean: f64,
    /// Mean over images of the distance to the nearest other.
    pub nearest: f64,
}

impl Distances {
    /// Of at least two rows.
    pub fn within(features: &Features) -> Option<Self> {
        let rows: Vec<&[f32]> = features.rows().collect();
        if rows.len() < 2 {
            return None;
        }
        let (mut sum, mut nearest) = (0.0, vec![f64::INFINITY; rows.len()]);
        for (i, a) in rows.iter().enumerate() {
            for (j, b) in rows.iter().enumerate().take(i) {
                let distance = f64::from(square_distance(a, b)).sqrt();
                sum += distance;
                nearest[i] = nearest[i].min(distance);
                nearest[j] = nearest[j].min(distance);
            }
        }
        let pairs = rows.len() * (rows.len() - 1) / 2;
        Some(Self {
            mean: sum / pairs as f64,
            nearest: nearest.iter().sum::<f64>() / rows.len() as f64,
        })
    }
}

/// The diversity of fakes as a share of that of as many reals.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Diversity {
    /// Mean distance between two fakes over that between two reals: 0 where all fakes are one image.
    pub spread: f64,
    /// Mean distance to the nearest other fake over that of reals: 0 where each fake has a twin.
    pub nearest: f64,
}

impl Diversity {
    /// Of fakes against reals; `None` if the reals do not differ.
    pub fn of(fakes: Distances, reals: Distances) -> Option<Self> {
        (reals.mean > 0.0 && reals.nearest > 0.0).then(|| Self {
            spread: fakes.mean / reals.mean,
            nearest: fakes.nearest / reals.nearest,
        })
    }
}

/// Mode collapse: fakes spread less than [`THIN`], or each has a twin: [`REPEATED`].
pub fn collapses(history: &[Vitals]) -> Option<Finding> {
    let spread = lasting_low(history, |vitals| vitals.fake_spread);
    let nearest = lasting_low(history, |vitals| vitals.fake_nearest);
    let percent = |share: f64| format!("{:.0} %", share * 100.0);
    if let Some(spread) = spread.filter(|&spread| spread < THIN) {
        return Some(Finding {
            severity: if spread < COLLAPSED {
                Severity::Problem
            } else {
                Severity::Warning
            },
            seen: format!(
                "two fakes differ by {} of what two real images do (alarm below {})",
                percent(spread),
                percent(THIN)
            ),
        });
    }
    let nearest = nearest.filter(|&nearest| nearest < REPEATED)?;
    Some(Finding {
        severity: Severity::Warning,
        seen: format!(
            "the most alike of 64 fakes differ by {} of what real ones do (alarm below {}): the generator repeats itself",
            percent(nearest),
            percent(REPEATED)
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::{super::tests::series, *};

    #[test]
    fn distances_by_hand() {
        let features = Features::new(vec![0.0, 0.0, 3.0, 4.0, 3.0, 0.0], 2).unwrap();
        let distances = Distances::within(&features).unwrap();
        assert_eq!(
            distances,
            Distances {
                mean: 4.0,
                nearest: 10.0 / 3.0
            }
        );
        assert_eq!(Distances::within(&Features::new(vec![1.0], 1).unwrap()), None);
        let reals = Distances {
            mean: 8.0,
            nearest: 10.0,
        };
        let diversity = Diversity::of(distances, reals).unwrap();
        assert!((diversity.spread - 0.5).abs() < 1e-12 && (diversity.nearest - 1.0 / 3.0).abs() < 1e-12);
        assert_eq!(
            Diversity::of(
                distances,
                Distances {
                    mean: 0.0,
                    nearest: 0.0
                }
            ),
            None
        );
    }

    #[test]
    fn one_image_and_a_few_images_are_both_collapse() {
        let spreads = |level: f64| series([level; 20], |v, x| v.fake_spread = Some(x));
        assert!(collapses(&spreads(0.9)).is_none());
        assert_eq!(collapses(&spreads(0.4)).unwrap().severity, Severity::Warning);
        assert_eq!(collapses(&spreads(0.1)).unwrap().severity, Severity::Problem);
        let twins = series([0.1; 20], |v, x| (v.fake_spread, v.fake_nearest) = (Some(0.9), Some(x)));
        assert!(collapses(&twins).unwrap().seen.contains("repeats itself"));
    }
}
