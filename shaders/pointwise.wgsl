// Pointwise expression.      y[i] = apply(a[i], b[i], …)
//
//   a … f   inputs, shaped like y or broadcast to it (strides of 0); unused ones are bound to a
//   y       result
//
// `apply` is the rendered expression, so a chain of operations is one pass over memory. Where shapes differ, STRIDED
// finds every input's element by its own strides, over axes that the host has merged; only the outermost costs no
// division.
// Ladder, CPU time of add of 2M elements on lavapipe: (1) one element per invocation 20 ms, broadcast over five axes
// 43 ms; (2) four at once where shapes are equal, the last ones into the padding, 7.0 ms; (3) `steps` of them one after
// the other, since a software driver pays for every workgroup, 5.1 ms; broadcast also over merged axes 13 ms. Unrolling
// the axes compiles a fifth faster, but takes 27 ms.

alias V = vec4<f32>;                    // knob: vec4<f32> | f32 (needed when STRIDED)
const STRIDED: bool = false;            // knob
const WG: u32 = 64u;

@group(0) @binding(0) var<storage, read>       a: array<V>;     // [..], broadcasts to y
@group(0) @binding(1) var<storage, read>       b: array<V>;     // [..], broadcasts to y
@group(0) @binding(2) var<storage, read>       c: array<V>;     // [..], broadcasts to y
@group(0) @binding(3) var<storage, read>       d: array<V>;     // [..], broadcasts to y
@group(0) @binding(4) var<storage, read>       e: array<V>;     // [..], broadcasts to y
@group(0) @binding(5) var<storage, read>       f: array<V>;     // [..], broadcasts to y
@group(0) @binding(6) var<storage, read_write> y: array<V>;     // [..]

struct Params {
    count: u32,                         // Vs of y in this chunk
    first: u32,                         // element of y at which the chunk starts
    axes: u32,                          // how many of `axis` count, at least 1
    steps: u32,                         // Vs of one invocation
    scalars: array<vec4<f32>, 2>,
    starts: array<vec4<u32>, 2>,        // of every input: element 0 relative to its binding, modulo 2^32
    axis: array<array<vec4<u32>, 2>, 5>,  // strides of a … f, then the length; innermost first
}
@group(1) @binding(0) var<uniform> p: Params;

//@import "lib/index.wgsl"
//@import "lib/math.wgsl"

//@hook
fn apply(a: V, b: V, c: V, d: V, e: V, f: V) -> V { return a + b; }

// Offsets of inputs a..d (x) and e..f (y) for element `index` of y.
fn offsets(index: u32) -> array<vec4<u32>, 2> {
    var at = p.starts;
    var rest = index;
    for (var i = 0u; i + 1u < p.axes; i++) {
        let quotient = rest / p.axis[i][1].z;
        let coordinate = rest - quotient * p.axis[i][1].z;
        at[0] += coordinate * p.axis[i][0];
        at[1] += coordinate * p.axis[i][1];
        rest = quotient;
    }
    at[0] += rest * p.axis[p.axes - 1u][0];
    at[1] += rest * p.axis[p.axes - 1u][1];
    return at;
}

@compute @workgroup_size(WG)
fn pointwise(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
             @builtin(local_invocation_index) lane: u32) {
    let start = group_index(group, groups) * p.steps * WG + lane;
    for (var s = 0u; s < p.steps; s++) {
        let i = start + s * WG;
        if i >= p.count { break; }
        if STRIDED {
            let at = offsets(p.first + i);
            y[i] = apply(a[at[0].x], b[at[0].y], c[at[0].z], d[at[0].w], e[at[1].x], f[at[1].y]);
        } else {
            y[i] = apply(a[i], b[i], c[i], d[i], e[i], f[i]);
        }
    }
}
