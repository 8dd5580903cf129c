// Sinusoidal embedding of a timestep.      y[b] = [cos(t[b] * f), sin(t[b] * f)]  or the halves swapped
//
//   t   [B]       timesteps
//   f   [C/2]     frequencies
//   y   [B, C]    result; an odd last column is zero
//
// One invocation per element. The sine is ours: drivers promise nothing for angles of many turns.

alias V = f32;
const COS_FIRST: bool = true;           // knob
const WG: u32 = 64u;

@group(0) @binding(0) var<storage, read>       t: array<f32>;   // [B]
@group(0) @binding(1) var<storage, read>       f: array<f32>;   // [C/2]
@group(0) @binding(2) var<storage, read_write> y: array<f32>;   // [B, C]

struct Params {
    count: u32, cols: u32,              // elements of y in this chunk, and C
    row: u32, y_skip: u32,              // first row of the chunk, and elements before it in the binding
}
@group(1) @binding(0) var<uniform> p: Params;

//@import "lib/index.wgsl"
//@import "lib/math.wgsl"

@compute @workgroup_size(WG)
fn timestep(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
            @builtin(local_invocation_index) lane: u32) {
    let i = group_index(group, groups) * WG + lane;
    if i >= p.count { return; }
    let b = i / p.cols;
    let c = i - b * p.cols;
    let half = p.cols / 2u;
    if c >= 2u * half {
        y[p.y_skip + i] = 0.0;
        return;
    }
    let in_first = c < half;
    let angle = t[p.row + b] * f[select(c - half, c, in_first)];
    // A cosine is a sine a quarter turn on, so one polynomial pair serves both.
    let n = quarter_turns(angle);
    y[p.y_skip + i] = sine_from(rest_of_turn(angle, n), n + select(0.0, 1.0, in_first == COS_FIRST));
}
