//! Where the viewer stands, and where a point of the pot falls in the picture.

use super::numbers::{Vec3, cos_turns, sin_turns, vec3};
use super::parameters::PotParameters;
use super::raster::Projected;
use super::render::{PictureSize, SAMPLES};
use super::shape::{Grid, Shape};

/// Distance of the viewer, in units of a pot's size: a lens of about 100 mm.
const DISTANCE: f32 = 4.5;

/// A camera that looks down at the middle of a pot.
#[derive(Debug)]
pub(super) struct Camera {
    center: Vec3,
    up: Vec3,
    /// From the pot to the viewer.
    back: Vec3,
    /// Pixels per unit at the pot's distance, and the picture's middle.
    scale: f32,
    middle: (f32, f32),
}

impl Camera {
    /// Frames a pot: it fills the stated part of the picture in the tighter direction.
    pub(super) fn new(parameters: &PotParameters, shape: &Shape, size: PictureSize) -> Self {
        let (cos, sin) = (cos_turns(parameters.camera_tilt), sin_turns(parameters.camera_tilt));
        let mut camera = Self {
            center: vec3(0.0, 0.5 * shape.height, 0.0),
            up: vec3(0.0, cos, -sin),
            back: vec3(0.0, sin, cos),
            scale: 1.0,
            middle: (0.0, 0.0),
        };
        let (mut low, mut high) = ((f32::INFINITY, f32::INFINITY), (f32::NEG_INFINITY, f32::NEG_INFINITY));
        for grid in std::iter::once(&shape.body).chain(&shape.handle) {
            for vertex in &grid.vertices {
                let (x, y, _) = camera.place(vertex.position);
                low = (low.0.min(x), low.1.min(y));
                high = (high.0.max(x), high.1.max(y));
            }
        }
        let (width, height) = (size.width_px as f32, size.height_px as f32);
        let fit = (width / (high.0 - low.0)).min(height / (high.1 - low.1));
        camera.scale = fit * parameters.scale;
        let shift =
            |low: f32, high: f32, length: f32, offset: f32| (0.5 + offset) * length - 0.5 * (low + high) * camera.scale;
        camera.middle = (
            shift(low.0, high.0, width, parameters.offset_x),
            shift(low.1, high.1, height, parameters.offset_y),
        );
        camera
    }

    /// Right, down and distance of a point, before scale and shift.
    fn place(&self, point: Vec3) -> (f32, f32, f32) {
        let from = point - self.center;
        let depth = DISTANCE - from.dot(self.back);
        let near = DISTANCE / depth;
        (from.x * near, -from.dot(self.up) * near, depth)
    }

    /// A grid's points in samples.
    pub(super) fn project(&self, grid: &Grid) -> Vec<Projected> {
        let samples = SAMPLES as f32;
        let project = |point: Vec3| {
            let (x, y, z) = self.place(point);
            Projected {
                x: (x * self.scale + self.middle.0) * samples,
                y: (y * self.scale + self.middle.1) * samples,
                z,
            }
        };
        grid.vertices.iter().map(|vertex| project(vertex.position)).collect()
    }

    /// The direction from a point to the viewer.
    pub(super) fn toward_viewer(&self, point: Vec3) -> Vec3 {
        (self.center + self.back * DISTANCE - point).normalized()
    }

    /// A pixel's side on the pot.
    pub(super) fn pixel(&self) -> f32 {
        1.0 / self.scale
    }

    /// The place on the table behind a point of the picture (in pixels); `None` above its end.
    pub(super) fn on_table(&self, x: f32, y: f32) -> Option<Vec3> {
        let right = (x - self.middle.0) / self.scale / DISTANCE;
        let down = (y - self.middle.1) / self.scale / DISTANCE;
        let ray = vec3(right, 0.0, 0.0) - self.up * down - self.back;
        let eye = self.center + self.back * DISTANCE;
        (ray.y < -1e-3).then(|| eye + ray * (eye.y / -ray.y))
    }
}
