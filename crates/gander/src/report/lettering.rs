//! Letters made of strokes, so that a picture needs no font.

/// Distance from the foot of `p` to the top of `l`, in units of a letter.
pub(super) const HEIGHT: f64 = 8.0;
/// Units between letters.
const GAP: f64 = 1.7;

/// The strokes of a letter, as pairs of digits: units from the left, and from the foot of `p` (2 is the line on which
/// letters stand, 6 the height of `x`, 8 that of `l`).
fn strokes(letter: char) -> &'static str {
    match letter {
        'a' => "433212030516364543 4642",
        'b' => "0802 030516364543321203",
        'c' => "4536160503123243",
        'd' => "433212030516364543 4842",
        'e' => "04444536160503123243",
        'f' => "38281712 0636",
        'g' => "433212030516364543 4641301001",
        'h' => "0802 0516364542",
        'i' => "0602 0808",
        'j' => "161100 1818",
        'k' => "0802 3604 0432",
        'l' => "0802",
        'm' => "0602 0516263532 3546566562",
        'n' => "0602 0516364542",
        'o' => "030516364543321203",
        'p' => "0600 030516364543321203",
        'q' => "433212030516364543 4640",
        'r' => "0602 051636",
        's' => "45361605143443321203",
        't' => "18132232 0636",
        'u' => "0603123243 4642",
        'v' => "0622 2246",
        'w' => "0612 1236 3652 5266",
        'x' => "0642 0246",
        'y' => "0622 4610",
        'z' => "0646 4602 0242",
        '0' => "040618384644321204",
        '1' => "0718 1812",
        '2' => "071838474602 0242",
        '3' => "071838474635 1535 354443321203",
        '4' => "3238 3804 0444",
        '5' => "4808 0805 05354443321203",
        '6' => "3817050312324344351504",
        '7' => "0848 4812",
        '8' => "150607183847463515 150403123243443515",
        '9' => "1233454738180706153546",
        '.' => "0202",
        ',' => "1201",
        '-' | '–' => "0434",
        '_' => "0242",
        ':' => "0303 0606",
        '/' => "0248",
        '+' => "0444 2226",
        _ => "",
    }
}

/// The strokes of a line of text, each a row of points, and its width. Units as above; capitals are written small.
pub(super) fn line(text: &str) -> (Vec<Vec<(f64, f64)>>, f64) {
    let (mut lines, mut left) = (Vec::new(), 0.0);
    for letter in text.chars().flat_map(char::to_lowercase) {
        let mut width = 0.0f64;
        for stroke in strokes(letter).split_whitespace() {
            let digits: Vec<f64> = stroke.bytes().map(|digit| f64::from(digit - b'0')).collect();
            let points: Vec<(f64, f64)> = digits.chunks_exact(2).map(|pair| (left + pair[0], pair[1])).collect();
            width = points.iter().fold(width, |width, point| width.max(point.0 - left));
            lines.push(round(&round(&points)));
        }
        left += if strokes(letter).is_empty() { 3.0 } else { width + GAP };
    }
    (lines, (left - GAP).max(0.0))
}

/// Cuts the corners of a stroke (Chaikin 1974); its ends stay, and those of a ring are corners as well.
fn round(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let (Some(&first), Some(&last)) = (points.first(), points.last()) else {
        return Vec::new();
    };
    let between = |a: (f64, f64), b: (f64, f64), share: f64| (a.0 + (b.0 - a.0) * share, a.1 + (b.1 - a.1) * share);
    let cut = points
        .windows(2)
        .flat_map(|pair| [0.25, 0.75].map(|share| between(pair[0], pair[1], share)));
    let mut cut: Vec<(f64, f64)> = cut.collect();
    if points.len() > 2 && first == last {
        cut.push(cut[0]);
    } else {
        cut.insert(0, first);
        cut.push(last);
    }
    cut
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_strokes_stay_in_their_box() {
        for letter in (' '..='~').chain(['–', 'ö', '字']) {
            let code = strokes(letter);
            assert!(code.split_whitespace().all(|stroke| stroke.len() % 2 == 0), "{letter}");
            let (lines, width) = line(&letter.to_string());
            for (x, y) in lines.into_iter().flatten() {
                assert!(
                    (0.0..=width.max(0.0)).contains(&x) && (0.0..=HEIGHT).contains(&y),
                    "{letter}: {x} {y}"
                );
            }
        }
    }

    #[test]
    fn all_that_the_labels_need_can_be_written() {
        for letter in "abcdefghijklmnopqrstuvwxyz0123456789.-_".chars() {
            assert!(!strokes(letter).is_empty(), "{letter}");
        }
    }

    #[test]
    fn a_ring_stays_closed() {
        let (lines, _) = line("o");
        assert_eq!(lines[0].first(), lines[0].last());
    }
}
