//! `curves.png`: losses, logits and speed, drawn here, without fonts or libraries of the system.

use image::{DynamicImage, Rgb, RgbImage};

use super::{
    lettering,
    plot::{Kind, Plot, plots},
    story::Story,
    text::short,
};

type Color = [f32; 3];

const WIDTH_PX: usize = 1280;
const PANEL_PX: usize = 400;
/// Around the field of a panel: left, top, right, bottom.
const FRAME_PX: [f64; 4] = [86.0, 64.0, 36.0, 52.0];

// The colors of the light page in `page.css`.
const PAPER: Color = [255.0, 253.0, 250.0];
const INK: Color = [60.0, 54.0, 48.0];
const FAINT: Color = [146.0, 136.0, 126.0];
const RULE: Color = [232.0, 226.0, 218.0];
const CURVES: [Color; 2] = [[47.0, 111.0, 143.0], [194.0, 86.0, 58.0]];

/// The first plots of a run, one below the other.
pub(super) fn curves(story: &Story) -> DynamicImage {
    let mut plots = plots(story);
    plots.retain(|plot| ["losses", "logits", "images per second"].contains(&plot.title.as_str()));
    let mut canvas = Canvas::new(WIDTH_PX, PANEL_PX * plots.len().max(1) + 16);
    if plots.is_empty() {
        canvas.text(
            "no curves yet",
            (WIDTH_PX as f64 / 2.0, PANEL_PX as f64 / 2.0),
            2.6,
            Anchor::Middle,
            FAINT,
        );
    }
    for (at, plot) in plots.iter().enumerate() {
        canvas.panel(plot, (at * PANEL_PX) as f64);
    }
    canvas.into_image()
}

#[derive(Clone, Copy)]
enum Anchor {
    Start,
    Middle,
    End,
}

struct Canvas {
    width: usize,
    height: usize,
    pixels: Vec<Color>,
}

impl Canvas {
    fn new(width: usize, height: usize) -> Self {
        Self {
            width,
            height,
            pixels: vec![PAPER; width * height],
        }
    }

    fn panel(&mut self, plot: &Plot, top: f64) {
        let [left, above, beside, below] = FRAME_PX;
        let (right, up, down) = (WIDTH_PX as f64 - beside, top + above, top + PANEL_PX as f64 - below);
        let horizontal = plot.horizontal();
        let Some(vertical) = plot.vertical(Kind::Linear) else {
            return;
        };
        let place = |(x, y): (f64, f64)| {
            let y = vertical.share(y).clamp(0.0, 1.0);
            (left + horizontal.share(x) * (right - left), down - y * (down - up))
        };
        for &tick in &vertical.ticks {
            let (_, y) = place((0.0, tick));
            self.line(&[(left, y), (right, y)], 1.0, RULE, 1.0);
            self.text(&short(tick), (left - 12.0, y - 8.0), 2.0, Anchor::End, FAINT);
        }
        for &tick in &horizontal.ticks {
            let (x, _) = place((tick, vertical.low));
            self.text(&short(tick), (x, down + 10.0), 2.0, Anchor::Middle, FAINT);
        }
        self.text("kimg", (right, down + 30.0), 2.0, Anchor::End, FAINT);
        self.text(&plot.title, (left, top + 22.0), 2.6, Anchor::Start, INK);
        let mut legend = right;
        for (curve, &color) in plot.curves.iter().zip(&CURVES).rev() {
            if plot.curves.len() > 1 {
                let width = self.text(&curve.name, (legend, top + 26.0), 2.1, Anchor::End, INK);
                self.line(
                    &[(legend - width - 34.0, top + 36.0), (legend - width - 12.0, top + 36.0)],
                    4.0,
                    color,
                    1.0,
                );
                legend -= width + 64.0;
            }
        }
        for (curve, &color) in plot.curves.iter().zip(&CURVES) {
            let points = |of: &[(f64, f64)]| of.iter().map(|&point| place(point)).collect::<Vec<_>>();
            self.line(&points(&curve.points), 1.2, color, 0.28);
            self.line(&points(&curve.smooth), 3.0, color, 1.0);
        }
    }

    /// A line with round ends. Where it crosses itself it is no darker.
    fn line(&mut self, points: &[(f64, f64)], width: f64, color: Color, alpha: f32) {
        self.lines(&[points.to_vec()], width, color, alpha);
    }

    fn lines(&mut self, lines: &[Vec<(f64, f64)>], width: f64, color: Color, alpha: f32) {
        let reach = width / 2.0 + 1.0;
        let rows = || lines.iter().flatten().map(|point| point.1);
        let clip = |y: f64| y.clamp(0.0, self.height as f64) as usize;
        let top = clip(rows().fold(f64::MAX, f64::min) - reach);
        let bottom = clip(rows().fold(f64::MIN, f64::max) + reach + 1.0).max(top);
        let mut cover = vec![0.0f32; (bottom - top) * self.width];
        for (from, to) in lines
            .iter()
            .flat_map(|line| line.windows(2))
            .map(|pair| (pair[0], pair[1]))
        {
            let columns = span(from.0, to.0, reach, 0, self.width);
            for y in span(from.1, to.1, reach, top, bottom) {
                for x in columns.clone() {
                    let distance = distance((x as f64 + 0.5, y as f64 + 0.5), from, to);
                    let covered = (width / 2.0 + 0.5 - distance).clamp(0.0, width.min(1.0)) as f32;
                    let cell = &mut cover[(y - top) * self.width + x];
                    *cell = cell.max(covered);
                }
            }
        }
        let pixels = &mut self.pixels[top * self.width..bottom * self.width];
        for (pixel, cover) in pixels.iter_mut().zip(cover).filter(|(_, cover)| *cover > 0.0) {
            for (channel, ink) in pixel.iter_mut().zip(color) {
                *channel += (ink - *channel) * cover * alpha;
            }
        }
    }

    /// Writes a line of text below `at` with letters of so many pixels a unit, and returns its width.
    fn text(&mut self, text: &str, at: (f64, f64), unit: f64, anchor: Anchor, color: Color) -> f64 {
        let (mut lines, width) = lettering::line(text);
        let left = match anchor {
            Anchor::Start => at.0,
            Anchor::Middle => at.0 - width * unit / 2.0,
            Anchor::End => at.0 - width * unit,
        };
        for point in lines.iter_mut().flatten() {
            *point = (left + point.0 * unit, at.1 + (lettering::HEIGHT - point.1) * unit);
        }
        self.lines(&lines, unit * 0.85, color, 1.0);
        width * unit
    }

    fn into_image(self) -> DynamicImage {
        let pixel = |x: u32, y: u32| Rgb(self.pixels[y as usize * self.width + x as usize].map(|c| c.round() as u8));
        RgbImage::from_fn(self.width as u32, self.height as u32, pixel).into()
    }
}

/// Pixels between two coordinates and somewhat beyond, within bounds.
fn span(a: f64, b: f64, reach: f64, low: usize, high: usize) -> std::ops::Range<usize> {
    let clip = |value: f64| value.clamp(low as f64, high as f64) as usize;
    clip(a.min(b) - reach)..clip(a.max(b) + reach + 1.0)
}

/// Distance of a point from a segment.
fn distance(point: (f64, f64), from: (f64, f64), to: (f64, f64)) -> f64 {
    let (dx, dy) = (to.0 - from.0, to.1 - from.1);
    let along = (point.0 - from.0) * dx + (point.1 - from.1) * dy;
    let share = (along / (dx * dx + dy * dy).max(1e-12)).clamp(0.0, 1.0);
    (point.0 - from.0 - share * dx).hypot(point.1 - from.1 - share * dy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_covers_what_it_touches() {
        let mut canvas = Canvas::new(8, 5);
        canvas.line(&[(-3.0, 2.5), (4.0, 2.5)], 1.0, [0.0; 3], 1.0);
        let column = |x: usize| (0..5).map(|y| canvas.pixels[y * 8 + x][0]).collect::<Vec<_>>();
        assert_eq!(column(1), [255.0, 255.0, 0.0, 255.0, 255.0]);
        assert_eq!(column(7), [255.0; 5]);
        canvas.line(&[], 1.0, [0.0; 3], 1.0);
        canvas.line(&[(-50.0, -50.0), (900.0, 900.0)], 1.0, [0.0; 3], 1.0);
    }

    #[test]
    fn curves_are_drawn_where_there_are_any() {
        let base = tempfile::tempdir().unwrap();
        let story = Story::read(&super::super::tests::made_up_run(base.path())).unwrap();
        let picture = curves(&story).into_rgb8();
        assert_eq!(picture.dimensions(), (1280, 3 * 400 + 16));
        let of_color = |color: Color| {
            picture
                .pixels()
                .filter(|pixel| pixel.0 == color.map(|c| c as u8))
                .count()
        };
        assert!(CURVES.iter().all(|&color| of_color(color) > 500));
        assert_eq!(curves(&Story::default()).height(), 416);
    }
}
