// Four neighbours of the gradient dy from element e on, heads of any width: from `count` on they are zero.
fn dy4(e: u32, count: u32) -> vec4<f32> {
    let at = neighbours(e, count);
    return select(vec4<f32>(0.0), vec4<f32>(dy[at.x], dy[at.y], dy[at.z], dy[at.w]), vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(count));
}
