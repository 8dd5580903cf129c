// Group norm, second step: the chunks of a group put together, exactly (Chan, Golub and LeVeque 1979).
//   mean       = sum over s of n[s] * mean[s] / n
//   statistics = (mean, 1 / sqrt(variance + eps)),   variance = sum over s of (squares[s] + n[s] * (mean[s] - mean)^2) / n
//
//   chunks      [B, S, G, 2]   mean and squares
//   statistics  [B, G, 2]
//
// SHARED: one workgroup per image and group; otherwise one invocation, for a software driver, where barriers are what
// costs: in a training step of the small UNet a run went from 1.2 to 0.1 ms.

const SHARED: bool = true;              // knob
const WG: u32 = 64u;

@group(0) @binding(0) var<storage, read>       chunks: array<vec2<f32>>;        // [B, S, G, 2]
@group(0) @binding(1) var<storage, read_write> statistics: array<vec2<f32>>;    // [B, G, 2]

struct Params {
    count: u32, groups: u32,            // statistics, groups of an image
    pixels: u32, size: u32, per_image: u32,
    width: f32,                         // channels of a group
    eps: f32,
}
@group(1) @binding(0) var<uniform> p: Params;

//@import "lib/index.wgsl"
//@import "lib/reduce.wgsl"

// Part of the image that chunk s is.
fn share(s: u32) -> f32 {
    return f32(min(p.size, p.pixels - s * p.size)) / f32(p.pixels);
}

// The sum over all chunks of a group, the same in every lane that works on it.
fn over_chunks(sum: f32, lane: u32) -> f32 {
    if SHARED { return fold_sum(sum, lane); }
    return sum;
}

@compute @workgroup_size(WG)
fn group_norm_statistics(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                         @builtin(local_invocation_index) lane: u32) {
    let place = group_index(group, groups);
    let own = select(place * WG + lane, place, SHARED);
    let index = min(own, p.count - 1u);                 // beyond the end: work on, write nothing
    let first = select(0u, lane, SHARED);
    let step = select(1u, WG, SHARED);
    let start = index / p.groups * p.per_image * p.groups + index % p.groups;

    var sum = 0.0;
    for (var s = first; s < p.per_image; s += step) { sum += share(s) * chunks[start + s * p.groups].x; }
    let mean = over_chunks(sum, lane);
    var squares = 0.0;
    for (var s = first; s < p.per_image; s += step) {
        let chunk = chunks[start + s * p.groups];
        let deviation = chunk.x - mean;
        let elements = f32(min(p.size, p.pixels - s * p.size)) * p.width;
        squares += share(s) * (chunk.y / elements + deviation * deviation);
    }
    let inverse = inverseSqrt(over_chunks(squares, lane) + p.eps);
    if (lane == 0u || !SHARED) && own < p.count { statistics[index] = vec2<f32>(mean, inverse); }
}
