//! Random tensors: Philox4x32-10 on the device, the same numbers as [`crate::random::philox`] on the host. Element i of
//! a stream depends on seed, stream and i alone, so it is the same on every device and in tensors of any shape. Uniform
//! numbers agree bit for bit, normal ones to a few units in the last place.

use super::case::{Array, OpCase, operand};
use super::layout::rows_in_window;
use crate::Result;
use crate::gpu::{Gpu, Kernel, Variant};
use crate::random::philox;
use crate::tensor::{DType, Shape, Tensor};

static RANDOM: Kernel = Kernel::new("random", include_str!("../../shaders/random.wgsl"));
const WG: usize = 64;

/// Uniform numbers in [0, 1).
pub fn uniform(gpu: &Gpu, shape: impl Into<Shape>, seed: u64, stream: u32) -> Result<Tensor> {
    draw(gpu, shape.into(), seed, stream, false)
}

/// Normal numbers of mean 0 and variance 1.
pub fn normal(gpu: &Gpu, shape: impl Into<Shape>, seed: u64, stream: u32) -> Result<Tensor> {
    draw(gpu, shape.into(), seed, stream, true)
}

fn draw(gpu: &Gpu, shape: Shape, seed: u64, stream: u32, normal: bool) -> Result<Tensor> {
    let y = Tensor::empty(gpu, shape, DType::F32)?;
    // A chunk starts at a multiple of 64 elements, which is 256 bytes and a whole number of blocks.
    let chunk = rows_in_window(&y, 64) * 64;
    for start in (0..y.len()).step_by(chunk) {
        let count = chunk.min(y.len() - start);
        let (blocks, first) = (count.div_ceil(4), start as u64 / 4);
        let halves = |x: u64| [x as u32, (x >> 32) as u32];
        let params = [&[blocks as u32][..], &halves(first), &[stream], &halves(seed), &[0, 0]].concat();
        let bindings = [y.bind_rows(start, count, 1)?];
        let groups = blocks.div_ceil(WG) as u64;
        variant(normal).run(gpu, &bindings, bytemuck::cast_slice(&params), groups, 60.0 * count as f64)?;
    }
    Ok(y)
}

fn variant(normal: bool) -> Variant {
    RANDOM.plain().flag("NORMAL", normal)
}

/// Every variant.
pub fn variants() -> Vec<Variant> {
    [true, false].map(variant).to_vec()
}

/// Cases: against the host, uniform numbers exactly and normal ones relative to each number's own size.
pub fn cases() -> Vec<OpCase> {
    let mut all = Vec::new();
    for (n, seed, stream) in
        [(0, 5, 0), (1, 0, 0), (7, 42, 3), (4099, 0x0123_4567_89ab_cdef, u32::MAX), (20_000, u64::MAX, 1)]
    {
        let normals = philox::normals(seed, stream, n);
        let same = normals.clone();
        let ratio = move |gpu: &Gpu| {
            super::pointwise::div(&normal(gpu, [n], seed, stream)?, &Tensor::from_f32(gpu, &same, [n])?)
        };
        let of = |name: &str| format!("{name} {n} of seed {seed:x} stream {stream}");
        let uniforms = philox::uniforms(seed, stream, n);
        all.push(case(of("uniform"), uniforms, move |gpu| uniform(gpu, [n], seed, stream)).tolerance(0.0));
        all.push(case(of("normal"), normals, move |gpu| normal(gpu, [n], seed, stream)).tolerance(1e-6));
        all.push(case(of("ratio of normal"), vec![1.0; n], ratio).tolerance(1e-6));
    }
    all
}

fn case(label: String, want: Vec<f32>, run: impl Fn(&Gpu) -> Result<Tensor> + Send + Sync + 'static) -> OpCase {
    let oracle = move |_: &[Array]| Array::build(&[want.len()], |i| f64::from(want[i]));
    OpCase::new("random", label, vec![operand(&[1]).constant()], move |x| run(x[0].gpu()), oracle)
}
