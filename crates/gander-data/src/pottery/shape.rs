//! From parameters to surfaces: the thrown body as a surface of revolution, the handle as a bent strap.

use super::numbers::{Vec3, cos_turns, floor, lerp, sin_turns, smoothstep, vec3};
use super::parameters::{ControlPoint, PotParameters};

/// A point of a surface.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Vertex {
    pub(super) position: Vec3,
    /// Outward, of length 1.
    pub(super) normal: Vec3,
    /// Position on the wall: 0 at the foot, 1 at the lip, below 0 on the foot ring and on the inside's floor.
    pub(super) along: f32,
}

/// A surface as a grid of points; the last column repeats the first.
#[derive(Debug)]
pub(super) struct Grid {
    pub(super) rows: usize,
    pub(super) columns: usize,
    /// `[rows, columns + 1]`
    pub(super) vertices: Vec<Vertex>,
    /// The first row that belongs to the inside.
    pub(super) inside_from: usize,
}

/// Points that a grid takes along and around.
#[derive(Clone, Copy, Debug)]
pub(super) struct Detail {
    pub(super) rows: usize,
    pub(super) columns: usize,
}

/// A pot ready to be drawn.
#[derive(Debug)]
pub(super) struct Shape {
    pub(super) body: Grid,
    pub(super) handle: Option<Grid>,
    /// Of the lip's center line.
    pub(super) lip_radius: f32,
    pub(super) height: f32,
    /// Radius at evenly spaced heights, for shadows.
    pub(super) discs: [Disc; DISCS],
    /// Points on the handle's center line, for shadows.
    pub(super) beads: Vec<Vec3>,
}

/// A slice of the body that blocks light.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Disc {
    pub(super) radius: f32,
    pub(super) height: f32,
}

/// Slices that stand for the body when it throws its shadow.
const DISCS: usize = 12;
/// Rows of the foot ring and of the rounded lip.
const FOOT_ROWS: usize = 3;
pub(super) const LIP_ROWS: usize = 7;

/// Builds the pot.
pub(super) fn build(parameters: &PotParameters, detail: Detail) -> Shape {
    let outline = outline(parameters, detail.rows);
    let body = revolve(parameters, &outline, detail.columns);
    let lip = outline.wall[outline.wall.len() - 1];
    let height = lip.height;
    let mut discs = [Disc::default(); DISCS];
    for (i, disc) in discs.iter_mut().enumerate() {
        let at = height * (i as f32 + 0.5) / DISCS as f32;
        *disc = Disc {
            radius: outline.radius_at(at),
            height: at,
        };
    }
    let path = (parameters.handle_reach > 0.0).then(|| handle_path(parameters, &outline));
    let beads = path.as_ref().map_or_else(Vec::new, |path| {
        (1..=10)
            .map(|i| in_plane(path.at(i as f32 / 11.0), parameters.handle_azimuth))
            .collect()
    });
    let handle = path.map(|path| bend(parameters, &path, detail));
    Shape {
        body,
        handle,
        lip_radius: lip.radius,
        height,
        discs,
        beads,
    }
}

/// A point of the profile with its place on the wall.
#[derive(Clone, Copy, Debug)]
struct ProfilePoint {
    radius: f32,
    height: f32,
    along: f32,
}

#[derive(Debug)]
struct Outline {
    /// The outer wall from the foot's top to the lip.
    wall: Vec<ProfilePoint>,
    /// The whole closed line: foot, wall, lip, inside, floor.
    line: Vec<ProfilePoint>,
    inside_from: usize,
}

impl Outline {
    /// The outer radius at a height.
    fn radius_at(&self, height: f32) -> f32 {
        let above = self
            .wall
            .iter()
            .position(|p| p.height >= height)
            .unwrap_or(self.wall.len() - 1);
        let (low, high) = (self.wall[above.saturating_sub(1)], self.wall[above]);
        let span = high.height - low.height;
        let t = if span > 1e-6 {
            ((height - low.height) / span).clamp(0.0, 1.0)
        } else {
            1.0
        };
        lerp(low.radius, high.radius, t)
    }
}

/// The clamped uniform cubic B-spline of the control points: smooth like a thrown wall, and never outside of them.
fn spline(points: &[ControlPoint; 6], t: f32) -> ControlPoint {
    let last = points.len() as i32 - 1;
    // Ends doubled twice: the curve starts and ends in its first and last points.
    let spans = last + 2;
    let x = (t * spans as f32).clamp(0.0, spans as f32 - 1e-3);
    let span = floor(x);
    let f = x - span;
    let g = 1.0 - f;
    let weights = [
        g * g * g,
        3.0 * f * f * f - 6.0 * f * f + 4.0,
        3.0 * g * g * g - 6.0 * g * g + 4.0,
        f * f * f,
    ]
    .map(|w| w / 6.0);
    let mut sum = ControlPoint {
        radius: 0.0,
        height: 0.0,
    };
    for (i, weight) in weights.into_iter().enumerate() {
        let point = points[(span as i32 + i as i32 - 2).clamp(0, last) as usize];
        sum.radius += weight * point.radius;
        sum.height += weight * point.height;
    }
    sum
}

fn outline(parameters: &PotParameters, rows: usize) -> Outline {
    let mut wall: Vec<ProfilePoint> = Vec::with_capacity(rows);
    for row in 0..rows {
        let t = row as f32 / (rows - 1) as f32;
        let point = spline(&parameters.profile, t);
        wall.push(ProfilePoint {
            radius: point.radius,
            height: point.height + parameters.foot_height,
            along: 0.0,
        });
    }
    measure(&mut wall);
    for point in &mut wall {
        let roll = smoothstep(0.88, 1.0, point.along);
        point.radius += parameters.lip_roll * roll * roll;
    }
    let (inner, lip_center, lip_half, lip_tangent) = inner_wall(parameters, &wall);

    let foot = wall[0];
    let mut line = Vec::with_capacity(rows * 3);
    for row in 0..FOOT_ROWS {
        let t = row as f32 / FOOT_ROWS as f32;
        let radius = foot.radius + parameters.foot_flare * (1.0 - t) - (0.3 * foot.height).min(0.006);
        line.push(ProfilePoint {
            radius,
            height: foot.height * t,
            along: -0.05 * (1.0 - t) - 0.001,
        });
    }
    line.extend_from_slice(&wall);
    let across = (-lip_tangent.1, lip_tangent.0);
    for row in 1..LIP_ROWS {
        let angle = 0.5 * row as f32 / LIP_ROWS as f32;
        let (up, out) = (sin_turns(angle) * lip_half, -cos_turns(angle) * lip_half);
        line.push(ProfilePoint {
            radius: lip_center.0 + lip_tangent.0 * up + across.0 * out,
            height: lip_center.1 + lip_tangent.1 * up + across.1 * out,
            along: 1.0,
        });
    }
    // The lip counts as outside.
    let inside_from = line.len();
    line.extend_from_slice(&inner);
    let edge = inner[inner.len() - 1];
    let floor_rows = (rows / 4).max(6);
    for row in 1..=floor_rows {
        let t = row as f32 / floor_rows as f32;
        let radius = edge.radius * (1.0 - t);
        let sink = 0.25 * smoothstep(0.0, 0.6, t) * (edge.height - 0.5 * foot.height).max(0.0);
        line.push(ProfilePoint {
            radius,
            height: edge.height - sink,
            along: edge.along - t,
        });
    }
    Outline {
        wall,
        line,
        inside_from,
    }
}

/// Fills in `along` by arc length.
fn measure(wall: &mut [ProfilePoint]) {
    let mut length = 0.0;
    for i in 1..wall.len() {
        let (dr, dh) = (wall[i].radius - wall[i - 1].radius, wall[i].height - wall[i - 1].height);
        length += (dr * dr + dh * dh).sqrt();
        wall[i].along = length;
    }
    for point in wall {
        point.along /= length;
    }
}

type Pair = (f32, f32);

/// The inner wall from lip to floor, and the lip's center, half thickness and direction.
fn inner_wall(parameters: &PotParameters, wall: &[ProfilePoint]) -> (Vec<ProfilePoint>, Pair, f32, Pair) {
    let last = wall.len() - 1;
    let tangent = |i: usize| {
        let (a, b) = (wall[i.saturating_sub(1)], wall[(i + 1).min(last)]);
        let (dr, dh) = (b.radius - a.radius, b.height - a.height);
        let length = (dr * dr + dh * dh).sqrt().max(1e-6);
        (dr / length, dh / length)
    };
    let mut inner = Vec::with_capacity(wall.len());
    for i in (0..=last).rev() {
        let (tr, th) = tangent(i);
        let point = wall[i];
        // Thicker toward the foot, as thrown.
        let thickness = parameters.wall_thickness * lerp(1.5, 1.0, point.along);
        inner.push(ProfilePoint {
            radius: (point.radius - th * thickness).max(0.012),
            height: point.height + tr * thickness,
            along: point.along,
        });
    }
    let (outer, inward) = (wall[last], inner[0]);
    let center = (
        0.5 * (outer.radius + inward.radius),
        0.5 * (outer.height + inward.height),
    );
    (inner, center, 0.5 * parameters.wall_thickness, tangent(last))
}

/// Turns the outline around the axis, with the spout and the hand's unevenness.
fn revolve(parameters: &PotParameters, outline: &Outline, columns: usize) -> Grid {
    let rows = outline.line.len();
    let height = outline.wall[outline.wall.len() - 1].height;
    let turns: Vec<(f32, f32, f32)> = (0..=columns)
        .map(|column| {
            // The seam is at the back.
            let turn = (column % columns) as f32 / columns as f32 + 0.75;
            (turn, cos_turns(turn), sin_turns(turn))
        })
        .collect();
    let phase = (parameters.pattern_seed & 1023) as f32 / 1024.0;
    let mut vertices = Vec::with_capacity(rows * (columns + 1));
    for point in &outline.line {
        let up = point.height / height;
        let pull = smoothstep(0.68, 1.0, up);
        for &(turn, cos, sin) in &turns {
            let mut radius = point.radius * (1.0 + parameters.wobble * sin_turns(2.0 * turn + phase + 0.4 * up));
            let mut y = point.height;
            if parameters.spout > 0.0 && pull > 0.0 {
                let bump = 0.5 - 0.5 * cos_turns(turn - parameters.handle_azimuth);
                let bump4 = bump * bump * bump * bump;
                let bump12 = bump4 * bump4 * bump4;
                // Pulled out, raised, and pressed in on both sides.
                radius += pull * (parameters.spout * bump12 - 0.25 * parameters.spout * bump4 * (1.0 - bump12));
                y += pull * 0.22 * parameters.spout * bump4;
            }
            vertices.push(Vertex {
                position: vec3(radius * cos, y, radius * sin),
                normal: Vec3::default(),
                along: point.along,
            });
        }
    }
    let mut grid = Grid {
        rows,
        columns,
        vertices,
        inside_from: outline.inside_from,
    };
    grid.find_normals();
    grid
}

/// A cubic Bezier curve in the plane of the handle: (distance from the axis, height).
struct Path([Pair; 4]);

impl Path {
    fn at(&self, t: f32) -> Pair {
        let s = 1.0 - t;
        let weights = [s * s * s, 3.0 * s * s * t, 3.0 * s * t * t, t * t * t];
        let mut sum = (0.0, 0.0);
        for (weight, point) in weights.into_iter().zip(self.0) {
            sum.0 += weight * point.0;
            sum.1 += weight * point.1;
        }
        sum
    }
}

fn handle_path(parameters: &PotParameters, outline: &Outline) -> Path {
    let height = outline.wall[outline.wall.len() - 1].height;
    let (top, bottom) = (parameters.handle_top * height, parameters.handle_bottom * height);
    let inset = 0.5 * parameters.wall_thickness;
    let (r_top, r_bottom) = (outline.radius_at(top), outline.radius_at(bottom));
    let reach = r_top.max(r_bottom) + parameters.handle_reach * 4.0 / 3.0;
    Path([
        (r_top - inset, top),
        (reach, top + parameters.handle_lift * 4.0 / 3.0),
        (reach, bottom + 0.15 * (top - bottom)),
        (r_bottom - inset, bottom),
    ])
}

/// A point of the handle's plane in space.
fn in_plane((distance, height): Pair, azimuth: f32) -> Vec3 {
    vec3(distance * cos_turns(azimuth), height, distance * sin_turns(azimuth))
}

/// Sweeps the strap's oval section along the path.
fn bend(parameters: &PotParameters, path: &Path, detail: Detail) -> Grid {
    let (rows, columns) = (detail.rows * 3 / 4, (detail.columns / 4).max(8));
    let azimuth = parameters.handle_azimuth;
    let sideways = vec3(-sin_turns(azimuth), 0.0, cos_turns(azimuth));
    let mut vertices = Vec::with_capacity(rows * (columns + 1));
    for row in 0..rows {
        let t = row as f32 / (rows - 1) as f32;
        let (before, after) = (path.at((t - 0.01).max(0.0)), path.at((t + 0.01).min(1.0)));
        let forward = (in_plane(after, azimuth) - in_plane(before, azimuth)).normalized();
        let normal = forward.cross(sideways).normalized();
        // Both ends spread where they are pressed to the wall.
        let end = (2.0 * t - 1.0) * (2.0 * t - 1.0);
        let spread = 1.0 + 0.7 * end * end * end * end;
        let half = parameters.handle_thickness * spread;
        for column in 0..=columns {
            let turn = (column % columns) as f32 / columns as f32;
            let offset =
                normal * (half * cos_turns(turn)) + sideways * (-half * parameters.handle_width * sin_turns(turn));
            vertices.push(Vertex {
                position: in_plane(path.at(t), azimuth) + offset,
                normal: Vec3::default(),
                along: lerp(parameters.handle_top, parameters.handle_bottom, t),
            });
        }
    }
    let mut grid = Grid {
        rows,
        columns,
        vertices,
        inside_from: rows,
    };
    grid.find_normals();
    grid
}

impl Grid {
    /// Normals from the differences of neighbors.
    fn find_normals(&mut self) {
        let stride = self.columns + 1;
        for row in 0..self.rows {
            let (below, above) = (row.saturating_sub(1) * stride, (row + 1).min(self.rows - 1) * stride);
            for column in 0..self.columns {
                let at = row * stride;
                let (left, right) = ((column + self.columns - 1) % self.columns, (column + 1) % self.columns);
                let du = self.vertices[above + column].position - self.vertices[below + column].position;
                let dv = self.vertices[at + right].position - self.vertices[at + left].position;
                self.vertices[at + column].normal = du.cross(dv).normalized();
            }
            self.vertices[row * stride + self.columns].normal = self.vertices[row * stride].normal;
        }
    }

    /// The surface between its points; `u` counts rows, `v` columns.
    pub(super) fn at(&self, u: f32, v: f32) -> Vertex {
        let row = (u as usize).min(self.rows - 2);
        let column = (v as usize).min(self.columns - 1);
        let (fu, fv) = (u - row as f32, v - column as f32);
        let start = row * (self.columns + 1) + column;
        let (a, b) = (&self.vertices[start], &self.vertices[start + 1]);
        let next = start + self.columns + 1;
        let (c, d) = (&self.vertices[next], &self.vertices[next + 1]);
        Vertex {
            position: a
                .position
                .lerp(b.position, fv)
                .lerp(c.position.lerp(d.position, fv), fu),
            normal: a
                .normal
                .lerp(b.normal, fv)
                .lerp(c.normal.lerp(d.normal, fv), fu)
                .normalized(),
            along: lerp(lerp(a.along, b.along, fv), lerp(c.along, d.along, fv), fu),
        }
    }
}
