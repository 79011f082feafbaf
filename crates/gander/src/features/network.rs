//! What frozen networks are made of: weights from a file, and convolutions with their normalization folded in.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use gander_formats::{
    safetensors::{self, SafeTensors},
    torch_pickle,
};
use gander_tensor::{Activation, DeviceRef, Epilogue, Error as TensorError, Tensor, linear, ops::conv::ConvGeometry};

use crate::error::{Error, Result};

/// The weights of a network from a file of another framework: channels first, by name.
#[derive(Debug)]
pub(super) struct Weights {
    path: PathBuf,
    expected: &'static str,
    tensors: BTreeMap<String, Values>,
    device: DeviceRef,
}

/// A tensor of a file.
#[derive(Debug, Clone)]
pub(super) struct Values {
    pub(super) shape: Vec<usize>,
    pub(super) values: Vec<f32>,
}

impl Weights {
    /// The tensors of a file that should hold a network: `PyTorch`'s if its name ends in `.pth`, `.pt` or `.bin`, else
    /// safetensors.
    pub(super) fn read(path: &Path, expected: &'static str, device: &DeviceRef) -> Result<Self> {
        let extension = path.extension().and_then(|extension| extension.to_str());
        if !matches!(extension, Some("pth" | "pt" | "bin")) {
            return Self::of_safetensors(&safetensors::read(path)?, path.to_owned(), expected, device);
        }
        let floats = torch_pickle::read(path)?.into_iter();
        let floats = floats.filter_map(|(name, tensor)| {
            let values = tensor.to_f32()?;
            let shape = tensor.shape;
            Some((name, Values { shape, values }))
        });
        Ok(Self {
            path: path.to_owned(),
            expected,
            tensors: floats.collect(),
            device: device.clone(),
        })
    }

    /// The tensors of a file that should hold a network; counters and other integers are left out.
    pub(super) fn of_safetensors(
        file: &SafeTensors,
        path: PathBuf,
        expected: &'static str,
        device: &DeviceRef,
    ) -> Result<Self> {
        let floats = file.iter().filter(|view| view.dtype.is_float());
        let tensors = floats
            .map(|view| {
                let (shape, values) = (view.shape.to_vec(), view.to_f32()?);
                Ok((view.name.to_owned(), Values { shape, values }))
            })
            .collect::<Result<_>>()?;
        Ok(Self {
            path,
            expected,
            tensors,
            device: device.clone(),
        })
    }

    pub(super) fn contains(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// The error of a file that holds something else.
    pub(super) fn wrong(&self, reason: String) -> Error {
        Error::WrongNetwork {
            path: self.path.clone(),
            expected: self.expected,
            reason,
        }
    }

    fn get(&self, name: &str, rank: usize) -> Result<&Values> {
        let found = self.tensors.get(name);
        let found = found.ok_or_else(|| self.wrong(format!("it has no tensor `{name}`")))?;
        if found.shape.len() == rank {
            return Ok(found);
        }
        Err(self.wrong(format!("`{name}` has shape {:?}, not {rank} sides", found.shape)))
    }

    fn vector(&self, name: &str, len: usize) -> Result<&[f32]> {
        let found = self.get(name, 1)?;
        if found.shape == [len] {
            return Ok(&found.values);
        }
        Err(self.wrong(format!("`{name}` has shape {:?}, not [{len}]", found.shape)))
    }

    /// Rows and columns of a convolution's kernel.
    pub(super) fn kernel(&self, conv: &str) -> Result<[usize; 2]> {
        let shape = &self.get(&format!("{conv}.weight"), 4)?.shape;
        Ok([shape[2], shape[3]])
    }

    /// A convolution `[out, in / groups, height, width]` and the batch normalization behind it as one.
    ///
    /// `y = scale (w ∗ x − mean) / √(variance + ε) + shift`
    pub(super) fn conv(&self, conv: &str, norm: &str, options: ConvNormOptions) -> Result<ConvNorm> {
        let weight = self.get(&format!("{conv}.weight"), 4)?;
        let [out, depth, height, width] = [0, 1, 2, 3].map(|axis| weight.shape[axis]);
        let [scale, shift, mean, variance] = [
            self.vector(&format!("{norm}.weight"), out)?,
            self.vector(&format!("{norm}.bias"), out)?,
            self.vector(&format!("{norm}.running_mean"), out)?,
            self.vector(&format!("{norm}.running_var"), out)?,
        ];
        let factors: Vec<f64> = (0..out)
            .map(|o| f64::from(scale[o]) / (f64::from(variance[o]) + options.eps).sqrt())
            .collect();
        let bias: Vec<f32> = (0..out)
            .map(|o| (f64::from(shift[o]) - f64::from(mean[o]) * factors[o]) as f32)
            .collect();
        let area = height * width;
        let mut folded = vec![0.0; weight.values.len()];
        for (at, &value) in weight.values.iter().enumerate() {
            let (o, channel, place) = (at / (depth * area), at / area % depth, at % area);
            folded[(place * depth + channel) * out + o] = (f64::from(value) * factors[o]) as f32;
        }
        let groups = if options.depthwise { out } else { 1 };
        if options.depthwise && depth != 1 {
            return Err(self.wrong(format!(
                "`{conv}.weight` has shape {:?}, not [n, 1, h, w]",
                weight.shape
            )));
        }
        Ok(ConvNorm {
            weight: Tensor::from_slice(&folded, [height, width, depth, out], &self.device)?,
            bias: Tensor::from_slice(&bias, [out], &self.device)?,
            kernel: [height, width],
            groups,
            options,
        })
    }

    /// A linear layer `[out, in]` with a bias.
    pub(super) fn linear(&self, name: &str) -> Result<Classifier> {
        let weight = self.get(&format!("{name}.weight"), 2)?;
        let (out, features) = (weight.shape[0], weight.shape[1]);
        let bias = self.vector(&format!("{name}.bias"), out)?;
        let weight = Tensor::from_slice(&weight.values, [out, features], &self.device)?.transpose()?;
        Ok(Classifier {
            weight,
            bias: Tensor::from_slice(bias, [out], &self.device)?,
        })
    }
}

/// Zeros around the input of a convolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Padding {
    /// As many as give `⌈side / stride⌉` outputs, an odd one at the end: TensorFlow's.
    Same,
    /// Rows above and below, columns left and right.
    Each([usize; 2]),
}

/// How a convolution runs.
#[derive(Debug, Clone, Copy)]
pub(super) struct ConvNormOptions {
    pub(super) stride: usize,
    pub(super) padding: Padding,
    pub(super) depthwise: bool,
    pub(super) activation: Activation,
    /// Added to the variance.
    pub(super) eps: f64,
}

/// A convolution with its normalization folded in.
#[derive(Debug)]
pub(super) struct ConvNorm {
    weight: Tensor,
    bias: Tensor,
    kernel: [usize; 2],
    groups: usize,
    options: ConvNormOptions,
}

impl ConvNorm {
    /// Channels of the output.
    pub(super) fn out_channels(&self) -> usize {
        self.bias.side(0)
    }

    /// Channels of the input.
    pub(super) fn in_channels(&self) -> usize {
        self.weight.side(2) * self.groups
    }

    /// `[num, height, width, in]` to `[num, height, width, out]`; nothing is recorded.
    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let (sides, stride) = ([x.side(1), x.side(2)], self.options.stride);
        let (mut output, mut padding) = ([0; 2], [0; 2]);
        for axis in 0..2 {
            let (side, kernel) = (sides[axis], self.kernel[axis]);
            match self.options.padding {
                Padding::Same => {
                    output[axis] = side.div_ceil(stride);
                    padding[axis] = ((output[axis] - 1) * stride + kernel).saturating_sub(side) / 2;
                }
                Padding::Each(each) => {
                    padding[axis] = each[axis];
                    let room = (side + 2 * each[axis]).checked_sub(kernel);
                    output[axis] = room.map_or(0, |room| room / stride + 1);
                }
            }
        }
        if output.contains(&0) || x.side(3) != self.in_channels() {
            return Err(TensorError::ShapeMismatch {
                op: "conv",
                left: x.shape().clone(),
                right: self.weight.shape().clone(),
            }
            .into());
        }
        let geometry = ConvGeometry {
            batch: x.side(0),
            input: [1, sides[0], sides[1]],
            output: [1, output[0], output[1]],
            kernel: [1, self.kernel[0], self.kernel[1]],
            stride: [1, stride, stride],
            dilation: [1; 3],
            padding: [0, padding[0], padding[1]],
            in_channels: x.side(3),
            out_channels: self.out_channels(),
            groups: self.groups,
        };
        let device = x.device();
        let (weight, bias) = (self.weight.array(), self.bias.array());
        let after = Epilogue {
            bias: Some(bias),
            activation: self.options.activation,
            ..Epilogue::default()
        };
        let y = device.conv(&geometry, x.array(), weight, after)?;
        Ok(Tensor::from_array(y, device).reshape([x.side(0), output[0], output[1], self.out_channels()])?)
    }
}

/// The linear layer behind the features.
#[derive(Debug)]
pub(super) struct Classifier {
    weight: Tensor,
    bias: Tensor,
}

impl Classifier {
    pub(super) fn num_classes(&self) -> usize {
        self.bias.side(0)
    }

    pub(super) fn in_features(&self) -> usize {
        self.weight.side(0)
    }

    pub(super) fn forward(&self, features: &Tensor) -> Result<Tensor> {
        Ok(linear(features, &self.weight, Some(&self.bias), Activation::Identity)?)
    }

    pub(super) fn forward_without_bias(&self, features: &Tensor) -> Result<Tensor> {
        Ok(linear(features, &self.weight, None, Activation::Identity)?)
    }
}

/// Gray or RGBA images as RGB: gray three times, RGBA on white.
pub(super) fn rgb(images: &Tensor) -> Result<Tensor> {
    Ok(match images.side(3) {
        3 => images.clone(),
        1 => gander_tensor::concat(&[images, images, images], 3)?,
        4 => {
            let color = images.slice(3, 0, 3)?;
            let share = images.slice(3, 3, 4)?.mul_scalar(0.5)?.add_scalar(0.5)?;
            // share · color + (1 − share) · white
            color.add_scalar(-1.0)?.mul(&share)?.add_scalar(1.0)?
        }
        _ => {
            return Err(Error::UnlikeImages {
                expected: "1, 3 or 4 channels".into(),
                got: format!("{:?}", images.shape()),
            });
        }
    })
}

/// The mean over rows and columns: `[num, channels]`.
pub(super) fn mean_of_positions(x: &Tensor) -> Result<Tensor> {
    Ok(x.mean_keep(&[1, 2])?.reshape([x.side(0), x.side(3)])?)
}
