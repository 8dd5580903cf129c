// Softmax over rows.    y[r, c] = exp(x[r, c] - m) / l,   m = max of the row,   l = sum over c of exp(x[r, c] - m)
//
//   x  [R, C]
//   y  [R, C]   with LOG: x - m - ln l
//
// SHARED: one workgroup per row, lanes stride over it and fold. Otherwise one invocation per row, which software drivers
// prefer. Maximum and sum are found in one walk (online), the result is written in a second. As in PyTorch a row with NaN or
// +inf, or of nothing but -inf, becomes NaN.

const LOG: bool = false;                // knob
const SHARED: bool = true;              // knob
const WG: u32 = 64u;
alias V = f32;
const LOWEST: f32 = -3.4028234e38;

@group(0) @binding(0) var<storage, read>       x: array<f32>;    // [R, C]
@group(0) @binding(1) var<storage, read_write> y: array<f32>;    // [R, C]

struct Params { rows: u32, columns: u32, pad0: u32, pad1: u32 }
@group(1) @binding(0) var<uniform> p: Params;

//@import "lib/index.wgsl"
//@import "lib/math.wgsl"
//@import "lib/reduce.wgsl"

// exp for arguments that may be -inf, for which it is exactly 0.
fn weight(a: f32) -> f32 {
    return select(safe_exp(a), 0.0, a < -87.0);
}

// Maximum m and sum of exp(x - m) of the elements first, first + step, ... of a row.
fn measure(start: u32, first: u32, step: u32) -> vec2<f32> {
    var top = LOWEST;
    var total = 0.0;
    for (var c = first; c < p.columns; c += step) {
        let value = x[start + c];
        if value > top {
            total *= weight(top - value);
            top = value;
        }
        total += weight(value - top);
    }
    return vec2<f32>(top, total);
}

fn write(start: u32, first: u32, step: u32, top: f32, total: f32) {
    let scale = 1.0 / total;
    let shift = log(total);
    for (var c = first; c < p.columns; c += step) {
        let value = x[start + c] - top;
        if LOG { y[start + c] = value - shift; } else { y[start + c] = weight(value) * scale; }
    }
}

@compute @workgroup_size(WG)
fn softmax(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
           @builtin(local_invocation_index) lane: u32) {
    let index = group_index(group, groups);
    if SHARED {
        if index >= p.rows { return; }
        let own = measure(index * p.columns, lane, WG);
        let top = fold_max(own.x, lane);
        let total = fold_sum(own.y * weight(own.x - top), lane);
        write(index * p.columns, lane, WG, top, total);
    } else {
        let row = index * WG + lane;
        if row >= p.rows { return; }
        let own = measure(row * p.columns, 0u, 1u);
        write(row * p.columns, 0u, 1u, own.x, own.y);
    }
}
