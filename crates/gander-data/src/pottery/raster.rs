//! Which surface each sample of the picture sees.
//!
//! A picture is drawn in strips of rows, so that its memory is bounded by its width.

use super::numbers::first_sample;
use super::shape::{Grid, LIP_ROWS};

/// What a sample sees, from 1 up; 0 is the backdrop.
pub(super) const OUTSIDE: u8 = 1;
pub(super) const INSIDE: u8 = 2;
pub(super) const HANDLE: u8 = 3;

/// A projected point: samples to the right, samples down, distance.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Projected {
    pub(super) x: f32,
    pub(super) y: f32,
    pub(super) z: f32,
}

/// A grid's points in the picture's plane, in the order of [`Grid::vertices`].
pub(super) struct Projection<'a> {
    pub(super) grid: &'a Grid,
    pub(super) points: Vec<Projected>,
    pub(super) handle: bool,
}

/// The samples of a strip.
pub(super) struct Strip {
    pub(super) width: usize,
    /// The first sample row.
    pub(super) top: usize,
    pub(super) height: usize,
    pub(super) part: Vec<u8>,
    pub(super) depth: Vec<f32>,
    /// Place on the surface's grid: row and column.
    pub(super) place: Vec<[f32; 2]>,
}

#[derive(Clone, Copy)]
struct Corner {
    at: Projected,
    u: f32,
    v: f32,
}

impl Strip {
    pub(super) fn new(width: usize, height: usize) -> Self {
        let samples = width * height;
        Self {
            width,
            top: 0,
            height,
            part: vec![0; samples],
            depth: vec![f32::INFINITY; samples],
            place: vec![[0.0; 2]; samples],
        }
    }

    /// Draws all surfaces into the rows from `top` on.
    pub(super) fn draw(&mut self, top: usize, surfaces: &[Projection<'_>]) {
        self.top = top;
        self.part.fill(0);
        self.depth.fill(f32::INFINITY);
        for surface in surfaces {
            self.draw_surface(surface);
        }
    }

    fn draw_surface(&mut self, surface: &Projection<'_>) {
        let grid = surface.grid;
        let stride = grid.columns + 1;
        let mouth = Mouth::new(surface);
        let (low, high) = (self.top as f32, (self.top + self.height) as f32);
        for row in 0..grid.rows - 1 {
            let part = match row {
                _ if surface.handle => HANDLE,
                row if row >= grid.inside_from => INSIDE,
                _ => OUTSIDE,
            };
            for column in 0..grid.columns {
                let corner = |dr: usize, dc: usize| Corner {
                    at: surface.points[(row + dr) * stride + column + dc],
                    u: (row + dr) as f32,
                    v: (column + dc) as f32,
                };
                let (a, b, c, d) = (corner(0, 0), corner(0, 1), corner(1, 1), corner(1, 0));
                let min = a.at.y.min(b.at.y).min(c.at.y.min(d.at.y));
                let max = a.at.y.max(b.at.y).max(c.at.y.max(d.at.y));
                let left = a.at.x.min(b.at.x).min(c.at.x.min(d.at.x));
                let right = a.at.x.max(b.at.x).max(c.at.x.max(d.at.x));
                let hidden = min > mouth.bottom || right < mouth.left || left > mouth.right;
                if max < low || min > high || (part == INSIDE && hidden) {
                    continue;
                }
                self.triangle(a, b, c, part);
                self.triangle(a, c, d, part);
            }
        }
    }

    /// Fills the samples whose centers lie in a triangle that faces the viewer.
    fn triangle(&mut self, a: Corner, b: Corner, c: Corner, part: u8) {
        let (abx, aby) = (b.at.x - a.at.x, b.at.y - a.at.y);
        let (acx, acy) = (c.at.x - a.at.x, c.at.y - a.at.y);
        let area = abx * acy - aby * acx;
        if area <= 1e-9 {
            return;
        }
        let scale = 1.0 / area;
        let slopes = |ab: f32, ac: f32| ((ab * acy - ac * aby) * scale, (ac * abx - ab * acx) * scale);
        let (zx, zy) = slopes(b.at.z - a.at.z, c.at.z - a.at.z);
        let (ux, uy) = slopes(b.u - a.u, c.u - a.u);
        let (vx, vy) = slopes(b.v - a.v, c.v - a.v);
        let min = a.at.y.min(b.at.y).min(c.at.y);
        let max = a.at.y.max(b.at.y).max(c.at.y);
        let first = first_sample(min).max(self.top);
        let end = first_sample(max).min(self.top + self.height);
        if first >= end {
            return;
        }
        let edges = [Edge::new(a.at, b.at), Edge::new(b.at, c.at), Edge::new(c.at, a.at)];
        for row in first..end {
            let y = row as f32 + 0.5;
            let (mut left, mut right) = (f32::INFINITY, f32::NEG_INFINITY);
            for edge in &edges {
                if edge.low.y <= y && y < edge.high_y {
                    let x = edge.low.x + (y - edge.low.y) * edge.slope;
                    left = left.min(x);
                    right = right.max(x);
                }
            }
            let (from, to) = (first_sample(left), first_sample(right).min(self.width));
            if from >= to {
                continue;
            }
            let dy = y - a.at.y;
            let (z0, u0, v0) = (a.at.z + zy * dy, a.u + uy * dy, a.v + vy * dy);
            let base = (row - self.top) * self.width;
            let span = base + from..base + to;
            let samples = self.depth[span.clone()]
                .iter_mut()
                .zip(&mut self.part[span.clone()])
                .zip(&mut self.place[span]);
            for (i, ((depth, seen), place)) in samples.enumerate() {
                let dx = (from + i) as f32 + 0.5 - a.at.x;
                let z = z0 + zx * dx;
                if z < *depth {
                    *depth = z;
                    *seen = part;
                    *place = [u0 + ux * dx, v0 + vx * dx];
                }
            }
        }
    }
}

/// A side of a triangle, always from its upper end: both triangles of a side find the same places on it, and no gap
/// opens between them.
struct Edge {
    low: Projected,
    high_y: f32,
    slope: f32,
}

impl Edge {
    fn new(a: Projected, b: Projected) -> Self {
        let (low, high) = if a.y < b.y { (a, b) } else { (b, a) };
        Self {
            low,
            high_y: high.y,
            slope: (high.x - low.x) / (high.y - low.y),
        }
    }
}

/// The rectangle of the picture that the mouth's rim takes up; the inside shows nowhere else.
struct Mouth {
    left: f32,
    right: f32,
    bottom: f32,
}

impl Mouth {
    fn new(surface: &Projection<'_>) -> Self {
        let stride = surface.grid.columns + 1;
        let mut mouth = Self {
            left: f32::INFINITY,
            right: f32::NEG_INFINITY,
            bottom: f32::NEG_INFINITY,
        };
        let from = surface.grid.inside_from.saturating_sub(LIP_ROWS) * stride;
        let to = (surface.grid.inside_from + 1) * stride;
        for point in &surface.points[from.min(surface.points.len())..to.min(surface.points.len())] {
            mouth.left = mouth.left.min(point.x);
            mouth.right = mouth.right.max(point.x);
            mouth.bottom = mouth.bottom.max(point.y);
        }
        mouth
    }
}
