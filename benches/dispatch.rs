//! Host time per dispatch, without a GPU: `cargo bench --bench dispatch`. Figures are in `benches/NOTES.md`.

#[path = "../tests/common/blocks.rs"]
mod blocks;
#[path = "../tests/common/host_time.rs"]
mod host_time;

fn main() -> dreamllm::Result<()> {
    for line in host_time::measure(100)? {
        println!("{:6.2} µs  {} ({} dispatches)", line.microseconds, line.work, line.dispatches);
    }
    Ok(())
}
