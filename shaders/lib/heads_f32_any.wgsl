// Four neighbours of the queries q, keys k and values v from element e on, heads of any width: from `count` on they are zero.
alias Head = f32;

// Where they are; those beyond the end repeat the last one, so that there is nothing to branch on.
fn neighbours(e: u32, count: u32) -> vec4<u32> {
    return e + min(vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(count - 1u));
}

fn q4(e: u32, count: u32) -> vec4<f32> {
    let at = neighbours(e, count);
    return select(vec4<f32>(0.0), vec4<f32>(q[at.x], q[at.y], q[at.z], q[at.w]), vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(count));
}

fn k4(e: u32, count: u32) -> vec4<f32> {
    let at = neighbours(e, count);
    return select(vec4<f32>(0.0), vec4<f32>(k[at.x], k[at.y], k[at.z], k[at.w]), vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(count));
}

fn v4(e: u32, count: u32) -> vec4<f32> {
    let at = neighbours(e, count);
    return select(vec4<f32>(0.0), vec4<f32>(v[at.x], v[at.y], v[at.z], v[at.w]), vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(count));
}
