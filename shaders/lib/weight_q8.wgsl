// Four neighbours of the weight w from element e on, 8-bit blocks of 32 that share an f16 scale, rows of whole blocks.
// A unit of 256 values is 68 words: 4 of scales (256-fold), 64 of values, see src/tensor/quantised.rs.
// Vector times 4096 x 4096 on lavapipe, ms of processor time: f32 15.3, this 13.3; reading a block's scale once for its 32
// values, by words or by quads, 18.3 and more. Unpacking costs what the smaller loads save.
alias Weight = u32;

fn w4(e: u32, count: u32) -> vec4<f32> {
    let unit = e / 256u * 68u;
    let scales = unpack2x16float(w[unit + e / 64u % 4u]);
    let scale = select(scales.x, scales.y, (e & 32u) != 0u) / 256.0;
    // Left then arithmetically right: the bytes with their signs.
    let bytes = vec4<u32>(w[unit + 4u + e / 4u % 64u]) << vec4<u32>(24u, 16u, 8u, 0u);
    return scale * vec4<f32>(bitcast<vec4<i32>>(bytes) >> vec4<u32>(24u));
}
