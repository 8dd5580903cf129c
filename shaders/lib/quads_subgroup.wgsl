// Quads n0, n0 + 4, … of the gradient w of PIXELS neighbouring pixels from q on, the same eight for the whole subgroup: every lane
// loads one and gets the others from lanes 0 to 7. `lane` is the place in a subgroup of at least eight.
fn quads8(q: u32, last: u32, n0: u32, lane: u32) -> array<vec4<f32>, 8> {
    let own = quad(q, last, n0, lane % 8u);
    return array<vec4<f32>, 8>(
        subgroupBroadcast(own, 0u), subgroupBroadcast(own, 1u), subgroupBroadcast(own, 2u), subgroupBroadcast(own, 3u),
        subgroupBroadcast(own, 4u), subgroupBroadcast(own, 5u), subgroupBroadcast(own, 6u), subgroupBroadcast(own, 7u));
}
