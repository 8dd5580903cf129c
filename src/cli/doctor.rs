//! `dreamllm doctor`: whether this adapter computes what it should.

use super::{Output, check_interrupt, device, progress};
use crate::Result;
use crate::doctor::{Choice, OpHealth, choices, examine, wanted};
use crate::gpu::{Gpu, list_adapters};
use clap::Args;

const EXAMPLES: &str = "\
Examples:
  dreamllm doctor
  dreamllm doctor --filter conv2d --adapter nvidia

The exit code is 1 if an op computed something wrong.";

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct DoctorArguments {
    /// Only ops whose name contains this.
    #[arg(long, default_value = "", hide_default_value = true, value_name = "NAME")]
    filter: String,
}

impl DoctorArguments {
    /// Whether nothing failed.
    pub async fn run(&self, device: &device::DeviceArguments, output: &Output) -> Result<bool> {
        device.refuse_recording("doctor")?;
        let by_op = wanted(&self.filter)?;
        let gpu = device.open(&Output { quiet: true, ..*output }).await?;
        let adapters = list_adapters().await;
        if !output.json {
            print_adapter(&gpu);
            let others = adapters.iter().filter(|a| a.name != gpu.report().name);
            others.for_each(|a| say!("{:<18} {} ({}, {})", "another adapter", a.name, a.backend, a.driver));
        }
        let choices = choices(&gpu, &self.filter).await?;
        if !output.json {
            print_choices(&choices);
            say!("\n{:<12} {:>6} {:>9} {:>9} {:>8}  verdict", "op", "cases", "value", "gradient", "seconds");
        }
        let bar = progress::cases(output, by_op.iter().map(Vec::len).sum());
        let mut ops = Vec::new();
        for cases in &by_op {
            bar.set_message(cases[0].op);
            let step = |_: &_| {
                bar.inc(1);
                check_interrupt()
            };
            let health = examine(&gpu, cases, step).await?;
            if !output.json {
                bar.suspend(|| print_health(&health));
            }
            ops.push(health);
        }
        bar.finish_and_clear();
        let healthy = ops.iter().all(|op| op.failures.is_empty());
        if output.json {
            say!("{:#}", json(&gpu, &serde_json::json!(adapters), &choices, &ops, healthy));
        } else {
            let cases: usize = ops.iter().map(|op| op.cases).sum();
            let failed: usize = ops.iter().map(|op| op.failures.len()).sum();
            say!("{cases} cases of {} ops, {failed} failures", ops.len());
        }
        Ok(healthy)
    }
}

fn print_adapter(gpu: &Gpu) {
    let (report, limits) = (gpu.report(), gpu.limits());
    let mib = |bytes: u64| format!("{} MiB", bytes >> 20);
    let yes = |has: bool| if has { "yes" } else { "no" };
    let line = |name: &str, value: String| say!("{name:<18} {value}");
    line("adapter", report.name.clone());
    line("driver", report.driver.clone());
    line("backend", report.backend.clone());
    line("class", format!("{:?}", report.class).to_lowercase());
    let (subgroups, f16, timestamps) = (gpu.has_subgroups(), gpu.has_shader_f16(), report.timestamps);
    line("features", format!("subgroups {}, f16 {}, timestamps {}", yes(subgroups), yes(f16), yes(timestamps)));
    line(
        "binding",
        format!("{} at most, {} of them in a kernel", mib(limits.max_binding), limits.max_storage_bindings),
    );
    line("buffer", format!("{} at most", mib(limits.max_buffer)));
    let (invocations, memory) = (limits.max_invocations, limits.max_workgroup_memory >> 10);
    line("workgroup", format!("{invocations} invocations, {memory} KiB of memory, {} along a grid", limits.max_groups));
}

fn print_choices(choices: &[Choice]) {
    say!("\nkernels at the sizes of real models, and what they were chosen by beside the shape");
    for choice in choices {
        say!("{}: {}", choice.op, choice.case);
        choice.kernels.iter().for_each(|kernel| say!("    {kernel}"));
        let why = if choice.why.is_empty() { "the same everywhere".to_string() } else { choice.why.join("; ") };
        say!("    because: {why}");
    }
}

fn print_health(health: &OpHealth) {
    let OpHealth { op, cases, worst_value, seconds, failures, .. } = health;
    let gradient = health.worst_gradient.map_or("none".into(), |worst| format!("{worst:.1e}"));
    let verdict = if failures.is_empty() { "pass" } else { "FAIL" };
    say!("{op:<12} {cases:>6} {worst_value:>9.1e} {gradient:>9} {seconds:>8.1}  {verdict}");
    failures.iter().for_each(|failure| say!("    {failure}"));
}

fn json(
    gpu: &Gpu,
    adapters: &serde_json::Value,
    choices: &[Choice],
    ops: &[OpHealth],
    healthy: bool,
) -> serde_json::Value {
    let limits = gpu.limits();
    serde_json::json!({
        "version": env!("CARGO_PKG_VERSION"),
        "adapter": gpu.report(),
        "features": {
            "subgroups": gpu.has_subgroups(), "f16": gpu.has_shader_f16(), "timestamps": gpu.report().timestamps,
        },
        "limits": {
            "max_binding": limits.max_binding, "max_buffer": limits.max_buffer,
            "max_storage_bindings": limits.max_storage_bindings, "max_groups": limits.max_groups,
            "max_invocations": limits.max_invocations, "max_workgroup_memory": limits.max_workgroup_memory,
        },
        "adapters": adapters,
        "choices": choices,
        "ops": ops,
        "passed": healthy,
    })
}
