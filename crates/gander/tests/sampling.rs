//! An image depends on its seed and its generator alone: not on how many are asked for, in what batch, by how many
//! threads.

use gander::{
    Error,
    models::{ImageSpec, ModelConfig},
    shipped::{self, GeneratorHeader, SampleOptions, ShippedGenerator},
    train::defaults,
};
use gander_tensor::{Cpu, CpuOptions, DeviceRef, Precision, RandomKey};

fn device(threads: usize, precision: Precision) -> DeviceRef {
    Cpu::with_options(CpuOptions {
        threads,
        precision,
        ..CpuOptions::default()
    })
    .expect("a processor")
}

fn header(family: &str, num_classes: usize) -> GeneratorHeader {
    let images = ImageSpec {
        height_px: 20,
        width_px: 17,
        channels: 3,
        num_classes,
    };
    let (model, _): (ModelConfig, _) = defaults::for_family(family, images).expect("a family");
    GeneratorHeader {
        model,
        classes: (0..num_classes).map(|class| format!("class {class}")).collect(),
        class_counts: (0..num_classes as u64).map(|class| 1 + 9 * class).collect(),
        images_seen: 0,
        dataset: "nothing".into(),
    }
}

#[test]
fn images_do_not_depend_on_their_neighbors_or_threads() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("generator.safetensors");
    for (family, num_classes) in [
        ("dcgan", 3),
        ("sngan", 0),
        ("r3gan", 3),
        ("fastgan", 3),
        ("stylegan2", 3),
        ("article", 0),
    ] {
        let header = header(family, num_classes);
        let fresh = header
            .model
            .generator(RandomKey::from_seed(3), &device(1, Precision::F32))
            .unwrap();
        shipped::save(&path, &[("", fresh.parameters())], &header).unwrap();
        for precision in [Precision::F32, Precision::Bf16] {
            let together = ShippedGenerator::load(&path, &device(3, precision)).unwrap();
            let alone = ShippedGenerator::load(&path, &device(1, precision)).unwrap();
            assert_eq!(together.header, header);
            let seeds: Vec<u64> = (0..19).collect();
            let all = together.sample(&seeds, &SampleOptions::default()).unwrap();
            let bytes = 20 * 17 * 3;
            assert_eq!(all.images.len(), 19 * bytes);
            for seed in [0, 7, 18] {
                let one = alone.sample(&[seed], &SampleOptions::default()).unwrap();
                let at = seed as usize;
                assert!(
                    one.images == all.images[at * bytes..][..bytes],
                    "{family}, {precision:?}, seed {seed}"
                );
                assert_eq!(
                    one.labels.map(|labels| labels[0]),
                    all.labels.as_ref().map(|labels| labels[at])
                );
            }
        }
    }
}

#[test]
fn classes_follow_the_training_frequencies_or_the_choice() {
    let header = header("dcgan", 3);
    let device = device(1, Precision::F32);
    let generator = header.model.generator(RandomKey::from_seed(3), &device).unwrap();
    let generator = ShippedGenerator::from_parts(header, generator, &device);
    let seeds: Vec<u64> = (0..300).collect();
    let labels = generator
        .sample(&seeds, &SampleOptions::default())
        .unwrap()
        .labels
        .unwrap();
    let count = |class| labels.iter().filter(|&&label| label == class).count();
    // 1, 10 and 19 of 30.
    assert!(
        count(0) < 30 && (70..130).contains(&count(1)) && (150..230).contains(&count(2)),
        "{labels:?}"
    );
    let chosen = SampleOptions {
        label: Some(generator.class_index("class 0").unwrap()),
        ..SampleOptions::default()
    };
    assert_eq!(generator.sample(&[1, 2], &chosen).unwrap().labels.unwrap(), [0, 0]);
    assert!(matches!(generator.class_index("bowl"), Err(Error::UnknownClass { classes, .. }) if classes.len() == 3));
}

#[test]
fn no_truncation_left_makes_one_image() {
    for family in ["r3gan", "stylegan2"] {
        let header = header(family, 0);
        let device = device(1, Precision::F32);
        let generator = header.model.generator(RandomKey::from_seed(3), &device).unwrap();
        let generator = ShippedGenerator::from_parts(header, generator, &device);
        let images = |psi| {
            let truncated = SampleOptions {
                truncation_psi: psi,
                ..SampleOptions::default()
            };
            let images = generator.sample(&[1, 2], &truncated).unwrap().images;
            let (one, other) = images.split_at(images.len() / 2);
            (one.to_vec(), other.to_vec())
        };
        let (one, other) = images(Some(0.0));
        assert!(one == other, "{family}");
        let (one, other) = images(Some(0.7));
        assert!(one != other, "{family}");
        assert!(images(Some(1.0)) == images(None), "{family}");
    }
}
