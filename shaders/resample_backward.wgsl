// Gradient of nearest-neighbour resampling.      dx[b, iy, ix, c] = sum of dy[b, oy, ox, c] over place(oy) = iy, place(ox) = ix
//
//   dy   [B, Y', X', C]
//   dx   [B, Y, X, C]
//
// Places grow with o, so those that meet a pixel lie side by side and start close to i * out / in. A gather, in order.

alias V = vec4<f32>;                    // knob: vec4<f32> | f32
const WIDTH: u32 = 4u;                  // knob: elements of V
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
//@import "lib/nearest.wgsl"

// The first place at or after that of input pixel i.
fn first_place(i: u32, scale: f32, length: u32, places: u32) -> u32 {
    var o = u32(max(floor(f32(i) / scale) - 2.0, 0.0));
    while o < places && nearest(o, scale, length) < i { o++; }
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
    for (var oy = first_place(row, p.scale_y, p.x_rows, p.y_rows); oy < p.y_rows && nearest(oy, p.scale_y, p.x_rows) == row; oy++) {
        for (var ox = first_column; ox < p.y_columns && nearest(ox, p.scale_x, p.x_columns) == column; ox++) {
            let source = ((image * p.y_rows + oy) * p.y_columns + ox) * p.c + c;
            sum += dy[(p.y_start + source) / WIDTH];
        }
    }
    dx[(p.x_start + element) / WIDTH] = sum;
}
