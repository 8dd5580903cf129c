// Four neighbours of the input x from element e on, where `count` are left of their row.
fn row4(e: u32, count: u32, lane: u32) -> vec4<f32> {
    return x4(e, count);
}
