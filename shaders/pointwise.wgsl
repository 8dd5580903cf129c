// Pointwise expression.      y[i] = apply(a[i], b[i], …)
//
//   a … f   inputs, shaped like y or broadcast to it (strides of 0); unused ones are bound to a
//   y       result
//
// One invocation per V. Ladder: (1) one element per invocation; (2) four where all shapes are equal. `apply` is the
// rendered expression, so a chain of operations is one pass over memory.

alias V = vec4<f32>;                    // knob: vec4<f32> | f32 (needed when BROADCAST)
const BROADCAST: bool = false;          // knob
const WG: u32 = 64u;

@group(0) @binding(0) var<storage, read>       a: array<V>;     // broadcasts to y
@group(0) @binding(1) var<storage, read>       b: array<V>;     // broadcasts to y
@group(0) @binding(2) var<storage, read>       c: array<V>;     // broadcasts to y
@group(0) @binding(3) var<storage, read>       d: array<V>;     // broadcasts to y
@group(0) @binding(4) var<storage, read>       e: array<V>;     // broadcasts to y
@group(0) @binding(5) var<storage, read>       f: array<V>;     // broadcasts to y
@group(0) @binding(6) var<storage, read_write> y: array<V>;     // [..]

struct Params {
    count: u32,                         // Vs of y in this chunk
    first: u32,                         // element of y at which the chunk starts, when BROADCAST
    scalars: array<vec4<f32>, 2>,
    lengths: array<vec4<u32>, 2>,       // of y's five axes
    strides: array<array<vec4<u32>, 2>, 5>,  // [axis][input]
}
@group(1) @binding(0) var<uniform> p: Params;

//@import "lib/index.wgsl"
//@import "lib/math.wgsl"

//@hook
fn apply(a: V, b: V, c: V, d: V, e: V, f: V) -> V { return a + b; }

// Offsets of inputs a..d (x) and e..f (y) for element `index` of y.
fn offsets(index: u32) -> array<vec4<u32>, 2> {
    var at = array<vec4<u32>, 2>();
    var rest = index;
    for (var i = 0u; i < 5u; i++) {
        let axis = 4u - i;
        let length = p.lengths[axis / 4u][axis % 4u];
        let coordinate = rest % length;
        rest /= length;
        at[0] += coordinate * p.strides[axis][0];
        at[1] += coordinate * p.strides[axis][1];
    }
    return at;
}

@compute @workgroup_size(WG)
fn pointwise(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
             @builtin(local_invocation_index) lane: u32) {
    let i = group_index(group, groups) * WG + lane;
    if i >= p.count { return; }
    if BROADCAST {
        let at = offsets(p.first + i);
        y[i] = apply(a[at[0].x], b[at[0].y], c[at[0].z], d[at[0].w], e[at[1].x], f[at[1].y]);
    } else {
        y[i] = apply(a[i], b[i], c[i], d[i], e[i], f[i]);
    }
}
