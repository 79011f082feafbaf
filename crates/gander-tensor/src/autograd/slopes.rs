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
            let varies = varies(tensor, &leads);
            // An input may depend on another one.
            !varies.contains(&true)
                || tensor
                    .origin()
                    .is_some_and(|origin| origin.operation.is_piecewise_linear(&varies))
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
                    let brought = origin.operation.tangent(&call, &moved)?;
                    // An input that depends on another one has a change of its own too.
                    let change = match changes.get(&step.output.id()) {
                        Some(own) => own.add(&brought)?,
                        None => brought,
                    };
                    changes.insert(step.output.id(), change);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Activation, DeviceRef, GradOptions, RandomKey, Reference, grad, linear};

    fn random(shape: &[usize], seed: u64, device: &DeviceRef) -> Tensor {
        Tensor::normal(RandomKey::from_seed(seed), shape, device).unwrap()
    }

    #[test]
    fn an_input_that_depends_on_another_has_both_changes() {
        let device = Reference::shared();
        let leaf = |shape: &[usize], seed| random(shape, seed, &device).watch();
        let (x, weights) = (leaf(&[4, 3], 1), [leaf(&[3, 5], 2), leaf(&[5, 6], 3), leaf(&[6, 2], 4)]);
        let leaky = Activation::LeakyRelu(0.2);
        let inner = linear(&x, &weights[0], None, leaky).unwrap();
        let output = linear(&inner, &weights[1], None, leaky).unwrap();
        let output = linear(&output, &weights[2], None, Activation::Identity).unwrap();
        let (inputs, weights) = ([&x, &inner], weights.each_ref());
        assert!(is_piecewise_linear(&output, &inputs));

        let seeds = random(&[4, 2], 5, &device);
        let changes = [random(&[4, 3], 6, &device), random(&[4, 5], 7, &device)];
        let create = GradOptions {
            create_graph: true,
            ..GradOptions::default()
        };
        let mut sum = output.mul(&seeds).unwrap().sum_all().unwrap();
        for (slope, change) in grad(&[&sum], &inputs, create).unwrap().iter().zip(&changes) {
            sum = sum.add(&slope.mul(change).unwrap().sum_all().unwrap()).unwrap();
        }
        let expected = grad(&[&sum], &weights, GradOptions::default()).unwrap();
        let slopes = slopes(&output, &seeds, &inputs).unwrap();
        let got = slopes.weight_gradients(changes.into(), &weights).unwrap();
        for (got, expected) in got.iter().zip(&expected) {
            let (got, expected) = (got.to_vec_f64().unwrap(), expected.to_vec_f64().unwrap());
            for (got, expected) in got.iter().zip(&expected) {
                assert!((got - expected).abs() < 1e-9, "{got} instead of {expected}");
            }
        }
    }

    #[test]
    fn what_lies_between_two_inputs_must_be_piecewise_linear() {
        let x = random(&[4], 1, &Reference::shared()).watch();
        let bent = x.tanh().unwrap();
        let output = bent.add(&x).unwrap();
        assert!(is_piecewise_linear(&output, &[&bent]));
        assert!(!is_piecewise_linear(&output, &[&x, &bent]));
    }
}
