// Gradient of a convolution by its weight.
//   dw[s, n, ky, kx, c] = sum over pixels (b, oy, ox) of part s of dy[b, oy, ox, n] * x[b, oy*sy + ky - top, ox*sx + kx - left, c]
//
//   dy   [B, Y', X', N]
//   x    [B, Y, X, C]
//   dw   [S, N, KY, KX, C]   partial sums, to be added over s
//
// A matrix product whose sum runs over the pixels. Every invocation keeps a tile of 4 TN output channels x 4 TC input
// channels of one tap in registers; a workgroup shares the output channels, and its lanes go through taps and input channels.
// The pixels are cut into S parts, so that few channels still make enough invocations, and the parts are added in a fixed
// order afterwards. Ladder, 3x3 over 32x32, 64 to 64 channels, lavapipe, GFLOP per second of processor time: (1) 8 x 8
// tiles, every lane loads both sides and divides to find its pixel 5.1; (2) pixels are counted instead, and a subgroup shares
// dy (lib/quads_subgroup.wgsl): 8 x 4 tiles 8.0, 16 x 8 tiles 7.9, 16 x 4 tiles 10.5; without sharing 3.1, since the driver's
// compiler loads all eight quads first; (3) a load costs as much as 90 other instructions there, so tiles may spill: 24 x 8 tiles
// take 0.63 of the time of 16 x 4 ones for 48 to 48 channels at 8 x 8, 32 pictures, 0.77 for 64 at 4 x 4, 0.71 for 128 at 64 x 64.
// 32 x 8 and 16 x 12 tiles are slower, 24 x 12 the same.

const TN: u32 = 4u;                     // knob: quads of output channels of a tile: 2, 4 or 6
const TC: u32 = 1u;                     // knob: quads of input channels of a tile
const PIXELS: u32 = 8u / TN;            // pixels of a step: eight quads of dy, or six
const WG: u32 = 32u;                    // knob: lanes; 8 with a subgroup

//@import "lib/index.wgsl"
//@import INPUT "lib/input_f32.wgsl"
//@import WEIGHT "lib/weight_f32.wgsl"
//@import QUADS "lib/quads_own.wgsl"

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

// Quad i of the eight of a step: pixel q + i / TN, output channels from n0 + 4 (i % TN) on. Pixels of a part lie side by side.
fn quad(q: u32, last: u32, n0: u32, i: u32) -> vec4<f32> {
    let n = min(n0 + 4u * (i % TN), (p.n - 1u) / 4u * 4u);
    let pixel = (p.first_image * p.y_rows + p.first_row) * p.columns + min(q + i / TN, last);
    return w4(p.y_start + pixel * p.n + n, p.n - n);
}

@compute @workgroup_size(WG)
fn conv2d_weight_backward(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                          //@if SUBGROUP
                          @builtin(subgroup_invocation_id) subgroup_lane: u32,
                          //@end
                          @builtin(local_invocation_index) lane: u32) {
    let across = (p.c + 4u * TC - 1u) / (4u * TC);
    let down = (p.n + 4u * TN - 1u) / (4u * TN);
    let taps = p.kernel_y * p.kernel_x;
    let chunks = (across * taps + WG - 1u) / WG;
    let index = group_index(group, groups);
    let tile = index % chunks * WG + lane;
    let n0 = index / chunks % down * 4u * TN;
    let slice = index / chunks / down;
    if slice >= p.slices { return; }                // the whole group leaves
    var place = 0u;
    //@if SUBGROUP
    place = subgroup_lane;
    //@end

    // Lanes beyond the end work on, for their neighbours' broadcasts.
    let c0 = tile % across * 4u * TC;
    let position = min(tile / across, taps - 1u);
    let pixels = p.images * p.rows * p.columns;
    let size = (pixels + p.slices - 1u) / p.slices;
    let start = min(slice * size, pixels);
    let end = min(start + size, pixels);
    var image = p.first_image + start / (p.columns * p.rows);
    var oy = p.first_row + start / p.columns % p.rows;
    var ox = start % p.columns;
    var sum: array<array<mat4x4<f32>, TC>, TN>;     // [output quad][input quad][output channel][input channel]
    for (var q = start; q < end; q += PIXELS) {
        let d = quads8(q, pixels - 1u, n0, place);
        for (var u = 0u; u < PIXELS; u++) {
            let iy = oy * p.stride_y + position / p.kernel_x - p.top;       // wraps to a large number outside
            let ix = ox * p.stride_x + position % p.kernel_x - p.left;
            let inside = iy < p.x_rows && ix < p.x_columns && q + u < end;
            let at = p.x_start + ((image * p.x_rows + iy) * p.x_columns + ix) * p.c;
            for (var j = 0u; j < TC; j++) {
                let c = min(c0 + 4u * j, (p.c - 1u) / 4u * 4u);
                let a = select(vec4<f32>(0.0), x4(select(0u, at + c, inside), p.c - c), inside);
                for (var i = 0u; i < TN; i++) {
                    for (var r = 0u; r < 4u; r++) { sum[i][j][r] = fma(vec4<f32>(d[u * TN + i][r]), a, sum[i][j][r]); }
                }
            }
            ox += 1u;
            oy += select(0u, 1u, ox == p.columns);
            ox = select(ox, 0u, ox == p.columns);
            image += select(0u, 1u, oy == p.first_row + p.rows);
            oy = select(oy, p.first_row, oy == p.first_row + p.rows);
        }
    }

    if tile >= across * taps { return; }
    for (var i = 0u; i < TN; i++) {
        for (var r = 0u; r < 4u; r++) {
            let n = n0 + 4u * i + r;
            let row = ((slice * p.n + n) * taps + position) * p.c;
            for (var j = 0u; j < TC; j++) {
                for (var u = 0u; u < 4u; u++) {
                    let c = c0 + 4u * j + u;
                    if n < p.n && c < p.c { dw[row + c] = sum[i][j][r][u]; }
                }
            }
        }
    }
}
