//! Convolutions whose weights a style scales, channel by channel and image by image.
//!
//! Instead of weights for each image, the input's channels are scaled before a convolution that all images share, and the
//! output's after it: the same function. Since a leaky relu lets factors pass, the second scaling waits until the next
//! convolution multiplies its own: one pass over the map for both.

use gander_nn::{
    Init, Mode, Parameter, Scope,
    layers::{Linear, LinearConfig},
};
use gander_tensor::{ConvOptions, MatmulOptions, RandomKey, Result, Tensor, conv, conv_upsampled, matmul};

use super::{NoiseInputs, SLOPE};

/// A map with factors for its channels that nobody has multiplied in yet.
#[derive(Debug, Clone)]
pub(super) struct Map {
    /// `[batch, height, width, channels]`, or for one image that all begin with.
    values: Tensor,
    /// `[batch, channels]`
    factors: Option<Tensor>,
}

impl Map {
    /// One map for all images.
    pub(super) fn shared(values: &Tensor) -> Result<Self> {
        let [rows, columns, channels] = [values.side(0), values.side(1), values.side(2)];
        Ok(Self {
            values: values.reshape([1, rows, columns, channels])?,
            factors: None,
        })
    }

    /// Its values times its own factors times these, `[batch, channels]`.
    fn scaled(&self, styles: &Tensor) -> Result<Tensor> {
        let factors = match &self.factors {
            Some(own) => own.mul(styles)?,
            None => styles.clone(),
        };
        self.values
            .mul(&factors.reshape([styles.side(0), 1, 1, styles.side(1)])?)
    }
}

/// What a convolution does to the resolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Resampling {
    None,
    Doubled,
}

/// Where a pass takes its noise from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Noise {
    pub(super) key: RandomKey,
    /// Images with noise of their own; 1 where all have the same.
    pub(super) images: usize,
}

/// Demodulation's least squared length of a kernel.
const EPS: f32 = 1e-8;

fn style(styles: usize, channels: usize, scope: &mut Scope<'_>) -> Result<Linear> {
    let config = LinearConfig {
        bias: Some(Init::ONES),
        ..LinearConfig::equalized(styles, channels, 1.0)
    };
    config.init(&mut scope.child("style"))
}

/// A 3 × 3 convolution, modulated and demodulated, with noise, bias and a leaky relu behind it (figure 2, c and d).
#[derive(Debug)]
pub(super) struct ModulatedConv {
    style: Linear,
    weight: Parameter,
    bias: Parameter,
    noise_strength: Option<Parameter>,
    resampling: Resampling,
}

/// Channels of a convolution, and of the styles that scale it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Channels {
    pub(super) styles: usize,
    pub(super) inputs: usize,
    pub(super) outputs: usize,
}

impl ModulatedConv {
    pub(super) fn new(
        channels: Channels,
        resampling: Resampling,
        noise: NoiseInputs,
        scope: &mut Scope<'_>,
    ) -> Result<Self> {
        let Channels {
            styles,
            inputs,
            outputs,
        } = channels;
        // Equalized, as in `ConvConfig::equalized`; demodulation takes any gain away.
        let rate = 1.0 / (9.0 * inputs as f32).sqrt();
        let noise_strength = (noise == NoiseInputs::Learned)
            .then(|| scope.weight("noise_strength", [1], Init::ZEROS))
            .transpose()?;
        Ok(Self {
            style: style(styles, inputs, scope)?,
            weight: scope.weight_with_lr("weight", [3, 3, inputs, outputs], Init::FanIn { gain: 1.0 }, rate)?,
            bias: scope.weight("bias", [outputs], Init::ZEROS)?,
            noise_strength,
            resampling,
        })
    }

    /// With `d` the factors of demodulation: `√2 · φ(d · conv(x) + noise + bias)`, as `√2 · d` factors of
    /// `φ(conv(x) + (noise + bias) / d)`.
    pub(super) fn forward(&self, x: &Map, styles: &Tensor, noise: Noise, mode: Mode) -> Result<Map> {
        let styles = self.style.forward(styles, mode)?;
        let (weight, input) = (self.weight.get(), x.scaled(&styles)?);
        let options = ConvOptions {
            padding: 1,
            ..ConvOptions::default()
        };
        let y = match self.resampling {
            Resampling::None => conv(&input, &weight, None, options)?,
            Resampling::Doubled => conv_upsampled(&input, &weight, None, options)?,
        };

        // The length of each output channel's kernel, scaled by the styles.
        let squares = weight.square()?.sum_keep(&[0, 1])?;
        let squares = squares.reshape([weight.side(2), weight.side(3)])?;
        let lengths = matmul(&styles.square()?, &squares, MatmulOptions::default())?;
        let lengths = lengths.add_scalar(EPS)?.sqrt()?;

        let [batch, rows, columns, channels] = [y.side(0), y.side(1), y.side(2), y.side(3)];
        let mut y = y.add(&lengths.mul(&self.bias.get())?.reshape([batch, 1, 1, channels])?)?;
        if let Some(strength) = &self.noise_strength {
            let maps = Tensor::normal(noise.key, [noise.images, rows, columns, 1], y.device())?;
            let strengths = lengths.mul(&strength.get())?.reshape([batch, 1, 1, channels])?;
            y = y.add(&maps.mul(&strengths)?)?;
        }
        Ok(Map {
            values: y.leaky_relu(SLOPE)?,
            factors: Some(lengths.recip()?.mul_scalar(std::f32::consts::SQRT_2)?),
        })
    }
}

/// A modulated 1 × 1 convolution to an image, without demodulation.
#[derive(Debug)]
pub(super) struct ToImage {
    style: Linear,
    weight: Parameter,
    bias: Parameter,
}

impl ToImage {
    pub(super) fn new(channels: Channels, scope: &mut Scope<'_>) -> Result<Self> {
        let Channels {
            styles,
            inputs,
            outputs,
        } = channels;
        let rate = 1.0 / (inputs as f32).sqrt();
        Ok(Self {
            style: style(styles, inputs, scope)?,
            weight: scope.weight_with_lr("weight", [1, 1, inputs, outputs], Init::FanIn { gain: 1.0 }, rate)?,
            bias: scope.weight("bias", [outputs], Init::ZEROS)?,
        })
    }

    pub(super) fn forward(&self, x: &Map, styles: &Tensor, mode: Mode) -> Result<Tensor> {
        let input = x.scaled(&self.style.forward(styles, mode)?)?;
        conv(
            &input,
            &self.weight.get(),
            Some(&self.bias.get()),
            ConvOptions::default(),
        )
    }
}

#[cfg(test)]
mod tests {
    use gander_nn::Parameters;
    use gander_tensor::{DeviceRef, Reference};

    use super::*;

    const CHANNELS: Channels = Channels {
        styles: 3,
        inputs: 4,
        outputs: 5,
    };

    fn layer(noise: NoiseInputs, device: &DeviceRef) -> (Parameters, ModulatedConv) {
        let mut parameters = Parameters::default();
        let mut scope = Scope::new(&mut parameters, RandomKey::from_seed(1), device);
        let layer = ModulatedConv::new(CHANNELS, Resampling::None, noise, &mut scope).unwrap();
        (parameters, layer)
    }

    fn normal(seed: u64, shape: &[usize], device: &DeviceRef) -> Tensor {
        Tensor::normal(RandomKey::from_seed(seed), shape, device).unwrap()
    }

    fn values(map: &Map) -> Vec<f64> {
        let ones = map.factors.as_ref().unwrap().mul_scalar(0.0).unwrap();
        let ones = ones.add_scalar(1.0).unwrap();
        map.scaled(&ones).unwrap().to_vec_f64().unwrap()
    }

    fn noise(seed: u64) -> Noise {
        Noise {
            key: RandomKey::from_seed(seed),
            images: 2,
        }
    }

    /// Modulated noise of unit variance comes out with unit variance before the bias, whatever the style's length.
    #[test]
    fn demodulation_keeps_the_variance() {
        let device = Reference::shared();
        let (_, layer) = layer(NoiseInputs::None, &device);
        let map = Map {
            values: normal(2, &[2, 24, 24, 4], &device),
            factors: None,
        };
        for scale in [0.1, 10.0] {
            let styles = normal(3, &[2, 3], &device).mul_scalar(scale).unwrap();
            let out = values(&layer.forward(&map, &styles, noise(1), Mode::Train).unwrap());
            // E[φ(x)²] of a normal x is (1 + slope²) / 2; the factor √2 doubles it.
            let square = out.iter().map(|value| value * value).sum::<f64>() / out.len() as f64;
            assert!((square - 1.04).abs() < 0.15, "{scale}: {square}");
        }
    }

    #[test]
    fn noise_begins_without_strength_and_is_of_its_key() {
        let device = Reference::shared();
        let (parameters, layer) = layer(NoiseInputs::Learned, &device);
        let map = Map {
            values: normal(2, &[2, 4, 4, 4], &device),
            factors: None,
        };
        let styles = normal(3, &[2, 3], &device);
        let out = |seed| values(&layer.forward(&map, &styles, noise(seed), Mode::Train).unwrap());
        assert_eq!(out(1), out(2));
        let one = Tensor::ones([1], &device).unwrap();
        parameters.get("noise_strength").unwrap().set(&one).unwrap();
        assert_eq!(out(1), out(1));
        assert_ne!(out(1), out(2));
    }
}
