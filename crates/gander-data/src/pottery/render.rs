//! A pot becomes a picture.

use serde::{Deserialize, Serialize};

use super::camera::Camera;
use super::glaze::{Glaze, Material, Place, restyle};
use super::light::Light;
use super::line_drawing;
use super::numbers::{Vec3, smoothstep, srgb_byte, vec3};
use super::parameters::PotParameters;
use super::raster::{HANDLE, INSIDE, Projection, Strip};
use super::shape::{self, Detail, Grid, Shape, Vertex};
use super::wheel;

/// Sides of a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PictureSize {
    /// Columns.
    pub width_px: usize,
    /// Rows.
    pub height_px: usize,
}

impl PictureSize {
    /// A square.
    pub fn square(side_px: usize) -> Self {
        Self {
            width_px: side_px,
            height_px: side_px,
        }
    }
}

/// A family of glazes that any pot can be given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GlazeStyle {
    /// White porcelain under clear glaze with cobalt bands (style A).
    Porcelain,
    /// Running iron glazes, black to rust (style B).
    Iron,
}

/// How a pot is shown.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RenderMode {
    /// As fired, in its own glazes.
    Glazed,
    /// A line drawing on white paper: outlines and the borders of glazes, in the glazes' colors.
    Outline,
    /// The same shape, light and place in the glazes of a style.
    Styled(GlazeStyle),
    /// Wet clay on the wheel.
    Wheel {
        /// From a lump (0) to the thrown pot (1), before any handle.
        rising: f32,
        /// The wheel's angle in turns.
        turn: f32,
    },
}

/// Samples along each side of a pixel.
pub(super) const SAMPLES: usize = 3;
/// Pixel rows that are drawn together.
const STRIP_ROWS: usize = 32;

/// Draws a pot: `[height, width, 3]`, sRGB, row by row.
///
/// The picture depends on nothing but the arguments. Only additions, multiplications, divisions and square roots of
/// IEEE 754 take part, so its bytes are the same on every platform. Sizes differ in sharpness only.
pub fn render(parameters: &PotParameters, size: PictureSize, mode: RenderMode) -> Vec<u8> {
    let mut pixels = vec![0; size.width_px * size.height_px * 3];
    render_into(parameters, size, mode, &mut pixels);
    pixels
}

/// [`render`] into memory that exists; `pixels` has room for exactly the picture.
pub(super) fn render_into(parameters: &PotParameters, size: PictureSize, mode: RenderMode, pixels: &mut [u8]) {
    if pixels.is_empty() {
        return;
    }
    match mode {
        RenderMode::Glazed => draw(parameters, size, Look::Glazed, pixels),
        RenderMode::Styled(style) => draw(&restyle(parameters, style), size, Look::Glazed, pixels),
        RenderMode::Outline => draw(parameters, size, Look::Lines, pixels),
        RenderMode::Wheel { rising, turn } => {
            let thrown = wheel::thrown(parameters, rising.clamp(0.0, 1.0), turn);
            draw(
                &thrown.now,
                size,
                Look::Wheel {
                    finished: &thrown.finished,
                    turn,
                },
                pixels,
            );
        }
    }
}

#[derive(Clone, Copy)]
enum Look<'a> {
    Glazed,
    Lines,
    Wheel { finished: &'a PotParameters, turn: f32 },
}

fn draw(parameters: &PotParameters, size: PictureSize, look: Look<'_>, pixels: &mut [u8]) {
    let side = size.width_px.min(size.height_px);
    let detail = Detail {
        rows: (18 + side / 8).min(96),
        columns: (32 + side / 8).min(128),
    };
    let shape = shape::build(parameters, detail);
    // A growing pot stays where its finished form will stand.
    let camera = match look {
        Look::Wheel { finished, .. } => Camera::new(finished, &shape::build(finished, detail), size),
        Look::Glazed | Look::Lines => Camera::new(parameters, &shape, size),
    };
    let surface = |grid, handle| Projection {
        grid,
        points: camera.project(grid),
        handle,
    };
    let mut surfaces = vec![surface(&shape.body, false)];
    surfaces.extend(shape.handle.as_ref().map(|grid| surface(grid, true)));
    let glaze = Glaze::new(parameters);
    if let Look::Lines = look {
        return line_drawing::draw(&glaze, &shape, &surfaces, size, pixels);
    }
    let light = Light::new(parameters);
    let turn = if let Look::Wheel { turn, .. } = look {
        Some(turn)
    } else {
        None
    };
    let painter = Painter {
        parameters,
        shape: &shape,
        camera,
        glaze,
        light,
        size,
        turn,
    };
    let mut strip = Strip::new(size.width_px * SAMPLES, STRIP_ROWS.min(size.height_px) * SAMPLES);
    for (index, rows) in pixels.chunks_mut(STRIP_ROWS * size.width_px * 3).enumerate() {
        strip.draw(index * STRIP_ROWS * SAMPLES, &surfaces);
        for (i, pixel) in rows.chunks_exact_mut(3).enumerate() {
            let color = painter.pixel(&strip, i % size.width_px, i / size.width_px);
            pixel.copy_from_slice(&[color.x, color.y, color.z].map(|c| srgb_byte(soft_clip(c))));
        }
    }
}

/// Highlights roll off as on film: straight up to 0.7, then toward 1.
fn soft_clip(x: f32) -> f32 {
    if x <= 0.7 {
        return x;
    }
    let over = (x - 0.7) / 0.3;
    0.7 + 0.3 * over / (1.0 + over)
}

struct Painter<'a> {
    parameters: &'a PotParameters,
    shape: &'a Shape,
    camera: Camera,
    glaze: Glaze<'a>,
    light: Light,
    size: PictureSize,
    /// The wheel's angle if there is one.
    turn: Option<f32>,
}

/// The samples of a pixel that see one surface.
#[derive(Clone, Copy, Default)]
struct Group {
    count: usize,
    u: [f32; 3],
    v: [f32; 3],
}

impl Group {
    fn add(&mut self, [u, v]: [f32; 2]) {
        for (sum, x) in [(&mut self.u, u), (&mut self.v, v)] {
            let [total, min, max] = *sum;
            *sum = if self.count == 0 {
                [x, x, x]
            } else {
                [total + x, min.min(x), max.max(x)]
            };
        }
        self.count += 1;
    }
}

impl Painter<'_> {
    /// The color of a pixel of the strip, linear.
    fn pixel(&self, strip: &Strip, x: usize, y: usize) -> Vec3 {
        let row = strip.top / SAMPLES + y;
        let (px, py) = (x as f32 + 0.5, row as f32 + 0.5);
        let first = y * SAMPLES * strip.width + x * SAMPLES;
        let samples = (0..SAMPLES * SAMPLES).map(|i| first + i / SAMPLES * strip.width + i % SAMPLES);
        if samples.clone().all(|sample| strip.part[sample] == 0) {
            return self.table(px, py);
        }
        let mut groups = [Group::default(); 4];
        for sample in samples.clone() {
            groups[strip.part[sample] as usize].add(strip.place[sample]);
        }
        let share = 1.0 / (SAMPLES * SAMPLES) as f32;
        let mut sum = Vec3::default();
        if groups[0].count > 0 {
            sum += self.table(px, py) * (groups[0].count as f32 * share);
        }
        for part in 1..=HANDLE {
            let group = groups[part as usize];
            if group.count == 0 {
                continue;
            }
            let grid = self.grid(part);
            let (wide_u, wide_v) = (group.u[2] - group.u[1], group.v[2] - group.v[1]);
            let rows_per_pixel = wide_u * SAMPLES as f32 / (SAMPLES - 1) as f32;
            // Neighbors on a smooth surface are lit as one; what lies far apart on it, each for itself.
            if wide_v < 0.14 * grid.columns as f32 && wide_u < 0.12 * grid.rows as f32 {
                let n = 1.0 / group.count as f32;
                let lit = self.surface(part, group.u[0] * n, group.v[0] * n, rows_per_pixel);
                sum += lit * (group.count as f32 * share);
            } else {
                for sample in samples.clone().filter(|&sample| strip.part[sample] == part) {
                    let [u, v] = strip.place[sample];
                    sum += self.surface(part, u, v, 1.0) * share;
                }
            }
        }
        sum
    }

    fn grid(&self, part: u8) -> &Grid {
        match &self.shape.handle {
            Some(handle) if part == HANDLE => handle,
            _ => &self.shape.body,
        }
    }

    fn surface(&self, part: u8, u: f32, v: f32, rows_per_pixel: f32) -> Vec3 {
        let grid = self.grid(part);
        let at = grid.at(u, v);
        let place = place(grid, part, &at, [u, v, rows_per_pixel], self.camera.pixel());
        let material: Material = match self.turn {
            Some(turn) => self.glaze.wet_clay(&place, turn),
            None => self.glaze.at(&place),
        };
        let view = self.camera.toward_viewer(at.position);
        self.light.shade(self.shape, &at, view, material, part == INSIDE)
    }

    /// What is behind the pot at a place of the picture.
    fn table(&self, px: f32, py: f32) -> Vec3 {
        let (x, y) = (px / self.size.width_px as f32, py / self.size.height_px as f32);
        let empty = self.light.backdrop(x, y);
        let Some(place) = self.camera.on_table(px, py) else {
            return empty;
        };
        // Far back the table turns into the backdrop, which no shadow reaches.
        let near = smoothstep(3.2, 1.2, -place.z);
        let light = self.light.on_table(self.shape, place);
        match self.turn {
            Some(turn) => wheel::head(self.parameters, empty, place, turn, self.camera.pixel()) * light,
            None => empty * (1.0 + (light - 1.0) * near),
        }
    }
}

/// A place of a surface in the terms of its glaze; `grid_place` is row, column, and rows per pixel.
pub(super) fn place(grid: &Grid, part: u8, at: &Vertex, grid_place: [f32; 3], pixel: f32) -> Place {
    let [u, v, rows_per_pixel] = grid_place;
    let row = u as usize;
    let along = |row: usize| grid.vertices[row.min(grid.rows - 1) * (grid.columns + 1)].along;
    Place {
        along: at.along,
        turn: v / grid.columns as f32,
        position: at.position,
        footprint: ((along(row + 1) - along(row)).abs() * rows_per_pixel * 0.6).min(0.2),
        pixel,
        inside: part == INSIDE,
        handle: part == HANDLE,
    }
}

/// Paper white, for drawings.
pub(super) const PAPER: Vec3 = vec3(1.0, 1.0, 1.0);
