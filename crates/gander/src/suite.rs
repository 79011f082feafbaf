//! The classic tests of a GAN: distributions whose modes are known, learned from scratch and counted.
//!
//! - [`gaussians`]: a ring of 8 and a grid of 25 in the plane
//! - [`stacked`]: three digits in an image, a thousand modes
//! - [`points`]: the small networks of the former
//! - [`picture`]: where the points lie

pub mod gaussians;
pub mod picture;
pub mod points;
pub mod stacked;
