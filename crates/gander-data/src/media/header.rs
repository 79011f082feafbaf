//! The header of an image file: its sides and its mode, without its pixels.

use std::io::Cursor;

use image::{ImageDecoder, ImageFormat, ImageReader, metadata::Orientation};

use super::MediaLimits;

/// How a file stores its pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Gray.
    Gray,
    /// Gray and alpha.
    GrayAlpha,
    /// Red, green, blue.
    Rgb,
    /// Red, green, blue, alpha.
    Rgba,
    /// Indices into a table of colors.
    Palette,
    /// The four inks of print.
    Cmyk,
}

/// What is known of an image before it is decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The format, by content, never by name. `None` for rows of an array.
    pub format: Option<ImageFormat>,
    /// Columns, after the rotation that EXIF asks for.
    pub width_px: usize,
    /// Rows, after the rotation that EXIF asks for.
    pub height_px: usize,
    /// How pixels are stored.
    pub kind: Kind,
    /// Bits of each channel (of each index in a palette image).
    pub bits: u8,
    /// Whether there can be transparency.
    pub alpha: bool,
}

impl Header {
    /// The mode for people: `gray`, `rgba 16-bit`, `palette`.
    pub fn mode(&self) -> String {
        let name = match self.kind {
            Kind::Gray => "gray",
            Kind::GrayAlpha => "gray+alpha",
            Kind::Rgb => "rgb",
            Kind::Rgba => "rgba",
            Kind::Palette if self.alpha => "palette+alpha",
            Kind::Palette => "palette",
            Kind::Cmyk => "cmyk",
        };
        if self.bits == 8 || self.kind == Kind::Palette {
            name.into()
        } else {
            format!("{name} {}-bit", self.bits)
        }
    }

    /// The format for people: `png`, or `array` for rows of IDX and NPZ files.
    pub fn format_name(&self) -> &'static str {
        self.format
            .and_then(|format| format.extensions_str().first().copied())
            .unwrap_or("array")
    }

    /// Whether the file says itself that it is gray.
    pub(crate) fn is_gray(&self) -> bool {
        matches!(self.kind, Kind::Gray | Kind::GrayAlpha)
    }

    /// Whether gray pictures are stored as colors for want of a gray mode.
    pub(crate) fn may_hide_gray(&self) -> bool {
        use ImageFormat::{Bmp, Gif, WebP};
        self.kind == Kind::Palette || matches!(self.format, Some(Bmp | Gif | WebP))
    }
}

/// Why a header could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum HeaderError {
    /// The sides are over the limits: no use in reading on.
    Refused(String),
    /// Not an image, or more bytes are needed.
    Unreadable(String),
}

impl HeaderError {
    pub(crate) fn reason(self) -> String {
        match self {
            Self::Refused(reason) | Self::Unreadable(reason) => reason,
        }
    }
}

/// Reads a header from a file's first bytes (or all of them); allocates nothing of the size of the image.
///
/// # Errors
/// The reason, lower case: no image, damaged, or over the limits.
pub fn header(bytes: &[u8], limits: MediaLimits) -> Result<Header, String> {
    peek(bytes, limits).map_err(HeaderError::reason)
}

/// [`header`], telling a refusal from a lack of bytes.
pub(crate) fn peek(bytes: &[u8], limits: MediaLimits) -> Result<Header, HeaderError> {
    super::decode::guard(|| peek_unguarded(bytes, limits)).unwrap_or_else(|reason| Err(HeaderError::Unreadable(reason)))
}

fn peek_unguarded(bytes: &[u8], limits: MediaLimits) -> Result<Header, HeaderError> {
    let unreadable = |error: &dyn std::fmt::Display| HeaderError::Unreadable(lower(error));
    if bytes.is_empty() {
        return Err(HeaderError::Unreadable("the file is empty".into()));
    }
    let mut reader = ImageReader::new(Cursor::new(bytes))
        .with_guessed_format()
        .map_err(|e| unreadable(&e))?;
    let format = reader
        .format()
        .ok_or_else(|| HeaderError::Unreadable("not an image".into()))?;
    reader.limits(limits.for_decoder());
    let mut decoder = reader.into_decoder().map_err(|e| unreadable(&e))?;
    let (width, height) = decoder.dimensions();
    if let Some(reason) = limits.refuse(width, height) {
        return Err(HeaderError::Refused(reason));
    }
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let (width, height) = if swaps_sides(orientation) {
        (height, width)
    } else {
        (width, height)
    };
    let color = decoder.color_type();
    let (kind, bits) = stored_as(format, bytes).unwrap_or_else(|| {
        let kind = match (color.has_color(), color.has_alpha()) {
            (false, false) => Kind::Gray,
            (false, true) => Kind::GrayAlpha,
            (true, false) => Kind::Rgb,
            (true, true) => Kind::Rgba,
        };
        (kind, (color.bytes_per_pixel() * 8 / color.channel_count()).min(32))
    });
    Ok(Header {
        format: Some(format),
        width_px: width as usize,
        height_px: height as usize,
        kind,
        bits,
        alpha: color.has_alpha(),
    })
}

fn swaps_sides(orientation: Orientation) -> bool {
    use Orientation::{Rotate90, Rotate90FlipH, Rotate270, Rotate270FlipH};
    matches!(orientation, Rotate90 | Rotate270 | Rotate90FlipH | Rotate270FlipH)
}

/// What decoders do not tell, because they convert it on the way.
fn stored_as(format: ImageFormat, bytes: &[u8]) -> Option<(Kind, u8)> {
    match format {
        // IHDR is the first chunk: depth and color type are bytes 24 and 25 (PNG specification, 11.2.1).
        ImageFormat::Png => {
            let kind = match *bytes.get(25)? {
                0 => Kind::Gray,
                2 => Kind::Rgb,
                3 => Kind::Palette,
                4 => Kind::GrayAlpha,
                _ => Kind::Rgba,
            };
            Some((kind, bytes[24]))
        }
        ImageFormat::Gif => Some((Kind::Palette, 8)),
        // BITMAPINFOHEADER: bits per pixel at 28.
        ImageFormat::Bmp => (*bytes.get(28)? <= 8).then_some((Kind::Palette, bytes[28])),
        ImageFormat::Jpeg => {
            let frame = JpegMarkers::new(bytes).find(|(marker, _)| is_frame(*marker))?.1;
            (*frame.get(5)? == 4).then_some((Kind::Cmyk, 8))
        }
        _ => None,
    }
}

/// SOF0 to SOF15, which holds the numbers of DHT (C4), JPG (C8) and DAC (CC) too (ITU-T T.81, table B.1).
fn is_frame(marker: u8) -> bool {
    (0xC0..=0xCF).contains(&marker) && !matches!(marker, 0xC4 | 0xC8 | 0xCC)
}

/// The marker segments of a JPEG file up to its first scan: the marker and its bytes after the length.
pub(super) struct JpegMarkers<'a> {
    bytes: &'a [u8],
    /// Where the next marker is expected; after the last segment, where the first scan starts.
    pub(super) position: usize,
}

impl<'a> JpegMarkers<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, position: 2 }
    }
}

impl<'a> Iterator for JpegMarkers<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        while self.bytes.get(self.position) == Some(&0xFF) && self.bytes.get(self.position + 1) == Some(&0xFF) {
            self.position += 1;
        }
        let [0xFF, marker, high, low] = *self.bytes.get(self.position..self.position + 4)? else {
            return None;
        };
        let length = usize::from(u16::from_be_bytes([high, low])).max(2);
        let segment = self.bytes.get(self.position + 4..self.position + 2 + length)?;
        self.position += 2 + length;
        Some((marker, segment))
    }
}

/// An error of a decoder in this project's manner: lower case, no full stop, one line.
pub(super) fn lower(error: &dyn std::fmt::Display) -> String {
    let text = error.to_string();
    let text = text.lines().map(str::trim).collect::<Vec<_>>().join(" ");
    let text = text.trim_end_matches('.');
    let mut characters = text.chars();
    match characters.next() {
        // An abbreviation keeps its capitals.
        Some(first) if !characters.clone().next().is_some_and(char::is_uppercase) => {
            first.to_lowercase().chain(characters).collect()
        }
        _ => text.into(),
    }
}
