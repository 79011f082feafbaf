//! Light on glaze and table: a large soft key light, the room's light, and what each hides from the other.

use super::glaze::Material;
use super::numbers::{Vec3, cos_turns, lerp, linear_from_srgb, sin_turns, smoothstep, vec3};
use super::parameters::PotParameters;
use super::shape::{Shape, Vertex};

/// The studio.
#[derive(Debug)]
pub(super) struct Light {
    /// Toward the key light, and across it.
    key: Vec3,
    key_right: Vec3,
    key_up: Vec3,
    /// Toward the weaker light behind, on the other side.
    rim: Vec3,
    key_color: Vec3,
    sky: Vec3,
    table: Vec3,
    softness: f32,
    backdrop: Vec3,
    gradient: f32,
}

impl Light {
    pub(super) fn new(parameters: &PotParameters) -> Self {
        let p = parameters;
        let warmth = p.light_warmth;
        let (azimuth, elevation) = (p.light_azimuth + 0.25, p.light_elevation);
        let flat = cos_turns(elevation);
        // A quarter turn points to the viewer, less to the left.
        let key = vec3(
            -cos_turns(azimuth) * flat,
            sin_turns(elevation),
            sin_turns(azimuth) * flat,
        );
        let key_right = vec3(0.0, 1.0, 0.0).cross(key).normalized();
        let tone = linear_from_srgb(p.backdrop_tone.clamp(0.0, 1.0));
        let hue = vec3(1.0 + 0.16 * p.backdrop_warmth, 1.0, 1.0 - 0.18 * p.backdrop_warmth);
        let backdrop = hue * tone;
        Self {
            key,
            key_right,
            key_up: key.cross(key_right),
            rim: vec3(-key.x, 0.35, -0.75).normalized(),
            key_color: vec3(1.0 + 0.12 * warmth, 1.0, 1.0 - 0.2 * warmth) * 1.12,
            sky: vec3(0.94 - 0.06 * warmth, 0.97, 1.03 + 0.08 * warmth) * 0.38,
            table: backdrop * 0.75,
            softness: lerp(0.12, 0.4, p.light_softness),
            backdrop,
            gradient: p.backdrop_gradient,
        }
    }

    /// The color of a lit place, linear.
    pub(super) fn shade(&self, shape: &Shape, at: &Vertex, view: Vec3, material: Material, inside: bool) -> Vec3 {
        let normal = tilt(at.normal, material.slope);
        let (lit, open) = if inside {
            self.inside(shape, at.position)
        } else {
            (1.0, outside(at))
        };
        let facing = normal.dot(self.key);
        let wrap = 0.12 + 0.3 * self.softness;
        let diffuse = ((facing + wrap) / (1.0 + wrap)).max(0.0) * lit;
        let up = 0.5 + 0.5 * normal.y;
        let around = self.table.lerp(self.sky, up);
        // Light that is kept in by a pale glaze comes out colored by it.
        let albedo = material.albedo;
        let ambient = |a: f32| open / (1.0 - a * (1.0 - open));
        let ambient = vec3(ambient(albedo.x), ambient(albedo.y), ambient(albedo.z));
        let scattered = albedo.tint(self.key_color * diffuse + around.tint(ambient));
        let rim = (normal.dot(self.rim)).max(0.0) * 0.22 * open;
        let scattered = scattered + albedo.tint(self.sky) * rim;

        let cosine = normal.dot(view).clamp(0.0, 1.0);
        let grazing = 1.0 - cosine;
        let grazing2 = grazing * grazing;
        // Schlick's approximation; 4.5 % head on, as glass has it.
        let fresnel = 0.045 + 0.955 * grazing2 * grazing2 * grazing * lerp(0.25, 0.8, material.gloss);
        let mirrored = normal * (2.0 * normal.dot(view)) - view;
        let seen = self.mirrored(mirrored, material.gloss, lit) * (0.35 + 0.65 * open);
        scattered + seen * (fresnel * lerp(0.5, 1.0, material.gloss))
    }

    /// The surroundings in a direction, as blurred as the surface is rough.
    fn mirrored(&self, direction: Vec3, gloss: f32, lit: f32) -> Vec3 {
        let up = smoothstep(-0.25, 0.35, direction.y);
        let room = self.table.lerp(self.sky * lerp(0.7, 1.1, direction.y.max(0.0)), up);
        let blur = lerp(0.55, 0.05, gloss);
        let half = 0.22 + 0.5 * self.softness;
        // The same light spread over more sky.
        let spread = half * half / ((half + 0.6 * blur) * (half + 0.6 * blur));
        let window = self.window(direction, half, blur) * spread * lit;
        let rim = smoothstep(0.82 - 0.5 * blur, 0.97, direction.dot(self.rim)) * (1.0 - 0.8 * blur);
        room + self.key_color * (12.0 * window) + self.sky * (3.0 * rim)
    }

    /// How much of the square key light a mirrored ray meets.
    fn window(&self, direction: Vec3, half: f32, blur: f32) -> f32 {
        let toward = direction.dot(self.key);
        if toward <= 0.1 {
            return 0.0;
        }
        let (x, y) = (
            direction.dot(self.key_right) / toward,
            direction.dot(self.key_up) / toward,
        );
        let side = |d: f32, half: f32| smoothstep(half + blur, half - blur, d.abs());
        side(x, half * 0.8) * side(y, half * 1.15)
    }

    /// Inside the pot: how far the key light reaches a place, and how much of the room it sees.
    fn inside(&self, shape: &Shape, position: Vec3) -> (f32, f32) {
        let depth = (shape.height - position.y).max(0.0);
        let reach = depth / self.key.y;
        let (x, z) = (position.x + self.key.x * reach, position.z + self.key.z * reach);
        // A spout's wall lies beyond the lip's circle.
        let own = (position.x * position.x + position.z * position.z).sqrt();
        let outside = (x * x + z * z).sqrt() - shape.lip_radius.max(own);
        let soft = 0.03 + self.softness * 0.7 * reach;
        let lit = smoothstep(soft, -soft, outside);
        let mouth = shape.lip_radius * shape.lip_radius;
        (lit, 0.15 + 0.85 * mouth / (mouth + depth * depth))
    }

    /// The table and the backdrop without the pot, at a height in the frame (0 at the top, 1 at the bottom).
    pub(super) fn backdrop(&self, x: f32, y: f32) -> Vec3 {
        let down = smoothstep(0.0, 1.0, y);
        let pool = (x - 0.45) * (x - 0.45) + (y - 0.6) * (y - 0.6);
        let glow = 1.08 - 0.35 * pool;
        self.backdrop * (glow * lerp(1.0 - 0.75 * self.gradient, 1.0, down))
    }

    /// The share of light that the pot leaves to a place on the table.
    pub(super) fn on_table(&self, shape: &Shape, place: Vec3) -> f32 {
        let from_axis = (place.x * place.x + place.z * place.z).sqrt();
        let mut shadow: f32 = 0.0;
        let mut hidden: f32 = 0.0;
        for disc in &shape.discs {
            let reach = disc.height / self.key.y;
            let (x, z) = (place.x + self.key.x * reach, place.z + self.key.z * reach);
            let soft = 0.015 + 0.55 * self.softness * reach;
            let inner = disc.radius - (x * x + z * z).sqrt();
            let share = (disc.radius / soft).min(1.0);
            shadow = shadow.max(share * smoothstep(-soft, soft, inner));
            // A ball of the disc's size hides this much of the sky.
            let squared = from_axis * from_axis + disc.height * disc.height;
            hidden = hidden.max(disc.height * disc.radius * disc.radius / (squared * squared.sqrt()));
        }
        // The handle as a chain of rods, seen from the light.
        let mut previous: Option<Vec3> = None;
        for bead in &shape.beads {
            let to = *bead - place;
            let seen = vec3(to.dot(self.key_right), to.dot(self.key_up), to.dot(self.key));
            if let Some(from) = previous {
                let off = distance_to_rod(from, seen);
                let soft = 0.03 + 0.5 * self.softness * seen.z.max(0.0);
                let share = (0.07 / soft).min(1.0);
                shadow = shadow.max(share * smoothstep(0.035 + soft, 0.035 - soft, off));
            }
            previous = Some(seen);
        }
        let gap = (from_axis - shape.discs[0].radius).max(0.0);
        let contact = 0.5 / (1.0 + 500.0 * gap * gap) + 0.25 / (1.0 + 40.0 * gap * gap);
        let open = (1.0 - hidden.min(0.75)) * (1.0 - contact);
        0.58 * (1.0 - shadow) * (0.4 + 0.6 * open) + 0.42 * open
    }
}

/// How much of the room a place on the outside sees above the table.
fn outside(at: &Vertex) -> f32 {
    let near = 1.0 / (1.0 + 90.0 * at.position.y * at.position.y);
    let down = 0.5 - 0.5 * at.normal.y;
    1.0 - (0.75 * near + 0.25) * down * down.max(0.35)
}

/// Distance in x and y from the origin to the line between two points.
fn distance_to_rod(a: Vec3, b: Vec3) -> f32 {
    let (dx, dy) = (b.x - a.x, b.y - a.y);
    let t = (-(a.x * dx + a.y * dy) / (dx * dx + dy * dy).max(1e-12)).clamp(0.0, 1.0);
    let (x, y) = (a.x + t * dx, a.y + t * dy);
    (x * x + y * y).sqrt()
}

/// Leans a normal up or down the wall.
fn tilt(normal: Vec3, slope: f32) -> Vec3 {
    if slope == 0.0 {
        return normal;
    }
    (normal + vec3(0.0, slope, 0.0)).normalized()
}
