// Rotary position embedding, half-split.    y[i] = x[i] cos - x[i + D/2] sin,   y[i + D/2] = x[i + D/2] cos + x[i] sin
//
//   x          [R, H, D]   R = B T
//   cos, sin   [P, D/2]    of every position
//   positions  [R]         beyond the table they count as its last row
//   y          [R, H, D]
//
// One invocation per pair (i, i + D/2). The backward pass turns the other way: `turn` is -1.

const WG: u32 = 64u;

@group(0) @binding(0) var<storage, read>       x: array<f32>;          // [R, H, D]
@group(0) @binding(1) var<storage, read>       cosines: array<f32>;    // [P, D/2]
@group(0) @binding(2) var<storage, read>       sines: array<f32>;      // [P, D/2]
@group(0) @binding(3) var<storage, read>       positions: array<u32>;  // [R]
@group(0) @binding(4) var<storage, read_write> y: array<f32>;          // [R, H, D]

struct Params {
    rows: u32, heads: u32,
    half_width: u32,                    // D/2
    table: u32,                         // P
    first: u32,                         // row of positions where this part starts
    turn: f32,
    pad0: u32, pad1: u32,
}
@group(1) @binding(0) var<uniform> p: Params;

//@import "lib/index.wgsl"

@compute @workgroup_size(WG)
fn rope(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
    let index = group_index(group, groups) * WG + lane;
    let head = index / p.half_width;
    let i = index % p.half_width;
    let row = head / p.heads;
    if row >= p.rows { return; }
    let angle = min(positions[p.first + row], p.table - 1u) * p.half_width + i;
    let c = cosines[angle];
    let s = sines[angle] * p.turn;
    let left = head * 2u * p.half_width + i;
    let right = left + p.half_width;
    let a = x[left];
    let b = x[right];
    y[left] = a * c - b * s;
    y[right] = b * c + a * s;
}
