//! Named tensors that a network owns.

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError, RwLock},
};

use gander_tensor::{Array, DeviceRef, Error, RandomKey, Result, Shape, Tensor};

use crate::Init;

/// What a parameter is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Learned by an optimizer.
    Weight,
    /// Changed by the layer itself, such as a running average.
    Buffer,
}

/// A handle to a named tensor of a network. Clones share the tensor.
#[derive(Debug, Clone)]
pub struct Parameter(Arc<Slot>);

#[derive(Debug)]
struct Slot {
    name: String,
    role: Role,
    lr_multiplier: f32,
    value: RwLock<Tensor>,
}

impl Parameter {
    /// Its name with those of the layers around it: `stage0.conv.weight`.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Whether it is learned.
    pub fn role(&self) -> Role {
        self.0.role
    }

    /// Factor on the learning rate.
    pub fn lr_multiplier(&self) -> f32 {
        self.0.lr_multiplier
    }

    /// Its value now. Weights can be asked for gradients.
    pub fn get(&self) -> Tensor {
        self.0.value.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Replaces the value.
    ///
    /// # Errors
    /// [`Error::InvalidShape`] if the shape changes.
    pub fn set(&self, value: &Tensor) -> Result<()> {
        let mut slot = self.0.value.write().unwrap_or_else(PoisonError::into_inner);
        if slot.shape() != value.shape() {
            let expected = format!("shape {:?}", slot.shape());
            return Err(Error::InvalidShape {
                op: "parameter",
                expected,
                got: value.shape().clone(),
            });
        }
        *slot = self.as_leaf(value);
        Ok(())
    }

    /// Changes the value in place; memory is reused where no graph still holds it.
    pub fn update(&self, change: impl FnOnce(&mut Array) -> Result<()>) -> Result<()> {
        let mut slot = self.0.value.write().unwrap_or_else(PoisonError::into_inner);
        let device = Arc::clone(slot.device());
        // The slot gives up its tensor, so that the array is held once.
        let mut array = std::mem::replace(&mut *slot, Tensor::zeros([0], &device)?).into_array();
        let outcome = change(&mut array);
        *slot = self.as_leaf(&Tensor::from_array(array, &device));
        outcome
    }

    fn as_leaf(&self, value: &Tensor) -> Tensor {
        match self.0.role {
            Role::Weight => value.watch(),
            Role::Buffer => value.detach(),
        }
    }
}

/// All named tensors of a network, in the order of their making.
#[derive(Debug, Clone, Default)]
pub struct Parameters(Vec<Parameter>);

impl Parameters {
    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Parameter> {
        self.0.iter()
    }

    /// Those that are learned.
    pub fn weights(&self) -> impl Iterator<Item = &Parameter> {
        self.iter().filter(|parameter| parameter.role() == Role::Weight)
    }

    /// Values of the weights now, to ask gradients for.
    pub fn weight_tensors(&self) -> Vec<Tensor> {
        self.weights().map(Parameter::get).collect()
    }

    /// Number of learned values.
    pub fn num_weights(&self) -> usize {
        self.weights().map(|weight| weight.get().shape().num_elements()).sum()
    }

    /// The one of this name.
    pub fn get(&self, name: &str) -> Option<&Parameter> {
        self.iter().find(|parameter| parameter.name() == name)
    }

    /// Values by name.
    pub fn to_map(&self) -> BTreeMap<String, Tensor> {
        self.iter()
            .map(|parameter| (parameter.name().to_owned(), parameter.get().detach()))
            .collect()
    }

    /// Every value copied from another network of the same structure.
    pub fn copy_from(&self, other: &Self) -> Result<()> {
        for (to, from) in self.0.iter().zip(&other.0) {
            debug_assert_eq!(to.name(), from.name());
            // A fresh array, so that a later change in place of one does not copy for the other.
            to.set(&from.get().detach().add_scalar(0.0)?)?;
        }
        Ok(())
    }

    /// Moves every value, buffers too, towards those of `other`: the exponential moving average
    /// `self ← other + beta · (self − other)`.
    pub fn average_towards(&self, other: &Self, beta: f32) -> Result<()> {
        for (average, current) in self.0.iter().zip(&other.0) {
            debug_assert_eq!(average.name(), current.name());
            let current = current.get();
            average.update(|array| current.device().lerp(array, current.array(), 1.0 - beta))?;
        }
        Ok(())
    }
}

/// Where a layer puts its parameters: a prefix for their names, a key for their first values, a device.
#[derive(Debug)]
pub struct Scope<'a> {
    parameters: &'a mut Parameters,
    prefix: String,
    key: RandomKey,
    device: DeviceRef,
}

impl<'a> Scope<'a> {
    /// The root of a network.
    pub fn new(parameters: &'a mut Parameters, key: RandomKey, device: &DeviceRef) -> Self {
        Self {
            parameters,
            prefix: String::new(),
            key,
            device: Arc::clone(device),
        }
    }

    /// The scope of a part.
    pub fn child(&mut self, name: &str) -> Scope<'_> {
        Scope {
            parameters: self.parameters,
            prefix: format!("{}{name}.", self.prefix),
            key: self.key,
            device: Arc::clone(&self.device),
        }
    }

    /// The device of the network.
    pub fn device(&self) -> &DeviceRef {
        &self.device
    }

    /// A learned tensor. Its first value depends on the seed and its full name alone.
    pub fn weight(&mut self, name: &str, shape: impl Into<Shape>, init: Init) -> Result<Parameter> {
        self.weight_with_lr(name, shape, init, 1.0)
    }

    /// A learned tensor with a factor on its learning rate.
    pub fn weight_with_lr(
        &mut self,
        name: &str,
        shape: impl Into<Shape>,
        init: Init,
        lr_multiplier: f32,
    ) -> Result<Parameter> {
        self.register(name, &shape.into(), init, Role::Weight, lr_multiplier)
    }

    /// A tensor that the layer itself changes.
    pub fn buffer(&mut self, name: &str, shape: impl Into<Shape>, init: Init) -> Result<Parameter> {
        self.register(name, &shape.into(), init, Role::Buffer, 1.0)
    }

    fn register(&mut self, name: &str, shape: &Shape, init: Init, role: Role, lr_multiplier: f32) -> Result<Parameter> {
        let name = format!("{}{name}", self.prefix);
        let value = init.tensor(self.key.named(&name), shape, &self.device)?;
        let value = RwLock::new(if role == Role::Weight { value.watch() } else { value });
        let parameter = Parameter(Arc::new(Slot {
            name,
            role,
            lr_multiplier,
            value,
        }));
        self.parameters.0.push(parameter.clone());
        Ok(parameter)
    }
}
