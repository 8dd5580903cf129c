//! Appending to a cache in place:   cache[b, at + t, ..] = rows[b, t, ..]
//!
//! The one op that writes into an existing tensor: keys and values of new tokens go behind those seen before. It has no
//! gradient; training runs the decoder without a cache.

use super::case::{Array, OpCase, operand};
use super::layout;
use crate::autograd::no_backward;
use crate::gpu::Variant;
use crate::tensor::Tensor;
use crate::{Error, Result};

/// Writes rows `[B, T, ..]` into places `at .. at + T` of cache `[B, S, ..]`.
pub fn append_rows(cache: &Tensor, rows: &Tensor, at: usize) -> Result<()> {
    no_backward("append_rows", &[cache, rows])?;
    let (to, from) = (cache.shape(), rows.shape());
    let fits = match (to.as_slice(), from.as_slice()) {
        ([b, s, rest @ ..], [b_rows, t, rest_rows @ ..]) => b == b_rows && rest == rest_rows && at + t <= *s,
        _ => false,
    };
    if !fits {
        return Err(Error::Shape {
            op: "append_rows".into(),
            operand: "rows".into(),
            want: format!("[B, T, ..] that fits {to} from row {at} on"),
            got: from.to_string(),
        });
    }
    layout::write(cache, rows, 1, at)
}

/// None of its own: the copy of [`layout`] does it.
pub fn variants() -> Vec<Variant> {
    Vec::new()
}

/// Cases: the beginning, the middle and the end of a cache.
pub fn cases() -> Vec<OpCase> {
    let case = |(b, s, t, at): (usize, usize, usize, usize)| {
        let (cache, rows) = ([b, s, 2, 3], [b, t, 2, 3]);
        let run = move |x: &[Tensor]| {
            append_rows(&x[0], &x[1], at)?;
            Ok(x[0].clone())
        };
        let oracle = move |a: &[Array]| {
            Array::from_coordinates(&cache, |c| match c[1].checked_sub(at).filter(|row| *row < t) {
                Some(row) => a[1].at(&[c[0], row, c[2], c[3]]),
                None => a[0].at(c),
            })
        };
        let operands = vec![operand(&cache).constant(), operand(&rows).constant()];
        OpCase::new("cache", format!("{cache:?} {rows:?} at {at}"), operands, run, oracle)
    };
    [(1, 5, 2, 0), (2, 7, 3, 2), (3, 4, 1, 3), (1, 300, 1, 256), (2, 3, 0, 3), (2, 3, 3, 0), (0, 3, 2, 1)]
        .map(case)
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::{Gpu, GpuOptions};
    use crate::ops::fill::zeros;

    #[test]
    fn rows_that_do_not_fit_are_refused() {
        let gpu = pollster::block_on(Gpu::new(&GpuOptions::from_env().unwrap())).unwrap();
        let cache = zeros(&gpu, [2, 8, 1, 4]).unwrap();
        for shape in [[2, 3, 1, 5], [1, 3, 1, 4], [2, 7, 1, 4]] {
            assert!(append_rows(&cache, &zeros(&gpu, shape).unwrap(), 2).is_err(), "{shape:?}");
        }
        let tracked = zeros(&gpu, [2, 1, 1, 4]).unwrap().variable();
        assert!(matches!(append_rows(&cache, &tracked, 0), Err(Error::NoBackward(_))));
    }
}
