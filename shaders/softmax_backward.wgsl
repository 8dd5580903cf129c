// Gradient of softmax.    dx[r, c] = y[r, c] (dy[r, c] - sum over c of y dy)
//
//   y   [R, C]   the result of softmax
//   dy  [R, C]
//   dx  [R, C]   with LOG: dy[r, c] - exp(y[r, c]) sum over c of dy
//
// Rows are shared out as in softmax.

const LOG: bool = false;                // knob
const SHARED: bool = true;              // knob
const WG: u32 = 64u;
alias V = f32;

@group(0) @binding(0) var<storage, read>       y: array<f32>;    // [R, C]
@group(0) @binding(1) var<storage, read>       dy: array<f32>;   // [R, C]
@group(0) @binding(2) var<storage, read_write> dx: array<f32>;   // [R, C]

struct Params { rows: u32, columns: u32, pad0: u32, pad1: u32 }
@group(1) @binding(0) var<uniform> p: Params;

//@import "lib/index.wgsl"
//@import "lib/math.wgsl"
//@import "lib/reduce.wgsl"

fn measure(start: u32, first: u32, step: u32) -> f32 {
    var total = 0.0;
    for (var c = first; c < p.columns; c += step) {
        total += dy[start + c] * select(y[start + c], 1.0, LOG);
    }
    return total;
}

fn write(start: u32, first: u32, step: u32, total: f32) {
    for (var c = first; c < p.columns; c += step) {
        let value = y[start + c];
        if LOG { dx[start + c] = dy[start + c] - safe_exp(value) * total; } else { dx[start + c] = value * (dy[start + c] - total); }
    }
}

@compute @workgroup_size(WG)
fn softmax_backward(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                    @builtin(local_invocation_index) lane: u32) {
    let index = group_index(group, groups);
    if SHARED {
        if index >= p.rows { return; }
        let total = fold_sum(measure(index * p.columns, lane, WG), lane);
        write(index * p.columns, lane, WG, total);
    } else {
        let row = index * WG + lane;
        if row >= p.rows { return; }
        write(row * p.columns, 0u, 1u, measure(row * p.columns, 0u, 1u));
    }
}
