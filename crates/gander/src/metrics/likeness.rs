//! How like are images to their partners, through the eyes of a feature space?

use super::{
    Features, check_num,
    judge::{Better, Score},
    resampling::{Resampling, interval_of_mean},
};
use crate::error::{Error, Result};

/// Strangers that every partner is compared with, at most.
const STRANGERS: usize = 20;

/// The mean distance of images to their partners, over that of their partners to one another: 0 where all are the same,
/// about 1 where an image is no more like its partner than like any other.
///
/// Row by row `made` and `partners` belong together. The interval is of the partners that were drawn.
///
/// # Errors
/// [`Error::UnlikeFeatures`] for unequal numbers or lengths of rows, [`Error::TooFewImages`] for fewer than two.
pub fn distance_to_partners(name: String, [made, partners]: [&Features; 2], resampling: Resampling) -> Result<Score> {
    if made.dim() != partners.dim() || made.num() != partners.num() {
        return Err(Error::UnlikeFeatures {
            expected: partners.values().len(),
            got: made.values().len(),
        });
    }
    let num = partners.num();
    check_num("feature distance", num, 2)?;
    let rows: Vec<&[f32]> = partners.rows().collect();
    let strangers = (num - 1).min(STRANGERS);
    let apart =
        (0..num).flat_map(|row| (1..=strangers).map(move |step| (row, (row + step * (num - 1) / strangers) % num)));
    let apart: f64 = apart.map(|(row, other)| distance(rows[row], rows[other])).sum::<f64>() / (num * strangers) as f64;
    let distances: Vec<f64> = made
        .rows()
        .zip(&rows)
        .map(|(made, partner)| distance(made, partner) / apart.max(f64::MIN_POSITIVE))
        .collect();
    Ok(Score {
        name,
        value: distances.iter().sum::<f64>() / num as f64,
        interval: interval_of_mean(&distances, resampling),
        better: Better::Lower,
    })
}

/// Euclid's.
fn distance(a: &[f32], b: &[f32]) -> f64 {
    let squares = a.iter().zip(b).map(|(a, b)| f64::from(a - b).powi(2));
    squares.sum::<f64>().sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(values: &[f32]) -> Features {
        Features::new(values.to_vec(), 1).unwrap()
    }

    #[test]
    fn the_same_is_zero_and_a_stranger_is_one() {
        let partners = line(&[0.0, 1.0, 2.0]);
        let of = |made: &[f32]| {
            distance_to_partners("some".into(), [&line(made), &partners], Resampling::default())
                .unwrap()
                .value
        };
        assert_eq!(of(&[0.0, 1.0, 2.0]), 0.0);
        // Strangers are 1, 2, 1, 1, 2 and 1 apart.
        assert!((of(&[1.0, 2.0, 0.0]) - (4.0 / 3.0) / (8.0 / 6.0)).abs() < 1e-12);
        assert!((of(&[0.4, 1.4, 2.4]) - 0.4 / (8.0 / 6.0)).abs() < 1e-6);
    }

    #[test]
    fn partners_are_as_many_as_images() {
        let resampling = Resampling::default();
        assert!(distance_to_partners("some".into(), [&line(&[1.0]), &line(&[1.0, 2.0])], resampling).is_err());
        assert!(distance_to_partners("some".into(), [&line(&[1.0]), &line(&[1.0])], resampling).is_err());
    }
}
