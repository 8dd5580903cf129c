// Strided copy.      y[to + sum of c * to_stride] = x[start + sum of c * stride]   over all coordinates c
//
//   x   [..]  source, seen with strides
//   y   [..]  destination, seen with strides; nothing else of it is touched
//
// Serves permute, slice and concat. The host merges axes that lie together on both sides and sorts them innermost
// first, so most copies have two or three axes and the outermost costs no division. Words are moved, not floats, so
// that any element type and any NaN arrives unchanged.
// One invocation per V. Ladder: (1) one word per invocation; (2) four where the innermost axis lies together on both
// sides.

alias V = vec4<u32>;                    // knob: vec4<u32> | u32
const WG: u32 = 64u;

@group(0) @binding(0) var<storage, read>       x: array<V>;     // [..]
@group(0) @binding(1) var<storage, read_write> y: array<V>;     // [..]

struct Params {
    count: u32,                         // Vs to copy
    axes: u32,                          // how many of `axis` count, at least 1
    start: u32, to: u32,                // first V of x and of y
    axis: array<vec4<u32>, 5>,          // (length, stride in x, stride in y), innermost first
}
@group(1) @binding(0) var<uniform> p: Params;

//@import "lib/index.wgsl"

@compute @workgroup_size(WG)
fn copy(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
    var rest = group_index(group, groups) * WG + lane;
    if rest >= p.count { return; }
    var at = vec2<u32>(p.start, p.to);
    for (var i = 0u; i + 1u < p.axes; i++) {
        let quotient = rest / p.axis[i].x;
        at += (rest - quotient * p.axis[i].x) * p.axis[i].yz;
        rest = quotient;
    }
    at += rest * p.axis[p.axes - 1u].yz;
    y[at.y] = x[at.x];
}
