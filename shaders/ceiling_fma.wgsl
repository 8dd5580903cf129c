// Ceiling of arithmetic.      a ← a · factor + term, again and again;      y[i] = Σ_j a_j
//
//   x   [N]  where the sums start, as groups of four
//   y   [N]  where they end
//
// No memory but one load and one store: how many multiply-adds a second the adapter does. SUMS accumulators are
// independent of each other, so that one need not wait for another; more of them than registers would spill. factor and
// term are uniforms, since a compiler would fold constants.

const SUMS: u32 = 2u;                   // knob: accumulators of four
const UNROLLED: u32 = 8u;               // steps of one turn of the loop
const WG: u32 = 64u;

@group(0) @binding(0) var<storage, read>       x: array<vec4<f32>>;     // [N/4]
@group(0) @binding(1) var<storage, read_write> y: array<vec4<f32>>;     // [N/4]

struct Params { count4: u32, turns: u32, factor: f32, term: f32 }
@group(1) @binding(0) var<uniform> p: Params;

//@import "lib/index.wgsl"

@compute @workgroup_size(WG)
fn ceiling_fma(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
               @builtin(local_invocation_index) lane: u32) {
    let i = group_index(group, groups) * WG + lane;
    if i >= p.count4 { return; }
    let factor = vec4<f32>(p.factor);
    let term = vec4<f32>(p.term);
    var a: array<vec4<f32>, SUMS>;
    for (var j = 0u; j < SUMS; j++) { a[j] = x[i] + f32(j); }
    for (var turn = 0u; turn < p.turns; turn++) {
        for (var step = 0u; step < UNROLLED; step++) {
            for (var j = 0u; j < SUMS; j++) { a[j] = fma(a[j], factor, term); }
        }
    }
    var total = a[0];
    for (var j = 1u; j < SUMS; j++) { total += a[j]; }
    y[i] = total;
}
