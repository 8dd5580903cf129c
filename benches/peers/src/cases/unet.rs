//! A block of Stable Diffusion's UNet in small: a residual block with a time embedding, then a transformer layer that attends
//! to the pixels and to a text. Forward and backward, where all gradients are read, and a step of training, where all
//! parameters are.

use crate::adamw;
use crate::engines::{on_burn, read, read_burn};
use crate::{Case, Engines, Host, Side};
use burn::module::{Module, Param};
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{GroupNorm, LayerNorm, LayerNormConfig, Linear, PaddingConfig2d};
use burn::tensor::activation::{gelu, silu as burn_silu};
use burn::tensor::module::attention as burn_attention;
use burn::tensor::{Device, Gradients, Tensor as BurnTensor};
use dreamllm::ops::attention::{Attention, attention};
use dreamllm::ops::conv2d::{Conv, conv2d};
use dreamllm::ops::layout::slice;
use dreamllm::ops::epilogue::{Activation, Epilogue};
use dreamllm::ops::matmul::linear;
use dreamllm::ops::norm::{group_norm, layer_norm};
use dreamllm::ops::pointwise::{geglu, silu};
use dreamllm::{Result, Tensor};

const B: usize = 2;
const SIZE: usize = 16;
const PIXELS: usize = SIZE * SIZE;
const C: usize = 64;
const GROUPS: usize = 16;
const HEADS: usize = 2;
/// Width of the time embedding.
const E: usize = 128;
/// Tokens and width of the text.
const S: usize = 77;
const W: usize = 128;
const EPS: f32 = 1e-5;

pub fn cases() -> Vec<Case> {
    let tokens = (B * PIXELS) as f64;
    let products = (2 * 9 * C * C + 8 * C * C + 12 * C * C) as f64;
    let text = 2.0 * (B * S * 2 * W * C) as f64;
    let scores = 4.0 * tokens * (PIXELS + S) as f64 * C as f64;
    let forward = 2.0 * tokens * products + text + scores;
    vec![
        Case::new("UNet block 2x16x16x64, forward + backward", 3.0 * forward, build),
        Case::new("UNet block 2x16x16x64, step of training", 3.0 * forward, |engines| {
            vec![ours_training(engines), burns_training(&engines.burn)]
        }),
    ]
}

/// Every weight in our order, by name.
struct Weights {
    convs: [Host; 2],
    /// Time; in; q, k, v, out of the pixels; q, k, v, out of the text; gated, back; out.
    linears: Vec<Host>,
    /// Gain and bias: two of the residual block, one of the transformer (group), three of its layer (layer).
    norms: Vec<[Host; 2]>,
    /// Biases of the two convolutions and of every linear layer that has one in diffusers.
    biases: Vec<Host>,
}

const TEXT: [usize; 2] = [C, W];
const SQUARE: [usize; 2] = [C, C];
const LINEARS: [[usize; 2]; 13] =
    [[C, E], SQUARE, SQUARE, SQUARE, SQUARE, SQUARE, SQUARE, TEXT, TEXT, SQUARE, [8 * C, C], [C, 4 * C], SQUARE];
/// Which linear layers have a bias.
const BIASED: [usize; 7] = [0, 1, 5, 9, 10, 11, 12];

impl Weights {
    fn seeded() -> Weights {
        let seeded = |shape: &[usize], seed: usize, scale| Host::seeded(shape, 100 + seed as u64, scale);
        let gain = |seed| Host { data: seeded(&[C], seed, 0.3).data.iter().map(|x| x + 1.0).collect(), shape: vec![C] };
        let biases = [C, C].into_iter().chain(BIASED.map(|i| LINEARS[i][0]));
        Weights {
            convs: [0, 1].map(|i| seeded(&[C, 3, 3, C], i, 0.06)),
            linears: LINEARS.iter().enumerate().map(|(i, shape)| seeded(shape, 10 + i, 0.15)).collect(),
            norms: (0..6).map(|i| [gain(30 + i), seeded(&[C], 40 + i, 0.3)]).collect(),
            biases: biases.enumerate().map(|(i, n)| seeded(&[n], 50 + i, 0.1)).collect(),
        }
    }
}

/// x, time, text and the gradient of y.
fn inputs() -> [Host; 4] {
    let seeded = |shape: &[usize], seed| Host::seeded(shape, seed, 1.0);
    [seeded(&[B, SIZE, SIZE, C], 1), seeded(&[B, E], 2), seeded(&[B, S, W], 3), seeded(&[B, SIZE, SIZE, C], 4)]
}

fn build(engines: &Engines) -> Vec<Side> {
    vec![ours(engines), burns(&engines.burn)]
}

/// The same weights as variables of our engine.
struct Ours {
    convs: Vec<Tensor>,
    linears: Vec<Tensor>,
    norms: Vec<[Tensor; 2]>,
    biases: Vec<Tensor>,
}

fn ours(engines: &Engines) -> Side {
    let block = Ours::new(engines);
    let [x, time, text, dy] = inputs().map(|x| engines.ours(&x));
    let (x, one) = (x.variable(), engines.ours(&Host { data: vec![1.0], shape: vec![1] }));
    let step = move || -> Result<Vec<Tensor>> {
        let y = block.forward(&x, &time, &text)?;
        let loss = y.mul(&dy)?.sum_to([C])?.sum_to([1])?;
        let mut gradients = dreamllm::autograd::gradients(&loss, &one)?;
        let variables = [&x].into_iter().chain(&block.convs).chain(&block.linears);
        let variables = variables.chain(block.norms.iter().flatten()).chain(&block.biases);
        let of = variables.map(|v| gradients.take(v).expect("gradient"));
        Ok([y.detach()].into_iter().chain(of).collect())
    };
    Side::new("ours", move || step().expect("step").iter().map(read).collect())
}

fn ours_training(engines: &Engines) -> Side {
    let block = Ours::new(engines);
    let [x, time, text, dy] = inputs().map(|x| engines.ours(&x));
    let one = engines.ours(&Host { data: vec![1.0], shape: vec![1] });
    let mut adamw = adamw::Ours::new(&block.parameters()).expect("moments");
    let mut step = move || -> Result<Vec<Vec<f32>>> {
        let loss = block.forward(&x, &time, &text)?.mul(&dy)?.sum_to([C])?.sum_to([1])?;
        let mut found = dreamllm::autograd::gradients(&loss, &one)?;
        let all = block.parameters();
        let gradients: Vec<Tensor> = all.iter().map(|v| found.take(v).expect("gradient")).collect();
        adamw.step(&all, &gradients)?;
        Ok(all.into_iter().map(read).collect())
    };
    Side::new("ours", move || step().expect("step"))
}

impl Ours {
    fn new(engines: &Engines) -> Ours {
        let weights = Weights::seeded();
        let variable = |w: &Host| engines.ours(w).variable();
        Ours {
            convs: weights.convs.iter().map(variable).collect(),
            linears: weights.linears.iter().map(variable).collect(),
            norms: weights.norms.iter().map(|pair| [variable(&pair[0]), variable(&pair[1])]).collect(),
            biases: weights.biases.iter().map(variable).collect(),
        }
    }

    /// In the order in which burn visits its module: every weight with its bias.
    fn parameters(&self) -> Vec<&Tensor> {
        let bias = |i: usize| BIASED.iter().position(|&b| b == i).map(|at| &self.biases[2 + at]);
        let convs = self.convs.iter().zip(&self.biases).flat_map(|(w, b)| [w, b]);
        let linears = self.linears.iter().enumerate().flat_map(|(i, w)| [Some(w), bias(i)]).flatten();
        convs.chain(linears).chain(self.norms.iter().flatten()).collect()
    }

    fn linear(&self, i: usize, x: &Tensor, residual: Option<&Tensor>) -> Result<Tensor> {
        let bias = BIASED.iter().position(|&b| b == i).map(|at| &self.biases[2 + at]);
        linear(x, &self.linears[i], Epilogue { bias, activation: None, residual })
    }

    fn conv(&self, i: usize, x: &Tensor, residual: Option<&Tensor>) -> Result<Tensor> {
        let epilogue = Epilogue { bias: Some(&self.biases[i]), activation: None, residual };
        conv2d(x, &self.convs[i], Conv::new(1, 1), epilogue)
    }

    fn group_norm(&self, i: usize, x: &Tensor, activation: Option<Activation>) -> Result<Tensor> {
        group_norm(x, GROUPS, &self.norms[i][0], &self.norms[i][1], EPS, activation)
    }

    fn layer_norm(&self, i: usize, x: &Tensor) -> Result<Tensor> {
        layer_norm(x, &self.norms[i][0], &self.norms[i][1], EPS)
    }

    fn attend(&self, first: usize, x: &Tensor, context: &Tensor, residual: &Tensor) -> Result<Tensor> {
        let heads = |i: usize, x: &Tensor| {
            let tokens = x.shape().as_slice()[1];
            self.linear(first + i, x, None)?.reshape([B, tokens, HEADS, C / HEADS])
        };
        let (q, k, v) = (heads(0, x)?, heads(1, context)?, heads(2, context)?);
        let mixed = attention(&q, &k, &v, Attention::default())?.reshape([B, PIXELS, C])?;
        self.linear(first + 3, &mixed, Some(residual))
    }

    fn forward(&self, x: &Tensor, time: &Tensor, text: &Tensor) -> Result<Tensor> {
        let silus = Some(Activation::Silu);
        let shift = self.linear(0, &silu(time)?, None)?.reshape([B, 1, 1, C])?;
        let h = self.conv(0, &self.group_norm(0, x, silus)?, None)?.add(&shift)?;
        let x = self.conv(1, &self.group_norm(1, &h, silus)?, Some(x))?;

        let h = self.linear(1, &self.group_norm(2, &x, None)?.reshape([B, PIXELS, C])?, None)?;
        let normed = self.layer_norm(3, &h)?;
        let h = self.attend(2, &normed, &normed, &h)?;
        let h = self.attend(6, &self.layer_norm(4, &h)?, text, &h)?;
        let wide = self.linear(10, &self.layer_norm(5, &h)?, None)?;
        let gated = geglu(&slice(&wide, 2, 0, 4 * C)?, &slice(&wide, 2, 4 * C, 4 * C)?)?;
        let h = self.linear(11, &gated, Some(&h))?;
        self.linear(12, &h.reshape([B, SIZE, SIZE, C])?, Some(&x))
    }
}

/// The same in burn's modules, channels first.
#[derive(Module, Debug)]
struct Burns {
    convs: Vec<Conv2d>,
    linears: Vec<Linear>,
    group_norms: Vec<GroupNorm>,
    layer_norms: Vec<LayerNorm>,
}

impl Burns {
    fn new(device: &Device) -> Burns {
        let weights = Weights::seeded();
        let vector = |x: &Host| Param::from_tensor(on_burn::<1>(x, device));
        let conv = |i: usize| {
            let mut conv =
                Conv2dConfig::new([C, C], [3, 3]).with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1)).init(device);
            conv.weight = Param::from_tensor(on_burn(&weights.convs[i].channels_first(), device));
            conv.bias = Some(vector(&weights.biases[i]));
            conv
        };
        let linear = |i: usize| Linear {
            weight: Param::from_tensor(on_burn(&weights.linears[i].transposed(), device)),
            bias: BIASED.iter().position(|&b| b == i).map(|at| vector(&weights.biases[2 + at])),
        };
        let group_norm = |i: usize| GroupNorm {
            gamma: Some(vector(&weights.norms[i][0])),
            beta: Some(vector(&weights.norms[i][1])),
            num_groups: GROUPS,
            num_channels: C,
            epsilon: EPS.into(),
            affine: true,
        };
        let layer_norm = |i: usize| {
            let mut norm = LayerNormConfig::new(C).with_epsilon(EPS.into()).init(device);
            norm.gamma = vector(&weights.norms[i][0]);
            norm.beta = Some(vector(&weights.norms[i][1]));
            norm
        };
        Burns {
            convs: [0, 1].map(conv).into(),
            linears: (0..LINEARS.len()).map(linear).collect(),
            group_norms: [0, 1, 2].map(group_norm).into(),
            layer_norms: [3, 4, 5].map(layer_norm).into(),
        }
    }

    fn attend(&self, first: usize, x: BurnTensor<3>, context: BurnTensor<3>) -> BurnTensor<3> {
        let heads = |i: usize, x: BurnTensor<3>| {
            let [b, tokens, _] = x.dims();
            self.linears[first + i].forward(x).reshape([b, tokens, HEADS, C / HEADS]).swap_dims(1, 2)
        };
        let (q, k, v) = (heads(0, x), heads(1, context.clone()), heads(2, context));
        let mixed = burn_attention(q, k, v, None, None, Default::default());
        self.linears[first + 3].forward(mixed.swap_dims(1, 2).reshape([B, PIXELS, C]))
    }

    fn forward(&self, x: BurnTensor<4>, time: BurnTensor<2>, text: BurnTensor<3>) -> BurnTensor<4> {
        let shift = self.linears[0].forward(burn_silu(time)).reshape([B, C, 1, 1]);
        let h = self.convs[0].forward(burn_silu(self.group_norms[0].forward(x.clone()))) + shift;
        let x = x + self.convs[1].forward(burn_silu(self.group_norms[1].forward(h)));

        let tokens = self.group_norms[2].forward(x.clone()).reshape([B, C, PIXELS]).swap_dims(1, 2);
        let h = self.linears[1].forward(tokens);
        let normed = self.layer_norms[0].forward(h.clone());
        let h = h + self.attend(2, normed.clone(), normed);
        let h = h.clone() + self.attend(6, self.layer_norms[1].forward(h), text);
        let wide = self.linears[10].forward(self.layer_norms[2].forward(h.clone()));
        let [a, gate]: [BurnTensor<3>; 2] = wide.chunk(2, 2).try_into().expect("two halves");
        let h = h + self.linears[11].forward(a * gelu(gate));
        x + self.linears[12].forward(h).swap_dims(1, 2).reshape([B, C, SIZE, SIZE])
    }

    /// Every gradient, in the order of ours.
    fn gradients(&self, of: &Gradients) -> Vec<Vec<f32>> {
        fn gradient<const D: usize>(p: &Param<BurnTensor<D>>, of: &Gradients) -> Vec<f32> {
            read_burn(p.val().grad(of).expect("gradient"))
        }
        let vectors = |p: &Option<Param<BurnTensor<1>>>| p.as_ref().map(|p| gradient(p, of));
        let mut all: Vec<Vec<f32>> = self.convs.iter().map(|conv| gradient(&conv.weight, of)).collect();
        all.extend(self.linears.iter().map(|linear| gradient(&linear.weight, of)));
        all.extend(self.group_norms.iter().flat_map(|norm| [vectors(&norm.gamma), vectors(&norm.beta)]).flatten());
        all.extend(
            self.layer_norms.iter().flat_map(|norm| [Some(gradient(&norm.gamma, of)), vectors(&norm.beta)]).flatten(),
        );
        all.extend(self.convs.iter().filter_map(|conv| vectors(&conv.bias)));
        all.extend(self.linears.iter().filter_map(|linear| vectors(&linear.bias)));
        all
    }
}

fn burns(device: &Device) -> Side {
    let device = device.clone().autodiff();
    let block = Burns::new(&device);
    let [x, time, text, dy] = inputs();
    let x = on_burn::<4>(&x.channels_first(), &device).require_grad();
    let (time, text, dy) = (on_burn(&time, &device), on_burn(&text, &device), on_burn(&dy.channels_first(), &device));
    let image = (vec![B, C, SIZE, SIZE], vec![0, 2, 3, 1]);
    let conv = (vec![C, C, 3, 3], vec![0, 2, 3, 1]);
    let mut layouts = vec![image.clone(), image, conv.clone(), conv];
    layouts.extend(LINEARS.map(|[n, c]| (vec![c, n], vec![1, 0])));
    Side::new("burn", move || {
        let y = block.forward(x.clone(), time.clone(), text.clone());
        let gradients = (y.clone() * dy.clone()).sum().backward();
        let mut results = vec![read_burn(y), read_burn(x.grad(&gradients).expect("gradient"))];
        results.extend(block.gradients(&gradients));
        results
    })
    .arranged(layouts)
}

fn burns_training(device: &Device) -> Side {
    let device = device.clone().autodiff();
    let mut adamw = adamw::Burns::new(Burns::new(&device));
    let [x, time, text, dy] = inputs();
    let (x, dy) = (on_burn::<4>(&x.channels_first(), &device), on_burn::<4>(&dy.channels_first(), &device));
    let (time, text) = (on_burn(&time, &device), on_burn(&text, &device));
    let as_it_is = || (vec![], vec![]);
    let conv = || (vec![C, C, 3, 3], vec![0, 2, 3, 1]);
    let mut layouts = vec![conv(), as_it_is(), conv(), as_it_is()];
    for (i, [n, c]) in LINEARS.into_iter().enumerate() {
        layouts.push((vec![c, n], vec![1, 0]));
        layouts.extend(BIASED.contains(&i).then(as_it_is));
    }
    Side::new("burn", move || {
        let y = adamw.module().forward(x.clone(), time.clone(), text.clone());
        adamw.step((y * dy.clone()).sum().backward());
        adamw.read()
    })
    .arranged(layouts)
}
