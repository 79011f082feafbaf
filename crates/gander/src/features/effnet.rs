//! EfficientNet-Lite0 as a feature space, from a file that the user gives.

use std::path::Path;

use gander_formats::safetensors::{self, SafeTensors};
use gander_tensor::{Activation, DeviceRef, Tensor};

use super::{
    Extracted, FeatureSpace,
    network::{Classifier, ConvNorm, ConvNormOptions, Padding, Weights, mean_of_positions, rgb},
    rows,
};
use crate::error::Result;

/// Stride of each block. Everything else about a block (kernel, widths, whether it expands) stands in its weights.
///
/// # Source
/// Tan & Le 2019, table 1, <https://arxiv.org/abs/1905.11946>, without squeeze-and-excitation and with `ReLU6` in its Lite form:
/// <https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite>.
const STRIDES: [usize; 16] = [1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1, 1, 1, 1];

/// EfficientNet-Lite0, trained on ImageNet: 1280 features, 1000 classes.
///
/// Images are brought to 224x224 (bilinear where they grow, the mean of areas where they shrink) and to
/// `(x − 127) / 128` with `x` in 0..=255.
#[derive(Debug)]
pub struct EffNet {
    stem: ConvNorm,
    blocks: Vec<Block>,
    head: ConvNorm,
    classifier: Classifier,
}

/// An inverted bottleneck: wider, each channel by itself, narrow again.
#[derive(Debug)]
struct Block {
    expand: Option<ConvNorm>,
    depthwise: ConvNorm,
    project: ConvNorm,
    is_residual: bool,
}

/// A convolution of single pixels; the others start from it.
const POINTWISE: ConvNormOptions = ConvNormOptions {
    stride: 1,
    padding: Padding::Each([0, 0]),
    depthwise: false,
    activation: Activation::Identity,
    eps: 1e-3,
};

impl EffNet {
    /// Rows and columns of the network's images.
    pub const SIDE_PX: usize = 224;

    /// Reads the network from a safetensors file with the names of the package efficientnet-lite-pytorch 0.1.0
    /// (`_conv_stem.weight`, …), single or half precision.
    ///
    /// # Errors
    /// [`crate::Error::WrongNetwork`] names the first tensor that is missing or does not fit.
    pub fn load(path: &Path, device: &DeviceRef) -> Result<Self> {
        Self::from_safetensors(&safetensors::read(path)?, path, device)
    }

    fn from_safetensors(file: &SafeTensors, path: &Path, device: &DeviceRef) -> Result<Self> {
        let weights = Weights::of_safetensors(file, path.to_owned(), "EfficientNet-Lite0", device)?;
        let strided = ConvNormOptions {
            stride: 2,
            padding: Padding::Same,
            ..POINTWISE
        };
        let stem = weights.conv("_conv_stem", "_bn0", strided)?;
        let mut channels = stem.out_channels();
        let mut blocks = Vec::with_capacity(STRIDES.len());
        for (index, stride) in STRIDES.into_iter().enumerate() {
            let block = Block::new(&weights, index, stride)?;
            let first = block.expand.as_ref().unwrap_or(&block.depthwise);
            check_fits(&weights, index, channels, first.in_channels())?;
            channels = block.project.out_channels();
            blocks.push(block);
        }
        let head = weights.conv("_conv_head", "_bn1", POINTWISE)?;
        check_fits(&weights, STRIDES.len(), channels, head.in_channels())?;
        let classifier = weights.linear("_fc")?;
        if classifier.in_features() != head.out_channels() {
            return Err(weights.wrong("`_fc.weight` does not fit `_conv_head.weight`".into()));
        }
        Ok(Self {
            stem,
            blocks,
            head,
            classifier,
        })
    }

    /// Features `[num, 1280]` and logits `[num, 1000]` of images that have the network's size already (any size works).
    ///
    /// # Shapes
    /// - `images`: `[num, height, width, 3]`, −1..=1
    pub fn forward(&self, images: &Tensor) -> Result<(Tensor, Tensor)> {
        // (x − 127) / 128 of x = 127.5 (v + 1).
        let x = images.mul_scalar(127.5 / 128.0)?.add_scalar(0.5 / 128.0)?;
        let mut x = relu6(&self.stem.forward(&x)?)?;
        for block in &self.blocks {
            x = block.forward(&x)?;
        }
        let features = mean_of_positions(&relu6(&self.head.forward(&x)?)?)?;
        let logits = self.classifier.forward(&features)?;
        Ok((features, logits))
    }
}

fn check_fits(weights: &Weights, index: usize, channels: usize, expected: usize) -> Result<()> {
    if channels == expected {
        return Ok(());
    }
    Err(weights.wrong(format!(
        "block {index} expects {expected} channels, the one before gives {channels}"
    )))
}

impl Block {
    fn new(weights: &Weights, index: usize, stride: usize) -> Result<Self> {
        let name = |part: &str| format!("_blocks.{index}.{part}");
        let expand = weights
            .contains(&name("_expand_conv.weight"))
            .then(|| weights.conv(&name("_expand_conv"), &name("_bn0"), POINTWISE))
            .transpose()?;
        let depthwise = ConvNormOptions {
            stride,
            padding: Padding::Same,
            depthwise: true,
            ..POINTWISE
        };
        let depthwise = weights.conv(&name("_depthwise_conv"), &name("_bn1"), depthwise)?;
        let project = weights.conv(&name("_project_conv"), &name("_bn2"), POINTWISE)?;
        let widened = expand.as_ref().unwrap_or(&depthwise);
        let is_residual = stride == 1 && widened.in_channels() == project.out_channels();
        if widened.out_channels() != depthwise.in_channels() || depthwise.out_channels() != project.in_channels() {
            return Err(weights.wrong(format!("the parts of block {index} do not fit")));
        }
        Ok(Self {
            expand,
            depthwise,
            project,
            is_residual,
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let wide = match &self.expand {
            Some(expand) => relu6(&expand.forward(x)?)?,
            None => x.clone(),
        };
        let narrow = self.project.forward(&relu6(&self.depthwise.forward(&wide)?)?)?;
        Ok(if self.is_residual { narrow.add(x)? } else { narrow })
    }
}

fn relu6(x: &Tensor) -> Result<Tensor> {
    Ok(x.clamp(0.0, 6.0)?)
}

impl FeatureSpace for EffNet {
    fn name(&self) -> &'static str {
        "effnet"
    }

    fn num_classes(&self) -> Option<usize> {
        Some(self.classifier.num_classes())
    }

    /// Little enough that what flows between layers stays near the processor.
    fn batch(&self) -> usize {
        16
    }

    fn extract(&self, images: &Tensor) -> Result<Extracted> {
        let images = rgb(images)?;
        let shrunk = [images.side(1), images.side(2)].map(|side| side.min(Self::SIDE_PX));
        let images = images.resize_area(&shrunk)?.resize_bilinear(&[Self::SIDE_PX; 2])?;
        let (features, logits) = self.forward(&images)?;
        Ok(Extracted {
            features: rows(&features)?,
            logits: Some(rows(&logits)?),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use gander_formats::safetensors::{Entry, read_bytes, to_bytes};
    use gander_tensor::Cpu;

    use super::*;
    use crate::Error;

    #[test]
    fn another_network_is_refused_by_name() {
        let bytes = to_bytes(&[Entry::f32("weight", [2], &[0.0, 1.0])], &BTreeMap::new()).unwrap();
        let error = EffNet::from_safetensors(&read_bytes(&bytes).unwrap(), Path::new("a"), &Cpu::shared());
        let error = error.expect_err("no network").to_string();
        assert_eq!(
            error,
            "a does not hold EfficientNet-Lite0: it has no tensor `_conv_stem.weight`"
        );
        assert!(matches!(
            EffNet::load(Path::new("/no/such/file"), &Cpu::shared()),
            Err(Error::Formats(_))
        ));
    }
}
