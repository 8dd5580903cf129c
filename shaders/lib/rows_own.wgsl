// Four neighbours of the weight from each of four elements on.
fn rows4(e: vec4<u32>, count: u32, lane: u32) -> mat4x4<f32> {
    return mat4x4<f32>(w4(e.x, count), w4(e.y, count), w4(e.z, count), w4(e.w, count));
}
