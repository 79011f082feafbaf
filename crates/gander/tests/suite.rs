//! The classic tests of a GAN in a short form.

use gander::suite::gaussians::{self, NUM, Shape};
use gander_tensor::{Cpu, CpuOptions};

/// A fifteenth of the whole test: every mode is found, though not yet evenly, and points gather where chance alone would
/// put one in a hundred.
#[test]
fn a_short_run_finds_the_ring() {
    let device = Cpu::with_options(CpuOptions::default()).expect("a device");
    let (model, mut training) = gaussians::recipe();
    training.set_length(75.0);
    let run = || gaussians::run(Shape::Ring, &(model, training.clone()), 0, &device, &mut |_| {}).expect("an outcome");
    let outcome = run();
    let count = outcome.tally.count();
    assert_eq!((outcome.tally.num(), count.total_modes), (NUM as u64, 8));
    assert_eq!(count.modes, 8, "{count:?}");
    assert!(count.high_quality > 0.2, "{count:?}");
    assert_eq!(run().points, outcome.points);
}
