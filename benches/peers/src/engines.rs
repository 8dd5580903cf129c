//! The three engines on one adapter, and host data on each of them.

use crate::Host;
use burn::tensor::{Device, DeviceKind, Tensor as BurnTensor, TensorData};
use dreamllm::gpu::{Gpu, GpuOptions};
use dreamllm::{DType, Result, Tensor};
use meganeura::{Graph, NodeId};

pub struct Engines {
    pub gpu: Gpu,
    pub burn: Device,
}

impl Engines {
    pub fn open() -> Result<Engines> {
        let gpu = pollster::block_on(Gpu::new(&GpuOptions::from_env()?))?;
        // burn takes the adapter that wgpu prefers: on a machine without a GPU that is the software driver as well.
        Ok(Engines { gpu, burn: Device::wgpu(DeviceKind::DefaultDevice) })
    }

    pub fn ours(&self, x: &Host) -> Tensor {
        Tensor::from_f32(&self.gpu, &x.data, x.shape.as_slice()).expect("upload")
    }
}

pub fn on_burn<const D: usize>(x: &Host, device: &Device) -> BurnTensor<D> {
    BurnTensor::from_data(TensorData::new(x.data.clone(), x.shape.clone()), device)
}

/// The whole of one of our tensors.
pub fn read(x: &Tensor) -> Vec<f32> {
    assert_eq!(x.dtype(), DType::F32);
    pollster::block_on(x.read_f32()).expect("readback")
}

/// The whole of one of burn's tensors.
pub fn read_burn<const D: usize>(x: BurnTensor<D>) -> Vec<f32> {
    x.into_data().try_to_vec::<f32>().expect("f32 data")
}

/// A session that runs a graph of one output; the operands are named `x0`, `x1`, … in the order they are given.
/// The first is an input, the others are parameters, as weights are.
pub fn on_meganeura(
    operands: &[Host],
    output: usize,
    build: impl FnOnce(&mut Graph, &[NodeId]) -> NodeId,
) -> Box<dyn FnMut() -> Vec<Vec<f32>>> {
    let mut graph = Graph::new();
    let name = |i: usize| format!("x{i}");
    let nodes: Vec<NodeId> = operands
        .iter()
        .enumerate()
        .map(|(i, x)| match i {
            0 => graph.input(&name(i), &x.shape),
            _ => graph.parameter(&name(i), &x.shape),
        })
        .collect();
    let y = build(&mut graph, &nodes);
    graph.set_outputs(vec![y]);
    // Its search of tiles is off unless asked for, but burn tunes as well.
    let config = meganeura::SessionConfig { tune: true, ..meganeura::SessionConfig::inference_from_env() };
    let mut session = meganeura::build(&graph, config).0;
    for (i, x) in operands.iter().enumerate() {
        match i {
            0 => session.set_input(&name(i), &x.data),
            _ => session.set_parameter(&name(i), &x.data),
        }
    }
    Box::new(move || {
        session.step();
        session.wait();
        vec![session.read_output(output)]
    })
}
