// Gather of rows.      y[n, c] = w[ids[n], c]
//
//   w     [V, C]  table, any weight format; here its rows first .. first + rows
//   ids   [N]     which row; one beyond the table gives a row of NaN
//   y     [N, C]  result
//
// One invocation per four neighbours of a row of y. A table over the binding limit comes in parts: each part writes the
// rows whose ids it holds, the first one also those of bad ids.

const WG: u32 = 64u;

//@import "lib/index.wgsl"
//@import WEIGHT "lib/weight_f32.wgsl"

@group(0) @binding(0) var<storage, read>       w:   array<Weight>;  // [V, C]
@group(0) @binding(1) var<storage, read>       ids: array<u32>;     // [N]
@group(0) @binding(2) var<storage, read_write> y:   array<f32>;     // [N, C]

struct Params {
    count: u32, cols: u32,              // rows of y in this chunk, and C
    first: u32, rows: u32, all: u32,    // rows of the table in this part, and V
    w_skip: u32, ids_skip: u32, y_skip: u32,  // elements between the start of a binding and its first row
    nan: u32,                           // as bits: a compiler may assume that a float is not NaN
}
@group(1) @binding(0) var<uniform> p: Params;

@compute @workgroup_size(WG)
fn embedding(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
             @builtin(local_invocation_index) lane: u32) {
    let i = group_index(group, groups) * WG + lane;
    let quads = (p.cols + 3u) / 4u;
    let n = i / quads;
    if n >= p.count { return; }
    let id = ids[p.ids_skip + n];
    let bad = id >= p.all;
    if (bad && p.first > 0u) || (!bad && (id < p.first || id - p.first >= p.rows)) { return; }

    let c = (i - n * quads) * 4u;
    let count = min(p.cols - c, 4u);
    var value = vec4<f32>(bitcast<f32>(p.nan));
    if !bad { value = w4(p.w_skip + (id - p.first) * p.cols + c, count); }
    let at = p.y_skip + n * p.cols + c;
    for (var j = 0u; j < count; j++) { y[at + j] = value[j]; }
}
