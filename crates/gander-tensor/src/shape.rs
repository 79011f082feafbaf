//! The sides of a tensor.

use std::{fmt, ops::Deref};

use crate::{Error, Result};

/// The sides of a tensor, outermost first. A scalar has none.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct Shape(Vec<usize>);

impl Shape {
    /// Number of elements.
    pub fn num_elements(&self) -> usize {
        self.0.iter().product()
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
            .map(Self)
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

    #[test]
    fn broadcasting_follows_numpy() {
        let shape = |a: &[usize], b: &[usize]| Shape::broadcast("test", &a.into(), &b.into());
        assert_eq!(*shape(&[4, 1, 3], &[5, 1]).unwrap(), [4, 5, 3]);
        assert_eq!(*shape(&[], &[2]).unwrap(), [2]);
        assert!(shape(&[2, 3], &[2]).is_err());
    }

    #[test]
    fn axes_count_from_both_ends() {
        let shape = Shape::from([2, 3]);
        assert_eq!(shape.axis("test", -1).unwrap(), 1);
        assert!(shape.axis("test", 2).is_err());
        assert!(shape.axis("test", -3).is_err());
    }
}
