// Four neighbours from column d on of the eight keys, or values, s .. s + 7 of a head; from `count` on they are zero.
fn keys8(b: u32, s: u32, h: u32, d: u32, count: u32, lane: u32) -> array<mat4x4<f32>, 2> {
    return array<mat4x4<f32>, 2>(
        mat4x4<f32>(k4(key_row(b, s + 0u, h) * p.width + d, count),
                    k4(key_row(b, s + 1u, h) * p.width + d, count),
                    k4(key_row(b, s + 2u, h) * p.width + d, count),
                    k4(key_row(b, s + 3u, h) * p.width + d, count)),
        mat4x4<f32>(k4(key_row(b, s + 4u, h) * p.width + d, count),
                    k4(key_row(b, s + 5u, h) * p.width + d, count),
                    k4(key_row(b, s + 6u, h) * p.width + d, count),
                    k4(key_row(b, s + 7u, h) * p.width + d, count)));
}

fn values8(b: u32, s: u32, h: u32, d: u32, count: u32, lane: u32) -> array<mat4x4<f32>, 2> {
    return array<mat4x4<f32>, 2>(
        mat4x4<f32>(v4(key_row(b, s + 0u, h) * p.width + d, count),
                    v4(key_row(b, s + 1u, h) * p.width + d, count),
                    v4(key_row(b, s + 2u, h) * p.width + d, count),
                    v4(key_row(b, s + 3u, h) * p.width + d, count)),
        mat4x4<f32>(v4(key_row(b, s + 4u, h) * p.width + d, count),
                    v4(key_row(b, s + 5u, h) * p.width + d, count),
                    v4(key_row(b, s + 6u, h) * p.width + d, count),
                    v4(key_row(b, s + 7u, h) * p.width + d, count)));
}
