//! Cross-entropy of a classification, the next-token loss:
//!
//!   `loss = mean over rows r that count of  (m_r + ln Σ_c exp(x[r, c] − m_r) − x[r, label_r])`,   m_r = max_c x[r, c]
//!
//! A row whose label is [`IGNORED`] does not count; if none counts the loss is 0. A label beyond the classes gives NaN, never a
//! read out of bounds.
//!
//! Gradient: `dx[r, c] = (exp(x[r, c] − m_r − ln l_r) − [c = label_r]) · dy / count`, 0 in ignored rows. The forward pass keeps m and
//! ln l of every row; no probability is stored.

use super::case::{Array, OpCase, operand};
use super::fill;
use super::layout::{rows_in_window, window};
use super::pointwise::quotient_of_count;
use crate::Result;
use crate::autograd::{Backward, no_backward};
use crate::gpu::{DeviceClass, Kernel, Variant};
use crate::tensor::{DType, Tensor};

static ROWS: Kernel = Kernel::new("cross_entropy", include_str!("../../shaders/cross_entropy.wgsl"));
static BACKWARD: Kernel =
    Kernel::new("cross_entropy_backward", include_str!("../../shaders/cross_entropy_backward.wgsl"));
const WG: usize = 64;

/// The label of rows that do not count.
pub const IGNORED: u32 = u32::MAX;

/// logits `[R, V]`, labels `[R]` (u32) → `[1]`.
pub fn cross_entropy(logits: &Tensor, labels: &Tensor) -> Result<Tensor> {
    forward(logits, labels, logits.gpu().class())
}

/// The same in ordinary ops, for labels that are all classes, given one-hot `[R, V]`: its definition.
pub fn cross_entropy_plain(logits: &Tensor, one_hot: &Tensor) -> Result<Tensor> {
    let [rows, _] = logits.dims("cross_entropy logits", "R V")?;
    let loss = super::softmax::log_softmax(logits)?.mul(one_hot)?.sum(&[0, 1])?;
    loss.scale(-1.0 / rows as f32)?.reshape([1])
}

fn forward(logits: &Tensor, labels: &Tensor, class: DeviceClass) -> Result<Tensor> {
    let [rows, _] = logits.dims("cross_entropy logits", "R V")?;
    logits.expect_dtype("cross_entropy logits", DType::F32)?;
    labels.expect_shape("cross_entropy labels", "R", [rows])?;
    labels.expect_dtype("cross_entropy labels", DType::U32)?;
    no_backward("cross_entropy labels", &[labels])?;
    let f32s = |shape: &[usize]| Tensor::empty(logits.gpu(), shape, DType::F32);
    let (losses, counts, statistics) = (f32s(&[rows])?, f32s(&[rows])?, f32s(&[rows, 2])?);
    each_row(logits, labels, [&losses, &counts, &statistics], class)?;
    let count = counts.sum_to([1])?;
    let loss = quotient_of_count(&losses.sum_to([1])?, &count)?;
    let (saved, labels) = (logits.detach(), labels.clone());
    loss.on_tape("cross_entropy", &[logits], || {
        Box::new(CrossEntropy { logits: saved, labels, statistics, count, class })
    })
}

/// The loss of every row, whether it counts, and its maximum and logarithm of the sum.
fn each_row(logits: &Tensor, labels: &Tensor, results: [&Tensor; 3], class: DeviceClass) -> Result<()> {
    let [rows, v] = logits.dims("cross_entropy logits", "R V")?;
    let chunk = rows_in_window(logits, v).min(rows_in_window(logits, 2));
    for first in (0..rows).step_by(chunk) {
        let count = chunk.min(rows - first);
        let (x, x_start) = window(logits, first * v, count * v)?;
        let (label, start) = window(labels, first, count)?;
        let (loss, _) = window(results[0], first, count)?;
        let (counted, _) = window(results[1], first, count)?;
        let (statistic, statistics_start) = window(results[2], 2 * first, 2 * count)?;
        let starts = [x_start, start, statistics_start / 2].map(|n| n as u32);
        let params = [&[count as u32, v as u32][..], &starts, &[f32::NAN.to_bits(), 0, 0]].concat();
        let groups = if is_shared(class) { count } else { count.div_ceil(WG) } as u64;
        let bindings = [x, label, loss, counted, statistic];
        let work = (4 * count * v) as f64;
        variant(v % 4 == 0, class).run(logits.gpu(), &bindings, bytemuck::cast_slice(&params), groups, work)?;
    }
    Ok(())
}

/// Whether a workgroup shares a row: a software driver pays for every barrier.
fn is_shared(class: DeviceClass) -> bool {
    class == DeviceClass::Hardware
}

fn variant(quads: bool, class: DeviceClass) -> Variant {
    let input = if quads { "lib/input_f32.wgsl" } else { "lib/input_f32_any.wgsl" };
    ROWS.plain().import("INPUT", input).flag("SHARED", is_shared(class))
}

fn backward_variant(quads: bool) -> Variant {
    let single = |v: Variant| v.alias("V", "f32").alias("U", "u32").alias("OFFSETS", "0u").set("WIDTH", 1);
    if quads { BACKWARD.plain() } else { single(BACKWARD.plain()) }
}

const CLASSES: [DeviceClass; 2] = [DeviceClass::Software, DeviceClass::Hardware];

/// Every variant.
pub fn variants() -> Vec<Variant> {
    let of = |quads| [variant(quads, CLASSES[0]), variant(quads, CLASSES[1]), backward_variant(quads)];
    [true, false].into_iter().flat_map(of).collect()
}

struct CrossEntropy {
    logits: Tensor,
    labels: Tensor,
    statistics: Tensor,
    count: Tensor,
    class: DeviceClass,
}

impl Backward for CrossEntropy {
    fn backward(self: Box<Self>, dy: &Tensor, _need: &[bool]) -> Result<Vec<Option<Tensor>>> {
        let dx = self.logits.like()?;
        let factor = quotient_of_count(dy, &self.count)?;
        let [rows, v] = dx.dims("cross_entropy logits", "R V")?;
        let width = if v % 4 == 0 { 4 } else { 1 };
        let chunk = rows_in_window(&dx, v).min(rows_in_window(&dx, 2));
        let columns = v / width;
        // A software driver pays for every workgroup.
        let steps = if self.class == DeviceClass::Software { columns.div_ceil(WG).clamp(1, 32) } else { 1 };
        let blocks = columns.div_ceil(WG * steps);
        for first in (0..rows).step_by(chunk) {
            let count = chunk.min(rows - first);
            let (x, x_start) = window(&self.logits, first * v, count * v)?;
            let (label, start) = window(&self.labels, first, count)?;
            let (statistic, statistics_start) = window(&self.statistics, 2 * first, 2 * count)?;
            let (y, y_start) = window(&dx, first * v, count * v)?;
            let sizes =
                [count, columns, v, blocks, steps, x_start / width, y_start / width, start, statistics_start / 2];
            let params = [&sizes.map(|n| n as u32)[..], &[f32::NAN.to_bits(), 0, 0]].concat();
            let bindings = [x, label, statistic, factor.bind(), y];
            let (groups, work) = ((count * blocks) as u64, (4 * count * v) as f64);
            backward_variant(width == 4).run(dx.gpu(), &bindings, bytemuck::cast_slice(&params), groups, work)?;
        }
        Ok(vec![Some(dx)])
    }
}

/// Cases: both kernels, one class, rows that fill no quad, large values, ignored rows and nothing else, no row at all, more
/// rows than a grid is wide, and logits that bindings of 64 KiB cut.
pub fn cases() -> Vec<OpCase> {
    let mut all = Vec::new();
    for class in CLASSES {
        for [rows, v] in [[1, 1], [5, 7], [6, 8], [70, 300], [3, 4003], [2, 4096], [70_000, 3]] {
            all.push(case([rows, v], 4.0, |r| r % 3 == 1, class));
        }
        all.push(case([5, 130], 300.0, |_| false, class));
        all.push(case([4, 8], 4.0, |_| true, class));
        all.push(case([0, 8], 4.0, |_| false, class));
        all.push(bad_label_case(class));
    }
    let one_hot =
        |[r, v]: [usize; 2]| (0..r * v).map(|i| f32::from(u8::from(i % v == label(i / v, v)))).collect::<Vec<_>>();
    let plain =
        move |x: &[Tensor]| cross_entropy_plain(&x[0], &Tensor::from_f32(x[0].gpu(), &one_hot([5, 7]), [5, 7])?);
    let oracle = |a: &[Array]| oracle(&a[0], |_| false);
    all.push(OpCase::new("cross_entropy", "plain definition", vec![operand(&[5, 7])], plain, oracle));
    all
}

fn label(row: usize, v: usize) -> usize {
    row * 7919 % v
}

fn oracle(x: &Array, ignored: impl Fn(usize) -> bool) -> Array {
    let v = x.shape[1];
    let row = |r: usize| {
        let x = &x.data[r * v..][..v];
        let top = x.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        top + x.iter().map(|x| (x - top).exp()).sum::<f64>().ln() - x[label(r, v)]
    };
    let counted: Vec<usize> = (0..x.shape[0]).filter(|&r| !ignored(r)).collect();
    let mean = counted.iter().map(|&r| row(r)).sum::<f64>() / counted.len().max(1) as f64;
    Array::build(&[1], |_| mean)
}

fn case([rows, v]: [usize; 2], size: f64, ignored: fn(usize) -> bool, class: DeviceClass) -> OpCase {
    let run = move |x: &[Tensor]| {
        let labels = (0..rows).map(|r| if ignored(r) { IGNORED } else { label(r, v) as u32 });
        let labels = Tensor::from_u32(x[0].gpu(), &labels.collect::<Vec<_>>(), [rows])?;
        forward(&x[0], &labels, class)
    };
    let label = format!("[{rows}, {v}] to ±{size} {class:?}");
    let logits = operand(&[rows, v]).range(-size, size);
    OpCase::new("cross_entropy", label, vec![logits], run, move |a| oracle(&a[0], ignored))
}

/// A label beyond the classes makes the loss and its own row of the gradient NaN: told by an argmax, which puts NaN last.
fn bad_label_case(class: DeviceClass) -> OpCase {
    let run = move |x: &[Tensor]| {
        let gpu = x[0].gpu();
        let labels = Tensor::from_u32(gpu, &[1, 4, IGNORED, IGNORED - 1], [4])?;
        let logits = x[0].variable();
        let loss = forward(&logits, &labels, class)?;
        let gradients = crate::autograd::gradients(&loss, &fill::full(gpu, [1], 1.0)?)?;
        let rows = gradients.get(&logits).ok_or_else(|| crate::Error::NoBackward("cross_entropy".into()))?;
        let all = super::layout::concat(&[rows, &loss.detach().reshape([1, 1])?.add(&fill::zeros(gpu, [1, 4])?)?], 0)?;
        super::select::argmax(&super::layout::concat(&[&all, &fill::full(gpu, [5, 1], -9.0)?], 1)?)
    };
    // Row 0 has its label at 1, and the largest gradient where the largest logit beside it is; row 2 is all zeros.
    let oracle = |a: &[Array]| {
        let beside = [0, 2, 3].into_iter().max_by(|&i, &j| a[0].at(&[0, i]).total_cmp(&a[0].at(&[0, j])));
        Array::build(&[5], |i| [beside.unwrap_or(0) as f64, 4.0, 0.0, 4.0, 4.0][i])
    };
    OpCase::new(
        "cross_entropy",
        format!("labels beyond the classes {class:?}"),
        vec![operand(&[4, 4]).constant()],
        run,
        oracle,
    )
}
