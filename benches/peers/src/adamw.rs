//! AdamW on both engines, at a rate so small that every round computes the same.

use crate::engines::read_burn;
use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::{AdamWConfig, GradientsParams, ModuleOptimizer};
use burn::tensor::{Gradients, Tensor as BurnTensor};
use dreamllm::ops::adamw::{AdamW, Trained};
use dreamllm::ops::fill::zeros;
use dreamllm::{Result, Tensor};

const RATE: f64 = 1e-9;
const DECAY: f32 = 0.01;

/// Our variables with their moments.
pub struct Ours {
    moments: Vec<[Tensor; 2]>,
    step: u32,
}

impl Ours {
    pub fn new(variables: &[&Tensor]) -> Result<Ours> {
        let moment = |x: &Tensor| zeros(x.gpu(), x.shape());
        let moments = variables.iter().map(|x| Ok([moment(x)?, moment(x)?])).collect::<Result<_>>()?;
        Ok(Ours { moments, step: 0 })
    }

    pub fn step(&mut self, variables: &[&Tensor], gradients: &[Tensor]) -> Result<()> {
        self.step += 1;
        let adamw = AdamW { beta1: 0.9, beta2: 0.999, eps: 1e-5, weight_decay: f64::from(DECAY) };
        for ((variable, [mean, square]), gradient) in variables.iter().zip(&self.moments).zip(gradients) {
            adamw.step(Trained { parameter: variable, mean, square }, gradient, None, RATE, self.step)?;
        }
        Ok(())
    }
}

/// burn's own optimiser with its module.
pub struct Burns<M> {
    optimiser: ModuleOptimizer,
    module: Option<M>,
}

impl<M: Module> Burns<M> {
    pub fn new(module: M) -> Burns<M> {
        let config = AdamWConfig::new().with_beta_1(0.9).with_beta_2(0.999).with_epsilon(1e-5).with_weight_decay(DECAY);
        Burns { optimiser: config.init(), module: Some(module) }
    }

    pub fn module(&self) -> &M {
        self.module.as_ref().expect("module")
    }

    pub fn step(&mut self, gradients: Gradients) {
        let module = self.module.take().expect("module");
        let gradients = GradientsParams::from_grads(gradients, &module);
        self.module = Some(self.optimiser.step(RATE, module, gradients));
    }

    /// Every parameter, read whole.
    pub fn read(&self) -> Vec<Vec<f32>> {
        let mut all = Reader(Vec::new());
        self.module().visit(&mut all);
        all.0
    }
}

struct Reader(Vec<Vec<f32>>);

impl ModuleVisitor for Reader {
    fn visit_float<const D: usize>(&mut self, param: &Param<BurnTensor<D>>) {
        self.0.push(read_burn(param.val()));
    }
}
