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

#[cfg(test)]
mod tests {
    use gander_tensor::{Cpu, GradOptions, Reference, grad};

    use super::*;

    fn tensor(values: &[f32], device: &DeviceRef) -> Tensor {
        Tensor::from_slice(values, [values.len()], device).unwrap()
    }

    /// A network of one weight and one buffer, both of one value.
    fn network(weight: f32, buffer: f32, device: &DeviceRef) -> Parameters {
        let mut parameters = Parameters::default();
        let mut scope = Scope::new(&mut parameters, RandomKey::from_seed(1), device);
        scope
            .child("layer")
            .weight("weight", [1], Init::Constant(weight))
            .unwrap();
        scope
            .child("layer")
            .buffer("buffer", [1], Init::Constant(buffer))
            .unwrap();
        parameters
    }

    fn values(parameters: &Parameters) -> Vec<f32> {
        parameters
            .iter()
            .map(|parameter| parameter.get().item().unwrap())
            .collect()
    }

    #[test]
    fn names_hold_the_way_to_them() {
        let parameters = network(1.0, 2.0, &Reference::shared());
        assert_eq!(
            parameters.iter().map(Parameter::name).collect::<Vec<_>>(),
            ["layer.weight", "layer.buffer"]
        );
        assert_eq!(parameters.num_weights(), 1);
        assert!(
            parameters
                .get("layer.weight")
                .is_some_and(|weight| weight.get().requires_grad())
        );
        assert!(
            parameters
                .get("layer.buffer")
                .is_some_and(|buffer| !buffer.get().requires_grad())
        );
        assert!(parameters.get("weight").is_none());
    }

    #[test]
    fn first_values_depend_on_the_name() {
        let device = Reference::shared();
        let mut parameters = Parameters::default();
        let mut scope = Scope::new(&mut parameters, RandomKey::from_seed(1), &device);
        let [a, b] = ["a", "b"].map(|name| scope.weight(name, [4], Init::normal(1.0)).unwrap());
        assert_ne!(a.get().to_vec().unwrap(), b.get().to_vec().unwrap());
        let mut alone = Parameters::default();
        let again = Scope::new(&mut alone, RandomKey::from_seed(1), &device)
            .weight("b", [4], Init::normal(1.0))
            .unwrap();
        assert_eq!(again.get().to_vec().unwrap(), b.get().to_vec().unwrap());
    }

    #[test]
    fn shapes_stay() {
        let device = Reference::shared();
        let parameters = network(1.0, 2.0, &device);
        let weight = parameters.get("layer.weight").unwrap();
        assert!(matches!(
            weight.set(&tensor(&[1.0, 2.0], &device)),
            Err(Error::InvalidShape { .. })
        ));
        weight.set(&tensor(&[5.0], &device)).unwrap();
        assert_eq!(values(&parameters), [5.0, 2.0]);
    }

    /// 10 + (1 − 0.75) · (2 − 10) = 8 and −4 + 0.25 · (4 + 4) = −2.
    #[test]
    fn averages_move_weights_and_buffers() {
        let device = Reference::shared();
        let (average, current) = (network(10.0, -4.0, &device), network(2.0, 4.0, &device));
        average.average_towards(&current, 0.75).unwrap();
        assert_eq!(values(&average), [8.0, -2.0]);
        assert_eq!(values(&current), [2.0, 4.0]);
    }

    #[test]
    fn copies_are_independent() {
        let device = Cpu::shared();
        let (copy, original) = (network(0.0, 0.0, &device), network(2.0, 4.0, &device));
        copy.copy_from(&original).unwrap();
        let other = network(0.0, 0.0, &device);
        copy.average_towards(&other, 0.5).unwrap();
        assert_eq!((values(&copy), values(&original)), (vec![1.0, 2.0], vec![2.0, 4.0]));
    }

    fn halve(parameter: &Parameter) {
        let zero = tensor(&[0.0], parameter.get().device());
        parameter
            .update(|array| zero.device().lerp(array, zero.array(), 0.5))
            .unwrap();
    }

    #[test]
    fn updates_reuse_memory_that_no_graph_holds() {
        let device = Cpu::shared();
        let parameters = network(8.0, 0.0, &device);
        let weight = parameters.get("layer.weight").unwrap();
        let memory = || Arc::as_ptr(weight.get().array().storage()).cast::<()>();
        let before = memory();
        halve(weight);
        assert_eq!((memory(), weight.get().item().unwrap()), (before, 4.0));

        let held = weight.get();
        let loss = held.square().unwrap();
        halve(weight);
        assert_ne!(memory(), before);
        assert_eq!(weight.get().item().unwrap(), 2.0);
        assert_eq!(
            grad(&[&loss], &[&held], GradOptions::default()).unwrap()[0]
                .item()
                .unwrap(),
            8.0
        );
    }

    #[test]
    fn a_failed_update_keeps_the_value() {
        let device = Reference::shared();
        let parameters = network(3.0, 0.0, &device);
        let refuse = || Error::InvalidArgument {
            op: "test",
            argument: "none",
            value: String::new(),
        };
        assert!(
            parameters
                .get("layer.weight")
                .unwrap()
                .update(|_| Err(refuse()))
                .is_err()
        );
        assert_eq!(values(&parameters), [3.0, 0.0]);
    }
}
