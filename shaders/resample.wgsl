// Resampling of images, nearest neighbour or BILINEAR.
//
//   nearest   y[b, oy, ox, c] = x[b, place(oy), place(ox), c],   place(o) = floor(o * in / out)
//   bilinear  y is between the four x around ((oy + 1/2) in / out - 1/2, the same for ox), by distance
//
//   x   [B, Y, X, C]
//   y   [B, Y', X', C]
//
// The quotient in / out is rounded to f32 first and the place is taken in f32, as PyTorch does. One invocation per V.

alias V = vec4<f32>;                    // knob: vec4<f32> | f32
const WIDTH: u32 = 4u;                  // knob: elements of V
const BILINEAR: bool = false;           // knob
const WG: u32 = 64u;

@group(0) @binding(0) var<storage, read>       x: array<V>;     // [B, Y, X, C]
@group(0) @binding(1) var<storage, read_write> y: array<V>;     // [B, Y', X', C]

struct Params {
    count: u32, first: u32,             // elements of y in this part
    c: u32,
    x_rows: u32, x_columns: u32, y_rows: u32, y_columns: u32,
    x_start: u32, y_start: u32,         // where element 0 of the whole tensor would be, wraps below zero
    scale_y: f32, scale_x: f32,         // in / out
}
@group(1) @binding(0) var<uniform> p: Params;

//@import "lib/index.wgsl"
//@import "lib/bilinear.wgsl"
//@import "lib/nearest.wgsl"

// Pixel (row, column) of an image at channel c.
fn at(image: u32, row: u32, column: u32, c: u32) -> V {
    let source = ((image * p.x_rows + row) * p.x_columns + column) * p.c + c;
    return x[(p.x_start + source) / WIDTH];
}

@compute @workgroup_size(WG)
fn resample(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
            @builtin(local_invocation_index) lane: u32) {
    let place = (group_index(group, groups) * WG + lane) * WIDTH;
    if place >= p.count { return; }
    let element = p.first + place;
    let c = element % p.c;
    let pixel = element / p.c;
    let column = pixel % p.y_columns;
    let row = pixel / p.y_columns % p.y_rows;
    let image = pixel / p.y_columns / p.y_rows;
    var value = V(0.0);
    if BILINEAR {
        let h = between(column, p.scale_x, p.x_columns);
        let v = between(row, p.scale_y, p.x_rows);
        let upper = at(image, v.low, h.low, c) * (1.0 - h.part) + at(image, v.low, h.high, c) * h.part;
        let lower = at(image, v.high, h.low, c) * (1.0 - h.part) + at(image, v.high, h.high, c) * h.part;
        value = upper * (1.0 - v.part) + lower * v.part;
    } else {
        value = at(image, nearest(row, p.scale_y, p.x_rows), nearest(column, p.scale_x, p.x_columns), c);
    }
    y[(p.y_start + element) / WIDTH] = value;
}
