//! How numbers, times and paths read.

use std::path::{Path, PathBuf};

/// `20,000`.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 image`, `2 images`.
pub(crate) fn plural(number: u64, one: &str) -> String {
    if number == 1 {
        format!("1 {one}")
    } else {
        format!("{} {one}s", count(number))
    }
}

/// Thousands of images: `0.512`, `12.4`, `1,234`.
pub(crate) fn kimg(images: u64) -> String {
    match images {
        0 => "0".to_owned(),
        1..10_000 => format!("{:.3}", images as f64 / 1000.0),
        10_000..1_000_000 => format!("{:.1}", images as f64 / 1000.0),
        _ => count(images / 1000),
    }
}

/// `45s`, `2m 05s`, `3h 10m`, `2d 04h`.
pub(crate) fn duration(seconds: f64) -> String {
    let seconds = if seconds.is_finite() {
        seconds.max(0.0).round() as u64
    } else {
        u64::MAX
    };
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m {:02}s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{}h {:02}m", seconds / 3_600, seconds / 60 % 60),
        _ => format!("{}d {:02}h", seconds / 86_400, seconds / 3_600 % 24),
    }
}

/// `1.5 MB`.
pub(crate) fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["bytes", "kB", "MB", "GB", "TB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    if unit == 0 {
        format!("{bytes} bytes")
    } else {
        format!("{value:.1} {}", UNITS[unit])
    }
}

/// A loss or a score in few digits.
pub(crate) fn number(value: f64) -> String {
    if value == 0.0 || (0.001..10_000.0).contains(&value.abs()) {
        format!("{value:.3}")
    } else {
        format!("{value:.2e}")
    }
}

/// `gray`, `RGB` or `RGBA`.
pub(crate) fn channels(channels: usize) -> String {
    match channels {
        1 => "gray".to_owned(),
        3 => "RGB".to_owned(),
        4 => "RGBA".to_owned(),
        other => plural(other as u64, "channel"),
    }
}

/// A path as it can be typed into a shell.
pub(crate) fn shell(path: &Path) -> String {
    let path = path.display().to_string();
    let is_plain = |c: char| c.is_alphanumeric() || "/\\:._-+@%=,".contains(c);
    if !path.is_empty() && path.chars().all(is_plain) {
        path
    } else {
        format!("'{}'", path.replace('\'', r"'\''"))
    }
}

/// A path that JSON can hold: what of it is no Unicode becomes U+FFFD, as where it is shown.
pub(crate) fn unicode(path: &Path) -> PathBuf {
    path.to_string_lossy().into_owned().into()
}

/// Text from files and their names without what would steer a terminal; line ends stay.
pub(crate) fn harmless(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() && c != '\n' { '\u{fffd}' } else { c })
        .collect()
}

/// The names that are nearest to one that is none of them, the best first.
pub(crate) fn near<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    // Jaro-Winkler runs from 0 to 1; from 0.8 on, people see why a name was offered. Much worse than the best is noise.
    const ALIKE: f64 = 0.8;
    const AS_GOOD: f64 = 0.1;
    let last = |path: &str| path.rsplit('.').next().unwrap_or_default().to_lowercase();
    let mut near: Vec<(f64, &str)> = known
        .into_iter()
        .map(|known| {
            let whole = strsim::jaro_winkler(&name.to_lowercase(), &known.to_lowercase());
            // `lr` and `learning_rate` differ, `beta1` and `training.beta1` mean the same.
            (whole.max(strsim::jaro_winkler(&last(name), &last(known))), known)
        })
        .filter(|(likeness, _)| *likeness >= ALIKE)
        .collect();
    near.sort_by(|a, b| b.0.total_cmp(&a.0));
    let best = near.first().map_or(0.0, |(likeness, _)| *likeness);
    near.into_iter()
        .filter(|(likeness, _)| *likeness >= best - AS_GOOD)
        .map(|(_, known)| known)
        .take(3)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!([0, 999, 1000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!(
            [0, 64, 9_999, 12_345, 1_000_000].map(kimg),
            ["0", "0.064", "9.999", "12.3", "1,000"]
        );
        assert_eq!(
            [0, 999, 1000, 999_999, 2_500_000_000].map(bytes),
            ["0 bytes", "999 bytes", "1.0 kB", "1.0 MB", "2.5 GB"]
        );
        assert_eq!(
            [0.0, 0.6543, -12.0, 1e-5, f64::NAN].map(number),
            ["0.000", "0.654", "-12.000", "1.00e-5", "NaN"]
        );
        assert_eq!(
            [1, 2, 2000].map(|n| plural(n, "image")),
            ["1 image", "2 images", "2,000 images"]
        );
    }

    #[test]
    fn times_read_well() {
        let times = [0.0, 59.4, 59.6, 125.0, 3_600.0, 187_200.0, -3.0];
        assert_eq!(
            times.map(duration),
            ["0s", "59s", "1m 00s", "2m 05s", "1h 00m", "2d 04h", "0s"]
        );
    }

    #[test]
    fn paths_can_be_typed() {
        let shell = |path: &str| shell(Path::new(path));
        assert_eq!(shell("runs/00001-pottery"), "runs/00001-pottery");
        assert_eq!(shell("my runs/it's"), r"'my runs/it'\''s'");
        assert_eq!(shell("$(rm)"), "'$(rm)'");
        assert_eq!(shell(""), "''");
    }

    #[test]
    fn names_cannot_steer_the_terminal() {
        assert_eq!(harmless("a\x1b[31m\u{9b}b\nö"), "a\u{fffd}[31m\u{fffd}b\nö");
    }

    #[test]
    fn near_names_are_offered() {
        let known = ["training.beta1", "training.learning_rate", "data.flip", "seed"];
        assert_eq!(near("training.learning_rat", known)[0], "training.learning_rate");
        assert_eq!(near("beta1", known), ["training.beta1"]);
        assert!(near("zzz", known).is_empty());
    }
}
