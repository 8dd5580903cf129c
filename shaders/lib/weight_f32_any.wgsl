// Four neighbours of the weight w from element e on, f32, rows of any length: from `count` on they are zero.
alias Weight = f32;

fn w4(e: u32, count: u32) -> vec4<f32> {
    var v = vec4<f32>(w[e], 0.0, 0.0, 0.0);
    if count > 1u { v.y = w[e + 1u]; }
    if count > 2u { v.z = w[e + 2u]; }
    if count > 3u { v.w = w[e + 3u]; }
    return v;
}
