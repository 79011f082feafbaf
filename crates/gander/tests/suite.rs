//! The classic tests of a GAN in a short form.

use gander::suite::gaussians::{self, NUM, Outcome, Shape};
use gander_tensor::{Cpu, CpuOptions};

/// The ring after so many thousands of points, of the 1,100 of the whole test.
fn ring(total_kimg: f64) -> Outcome {
    let device = Cpu::with_options(CpuOptions::default()).expect("a device");
    let (model, mut training) = gaussians::recipe();
    training.set_length(total_kimg);
    gaussians::run(Shape::Ring, &(model, training), 0, &device, &mut |_| {}).expect("an outcome")
}

/// A fifth of the whole test: every mode is found, though nine points in ten are near one, not more.
#[test]
fn a_short_run_finds_the_ring() {
    let outcome = ring(220.0);
    let count = outcome.tally.count();
    assert_eq!((outcome.tally.num(), count.total_modes), (NUM as u64, 8));
    assert_eq!(count.modes, 8, "{count:?}");
    assert!(count.high_quality > 0.7, "{count:?}");
}

#[test]
fn a_run_repeats() {
    assert_eq!(ring(10.0).points, ring(10.0).points);
}
