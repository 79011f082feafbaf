//! Gradients as a function.

mod slopes;

pub use slopes::{Slopes, is_piecewise_linear, slopes};

use std::{
    cell::Cell,
    collections::{BTreeMap, HashMap},
    fmt::Debug,
    sync::Arc,
};

use crate::{Activation, Array, Device, Error, Result, Shape, Tensor, TensorId, tensor::Origin, trace};

/// One semantic operation: what is recorded for gradients, summaries and export.
///
/// The forward pass computes on a device; the backward pass is written in operations on tensors, so that it can be
/// differentiated again.
pub trait Operation: Debug + Send + Sync + 'static {
    /// The field's name for it.
    fn name(&self) -> &'static str;

    /// Its settings, for summaries and export.
    fn attributes(&self) -> Vec<(&'static str, String)> {
        Vec::new()
    }

    /// The value.
    fn forward(&self, device: &dyn Device, inputs: &[&Array]) -> Result<Array>;

    /// The gradient of each input that `call.needs`, from that of the output; `None` where it is zero everywhere.
    fn backward(&self, call: &Call<'_>, grad: &Tensor) -> Result<Vec<Option<Tensor>>>;

    /// Which values [`Operation::backward`] and [`Operation::tangent`] read; of others only the sides are kept.
    fn reads(&self) -> Reads {
        Reads::default()
    }

    /// Whether the rules read the value of this operand, where they read operands at all.
    fn reads_operand(&self, index: usize) -> bool {
        let _ = index;
        true
    }

    /// The slope of the leaky relu that the operation ends in, if its backward rule takes a gradient that has been
    /// through it already ([`Call::is_gated`]).
    fn gate(&self) -> Option<f32> {
        None
    }

    /// Whether the result is piecewise linear in the operands that vary, the others held. Then [`Operation::tangent`]
    /// follows a change through it, and [`Operation::backward`] is linear in them too.
    fn is_piecewise_linear(&self, varies: &[bool]) -> bool {
        let _ = varies;
        false
    }

    /// The change of the result for changes of the operands that vary, within the piece of `call`.
    ///
    /// # Errors
    /// [`Error::NotLinear`] where [`Operation::is_piecewise_linear`] says no.
    fn tangent(&self, call: &Call<'_>, changes: &[Option<Tensor>]) -> Result<Tensor> {
        let _ = (call, changes);
        Err(Error::NotLinear { op: self.name() })
    }

    /// Multiplications and additions of the direct algorithm.
    fn flops(&self, inputs: &[&Shape], output: &Shape) -> u64 {
        let _ = inputs;
        output.num_elements() as u64
    }
}

/// What the rules of an operation read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reads {
    /// The values of its operands.
    pub inputs: bool,
    /// The values of its result.
    pub output: bool,
}

impl Default for Reads {
    fn default() -> Self {
        Self {
            inputs: true,
            output: true,
        }
    }
}

impl Reads {
    /// Sides alone.
    pub const NOTHING: Self = Self {
        inputs: false,
        output: false,
    };
    /// Operands alone.
    pub const INPUTS: Self = Self {
        inputs: true,
        output: false,
    };
}

/// One use of an operation, for its backward rule.
#[derive(Debug)]
pub struct Call<'a> {
    /// The operands.
    pub inputs: &'a [Tensor],
    /// The result.
    pub output: &'a Tensor,
    /// Which operands want a gradient.
    pub needs: &'a [bool],
    /// Whether the gradient will itself be differentiated.
    pub create_graph: bool,
    /// Whether the gradient of the result has been through [`Operation::gate`].
    pub is_gated: bool,
    /// What may become of the gradient of each operand in the pass that computes it.
    pub(crate) offers: &'a [Offer],
}

/// What becomes of a gradient in the same pass over memory: `gate(gradient) + added`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Onward<'a> {
    /// What a leaky relu gave, and its slope.
    pub gate: Option<(&'a Tensor, f32)>,
    /// What has come back already.
    pub added: Option<&'a Tensor>,
}

/// An [`Onward`] that a rule may take, or leave to the tape.
#[derive(Debug, Default)]
pub(crate) struct Offer {
    gate: Option<f32>,
    added: Option<Tensor>,
    is_taken: Cell<bool>,
}

impl Call<'_> {
    /// The gradient of one input, computed only if wanted.
    pub fn want(&self, input: usize, gradient: impl FnOnce() -> Result<Tensor>) -> Result<Option<Tensor>> {
        self.needs[input].then(gradient).transpose()
    }

    /// What to do with the gradient of an input in the pass that computes it. Who asks has to do it.
    pub fn onward(&self, input: usize) -> Onward<'_> {
        let Some(offer) = self.offers.get(input) else {
            return Onward::default();
        };
        offer.is_taken.set(true);
        Onward {
            gate: offer.gate.map(|slope| (&self.inputs[input], slope)),
            added: offer.added.as_ref(),
        }
    }
}

/// The change of the one operand that varies.
pub(crate) fn only<'a>(changes: &'a [Option<Tensor>], op: &'static str) -> Result<&'a Tensor> {
    changes.iter().flatten().next().ok_or(Error::NotLinear { op })
}

thread_local! {
    static RECORDING: Cell<bool> = const { Cell::new(true) };
}

/// Runs `body` with recording switched to `on`, and back at the end, also after a panic.
fn with_recording<T>(on: bool, body: impl FnOnce() -> T) -> T {
    struct Restore(bool);
    impl Drop for Restore {
        fn drop(&mut self) {
            RECORDING.set(self.0);
        }
    }
    let _restore = Restore(RECORDING.replace(on));
    body()
}

/// Runs `body` without recording what gradients would need.
pub fn no_grad<T>(body: impl FnOnce() -> T) -> T {
    with_recording(false, body)
}

/// Computes an operation and records it where gradients are wanted.
pub fn apply(operation: impl Operation, inputs: &[&Tensor]) -> Result<Tensor> {
    let device = inputs[0].device();
    for other in &inputs[1..] {
        if !Arc::ptr_eq(device, other.device()) {
            let (left, right) = (device.name(), other.device().name());
            return Err(Error::DeviceMismatch {
                op: operation.name(),
                left,
                right,
            });
        }
    }
    let arrays: Vec<&Array> = inputs.iter().map(|input| input.array()).collect();
    let array = operation.forward(device.as_ref(), &arrays)?;
    let watched = RECORDING.get() && array.dtype().is_float() && inputs.iter().any(|input| input.requires_grad());
    let tracing = trace::is_active();
    if !watched && !tracing {
        return Ok(Tensor::from_array(array, device));
    }
    let operation: Arc<dyn Operation> = Arc::new(operation);
    let keep = |(index, input): (usize, &Tensor)| {
        let wanted_there = input.origin().is_none_or(|origin| origin.operation.reads().output);
        if wanted_there || (operation.reads().inputs && operation.reads_operand(index)) {
            input.clone()
        } else {
            input.without_value()
        }
    };
    let origin = watched.then(|| Origin {
        operation: Arc::clone(&operation),
        inputs: inputs.iter().copied().enumerate().map(keep).collect(),
    });
    let output = Tensor::new(array, device, watched, origin);
    if tracing {
        trace::record(&operation, inputs, &output);
    }
    Ok(output)
}

/// How gradients are computed.
#[derive(Debug, Clone, Copy, Default)]
pub struct GradOptions {
    /// Record the gradients themselves, so that they can be differentiated again.
    pub create_graph: bool,
    /// What an input gets that no output depends on.
    pub unused: Unused,
}

/// What an input gets that no output depends on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Unused {
    /// [`Error::NoPath`].
    #[default]
    Error,
    /// Zeros of its shape.
    Zeros,
}

/// The gradients of the sum of all `outputs` with respect to each of `inputs`.
///
/// Only what lies between the two is computed. Inputs may be leaves ([`Tensor::watch`]) or values on the way.
///
/// # Errors
/// [`Error::NoPath`] if no output depends on an input, unless [`Unused::Zeros`] is chosen.
pub fn grad(outputs: &[&Tensor], inputs: &[&Tensor], options: GradOptions) -> Result<Vec<Tensor>> {
    with_recording(options.create_graph, || {
        let mut gradients = backward(outputs, inputs, options.create_graph)?;
        inputs
            .iter()
            .enumerate()
            .map(
                |(input_index, input)| match (gradients.remove(&input.id()), options.unused) {
                    (Some(gradient), _) => {
                        // The same input may stand in the list twice.
                        gradients.insert(input.id(), gradient.clone());
                        Ok(gradient)
                    }
                    (None, Unused::Zeros) => Tensor::zeros(input.shape(), input.device()),
                    (None, Unused::Error) => Err(Error::NoPath { input_index }),
                },
            )
            .collect()
    })
}

/// Gradients that have come back so far, by tensor: the newest is complete.
type Pending = BTreeMap<TensorId, Returned>;

/// What has come back to a tensor.
struct Returned {
    to: Tensor,
    gradient: Tensor,
    /// Whether it has been through [`Operation::gate`].
    is_gated: bool,
}

fn backward(outputs: &[&Tensor], inputs: &[&Tensor], create_graph: bool) -> Result<HashMap<TensorId, Tensor>> {
    let leads = Leads::find(outputs, inputs);
    let mut pending = Pending::new();
    for &output in outputs {
        if leads.contains(output) {
            let seed = Tensor::ones(output.shape(), output.device())?;
            accumulate(&mut pending, output, seed)?;
        }
    }
    propagate(pending, &leads, inputs, create_graph, &mut |_| {})
}

/// Walks the graph from its newest tensor to its oldest, keeping the finished gradients of `inputs`. Every operation
/// that is passed is shown to `visit`, with what came back to its result.
fn propagate(
    mut pending: Pending,
    leads: &Leads,
    inputs: &[&Tensor],
    create_graph: bool,
    visit: &mut dyn FnMut(&Returned),
) -> Result<HashMap<TensorId, Tensor>> {
    let is_asked_for = |tensor: &Tensor| inputs.iter().any(|input| input.id() == tensor.id());
    let mut finished = HashMap::new();
    while let Some((id, returned)) = pending.pop_last() {
        let Returned {
            to: tensor,
            gradient,
            is_gated,
        } = &returned;
        if is_asked_for(tensor) {
            finished.insert(id, gradient.clone());
        }
        let Some(origin) = tensor.origin() else { continue };
        let needs: Vec<bool> = origin.inputs.iter().map(|input| leads.contains(input)).collect();
        if !needs.contains(&true) {
            continue;
        }
        visit(&returned);
        // What is to be differentiated again is left as the rules are written.
        let offers: Vec<Offer> = if create_graph {
            Vec::new()
        } else {
            let offer = |input: &Tensor| Offer::new(input, &pending, &origin.inputs, !is_asked_for(input));
            origin.inputs.iter().map(offer).collect()
        };
        let call = Call {
            inputs: &origin.inputs,
            output: tensor,
            needs: &needs,
            create_graph,
            is_gated: *is_gated,
            offers: &offers,
        };
        let gradients = origin.operation.backward(&call, gradient)?;
        debug_assert_eq!(gradients.len(), origin.inputs.len(), "{}", origin.operation.name());
        for (index, (input, gradient)) in origin.inputs.iter().zip(gradients).enumerate() {
            let (Some(gradient), true) = (gradient, needs[index]) else {
                continue;
            };
            debug_assert_eq!(gradient.shape(), input.shape(), "{}", origin.operation.name());
            match offers.get(index).filter(|offer| offer.is_taken.get()) {
                Some(offer) => offer.settle(&mut pending, input, gradient)?,
                None => accumulate(&mut pending, input, gradient)?,
            }
        }
    }
    Ok(finished)
}

impl Offer {
    /// What can be done with the gradient of an operand. One that is asked for is wanted as it is, not gated.
    fn new(input: &Tensor, pending: &Pending, operands: &[Tensor], may_be_gated: bool) -> Self {
        let gate = input.origin().filter(|_| may_be_gated);
        let gate = gate.and_then(|origin| origin.operation.gate());
        // An operand that stands there twice gets two gradients, of which neither knows the other.
        let is_once = operands.iter().filter(|other| other.id() == input.id()).count() == 1;
        let added = pending
            .get(&input.id())
            .filter(|returned| is_once && returned.is_gated == gate.is_some());
        Self {
            gate,
            added: added.map(|returned| returned.gradient.clone()),
            is_taken: Cell::new(false),
        }
    }

    /// Takes note of a gradient for which the offer was taken.
    fn settle(&self, pending: &mut Pending, to: &Tensor, gradient: Tensor) -> Result<()> {
        if self.added.is_some() {
            pending.remove(&to.id());
        }
        let returned = Returned {
            to: to.clone(),
            gradient,
            is_gated: self.gate.is_some(),
        };
        add(pending, returned)
    }
}

fn accumulate(pending: &mut Pending, to: &Tensor, gradient: Tensor) -> Result<()> {
    let returned = Returned {
        to: to.clone(),
        gradient,
        is_gated: false,
    };
    add(pending, returned)
}

/// Adds to what has come back; where one of the two has been through the gate, so has the sum.
fn add(pending: &mut Pending, returned: Returned) -> Result<()> {
    let sum = match pending.remove(&returned.to.id()) {
        Some(other) => {
            let is_gated = other.is_gated || returned.is_gated;
            let [other, own] = [other, returned].map(|one| if is_gated { one.gated() } else { Ok(one) });
            let (other, own) = (other?, own?);
            Returned {
                gradient: other.gradient.add(&own.gradient)?,
                ..own
            }
        }
        None => returned,
    };
    pending.insert(sum.to.id(), sum);
    Ok(())
}

impl Returned {
    /// The same behind the gate.
    fn gated(self) -> Result<Self> {
        let gate = self.to.origin().and_then(|origin| origin.operation.gate());
        Ok(match gate.filter(|_| !self.is_gated) {
            Some(slope) => Self {
                gradient: Activation::LeakyRelu(slope).backward(&self.gradient, &self.to)?,
                is_gated: true,
                ..self
            },
            None => self,
        })
    }
}

/// The tensors from which a path leads to one of the inputs.
struct Leads(HashMap<TensorId, bool>);

impl Leads {
    fn find(outputs: &[&Tensor], inputs: &[&Tensor]) -> Self {
        let mut known: HashMap<TensorId, bool> = inputs.iter().map(|input| (input.id(), true)).collect();
        let mut visited = std::collections::HashSet::new();
        // Depth first with a stack of its own: graphs of penalties are deep.
        let mut stack: Vec<(Tensor, bool)> = outputs.iter().map(|&output| (output.clone(), false)).collect();
        while let Some((tensor, expanded)) = stack.pop() {
            let children = tensor.origin().map_or(&[][..], |origin| &origin.inputs);
            if expanded {
                let leads = children
                    .iter()
                    .any(|child| known.get(&child.id()).copied().unwrap_or(false));
                let entry = known.entry(tensor.id()).or_insert(false);
                *entry |= leads;
            } else if visited.insert(tensor.id()) {
                stack.push((tensor.clone(), true));
                stack.extend(
                    children
                        .iter()
                        .filter(|child| child.requires_grad())
                        .map(|child| (child.clone(), false)),
                );
            }
        }
        Self(known)
    }

    fn contains(&self, tensor: &Tensor) -> bool {
        self.0.get(&tensor.id()).copied().unwrap_or(false)
    }

    /// The tensors behind `output` that a path to an input leads through, itself and the inputs included.
    fn through(&self, output: &Tensor) -> Vec<Tensor> {
        let mut seen = std::collections::HashSet::new();
        let mut found = Vec::new();
        let mut stack = vec![output.clone()];
        while let Some(tensor) = stack.pop() {
            if self.contains(&tensor) && seen.insert(tensor.id()) {
                let operands = tensor.origin().map_or(&[][..], |origin| &origin.inputs);
                stack.extend(operands.iter().cloned());
                found.push(tensor);
            }
        }
        found
    }
}
