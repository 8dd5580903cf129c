// Gradient of attention by the queries, for software drivers.
//
//   P[t, s] = exp(score[t, s] - m[t]) / l[t],   dS = P (dy . v - delta),   dq[t] = scale * sum over s of dS[t, s] k[s]
//
//   q, dy     [B, T, H, D]
//   k, v      [B, S, G, D]
//   key_mask  [B, S]
//   rows      [B, T, H, 4]   m, l and delta of a row
//   dq        [B, T, H, D]
//
// An invocation owns four queries and walks over the keys KEYS at a time, as attention_rows does. A hidden key's score
// is a constant, so that its dS is zero. Ladder, as in attention_rows, relative: (1) four at a time, each lane loads all
// of them 1; (2) each loads one in eight and broadcasts it, 8 at a time 3.2, 16 3.8.

const QUADS: u32 = 16u;                 // knob: quads of columns of a slice
const KEYS: u32 = 8u;                   // knob: keys of a step, a multiple of 8
const WG: u32 = 8u;
alias V = vec4<f32>;

//@import "lib/index.wgsl"
//@import "lib/math.wgsl"
//@import "lib/attention.wgsl"
//@import HEADS "lib/heads_f32.wgsl"
//@import EIGHT "lib/keys_own.wgsl"
//@import GRADIENT "lib/heads_dy_f32.wgsl"

@group(0) @binding(0) var<storage, read>       q: array<Head>;          // [B, T, H, D]
@group(0) @binding(1) var<storage, read>       k: array<Head>;          // [B, S, G, D]
@group(0) @binding(2) var<storage, read>       v: array<Head>;          // [B, S, G, D]
@group(0) @binding(4) var<storage, read>       dy: array<Head>;         // [B, T, H, D]
@group(0) @binding(5) var<storage, read>       rows: array<vec4<f32>>;  // [B, T, H, 4]
@group(0) @binding(6) var<storage, read_write> dq: array<f32>;          // [B, T, H, D]

@compute @workgroup_size(WG)
fn attention_dq_rows(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
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
    let quads = min(p.slice, (p.width - column + 3u) / 4u);
    var top: V;
    var total: V;
    var delta: V;
    for (var i = 0u; i < 4u; i++) {
        let of_row = rows[query_row(p.first + b, t[i], h)];
        top[i] = of_row.x;
        total[i] = of_row.y;
        delta[i] = of_row.z;
    }

    var sum: array<mat4x4<f32>, QUADS>;     // [quad of columns][query]
    let end = end_of_keys(t0 + 4u * WG - 1u);
    for (var s = 0u; s < end; s += KEYS) {
        var score: array<V, KEYS>;          // [key], four queries each
        var slope: array<V, KEYS>;
        for (var d = 0u; d < p.width; d += 4u) {
            let count = p.width - d;
            let at = row * p.width + d;
            let a = transpose(mat4x4<f32>(q4(at.x, count), q4(at.y, count), q4(at.z, count), q4(at.w, count)));
            let g = transpose(mat4x4<f32>(dy4(at.x, count), dy4(at.y, count), dy4(at.z, count), dy4(at.w, count)));
            for (var j = 0u; j < KEYS; j += 8u) {
                let keys = keys8(b, s + j, h, d, count, place);
                let values = values8(b, s + j, h, d, count, place);
                for (var i = 0u; i < 8u; i++) {
                    let key = keys[i / 4u][i % 4u];
                    let value = values[i / 4u][i % 4u];
                    score[j + i] = fma(a[0], V(key.x), fma(a[1], V(key.y), fma(a[2], V(key.z), fma(a[3], V(key.w), score[j + i]))));
                    slope[j + i] = fma(g[0], V(value.x), fma(g[1], V(value.y), fma(g[2], V(value.z), fma(g[3], V(value.w), slope[j + i]))));
                }
            }
        }
        for (var j = 0u; j < KEYS; j++) {
            slope[j] = safe_exp(score[j] * p.scale - top) / total * (slope[j] - delta) * p.scale;
            let visible = vec4<bool>(s + j < p.keys && is_open(b, s + j)) & (vec4<u32>(s + j) <= t + p.offset);
            slope[j] = select(V(0.0), slope[j], visible);
        }
        for (var c = 0u; c < quads; c++) {
            var block = sum[c];
            let d = column + 4u * c;
            for (var j = 0u; j < KEYS; j += 8u) {
                let keys = keys8(b, s + j, h, d, p.width - d, place);
                for (var u = 0u; u < 8u; u++) {
                    for (var i = 0u; i < 4u; i++) { block[i] = fma(keys[u / 4u][u % 4u], V(slope[j + u][i]), block[i]); }
                }
            }
            sum[c] = block;
        }
    }

    for (var i = 0u; i < 4u && t[i] < p.queries; i++) {
        for (var d = column; d < min(p.width, column + 4u * p.slice); d++) {
            dq[row[i] * p.width + d] = sum[(d - column) / 4u][i][d % 4u];
        }
    }
}
