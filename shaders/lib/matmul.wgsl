// What the kernels of a matrix product share: operands, sizes, and the epilogue.

@group(0) @binding(0) var<storage, read>       x: array<Input>;         // [.., M, K], or [.., K, M] with A_T
@group(0) @binding(1) var<storage, read>       w: array<Weight>;        // [.., K, N], or [.., N, K] with B_T
//@if BIAS
@group(0) @binding(2) var<storage, read>       bias: array<f32>;        // [N]
//@end
//@if RESIDUAL
@group(0) @binding(3) var<storage, read>       residual: array<f32>;    // [.., M, N]
//@end
@group(0) @binding(4) var<storage, read_write> y: array<f32>;           // [.., M, N]

struct Params {
    m: u32, n: u32, k: u32,                         // of this part
    x_row: u32, w_row: u32, y_row: u32,             // elements from one stored row to the next
    batches: u32,
    x_batch: u32, w_batch: u32, y_batch: u32,       // elements from one matrix to the next, 0 to share one
    x_start: u32, w_start: u32, y_start: u32,       // first element of this part, may wrap below zero
    first_n: u32,                                   // column of the whole product at which this part starts
}
@group(1) @binding(0) var<uniform> p: Params;

//@hook
fn apply(a: V) -> V { return a; }

// Writes the columns n .. n + 3 of row m, as many as there are.
fn store(batch: u32, m: u32, n: u32, sum: vec4<f32>) {
    var value = sum;
    let count = min(p.n - min(n, p.n), 4u);
    let at = p.y_start + batch * p.y_batch + m * p.y_row + n;
    for (var i = 0u; i < 4u; i++) {
        if i >= count { break; }
        if ACCUMULATE { value[i] += y[at + i]; }
        //@if BIAS
        value[i] += bias[p.first_n + n + i];
        //@end
    }
    value = apply(value);
    for (var i = 0u; i < 4u; i++) {
        if i >= count { break; }
        //@if RESIDUAL
        value[i] += residual[at + i];
        //@end
        y[at + i] = value[i];
    }
}
