//! Activation checkpointing (Chen et al., "Training Deep Nets with Sublinear Memory Cost", 2016): a part of the model
//! keeps only its inputs, and is computed once more when the backward walk comes to it.

use super::{Node, Record, State, Step};
use crate::gpu::WasmNotSend;
use crate::tensor::{Shape, Tensor};
use crate::{Error, Result};
use std::sync::Arc;

/// The forward pass of a checkpointed part, once more.
pub(super) struct Again {
    run: Box<dyn Part>,
    inputs: Vec<Tensor>,
}

/// A closure that may move between threads, except in the browser.
trait Part: Fn(&[Tensor]) -> Result<Tensor> + WasmNotSend {}
impl<F: Fn(&[Tensor]) -> Result<Tensor> + WasmNotSend> Part for F {}

impl Again {
    /// The result on the tape, whose nodes are then ordinary ones in front of the inputs'.
    pub fn run(self, nodes: Vec<Option<Arc<Node>>>, shape: Shape) -> Result<Tensor> {
        let inputs: Vec<Tensor> = self.inputs.iter().zip(nodes).map(|(x, node)| x.with_node(node)).collect();
        let y = (self.run)(&inputs)?;
        if y.shape() != shape || !y.is_tracked() {
            let why = format!("gave {shape} with a gradient at first, and {y:?} when it was run again");
            return Err(Error::Input(format!("checkpoint: the function {why}")));
        }
        Ok(y)
    }
}

/// `f(inputs)`, of which nothing but the inputs is kept for the backward pass, which calls `f` again.
///
/// Gradients are those of `f(inputs)` without checkpointing, bit for bit. They flow to the inputs and to every tracked
/// tensor that `f` captures: the second run is put on the tape at the place of the first one, so the weights of a layer
/// that moves into `f` (in an `Arc`, or cloned: clones share their memory) need not be named.
///
/// `f` must do the same thing both times: noise, for instance, must come from a seed. An op without a backward pass in
/// it is an error at once, by that op's name, and an error in the second run is an error of the backward walk.
/// Checkpoints may be nested; each level runs its inside once more.
pub fn checkpoint(
    inputs: &[&Tensor],
    f: impl Fn(&[Tensor]) -> Result<Tensor> + WasmNotSend + 'static,
) -> Result<Tensor> {
    // The first run is on the tape as well. That takes no more memory than the second one will, makes the same choices
    // of kernels, and tells whether anything in here has a gradient. Its piece of tape ends with this function.
    let y = f(&inputs.iter().map(|&x| x.clone()).collect::<Vec<_>>())?;
    if !y.is_tracked() {
        return Ok(y);
    }
    let nodes = inputs.iter().map(|x| x.node.clone()).collect();
    let again = Again { run: Box::new(f), inputs: inputs.iter().map(|x| x.detach()).collect() };
    let record = Record { step: Step::Checkpoint(again), inputs: nodes };
    Ok(y.with_node(Some(Node::new(State::Result(record)))))
}
