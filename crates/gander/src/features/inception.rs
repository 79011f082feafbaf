//! The Inception network of 2015-12-05, which published FID and Inception scores look with, from a file that the user gives.

mod resize;

use std::path::Path;

use gander_tensor::{Activation, DeviceRef, Tensor, concat};
use serde::{Deserialize, Serialize};

use super::{
    Extracted, FeatureSpace,
    network::{Classifier, ConvNorm, ConvNormOptions, Padding, Weights, mean_of_positions, rgb},
    rows,
};
use crate::error::Result;

/// How images are brought to 299x299: scores of one way are not comparable with those of the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Resizing {
    /// pytorch-fid 0.3.0: bilinear without a low-pass, then −1..=1.
    PytorchFid,
    /// clean-fid 0.1.35, mode `clean`: bicubic with a low-pass as Pillow has it, in float, then `(x − 128) / 128`.
    CleanFid,
}

/// Inception-v3 in the form of 2015: 2048 features, 1008 classes.
#[derive(Debug)]
pub struct Inception {
    stem: [ConvNorm; 3],
    middle: [ConvNorm; 2],
    blocks: Vec<Block>,
    classifier: Classifier,
    resizing: Resizing,
}

/// A block: branches side by side, their outputs concatenated.
#[derive(Debug)]
struct Block(Vec<Branch>);

/// What happens to a block's input in one branch.
#[derive(Debug)]
struct Branch {
    pool: Option<Pool>,
    convs: Vec<ConvNorm>,
    /// Where a branch ends in two convolutions of the same input.
    fork: Option<[ConvNorm; 2]>,
}

#[derive(Debug, Clone, Copy)]
enum Pool {
    /// The mean of 3x3, padding not counted.
    Mean,
    /// The largest of 3x3.
    Max,
    /// The largest of 3x3 at every other position, without padding.
    Halve,
}

/// A branch as it is written below: its pool, the names of its convolutions with their strides, its fork.
type Plan = (
    Option<Pool>,
    &'static [(&'static str, usize)],
    Option<[&'static str; 2]>,
);

/// Blocks at 35x35.
const MIXED_A: &[Plan] = &[
    (None, &[("branch1x1", 1)], None),
    (None, &[("branch5x5_1", 1), ("branch5x5_2", 1)], None),
    (
        None,
        &[("branch3x3dbl_1", 1), ("branch3x3dbl_2", 1), ("branch3x3dbl_3", 1)],
        None,
    ),
    (Some(Pool::Mean), &[("branch_pool", 1)], None),
];
/// From 35x35 to 17x17.
const MIXED_B: &[Plan] = &[
    (None, &[("branch3x3", 2)], None),
    (
        None,
        &[("branch3x3dbl_1", 1), ("branch3x3dbl_2", 1), ("branch3x3dbl_3", 2)],
        None,
    ),
    (Some(Pool::Halve), &[], None),
];
/// Blocks at 17x17.
const MIXED_C: &[Plan] = &[
    (None, &[("branch1x1", 1)], None),
    (
        None,
        &[("branch7x7_1", 1), ("branch7x7_2", 1), ("branch7x7_3", 1)],
        None,
    ),
    (
        None,
        &[
            ("branch7x7dbl_1", 1),
            ("branch7x7dbl_2", 1),
            ("branch7x7dbl_3", 1),
            ("branch7x7dbl_4", 1),
            ("branch7x7dbl_5", 1),
        ],
        None,
    ),
    (Some(Pool::Mean), &[("branch_pool", 1)], None),
];
/// From 17x17 to 8x8.
const MIXED_D: &[Plan] = &[
    (None, &[("branch3x3_1", 1), ("branch3x3_2", 2)], None),
    (
        None,
        &[
            ("branch7x7x3_1", 1),
            ("branch7x7x3_2", 1),
            ("branch7x7x3_3", 1),
            ("branch7x7x3_4", 2),
        ],
        None,
    ),
    (Some(Pool::Halve), &[], None),
];
/// The first block at 8x8, and the second, whose pool is of the largest.
const MIXED_E: [&[Plan]; 2] = [&mixed_e(Pool::Mean), &mixed_e(Pool::Max)];

const fn mixed_e(pool: Pool) -> [Plan; 4] {
    [
        (None, &[("branch1x1", 1)], None),
        (None, &[("branch3x3_1", 1)], Some(["branch3x3_2a", "branch3x3_2b"])),
        (
            None,
            &[("branch3x3dbl_1", 1), ("branch3x3dbl_2", 1)],
            Some(["branch3x3dbl_3a", "branch3x3dbl_3b"]),
        ),
        (Some(pool), &[("branch_pool", 1)], None),
    ]
}

/// All blocks in their order.
///
/// # Source
/// Szegedy et al. 2016, <https://arxiv.org/abs/1512.00567>, in the form of
/// <http://download.tensorflow.org/models/image/imagenet/inception-2015-12-05.tgz>: means that do not count padding, and a
/// maximum in the last block.
const BLOCKS: [(&str, &[Plan]); 11] = [
    ("Mixed_5b", MIXED_A),
    ("Mixed_5c", MIXED_A),
    ("Mixed_5d", MIXED_A),
    ("Mixed_6a", MIXED_B),
    ("Mixed_6b", MIXED_C),
    ("Mixed_6c", MIXED_C),
    ("Mixed_6d", MIXED_C),
    ("Mixed_6e", MIXED_C),
    ("Mixed_7a", MIXED_D),
    ("Mixed_7b", MIXED_E[0]),
    ("Mixed_7c", MIXED_E[1]),
];

impl Inception {
    /// Rows and columns of the network's images.
    pub const SIDE_PX: usize = 299;

    /// Reads the network from pytorch-fid's own file `pt_inception-2015-12-05-6726825d.pth`, or from a safetensors file with
    /// its names (`Conv2d_1a_3x3.conv.weight`, …).
    ///
    /// # Errors
    /// [`crate::Error::WrongNetwork`] names the first tensor that is missing or does not fit.
    pub fn load(path: &Path, resizing: Resizing, device: &DeviceRef) -> Result<Self> {
        let weights = Weights::read(path, "the Inception network of 2015-12-05", device)?;
        let whole = |name: &str, stride| conv(&weights, name, stride, false);
        let stem = [
            whole("Conv2d_1a_3x3", 2)?,
            whole("Conv2d_2a_3x3", 1)?,
            conv(&weights, "Conv2d_2b_3x3", 1, true)?,
        ];
        let middle = [whole("Conv2d_3b_1x1", 1)?, whole("Conv2d_4a_3x3", 1)?];
        let blocks = BLOCKS
            .iter()
            .map(|(name, plans)| Block::new(&weights, name, plans))
            .collect::<Result<_>>()?;
        Ok(Self {
            stem,
            middle,
            blocks,
            classifier: weights.linear("fc")?,
            resizing,
        })
    }

    /// Features `[num, 2048]` and logits `[num, 1008]` of images that are as the network wants them (75x75 or more). The logits
    /// are without the last layer's bias: those of the Inception score, as the code of Salimans et al. 2016 and torch-fidelity
    /// (`logits_unbiased`) have them.
    ///
    /// # Shapes
    /// - `images`: `[num, height, width, 3]`, −1..=1
    pub fn forward(&self, images: &Tensor) -> Result<(Tensor, Tensor)> {
        let mut x = images.clone();
        for conv in &self.stem {
            x = conv.forward(&x)?;
        }
        x = Pool::Halve.apply(&x)?;
        for conv in &self.middle {
            x = conv.forward(&x)?;
        }
        x = Pool::Halve.apply(&x)?;
        for block in &self.blocks {
            x = block.forward(&x)?;
        }
        let features = mean_of_positions(&x)?;
        let logits = self.classifier.forward_without_bias(&features)?;
        Ok((features, logits))
    }
}

/// A convolution with its normalization; `padded` keeps the sides of an odd kernel.
fn conv(weights: &Weights, name: &str, stride: usize, padded: bool) -> Result<ConvNorm> {
    let name = |part: &str| format!("{name}.{part}");
    let kernel = weights.kernel(&name("conv"))?;
    let padding = if padded { kernel.map(|side| side / 2) } else { [0, 0] };
    let options = ConvNormOptions {
        stride,
        padding: Padding::Each(padding),
        depthwise: false,
        activation: Activation::Relu,
        eps: 1e-3,
    };
    weights.conv(&name("conv"), &name("bn"), options)
}

impl Block {
    fn new(weights: &Weights, block: &str, plans: &[Plan]) -> Result<Self> {
        // Those that halve the sides have no padding, the others keep them.
        let of = |(name, stride): (&str, usize)| conv(weights, &format!("{block}.{name}"), stride, stride == 1);
        let both = |[a, b]: [&str; 2]| -> Result<_> { Ok([of((a, 1))?, of((b, 1))?]) };
        let branch = |(pool, names, fork): &Plan| {
            Ok(Branch {
                pool: *pool,
                convs: names.iter().map(|&name| of(name)).collect::<Result<_>>()?,
                fork: fork.map(both).transpose()?,
            })
        };
        Ok(Self(plans.iter().map(branch).collect::<Result<_>>()?))
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let mut parts = Vec::with_capacity(self.0.len() + 2);
        for branch in &self.0 {
            let mut y = match branch.pool {
                Some(pool) => pool.apply(x)?,
                None => x.clone(),
            };
            for conv in &branch.convs {
                y = conv.forward(&y)?;
            }
            match &branch.fork {
                Some([a, b]) => parts.extend([a.forward(&y)?, b.forward(&y)?]),
                None => parts.push(y),
            }
        }
        Ok(concat(&parts.iter().collect::<Vec<_>>(), 3)?)
    }
}

impl Pool {
    fn apply(self, x: &Tensor) -> Result<Tensor> {
        Ok(match self {
            Self::Mean => x.average_pool(3, 1, 1)?,
            Self::Max => x.max_pool(3, 1, 1)?,
            Self::Halve => x.max_pool(3, 2, 0)?,
        })
    }
}

impl FeatureSpace for Inception {
    fn name(&self) -> &'static str {
        match self.resizing {
            Resizing::PytorchFid => "inception",
            Resizing::CleanFid => "inception_clean",
        }
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
        let images = match self.resizing {
            Resizing::PytorchFid => images.resize_bilinear(&[Self::SIDE_PX; 2])?,
            Resizing::CleanFid => resize::clean(&images, Self::SIDE_PX)?,
        };
        let (features, logits) = self.forward(&images)?;
        Ok(Extracted {
            features: rows(&features)?,
            logits: Some(rows(&logits)?),
        })
    }
}
