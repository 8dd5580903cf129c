//! The inverse DCT, in libjpeg's accurate integer arithmetic (`jidctint.c`, after Loeffler, Ligtenberg and Moschytz).

use std::array::from_fn;

use super::frame::Component;

/// Bits behind the point of the constants.
const CONST_BITS: u32 = 13;
/// Bits behind the point that are kept between the passes.
const PASS1_BITS: u32 = 2;

/// The samples of a component, row-major with `blocks_x · 8` columns.
pub(super) fn samples(component: &Component) -> Vec<u8> {
    let table = component.table.unwrap_or([1; 64]);
    let stride = component.blocks_x * 8;
    let mut plane = vec![0; stride * component.blocks_y * 8];
    // Eight rows of samples belong to one row of blocks.
    let rows = plane.chunks_exact_mut((stride * 8).max(1));
    for (rows, blocks) in rows.zip(component.coefficients.chunks_exact(component.blocks_x.max(1))) {
        for (column, coefficients) in blocks.iter().enumerate() {
            let block = inverse(coefficients, &table);
            for (row, samples) in rows.chunks_exact_mut(stride).zip(block) {
                row.iter_mut().skip(column * 8).zip(samples).for_each(|(to, from)| *to = from);
            }
        }
    }
    plane
}

/// One block: columns, then rows.
fn inverse(coefficients: &[i16; 64], table: &[u16; 64]) -> [[u8; 8]; 8] {
    let coefficient = |i: usize| i64::from(coefficients[i]) * i64::from(table[i]);
    let columns: [[i64; 8]; 8] = from_fn(|column| {
        pass(from_fn(|row| coefficient(row * 8 + column))).map(|value| descale(value, CONST_BITS - PASS1_BITS))
    });
    let sample = |value| (descale(value, CONST_BITS + PASS1_BITS + 3) + 128).clamp(0, 255) as u8;
    from_fn(|row| pass(columns.map(|column| column[row])).map(sample))
}

fn descale(value: i64, bits: u32) -> i64 {
    (value + (1 << (bits - 1))) >> bits
}

/// Eight points, scaled up by 2^13 (and the transform's own √8).
fn pass(x: [i64; 8]) -> [i64; 8] {
    let z1 = (x[2] + x[6]) * 4433;
    let (even2, even3) = (z1 - x[6] * 15137, z1 + x[2] * 6270);
    let (even0, even1) = ((x[0] + x[4]) << CONST_BITS, (x[0] - x[4]) << CONST_BITS);
    let [a, b, c, d] = [even0 + even3, even1 + even2, even1 - even2, even0 - even3];

    let z5 = (x[7] + x[3] + x[5] + x[1]) * 9633;
    let (z1, z2) = ((x[7] + x[1]) * -7373, (x[5] + x[3]) * -20995);
    let (z3, z4) = ((x[7] + x[3]) * -16069 + z5, (x[5] + x[1]) * -3196 + z5);
    let odd0 = x[7] * 2446 + z1 + z3;
    let odd1 = x[5] * 16819 + z2 + z4;
    let odd2 = x[3] * 25172 + z2 + z3;
    let odd3 = x[1] * 12299 + z1 + z4;
    [a + odd3, b + odd2, c + odd1, d + odd0, d - odd0, c - odd1, b - odd2, a - odd3]
}
