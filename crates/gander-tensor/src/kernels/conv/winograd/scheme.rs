//! The algorithms: which sums of pixels and of weights are multiplied, and where the products are added.
//!
//! Along an axis a tile of outputs is `target · ((weight · taps) ⊙ (source · window))`, and in the plane the same
//! matrices act on rows and on columns. Fewer products than the direct algorithm has, for more additions.
//!
//! # Source
//! Winograd 1980, *Arithmetic Complexity of Computations*; the matrices for 3x3 kernels are those of
//! Lavin and Gray 2015, <https://arxiv.org/abs/1509.09308>.

/// The most rows or columns of a matrix.
pub(super) const MOST: usize = 6;

/// A small matrix that is known when the program is compiled.
#[derive(Debug, Clone, Copy)]
pub(super) struct Matrix {
    pub(super) rows: usize,
    pub(super) columns: usize,
    pub(super) at: [[f32; MOST]; MOST],
    /// For each row the element that a sum begins with: the first that is one, else the first that is not zero.
    pub(super) first: [usize; MOST],
}

impl Matrix {
    const fn new<const ROWS: usize, const COLUMNS: usize>(values: [[f32; COLUMNS]; ROWS]) -> Self {
        let mut at = [[0.0; MOST]; MOST];
        let mut row = 0;
        while row < ROWS {
            let mut column = 0;
            while column < COLUMNS {
                at[row][column] = values[row][column];
                column += 1;
            }
            row += 1;
        }
        Self::whole(ROWS, COLUMNS, at)
    }

    const fn whole(rows: usize, columns: usize, at: [[f32; MOST]; MOST]) -> Self {
        let mut first = [0; MOST];
        let mut row = 0;
        while row < rows {
            let mut best = columns;
            let mut column = columns;
            while column > 0 {
                column -= 1;
                let value = at[row][column];
                let none_yet = best == columns || at[row][best] != 1.0;
                if value == 1.0 || (value != 0.0 && none_yet) {
                    best = column;
                }
            }
            assert!(best < columns, "no row is zero");
            first[row] = best;
            row += 1;
        }
        Self {
            rows,
            columns,
            at,
            first,
        }
    }

    const fn transposed(&self) -> Self {
        let mut at = [[0.0; MOST]; MOST];
        let mut row = 0;
        while row < self.rows {
            let mut column = 0;
            while column < self.columns {
                at[column][row] = self.at[row][column];
                column += 1;
            }
            row += 1;
        }
        Self::whole(self.columns, self.rows, at)
    }
}

/// An algorithm along one axis.
#[derive(Debug)]
pub(super) struct Axis {
    /// Source positions between neighboring tiles.
    pub(super) step: usize,
    /// Sums of source positions (planes) by positions of the window.
    pub(super) source: Matrix,
    /// Sums of weights (one for each product) by taps of the kernel.
    pub(super) weight: Matrix,
    /// Outputs of a tile by sums of products (points).
    pub(super) target: Matrix,
    /// For each product its plane; as many for each point, whose products follow each other.
    pub(super) planes: &'static [usize],
}

impl Axis {
    pub(super) const fn taps(&self) -> usize {
        self.weight.columns
    }

    /// Products of a point.
    pub(super) const fn terms(&self) -> usize {
        self.planes.len() / self.target.columns
    }

    /// The products of a point of the plane, each as its indexes along both axes.
    pub(super) fn products(&self, point: usize) -> impl Iterator<Item = [usize; 2]> {
        let (terms, points) = (self.terms(), self.target.columns);
        let [y, x] = [point / points, point % points].map(|point| point * terms..(point + 1) * terms);
        y.flat_map(move |y| x.clone().map(move |x| [y, x]))
    }
}

/// An algorithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scheme {
    /// 2x2 outputs of a 3x3 kernel with 16 products instead of 36.
    Two,
    /// 4x4 outputs of a 3x3 kernel with 36 products instead of 144.
    Four,
    /// 2x2 outputs of a 4x4 kernel with a stride of two with 36 products instead of 64: each of the four phases of the
    /// source meets a 2x2 kernel, and the phases add up before the last transform.
    Down,
    /// 4x4 outputs of its input gradient (padding one) with 36 products instead of 64: four phases of the target with
    /// 2x2 kernels each, which share sums of the source.
    Up,
}

const TWO: Axis = Axis {
    step: 2,
    source: Matrix::new([
        [1.0, 0.0, -1.0, 0.0],
        [0.0, 1.0, 1.0, 0.0],
        [0.0, -1.0, 1.0, 0.0],
        [0.0, 1.0, 0.0, -1.0],
    ]),
    weight: Matrix::new([[1.0, 0.0, 0.0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0.0, 0.0, 1.0]]),
    target: Matrix::new([[1.0, 1.0, 1.0, 0.0], [0.0, 1.0, -1.0, -1.0]]),
    planes: &[0, 1, 2, 3],
};

const FOUR: Axis = Axis {
    step: 4,
    source: Matrix::new([
        [4.0, 0.0, -5.0, 0.0, 1.0, 0.0],
        [0.0, -4.0, -4.0, 1.0, 1.0, 0.0],
        [0.0, 4.0, -4.0, -1.0, 1.0, 0.0],
        [0.0, -2.0, -1.0, 2.0, 1.0, 0.0],
        [0.0, 2.0, -1.0, -2.0, 1.0, 0.0],
        [0.0, 4.0, 0.0, -5.0, 0.0, 1.0],
    ]),
    weight: Matrix::new([
        [1.0 / 4.0, 0.0, 0.0],
        [-1.0 / 6.0, -1.0 / 6.0, -1.0 / 6.0],
        [-1.0 / 6.0, 1.0 / 6.0, -1.0 / 6.0],
        [1.0 / 24.0, 1.0 / 12.0, 1.0 / 6.0],
        [1.0 / 24.0, -1.0 / 12.0, 1.0 / 6.0],
        [0.0, 0.0, 1.0],
    ]),
    target: Matrix::new([
        [1.0, 1.0, 1.0, 1.0, 1.0, 0.0],
        [0.0, 1.0, -1.0, 2.0, -2.0, 0.0],
        [0.0, 1.0, 1.0, 4.0, 4.0, 0.0],
        [0.0, 1.0, -1.0, 8.0, -8.0, 1.0],
    ]),
    planes: &[0, 1, 2, 3, 4, 5],
};

const DOWN: Axis = Axis {
    step: 4,
    source: Matrix::new([
        [1.0, 0.0, -1.0, 0.0, 0.0, 0.0],
        [0.0, 0.0, 1.0, 0.0, 0.0, 0.0],
        [0.0, 0.0, -1.0, 0.0, 1.0, 0.0],
        [0.0, 1.0, 0.0, -1.0, 0.0, 0.0],
        [0.0, 0.0, 0.0, 1.0, 0.0, 0.0],
        [0.0, 0.0, 0.0, -1.0, 0.0, 1.0],
    ]),
    weight: Matrix::new([
        [1.0, 0.0, 0.0, 0.0],
        [0.0, 1.0, 0.0, 0.0],
        [1.0, 0.0, 1.0, 0.0],
        [0.0, 1.0, 0.0, 1.0],
        [0.0, 0.0, 1.0, 0.0],
        [0.0, 0.0, 0.0, 1.0],
    ]),
    target: Matrix::new([[1.0, 1.0, 0.0], [0.0, 1.0, 1.0]]),
    planes: &[0, 3, 1, 4, 2, 5],
};

const UP: Axis = Axis {
    step: 2,
    source: Matrix::new([
        [1.0, -1.0, 0.0, 0.0],
        [0.0, 1.0, 0.0, 0.0],
        [0.0, -1.0, 1.0, 0.0],
        [0.0, 0.0, 1.0, 0.0],
        [0.0, 0.0, -1.0, 1.0],
    ]),
    weight: Matrix::new([
        [0.0, 0.0, 0.0, 1.0],
        [0.0, 1.0, 0.0, 1.0],
        [0.0, 1.0, 0.0, 0.0],
        // The plane is that of the other phase with the opposite sign.
        [0.0, 0.0, -1.0, 0.0],
        [1.0, 0.0, 1.0, 0.0],
        [1.0, 0.0, 0.0, 0.0],
    ]),
    target: Matrix::new([
        [1.0, 1.0, 0.0, 0.0, 0.0, 0.0],
        [0.0, 0.0, 0.0, 1.0, 1.0, 0.0],
        [0.0, 1.0, 1.0, 0.0, 0.0, 0.0],
        [0.0, 0.0, 0.0, 0.0, 1.0, 1.0],
    ]),
    planes: &[0, 1, 2, 2, 3, 4],
};

impl Scheme {
    #[cfg(test)]
    pub(super) const ALL: [Self; 4] = [Self::Two, Self::Four, Self::Down, Self::Up];

    pub(super) fn axis(self) -> &'static Axis {
        match self {
            Self::Two => &TWO,
            Self::Four => &FOUR,
            Self::Down => &DOWN,
            Self::Up => &UP,
        }
    }
}

/// A scheme as a type, so that its matrices are constants of the code that applies them.
pub(super) trait Known {
    const AXIS: Axis;
}

/// The matrix of a transform as a type.
pub(super) trait Fixed {
    const MATRIX: Matrix;
}

macro_rules! known {
    ($($name:ident = $axis:ident;)*) => {$(
        #[derive(Clone, Copy)]
        pub(super) struct $name;
        impl Known for $name {
            const AXIS: Axis = $axis;
        }
    )*};
}

known! {
    KnownTwo = TWO;
    KnownFour = FOUR;
    KnownDown = DOWN;
    KnownUp = UP;
}

/// Windows of the source to planes.
pub(super) struct Source<K>(std::marker::PhantomData<K>);
/// Points to outputs.
pub(super) struct Target<K>(std::marker::PhantomData<K>);
/// Gradients of outputs to gradients of points.
pub(super) struct TargetBack<K>(std::marker::PhantomData<K>);
/// Kernels to the weights of products.
pub(super) struct Weight<K>(std::marker::PhantomData<K>);
/// Gradients of the products' weights to those of kernels.
pub(super) struct WeightBack<K>(std::marker::PhantomData<K>);

impl<K: Known> Fixed for Source<K> {
    const MATRIX: Matrix = K::AXIS.source;
}
impl<K: Known> Fixed for Target<K> {
    const MATRIX: Matrix = K::AXIS.target;
}
impl<K: Known> Fixed for TargetBack<K> {
    const MATRIX: Matrix = K::AXIS.target.transposed();
}
impl<K: Known> Fixed for Weight<K> {
    const MATRIX: Matrix = K::AXIS.weight;
}
impl<K: Known> Fixed for WeightBack<K> {
    const MATRIX: Matrix = K::AXIS.weight.transposed();
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `matrix · vector`
    fn times(matrix: &Matrix, vector: &[f64]) -> Vec<f64> {
        let row = |i: usize| {
            vector
                .iter()
                .enumerate()
                .map(move |(j, v)| f64::from(matrix.at[i][j]) * v)
        };
        (0..matrix.rows).map(|i| row(i).sum()).collect()
    }

    fn unit(len: usize, at: usize) -> Vec<f64> {
        (0..len).map(|i| f64::from(u8::from(i == at))).collect()
    }

    /// The tap that brings a position of the window to an output, if any.
    fn tap(scheme: Scheme, position: usize, output: usize) -> Option<usize> {
        let (position, output) = (position as isize, output as isize);
        let tap = match scheme {
            Scheme::Two | Scheme::Four => position - output,
            Scheme::Down => position - 2 * output,
            // The window begins one before the tile's half.
            Scheme::Up => output + 1 - 2 * (position - 1),
        };
        (0..scheme.axis().taps() as isize)
            .contains(&tap)
            .then_some(tap as usize)
    }

    #[test]
    fn products_add_up_to_the_direct_algorithm() {
        for scheme in Scheme::ALL {
            let axis = scheme.axis();
            for position in 0..axis.source.columns {
                for k in 0..axis.taps() {
                    let planes = times(&axis.source, &unit(axis.source.columns, position));
                    let weights = times(&axis.weight, &unit(axis.taps(), k));
                    let points: Vec<f64> = (0..axis.target.columns)
                        .map(|point| {
                            let products = point * axis.terms()..(point + 1) * axis.terms();
                            products.map(|i| weights[i] * planes[axis.planes[i]]).sum()
                        })
                        .collect();
                    for (output, sum) in times(&axis.target, &points).into_iter().enumerate() {
                        let expected = f64::from(u8::from(tap(scheme, position, output) == Some(k)));
                        // The sixths of the larger tiles are rounded.
                        assert!(
                            (sum - expected).abs() < 1e-6,
                            "{scheme:?}: position {position}, tap {k}, output {output}: {sum} for {expected}"
                        );
                    }
                }
            }
        }
    }
}
