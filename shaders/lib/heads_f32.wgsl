// Four neighbours of the queries q, keys k and values v from element e on, heads of a multiple of four elements.
alias Head = vec4<f32>;

fn q4(e: u32, count: u32) -> vec4<f32> {
    return q[e / 4u];
}

fn k4(e: u32, count: u32) -> vec4<f32> {
    return k[e / 4u];
}

fn v4(e: u32, count: u32) -> vec4<f32> {
    return v[e / 4u];
}
