//! `dreamllm bench ops`: how fast every op is on this adapter.

use super::{Output, check_interrupt, device};
use crate::bench::{BenchOptions, Ceilings, OpSpeed, bench_ops, ceilings, wanted};
use crate::{Error, Result};
use clap::{Args, Subcommand};
use std::time::Duration;

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct BenchArguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Time every op at the sizes of real models, forward and backward.
    Ops(OpsArguments),
}

const EXAMPLES: &str = "\
Examples:
  dreamllm bench ops
  dreamllm bench ops --filter conv2d --seconds 2 --json";

#[derive(Args)]
#[command(after_help = EXAMPLES)]
struct OpsArguments {
    /// Only cases whose op or label contains this.
    #[arg(long, default_value = "", hide_default_value = true, value_name = "NAME")]
    filter: String,
    /// Seconds for one measurement, after its warm-up, up to 3600.
    #[arg(long, default_value_t = 0.5, value_name = "SECONDS", value_parser = positive)]
    seconds: f64,
}

fn positive(text: &str) -> Result<f64> {
    match text.parse() {
        Ok(seconds) if seconds > 0.0 && seconds <= 3600.0 => Ok(seconds),
        _ => Err(Error::Input(format!("\"{text}\" is not a time of up to 3600 seconds"))),
    }
}

impl BenchArguments {
    pub async fn run(&self, device: &device::DeviceArguments, output: &Output) -> Result<()> {
        let What::Ops(ops) = &self.what;
        device.refuse_recording("bench ops")?;
        wanted(&ops.filter)?;
        let gpu = device.open(output).await?;
        let budget = Duration::from_secs_f64(ops.seconds);
        let options = BenchOptions { filter: ops.filter.clone(), budget };
        let ceilings = ceilings(&gpu, budget).await?;
        if !output.json {
            heading(ceilings);
        }
        let seen = |speed: &OpSpeed| {
            if !output.json {
                print(speed);
            }
            check_interrupt()
        };
        let speeds = bench_ops(&gpu, &options, ceilings, seen).await?;
        if output.json {
            let report = serde_json::json!({
                "adapter": gpu.report(), "version": env!("CARGO_PKG_VERSION"), "seconds_per_measurement": ops.seconds,
                "ceilings": ceilings, "ops": speeds,
            });
            say!("{report:#}");
        }
        Ok(())
    }
}

fn heading(ceilings: Ceilings) {
    let Ceilings { copy_gb_s, fma_gflops } = ceilings;
    say!("ceilings: {fma_gflops:.1} GFLOP/s multiplying and adding, {copy_gb_s:.1} GB/s copying");
    let (ms, flops, bytes) = ("ms", "GFLOP/s", "GB/s");
    say!("{:<52} {:<8} {ms:>9} {flops:>8} {:>5} {bytes:>7} {:>5}  kernels", "op", "pass", "of", "of");
}

fn print(speed: &OpSpeed) {
    let OpSpeed { op, case, pass, milliseconds, gb_s, .. } = speed;
    let percent = |share: f64| format!("{:.0}%", 100.0 * share);
    let gflops = speed.gflops.map_or(String::new(), |rate| format!("{rate:.2}"));
    let of_fma = speed.of_fma.map_or(String::new(), percent);
    let kernels: Vec<String> = (speed.kernels.iter())
        .map(|(kernel, runs)| {
            let name = kernel.split('[').next().unwrap_or(kernel);
            if *runs == 1 { name.to_string() } else { format!("{runs} {name}") }
        })
        .collect();
    let (of_copy, kernels) = (percent(speed.of_copy), kernels.join(", "));
    let name = format!("{op}: {case}");
    say!("{name:<52} {pass:<8} {milliseconds:>9.3} {gflops:>8} {of_fma:>5} {gb_s:>7.2} {of_copy:>5}  {kernels}");
}
