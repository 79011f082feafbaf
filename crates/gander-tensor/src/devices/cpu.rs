//! The processor at hand.

use std::{
    ops::Deref,
    sync::{Arc, OnceLock},
};

use crate::{
    Activation, AdamStep, Array, BatchStatistics, BinaryOp, DType, Device, DeviceRef, Epilogue, Error, Isa,
    NormGeometry, NormPass, Precision, Result, Shape, UnaryOp,
    devices::reference::index_error,
    kernels::{
        self, Context,
        gemm::After,
        memory::{Buffer, Pool},
        threads::ThreadPool,
    },
    ops::{conv::ConvGeometry, matmul::MatmulGeometry, pool::PoolGeometry, reduce::ReduceOp, resample::AxisMap},
};

/// How the processor is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CpuOptions {
    /// Number of compute threads; 0 for one per core.
    pub threads: usize,
    /// The instruction set; the best that the processor has if `None`.
    pub isa: Option<Isa>,
    /// The precision of multiplications. Sums are float32 in any case.
    pub precision: Precision,
}

/// The processor at hand: kernels chosen by shape and instruction set, memory from a pool.
///
/// The same inputs give the same bytes whatever the number of threads.
#[derive(Debug)]
pub struct Cpu {
    context: Context,
}

impl Cpu {
    /// A device with its own threads and memory.
    ///
    /// # Errors
    /// [`Error::IsaUnavailable`] if the processor lacks the chosen instruction set.
    pub fn with_options(options: CpuOptions) -> Result<DeviceRef> {
        let isa = options.isa.unwrap_or_else(Isa::detect);
        if !isa.available() {
            return Err(Error::IsaUnavailable { isa });
        }
        let threads = ThreadPool::new(options.threads);
        let context = Context {
            isa,
            precision: options.precision,
            threads,
            pool: Pool::new(),
        };
        Ok(Arc::new(Self { context }))
    }

    /// The device with default options that the whole process shares.
    pub fn shared() -> DeviceRef {
        static SHARED: OnceLock<DeviceRef> = OnceLock::new();
        let device = SHARED.get_or_init(|| {
            Self::with_options(CpuOptions::default()).expect("a detected instruction set is available")
        });
        Arc::clone(device)
    }

    fn take(&self, elements: usize) -> Buffer {
        self.context.pool.take(elements * 4)
    }

    /// An array made by a kernel that fills all of it with float32.
    fn fill(&self, shape: impl Into<Shape>, kernel: impl FnOnce(&Context, &mut [f32])) -> Array {
        let shape = shape.into();
        let mut buffer = self.take(shape.num_elements());
        kernel(&self.context, &mut buffer.as_mut_slice()[..shape.num_elements()]);
        Array::new(shape, DType::F32, Arc::new(buffer))
    }

    /// The same, rounded to the dtype of an operand.
    fn fill_like(
        &self,
        like: &Array,
        shape: impl Into<Shape>,
        kernel: impl FnOnce(&Context, &mut [f32]),
    ) -> Result<Array> {
        let wide = self.fill(shape, kernel);
        if like.dtype() == DType::Bf16 {
            self.cast(&wide, DType::Bf16)
        } else {
            Ok(wide)
        }
    }

    /// The values as float32, widened into memory of the pool where they are stored narrower.
    fn floats<'a>(&self, x: &'a Array) -> Floats<'a> {
        let len = x.num_elements();
        match x.dtype() {
            DType::Bf16 => {
                let mut wide = self.take(len);
                kernels::elementwise::bf16_to_f32(&self.context, &buffer(x).as_slice()[..len], wide.as_mut_slice());
                Floats::Widened(wide, len)
            }
            _ => Floats::Stored(&buffer(x).as_slice()[..len]),
        }
    }

    /// The values to change in place; copied first where somebody else holds them.
    fn floats_mut<'a>(&self, x: &'a mut Array) -> &'a mut [f32] {
        let len = x.num_elements();
        if Arc::get_mut(x.storage_mut()).is_none() {
            let mut copy = self.take(len);
            copy.as_mut_slice::<f32>()[..len].copy_from_slice(&buffer(x).as_slice()[..len]);
            *x.storage_mut() = Arc::new(copy);
        }
        let storage = Arc::get_mut(x.storage_mut()).expect("just made unique");
        let buffer = storage.downcast_mut::<Buffer>().expect("storage of the processor");
        &mut buffer.as_mut_slice()[..len]
    }
}

/// Float32 values, borrowed or widened.
enum Floats<'a> {
    Stored(&'a [f32]),
    Widened(Buffer, usize),
}

impl Deref for Floats<'_> {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        match self {
            Self::Stored(values) => values,
            Self::Widened(buffer, len) => &buffer.as_slice()[..*len],
        }
    }
}

/// What follows a convolution, as float32 values.
struct Following<'a> {
    bias: Option<Floats<'a>>,
    activation: Activation,
    gate: Option<(Floats<'a>, f32)>,
    added: Option<Floats<'a>>,
}

impl<'a> Following<'a> {
    fn new(cpu: &Cpu, after: Epilogue<'a>) -> Self {
        Self {
            bias: after.bias.map(|bias| cpu.floats(bias)),
            activation: after.activation,
            gate: after.gate.map(|gate| (cpu.floats(gate.result), gate.slope)),
            added: after.added.map(|added| cpu.floats(added)),
        }
    }

    fn borrow(&self) -> After<'_> {
        After {
            bias: self.bias.as_deref(),
            activation: self.activation,
            gate: self.gate.as_ref().map(|(result, slope)| (&**result, *slope)),
            added: self.added.as_deref(),
        }
    }
}

fn buffer(x: &Array) -> &Buffer {
    x.storage().downcast_ref::<Buffer>().expect("storage of the processor")
}

fn words(x: &Array) -> &[u32] {
    &buffer(x).as_slice()[..x.num_elements()]
}

impl Device for Cpu {
    fn name(&self) -> String {
        format!("cpu ({})", self.context.isa)
    }

    fn threads(&self) -> usize {
        self.context.threads.threads()
    }

    fn peak_operations_per_second(&self) -> Option<f64> {
        Some(kernels::peak::operations_per_second(&self.context))
    }

    fn upload(&self, bytes: &[u8], dtype: DType, shape: &Shape) -> Result<Array> {
        let mut buffer = self.context.pool.take(bytes.len());
        buffer.bytes_mut()[..bytes.len()].copy_from_slice(bytes);
        Ok(Array::new(shape, dtype, Arc::new(buffer)))
    }

    fn download(&self, x: &Array) -> Result<Vec<u8>> {
        Ok(buffer(x).bytes()[..x.num_elements() * x.dtype().size_bytes()].to_vec())
    }

    fn download_f64(&self, x: &Array) -> Result<Vec<f64>> {
        Ok(match x.dtype() {
            DType::U32 => words(x).iter().map(|&v| f64::from(v)).collect(),
            DType::U8 => buffer(x).bytes()[..x.num_elements()]
                .iter()
                .map(|&v| f64::from(v))
                .collect(),
            _ => self.floats(x).iter().map(|&v| f64::from(v)).collect(),
        })
    }

    fn full(&self, shape: &Shape, value: f32) -> Result<Array> {
        Ok(self.fill(shape, |_, y| y.fill(value)))
    }

    fn cast(&self, x: &Array, dtype: DType) -> Result<Array> {
        let (ctx, len) = (&self.context, x.num_elements());
        Ok(match (x.dtype(), dtype) {
            (from, to) if from == to => x.clone(),
            (DType::F32, DType::Bf16) => {
                let mut narrow = ctx.pool.take(2 * len);
                kernels::elementwise::f32_to_bf16(ctx, &self.floats(x), &mut narrow.as_mut_slice()[..len]);
                Array::new(x.shape(), dtype, Arc::new(narrow))
            }
            (DType::U8, DType::F32) => self.fill(x.shape(), |ctx, y| {
                kernels::elementwise::u8_to_f32(ctx, &buffer(x).bytes()[..len], y);
            }),
            (_, DType::F32 | DType::Bf16) => {
                let values = self.download_f64(x)?;
                let wide = self.fill(x.shape(), |_, y| {
                    y.iter_mut().zip(&values).for_each(|(y, &v)| *y = v as f32);
                });
                self.cast(&wide, dtype)?
            }
            (_, DType::U32) => {
                let words: Vec<u32> = self.download_f64(x)?.into_iter().map(|v| v as u32).collect();
                self.upload(bytemuck::cast_slice(&words), dtype, x.shape())?
            }
            (_, DType::U8) => {
                let bytes: Vec<u8> = self.download_f64(x)?.into_iter().map(|v| v as u8).collect();
                self.upload(&bytes, dtype, x.shape())?
            }
        })
    }

    fn uniform(&self, shape: &Shape, key: u64, counter: u64) -> Result<Array> {
        Ok(self.fill(shape, |ctx, y| kernels::random::fill_uniform(ctx, key, counter, y)))
    }

    fn normal(&self, shape: &Shape, key: u64, counter: u64) -> Result<Array> {
        Ok(self.fill(shape, |ctx, y| kernels::random::fill_normal(ctx, key, counter, y)))
    }

    fn unary(&self, op: UnaryOp, x: &Array) -> Result<Array> {
        self.fill_like(x, x.shape(), |ctx, y| {
            kernels::elementwise::unary(ctx, op, &self.floats(x), y);
        })
    }

    fn binary(&self, op: BinaryOp, a: &Array, b: &Array, shape: &Shape) -> Result<Array> {
        self.fill_like(a, shape, |ctx, y| {
            kernels::elementwise::binary(
                ctx,
                op,
                &self.floats(a),
                a.shape(),
                &self.floats(b),
                b.shape(),
                y,
                shape,
            );
        })
    }

    fn broadcast(&self, x: &Array, shape: &Shape) -> Result<Array> {
        self.fill_like(x, shape, |ctx, y| {
            kernels::elementwise::broadcast(ctx, &self.floats(x), x.shape(), y, shape);
        })
    }

    fn reduce(&self, op: ReduceOp, x: &Array, axes: &[bool]) -> Result<Array> {
        let kept: Vec<usize> = x
            .shape()
            .iter()
            .zip(axes)
            .map(|(&side, &gone)| if gone { 1 } else { side })
            .collect();
        self.fill_like(x, kept, |ctx, y| {
            kernels::reduce::reduce(ctx, op, &self.floats(x), x.shape(), axes, y);
        })
    }

    fn permute(&self, x: &Array, order: &[usize]) -> Result<Array> {
        let shape: Vec<usize> = order.iter().map(|&axis| x.shape()[axis]).collect();
        self.fill_like(x, shape, |ctx, y| {
            kernels::layout::permute(ctx, &self.floats(x), x.shape(), order, y);
        })
    }

    fn concat(&self, parts: &[&Array], axis: usize) -> Result<Array> {
        let mut shape = parts[0].shape().to_vec();
        shape[axis] = parts.iter().map(|part| part.shape()[axis]).sum();
        let row_len: usize = shape[axis..].iter().product();
        self.fill_like(parts[0], shape, |_, y| {
            let mut start = 0;
            for part in parts {
                let len: usize = part.shape()[axis..].iter().product();
                let values = self.floats(part);
                for (row, source) in y.chunks_exact_mut(row_len.max(1)).zip(values.chunks_exact(len.max(1))) {
                    row[start..start + len].copy_from_slice(source);
                }
                start += len;
            }
        })
    }

    fn map_axis(&self, x: &Array, axis: usize, map: &AxisMap) -> Result<Array> {
        let outer = x.shape()[..axis].iter().product();
        let inner = x.shape()[axis + 1..].iter().product();
        let mut shape = x.shape().to_vec();
        shape[axis] = map.out_len;
        self.fill_like(x, shape, |ctx, y| {
            kernels::resample::axis_map(ctx, map, &self.floats(x), outer, inner, y);
        })
    }

    fn gather_rows(&self, table: &Array, indices: &Array) -> Result<Array> {
        let rows = table.shape()[0];
        if let Some(&index) = words(indices).iter().find(|&&index| index as usize >= rows) {
            return Err(index_error(index, table.shape()));
        }
        let row_len = table.shape()[1..].iter().product();
        let shape = [&**indices.shape(), &table.shape()[1..]].concat();
        self.fill_like(table, shape, |ctx, y| {
            kernels::layout::gather_rows(ctx, &self.floats(table), row_len, words(indices), y);
        })
    }

    fn scatter_add_rows(&self, values: &Array, indices: &Array, rows: usize) -> Result<Array> {
        let tail = &values.shape()[indices.shape().rank()..];
        let row_len = tail.iter().product();
        self.fill_like(values, [&[rows], tail].concat(), |ctx, y| {
            kernels::layout::scatter_add_rows(ctx, &self.floats(values), row_len, words(indices), y);
        })
    }

    fn matmul(&self, g: &MatmulGeometry, a: &Array, b: &Array, bias: Option<&Array>, act: Activation) -> Result<Array> {
        let bias = bias.map(|bias| self.floats(bias));
        self.fill_like(a, [g.output_len()], |ctx, c| {
            kernels::gemm::matmul(ctx, g, &self.floats(a), &self.floats(b), bias.as_deref(), act, c);
        })
    }

    fn conv(&self, g: &ConvGeometry, x: &Array, w: &Array, after: Epilogue<'_>) -> Result<Array> {
        let after = Following::new(self, after);
        self.fill_like(x, [g.output_len()], |ctx, y| {
            kernels::conv::conv(ctx, g, &self.floats(x), &self.floats(w), after.borrow(), y);
        })
    }

    fn conv_input_grad(&self, g: &ConvGeometry, dy: &Array, w: &Array, after: Epilogue<'_>) -> Result<Array> {
        let after = Following::new(self, after);
        self.fill_like(dy, [g.input_len()], |ctx, dx| {
            kernels::conv::conv_input_grad(ctx, g, &self.floats(dy), &self.floats(w), after.borrow(), dx);
        })
    }

    fn conv_weight_grad(&self, g: &ConvGeometry, x: &Array, dy: &Array) -> Result<Array> {
        self.fill_like(x, [g.weight_len()], |ctx, dw| {
            kernels::conv::conv_weight_grad(ctx, g, &self.floats(x), &self.floats(dy), dw);
        })
    }

    fn max_pool_indices(&self, g: &PoolGeometry, x: &Array) -> Result<Array> {
        let len = g.output_len();
        let mut indices = self.take(len);
        kernels::pool::max_indices(&self.context, g, &self.floats(x), &mut indices.as_mut_slice()[..len]);
        Ok(Array::new([len], DType::U32, Arc::new(indices)))
    }

    fn moments(&self, g: NormGeometry, x: &Array) -> Result<BatchStatistics> {
        let mut variance = self.take(g.groups * g.channels);
        let mean = self.fill([g.groups, g.channels], |ctx, mean| {
            let variance = &mut variance.as_mut_slice()[..g.groups * g.channels];
            kernels::norm::moments(ctx, g, &self.floats(x), mean, variance);
        });
        Ok(BatchStatistics {
            mean,
            variance: Array::new([g.groups, g.channels], DType::F32, Arc::new(variance)),
        })
    }

    fn normalize(
        &self,
        g: NormGeometry,
        x: &Array,
        mean: &Array,
        inv_std: &Array,
        affine: Option<(&Array, &Array)>,
        act: Activation,
    ) -> Result<Array> {
        let scale = affine.map(|(scale, _)| self.floats(scale));
        let shift = affine.map(|(_, shift)| self.floats(shift));
        self.fill_like(x, x.shape(), |ctx, y| {
            let (mean, inv_std) = (self.floats(mean), self.floats(inv_std));
            let (scale, shift) = (scale.as_deref(), shift.as_deref());
            kernels::norm::normalize(ctx, g, &self.floats(x), &mean, &inv_std, scale, shift, act, y);
        })
    }

    fn normalize_backward(&self, g: NormGeometry, dy: &Array, pass: &NormPass<'_>) -> Result<[Array; 3]> {
        let scale = pass.scale.map(|scale| self.floats(scale));
        let shift = pass.shift.map(|shift| self.floats(shift));
        let maps = g.maps * g.channels;
        let (mut dscale, mut dshift) = (self.take(maps), self.take(maps));
        let dx = self.fill_like(pass.x, pass.x.shape(), |ctx, dx| {
            kernels::norm::normalize_backward(
                ctx,
                g,
                &self.floats(dy),
                &self.floats(pass.x),
                &self.floats(pass.mean),
                &self.floats(pass.inv_std),
                scale.as_deref(),
                shift.as_deref(),
                pass.activation,
                dx,
                &mut dscale.as_mut_slice()[..maps],
                &mut dshift.as_mut_slice()[..maps],
            );
        })?;
        let by_map = |buffer| Array::new([g.maps, g.channels], DType::F32, Arc::new(buffer));
        Ok([dx, by_map(dscale), by_map(dshift)])
    }

    fn adam(&self, w: &mut Array, m: &mut Array, v: &mut Array, grad: &Array, step: AdamStep) -> Result<()> {
        let (w, m, v) = (self.floats_mut(w), self.floats_mut(m), self.floats_mut(v));
        kernels::optimizer::adam(&self.context, w, m, v, &self.floats(grad), step);
        Ok(())
    }

    fn lerp(&self, a: &mut Array, b: &Array, t: f32) -> Result<()> {
        kernels::optimizer::lerp(&self.context, self.floats_mut(a), &self.floats(b), t);
        Ok(())
    }

    fn all_finite(&self, x: &Array) -> Result<bool> {
        Ok(!x.dtype().is_float() || kernels::reduce::all_finite(&self.context, &self.floats(x)))
    }
}
