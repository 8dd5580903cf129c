// Moving average.      y[i] = mean of x[j] over all j with |j - i| <= RADIUS and 0 <= j < N
//
//   x  [N]  numbers
//   y  [N]  their averages
//
// One invocation an element. Near the ends there are fewer neighbours, and the mean is over those there are.

//@import "lib/index.wgsl"

const RADIUS: u32 = 1u;                 // knob
const WG: u32 = 64u;

@group(0) @binding(0) var<storage, read>       x: array<f32>;  // [N]
@group(0) @binding(1) var<storage, read_write> y: array<f32>;  // [N]

struct Params { n: u32 }
@group(1) @binding(0) var<uniform> p: Params;

@compute @workgroup_size(WG)
fn moving_average(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                  @builtin(local_invocation_index) lane: u32) {
    let i = group_index(group, groups) * WG + lane;
    if i >= p.n { return; }
    let first = max(i, RADIUS) - RADIUS;
    let last = min(i + RADIUS, p.n - 1u);
    var sum = 0.0;
    for (var j = first; j <= last; j++) { sum += x[j]; }
    y[i] = sum / f32(last - first + 1u);
}
