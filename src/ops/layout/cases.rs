//! Cases of permute, slice and concat.

use super::super::case::{Array, OpCase, Operand, operand};
use super::super::pointwise::mix;
use super::{concat, halves, permute, slice};
use crate::tensor::{DType, Shape, Tensor};

/// Cases: words and quads, merged and unmerged axes, views and copies, every element type, regions that a small
/// binding limit cuts on either side.
pub fn cases() -> Vec<OpCase> {
    let permutes: [(&[usize], &[usize]); 9] = [
        (&[5, 7], &[1, 0]),
        (&[2, 3, 5, 4], &[0, 2, 1, 3]),
        (&[2, 3, 4, 5], &[0, 3, 1, 2]),
        (&[2, 3, 4, 2, 3], &[4, 2, 0, 3, 1]),
        (&[3, 1, 8], &[1, 0, 2]),
        (&[61, 83], &[1, 0]),
        (&[0, 3], &[1, 0]),
        (&[], &[]),
        (&[1, 1, 1], &[2, 0, 1]),
    ];
    let slices: [(&[usize], usize, usize, usize); 10] = [
        (&[7, 5], 0, 2, 3),
        (&[6, 64], 0, 1, 4),
        (&[3, 9], 1, 4, 5),
        (&[2, 5, 8], 1, 1, 3),
        (&[2, 3, 16], 2, 4, 8),
        (&[4, 3], 0, 0, 4),
        (&[2, 4, 2, 3, 2], 3, 1, 1),
        (&[5, 4], 1, 2, 0),
        (&[3, 0], 0, 1, 1),
        (&[5], 0, 4, 1),
    ];
    let concats: [(&[&[usize]], usize); 7] = [
        (&[&[2, 3], &[4, 3]], 0),
        (&[&[2, 8], &[2, 4], &[2, 12]], 1),
        (&[&[2, 3, 5], &[2, 1, 5], &[2, 0, 5]], 1),
        (&[&[3, 7]], 0),
        (&[&[40, 33], &[40, 31]], 1),
        (&[&[0, 3], &[0, 3]], 0),
        (&[&[2, 0], &[2, 0]], 1),
    ];
    let mut all: Vec<OpCase> = permutes.map(|(shape, order)| permute_case(operand(shape), order)).into();
    all.push(permute_case(operand(&[3, 2, 4]).dtype(DType::F16), &[1, 0, 2]));
    all.push(permute_case(operand(&[3, 5]).dtype(DType::U32).range(0.0, 1e6), &[1, 0]));
    all.extend(slices.map(|(shape, axis, start, count)| slice_case(operand(shape), axis, start, count)));
    all.push(slice_case(operand(&[4, 12]).dtype(DType::F16), 1, 4, 6));
    all.extend(concats.map(|(shapes, axis)| concat_case(shapes, axis)));
    let twice = |a: &Array| Array::from_coordinates(&[3, 10], |at| a.at(&[at[0], at[1] % 5]));
    let itself = |x: &[Tensor]| concat(&[&x[0], &x[0]], 1);
    let x = vec![operand(&[3, 5])];
    all.push(OpCase::new("layout", "concat of a tensor with itself", x, itself, move |a| twice(&a[0])));
    let halves_of = |a: &Array| {
        let c = a.shape[1] / 2;
        Array::from_coordinates(&[a.shape[0], c], |at| a.at(at) - 3.0 * a.at(&[at[0], at[1] + c]))
    };
    let run = |x: &[Tensor]| {
        let (a, b) = halves(&x[0])?;
        mix(&a, &b, 1.0, -3.0)
    };
    all.push(OpCase::new("layout", "halves [5, 6]", vec![operand(&[5, 6])], run, move |a| halves_of(&a[0])));
    all
}

/// Nothing is rounded.
const EXACT: f64 = 1e-8;

/// The operand in another order of its axes.
pub fn permute_case(x: Operand, order: &[usize]) -> OpCase {
    let label = format!("permute {} {:?} by {order:?}", x.dtype, x.shape);
    let (order, of_run) = (order.to_vec(), order.to_vec());
    let oracle = move |a: &[Array]| {
        let shape: Vec<usize> = order.iter().map(|&axis| a[0].shape[axis]).collect();
        let mut from = vec![0; order.len()];
        Array::from_coordinates(&shape, |at| {
            order.iter().zip(at).for_each(|(&axis, &c)| from[axis] = c);
            a[0].at(&from)
        })
    };
    OpCase::new("layout", label, vec![x], move |x| permute(&x[0], &of_run), oracle).tolerance(EXACT)
}

/// The part `[start, start + count)` of an axis.
pub fn slice_case(x: Operand, axis: usize, start: usize, count: usize) -> OpCase {
    let label = format!("slice {} {:?} axis {axis} {start}+{count}", x.dtype, x.shape);
    let oracle = move |a: &[Array]| {
        let shape = Shape::new(&a[0].shape).with(axis, count);
        Array::from_coordinates(shape.as_slice(), |at| {
            let mut from = at.to_vec();
            from[axis] += start;
            a[0].at(&from)
        })
    };
    OpCase::new("layout", label, vec![x], move |x| slice(&x[0], axis, start, count), oracle).tolerance(EXACT)
}

/// Tensors of these shapes joined along an axis.
pub fn concat_case(shapes: &[&[usize]], axis: usize) -> OpCase {
    let operands = shapes.iter().map(|s| operand(s)).collect();
    let run = move |x: &[Tensor]| concat(&x.iter().collect::<Vec<_>>(), axis);
    let oracle = move |a: &[Array]| {
        let total = a.iter().map(|x| x.shape[axis]).sum();
        Array::from_coordinates(Shape::new(&a[0].shape).with(axis, total).as_slice(), |at| {
            let mut from = at.to_vec();
            let mut part = 0;
            while from[axis] >= a[part].shape[axis] {
                from[axis] -= a[part].shape[axis];
                part += 1;
            }
            a[part].at(&from)
        })
    };
    OpCase::new("layout", format!("concat {shapes:?} along {axis}"), operands, run, oracle).tolerance(EXACT)
}
