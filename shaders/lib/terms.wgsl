// How a reduction walks over x [..]: its axes, merged by the host to at most three kept and three reduced ones, innermost
// first. Invocations that share an output take every step-th term; the coordinates of the next term come by an addition
// with carries in the mixed radix of the axes, so the walk costs no division.

struct Params {
    outputs: u32,                       // results of this part, in Vs where a V lies along them
    terms: u32,                         // terms of one, in Vs where a V lies along them
    sharers: u32,                       // invocations (SHARED: workgroups) an output; each writes a part of its own
    more: u32,                          // 1: what stands in y is one more term
    x_start: u32, y_start: u32,         // Vs of x and elements of y before this part
    first: u32,                         // terms that came in earlier parts
    flip: u32,                          // sign bit: the smallest instead of the largest
    scale: f32,                         // factor of a sum
    pad0: u32, pad1: u32, pad2: u32,
    kept: vec4<u32>, kept_stride: vec4<u32>,              // lengths and strides in x, in Vs
    length: vec4<u32>, stride: vec4<u32>, step: vec4<u32>,  // of the reduced axes, and the digits of the step
}
@group(1) @binding(0) var<uniform> p: Params;

// Where the first term of output o is.
fn output_offset(o: u32) -> u32 {
    let middle = o / p.kept.x;
    let outer = middle / p.kept.y;
    let at = vec3<u32>(o - middle * p.kept.x, middle - outer * p.kept.y, outer);
    return p.x_start + dot(at, p.kept_stride.xyz);
}

// Coordinates of term r.
fn term(r: u32) -> vec3<u32> {
    let middle = r / p.length.x;
    let outer = middle / p.length.y;
    return vec3<u32>(r - middle * p.length.x, middle - outer * p.length.y, outer);
}

// Coordinates one step further.
fn next_term(at: vec3<u32>) -> vec3<u32> {
    var next = at + p.step.xyz;
    if next.x >= p.length.x { next.x -= p.length.x; next.y++; }
    if next.y >= p.length.y { next.y -= p.length.y; next.z++; }
    return next;
}

// The output (x) and the share of it (y) of invocation i: neighbours read neighbours in memory.
fn share(i: u32) -> vec2<u32> {
    if INNER { return vec2<u32>(i / p.sharers, i % p.sharers); }
    return vec2<u32>(i % p.outputs, i / p.outputs);
}
