//! Values as users write them: sizes, seeds, shares, settings.

use std::path::PathBuf;

use gander::bench::Workload;
use gander_data::Size;
use gander_tensor::{Isa, Precision};

/// Seeds that one command may name: more would be a mistake, and would not fit in memory.
pub(crate) const MAX_SEEDS: u64 = 10_000_000;

/// `64` or `92x112` (width by height).
pub(crate) fn size(text: &str) -> Result<Size, String> {
    let side = |text: &str| match text.parse::<usize>() {
        Ok(side @ 1..=32_768) => Ok(side),
        Ok(other) => Err(format!("a side is from 1 to 32768 px: {other}")),
        Err(_) => Err("a number of pixels such as 64, or width by height such as 92x112".to_owned()),
    };
    let (width, height) = text.split_once(['x', 'X', '×']).unwrap_or((text, text));
    Ok(Size {
        width_px: side(width)?,
        height_px: side(height)?,
    })
}

/// A picture to write.
pub(crate) fn png(text: &str) -> Result<PathBuf, String> {
    with_extension(text, "png")
}

/// A name that says what the file will be, so that a slip does not replace a generator by a picture.
pub(crate) fn with_extension(text: &str, extension: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    match path.extension() {
        Some(found) if found.eq_ignore_ascii_case(extension) => Ok(path),
        _ => Err(format!("a file name that ends in .{extension}")),
    }
}

/// `0-35`, `7`, or `1,5,9-12`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seeds(pub(crate) Vec<u64>);

/// Reads [`Seeds`].
pub(crate) fn seeds(text: &str) -> Result<Seeds, String> {
    let number = |text: &str| {
        let text = text.trim();
        text.parse::<u64>()
            .map_err(|_| format!("not a seed: {text:?}; write seeds like 0-35 or 1,5,9-12"))
    };
    let mut seeds = Vec::new();
    for part in text.split(',') {
        let (first, last) = match part.split_once('-') {
            Some((first, last)) => (number(first)?, number(last)?),
            None => (number(part)?, number(part)?),
        };
        if first > last {
            return Err(format!("the range runs backwards: {part}"));
        }
        if last - first >= MAX_SEEDS - seeds.len() as u64 {
            return Err(format!("more than {MAX_SEEDS} seeds: {part}"));
        }
        seeds.extend(first..=last);
    }
    Ok(Seeds(seeds))
}

/// `5%` or `0.05`: more than nothing, less than all.
pub(crate) fn share(text: &str) -> Result<f64, String> {
    let (number, unit) = match text.strip_suffix('%') {
        Some(percent) => (percent, 100.0),
        None => (text, 1.0),
    };
    match number.trim().parse::<f64>() {
        Ok(value) if value > 0.0 && value < unit => Ok(value / unit),
        Ok(_) => Err("a share is more than nothing and less than all".to_owned()),
        Err(_) => Err("a share such as 5% or 0.05".to_owned()),
    }
}

/// The same, or 0 for nothing.
pub(crate) fn share_or_none(text: &str) -> Result<f64, String> {
    if text == "0" { Ok(0.0) } else { share(text) }
}

/// A finite number above zero.
pub(crate) fn positive(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if value > 0.0 && value.is_finite() => Ok(value),
        Ok(_) => Err("a finite number above 0".to_owned()),
        Err(_) => Err("a number such as 3 or 0.5".to_owned()),
    }
}

/// A finite number from zero on.
pub(crate) fn not_negative(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if value >= 0.0 && value.is_finite() => Ok(value),
        Ok(_) => Err("a finite number, 0 or more".to_owned()),
        Err(_) => Err("a number such as 1 or 0.5".to_owned()),
    }
}

/// A weight of the gradient penalties, or the word to search for one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Gamma {
    Given(f64),
    Search,
}

/// `0.1` or `search`.
pub(crate) fn gamma(text: &str) -> Result<Gamma, String> {
    if text == "search" {
        return Ok(Gamma::Search);
    }
    let number = not_negative(text).map(Gamma::Given);
    number.map_err(|problem| format!("{problem}, or the word search"))
}

/// `key=value`.
pub(crate) fn setting(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => Ok((key.trim().to_owned(), value.trim().to_owned())),
        _ => Err("key=value, such as training.beta1=0.5".to_owned()),
    }
}

/// The precisions that can be chosen; `auto` is what is fastest on this processor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum PrecisionChoice {
    F32,
    Bf16,
    Auto,
}

impl PrecisionChoice {
    /// The choice, if one was made.
    pub(crate) fn precision(self) -> Option<Precision> {
        match self {
            Self::F32 => Some(Precision::F32),
            Self::Bf16 => Some(Precision::Bf16),
            Self::Auto => None,
        }
    }
}

/// An instruction set by its name.
pub(crate) fn isa(name: &str) -> Result<Isa, String> {
    name.parse()
        .map_err(|_| format!("one of {}", Isa::ALL.map(|isa| isa.to_string()).join(", ")))
}

/// A workload by its name.
pub(crate) fn workload(name: &str) -> Result<Workload, String> {
    name.parse().map_err(|_| {
        format!(
            "one of {}",
            Workload::ALL.map(|workload| workload.to_string()).join(", ")
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_sides_or_width_by_height() {
        assert_eq!(
            size("64").unwrap(),
            Size {
                width_px: 64,
                height_px: 64
            }
        );
        assert_eq!(
            size("92x112").unwrap(),
            Size {
                width_px: 92,
                height_px: 112
            }
        );
        for wrong in [
            "",
            "x",
            "64x",
            "64x64x3",
            "-4",
            "0",
            "4.5",
            "64px",
            "99999999999999999999",
            "40000",
        ] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn seeds_are_ranges_and_lists() {
        assert_eq!(seeds("0-3").unwrap().0, [0, 1, 2, 3]);
        assert_eq!(seeds("1,5, 9-11").unwrap().0, [1, 5, 9, 10, 11]);
        assert_eq!(seeds("18446744073709551615").unwrap().0, [u64::MAX]);
        for wrong in [
            "",
            "-",
            "3-",
            "-3",
            "5-3",
            "a",
            "1,,2",
            "0-18446744073709551615",
            "0-10000000",
        ] {
            assert!(seeds(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn shares_are_percent_or_fractions() {
        assert_eq!(share("5%").unwrap(), 0.05);
        assert_eq!(share("0.25").unwrap(), 0.25);
        for wrong in ["0", "1", "100%", "-5%", "5", "nan", "%", "some"] {
            assert!(share(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn numbers_are_finite() {
        assert_eq!(positive("2.5").unwrap(), 2.5);
        assert_eq!(not_negative("0").unwrap(), 0.0);
        for wrong in ["nan", "inf", "-1", "", "ten"] {
            assert!(positive(wrong).is_err() && not_negative(wrong).is_err(), "{wrong}");
        }
        assert!(positive("0").is_err());
    }

    #[test]
    fn settings_have_a_key() {
        assert_eq!(
            setting("training.beta1=0.5").unwrap(),
            ("training.beta1".into(), "0.5".into())
        );
        assert_eq!(setting(" a = b=c ").unwrap(), ("a".into(), "b=c".into()));
        assert!(setting("beta1").is_err() && setting("=1").is_err());
    }

    #[test]
    fn instruction_sets_have_names() {
        assert_eq!(isa("avx2").unwrap(), Isa::Avx2);
        assert_eq!(isa("mmx").unwrap_err(), "one of avx512, avx2, neon, portable");
    }
}
