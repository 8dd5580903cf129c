// Gradients of attention by keys and values, for software drivers.
//
//   P[t, s] = exp(score[t, s] - m[t]) / l[t],   dS = P (dy . v - delta)
//   dk[s] = scale * sum over t of dS[t, s] q[t],   dv[s] = sum over t of P[t, s] dy[t],   both over the heads of the group too
//
//   q, dy     [B, T, H, D]
//   k, v      [B, S, G, D]
//   key_mask  [B, S]
//   rows      [B, T, H, 4]   m, l and delta of a row
//   dk, dv    [B, S, G, D]
//
// An invocation owns four keys and walks over the queries of every head of the group STEP at a time: the same as
// attention_dq_rows with queries and keys exchanged. The sums have a fixed order. Ladder, as in attention_rows, relative:
// (1) four at a time, each lane loads all of them 1; (2) each loads one in eight and broadcasts it, 8 at a time 2.7, 16 3.5.

const QUADS: u32 = 16u;                 // knob: quads of columns of a slice
const STEP: u32 = 8u;                   // knob: queries of a step, a multiple of 8
const WG: u32 = 8u;
alias V = vec4<f32>;

//@import "lib/index.wgsl"
//@import "lib/math.wgsl"
//@import "lib/attention.wgsl"
//@import HEADS "lib/heads_f32.wgsl"
//@import GRADIENT "lib/heads_dy_f32.wgsl"
//@import EIGHT "lib/queries_own.wgsl"

@group(0) @binding(0) var<storage, read>       q: array<Head>;          // [B, T, H, D]
@group(0) @binding(1) var<storage, read>       k: array<Head>;          // [B, S, G, D]
@group(0) @binding(2) var<storage, read>       v: array<Head>;          // [B, S, G, D]
@group(0) @binding(4) var<storage, read>       dy: array<Head>;         // [B, T, H, D]
@group(0) @binding(5) var<storage, read>       rows: array<vec4<f32>>;  // [B, T, H, 4]
@group(0) @binding(6) var<storage, read_write> dk: array<f32>;          // [B, S, G, D]
@group(0) @binding(7) var<storage, read_write> dv: array<f32>;          // [B, S, G, D]

@compute @workgroup_size(WG)
fn attention_dkv_rows(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                      //@if SUBGROUP
                      @builtin(subgroup_invocation_id) subgroup_lane: u32,
                      //@end
                      @builtin(local_invocation_index) lane: u32) {
    let tiles = (p.cache + 4u * WG - 1u) / (4u * WG);
    let slices = (p.width + 4u * p.slice - 1u) / (4u * p.slice);
    let index = group_index(group, groups);
    let b = index / slices / tiles / p.kv_heads;
    let kv_head = index / slices / tiles % p.kv_heads;
    let s0 = index / slices % tiles * 4u * WG;
    let column = index % slices * 4u * p.slice;
    if b >= p.batches { return; }
    var place = 0u;
    //@if SUBGROUP
    place = subgroup_lane;
    //@end
    let heads = p.heads / p.kv_heads;
    let first_head = kv_head * heads;
    let s = vec4<u32>(0u, 1u, 2u, 3u) + s0 + 4u * lane;
    let row = vec4<u32>(key_row(b, s.x, first_head), key_row(b, s.y, first_head), key_row(b, s.z, first_head), key_row(b, s.w, first_head));
    let quads = min(p.slice, (p.width - column + 3u) / 4u);

    let open = vec4<bool>(is_open(b, s.x), is_open(b, s.y), is_open(b, s.z), is_open(b, s.w));
    let is_key = s < vec4<u32>(p.keys);

    var dk_sum: array<mat4x4<f32>, QUADS>;  // [quad of columns][key]
    var dv_sum: array<mat4x4<f32>, QUADS>;
    for (var h = first_head; h < first_head + heads; h++) {
        for (var t = first_query(s0); t < p.queries; t += STEP) {
            var score: array<V, STEP>;      // [query], four keys each
            var slope: array<V, STEP>;
            for (var d = 0u; d < p.width; d += 4u) {
                let count = p.width - d;
                let at = row * p.width + d;
                let a = transpose(mat4x4<f32>(k4(at.x, count), k4(at.y, count), k4(at.z, count), k4(at.w, count)));
                let g = transpose(mat4x4<f32>(v4(at.x, count), v4(at.y, count), v4(at.z, count), v4(at.w, count)));
                for (var j = 0u; j < STEP; j += 8u) {
                    let queries = queries8(b, t + j, h, d, count, place);
                    let changes = changes8(b, t + j, h, d, count, place);
                    for (var i = 0u; i < 8u; i++) {
                        let query = queries[i / 4u][i % 4u];
                        let change = changes[i / 4u][i % 4u];
                        score[j + i] = fma(a[0], V(query.x), fma(a[1], V(query.y), fma(a[2], V(query.z), fma(a[3], V(query.w), score[j + i]))));
                        slope[j + i] = fma(g[0], V(change.x), fma(g[1], V(change.y), fma(g[2], V(change.z), fma(g[3], V(change.w), slope[j + i]))));
                    }
                }
            }
            for (var j = 0u; j < STEP; j++) {
                let of_row = rows[query_row(p.first + b, t + j, h)];
                let visible = open & (s <= vec4<u32>(t + j + p.offset));
                let exists = is_key & vec4<bool>(t + j < p.queries);
                score[j] = select(V(HIDDEN), score[j] * p.scale, visible);
                score[j] = select(V(0.0), safe_exp(score[j] - of_row.x) / of_row.y, exists);
                slope[j] = select(V(0.0), score[j] * (slope[j] - of_row.z) * p.scale, visible);
            }
            for (var c = 0u; c < quads; c++) {
                var dk_block = dk_sum[c];
                var dv_block = dv_sum[c];
                let d = column + 4u * c;
                for (var j = 0u; j < STEP; j += 8u) {
                    let queries = queries8(b, t + j, h, d, p.width - d, place);
                    let changes = changes8(b, t + j, h, d, p.width - d, place);
                    for (var u = 0u; u < 8u; u++) {
                        for (var i = 0u; i < 4u; i++) {
                            dk_block[i] = fma(queries[u / 4u][u % 4u], V(slope[j + u][i]), dk_block[i]);
                            dv_block[i] = fma(changes[u / 4u][u % 4u], V(score[j + u][i]), dv_block[i]);
                        }
                    }
                }
                dk_sum[c] = dk_block;
                dv_sum[c] = dv_block;
            }
        }
    }

    for (var i = 0u; i < 4u && s[i] < p.cache; i++) {
        let start = ((b * p.cache + s[i]) * p.kv_heads + kv_head) * p.width;
        for (var d = column; d < min(p.width, column + 4u * p.slice); d++) {
            dk[start + d] = dk_sum[(d - column) / 4u][i][d % 4u];
            dv[start + d] = dv_sum[(d - column) / 4u][i][d % 4u];
        }
    }
}
