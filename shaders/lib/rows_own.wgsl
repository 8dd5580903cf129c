// Four neighbours of the weight from each of twice four elements on; from `count` on they are zero.
fn rows8(e: array<vec4<u32>, 2>, count: vec2<u32>, lane: u32) -> array<mat4x4<f32>, 2> {
    return array<mat4x4<f32>, 2>(rows4(e[0], count.x), rows4(e[1], count.y));
}

fn rows4(e: vec4<u32>, count: u32) -> mat4x4<f32> {
    return mat4x4<f32>(w4(e.x, count), w4(e.y, count), w4(e.z, count), w4(e.w, count));
}
