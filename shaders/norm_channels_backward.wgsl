// Sums over the pixels of a chunk, for the gradients of a norm's gain and bias.
//   dgain[b, s, c] = sum over r in chunk s of dy[b, r, c] * (x[b, r, c] - mean) * inverse
//   dbias[b, s, c] = sum over r in chunk s of dy[b, r, c]
//
//   x, dy         [B, R, C]
//   statistics    [B, G, 2]   mean and inverse of every group (group norm), or [R, 2] of every row with PER_ROW (B = 1)
//   dgain, dbias  [B, S, C]
//
// One invocation per chunk and V; neighbours take neighbouring channels.

alias V = vec4<f32>;                    // knob: vec4<f32> | vec2<f32> | f32, never wider than a group
const WIDTH: u32 = 4u;                  // knob: elements of V
const PER_ROW: bool = false;            // knob
const WG: u32 = 64u;

@group(0) @binding(0) var<storage, read>       x: array<V>;                     // [B, R, C]
@group(0) @binding(1) var<storage, read>       dy: array<V>;                    // [B, R, C]
@group(0) @binding(2) var<storage, read>       statistics: array<vec2<f32>>;    // [B, G, 2]
@group(0) @binding(3) var<storage, read_write> dgain: array<V>;                 // [B, S, C]
@group(0) @binding(4) var<storage, read_write> dbias: array<V>;                 // [B, S, C]

struct Params {
    count: u32, first: u32,             // chunks of all images, of this part
    pixels: u32, c: u32, groups: u32,
    size: u32, per_image: u32,          // pixels of a chunk, chunks of an image
    start: u32,                         // where element 0 of the whole x and dy would be, wraps below zero
}
@group(1) @binding(0) var<uniform> p: Params;

//@import "lib/index.wgsl"

@compute @workgroup_size(WG)
fn norm_channels_backward(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                          @builtin(local_invocation_index) lane: u32) {
    let index = group_index(group, groups) * WG + lane;
    let across = p.c / WIDTH;
    if index >= p.count * across { return; }
    let chunk = p.first + index / across;
    let c = index % across * WIDTH;
    let image = chunk / p.per_image;
    let first = chunk % p.per_image * p.size;
    let start = p.start + image * p.pixels * p.c + c;

    var s = statistics[0];
    if !PER_ROW { s = statistics[image * p.groups + c / (p.c / p.groups)]; }
    var gains = V(0.0);
    var biases = V(0.0);
    for (var r = first; r < min(first + p.size, p.pixels); r++) {
        if PER_ROW { s = statistics[r]; }
        let d = dy[(start + r * p.c) / WIDTH];
        gains += d * ((x[(start + r * p.c) / WIDTH] - s.x) * s.y);
        biases += d;
    }
    dgain[chunk * across + c / WIDTH] = gains;
    dbias[chunk * across + c / WIDTH] = biases;
}
