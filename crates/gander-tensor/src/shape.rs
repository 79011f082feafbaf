//! The sides of a tensor.

use std::{fmt, ops::Deref};

use crate::{Error, Result};

/// The sides of a tensor, outermost first. A scalar has none.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct Shape(Vec<usize>);

/// The product of sides; `None` where it is too large to be counted.
pub(crate) fn product(sides: &[usize]) -> Option<usize> {
    if sides.contains(&0) {
        return Some(0);
    }
    sides
        .iter()
        .try_fold(1, |product: usize, &side| product.checked_mul(side))
}

/// The product of sides, of which memory is sized.
///
/// # Panics
/// If it is too large to be counted: wrapped around, it would stand for less memory than is written.
pub(crate) fn num_elements(sides: &[usize]) -> usize {
    product(sides).expect("a product of sides that can be counted")
}

impl Shape {
    /// Number of elements.
    ///
    /// # Panics
    /// If they are too many to be counted.
    pub fn num_elements(&self) -> usize {
        num_elements(&self.0)
    }

    /// The shape, if the bytes of its elements can be counted, eight each at most.
    pub(crate) fn countable(self, op: &'static str) -> Result<Self> {
        if product(&self.0).is_some_and(|elements| elements.checked_mul(size_of::<f64>()).is_some()) {
            return Ok(self);
        }
        Err(Error::InvalidShape {
            op,
            expected: "elements that can be counted".into(),
            got: self,
        })
    }

    /// Number of axes.
    pub fn rank(&self) -> usize {
        self.0.len()
    }

    /// The last side: channels. One for a scalar.
    pub fn channels(&self) -> usize {
        self.0.last().copied().unwrap_or(1)
    }

    /// The shape of an elementwise operation between two shapes, by the rules of NumPy.
    pub fn broadcast(op: &'static str, left: &Self, right: &Self) -> Result<Self> {
        let rank = left.rank().max(right.rank());
        let side = |shape: &Self, axis: usize| {
            let missing = rank - shape.rank();
            if axis < missing { 1 } else { shape.0[axis - missing] }
        };
        (0..rank)
            .map(|axis| match (side(left, axis), side(right, axis)) {
                (a, b) if a == b => Ok(a),
                (1, b) => Ok(b),
                (a, 1) => Ok(a),
                _ => Err(Error::ShapeMismatch {
                    op,
                    left: left.clone(),
                    right: right.clone(),
                }),
            })
            .collect::<Result<Vec<_>>>()
            .and_then(|sides| Self(sides).countable(op))
    }

    /// The first side: how many images there are.
    pub(crate) fn batch(&self, op: &'static str) -> Result<usize> {
        self.0.first().copied().ok_or_else(|| Error::InvalidShape {
            op,
            expected: "at least one axis".into(),
            got: self.clone(),
        })
    }

    /// An axis that may be counted from the end (−1 is the last).
    pub(crate) fn axis(&self, op: &'static str, axis: isize) -> Result<usize> {
        let index = if axis < 0 { axis + self.rank() as isize } else { axis };
        usize::try_from(index)
            .ok()
            .filter(|&index| index < self.rank())
            .ok_or_else(|| Error::InvalidArgument {
                op,
                argument: "axis",
                value: format!("{axis} for shape {self:?}"),
            })
    }
}

impl Deref for Shape {
    type Target = [usize];

    fn deref(&self) -> &[usize] {
        &self.0
    }
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl From<&[usize]> for Shape {
    fn from(sides: &[usize]) -> Self {
        Self(sides.to_vec())
    }
}

impl<const N: usize> From<[usize; N]> for Shape {
    fn from(sides: [usize; N]) -> Self {
        Self(sides.to_vec())
    }
}

impl<const N: usize> From<&[usize; N]> for Shape {
    fn from(sides: &[usize; N]) -> Self {
        Self(sides.to_vec())
    }
}

impl From<Vec<usize>> for Shape {
    fn from(sides: Vec<usize>) -> Self {
        Self(sides)
    }
}

impl From<&Shape> for Shape {
    fn from(shape: &Shape) -> Self {
        shape.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{NormOptions, Reference, Tensor, group_norm, instance_norm};

    #[test]
    fn what_takes_a_batch_refuses_a_scalar() {
        let device = Reference::shared();
        let scalar = Tensor::ones([], &device).unwrap();
        let index = Tensor::from_u32(&[0], [1], &device).unwrap();
        let refused = [
            scalar.flatten(),
            scalar.sum_per_sample(),
            scalar.gather_rows(&index),
            instance_norm(&scalar, None, NormOptions::default()),
            group_norm(&scalar, 1, None, NormOptions::default()),
        ];
        for refused in refused {
            let error = refused.unwrap_err().to_string();
            assert!(error.ends_with(": expected at least one axis, got shape []"), "{error}");
        }
        assert!(scalar.sum_to(&[2].into()).is_err());
    }

    #[test]
    fn broadcasting_follows_numpy() {
        let shape = |a: &[usize], b: &[usize]| Shape::broadcast("test", &a.into(), &b.into());
        assert_eq!(*shape(&[4, 1, 3], &[5, 1]).unwrap(), [4, 5, 3]);
        assert_eq!(*shape(&[], &[2]).unwrap(), [2]);
        assert!(shape(&[2, 3], &[2]).is_err());
    }

    #[test]
    fn products_that_cannot_be_counted_are_refused() {
        let wide = Shape::from([1 << 40, 1 << 40]);
        assert_eq!(product(&wide), None);
        assert!(Shape::broadcast("test", &wide, &[1].into()).is_err());
        assert!(Shape::from([1 << 62]).countable("test").is_err());
        let empty = Shape::from([1 << 40, 1 << 40, 0]);
        assert_eq!(empty.num_elements(), 0);
        assert!(empty.countable("test").is_ok());
    }

    #[test]
    fn axes_count_from_both_ends() {
        let shape = Shape::from([2, 3]);
        assert_eq!(shape.axis("test", -1).unwrap(), 1);
        assert!(shape.axis("test", 2).is_err());
        assert!(shape.axis("test", -3).is_err());
    }
}
