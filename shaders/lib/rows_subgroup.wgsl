// Four neighbours of the weight from each of four elements on, the same for the whole subgroup: every lane loads one row
// and gets the others from its first four lanes. A software driver pays for every load and little for a broadcast.
fn rows4(e: vec4<u32>, count: u32, lane: u32) -> mat4x4<f32> {
    let own = w4(e[lane % 4u], count);
    return mat4x4<f32>(subgroupBroadcast(own, 0u), subgroupBroadcast(own, 1u), subgroupBroadcast(own, 2u), subgroupBroadcast(own, 3u));
}
