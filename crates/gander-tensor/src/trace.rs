//! A forward pass as data: one record serves summaries, the count of arithmetic, and export.

use std::{cell::RefCell, sync::Arc};

use crate::{Operation, Result, Shape, Tensor, TensorId};

/// One recorded operation.
#[derive(Debug, Clone)]
pub struct TracedOperation {
    /// What was computed.
    pub operation: Arc<dyn Operation>,
    /// The operands.
    pub inputs: Vec<(TensorId, Shape)>,
    /// The result.
    pub output: (TensorId, Shape),
}

impl TracedOperation {
    /// Multiplications and additions of the direct algorithm.
    pub fn flops(&self) -> u64 {
        let inputs: Vec<&Shape> = self.inputs.iter().map(|(_, shape)| shape).collect();
        self.operation.flops(&inputs, &self.output.1)
    }
}

/// The operations of a forward pass in the order in which they ran, semantic and unfused.
#[derive(Debug, Clone, Default)]
pub struct Trace {
    /// The operations.
    pub operations: Vec<TracedOperation>,
}

impl Trace {
    /// Multiplications and additions of the whole pass by the direct algorithms.
    pub fn flops(&self) -> u64 {
        self.operations.iter().map(TracedOperation::flops).sum()
    }
}

thread_local! {
    static ACTIVE: RefCell<Option<Trace>> = const { RefCell::new(None) };
}

/// Runs `body` and records its operations on this thread.
pub fn trace<T>(body: impl FnOnce() -> Result<T>) -> Result<(T, Trace)> {
    struct Restore(Option<Trace>);
    impl Drop for Restore {
        fn drop(&mut self) {
            ACTIVE.with(|active| *active.borrow_mut() = self.0.take());
        }
    }
    let _restore = Restore(ACTIVE.with(|active| active.borrow_mut().replace(Trace::default())));
    let value = body()?;
    let trace = ACTIVE.with(|active| active.borrow_mut().take()).unwrap_or_default();
    Ok((value, trace))
}

pub(crate) fn is_active() -> bool {
    ACTIVE.with(|active| active.borrow().is_some())
}

pub(crate) fn record(operation: &Arc<dyn Operation>, inputs: &[&Tensor], output: &Tensor) {
    ACTIVE.with(|active| {
        if let Some(trace) = active.borrow_mut().as_mut() {
            trace.operations.push(TracedOperation {
                operation: Arc::clone(operation),
                inputs: inputs.iter().map(|input| (input.id(), input.shape().clone())).collect(),
                output: (output.id(), output.shape().clone()),
            });
        }
    });
}
