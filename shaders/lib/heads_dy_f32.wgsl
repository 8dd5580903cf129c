// Four neighbours of the gradient dy from element e on, heads of a multiple of four elements.
fn dy4(e: u32, count: u32) -> vec4<f32> {
    return dy[e / 4u];
}
