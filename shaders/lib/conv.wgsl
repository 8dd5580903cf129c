// What the convolution kernels share: operands, sizes, where a tap meets the input, and the epilogue. V is f32.

@group(0) @binding(0) var<storage, read>       x: array<Input>;         // [B, Y, X, C]
@group(0) @binding(1) var<storage, read>       w: array<Weight>;        // [N, KY, KX, C]
//@if BIAS
@group(0) @binding(2) var<storage, read>       bias: array<f32>;        // [N]
//@end
//@if RESIDUAL
@group(0) @binding(3) var<storage, read>       residual: array<f32>;    // [B, Y', X', N]
//@end
@group(0) @binding(4) var<storage, read_write> y: array<f32>;           // [B, Y', X', N]

struct Params {
    images: u32, rows: u32, columns: u32,           // of y in this part
    first_image: u32, first_row: u32,
    n: u32, first_n: u32,                           // channels of y in this part
    y_rows: u32, y_channels: u32,                   // of the whole y
    x_rows: u32, x_columns: u32, c: u32,            // of the whole x
    kernel_y: u32, kernel_x: u32,
    stride_y: u32, stride_x: u32,
    top: u32, left: u32,
    x_start: u32, w_start: u32, y_start: u32,       // where element 0 of the whole tensor would be, wraps below zero
}
@group(1) @binding(0) var<uniform> p: Params;

//@hook
fn apply(a: V) -> V { return a; }

struct Pixel { image: u32, row: u32, column: u32 }

// Pixel q of the part; those beyond the end repeat the last one.
fn pixel_at(q: u32) -> Pixel {
    let last = min(q, p.images * p.rows * p.columns - 1u);
    return Pixel(p.first_image + last / (p.columns * p.rows), p.first_row + last / p.columns % p.rows, last % p.columns);
}

// Where tap k of a kernel meets the input, along one axis; at or beyond `length` if it does not.
fn tap(out: u32, k: u32, stride: u32, before: u32, length: u32) -> u32 {
    if TRANSPOSED {
        let place = out + before - k;               // wraps to a large number outside
        return select(place / stride, length, place % stride != 0u);
    }
    return out * stride + k - before;
}

struct Source { at: u32, inside: bool }

// First channel of the input's pixel under tap (ky, kx); element 0 where there is none.
fn source(out: Pixel, ky: u32, kx: u32) -> Source {
    let row = tap(out.row, ky, p.stride_y, p.top, p.x_rows);
    let column = tap(out.column, kx, p.stride_x, p.left, p.x_columns);
    let inside = row < p.x_rows && column < p.x_columns;
    let element = p.x_start + ((out.image * p.x_rows + row) * p.x_columns + column) * p.c;
    return Source(select(0u, element, inside), inside);
}

// Where the weight's row of output channel n under tap (ky, kx) has input channel k; TRANSPOSED the row of input channel k the
// quad of output channel n. Rows beyond the end repeat the last one.
fn place_of_w(ky: u32, kx: u32, n: u32, k: u32) -> u32 {
    let taps = p.kernel_y * p.kernel_x;
    let position = ky * p.kernel_x + kx;
    if TRANSPOSED {
        return p.w_start + (min(k, p.c - 1u) * taps + position) * p.y_channels + min(n, (p.y_channels - 1u) / 4u * 4u);
    }
    return p.w_start + (min(n, p.first_n + p.n - 1u) * taps + position) * p.c + k;
}

// How many weights there are from such a place to the end of its row.
fn rest_of_w(n: u32, k: u32) -> u32 {
    if TRANSPOSED { return p.y_channels - min(n, (p.y_channels - 1u) / 4u * 4u); }
    return p.c - k;
}

// Channel n of an output pixel.
fn store(out: Pixel, n: u32, sum: f32) {
    let at = p.y_start + ((out.image * p.y_rows + out.row) * p.columns + out.column) * p.y_channels + n;
    var value = sum;
    //@if BIAS
    value += bias[n];
    //@end
    value = apply(value);
    //@if RESIDUAL
    value += residual[at];
    //@end
    y[at] = value;
}
