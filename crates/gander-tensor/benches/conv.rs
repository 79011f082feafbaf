//! Convolutions of real networks, forward and both gradients, in float32 and with bf16 products.
//!
//! Items are multiply-adds of the direct algorithm, padding counted as data: twice `Gitem/s` is GFLOP/s, and work that
//! is left out (products with a border of zeros) counts as done.
//! `cargo bench -p gander-tensor --bench conv -- 'dcgan'` runs the layers of one network.

use std::fmt;

use divan::{Bencher, black_box, counter::ItemsCount};
use gander_tensor::{
    Array, Cpu, CpuOptions, DeviceRef, Epilogue, Precision, RandomKey, Tensor, ops::conv::ConvGeometry,
};

fn main() {
    divan::main();
}

/// A square convolution as networks have it.
#[derive(Clone, Copy)]
struct Layer {
    name: &'static str,
    batch: usize,
    side: usize,
    kernel: usize,
    stride: usize,
    padding: usize,
    /// Input and output channels, and groups.
    channels: [usize; 3],
}

const fn layer(name: &'static str, batch: usize, side: usize, kernel: [usize; 3], channels: [usize; 3]) -> Layer {
    let [kernel, stride, padding] = kernel;
    Layer {
        name,
        batch,
        side,
        kernel,
        stride,
        padding,
        channels,
    }
}

const LAYERS: &[Layer] = &[
    layer("dcgan_64_3_64", 64, 64, [4, 2, 1], [3, 64, 1]),
    layer("dcgan_32_64_128", 64, 32, [4, 2, 1], [64, 128, 1]),
    layer("dcgan_16_128_256", 64, 16, [4, 2, 1], [128, 256, 1]),
    layer("dcgan_8_256_512", 64, 8, [4, 2, 1], [256, 512, 1]),
    layer("dcgan_4_512_1", 64, 4, [4, 1, 0], [512, 1, 1]),
    layer("small_26_64_128", 100, 26, [3, 1, 0], [64, 128, 1]),
    layer("small_14_128_128", 100, 14, [3, 1, 1], [128, 128, 1]),
    layer("small_28_128_64", 100, 28, [3, 1, 1], [128, 64, 1]),
    layer("small_28_64_3", 100, 28, [3, 1, 1], [64, 3, 1]),
    layer("cyclegan_134_3_64", 1, 134, [7, 1, 0], [3, 64, 1]),
    layer("cyclegan_134_64_3", 1, 134, [7, 1, 0], [64, 3, 1]),
    layer("cyclegan_128_64_128", 1, 128, [3, 2, 1], [64, 128, 1]),
    layer("cyclegan_64_128_256", 1, 64, [3, 2, 1], [128, 256, 1]),
    layer("cyclegan_34_256_256", 1, 34, [3, 1, 0], [256, 256, 1]),
    layer("cyclegan_16_256_512", 1, 16, [4, 1, 1], [256, 512, 1]),
    layer("r3gan_32_expand", 64, 32, [1, 1, 0], [64, 128, 1]),
    layer("r3gan_32_groups_of_16", 64, 32, [3, 1, 1], [128, 128, 8]),
    layer("r3gan_32_reduce", 64, 32, [1, 1, 0], [128, 64, 1]),
    layer("r3gan_32_fir_down", 64, 32, [4, 2, 1], [64, 64, 64]),
];

/// A layer and how its products are computed.
#[derive(Clone, Copy)]
struct Case(Layer, Precision);

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}_{:?}", self.0.name, self.1)
    }
}

fn cases() -> impl Iterator<Item = Case> {
    [Precision::F32, Precision::Bf16]
        .into_iter()
        .flat_map(|precision| LAYERS.iter().map(move |&layer| Case(layer, precision)))
}

impl Layer {
    fn geometry(&self) -> ConvGeometry {
        let [in_channels, out_channels, groups] = self.channels;
        let output = (self.side + 2 * self.padding - self.kernel) / self.stride + 1;
        ConvGeometry {
            batch: self.batch,
            input: [1, self.side, self.side],
            output: [1, output, output],
            kernel: [1, self.kernel, self.kernel],
            stride: [1, self.stride, self.stride],
            dilation: [1; 3],
            padding: [0, self.padding, self.padding],
            in_channels,
            out_channels,
            groups,
        }
    }
}

fn device(precision: Precision) -> DeviceRef {
    Cpu::with_options(CpuOptions {
        precision,
        ..CpuOptions::default()
    })
    .expect("the detected instruction set")
}

fn random(len: usize, seed: u64, device: &DeviceRef) -> Array {
    let values = Tensor::normal(RandomKey::from_seed(seed), [len], device).expect("the processor has normal numbers");
    values.array().clone()
}

#[divan::bench(args = cases(), max_time = 0.5)]
fn forward(bencher: Bencher<'_, '_>, case: Case) {
    let (device, g) = (device(case.1), case.0.geometry());
    let (x, w) = (random(g.input_len(), 1, &device), random(g.weight_len(), 2, &device));
    bencher
        .counter(ItemsCount::new(g.flops() / 2))
        .bench_local(|| device.conv(&g, black_box(&x), black_box(&w), Epilogue::default()));
}

#[divan::bench(args = cases(), max_time = 0.5)]
fn input_grad(bencher: Bencher<'_, '_>, case: Case) {
    let (device, g) = (device(case.1), case.0.geometry());
    let (dy, w) = (random(g.output_len(), 3, &device), random(g.weight_len(), 2, &device));
    bencher
        .counter(ItemsCount::new(g.flops() / 2))
        .bench_local(|| device.conv_input_grad(&g, black_box(&dy), black_box(&w), Epilogue::default()));
}

#[divan::bench(args = cases(), max_time = 0.5)]
fn weight_grad(bencher: Bencher<'_, '_>, case: Case) {
    let (device, g) = (device(case.1), case.0.geometry());
    let (x, dy) = (random(g.input_len(), 1, &device), random(g.output_len(), 3, &device));
    bencher
        .counter(ItemsCount::new(g.flops() / 2))
        .bench_local(|| device.conv_weight_grad(&g, black_box(&x), black_box(&dy)));
}
