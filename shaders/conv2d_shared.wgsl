// Convolution as in conv2d.wgsl, for GPUs: a workgroup shares the slices of x and w that its tile needs.
//   y[b, oy, ox, n] = residual + apply(bias[n] + sum over ky, kx, c of x[b, oy*sy + ky - top, ox*sx + kx - left, c] * w[n, ky, kx, c])
// With TRANSPOSED the gradient by the input instead, see conv2d.wgsl.
//
//   x [B, Y, X, C]   w [N, KY, KX, C]   bias [N]   residual, y [B, Y', X', N]; bindings in lib/conv.wgsl
//
// SIDE x SIDE invocations compute (T SIDE) pixels x (T SIDE) channels. For every tap and every 16 input channels they
// bring both slices to workgroup memory, four input channels to a vec4, and each adds T x T dot products. Rows of the
// tile that an invocation owns are SIDE apart, so that neighbours read neighbouring words and write neighbouring channels.
// Not measured on a GPU yet. On lavapipe, as in conv2d.wgsl: T = 4 3.2, T = 8 5.7, so registers are kept there.

const TRANSPOSED: bool = false;         // knob
const T: u32 = 4u;                      // knob: 4 or 8, pixels and channels of an invocation
const SIDE: u32 = 16u;
const TILE: u32 = T * SIDE;
const QUADS: u32 = 4u;                  // quads of input channels in a slice
const WG: u32 = SIDE * SIDE;
const LOADS: u32 = TILE * QUADS / WG;   // quads that an invocation brings of each slice
alias V = f32;

//@import "lib/index.wgsl"
//@import "lib/math.wgsl"
//@import INPUT "lib/input_f32.wgsl"
//@import WEIGHT "lib/weight_f32.wgsl"
//@import "lib/conv.wgsl"

var<workgroup> xs: array<vec4<f32>, TILE * QUADS>;      // [quad][pixel]
var<workgroup> ws: array<vec4<f32>, TILE * QUADS>;      // [quad][channel]

// Brings the weights of input channels k .. k + 15 and of the tile's output channels; rows beyond the end are zero.
fn share_w(ky: u32, kx: u32, n0: u32, k0: u32, lane: u32) {
    if TRANSPOSED {
        // A load spans four output channels of one input channel: four lanes' worth is transposed in registers.
        for (var i = lane; i < TILE; i += WG) {
            let quad = i % QUADS;
            let channel = i / QUADS * 4u;
            let k = k0 + 4u * quad;
            var rows: mat4x4<f32>;
            if k < p.c {
                for (var r = 0u; r < 4u; r++) {
                    let row = w4(place_of_w(ky, kx, n0 + channel, k + r), rest_of_w(n0 + channel, k));
                    rows[r] = select(vec4<f32>(0.0), row, k + r < p.c);
                }
            }
            rows = transpose(rows);
            for (var r = 0u; r < 4u; r++) { ws[quad * TILE + channel + r] = rows[r]; }
        }
        return;
    }
    for (var i = 0u; i < LOADS; i++) {
        let item = lane + i * WG;
        let quad = item % QUADS;
        let channel = item / QUADS;
        let k = k0 + 4u * quad;
        var value = vec4<f32>(0.0);
        if k < p.c { value = w4(place_of_w(ky, kx, n0 + channel, k), p.c - k); }
        ws[quad * TILE + channel] = value;
    }
}

@compute @workgroup_size(WG)
fn conv2d_shared(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                 @builtin(local_invocation_index) lane: u32) {
    let total = p.images * p.rows * p.columns;
    let across = (p.n + TILE - 1u) / TILE;
    let index = group_index(group, groups);
    let n0 = p.first_n + index % across * TILE;
    let q0 = index / across * TILE;
    if q0 >= total { return; }                      // the whole group leaves
    var pixels: array<Pixel, LOADS>;                // those that this invocation brings
    for (var i = 0u; i < LOADS; i++) { pixels[i] = pixel_at(q0 + (lane + i * WG) / QUADS); }

    let own_n = lane % SIDE;
    let own_q = lane / SIDE;
    var sum: array<array<f32, T>, T>;
    for (var ky = 0u; ky < p.kernel_y; ky++) {
        for (var kx = 0u; kx < p.kernel_x; kx++) {
            var origin: array<Source, LOADS>;
            for (var i = 0u; i < LOADS; i++) { origin[i] = source(pixels[i], ky, kx); }
            for (var k0 = 0u; k0 < p.c; k0 += 4u * QUADS) {
                for (var i = 0u; i < LOADS; i++) {
                    let item = lane + i * WG;
                    let k = k0 + 4u * (item % QUADS);
                    var value = vec4<f32>(0.0);
                    if origin[i].inside && k < p.c { value = x4(origin[i].at + k, p.c - k); }
                    xs[item % QUADS * TILE + item / QUADS] = value;
                }
                share_w(ky, kx, n0, k0, lane);
                workgroupBarrier();
                for (var quad = 0u; quad < min(QUADS, (p.c - k0 + 3u) / 4u); quad++) {
                    var b: array<vec4<f32>, T>;
                    for (var j = 0u; j < T; j++) { b[j] = ws[quad * TILE + own_n + j * SIDE]; }
                    for (var i = 0u; i < T; i++) {
                        let a = xs[quad * TILE + own_q + i * SIDE];
                        for (var j = 0u; j < T; j++) { sum[i][j] += dot(a, b[j]); }
                    }
                }
                workgroupBarrier();
            }
        }
    }

    for (var i = 0u; i < T; i++) {
        let q = q0 + own_q + i * SIDE;
        if q >= total { break; }
        let out = pixel_at(q);
        for (var j = 0u; j < T; j++) {
            let n = n0 + own_n + j * SIDE;
            if n < p.first_n + p.n { store(out, n, sum[i][j]); }
        }
    }
}
