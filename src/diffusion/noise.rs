//! Where a sampler's noise comes from.

use crate::gpu::Gpu;
use crate::ops::layout::{concat, permute};
use crate::ops::random::normal;
use crate::random::TorchRng;
use crate::tensor::Tensor;
use crate::{Error, Result};

/// A stream of standard normal tensors `[B, Y, X, C]`.
pub trait Noise {
    /// The next one.
    fn draw(&mut self, gpu: &Gpu, shape: [usize; 4]) -> Result<Tensor>;
}

/// Which generator a seed belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum NoiseSource {
    /// Philox on the device: the same on every adapter.
    #[default]
    Philox,
    /// PyTorch's CPU generator: the noise the official pipeline draws from that seed.
    Torch,
}

impl std::str::FromStr for NoiseSource {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        match name {
            "philox" => Ok(NoiseSource::Philox),
            "torch" => Ok(NoiseSource::Torch),
            _ => Err(Error::Input(format!("there is no generator \"{name}\"; there are philox and torch"))),
        }
    }
}

impl NoiseSource {
    /// A stream from a seed.
    pub fn seeded(self, seed: u64) -> Box<dyn Noise> {
        match self {
            NoiseSource::Philox => Box::new(PhiloxNoise { seed, stream: 0 }),
            NoiseSource::Torch => Box::new(TorchNoise(TorchRng::new(seed))),
        }
    }
}

/// Noise of a batch: row `i` is what a single picture of the seed `seed + i` would draw.
pub struct BatchNoise(Vec<Box<dyn Noise>>);

impl BatchNoise {
    /// For `rows` pictures.
    pub fn new(source: NoiseSource, seed: u64, rows: usize) -> BatchNoise {
        BatchNoise((0..rows as u64).map(|row| source.seeded(seed.wrapping_add(row))).collect())
    }
}

impl Noise for BatchNoise {
    fn draw(&mut self, gpu: &Gpu, [b, y, x, c]: [usize; 4]) -> Result<Tensor> {
        if b != self.0.len() {
            return Err(Error::Input(format!("noise for {b} pictures from {} seeds", self.0.len())));
        }
        let rows = self.0.iter_mut().map(|row| row.draw(gpu, [1, y, x, c])).collect::<Result<Vec<_>>>()?;
        concat(&rows.iter().collect::<Vec<_>>(), 0)
    }
}

struct PhiloxNoise {
    seed: u64,
    stream: u32,
}

impl Noise for PhiloxNoise {
    fn draw(&mut self, gpu: &Gpu, shape: [usize; 4]) -> Result<Tensor> {
        self.stream += 1;
        normal(gpu, shape, self.seed, self.stream - 1)
    }
}

struct TorchNoise(TorchRng);

impl Noise for TorchNoise {
    /// PyTorch fills `[B, C, Y, X]`.
    fn draw(&mut self, gpu: &Gpu, [b, y, x, c]: [usize; 4]) -> Result<Tensor> {
        permute(&Tensor::from_f32(gpu, &self.0.randn(b * y * x * c), [b, c, y, x])?, &[0, 2, 3, 1])
    }
}
