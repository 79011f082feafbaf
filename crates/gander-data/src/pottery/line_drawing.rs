//! A pot as a draftsman would outline it.

use super::glaze::Glaze;
use super::numbers::srgb_byte;
use super::raster::{HANDLE, Projection, Strip};
use super::render::{PAPER, PictureSize, SAMPLES, place};
use super::shape::{Grid, Shape};

/// Ink of outlines and of the borders between glazes, linear.
const OUTLINE: f32 = 0.008;
const BORDER: f32 = 0.22;

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
    let mut ink = vec![0.0_f32; width * strip_height];
    for (index, rows) in pixels.chunks_mut(rows_px * size.width_px * 3).enumerate() {
        let first_px = index * rows_px;
        let top = first_px.saturating_sub(margin_px) * SAMPLES;
        strip.draw(top, surfaces);
        mark_regions(&strip, glaze, shape, &mut regions);
        ink.fill(0.0);
        let visible = strip_height.min(full_height - top);
        draw_edges(&strip, &regions, visible, half, &mut ink);
        let offset = first_px * SAMPLES - top;
        for (i, pixel) in rows.chunks_exact_mut(3).enumerate() {
            let (x, y) = (i % size.width_px, i / size.width_px);
            let start = (offset + y * SAMPLES) * width + x * SAMPLES;
            let samples = (0..SAMPLES * SAMPLES).map(|s| ink[start + s / SAMPLES * width + s % SAMPLES]);
            let covered = samples.sum::<f32>() / (SAMPLES * SAMPLES) as f32;
            pixel.fill(srgb_byte(PAPER.x * (1.0 - covered)));
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

/// Puts a round pen on every place where a sample differs from the next one to the right or below.
fn draw_edges(strip: &Strip, regions: &[u8], visible: usize, half: f32, ink: &mut [f32]) {
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
            let at = y * width + x;
            let strength = edge(strip, regions, at, at + 1).max(edge(strip, regions, at, at + width));
            if strength == 0.0 {
                continue;
            }
            for &(dx, dy) in &pen {
                let (px, py) = (x as isize + dx, y as isize + dy);
                if (0..width as isize).contains(&px) && (0..visible as isize).contains(&py) {
                    let spot = &mut ink[py as usize * width + px as usize];
                    *spot = spot.max(strength);
                }
            }
        }
    }
}

/// Ink between two samples: an outline, a glaze's border, or none.
fn edge(strip: &Strip, regions: &[u8], a: usize, b: usize) -> f32 {
    let (first, second) = (strip.part[a], strip.part[b]);
    let jump = first != 0 && second != 0 && (strip.depth[a] - strip.depth[b]).abs() > 0.09;
    if first != second || jump {
        1.0 - OUTLINE
    } else if regions[a] != regions[b] {
        1.0 - BORDER
    } else {
        0.0
    }
}
