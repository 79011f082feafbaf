//! A picture of points in the plane, over the modes that they should lie in.

use image::{DynamicImage, Rgb, RgbImage};

use crate::metrics::modes::Mixture;

/// The side of a picture.
const SIDE_PX: usize = 560;
/// Beyond the outermost centers on each side, in their largest coordinate.
const MARGIN: f64 = 0.2;
/// Points in a pixel that make it as dark as it gets.
const FULL: f64 = 4.0;

const PAPER: [f64; 3] = [255.0, 253.0, 250.0];
/// Within 3σ of a center.
const MODE: [f64; 3] = [250.0, 214.0, 196.0];
const POINT: [f64; 3] = [32.0, 84.0, 112.0];

/// Points over their modes, the places within 3σ of a center tinted.
pub fn scatter(mixture: &Mixture, points: &[[f64; 2]]) -> DynamicImage {
    let coordinates = mixture.centers.iter().flatten();
    let extent = coordinates.fold(0.0f64, |largest, coordinate| coordinate.abs().max(largest));
    let scale = SIDE_PX as f64 / (2.0 * extent * (1.0 + MARGIN));
    let place = |coordinate: f64| coordinate * scale + 0.5 * SIDE_PX as f64;
    let mut density = vec![0u32; SIDE_PX * SIDE_PX];
    for &[x, y] in points {
        let (x, y) = (place(x).floor(), place(-y).floor());
        let is_inside = |at: f64| (0.0..SIDE_PX as f64).contains(&at);
        if is_inside(x) && is_inside(y) {
            density[y as usize * SIDE_PX + x as usize] += 1;
        }
    }
    let mut picture = RgbImage::new(SIDE_PX as u32, SIDE_PX as u32);
    for (x, y, pixel) in picture.enumerate_pixels_mut() {
        let [px, py] = [x, y].map(|at| f64::from(at) + 0.5);
        let distance = |[cx, cy]: &[f64; 2]| (px - place(*cx)).hypot(py - place(-cy));
        let nearest = mixture.centers.iter().map(distance).fold(f64::INFINITY, f64::min);
        // A pixel wide, so that the edge of a disc is smooth.
        let inside = (3.0 * mixture.sigma * scale - nearest + 0.5).clamp(0.0, 1.0);
        let dark = (f64::from(density[y as usize * SIDE_PX + x as usize]) / FULL)
            .min(1.0)
            .sqrt();
        let channel = |channel: usize| {
            let below = PAPER[channel] + inside * (MODE[channel] - PAPER[channel]);
            (below + dark * (POINT[channel] - below)) as u8
        };
        *pixel = Rgb([0, 1, 2].map(channel));
    }
    picture.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_are_dark_on_their_modes() {
        let picture = scatter(&Mixture::grid(), &[[0.0, 0.0]; 8]).into_rgb8();
        let middle = SIDE_PX as u32 / 2;
        assert_eq!(picture.get_pixel(middle, middle).0, POINT.map(|channel| channel as u8));
        assert_eq!(picture.get_pixel(2, 2).0, PAPER.map(|channel| channel as u8));
        // The center at (4, −4), to the right and below.
        let scale = SIDE_PX as f64 / 9.6;
        let at = |coordinate: f64| (coordinate * scale + 0.5 * SIDE_PX as f64) as u32;
        assert_eq!(picture.get_pixel(at(4.0), at(4.0)).0, MODE.map(|channel| channel as u8));
    }
}
