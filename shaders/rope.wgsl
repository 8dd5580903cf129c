// Rotary positions.      y[.., i]       = x[.., i] * cos[t, i]       - x[.., i + D/2] * sin[t, i]
//                        y[.., i + D/2] = x[.., i + D/2] * cos[t, i] + x[.., i] * sin[t, i]       for i < D/2
//
//   x          [B, T, H, D]  heads
//   cos, sin   [P, D/2]      tables; t is the token's position, positions[b, t]
//   positions  [B, T]        clamped to the last row of the tables
//   y          [B, T, H, D]
//
// One invocation per pair of elements that turn together. INVERSE turns by the negative angle: the gradient.

const INVERSE: bool = false;            // knob
const WG: u32 = 64u;

@group(0) @binding(0) var<storage, read>       x:         array<f32>;   // [B, T, H, D]
@group(0) @binding(1) var<storage, read>       cosines:   array<f32>;   // [P, D/2]
@group(0) @binding(2) var<storage, read>       sines:     array<f32>;   // [P, D/2]
@group(0) @binding(3) var<storage, read>       positions: array<u32>;   // [B, T]
@group(0) @binding(4) var<storage, read_write> y:         array<f32>;   // [B, T, H, D]

struct Params { pairs: u32, heads: u32, half: u32, last: u32 }
@group(1) @binding(0) var<uniform> p: Params;

//@import "lib/index.wgsl"

@compute @workgroup_size(WG)
fn rope(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
    let pair = group_index(group, groups) * WG + lane;
    if pair >= p.pairs { return; }
    let i = pair % p.half;
    let head = pair / p.half;                           // counts through B, T, H
    let row = min(positions[head / p.heads], p.last) * p.half + i;
    let c = cosines[row];
    let s = select(sines[row], -sines[row], INVERSE);
    let at = head * 2u * p.half + i;
    let low = x[at];
    let high = x[at + p.half];
    y[at] = low * c - high * s;
    y[at + p.half] = high * c + low * s;
}
