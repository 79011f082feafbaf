//! Convolution and transposed convolution as layers.

use gander_tensor::{ConvOptions, Result, Tensor, conv, conv_added, conv_transpose, conv_upsampled};

use super::{Mode, SpectralNorm};
use crate::{Init, Parameter, Scope};

/// A convolution over one, two or three spatial axes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ConvConfig {
    /// Channels of the input.
    pub in_channels: usize,
    /// Channels of the output.
    pub out_channels: usize,
    /// Side of the kernel along each axis.
    pub kernel: usize,
    /// Number of spatial axes.
    pub axes: usize,
    /// Stride, padding, groups, activation.
    pub options: ConvOptions,
    /// First values of the weight.
    pub init: Init,
    /// First values of the bias; no bias if `None`.
    pub bias: Option<Init>,
    /// Factors on the learning rate of weight and bias.
    pub lr_multipliers: [f32; 2],
}

impl ConvConfig {
    /// A convolution over two axes with a bias of zeros and weights from the fan-in with gain one.
    pub fn new(in_channels: usize, out_channels: usize, kernel: usize) -> Self {
        Self {
            in_channels,
            out_channels,
            kernel,
            axes: 2,
            options: ConvOptions::default(),
            init: Init::FanIn { gain: 1.0 },
            bias: Some(Init::ZEROS),
            lr_multipliers: [1.0; 2],
        }
    }

    /// A convolution over two axes that learns at an equalized rate: weights of unit variance, multiplied by
    /// `gain / √fan_in` whenever they are used.
    ///
    /// Here they are stored multiplied and move that much slower instead, which is the same under Adam, whose steps do not
    /// depend on the size of gradients. `gain` is what comes behind the layer, such as √2 for a leaky relu.
    ///
    /// # Source
    /// Karras et al. 2018, section 4.1, <https://arxiv.org/abs/1710.10196>.
    pub fn equalized(in_channels: usize, out_channels: usize, kernel: usize, gain: f32) -> Self {
        let fan_in = (kernel * kernel * in_channels).max(1) as f32;
        Self {
            init: Init::FanIn { gain },
            lr_multipliers: [gain / fan_in.sqrt(), gain],
            ..Self::new(in_channels, out_channels, kernel)
        }
    }

    /// The layer.
    pub fn init(self, scope: &mut Scope<'_>) -> Result<Conv> {
        let (weight, bias) = self.weights(self.in_channels, self.out_channels, scope)?;
        Ok(Conv {
            weight,
            bias,
            options: self.options,
            spectral: None,
        })
    }

    /// The layer with its weight divided by its largest singular value.
    pub fn init_spectral(self, scope: &mut Scope<'_>) -> Result<Conv> {
        let layer = self.init(scope)?;
        let spectral = Some(SpectralNorm::new(&layer.weight, scope)?);
        Ok(Conv { spectral, ..layer })
    }

    /// The transposed convolution from `in_channels` to `out_channels`.
    ///
    /// Its weight is stored as that of the convolution whose gradient it is: `[kernel…, out / groups, in]`.
    pub fn init_transpose(self, scope: &mut Scope<'_>) -> Result<ConvTranspose> {
        let (weight, bias) = self.weights(self.out_channels, self.in_channels, scope)?;
        Ok(ConvTranspose {
            weight,
            bias,
            options: self.options,
        })
    }

    /// The weight, `[kernel…, before / groups, after]`, and the bias.
    fn weights(&self, before: usize, after: usize, scope: &mut Scope<'_>) -> Result<(Parameter, Option<Parameter>)> {
        let mut shape = vec![self.kernel; self.axes];
        shape.extend([before / self.options.groups, after]);
        let [weight_lr, bias_lr] = self.lr_multipliers;
        let weight = scope.weight_with_lr("weight", shape, self.init, weight_lr)?;
        let bias = self
            .bias
            .map(|init| scope.weight_with_lr("bias", [self.out_channels], init, bias_lr));
        Ok((weight, bias.transpose()?))
    }
}

/// A convolution. See [`gander_tensor::conv`].
#[derive(Debug)]
pub struct Conv {
    weight: Parameter,
    bias: Option<Parameter>,
    options: ConvOptions,
    spectral: Option<SpectralNorm>,
}

impl Conv {
    /// `[batch, spatial…, in]` to `[batch, spatial…, out]`.
    pub fn forward(&self, x: &Tensor, mode: Mode) -> Result<Tensor> {
        conv(x, &self.weight(mode)?, self.bias().as_ref(), self.options)
    }

    /// The same and `added`, of the result's shape, in one pass: the end of a residual block.
    pub fn forward_added(&self, x: &Tensor, added: &Tensor, mode: Mode) -> Result<Tensor> {
        conv_added(x, &self.weight(mode)?, self.bias().as_ref(), added, self.options)
    }

    /// The same of `x` with each side doubled by repetition, in less than half the work.
    pub fn forward_upsampled(&self, x: &Tensor, mode: Mode) -> Result<Tensor> {
        conv_upsampled(x, &self.weight(mode)?, self.bias().as_ref(), self.options)
    }

    fn weight(&self, mode: Mode) -> Result<Tensor> {
        match &self.spectral {
            Some(spectral) => spectral.normalized(&self.weight.get(), mode),
            None => Ok(self.weight.get()),
        }
    }

    fn bias(&self) -> Option<Tensor> {
        self.bias.as_ref().map(Parameter::get)
    }
}

/// A transposed convolution. See [`gander_tensor::conv_transpose`].
#[derive(Debug)]
pub struct ConvTranspose {
    weight: Parameter,
    bias: Option<Parameter>,
    options: ConvOptions,
}

impl ConvTranspose {
    /// `[batch, spatial…, in]` to `[batch, larger…, out]`.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        conv_transpose(
            x,
            &self.weight.get(),
            self.bias.as_ref().map(Parameter::get).as_ref(),
            self.options,
        )
    }
}

#[cfg(test)]
mod tests {
    use gander_tensor::{Activation, RandomKey, Reference};

    use super::*;
    use crate::Parameters;

    fn config(kernel: usize, stride: usize, groups: usize) -> ConvConfig {
        let options = ConvOptions {
            stride,
            padding: 1,
            groups,
            ..ConvOptions::default()
        };
        ConvConfig {
            options,
            ..ConvConfig::new(4, 6, kernel)
        }
    }

    #[test]
    fn sides_follow_stride_and_kernel() {
        let device = Reference::shared();
        let x = Tensor::ones([2, 8, 10, 4], &device).unwrap();
        for (config, expected) in [(config(3, 1, 2), [2, 8, 10, 6]), (config(4, 2, 1), [2, 4, 5, 6])] {
            let mut parameters = Parameters::default();
            let layer = config
                .init(&mut Scope::new(&mut parameters, RandomKey::from_seed(1), &device))
                .unwrap();
            assert_eq!(layer.forward(&x, Mode::Train).unwrap().shape()[..], expected);
        }
        let mut parameters = Parameters::default();
        let mut scope = Scope::new(&mut parameters, RandomKey::from_seed(1), &device);
        let layer = config(4, 2, 1).init_transpose(&mut scope).unwrap();
        assert_eq!(layer.forward(&x).unwrap().shape()[..], [2, 16, 20, 6]);
    }

    /// All weights ½, bias 1, two input channels of ones: 9 · 2 · ½ + 1 in the middle, 4 · 2 · ½ + 1 in a corner.
    #[test]
    fn values_by_hand() {
        let device = Reference::shared();
        let mut parameters = Parameters::default();
        let config = ConvConfig {
            options: ConvOptions {
                padding: 1,
                ..ConvOptions::default()
            },
            init: Init::Constant(0.5),
            bias: Some(Init::ONES),
            ..ConvConfig::new(2, 1, 3)
        };
        let layer = config
            .init(&mut Scope::new(&mut parameters, RandomKey::from_seed(1), &device))
            .unwrap();
        let y = layer
            .forward(&Tensor::ones([1, 3, 3, 2], &device).unwrap(), Mode::Train)
            .unwrap();
        assert_eq!(y.to_vec().unwrap(), [5.0, 7.0, 5.0, 7.0, 10.0, 7.0, 5.0, 7.0, 5.0]);
    }

    /// An update by Adam of a stored weight is that of a unit weight, multiplied.
    #[test]
    fn equalized_weights_and_their_rates_share_a_factor() {
        let device = Reference::shared();
        let mut parameters = Parameters::default();
        let mut scope = Scope::new(&mut parameters, RandomKey::from_seed(1), &device);
        ConvConfig::equalized(16, 400, 2, 4.0).init(&mut scope).unwrap();
        let weight = parameters.get("weight").unwrap();
        let values = weight.get().to_vec().unwrap();
        let std = (values.iter().map(|value| value * value).sum::<f32>() / values.len() as f32).sqrt();
        assert!((std - 0.5).abs() < 0.01, "{std}");
        assert_eq!(weight.lr_multiplier(), 0.5);
        assert_eq!(parameters.get("bias").unwrap().lr_multiplier(), 4.0);
    }

    #[test]
    fn activation_and_one_or_three_axes() {
        let device = Reference::shared();
        let options = ConvOptions {
            activation: Activation::Relu,
            ..ConvOptions::default()
        };
        for axes in [1, 3] {
            let mut parameters = Parameters::default();
            let config = ConvConfig {
                axes,
                options,
                bias: Some(Init::Constant(-1e3)),
                ..ConvConfig::new(2, 3, 2)
            };
            let layer = config
                .init(&mut Scope::new(&mut parameters, RandomKey::from_seed(1), &device))
                .unwrap();
            let mut shape = vec![4; axes + 2];
            (shape[0], shape[axes + 1]) = (1, 2);
            let y = layer
                .forward(&Tensor::ones(shape, &device).unwrap(), Mode::Train)
                .unwrap();
            assert_eq!(y.to_vec().unwrap(), vec![0.0; 3 * 3usize.pow(axes as u32)]);
        }
    }
}
