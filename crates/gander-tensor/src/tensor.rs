//! A value and, where gradients are wanted, how it came about.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use crate::{Array, DType, DeviceRef, Error, Operation, RandomKey, Result, Shape};

/// Identifies a tensor. Grows with creation, so that a result has a larger one than its operands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TensorId(u64);

impl TensorId {
    fn next() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// A contiguous, channels-last value on a device, and the operation that made it where gradients are wanted.
///
/// Cheap to clone: clones share value and history.
#[derive(Clone)]
pub struct Tensor(Arc<Inner>);

struct Inner {
    id: TensorId,
    array: Array,
    device: DeviceRef,
    watched: bool,
    origin: Option<Origin>,
}

/// The operation behind a tensor.
#[derive(Clone)]
pub(crate) struct Origin {
    pub(crate) operation: Arc<dyn Operation>,
    pub(crate) inputs: Vec<Tensor>,
}

impl Drop for Origin {
    /// With a stack of its own: a long history would not fit the thread's.
    fn drop(&mut self) {
        let mut stack = std::mem::take(&mut self.inputs);
        while let Some(Tensor(inner)) = stack.pop() {
            if let Some(Inner {
                origin: Some(origin), ..
            }) = Arc::into_inner(inner).as_mut()
            {
                stack.append(&mut origin.inputs);
            }
        }
    }
}

impl Tensor {
    /// Wraps a device's value, without history.
    pub fn from_array(array: Array, device: &DeviceRef) -> Self {
        Self::new(array, device, false, None)
    }

    pub(crate) fn new(array: Array, device: &DeviceRef, watched: bool, origin: Option<Origin>) -> Self {
        Self(Arc::new(Inner {
            id: TensorId::next(),
            array,
            device: Arc::clone(device),
            watched,
            origin,
        }))
    }

    /// Values in the order of the shape.
    pub fn from_slice(values: &[f32], shape: impl Into<Shape>, device: &DeviceRef) -> Result<Self> {
        Self::from_bytes(bytemuck::cast_slice(values), DType::F32, shape, device)
    }

    /// Labels or indices in the order of the shape.
    pub fn from_u32(values: &[u32], shape: impl Into<Shape>, device: &DeviceRef) -> Result<Self> {
        Self::from_bytes(bytemuck::cast_slice(values), DType::U32, shape, device)
    }

    /// Little-endian bytes in the order of the shape.
    pub fn from_bytes(bytes: &[u8], dtype: DType, shape: impl Into<Shape>, device: &DeviceRef) -> Result<Self> {
        let shape = shape.into().countable("from_bytes")?;
        if bytes.len() != shape.num_elements() * dtype.size_bytes() {
            let expected = format!(
                "{} bytes of {dtype}, got {}",
                shape.num_elements() * dtype.size_bytes(),
                bytes.len()
            );
            return Err(Error::InvalidShape {
                op: "from_bytes",
                expected,
                got: shape,
            });
        }
        Ok(Self::from_array(device.upload(bytes, dtype, &shape)?, device))
    }

    /// One value everywhere.
    pub fn full(value: f32, shape: impl Into<Shape>, device: &DeviceRef) -> Result<Self> {
        let shape = shape.into().countable("full")?;
        Ok(Self::from_array(device.full(&shape, value)?, device))
    }

    /// Zeros.
    pub fn zeros(shape: impl Into<Shape>, device: &DeviceRef) -> Result<Self> {
        Self::full(0.0, shape, device)
    }

    /// Ones.
    pub fn ones(shape: impl Into<Shape>, device: &DeviceRef) -> Result<Self> {
        Self::full(1.0, shape, device)
    }

    /// Standard normal numbers; the same key gives the same numbers.
    pub fn normal(key: RandomKey, shape: impl Into<Shape>, device: &DeviceRef) -> Result<Self> {
        let shape = shape.into().countable("normal")?;
        Ok(Self::from_array(device.normal(&shape, key.value(), 0)?, device))
    }

    /// Uniform numbers in `0..1`; the same key gives the same numbers.
    pub fn uniform(key: RandomKey, shape: impl Into<Shape>, device: &DeviceRef) -> Result<Self> {
        let shape = shape.into().countable("uniform")?;
        Ok(Self::from_array(device.uniform(&shape, key.value(), 0)?, device))
    }

    /// Its identity.
    pub fn id(&self) -> TensorId {
        self.0.id
    }

    /// The sides.
    pub fn shape(&self) -> &Shape {
        self.0.array.shape()
    }

    /// One side, counted from either end.
    ///
    /// # Panics
    /// If the tensor has no such axis.
    pub fn side(&self, axis: isize) -> usize {
        let shape = self.shape();
        let index = if axis < 0 { axis + shape.rank() as isize } else { axis };
        shape[index as usize]
    }

    /// The element type.
    pub fn dtype(&self) -> DType {
        self.0.array.dtype()
    }

    /// The device that holds it.
    pub fn device(&self) -> &DeviceRef {
        &self.0.device
    }

    /// The value without history.
    pub fn array(&self) -> &Array {
        &self.0.array
    }

    /// The value, taken out where this was the only handle, so that it can change in place.
    pub fn into_array(self) -> Array {
        match Arc::try_unwrap(self.0) {
            Ok(inner) => inner.array,
            Err(shared) => shared.array.clone(),
        }
    }

    /// Whether gradients can be asked for it.
    pub fn requires_grad(&self) -> bool {
        self.0.watched
    }

    pub(crate) fn origin(&self) -> Option<&Origin> {
        self.0.origin.as_ref()
    }

    /// The same value as a new leaf that gradients can be asked for.
    #[must_use]
    pub fn watch(&self) -> Self {
        Self::new(self.0.array.clone(), &self.0.device, true, None)
    }

    /// The same tensor for what asks only for its sides and its history: its memory may go.
    pub(crate) fn without_value(&self) -> Self {
        Self(Arc::new(Inner {
            id: self.0.id,
            array: Array::new(self.shape(), self.dtype(), Arc::new(())),
            device: Arc::clone(&self.0.device),
            watched: self.0.watched,
            origin: self.0.origin.clone(),
        }))
    }

    /// The same value without history.
    #[must_use]
    pub fn detach(&self) -> Self {
        Self::new(self.0.array.clone(), &self.0.device, false, None)
    }

    /// The values, in the order of the shape.
    pub fn to_vec(&self) -> Result<Vec<f32>> {
        let array = match self.dtype() {
            DType::F32 => self.0.array.clone(),
            _ => self.0.device.cast(&self.0.array, DType::F32)?,
        };
        let bytes = self.0.device.download(&array)?;
        Ok(bytes
            .chunks_exact(4)
            .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
            .collect())
    }

    /// The values in double precision: exact on [`crate::Reference`], widened elsewhere.
    pub fn to_vec_f64(&self) -> Result<Vec<f64>> {
        self.0.device.download_f64(&self.0.array)
    }

    /// The values as little-endian bytes of their dtype.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        self.0.device.download(&self.0.array)
    }

    /// The value of a tensor with one element.
    pub fn item(&self) -> Result<f32> {
        match self.to_vec()?.as_slice() {
            [value] => Ok(*value),
            _ => Err(Error::InvalidShape {
                op: "item",
                expected: "one element".into(),
                got: self.shape().clone(),
            }),
        }
    }

    /// Whether every value is finite.
    pub fn all_finite(&self) -> Result<bool> {
        self.0.device.all_finite(&self.0.array)
    }
}

impl fmt::Debug for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let origin = self.0.origin.as_ref().map_or("leaf", |origin| origin.operation.name());
        write!(f, "Tensor({} {:?}, {origin})", self.dtype(), self.shape())
    }
}

#[cfg(test)]
mod tests {
    use crate::{Cpu, RandomKey, Reference};

    use super::*;

    #[test]
    fn a_long_history_is_dropped_on_a_small_stack() {
        let one = Tensor::ones([1], &Reference::shared()).unwrap();
        let mut sum = one.watch();
        for _ in 0..200_000 {
            sum = sum.add(&one).unwrap();
        }
        let thread = std::thread::Builder::new().stack_size(64 << 10);
        thread.spawn(move || drop(sum)).unwrap().join().unwrap();
    }

    #[test]
    fn shapes_that_cannot_be_counted_are_refused() {
        let device = Cpu::shared();
        let key = RandomKey::from_seed(1);
        for shape in [[1 << 40, 1 << 40], [1 << 62, 1]] {
            assert!(Tensor::from_slice(&[], shape, &device).is_err());
            assert!(Tensor::zeros(shape, &device).is_err());
            assert!(Tensor::normal(key, shape, &device).is_err());
            assert!(Tensor::uniform(key, shape, &device).is_err());
            let empty = Tensor::zeros([0], &device).unwrap();
            assert!(empty.reshape(shape).is_err());
            let one = Tensor::zeros([1], &device).unwrap();
            assert!(one.broadcast_to(shape).is_err());
        }
    }
}
