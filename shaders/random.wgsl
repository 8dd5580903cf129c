// Random numbers by place: Philox4x32-10.      y[4 b .. 4 b + 3] from block b of a stream under a seed
//
//   y   [..]  uniform numbers in [0, 1), or normal ones; as groups of four (buffers are padded to that)
//
// counter = [b low, b high, stream, 0], key = seed (src/random/philox.rs is the same on the host). Uniform numbers are
// the upper 24 bits, exact. Normal ones are two Box-Muller pairs; logarithm, root and angle are our own, reduced in
// integers, since drivers promise little near ln 1 and for whole turns.
// One invocation per block; nothing depends on the order of drawing.

alias V = f32;
const NORMAL: bool = true;              // knob: normal or uniform
const WG: u32 = 64u;

@group(0) @binding(0) var<storage, read_write> y: array<vec4<f32>>;  // [..]

struct Params {
    count: u32,                         // blocks of this chunk
    block_low: u32, block_high: u32,    // its first block
    stream: u32,
    seed: vec2<u32>,
}
@group(1) @binding(0) var<uniform> p: Params;

//@import "lib/index.wgsl"
//@import "lib/math.wgsl"

const STEP: f32 = 5.9604644775390625e-8;    // 2^-24

// Upper half of the 64-bit product, by halves of 16 bits.
fn high_product(a: u32, b: u32) -> u32 {
    let low = (a & 0xffffu) * (b & 0xffffu);
    let mid = (a >> 16u) * (b & 0xffffu) + (low >> 16u);
    let other = (a & 0xffffu) * (b >> 16u) + (mid & 0xffffu);
    return (a >> 16u) * (b >> 16u) + (mid >> 16u) + (other >> 16u);
}

fn philox(start: vec4<u32>, seed: vec2<u32>) -> vec4<u32> {
    var c = start;
    var key = seed;
    for (var round = 0u; round < 10u; round++) {
        c = vec4<u32>(high_product(0xcd9e8d57u, c.z) ^ c.y ^ key.x, c.z * 0xcd9e8d57u,
                      high_product(0xd2511f53u, c.x) ^ c.w ^ key.y, c.x * 0xd2511f53u);
        key += vec2<u32>(0x9e3779b9u, 0xbb67ae85u);
    }
    return c;
}

// ln(m / 2^24) for m of 1 .. 2^24: powers of two come off exactly, the rest is in [sqrt(1/2), sqrt(2)] (Cephes logf).
fn log_of(m: u32) -> f32 {
    let bits = bitcast<u32>(f32(m));
    var exponent = f32(bits >> 23u) - 151.0;
    var f = bitcast<f32>((bits & 0x7fffffu) | 0x3f800000u);
    if f > 1.41421356 {
        f *= 0.5;
        exponent += 1.0;
    }
    let x = f - 1.0;
    let z = x * x;
    var sum = 7.0376836292e-2;
    sum = sum * x - 1.1514610310e-1;
    sum = sum * x + 1.1676998740e-1;
    sum = sum * x - 1.2420140846e-1;
    sum = sum * x + 1.4249322787e-1;
    sum = sum * x - 1.6668057665e-1;
    sum = sum * x + 2.0000714765e-1;
    sum = sum * x - 2.4999993993e-1;
    sum = sum * x + 3.3333331174e-1;
    return exponent * 0.693359375 + (x + (x * z * sum - exponent * 2.12194440e-4 - 0.5 * z));
}

// A driver's root with one Newton step.
fn root(a: f32) -> f32 {
    let y = sqrt(a);
    return y - (y * y - a) * 0.5 / max(y, 1e-20);
}

// Box-Muller: r (cos, sin) of the turn b / 2^24 with r = sqrt(-2 ln(a)).
fn normal_pair(a: u32, b: u32) -> vec2<f32> {
    let r = root(max(-2.0 * log_of((a >> 8u) + 1u), 0.0));
    let turn = b >> 8u;
    let quarter = (turn + 0x200000u) >> 22u;
    let rest = f32(i32(turn) - i32(quarter << 22u)) * 3.7450702829e-7;      // 2 pi / 2^24
    let sin_cos = vec2<f32>(sin_poly(rest), cos_poly(rest));
    let swapped = select(sin_cos.yx, vec2<f32>(-sin_cos.x, sin_cos.y), (quarter & 1u) == 1u);
    return r * select(swapped, -swapped, (quarter & 2u) == 2u);
}

@compute @workgroup_size(WG)
fn random(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
          @builtin(local_invocation_index) lane: u32) {
    let i = group_index(group, groups) * WG + lane;
    if i >= p.count { return; }
    let low = p.block_low + i;
    let high = p.block_high + select(0u, 1u, low < i);
    let x = philox(vec4<u32>(low, high, p.stream, 0u), p.seed);
    if NORMAL {
        y[i] = vec4<f32>(normal_pair(x.x, x.y), normal_pair(x.z, x.w));
    } else {
        y[i] = vec4<f32>(x >> vec4<u32>(8u)) * STEP;
    }
}
