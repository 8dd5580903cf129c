// Layer norm and RMS norm.      y[r, c] = (x[r, c] - mean[r]) * inverse[r] * gain[c] + bias[c],
//                                 inverse[r] = 1 / sqrt(mean over c of (x[r, c] - mean[r])^2 + eps)
// RMS norm is not CENTRED: mean = 0, no bias.
//
//   x, y        [R, C]
//   gain, bias  [C]
//   statistics  [R, 2]   mean and inverse of every row, for the backward pass
//
// The mean comes first and the squared deviations second, for accuracy. SHARED: a workgroup per row, lanes stride over
// it and fold their sums; otherwise an invocation per row, which software drivers prefer.

alias V = vec4<f32>;                    // knob: vec4<f32> | vec2<f32> | f32
const WIDTH: u32 = 4u;                  // knob: elements of V
const CENTRED: bool = true;             // knob
const SHARED: bool = true;              // knob
const WG: u32 = 64u;

@group(0) @binding(0) var<storage, read>       x: array<V>;                     // [R, C]
@group(0) @binding(1) var<storage, read>       gain: array<V>;                  // [C]
//@if BIAS
@group(0) @binding(2) var<storage, read>       bias: array<V>;                  // [C]
//@end
@group(0) @binding(3) var<storage, read_write> y: array<V>;                     // [R, C]
@group(0) @binding(4) var<storage, read_write> statistics: array<vec2<f32>>;    // [R, 2]

struct Params {
    rows: u32, first_row: u32, c: u32,      // rows of this part
    start: u32,                             // where element 0 of the whole x and y would be, wraps below zero
    eps: f32,
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
fn layer_norm(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
              @builtin(local_invocation_index) lane: u32) {
    let index = group_index(group, groups);
    let place = select(index * WG + lane, index, SHARED);
    let row = p.first_row + min(place, p.rows - 1u);        // beyond the end: work on, write nothing
    let start = p.start + row * p.c;
    let first = select(0u, lane * WIDTH, SHARED);
    let step = select(WIDTH, WG * WIDTH, SHARED);

    var mean = 0.0;
    if CENTRED {
        var sum = V(0.0);
        for (var c = first; c < p.c; c += step) { sum += x[(start + c) / WIDTH]; }
        mean = mean_of(sum, lane);
    }
    var squares = V(0.0);
    for (var c = first; c < p.c; c += step) {
        let deviation = x[(start + c) / WIDTH] - mean;
        squares += deviation * deviation;
    }
    let inverse = inverseSqrt(mean_of(squares, lane) + p.eps);

    if place >= p.rows { return; }
    for (var c = first; c < p.c; c += step) {
        var value = (x[(start + c) / WIDTH] - mean) * inverse * gain[c / WIDTH];
        //@if BIAS
        value += bias[c / WIDTH];
        //@end
        y[(start + c) / WIDTH] = value;
    }
    if first == 0u { statistics[row] = vec2<f32>(mean, inverse); }
}
