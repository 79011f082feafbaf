//! The classifier's network.

use gander_data::ImageShape;
use gander_nn::{
    Init, Mode, Parameters, Scope,
    layers::{BatchNorm, BatchNormConfig, Conv, ConvConfig, Linear, LinearConfig},
};
use gander_tensor::{Activation, ConvOptions, DeviceRef, RandomKey, Tensor, no_grad};

use crate::error::Result;

/// Length of a feature vector.
pub(super) const FEATURES: usize = 128;
/// The longer side of the images that it looks at: what makes classes differ is visible at this size, and a minute is
/// enough to learn it.
const SIDE_PX: usize = 32;
/// Channels and stride of each convolution.
const CONVS: [(usize, usize); 4] = [(32, 2), (64, 1), (128, 2), (128, 1)];

/// Four convolutions with batch normalization, the mean over positions, and a linear layer.
#[derive(Debug)]
pub(super) struct Network {
    parameters: Parameters,
    convs: Vec<(Conv, BatchNorm)>,
    classes: Linear,
    sides: [usize; 2],
    device: DeviceRef,
}

impl Network {
    pub(super) fn new(shape: ImageShape, num_classes: usize, seed: u64, device: &DeviceRef) -> Result<Self> {
        let mut parameters = Parameters::default();
        let mut scope = Scope::new(&mut parameters, RandomKey::from_seed(seed).named("classifier"), device);
        let mut convs = Vec::with_capacity(CONVS.len());
        let mut channels = shape.channels;
        for (index, (out, stride)) in CONVS.into_iter().enumerate() {
            let mut scope = scope.child(&format!("conv{index}"));
            let conv = ConvConfig {
                options: ConvOptions {
                    stride,
                    padding: 1,
                    ..ConvOptions::default()
                },
                init: Init::FanIn { gain: 2.0f32.sqrt() },
                bias: None,
                ..ConvConfig::new(channels, out, 3)
            };
            let norm = BatchNormConfig::new(out, Activation::Relu);
            convs.push((conv.init(&mut scope)?, norm.init(&mut scope.child("norm"))?));
            channels = out;
        }
        let classes = LinearConfig::new(FEATURES, num_classes).init(&mut scope.child("classes"))?;
        let longer = shape.height_px.max(shape.width_px).max(1);
        let small = |side: usize| {
            if longer > SIDE_PX {
                (side * SIDE_PX).div_ceil(longer)
            } else {
                side
            }
        };
        Ok(Self {
            parameters,
            convs,
            classes,
            sides: [small(shape.height_px), small(shape.width_px)],
            device: device.clone(),
        })
    }

    pub(super) fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    pub(super) fn device(&self) -> &DeviceRef {
        &self.device
    }

    /// Multiplications and additions of an image's forward pass, without the first layer and the last.
    pub(super) fn operations(&self) -> f64 {
        let (mut area, mut channels, mut total) = (self.sides[0] * self.sides[1], 0, 0);
        for (out, stride) in CONVS {
            area /= stride * stride;
            total += area * 9 * channels * out;
            channels = out;
        }
        2.0 * total as f64
    }

    /// Features `[num, FEATURES]` and logits `[num, classes]`.
    pub(super) fn forward(&self, images: &Tensor, mode: Mode) -> Result<(Tensor, Tensor)> {
        let mut x = images.resize_area(&self.sides)?;
        for (conv, norm) in &self.convs {
            x = norm.forward(&conv.forward(&x, mode)?, mode)?;
        }
        let features = x.mean_keep(&[1, 2])?.reshape([images.side(0), FEATURES])?;
        let logits = self.classes.forward(&features, mode)?;
        Ok((features, logits))
    }

    pub(super) fn evaluate(&self, images: &Tensor) -> Result<(Tensor, Tensor)> {
        no_grad(|| self.forward(images, Mode::Evaluate))
    }
}
