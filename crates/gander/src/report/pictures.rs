//! Pictures that stand in the page itself.

use std::{fmt::Write, fs, io::Cursor, path::Path};

use image::{DynamicImage, ImageFormat, codecs::jpeg::JpegEncoder, imageops::FilterType};

use crate::run::Moment;

/// Pictures of samples at most.
pub(super) const MAX_SAMPLES: usize = 24;
/// Bytes of all pictures of a page at most, before they are written as text, which makes them a third longer.
const ALL_BYTES: usize = 4 << 20;
/// Bytes of one.
const BYTES: usize = ALL_BYTES / (MAX_SAMPLES + 1);
/// The longer side at most, in pixels of the page; more would be shown smaller anyway.
const MAX_SIDE_PX: u32 = 1080;

/// At most [`MAX_SAMPLES`] moments evenly spread, the first and the last among them.
pub(super) fn spread(moments: &[Moment]) -> Vec<&Moment> {
    let count = moments.len().min(MAX_SAMPLES);
    let last = count.saturating_sub(1).max(1);
    (0..count).map(|at| &moments[at * (moments.len() - 1) / last]).collect()
}

/// A picture as a `data:` address, made smaller until it fits; `None` for what is not there or no picture.
pub(super) fn embed(path: &Path) -> Option<String> {
    let bytes = fs::read(path).ok()?;
    let picture = image::load_from_memory_with_format(&bytes, ImageFormat::Png).ok()?;
    if bytes.len() <= BYTES && picture.width().max(picture.height()) <= MAX_SIDE_PX {
        return Some(address("image/png", &bytes));
    }
    Some(address("image/jpeg", &shrink(picture)))
}

/// A picture at hand as a `data:` address, made smaller until it fits.
pub(super) fn address_of(picture: &DynamicImage) -> String {
    let mut bytes = Cursor::new(Vec::new());
    // Writing into memory fails for no picture of this size.
    if picture.width().max(picture.height()) <= MAX_SIDE_PX
        && picture.write_to(&mut bytes, ImageFormat::Png).is_ok()
        && bytes.get_ref().len() <= BYTES
    {
        return address("image/png", bytes.get_ref());
    }
    address("image/jpeg", &shrink(picture.clone()))
}

fn shrink(mut picture: DynamicImage) -> Vec<u8> {
    if picture.width().max(picture.height()) > MAX_SIDE_PX {
        picture = picture.resize(MAX_SIDE_PX, MAX_SIDE_PX, FilterType::CatmullRom);
    }
    loop {
        for quality in [92, 84, 72] {
            let mut bytes = Cursor::new(Vec::new());
            let encoder = JpegEncoder::new_with_quality(&mut bytes, quality);
            let is_small = picture.width().max(picture.height()) < 32;
            // Writing into memory fails for no picture of this size.
            if picture.to_rgb8().write_with_encoder(encoder).is_ok() && bytes.get_ref().len() <= BYTES || is_small {
                return bytes.into_inner();
            }
        }
        picture = picture.resize(
            picture.width() * 3 / 4,
            picture.height() * 3 / 4,
            FilterType::CatmullRom,
        );
    }
}

fn address(kind: &str, bytes: &[u8]) -> String {
    let mut address = String::with_capacity(bytes.len() * 4 / 3 + 64);
    // Writing to a string never fails.
    let _ = write!(address, "data:{kind};base64,");
    base64(bytes, &mut address);
    address
}

/// RFC 4648, section 4.
fn base64(bytes: &[u8], text: &mut String) {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for chunk in bytes.chunks(3) {
        let byte = |at: usize| u32::from(chunk.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for at in 0..4 {
            let letter = LETTERS[(bits >> (18 - 6 * at) & 63) as usize];
            text.push(if at > chunk.len() { '=' } else { letter as char });
        }
    }
}

#[cfg(test)]
mod tests {
    use image::RgbImage;

    use super::*;

    /// RFC 4648, section 10.
    #[test]
    fn known_texts() {
        let cases = [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("\u{7f}", "fw=="),
        ];
        for (bytes, expected) in cases {
            let mut text = String::new();
            base64(bytes.as_bytes(), &mut text);
            assert_eq!(text, expected);
        }
    }

    #[test]
    fn many_samples_are_spread_evenly() {
        let moments = |count| {
            (0..count)
                .map(|images_seen| Moment {
                    images_seen,
                    path: "a".into(),
                })
                .collect::<Vec<_>>()
        };
        let chosen = |count: u64| {
            spread(&moments(count))
                .iter()
                .map(|m| m.images_seen)
                .collect::<Vec<_>>()
        };
        assert_eq!((chosen(0), chosen(1), chosen(3)), (vec![], vec![0], vec![0, 1, 2]));
        let many = chosen(1000);
        assert_eq!((many.len(), many[0], many[23]), (24, 0, 999));
        assert!(
            many.windows(2).all(|pair| (42..=45).contains(&(pair[1] - pair[0]))),
            "{many:?}"
        );
    }

    #[test]
    fn a_large_picture_is_made_to_fit() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("noise.png");
        let noise = |x: u32, y: u32| {
            let bits = (x.wrapping_mul(0x9E37_79B1) ^ y.wrapping_mul(0x85EB_CA77)).wrapping_mul(0xC2B2_AE3D);
            image::Rgb([(bits >> 24) as u8, (bits >> 16) as u8, (bits >> 8) as u8])
        };
        crate::images::write_png(&path, &RgbImage::from_fn(1400, 700, noise).into()).unwrap();
        let address = embed(&path).unwrap();
        assert!(address.starts_with("data:image/jpeg;base64,") && address.len() < BYTES * 4 / 3 + 64);
        crate::images::write_png(&path, &RgbImage::new(8, 8).into()).unwrap();
        assert!(embed(&path).unwrap().starts_with("data:image/png;base64,iVBOR"));
        assert_eq!(embed(directory.path()), None);
    }
}
