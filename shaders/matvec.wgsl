// Matrix product with few rows, for GPUs: decoding one token at a time.
//   y[m, n] = residual[m, n] + apply(sum over k of A[m, k] * B[k, n] + bias[n])
//
//   x  [.., M, K]   w  [.., N, K]   bias [N]   residual, y [.., M, N]; bindings in lib/matmul.wgsl
//
// Only the weights count: they are read once, and WG lanes side by side read neighbouring quads of the same rows. A
// workgroup owns four columns and TM rows, its lanes stride along k, and their sums are folded in workgroup memory.
// Not measured on a GPU yet; software drivers keep to matmul.wgsl, which needs no barriers.

const ACCUMULATE: bool = false;         // knob: add to y, for parts of k
const TM: u32 = 1u;                     // knob: rows of a workgroup
const WG: u32 = 64u;
alias V = vec4<f32>;

//@import "lib/index.wgsl"
//@import "lib/math.wgsl"
//@import INPUT "lib/input_f32.wgsl"
//@import WEIGHT "lib/weight_f32.wgsl"
//@import "lib/matmul.wgsl"

var<workgroup> sums: array<vec4<f32>, WG>;

@compute @workgroup_size(WG)
fn matvec(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
          @builtin(local_invocation_index) lane: u32) {
    let across = (p.n + 3u) / 4u;
    let down = (p.m + TM - 1u) / TM;
    let index = group_index(group, groups);
    let batch = index / (across * down);
    let n = index % across * 4u;
    let m = index / across % down * TM;
    if batch >= p.batches { return; }               // the whole group leaves
    let x_start = p.x_start + batch * p.x_batch;
    let row = p.w_start + batch * p.w_batch + min(n + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(p.n - 1u)) * p.w_row;

    var acc: array<vec4<f32>, TM>;                  // four columns
    for (var k = 4u * lane; k < p.k; k += 4u * WG) {
        let count = p.k - k;
        let b = mat4x4<f32>(w4(row.x + k, count), w4(row.y + k, count), w4(row.z + k, count), w4(row.w + k, count));
        for (var i = 0u; i < TM; i++) {
            acc[i] += x4(x_start + min(m + i, p.m - 1u) * p.x_row + k, count) * b;
        }
    }
    for (var i = 0u; i < TM; i++) {
        sums[lane] = acc[i];
        workgroupBarrier();
        for (var span = WG / 2u; span > 0u; span /= 2u) {
            if lane < span { sums[lane] += sums[lane + span]; }
            workgroupBarrier();
        }
        if lane == 0u && m + i < p.m { store(batch, m + i, n, sums[0]); }
        workgroupBarrier();
    }
}
