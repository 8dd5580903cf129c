// Softmax over rows.      y[r, c] = exp(x[r, c] - max over c) / sum over c of exp(x[r, c] - max)
//
//   x   [R, C]
//   y   [R, C]
//
// SHARED: one workgroup per row, lanes stride over it and fold. Otherwise one invocation per row, which software drivers
// prefer. The maximum is taken off first, so nothing overflows.

const SHARED: bool = true;              // knob
const WG: u32 = 64u;

@group(0) @binding(0) var<storage, read>       x: array<f32>;    // [R, C]
@group(0) @binding(1) var<storage, read_write> y: array<f32>;    // [R, C]

struct Params { rows: u32, columns: u32, pad0: u32, pad1: u32 }
@group(1) @binding(0) var<uniform> p: Params;

//@import "lib/index.wgsl"
//@import "lib/reduce.wgsl"

const LOWEST: f32 = -3.4028235e38;

@compute @workgroup_size(WG)
fn softmax(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
           @builtin(local_invocation_index) lane: u32) {
    let index = group_index(group, groups);
    if SHARED {
        if index >= p.rows { return; }
        let start = index * p.columns;
        var high = LOWEST;
        for (var c = lane; c < p.columns; c += WG) { high = max(high, x[start + c]); }
        high = fold_max(high, lane);
        var sum = 0.0;
        for (var c = lane; c < p.columns; c += WG) { sum += exp(x[start + c] - high); }
        let scale = 1.0 / fold_sum(sum, lane);
        for (var c = lane; c < p.columns; c += WG) { y[start + c] = exp(x[start + c] - high) * scale; }
    } else {
        let row = index * WG + lane;
        if row >= p.rows { return; }
        let start = row * p.columns;
        var high = LOWEST;
        for (var c = 0u; c < p.columns; c++) { high = max(high, x[start + c]); }
        var sum = 0.0;
        for (var c = 0u; c < p.columns; c++) { sum += exp(x[start + c] - high); }
        let scale = 1.0 / sum;
        for (var c = 0u; c < p.columns; c++) { y[start + c] = exp(x[start + c] - high) * scale; }
    }
}
