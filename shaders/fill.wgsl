// Fill.      y[i] = value
//
//   y   [..]  result, as groups of four words (buffers are padded to that)
//
// The value is passed as bits, since a compiler may assume that a float is not NaN.

const WG: u32 = 64u;

@group(0) @binding(0) var<storage, read_write> y: array<vec4<u32>>;     // [..]

struct Params { count4: u32, bits: u32, pad0: u32, pad1: u32 }
@group(1) @binding(0) var<uniform> p: Params;

//@import "lib/index.wgsl"

@compute @workgroup_size(WG)
fn fill(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
    let i = group_index(group, groups) * WG + lane;
    if i < p.count4 { y[i] = vec4<u32>(p.bits); }
}
