// The eight rows of four neighbours that row_of_w of the kernel knows, for columns n .. n + 7 and step k, the same for the
// whole subgroup: every lane loads one row and gets the others from lanes 0 to 7. `lane` is the place in a subgroup of at
// least eight. A software driver pays for every load, the same for one value as for one of each lane, and little for a broadcast.
fn rows8(at: At, n: u32, k: u32, lane: u32) -> array<mat4x4<f32>, 2> {
    let own = row_of_w(at, n, k, lane & 7u);
    return array<mat4x4<f32>, 2>(
        mat4x4<f32>(subgroupBroadcast(own, 0u), subgroupBroadcast(own, 1u), subgroupBroadcast(own, 2u), subgroupBroadcast(own, 3u)),
        mat4x4<f32>(subgroupBroadcast(own, 4u), subgroupBroadcast(own, 5u), subgroupBroadcast(own, 6u), subgroupBroadcast(own, 7u)));
}
