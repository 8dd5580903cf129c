// Four neighbours of the gradient dy from element e on, heads of any width: from `count` on they are zero.
fn dy4(e: u32, count: u32) -> vec4<f32> {
    var a = vec4<f32>(dy[e], 0.0, 0.0, 0.0);
    if count > 1u { a.y = dy[e + 1u]; }
    if count > 2u { a.z = dy[e + 2u]; }
    if count > 3u { a.w = dy[e + 3u]; }
    return a;
}
