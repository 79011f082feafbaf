//! Bytes that are wrong in a known way.

use std::io::{Cursor, Write};

use image::{ImageFormat, RgbImage};
use zip::{ZipWriter, write::SimpleFileOptions};

/// A picture whose pixels depend on a number.
pub(crate) fn png(number: u8) -> Vec<u8> {
    let picture = RgbImage::from_fn(16, 16, |x, y| image::Rgb([x as u8 * 16, y as u8 * 16, number]));
    let mut bytes = Cursor::new(Vec::new());
    picture.write_to(&mut bytes, ImageFormat::Png).unwrap();
    bytes.into_inner()
}

/// A PNG of a few bytes that claims a size; its check sum is right.
pub(crate) fn png_that_claims(width_px: u32, height_px: u32) -> Vec<u8> {
    let mut header = b"IHDR".to_vec();
    header.extend(width_px.to_be_bytes());
    header.extend(height_px.to_be_bytes());
    header.extend([8, 2, 0, 0, 0]);
    let mut bytes = b"\x89PNG\r\n\x1a\n\0\0\0\x0d".to_vec();
    bytes.extend(&header);
    bytes.extend(crc32(&header).to_be_bytes());
    bytes.extend(b"\0\0\0\x10IDAT");
    bytes.extend([0; 20]);
    bytes
}

/// The check sum of PNG chunks: ISO 3309, bit by bit.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |sum, &byte| {
        (0..8).fold(sum ^ u32::from(byte), |sum, _| {
            (sum >> 1) ^ (0xedb8_8320 & 0u32.wrapping_sub(sum & 1))
        })
    })
}

/// A ZIP archive of named files.
pub(crate) fn zip(files: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in files {
        archive.start_file(*name, SimpleFileOptions::default()).unwrap();
        archive.write_all(bytes).unwrap();
    }
    archive.finish().unwrap().into_inner()
}

/// A safetensors file with another version in its metadata.
pub(crate) fn with_version(file: &[u8], version: &str) -> Vec<u8> {
    let length = u64::from_le_bytes(file[..8].try_into().unwrap()) as usize;
    let header = std::str::from_utf8(&file[8..8 + length]).unwrap();
    let (was, is) = (r#""gander.version":"1""#, format!(r#""gander.version":"{version}""#));
    assert!(header.contains(was), "{header}");
    let mut header = header.replace(was, &is).into_bytes();
    header.resize(header.len().next_multiple_of(8), b' ');
    [
        &(header.len() as u64).to_le_bytes(),
        header.as_slice(),
        &file[8 + length..],
    ]
    .concat()
}

/// A safetensors file whose header claims 2^60 bytes.
pub(crate) fn safetensors_that_claims() -> Vec<u8> {
    [
        &(1u64 << 60).to_le_bytes(),
        br#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#.as_slice(),
        &[0; 4],
    ]
    .concat()
}

/// A safetensors file with one tensor of 2^60 bytes.
pub(crate) fn safetensors_with_a_huge_tensor() -> Vec<u8> {
    let header = format!(
        r#"{{"a":{{"dtype":"F32","shape":[{}],"data_offsets":[0,{}]}}}}"#,
        1u64 << 58,
        1u64 << 60
    );
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &[0; 64]].concat()
}
