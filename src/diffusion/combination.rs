//! Linear combinations of latents: what every sampling step is.

use crate::ops::pointwise::{mix, mix3, mix4, scale};
use crate::{Error, Result, Tensor};

/// Σ cᵢ·xᵢ, one kernel for up to four terms. Terms with coefficient 0 are not read.
pub(super) fn combine(terms: &[(f64, &Tensor)]) -> Result<Tensor> {
    let used: Vec<(f32, &Tensor)> = terms.iter().map(|(c, x)| (*c as f32, *x)).filter(|(c, _)| *c != 0.0).collect();
    match used[..] {
        [] => match terms.first() {
            Some((_, x)) => scale(x, 0.0),
            None => Err(Error::Input("a linear combination of no latents".into())),
        },
        [(1.0, a)] => Ok(a.clone()),
        [(p, a)] => scale(a, p),
        [(p, a), (q, b)] => mix(a, b, p, q),
        [(p, a), (q, b), (r, c)] => mix3(a, b, c, p, q, r),
        [(p, a), (q, b), (r, c), (s, d)] => mix4(a, b, c, d, p, q, r, s),
        [(p, a), (q, b), (r, c), (s, d), ..] => {
            let first = mix4(a, b, c, d, p, q, r, s)?;
            let rest = used[4..].iter().map(|(c, x)| (f64::from(*c), *x));
            combine(&[(1.0, &first)].into_iter().chain(rest).collect::<Vec<_>>())
        }
    }
}
