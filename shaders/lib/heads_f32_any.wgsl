// Four neighbours of the queries q, keys k and values v from element e on, heads of any width: from `count` on they are zero.
alias Head = f32;

fn q4(e: u32, count: u32) -> vec4<f32> {
    var a = vec4<f32>(q[e], 0.0, 0.0, 0.0);
    if count > 1u { a.y = q[e + 1u]; }
    if count > 2u { a.z = q[e + 2u]; }
    if count > 3u { a.w = q[e + 3u]; }
    return a;
}

fn k4(e: u32, count: u32) -> vec4<f32> {
    var a = vec4<f32>(k[e], 0.0, 0.0, 0.0);
    if count > 1u { a.y = k[e + 1u]; }
    if count > 2u { a.z = k[e + 2u]; }
    if count > 3u { a.w = k[e + 3u]; }
    return a;
}

fn v4(e: u32, count: u32) -> vec4<f32> {
    var a = vec4<f32>(v[e], 0.0, 0.0, 0.0);
    if count > 1u { a.y = v[e + 1u]; }
    if count > 2u { a.z = v[e + 2u]; }
    if count > 3u { a.w = v[e + 3u]; }
    return a;
}
