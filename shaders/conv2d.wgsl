// Convolution, channels last, as an implicit matrix product: pixels times output channels, summed over (ky, kx, c).
//   y[b, oy, ox, n] = residual + apply(bias[n] + sum over ky, kx, c of x[b, oy*sy + ky - top, ox*sx + kx - left, c] * w[n, ky, kx, c])
// With TRANSPOSED the gradient by the input instead (y is dx and x is dy, so C and N change places):
//   y[b, oy, ox, n] = sum over ky, kx, c of x[b, (oy + top - ky) / sy, (ox + left - kx) / sx, c] * w[c, ky, kx, n], where the quotients are whole
//
//   x [B, Y, X, C]   w [N, KY, KX, C]   bias [N]   residual, y [B, Y', X', N]; bindings in lib/conv.wgsl
//
// Every invocation keeps TP pixels x 4 TNQ channels in registers; all of a workgroup share the channels, and no patch
// matrix is written. Ladder, 3x3 over 32x32, 128 to 128 channels, lavapipe (Mesa 25), GFLOP per second of processor time
// (the machine was shared): (1) every lane loads its weights: 2 x 8 tile 5.7, 8 x 8 tile 6.0; (2) lanes load one row in four and
// broadcast it: 2 x 8 tile 12.9; (3) one row in eight (lib/rows_subgroup.wgsl), 2 x 16 tile: see matmul.wgsl; (4) large ones in 4 x 24
// tiles, as there: 320 to 320 channels at 32 x 32 45 to 37 ms, 48 to 48 at 8 x 8, 32 pictures, 2.4 to 1.9 (4 x 16 tiles 40 and 2.3).

const TRANSPOSED: bool = false;         // knob
const C_QUADS: bool = false;            // knob: input channels are a multiple of four
const TP: u32 = 2u;                     // knob: pixels of a tile
const TNQ: u32 = 2u;                    // knob: quads of channels of a tile, even
const WG: u32 = 32u;                    // knob: invocations
alias V = f32;
alias At = vec2<u32>;                   // the tap (kx, ky)

//@import "lib/index.wgsl"
//@import "lib/math.wgsl"
//@import INPUT "lib/input_f32.wgsl"
//@import WEIGHT "lib/weight_f32.wgsl"
//@import ROWS "lib/rows_own.wgsl"
//@import "lib/conv.wgsl"

// Row r of eight of the weight: output channel n + r and input channels k .. k + 3, or TRANSPOSED input channel k + r % 4 and the
// quad r / 4 of output channels.
fn row_of_w(at: At, n: u32, k: u32, r: u32) -> vec4<f32> {
    if !TRANSPOSED { return w4(place_of_w(at.y, at.x, n + r, k), rest_of_w(n, k)); }
    let quad = n + r / 4u * 4u;
    return w4(place_of_w(at.y, at.x, quad, k + r % 4u), rest_of_w(quad, k));
}

// The weight of input channels k .. k + 3 and output channels n .. n + 3, and the same from n + 4 on: [input][output].
fn blocks_of_w(at: At, n: u32, k: u32, lane: u32) -> array<mat4x4<f32>, 2> {
    var blocks = rows8(at, n, k, lane);
    if !TRANSPOSED { return array<mat4x4<f32>, 2>(transpose(blocks[0]), transpose(blocks[1])); }
    if C_QUADS { return blocks; }
    for (var i = 1u; i < 4u; i++) {
        blocks[0][i] = select(vec4<f32>(0.0), blocks[0][i], k + i < p.c);
        blocks[1][i] = select(vec4<f32>(0.0), blocks[1][i], k + i < p.c);
    }
    return blocks;
}

@compute @workgroup_size(WG)
fn conv2d(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
          //@if SUBGROUP
          @builtin(subgroup_invocation_id) subgroup_lane: u32,
          //@end
          @builtin(local_invocation_index) lane: u32) {
    let across = (p.n + 4u * TNQ - 1u) / (4u * TNQ);
    let index = group_index(group, groups);
    let n0 = p.first_n + index % across * 4u * TNQ;
    let q0 = (index / across * WG + lane) * TP;     // lanes beyond the end work on, for their neighbours' broadcasts
    var place = 0u;
    //@if SUBGROUP
    place = subgroup_lane;
    //@end
    var pixels: array<Pixel, TP>;
    for (var i = 0u; i < TP; i++) { pixels[i] = pixel_at(q0 + i); }

    var sum: array<array<vec4<f32>, TNQ>, TP>;
    for (var ky = 0u; ky < p.kernel_y; ky++) {
        for (var kx = 0u; kx < p.kernel_x; kx++) {
            var origin: array<Source, TP>;
            for (var i = 0u; i < TP; i++) { origin[i] = source(pixels[i], ky, kx); }
            for (var k = 0u; k < p.c; k += 4u) {
                var a: array<vec4<f32>, TP>;
                for (var i = 0u; i < TP; i++) {
                    a[i] = select(vec4<f32>(0.0), x4(origin[i].at + k, p.c - k), origin[i].inside);
                }
                for (var j = 0u; j < TNQ; j += 2u) {
                    let b = blocks_of_w(vec2<u32>(kx, ky), n0 + 4u * j, k, place);
                    for (var h = 0u; h < 2u; h++) {
                        for (var i = 0u; i < TP; i++) {
                            sum[i][j + h] = fma(b[h][0], vec4<f32>(a[i].x), fma(b[h][1], vec4<f32>(a[i].y),
                                            fma(b[h][2], vec4<f32>(a[i].z), fma(b[h][3], vec4<f32>(a[i].w), sum[i][j + h]))));
                        }
                    }
                }
            }
        }
    }

    let total = p.images * p.rows * p.columns;
    for (var i = 0u; i < TP; i++) {
        if q0 + i >= total { break; }
        for (var j = 0u; j < TNQ; j++) {
            for (var u = 0u; u < 4u; u++) {
                let n = n0 + 4u * j + u;
                if n < p.first_n + p.n { store(pixels[i], n, sum[i][j][u]); }
            }
        }
    }
}
