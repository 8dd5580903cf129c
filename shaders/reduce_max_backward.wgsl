// Gradient of the maximum over axes.      dx[o, r] = dy[o] where r = places[o], else 0
//
//   dy      [..]  the kept axes
//   places  [..]  the first r where the maximum is
//   dx      [..]  kept and reduced axes
//
// One invocation per element of dx, so that nothing has to be zeroed before.

const WG: u32 = 64u;

@group(0) @binding(0) var<storage, read>       dy:     array<f32>;   // [..]
@group(0) @binding(1) var<storage, read>       places: array<u32>;   // [..]
@group(0) @binding(2) var<storage, read_write> dx:     array<f32>;   // [..]

struct Params {
    count: u32, axes: u32,              // elements of dx in this part, axes that count
    first: u32,                         // terms that lie in earlier parts
    dx_start: u32, dy_start: u32, places_start: u32,  // elements between the start of a binding and this part
    pad0: u32, pad1: u32,
    axis: array<vec4<u32>, 5>,          // length, steps in dy and among the terms; innermost first
}
@group(1) @binding(0) var<uniform> p: Params;

//@import "lib/index.wgsl"

@compute @workgroup_size(WG)
fn reduce_max_backward(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                       @builtin(local_invocation_index) lane: u32) {
    let i = group_index(group, groups) * WG + lane;
    if i >= p.count { return; }
    var rest = i;
    var o = 0u;
    var r = p.first;
    for (var a = 0u; a < p.axes; a++) {
        let quotient = rest / p.axis[a].x;
        let at = rest - quotient * p.axis[a].x;
        o += at * p.axis[a].y;
        r += at * p.axis[a].z;
        rest = quotient;
    }
    dx[p.dx_start + i] = select(0.0, dy[p.dy_start + o], places[p.places_start + o] == r);
}
