// Sum over axes.      y[o] = scale * sum over r of x[o, r]
//
//   x   [..]  up to five axes, each either kept or reduced
//   y   [..]  the kept ones
//
// SHARED: one workgroup per output, lanes stride over the terms and fold. Otherwise one invocation per output, which
// software drivers prefer. Both add in a fixed order.

const SHARED: bool = true;              // knob
const WG: u32 = 64u;

@group(0) @binding(0) var<storage, read>       x: array<f32>;    // [..]
@group(0) @binding(1) var<storage, read_write> y: array<f32>;    // [..]

struct Params {
    outputs: u32,
    terms: u32,
    scale: f32,
    pad: u32,
    kept: array<vec4<u32>, 5>,          // (length, stride) of every axis; length 1 where reduced
    reduced: array<vec4<u32>, 5>,       // (length, stride); length 1 where kept
}
@group(1) @binding(0) var<uniform> p: Params;

//@import "lib/index.wgsl"
//@import "lib/reduce.wgsl"

fn kept_offset(index: u32) -> u32 {
    var rest = index;
    var at = 0u;
    for (var i = 0u; i < 5u; i++) {
        let axis = p.kept[4u - i];
        at += (rest % axis.x) * axis.y;
        rest /= axis.x;
    }
    return at;
}

fn reduced_offset(index: u32) -> u32 {
    var rest = index;
    var at = 0u;
    for (var i = 0u; i < 5u; i++) {
        let axis = p.reduced[4u - i];
        at += (rest % axis.x) * axis.y;
        rest /= axis.x;
    }
    return at;
}

@compute @workgroup_size(WG)
fn reduce(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
          @builtin(local_invocation_index) lane: u32) {
    let index = group_index(group, groups);
    if SHARED {
        if index >= p.outputs { return; }
        let start = kept_offset(index);
        var sum = 0.0;
        for (var r = lane; r < p.terms; r += WG) { sum += x[start + reduced_offset(r)]; }
        let total = fold_sum(sum, lane);
        if lane == 0u { y[index] = p.scale * total; }
    } else {
        let o = index * WG + lane;
        if o >= p.outputs { return; }
        let start = kept_offset(o);
        var sum = 0.0;
        for (var r = 0u; r < p.terms; r++) { sum += x[start + reduced_offset(r)]; }
        y[o] = p.scale * sum;
    }
}
