//! A pot on its way up: wet clay on the wheel.

use super::numbers::{Vec3, color, cos_turns, floor, lerp, sin_turns, smoothstep, vec3};
use super::parameters::{ControlPoint, PotParameters};

/// A pot while it is thrown, and what it will be.
pub(super) struct Thrown {
    pub(super) now: PotParameters,
    pub(super) finished: PotParameters,
}

/// The pot at a stage from a lump (0) to the finished form (1), at an angle of the wheel.
pub(super) fn thrown(parameters: &PotParameters, rising: f32, turn: f32) -> Thrown {
    let mut finished = parameters.clone();
    finished.handle_reach = 0.0;
    finished.foot_height = 0.004;
    finished.foot_flare = 0.0;
    // Room for the lump, which is wider than most pots.
    finished.scale *= 0.86;
    let mut now = finished.clone();
    let opened = smoothstep(0.0, 0.6, rising);
    let formed = smoothstep(0.4, 1.0, rising);
    let last = parameters.profile[5];
    let foot = parameters.profile[0].radius;
    let lump_radius = (0.6 * foot + 0.2).clamp(0.24, 0.42);
    let lump_height = (0.3 * last.height).clamp(0.08, 0.26);
    for (i, point) in now.profile.iter_mut().enumerate() {
        let t = i as f32 / 5.0;
        let goal = *point;
        let lump = ControlPoint {
            radius: lump_radius * (1.0 - 0.35 * t * t),
            height: lump_height * t,
        };
        let wall = ControlPoint {
            radius: lerp(foot, lump_radius, 0.5) * 1.02,
            height: 0.92 * last.height * t,
        };
        point.radius = lerp(lerp(lump.radius, wall.radius, opened), goal.radius, formed);
        point.height = lerp(lerp(lump.height, wall.height, opened), goal.height, formed);
    }
    now.wall_thickness = lerp(0.9 * lump_radius * 0.65, parameters.wall_thickness * 1.3, opened);
    now.lip_roll *= formed;
    now.spout *= formed * formed;
    // Clay off center shows while it turns; the seed of the unevenness carries the angle.
    now.wobble = parameters.wobble + 0.016 * (1.0 - formed);
    let angle = (2.0 * turn - floor(2.0 * turn)) * 1024.0;
    now.pattern_seed = (now.pattern_seed & !1023) | (now.pattern_seed.wrapping_add(angle as u32) & 1023);
    Thrown { now, finished }
}

/// The wheel's head and what is behind it, before shadow.
pub(super) fn head(parameters: &PotParameters, behind: Vec3, place: Vec3, turn: f32, pixel: f32) -> Vec3 {
    let radius = (place.x * place.x + place.z * place.z).sqrt();
    let edge = smoothstep(HEAD_RADIUS + pixel, HEAD_RADIUS - pixel, radius);
    let clay = color(parameters.clay_color);
    let grooves = 0.06 * sin_turns(radius * 14.0) / (1.0 + 300.0 * pixel * pixel);
    // A smear of slip to one side goes round with the wheel.
    let (sin, cos) = (sin_turns(turn), cos_turns(turn));
    let (sx, sz) = (place.x * cos + place.z * sin - 0.4, place.z * cos - place.x * sin);
    let smear = 0.55 * smoothstep(0.3, 0.02, (sx * sx + 1.8 * sz * sz).sqrt());
    let steel = vec3(0.15, 0.15, 0.16) * (1.0 + grooves);
    behind.lerp(steel.lerp(clay * 0.45, 0.2 + smear), edge)
}

/// Radius of the wheel's head; the widest pot has 0.55.
const HEAD_RADIUS: f32 = 0.72;
