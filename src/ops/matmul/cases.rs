//! Shapes at which products are tested, with an oracle in double precision.

use super::super::weight_format::COMPRESSED;
use super::launch::Tile;
use super::{Activation, Epilogue, forward, linear, matmul};
use crate::ops::case::{Array, OpCase, operand};
use crate::tensor::{DType, Tensor};

/// Cases: matrix and vector shapes, all transposes, batches, every weight format and epilogue; most fill no tile.
pub fn cases() -> Vec<OpCase> {
    let mut all = Vec::new();
    for (m, n, k) in [
        (1, 1, 1),
        (5, 7, 3),
        (1, 70, 64),
        (2, 33, 20),
        (3, 130, 36),
        (9, 12, 8),
        (66, 131, 40),
        (70, 140, 5),
        (64, 128, 64),
    ] {
        for (a_t, b_t) in [(false, false), (false, true), (true, false), (true, true)] {
            all.push(plain_case(&[], &[], m, n, k, a_t, b_t));
        }
    }
    all.push(plain_case(&[2, 3], &[2, 3], 5, 6, 4, false, true));
    all.push(plain_case(&[3], &[], 9, 5, 7, false, false));
    all.push(plain_case(&[], &[4], 6, 8, 12, true, true));
    for (m, n, k) in [(0, 5, 4), (5, 0, 4), (5, 4, 0)] {
        all.push(plain_case(&[], &[], m, n, k, false, true));
    }
    all.push(plain_case(&[0], &[], 2, 3, 4, false, false));
    // A sum over no products still has its epilogue.
    all.extend([None, Some(Activation::Silu)].map(|activation| linear_case(DType::F32, [3, 4, 0], activation)));
    all.extend([(false, true), (true, false)].map(|(a_t, b_t)| itself(a_t, b_t)));
    for dtype in [DType::F32, DType::F16] {
        for m in [1, 2, 3, 10, 65] {
            for activation in [None].into_iter().chain(Activation::ALL.map(Some)) {
                all.push(linear_case(dtype, [m, 37, 44], activation));
            }
        }
    }
    for tile in Tile::ALL {
        all.push(tile_case(tile, [1, 132, 68, 36], false, true));
    }
    for tile in [Tile::Broadcast { tm: 4, tnq: 6, lanes: 8 }, Tile::Shared { side: 4 }] {
        for (a_t, b_t) in [(false, false), (false, true), (true, false), (true, true)] {
            all.push(tile_case(tile, [2, 70, 37, 21], a_t, b_t));
        }
    }
    all.push(tile_case(Tile::Vector { tm: 2 }, [2, 5, 37, 21], false, true));
    // Odd numbers of blocks, so that rows begin within a unit; the last sizes fill several parts of a binding of
    // 16 KiB, and the largest tile.
    for dtype in [DType::Q8, DType::Q4] {
        let sizes = [[1, 37, 32], [1, 5, 96], [2, 37, 96], [3, 37, 160], [10, 37, 96], [4, 400, 96], [65, 130, 96]];
        all.extend(sizes.map(|sizes| linear_case(dtype, sizes, Some(Activation::Silu))));
    }
    for (tile, dtype) in
        [Tile::Vector { tm: 1 }, Tile::Shared { side: 4 }, Tile::Broadcast { tm: 2, tnq: 4, lanes: 32 }]
            .into_iter()
            .flat_map(|tile| [DType::Q8, DType::Q4].map(|dtype| (tile, dtype)))
    {
        let mut case = tile_case(tile, [1, 6, 37, 96], false, true);
        case.label += &format!(" {dtype}");
        case.operands[1].dtype = dtype;
        all.push(case);
    }
    all.extend(COMPRESSED.map(|dtype| compressed_case(dtype, [3, 5, 64, 7])));
    all
}

/// The value with a kernel that the device would not choose, where it can run it.
fn tile_case(tile: Tile, [batches, m, n, k]: [usize; 4], a_t: bool, b_t: bool) -> OpCase {
    let lead: &[usize] = if batches == 1 { &[] } else { &[batches] };
    let mut case = plain_case(lead, lead, m, n, k, a_t, b_t);
    case.label += &format!(" {tile:?}");
    case.operands.iter_mut().for_each(|o| o.differentiable = false);
    case.run = Box::new(move |x| {
        let tile = Some(tile).filter(|t| t.suits(a_t, b_t, x[0].gpu().subgroup_size()));
        forward(&x[0], &x[1], a_t, b_t, Epilogue::default(), tile)
    });
    case
}

/// A weight that is not transposed, the same for all matrices of a batch:  a `[B, M, K]` · b `[K, N]`.
fn compressed_case(dtype: DType, [b, m, n, k]: [usize; 4]) -> OpCase {
    let operands = vec![operand(&[b, m, k]), operand(&[k, n]).dtype(dtype)];
    let oracle = move |x: &[Array]| {
        let sum = |at: &[usize]| (0..k).map(|i| x[0].at(&[at[0], at[1], i]) * x[1].at(&[i, at[2]])).sum();
        Array::from_coordinates(&[b, m, n], sum)
    };
    let run = |x: &[Tensor]| matmul(&x[0], &x[1], false, false);
    OpCase::new("matmul", format!("[{b}, {m}, {k}] · {dtype} [{k}, {n}]"), operands, run, oracle)
}

/// A tensor with itself.
fn itself(a_t: bool, b_t: bool) -> OpCase {
    let (r, c) = (6, 7);
    let side = if a_t { c } else { r };
    let oracle = move |x: &[Array]| {
        let at = |i: usize, k: usize| x[0].data[if a_t { k * c + i } else { i * c + k }];
        let terms = if a_t { r } else { c };
        Array::from_coordinates(&[side, side], |p| (0..terms).map(|k| at(p[0], k) * at(p[1], k)).sum())
    };
    let label = format!("[{r}, {c}] with itself, transposed {a_t} {b_t}");
    OpCase::new("matmul", label, vec![operand(&[r, c])], move |x| matmul(&x[0], &x[0], a_t, b_t), oracle)
}

/// A product of f32 tensors: a `[.., M, K]` and b `[.., K, N]`, or either stored with its last two axes swapped.
pub fn plain_case(a_lead: &[usize], b_lead: &[usize], m: usize, n: usize, k: usize, a_t: bool, b_t: bool) -> OpCase {
    let stored = |lead: &[usize], r: usize, c: usize, swap: bool| [lead, &if swap { [c, r] } else { [r, c] }].concat();
    let (a, b) = (stored(a_lead, m, k, a_t), stored(b_lead, k, n, b_t));
    let lead = if a_lead.is_empty() { b_lead } else { a_lead };
    let shape = [lead, &[m, n]].concat();
    let label = format!("{a:?}{} · {b:?}{}", if a_t { "ᵀ" } else { "" }, if b_t { "ᵀ" } else { "" });
    let operands = vec![operand(&a), operand(&b)];
    let batches: usize = lead.iter().product();
    let oracle = move |x: &[Array]| {
        // Element (r, c) of an operand whose matrices follow each other, or of the one matrix that all share.
        let of = |x: &Array, rows: usize, columns: usize, batch: usize, (r, c): (usize, usize), swap: bool| {
            let start = if x.shape.len() == 2 { 0 } else { batch * rows * columns };
            x.data[start + if swap { c * rows + r } else { r * columns + c }]
        };
        let mut data = Vec::with_capacity(batches * m * n);
        for (batch, row) in (0..batches).flat_map(|b| (0..m).map(move |i| (b, i))) {
            for column in 0..n {
                let term = |i: usize| of(&x[0], m, k, batch, (row, i), a_t) * of(&x[1], k, n, batch, (i, column), b_t);
                data.push((0..k).map(term).sum());
            }
        }
        Array { shape: shape.clone(), data }
    };
    OpCase::new("matmul", label, operands, move |x| matmul(&x[0], &x[1], a_t, b_t), oracle).flops(2 * m * n * k)
}

fn linear_case(dtype: DType, [m, n, k]: [usize; 3], activation: Option<Activation>) -> OpCase {
    let operands = vec![operand(&[m, k]), operand(&[n, k]).dtype(dtype), operand(&[n]), operand(&[m, n])];
    let run =
        move |x: &[Tensor]| linear(&x[0], &x[1], Epilogue { bias: Some(&x[2]), activation, residual: Some(&x[3]) });
    let oracle = move |x: &[Array]| {
        Array::from_coordinates(&[m, n], |at| {
            let sum: f64 = (0..k).map(|i| x[0].at(&[at[0], i]) * x[1].at(&[at[1], i])).sum();
            let value = sum + x[2].data[at[1]];
            activation.map_or(value, |f| f.expr().eval(&[value], &[])) + x[3].at(at)
        })
    };
    OpCase::new("matmul", format!("linear {m}x{n}x{k} {dtype} {activation:?}"), operands, run, oracle)
}
