//! The numbers behind a picture, and how they are drawn.

use serde::{Deserialize, Serialize};

use super::numbers::{Random, color, lerp};
use super::palette::{self, GlazeColors};

/// What kind of pot it is: the label of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PotClass {
    /// Tall, narrow neck, no handle.
    Vase,
    /// Wide and open.
    Bowl,
    /// Belly, neck, handle and a pulled spout.
    Jug,
    /// Flat, seen from higher up.
    Plate,
    /// Low and straight, with a handle.
    Cup,
}

impl PotClass {
    /// Every class, in the order of the labels.
    pub const ALL: [Self; 5] = [Self::Vase, Self::Bowl, Self::Jug, Self::Plate, Self::Cup];

    /// The class's name: `vase`, `bowl`, `jug`, `plate` or `cup`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Vase => "vase",
            Self::Bowl => "bowl",
            Self::Jug => "jug",
            Self::Plate => "plate",
            Self::Cup => "cup",
        }
    }
}

/// A control point of the profile.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ControlPoint {
    /// Distance from the axis.
    pub radius: f32,
    /// Distance above the foot ring.
    pub height: f32,
}

/// Everything continuous behind a picture. The longer of height and width of a pot is about 1.
///
/// Angles are in turns, colors are sRGB in 0..=1, positions on the wall run from 0 (foot) to 1 (lip).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "groups of fields share the comment above them")]
pub struct PotParameters {
    /// The class; it says where glaze goes on the inside, the rest of the shape is in the numbers.
    pub class: PotClass,
    /// Control points of the outer wall's cubic B-spline, from foot to lip.
    pub profile: [ControlPoint; 6],
    /// Wall thickness at the lip.
    pub wall_thickness: f32,
    /// How far the lip rolls outward.
    pub lip_roll: f32,
    /// Height of the foot ring, and how much wider than the wall it stands (negative: narrower).
    pub foot_height: f32,
    pub foot_flare: f32,
    /// Relative deviation from roundness.
    pub wobble: f32,
    /// Strength of the potter's finger marks.
    pub throwing_rings: f32,
    /// How far the handle stands off; no handle at 0.
    pub handle_reach: f32,
    /// Where the handle joins the wall, as parts of the pot's height.
    pub handle_top: f32,
    pub handle_bottom: f32,
    /// Half thickness of the handle, and its width as a multiple.
    pub handle_thickness: f32,
    pub handle_width: f32,
    /// How high the handle's bow rises above its upper joint.
    pub handle_lift: f32,
    /// Where the handle points: 0 to the right, positive toward the viewer.
    pub handle_azimuth: f32,
    /// How far the lip is pulled out opposite the handle.
    pub spout: f32,
    /// Glaze and clay colors.
    pub base_color: [f32; 3],
    pub second_color: [f32; 3],
    pub band_color: [f32; 3],
    pub clay_color: [f32; 3],
    /// Glaze of the inside, from base (0) to second (1).
    pub liner: f32,
    /// The second glaze covers the wall from here up, with runs of this length below.
    pub dip: f32,
    pub drip_length: f32,
    /// Number of bands (a fraction fades the last one in), the lowest one's position, their distance and width.
    pub band_count: f32,
    pub band_position: f32,
    pub band_spacing: f32,
    pub band_width: f32,
    /// How far a band strays from its circle.
    pub band_waviness: f32,
    /// Where the base glaze ends above the foot.
    pub glaze_line: f32,
    /// How far the clay shows through at the lip.
    pub rim_break: f32,
    /// Iron specks: the share of places that have one, and their size.
    pub speckle_density: f32,
    pub speckle_size: f32,
    /// Cloudiness of the glaze.
    pub mottling: f32,
    /// 0 matt, 1 like glass.
    pub gloss: f32,
    /// Seed of the noise in runs, specks and clouds.
    pub pattern_seed: u32,
    /// The key light: direction (0 from the viewer, negative from the left), height, color, size.
    pub light_azimuth: f32,
    pub light_elevation: f32,
    pub light_warmth: f32,
    pub light_softness: f32,
    /// How far the camera looks down.
    pub camera_tilt: f32,
    /// Backdrop: brightness, hue from cool (−1) to warm (1), and how much darker the top is than the table.
    pub backdrop_tone: f32,
    pub backdrop_warmth: f32,
    pub backdrop_gradient: f32,
    /// The part of the frame that the pot fills, and its shift in parts of the frame.
    pub scale: f32,
    pub offset_x: f32,
    pub offset_y: f32,
}

impl PotParameters {
    /// Draws a pot of a class.
    pub(super) fn draw(class: PotClass, random: &mut Random) -> Self {
        let profile = profile(class, random);
        let GlazeColors {
            base,
            second,
            band,
            clay,
        } = palette::draw(random);
        let handled = matches!(class, PotClass::Jug | PotClass::Cup);
        let cup = class == PotClass::Cup;
        // Reach, joints and strap of the two kinds of handle, in the order of the fields.
        let handle_reach = if cup {
            random.range(0.2, 0.3)
        } else {
            random.range(0.16, 0.27)
        };
        let handle_top = if cup {
            random.range(0.78, 0.9)
        } else {
            random.range(0.8, 0.93)
        };
        let handle_bottom = if cup {
            random.range(0.2, 0.36)
        } else {
            random.range(0.3, 0.46)
        };
        let handle_lift = if cup {
            random.range(0.0, 0.06)
        } else {
            random.range(0.02, 0.12)
        };
        let flat = matches!(class, PotClass::Plate | PotClass::Bowl);
        let tilt = match class {
            PotClass::Plate => random.range(0.1, 0.16),
            PotClass::Bowl => random.range(0.05, 0.09),
            PotClass::Cup => random.range(0.04, 0.075),
            PotClass::Vase | PotClass::Jug => random.range(0.028, 0.062),
        };
        let mut parameters = Self {
            class,
            profile,
            wall_thickness: random.range(0.022, 0.036) * if class == PotClass::Plate { 0.8 } else { 1.0 },
            lip_roll: random.unit() * random.range(0.0, 0.03) * if flat { 0.6 } else { 1.0 },
            foot_height: random.range(0.012, 0.05) * if class == PotClass::Plate { 0.6 } else { 1.0 },
            foot_flare: random.range(-0.03, 0.02),
            wobble: random.unit() * random.range(0.0, 0.014),
            throwing_rings: random.unit() * random.range(0.2, 1.0),
            handle_reach: if handled { handle_reach } else { 0.0 },
            handle_top,
            handle_bottom,
            handle_thickness: random.range(0.024, 0.036),
            handle_width: random.range(1.1, 2.0),
            handle_lift,
            handle_azimuth: random.bell(-0.05, 0.1),
            spout: if class == PotClass::Jug {
                random.range(0.08, 0.15)
            } else {
                0.0
            },
            base_color: base,
            second_color: second,
            band_color: band,
            clay_color: clay,
            liner: random.unit(),
            dip: if random.unit() < 0.6 {
                random.range(0.35, 0.85)
            } else {
                random.range(1.05, 1.3)
            },
            drip_length: random.unit() * random.range(0.05, 0.35),
            band_count: (random.range(-1.2, 4.2)).max(0.0).round(),
            band_position: random.range(0.25, 0.7),
            band_spacing: random.range(0.07, 0.13),
            band_width: random.range(0.018, 0.05),
            band_waviness: random.unit() * random.range(0.0, 0.022),
            glaze_line: random.range(-0.03, 0.09),
            rim_break: random.unit(),
            speckle_density: (random.range(-0.6, 1.0)).max(0.0),
            speckle_size: random.range(0.3, 1.0),
            mottling: random.unit(),
            gloss: random.range(0.15, 1.0),
            pattern_seed: random.bits() as u32,
            light_azimuth: random.bell(-0.19, -0.05),
            light_elevation: random.range(0.09, 0.155),
            light_warmth: random.bell(-1.0, 1.0),
            light_softness: random.unit(),
            camera_tilt: tilt,
            backdrop_tone: random.range(0.36, 0.88),
            backdrop_warmth: random.bell(-1.0, 1.0),
            backdrop_gradient: random.range(0.1, 0.6),
            scale: random.range(0.76, 0.86),
            offset_x: random.bell(-0.03, 0.03),
            offset_y: random.bell(-0.02, 0.02),
        };
        parameters.part_from_backdrop();
        parameters
    }

    /// Moves the backdrop's brightness away from the pot's, so that the outline stays clear.
    fn part_from_backdrop(&mut self) {
        let pot = color(self.base_color).luminance().sqrt();
        let gap = self.backdrop_tone - pot;
        if gap.abs() < 0.2 {
            self.backdrop_tone = if pot > 0.55 { pot - 0.2 } else { pot + 0.22 };
        }
    }
}

/// Control points of a class, drawn within its habits.
fn profile(class: PotClass, random: &mut Random) -> [ControlPoint; 6] {
    let point = |radius, height| ControlPoint { radius, height };
    match class {
        PotClass::Vase => {
            let (foot, belly) = (random.range(0.13, 0.24), random.range(0.27, 0.45));
            let belly_height = random.range(0.25, 0.62);
            let (neck, neck_height) = (random.range(0.06, 0.17), random.range(0.8, 0.9));
            let lip = neck + random.range(0.02, 0.16);
            let (low, high) = (random.range(0.45, 1.05), random.range(0.35, 1.0));
            [
                point(foot, 0.0),
                point(lerp(foot, belly, low), belly_height * 0.5),
                point(belly, belly_height),
                point(lerp(neck, belly, high), lerp(belly_height, neck_height, 0.5)),
                point(neck, neck_height),
                point(lip, 1.0),
            ]
        }
        PotClass::Bowl => {
            let (foot, height) = (random.range(0.14, 0.22), random.range(0.36, 0.56));
            // From a cone (0) to a round belly (1).
            let round = random.range(0.25, 1.0);
            let wall = |t: f32| lerp(t, 1.0 - (1.0 - t) * (1.0 - t) * (1.0 - t), round);
            let at = |t: f32, h: f32| point(lerp(foot, 0.5, wall(t)), height * h);
            let flare = random.range(-0.03, 0.045);
            [
                point(foot, 0.0),
                at(0.25, 0.07),
                at(0.45, 0.24),
                at(0.66, 0.5),
                at(0.84, 0.78),
                point(0.5 + flare, height),
            ]
        }
        PotClass::Jug => {
            let (foot, belly) = (random.range(0.19, 0.27), random.range(0.3, 0.41));
            let belly_height = random.range(0.26, 0.42);
            let (neck, neck_height) = (random.range(0.14, 0.23), random.range(0.72, 0.82));
            let lip = neck + random.range(0.02, 0.08);
            [
                point(foot, 0.0),
                point(lerp(foot, belly, 0.9), belly_height * 0.45),
                point(belly, belly_height),
                point(
                    lerp(neck, belly, random.range(0.35, 0.75)),
                    lerp(belly_height, neck_height, 0.6),
                ),
                point(neck, neck_height),
                point(lip, random.range(0.93, 1.02)),
            ]
        }
        PotClass::Plate => {
            let (foot, height) = (random.range(0.2, 0.3), random.range(0.05, 0.12));
            let well = random.range(0.32, 0.4);
            [
                point(foot, 0.0),
                point(lerp(foot, well, 0.6), 0.004),
                point(well, height * 0.12),
                point(lerp(well, 0.5, 0.3), height * random.range(0.4, 0.7)),
                point(lerp(well, 0.5, 0.7), height * random.range(0.75, 0.9)),
                point(0.5, height),
            ]
        }
        PotClass::Cup => {
            let (foot, lip) = (random.range(0.22, 0.34), random.range(0.32, 0.42));
            let height = random.range(0.62, 0.86);
            let (belly, waist) = (random.range(-0.02, 0.08), random.range(-0.03, 0.04));
            [
                point(foot, 0.0),
                point(lerp(foot, lip, 0.6) + belly, 0.02),
                point(lerp(foot, lip, 0.5) + belly, height * 0.3),
                point(lerp(foot, lip, 0.6) + 0.5 * (belly + waist), height * 0.6),
                point(lerp(foot, lip, 0.8) + waist, height * 0.85),
                point(lip, height),
            ]
        }
    }
}
