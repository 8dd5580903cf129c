// Four neighbours from column d on of the eight queries, or gradients dy, t .. t + 7 of a head, the same for the whole
// subgroup: every lane loads one row and gets the others from lanes 0 to 7. `lane` is the place in a subgroup of at least eight.
fn queries8(b: u32, t: u32, h: u32, d: u32, count: u32, lane: u32) -> array<mat4x4<f32>, 2> {
    return spread(q4(query_row(b, t + lane % 8u, h) * p.width + d, count));
}

fn changes8(b: u32, t: u32, h: u32, d: u32, count: u32, lane: u32) -> array<mat4x4<f32>, 2> {
    return spread(dy4(query_row(b, t + lane % 8u, h) * p.width + d, count));
}

fn spread(own: vec4<f32>) -> array<mat4x4<f32>, 2> {
    return array<mat4x4<f32>, 2>(
        mat4x4<f32>(subgroupBroadcast(own, 0u), subgroupBroadcast(own, 1u), subgroupBroadcast(own, 2u), subgroupBroadcast(own, 3u)),
        mat4x4<f32>(subgroupBroadcast(own, 4u), subgroupBroadcast(own, 5u), subgroupBroadcast(own, 6u), subgroupBroadcast(own, 7u)));
}
