// Gradients of attention by keys and values, tiled.
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
// A workgroup owns 32 keys and walks over the queries of every head of the group in tiles of 32: the same as
// attention_dq with queries and keys exchanged. P and dS go through the same workgroup memory, one after the other.

const NC: u32 = 1u;                     // knob: quads of columns a lane owns, 16 quads apart
const WIDE: u32 = 33u;                  // of a row of weights
alias V = f32;

//@import "lib/index.wgsl"
//@import "lib/math.wgsl"
//@import "lib/attention.wgsl"
//@import "lib/attention_tile.wgsl"
//@import HEADS "lib/heads_f32.wgsl"
//@import GRADIENT "lib/heads_dy_f32.wgsl"

@group(0) @binding(0) var<storage, read>       q: array<Head>;          // [B, T, H, D]
@group(0) @binding(1) var<storage, read>       k: array<Head>;          // [B, S, G, D]
@group(0) @binding(2) var<storage, read>       v: array<Head>;          // [B, S, G, D]
@group(0) @binding(4) var<storage, read>       dy: array<Head>;         // [B, T, H, D]
@group(0) @binding(5) var<storage, read>       rows: array<vec4<f32>>;  // [B, T, H, 4]
@group(0) @binding(6) var<storage, read_write> dk: array<f32>;          // [B, S, G, D]
@group(0) @binding(7) var<storage, read_write> dv: array<f32>;          // [B, S, G, D]

alias Sums = array<array<vec4<f32>, NC>, 4>;

var<workgroup> weights: array<f32, 1056>;           // ROWS x WIDE

// k . q, or v . dy when `of_values`: rows 4 r .. 4 r + 3 of the tile's keys by queries c and c + 16.
fn products(of_values: bool, b: u32, h: u32, t0: u32, s0: u32, lane: u32) -> array<vec4<f32>, 2> {
    var sums: array<vec4<f32>, 2>;
    for (var d = 0u; d < p.width; d += 4u * CHUNK) {
        for (var i = lane; i < ROWS * CHUNK; i += WG) {
            let at = d + 4u * (i % CHUNK);
            let place = i / CHUNK * PITCH + i % CHUNK;
            var left = vec4<f32>(0.0);
            var right = vec4<f32>(0.0);
            if at < p.width {
                let query = query_row(b, t0 + i / CHUNK, h) * p.width + at;
                let key = key_row(b, s0 + i / CHUNK, h) * p.width + at;
                if of_values {
                    left = v4(key, p.width - at);
                    right = dy4(query, p.width - at);
                } else {
                    left = k4(key, p.width - at);
                    right = q4(query, p.width - at);
                }
            }
            stage[place] = left;
            stage[place + ROWS * PITCH] = right;
        }
        workgroupBarrier();
        add_products(&sums, p.width - d, lane);
        workgroupBarrier();
    }
    return sums;
}

// Adds the tile's weights, given as `tile` by every lane, times the rows of q, or of dy when `of_values`.
fn accumulate(of_values: bool, tile: array<vec4<f32>, 2>, b: u32, h: u32, t0: u32, column: u32, lane: u32, sums: Sums) -> Sums {
    let r = 4u * (lane / 16u);
    let c = lane % 16u;
    var sum = sums;
    for (var i = 0u; i < 4u; i++) {
        for (var j = 0u; j < 2u; j++) { weights[(r + i) * WIDE + c + 16u * j] = tile[j][i]; }
    }
    for (var j = 0u; j < NC; j++) {
        for (var i = lane; i < ROWS * 16u; i += WG) {
            let d = column + 4u * (16u * j + i % 16u);
            var value = vec4<f32>(0.0);
            if d < p.width {
                let place = query_row(b, t0 + i / 16u, h) * p.width + d;
                if of_values { value = dy4(place, p.width - d); } else { value = q4(place, p.width - d); }
            }
            stage[i] = value;
        }
        workgroupBarrier();
        for (var first = 0u; first < p.queries - t0 && first < ROWS; first += 4u) {
            for (var t = first; t < first + 4u; t++) {
                let value = stage[t * 16u + c];
                for (var i = 0u; i < 4u; i++) { sum[i][j] += weights[(r + i) * WIDE + t] * value; }
            }
        }
        workgroupBarrier();
    }
    return sum;
}

@compute @workgroup_size(WG)
fn attention_dkv(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                 @builtin(local_invocation_index) lane: u32) {
    let tiles = (p.cache + ROWS - 1u) / ROWS;
    let slices = (p.width + 64u * NC - 1u) / (64u * NC);
    let index = group_index(group, groups);
    let b = index / slices / tiles / p.kv_heads;
    let kv_head = index / slices / tiles % p.kv_heads;
    let s0 = index / slices % tiles * ROWS;
    let column = index % slices * 64u * NC;
    if b >= p.batches { return; }
    let heads = p.heads / p.kv_heads;
    let r = 4u * (lane / 16u);
    let c = lane % 16u;

    var open: array<bool, 4>;
    for (var i = 0u; i < 4u; i++) { open[i] = is_open(b, s0 + r + i); }

    var dk_sum: Sums;
    var dv_sum: Sums;
    for (var h = kv_head * heads; h < (kv_head + 1u) * heads; h++) {
        for (var t0 = first_query(s0); t0 < p.queries; t0 += ROWS) {
            let score = products(false, b, h, t0, s0, lane);
            let change = products(true, b, h, t0, s0, lane);
            var weight: array<vec4<f32>, 2>;
            var slope: array<vec4<f32>, 2>;
            for (var j = 0u; j < 2u; j++) {
                let t = t0 + c + 16u * j;
                let of_row = rows[query_row(p.first + b, t, h)];
                for (var i = 0u; i < 4u; i++) {
                    let s = s0 + r + i;
                    let exists = t < p.queries && s < p.keys;
                    weight[j][i] = select(0.0, safe_exp(masked(score[j][i], open[i], t, s) - of_row.x) / of_row.y, exists);
                    slope[j][i] = select(0.0, weight[j][i] * (change[j][i] - of_row.z) * p.scale, is_visible(open[i], t, s));
                }
            }
            dv_sum = accumulate(true, weight, b, h, t0, column, lane, dv_sum);
            dk_sum = accumulate(false, slope, b, h, t0, column, lane, dk_sum);
        }
    }

    for (var i = 0u; i < 4u; i++) {
        let s = s0 + r + i;
        if s >= p.cache { break; }
        let start = ((b * p.cache + s) * p.kv_heads + kv_head) * p.width;
        for (var j = 0u; j < NC; j++) {
            let d = column + 4u * (16u * j + c);
            for (var e = 0u; e < 4u; e++) {
                if d + e < p.width {
                    dk[start + d + e] = dk_sum[i][j][e];
                    dv[start + d + e] = dv_sum[i][j][e];
                }
            }
        }
    }
}
