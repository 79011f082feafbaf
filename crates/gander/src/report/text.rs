//! Numbers and texts as people read them.

/// Text that stands in HTML, also between quotes.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}

/// Text that stands in HTML, what it has between backticks as code.
pub(super) fn prose(text: &str) -> String {
    let escaped = escape(text);
    let parts: Vec<&str> = escaped.split('`').collect();
    if parts.len().is_multiple_of(2) {
        return escaped;
    }
    let tag = |(at, part): (usize, &&str)| {
        if at % 2 == 1 {
            format!("<code>{part}</code>")
        } else {
            (*part).to_owned()
        }
    };
    parts.iter().enumerate().map(tag).collect()
}

/// A whole number with a comma at every thousand.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// Three digits that count, with a letter for thousands, millions and billions.
pub(super) fn short(number: f64) -> String {
    let size = number.abs();
    let (divisor, letter) = match size {
        0.0..9999.5 => (1.0, ""),
        ..999_500.0 => (1e3, " k"),
        ..999_500_000.0 => (1e6, " M"),
        _ => (1e9, " G"),
    };
    format!("{}{letter}", significant(number / divisor))
}

/// Three digits that count.
pub(super) fn significant(number: f64) -> String {
    let size = number.abs();
    if !number.is_finite() {
        return "not finite".into();
    }
    if size == 0.0 {
        return "0".into();
    }
    if !(1e-3..1e6).contains(&size) {
        let text = format!("{number:.2e}");
        return match text.split_once('e') {
            Some((digits, power)) => format!("{}e{power}", digits.trim_end_matches('0').trim_end_matches('.')),
            None => text,
        };
    }
    let before_point = size.log10().floor() as i32 + 1;
    let text = format!("{number:.*}", (3 - before_point).max(0) as usize);
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

/// A span of time in its two largest units.
pub(super) fn duration(seconds: f64) -> String {
    let whole = seconds.max(0.0).round() as u64;
    let (days, hours, minutes, rest) = (whole / 86_400, whole / 3600 % 24, whole / 60 % 60, whole % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{rest} s"),
        (0, 0, _) => format!("{minutes} min {rest} s"),
        (0, ..) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}

/// `1 image`, `2 images`.
pub(super) fn count(number: usize, one: &str) -> String {
    if number == 1 {
        format!("1 {one}")
    } else {
        format!("{} {one}s", grouped(number as u64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!(
            [0, 999, 1000, 1_234_567].map(grouped),
            ["0", "999", "1,000", "1,234,567"]
        );
        let shorts = [0.0, 12.0, 9999.0, 72_000.0, 3_576_704.0, 2.5e10, -1500.0, -20_000.0].map(short);
        assert_eq!(shorts, ["0", "12", "9999", "72 k", "3.58 M", "25 G", "-1500", "-20 k"]);
        let numbers = [1.0, 0.5, 0.123_456, 28.25, 421.6, 0.0002, 1234.5, 9.999, f64::NAN].map(significant);
        assert_eq!(
            numbers,
            ["1", "0.5", "0.123", "28.2", "422", "2e-4", "1234", "10", "not finite"]
        );
    }

    #[test]
    fn durations_have_two_units() {
        let spans = [0.0, 59.4, 171.0, 3600.0, 90_061.0, -1.0].map(duration);
        assert_eq!(spans, ["0 s", "59 s", "2 min 51 s", "1 h 0 min", "1 d 1 h", "0 s"]);
    }

    #[test]
    fn no_character_opens_a_tag_or_ends_a_quote() {
        assert_eq!(escape("<a href=\"x\">'&"), "&lt;a href=&quot;x&quot;&gt;&#39;&amp;");
    }

    #[test]
    fn backticks_in_pairs_are_code() {
        assert_eq!(prose("a `b <c>` d"), "a <code>b &lt;c&gt;</code> d");
        assert_eq!(prose("a ` b"), "a ` b");
    }

    #[test]
    fn one_is_singular() {
        assert_eq!([count(1, "warning"), count(2, "warning")], ["1 warning", "2 warnings"]);
    }
}
