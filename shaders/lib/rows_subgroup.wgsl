// Four neighbours of the weight from each of twice four elements on, the same eight for the whole subgroup: every lane
// loads one row and gets the others from lanes 0 to 7. `lane` is the place in a subgroup of at least eight. A software
// driver pays for every load, the same for one value as for one of each lane, and little for a broadcast.
fn rows8(e: array<vec4<u32>, 2>, count: vec2<u32>, lane: u32) -> array<mat4x4<f32>, 2> {
    let upper = (lane & 4u) != 0u;
    let own = w4(select(e[0], e[1], upper)[lane & 3u], select(count.x, count.y, upper));
    return array<mat4x4<f32>, 2>(
        mat4x4<f32>(subgroupBroadcast(own, 0u), subgroupBroadcast(own, 1u), subgroupBroadcast(own, 2u), subgroupBroadcast(own, 3u)),
        mat4x4<f32>(subgroupBroadcast(own, 4u), subgroupBroadcast(own, 5u), subgroupBroadcast(own, 6u), subgroupBroadcast(own, 7u)));
}
