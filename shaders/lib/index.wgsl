// Grids are folded at 65 535 workgroups a dimension: the index of this workgroup among all.
fn group_index(group: vec3<u32>, groups: vec3<u32>) -> u32 {
    return group.y * groups.x + group.x;
}
