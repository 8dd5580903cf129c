// What the backward pass of attention reads of every row.    rows[r] = (m, l, sum over d of dy[r, d] y[r, d], 0)
//
//   y      [R, D]   the result, R = B T H
//   dy     [R, D]
//   stats  [R, 2]   largest score m and sum l of exp(score - m)
//   rows   [R, 4]
//
// One invocation per row.

const WG: u32 = 64u;

@group(0) @binding(0) var<storage, read>       y: array<f32>;            // [R, D]
@group(0) @binding(1) var<storage, read>       dy: array<f32>;           // [R, D]
@group(0) @binding(2) var<storage, read>       stats: array<vec2<f32>>;  // [R, 2]
@group(0) @binding(3) var<storage, read_write> rows: array<vec4<f32>>;   // [R, 4]

struct Params { rows: u32, first: u32, width: u32, pad: u32 }
@group(1) @binding(0) var<uniform> p: Params;

//@import "lib/index.wgsl"

@compute @workgroup_size(WG)
fn attention_delta(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                   @builtin(local_invocation_index) lane: u32) {
    let row = group_index(group, groups) * WG + lane;
    if row >= p.rows { return; }
    var sum = 0.0;
    for (var d = 0u; d < p.width; d++) { sum = fma(y[row * p.width + d], dy[row * p.width + d], sum); }
    let of_row = stats[p.first + row];
    rows[p.first + row] = vec4<f32>(of_row.x, of_row.y, sum, 0.0);
}
