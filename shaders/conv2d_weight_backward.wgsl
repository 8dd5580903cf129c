// Gradient of a convolution by its weight.
//   dw[s, n, ky, kx, c] = sum over pixels (b, oy, ox) of part s of dy[b, oy, ox, n] * x[b, oy*sy + ky - top, ox*sx + kx - left, c]
//
//   dy   [B, Y', X', N]
//   x    [B, Y, X, C]
//   dw   [S, N, KY, KX, C]   partial sums, to be added over s
//
// A matrix product whose sum runs over the pixels. Every invocation keeps a tile of 4 TN output channels x 4 TC input
// channels of one tap in registers; neighbours take neighbouring input channels. The pixels are cut into S parts, so
// that few channels still make enough invocations, and the parts are added in a fixed order afterwards.

const TN: u32 = 2u;                     // quads of output channels of a tile
const TC: u32 = 2u;                     // quads of input channels of a tile
const WG: u32 = 64u;

//@import "lib/index.wgsl"
//@import INPUT "lib/input_f32.wgsl"
//@import WEIGHT "lib/weight_f32.wgsl"

@group(0) @binding(0) var<storage, read>       x: array<Input>;         // [B, Y, X, C]
@group(0) @binding(1) var<storage, read>       w: array<Weight>;        // [B, Y', X', N], this is dy
@group(0) @binding(2) var<storage, read_write> dw: array<f32>;          // [S, N, KY, KX, C]

struct Params {
    images: u32, rows: u32, columns: u32,           // of dy in this part
    first_image: u32, first_row: u32,
    n: u32, y_rows: u32,
    x_rows: u32, x_columns: u32, c: u32,
    kernel_y: u32, kernel_x: u32,
    stride_y: u32, stride_x: u32,
    top: u32, left: u32,
    x_start: u32, y_start: u32,                     // where element 0 of the whole tensor would be, wraps below zero
    slices: u32,                                    // S
}
@group(1) @binding(0) var<uniform> p: Params;

@compute @workgroup_size(WG)
fn conv2d_weight_backward(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                          @builtin(local_invocation_index) lane: u32) {
    let across = (p.c + 4u * TC - 1u) / (4u * TC);
    let down = (p.n + 4u * TN - 1u) / (4u * TN);
    let taps = p.kernel_y * p.kernel_x;
    let index = group_index(group, groups) * WG + lane;
    let c0 = index % across * 4u * TC;
    let position = index / across % taps;
    let n0 = index / across / taps % down * 4u * TN;
    let slice = index / across / taps / down;
    if slice >= p.slices { return; }

    let pixels = p.images * p.rows * p.columns;
    let size = (pixels + p.slices - 1u) / p.slices;
    var sum: array<array<mat4x4<f32>, TC>, TN>;     // [output quad][input quad][output channel][input channel]
    for (var q = slice * size; q < min((slice + 1u) * size, pixels); q++) {
        let image = p.first_image + q / (p.columns * p.rows);
        let oy = p.first_row + q / p.columns % p.rows;
        let ox = q % p.columns;
        let iy = oy * p.stride_y + position / p.kernel_x - p.top;       // wraps to a large number outside
        let ix = ox * p.stride_x + position % p.kernel_x - p.left;
        if iy >= p.x_rows || ix >= p.x_columns { continue; }
        let x_at = p.x_start + ((image * p.x_rows + iy) * p.x_columns + ix) * p.c;
        let y_at = p.y_start + ((image * p.y_rows + oy) * p.columns + ox) * p.n;
        var a: array<vec4<f32>, TC>;
        for (var j = 0u; j < TC; j++) {
            let c = min(c0 + 4u * j, (p.c - 1u) / 4u * 4u);
            a[j] = x4(x_at + c, p.c - c);
        }
        for (var i = 0u; i < TN; i++) {
            let n = min(n0 + 4u * i, (p.n - 1u) / 4u * 4u);
            let d = w4(y_at + n, p.n - n);
            for (var j = 0u; j < TC; j++) {
                for (var r = 0u; r < 4u; r++) { sum[i][j][r] += d[r] * a[j]; }
            }
        }
    }

    for (var i = 0u; i < 4u * TN && n0 + i < p.n; i++) {
        let row = ((slice * p.n + n0 + i) * taps + position) * p.c;
        for (var j = 0u; j < 4u * TC && c0 + j < p.c; j++) {
            dw[row + c0 + j] = sum[i / 4u][j / 4u][i % 4u][j % 4u];
        }
    }
}
