// Matrix product.      y[m, n] = residual[m, n] + apply(sum over k of A[m, k] * B[k, n] + bias[n])
//
//   x  [.., M, K], or [.., K, M] with A_T     left operand A
//   w  [.., K, N], or [.., N, K] with B_T     right operand B, any weight format
//   bias [N]   residual, y [.., M, N]; bindings in lib/matmul.wgsl
//
// Every invocation keeps a TM x 4 TNQ tile in registers and walks along k in steps of four; nothing goes through
// workgroup memory. Operands are brought to the same form (A by rows of four k, B by rows of four n) by transposing 4 x 4 blocks in
// registers. Ladder, 1024^3 f32 on lavapipe (Mesa 25), GFLOP per second of processor time on a busy machine whose FMA
// ceiling is 60: (1) one output per invocation 1; (2) 8 x 8 tiles 4.6: there a load costs as much as 18 FMAs, whether lanes
// share its address or not; (3) lanes along m, each loads one row of B in eight and broadcasts it (lib/rows_subgroup.wgsl):
// tiles of 2 x 16 13.8, 4 x 32 13.9 but four times as long to compile, two steps of k unrolled 9 (the driver's compiler
// loads everything first and spills). With A_T these were half as fast until no loop had two conditions: the driver does not
// unroll such a one, and the rows of A, indexed by its counter, went through memory. 352 x 128 x 1600: 3.0 before, 5.6 after.
// On a machine of twice that speed, wall time with both threads: (4) workgroups of one subgroup and 4 x 24 tiles, expected 1.3 times from
// fewer loads: 1024^3 70 to 50 ms (4 x 16 58, 8 x 16 54, 4 x 32 134), but 2.1 instead of 0.8 s to compile, so only large products
// have them; (5) a few rows: lanes along n, and A, of which all lanes need the same, loaded once for a subgroup
// (lib/row_subgroup.wgsl), expected 17 instead of 20 loads for one row, 20 instead of 32 for four: 4096 x 4096 with one row 6.4
// to 5.5 ms, four 13.8 to 8.7, eight 39 to 10, sixteen 39 to 19.

const A_T: bool = false;                // knob
const B_T: bool = true;                 // knob
const K_QUADS: bool = false;            // knob: k is a multiple of four
const ACCUMULATE: bool = false;         // knob: add to y, for parts of k
const TM: u32 = 8u;                     // knob: rows of a tile: 1, 2, 4 or 8; at least 4 when A_T
const TNQ: u32 = 2u;                    // knob: quads of columns of a tile, 1 or even
const WGN: u32 = 8u;                    // knob: invocations along n; 1 with rows_subgroup
const WGM: u32 = 8u;                    // knob: invocations along m; 1 with row_subgroup
const WG: u32 = WGN * WGM;
const HALVES: u32 = min(TNQ, 2u);       // quads of a step along n
alias V = vec4<f32>;
alias At = u32;                         // where a matrix B begins

//@import "lib/index.wgsl"
//@import "lib/math.wgsl"
//@import INPUT "lib/input_f32.wgsl"
//@import WEIGHT "lib/weight_f32.wgsl"
//@import ROW "lib/row_own.wgsl"
//@import ROWS "lib/rows_own.wgsl"
//@import "lib/matmul.wgsl"

// A[m0 + i, k .. k + 3] for every row i of the tile; rows beyond the end repeat the last one.
fn tile_of_a(start: u32, m0: u32, k: u32, lane: u32) -> array<vec4<f32>, TM> {
    var a: array<vec4<f32>, TM>;
    if A_T {
        for (var i = 0u; i < TM; i += 4u) {
            let m = min(m0 + i, (p.m - 1u) / 4u * 4u);
            var columns: mat4x4<f32>;
            for (var kk = 0u; kk < 4u; kk++) {
                let row = min(k + kk, p.k - 1u);
                columns[kk] = select(vec4<f32>(0.0), x4(start + row * p.x_row + m, p.m - m), k + kk < p.k);
            }
            let rows = transpose(columns);
            for (var r = 0u; r < 4u; r++) { a[i + r] = rows[r]; }
        }
    } else {
        for (var i = 0u; i < TM; i++) {
            a[i] = row4(start + min(m0 + i, p.m - 1u) * p.x_row + k, p.k - k, lane);
        }
    }
    return a;
}

// Four neighbours of B as it is stored, row r of eight: columns n + r / 4 * 4 .. and k + r % 4, or with B_T column n + r and k .. k + 3.
// Those beyond the end repeat the last one.
fn row_of_w(at: At, n: u32, k: u32, r: u32) -> vec4<f32> {
    if B_T { return w4(at + min(n + r, p.n - 1u) * p.w_row + k, p.k - k); }
    let column = min(n + r / 4u * 4u, (p.n - 1u) / 4u * 4u);
    var row = k + r % 4u;
    if !K_QUADS { row = min(row, p.k - 1u); }
    return w4(at + row * p.w_row + column, p.n - column);
}

// B[k + kk, n .. n + 3] for kk of 0 .. 3, and the same from n + 4 on.
fn blocks_of_b(at: At, n: u32, k: u32, lane: u32) -> array<mat4x4<f32>, 2> {
    var blocks = rows8(at, n, k, lane);
    if B_T { return array<mat4x4<f32>, 2>(transpose(blocks[0]), transpose(blocks[1])); }
    if K_QUADS { return blocks; }
    for (var kk = 1u; kk < 4u; kk++) {
        blocks[0][kk] = select(vec4<f32>(0.0), blocks[0][kk], k + kk < p.k);
        blocks[1][kk] = select(vec4<f32>(0.0), blocks[1][kk], k + kk < p.k);
    }
    return blocks;
}

@compute @workgroup_size(WG)
fn matmul(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
          //@if SUBGROUP
          @builtin(subgroup_invocation_id) subgroup_lane: u32,
          //@end
          @builtin(local_invocation_index) lane: u32) {
    let across = (p.n + 4u * TNQ * WGN - 1u) / (4u * TNQ * WGN);
    let down = (p.m + TM * WGM - 1u) / (TM * WGM);
    let index = group_index(group, groups);
    let batch = index / (across * down);
    let n0 = (index % across * WGN + lane % WGN) * 4u * TNQ;
    let m0 = (index / across % down * WGM + lane / WGN) * TM;
    if batch >= p.batches { return; }               // the whole group leaves
    var place = 0u;
    //@if SUBGROUP
    place = subgroup_lane;
    //@end

    // Lanes beyond the end work on, for their neighbours' broadcasts.
    var acc: array<array<vec4<f32>, TNQ>, TM>;
    for (var k = 0u; k < p.k; k += 4u) {
        let a = tile_of_a(p.x_start + batch * p.x_batch, m0, k, place);
        for (var j = 0u; j < TNQ; j += 2u) {
            let b = blocks_of_b(p.w_start + batch * p.w_batch, n0 + 4u * j, k, place);
            for (var h = 0u; h < HALVES; h++) {
                for (var i = 0u; i < TM; i++) {
                    acc[i][j + h] = fma(b[h][0], vec4<f32>(a[i].x), fma(b[h][1], vec4<f32>(a[i].y),
                                    fma(b[h][2], vec4<f32>(a[i].z), fma(b[h][3], vec4<f32>(a[i].w), acc[i][j + h]))));
                }
            }
        }
    }

    for (var i = 0u; i < TM; i++) {
        if m0 + i >= p.m { break; }
        for (var j = 0u; j < TNQ; j++) {
            store(batch, m0 + i, n0 + 4u * j, acc[i][j]);
        }
    }
}
