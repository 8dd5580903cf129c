//! Sinusoidal timestep embedding (DDPM, Ho et al. 2020; as `diffusers` computes it):
//! `y[b] = [cos(t_b · f), sin(t_b · f)]` or `[sin, cos]`, with angles in f32. It has no gradient.

use super::case::{Array, OpCase, operand};
use super::layout::{rows_in_window, window};
use crate::Result;
use crate::autograd::no_backward;
use crate::gpu::{Kernel, Variant};
use crate::tensor::{DType, Tensor};

static TIMESTEP: Kernel = Kernel::new("timestep", include_str!("../../shaders/timestep.wgsl"));
const WG: usize = 64;

/// t `[B]`, frequencies `[C/2]` → `[B, C]`, cosines before sines if `cos_first` (`flip_sin_to_cos` in diffusers).
pub fn timestep_embedding(t: &Tensor, frequencies: &Tensor, cos_first: bool) -> Result<Tensor> {
    let [half] = frequencies.dims("timestep_embedding frequencies", "C/2")?;
    timestep_embedding_wide(t, frequencies, 2 * half, cos_first)
}

/// The same with `channels` columns, which is one more than the frequencies fill if it is odd: that column is zero.
pub fn timestep_embedding_wide(t: &Tensor, frequencies: &Tensor, channels: usize, cos_first: bool) -> Result<Tensor> {
    no_backward("timestep_embedding", &[t, frequencies])?;
    let [b] = t.dims("timestep_embedding t", "B")?;
    t.expect_dtype("timestep_embedding t", DType::F32)?;
    frequencies.expect_shape("timestep_embedding frequencies", "C/2", [channels / 2])?;
    frequencies.expect_dtype("timestep_embedding frequencies", DType::F32)?;
    let y = Tensor::empty(t.gpu(), [b, channels], DType::F32)?;
    let chunk = rows_in_window(&y, channels);
    for start in (0..b).step_by(chunk) {
        let count = chunk.min(b - start) * channels;
        let (y_binding, y_skip) = window(&y, start * channels, count)?;
        let params = [count, channels, start, y_skip].map(|n| n as u32);
        let bindings = [t.bind(), frequencies.bind(), y_binding];
        let groups = count.div_ceil(WG) as u64;
        variant(cos_first).run(t.gpu(), &bindings, bytemuck::bytes_of(&params), groups, 30.0 * count as f64)?;
    }
    Ok(y)
}

/// The `channels / 2` frequencies exp(−ln(max_period) · i / (channels/2 − freq_shift)), rounded to f32 where diffusers
/// rounds (max_period is 10,000 there).
pub fn timestep_frequencies(channels: usize, freq_shift: f32, max_period: f32) -> Vec<f32> {
    let half = channels / 2;
    let log = -f64::from(max_period).ln() as f32;
    let frequency = |i| f64::from(log * i as f32 / (half as f32 - freq_shift)).exp() as f32;
    (0..half).map(frequency).collect()
}

fn variant(cos_first: bool) -> Variant {
    TIMESTEP.plain().flag("COS_FIRST", cos_first)
}

/// Every variant.
pub fn variants() -> Vec<Variant> {
    [true, false].map(variant).to_vec()
}

/// Cases: both orders, an odd width, angles up to a thousand.
pub fn cases() -> Vec<OpCase> {
    [(3, 64, true), (40, 320, true), (2, 320, false), (2, 7, false), (1, 5, true), (0, 8, true), (2, 1, true)]
        .map(|(b, c, order)| case(b, c, order))
        .into()
}

fn case(b: usize, c: usize, cos_first: bool) -> OpCase {
    let frequencies = move || timestep_frequencies(c, 0.0, 10_000.0);
    let run = move |x: &[Tensor]| {
        let f = Tensor::from_f32(x[0].gpu(), &frequencies(), [c / 2])?;
        if c.is_multiple_of(2) {
            timestep_embedding(&x[0], &f, cos_first)
        } else {
            timestep_embedding_wide(&x[0], &f, c, cos_first)
        }
    };
    let oracle = move |x: &[Array]| {
        let f = frequencies();
        Array::from_coordinates(&[b, c], |at| {
            let (i, second) = (at[1] % (c / 2).max(1), at[1] >= c / 2);
            // The angle is rounded to f32, as it is in diffusers.
            let angle = f64::from(x[0].data[at[0]] as f32 * f.get(i).copied().unwrap_or(0.0));
            match at[1] {
                last if last >= c / 2 * 2 => 0.0,
                _ if second == cos_first => angle.sin(),
                _ => angle.cos(),
            }
        })
    };
    let t = operand(&[b]).range(0.0, 1000.0).constant();
    let order = if cos_first { "cos first" } else { "sin first" };
    OpCase::new("timestep", format!("[{b}, {c}] {order}"), vec![t], run, oracle).tolerance(1e-6)
}

#[cfg(test)]
mod tests {
    use super::timestep_frequencies;

    #[test]
    fn frequencies_fall_from_one_to_the_period() {
        let f = timestep_frequencies(320, 0.0, 10_000.0);
        assert_eq!((f.len(), f[0]), (160, 1.0));
        assert!(f.windows(2).all(|w| w[1] < w[0]));
        assert!((f[80] - 0.01).abs() < 1e-8, "{}", f[80]);
        let shifted = timestep_frequencies(8, 1.0, 10_000.0);
        assert!((shifted[3] - 1e-4).abs() < 1e-10, "the last one is 1/max_period: {}", shifted[3]);
    }
}
