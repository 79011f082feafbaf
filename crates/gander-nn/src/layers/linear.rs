//! A fully connected layer.

use gander_tensor::{Activation, Result, Tensor, linear};

use super::{Mode, SpectralNorm};
use crate::{Init, Parameter, Scope};

/// A fully connected layer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LinearConfig {
    /// Features of the input.
    pub in_features: usize,
    /// Features of the output.
    pub out_features: usize,
    /// What follows.
    pub activation: Activation,
    /// First values of the weight.
    pub init: Init,
    /// First values of the bias; no bias if `None`.
    pub bias: Option<Init>,
    /// Factors on the learning rate of weight and bias.
    pub lr_multipliers: [f32; 2],
}

impl LinearConfig {
    /// A layer with a bias of zeros and weights from the fan-in with gain one.
    pub fn new(in_features: usize, out_features: usize) -> Self {
        Self {
            in_features,
            out_features,
            activation: Activation::Identity,
            init: Init::FanIn { gain: 1.0 },
            bias: Some(Init::ZEROS),
            lr_multipliers: [1.0; 2],
        }
    }

    /// A layer that learns at an equalized rate: see [`super::ConvConfig::equalized`].
    pub fn equalized(in_features: usize, out_features: usize, gain: f32) -> Self {
        Self {
            init: Init::FanIn { gain },
            lr_multipliers: [gain / (in_features.max(1) as f32).sqrt(), gain],
            ..Self::new(in_features, out_features)
        }
    }

    /// The layer.
    pub fn init(self, scope: &mut Scope<'_>) -> Result<Linear> {
        let [weight_lr, bias_lr] = self.lr_multipliers;
        let weight = scope.weight_with_lr("weight", [self.in_features, self.out_features], self.init, weight_lr)?;
        let bias = self
            .bias
            .map(|init| scope.weight_with_lr("bias", [self.out_features], init, bias_lr))
            .transpose()?;
        Ok(Linear {
            weight,
            bias,
            activation: self.activation,
            spectral: None,
        })
    }

    /// The layer with its weight divided by its largest singular value.
    pub fn init_spectral(self, scope: &mut Scope<'_>) -> Result<Linear> {
        let layer = self.init(scope)?;
        let spectral = Some(SpectralNorm::new(&layer.weight, scope)?);
        Ok(Linear { spectral, ..layer })
    }
}

/// A fully connected layer. See [`gander_tensor::linear`].
#[derive(Debug)]
pub struct Linear {
    weight: Parameter,
    bias: Option<Parameter>,
    activation: Activation,
    spectral: Option<SpectralNorm>,
}

impl Linear {
    /// `[…, in]` to `[…, out]`.
    pub fn forward(&self, x: &Tensor, mode: Mode) -> Result<Tensor> {
        let weight = match &self.spectral {
            Some(spectral) => spectral.normalized(&self.weight.get(), mode)?,
            None => self.weight.get(),
        };
        linear(
            x,
            &weight,
            self.bias.as_ref().map(Parameter::get).as_ref(),
            self.activation,
        )
    }
}

#[cfg(test)]
mod tests {
    use gander_tensor::{RandomKey, Reference};

    use super::*;
    use crate::Parameters;

    #[test]
    fn values_by_hand() {
        let device = Reference::shared();
        let mut parameters = Parameters::default();
        let config = LinearConfig {
            activation: Activation::LeakyRelu(0.5),
            ..LinearConfig::new(2, 2)
        };
        let layer = config
            .init(&mut Scope::new(&mut parameters, RandomKey::from_seed(1), &device))
            .unwrap();
        let set = |name: &str, values: &[f32], shape: &[usize]| {
            let value = Tensor::from_slice(values, shape, &device).unwrap();
            parameters.get(name).unwrap().set(&value).unwrap();
        };
        set("weight", &[1.0, 2.0, 3.0, -4.0], &[2, 2]);
        set("bias", &[10.0, 1.0], &[2]);
        let x = Tensor::from_slice(&[1.0, 1.0], [1, 2], &device).unwrap();
        // 1 + 3 + 10, and half of 2 − 4 + 1.
        assert_eq!(layer.forward(&x, Mode::Train).unwrap().to_vec().unwrap(), [14.0, -0.5]);
    }
}
