//! Cases: kernels, strides, paddings, channel counts that fill no quad, every epilogue.

use super::super::case::{Array, OpCase, operand};
use super::super::epilogue::{Activation, Epilogue};
use super::super::weight_format::COMPRESSED;
use super::launch::Tile;
use super::{Conv, conv2d, forward, input_gradient};
use crate::tensor::{DType, Shape, Tensor};

struct Sizes {
    x: [usize; 4],
    n: usize,
    kernel: [usize; 2],
    conv: Conv,
}

/// Every case.
pub fn cases() -> Vec<OpCase> {
    let uneven = Conv { stride: [2, 1], padding: [[0, 1], [2, 0]] };
    let down = Conv { stride: [2, 2], padding: [[0, 1], [0, 1]] };
    let sizes = |x: [usize; 4], n: usize, kernel: [usize; 2], conv: Conv| Sizes { x, n, kernel, conv };
    let plain = [
        sizes([1, 1, 1, 1], 1, [1, 1], Conv::new(1, 0)),
        sizes([2, 3, 4, 5], 7, [1, 1], Conv::new(1, 0)),
        sizes([2, 4, 5, 3], 6, [3, 3], Conv::new(1, 1)),
        sizes([1, 5, 6, 4], 5, [3, 3], down),
        sizes([2, 5, 4, 8], 9, [3, 2], uneven),
        sizes([1, 7, 8, 5], 4, [4, 4], Conv::new(4, 0)),
        sizes([1, 2, 3, 4], 4, [1, 1], Conv::new(2, 1)),
        sizes([1, 2, 2, 4], 4, [5, 5], Conv::new(1, 3)),
        sizes([0, 3, 3, 4], 4, [3, 3], Conv::new(1, 1)),
        sizes([2, 12, 11, 8], 4, [3, 3], Conv::new(1, 1)),
        sizes([2, 6, 5, 9], 26, [3, 2], uneven),
        sizes([1, 5, 6, 12], 28, [3, 3], Conv::new(1, 1)),
    ];
    let mut all: Vec<OpCase> = plain.into_iter().map(|s| case(s, DType::F32, false, None)).collect();
    // The activations themselves are tested with the matrix product.
    for (dtype, activation) in [(DType::F32, None), (DType::F32, Some(Activation::Silu)), (DType::F16, None)] {
        all.push(case(sizes([2, 3, 4, 8], 6, [3, 3], Conv::new(1, 1)), dtype, true, activation));
    }
    // Blocks of one tap, blocks that span taps, rows that begin within a unit, a 1 x 1 kernel.
    for dtype in [DType::Q8, DType::Q4] {
        all.push(case(sizes([2, 3, 4, 32], 5, [3, 3], Conv::new(1, 1)), dtype, true, None));
        all.push(case(sizes([1, 5, 6, 8], 7, [2, 2], uneven), dtype, false, None));
        all.push(case(sizes([1, 3, 5, 96], 6, [1, 1], Conv::new(1, 0)), dtype, false, None));
        all.push(case(sizes([1, 4, 4, 96], 40, [3, 3], Conv::new(1, 1)), dtype, false, None));
    }
    // A loader does not know the tile: each tile meets one.
    for (tile, dtype) in Tile::ALL.into_iter().zip(COMPRESSED.into_iter().cycle()) {
        let s = || sizes([1, 4, 5, 32], 9, [3, 3], Conv::new(1, 1));
        all.push(tile_case(tile, s(), dtype));
        all.push(transposed_case(tile, s(), dtype));
    }
    for tile in Tile::ALL {
        all.push(tile_case(tile, sizes([2, 9, 8, 20], 70, [3, 3], Conv::new(1, 1)), DType::F32));
        all.push(transposed_case(tile, sizes([2, 9, 8, 68], 22, [3, 3], Conv::new(1, 1)), DType::F32));
    }
    all.push(case(sizes([1, 3, 3, 4], 0, [3, 3], Conv::new(1, 1)), DType::F32, false, None));
    all.push(itself());
    for tile in [Tile::Registers { quads: 2 }, Tile::Shared { side: 4 }] {
        all.push(tile_case(tile, sizes([1, 5, 6, 3], 5, [2, 3], uneven), DType::F32));
        all.push(transposed_case(tile, sizes([2, 6, 7, 3], 5, [3, 2], uneven), DType::F32));
    }
    all
}

/// The gradient by the input with a kernel that the device would not choose: x is dy here.
fn transposed_case(tile: Tile, s: Sizes, dtype: DType) -> OpCase {
    let Sizes { x, n, kernel: [ky, kx], conv } = s;
    let [rows, columns] = conv.output([x[1], x[2]], [ky, kx]).unwrap_or_default();
    let operands =
        vec![operand(&[x[0], rows, columns, n]).constant(), operand(&[n, ky, kx, x[3]]).dtype(dtype).constant()];
    let run = move |t: &[Tensor]| input_gradient(&t[0], &t[1], Shape::from(x), conv, available(tile, &t[0]));
    let oracle = move |a: &[Array]| {
        let mut dx = Array::build(&x, |_| 0.0);
        let _ = Array::from_coordinates(&a[0].shape, |at| {
            for tap in 0..ky * kx {
                let iy = (at[1] * conv.stride[0] + tap / kx).wrapping_sub(conv.padding[0][0]);
                let ix = (at[2] * conv.stride[1] + tap % kx).wrapping_sub(conv.padding[1][0]);
                for c in (0..x[3]).filter(|_| iy < x[1] && ix < x[2]) {
                    let flat = ((at[0] * x[1] + iy) * x[2] + ix) * x[3] + c;
                    dx.data[flat] += a[0].at(at) * a[1].at(&[at[3], tap / kx, tap % kx, c]);
                }
            }
            0.0
        });
        dx
    };
    OpCase::new(
        "conv2d",
        format!("gradient by {x:?} of {n} {ky}x{kx} {dtype} {conv:?} {tile:?}"),
        operands,
        run,
        oracle,
    )
}

/// The tile, if the device can run it.
fn available(tile: Tile, x: &Tensor) -> Option<Tile> {
    Some(tile).filter(|t| t.suits(x.gpu().subgroup_size()))
}

/// The value with a kernel that the device would not choose, where it can run it.
fn tile_case(tile: Tile, s: Sizes, dtype: DType) -> OpCase {
    let conv = s.conv;
    let mut case = case(s, dtype, false, None);
    case.label += &format!(" {tile:?}");
    case.operands.iter_mut().for_each(|o| o.differentiable = false);
    case.run = Box::new(move |t| forward(&t[0], &t[1], conv, Epilogue::default(), available(tile, &t[0])));
    case
}

/// An image as its own kernels.
fn itself() -> OpCase {
    let (shape, conv) = ([2, 3, 3, 4], Conv::new(1, 1));
    let oracle = move |a: &[Array]| Array::from_coordinates(&[2, 3, 3, 2], |at| at_pixel(&a[0], &a[0], conv, at));
    let run = move |t: &[Tensor]| conv2d(&t[0], &t[0], conv, Epilogue::default());
    OpCase::new("conv2d", "of a tensor with itself", vec![operand(&shape)], run, oracle)
}

/// A plain convolution of x `[B, Y, X, C]` with `n` kernels of `[KY, KX]`.
pub fn plain_case(x: [usize; 4], n: usize, kernel: [usize; 2], conv: Conv) -> OpCase {
    case(Sizes { x, n, kernel, conv }, DType::F32, false, None)
}

fn case(s: Sizes, dtype: DType, epilogue: bool, activation: Option<Activation>) -> OpCase {
    let Sizes { x, n, kernel: [ky, kx], conv } = s;
    let [oy, ox] = conv.output([x[1], x[2]], [ky, kx]).unwrap_or_default();
    let shape = [x[0], oy, ox, n];
    let mut operands = vec![operand(&x), operand(&[n, ky, kx, x[3]]).dtype(dtype)];
    if epilogue {
        operands.extend([operand(&[n]), operand(&shape)]);
    }
    let run =
        move |t: &[Tensor]| conv2d(&t[0], &t[1], conv, Epilogue { bias: t.get(2), activation, residual: t.get(3) });
    let oracle = move |a: &[Array]| {
        Array::from_coordinates(&shape, |at| {
            let value = at_pixel(&a[0], &a[1], conv, at) + a.get(2).map_or(0.0, |bias| bias.data[at[3]]);
            activation.map_or(value, |f| f.expr().eval(&[value], &[])) + a.get(3).map_or(0.0, |r| r.at(at))
        })
    };
    let label = format!(
        "{x:?} with {n} of {ky}x{kx} {dtype} stride {:?} padding {:?} {activation:?}",
        conv.stride, conv.padding
    );
    let flops = 2 * shape.iter().product::<usize>() * ky * kx * x[3];
    OpCase::new("conv2d", label, operands, run, oracle).flops(flops)
}

/// The sum of the module's formula.
fn at_pixel(x: &Array, w: &Array, conv: Conv, at: &[usize]) -> f64 {
    let mut sum = 0.0;
    for ky in 0..w.shape[1] {
        for kx in 0..w.shape[2] {
            let iy = (at[1] * conv.stride[0] + ky).wrapping_sub(conv.padding[0][0]);
            let ix = (at[2] * conv.stride[1] + kx).wrapping_sub(conv.padding[1][0]);
            if iy < x.shape[1] && ix < x.shape[2] {
                sum += (0..x.shape[3]).map(|c| x.at(&[at[0], iy, ix, c]) * w.at(&[at[3], ky, kx, c])).sum::<f64>();
            }
        }
    }
    sum
}
