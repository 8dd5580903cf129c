// Matrix product as in matmul.wgsl, for GPUs: a workgroup shares the slices of A and B that its tile needs.
//   y[m, n] = residual[m, n] + apply(sum over k of A[m, k] * B[k, n] + bias[n])
//
//   x  [.., M, K], or [.., K, M] with A_T     w  [.., K, N], or [.., N, K] with B_T
//   bias [N]   residual, y [.., M, N]; bindings in lib/matmul.wgsl
//
// SIDE x SIDE invocations compute (T SIDE) rows x (T SIDE) columns. For every 16 of k they bring both slices to
// workgroup memory with loads of four values, and lay them out by k, so that an invocation reads four neighbouring rows
// and four neighbouring columns at once; an outer product of T x T follows for each k.
// Not measured on a GPU yet. On lavapipe 16 x 16 tiles in workgroup memory reach an eighth of matmul.wgsl.

const A_T: bool = false;                // knob
const B_T: bool = true;                 // knob
const ACCUMULATE: bool = false;         // knob: add to y, for parts of k
const T: u32 = 4u;                      // knob: 4 or 8, rows and columns of an invocation
const SIDE: u32 = 16u;
const TILE: u32 = T * SIDE;
const QUADS: u32 = 4u;                  // quads of k in a slice
const WG: u32 = SIDE * SIDE;
alias V = vec4<f32>;

//@import "lib/index.wgsl"
//@import "lib/math.wgsl"
//@import INPUT "lib/input_f32.wgsl"
//@import WEIGHT "lib/weight_f32.wgsl"
//@import "lib/matmul.wgsl"

var<workgroup> xs: array<vec4<f32>, 4u * QUADS * TILE / 4u>;    // [k][quad of rows]
var<workgroup> ws: array<vec4<f32>, 4u * QUADS * TILE / 4u>;    // [k][quad of columns]

// Where a quad lies: rotated by k, so that lanes that store one quad of rows at several k meet different banks.
fn place(k: u32, quad: u32) -> u32 {
    return k * (TILE / 4u) + (quad ^ (k / 4u));
}

// Slices come quad by quad; what is beyond the end is zero. Where a quad runs along k, a lane loads four of them and
// transposes them in registers: it has to store whole quads, as lanes must not write to one vector each a component.
fn share_a(start: u32, m0: u32, k0: u32, lane: u32) {
    if A_T {
        for (var item = lane; item < TILE * QUADS; item += WG) {
            let m = item % (TILE / 4u) * 4u;
            let k = item / (TILE / 4u);
            var value = vec4<f32>(0.0);
            if k0 + k < p.k && m0 + m < p.m { value = x4(start + (k0 + k) * p.x_row + m0 + m, p.m - m0 - m); }
            xs[place(k, m / 4u)] = value;
        }
        return;
    }
    for (var item = lane; item < TILE * QUADS / 4u; item += WG) {
        let k = item % QUADS * 4u;
        let m = item / QUADS * 4u;
        var rows: mat4x4<f32>;
        for (var i = 0u; i < 4u; i++) {
            let row = m0 + m + i;
            if k0 + k < p.k && row < p.m { rows[i] = x4(start + row * p.x_row + k0 + k, p.k - k0 - k); }
        }
        rows = transpose(rows);
        for (var i = 0u; i < 4u; i++) { xs[place(k + i, m / 4u)] = rows[i]; }
    }
}

fn share_b(start: u32, n0: u32, k0: u32, lane: u32) {
    if B_T {
        // The other half of the lanes, where one half is enough.
        for (var item = (lane + WG / 2u) % WG; item < TILE * QUADS / 4u; item += WG) {
            let k = item % QUADS * 4u;
            let n = item / QUADS * 4u;
            var columns: mat4x4<f32>;
            for (var i = 0u; i < 4u; i++) {
                let column = n0 + n + i;
                if k0 + k < p.k && column < p.n { columns[i] = w4(start + column * p.w_row + k0 + k, p.k - k0 - k); }
            }
            columns = transpose(columns);
            for (var i = 0u; i < 4u; i++) { ws[place(k + i, n / 4u)] = columns[i]; }
        }
        return;
    }
    for (var item = lane; item < TILE * QUADS; item += WG) {
        let n = item % (TILE / 4u) * 4u;
        let k = item / (TILE / 4u);
        var value = vec4<f32>(0.0);
        if k0 + k < p.k && n0 + n < p.n { value = w4(start + (k0 + k) * p.w_row + n0 + n, p.n - n0 - n); }
        ws[place(k, n / 4u)] = value;
    }
}

@compute @workgroup_size(WG)
fn matmul_shared(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                 @builtin(local_invocation_index) lane: u32) {
    let across = (p.n + TILE - 1u) / TILE;
    let down = (p.m + TILE - 1u) / TILE;
    let index = group_index(group, groups);
    let batch = index / (across * down);
    let n0 = index % across * TILE;
    let m0 = index / across % down * TILE;
    if batch >= p.batches { return; }               // the whole group leaves

    // Rows and columns of an invocation come in quads that are 4 SIDE apart.
    let own_n = lane % SIDE * 4u;
    let own_m = lane / SIDE * 4u;
    var acc: array<array<vec4<f32>, T / 4u>, T>;    // [row][quad of columns]
    for (var k0 = 0u; k0 < p.k; k0 += 4u * QUADS) {
        share_a(p.x_start + batch * p.x_batch, m0, k0, lane);
        share_b(p.w_start + batch * p.w_batch, n0, k0, lane);
        workgroupBarrier();
        for (var k = 0u; k < min(4u * QUADS, p.k - k0); k++) {
            var b: array<vec4<f32>, T / 4u>;
            for (var j = 0u; j < T / 4u; j++) { b[j] = ws[place(k, own_n / 4u + j * SIDE)]; }
            for (var h = 0u; h < T / 4u; h++) {
                let a = xs[place(k, own_m / 4u + h * SIDE)];
                for (var i = 0u; i < 4u; i++) {
                    for (var j = 0u; j < T / 4u; j++) { acc[4u * h + i][j] = fma(b[j], vec4<f32>(a[i]), acc[4u * h + i][j]); }
                }
            }
        }
        workgroupBarrier();
    }

    for (var i = 0u; i < T; i++) {
        let m = m0 + own_m + i / 4u * 4u * SIDE + i % 4u;
        if m >= p.m { continue; }
        for (var j = 0u; j < T / 4u; j++) { store(batch, m, n0 + own_n + j * 4u * SIDE, acc[i][j]); }
    }
}
