//! AdamW (Loshchilov and Hutter 2019), in place, as `torch.optim.AdamW`: at step t = 1, 2, … with gradient g · clip
//!
//!   `m ← β₁ m + (1 − β₁) g`,   `v ← β₂ v + (1 − β₂) g²`
//!   `x ← (1 − lr · decay) x − lr / (1 − β₁ᵗ) · m / (√v / √(1 − β₂ᵗ) + ε)`
//!
//! The clip factor lives on the device, so that a step needs no readback ([`global_norm`](super::global_norm::global_norm)). One
//! pass over memory: four loads and three stores an element.
//!
//! And [`ema`]:   `average ← decay · average + (1 − decay) · x`.
//!
//! Both write existing memory: every tensor that shares it (clones, reshapes, slices) sees the new values, so a tape that was
//! recorded with a parameter must be walked before the parameter's step. A tensor may be a part of a larger one: only its own
//! elements are written.

use super::case::{Array, OpCase, operand};
use crate::autograd::no_backward;
use crate::gpu::{DeviceClass, Kernel, Variant};
use crate::tensor::{DType, Tensor};
use crate::{Error, Result};

static ADAMW: Kernel = Kernel::new("adamw", include_str!("../../shaders/adamw.wgsl"));
static EMA: Kernel = Kernel::new("ema", include_str!("../../shaders/ema.wgsl"));
const WG: usize = 64;

/// The optimiser's constants.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamW {
    /// Decay of the mean of gradients, β₁.
    pub beta1: f64,
    /// Decay of the mean of squares, β₂.
    pub beta2: f64,
    /// What is added to the root, ε.
    pub eps: f64,
    /// Decoupled weight decay.
    pub weight_decay: f64,
}

impl Default for AdamW {
    /// The constants of DreamLLM's stages, which are PyTorch's but for the decay.
    fn default() -> Self {
        AdamW { beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.0 }
    }
}

/// A parameter with its moments, all of one shape. A new parameter has moments of zeros.
#[derive(Clone, Copy)]
pub struct Trained<'a> {
    /// The parameter.
    pub parameter: &'a Tensor,
    /// Mean of its gradients, m.
    pub mean: &'a Tensor,
    /// Mean of their squares, v.
    pub square: &'a Tensor,
}

impl AdamW {
    /// One step at learning rate `rate`; `step` is 1 for the first. `clip` `[1]` multiplies the gradient.
    pub fn step(&self, x: Trained, gradient: &Tensor, clip: Option<&Tensor>, rate: f64, step: u32) -> Result<()> {
        self.step_on(x, gradient, clip, [rate, f64::from(step)], gradient.gpu().class())
    }

    fn step_on(
        &self,
        x: Trained,
        gradient: &Tensor,
        clip: Option<&Tensor>,
        [rate, step]: [f64; 2],
        class: DeviceClass,
    ) -> Result<()> {
        no_backward("adamw", &[x.mean, x.square, gradient])?;
        if step < 1.0 {
            return Err(Error::Input("adamw: steps are counted from 1".into()));
        }
        if let Some(clip) = clip {
            clip.expect_shape("adamw clip", "1", [1])?;
            clip.expect_dtype("adamw clip", DType::F32)?;
            no_backward("adamw clip", &[clip])?;
        }
        // In f64, as PyTorch does: 1 - 0.999 in f32 would be off by 5e-5.
        let (first, second) = (1.0 - self.beta1.powf(step), (1.0 - self.beta2.powf(step)).sqrt());
        let scalars = [
            1.0 - rate * self.weight_decay,
            rate / first,
            1.0 / second,
            self.eps,
            self.beta1,
            1.0 - self.beta1,
            self.beta2,
            1.0 - self.beta2,
        ];
        let variant = ADAMW.plain().enable("CLIP", clip.is_some());
        in_place(variant, "adamw", &[x.parameter, x.mean, x.square, gradient], clip, scalars.map(|s| s as f32), class)
    }
}

/// average and x `[..]`: moves the average towards x.
pub fn ema(average: &Tensor, x: &Tensor, decay: f64) -> Result<()> {
    no_backward("ema", &[average])?;
    let scalars = [decay, 1.0 - decay, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0].map(|s| s as f32);
    in_place(EMA.plain(), "ema", &[average, x], None, scalars, x.gpu().class())
}

/// Runs a kernel over the elements of tensors of one shape, in parts that can be bound. Quads only where they fill the
/// tensor: what lies behind it may belong to another one.
fn in_place(
    variant: Variant,
    op: &str,
    tensors: &[&Tensor],
    clip: Option<&Tensor>,
    scalars: [f32; 8],
    class: DeviceClass,
) -> Result<()> {
    let (first, len) = (tensors[0], tensors[0].len());
    for (i, x) in tensors.iter().enumerate() {
        x.expect_shape(&format!("{op} operand {i}"), "like the parameter", first.shape())?;
        x.expect_dtype(&format!("{op} operand {i}"), DType::F32)?;
    }
    let width = if len % 4 == 0 { 4 } else { 1 };
    let variant = single_or_quads(variant, width == 4);
    // A chunk starts at a multiple of 256 bytes, which every device can bind.
    let chunk = (first.gpu().limits().max_binding as usize / 4) & !63;
    for start in (0..len).step_by(chunk) {
        let count = (len - start).min(chunk);
        let values = count / width;
        // A software driver pays for every workgroup, a GPU wants many.
        let steps = if class == DeviceClass::Software { (values / (64 * WG)).clamp(1, 32) } else { 1 };
        let mut bindings = tensors.iter().map(|x| x.bind_rows(start, count, 1)).collect::<Result<Vec<_>>>()?;
        bindings.extend(clip.map(Tensor::bind));
        let params = [&[values as u32, steps as u32, 0, 0], &scalars.map(f32::to_bits)[..]].concat();
        let groups = values.div_ceil(WG * steps) as u64;
        variant.run(first.gpu(), &bindings, bytemuck::cast_slice(&params), groups, 8.0 * count as f64)?;
    }
    Ok(())
}

fn single_or_quads(variant: Variant, quads: bool) -> Variant {
    if quads { variant } else { variant.alias("V", "f32") }
}

/// Every variant.
pub fn variants() -> Vec<Variant> {
    let all = [ADAMW.plain(), ADAMW.plain().enable("CLIP", true), EMA.plain()];
    all.iter().flat_map(|variant| [true, false].map(|quads| single_or_quads(variant.clone(), quads))).collect()
}

/// Cases: several steps with and without decay and clipping, for parameter and both moments; quads and not; parts of larger
/// tensors; tensors that bindings of 64 KiB cut; more workgroups than a grid is wide; no element.
pub fn cases() -> Vec<OpCase> {
    let mut all = Vec::new();
    for class in [DeviceClass::Software, DeviceClass::Hardware] {
        let shapes: [&'static [usize]; 5] = [&[1], &[3, 5], &[8, 33], &[7, 3001], &[0, 4]];
        for (i, shape) in shapes.into_iter().enumerate() {
            all.push(case(shape, i % 3, i % 2 == 0, class));
            all.push(case(shape, (i + 1) % 3, i % 2 == 1, class));
        }
        all.extend([0, 1, 2].map(|result| case(&[70_000, 4], result, true, class)));
    }
    all.push(case(&[4_194_309], 0, true, DeviceClass::Hardware));
    all.push(part_case());
    all.extend([&[3, 5][..], &[64, 300]].map(ema_case));
    all
}

/// Three steps with growing gradients; result 0, 1, 2 is the parameter and its moments.
fn case(shape: &'static [usize], result: usize, clipped: bool, class: DeviceClass) -> OpCase {
    let decay = if clipped { 0.0 } else { 0.1 };
    let adamw = AdamW { weight_decay: decay, ..AdamW::default() };
    let clip = if clipped { 0.3 } else { 1.0 };
    let steps = [0.0, 0.02, 0.01];
    let run = move |x: &[Tensor]| {
        let trained = Trained { parameter: &x[0], mean: &x[1], square: &x[2] };
        let factor = super::fill::full(x[0].gpu(), [1], clip)?;
        for (t, rate) in (1u16..).zip(steps) {
            let gradient = x[3].scale(f32::from(t))?;
            adamw.step_on(trained, &gradient, clipped.then_some(&factor), [rate, f64::from(t)], class)?;
        }
        Ok(x[result].clone())
    };
    let oracle = move |a: &[Array]| {
        let element = |i: usize| {
            let [mut x, mut m, mut v] = [0, 1, 2].map(|j: usize| a[j].data[i]);
            for (t, rate) in (1i32..).zip(steps) {
                let g = a[3].data[i] * f64::from(t) * f64::from(clip);
                m = adamw.beta1 * m + (1.0 - adamw.beta1) * g;
                v = adamw.beta2 * v + (1.0 - adamw.beta2) * g * g;
                let [m, v] = [m / (1.0 - adamw.beta1.powi(t)), v / (1.0 - adamw.beta2.powi(t))];
                x = x * (1.0 - rate * decay) - rate * m / (v.sqrt() + adamw.eps);
            }
            [x, m, v][result]
        };
        Array::build(shape, element)
    };
    let operands = vec![operand(shape), operand(shape), operand(shape).range(0.0, 1.0), operand(shape)];
    let operands = operands.into_iter().map(super::case::Operand::constant).collect();
    OpCase::new("adamw", format!("{shape:?} result {result} clipped {clipped} {class:?}"), operands, run, oracle)
}

/// A row of a table, three elements at a multiple of 256 bytes: the row behind it stays.
fn part_case() -> OpCase {
    let run = |x: &[Tensor]| {
        let row = super::layout::slice(&x[0], 0, 64, 1)?;
        let [mean, square] = [super::fill::zeros(row.gpu(), [1, 3])?, super::fill::zeros(row.gpu(), [1, 3])?];
        let trained = Trained { parameter: &row, mean: &mean, square: &square };
        AdamW::default().step(trained, &x[1], None, 0.5, 1)?;
        Ok(x[0].clone())
    };
    // The first step moves by the rate, against the gradient's sign.
    let oracle = |a: &[Array]| {
        Array::from_coordinates(&[128, 3], |at| {
            a[0].at(at) - if at[0] == 64 { 0.5 * a[1].at(&[0, at[1]]).signum() } else { 0.0 }
        })
    };
    let operands = vec![operand(&[128, 3]).constant(), operand(&[1, 3]).constant()];
    OpCase::new("adamw", "a row of a table", operands, run, oracle)
}

fn ema_case(shape: &'static [usize]) -> OpCase {
    let run = |x: &[Tensor]| {
        ema(&x[0], &x[1], 0.999)?;
        ema(&x[0], &x[1], 0.5)?;
        Ok(x[0].clone())
    };
    let oracle = move |a: &[Array]| {
        let moved = |average: f64, x: f64, decay: f64| decay * average + (1.0 - decay) * x;
        Array::build(shape, |i| moved(moved(a[0].data[i], a[1].data[i], 0.999), a[1].data[i], 0.5))
    };
    let operands = vec![operand(shape).constant(), operand(shape).constant()];
    OpCase::new("adamw", format!("ema {shape:?}"), operands, run, oracle)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::{Gpu, GpuOptions};
    use crate::ops::fill::zeros;

    #[test]
    fn operands_that_do_not_belong_together_are_refused() {
        let gpu = pollster::block_on(Gpu::new(&GpuOptions::from_env().unwrap())).unwrap();
        let [x, m, v, g] = [[2, 3]; 4].map(|shape| zeros(&gpu, shape).unwrap());
        let adamw = AdamW::default();
        let trained = Trained { parameter: &x, mean: &m, square: &v };
        adamw.step(trained, &g, None, 0.1, 1).unwrap();
        assert!(adamw.step(trained, &g, None, 0.1, 0).is_err());
        assert!(adamw.step(trained, &zeros(&gpu, [3, 2]).unwrap(), None, 0.1, 1).is_err());
        assert!(matches!(adamw.step(trained, &g.variable(), None, 0.1, 1), Err(Error::NoBackward(_))));
        let shared = Trained { parameter: &x, mean: &m, square: &m };
        let error = adamw.step(shared, &g, None, 0.1, 1).unwrap_err().to_string();
        assert!(error.contains("bound twice"), "{error}");
    }
}
