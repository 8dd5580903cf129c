//! 2 of 7 · Gradients: a straight line is fitted to points by gradient descent.
//!
//! `cargo run --example 02_gradient`

use dreamllm::autograd::gradients;
use dreamllm::gpu::{Gpu, GpuOptions};
use dreamllm::ops::pointwise::{mix, square};
use dreamllm::{Error, Result, Tensor};

const POINTS: usize = 64;

fn main() -> Result<()> {
    pollster::block_on(run())
}

/// The mean of (slope · x + offset − y)² over all points, as a tensor of one element.
fn loss(slope: &Tensor, offset: &Tensor, x: &Tensor, y: &Tensor) -> Result<Tensor> {
    let error = x.mul(slope)?.add(offset)?.sub(y)?;
    square(&error)?.sum_to([1])?.scale(1.0 / POINTS as f32)
}

async fn run() -> Result<()> {
    let gpu = Gpu::new(&GpuOptions::from_env()?).await?;
    let xs: Vec<f32> = (0..POINTS).map(|i| i as f32 / 32.0 - 1.0).collect();
    let ys: Vec<f32> = xs.iter().map(|x| 2.0 * x - 0.5).collect();
    let (x, y) = (Tensor::from_f32(&gpu, &xs, [POINTS])?, Tensor::from_f32(&gpu, &ys, [POINTS])?);

    // A variable is a tensor that a gradient can be asked of. Whatever is computed from it goes on the tape: every op leaves
    // a node with what its backward pass will read. Ops on ordinary tensors, such as x and y, leave none.
    let slope = Tensor::from_f32(&gpu, &[0.0], [1])?.variable();
    let offset = Tensor::from_f32(&gpu, &[0.0], [1])?.variable();
    let value = loss(&slope, &offset, &x, &y)?;
    assert!(value.is_tracked() && !x.mul(&y)?.is_tracked());

    // The walk back starts with d(loss)/d(loss) = 1 and uses the tape up as it goes.
    let one = Tensor::from_f32(&gpu, &[1.0], [1])?;
    let found = gradients(&value, &one)?;
    let d_slope = found.get(&slope).ok_or(Error::NoBackward("loss".into()))?.read_f32().await?[0];
    assert!(gradients(&value, &one).is_err());

    // Is it right? Move the slope a little both ways and see how far the loss moves.
    let mut moved = [0.0; 2];
    for (slot, h) in moved.iter_mut().zip([-0.01, 0.01]) {
        *slot = loss(&Tensor::from_f32(&gpu, &[h], [1])?, &offset.detach(), &x, &y)?.read_f32().await?[0];
    }
    let difference = (moved[1] - moved[0]) / 0.02;
    println!("d loss / d slope: {d_slope} on the tape, {difference} by differences");
    assert!((d_slope - difference).abs() < 1e-3);

    // Descent: p ← p − rate · dp. `mix(a, b; p, q)` is p·a + q·b in one kernel. The new value is a variable of its own.
    let (mut slope, mut offset) = (slope, offset);
    let step = |p: &Tensor, dp: Option<&Tensor>| -> Result<Tensor> {
        let dp = dp.ok_or(Error::NoBackward("loss".into()))?;
        Ok(mix(&p.detach(), dp, 1.0, -0.3)?.variable())
    };
    for _ in 0..60 {
        let found = gradients(&loss(&slope, &offset, &x, &y)?, &one)?;
        (slope, offset) = (step(&slope, found.get(&slope))?, step(&offset, found.get(&offset))?);
    }
    // Sixty steps were recorded without waiting for one of them; only now the host wants to know.
    let (a, b) = (slope.read_f32().await?[0], offset.read_f32().await?[0]);
    println!("y = {a} x + {b}");
    assert!((a - 2.0).abs() < 1e-3 && (b + 0.5).abs() < 1e-3);
    Ok(())
}
