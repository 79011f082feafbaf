//! Values without history.

use std::{any::Any, fmt, sync::Arc};

use crate::{DType, Shape};

/// Memory of a device, opaque outside it.
pub type Storage = Arc<dyn Any + Send + Sync>;

/// A value without history: shape, dtype and memory. Devices compute with these; users hold [`crate::Tensor`]s.
#[derive(Clone)]
pub struct Array {
    shape: Shape,
    dtype: DType,
    storage: Storage,
}

impl Array {
    /// Wraps a device's memory.
    pub fn new(shape: impl Into<Shape>, dtype: DType, storage: Storage) -> Self {
        Self {
            shape: shape.into(),
            dtype,
            storage,
        }
    }

    /// The sides.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// The element type.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// The device's memory.
    pub fn storage(&self) -> &Storage {
        &self.storage
    }

    /// The device's memory, for a change in place where nobody else holds it.
    pub fn storage_mut(&mut self) -> &mut Storage {
        &mut self.storage
    }

    /// Number of elements.
    pub fn num_elements(&self) -> usize {
        self.shape.num_elements()
    }

    /// The same memory seen with other sides of the same product.
    #[must_use]
    pub fn reshaped(&self, shape: impl Into<Shape>) -> Self {
        let shape = shape.into();
        debug_assert_eq!(shape.num_elements(), self.num_elements());
        Self {
            shape,
            dtype: self.dtype,
            storage: Arc::clone(&self.storage),
        }
    }
}

impl fmt::Debug for Array {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Array({} {:?})", self.dtype, self.shape)
    }
}
