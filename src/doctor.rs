//! Examination of an adapter: which kernels the ops pick on it and why, and whether every op case is right on it.

use crate::gpu::{DeviceClass, Gpu, GpuOptions};
use crate::ops::case::OpCase;
use crate::tensor::Tensor;
use crate::{Error, Result};
use std::time::Instant;

/// The kernels that an op picks at one shape.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Choice {
    /// Name of the op.
    pub op: &'static str,
    /// Shapes and options in words.
    pub case: String,
    /// Kernels with their knobs, in the order of their dispatches, each once.
    pub kernels: Vec<String>,
    /// What the choice depends on: found by asking again on a device that differs in one thing.
    pub why: Vec<String>,
}

/// All cases of one op.
#[derive(Debug, Clone, serde::Serialize)]
pub struct OpHealth {
    /// Name of the op.
    pub op: &'static str,
    /// How many cases were run.
    pub cases: usize,
    /// Worst error of a value, relative to its largest magnitude; of the cases that passed.
    pub worst_value: f64,
    /// Worst error of a gradient, likewise; none where the op has no gradient.
    pub worst_gradient: Option<f64>,
    /// Seconds for all of them, oracle included.
    pub seconds: f64,
    /// What failed, one line a case.
    pub failures: Vec<String>,
}

/// Small and large cases whose op's name contains `filter`, op by op; an error if there is none.
pub fn wanted(filter: &str) -> Result<Vec<Vec<OpCase>>> {
    let mut all: Vec<OpCase> = crate::ops::cases().into_iter().chain(crate::ops::large_cases()).collect();
    let mut ops: Vec<&str> = all.iter().map(|case| case.op).collect();
    ops.sort_unstable();
    ops.dedup();
    all.retain(|case| case.op.contains(filter));
    all.sort_by_key(|case| case.op);
    if all.is_empty() {
        return Err(Error::Input(format!("no op is called \"{filter}\"; there are {}", ops.join(", "))));
    }
    let mut by_op: Vec<Vec<OpCase>> = Vec::new();
    for case in all {
        match by_op.last_mut() {
            Some(cases) if cases[0].op == case.op => cases.push(case),
            _ => by_op.push(vec![case]),
        }
    }
    Ok(by_op)
}

/// Runs the cases of one op. `step` is told before every case and may stop with an error.
pub async fn examine(gpu: &Gpu, cases: &[OpCase], mut step: impl FnMut(&OpCase) -> Result<()>) -> Result<OpHealth> {
    let start = Instant::now();
    let op = cases.first().map_or("", |case| case.op);
    let mut health =
        OpHealth { op, cases: cases.len(), worst_value: 0.0, worst_gradient: None, seconds: 0.0, failures: Vec::new() };
    for case in cases {
        step(case)?;
        match case.check_value(gpu).await {
            Ok(error) => health.worst_value = health.worst_value.max(error),
            Err(error) => health.failures.push(error.to_string()),
        }
        match case.check_gradient(gpu).await {
            Ok(None) => {}
            Ok(Some(error)) => health.worst_gradient = Some(health.worst_gradient.unwrap_or(0.0).max(error)),
            Err(error) => health.failures.push(error.to_string()),
        }
    }
    health.seconds = start.elapsed().as_secs_f64();
    Ok(health)
}

/// What the ops of the large cases pick on `gpu`. Nothing is computed for the reasons: devices that only record tell what
/// would be picked if one thing were different.
pub async fn choices(gpu: &Gpu, filter: &str) -> Result<Vec<Choice>> {
    let own = GpuOptions {
        max_binding: Some(gpu.limits().max_binding),
        no_f16: !gpu.has_shader_f16(),
        no_subgroups: !gpu.has_subgroups(),
        ..Default::default()
    };
    let (class, other) = match gpu.class() {
        DeviceClass::Software => (DeviceClass::Software, DeviceClass::Hardware),
        DeviceClass::Hardware => (DeviceClass::Hardware, DeviceClass::Software),
    };
    let mut variations = vec![(class_reason(class), Gpu::recording(other, &own).await?)];
    if gpu.has_subgroups() {
        let without = GpuOptions { no_subgroups: true, ..own.clone() };
        variations.push(("the adapter has subgroups", Gpu::recording(class, &without).await?));
    }
    if gpu.has_shader_f16() {
        let without = GpuOptions { no_f16: true, ..own.clone() };
        variations.push(("the adapter computes in f16", Gpu::recording(class, &without).await?));
    }
    let same = Gpu::recording(class, &own).await?;
    let cases = crate::ops::large_cases().into_iter().filter(|case| case.op.contains(filter));
    cases.map(|case| choice(gpu, &case, &same, &variations)).collect()
}

fn class_reason(class: DeviceClass) -> &'static str {
    match class {
        DeviceClass::Software => "a driver in software: registers are cheap, workgroup memory is not",
        DeviceClass::Hardware => "a GPU: many invocations that share workgroup memory",
    }
}

fn choice(gpu: &Gpu, case: &OpCase, same: &Gpu, variations: &[(&str, Gpu)]) -> Result<Choice> {
    let kernels = kernels(case, gpu, case.tensors(gpu)?)?;
    let empty = |on: &Gpu| -> Result<Vec<Tensor>> {
        case.operands.iter().map(|o| Tensor::empty(on, o.shape.as_slice(), o.dtype)).collect()
    };
    let here = self::kernels(case, same, empty(same)?)?;
    let mut why = Vec::new();
    for (reason, on) in variations {
        if self::kernels(case, on, empty(on)?)? != here {
            why.push(reason.to_string());
        }
    }
    Ok(Choice { op: case.op, case: case.label.clone(), kernels, why })
}

/// What a run records, each kernel once.
fn kernels(case: &OpCase, gpu: &Gpu, operands: Vec<Tensor>) -> Result<Vec<String>> {
    gpu.start_log();
    let done = (case.run)(&operands);
    let log = gpu.take_log();
    drop(done?);
    let mut kernels: Vec<String> = Vec::new();
    // Debug builds fill fresh memory with NaN, which is not of the op's doing.
    let poison = if cfg!(debug_assertions) && case.op != "fill" { "fill" } else { "" };
    for dispatch in log {
        if dispatch.kernel != poison && !kernels.contains(&dispatch.kernel) {
            kernels.push(dispatch.kernel);
        }
    }
    Ok(kernels)
}
