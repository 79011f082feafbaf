//! Curves before they are drawn: thinned, smoothed, and laid on a scale.

use std::collections::{BTreeMap, BTreeSet};

use super::story::Story;

/// Points of a curve at most.
const MAX_POINTS: usize = 360;

/// Curves that share an axis.
#[derive(Debug, Clone)]
pub(super) struct Plot {
    pub(super) title: String,
    pub(super) curves: Vec<Curve>,
}

/// One curve.
#[derive(Debug, Clone)]
pub(super) struct Curve {
    pub(super) name: String,
    /// Thousands of images seen, and the mean of what was measured about there.
    pub(super) points: Vec<(f64, f64)>,
    /// The points, smoothed.
    pub(super) smooth: Vec<(f64, f64)>,
}

/// How values become heights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Linear,
    Logarithmic,
}

/// A range of values with the ones that are written at the axis.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Scale {
    pub(super) kind: Kind,
    pub(super) low: f64,
    pub(super) high: f64,
    pub(super) ticks: Vec<f64>,
}

/// The plots of a run: its scores, losses, logits, every other number that moved, speed.
pub(super) fn plots(story: &Story) -> Vec<Plot> {
    let losses = [
        ("discriminator", story.values(|tick| Some(tick.discriminator_loss))),
        ("generator", story.values(|tick| Some(tick.generator_loss))),
    ];
    let scalar = |name: &str| story.values(|tick| tick.scalars.get(name).copied());
    let logits = [("real", scalar("real_logits")), ("fake", scalar("fake_logits"))];
    let mut plots = scores(story);
    plots.extend([Plot::new("losses", losses), Plot::new("logits", logits)]);

    let names: BTreeSet<&String> = story.ticks.iter().flat_map(|tick| tick.scalars.keys()).collect();
    for name in names
        .into_iter()
        .filter(|name| !["real_logits", "fake_logits"].contains(&name.as_str()))
    {
        let values = scalar(name);
        // A number that never moved stands among the settings.
        if values.windows(2).any(|pair| pair[0].1 != pair[1].1) {
            let name = name.replace('_', " ");
            plots.push(Plot::new(&name, [(name.as_str(), values)]));
        }
    }
    let speed = story.values(|tick| Some(tick.images_per_second));
    plots.push(Plot::new("images per second", [("images per second", speed)]));
    plots.retain(|plot| plot.curves.iter().any(|curve| curve.points.len() > 1));
    plots
}

/// A plot for each score that was taken on the way.
fn scores(story: &Story) -> Vec<Plot> {
    let mut scores: BTreeMap<&str, Vec<(f64, f64)>> = BTreeMap::new();
    for metric in story.metrics.iter().filter(|metric| metric.value.is_finite()) {
        let point = (metric.images_seen as f64 / 1000.0, metric.value);
        scores.entry(&metric.name).or_default().push(point);
    }
    scores
        .into_iter()
        .map(|(name, points)| Plot::new(name, [(name, points)]))
        .collect()
}

impl Plot {
    pub(super) fn new<'a>(title: &str, curves: impl IntoIterator<Item = (&'a str, Vec<(f64, f64)>)>) -> Self {
        let curves = curves.into_iter().filter(|(_, points)| !points.is_empty());
        let curves = curves.map(|(name, points)| Curve::new(name, &points)).collect();
        Self {
            title: title.to_owned(),
            curves,
        }
    }

    /// From no images to the last.
    pub(super) fn horizontal(&self) -> Scale {
        let ends = self.curves.iter().filter_map(|curve| curve.points.last());
        let end = ends.map(|point| point.0).fold(f64::MIN_POSITIVE, f64::max);
        let mut scale = Scale::linear(0.0, end, 5);
        // It ends where the data ends, not at a round number.
        scale.high = end;
        scale.ticks.retain(|&tick| tick <= end * 1.001);
        scale
    }

    /// The scale on which all smoothed values and nearly all measured ones lie.
    ///
    /// The first steps of a GAN leap far beyond all others; a scale that showed them would show nothing else.
    pub(super) fn vertical(&self, kind: Kind) -> Option<Scale> {
        let mut values: Vec<f64> = self
            .curves
            .iter()
            .flat_map(|curve| &curve.points)
            .map(|point| point.1)
            .collect();
        values.sort_by(f64::total_cmp);
        let (first, last) = (*values.first()?, *values.last()?);
        let spare = values.len() / 100;
        let smooth = || {
            self.curves
                .iter()
                .flat_map(|curve| curve.smooth.iter().skip(curve.smooth.len() / 20))
        };
        let low = smooth().map(|point| point.1).fold(values[spare], f64::min).max(first);
        let high = smooth()
            .map(|point| point.1)
            .fold(values[values.len() - 1 - spare], f64::max)
            .min(last);
        match kind {
            Kind::Linear => Some(Scale::linear(low, high, 5)),
            Kind::Logarithmic if first > 0.0 => Some(Scale::logarithmic(low, high)),
            Kind::Logarithmic => None,
        }
    }
}

impl Curve {
    fn new(name: &str, points: &[(f64, f64)]) -> Self {
        let points = thin(points);
        Self {
            name: name.to_owned(),
            smooth: smooth(&points),
            points,
        }
    }
}

/// Means over runs of points, so that few are left.
fn thin(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let buckets = points.len().min(MAX_POINTS);
    let bucket = |at: usize| {
        let of = &points[at * points.len() / buckets..(at + 1) * points.len() / buckets];
        let mean = |value: fn(&(f64, f64)) -> f64| of.iter().map(value).sum::<f64>() / of.len() as f64;
        // The last point stands where the run ended, not before it.
        (of.last().map_or(0.0, |point| point.0), mean(|point| point.1))
    };
    (0..buckets).map(bucket).collect()
}

/// The mean of the middle half of a fortieth of the curve to both sides: a leap at the start or a pause of the machine
/// moves it little.
fn smooth(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let reach = points.len() / 40;
    let average = |at: usize| {
        // Near an end fewer points, as many on both sides as there are, but never so few that it follows each of them.
        let reach = reach.min(at.min(points.len() - 1 - at)).max(reach / 2);
        let near = &points[at.saturating_sub(reach)..(at + reach + 1).min(points.len())];
        let mut values: Vec<f64> = near.iter().map(|point| point.1).collect();
        values.sort_by(f64::total_cmp);
        let middle = &values[values.len() / 4..values.len() - values.len() / 4];
        (points[at].0, middle.iter().sum::<f64>() / middle.len() as f64)
    };
    (0..points.len()).map(average).collect()
}

impl Scale {
    /// About so many round numbers around a range.
    fn linear(low: f64, high: f64, about: usize) -> Self {
        let span = if high > low { high - low } else { low.abs().max(1.0) };
        let rough = span / about as f64;
        let power = 10f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 2.5, 5.0]
            .into_iter()
            .find(|step| step * power >= rough * 0.999)
            .unwrap_or(10.0)
            * power;
        let (first, last) = ((low / step).floor() as i64, (high / step).ceil() as i64);
        let last = last.max(first + 1).min(first + 4 * about as i64);
        let ticks: Vec<f64> = (first..=last).map(|at| at as f64 * step).collect();
        Self {
            kind: Kind::Linear,
            low: first as f64 * step,
            high: last as f64 * step,
            ticks,
        }
    }

    /// Powers of ten within a range, or more where there are few.
    fn logarithmic(low: f64, high: f64) -> Self {
        let (low, high) = (low / 1.1, high * 1.1);
        let powers = low.log10().floor() as i32..=high.log10().ceil() as i32;
        let few: &[f64] = match (high / low).log10() {
            ..1.2 => &[1.0, 1.5, 2.0, 3.0, 5.0, 7.0],
            ..2.5 => &[1.0, 2.0, 5.0],
            _ => &[1.0],
        };
        let ticks = powers.flat_map(|power| few.iter().map(move |digit| digit * 10f64.powi(power)));
        let mut ticks: Vec<f64> = ticks.filter(|tick| (low..=high).contains(tick)).collect();
        let every = ticks.len().div_ceil(7).max(1);
        ticks = ticks.into_iter().step_by(every).collect();
        Self {
            kind: Kind::Logarithmic,
            low,
            high,
            ticks,
        }
    }

    /// Where a value lies between the ends: 0 at the low one, 1 at the high one.
    pub(super) fn share(&self, value: f64) -> f64 {
        match self.kind {
            Kind::Linear => (value - self.low) / (self.high - self.low),
            Kind::Logarithmic => (value.max(1e-300) / self.low).ln() / (self.high / self.low).ln(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plot(values: impl IntoIterator<Item = f64>) -> Plot {
        let points = values
            .into_iter()
            .enumerate()
            .map(|(at, value)| (at as f64, value))
            .collect();
        Plot::new("a", [("a", points)])
    }

    #[test]
    fn scales_have_round_numbers() {
        assert_eq!(Scale::linear(0.0, 2.0, 5).ticks, [0.0, 0.5, 1.0, 1.5, 2.0]);
        assert_eq!(Scale::linear(-3.0, 17.0, 5).ticks, [-5.0, 0.0, 5.0, 10.0, 15.0, 20.0]);
        assert_eq!(Scale::logarithmic(0.02, 150.0).ticks, [0.1, 1.0, 10.0, 100.0]);
        for value in [0.0, 7.5, -1e-9, 1e12] {
            let scale = Scale::linear(value, value, 5);
            assert!(
                scale.low <= value && value <= scale.high && scale.low < scale.high,
                "{scale:?}"
            );
        }
    }

    #[test]
    fn a_leap_at_the_start_does_not_flatten_the_rest() {
        let plot = plot((0..300).map(|at| if at < 2 { 1000.0 } else { 1.0 + (at % 7) as f64 * 0.1 }));
        let scale = plot.vertical(Kind::Linear).unwrap();
        assert!(scale.high < 3.0, "{scale:?}");
    }

    #[test]
    fn only_positive_values_have_a_logarithm() {
        assert!(plot([1.0, 2.0, 50.0]).vertical(Kind::Logarithmic).is_some());
        assert!(plot([1.0, 0.0]).vertical(Kind::Logarithmic).is_none());
        assert!(plot([]).vertical(Kind::Linear).is_none());
    }

    #[test]
    fn a_long_curve_is_thinned_to_means_and_keeps_its_end() {
        let points: Vec<(f64, f64)> = (0..100_000).map(|at| (at as f64, (at % 2) as f64)).collect();
        let thinned = thin(&points);
        assert_eq!((thinned.len(), thinned[MAX_POINTS - 1].0), (MAX_POINTS, 99_999.0));
        assert!(thinned.iter().all(|point| (point.1 - 0.5).abs() < 0.01));
    }

    #[test]
    fn smoothing_keeps_a_line_a_line_and_drops_a_leap() {
        let line: Vec<(f64, f64)> = (0..200).map(|at| (at as f64, at as f64)).collect();
        assert!(smooth(&line)[2..198].iter().all(|(x, y)| (x - y).abs() < 1e-9));
        assert!(smooth(&line).iter().all(|(x, y)| (x - y).abs() <= 1.0));
        let leap: Vec<(f64, f64)> = (0..200)
            .map(|at| (at as f64, if at == 0 { 1e6 } else { 1.0 }))
            .collect();
        assert!(smooth(&leap)[1..].iter().all(|point| point.1 == 1.0));
        assert_eq!(smooth(&line[..1]), line[..1]);
    }

    #[test]
    fn shares_meet_the_ends() {
        for scale in [Scale::linear(0.0, 10.0, 5), Scale::logarithmic(0.1, 100.0)] {
            assert_eq!((scale.share(scale.low), scale.share(scale.high)), (0.0, 1.0));
        }
    }
}
