// Puts the parts of attention_split together.    y[r] = sum over parts i of w[i] parts[r, i] / sum of w,   w[i] = l[i] exp(m[i] - max m)
//
//   parts        [R, P, D]   results of the parts, R = B T H
//   parts_stats  [R, P, 2]   their largest scores m and sums l of exp(score - m)
//   y            [R, D]
//   stats        [R, 2]      the same of all keys
//
// One invocation per element; the weights of a row are found anew by each, since there are few parts.

const WG: u32 = 64u;
alias V = f32;

//@import "lib/index.wgsl"
//@import "lib/math.wgsl"

@group(0) @binding(0) var<storage, read>       parts: array<f32>;              // [R, P, D]
@group(0) @binding(1) var<storage, read>       parts_stats: array<vec2<f32>>;  // [R, P, 2]
@group(0) @binding(2) var<storage, read_write> y: array<f32>;                  // [R, D]
@group(0) @binding(3) var<storage, read_write> stats: array<vec2<f32>>;        // [R, 2]

struct Params { rows: u32, first: u32, parts: u32, width: u32 }
@group(1) @binding(0) var<uniform> p: Params;

@compute @workgroup_size(WG)
fn attention_merge(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                   @builtin(local_invocation_index) lane: u32) {
    let i = group_index(group, groups) * WG + lane;
    if i >= p.rows * p.width { return; }
    let row = i / p.width;
    let d = i % p.width;
    let of_row = (p.first + row) * p.parts;
    var top = parts_stats[of_row].x;
    for (var j = 1u; j < p.parts; j++) { top = max(top, parts_stats[of_row + j].x); }
    var total = 0.0;
    var value = 0.0;
    for (var j = 0u; j < p.parts; j++) {
        let part = parts_stats[of_row + j];
        let weight = part.y * safe_exp(part.x - top);
        total += weight;
        value += weight * parts[(row * p.parts + j) * p.width + d];
    }
    y[i] = value / total;
    if d == 0u { stats[p.first + row] = vec2<f32>(top, total); }
}
