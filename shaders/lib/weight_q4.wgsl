// Four neighbours of the weight w from element e on, 4-bit blocks of 32 that share an f16 scale, rows of whole blocks.
// A unit of 256 values is 36 words: 4 of scales (256-fold), 32 of values, see src/tensor/quantised.rs.
// Vector times 4096 x 4096 on lavapipe, ms of processor time: f32 15.3, this 13.3; reading a block's scale once for its 32
// values 12.3 by words, 15.7 by quads: not worth a kernel of its own there.
alias Weight = u32;

fn w4(e: u32, count: u32) -> vec4<f32> {
    let unit = e / 256u * 36u;
    let scales = unpack2x16float(w[unit + e / 64u % 4u]);
    let scale = select(scales.x, scales.y, (e & 32u) != 0u) / 256.0;
    // The low halves of the four bytes, or the high ones for the second four of eight.
    let steps = vec4<u32>(w[unit + 4u + e / 8u % 32u]) >> (vec4<u32>(0u, 8u, 16u, 24u) + (e & 4u));
    return scale * (vec4<f32>(steps & vec4<u32>(15u)) - 8.0);
}
