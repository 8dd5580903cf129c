// Ceiling of memory.      y[i] = x[i]
//
//   x   [N]  any values, as groups of four
//   y   [N]  the same
//
// Nothing but loads and stores of 16 bytes, `steps` of them an invocation, neighbours at neighbouring addresses: how many
// bytes a second the adapter moves. What fits its caches may be faster than this, which is measured beyond them.

const WG: u32 = 64u;

@group(0) @binding(0) var<storage, read>       x: array<vec4<f32>>;     // [N/4]
@group(0) @binding(1) var<storage, read_write> y: array<vec4<f32>>;     // [N/4]

struct Params { count4: u32, steps: u32, pad0: u32, pad1: u32 }
@group(1) @binding(0) var<uniform> p: Params;

//@import "lib/index.wgsl"

@compute @workgroup_size(WG)
fn ceiling_copy(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                @builtin(local_invocation_index) lane: u32) {
    let start = group_index(group, groups) * p.steps * WG + lane;
    for (var s = 0u; s < p.steps; s++) {
        let i = start + s * WG;
        if i >= p.count4 { break; }
        y[i] = x[i];
    }
}
