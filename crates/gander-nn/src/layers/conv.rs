//! Convolution and transposed convolution as layers.

use gander_tensor::{ConvOptions, Result, Tensor, conv, conv_transpose};

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
        }
    }

    /// The layer.
    pub fn init(self, scope: &mut Scope<'_>) -> Result<Conv> {
        let groups = self.options.groups;
        let weight = scope.weight(
            "weight",
            self.weight_shape(self.in_channels / groups, self.out_channels),
            self.init,
        )?;
        let bias = self
            .bias
            .map(|init| scope.weight("bias", [self.out_channels], init))
            .transpose()?;
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
        let groups = self.options.groups;
        let weight = scope.weight(
            "weight",
            self.weight_shape(self.out_channels / groups, self.in_channels),
            self.init,
        )?;
        let bias = self
            .bias
            .map(|init| scope.weight("bias", [self.out_channels], init))
            .transpose()?;
        Ok(ConvTranspose {
            weight,
            bias,
            options: self.options,
        })
    }

    fn weight_shape(&self, before: usize, after: usize) -> Vec<usize> {
        let mut shape = vec![self.kernel; self.axes];
        shape.extend([before, after]);
        shape
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
        let weight = match &self.spectral {
            Some(spectral) => spectral.normalized(&self.weight.get(), mode)?,
            None => self.weight.get(),
        };
        conv(
            x,
            &weight,
            self.bias.as_ref().map(Parameter::get).as_ref(),
            self.options,
        )
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
