//! A LLaMA block: x + attention(rms(x)), then + swiglu(rms(x)). Forward and backward, where all gradients are read, and a step
//! of training, where all parameters are.

use crate::adamw;
use crate::engines::{on_burn, read, read_burn};
use crate::{Case, Engines, Host, Side};
use burn::module::{Module, Param};
use burn::nn::{Linear, RmsNorm};
use burn::tensor::activation::silu;
use burn::tensor::module::attention as burn_attention;
use burn::tensor::ops::AttentionModuleOptions;
use burn::tensor::{Device, Tensor as BurnTensor};
use dreamllm::ops::attention::{Attention, attention};
use dreamllm::ops::epilogue::Epilogue;
use dreamllm::ops::matmul::linear;
use dreamllm::ops::norm::rms_norm;
use dreamllm::ops::pointwise::swiglu;
use dreamllm::{Result, Tensor};

const B: usize = 2;
const T: usize = 128;
const C: usize = 256;
const H: usize = 4;
const D: usize = C / H;
const F: usize = 704;
const EPS: f32 = 1e-5;

pub fn cases() -> Vec<Case> {
    let products = 2.0 * (B * T) as f64 * (4 * C * C + 3 * C * F) as f64;
    let scores = 4.0 * (B * T * T * C) as f64 / 2.0;
    let flops = 3.0 * (products + scores);
    vec![
        Case::new("transformer block 2x128x256, forward + backward", flops, build),
        Case::new("transformer block 2x128x256, step of training", flops, build_training),
    ]
}

/// Weights as PyTorch stores them, `[N, C]`: q, k, v, o, gate, up, down.
fn matrices() -> Vec<Host> {
    let shapes = [[C, C], [C, C], [C, C], [C, C], [F, C], [F, C], [C, F]];
    shapes.iter().enumerate().map(|(i, shape)| Host::seeded(shape, 10 + i as u64, 0.08)).collect()
}

/// The gains of both norms, around 1.
fn gains() -> Vec<Host> {
    let around_one =
        |seed| Host { data: Host::seeded(&[C], seed, 0.3).data.iter().map(|x| x + 1.0).collect(), shape: vec![C] };
    vec![around_one(20), around_one(21)]
}

fn build(engines: &Engines) -> Vec<Side> {
    let (x, dy) = (Host::seeded(&[B, T, C], 1, 1.0), Host::seeded(&[B, T, C], 2, 1.0));
    vec![ours(engines, &x, &dy), burns(&engines.burn, &x, &dy)]
}

fn ours(engines: &Engines, x: &Host, dy: &Host) -> Side {
    let variables = |hosts: Vec<Host>| hosts.iter().map(|w| engines.ours(w).variable()).collect::<Vec<_>>();
    let (x, dy, one) =
        (engines.ours(x).variable(), engines.ours(dy), engines.ours(&Host { data: vec![1.0], shape: vec![1] }));
    let (w, gains) = (variables(matrices()), variables(gains()));
    let step = move || -> Result<Vec<Tensor>> {
        let y = forward(&x, &w, &gains)?;
        let loss = y.mul(&dy)?.sum_to([C])?.sum_to([1])?;
        let mut gradients = dreamllm::autograd::gradients(&loss, &one)?;
        let of = [&x].into_iter().chain(&w).chain(&gains).map(|v| gradients.take(v).expect("gradient"));
        Ok([y.clone()].into_iter().chain(of).collect())
    };
    Side::new("ours", move || step().expect("step").iter().map(read).collect())
}

fn build_training(engines: &Engines) -> Vec<Side> {
    let (x, dy) = (Host::seeded(&[B, T, C], 1, 1.0), Host::seeded(&[B, T, C], 2, 1.0));
    vec![ours_training(engines, &x, &dy), burns_training(&engines.burn, &x, &dy)]
}

fn ours_training(engines: &Engines, x: &Host, dy: &Host) -> Side {
    let variables = |hosts: Vec<Host>| hosts.iter().map(|w| engines.ours(w).variable()).collect::<Vec<_>>();
    let (x, dy, one) = (engines.ours(x), engines.ours(dy), engines.ours(&Host { data: vec![1.0], shape: vec![1] }));
    let (w, gains) = (variables(matrices()), variables(gains()));
    let mut adamw = adamw::Ours::new(&w.iter().chain(&gains).collect::<Vec<_>>()).expect("moments");
    let mut step = move || -> Result<Vec<Vec<f32>>> {
        let loss = forward(&x, &w, &gains)?.mul(&dy)?.sum_to([C])?.sum_to([1])?;
        let mut found = dreamllm::autograd::gradients(&loss, &one)?;
        let all: Vec<&Tensor> = w.iter().chain(&gains).collect();
        let gradients: Vec<Tensor> = all.iter().map(|v| found.take(v).expect("gradient")).collect();
        adamw.step(&all, &gradients)?;
        Ok(all.into_iter().map(read).collect())
    };
    Side::new("ours", move || step().expect("step"))
}

fn forward(x: &Tensor, w: &[Tensor], gains: &[Tensor]) -> Result<Tensor> {
    let plain = |x: &Tensor, w: &Tensor| linear(x, w, Epilogue::default());
    let h = rms_norm(x, &gains[0], EPS)?;
    let heads = |w: &Tensor| plain(&h, w)?.reshape([B, T, H, D]);
    let mixed =
        attention(&heads(&w[0])?, &heads(&w[1])?, &heads(&w[2])?, Attention { causal: Some(0), ..Default::default() })?;
    let x = linear(&mixed.reshape([B, T, C])?, &w[3], Epilogue { residual: Some(x), ..Default::default() })?;
    let h = rms_norm(&x, &gains[1], EPS)?;
    let gated = swiglu(&plain(&h, &w[4])?, &plain(&h, &w[5])?)?;
    linear(&gated, &w[6], Epilogue { residual: Some(&x), ..Default::default() })
}

#[derive(Module, Debug)]
struct Block {
    linears: Vec<Linear>,
    norms: Vec<RmsNorm>,
}

impl Block {
    fn new(device: &Device) -> Block {
        let linear = |w: &Host| Linear { weight: Param::from_tensor(on_burn(&w.transposed(), device)), bias: None };
        let norm = |w: &Host| RmsNorm { gamma: Param::from_tensor(on_burn(w, device)), epsilon: EPS.into() };
        Block { linears: matrices().iter().map(linear).collect(), norms: gains().iter().map(norm).collect() }
    }

    fn forward(&self, x: BurnTensor<3>) -> BurnTensor<3> {
        let [q, k, v, o, gate, up, down] = [0, 1, 2, 3, 4, 5, 6].map(|i| &self.linears[i]);
        let h = self.norms[0].forward(x.clone());
        let heads = |w: &Linear| w.forward(h.clone()).reshape([B, T, H, D]).swap_dims(1, 2);
        let options = AttentionModuleOptions { is_causal: true, ..Default::default() };
        let mixed = burn_attention(heads(q), heads(k), heads(v), None, None, options);
        let x = x + o.forward(mixed.swap_dims(1, 2).reshape([B, T, C]));
        let h = self.norms[1].forward(x.clone());
        x + down.forward(silu(gate.forward(h.clone())) * up.forward(h))
    }
}

fn burns(device: &Device, x: &Host, dy: &Host) -> Side {
    let device = device.clone().autodiff();
    let block = Block::new(&device);
    let (x, dy) = (on_burn::<3>(x, &device).require_grad(), on_burn::<3>(dy, &device));
    // y and dx are in our order, weights lie the other way round.
    let mut layouts = vec![(vec![], vec![]); 2];
    layouts.extend(matrices().iter().map(|w| (vec![w.shape[1], w.shape[0]], vec![1, 0])));
    Side::new("burn", move || {
        let y = block.forward(x.clone());
        let gradients = (y.clone() * dy.clone()).sum().backward();
        let mut results = vec![read_burn(y), read_burn(x.grad(&gradients).expect("gradient"))];
        results.extend(block.linears.iter().map(|w| read_burn(w.weight.val().grad(&gradients).expect("gradient"))));
        results.extend(block.norms.iter().map(|w| read_burn(w.gamma.val().grad(&gradients).expect("gradient"))));
        results
    })
    .arranged(layouts)
}

fn burns_training(device: &Device, x: &Host, dy: &Host) -> Side {
    let device = device.clone().autodiff();
    let mut adamw = adamw::Burns::new(Block::new(&device));
    let (x, dy) = (on_burn::<3>(x, &device), on_burn::<3>(dy, &device));
    let layouts = matrices().iter().map(|w| (vec![w.shape[1], w.shape[0]], vec![1, 0])).collect();
    Side::new("burn", move || {
        let gradients = (adamw.module().forward(x.clone()) * dy.clone()).sum().backward();
        adamw.step(gradients);
        adamw.read()
    })
    .arranged(layouts)
}
