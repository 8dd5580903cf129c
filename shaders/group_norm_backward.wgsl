// Gradient of group norm by its input, with n = (x - mean) * inverse.
//   dx[b, r, c] = inverse[b, g] * (dy[b, r, c] * gain[c] - mean_g[b, g] - n[b, r, c] * mean_gn[b, g]),   c in group g
//
//   x, dy, dx        [B, R, C]
//   gain             [C]
//   statistics       [B, G, 2]   mean and inverse
//   mean_g, mean_gn  [B, G]      over the pixels and channels of the group, of dy * gain and of dy * gain * n
//
// One invocation per V.

alias V = vec4<f32>;                    // knob: vec4<f32> | vec2<f32> | f32, never wider than a group
const WIDTH: u32 = 4u;                  // knob: elements of V
const WG: u32 = 64u;

@group(0) @binding(0) var<storage, read>       x: array<V>;                     // [B, R, C]
@group(0) @binding(1) var<storage, read>       dy: array<V>;                    // [B, R, C]
@group(0) @binding(2) var<storage, read>       gain: array<V>;                  // [C]
@group(0) @binding(3) var<storage, read>       statistics: array<vec2<f32>>;    // [B, G, 2]
@group(0) @binding(4) var<storage, read>       mean_g: array<f32>;              // [B, G]
@group(0) @binding(5) var<storage, read>       mean_gn: array<f32>;             // [B, G]
@group(0) @binding(6) var<storage, read_write> dx: array<V>;                    // [B, R, C]

struct Params {
    count: u32, first: u32,             // elements of this part
    pixels: u32, c: u32, groups: u32,
    start: u32,                         // where element 0 of the whole x, dy and dx would be, wraps below zero
}
@group(1) @binding(0) var<uniform> p: Params;

//@import "lib/index.wgsl"

@compute @workgroup_size(WG)
fn group_norm_backward(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                       @builtin(local_invocation_index) lane: u32) {
    let place = (group_index(group, groups) * WG + lane) * WIDTH;
    if place >= p.count { return; }
    let element = p.first + place;
    let c = element % p.c;
    let image = element / p.c / p.pixels;
    let g = image * p.groups + c / (p.c / p.groups);
    let s = statistics[g];
    let at = (p.start + element) / WIDTH;
    dx[at] = s.y * (dy[at] * gain[c / WIDTH] - mean_g[g] - (x[at] - s.x) * s.y * mean_gn[g]);
}
