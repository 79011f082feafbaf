//! Small pictures in every format and mode, made in code.

use std::io::Cursor;
use std::path::{Path, PathBuf};

use gander_data::{Dataset, OpenOptions, Opened, Result};
use image::{DynamicImage, ImageFormat, Rgb, RgbImage};

/// A picture that tells its corners apart, different for each number.
pub(crate) fn rgb(width: u32, height: u32, number: u8) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        let ramp = |at: u32, side: u32| (at * 255 / side.max(2).saturating_sub(1)).min(255) as u8;
        Rgb([ramp(x, width), ramp(y, height), number.wrapping_mul(23)])
    })
}

/// An image's bytes in a format.
pub(crate) fn encoded(image: impl Into<DynamicImage>, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image.into().write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

/// A PNG of [`rgb`].
pub(crate) fn png(width: u32, height: u32, number: u8) -> Vec<u8> {
    encoded(rgb(width, height, number), ImageFormat::Png)
}

/// A PNG in any mode of the format, from rows as the format packs them.
pub(crate) fn raw_png(
    (width, height): (u32, u32),
    (color, depth): (png::ColorType, png::BitDepth),
    palette: Option<&[u8]>,
    rows: &[u8],
) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, width, height);
    encoder.set_color(color);
    encoder.set_depth(depth);
    if let Some(palette) = palette {
        encoder.set_palette(palette.to_vec());
    }
    let mut writer = encoder.write_header().unwrap();
    writer.write_image_data(rows).unwrap();
    writer.finish().unwrap();
    bytes
}

/// A PNG header that claims sides and holds no pixels.
pub(crate) fn png_bomb(width: u32, height: u32) -> Vec<u8> {
    let mut bytes = b"\x89PNG\r\n\x1a\n".to_vec();
    let mut chunk = |kind: &[u8; 4], data: &[u8]| {
        bytes.extend((data.len() as u32).to_be_bytes());
        let checked = [&kind[..], data].concat();
        bytes.extend(&checked);
        let mut crc = flate2::Crc::new();
        crc.update(&checked);
        bytes.extend(crc.sum().to_be_bytes());
    };
    chunk(
        b"IHDR",
        &[&width.to_be_bytes()[..], &height.to_be_bytes(), &[8, 2, 0, 0, 0]].concat(),
    );
    chunk(b"IDAT", &[0x78, 0x9C, 3, 0, 0, 0, 0, 1]);
    chunk(b"IEND", &[]);
    bytes
}

/// Writes a file and the folders above it.
pub(crate) fn write(root: &Path, name: &str, bytes: &[u8]) {
    let path = root.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, bytes).unwrap();
}

/// A folder of files.
pub(crate) fn folder(files: &[(&str, Vec<u8>)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        write(folder.path(), name, bytes);
    }
    folder
}

/// Options for sets of a single picture.
pub(crate) fn any() -> OpenOptions {
    OpenOptions {
        min_images: 1,
        threads: 2,
        ..OpenOptions::default()
    }
}

pub(crate) fn open(path: &Path, options: &OpenOptions) -> Result<Opened> {
    gander_data::open(&[PathBuf::from(path)], options)
}

pub(crate) fn read(set: &dyn Dataset, index: usize) -> Vec<u8> {
    let mut pixels = vec![0; set.shape().bytes()];
    set.read(index, &mut pixels).unwrap();
    pixels
}

/// All images of a set.
pub(crate) fn all(set: &dyn Dataset) -> Vec<Vec<u8>> {
    (0..set.len()).map(|index| read(set, index)).collect()
}

/// The reasons of what was left out, as `name: reason`.
pub(crate) fn reasons(opened: &Opened) -> Vec<String> {
    let name = |path: &Path| path.file_name().unwrap().to_string_lossy().into_owned();
    opened
        .skipped
        .iter()
        .map(|skipped| format!("{}: {}", name(&skipped.path), skipped.reason))
        .collect()
}
