//! Every format and mode is read right.

use gander_data::{AlphaPolicy, Channels, OpenOptions};
use image::{DynamicImage, GrayAlphaImage, GrayImage, ImageBuffer, ImageFormat, Luma, Rgba, RgbaImage};
use png::{BitDepth, ColorType};

use crate::pictures::{any, encoded, folder, open, png, raw_png, read, reasons, rgb};

/// The pixels of the only file of a set, and the set's channels.
fn only(name: &str, bytes: Vec<u8>, options: &OpenOptions) -> (usize, Vec<u8>) {
    let folder = folder(&[(name, bytes)]);
    let opened = open(folder.path(), options).unwrap();
    (opened.summary.shape.channels, read(&*opened.train, 0))
}

#[test]
fn lossless_color_formats_agree() {
    let image = rgb(9, 7, 5);
    for format in [
        ImageFormat::Png,
        ImageFormat::WebP,
        ImageFormat::Bmp,
        ImageFormat::Tiff,
        ImageFormat::Pnm,
    ] {
        // The content decides, not the name.
        let (channels, pixels) = only("picture.jpg", encoded(image.clone(), format), &any());
        assert_eq!((channels, pixels), (3, image.clone().into_raw()), "{format:?}");
    }
}

#[test]
fn a_jpeg_is_nearly_the_picture() {
    let image = rgb(32, 24, 5);
    let (channels, pixels) = only("a.jpeg", encoded(image.clone(), ImageFormat::Jpeg), &any());
    assert_eq!(channels, 3);
    let worst = pixels
        .iter()
        .zip(image.as_raw())
        .map(|(a, b)| a.abs_diff(*b))
        .max()
        .unwrap();
    assert!(worst < 40, "{worst}");
    let gray = GrayImage::from_pixel(8, 8, Luma([77]));
    let (channels, pixels) = only("a.jpg", encoded(gray, ImageFormat::Jpeg), &any());
    assert_eq!(channels, 1);
    assert!(pixels.iter().all(|pixel| pixel.abs_diff(77) <= 1));
}

#[test]
fn gray_stays_one_channel() {
    let gray = GrayImage::from_fn(5, 4, |x, y| Luma([(x * 50 + y) as u8]));
    for format in [ImageFormat::Png, ImageFormat::Pnm, ImageFormat::Tiff, ImageFormat::Bmp] {
        let found = only("a.png", encoded(gray.clone(), format), &any());
        assert_eq!(found, (1, gray.clone().into_raw()), "{format:?}");
    }
    // WebP has no gray mode: the pixels decide.
    let webp = encoded(DynamicImage::ImageLuma8(gray.clone()).to_rgb8(), ImageFormat::WebP);
    assert_eq!(only("a.webp", webp, &any()), (1, gray.into_raw()));
}

#[test]
fn gray_bits_span_black_to_white() {
    // 1-bit rows of 10110000.
    let one_bit = raw_png((4, 1), (ColorType::Grayscale, BitDepth::One), None, &[0b1011_0000]);
    assert_eq!(only("a.png", one_bit, &any()), (1, vec![255, 0, 255, 255]));
    let four_bits = raw_png((2, 1), (ColorType::Grayscale, BitDepth::Four), None, &[0x3F]);
    assert_eq!(only("a.png", four_bits, &any()), (1, vec![51, 255]));
    let bitmap = b"P1\n3 1\n1 0 1\n".to_vec();
    assert_eq!(only("a.pbm", bitmap, &any()), (1, vec![0, 255, 0]));
}

#[test]
fn sixteen_bits_are_scaled_not_cut() {
    let deep: ImageBuffer<Luma<u16>, Vec<u16>> = ImageBuffer::from_vec(4, 1, vec![0, 0x00FF, 0x7FFF, 0xFFFF]).unwrap();
    for format in [ImageFormat::Png, ImageFormat::Tiff] {
        let (channels, pixels) = only("a.png", encoded(deep.clone(), format), &any());
        // 255 / 65535 · 255 = 0.99, which cutting the low byte makes 0; 32767 / 257 = 127.498.
        assert_eq!((channels, pixels), (1, vec![0, 1, 127, 255]), "{format:?}");
    }
}

#[test]
fn palettes_become_colors() {
    let palette = [255, 0, 0, 0, 0, 255];
    let bytes = raw_png(
        (3, 1),
        (ColorType::Indexed, BitDepth::One),
        Some(&palette),
        &[0b0100_0000],
    );
    assert_eq!(only("a.png", bytes, &any()), (3, vec![255, 0, 0, 0, 0, 255, 255, 0, 0]));
    let grays = raw_png(
        (2, 1),
        (ColorType::Indexed, BitDepth::One),
        Some(&[9, 9, 9, 70, 70, 70]),
        &[0b0100_0000],
    );
    assert_eq!(
        only("a.png", grays, &any()),
        (1, vec![9, 70]),
        "a palette of grays is gray"
    );
}

#[test]
fn the_first_frame_of_a_gif_counts() {
    let mut bytes = Vec::new();
    let mut encoder = image::codecs::gif::GifEncoder::new(&mut bytes);
    for color in [[255, 0, 0, 255], [0, 0, 255, 255]] {
        encoder
            .encode_frame(image::Frame::new(RgbaImage::from_pixel(3, 2, Rgba(color))))
            .unwrap();
    }
    drop(encoder);
    assert_eq!(only("a.gif", bytes, &any()), (3, [255, 0, 0].repeat(6)));
}

#[test]
fn transparency_is_laid_on_white_or_a_color_or_kept() {
    let image = RgbaImage::from_raw(2, 1, vec![255, 0, 0, 255, 0, 0, 0, 0]).unwrap();
    let bytes = encoded(image.clone(), ImageFormat::Png);
    assert_eq!(
        only("a.png", bytes.clone(), &any()),
        (3, vec![255, 0, 0, 255, 255, 255])
    );
    let over = OpenOptions {
        alpha: AlphaPolicy::Over([0, 0, 9]),
        ..any()
    };
    assert_eq!(only("a.png", bytes.clone(), &over), (3, vec![255, 0, 0, 0, 0, 9]));
    let keep = OpenOptions {
        alpha: AlphaPolicy::Keep,
        ..any()
    };
    assert_eq!(only("a.png", bytes, &keep), (4, image.into_raw()));
    let opaque = encoded(RgbaImage::from_pixel(2, 1, Rgba([1, 2, 3, 255])), ImageFormat::Png);
    assert_eq!(
        only("a.png", opaque, &keep),
        (3, vec![1, 2, 3, 1, 2, 3]),
        "alpha that is not used is dropped"
    );
}

#[test]
fn gray_with_alpha_is_gray_over_white() {
    let image = GrayAlphaImage::from_raw(2, 1, vec![10, 255, 10, 0]).unwrap();
    let bytes = encoded(image, ImageFormat::Png);
    assert_eq!(only("a.png", bytes.clone(), &any()), (1, vec![10, 255]));
    let keep = OpenOptions {
        alpha: AlphaPolicy::Keep,
        ..any()
    };
    assert_eq!(
        only("a.png", bytes.clone(), &keep),
        (4, vec![10, 10, 10, 255, 10, 10, 10, 0])
    );
    let colored = OpenOptions {
        alpha: AlphaPolicy::Over([255, 0, 0]),
        ..any()
    };
    assert_eq!(only("a.png", bytes, &colored), (3, vec![10, 10, 10, 255, 0, 0]));
}

#[test]
fn inks_become_colors() {
    // Full cyan, no other ink; and full black.
    for (ink, color) in [
        ([255, 0, 0, 0], [0, 255, 255]),
        ([0, 0, 0, 255], [0, 0, 0]),
        ([0, 0, 0, 0], [255; 3]),
    ] {
        for kind in [jpeg_encoder::ColorType::Cmyk, jpeg_encoder::ColorType::CmykAsYcck] {
            let mut bytes = Vec::new();
            jpeg_encoder::Encoder::new(&mut bytes, 100)
                .encode(&ink.repeat(64), 8, 8, kind)
                .unwrap();
            let folder = folder(&[("a.jpg", bytes)]);
            let opened = open(folder.path(), &any()).unwrap();
            assert_eq!(opened.summary.modes.keys().collect::<Vec<_>>(), ["cmyk"]);
            let pixels = read(&*opened.train, 0);
            let near = pixels
                .chunks(3)
                .all(|pixel| pixel.iter().zip(&color).all(|(a, b)| a.abs_diff(*b) <= 3));
            assert!(
                near,
                "ink {ink:?} as {kind:?} is {:?}, expected {color:?}",
                &pixels[..3]
            );
        }
    }
}

/// A JPEG with an EXIF segment that holds nothing but the orientation.
fn rotated_jpeg(image: image::RgbImage, orientation: u8) -> Vec<u8> {
    let jpeg = encoded(image, ImageFormat::Jpeg);
    let tiff = [
        b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0",
        &[orientation, 0, 0, 0, 0, 0, 0, 0][..],
    ]
    .concat();
    let payload = [b"Exif\0\0", &tiff[..]].concat();
    let length = (payload.len() as u16 + 2).to_be_bytes();
    [&jpeg[..2], &[0xFF, 0xE1], &length, &payload, &jpeg[2..]].concat()
}

#[test]
fn exif_rotation_is_applied() {
    // A tall picture, black above and white below, lies on its side in the file.
    let upright = image::RgbImage::from_fn(8, 16, |_, y| image::Rgb(if y < 8 { [0; 3] } else { [255; 3] }));
    let folder = folder(&[("a.jpg", rotated_jpeg(image::imageops::rotate270(&upright), 6))]);
    let opened = open(folder.path(), &any()).unwrap();
    let (shape, pixels) = (opened.train.shape(), read(&*opened.train, 0));
    assert_eq!((shape.width_px, shape.height_px), (8, 16));
    let mean = |bytes: &[u8]| bytes.iter().map(|&byte| u32::from(byte)).sum::<u32>() / bytes.len() as u32;
    assert!(mean(&pixels[..8 * 4 * 3]) < 10 && mean(&pixels[8 * 12 * 3..]) > 245);
    let size = opened.summary.sizes[0].size;
    assert_eq!(
        (size.width_px, size.height_px),
        (8, 16),
        "the header pass knows the rotation too"
    );
}

#[test]
fn channels_can_be_asked_for() {
    let gray = OpenOptions {
        channels: Some(Channels::Gray),
        ..any()
    };
    let (channels, pixels) = only("a.png", png(3, 2, 0), &gray);
    assert_eq!((channels, pixels.len()), (1, 6));
    let rgba = OpenOptions {
        channels: Some(Channels::Rgba),
        ..any()
    };
    let (channels, pixels) = only("a.png", png(3, 2, 0), &rgba);
    assert_eq!((channels, pixels[3]), (4, 255));
}

#[test]
fn a_cut_off_file_of_any_format_is_noticed() {
    let image = rgb(40, 40, 3);
    let formats = [
        (ImageFormat::Png, "png"),
        (ImageFormat::Jpeg, "jpg"),
        (ImageFormat::WebP, "webp"),
        (ImageFormat::Gif, "gif"),
        (ImageFormat::Bmp, "bmp"),
        (ImageFormat::Tiff, "tif"),
        (ImageFormat::Pnm, "ppm"),
    ];
    for (format, ending) in formats {
        let whole = encoded(image.clone(), format);
        for kept in [whole.len() / 2, whole.len() * 9 / 10] {
            let name = format!("cut.{ending}");
            let good = [("1.png", png(40, 40, 1)), ("2.png", png(40, 40, 2))];
            let folder = folder(&[&good[..], &[(&name, whole[..kept].to_vec())]].concat());
            let opened = open(folder.path(), &any()).unwrap();
            assert_eq!(opened.train.len(), 2, "{format:?} cut to {kept} of {}", whole.len());
            let reasons = reasons(&opened);
            assert!(reasons.len() == 1 && reasons[0].starts_with(&name), "{reasons:?}");
        }
    }
}

#[test]
fn no_damage_makes_a_decoder_panic_or_take_memory() {
    use gander_data::media::{MediaLimits, decode, header};
    use proptest::test_runner::{Config, TestRunner};

    let limits = MediaLimits {
        max_side_px: 100,
        max_pixels: 5000,
    };
    let formats = [
        ImageFormat::Png,
        ImageFormat::Jpeg,
        ImageFormat::WebP,
        ImageFormat::Gif,
        ImageFormat::Bmp,
        ImageFormat::Tiff,
        ImageFormat::Pnm,
    ];
    for format in formats {
        let whole = encoded(rgb(24, 17, 3), format);
        let changes = proptest::collection::vec((0..whole.len(), proptest::num::u8::ANY), 1..6);
        let mut runner = TestRunner::new(Config {
            cases: 200,
            failure_persistence: None,
            ..Config::default()
        });
        let result = runner.run(&changes, |changes| {
            let mut bytes = whole.clone();
            for (place, value) in changes {
                bytes[place] = value;
            }
            // Neither may panic; what both accept is within the limits.
            if let (Ok(_), Ok(picture)) = (header(&bytes, limits), decode(&bytes, limits)) {
                proptest::prop_assert!(picture.width_px * picture.height_px <= 5000);
            }
            Ok(())
        });
        assert!(result.is_ok(), "{format:?}: {result:?}");
    }
}
