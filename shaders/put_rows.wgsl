// Replacement of rows.      y[r, c] = x[r, c] where source[r] = u32::MAX, else rows[source[r], c]
//
//   x       [R, C]  rows to keep
//   source  [R]     which of `rows` comes in; one beyond them gives a row of NaN
//   rows    [N, C]  rows to put in; without ROWS they are zeros, which is the gradient by x
//   y       [R, C]  result
//
// One invocation per V.

alias V = vec4<f32>;                    // knob: vec4<f32> | f32
const WG: u32 = 64u;

@group(0) @binding(0) var<storage, read>       x:      array<V>;    // [R, C]
@group(0) @binding(1) var<storage, read>       source: array<u32>;  // [R]
//@if ROWS
@group(0) @binding(2) var<storage, read>       rows:   array<V>;    // [N, C]
//@end
@group(0) @binding(3) var<storage, read_write> y:      array<V>;    // [R, C]

struct Params {
    count: u32, cols: u32,              // rows of y in this chunk, Vs of a row
    rows: u32, nan: u32,                // N; NaN as bits
    x_skip: u32, source_skip: u32, y_skip: u32,  // Vs (ids) between the start of a binding and its first row
}
@group(1) @binding(0) var<uniform> p: Params;

//@import "lib/index.wgsl"

@compute @workgroup_size(WG)
fn put_rows(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
            @builtin(local_invocation_index) lane: u32) {
    let i = group_index(group, groups) * WG + lane;
    let r = i / p.cols;
    if r >= p.count { return; }
    let id = source[p.source_skip + r];
    var value = V(0.0);
    if id == 0xffffffffu { value = x[p.x_skip + i]; }
    //@if ROWS
    else if id >= p.rows { value = V(bitcast<f32>(p.nan)); }
    else { value = rows[id * p.cols + i - r * p.cols]; }
    //@end
    y[p.y_skip + i] = value;
}
