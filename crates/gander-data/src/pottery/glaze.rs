//! What a place on the pot is made of: its color, its shine, and the small unevenness of its surface.

use super::numbers::{Vec3, color, floor, lattice, lerp, noise, sin_turns, smoothstep, unit, vec3};
use super::palette;
use super::parameters::{PotClass, PotParameters};
use super::render::GlazeStyle;

/// The material at a place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Material {
    /// Share of light that is scattered back, linear RGB.
    pub(super) albedo: Vec3,
    /// 0 matt, 1 like glass.
    pub(super) gloss: f32,
    /// Slope of the surface along the wall, from finger marks.
    pub(super) slope: f32,
}

/// A place on the wall.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    /// As in [`super::shape::Vertex::along`].
    pub(super) along: f32,
    /// Angle around the axis, in turns from the back.
    pub(super) turn: f32,
    pub(super) position: Vec3,
    /// The part of `along` that one pixel covers.
    pub(super) footprint: f32,
    /// The side of a pixel on the pot.
    pub(super) pixel: f32,
    pub(super) inside: bool,
    pub(super) handle: bool,
}

/// The colors of a pot, ready for use.
#[derive(Debug)]
pub(super) struct Glaze<'a> {
    parameters: &'a PotParameters,
    base: Vec3,
    second: Vec3,
    band: Vec3,
    clay: Vec3,
    /// Length of the wall from foot to lip, and around a pot of average girth.
    wall: f32,
    girth: f32,
}

impl<'a> Glaze<'a> {
    pub(super) fn new(parameters: &'a PotParameters) -> Self {
        let mut wall = 0.0;
        for pair in parameters.profile.windows(2) {
            let (dr, dh) = (pair[1].radius - pair[0].radius, pair[1].height - pair[0].height);
            wall += (dr * dr + dh * dh).sqrt();
        }
        let radius = parameters.profile.iter().map(|point| point.radius).sum::<f32>() / parameters.profile.len() as f32;
        Self {
            wall,
            girth: std::f32::consts::TAU * radius,
            parameters,
            base: color(parameters.base_color),
            second: color(parameters.second_color),
            band: color(parameters.band_color),
            clay: color(parameters.clay_color),
        }
    }

    /// The material at a place of the glazed pot.
    pub(super) fn at(&self, place: &Place) -> Material {
        let p = self.parameters;
        let soft = place.footprint.max(0.006);
        let dip = self.dip(place, soft);
        let mut albedo = if place.inside {
            self.base.lerp(self.second, p.liner)
        } else {
            self.base
        };
        albedo = albedo.lerp(self.second, dip.cover);
        albedo = albedo.lerp(self.band, 0.92 * self.bands(place, soft));
        albedo = self.cloud(albedo, place) * (1.0 - 0.22 * dip.pool);
        albedo = albedo.lerp(vec3(0.035, 0.018, 0.01), self.specks(place));
        // A glaze runs thin over the lip.
        let rim = smoothstep(0.955, 0.995, place.along) * p.rim_break;
        let broken = self.clay.lerp(albedo, 0.35);
        albedo = albedo.lerp(broken, if place.handle { 0.0 } else { rim * 0.75 });
        let bare = self.bare(place, soft);
        Material {
            albedo: albedo.lerp(self.clay, bare),
            gloss: lerp(p.gloss, 0.06, bare),
            slope: self.finger_marks(place) * lerp(1.0, 1.6, bare),
        }
    }

    /// Wet clay on the wheel, its spiral turned.
    pub(super) fn wet_clay(&self, place: &Place, turn: f32) -> Material {
        let spiral = sin_turns(place.position.y * 26.0 + place.turn + turn);
        let fade = 1.0 / (1.0 + 900.0 * place.pixel * place.pixel);
        let cloud = noise(
            place.turn * 6.0 + turn * 6.0,
            place.position.y * 9.0,
            6,
            self.parameters.pattern_seed,
        );
        let albedo = self.clay * (0.5 * (1.0 + 0.12 * cloud + 0.05 * spiral * fade));
        Material {
            albedo,
            gloss: 0.6,
            slope: 0.09 * spiral * fade,
        }
    }

    /// A small number that changes where one glaze meets another, for line drawings.
    pub(super) fn region(&self, place: &Place) -> u8 {
        let dip = self.dip(place, 1e-4).cover > 0.5;
        let band = self.bands(place, 1e-4) > 0.5;
        let bare = self.bare(place, 1e-4) > 0.5;
        u8::from(dip) | u8::from(band) << 1 | u8::from(bare) << 2
    }

    /// The second glaze, dipped from above, with runs at its lower edge.
    fn dip(&self, place: &Place, soft: f32) -> Dip {
        let p = self.parameters;
        if place.handle {
            return Dip {
                cover: smoothstep(p.dip - 0.02, p.dip + 0.02, place.along),
                pool: 0.0,
            };
        }
        let (cell, within) = self.run_at(place.turn);
        // Inside, runs are shorter; from a glaze that covers nothing, none come.
        let length = p.drip_length * if place.inside { 0.35 } else { 1.0 } * smoothstep(1.0, 0.93, p.dip);
        let run = (1.0 - within * within) * cell * cell * length;
        let sway = 0.02 * noise(place.turn * 5.0, 0.5, 5, p.pattern_seed ^ 0x51);
        let edge = p.dip - run + sway;
        let above = place.along - edge;
        let cover = smoothstep(-soft, soft, above);
        // Glaze gathers at the edge of what ran.
        Dip {
            cover,
            pool: cover * smoothstep(0.07, 0.0, above),
        }
    }

    /// The run at an angle: its length in 0..1, and where across it in −1..1.
    fn run_at(&self, turn: f32) -> (f32, f32) {
        let x = turn * RUNS as f32;
        let cell = floor(x);
        let length = unit(lattice((cell as i32).rem_euclid(RUNS), 7, self.parameters.pattern_seed));
        (length, 2.0 * (x - cell) - 1.0)
    }

    /// How far bands cover a place.
    fn bands(&self, place: &Place, soft: f32) -> f32 {
        let p = self.parameters;
        let open = matches!(p.class, PotClass::Plate | PotClass::Bowl);
        if p.band_count <= 0.0 || place.handle || (place.inside && !open) {
            return 0.0;
        }
        let shift = (p.pattern_seed >> 8 & 255) as f32 / 256.0;
        let wave = 0.6 * sin_turns(place.turn * 3.0 + shift) + 0.4 * sin_turns(place.turn * 8.0 - shift);
        let along = place.along + p.band_waviness * wave;
        let mut cover: f32 = 0.0;
        for band in 0..p.band_count.ceil() as usize {
            let strength = (p.band_count - band as f32).min(1.0);
            let distance = (along - p.band_position - band as f32 * p.band_spacing).abs();
            // The lowest is the broadest.
            let half = 0.5 * p.band_width * if band == 0 { 1.5 } else { 1.0 };
            let share = (2.0 * half / (2.0 * soft)).min(1.0);
            cover = cover.max(strength * share * smoothstep(half + soft, half - soft, distance));
        }
        cover
    }

    /// How far a place is bare clay.
    fn bare(&self, place: &Place, soft: f32) -> f32 {
        if place.inside || place.handle {
            return 0.0;
        }
        let p = self.parameters;
        let wave = 0.012 * noise(place.turn * 7.0, 2.5, 7, p.pattern_seed ^ 0x77);
        let line = (p.glaze_line + wave).max(-0.004);
        smoothstep(line + 0.5 * soft, line - 0.5 * soft, place.along)
    }

    /// Clouds in the glaze: thicker is deeper.
    fn cloud(&self, albedo: Vec3, place: &Place) -> Vec3 {
        let p = self.parameters;
        if p.mottling <= 0.0 {
            return albedo;
        }
        let (x, y, period) = self.texture(place, 0.16);
        let (x2, y2, period2) = self.texture(place, 0.05);
        let fine = 1.0 / (1.0 + 600.0 * place.pixel * place.pixel);
        let cloud = 0.7 * noise(x, y, period, p.pattern_seed ^ 0xA1)
            + 0.5 * fine * noise(x2, y2, period2, p.pattern_seed ^ 0xA2);
        let shift = p.mottling * 0.26 * cloud;
        // Darker places are also more colorful.
        let deep = albedo.tint(albedo) * (1.0 / albedo.luminance().max(0.02));
        albedo.lerp(deep, (0.25 * shift).clamp(-0.2, 0.2)) * (1.0 - shift)
    }

    /// How far an iron speck covers a place.
    fn specks(&self, place: &Place) -> f32 {
        let p = self.parameters;
        if p.speckle_density <= 0.0 {
            return 0.0;
        }
        let cell_size = 0.034;
        let (x, y, period) = self.texture(place, cell_size);
        let (cx, cy) = (floor(x), floor(y));
        let hash = lattice((cx as i32).rem_euclid(period), cy as i32, p.pattern_seed ^ 0x5EC);
        if unit(hash) > 0.55 * p.speckle_density {
            return 0.0;
        }
        let hash2 = lattice(hash as i32, 11, p.pattern_seed);
        let radius = lerp(0.06, 0.24, p.speckle_size * unit(hash2));
        let at = |bits: u32| lerp(0.25, 0.75, (bits & 255) as f32 / 255.0);
        let (dx, dy) = (x - cx - at(hash2), y - cy - at(hash2 >> 8));
        let distance = (dx * dx + dy * dy).sqrt();
        let soft = (0.5 * place.pixel / cell_size).max(0.04);
        let share = (radius / soft).min(1.0);
        0.8 * share * share * smoothstep(radius + soft, radius - soft, distance)
    }

    /// Coordinates for a texture of cells of this size, and the period of the first.
    fn texture(&self, place: &Place, cell: f32) -> (f32, f32, i32) {
        let floor_seen = place.inside && (place.along < 0.0 || self.parameters.class == PotClass::Plate);
        if floor_seen || place.handle {
            // Seen from above, the plane of the floor is the better map.
            let Vec3 { x, y, z } = place.position;
            return (
                (x + 8.0) / cell,
                (z + 8.0 + if place.handle { y } else { 0.0 }) / cell,
                i32::MAX,
            );
        }
        let around = floor(self.girth / cell + 0.5).max(3.0);
        let inner = if place.inside { 40.0 } else { 0.0 };
        (
            place.turn * around,
            place.along * self.wall / cell + inner,
            around as i32,
        )
    }

    fn finger_marks(&self, place: &Place) -> f32 {
        if place.handle {
            return 0.0;
        }
        let p = self.parameters;
        let fade = 1.0 / (1.0 + 500.0 * place.pixel * place.pixel);
        let wander = 0.3 * noise(place.turn * 4.0, place.along * 5.0, 4, p.pattern_seed ^ 0xF1);
        0.11 * p.throwing_rings * fade * sin_turns(place.along * 15.0 + 0.15 * place.turn + wander)
    }
}

/// Lobes in the lower edge of a dipped glaze.
const RUNS: i32 = 11;

struct Dip {
    cover: f32,
    /// Extra thickness.
    pool: f32,
}

/// The same pot in a glazing style: shape, light and layout stay, glazes change.
pub(super) fn restyle(parameters: &PotParameters, style: GlazeStyle) -> PotParameters {
    let mut styled = parameters.clone();
    let colors = match style {
        GlazeStyle::Porcelain => {
            styled.gloss = lerp(0.8, 1.0, parameters.gloss);
            styled.speckle_density = 0.0;
            styled.mottling *= 0.2;
            styled.dip = 1.4;
            styled.drip_length = 0.0;
            styled.liner *= 0.1;
            styled.rim_break = 0.0;
            styled.band_count = parameters.band_count.max(2.0);
            palette::porcelain(parameters.pattern_seed)
        }
        GlazeStyle::Iron => {
            styled.gloss = lerp(0.3, 0.6, parameters.gloss);
            styled.mottling = lerp(0.6, 1.0, parameters.mottling);
            styled.rim_break = 1.0;
            styled.dip = parameters.dip.min(0.8);
            styled.drip_length = parameters.drip_length.max(0.22);
            styled.band_count = 0.0;
            palette::iron(parameters.pattern_seed)
        }
    };
    styled.base_color = colors.base;
    styled.second_color = colors.second;
    styled.band_color = colors.band;
    styled.clay_color = colors.clay;
    styled
}
