// Gradient of cross-entropy.      dx[r, c] = (exp(x[r, c] - m - ln l) - [c = label]) * factor
//
//   x           [R, V]  logits
//   labels      [R]     class of every row; 2^32 - 1: the row does not count and gets zeros; no class: it gets NaN
//   statistics  [R, 2]  m and ln l of the forward pass
//   factor      [1]     gradient of the loss, divided by the number of rows that count
//   dx          [R, V]  result
//
// A workgroup takes a block of a row; its lanes read neighbours. Software drivers pay for every workgroup and get longer
// blocks (steps).

alias V = vec4<f32>;                    // knob: vec4<f32> | f32
alias U = vec4<u32>;                    // knob: vec4<u32> | u32
const OFFSETS: U = U(0u, 1u, 2u, 3u);   // knob: U(0u, 1u, 2u, 3u) | 0u
const WIDTH: u32 = 4u;                  // knob: elements of V
const WG: u32 = 64u;
const IGNORED: u32 = 0xffffffffu;

@group(0) @binding(0) var<storage, read>       x:          array<V>;          // [R, V]
@group(0) @binding(1) var<storage, read>       labels:     array<u32>;        // [R]
@group(0) @binding(2) var<storage, read>       statistics: array<vec2<f32>>;  // [R, 2]
@group(0) @binding(3) var<storage, read>       factor:     array<f32>;        // [1]
@group(0) @binding(4) var<storage, read_write> dx:         array<V>;          // [R, V]

struct Params {
    rows: u32, columns: u32, classes: u32,  // of this chunk; Vs of a row, and its elements
    blocks: u32, steps: u32,            // blocks of a row, Vs of an invocation
    x_start: u32, dx_start: u32, start: u32, statistics_start: u32,  // Vs, rows and pairs before it in its bindings
    nan: u32,                           // as bits: a compiler may assume that a float is not NaN
}
@group(1) @binding(0) var<uniform> p: Params;

//@import "lib/index.wgsl"
//@import "lib/math.wgsl"

@compute @workgroup_size(WG)
fn cross_entropy_backward(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                          @builtin(local_invocation_index) lane: u32) {
    let index = group_index(group, groups);
    let row = index / p.blocks;
    if row >= p.rows { return; }
    let label = labels[p.start + row];
    let statistic = statistics[p.statistics_start + row];
    var scale = V(factor[0]);
    if label >= p.classes { scale = V(bitcast<f32>(p.nan)); }
    let first = (index - row * p.blocks) * p.steps * WG + lane;
    for (var s = 0u; s < p.steps; s++) {
        let c = first + s * WG;
        if c >= p.columns { break; }
        var value = V(0.0);
        if label != IGNORED {
            let a = x[p.x_start + row * p.columns + c] - V(statistic.x) - V(statistic.y);
            let probability = select(safe_exp(a), V(0.0), a < V(-87.0));
            let one_hot = select(V(0.0), V(1.0), U(WIDTH * c) + OFFSETS == U(label));
            value = (probability - one_hot) * scale;
        }
        dx[p.dx_start + row * p.columns + c] = value;
    }
}
