// Four neighbours of the input x from element e on, where `count` are left of their row, the same for the whole subgroup:
// every lane loads one of them and gets the others from lanes 0 to 3. See lib/rows_subgroup.wgsl.
fn row4(e: u32, count: u32, lane: u32) -> vec4<f32> {
    let own = x1(e, lane & 3u, count);
    return vec4<f32>(subgroupBroadcast(own, 0u), subgroupBroadcast(own, 1u), subgroupBroadcast(own, 2u), subgroupBroadcast(own, 3u));
}
