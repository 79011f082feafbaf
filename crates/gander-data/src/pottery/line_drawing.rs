//! A pot as a potter would plan it: outlined with pencils in the colors of its glazes.

use super::glaze::Glaze;
use super::numbers::{Vec3, srgb_byte};
use super::raster::{HANDLE, Projection, Strip};
use super::render::{PAPER, PictureSize, SAMPLES, place};
use super::shape::{Grid, Shape};

/// A pencil is that much darker than the glaze that it stands for, so that white ones can be seen.
const SHADE: f32 = 0.5;

/// What a sample of the paper is covered by; of two strokes the stronger one stays, of two alike the darker.
#[derive(Clone, Copy)]
struct Stroke {
    is_outline: bool,
    color: Vec3,
}

impl Stroke {
    const NONE: Self = Self {
        is_outline: false,
        color: PAPER,
    };

    fn is_over(&self, other: &Self) -> bool {
        if self.is_outline == other.is_outline {
            self.color.luminance() < other.color.luminance()
        } else {
            self.is_outline
        }
    }
}

/// Draws lines where one surface ends before another and where glazes meet.
pub(super) fn draw(
    glaze: &Glaze<'_>,
    shape: &Shape,
    surfaces: &[Projection<'_>],
    size: PictureSize,
    pixels: &mut [u8],
) {
    // Half a line's width in samples: about 1.1 % of the picture, never under a pixel.
    let side = size.width_px.min(size.height_px);
    let half = (side as f32 * 0.0055).max(0.5) * SAMPLES as f32;
    let margin_px = (half / SAMPLES as f32).ceil() as usize + 1;
    let (width, full_height) = (size.width_px * SAMPLES, size.height_px * SAMPLES);
    let rows_px = 32;
    let strip_height = (rows_px + 2 * margin_px) * SAMPLES;
    let mut strip = Strip::new(width, strip_height);
    let mut regions = vec![0_u8; width * strip_height];
    let mut strokes = vec![Stroke::NONE; width * strip_height];
    for (index, rows) in pixels.chunks_mut(rows_px * size.width_px * 3).enumerate() {
        let first_px = index * rows_px;
        let top = first_px.saturating_sub(margin_px) * SAMPLES;
        strip.draw(top, surfaces);
        mark_regions(&strip, glaze, shape, &mut regions);
        strokes.fill(Stroke::NONE);
        let visible = strip_height.min(full_height - top);
        let pencil = |sample: usize| {
            let ([u, v], part) = (strip.place[sample], strip.part[sample]);
            let grid = grid(shape, part);
            let place = place(grid, part, &grid.at(u, v), [u, v, 0.0], 0.0);
            glaze.at(&place).albedo * SHADE
        };
        draw_edges(&strip, &regions, visible, half, &pencil, &mut strokes);
        let offset = first_px * SAMPLES - top;
        for (i, pixel) in rows.chunks_exact_mut(3).enumerate() {
            let (x, y) = (i % size.width_px, i / size.width_px);
            let start = (offset + y * SAMPLES) * width + x * SAMPLES;
            let samples = (0..SAMPLES * SAMPLES).map(|s| strokes[start + s / SAMPLES * width + s % SAMPLES].color);
            let color = samples.fold(Vec3::default(), |sum, color| sum + color) * (1.0 / (SAMPLES * SAMPLES) as f32);
            pixel.copy_from_slice(&[color.x, color.y, color.z].map(srgb_byte));
        }
    }
}

/// Numbers each sample by its surface (high bits) and glaze (low bits).
fn mark_regions(strip: &Strip, glaze: &Glaze<'_>, shape: &Shape, regions: &mut [u8]) {
    for ((region, &part), &[u, v]) in regions.iter_mut().zip(&strip.part).zip(&strip.place) {
        *region = 0;
        if part == 0 {
            continue;
        }
        let grid = grid(shape, part);
        let at = grid.at(u, v);
        *region = part << 4 | glaze.region(&place(grid, part, &at, [u, v, 0.0], 0.0));
    }
}

fn grid(shape: &Shape, part: u8) -> &Grid {
    match &shape.handle {
        Some(handle) if part == HANDLE => handle,
        _ => &shape.body,
    }
}

/// Puts a round pencil on every place where a sample differs from the next one to the right or below. An outline has the
/// color of the nearer surface; where two glazes meet, each side has its own.
fn draw_edges(
    strip: &Strip,
    regions: &[u8],
    visible: usize,
    half: f32,
    pencil: &dyn Fn(usize) -> Vec3,
    strokes: &mut [Stroke],
) {
    let width = strip.width;
    let reach = half.ceil() as isize;
    let mut pen = Vec::new();
    for dy in -reach..=reach {
        for dx in -reach..=reach {
            if ((dx * dx + dy * dy) as f32) <= half * half {
                pen.push((dx, dy));
            }
        }
    }
    for y in 0..visible - 1 {
        for x in 0..width - 1 {
            let a = y * width + x;
            for b in [a + 1, a + width] {
                let Some(edge) = edge(strip, regions, a, b) else {
                    continue;
                };
                let sides = match edge {
                    Edge::Outline { nearer } => [(nearer, pencil(nearer)); 2],
                    Edge::Border => [a, b].map(|sample| (sample, pencil(sample))),
                };
                for &(dx, dy) in &pen {
                    let (px, py) = (x as isize + dx, y as isize + dy);
                    if !(0..width as isize).contains(&px) || !(0..visible as isize).contains(&py) {
                        continue;
                    }
                    let at = py as usize * width + px as usize;
                    let own = sides.iter().find(|(side, _)| regions[*side] == regions[at]);
                    let stroke = Stroke {
                        is_outline: matches!(edge, Edge::Outline { .. }),
                        color: own.unwrap_or(&sides[0]).1,
                    };
                    if stroke.is_over(&strokes[at]) {
                        strokes[at] = stroke;
                    }
                }
            }
        }
    }
}

/// What lies between two samples.
enum Edge {
    /// One surface ends before another.
    Outline { nearer: usize },
    /// One glaze meets another.
    Border,
}

fn edge(strip: &Strip, regions: &[u8], a: usize, b: usize) -> Option<Edge> {
    let (first, second) = (strip.part[a], strip.part[b]);
    let jump = first != 0 && second != 0 && (strip.depth[a] - strip.depth[b]).abs() > 0.09;
    if first != second || jump {
        let is_a = second == 0 || (first != 0 && strip.depth[a] <= strip.depth[b]);
        let nearer = if is_a { a } else { b };
        Some(Edge::Outline { nearer })
    } else {
        (regions[a] != regions[b]).then_some(Edge::Border)
    }
}
