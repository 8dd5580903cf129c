//! What an adapter can do at most, for benches to compare with: kernels that only copy or only multiply and add.
//!
//!   copy   `y[i] = x[i]`
//!   fma    `a_j = x[i] + j`, then `8 · turns` times `a_j ← a_j · factor + term`;   `y[i] = Σ_j a_j`

use super::case::{Array, OpCase, operand};
use super::layout::rows_in_window;
use crate::Result;
use crate::autograd::no_backward;
use crate::gpu::{DeviceClass, Kernel, Variant};
use crate::tensor::{DType, Tensor};

static COPY: Kernel = Kernel::new("ceiling_copy", include_str!("../../shaders/ceiling_copy.wgsl"));
static FMA: Kernel = Kernel::new("ceiling_fma", include_str!("../../shaders/ceiling_fma.wgsl"));
const WG: usize = 64;
const UNROLLED: usize = 8;
const FACTOR: f32 = 0.9;
const TERM: f32 = 0.2;

/// Numbers of accumulators to try: which one an adapter likes best depends on its registers.
pub const SUMS: [u32; 3] = [1, 2, 4];

/// A copy of x `[N]`, in one dispatch where x fits a binding.
pub fn copy(x: &Tensor) -> Result<Tensor> {
    x.dims::<1>("ceiling_copy x", "N")?;
    let class = x.gpu().class();
    run(&COPY.plain(), x, |n| {
        let quads = n.div_ceil(4);
        // A software driver pays for every workgroup, a GPU wants many.
        let steps = match class {
            DeviceClass::Software => (quads / (64 * WG)).clamp(1, 32),
            DeviceClass::Hardware => 1,
        };
        Part { params: [quads as u32, steps as u32, 0, 0], groups: quads.div_ceil(WG * steps), work: n as f64 }
    })
}

/// `8 · turns · sums` multiply-adds for every element of x `[N]`, in one dispatch where x fits a binding.
pub fn fma(x: &Tensor, turns: u32, sums: u32) -> Result<Tensor> {
    x.dims::<1>("ceiling_fma x", "N")?;
    run(&FMA.plain().set("SUMS", sums), x, |n| {
        let quads = n.div_ceil(4);
        let params = [quads as u32, turns, FACTOR.to_bits(), TERM.to_bits()];
        Part { params, groups: quads.div_ceil(WG), work: fma_flops(n, turns, sums) }
    })
}

/// Floating-point operations of [`fma`]; a multiply-add is two.
pub fn fma_flops(n: usize, turns: u32, sums: u32) -> f64 {
    2.0 * (n * UNROLLED) as f64 * f64::from(turns * sums)
}

/// How a kernel runs over a number of elements.
struct Part {
    params: [u32; 4],
    groups: usize,
    work: f64,
}

fn run(variant: &Variant, x: &Tensor, part: impl Fn(usize) -> Part) -> Result<Tensor> {
    no_backward(variant.kernel.name, &[x])?;
    x.expect_dtype("ceiling x", DType::F32)?;
    let y = x.like()?;
    let chunk = rows_in_window(x, 64) * 64;
    for start in (0..x.len()).step_by(chunk) {
        let count = chunk.min(x.len() - start);
        let Part { params, groups, work } = part(count);
        let bindings = [x.bind_rows(start, count, 1)?, y.bind_rows(start, count, 1)?];
        variant.run(x.gpu(), &bindings, bytemuck::bytes_of(&params), groups as u64, work)?;
    }
    Ok(y)
}

/// Every variant.
pub fn variants() -> Vec<Variant> {
    [COPY.plain()].into_iter().chain(SUMS.map(|sums| FMA.plain().set("SUMS", sums))).collect()
}

/// Cases: several steps an invocation, ends that fill no workgroup, every number of accumulators.
pub fn cases() -> Vec<OpCase> {
    let x = |n: usize| vec![operand(&[n]).constant()];
    let copies = [1, 64, 1027, 33_333]
        .map(|n| OpCase::new("ceiling", format!("copy {n}"), x(n), |x| copy(&x[0]), |x| x[0].clone()));
    let sums = SUMS.map(|sums| {
        let turns = 3;
        let oracle = move |x: &[Array]| {
            Array::build(&x[0].shape, |i| {
                let end =
                    |start: f64| (0..UNROLLED * turns).fold(start, |a, _| a * f64::from(FACTOR) + f64::from(TERM));
                (0..sums).map(|j| end(x[0].data[i] + f64::from(j))).sum()
            })
        };
        OpCase::new("ceiling", format!("fma {sums}"), x(301), move |x| fma(&x[0], turns as u32, sums), oracle)
    });
    copies.into_iter().chain(sums).collect()
}
