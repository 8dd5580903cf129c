//! PNDM (Liu et al. 2022, arXiv 2202.09778): linear multistep methods on the noise, with a transfer that keeps to the
//! diffusion's own manifold, equation 11. From ᾱ to ᾱ':
//!
//! φ(x, ε) = √(ᾱ'/ᾱ) · x − (ᾱ' − ᾱ) / (ᾱ·√(1 − ᾱ') + √(ᾱ·(1 − ᾱ)·ᾱ')) · ε
//!
//! ε combines the last predictions by Adams and Bashforth, (55·e₁ − 59·e₂ + 37·e₃ − 9·e₄)/24, with lower orders while there
//! are fewer (equation 12). The first step is taken twice, the second time with the mean of the predictions at its two
//! ends (F-PNDM's start as Stable Diffusion has it, PLMS). Without `skip_prk_steps` the first three steps are classical
//! Runge-Kutta steps of four predictions each instead (equation 13).
//!
//! As in diffusers, what is combined are the UNet's outputs; those of a v-prediction model become noise afterwards.

use super::combination::combine;
use super::prediction::Estimate;
use super::sampler::{Method, Point};
use super::schedule::{NoiseSchedule, signal_and_noise};
use super::spacing;
use crate::models::config::{PredictionType, SchedulerConfig, TimestepSpacing};
use crate::{Error, Result, Tensor};

/// Adams and Bashforth's weights of the newest prediction and of those before it, by their number.
const ADAMS_BASHFORTH: [&[f64]; 4] = [
    &[1.0],
    &[1.5, -0.5],
    &[23.0 / 12.0, -16.0 / 12.0, 5.0 / 12.0],
    &[55.0 / 24.0, -59.0 / 24.0, 37.0 / 24.0, -9.0 / 24.0],
];
/// Runge and Kutta's weights of the four predictions of a step.
const RUNGE_KUTTA: [f64; 4] = [1.0 / 6.0, 1.0 / 3.0, 1.0 / 3.0, 1.0 / 6.0];
/// Steps that start the method when they are Runge-Kutta steps.
const STARTING_STEPS: usize = 3;

pub(super) struct Pndm {
    timesteps: Vec<f64>,
    stages: Vec<Stage>,
    prediction: PredictionType,
    /// Predictions of the last steps, the newest first.
    history: Vec<Tensor>,
    /// Where the step began that is still under way, or that is going to be repeated.
    start: Option<Tensor>,
    /// Predictions of a Runge-Kutta step under way.
    slopes: Vec<Tensor>,
}

/// What is done with one prediction.
#[derive(Clone, Copy)]
struct Stage {
    rule: Rule,
    /// ᾱ where the UNet is asked.
    at: f64,
    /// ᾱ at the start and at the end of the transfer.
    from: f64,
    to: f64,
}

#[derive(Clone, Copy, PartialEq)]
enum Rule {
    Multistep,
    /// The step before again, with the mean of the predictions at its ends.
    Repeat,
    /// The part of a Runge-Kutta step, 0 to 3.
    RungeKutta(usize),
}

/// A timestep to predict at, and the transfer between two timesteps; those before the first one are negative.
type Plan = (i64, Rule, i64, i64);

impl Pndm {
    pub fn new(schedule: &NoiseSchedule, config: &SchedulerConfig, steps: usize) -> Result<Pndm> {
        let spacing = config.timestep_spacing.unwrap_or(TimestepSpacing::Leading);
        let visited = spacing::rounded(spacing::evenly(config, spacing, steps)?);
        let visited: Vec<i64> = visited.into_iter().map(|t| t as i64).collect();
        let width = (schedule.timesteps() / steps) as i64;
        let plan = if config.skip_prk_steps { plan(&visited, width) } else { plan_runge_kutta(&visited, width)? };
        let end = if config.set_alpha_to_one.unwrap_or(false) { 1.0 } else { schedule.alpha_bar(0)? };
        let alpha_bar = |t: i64| usize::try_from(t).map_or(Ok(end), |t| schedule.alpha_bar(t));
        let stage = |&(t, rule, from, to): &Plan| {
            Ok(Stage { rule, at: alpha_bar(t)?, from: alpha_bar(from)?, to: alpha_bar(to)? })
        };
        let stages = plan.iter().map(stage).collect::<Result<_>>()?;
        let timesteps = plan.iter().map(|(t, ..)| *t as f64).collect();
        Ok(Pndm {
            timesteps,
            stages,
            prediction: schedule.prediction(),
            history: Vec::new(),
            start: None,
            slopes: Vec::new(),
        })
    }

    /// φ(x, ε) with ε from a weighted sum of predictions.
    fn transfer(&self, stage: Stage, x: &Tensor, predictions: &[(f64, &Tensor)]) -> Result<Tensor> {
        let (from, to) = (stage.from, stage.to);
        let (alpha, sigma) = signal_and_noise(from);
        let on_noise = -(to - from) / (from * (1.0 - to).sqrt() + (from * (1.0 - from) * to).sqrt());
        let noise = Estimate::noise(self.prediction, alpha, sigma);
        let sum = Estimate::LATENT * (to / from).sqrt() + noise * on_noise;
        let predictions = predictions.iter().map(|(weight, prediction)| (weight * sum.prediction, *prediction));
        combine(&[(sum.x, x)].into_iter().chain(predictions).collect::<Vec<_>>())
    }

    fn remember(&mut self, prediction: &Tensor) {
        self.history.insert(0, prediction.clone());
        self.history.truncate(ADAMS_BASHFORTH.len());
    }

    fn multistep(&mut self, stage: Stage, at: Point<'_>) -> Result<Tensor> {
        self.remember(at.prediction);
        let weights = ADAMS_BASHFORTH[self.history.len() - 1];
        let predictions: Vec<_> = weights.iter().copied().zip(&self.history).collect();
        let next = self.transfer(stage, at.x, &predictions)?;
        // Only the first step is ever repeated.
        self.start = (self.history.len() == 1).then(|| at.x.clone());
        Ok(next)
    }

    fn repeat(&mut self, stage: Stage, at: Point<'_>) -> Result<Tensor> {
        match (self.start.take(), self.history.first()) {
            (Some(start), Some(first)) => self.transfer(stage, &start, &[(0.5, at.prediction), (0.5, first)]),
            // The run begins here: there is no step to repeat.
            _ => Ok(at.x.clone()),
        }
    }

    fn runge_kutta(&mut self, stage: Stage, part: usize, at: Point<'_>) -> Result<Tensor> {
        if part == 0 {
            self.remember(at.prediction);
            self.start = Some(at.x.clone());
            self.slopes.clear();
        }
        self.slopes.push(at.prediction.clone());
        let Some(start) = self.start.as_ref().filter(|_| self.slopes.len() == part + 1) else {
            return Err(Error::Input("a pndm run cannot begin inside a Runge-Kutta step".into()));
        };
        if part + 1 < RUNGE_KUTTA.len() {
            return self.transfer(stage, start, &[(1.0, at.prediction)]);
        }
        self.transfer(stage, start, &RUNGE_KUTTA.into_iter().zip(&self.slopes).collect::<Vec<_>>())
    }
}

/// PLMS: the second timestep twice.
fn plan(visited: &[i64], width: i64) -> Vec<Plan> {
    let mut plan: Vec<Plan> = visited.iter().map(|&t| (t, Rule::Multistep, t, t - width)).collect();
    if let Some(&second) = visited.get(1) {
        plan.insert(1, (second, Rule::Repeat, second + width, second));
    }
    plan
}

/// Three Runge-Kutta steps, then multisteps.
fn plan_runge_kutta(visited: &[i64], width: i64) -> Result<Vec<Plan>> {
    if visited.len() <= STARTING_STEPS {
        return Err(Error::Input(format!("pndm without skip_prk_steps takes at least {} steps", STARTING_STEPS + 1)));
    }
    let half = width / 2;
    let step = |ends: &[i64]| {
        let (from, to) = (ends[0], ends[1]);
        [(from, from - half), (to + half, to + half), (to + half, to + half - half), (to, to)]
            .into_iter()
            .enumerate()
            .map(move |(part, (t, end))| (t, Rule::RungeKutta(part), from, end))
    };
    let starting = visited[..=STARTING_STEPS].windows(2).flat_map(step);
    let others = visited[STARTING_STEPS..].iter().map(|&t| (t, Rule::Multistep, t, t - width));
    Ok(starting.chain(others).collect())
}

impl Method for Pndm {
    fn timesteps(&self) -> &[f64] {
        &self.timesteps
    }

    fn levels(&self, i: usize) -> (f64, f64) {
        signal_and_noise(self.stages[i].at)
    }

    fn forget(&mut self) {
        self.history.clear();
        self.slopes.clear();
        self.start = None;
    }

    fn step(&mut self, i: usize, at: Point<'_>) -> Result<Tensor> {
        let stage = self.stages[i];
        match stage.rule {
            Rule::Multistep => self.multistep(stage, at),
            Rule::Repeat => self.repeat(stage, at),
            Rule::RungeKutta(part) => self.runge_kutta(stage, part, at),
        }
    }
}
