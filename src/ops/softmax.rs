//! Softmax over the last axis:   `y[c] = exp(x[c] − m) / Σ_c exp(x[c] − m)`,   m = max x;   and its logarithm.
//!
//! Gradient:  softmax      dx = y · (dy − Σ_c y · dy)
//!            log_softmax  dx = dy − exp(y) · Σ_c dy

use super::case::{Array, OpCase, operand};
use super::span::aligned_rows;
use crate::Result;
use crate::autograd::Backward;
use crate::gpu::{DeviceClass, Kernel, Variant};
use crate::tensor::{DType, Tensor};

static SOFTMAX: Kernel = Kernel::new("softmax", include_str!("../../shaders/softmax.wgsl"));
static BACKWARD: Kernel = Kernel::new("softmax_backward", include_str!("../../shaders/softmax_backward.wgsl"));
const WG: usize = 64;

/// Softmax over the last axis:  `y[c] = exp(x[c]) / Σ exp(x)`,  x `[.., C]` → `[.., C]`. A row with NaN or +∞, or of −∞ alone, is NaN.
pub fn softmax(x: &Tensor) -> Result<Tensor> {
    forward(x, false, x.gpu().class())
}

/// Its logarithm:  `y[c] = x[c] − ln Σ exp(x)`,  x `[.., C]` → `[.., C]`.
pub fn log_softmax(x: &Tensor) -> Result<Tensor> {
    forward(x, true, x.gpu().class())
}

fn forward(x: &Tensor, log: bool, class: DeviceClass) -> Result<Tensor> {
    let y = x.like()?;
    run(&SOFTMAX, &[x, &y], log, class)?;
    let saved = y.clone();
    y.on_tape("softmax", &[x], || Box::new(Softmax { y: saved, log, class }))
}

/// Runs a kernel over rows of tensors of the same shape, the last of which it writes.
fn run(kernel: &'static Kernel, tensors: &[&Tensor], log: bool, class: DeviceClass) -> Result<()> {
    let x = tensors[0];
    let [rows, columns] = x.rows("softmax x")?;
    for tensor in tensors {
        tensor.expect_dtype("softmax x", DType::F32)?;
    }
    if x.is_empty() {
        return Ok(());
    }
    let limit = x.gpu().limits().max_binding as usize;
    let whole = DType::F32.bytes(x.len()) <= limit as u64;
    let step = if whole { rows } else { aligned_rows(limit, 4 * columns, [4 * columns, 4 * columns]).max(1) };
    for first in (0..rows).step_by(step) {
        let count = step.min(rows - first);
        let bindings = tensors.iter().map(|t| t.bind_rows(first, count, columns)).collect::<Result<Vec<_>>>()?;
        let params = [count as u32, columns as u32, 0, 0];
        let groups = if is_shared(class) { count } else { count.div_ceil(WG) } as u64;
        let work = (4 * count * columns) as f64;
        variant(kernel, log, class).run(x.gpu(), &bindings, bytemuck::bytes_of(&params), groups, work)?;
    }
    Ok(())
}

/// Whether a workgroup shares a row: a software driver pays for every barrier.
fn is_shared(class: DeviceClass) -> bool {
    class == DeviceClass::Hardware
}

fn variant(kernel: &'static Kernel, log: bool, class: DeviceClass) -> Variant {
    kernel.plain().flag("LOG", log).flag("SHARED", is_shared(class))
}

const CLASSES: [DeviceClass; 2] = [DeviceClass::Software, DeviceClass::Hardware];

/// Every variant.
pub fn variants() -> Vec<Variant> {
    let forms = CLASSES.iter().flat_map(|&class| [false, true].map(|log| (log, class)));
    forms.flat_map(|(log, class)| [variant(&SOFTMAX, log, class), variant(&BACKWARD, log, class)]).collect()
}

struct Softmax {
    y: Tensor,
    log: bool,
    class: DeviceClass,
}

impl Backward for Softmax {
    fn backward(self: Box<Self>, dy: &Tensor, _need: &[bool]) -> Result<Vec<Option<Tensor>>> {
        let dx = dy.like()?;
        run(&BACKWARD, &[&self.y, dy, &dx], self.log, self.class)?;
        Ok(vec![Some(dx)])
    }
}

/// Cases: both kernels, short and long rows, large values, and an x that is cut where bindings span 64 KiB.
pub fn cases() -> Vec<OpCase> {
    let shapes: [&[usize]; 8] = [&[1, 1], &[3, 5], &[2, 70, 3], &[2, 130], &[70, 300], &[0, 4], &[3, 0], &[7]];
    let forms = CLASSES.iter().flat_map(|&class| [false, true].map(|log| (log, class)));
    let all = forms.flat_map(|(log, class)| shapes.map(|shape| case(shape, log, class)));
    // More rows, each with a workgroup of its own, than one dimension of a grid has.
    all.chain([case(&[65_600, 2], true, DeviceClass::Hardware)]).collect()
}

/// Softmax or its logarithm over a shape, by the kernel for a class of devices.
pub fn case(shape: &[usize], log: bool, class: DeviceClass) -> OpCase {
    let columns = shape.last().copied().unwrap_or(1).max(1);
    let oracle = move |x: &[Array]| {
        let mut y = x[0].clone();
        for row in y.data.chunks_mut(columns) {
            let top = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let total: f64 = row.iter().map(|x| (x - top).exp()).sum();
            row.iter_mut().for_each(|x| *x = if log { *x - top - total.ln() } else { (*x - top).exp() / total });
        }
        y
    };
    let range = if shape.len() == 3 { (-300.0, 300.0) } else { (-4.0, 4.0) };
    let x = operand(shape).range(range.0, range.1);
    OpCase::new(
        "softmax",
        format!("{shape:?} log {log} {class:?}"),
        vec![x],
        move |x| forward(&x[0], log, class),
        oracle,
    )
}
