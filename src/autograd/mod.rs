//! Reverse-mode differentiation: op objects on a tape.
//!
//! A node exists only where an input needs a gradient, so inference builds none. What a backward pass reads is a field
//! of its op's struct. [`gradients`] walks the nodes in reverse order of creation and consumes them, so memory falls as
//! the walk goes.

use crate::gpu::WasmNotSend;
use crate::tensor::Tensor;
use crate::{Error, Result};
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// The backward pass of one recorded op. It may move between threads, except in the browser.
pub trait Backward: WasmNotSend {
    /// Gradients of the inputs, in their order, from the gradient of the output.
    /// `need[i]` is false where input i has no gradient; its entry may then be `None`.
    fn backward(self: Box<Self>, dy: &Tensor, need: &[bool]) -> Result<Vec<Option<Tensor>>>;
}

/// A place on the tape: a variable, or the result of an op.
pub struct Node {
    id: u64,
    record: Mutex<Option<Record>>,
}

struct Record {
    name: &'static str,
    op: Box<dyn Backward>,
    inputs: Vec<Option<Arc<Node>>>,
}

static NEXT_ID: AtomicU64 = AtomicU64::new(0);

impl Node {
    fn new(record: Option<Record>) -> Arc<Node> {
        Arc::new(Node { id: NEXT_ID.fetch_add(1, Ordering::Relaxed), record: Mutex::new(record) })
    }
}

impl Drop for Node {
    /// Frees long chains without recursion.
    fn drop(&mut self) {
        let mut stack: Vec<Arc<Node>> = Vec::new();
        let take = |node: &mut Node, stack: &mut Vec<Arc<Node>>| {
            let record = node.record.get_mut().unwrap_or_else(PoisonError::into_inner).take();
            stack.extend(record.into_iter().flat_map(|r| r.inputs).flatten());
        };
        take(self, &mut stack);
        while let Some(node) = stack.pop() {
            if let Some(mut node) = Arc::into_inner(node) {
                take(&mut node, &mut stack);
            }
        }
    }
}

impl Tensor {
    /// The same values as a variable: gradients can be asked for it.
    pub fn variable(&self) -> Tensor {
        self.with_node(Some(Node::new(None)))
    }

    /// The same values without a gradient.
    pub fn detach(&self) -> Tensor {
        self.with_node(None)
    }

    /// Whether a gradient flows through this tensor.
    pub fn is_tracked(&self) -> bool {
        self.node.is_some()
    }

    /// Puts this result of an op on the tape if one of the inputs is.
    pub(crate) fn on_tape(
        mut self,
        name: &'static str,
        inputs: &[&Tensor],
        op: impl FnOnce() -> Box<dyn Backward>,
    ) -> Result<Tensor> {
        if inputs.iter().any(|x| x.is_tracked()) {
            let inputs = inputs.iter().map(|x| x.node.clone()).collect();
            self.node = Some(Node::new(Some(Record { name, op: op(), inputs })));
        }
        Ok(self)
    }
}

/// An error if one of the inputs needs a gradient: for ops that have no backward pass.
pub(crate) fn no_backward(name: &str, inputs: &[&Tensor]) -> Result<()> {
    match inputs.iter().any(|x| x.is_tracked()) {
        true => Err(Error::NoBackward(name.to_string())),
        false => Ok(()),
    }
}

/// Gradients by variable.
pub struct Gradients(HashMap<u64, Tensor>);

impl Gradients {
    /// The gradient of a variable, if the differentiated value depends on it.
    pub fn get(&self, variable: &Tensor) -> Option<&Tensor> {
        self.0.get(&variable.node.as_ref()?.id)
    }

    /// Takes the gradient of a variable out.
    pub fn take(&mut self, variable: &Tensor) -> Option<Tensor> {
        self.0.remove(&variable.node.as_ref()?.id)
    }
}

/// Gradients of `y`, weighted by `dy` of the same shape, with respect to every variable it depends on. Consumes the tape.
pub fn gradients(y: &Tensor, dy: &Tensor) -> Result<Gradients> {
    dy.expect_shape("gradients dy", "shape of y", y.shape())?;
    let mut open: BTreeMap<u64, (Arc<Node>, Tensor)> = BTreeMap::new();
    let mut variables = HashMap::new();
    if let Some(node) = &y.node {
        open.insert(node.id, (node.clone(), dy.detach()));
    }
    while let Some((id, (node, dy))) = open.pop_last() {
        let record = node.record.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(Record { name, op, inputs }) = record else {
            variables.insert(id, dy);
            continue;
        };
        let need: Vec<bool> = inputs.iter().map(Option::is_some).collect();
        let gradients = op.backward(&dy, &need)?;
        for (input, gradient) in inputs.into_iter().zip(gradients) {
            let Some(input) = input else { continue };
            let gradient = gradient.ok_or_else(|| Error::NoBackward(name.to_string()))?;
            accumulate(&mut open, input, gradient)?;
        }
    }
    Ok(Gradients(variables))
}

fn accumulate(open: &mut BTreeMap<u64, (Arc<Node>, Tensor)>, node: Arc<Node>, gradient: Tensor) -> Result<()> {
    let sum = match open.remove(&node.id) {
        Some((_, other)) => other.add(&gradient)?,
        None => gradient,
    };
    open.insert(node.id, (node, sum));
    Ok(())
}
