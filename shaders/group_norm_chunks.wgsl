// Group norm, first step: every chunk's mean and squared deviations.
//   chunks[b, s, g] = (mean, sum of (x - mean)^2)   over SIZE pixels r of chunk s and the channels c of group g
//
//   x       [B, R, C]
//   chunks  [B, S, G, 2]
//
// One invocation per chunk and group; neighbours take neighbouring groups. The second walk over a chunk finds it in the
// cache, so memory is read once.

alias V = vec4<f32>;                    // knob: vec4<f32> | vec2<f32> | f32, never wider than a group
const WIDTH: u32 = 4u;                  // knob: elements of V
const WG: u32 = 64u;

@group(0) @binding(0) var<storage, read>       x: array<V>;                 // [B, R, C]
@group(0) @binding(1) var<storage, read_write> chunks: array<vec2<f32>>;    // [B, S, G, 2]

struct Params {
    count: u32, first: u32,             // chunks of all images, of this part
    pixels: u32, c: u32, groups: u32,
    size: u32, per_image: u32,          // pixels of a chunk, chunks of an image
    start: u32,                         // where element 0 of the whole x would be, wraps below zero
}
@group(1) @binding(0) var<uniform> p: Params;

//@import "lib/index.wgsl"

//@hook
fn total(v: V) -> f32 { return v.x + v.y + v.z + v.w; }

@compute @workgroup_size(WG)
fn group_norm_chunks(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                     @builtin(local_invocation_index) lane: u32) {
    let index = group_index(group, groups) * WG + lane;
    if index >= p.count * p.groups { return; }
    let chunk = p.first + index / p.groups;
    let image = chunk / p.per_image;
    let first = chunk % p.per_image * p.size;
    let end = min(first + p.size, p.pixels);
    let width = p.c / p.groups;
    let start = p.start + image * p.pixels * p.c + index % p.groups * width;

    var sum = V(0.0);
    for (var r = first; r < end; r++) {
        for (var c = 0u; c < width; c += WIDTH) { sum += x[(start + r * p.c + c) / WIDTH]; }
    }
    let mean = total(sum) / f32((end - first) * width);
    var squares = V(0.0);
    for (var r = first; r < end; r++) {
        for (var c = 0u; c < width; c += WIDTH) {
            let deviation = x[(start + r * p.c + c) / WIDTH] - mean;
            squares += deviation * deviation;
        }
    }
    chunks[chunk * p.groups + index % p.groups] = vec2<f32>(mean, total(squares));
}
