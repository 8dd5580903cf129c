// Four neighbours from column d on of the eight queries, or gradients dy, t .. t + 7 of a head; from `count` on they are zero.
fn queries8(b: u32, t: u32, h: u32, d: u32, count: u32, lane: u32) -> array<mat4x4<f32>, 2> {
    return array<mat4x4<f32>, 2>(
        mat4x4<f32>(q4(query_row(b, t + 0u, h) * p.width + d, count),
                    q4(query_row(b, t + 1u, h) * p.width + d, count),
                    q4(query_row(b, t + 2u, h) * p.width + d, count),
                    q4(query_row(b, t + 3u, h) * p.width + d, count)),
        mat4x4<f32>(q4(query_row(b, t + 4u, h) * p.width + d, count),
                    q4(query_row(b, t + 5u, h) * p.width + d, count),
                    q4(query_row(b, t + 6u, h) * p.width + d, count),
                    q4(query_row(b, t + 7u, h) * p.width + d, count)));
}

fn changes8(b: u32, t: u32, h: u32, d: u32, count: u32, lane: u32) -> array<mat4x4<f32>, 2> {
    return array<mat4x4<f32>, 2>(
        mat4x4<f32>(dy4(query_row(b, t + 0u, h) * p.width + d, count),
                    dy4(query_row(b, t + 1u, h) * p.width + d, count),
                    dy4(query_row(b, t + 2u, h) * p.width + d, count),
                    dy4(query_row(b, t + 3u, h) * p.width + d, count)),
        mat4x4<f32>(dy4(query_row(b, t + 4u, h) * p.width + d, count),
                    dy4(query_row(b, t + 5u, h) * p.width + d, count),
                    dy4(query_row(b, t + 6u, h) * p.width + d, count),
                    dy4(query_row(b, t + 7u, h) * p.width + d, count)));
}
