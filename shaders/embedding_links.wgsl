// Occurrences of every id as linked lists, in order.      next[n] = the following m with ids[m] = ids[n]
//
//   ids    [N]  row numbers below V; others are left out
//   first  [V]  place of the first occurrence, plus one; 0 where there is none (zeroed before)
//   next   [N]  place of the next occurrence, plus one; 0 at the last
//
// One invocation per id looks ahead for the next occurrence and back for an earlier one. No atomics, so the order, and
// with it every sum over a list, is fixed. N^2 comparisons at most: 4 million for 2,048 ids.

const WG: u32 = 64u;

@group(0) @binding(0) var<storage, read>       ids:   array<u32>;   // [N]
@group(0) @binding(1) var<storage, read_write> first: array<u32>;   // [V]
@group(0) @binding(2) var<storage, read_write> next:  array<u32>;   // [N]

struct Params { count: u32, all: u32, pad0: u32, pad1: u32 }
@group(1) @binding(0) var<uniform> p: Params;

//@import "lib/index.wgsl"

@compute @workgroup_size(WG)
fn embedding_links(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                   @builtin(local_invocation_index) lane: u32) {
    let n = group_index(group, groups) * WG + lane;
    if n >= p.count { return; }
    let id = ids[n];
    next[n] = 0u;
    if id >= p.all { return; }
    for (var later = n + 1u; later < p.count; later++) {
        if ids[later] == id {
            next[n] = later + 1u;
            break;
        }
    }
    var earlier = n;
    for (; earlier > 0u; earlier--) {
        if ids[earlier - 1u] == id { break; }
    }
    if earlier == 0u { first[id] = n + 1u; }
}
