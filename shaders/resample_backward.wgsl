// Gradient of resampling.      dx[b, iy, ix, c] = sum over oy, ox of share(oy, iy) * share(ox, ix) * dy[b, oy, ox, c]
//
//   dy   [B, Y', X', C]
//   dx   [B, Y, X, C]
//
// share(o, i) is what input pixel i contributed to output pixel o: 1 at its place for the nearest neighbour, at most two
// pixels' distances for BILINEAR. Places grow with o, so those that meet a pixel lie side by side and start close to
// i * out / in. A gather, in order.

alias V = vec4<f32>;                    // knob: vec4<f32> | f32
const WIDTH: u32 = 4u;                  // knob: elements of V
const BILINEAR: bool = false;           // knob
const WG: u32 = 64u;

@group(0) @binding(0) var<storage, read>       dy: array<V>;    // [B, Y', X', C]
@group(0) @binding(1) var<storage, read_write> dx: array<V>;    // [B, Y, X, C]

struct Params {
    count: u32, first: u32,             // elements of dx in this part
    c: u32,
    x_rows: u32, x_columns: u32, y_rows: u32, y_columns: u32,
    x_start: u32, y_start: u32,         // where element 0 of the whole tensor would be, wraps below zero
    scale_y: f32, scale_x: f32,         // in / out
}
@group(1) @binding(0) var<uniform> p: Params;

//@import "lib/index.wgsl"
//@import "lib/bilinear.wgsl"
//@import "lib/nearest.wgsl"

// The first input pixel that output pixel o takes from.
fn lowest(o: u32, scale: f32, length: u32) -> u32 {
    if BILINEAR { return between(o, scale, length).low; }
    return nearest(o, scale, length);
}

fn share(o: u32, i: u32, scale: f32, length: u32) -> f32 {
    if BILINEAR { return contribution(o, i, scale, length); }
    return 1.0;
}

// The first output pixel that may take from input pixel i. A bilinear one also takes from the pixel behind its lowest.
fn first_place(i: u32, scale: f32, length: u32, places: u32) -> u32 {
    let least = select(i, max(i, 1u) - 1u, BILINEAR);
    var o = u32(max(floor(f32(least) / scale) - 2.0, 0.0));
    while o < places && lowest(o, scale, length) < least { o++; }
    return o;
}

@compute @workgroup_size(WG)
fn resample_backward(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                     @builtin(local_invocation_index) lane: u32) {
    let place = (group_index(group, groups) * WG + lane) * WIDTH;
    if place >= p.count { return; }
    let element = p.first + place;
    let c = element % p.c;
    let pixel = element / p.c;
    let column = pixel % p.x_columns;
    let row = pixel / p.x_columns % p.x_rows;
    let image = pixel / p.x_columns / p.x_rows;
    let first_column = first_place(column, p.scale_x, p.x_columns, p.y_columns);

    var sum = V(0.0);
    for (var oy = first_place(row, p.scale_y, p.x_rows, p.y_rows);
         oy < p.y_rows && lowest(oy, p.scale_y, p.x_rows) <= row; oy++) {
        let of_row = share(oy, row, p.scale_y, p.x_rows);
        for (var ox = first_column; ox < p.y_columns && lowest(ox, p.scale_x, p.x_columns) <= column; ox++) {
            let source = ((image * p.y_rows + oy) * p.y_columns + ox) * p.c + c;
            sum += of_row * share(ox, column, p.scale_x, p.x_columns) * dy[(p.y_start + source) / WIDTH];
        }
    }
    dx[(p.x_start + element) / WIDTH] = sum;
}
