//! The forward process:   x_t = √ᾱ_t · x_0 + √(1 − ᾱ_t) · ε,   ᾱ_t = Π_{s ≤ t} (1 − β_s)
//!
//! DDPM (Ho et al. 2020, arXiv 2006.11239), equation 4. The table of ᾱ has f32 entries, bit for bit those of PyTorch, whose
//! samplers and losses read it.

use crate::models::config::{BetaSchedule, Config, PredictionType, SchedulerConfig};
use crate::ops::pointwise;
use crate::{Error, Result, Shape, Tensor};

/// Betas and what follows from them, for the training timesteps 0 … T − 1.
#[derive(Debug, Clone)]
pub struct NoiseSchedule {
    betas: Vec<f32>,
    alphas_cumprod: Vec<f32>,
    prediction: PredictionType,
}

impl NoiseSchedule {
    /// The schedule that a scheduler_config.json describes.
    pub fn new(config: &SchedulerConfig) -> Result<NoiseSchedule> {
        config.validate().map_err(|why| Error::Input(format!("scheduler config: {why}")))?;
        let betas = betas(config);
        let alphas_cumprod = cumulative_product(betas.iter().map(|beta| 1.0 - beta));
        match alphas_cumprod.iter().position(|a| !(*a > 0.0 && *a < 1.0)) {
            None => Ok(NoiseSchedule { betas, alphas_cumprod, prediction: config.prediction_type }),
            Some(t) => Err(Error::Input(format!(
                "scheduler config: the betas leave a signal of {} at timestep {t}, not between 0 and 1",
                alphas_cumprod[t]
            ))),
        }
    }

    /// T, the number of training timesteps.
    pub fn timesteps(&self) -> usize {
        self.alphas_cumprod.len()
    }

    /// β_t.
    pub fn betas(&self) -> &[f32] {
        &self.betas
    }

    /// ᾱ_t.
    pub fn alphas_cumprod(&self) -> &[f32] {
        &self.alphas_cumprod
    }

    /// What the UNet predicts.
    pub fn prediction(&self) -> PredictionType {
        self.prediction
    }

    /// α_t and σ_t: how much of the signal and of the noise is in x_t.
    pub fn signal_and_noise(&self, t: usize) -> Result<(f64, f64)> {
        self.alpha_bar(t).map(signal_and_noise)
    }

    /// Signal-to-noise ratio ᾱ_t / (1 − ᾱ_t).
    pub fn snr(&self, t: usize) -> Result<f64> {
        self.alpha_bar(t).map(|a| a / (1.0 - a))
    }

    /// x_t of every sample of a batch at its own timestep: √ᾱ·x_0 + √(1 − ᾱ)·ε.
    pub fn add_noise(&self, x0: &Tensor, noise: &Tensor, timesteps: &[usize]) -> Result<Tensor> {
        let (signal, deviation) = self.per_sample("add_noise", x0, noise, timesteps)?;
        pointwise::blend(x0, noise, &signal, &deviation)
    }

    /// The velocity of every sample, what a v-prediction model learns: √ᾱ·ε − √(1 − ᾱ)·x_0.
    /// Salimans and Ho 2022 (arXiv 2202.00512), appendix D.
    pub fn velocity(&self, x0: &Tensor, noise: &Tensor, timesteps: &[usize]) -> Result<Tensor> {
        let (signal, deviation) = self.per_sample("velocity", x0, noise, timesteps)?;
        pointwise::blend(noise, x0, &signal, &deviation.scale(-1.0)?)
    }

    /// ᾱ_t.
    pub(super) fn alpha_bar(&self, t: usize) -> Result<f64> {
        self.alphas_cumprod.get(t).map(|a| f64::from(*a)).ok_or_else(|| {
            Error::Input(format!("timestep {t} is beyond the last of the noise schedule, {}", self.timesteps() - 1))
        })
    }

    /// α and σ as tensors `[B, 1, …]`.
    fn per_sample(&self, op: &str, x0: &Tensor, noise: &Tensor, timesteps: &[usize]) -> Result<(Tensor, Tensor)> {
        noise.expect_shape(&format!("{op} noise"), "B ..", x0.shape())?;
        let rank = x0.shape().rank();
        if x0.shape().as_slice().first() != Some(&timesteps.len()) {
            return Err(Error::Shape {
                op: op.into(),
                operand: "timesteps".into(),
                want: format!("one for each sample of {}", x0.shape()),
                got: timesteps.len().to_string(),
            });
        }
        let levels = timesteps.iter().map(|&t| self.signal_and_noise(t)).collect::<Result<Vec<_>>>()?;
        let shape = (1..rank).fold(x0.shape(), |shape, axis| shape.with(axis, 1));
        let upload = |values: Vec<f32>| Tensor::from_f32(x0.gpu(), &values, Shape::new(shape.as_slice()));
        let signal = upload(levels.iter().map(|level| level.0 as f32).collect())?;
        let deviation = upload(levels.iter().map(|level| level.1 as f32).collect())?;
        Ok((signal, deviation))
    }
}

/// α = √ᾱ and σ = √(1 − ᾱ).
pub(super) fn signal_and_noise(alpha_bar: f64) -> (f64, f64) {
    (alpha_bar.sqrt(), (1.0 - alpha_bar).sqrt())
}

fn betas(config: &SchedulerConfig) -> Vec<f32> {
    let (first, last, count) = (config.beta_start, config.beta_end, config.num_train_timesteps);
    if let Some(trained) = &config.trained_betas {
        return trained.iter().map(|beta| *beta as f32).collect();
    }
    match config.beta_schedule {
        BetaSchedule::Linear => linspace(first as f32, last as f32, count),
        BetaSchedule::ScaledLinear => {
            linspace(first.sqrt() as f32, last.sqrt() as f32, count).iter().map(|root| root * root).collect()
        }
        BetaSchedule::SquaredCosine => squared_cosine(count),
        BetaSchedule::Sigmoid => {
            let (width, start) = ((last - first) as f32, first as f32);
            linspace(-6.0, 6.0, count).iter().map(|x| width / (1.0 + (-x).exp()) + start).collect()
        }
    }
}

/// `torch.linspace` in f32: from both ends towards the middle, with fused multiply-adds.
fn linspace(first: f32, last: f32, count: usize) -> Vec<f32> {
    if count < 2 {
        return vec![first; count];
    }
    let step = (last - first) / (count - 1) as f32;
    let from_first = |i: usize| step.mul_add(i as f32, first);
    let from_last = |i: usize| (-step).mul_add((count - 1 - i) as f32, last);
    (0..count).map(|i| if i < count / 2 { from_first(i) } else { from_last(i) }).collect()
}

/// β_i = min(1 − f((i+1)/T)/f(i/T), 0.999) with f(s) = cos²((s + 0.008)/1.008 · π/2).
/// Nichol and Dhariwal 2021 (arXiv 2102.09672), equation 17.
fn squared_cosine(count: usize) -> Vec<f32> {
    let level = |i: usize| {
        let s = i as f64 / count as f64;
        ((s + 0.008) / 1.008 * std::f64::consts::FRAC_PI_2).cos().powi(2)
    };
    (0..count).map(|i| (1.0 - level(i + 1) / level(i)).min(0.999) as f32).collect()
}

/// `torch.cumprod` in f32, which accumulates in f64.
fn cumulative_product(factors: impl Iterator<Item = f32>) -> Vec<f32> {
    let mut product = 1.0f64;
    let next = |factor: f32| {
        product *= f64::from(factor);
        product as f32
    };
    factors.map(next).collect()
}
