//! Largest elements along the last axis: `argmax` and `top_k`. Equal elements come in the order of their places, and NaN
//! comes after everything else. They have no gradient.

use super::case::{Array, OpCase, operand};
use super::layout::{rows_in_window, window};
use crate::autograd::no_backward;
use crate::gpu::{DeviceClass, Kernel, Variant};
use crate::tensor::{DType, Tensor};
use crate::{Error, Result};

static SELECT: Kernel = Kernel::new("select_top", include_str!("../../shaders/select_top.wgsl"));

/// Place of the largest element:  x `[.., V]` → u32 `[..]`.
pub fn argmax(x: &Tensor) -> Result<Tensor> {
    argmax_on(x, x.gpu().class())
}

/// The `k` largest elements in falling order and their places:  x `[.., V]` → `[.., K]`, u32 `[.., K]`.
pub fn top_k(x: &Tensor, k: usize) -> Result<(Tensor, Tensor)> {
    top_k_on(x, k, x.gpu().class())
}

fn argmax_on(x: &Tensor, class: DeviceClass) -> Result<Tensor> {
    no_backward("argmax", &[x])?;
    let [rows, v] = x.rows("argmax x")?;
    if v == 0 && rows > 0 {
        return Err(Error::Input(format!("argmax: the rows of {} are empty", x.shape())));
    }
    let shape = x.shape();
    let ids = Tensor::empty(x.gpu(), &shape.as_slice()[..shape.rank() - 1], DType::U32)?;
    largest(x, None, &ids, 1, class)?;
    Ok(ids)
}

fn top_k_on(x: &Tensor, k: usize, class: DeviceClass) -> Result<(Tensor, Tensor)> {
    no_backward("top_k", &[x])?;
    let [_, v] = x.rows("top_k x")?;
    if k > v {
        return Err(Error::Input(format!("top_k: the rows of {} have no {k} elements", x.shape())));
    }
    let shape = x.shape().with(x.shape().rank() - 1, k);
    let values = Tensor::empty(x.gpu(), shape, DType::F32)?;
    let ids = Tensor::empty(x.gpu(), shape, DType::U32)?;
    largest(x, Some(&values), &ids, k, class)?;
    Ok((values, ids))
}

fn largest(x: &Tensor, values: Option<&Tensor>, ids: &Tensor, k: usize, class: DeviceClass) -> Result<()> {
    x.expect_dtype("top_k x", DType::F32)?;
    let [rows, v] = x.rows("top_k x")?;
    if k == 0 {
        return Ok(());
    }
    let variant = variant(class, values.is_some());
    let chunk = rows_in_window(x, v);
    for row in (0..rows).step_by(chunk) {
        let count = chunk.min(rows - row);
        let (x_binding, skip) = window(x, row * v, count * v)?;
        let params = [count, v, k, skip, row, 0, 0, 0].map(|n| n as u32);
        let bindings: Vec<_> =
            [Some(x_binding), values.map(Tensor::bind), Some(ids.bind())].into_iter().flatten().collect();
        let work = (count * v * 4) as f64;
        variant.run(x.gpu(), &bindings, bytemuck::bytes_of(&params), count as u64, work)?;
    }
    Ok(())
}

fn variant(class: DeviceClass, values: bool) -> Variant {
    let variant = SELECT.plain().enable("VALUES", values);
    match class {
        DeviceClass::Software => variant.set("WG", 32).flag("TREE", false),
        DeviceClass::Hardware => variant,
    }
}

const CLASSES: [DeviceClass; 2] = [DeviceClass::Software, DeviceClass::Hardware];

/// Every variant.
pub fn variants() -> Vec<Variant> {
    CLASSES.iter().flat_map(|&class| [true, false].map(|values| variant(class, values))).collect()
}

/// Cases for both kinds of device: rows shorter and longer than a workgroup, ties, NaN and infinities, and one row
/// as long as bindings of 64 KiB allow, by which weak devices are emulated.
pub fn cases() -> Vec<OpCase> {
    let mut all = Vec::new();
    for class in CLASSES {
        for (shape, k) in [
            (&[3, 7][..], 7),
            (&[2, 3, 300], 5),
            (&[1, 16004], 50),
            (&[4, 1], 1),
            (&[70, 33], 2),
            (&[0, 4], 2),
            (&[3, 5], 0),
        ] {
            all.push(top_case(class, shape, k, false));
            all.push(top_case(class, shape, k, true));
            all.push(argmax_case(class, shape));
        }
        all.extend(strange_cases(class));
    }
    all
}

/// Places of the `k` largest, by a stable sort. NaN is below everything.
fn ranked(row: &[f64], k: usize) -> Vec<usize> {
    let mut places: Vec<usize> = (0..row.len()).collect();
    let key = |i: usize| if row[i].is_nan() { (1, 0.0) } else { (0, -row[i]) };
    places.sort_by(|&a, &b| key(a).partial_cmp(&key(b)).unwrap_or(std::cmp::Ordering::Equal));
    places.truncate(k);
    places
}

fn top_oracle(x: &Array, k: usize, values: bool) -> Array {
    let (&v, lead) = x.shape.split_last().unwrap_or((&1, &[]));
    let rows = x.data.chunks(v);
    let pick =
        |row: &[f64]| ranked(row, k).into_iter().map(|i| if values { row[i] } else { i as f64 }).collect::<Vec<_>>();
    Array { shape: [lead, &[k]].concat(), data: rows.flat_map(pick).collect() }
}

/// Values or places of the `k` largest.
pub fn top_case(class: DeviceClass, shape: &[usize], k: usize, values: bool) -> OpCase {
    let what = if values { "values" } else { "ids" };
    let run = move |x: &[Tensor]| {
        let (top, ids) = top_k_on(&x[0], k, class)?;
        Ok(if values { top } else { ids })
    };
    let label = format!("top {k} {what} of {shape:?} {class:?}");
    let operands = vec![operand(shape).constant()];
    OpCase::new("select", label, operands, run, move |a| top_oracle(&a[0], k, values)).tolerance(0.0)
}

/// Place of the largest.
pub fn argmax_case(class: DeviceClass, shape: &[usize]) -> OpCase {
    let operands = vec![operand(shape).constant()];
    let oracle = move |a: &[Array]| {
        let mut y = top_oracle(&a[0], 1, false);
        y.shape.pop();
        y
    };
    let run = move |x: &[Tensor]| argmax_on(&x[0], class);
    OpCase::new("select", format!("argmax of {shape:?} {class:?}"), operands, run, oracle).tolerance(0.0)
}

/// Ties, both zeros, infinities and NaN, spread over rows longer than any workgroup.
fn strange_cases(class: DeviceClass) -> Vec<OpCase> {
    let row = |kinds: &'static [f32]| (0..1001).map(move |i| kinds[i * 7 % kinds.len()]);
    let rows: [&[f32]; 5] = [
        &[1.0, 2.0, 2.0],
        &[-0.0, 0.0, -1.0],
        &[f32::NAN, -1e30, f32::NEG_INFINITY],
        &[f32::NAN],
        &[f32::INFINITY, f32::NAN, f32::MAX, f32::INFINITY, -f32::NAN],
    ];
    let data = move || -> Vec<f32> { rows.iter().flat_map(|kinds| row(kinds)).collect() };
    let case = |k: usize| {
        let run = move |x: &[Tensor]| Ok(top_k_on(&Tensor::from_f32(x[0].gpu(), &data(), [5, 1001])?, k, class)?.1);
        let oracle = move |_: &[Array]| {
            let x = Array { shape: vec![5, 1001], data: data().into_iter().map(f64::from).collect() };
            top_oracle(&x, k, false)
        };
        let label = format!("top {k} of ties and NaN {class:?}");
        OpCase::new("select", label, vec![operand(&[1]).constant()], run, oracle).tolerance(0.0)
    };
    [1, 40, 1001].map(case).into()
}
