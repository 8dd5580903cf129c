//! Key and value caches:   cache[b, at + t] = rows[b, t],   in place.
//!
//! No gradient: what is appended has to be detached, and a training pass needs no cache.

use super::case::{Array, OpCase, operand};
use crate::autograd::no_backward;
use crate::gpu::{Kernel, Variant};
use crate::tensor::{DType, Tensor};
use crate::{Error, Result};

static CACHE_APPEND: Kernel = Kernel::new("cache_append", include_str!("../../shaders/cache_append.wgsl"));
const WG: usize = 64;

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    count: u32,
    rows_batch: u32,
    cache_batch: u32,
    at: u32,
    first: u32,
    pad: [u32; 3],
}

/// Writes rows `[B, T, G, D]` into cache `[B, S, G, D]` at positions `at .. at + T`. Every tensor that shares the
/// cache's memory sees it.
pub fn append_rows(cache: &Tensor, rows: &Tensor, at: usize) -> Result<()> {
    no_backward("append_rows", &[cache, rows])?;
    let [batches, room, groups, width] = cache.dims("append_rows cache", "B S G D")?;
    let [_, count, _, _] = rows.dims("append_rows rows", "B T G D")?;
    rows.expect_shape("append_rows rows", "B T G D", [batches, count, groups, width])?;
    cache.expect_dtype("append_rows cache", DType::F32)?;
    rows.expect_dtype("append_rows rows", DType::F32)?;
    if at.saturating_add(count) > room {
        return Err(Error::Input(format!("append_rows: {count} rows at {at} are over the cache's {room}")));
    }
    if rows.is_empty() {
        return Ok(());
    }
    let row = groups * width;
    let vector = if row.is_multiple_of(4) { 4 } else { 1 };
    let params = |batches: usize, at: usize, first: usize| Params {
        count: (batches * count * row / vector) as u32,
        rows_batch: (count * row / vector) as u32,
        cache_batch: (room * row / vector) as u32,
        at: (at * row / vector) as u32,
        first: (first * row / vector) as u32,
        pad: [0; 3],
    };
    let run = |bindings: &[_], params: Params| {
        let groups = (params.count as usize).div_ceil(WG) as u64;
        variant(vector == 4).run(cache.gpu(), bindings, bytemuck::bytes_of(&params), groups, f64::from(params.count))
    };
    if DType::F32.bytes(cache.len()) <= cache.gpu().limits().max_binding {
        return run(&[rows.bind(), cache.bind()], params(batches, at, 0));
    }
    for b in 0..batches {
        // The rows of one batch; where they do not start on the device's alignment, the whole batch.
        let (target, at) = match cache.bind_rows(b * room + at, count, row) {
            Ok(target) => (target, 0),
            Err(_) => (cache.bind_rows(b * room, room, row)?, at),
        };
        run(&[rows.bind(), target], params(1, at, b * count))?;
    }
    Ok(())
}

fn variant(vector: bool) -> Variant {
    if vector { CACHE_APPEND.plain() } else { CACHE_APPEND.plain().alias("V", "f32") }
}

/// Every variant.
pub fn variants() -> Vec<Variant> {
    [true, false].map(variant).to_vec()
}

/// Cases: whole quads and not, start, middle and end; the last cache is cut where a binding spans no more than 64 KiB.
pub fn cases() -> Vec<OpCase> {
    [([2, 5, 2, 4], 2, 1), ([3, 4, 1, 3], 4, 0), ([1, 7, 3, 2], 1, 6), ([2, 3, 1, 4], 0, 3), ([3, 110, 2, 32], 5, 7)]
        .map(case)
        .into()
}

fn case((shape, count, at): ([usize; 4], usize, usize)) -> OpCase {
    let [b, _, g, d] = shape;
    let operands = vec![operand(&shape).constant(), operand(&[b, count, g, d]).constant()];
    let run = move |x: &[Tensor]| append_rows(&x[0], &x[1], at).map(|()| x[0].clone());
    let oracle = move |x: &[Array]| {
        Array::from_coordinates(&shape, |c| {
            let new = c[1] >= at && c[1] < at + count;
            if new { x[1].at(&[c[0], c[1] - at, c[2], c[3]]) } else { x[0].at(c) }
        })
    };
    OpCase::new("cache", format!("{count} rows at {at} of {shape:?}"), operands, run, oracle)
}
