//! What all samplers have in common, and their names.

use super::combination::combine;
use super::schedule::NoiseSchedule;
use super::{
    Estimate, ddim::Ddim, ddpm::Ddpm, dpm_solver::DpmSolver, euler::Euler, euler_ancestral::EulerAncestral, pndm::Pndm,
    unipc::UniPc,
};
use crate::models::config::{PredictionType, SchedulerConfig, TimestepSpacing};
use crate::{Error, Result, Tensor};

/// The samplers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SamplerKind {
    /// Ancestral sampling of Ho et al.; what the official DreamLLM uses.
    Ddpm,
    /// Song et al.; deterministic with eta 0.
    Ddim,
    /// Pseudo linear multistep of Liu et al.
    Pndm,
    /// DPM-Solver++ 2M of Lu et al.
    DpmSolver,
    /// Euler's method in the notation of Karras et al.
    Euler,
    /// The same with fresh noise in every step.
    EulerAncestral,
    /// Predictor and corrector of Zhao et al.
    UniPc,
}

impl SamplerKind {
    /// Every sampler and its name.
    pub const ALL: [(SamplerKind, &'static str); 7] = [
        (SamplerKind::Ddpm, "ddpm"),
        (SamplerKind::Ddim, "ddim"),
        (SamplerKind::Pndm, "pndm"),
        (SamplerKind::DpmSolver, "dpm++2m"),
        (SamplerKind::Euler, "euler"),
        (SamplerKind::EulerAncestral, "euler-a"),
        (SamplerKind::UniPc, "unipc"),
    ];

    /// A sampler by its name, after which `-karras` asks for Karras sigmas: `dpm++2m-karras`.
    pub fn with_options(text: &str) -> Result<(SamplerKind, SamplerOptions)> {
        let plain = text.trim().to_ascii_lowercase();
        let (name, karras) = plain.strip_suffix("-karras").map_or((plain.as_str(), false), |name| (name, true));
        let (kind, options) = (name.parse()?, SamplerOptions { karras, ..SamplerOptions::default() });
        check(kind, options)?;
        Ok((kind, options))
    }
}

impl std::fmt::Display for SamplerKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = Self::ALL.iter().find(|(kind, _)| kind == self).map_or("", |(_, name)| name);
        f.pad(name)
    }
}

impl std::str::FromStr for SamplerKind {
    type Err = Error;

    fn from_str(text: &str) -> Result<SamplerKind> {
        let wanted = text.trim().to_ascii_lowercase();
        let known = Self::ALL.iter().find(|(_, name)| *name == wanted).map(|(kind, _)| *kind);
        known.ok_or_else(|| {
            let names: Vec<&str> = Self::ALL.iter().map(|(_, name)| *name).collect();
            Error::Input(format!("\"{text}\" is no sampler; there are {}", names.join(", ")))
        })
    }
}

/// Settings of single samplers.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct SamplerOptions {
    /// DDIM: how much noise a step adds, from 0 (none) to 1 (as much as DDPM).
    pub eta: f64,
    /// DPM-Solver++, Euler, UniPC: sigmas spaced as Karras et al. do. A config with `use_karras_sigmas` sets it too.
    pub karras: bool,
    /// How the steps are placed on the training timesteps, if not as the config or else the sampler has it.
    pub spacing: Option<TimestepSpacing>,
}

/// A sampler at work: the timesteps of one run, and what it remembers of the last steps.
pub struct Sampler {
    kind: SamplerKind,
    method: Box<dyn Method>,
    prediction: PredictionType,
    /// The index that continues the run.
    next: usize,
}

/// One sampler's rule.
pub(super) trait Method {
    /// What the UNet is told at each step.
    fn timesteps(&self) -> &[f64];

    /// σ/α at the start of each step and at the end, where the sampler counts in them.
    fn sigmas(&self) -> Option<&[f64]> {
        None
    }

    /// Coefficients (signal, noise) of the latent at step `i`: x = signal·x_0 + noise·ε.
    fn levels(&self, i: usize) -> (f64, f64);

    /// Standard deviation of the latent that the run starts from.
    fn init_noise_sigma(&self) -> f64 {
        1.0
    }

    /// Factor on the latent before the UNet sees it.
    fn input_scale(&self, _i: usize) -> f64 {
        1.0
    }

    /// Whether step `i` draws noise.
    fn needs_noise(&self, _i: usize) -> bool {
        false
    }

    /// Forgets earlier steps.
    fn forget(&mut self) {}

    /// From the latent at step `i` to that at step `i + 1`.
    fn step(&mut self, i: usize, at: Point<'_>) -> Result<Tensor>;
}

/// What a step starts from; all of one shape.
#[derive(Clone, Copy)]
pub(super) struct Point<'a> {
    /// The UNet's output.
    pub prediction: &'a Tensor,
    /// The latent.
    pub x: &'a Tensor,
    /// Fresh standard normal noise.
    pub noise: Option<&'a Tensor>,
}

impl Point<'_> {
    /// Σ of the latent, the prediction and the noise with their coefficients. Noise with coefficient 0 may be absent.
    pub fn combine(&self, estimate: Estimate, noise: f64) -> Result<Tensor> {
        let (known, fresh) = ([(estimate.x, self.x), (estimate.prediction, self.prediction)], self.fresh(noise)?);
        combine(&known.into_iter().chain(fresh).collect::<Vec<_>>())
    }

    /// The noise as a term of a combination, if it has a coefficient.
    pub fn fresh(&self, coefficient: f64) -> Result<Option<(f64, &Tensor)>> {
        match self.noise {
            _ if coefficient == 0.0 => Ok(None),
            Some(noise) => Ok(Some((coefficient, noise))),
            None => Err(Error::Input("this sampler draws noise in every step, but got none".into())),
        }
    }
}

impl Sampler {
    /// A run of `steps` steps over the schedule of a scheduler_config.json. Keys that diffusers' class of this name does
    /// not know are ignored, as there.
    pub fn new(kind: SamplerKind, config: &SchedulerConfig, steps: usize, options: SamplerOptions) -> Result<Sampler> {
        let schedule = NoiseSchedule::new(config)?;
        let mut spaced = config.clone();
        spaced.timestep_spacing = options.spacing.or(config.timestep_spacing);
        let config = &spaced;
        if steps == 0 || steps > schedule.timesteps() {
            return Err(Error::Input(format!("{steps} sampling steps; there may be 1 to {}", schedule.timesteps())));
        }
        check(kind, options)?;
        check_config(kind, config)?;
        let method: Box<dyn Method> = match kind {
            SamplerKind::Ddpm => Box::new(Ddpm::new(&schedule, config, steps)?),
            SamplerKind::Ddim => Box::new(Ddim::new(&schedule, config, steps, options.eta)?),
            SamplerKind::Pndm => Box::new(Pndm::new(&schedule, config, steps)?),
            SamplerKind::DpmSolver => Box::new(DpmSolver::new(&schedule, config, steps, options.karras)?),
            SamplerKind::Euler => Box::new(Euler::new(&schedule, config, steps, options.karras)?),
            SamplerKind::EulerAncestral => Box::new(EulerAncestral::new(&schedule, config, steps)?),
            SamplerKind::UniPc => Box::new(UniPc::new(&schedule, config, steps, options.karras)?),
        };
        Ok(Sampler { kind, method, prediction: schedule.prediction(), next: 0 })
    }

    /// Which sampler this is.
    pub fn kind(&self) -> SamplerKind {
        self.kind
    }

    /// The timesteps to tell the UNet, one per step, falling; they may be fractions. Their number is the number of
    /// UNet calls, which for PNDM is above that of the steps.
    pub fn timesteps(&self) -> &[f64] {
        self.method.timesteps()
    }

    /// Ratio of noise to signal at the start of each step and at the end of the last one, in the notation of Karras et
    /// al.; only of the samplers whose schedule is made of such ratios (all but DDPM, DDIM and PNDM).
    pub fn sigmas(&self) -> Option<&[f64]> {
        self.method.sigmas()
    }

    /// Standard deviation of the noise that a run from the start begins with.
    pub fn init_noise_sigma(&self) -> f64 {
        self.method.init_noise_sigma()
    }

    /// The latent as the UNet wants it at step `i`.
    pub fn scale_input(&self, i: usize, x: &Tensor) -> Result<Tensor> {
        self.check_index(i)?;
        combine(&[(self.method.input_scale(i), x)])
    }

    /// Whether diffusers draws noise in step `i`, even if the step then multiplies it by 0: a generator that is to give
    /// the same picture must draw there too.
    pub fn needs_noise(&self, i: usize) -> bool {
        i < self.timesteps().len() && self.method.needs_noise(i)
    }

    /// A clean latent with the noise of step `i`, from which a run can start there.
    pub fn add_noise(&self, i: usize, x0: &Tensor, noise: &Tensor) -> Result<Tensor> {
        self.check_index(i)?;
        noise.expect_shape("add_noise noise", "B Y X C", x0.shape())?;
        let (signal, deviation) = self.method.levels(i);
        combine(&[(signal, x0), (deviation, noise)])
    }

    /// The clean latent that the UNet's output at step `i` stands for.
    pub fn clean(&self, i: usize, model_output: &Tensor, x: &Tensor) -> Result<Tensor> {
        self.check_index(i)?;
        let (signal, deviation) = self.method.levels(i);
        // The Euler samplers' latents are not of unit variance; the UNet saw them scaled.
        let norm = signal.hypot(deviation);
        let estimate = Estimate::clean(self.prediction, signal / norm, deviation / norm);
        combine(&[(estimate.x / norm, x), (estimate.prediction, model_output)])
    }

    /// From the latent `x` at step `i`, and the UNet's output for it, to the latent at step `i + 1`.
    ///
    /// Steps are taken in order; any other index starts a new run there, without memory of earlier steps.
    pub fn step(&mut self, i: usize, model_output: &Tensor, x: &Tensor, noise: Option<&Tensor>) -> Result<Tensor> {
        self.check_index(i)?;
        model_output.expect_shape("sampler model_output", "B Y X C", x.shape())?;
        if let Some(noise) = noise {
            noise.expect_shape("sampler noise", "B Y X C", x.shape())?;
        }
        if i == 0 || i != self.next {
            self.method.forget();
        }
        let next = self.method.step(i, Point { prediction: model_output, x, noise })?;
        self.next = i + 1;
        Ok(next)
    }

    fn check_index(&self, i: usize) -> Result<()> {
        match self.timesteps().len() {
            count if i < count => Ok(()),
            count => Err(Error::Input(format!("step {i} of a sampler with {count} steps"))),
        }
    }
}

/// An error if the config asks for what this sampler would do in diffusers and does not do here. Keys that a sampler does not know
/// change nothing, as there: only DDIM makes the betas' last signal zero.
fn check_config(kind: SamplerKind, config: &SchedulerConfig) -> Result<()> {
    let thresholds = config.thresholding
        && matches!(kind, SamplerKind::Ddpm | SamplerKind::Ddim | SamplerKind::DpmSolver | SamplerKind::UniPc);
    let rescales = config.rescale_betas_zero_snr && kind == SamplerKind::Ddim;
    for (asked, key) in [(thresholds, "thresholding"), (rescales, "rescale_betas_zero_snr")] {
        if asked {
            return Err(Error::Input(format!("{kind} with {key}, as scheduler_config.json has it, is not supported")));
        }
    }
    Ok(())
}

fn check(kind: SamplerKind, options: SamplerOptions) -> Result<()> {
    if !(0.0..=1.0).contains(&options.eta) {
        return Err(Error::Input(format!("eta is {}, not between 0 and 1", options.eta)));
    }
    if options.eta > 0.0 && kind != SamplerKind::Ddim {
        return Err(Error::Input(format!("eta belongs to the sampler ddim, not to {kind}")));
    }
    if options.karras && !matches!(kind, SamplerKind::DpmSolver | SamplerKind::Euler | SamplerKind::UniPc) {
        return Err(Error::Input(format!("the sampler {kind} has no Karras sigmas; dpm++2m, euler and unipc have")));
    }
    Ok(())
}

impl std::fmt::Debug for Sampler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} with {} steps", self.kind, self.timesteps().len())
    }
}
