// Cross-entropy of rows.      losses[r] = m + ln l - x[r, label],   m = max_c x[r, c],   l = sum over c of exp(x[r, c] - m)
//
//   x           [R, V]  logits
//   labels      [R]     class of every row; 2^32 - 1: the row does not count
//   losses      [R]     0 in rows that do not count, NaN where the label is no class
//   counts      [R]     1 or 0
//   statistics  [R, 2]  m and ln l, for the backward pass
//
// Maximum and sum are found in one walk (online softmax), four logits at a time. SHARED: one workgroup per row, lanes
// stride over it and fold. Otherwise one invocation per row, which software drivers prefer.

const SHARED: bool = true;              // knob
const WG: u32 = 64u;
alias V = f32;
const IGNORED: u32 = 0xffffffffu;
const LOWEST: f32 = -3.4028234e38;

//@import "lib/index.wgsl"
//@import "lib/math.wgsl"
//@import "lib/reduce.wgsl"
//@import INPUT "lib/input_f32.wgsl"

@group(0) @binding(0) var<storage, read>       x:          array<Input>;  // [R, V]
@group(0) @binding(1) var<storage, read>       labels:     array<u32>;    // [R]
@group(0) @binding(2) var<storage, read_write> losses:     array<f32>;    // [R]
@group(0) @binding(3) var<storage, read_write> counts:     array<f32>;    // [R]
@group(0) @binding(4) var<storage, read_write> statistics: array<vec2<f32>>;  // [R, 2]

struct Params {
    rows: u32, columns: u32,            // of this chunk
    x_start: u32, start: u32, statistics_start: u32,  // elements (pairs of statistics) before it in its bindings
    nan: u32,                           // as bits: a compiler may assume that a float is not NaN
}
@group(1) @binding(0) var<uniform> p: Params;

// exp for arguments that may be -inf, for which it is exactly 0.
fn weight(a: f32) -> f32 {
    return select(safe_exp(a), 0.0, a < -87.0);
}

// Maximum m and sum of exp(x - m) of every step-th group of four logits of a row.
fn measure(start: u32, first: u32, step: u32) -> vec2<f32> {
    var top = LOWEST;
    var total = 0.0;
    for (var c = 4u * first; c < p.columns; c += 4u * step) {
        let count = min(p.columns - c, 4u);
        var q = x4(start + c, count);
        if count < 4u { q = select(q, vec4<f32>(LOWEST), vec4<u32>(0u, 1u, 2u, 3u) >= vec4<u32>(count)); }
        let high = max(max(q.x, q.y), max(q.z, q.w));
        if high > top {
            total *= weight(top - high);
            top = high;
        }
        total += weight(q.x - top) + weight(q.y - top) + (weight(q.z - top) + weight(q.w - top));
    }
    return vec2<f32>(top, total);
}

fn logit(start: u32, c: u32) -> f32 {
    let first = c & ~3u;
    return x4(start + first, min(p.columns - first, 4u))[c - first];
}

fn write(row: u32, top: f32, total: f32) {
    let label = labels[p.start + row];
    var loss = 0.0;
    if label < p.columns {
        loss = (top - logit(p.x_start + row * p.columns, label)) + log(total);
    } else if label != IGNORED {
        loss = bitcast<f32>(p.nan);
    }
    losses[p.start + row] = loss;
    counts[p.start + row] = select(1.0, 0.0, label == IGNORED);
    statistics[p.statistics_start + row] = vec2<f32>(top, log(total));
}

@compute @workgroup_size(WG)
fn cross_entropy(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                 @builtin(local_invocation_index) lane: u32) {
    let index = group_index(group, groups);
    if SHARED {
        if index >= p.rows { return; }
        let own = measure(p.x_start + index * p.columns, lane, WG);
        let top = fold_max(own.x, lane);
        let total = fold_sum(own.y * weight(own.x - top), lane);
        if lane == 0u { write(index, top, total); }
    } else {
        let row = index * WG + lane;
        if row >= p.rows { return; }
        let own = measure(p.x_start + row * p.columns, 0u, 1u);
        write(row, own.x, own.y);
    }
}
