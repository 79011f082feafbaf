//! A plot as a figure of the page.
//!
//! Only the curves are drawings, stretched to the width at hand; letters are the page's own and keep their size.

use std::fmt::Write;

use super::{
    plot::{Curve, Kind, Plot, Scale},
    text::{escape, short, significant},
};

/// Sides of a drawing in its own units.
const WIDTH: f64 = 1000.0;
const HEIGHT: f64 = 300.0;

/// A plot with its title, its legend, and where all values allow it a second scale to choose.
pub(super) fn figure(plot: &Plot) -> String {
    let mut html = String::new();
    let fields: Vec<String> = [Kind::Linear, Kind::Logarithmic]
        .into_iter()
        .filter_map(|kind| Some(field(plot, kind, &plot.vertical(kind)?)))
        .collect();
    let key = |(at, curve): (usize, &Curve)| format!("<span class=\"key c{at}\">{}</span>", escape(&curve.name));
    let legend: String = plot
        .curves
        .iter()
        .enumerate()
        .filter(|_| plot.curves.len() > 1)
        .map(key)
        .collect();
    let button = if fields.len() > 1 {
        "<button type=\"button\" class=\"scale\">log</button>"
    } else {
        ""
    };
    push(
        &mut html,
        format_args!(
            "<figure class=\"chart\"><figcaption><h3>{}</h3>{legend}",
            escape(&plot.title)
        ),
    );
    push(
        &mut html,
        format_args!("{button}</figcaption>{}</figure>\n", fields.concat()),
    );
    html
}

fn field(plot: &Plot, kind: Kind, vertical: &Scale) -> String {
    let horizontal = plot.horizontal();
    let mut html = String::new();
    let (class, hidden) = match kind {
        Kind::Linear => ("linear", ""),
        Kind::Logarithmic => ("log", " hidden"),
    };
    let data = escape(&data(plot, &horizontal, vertical));
    push(
        &mut html,
        format_args!("<div class=\"field {class}\" data-curves=\"{data}\"{hidden}>"),
    );
    for &tick in &vertical.ticks {
        let bottom = 100.0 * vertical.share(tick);
        push(
            &mut html,
            format_args!(
                "<i class=\"y\" style=\"bottom:{bottom:.2}%\"><b>{}</b></i>",
                short(tick)
            ),
        );
    }
    for &tick in &horizontal.ticks {
        let left = 100.0 * horizontal.share(tick);
        push(
            &mut html,
            format_args!("<i class=\"x\" style=\"left:{left:.2}%\">{}</i>", short(tick)),
        );
    }
    push(
        &mut html,
        format_args!("<svg class=\"curves\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" preserveAspectRatio=\"none\">"),
    );
    for (at, curve) in plot.curves.iter().enumerate() {
        for (class, points) in [("raw", &curve.points), ("smooth", &curve.smooth)] {
            let path = path(points, &horizontal, vertical);
            push(&mut html, format_args!("<path class=\"{class} c{at}\" d=\"{path}\"/>"));
        }
    }
    html.push_str("</svg></div>");
    html
}

fn path(points: &[(f64, f64)], horizontal: &Scale, vertical: &Scale) -> String {
    let mut path = String::new();
    for (at, &(x, y)) in points.iter().enumerate() {
        // Beyond the edge by a little: the field cuts it off.
        let y = vertical.share(y).clamp(-0.1, 1.1);
        let letter = if at == 0 { 'M' } else { 'L' };
        let (x, y) = (horizontal.share(x) * WIDTH, (1.0 - y) * HEIGHT);
        push(&mut path, format_args!("{letter}{x:.1} {y:.1}"));
    }
    path
}

/// What the page needs to show values under a pointer: where each point lies, in shares, and what it says.
fn data(plot: &Plot, horizontal: &Scale, vertical: &Scale) -> String {
    let point = |&(x, y): &(f64, f64)| {
        let share = |share: f64| (share.clamp(0.0, 1.0) * 1e4).round() / 1e4;
        serde_json::json!([
            share(horizontal.share(x)),
            share(vertical.share(y)),
            short(x),
            significant(y)
        ])
    };
    let curve = |curve: &Curve| {
        let points: Vec<serde_json::Value> = curve.smooth.iter().map(point).collect();
        serde_json::json!({ "name": curve.name, "points": points })
    };
    serde_json::Value::from(plot.curves.iter().map(curve).collect::<Vec<_>>()).to_string()
}

/// Writing to a string never fails.
fn push(html: &mut String, text: std::fmt::Arguments<'_>) {
    let _ = html.write_fmt(text);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positive_values_can_be_shown_on_two_scales() {
        let rising: Vec<(f64, f64)> = (0..9).map(|at| (f64::from(at), 1.0 + f64::from(at))).collect();
        let falling = rising.iter().map(|&(x, y)| (x, -y)).collect();
        let both = figure(&Plot::new("a<b", [("up", rising)]));
        assert!(both.contains("field log") && both.contains("a&lt;b"));
        let linear = figure(&Plot::new("a", [("down", falling)]));
        assert!(!linear.contains("field log") && !linear.contains("button"));
    }

    #[test]
    fn a_path_goes_from_corner_to_corner() {
        let plot = Plot::new("a", [("up", vec![(0.0, 0.0), (10.0, 1.0)])]);
        let path = path(
            &plot.curves[0].points,
            &plot.horizontal(),
            &plot.vertical(Kind::Linear).unwrap(),
        );
        assert_eq!(path, "M0.0 300.0L1000.0 0.0");
    }
}
