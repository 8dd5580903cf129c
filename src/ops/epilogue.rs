//! What a product or a convolution does to a value before it writes it:   `y = residual + activation(value + bias)`

use super::expr::Expr;
use crate::Result;
use crate::tensor::Tensor;
use std::sync::LazyLock;

/// A pointwise function that is applied before the result is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Activation {
    /// x · sigmoid(x)
    Silu,
    /// Exact GELU.
    Gelu,
    /// x · sigmoid(1.702 x)
    QuickGelu,
}

impl Activation {
    /// Every activation.
    pub const ALL: [Activation; 3] = [Activation::Silu, Activation::Gelu, Activation::QuickGelu];

    /// The function as an expression of its argument.
    pub fn expr(self) -> Expr {
        let x = Expr::input(0);
        match self {
            Activation::Silu => x.silu(),
            Activation::Gelu => x.gelu(),
            Activation::QuickGelu => x.quick_gelu(),
        }
    }

    /// The function as the hook of a shader, rendered once: `variant.hook(activation.map(Activation::hook))`.
    pub fn hook(self) -> &'static str {
        static HOOKS: LazyLock<[String; 3]> = LazyLock::new(|| Activation::ALL.map(|f| f.expr().wgsl()));
        &HOOKS[self as usize]
    }

    /// The function as an op of its own.
    pub fn apply(self, x: &Tensor) -> Result<Tensor> {
        match self {
            Activation::Silu => super::pointwise::silu(x),
            Activation::Gelu => super::pointwise::gelu(x),
            Activation::QuickGelu => super::pointwise::quick_gelu(x),
        }
    }
}

/// The epilogue of a product `[.., N]` or of a convolution `[B, Y, X, N]`.
#[derive(Default, Clone, Copy)]
pub struct Epilogue<'a> {
    /// `[N]`, added first.
    pub bias: Option<&'a Tensor>,
    /// Applied second.
    pub activation: Option<Activation>,
    /// Of the result's shape, added last.
    pub residual: Option<&'a Tensor>,
}

impl Epilogue<'_> {
    /// The epilogue in ops of its own: its definition, and what is left of a product over no elements.
    pub fn apply(&self, value: &Tensor) -> Result<Tensor> {
        let mut y = value.clone();
        if let Some(bias) = self.bias {
            y = y.add(bias)?;
        }
        if let Some(activation) = self.activation {
            y = activation.apply(&y)?;
        }
        self.residual.map_or(Ok(y.clone()), |residual| y.add(residual))
    }

    /// The same without a tape.
    pub(crate) fn apply_detached(&self, value: &Tensor) -> Result<Tensor> {
        let [bias, residual] = [self.bias, self.residual].map(|operand| operand.map(Tensor::detach));
        Epilogue { bias: bias.as_ref(), activation: self.activation, residual: residual.as_ref() }.apply(value)
    }
}
