// Gradient of layer norm and RMS norm by their input, with n = (x - mean) * inverse and g = dy * gain.
//   dx[r, c] = inverse[r] * (g[r, c] - mean over c of g[r] - n[r, c] * mean over c of (g * n)[r])
// RMS norm is not CENTRED: without the mean of g.
//
//   x, dy, dx   [R, C]
//   gain        [C]
//   statistics  [R, 2]   mean and inverse of every row
//
// SHARED: a workgroup per row, lanes stride over it and fold their sums; otherwise an invocation per row.

alias V = vec4<f32>;                    // knob: vec4<f32> | vec2<f32> | f32
const WIDTH: u32 = 4u;                  // knob: elements of V
const CENTRED: bool = true;             // knob
const SHARED: bool = true;              // knob
const WG: u32 = 64u;

@group(0) @binding(0) var<storage, read>       x: array<V>;                     // [R, C]
@group(0) @binding(1) var<storage, read>       dy: array<V>;                    // [R, C]
@group(0) @binding(2) var<storage, read>       gain: array<V>;                  // [C]
@group(0) @binding(3) var<storage, read>       statistics: array<vec2<f32>>;    // [R, 2]
@group(0) @binding(4) var<storage, read_write> dx: array<V>;                    // [R, C]

struct Params {
    rows: u32, first_row: u32, c: u32,      // rows of this part
    start: u32,                             // where element 0 of the whole x, dy and dx would be, wraps below zero
    eps: f32,                               // as in layer_norm.wgsl, not used
}
@group(1) @binding(0) var<uniform> p: Params;

//@import "lib/index.wgsl"
//@import "lib/reduce.wgsl"

//@hook
fn total(v: V) -> f32 { return v.x + v.y + v.z + v.w; }

// Mean over the row from what every invocation has summed.
fn mean_of(sum: V, lane: u32) -> f32 {
    if SHARED { return fold_sum(total(sum), lane) / f32(p.c); }
    return total(sum) / f32(p.c);
}

@compute @workgroup_size(WG)
fn layer_norm_backward(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                       @builtin(local_invocation_index) lane: u32) {
    let index = group_index(group, groups);
    let place = select(index * WG + lane, index, SHARED);
    let row = p.first_row + min(place, p.rows - 1u);        // beyond the end: work on, write nothing
    let start = p.start + row * p.c;
    let first = select(0u, lane * WIDTH, SHARED);
    let step = select(WIDTH, WG * WIDTH, SHARED);
    let s = statistics[row];

    var sum_g = V(0.0);
    var sum_gn = V(0.0);
    for (var c = first; c < p.c; c += step) {
        let g = dy[(start + c) / WIDTH] * gain[c / WIDTH];
        sum_g += g;
        sum_gn += g * (x[(start + c) / WIDTH] - s.x) * s.y;
    }
    let mean_gn = mean_of(sum_gn, lane);
    var mean_g = 0.0;
    if CENTRED { mean_g = mean_of(sum_g, lane); }

    if place >= p.rows { return; }
    for (var c = first; c < p.c; c += step) {
        let g = dy[(start + c) / WIDTH] * gain[c / WIDTH];
        let n = (x[(start + c) / WIDTH] - s.x) * s.y;
        dx[(start + c) / WIDTH] = s.y * (g - mean_g - n * mean_gn);
    }
}
