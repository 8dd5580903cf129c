// Attention for software drivers.    y[b, t, h] = sum over s of softmax_s(q[b, t, h] . k[b, s, g] * scale) v[b, s, g],  g = h / (H / G)
//
//   q         [B, T, H, D]
//   k, v      [B, S, G, D]
//   key_mask  [B, S]            0 hides a key
//   y         [B, T, H, D]
//   stats     [B, T, H, 2]      largest score m and sum of exp(score - m), for merging and for the backward pass
//
// An invocation owns four queries of a head, from scores to result; nothing is shared and there are no barriers, which
// such a driver pays for dearly. It walks over the keys KEYS at a time: scores in registers, then the new maximum and
// the weights in registers, and the sums scaled and added to in a private array. All invocations of a workgroup read the
// same keys and values, which the driver loads once for its SIMD lanes.
// Heads wider than 4 QUADS are cut into slices of columns, each of which finds the scores anew.
// Ladder, 1024 x 1024 x 8 x 64 on lavapipe, GFLOP per second of processor time: (1) one query per invocation 1; (2) eight
// lanes share 8 x 64 scores through workgroup memory 1.6; (3) this, without barriers, 2.7, and the fastest to compile;
// (4) every lane loads one key in eight and broadcasts it (lib/keys_subgroup.wgsl) 7.2; (5) 16 keys a step, so that queries
// and sums are loaded half as often, 9.1; 32 keys 5.0, since the scores no longer fit the registers.

const QUADS: u32 = 16u;                 // knob: quads of columns of a slice; zeroing them takes the driver's compiler long
const KEYS: u32 = 8u;                   // knob: keys of a step, a multiple of 8
const WG: u32 = 8u;
alias V = vec4<f32>;

//@import "lib/index.wgsl"
//@import "lib/math.wgsl"
//@import "lib/attention.wgsl"
//@import HEADS "lib/heads_f32.wgsl"
//@import EIGHT "lib/keys_own.wgsl"

@group(0) @binding(0) var<storage, read>       q: array<Head>;           // [B, T, H, D]
@group(0) @binding(1) var<storage, read>       k: array<Head>;           // [B, S, G, D]
@group(0) @binding(2) var<storage, read>       v: array<Head>;           // [B, S, G, D]
@group(0) @binding(4) var<storage, read_write> y: array<f32>;            // [B, T, H, D]
@group(0) @binding(5) var<storage, read_write> stats: array<vec2<f32>>;  // [B, T, H, 2]

@compute @workgroup_size(WG)
fn attention_rows(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                  //@if SUBGROUP
                  @builtin(subgroup_invocation_id) subgroup_lane: u32,
                  //@end
                  @builtin(local_invocation_index) lane: u32) {
    let tiles = (p.queries + 4u * WG - 1u) / (4u * WG);
    let slices = (p.width + 4u * p.slice - 1u) / (4u * p.slice);
    let index = group_index(group, groups);
    let b = index / slices / tiles / p.heads;
    let h = index / slices / tiles % p.heads;
    let t0 = index / slices % tiles * 4u * WG;
    let column = index % slices * 4u * p.slice;
    if b >= p.batches { return; }
    var place = 0u;
    //@if SUBGROUP
    place = subgroup_lane;
    //@end
    let t = vec4<u32>(0u, 1u, 2u, 3u) + t0 + 4u * lane;
    let row = vec4<u32>(query_row(b, t.x, h), query_row(b, t.y, h), query_row(b, t.z, h), query_row(b, t.w, h));
    let quads = min(p.slice, (p.width - column + 3u) / 4u);     // not QUADS: the compiler would unroll

    var sum: array<mat4x4<f32>, QUADS>;     // [quad of columns][query]
    var top = V(HIDDEN);                    // of the four queries
    var total = V(0.0);
    let end = end_of_keys(t0 + 4u * WG - 1u);
    for (var s = 0u; s < end; s += KEYS) {
        var score: array<V, KEYS>;          // [key], four queries each
        for (var d = 0u; d < p.width; d += 4u) {
            let count = p.width - d;
            let at = row * p.width + d;
            let a = transpose(mat4x4<f32>(q4(at.x, count), q4(at.y, count), q4(at.z, count), q4(at.w, count)));
            for (var j = 0u; j < KEYS; j += 8u) {
                let keys = keys8(b, s + j, h, d, count, place);
                for (var i = 0u; i < 8u; i++) {
                    let key = keys[i / 4u][i % 4u];
                    score[j + i] = fma(a[0], V(key.x), fma(a[1], V(key.y), fma(a[2], V(key.z), fma(a[3], V(key.w), score[j + i]))));
                }
            }
        }
        var higher = top;
        for (var j = 0u; j < KEYS; j++) {
            let visible = vec4<bool>(is_open(b, s + j)) & (vec4<u32>(s + j) <= t + p.offset);
            score[j] = select(V(HIDDEN), score[j] * p.scale, visible);
            if s + j < p.keys { higher = max(higher, score[j]); }
        }
        let shrink = safe_exp(top - higher);
        top = higher;
        total *= shrink;
        for (var j = 0u; j < KEYS; j++) {
            score[j] = select(V(0.0), safe_exp(score[j] - top), s + j < p.keys);
            total += score[j];
        }
        for (var c = 0u; c < quads; c++) {
            var block = sum[c];
            for (var i = 0u; i < 4u; i++) { block[i] *= shrink[i]; }
            let d = column + 4u * c;
            for (var j = 0u; j < KEYS; j += 8u) {
                let values = values8(b, s + j, h, d, p.width - d, place);
                for (var u = 0u; u < 8u; u++) {
                    for (var i = 0u; i < 4u; i++) { block[i] = fma(values[u / 4u][u % 4u], V(score[j + u][i]), block[i]); }
                }
            }
            sum[c] = block;
        }
    }

    for (var i = 0u; i < 4u && t[i] < p.queries; i++) {
        if column == 0u { stats[query_row(p.first + b, t[i], h)] = vec2<f32>(top[i], total[i]); }
        for (var d = column; d < min(p.width, column + 4u * p.slice); d++) {
            y[row[i] * p.width + d] = sum[(d - column) / 4u][i][d % 4u] / total[i];
        }
    }
}
