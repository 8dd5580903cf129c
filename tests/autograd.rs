//! The tape: accumulation, what is consumed, ops without a gradient, checkpointing.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::blocks::{TransformerBlock, seeded};
use common::{gpu, open, recording};
use dreamllm::autograd::{checkpoint, gradients};
use dreamllm::gpu::{DeviceClass, Gpu, GpuOptions};
use dreamllm::ops::pointwise::{exp, silu};
use dreamllm::ops::{self, select};
use dreamllm::tensor::DType;
use dreamllm::{Error, Result, Tensor};

fn read(x: &Tensor) -> Vec<f32> {
    pollster::block_on(x.read_f32()).unwrap()
}

fn bits(x: &Tensor) -> Vec<u32> {
    read(x).into_iter().map(f32::to_bits).collect()
}

fn vector(data: &[f32]) -> Tensor {
    Tensor::from_f32(gpu(), data, [data.len()]).unwrap()
}

#[test]
fn a_tensor_used_many_times_gets_the_sum() {
    let x = vector(&[1.0, -2.0, 3.0]).variable();
    // x² + x + x + 3x
    let y = x.mul(&x).unwrap().add(&x.add(&x).unwrap()).unwrap().add(&x.scale(3.0).unwrap()).unwrap();
    let g = gradients(&y, &vector(&[1.0, 1.0, 2.0])).unwrap();
    assert_eq!(read(g.get(&x).unwrap()), [7.0, 1.0, 22.0]);
}

#[test]
fn what_a_value_does_not_depend_on_has_no_gradient() {
    let (x, other) = (vector(&[1.0]).variable(), vector(&[1.0]).variable());
    let y = x.mul(&other.detach()).unwrap();
    let g = gradients(&y, &vector(&[1.0])).unwrap();
    assert!(g.get(&x).is_some() && g.get(&other).is_none());
    assert!(g.get(&vector(&[1.0])).is_none());
    assert!(gradients(&vector(&[1.0]), &vector(&[1.0])).unwrap().get(&x).is_none());
}

#[test]
fn a_tape_is_used_up_by_its_gradients() {
    let x = vector(&[2.0]).variable();
    let trunk = x.mul(&x).unwrap();
    let (y, z) = (trunk.scale(2.0).unwrap(), trunk.scale(3.0).unwrap());
    let dy = vector(&[1.0]);
    assert_eq!(read(gradients(&y, &dy).unwrap().get(&x).unwrap()), [8.0]);
    for again in [&y, &z] {
        let error = gradients(again, &dy).err().expect("gradients of a tape that is gone").to_string();
        assert!(error.contains("used up"), "{error}");
    }
    // The variable itself is not used up.
    assert_eq!(read(gradients(&x.scale(5.0).unwrap(), &dy).unwrap().get(&x).unwrap()), [5.0]);
    assert_eq!(read(gradients(&x, &dy).unwrap().get(&x).unwrap()), [1.0]);
}

/// For every case of every op: a tracked operand gets a gradient, or the op refuses by name. Nothing is lost in silence.
/// Left out are cases without any differentiable operand whose result is a constant: they run a kernel below its op, or
/// an op that only takes the device from its operand (`fill`, `random`). Ops that refuse are listed in the end.
#[test]
fn no_op_drops_a_gradient() {
    let (mut refusing, mut lost) = (std::collections::BTreeSet::new(), Vec::new());
    for class in [DeviceClass::Hardware, DeviceClass::Software] {
        let gpu = recording(class);
        for case in ops::cases() {
            for i in 0..case.operands.len() {
                let mut operands = case.tensors(&gpu).unwrap();
                if operands[i].dtype() != DType::F32 {
                    continue;
                }
                operands[i] = operands[i].variable();
                let constant = !case.operands.iter().any(|o| o.differentiable);
                let name = format!("{} {}, operand {i}", case.op, case.label);
                match outcome(&case, &operands, i) {
                    Ok(arrived) => lost.extend((!arrived && !constant).then_some(name)),
                    Err(Error::NoBackward(op)) => drop(refusing.insert(op)),
                    Err(error) => panic!("{name}: {error}"),
                }
            }
        }
    }
    assert!(lost.is_empty(), "gradients that are lost:\n{}", lost.join("\n"));
    for op in ["append_rows", "argmax", "rope", "timestep_embedding", "top_k"] {
        assert!(refusing.iter().any(|name| name.starts_with(op)), "{op} should refuse, but only {refusing:?} do");
    }
}

/// Whether the gradient by operand i arrives, in the operand's shape.
fn outcome(case: &ops::case::OpCase, operands: &[Tensor], i: usize) -> Result<bool> {
    let y = (case.run)(operands)?;
    let dy = Tensor::from_f32(y.gpu(), &vec![1.0; y.len()], y.shape())?;
    Ok(gradients(&y, &dy)?.get(&operands[i]).is_some_and(|dx| dx.shape() == operands[i].shape()))
}

#[test]
fn an_op_without_a_gradient_refuses_when_it_is_recorded() {
    let logits = Tensor::from_f32(gpu(), &[1.0; 8], [2, 4]).unwrap().variable();
    for (op, error) in [("argmax", select::argmax(&logits).err()), ("top_k", select::top_k(&logits, 2).err())] {
        match error {
            Some(Error::NoBackward(name)) => assert_eq!(name, op),
            other => panic!("{op}: {other:?}"),
        }
    }
}

/// A stack of transformer blocks, plain or with every block checkpointed: the value, then the gradients of the input and of
/// all weights.
fn stack(gpu: &Gpu, [depth, tokens]: [usize; 2], checkpointed: bool) -> Result<Vec<Tensor>> {
    let blocks: Vec<TransformerBlock> =
        (0..depth).map(|_| Ok(TransformerBlock::new(gpu, [1, tokens], [4, 8])?.trained())).collect::<Result<_>>()?;
    let x = seeded(gpu, 1, 1.0, &[1, tokens, 32])?.variable();
    let mut y = x.clone();
    for block in &blocks {
        let inside = block.clone();
        y = if checkpointed { checkpoint(&[&y], move |x| inside.forward(&x[0]))? } else { block.forward(&y)? };
    }
    let g = gradients(&y, &seeded(gpu, 2, 1.0, &[1, tokens, 32])?)?;
    let variables = [&x].into_iter().chain(blocks.iter().flat_map(|block| &block.weights));
    let found = variables.map(|v| g.get(v).cloned().ok_or_else(|| Error::NoBackward("stack".into())));
    [Ok(y.detach())].into_iter().chain(found).collect()
}

#[test]
fn two_runs_give_the_same_bits() {
    let [one, two] = [0, 1].map(|_| stack(gpu(), [2, 12], false).unwrap());
    assert!(one.iter().zip(&two).all(|(a, b)| bits(a) == bits(b)));
    assert!(one.iter().all(|t| read(t).iter().all(|v| v.is_finite()) && read(t).iter().any(|v| *v != 0.0)));
}

#[test]
fn checkpointing_gives_the_same_bits() {
    let [plain, checkpointed] = [false, true].map(|on| stack(gpu(), [2, 12], on).unwrap());
    assert_eq!(plain.len(), checkpointed.len());
    for (i, (a, b)) in plain.iter().zip(&checkpointed).enumerate() {
        assert_eq!(bits(a), bits(b), "tensor {i}");
    }
}

#[test]
fn checkpointing_saves_memory() {
    let peak = |on: bool| {
        let gpu = recording(DeviceClass::Hardware);
        gpu.take_peak_memory();
        drop(stack(&gpu, [12, 256], on).unwrap());
        gpu.take_peak_memory()
    };
    let (plain, checkpointed) = (peak(false), peak(true));
    assert!(checkpointed * 2 < plain, "{checkpointed} bytes with checkpoints, {plain} without");
}

/// x → exp(silu(x · w)) · x, by one, two or no levels of checkpoints; x is used inside and outside of them.
fn nested(levels: usize) -> [Vec<u32>; 2] {
    let x = vector(&[0.3, -0.8, 1.1]).variable();
    let w = vector(&[1.5, 0.5, -0.7]).variable();
    let weight = w.clone();
    let inner = move |x: &[Tensor]| silu(&x[0].mul(&weight)?);
    let middle = move |x: &[Tensor]| match levels {
        2 => exp(&checkpoint(&[&x[0]], inner.clone())?),
        _ => exp(&inner(x)?),
    };
    let outer = if levels > 0 { checkpoint(&[&x], middle) } else { middle(std::slice::from_ref(&x)) };
    let y = outer.unwrap().mul(&x).unwrap();
    let g = gradients(&y, &vector(&[1.0, 2.0, 0.5])).unwrap();
    [&x, &w].map(|v| bits(g.get(v).unwrap()))
}

#[test]
fn checkpoints_nest() {
    assert_eq!(nested(0), nested(1));
    assert_eq!(nested(0), nested(2));
}

#[test]
fn a_checkpoint_without_a_gradient_is_no_node() {
    let x = vector(&[1.0]);
    assert!(!checkpoint(&[&x], |x| exp(&x[0])).unwrap().is_tracked());
    // Captured variables count, without any tracked input.
    let w = x.variable();
    let inside = w.clone();
    let y = checkpoint(&[&x], move |x| x[0].mul(&inside)).unwrap();
    assert_eq!(read(gradients(&y, &vector(&[4.0])).unwrap().get(&w).unwrap()), [4.0]);
}

#[test]
fn a_missing_backward_in_a_checkpoint_is_named() {
    let x = Tensor::from_f32(gpu(), &[1.0; 8], [2, 4]).unwrap().variable();
    let error = checkpoint(&[&x], |x| select::argmax(&x[0])).unwrap_err();
    assert!(matches!(&error, Error::NoBackward(op) if op == "argmax"), "{error}");
}

#[test]
fn a_function_that_changes_its_mind_is_an_error() {
    let x = vector(&[1.0, 2.0]).variable();
    let runs = std::sync::atomic::AtomicUsize::new(0);
    let y = checkpoint(&[&x], move |x| match runs.fetch_add(1, std::sync::atomic::Ordering::Relaxed) {
        0 => exp(&x[0]),
        _ => exp(&x[0].detach()),
    });
    let error = gradients(&y.unwrap(), &vector(&[1.0, 1.0])).err().expect("a lost gradient").to_string();
    assert!(error.contains("checkpoint"), "{error}");
}

#[test]
fn a_long_chain_of_checkpoints_is_freed_without_recursion() {
    let gpu = open(&GpuOptions::from_env().unwrap());
    let mut x = Tensor::from_f32(&gpu, &[1.0], [1]).unwrap().variable();
    for _ in 0..20_000 {
        x = checkpoint(&[&x], |x| x[0].reshape([1])).unwrap();
    }
    drop(x);
}
