// Matrix product.      y[m, n] = residual[m, n] + apply(sum over k of A[m, k] * B[k, n] + bias[n])
//
//   x         [.., M, K], or [.., K, M] with A_T     left operand A
//   w         [.., K, N], or [.., N, K] with B_T     right operand B, any weight format
//   bias      [N]
//   residual  [.., M, N]
//   y         [.., M, N]
//
// Every invocation keeps a TM x 4 TNQ tile in registers and walks along k in steps of four; nothing is shared.
// Operands are brought to the same form (A by rows of four k, B by rows of four n) by transposing 4 x 4 blocks in
// registers. Ladder, 1024^3 f32 on lavapipe (two cores): (1) one output per invocation 2 GFLOP/s; (2) 8 x 8 tiles 20.

const A_T: bool = false;                // knob
const B_T: bool = true;                 // knob
const TM: u32 = 8u;                     // knob: rows of a tile: 1, 2, 4 or 8; at least 4 when A_T
const TNQ: u32 = 2u;                    // knob: quads of columns of a tile
const WGN: u32 = 8u;                    // knob: invocations along n
const WGM: u32 = 8u;                    // knob: invocations along m
alias V = vec4<f32>;

//@import "lib/index.wgsl"
//@import "lib/math.wgsl"
//@import INPUT "lib/input_f32.wgsl"
//@import WEIGHT "lib/weight_f32.wgsl"

@group(0) @binding(0) var<storage, read>       x: array<Input>;         // [.., M, K]
@group(0) @binding(1) var<storage, read>       w: array<Weight>;        // [.., K, N]
//@if BIAS
@group(0) @binding(2) var<storage, read>       bias: array<f32>;        // [N]
//@end
//@if RESIDUAL
@group(0) @binding(3) var<storage, read>       residual: array<f32>;    // [.., M, N]
//@end
@group(0) @binding(4) var<storage, read_write> y: array<f32>;           // [.., M, N]

struct Params {
    m: u32, n: u32, k: u32,             // n of this chunk
    n_first: u32, n_all: u32,           // column of y where the chunk starts, and columns of y
    batches: u32,
    x_batch: u32, w_batch: u32,         // elements from one matrix to the next, 0 to share one
}
@group(1) @binding(0) var<uniform> p: Params;

//@hook
fn apply(a: V) -> V { return a; }

// A[m0 + i, k .. k + 3] for every row i of the tile; rows beyond the end repeat the last one.
fn tile_of_a(start: u32, m0: u32, k: u32) -> array<vec4<f32>, TM> {
    var a: array<vec4<f32>, TM>;
    if A_T {
        for (var i = 0u; i < TM; i += 4u) {
            let m = min(m0 + i, (p.m - 1u) / 4u * 4u);
            var columns: mat4x4<f32>;
            for (var kk = 0u; kk < 4u; kk++) {
                let row = min(k + kk, p.k - 1u);
                columns[kk] = select(vec4<f32>(0.0), x4(start + row * p.m + m, p.m - m), k + kk < p.k);
            }
            let rows = transpose(columns);
            for (var r = 0u; r < 4u && i + r < TM; r++) { a[i + r] = rows[r]; }
        }
    } else {
        for (var i = 0u; i < TM; i++) {
            a[i] = x4(start + min(m0 + i, p.m - 1u) * p.k + k, p.k - k);
        }
    }
    return a;
}

// B[k + kk, n .. n + 3] for kk of 0 .. 3.
fn block_of_b(start: u32, n: u32, k: u32) -> mat4x4<f32> {
    var rows: mat4x4<f32>;
    if B_T {
        for (var j = 0u; j < 4u; j++) {
            rows[j] = w4(start + min(n + j, p.n - 1u) * p.k + k, p.k - k);
        }
        return transpose(rows);
    }
    let column = min(n, (p.n - 1u) / 4u * 4u);
    for (var kk = 0u; kk < 4u; kk++) {
        let row = min(k + kk, p.k - 1u);
        rows[kk] = select(vec4<f32>(0.0), w4(start + row * p.n + column, p.n - column), k + kk < p.k);
    }
    return rows;
}

@compute @workgroup_size(WGN, WGM)
fn matmul(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
          @builtin(local_invocation_id) lane: vec3<u32>) {
    let across = (p.n + 4u * TNQ * WGN - 1u) / (4u * TNQ * WGN);
    let down = (p.m + TM * WGM - 1u) / (TM * WGM);
    let index = group_index(group, groups);
    let batch = index / (across * down);
    let n0 = (index % across * WGN + lane.x) * 4u * TNQ;
    let m0 = (index / across % down * WGM + lane.y) * TM;
    if batch >= p.batches || n0 >= p.n || m0 >= p.m { return; }

    var acc: array<array<vec4<f32>, TNQ>, TM>;
    for (var k = 0u; k < p.k; k += 4u) {
        let a = tile_of_a(batch * p.x_batch, m0, k);
        for (var j = 0u; j < TNQ; j++) {
            let b = block_of_b(batch * p.w_batch, n0 + 4u * j, k);
            for (var i = 0u; i < TM; i++) {
                acc[i][j] = fma(b[0], vec4<f32>(a[i].x), fma(b[1], vec4<f32>(a[i].y),
                            fma(b[2], vec4<f32>(a[i].z), fma(b[3], vec4<f32>(a[i].w), acc[i][j]))));
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

fn store(batch: u32, m: u32, n: u32, sum: vec4<f32>) {
    var value = sum;
    let count = min(p.n - min(n, p.n), 4u);
    let column = p.n_first + n;
    let at = (batch * p.m + m) * p.n_all + column;
    //@if BIAS
    for (var i = 0u; i < count; i++) { value[i] += bias[column + i]; }
    //@end
    value = apply(value);
    //@if RESIDUAL
    for (var i = 0u; i < count; i++) { value[i] += residual[at + i]; }
    //@end
    for (var i = 0u; i < count; i++) { y[at + i] = value[i]; }
}
