//! Normalization of channels-last data: statistics, the normalized values with their activation, and the gradient.
//!
//! Data are seen as `[groups, rows, channels]`: batch normalization has one group, instance normalization one for
//! each image. Statistics are `[groups, channels]`, scales and shifts `[maps, channels]`.

use super::{
    Context,
    elementwise::{Function, WithFunction, with_activation},
    isa::{Arithmetic, Kernel},
    threads::SharedMut,
};
use crate::{Activation, NormGeometry};

/// Values of one block: 128 KiB, read again from a core's second-level cache.
const BLOCK: usize = 32 * 1024;
/// Fewer channels than this are repeated, so that vectors run over the ends of rows.
const LANES: usize = 64;

/// Parts of as many rows, and how these are cut into blocks; both by shape alone.
#[derive(Clone, Copy)]
struct Cut {
    parts: usize,
    rows: usize,
    channels: usize,
    /// Rows side by side in one pass of the innermost loop.
    folded: usize,
    block_rows: usize,
    blocks: usize,
}

impl Cut {
    fn new(parts: usize, rows: usize, channels: usize) -> Self {
        let folded = LANES.div_ceil(channels.max(1));
        let block_rows = (BLOCK / channels.max(1)).next_multiple_of(folded).max(folded);
        Self {
            parts,
            rows,
            channels,
            folded,
            block_rows,
            blocks: rows.div_ceil(block_rows),
        }
    }

    fn len(&self) -> usize {
        self.parts * self.rows * self.channels
    }

    fn width(&self) -> usize {
        self.folded * self.channels
    }

    /// Number of rows in a block.
    fn height(&self, block: usize) -> usize {
        self.block_rows.min(self.rows - block * self.block_rows)
    }

    /// Where a block lies among all values.
    fn range(&self, part: usize, block: usize) -> std::ops::Range<usize> {
        let start = (part * self.rows + block * self.block_rows) * self.channels;
        start..start + self.height(block) * self.channels
    }

    /// Calls `f` with every part and block.
    fn for_each(&self, ctx: &Context, f: impl Fn(usize, usize) + Sync) {
        let blocks = self.blocks;
        ctx.threads
            .for_each_sized(self.len(), self.parts * blocks, |task| f(task / blocks, task % blocks));
    }
}

/// A row of one value per channel, repeated to the width of the innermost loop.
fn repeat(row: &[f32], wide: &mut [f32]) {
    wide.chunks_mut(row.len())
        .for_each(|part| part.copy_from_slice(&row[..part.len()]));
}

/// Sums of repeated rows, by channel.
#[inline(always)]
fn fold(wide: &[f32], y: &mut [f32]) {
    y.fill(0.0);
    for part in wide.chunks_exact(y.len()) {
        y.iter_mut().zip(part).for_each(|(y, &v)| *y += v);
    }
}

/// The mean of a block as a sum of two numbers, and the squared distances from it, by channel.
struct BlockMoments<'a> {
    x: &'a [f32],
    mean: &'a mut [f32],
    missed: &'a mut [f32],
    squares: &'a mut [f32],
    /// Three rows of the width of the innermost loop.
    scratch: &'a mut [f32],
}

impl Kernel for BlockMoments<'_> {
    type Output = ();

    #[inline(always)]
    fn run<A: Arithmetic>(self) {
        let channels = self.mean.len();
        let width = self.scratch.len() / 3;
        let (acc, rest) = self.scratch.split_at_mut(width);
        let (shift, missed) = rest.split_at_mut(width);
        acc.fill(0.0);
        for x in self.x.chunks(4 * width) {
            sum_rows(x, acc);
        }
        fold(acc, self.mean);
        let scale = 1.0 / (self.x.len() / channels) as f32;
        self.mean.iter_mut().for_each(|mean| *mean *= scale);
        repeat(self.mean, shift);
        acc.fill(0.0);
        missed.fill(0.0);
        for x in self.x.chunks(width) {
            let sums = acc.iter_mut().zip(missed.iter_mut());
            for (((acc, missed), &x), &mean) in sums.zip(x).zip(&*shift) {
                let distance = x - mean;
                *acc = A::mul_add(distance, distance, *acc);
                *missed += distance;
            }
        }
        fold(acc, self.squares);
        // What the mean missed by rounding: its square counts for each row.
        fold(missed, self.missed);
        for (missed, squares) in self.missed.iter_mut().zip(self.squares) {
            *squares -= *missed * *missed * scale;
            *missed *= scale;
        }
    }
}

/// Adds up to four rows to the sums, those first to each other.
#[inline(always)]
fn sum_rows(x: &[f32], acc: &mut [f32]) {
    let width = acc.len();
    if x.len() == 4 * width {
        let (a, b) = x.split_at(2 * width);
        let ((a, b), (c, d)) = (a.split_at(width), b.split_at(width));
        for ((acc, (&a, &b)), (&c, &d)) in acc.iter_mut().zip(a.iter().zip(b)).zip(c.iter().zip(d)) {
            *acc += (a + b) + (c + d);
        }
    } else {
        for row in x.chunks(width) {
            acc.iter_mut().zip(row).for_each(|(acc, &v)| *acc += v);
        }
    }
}

/// Mean and biased variance over the rows of each group, both `[groups, channels]`.
///
/// One pass over memory: each block gives its mean and the squared distances from it, so that a large mean costs
/// no digits.
///
/// # Source
/// Blocks are joined as in Chan, Golub & Le Veque 1979, <http://i.stanford.edu/pub/cstr/reports/cs/tr/79/773/CS-TR-79-773.pdf>.
pub(crate) fn moments(ctx: &Context, g: NormGeometry, x: &[f32], mean: &mut [f32], variance: &mut [f32]) {
    let NormGeometry {
        groups, rows, channels, ..
    } = g;
    let cut = Cut::new(groups, rows, channels);
    assert_eq!(x.len(), cut.len(), "length of the operand");
    if x.is_empty() {
        mean.fill(0.0);
        variance.fill(0.0);
        return;
    }
    let mut partial = ctx.pool.take(4 * 3 * groups * cut.blocks * channels);
    let partial = partial.as_mut_slice::<f32>();
    let shared = SharedMut::new(partial);
    cut.for_each(ctx, |group, block| {
        let at = (group * cut.blocks + block) * 3 * channels;
        // SAFETY: each block has its own rows of results.
        let (mean, rest) = unsafe { shared.slice(at..at + 3 * channels) }.split_at_mut(channels);
        let (missed, squares) = rest.split_at_mut(channels);
        let mut scratch = ctx.pool.take(4 * 3 * cut.width());
        let scratch = scratch.as_mut_slice();
        ctx.isa.run(BlockMoments {
            x: &x[cut.range(group, block)],
            mean,
            missed,
            squares,
            scratch,
        });
    });
    let (mut joined, mut squares) = (vec![0.0; channels], vec![0.0; channels]);
    for (group, partial) in partial.chunks_exact(cut.blocks * 3 * channels).enumerate() {
        join(&cut, partial, &mut joined, &mut squares);
        for c in 0..channels {
            mean[group * channels + c] = joined[c] as f32;
            variance[group * channels + c] = (squares[c] / rows as f64) as f32;
        }
    }
}

/// The mean of a group, and the squared distances from it, from what its blocks gave.
fn join(cut: &Cut, partial: &[f32], mean: &mut [f64], squares: &mut [f64]) {
    let channels = cut.channels;
    let blocks = || {
        partial.chunks_exact(3 * channels).enumerate().map(|(block, values)| {
            let (means, rest) = values.split_at(channels);
            let (missed, within) = rest.split_at(channels);
            let means = means
                .iter()
                .zip(missed)
                .map(|(&mean, &missed)| f64::from(mean) + f64::from(missed));
            (cut.height(block) as f64, means, within)
        })
    };
    mean.fill(0.0);
    squares.fill(0.0);
    for (count, means, _) in blocks() {
        let share = count / cut.rows as f64;
        mean.iter_mut()
            .zip(means)
            .for_each(|(mean, of_block)| *mean += share * of_block);
    }
    for (count, means, within) in blocks() {
        for (((squares, &mean), of_block), &within) in squares.iter_mut().zip(&*mean).zip(means).zip(within) {
            *squares += f64::from(within) + count * (of_block - mean) * (of_block - mean);
        }
    }
}

/// `f((x − mean) · scale + shift)` with one value of each per channel, repeated to the width of the loop.
struct NormalizeBlock<'a, F> {
    f: F,
    x: &'a [f32],
    wide: &'a [f32],
    y: &'a mut [f32],
}

impl<F: Function> Kernel for NormalizeBlock<'_, F> {
    type Output = ();

    #[inline(always)]
    fn run<A: Arithmetic>(self) {
        let width = self.wide.len() / 3;
        let (mean, rest) = self.wide.split_at(width);
        let (scale, shift) = rest.split_at(width);
        for (y, x) in self.y.chunks_mut(width).zip(self.x.chunks(width)) {
            let by_channel = mean.iter().zip(scale).zip(shift);
            for ((y, &x), ((&mean, &scale), &shift)) in y.iter_mut().zip(x).zip(by_channel) {
                *y = self.f.apply::<A>(A::mul_add(x - mean, scale, shift));
            }
        }
    }
}

struct Normalize<'a> {
    ctx: &'a Context,
    cut: Cut,
    x: &'a [f32],
    /// Mean, scale and shift by part, each as wide as the innermost loop.
    wide: &'a [f32],
    y: &'a mut [f32],
}

impl WithFunction for Normalize<'_> {
    fn with<F: Function>(self, f: F) {
        let Self { ctx, cut, x, wide, .. } = self;
        let y = SharedMut::new(self.y);
        cut.for_each(ctx, |part, block| {
            let range = cut.range(part, block);
            let wide = &wide[part * 3 * cut.width()..][..3 * cut.width()];
            // SAFETY: blocks do not overlap.
            let y = unsafe { y.slice(range.clone()) };
            ctx.isa.run(NormalizeBlock {
                f,
                x: &x[range],
                wide,
                y,
            });
        });
    }
}

/// `y = act(scale · (x − mean) · inv_std + shift)`; `scale` and `shift` are `[maps, channels]`, one and zero if `None`.
#[expect(
    clippy::too_many_arguments,
    reason = "geometry, statistics and affine map of one formula"
)]
pub(crate) fn normalize(
    ctx: &Context,
    g: NormGeometry,
    x: &[f32],
    mean: &[f32],
    inv_std: &[f32],
    scale: Option<&[f32]>,
    shift: Option<&[f32]>,
    act: Activation,
    y: &mut [f32],
) {
    let channels = g.channels;
    let cut = Cut::new(g.parts(), g.rows_of_part(), channels);
    assert_eq!(
        (x.len(), y.len()),
        (cut.len(), cut.len()),
        "lengths of operand and result"
    );
    if x.is_empty() {
        return;
    }
    let mut buffer = ctx.pool.take(4 * cut.parts * 3 * cut.width());
    let wide = buffer.as_mut_slice::<f32>();
    for (part, wide) in wide.chunks_exact_mut(3 * cut.width()).enumerate() {
        let rows = g.of_part(part);
        for (i, [mean_at, scale_at, shift_at]) in columns(wide, cut.width()).enumerate() {
            let [at, map_at] = rows.map(|row| row * channels + i % channels);
            *mean_at = mean[at];
            *scale_at = inv_std[at] * scale.map_or(1.0, |scale| scale[map_at]);
            *shift_at = shift.map_or(0.0, |shift| shift[map_at]);
        }
    }
    with_activation(act, Normalize { ctx, cut, x, wide, y });
}

/// Rows of `width` values, walked side by side.
fn columns<const N: usize>(rows: &mut [f32], width: usize) -> impl Iterator<Item = [&mut f32; N]> {
    let mut rows: [_; N] = {
        let mut chunks = rows.chunks_exact_mut(width);
        std::array::from_fn(|_| chunks.next().unwrap_or_default().iter_mut())
    };
    (0..width).map_while(move |_| {
        let next = rows.each_mut().map(Iterator::next);
        next.iter()
            .all(Option::is_some)
            .then(|| next.map(|value| value.expect("checked")))
    })
}

/// The gradient before a piecewise linear activation, from the sign of what went into it.
#[inline(always)]
fn before(dy: f32, sum: f32, slope: f32) -> f32 {
    if sum > 0.0 { dy } else { slope * dy }
}

/// Rows of one value per channel that gradients need: mean, inverse standard deviation, factor and shift.
const KNOWN: usize = 4;
/// Those and the means of `scale · g` and of `scale · g · x̂`, both times the inverse standard deviation.
const ALL: usize = KNOWN + 2;

/// One block's operands.
#[derive(Clone, Copy)]
struct Incoming<'a> {
    dy: &'a [f32],
    x: &'a [f32],
    slope: f32,
}

/// `Σ g` and `Σ g · x̂` over a block, by channel, where `g` is the gradient before the activation.
struct GradientSums<'a> {
    from: Incoming<'a>,
    /// What is [`KNOWN`], each row as wide as the loop.
    wide: &'a [f32],
    sums: &'a mut [f32],
    scratch: &'a mut [f32],
}

impl Kernel for GradientSums<'_> {
    type Output = ();

    #[inline(always)]
    fn run<A: Arithmetic>(self) {
        let Incoming { dy, x, slope } = self.from;
        let width = self.scratch.len() / 2;
        let row = |i: usize| &self.wide[i * width..][..width];
        let (mean, inv_std, factor, shift) = (row(0), row(1), row(2), row(3));
        self.scratch.fill(0.0);
        let (plain, along) = self.scratch.split_at_mut(width);
        for (dy, x) in dy.chunks(width).zip(x.chunks(width)) {
            let sums = plain.iter_mut().zip(along.iter_mut());
            let by_channel = mean.iter().zip(inv_std).zip(factor.iter().zip(shift));
            for (((&dy, &x), (plain, along)), ((&mean, &inv_std), (&factor, &shift))) in
                dy.iter().zip(x).zip(sums).zip(by_channel)
            {
                let centered = x - mean;
                let g = before(dy, A::mul_add(centered, factor, shift), slope);
                *plain += g;
                *along = A::mul_add(g, centered * inv_std, *along);
            }
        }
        let (plain_sums, along_sums) = self.sums.split_at_mut(self.sums.len() / 2);
        fold(plain, plain_sums);
        fold(along, along_sums);
    }
}

/// `dx = factor · g − (drift + x̂ · turn)`.
struct GradientBlock<'a> {
    from: Incoming<'a>,
    /// All rows, each as wide as the loop.
    wide: &'a [f32],
    dx: &'a mut [f32],
}

impl Kernel for GradientBlock<'_> {
    type Output = ();

    #[inline(always)]
    fn run<A: Arithmetic>(self) {
        let Incoming { dy, x, slope } = self.from;
        let width = self.wide.len() / ALL;
        let row = |i: usize| &self.wide[i * width..][..width];
        let (mean, inv_std, factor, shift, drift, turn) = (row(0), row(1), row(2), row(3), row(4), row(5));
        for (dx, (dy, x)) in self.dx.chunks_mut(width).zip(dy.chunks(width).zip(x.chunks(width))) {
            let known = mean.iter().zip(inv_std).zip(factor.iter().zip(shift));
            let by_channel = known.zip(drift.iter().zip(turn));
            let values = dx.iter_mut().zip(dy).zip(x);
            for (((dx, &dy), &x), (((&mean, &inv_std), (&factor, &shift)), (&drift, &turn))) in values.zip(by_channel) {
                let centered = x - mean;
                let g = before(dy, A::mul_add(centered, factor, shift), slope);
                *dx = A::mul_add(factor, g, -A::mul_add(centered * inv_std, turn, drift));
            }
        }
    }
}

/// Gradients of [`normalize`] for `x`, scale and shift, through the statistics too.
///
/// The activation must be the identity, a relu or a leaky relu; what went into it is computed again as [`normalize`]
/// does, bit by bit, which costs less than reading it. `dscale` and `dshift` are `[maps, channels]`, summed over all that
/// share them.
///
/// # Source
/// Ioffe & Szegedy 2015, section 3, <https://arxiv.org/abs/1502.03167>.
#[expect(clippy::too_many_arguments, reason = "geometry, operands and results of one formula")]
pub(crate) fn normalize_backward(
    ctx: &Context,
    g: NormGeometry,
    dy: &[f32],
    x: &[f32],
    mean: &[f32],
    inv_std: &[f32],
    scale: Option<&[f32]>,
    shift: Option<&[f32]>,
    act: Activation,
    dx: &mut [f32],
    dscale: &mut [f32],
    dshift: &mut [f32],
) {
    let channels = g.channels;
    let cut = Cut::new(g.parts(), g.rows_of_part(), channels);
    assert_eq!(
        [dy.len(), x.len(), dx.len()],
        [cut.len(); 3],
        "lengths of operands and result"
    );
    dscale.fill(0.0);
    dshift.fill(0.0);
    if x.is_empty() {
        return;
    }
    let slope = match act {
        Activation::Relu => 0.0,
        Activation::LeakyRelu(slope) => slope,
        _ => 1.0,
    };
    let incoming = |range: std::ops::Range<usize>| Incoming {
        dy: &dy[range.clone()],
        x: &x[range],
        slope,
    };

    let mut buffer = ctx.pool.take(4 * cut.parts * ALL * cut.width());
    let wide = buffer.as_mut_slice::<f32>();
    for (part, wide) in wide.chunks_exact_mut(ALL * cut.width()).enumerate() {
        let rows = g.of_part(part);
        for (i, known) in columns::<KNOWN>(wide, cut.width()).enumerate() {
            let [at, map_at] = rows.map(|row| row * channels + i % channels);
            let factor = inv_std[at] * scale.map_or(1.0, |scale| scale[map_at]);
            let shift = shift.map_or(0.0, |shift| shift[map_at]);
            for (known, value) in known.into_iter().zip([mean[at], inv_std[at], factor, shift]) {
                *known = value;
            }
        }
    }

    let mut partial = ctx.pool.take(4 * 2 * cut.parts * cut.blocks * channels);
    let sums = partial.as_mut_slice::<f32>();
    let shared_sums = SharedMut::new(sums);
    cut.for_each(ctx, |part, block| {
        let at = (part * cut.blocks + block) * 2 * channels;
        // SAFETY: each block has its own row of results.
        let sums = unsafe { shared_sums.slice(at..at + 2 * channels) };
        let mut scratch = ctx.pool.take(4 * 2 * cut.width());
        let wide = &wide[part * ALL * cut.width()..][..KNOWN * cut.width()];
        let from = incoming(cut.range(part, block));
        ctx.isa.run(GradientSums {
            from,
            wide,
            sums,
            scratch: scratch.as_mut_slice(),
        });
    });

    // The means over each group, of both kinds.
    let mut means = vec![0.0; 2 * g.groups * channels];
    let mut totals = vec![0.0; 2 * channels];
    for (part, sums) in sums.chunks_exact(cut.blocks * 2 * channels).enumerate() {
        totals.fill(0.0);
        for block in sums.chunks_exact(2 * channels) {
            totals
                .iter_mut()
                .zip(block)
                .for_each(|(total, &sum)| *total += f64::from(sum));
        }
        let [group, map] = g.of_part(part);
        for c in 0..channels {
            let (plain, along) = (totals[c], totals[channels + c]);
            let map_at = map * channels + c;
            dshift[map_at] += plain as f32;
            dscale[map_at] += along as f32;
            let weight = scale.map_or(1.0, |scale| f64::from(scale[map_at])) / g.rows as f64;
            means[2 * group * channels + c] += weight * plain;
            means[(2 * group + 1) * channels + c] += weight * along;
        }
    }
    for (part, wide) in wide.chunks_exact_mut(ALL * cut.width()).enumerate() {
        let [group, _] = g.of_part(part);
        let of_group = means[2 * group * channels..].chunks_exact(channels);
        for (row, of_kind) in wide.chunks_exact_mut(cut.width()).skip(KNOWN).zip(of_group) {
            let by_channel = of_kind.iter().zip(&inv_std[group * channels..]).cycle();
            for (at, (mean, &inv_std)) in row.iter_mut().zip(by_channel) {
                *at = (mean * f64::from(inv_std)) as f32;
            }
        }
    }

    let shared_dx = SharedMut::new(dx);
    cut.for_each(ctx, |part, block| {
        let range = cut.range(part, block);
        // SAFETY: blocks do not overlap.
        let dx = unsafe { shared_dx.slice(range.clone()) };
        let wide = &wide[part * ALL * cut.width()..][..ALL * cut.width()];
        ctx.isa.run(GradientBlock {
            from: incoming(range),
            wide,
            dx,
        });
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::{assert_close, on_every_isa, values, wide};

    /// Groups, rows, channels and maps.
    const GEOMETRIES: [NormGeometry; 16] = [
        geometry(1, 1, 1, 1),
        geometry(1, 2, 3, 1),
        geometry(1, 17, 5, 1),
        geometry(1, 18, 5, 6),
        geometry(1, 4097, 1, 1),
        geometry(1, 20_000, 3, 1),
        geometry(1, 20_000, 3, 2),
        geometry(1, 900, 64, 1),
        geometry(1, 900, 64, 9),
        geometry(1, 333, 65, 1),
        geometry(1, 70, 1025, 7),
        geometry(3, 1, 16, 1),
        geometry(5, 49, 16, 5),
        geometry(5, 48, 16, 10),
        geometry(7, 1024, 33, 1),
        geometry(2, 9000, 7, 2),
    ];

    const fn geometry(groups: usize, rows: usize, channels: usize, maps: usize) -> NormGeometry {
        NormGeometry {
            groups,
            rows,
            channels,
            maps,
        }
    }

    fn len(g: NormGeometry) -> usize {
        g.groups * g.rows * g.channels
    }

    /// A channel's rows in a group, as indices.
    fn rows_of(g: NormGeometry, at: usize) -> impl Iterator<Item = usize> + Clone {
        let (group, c) = (at / g.channels, at % g.channels);
        (0..g.rows).map(move |row| (group * g.rows + row) * g.channels + c)
    }

    /// Where the mean, and where the scale of a value lie.
    fn of_value(g: NormGeometry, i: usize) -> [usize; 2] {
        [g.groups, g.maps].map(|count| i * count / len(g) * g.channels + i % g.channels)
    }

    /// Mean, variance and inverse standard deviation, in double precision.
    fn statistics(x: &[f64], g: NormGeometry) -> [Vec<f64>; 3] {
        let means: Vec<f64> = (0..g.groups * g.channels)
            .map(|at| rows_of(g, at).map(|i| x[i]).sum::<f64>() / g.rows as f64)
            .collect();
        let variance =
            |(at, mean): (usize, &f64)| rows_of(g, at).map(|i| (x[i] - mean).powi(2)).sum::<f64>() / g.rows as f64;
        let variances: Vec<f64> = means.iter().enumerate().map(variance).collect();
        let inv_stds = variances.iter().map(|v| 1.0 / (v + 1e-5).sqrt()).collect();
        [means, variances, inv_stds]
    }

    fn narrow(x: &[f64]) -> Vec<f32> {
        x.iter().map(|&v| v as f32).collect()
    }

    #[test]
    fn moments_agree_with_plain_loops_and_do_not_mind_a_large_mean() {
        for (g, offset) in GEOMETRIES.into_iter().flat_map(|g| [(g, 0.0), (g, 1000.0)]) {
            let x: Vec<f32> = values(len(g), 1).into_iter().map(|v| v + offset).collect();
            let [mean, variance, _] = statistics(&wide(&x), g);
            let len = g.groups * g.channels;
            let results = on_every_isa(2 * len, |ctx, y| {
                let (mean, variance) = y.split_at_mut(len);
                moments(ctx, g, &x, mean, variance);
            });
            for (isa, y) in results {
                let what = format!("{g:?} plus {offset} on {isa}");
                assert_close(&y[..len], &mean, (1e-6, 0.1), &what);
                assert_close(&y[len..], &variance, (1e-6, 0.1), &what);
            }
        }
    }

    #[test]
    fn normalizing_agrees_with_the_formula() {
        let acts = [
            Activation::Identity,
            Activation::Relu,
            Activation::LeakyRelu(0.2),
            Activation::Tanh,
            Activation::Sigmoid,
        ];
        for (g, act) in GEOMETRIES.into_iter().flat_map(|g| acts.map(|act| (g, act))) {
            let x = values(len(g), 1);
            let [mean, _, inv_std] = statistics(&wide(&x), g).map(|values| narrow(&values));
            let (scale, shift) = (values(g.maps * g.channels, 2), values(g.maps * g.channels, 3));
            for affine in [true, false] {
                let (scale, shift) = (affine.then_some(&*scale), affine.then_some(&*shift));
                let exact: Vec<f64> = (0..x.len())
                    .map(|i| {
                        let [at, map_at] = of_value(g, i);
                        let standardized = (f64::from(x[i]) - f64::from(mean[at])) * f64::from(inv_std[at]);
                        let y = f64::from(scale.map_or(1.0, |s| s[map_at])) * standardized
                            + f64::from(shift.map_or(0.0, |s| s[map_at]));
                        act.as_unary().map_or(y, |op| op.reference(y))
                    })
                    .collect();
                let results = on_every_isa(x.len(), |ctx, y| {
                    normalize(ctx, g, &x, &mean, &inv_std, scale, shift, act, y);
                });
                for (isa, y) in results {
                    assert_close(&y, &exact, (1e-6, 1.0), &format!("{act:?} of {g:?} on {isa}"));
                }
            }
        }
    }

    #[test]
    fn gradients_agree_with_the_formula() {
        for (g, slope) in GEOMETRIES
            .into_iter()
            .flat_map(|g| [1.0, 0.0, 0.2].map(|slope| (g, slope)))
        {
            let act = match slope {
                1.0 => Activation::Identity,
                0.0 => Activation::Relu,
                _ => Activation::LeakyRelu(slope),
            };
            let (len, maps) = (len(g), g.maps * g.channels);
            let (dy, x, scale, shift) = (values(len, 1), values(len, 2), values(maps, 4), values(maps, 3));
            let [mean, _, inv_std] = statistics(&wide(&x), g).map(|values| narrow(&values));
            let (mut dx, mut dscale, mut dshift) = (vec![0.0; len], vec![0.0; maps], vec![0.0; maps]);
            for at in 0..g.groups * g.channels {
                let standardized = |i: usize| (f64::from(x[i]) - f64::from(mean[at])) * f64::from(inv_std[at]);
                let scale_of = |i: usize| f64::from(scale[of_value(g, i)[1]]);
                let before = |i: usize| {
                    let sum = scale_of(i) * standardized(i) + f64::from(shift[of_value(g, i)[1]]);
                    f64::from(dy[i]) * if sum > 0.0 { 1.0 } else { f64::from(slope) }
                };
                let scaled = |i: usize| scale_of(i) * before(i);
                let plain: f64 = rows_of(g, at).map(scaled).sum();
                let along: f64 = rows_of(g, at).map(|i| scaled(i) * standardized(i)).sum();
                for i in rows_of(g, at) {
                    let centered = scaled(i) - (plain + standardized(i) * along) / g.rows as f64;
                    dx[i] = f64::from(inv_std[at]) * centered;
                    dshift[of_value(g, i)[1]] += before(i);
                    dscale[of_value(g, i)[1]] += before(i) * standardized(i);
                }
            }
            let results = on_every_isa(len + 2 * maps, |ctx, out| {
                let (dx, rest) = out.split_at_mut(len);
                let (dscale, dshift) = rest.split_at_mut(maps);
                let (scale, shift) = (Some(&*scale), Some(&*shift));
                normalize_backward(ctx, g, &dy, &x, &mean, &inv_std, scale, shift, act, dx, dscale, dshift);
            });
            // One row alone has no variance, so that its inverse is large.
            let size = inv_std.iter().fold(1.0, |largest: f32, &v| largest.max(v));
            let sum_size = (len as f64 / maps as f64).sqrt();
            for (isa, out) in results {
                let what = format!("{act:?} of {g:?} on {isa}");
                assert_close(&out[..len], &dx, (2e-6, f64::from(size)), &what);
                assert_close(&out[len..len + maps], &dscale, (2e-6, sum_size), &what);
                assert_close(&out[len + maps..], &dshift, (2e-6, sum_size), &what);
            }
        }
    }

    #[test]
    fn an_image_is_normalized_the_same_in_any_batch() {
        let (images, rows, channels) = (4, 300, 48);
        let x = values(images * rows * channels, 1);
        for [ctx, ..] in crate::kernels::testing::contexts() {
            let run = |x: &[f32], groups: usize| {
                let g = geometry(groups, rows, channels, 1);
                let (mut mean, mut variance) = (vec![0.0; groups * channels], vec![0.0; groups * channels]);
                moments(&ctx, g, x, &mut mean, &mut variance);
                let mut y = vec![0.0; x.len()];
                normalize(&ctx, g, x, &mean, &variance, None, None, Activation::Tanh, &mut y);
                y
            };
            let alone: Vec<f32> = x.chunks(rows * channels).flat_map(|image| run(image, 1)).collect();
            assert_eq!(run(&x, images), alone);
        }
    }
}
