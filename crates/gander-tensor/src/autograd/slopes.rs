//! Penalties on the slope of a piecewise linear network, without a second tape.
//!
//! Convolutions, products, resampling, sums and leaky relus make a function that is linear on each piece: on it a
//! slope does not change with the input, and a change `c` of the input changes `s = Σ seedᵢ · outputᵢ` by `⟨c, ∂s/∂x⟩`.
//! So the gradient of `⟨c, ∂s/∂x⟩` for the weights is that of an ordinary layer by layer product, with the gradients that
//! a first pass back left at each layer and the change that a pass forth (without biases, through the same masks) brings
//! there. A squared slope is such a form with `c` twice the slope.

use std::collections::{BTreeMap, HashMap};

use super::{Call, Leads, Pending, accumulate, no_grad, propagate};
use crate::{Result, Tensor, TensorId};

/// Whether `output` is known to be piecewise linear in `inputs`, whatever the rest is held at.
pub fn is_piecewise_linear(output: &Tensor, inputs: &[&Tensor]) -> bool {
    let leads = Leads::find(&[output], inputs);
    leads.contains(output)
        && leads.through(output).iter().all(|tensor| {
            inputs.iter().any(|input| input.id() == tensor.id())
                || tensor
                    .origin()
                    .is_some_and(|origin| origin.operation.is_piecewise_linear(&varies(tensor, &leads)))
        })
}

/// Which operands of the operation behind a tensor change with the inputs.
fn varies(tensor: &Tensor, leads: &Leads) -> Vec<bool> {
    let operands = tensor.origin().map_or(&[][..], |origin| &origin.inputs);
    operands.iter().map(|operand| leads.contains(operand)).collect()
}

/// An operation between inputs and output, and the gradient that came back to its result.
struct Step {
    output: Tensor,
    gradient: Tensor,
    is_gated: bool,
    varies: Vec<bool>,
}

/// A piecewise linear function gone through backwards once.
pub struct Slopes {
    output: TensorId,
    inputs: Vec<TensorId>,
    gradients: Vec<Tensor>,
    /// From the inputs on.
    steps: Vec<Step>,
}

/// The gradient of `s = Σ seedᵢ · outputᵢ` for `inputs`, keeping what [`Slopes::weight_gradients`] needs.
///
/// # Shapes
/// - `seeds`: that of `output`
///
/// # Errors
/// [`crate::Error::NoPath`] if the output does not depend on an input.
pub fn slopes(output: &Tensor, seeds: &Tensor, inputs: &[&Tensor]) -> Result<Slopes> {
    no_grad(|| {
        let leads = Leads::find(&[output], inputs);
        let mut steps = Vec::new();
        let mut seeded = Pending::new();
        accumulate(&mut seeded, output, seeds.clone())?;
        let mut finished = propagate(seeded, &leads, inputs, false, &mut |returned| {
            steps.push(Step {
                output: returned.to.clone(),
                gradient: returned.gradient.clone(),
                is_gated: returned.is_gated,
                varies: varies(&returned.to, &leads),
            });
        })?;
        steps.reverse();
        let gradients = inputs
            .iter()
            .enumerate()
            .map(|(input_index, input)| finished.remove(&input.id()).ok_or(crate::Error::NoPath { input_index }))
            .collect::<Result<_>>()?;
        Ok(Slopes {
            output: output.id(),
            inputs: inputs.iter().map(|input| input.id()).collect(),
            gradients,
            steps,
        })
    })
}

impl Slopes {
    /// `∂s/∂x` for each of the inputs.
    pub fn gradients(&self) -> &[Tensor] {
        &self.gradients
    }

    /// Gradients for `weights` of `s + Σ ⟨change, ∂s/∂x⟩`, the changes held.
    ///
    /// Exact where [`is_piecewise_linear`]; weights that neither depends on get zeros.
    ///
    /// # Shapes
    /// - `changes`: for each input one of its shape
    pub fn weight_gradients(self, changes: Vec<Tensor>, weights: &[&Tensor]) -> Result<Vec<Tensor>> {
        no_grad(|| {
            let outputs: Vec<&Tensor> = self.steps.last().map(|step| &step.output).into_iter().collect();
            let leads = Leads::find(&outputs, weights);
            let mut changes: BTreeMap<TensorId, Tensor> = self.inputs.iter().copied().zip(changes).collect();
            let mut uses = uses(&self.steps);
            let mut pending = Pending::new();
            for step in self.steps {
                let Some(origin) = step.output.origin() else { continue };
                let moved: Vec<Option<Tensor>> = origin
                    .inputs
                    .iter()
                    .zip(&step.varies)
                    .map(|(operand, varies)| varies.then(|| changes.get(&operand.id()).cloned()).flatten())
                    .collect();
                to_weights(&step, &moved, &leads, &mut pending)?;
                if step.output.id() != self.output {
                    let call = Call {
                        inputs: &origin.inputs,
                        output: &step.output,
                        needs: &step.varies,
                        create_graph: false,
                        is_gated: false,
                        offers: &[],
                    };
                    changes.insert(step.output.id(), origin.operation.tangent(&call, &moved)?);
                }
                // What nobody reads again goes back to the pool.
                for operand in &origin.inputs {
                    if let Some(left) = uses.get_mut(&operand.id()) {
                        *left -= 1;
                        if *left == 0 {
                            changes.remove(&operand.id());
                        }
                    }
                }
            }
            let mut finished = propagate(pending, &leads, weights, false, &mut |_| {})?;
            weights
                .iter()
                .map(|weight| match finished.remove(&weight.id()) {
                    Some(gradient) => {
                        // The same weight may stand in the list twice.
                        finished.insert(weight.id(), gradient.clone());
                        Ok(gradient)
                    }
                    None => Tensor::zeros(weight.shape(), weight.device()),
                })
                .collect()
        })
    }
}

/// How often each tensor is an operand.
fn uses(steps: &[Step]) -> HashMap<TensorId, usize> {
    let mut uses = HashMap::new();
    let operands = steps
        .iter()
        .filter_map(|step| step.output.origin())
        .flat_map(|origin| &origin.inputs);
    for operand in operands {
        *uses.entry(operand.id()).or_insert(0) += 1;
    }
    uses
}

/// What a step's own weights get: its backward rule, with operands that vary moved by their changes.
fn to_weights(step: &Step, moved: &[Option<Tensor>], leads: &Leads, pending: &mut Pending) -> Result<()> {
    let Some(origin) = step.output.origin() else {
        return Ok(());
    };
    let needs: Vec<bool> = origin
        .inputs
        .iter()
        .zip(&step.varies)
        .map(|(operand, varies)| !varies && leads.contains(operand))
        .collect();
    if !needs.contains(&true) {
        return Ok(());
    }
    let operation = &origin.operation;
    let inputs = origin
        .inputs
        .iter()
        .zip(moved)
        .enumerate()
        .map(|(index, (operand, change))| match change {
            Some(change) if operation.reads().inputs && operation.reads_operand(index) => operand.detach().add(change),
            _ => Ok(operand.clone()),
        })
        .collect::<Result<Vec<_>>>()?;
    let call = Call {
        inputs: &inputs,
        output: &step.output,
        needs: &needs,
        create_graph: false,
        is_gated: step.is_gated,
        offers: &[],
    };
    let gradients = operation.backward(&call, &step.gradient)?;
    for ((operand, gradient), needed) in origin.inputs.iter().zip(gradients).zip(&needs) {
        if let (Some(gradient), true) = (gradient, needed) {
            accumulate(pending, operand, gradient)?;
        }
    }
    Ok(())
}
