// Group norm, last step.      y[b, r, c] = apply((x[b, r, c] - mean[b, g]) * inverse[b, g] * gain[c] + bias[c]),   c in group g
//
//   x, y        [B, R, C]
//   gain, bias  [C]
//   statistics  [B, G, 2]   mean and 1 / sqrt(variance + eps)
//
// One invocation per V.

alias V = vec4<f32>;                    // knob: vec4<f32> | vec2<f32> | f32, never wider than a group
const WIDTH: u32 = 4u;                  // knob: elements of V
const WG: u32 = 64u;

@group(0) @binding(0) var<storage, read>       x: array<V>;                     // [B, R, C]
@group(0) @binding(1) var<storage, read>       gain: array<V>;                  // [C]
@group(0) @binding(2) var<storage, read>       bias: array<V>;                  // [C]
@group(0) @binding(3) var<storage, read>       statistics: array<vec2<f32>>;    // [B, G, 2]
@group(0) @binding(4) var<storage, read_write> y: array<V>;                     // [B, R, C]

struct Params {
    count: u32, first: u32,             // elements of this part
    pixels: u32, c: u32, groups: u32,
    start: u32,                         // where element 0 of the whole x and y would be, wraps below zero
}
@group(1) @binding(0) var<uniform> p: Params;

//@import "lib/index.wgsl"
//@import "lib/math.wgsl"

//@hook
fn apply(a: V) -> V { return a; }

@compute @workgroup_size(WG)
fn group_norm(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
              @builtin(local_invocation_index) lane: u32) {
    let place = (group_index(group, groups) * WG + lane) * WIDTH;
    if place >= p.count { return; }
    let element = p.first + place;
    let c = element % p.c;
    let image = element / p.c / p.pixels;
    let s = statistics[image * p.groups + c / (p.c / p.groups)];
    let at = (p.start + element) / WIDTH;
    y[at] = apply((x[at] - s.x) * s.y * gain[c / WIDTH] + bias[c / WIDTH]);
}
