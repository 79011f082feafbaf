//! The shape of a set whose user gave none.

use crate::media::Picture;
use crate::options::{AlphaPolicy, Channels, OpenOptions, Size};
use crate::parallel;
use crate::scan::Item;
use crate::streamed::Pipeline;

/// Sides are rounded down to one of these times a power of two: 16, 32, 48, 64, 96, 128, 192, 256, …
const STEPS: [usize; 2] = [16, 24];
/// The images that are decoded to judge channels.
const SAMPLE: usize = 64;
/// Proportions that agree within a tenth are the same.
const SAME_PROPORTIONS: f64 = 1.1;

/// The size of all images if they agree and are not too large, else a rounded median.
pub(super) fn size(items: &[Item], longest_px: usize) -> Size {
    let mut sizes = items.iter().map(|item| Size {
        width_px: item.header.width_px,
        height_px: item.header.height_px,
    });
    let first = sizes.next().unwrap_or(Size {
        width_px: 1,
        height_px: 1,
    });
    if sizes.all(|size| size == first) && first.width_px.max(first.height_px) <= longest_px {
        return first;
    }
    let sides = items
        .iter()
        .map(|item| (item.header.width_px as f64, item.header.height_px as f64));
    let ratio = median(sides.clone().map(|(width, height)| width / height));
    let alike = sides
        .clone()
        .filter(|(w, h)| (w / h / ratio).max(ratio * h / w) <= SAME_PROPORTIONS)
        .count();
    let ratio = if alike * 10 >= items.len() * 9 { ratio } else { 1.0 };
    let stretch = ratio.max(1.0 / ratio);
    let shorter = median(sides.map(|(width, height)| width.min(height))) as usize;
    let shorter = round_down(shorter.min((longest_px as f64 / stretch) as usize));
    // Nearly square is square.
    let longer = if stretch < SAME_PROPORTIONS {
        shorter
    } else {
        (shorter as f64 * stretch / 16.0).round() as usize * 16
    };
    let longer = longer.clamp(shorter, longest_px.max(shorter));
    if ratio >= 1.0 {
        Size {
            width_px: longer,
            height_px: shorter,
        }
    } else {
        Size {
            width_px: shorter,
            height_px: longer,
        }
    }
}

/// The largest of the [`STEPS`] and their doubles that is no larger; below 16, a multiple of 4, at least 4.
fn round_down(side: usize) -> usize {
    if side < STEPS[0] {
        return (side / 4 * 4).max(4);
    }
    let doubles = |step: usize| std::iter::successors(Some(step), |step| step.checked_mul(2));
    // 24 itself is left out: 32 and 16 are so near that it only confuses.
    let steps = doubles(STEPS[0])
        .take_while(|&step| step <= side)
        .chain(doubles(STEPS[1] * 2).take_while(|&step| step <= side));
    steps.max().unwrap_or(STEPS[0])
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(1.0)
}

/// One, three or four channels, by headers and a look at a few images where headers do not tell.
pub(super) fn channels(items: &[Item], pipeline: &Pipeline, options: &OpenOptions) -> Channels {
    let threads = parallel::threads(options.threads);
    if options.alpha == AlphaPolicy::Keep {
        let with_alpha: Vec<&Item> = items.iter().filter(|item| item.header.alpha).collect();
        let is_used = |seen: &[bool]| seen.iter().filter(|&&seen| seen).count() * 2 > seen.len();
        if with_alpha.len() * 2 > items.len() && is_used(&look(&with_alpha, pipeline, threads, Picture::is_transparent))
        {
            return Channels::Rgba;
        }
    }
    let [r, g, b] = options.background();
    let lays_on_color = items.iter().any(|item| item.header.alpha) && !(r == g && g == b);
    let colored: Vec<&Item> = items.iter().filter(|item| !item.header.is_gray()).collect();
    if lays_on_color || colored.iter().any(|item| !item.header.may_hide_gray()) {
        return Channels::Rgb;
    }
    let is_gray = look(&colored, pipeline, threads, Picture::is_gray)
        .into_iter()
        .all(|gray| gray);
    if is_gray { Channels::Gray } else { Channels::Rgb }
}

/// What a look at up to [`SAMPLE`] images, evenly spread, shows; those that fail are passed over.
fn look(items: &[&Item], pipeline: &Pipeline, threads: usize, judge: impl Fn(&Picture) -> bool + Sync) -> Vec<bool> {
    let count = items.len().min(SAMPLE);
    let seen = parallel::map(threads, count, |i| {
        pipeline
            .picture(&items[i * items.len() / count].entry)
            .ok()
            .map(|picture| judge(&picture))
    });
    seen.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::{Header, Kind};
    use crate::source::{Entry, Place};

    fn chosen(sizes: &[(usize, usize)]) -> (usize, usize) {
        let item = |&(width_px, height_px): &(usize, usize)| Item {
            entry: Entry::new("a.png".into(), Place::File("a.png".into())),
            header: Header {
                format: None,
                width_px,
                height_px,
                kind: Kind::Rgb,
                bits: 8,
                alpha: false,
            },
            key: 0,
            bytes: 0,
            label: None,
        };
        let size = size(&sizes.iter().map(item).collect::<Vec<_>>(), 256);
        (size.width_px, size.height_px)
    }

    #[test]
    fn one_size_is_kept() {
        for size in [(28, 28), (92, 112), (105, 105), (256, 64), (3, 5)] {
            assert_eq!(chosen(&[size; 3]), size);
        }
    }

    #[test]
    fn large_images_keep_their_proportions() {
        assert_eq!(chosen(&[(1024, 1024)]), (256, 256));
        assert_eq!(chosen(&[(640, 480)]), (256, 192));
        assert_eq!(chosen(&[(480, 640)]), (192, 256));
        assert_eq!(chosen(&[(1920, 1080)]), (224, 128));
    }

    #[test]
    fn mixed_sizes_take_a_rounded_median() {
        assert_eq!(chosen(&[(100, 100), (70, 90), (300, 200)]), (96, 96));
        assert_eq!(chosen(&[(100, 150), (202, 300), (301, 450)]), (128, 192));
    }

    #[test]
    fn tiny_images_are_not_enlarged() {
        assert_eq!(chosen(&[(9, 9), (11, 11), (13, 13)]), (8, 8));
        assert_eq!(chosen(&[(1, 1), (2, 2)]), (4, 4));
    }

    #[test]
    fn sides_are_rounded_down_to_steps() {
        let sides = [
            16, 31, 32, 47, 48, 63, 64, 95, 96, 127, 128, 191, 192, 255, 256, 384, 400,
        ];
        let steps = [
            16, 16, 32, 32, 48, 48, 64, 64, 96, 96, 128, 128, 192, 192, 256, 384, 384,
        ];
        assert_eq!(sides.map(round_down), steps);
    }
}
