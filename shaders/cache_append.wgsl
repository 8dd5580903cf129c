// Writes new rows into a cache.    cache[b, at + t] = rows[b, t]
//
//   rows   [B, T, G, D]
//   cache  [B, S, G, D]   only S rows from `at` on are written
//
// One invocation per V.

alias V = vec4<f32>;                    // knob: vec4<f32> | f32
const WG: u32 = 64u;

@group(0) @binding(0) var<storage, read>       rows: array<V>;   // [B, T, G, D]
@group(0) @binding(1) var<storage, read_write> cache: array<V>;  // [B, S, G, D]

struct Params {
    count: u32,                         // Vs to write
    rows_batch: u32, cache_batch: u32,  // Vs of a batch of rows and of cache
    at: u32,                            // V of a cache batch where the rows go
    first: u32,                         // V of rows where this part starts
    pad0: u32, pad1: u32, pad2: u32,
}
@group(1) @binding(0) var<uniform> p: Params;

//@import "lib/index.wgsl"

@compute @workgroup_size(WG)
fn cache_append(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                @builtin(local_invocation_index) lane: u32) {
    let i = group_index(group, groups) * WG + lane;
    if i >= p.count { return; }
    cache[i / p.rows_batch * p.cache_batch + p.at + i % p.rows_batch] = rows[p.first + i];
}
