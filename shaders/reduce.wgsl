// Sum over axes.      y[o] = scale * sum over r of x[o, r],     with SQUARE of x[o, r]^2
//
//   x   [..]    any axes kept (o) and any reduced (r); lib/terms.wgsl walks over them
//   y   [S, ..]  the kept ones, S times if S invocations share an output: a second run adds their parts
//
// SHARED: a workgroup per share, lanes take neighbouring terms and fold. Otherwise an invocation per share. QUADS: four
// at once, which are terms if the innermost axis is reduced (INNER) and results if it is kept. The order of the terms
// is fixed by the shapes and the kind of device.
// Ladder, CPU time on lavapipe of 4M elements: [4M] to [1], [2048, 2048] to its rows, to its columns, [1.4M, 3] to its rows:
// (1) an invocation per result, five axes decoded for every term 401, 50, 52, 103 ms; (2) axes merged by the host, a walk
// without divisions, four at once, and few results shared by 1024 invocations 4, 3, 4, 45 ms.

alias V = vec4<f32>;                    // knob: vec4<f32> | f32
const QUADS: bool = true;               // knob: V is vec4<f32>
const INNER: bool = true;               // knob
const SHARED: bool = true;              // knob: only with INNER
const SQUARE: bool = false;             // knob
const WG: u32 = 64u;

@group(0) @binding(0) var<storage, read>       x: array<V>;      // [..]
@group(0) @binding(1) var<storage, read_write> y: array<f32>;    // [S, ..]

//@import "lib/index.wgsl"
//@import "lib/reduce.wgsl"
//@import "lib/terms.wgsl"

// Terms s, s + step, ... of the output that starts at `start`.
fn sum(start: u32, s: u32, step: u32) -> vec4<f32> {
    var total = V(0.0);
    var at = term(s);
    for (var r = s; r < p.terms; r += step) {
        let value = x[start + dot(at, p.stride.xyz)];
        if SQUARE { total += value * value; } else { total += value; }
        at = next_term(at);
    }
    let parts = vec4<f32>(total);
    if QUADS && INNER { return vec4<f32>(parts.x + parts.y + (parts.z + parts.w)); }
    return parts;
}

fn write(o: u32, part: u32, total: vec4<f32>) {
    let width = select(1u, 4u, QUADS && !INNER);
    let at = p.y_start + (part * p.outputs + o) * width;
    for (var j = 0u; j < width; j++) {
        var before = 0.0;
        if p.more == 1u { before = y[at + j]; }
        y[at + j] = before + p.scale * total[j];
    }
}

@compute @workgroup_size(WG)
fn reduce(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
          @builtin(local_invocation_index) lane: u32) {
    let index = group_index(group, groups);
    if SHARED {
        if index >= p.outputs * p.sharers { return; }
        let own = share(index);
        let part = sum(output_offset(own.x), own.y * WG + lane, p.sharers * WG);
        let total = fold_sum(part.x, lane);
        if lane == 0u { write(own.x, own.y, vec4<f32>(total)); }
    } else {
        let i = index * WG + lane;
        if i >= p.outputs * p.sharers { return; }
        let own = share(i);
        write(own.x, own.y, sum(output_offset(own.x), own.y, p.sharers));
    }
}
