// A step of AdamW in place, with g = gradient * clip.
//
//   m = beta1 m + (1 - beta1) g,   v = beta2 v + (1 - beta2) g^2,   x = decay x - rate m / (sqrt(v) root + eps)
//
//   x     [..]  parameter
//   m, v  [..]  means of gradients and of their squares
//   g     [..]  gradient
//   clip  [1]   with CLIP: what the gradient is multiplied by
//
// The host folds learning rate and bias corrections into decay, rate and root. One invocation takes `steps` Vs, since a
// software driver pays for every workgroup.

alias V = vec4<f32>;                    // knob: vec4<f32> | f32
const WG: u32 = 64u;

@group(0) @binding(0) var<storage, read_write> x:    array<V>;    // [..]
@group(0) @binding(1) var<storage, read_write> m:    array<V>;    // [..]
@group(0) @binding(2) var<storage, read_write> v:    array<V>;    // [..]
@group(0) @binding(3) var<storage, read>       g:    array<V>;    // [..]
//@if CLIP
@group(0) @binding(4) var<storage, read>       clip: array<f32>;  // [1]
//@end

struct Params {
    count: u32, steps: u32, pad0: u32, pad1: u32,
    decay: f32, rate: f32, root: f32, eps: f32,
    beta1: f32, rest1: f32, beta2: f32, rest2: f32,
}
@group(1) @binding(0) var<uniform> p: Params;

//@import "lib/index.wgsl"

@compute @workgroup_size(WG)
fn adamw(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
         @builtin(local_invocation_index) lane: u32) {
    var factor = 1.0;
    //@if CLIP
    factor = clip[0];
    //@end
    let start = group_index(group, groups) * p.steps * WG + lane;
    for (var s = 0u; s < p.steps; s++) {
        let i = start + s * WG;
        if i >= p.count { break; }
        let gradient = g[i] * factor;
        let mean = p.beta1 * m[i] + p.rest1 * gradient;
        let square = p.beta2 * v[i] + p.rest2 * gradient * gradient;
        m[i] = mean;
        v[i] = square;
        x[i] = p.decay * x[i] - p.rate * mean / (sqrt(square) * p.root + p.eps);
    }
}
