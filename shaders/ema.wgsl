// Exponential moving average in place.      average[i] = decay * average[i] + (1 - decay) * x[i]
//
//   average  [..]
//   x        [..]
//
// One invocation takes `steps` Vs, since a software driver pays for every workgroup.

alias V = vec4<f32>;                    // knob: vec4<f32> | f32
const WG: u32 = 64u;

@group(0) @binding(0) var<storage, read_write> average: array<V>;  // [..]
@group(0) @binding(1) var<storage, read>       x:       array<V>;  // [..]

struct Params { count: u32, steps: u32, pad0: u32, pad1: u32, decay: f32, rest: f32 }
@group(1) @binding(0) var<uniform> p: Params;

//@import "lib/index.wgsl"

@compute @workgroup_size(WG)
fn ema(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
       @builtin(local_invocation_index) lane: u32) {
    let start = group_index(group, groups) * p.steps * WG + lane;
    for (var s = 0u; s < p.steps; s++) {
        let i = start + s * WG;
        if i >= p.count { break; }
        average[i] = p.decay * average[i] + p.rest * x[i];
    }
}
