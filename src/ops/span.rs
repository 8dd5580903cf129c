//! Parts of tensors too large for one binding.

use crate::Result;
use crate::gpu::Binding;
use crate::tensor::Tensor;

/// Every device can start a binding at a multiple of this many bytes.
const ALIGNMENT: usize = 256;

/// The elements `[first, first + count)` as a binding, and where in it element 0 of the whole tensor would be. That
/// place wraps below zero: a kernel adds it to an element's index in the whole tensor, modulo 2³².
pub(crate) fn span(x: &Tensor, first: usize, count: usize) -> Result<(Binding<'_>, u32)> {
    if count == x.len() {
        return Ok((x.bind(), 0));
    }
    let step = x.dtype().aligned_elements();
    let start = first / step * step;
    Ok((x.bind_rows(start, first + count - start, 1)?, (start as u32).wrapping_neg()))
}

/// How many units of `bytes` a binding holds for certain, wherever it starts.
pub(crate) fn fitting(x: &Tensor, bytes: usize) -> usize {
    (x.gpu().limits().max_binding as usize - ALIGNMENT) / bytes.max(1)
}

/// As many rows as fit the limit such that every part starts on an alignment of 256 bytes.
pub(crate) fn aligned_rows(limit: usize, widest: usize, rows: [usize; 2]) -> usize {
    let step = |row: usize| 256 / gcd(row.max(1), 256);
    let step = step(rows[0]).max(step(rows[1]));
    limit / widest.max(1) / step * step
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}
