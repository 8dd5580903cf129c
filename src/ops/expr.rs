//! Pointwise expressions: one small tree that renders WGSL, evaluates in f64 on the host and differentiates itself.

use std::ops::{Add, Div, Mul, Neg, Sub};
use std::sync::Arc;

/// An expression over the inputs of a pointwise op.
#[derive(Clone, Debug, PartialEq)]
pub struct Expr(Arc<Kind>);

#[derive(Debug, PartialEq)]
enum Kind {
    /// Element of tensor i.
    Input(usize),
    /// Scalar i, given at run time.
    Param(usize),
    Const(f32),
    Unary(Unary, Expr),
    Add(Expr, Expr),
    Mul(Expr, Expr),
    Div(Expr, Expr),
    Max(Expr, Expr),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Unary {
    Exp,
    Log,
    Sqrt,
    Sigmoid,
    Tanh,
    Erf,
    Sin,
    Cos,
    /// 1 where the argument is positive, else 0.
    Step,
}

/// Names of the inputs in WGSL.
const NAMES: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

fn make(kind: Kind) -> Expr {
    Expr(Arc::new(kind))
}

macro_rules! unary {
    ($($(#[$doc:meta])* $name:ident $kind:ident),*) => {$(
        $(#[$doc])*
        pub fn $name(&self) -> Expr {
            make(Kind::Unary(Unary::$kind, self.clone()))
        }
    )*};
}

impl Expr {
    /// Most tensors that one expression may read.
    pub const MAX_INPUTS: usize = NAMES.len();
    /// Most run-time scalars.
    pub const MAX_PARAMS: usize = 8;

    /// Tensor `i`.
    pub fn input(i: usize) -> Expr {
        make(Kind::Input(i))
    }

    /// Run-time scalar `i`.
    pub fn param(i: usize) -> Expr {
        make(Kind::Param(i))
    }

    unary! {
        /// e to the power of this.
        exp Exp,
        /// Natural logarithm.
        log Log,
        /// Square root.
        sqrt Sqrt,
        /// 1 / (1 + e^-x).
        sigmoid Sigmoid,
        /// Hyperbolic tangent.
        tanh Tanh,
        /// Error function.
        erf Erf,
        /// Sine.
        sin Sin,
        /// Cosine.
        cos Cos,
        /// 1 where positive, else 0.
        step Step
    }

    /// x · sigmoid(x)
    pub fn silu(&self) -> Expr {
        self.clone() * self.sigmoid()
    }

    /// GELU, exact: x/2 · (1 + erf(x/√2))
    pub fn gelu(&self) -> Expr {
        self.clone() * 0.5 * ((self.clone() * std::f32::consts::FRAC_1_SQRT_2).erf() + 1.0)
    }

    /// GELU, CLIP's approximation: x · sigmoid(1.702 x)
    pub fn quick_gelu(&self) -> Expr {
        self.clone() * (self.clone() * 1.702).sigmoid()
    }

    /// The larger one; NaN where this is.
    pub fn max(&self, other: impl Into<Expr>) -> Expr {
        make(Kind::Max(self.clone(), other.into()))
    }

    /// The smaller one; NaN where this is.
    pub fn min(&self, other: impl Into<Expr>) -> Expr {
        -(-self).max(-other.into())
    }

    /// This in WGSL, over `a, b, c …` and the scalars `p.scalars`.
    pub fn wgsl(&self) -> String {
        match &*self.0 {
            Kind::Input(i) => NAMES[*i].to_string(),
            Kind::Param(i) => format!("V(p.scalars[{}].{})", i / 4, ["x", "y", "z", "w"][i % 4]),
            Kind::Const(c) => format!("V({c:?})"),
            Kind::Unary(op, x) => op.wgsl(&x.wgsl()),
            Kind::Add(x, y) => format!("({} + {})", x.wgsl(), y.wgsl()),
            Kind::Mul(x, y) => format!("({} * {})", x.wgsl(), y.wgsl()),
            Kind::Div(x, y) => format!("({} / {})", x.wgsl(), y.wgsl()),
            Kind::Max(x, y) => format!("larger({}, {})", x.wgsl(), y.wgsl()),
        }
    }

    /// Value in double precision: the oracle of the tests.
    pub fn eval(&self, inputs: &[f64], params: &[f32]) -> f64 {
        let of = |x: &Expr| x.eval(inputs, params);
        match &*self.0 {
            Kind::Input(i) => inputs[*i],
            Kind::Param(i) => f64::from(params[*i]),
            Kind::Const(c) => f64::from(*c),
            Kind::Unary(op, x) => op.eval(of(x)),
            Kind::Add(x, y) => of(x) + of(y),
            Kind::Mul(x, y) => of(x) * of(y),
            Kind::Div(x, y) => of(x) / of(y),
            Kind::Max(x, y) => of(x).max(of(y)),
        }
    }

    /// Partial derivative by input `i`.
    pub fn derivative(&self, i: usize) -> Expr {
        match &*self.0 {
            Kind::Input(j) => Expr::from(if i == *j { 1.0 } else { 0.0 }),
            Kind::Param(_) | Kind::Const(_) => Expr::from(0.0),
            Kind::Unary(op, x) => op.derivative(x) * x.derivative(i),
            Kind::Add(x, y) => x.derivative(i) + y.derivative(i),
            Kind::Mul(x, y) => x.derivative(i) * y.clone() + x.clone() * y.derivative(i),
            Kind::Div(x, y) => x.derivative(i) / y.clone() - x.clone() * y.derivative(i) / (y.clone() * y.clone()),
            Kind::Max(x, y) => {
                let first = (x.clone() - y.clone()).step();
                x.derivative(i) * first.clone() + y.derivative(i) * (Expr::from(1.0) - first)
            }
        }
    }

    /// The same expression over inputs and scalars numbered in the order in which it reads them, and their old numbers
    /// in that order. Expressions that differ in nothing else become equal, and share a compiled shader.
    pub fn renumbered(&self) -> (Expr, Vec<usize>, Vec<usize>) {
        let (mut inputs, mut params) = (Vec::new(), Vec::new());
        let expr = self.renumber(&mut inputs, &mut params);
        (expr, inputs, params)
    }

    fn renumber(&self, inputs: &mut Vec<usize>, params: &mut Vec<usize>) -> Expr {
        let place = |seen: &mut Vec<usize>, i: usize| {
            seen.iter().position(|&j| j == i).unwrap_or_else(|| {
                seen.push(i);
                seen.len() - 1
            })
        };
        let mut of = |x: &Expr| x.renumber(inputs, params);
        make(match &*self.0 {
            Kind::Input(i) => Kind::Input(place(inputs, *i)),
            Kind::Param(i) => Kind::Param(place(params, *i)),
            Kind::Const(c) => Kind::Const(*c),
            Kind::Unary(op, x) => Kind::Unary(*op, of(x)),
            Kind::Add(x, y) => Kind::Add(of(x), of(y)),
            Kind::Mul(x, y) => Kind::Mul(of(x), of(y)),
            Kind::Div(x, y) => Kind::Div(of(x), of(y)),
            Kind::Max(x, y) => Kind::Max(of(x), of(y)),
        })
    }

    /// The constant that the expression is, if it is one.
    pub fn constant(&self) -> Option<f32> {
        match &*self.0 {
            Kind::Const(c) => Some(*c),
            _ => None,
        }
    }
}

impl Unary {
    fn wgsl(self, x: &str) -> String {
        match self {
            Unary::Exp => format!("safe_exp({x})"),
            Unary::Log => format!("log({x})"),
            Unary::Sqrt => format!("sqrt({x})"),
            Unary::Sigmoid => format!("sigmoid({x})"),
            Unary::Tanh => format!("safe_tanh({x})"),
            Unary::Erf => format!("erf({x})"),
            Unary::Sin => format!("safe_sin({x})"),
            Unary::Cos => format!("safe_cos({x})"),
            Unary::Step => format!("select(V(0.0), V(1.0), {x} > V(0.0))"),
        }
    }

    fn eval(self, x: f64) -> f64 {
        match self {
            Unary::Exp => x.exp(),
            Unary::Log => x.ln(),
            Unary::Sqrt => x.sqrt(),
            Unary::Sigmoid => 1.0 / (1.0 + (-x).exp()),
            Unary::Tanh => x.tanh(),
            Unary::Erf => erf(x),
            Unary::Sin => x.sin(),
            Unary::Cos => x.cos(),
            Unary::Step => f64::from(x > 0.0),
        }
    }

    fn derivative(self, x: &Expr) -> Expr {
        let one = || Expr::from(1.0);
        match self {
            Unary::Exp => x.exp(),
            Unary::Log => one() / x.clone(),
            Unary::Sqrt => Expr::from(0.5) / x.sqrt(),
            Unary::Sigmoid => x.sigmoid() * (one() - x.sigmoid()),
            Unary::Tanh => one() - x.tanh() * x.tanh(),
            Unary::Erf => Expr::from(std::f32::consts::FRAC_2_SQRT_PI) * (-(x.clone() * x.clone())).exp(),
            Unary::Sin => x.cos(),
            Unary::Cos => -x.sin(),
            Unary::Step => Expr::from(0.0),
        }
    }
}

/// Error function in double precision: its Taylor series where that converges fast, a continued fraction beyond.
pub(crate) fn erf(x: f64) -> f64 {
    if x.abs() < 2.5 {
        let (mut term, mut sum, mut n) = (x, x, 0.0);
        while f64::abs(term) > 1e-17 * f64::abs(sum) {
            n += 1.0;
            term *= -x * x / n;
            sum += term / (2.0 * n + 1.0);
        }
        return sum * std::f64::consts::FRAC_2_SQRT_PI;
    }
    let fraction = (1..60).rev().fold(x.abs(), |f, k| x.abs() + f64::from(k) / 2.0 / f);
    x.signum() * (1.0 - (-x * x).exp() / fraction / std::f64::consts::PI.sqrt())
}

impl From<f32> for Expr {
    fn from(c: f32) -> Expr {
        make(Kind::Const(c))
    }
}

// The operators fold zeros and ones, which differentiation makes plenty of.

impl Add for Expr {
    type Output = Expr;
    fn add(self, other: Expr) -> Expr {
        match (self.constant(), other.constant()) {
            (Some(x), Some(y)) => Expr::from(x + y),
            (Some(0.0), _) => other,
            (_, Some(0.0)) => self,
            _ => make(Kind::Add(self, other)),
        }
    }
}

impl Mul for Expr {
    type Output = Expr;
    fn mul(self, other: Expr) -> Expr {
        match (self.constant(), other.constant()) {
            (Some(x), Some(y)) => Expr::from(x * y),
            (Some(0.0), _) | (_, Some(0.0)) => Expr::from(0.0),
            (Some(1.0), _) => other,
            (_, Some(1.0)) => self,
            _ => make(Kind::Mul(self, other)),
        }
    }
}

impl Div for Expr {
    type Output = Expr;
    fn div(self, other: Expr) -> Expr {
        match (self.constant(), other.constant()) {
            (Some(0.0), _) => self,
            (_, Some(1.0)) => self,
            _ => make(Kind::Div(self, other)),
        }
    }
}

impl Neg for Expr {
    type Output = Expr;
    fn neg(self) -> Expr {
        Expr::from(-1.0) * self
    }
}

impl Neg for &Expr {
    type Output = Expr;
    fn neg(self) -> Expr {
        -self.clone()
    }
}

impl Sub for Expr {
    type Output = Expr;
    fn sub(self, other: Expr) -> Expr {
        self + -other
    }
}

impl Mul<f32> for Expr {
    type Output = Expr;
    fn mul(self, c: f32) -> Expr {
        self * Expr::from(c)
    }
}

impl Add<f32> for Expr {
    type Output = Expr;
    fn add(self, c: f32) -> Expr {
        self + Expr::from(c)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn derivatives_agree_with_differences() {
        let (a, b) = (Expr::input(0), Expr::input(1));
        let trees = [
            a.clone() * b.sigmoid() + a.erf(),
            a.exp() / (b.clone() * b.clone() + 1.0),
            (a.clone() * 2.0).tanh().max(b.sin()),
            (a.clone() * a.clone() + 0.5).sqrt() * (b.clone() * b.clone() + 0.1).log() + a.cos().min(b.clone()),
        ];
        for tree in trees {
            for (x, y) in [(0.3, -0.7), (1.9, 2.2), (-1.1, 0.4)] {
                let h = 1e-6;
                let slope = (tree.eval(&[x + h, y], &[]) - tree.eval(&[x - h, y], &[])) / (2.0 * h);
                let exact = tree.derivative(0).eval(&[x, y], &[]);
                assert!((slope - exact).abs() < 1e-6, "{tree:?} at {x} {y}: {slope} {exact}");
            }
        }
    }

    #[test]
    fn renumbering_keeps_the_value() {
        let (b, d) = (Expr::input(1), Expr::input(3));
        let (expr, inputs, params) = (d.clone() * Expr::param(2) + b.clone() / d.clone()).renumbered();
        assert_eq!((inputs.as_slice(), params.as_slice()), (&[3, 1][..], &[2][..]));
        assert_eq!(expr, Expr::input(0) * Expr::param(0) + Expr::input(1) / Expr::input(0));
        assert_eq!(expr.eval(&[5.0, 7.0], &[0.5]), 5.0 * 0.5 + 7.0 / 5.0);
    }

    #[test]
    fn erf_is_right() {
        // From tables of the function.
        for (x, y) in [
            (0.0, 0.0),
            (0.5, 0.5204998778130465),
            (1.0, 0.8427007929497149),
            (3.0, 0.9999779095030014),
            (-2.0, -0.9953222650189527),
        ] {
            assert!((erf(x) - y).abs() < 1e-14, "{x}: {}", erf(x));
        }
    }
}
