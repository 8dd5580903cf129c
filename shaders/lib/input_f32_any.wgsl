// Four neighbours of the input x from element e on, f32, rows of any length: from `count` on they are zero.
alias Input = f32;

fn x4(e: u32, count: u32) -> vec4<f32> {
    var v = vec4<f32>(x[e], 0.0, 0.0, 0.0);
    if count > 1u { v.y = x[e + 1u]; }
    if count > 2u { v.z = x[e + 2u]; }
    if count > 3u { v.w = x[e + 3u]; }
    return v;
}

// Neighbour i of these four.
fn x1(e: u32, i: u32, count: u32) -> f32 {
    return select(0.0, x[e + min(i, count - 1u)], i < count);
}
