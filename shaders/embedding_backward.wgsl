// Gradient of a gather of rows.      dw[v, c] = sum over n with ids[n] = v of dy[n, c], in the order of n
//
//   dy     [N, C]  gradient of the gathered rows
//   first  [V]     place of the first occurrence of a row, plus one; 0 where there is none
//   next   [N]     place of the next occurrence, plus one; 0 at the last
//   dw     [V, C]  result; rows that nothing reads get zeros
//
// One invocation per V of dw walks the list of its row (embedding_links.wgsl).

alias V = vec4<f32>;                    // knob: vec4<f32> | f32
const WG: u32 = 64u;

@group(0) @binding(0) var<storage, read>       dy:    array<V>;     // [N, C]
@group(0) @binding(1) var<storage, read>       first: array<u32>;   // [V]
@group(0) @binding(2) var<storage, read>       next:  array<u32>;   // [N]
@group(0) @binding(3) var<storage, read_write> dw:    array<V>;     // [V, C]

struct Params { count: u32, cols: u32, first_skip: u32, dw_skip: u32 }  // rows of dw in this chunk, Vs of a row
@group(1) @binding(0) var<uniform> p: Params;

//@import "lib/index.wgsl"

@compute @workgroup_size(WG)
fn embedding_backward(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                      @builtin(local_invocation_index) lane: u32) {
    let i = group_index(group, groups) * WG + lane;
    let row = i / p.cols;
    if row >= p.count { return; }
    let c = i - row * p.cols;
    var sum = V(0.0);
    var n = first[p.first_skip + row];
    while n > 0u {
        sum += dy[(n - 1u) * p.cols + c];
        n = next[n - 1u];
    }
    dw[p.dw_skip + i] = sum;
}
