// Attention, tiled.    y[b, t, h] = sum over s of softmax_s(q[b, t, h] . k[b, s, g] * scale) v[b, s, g],  g = h / (H / G)
//
//   q         [B, T, H, D]
//   k, v      [B, S, G, D]
//   key_mask  [B, S]            0 hides a key
//   y         [B, T, H, D]
//   stats     [B, T, H, 2]      largest score m and sum of exp(score - m), for merging and for the backward pass
//
// A workgroup owns 32 queries of a head and walks over the keys in tiles of 32 (online softmax):
//   1. scores of the tile, 4 x 2 a lane, from chunks of 32 elements of q and k staged in workgroup memory;
//   2. four lanes a query find its new maximum, exponentiate, and sum;
//   3. weights times values, 4 queries x NC quads of columns a lane, from chunks of 64 columns of v.
// Heads wider than 64 NC are cut into slices of columns, each of which finds the scores anew.
// Ladder: (1) one query per invocation (attention_rows); (2) tiles shared by a workgroup: a value loaded serves 32 queries.

const NC: u32 = 1u;                     // knob: quads of columns a lane owns, 16 quads apart
const WIDE: u32 = 33u;                  // of a row of weights
alias V = f32;

//@import "lib/index.wgsl"
//@import "lib/math.wgsl"
//@import "lib/attention.wgsl"
//@import "lib/attention_tile.wgsl"
//@import HEADS "lib/heads_f32.wgsl"

@group(0) @binding(0) var<storage, read>       q: array<Head>;           // [B, T, H, D]
@group(0) @binding(1) var<storage, read>       k: array<Head>;           // [B, S, G, D]
@group(0) @binding(2) var<storage, read>       v: array<Head>;           // [B, S, G, D]
@group(0) @binding(4) var<storage, read_write> y: array<f32>;            // [B, T, H, D]
@group(0) @binding(5) var<storage, read_write> stats: array<vec2<f32>>;  // [B, T, H, 2]

var<workgroup> weights: array<f32, 1056>;           // ROWS x WIDE
var<workgroup> partial: array<f32, WG>;
var<workgroup> factors: array<f32, ROWS>;

// q . k of four queries by two keys: queries 4 r .. 4 r + 3 of the tile, keys c and c + 16.
fn scores(b: u32, h: u32, t0: u32, s0: u32, lane: u32) -> array<vec4<f32>, 2> {
    var sums: array<vec4<f32>, 2>;
    for (var d = 0u; d < p.width; d += 4u * CHUNK) {
        for (var i = lane; i < ROWS * CHUNK; i += WG) {
            let at = d + 4u * (i % CHUNK);
            let place = i / CHUNK * PITCH + i % CHUNK;
            var query = vec4<f32>(0.0);
            var key = vec4<f32>(0.0);
            if at < p.width {
                query = q4(query_row(b, t0 + i / CHUNK, h) * p.width + at, p.width - at);
                key = k4(key_row(b, s0 + i / CHUNK, h) * p.width + at, p.width - at);
            }
            stage[place] = query;
            stage[place + ROWS * PITCH] = key;
        }
        workgroupBarrier();
        add_products(&sums, p.width - d, lane);
        workgroupBarrier();
    }
    return sums;
}

@compute @workgroup_size(WG)
fn attention(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
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
    let row = lane / 4u;                // the query of the tile whose softmax this lane helps with
    let quarter = 8u * (lane % 4u);

    var sum: array<array<vec4<f32>, NC>, 4>;
    var top = HIDDEN;                   // of query `row`
    var total = 0.0;                    // of this lane's quarter of the keys
    let end = end_of_keys(t0 + ROWS - 1u);
    for (var s0 = 0u; s0 < end; s0 += ROWS) {
        let score = scores(b, h, t0, s0, lane);
        for (var j = 0u; j < 2u; j++) {
            let s = s0 + c + 16u * j;
            let open = is_open(b, s);
            for (var i = 0u; i < 4u; i++) {
                weights[(r + i) * WIDE + c + 16u * j] = masked(score[j][i], open, t0 + r + i, s);
            }
        }
        workgroupBarrier();

        let first = row * WIDE + quarter;
        let count = min(8u, max(p.keys, s0 + quarter) - s0 - quarter);
        var highest = top;
        for (var i = 0u; i < count; i++) { highest = max(highest, weights[first + i]); }
        partial[lane] = highest;
        workgroupBarrier();
        for (var i = 0u; i < 4u; i++) { highest = max(highest, partial[lane / 4u * 4u + i]); }
        let shrink = safe_exp(top - highest);
        top = highest;
        total *= shrink;
        for (var i = 0u; i < 8u; i++) {
            let weight = select(0.0, safe_exp(weights[first + i] - top), i < count);
            weights[first + i] = weight;
            total += weight;
        }
        if quarter == 0u { factors[row] = shrink; }
        workgroupBarrier();

        for (var j = 0u; j < NC; j++) {
            for (var i = 0u; i < 4u; i++) { sum[i][j] *= factors[r + i]; }
        }
        for (var j = 0u; j < NC; j++) {
            for (var i = lane; i < ROWS * 16u; i += WG) {
                let d = column + 4u * (16u * j + i % 16u);
                var value = vec4<f32>(0.0);
                if d < p.width { value = v4(key_row(b, s0 + i / 16u, h) * p.width + d, p.width - d); }
                stage[i] = value;
            }
            workgroupBarrier();
            for (var first = 0u; first < end - s0 && first < ROWS; first += 4u) {
                for (var s = first; s < first + 4u; s++) {
                    let value = stage[s * 16u + c];
                    for (var i = 0u; i < 4u; i++) { sum[i][j] += weights[(r + i) * WIDE + s] * value; }
                }
            }
            workgroupBarrier();
        }
    }

    partial[lane] = total;
    workgroupBarrier();
    if quarter == 0u {
        total = partial[lane] + partial[lane + 1u] + partial[lane + 2u] + partial[lane + 3u];
        factors[row] = 1.0 / total;
        if column == 0u && t0 + row < p.queries { stats[query_row(p.first + b, t0 + row, h)] = vec2<f32>(top, total); }
    }
    workgroupBarrier();
    for (var i = 0u; i < 4u; i++) {
        let t = t0 + r + i;
        if t >= p.queries { break; }
        for (var j = 0u; j < NC; j++) {
            let d = column + 4u * (16u * j + c);
            let value = sum[i][j] * factors[r + i];
            for (var e = 0u; e < 4u; e++) {
                if d + e < p.width { y[query_row(b, t, h) * p.width + d + e] = value[e]; }
            }
        }
    }
}
