//! Arithmetic that gives the same bits on every IEEE 754 machine: no libm, no fused multiply-add.
//!
//! Only additions, multiplications, divisions and square roots of `f32` are used, all of them correctly rounded by the
//! standard, so that a picture has the same bytes on every platform.

use std::ops::{Add, AddAssign, Mul, Sub};

/// A vector, a point or a linear RGB color.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Vec3 {
    pub(super) x: f32,
    pub(super) y: f32,
    pub(super) z: f32,
}

pub(super) const fn vec3(x: f32, y: f32, z: f32) -> Vec3 {
    Vec3 { x, y, z }
}

impl Vec3 {
    pub(super) fn dot(self, other: Self) -> f32 {
        self.x * other.x + self.y * other.y + self.z * other.z
    }

    pub(super) fn cross(self, other: Self) -> Self {
        vec3(
            self.y * other.z - self.z * other.y,
            self.z * other.x - self.x * other.z,
            self.x * other.y - self.y * other.x,
        )
    }

    /// The direction; up for a vector of no length.
    pub(super) fn normalized(self) -> Self {
        let squared = self.dot(self);
        if squared > 1e-20 {
            self * (1.0 / squared.sqrt())
        } else {
            vec3(0.0, 1.0, 0.0)
        }
    }

    /// Product by component: a color under a light.
    pub(super) fn tint(self, other: Self) -> Self {
        vec3(self.x * other.x, self.y * other.y, self.z * other.z)
    }

    pub(super) fn lerp(self, other: Self, t: f32) -> Self {
        self + (other - self) * t
    }

    /// Luminance of a linear color, the weights of Rec. 709.
    pub(super) fn luminance(self) -> f32 {
        self.dot(vec3(0.2126, 0.7152, 0.0722))
    }
}

impl Add for Vec3 {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        vec3(self.x + other.x, self.y + other.y, self.z + other.z)
    }
}

impl AddAssign for Vec3 {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Sub for Vec3 {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        vec3(self.x - other.x, self.y - other.y, self.z - other.z)
    }
}

impl Mul<f32> for Vec3 {
    type Output = Self;
    fn mul(self, factor: f32) -> Self {
        vec3(self.x * factor, self.y * factor, self.z * factor)
    }
}

pub(super) fn lerp(a: f32, b: f32, t: f32) -> f32 {
    a + (b - a) * t
}

/// 0 below `from`, 1 above `to`, a cubic between; `from` may be the larger.
pub(super) fn smoothstep(from: f32, to: f32, x: f32) -> f32 {
    let t = ((x - from) / (to - from)).clamp(0.0, 1.0);
    t * t * (3.0 - 2.0 * t)
}

/// Rounds down. Many processors round by an instruction that a portable build may not use; the library call that
/// stands in for it costs more than the sum around it. For numbers within the range of `i32`.
pub(super) fn floor(x: f32) -> f32 {
    let toward_zero = x as i32 as f32;
    if toward_zero > x {
        toward_zero - 1.0
    } else {
        toward_zero
    }
}

/// The first sample whose center (half past its number) is not before `x`; 0 for a negative one.
pub(super) fn first_sample(x: f32) -> usize {
    // A cast cuts off the fraction and takes what is negative to 0.
    let down = (x + 0.5) as usize;
    if down as f32 + 0.5 < x || (down > 0 && down as f32 - 0.5 >= x) {
        return if down as f32 + 0.5 < x { down + 1 } else { down - 1 };
    }
    down
}

/// Sine of an angle in turns, to 4e-6.
pub(super) fn sin_turns(turns: f32) -> f32 {
    let mut x = turns - floor(turns + 0.5);
    // sin(π − x) = sin(x): a quarter turn either side of zero is enough.
    if x > 0.25 {
        x = 0.5 - x;
    } else if x < -0.25 {
        x = -0.5 - x;
    }
    let x = x * std::f32::consts::TAU;
    let s = x * x;
    // The Taylor series to the ninth power.
    x * (1.0 + s * (-1.0 / 6.0 + s * (1.0 / 120.0 + s * (-1.0 / 5040.0 + s / 362_880.0))))
}

/// Cosine of an angle in turns.
pub(super) fn cos_turns(turns: f32) -> f32 {
    sin_turns(turns + 0.25)
}

/// From an sRGB value in 0..=1 to linear light.
///
/// # Source
/// The cubic fit of <https://chilliant.blogspot.com/2012/08/srgb-approximations-for-hlsl.html>.
pub(super) fn linear_from_srgb(s: f32) -> f32 {
    s * (s * (s * 0.305_306_02 + 0.682_171_1) + 0.012_522_878)
}

/// From linear light in 0..=1 to a byte of sRGB.
///
/// # Source
/// The fit by square roots of the same page; its error is under a level of 255.
pub(super) fn srgb_byte(linear: f32) -> u8 {
    let x = linear.clamp(0.0, 1.0);
    // The straight part of the curve, from the definition of sRGB (IEC 61966-2-1).
    if x < 0.003_130_8 {
        return (x * 12.92 * 255.0 + 0.5) as u8;
    }
    let s1 = x.sqrt();
    let s2 = s1.sqrt();
    let s3 = s2.sqrt();
    let srgb = 0.662_002_7 * s1 + 0.684_122_1 * s2 - 0.323_583_6 * s3 - 0.022_541_147 * x;
    (srgb.clamp(0.0, 1.0) * 255.0 + 0.5) as u8
}

/// A linear color from sRGB in 0..=1.
pub(super) fn color(srgb: [f32; 3]) -> Vec3 {
    let [r, g, b] = srgb.map(|s| linear_from_srgb(s.clamp(0.0, 1.0)));
    vec3(r, g, b)
}

/// A well-mixed 64-bit value (the finalizer of `SplitMix64`, Steele et al. 2014).
pub(super) fn mix64(x: u64) -> u64 {
    let x = x.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

/// A 32-bit hash of a lattice point, for textures.
///
/// # Source
/// The constants of the `lowbias32` search, <https://nullprogram.com/blog/2018/07/31/>.
pub(super) fn lattice(x: i32, y: i32, seed: u32) -> u32 {
    let mut h = (x as u32).wrapping_mul(0x8DA6_B343) ^ (y as u32).wrapping_mul(0xD816_3841) ^ seed;
    h = (h ^ (h >> 16)).wrapping_mul(0x7FEB_352D);
    h = (h ^ (h >> 15)).wrapping_mul(0x846C_A68B);
    h ^ (h >> 16)
}

/// The upper bits of a hash as a number in 0..1.
pub(super) fn unit(hash: u32) -> f32 {
    (hash >> 8) as f32 * (1.0 / 16_777_216.0)
}

/// Value noise in −1..1 with period `period` in x.
pub(super) fn noise(x: f32, y: f32, period: i32, seed: u32) -> f32 {
    let (fx, fy) = (floor(x), floor(y));
    let (ix, iy) = (fx as i32, fy as i32);
    let at = |dx: i32, dy: i32| unit(lattice((ix + dx).rem_euclid(period), iy + dy, seed));
    let (sx, sy) = (smoothstep(0.0, 1.0, x - fx), smoothstep(0.0, 1.0, y - fy));
    let (top, bottom) = (lerp(at(0, 0), at(1, 0), sx), lerp(at(0, 1), at(1, 1), sx));
    2.0 * lerp(top, bottom, sy) - 1.0
}

/// A stream of random numbers that belongs to one image.
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64, stream: u64, index: u64) -> Self {
        Self(mix64(mix64(mix64(seed) ^ stream) ^ index))
    }

    pub(super) fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        mix64(self.0)
    }

    /// Uniform in 0..1.
    pub(super) fn unit(&mut self) -> f32 {
        unit((self.bits() >> 32) as u32)
    }

    /// Uniform in `low..high`.
    pub(super) fn range(&mut self, low: f32, high: f32) -> f32 {
        lerp(low, high, self.unit())
    }

    /// In `low..high`, more often near the middle (the mean of two).
    pub(super) fn bell(&mut self, low: f32, high: f32) -> f32 {
        lerp(low, high, 0.5 * (self.unit() + self.unit()))
    }

    /// Uniform in `0..count`.
    pub(super) fn below(&mut self, count: usize) -> usize {
        (((self.bits() >> 32) * count as u64) >> 32) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sine_and_gamma_are_close_to_the_exact_ones() {
        for i in -2000..2000 {
            let turns = i as f32 / 997.0;
            let exact = (f64::from(turns) * std::f64::consts::TAU).sin();
            assert!((f64::from(sin_turns(turns)) - exact).abs() < 8e-6, "{turns}");
        }
        for byte in 0..=255_u8 {
            let s = f64::from(byte) / 255.0;
            let exact = if s <= 0.04045 {
                s / 12.92
            } else {
                ((s + 0.055) / 1.055).powf(2.4)
            };
            let back = srgb_byte(exact as f32);
            assert!(back.abs_diff(byte) <= 1, "{byte} came back as {back}");
            assert!((f64::from(linear_from_srgb(s as f32)) - exact).abs() < 2e-3, "{byte}");
        }
    }

    #[test]
    fn noise_is_periodic_and_bounded() {
        for i in 0..500 {
            let (x, y) = (i as f32 * 0.173, i as f32 * 0.057 - 9.0);
            let value = noise(x, y, 8, 3);
            assert!((-1.0..=1.0).contains(&value));
            assert!((value - noise(x + 8.0, y, 8, 3)).abs() < 1e-4);
        }
    }
}
