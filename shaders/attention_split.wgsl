// Attention of few queries over many keys.    y[b, t, h] = sum over s of softmax_s(q[b, t, h] . k[b, s, g] * scale) v[b, s, g]
//
//   q         [B, T, H, D]
//   k, v      [B, S, G, D]
//   key_mask  [B, S]            0 hides a key
//   y         [B, T, H, P, D]   result of every part of the keys; P = 1 is the result itself
//   stats     [B, T, H, P, 2]   largest score m and sum of exp(score - m)
//
// A workgroup owns one query of a head and one part of the keys, and walks over it in blocks of 128 keys (online softmax):
//   1. eight lanes a key multiply it with the query, coalesced; one lane a key adds their sums;
//   2. the block's maximum, one exponential a lane;
//   3. sixteen lanes a key add up weighted values, for eight keys at a time.
// The parts are put together by attention_merge.

const NC: u32 = 1u;                     // knob: quads of columns a lane owns, 16 quads apart
const WG: u32 = 128u;
alias V = f32;

//@import "lib/index.wgsl"
//@import "lib/math.wgsl"
//@import "lib/reduce.wgsl"
//@import "lib/attention.wgsl"
//@import HEADS "lib/heads_f32.wgsl"

@group(0) @binding(0) var<storage, read>       q: array<Head>;           // [B, T, H, D]
@group(0) @binding(1) var<storage, read>       k: array<Head>;           // [B, S, G, D]
@group(0) @binding(2) var<storage, read>       v: array<Head>;           // [B, S, G, D]
@group(0) @binding(4) var<storage, read_write> y: array<f32>;            // [B, T, H, P, D]
@group(0) @binding(5) var<storage, read_write> stats: array<vec2<f32>>;  // [B, T, H, P, 2]

var<workgroup> sums: array<f32, 1152>;              // WG keys x 8 lanes, rows of 9
var<workgroup> weights: array<f32, WG>;
var<workgroup> columns: array<vec4<f32>, WG>;       // 8 x 16

@compute @workgroup_size(WG)
fn attention_split(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                   @builtin(local_invocation_index) lane: u32) {
    let slices = (p.width + 64u * NC - 1u) / (64u * NC);
    let index = group_index(group, groups);
    let part = index / slices % p.parts;
    let row = index / slices / p.parts;
    let b = row / (p.queries * p.heads);
    let t = row / p.heads % p.queries;
    let h = row % p.heads;
    let column = index % slices * 64u * NC;
    if b >= p.batches { return; }
    let end = min(p.keys, (part + 1u) * p.part);

    var sum: array<vec4<f32>, NC>;
    var top = HIDDEN;
    var total = 0.0;                    // of this lane's keys
    for (var s0 = part * p.part; s0 < end; s0 += WG) {
        for (var i = 0u; i < 8u; i++) {
            let s = 16u * i + lane / 8u;
            var product = 0.0;
            if s0 + s < end {
                for (var d = 4u * (lane % 8u); d < p.width; d += 32u) {
                    product += dot(q4(row * p.width + d, p.width - d), k4(key_row(b, s0 + s, h) * p.width + d, p.width - d));
                }
            }
            sums[s * 9u + lane % 8u] = product;
        }
        workgroupBarrier();
        var score = 0.0;
        for (var i = 0u; i < 8u; i++) { score += sums[lane * 9u + i]; }
        score = masked(score, is_open(b, s0 + lane), t, s0 + lane);
        let highest = max(top, fold_max(select(HIDDEN, score, s0 + lane < end), lane));
        let shrink = safe_exp(top - highest);
        top = highest;
        let weight = select(0.0, safe_exp(score - top), s0 + lane < end);
        total = total * shrink + weight;
        weights[lane] = weight;
        workgroupBarrier();
        let count = min(WG, end - s0);
        for (var j = 0u; j < NC; j++) {
            let d = column + 4u * (16u * j + lane % 16u);
            sum[j] *= shrink;
            if d < p.width {
                for (var s = lane / 16u; s < count; s += 8u) {
                    sum[j] += weights[s] * v4(key_row(b, s0 + s, h) * p.width + d, p.width - d);
                }
            }
        }
        workgroupBarrier();
    }

    let all = fold_sum(total, lane);
    let out = row * p.parts + part;
    if lane == 0u && column == 0u { stats[p.first * p.queries * p.heads * p.parts + out] = vec2<f32>(top, all); }
    for (var j = 0u; j < NC; j++) {
        columns[lane] = sum[j];
        workgroupBarrier();
        let d = column + 4u * (16u * j + lane);
        if lane < 16u && d < p.width {
            var value = vec4<f32>(0.0);
            for (var i = 0u; i < 8u; i++) { value += columns[lane + 16u * i]; }
            for (var e = 0u; e < 4u; e++) {
                if d + e < p.width { y[out * p.width + d + e] = value[e] / all; }
            }
        }
        workgroupBarrier();
    }
}
