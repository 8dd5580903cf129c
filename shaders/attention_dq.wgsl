// Gradient of attention by the queries, tiled.
//
//   P[t, s] = exp(score[t, s] - m[t]) / l[t],   dS = P (dy . v - delta),   dq[t] = scale * sum over s of dS[t, s] k[s]
//
//   q, dy     [B, T, H, D]
//   k, v      [B, S, G, D]
//   key_mask  [B, S]
//   rows      [B, T, H, 4]   m, l and delta of a row
//   dq        [B, T, H, D]
//
// A workgroup owns 32 queries of a head and walks over the keys in tiles of 32, with the lanes and the staging of
// attention: q . k and dy . v from chunks, dS into workgroup memory, dS times k. A hidden key's score is a constant, so
// that its dS is zero.

const NC: u32 = 1u;                     // knob: quads of columns a lane owns, 16 quads apart
const WIDE: u32 = 33u;                  // of a row of slopes
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
@group(0) @binding(6) var<storage, read_write> dq: array<f32>;          // [B, T, H, D]

var<workgroup> slopes: array<f32, 1056>;            // ROWS x WIDE

// q . k, or dy . v when `of_values`: rows 4 r .. 4 r + 3 of the tile's queries by keys c and c + 16.
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
                    left = dy4(query, p.width - at);
                    right = v4(key, p.width - at);
                } else {
                    left = q4(query, p.width - at);
                    right = k4(key, p.width - at);
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

@compute @workgroup_size(WG)
fn attention_dq(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                @builtin(local_invocation_index) lane: u32) {
    let tiles = (p.queries + ROWS - 1u) / ROWS;
    let slices = (p.width + 64u * NC - 1u) / (64u * NC);
    let index = group_index(group, groups);
    let b = index / slices / tiles / p.heads;
    let h = index / slices / tiles % p.heads;
    let t0 = index / slices % tiles * ROWS;
    let column = index % slices * 64u * NC;
    if b >= p.batches { return; }
    let r = 4u * (lane / 16u);
    let c = lane % 16u;
    var of_row: array<vec4<f32>, 4>;
    for (var i = 0u; i < 4u; i++) { of_row[i] = rows[query_row(p.first + b, t0 + r + i, h)]; }

    var sum: array<array<vec4<f32>, NC>, 4>;
    let end = end_of_keys(t0 + ROWS - 1u);
    for (var s0 = 0u; s0 < end; s0 += ROWS) {
        let score = products(false, b, h, t0, s0, lane);
        let change = products(true, b, h, t0, s0, lane);
        for (var j = 0u; j < 2u; j++) {
            let s = s0 + c + 16u * j;
            let open = s < p.keys && is_open(b, s);
            for (var i = 0u; i < 4u; i++) {
                let weight = safe_exp(score[j][i] * p.scale - of_row[i].x) / of_row[i].y;
                let slope = weight * (change[j][i] - of_row[i].z) * p.scale;
                slopes[(r + i) * WIDE + c + 16u * j] = select(0.0, slope, is_visible(open, t0 + r + i, s));
            }
        }
        for (var j = 0u; j < NC; j++) {
            for (var i = lane; i < ROWS * 16u; i += WG) {
                let d = column + 4u * (16u * j + i % 16u);
                var key = vec4<f32>(0.0);
                if d < p.width { key = k4(key_row(b, s0 + i / 16u, h) * p.width + d, p.width - d); }
                stage[i] = key;
            }
            workgroupBarrier();
            for (var first = 0u; first < end - s0 && first < ROWS; first += 4u) {
                for (var s = first; s < first + 4u; s++) {
                    let key = stage[s * 16u + c];
                    for (var i = 0u; i < 4u; i++) { sum[i][j] += slopes[(r + i) * WIDE + s] * key; }
                }
            }
            workgroupBarrier();
        }
    }

    for (var i = 0u; i < 4u; i++) {
        let t = t0 + r + i;
        if t >= p.queries { break; }
        for (var j = 0u; j < NC; j++) {
            let d = column + 4u * (16u * j + c);
            for (var e = 0u; e < 4u; e++) {
                if d + e < p.width { dq[query_row(b, t, h) * p.width + d + e] = sum[i][j][e]; }
            }
        }
    }
}
