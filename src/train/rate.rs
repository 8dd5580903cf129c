//! The learning rate by step: a linear warm-up, then constant or half a cosine down to zero (Loshchilov and Hutter 2017),
//! as `transformers` computes it.

/// What follows the warm-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Decay {
    /// The peak.
    Constant,
    /// `peak · (1 + cos(π · p)) / 2`, where p goes from 0 to 1 until the last step.
    #[default]
    Cosine,
}

/// Learning rates of a run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RateSchedule {
    /// The highest rate.
    pub peak: f64,
    /// Steps until it is reached.
    pub warmup: u64,
    /// Steps of the whole run.
    pub total: u64,
    /// What follows the warm-up.
    pub decay: Decay,
}

impl RateSchedule {
    /// The rate of a step, counted from 0. With a warm-up the first step has rate 0: moments are made, nothing moves.
    pub fn rate(&self, step: u64) -> f64 {
        if step < self.warmup {
            return self.peak * step as f64 / self.warmup as f64;
        }
        let left = self.total.saturating_sub(self.warmup).max(1);
        let progress = (step - self.warmup) as f64 / left as f64;
        match self.decay {
            Decay::Constant => self.peak,
            Decay::Cosine => self.peak * (0.5 * (1.0 + (std::f64::consts::PI * progress.min(1.0)).cos())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_rise_and_fall() {
        let rates = |decay, warmup| {
            let schedule = RateSchedule { peak: 2.0, warmup, total: 4 + warmup, decay };
            (0..7).map(|step| (schedule.rate(step) * 1e6).round() / 1e6).collect::<Vec<_>>()
        };
        assert_eq!(rates(Decay::Constant, 2), [0.0, 1.0, 2.0, 2.0, 2.0, 2.0, 2.0]);
        assert_eq!(rates(Decay::Cosine, 2), [0.0, 1.0, 2.0, 1.707107, 1.0, 0.292893, 0.0]);
        assert_eq!(rates(Decay::Cosine, 0), [2.0, 1.707107, 1.0, 0.292893, 0.0, 0.0, 0.0]);
    }
}
