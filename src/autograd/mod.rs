//! Reverse-mode differentiation: op objects on a tape.
//!
//! A node exists only where an input needs a gradient, so inference builds none. What a backward pass reads is a field
//! of its op's struct. [`gradients`] walks the nodes in reverse order of creation and consumes them, so memory falls as
//! the walk goes. [`checkpoint`] trades that memory for time.

mod checkpoint;

pub use checkpoint::checkpoint;

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
    state: Mutex<State>,
}

enum State {
    Variable,
    Result(Record),
    /// A result that a backward walk has passed.
    Consumed,
}

struct Record {
    step: Step,
    inputs: Vec<Option<Arc<Node>>>,
}

/// How a gradient goes on from a result.
enum Step {
    Op(&'static str, Box<dyn Backward>),
    Checkpoint(checkpoint::Again),
}

static NEXT_ID: AtomicU64 = AtomicU64::new(0);

impl Node {
    fn new(state: State) -> Arc<Node> {
        Arc::new(Node { id: NEXT_ID.fetch_add(1, Ordering::Relaxed), state: Mutex::new(state) })
    }

    /// Takes out how the gradient goes on, None for a variable. That can be done once.
    fn consume(&self) -> Result<Option<Record>> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match std::mem::replace(&mut *state, State::Consumed) {
            State::Result(record) => Ok(Some(record)),
            State::Variable => {
                *state = State::Variable;
                Ok(None)
            }
            State::Consumed => Err(Error::Input(
                "gradients: an earlier call has used up this tape; record the forward pass again, or add the values up \
                 before the one call"
                    .into(),
            )),
        }
    }
}

impl Drop for Node {
    /// Frees long chains without recursion.
    fn drop(&mut self) {
        let mut stack: Vec<Arc<Node>> = Vec::new();
        let take = |node: &mut Node, stack: &mut Vec<Arc<Node>>| {
            let state = node.state.get_mut().unwrap_or_else(PoisonError::into_inner);
            if let State::Result(record) = std::mem::replace(state, State::Consumed) {
                stack.extend(record.inputs.into_iter().flatten());
            }
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
        self.with_node(Some(Node::new(State::Variable)))
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
            self.node = Some(Node::new(State::Result(Record { step: Step::Op(name, op()), inputs })));
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

/// Gradients of `y`, weighted by `dy` of the same shape, with respect to every variable it depends on.
///
/// Consumes the tape: a second call that comes to the same ops is an error. Where a tensor was used several times, its
/// gradients are added in the reverse order of use, so the same program gives the same bits.
pub fn gradients(y: &Tensor, dy: &Tensor) -> Result<Gradients> {
    dy.expect_shape("gradients dy", "shape of y", y.shape())?;
    let mut walk = Walk::default();
    walk.add(y.node.clone(), dy.detach())?;
    let mut variables = HashMap::new();
    while let Some((id, (node, dy))) = walk.open.pop_last() {
        match node.consume()? {
            None => drop(variables.insert(id, dy)),
            Some(record) => walk.step(record, dy)?,
        }
    }
    Ok(Gradients(variables))
}

/// The places that a gradient has come to and not passed yet, by id.
#[derive(Default)]
struct Walk {
    open: BTreeMap<u64, (Arc<Node>, Tensor)>,
}

impl Walk {
    fn step(&mut self, Record { step, inputs }: Record, dy: Tensor) -> Result<()> {
        let (name, op) = match step {
            Step::Op(name, op) => (name, op),
            Step::Checkpoint(again) => {
                let y = again.run(inputs, dy.shape())?;
                return self.add(y.node, dy);
            }
        };
        let need: Vec<bool> = inputs.iter().map(Option::is_some).collect();
        let mut gradients = op.backward(&dy, &need)?;
        drop(dy);
        gradients.resize(inputs.len(), None);
        for (input, gradient) in inputs.into_iter().zip(gradients) {
            if input.is_some() {
                self.add(input, gradient.ok_or_else(|| Error::NoBackward(name.to_string()))?)?;
            }
        }
        Ok(())
    }

    /// Adds to the gradient of a place.
    fn add(&mut self, node: Option<Arc<Node>>, gradient: Tensor) -> Result<()> {
        let Some(node) = node else { return Ok(()) };
        let sum = match self.open.remove(&node.id) {
            Some((_, other)) => other.add(&gradient)?,
            None => gradient,
        };
        self.open.insert(node.id, (node, sum));
        Ok(())
    }
}
