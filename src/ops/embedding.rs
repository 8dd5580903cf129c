//! Gathering and replacing rows:
//!
//! - `embedding`, `gather_rows`   `y[n] = table[ids[n]]`
//! - `put_rows`                   `y[r] = source[r] = MAX ? x[r] : rows[source[r]]`
//!
//! Gradient: a row's gradient is the sum over the places that read it, `dtable[v] = Σ_{n: ids[n] = v} dy[n]`, in the order
//! of n. The places are first linked to a list for each row, without atomics, so the sum is the same every time. Of
//! `put_rows`, dx is dy where x was kept and 0 elsewhere. An id beyond its table gives a row of NaN, never a read out of
//! bounds, and no gradient.

use super::case::{Array, OpCase, operand};
use super::layout::{rows_in_window, slice, window};
use super::weight_format::weight_format;
use crate::autograd::Backward;
use crate::gpu::{Kernel, Variant};
use crate::tensor::{DType, Tensor};
use crate::{Error, Result};

static EMBEDDING: Kernel = Kernel::new("embedding", include_str!("../../shaders/embedding.wgsl"));
static LINKS: Kernel = Kernel::new("embedding_links", include_str!("../../shaders/embedding_links.wgsl"));
static BACKWARD: Kernel = Kernel::new("embedding_backward", include_str!("../../shaders/embedding_backward.wgsl"));
static PUT_ROWS: Kernel = Kernel::new("put_rows", include_str!("../../shaders/put_rows.wgsl"));
const WG: usize = 64;

/// Rows of a table:  table `[V, C]` in any weight format, ids `[..]` (u32) → `[.., C]`.
pub fn embedding(table: &Tensor, ids: &Tensor) -> Result<Tensor> {
    gather("embedding", table, ids)
}

/// Rows of an activation:  x `[R, C]`, rows `[N]` (u32) → `[N, C]`.
pub fn gather_rows(x: &Tensor, rows: &Tensor) -> Result<Tensor> {
    rows.dims::<1>("gather_rows rows", "N")?;
    x.expect_dtype("gather_rows x", DType::F32)?;
    gather("gather_rows", x, rows)
}

/// `x` with some of its rows replaced:  x `[R, C]`, source `[R]` (u32), rows `[N, C]` → `[R, C]`. Where `source[r]` is
/// `u32::MAX` the row of x stays, otherwise row `source[r]` of `rows` takes its place; a row may be put in any number of
/// times.
pub fn put_rows(x: &Tensor, source: &Tensor, rows: &Tensor) -> Result<Tensor> {
    let [r, c] = x.dims("put_rows x", "R C")?;
    let [n, _] = rows.dims("put_rows rows", "N C")?;
    rows.expect_shape("put_rows rows", "N C", [n, c])?;
    source.expect_shape("put_rows source", "R", [r])?;
    source.expect_dtype("put_rows source", DType::U32)?;
    for (operand, t) in [("put_rows x", x), ("put_rows rows", rows)] {
        t.expect_dtype(operand, DType::F32)?;
    }
    let y = replace(x, source, Some(rows))?;
    y.on_tape("put_rows", &[x, rows], || Box::new(PutRows { source: source.clone(), rows: n }))
}

fn gather(op: &'static str, table: &Tensor, ids: &Tensor) -> Result<Tensor> {
    let [v, c] = table.dims(&format!("{op} table"), "V C")?;
    ids.expect_dtype(&format!("{op} ids"), DType::U32)?;
    table.expect_weight(&format!("{op} table"), c)?;
    let Some(shape) = appended(ids, c) else {
        return Err(Error::Input(format!("{op}: ids {} have no axis left for the rows", ids.shape())));
    };
    let y = Tensor::empty(table.gpu(), shape.as_slice(), DType::F32)?;
    let variant = gather_variant(table.dtype(), c % 4 == 0);
    let quads = c.div_ceil(4);
    let part = rows_in_window(table, c);
    let chunk = rows_in_window(&y, c).min(rows_in_window(ids, 1));
    for start in (0..ids.len()).step_by(chunk) {
        let count = chunk.min(ids.len() - start);
        let (ids_binding, ids_skip) = window(ids, start, count)?;
        let (y_binding, y_skip) = window(&y, start * c, count * c)?;
        // An empty table is one part of no rows, whose ids are all bad.
        for first in (0..v.max(1)).step_by(part) {
            let rows = part.min(v - first);
            let (w_binding, w_skip) = window(table, first * c, rows * c)?;
            let params = [count, c, first, rows, v, w_skip, ids_skip, y_skip].map(|n| n as u32);
            let params = [&params[..], &[f32::NAN.to_bits(), 0, 0, 0]].concat();
            let groups = (count * quads).div_ceil(WG) as u64;
            let bindings = [w_binding, ids_binding, y_binding];
            variant.run(y.gpu(), &bindings, bytemuck::cast_slice(&params), groups, (count * c) as f64)?;
        }
    }
    y.on_tape(op, &[table], || Box::new(Gather { ids: ids.clone(), rows: v }))
}

/// The shape of `ids` with one more axis.
fn appended(ids: &Tensor, c: usize) -> Option<Vec<usize>> {
    let shape = [ids.shape().as_slice(), &[c]].concat();
    (shape.len() <= crate::tensor::Shape::MAX_RANK).then_some(shape)
}

/// Rows of x where `source` is MAX; elsewhere those of `rows`, or zeros without them.
fn replace(x: &Tensor, source: &Tensor, rows: Option<&Tensor>) -> Result<Tensor> {
    let [r, c] = x.dims("put_rows x", "R C")?;
    let y = x.like()?;
    let width = if c % 4 == 0 { 4 } else { 1 };
    let variant = put_variant(width == 4, rows.is_some());
    let chunk = rows_in_window(x, c);
    for start in (0..r).step_by(chunk) {
        let count = chunk.min(r - start);
        let (x_binding, x_skip) = window(x, start * c, count * c)?;
        let (source_binding, source_skip) = window(source, start, count)?;
        let (y_binding, y_skip) = window(&y, start * c, count * c)?;
        let n = rows.map_or(0, |rows| rows.shape().as_slice()[0]);
        let params = [count as u32, (c / width) as u32, n as u32, f32::NAN.to_bits()];
        let skips = [x_skip / width, source_skip, y_skip / width, 0].map(|n| n as u32);
        let bindings: Vec<_> = [Some(x_binding), Some(source_binding), rows.map(Tensor::bind), Some(y_binding)]
            .into_iter()
            .flatten()
            .collect();
        let groups = (count * c / width).div_ceil(WG) as u64;
        let params = [params, skips].concat();
        variant.run(y.gpu(), &bindings, bytemuck::cast_slice(&params), groups, (count * c) as f64)?;
    }
    Ok(y)
}

/// The gradient of a gather: `dw[v] = Σ_{n: ids[n] = v} dy[n]`, dy `[.., C]` → `[rows, C]`.
fn scatter(dy: &Tensor, ids: &Tensor, rows: usize) -> Result<Tensor> {
    let (gpu, [_, c]) = (dy.gpu(), dy.rows("embedding dy")?);
    let dw = Tensor::empty(gpu, [rows, c], DType::F32)?;
    if ids.is_empty() || dw.is_empty() {
        return super::fill::zeros(gpu, dw.shape());
    }
    if DType::F32.bytes(dy.len()) > gpu.limits().max_binding && ids.len() > 1 {
        let (n, half) = (ids.len(), ids.len() / 2);
        let (dy, ids) = (dy.reshape([n, c])?, ids.reshape([n])?);
        let part = |start, count| scatter(&slice(&dy, 0, start, count)?, &slice(&ids, 0, start, count)?, rows);
        return part(0, half)?.add(&part(half, n - half)?);
    }
    // Zero bits mean "no place" in both.
    let first = super::fill::zeros(gpu, [rows])?;
    let next = Tensor::empty(gpu, [ids.len()], DType::U32)?;
    let params = [ids.len() as u32, rows as u32, 0, 0];
    let n = ids.len();
    let bindings = [ids.bind(), first.bind(), next.bind()];
    LINKS.plain().run(gpu, &bindings, bytemuck::bytes_of(&params), n.div_ceil(WG) as u64, (n * n) as f64)?;
    let width = if c % 4 == 0 { 4 } else { 1 };
    let chunk = rows_in_window(&dw, c);
    for start in (0..rows).step_by(chunk) {
        let count = chunk.min(rows - start);
        let (first_binding, first_skip) = window(&first, start, count)?;
        let (dw_binding, dw_skip) = window(&dw, start * c, count * c)?;
        let params = [count, c / width, first_skip, dw_skip / width].map(|n| n as u32);
        let bindings = [dy.bind(), first_binding, next.bind(), dw_binding];
        let groups = (count * c / width).div_ceil(WG) as u64;
        let work = ((count + n) * c) as f64;
        backward_variant(width == 4).run(gpu, &bindings, bytemuck::bytes_of(&params), groups, work)?;
    }
    Ok(dw)
}

fn gather_variant(dtype: DType, quads: bool) -> Variant {
    EMBEDDING.plain().import("WEIGHT", weight_format(dtype, quads))
}

fn put_variant(quads: bool, rows: bool) -> Variant {
    let variant = PUT_ROWS.plain().enable("ROWS", rows);
    if quads { variant } else { variant.alias("V", "f32") }
}

fn backward_variant(quads: bool) -> Variant {
    if quads { BACKWARD.plain() } else { BACKWARD.plain().alias("V", "f32") }
}

/// Every variant.
pub fn variants() -> Vec<Variant> {
    let both = [false, true];
    let tables = [(DType::F32, true), (DType::F32, false), (DType::F16, true), (DType::Q8, true), (DType::Q4, true)];
    let gathers = tables.map(|(d, q)| gather_variant(d, q));
    let puts = both.iter().flat_map(|&q| both.map(|rows| put_variant(q, rows)));
    gathers.into_iter().chain(puts).chain(both.map(backward_variant)).chain([LINKS.plain()]).collect()
}

struct Gather {
    ids: Tensor,
    rows: usize,
}

impl Backward for Gather {
    fn backward(self: Box<Self>, dy: &Tensor, _need: &[bool]) -> Result<Vec<Option<Tensor>>> {
        Ok(vec![Some(scatter(dy, &self.ids, self.rows)?)])
    }
}

struct PutRows {
    source: Tensor,
    rows: usize,
}

impl Backward for PutRows {
    fn backward(self: Box<Self>, dy: &Tensor, need: &[bool]) -> Result<Vec<Option<Tensor>>> {
        let dx = if need[0] { Some(replace(dy, &self.source, None)?) } else { None };
        let drows = if need[1] { Some(scatter(dy, &self.source, self.rows)?) } else { None };
        Ok(vec![dx, drows])
    }
}

/// Cases: every table format, repeated and missing rows, ids of several axes, tables that a small binding limit cuts,
/// bad ids.
pub fn cases() -> Vec<OpCase> {
    let mut all = Vec::new();
    for (v, c, ids, dtype) in [
        (7, 8, &[5][..], DType::F32),
        (5, 3, &[2, 4], DType::F32),
        (3, 4, &[2, 2, 5], DType::F32),
        (9, 12, &[11], DType::F16),
        (70, 33, &[150], DType::F32),
        (200, 16, &[130], DType::F16),
        (4, 4, &[0], DType::F32),
        (9, 32, &[11], DType::Q8),
        (200, 96, &[130], DType::Q8),
        (9, 32, &[2, 5], DType::Q4),
        (400, 96, &[130], DType::Q4),
        (4, 0, &[3], DType::F32),
        (1, 1, &[1], DType::F32),
        (0, 4, &[0], DType::F32),
    ] {
        all.push(embedding_case(v, c, ids, dtype));
    }
    let gather = |x: &[Array]| Array::from_coordinates(&[6, 5], |at| x[0].at(&[x[1].data[at[0]] as usize, at[1]]));
    let operands = vec![operand(&[3, 5]), operand(&[6]).dtype(DType::U32).range(0.0, 3.0)];
    all.push(
        OpCase::new("embedding", "gather_rows [3, 5] by 6", operands, |x| gather_rows(&x[0], &x[1]), gather)
            .tolerance(1e-6),
    );
    let puts = [(5, 4, 3), (9, 7, 2), (3, 8, 1), (64, 36, 20), (0, 4, 2), (3, 4, 0), (3, 0, 2), (1, 1, 1)];
    all.extend(puts.map(|(r, c, n)| put_case(r, c, n)));
    all.push(put_itself());
    all.extend(
        [(5, DType::F32), (5, DType::F16), (5, DType::Q8), (0, DType::F32)].map(|(v, dtype)| bad_ids_case(v, dtype)),
    );
    all
}

/// Rows of a table `[v, c]` by ids of a shape, all of them in the table.
pub fn embedding_case(v: usize, c: usize, ids: &[usize], dtype: DType) -> OpCase {
    let operands = vec![operand(&[v, c]).dtype(dtype), operand(ids).dtype(DType::U32).range(0.0, v as f64)];
    let oracle = move |x: &[Array]| {
        let shape = [x[1].shape.as_slice(), &[c]].concat();
        Array::build(&shape, |i| x[0].at(&[x[1].data[i / c] as usize, i % c]))
    };
    let run = |x: &[Tensor]| embedding(&x[0], &x[1]);
    OpCase::new("embedding", format!("{dtype} [{v}, {c}] by {ids:?}"), operands, run, oracle).tolerance(1e-6)
}

/// Ids beyond the table give rows of NaN, which lose against a column that is lower than any value.
fn bad_ids_case(v: usize, dtype: DType) -> OpCase {
    let (c, n) = (4usize.next_multiple_of(dtype.row_multiple()), 12);
    let run = move |x: &[Tensor]| {
        let low = super::fill::full(x[0].gpu(), [n, 1], -9.0)?;
        super::select::argmax(&super::layout::concat(&[&embedding(&x[0], &x[1])?, &low], 1)?)
    };
    let oracle = move |x: &[Array]| {
        let largest =
            |id: usize| (0..c).fold(0, |best, i| if x[0].at(&[id, i]) > x[0].at(&[id, best]) { i } else { best });
        Array::build(&[n], |i| if x[1].data[i] < v as f64 { largest(x[1].data[i] as usize) } else { c } as f64)
    };
    let operands =
        vec![operand(&[v, c]).dtype(dtype).constant(), operand(&[n]).dtype(DType::U32).range(0.0, 2.0 * v as f64)];
    OpCase::new("embedding", format!("{dtype} with ids beyond the {v} rows of a table"), operands, run, oracle)
}

/// Which of `n` rows replaces row `r`, for about half of them.
fn source(r: usize, n: usize) -> u32 {
    let id = (r * 7 + 3) % (2 * n + 1);
    if id < n { id as u32 } else { u32::MAX }
}

/// A tensor's own rows put into it.
fn put_itself() -> OpCase {
    let (r, c) = (6, 4);
    let sources: Vec<u32> = (0..r).map(|i| source(i, r)).collect();
    let from = sources.clone();
    let run = move |x: &[Tensor]| put_rows(&x[0], &Tensor::from_u32(x[0].gpu(), &sources, [r])?, &x[0]);
    let oracle = move |x: &[Array]| {
        let row = |at: usize| if from[at] == u32::MAX { at } else { from[at] as usize };
        Array::from_coordinates(&[r, c], |at| x[0].at(&[row(at[0]), at[1]]))
    };
    OpCase::new("embedding", "put_rows of a tensor into itself", vec![operand(&[r, c])], run, oracle).tolerance(1e-6)
}

/// x `[r, c]` with about half of its rows replaced by some of `n`.
pub fn put_case(r: usize, c: usize, n: usize) -> OpCase {
    let run = move |x: &[Tensor]| {
        let sources: Vec<u32> = (0..r).map(|r| source(r, n)).collect();
        put_rows(&x[0], &Tensor::from_u32(x[0].gpu(), &sources, [r])?, &x[1])
    };
    let oracle = move |x: &[Array]| {
        Array::from_coordinates(&[r, c], |at| match source(at[0], n) {
            u32::MAX => x[0].at(at),
            id => x[1].at(&[id as usize, at[1]]),
        })
    };
    let operands = vec![operand(&[r, c]), operand(&[n, c])];
    OpCase::new("embedding", format!("put_rows [{r}, {c}] of {n}"), operands, run, oracle).tolerance(1e-6)
}
