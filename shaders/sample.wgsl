// A draw from every row.      ids[r] ~ softmax(logits[r, ..] / temperature) within the top k and the nucleus p
//
//   logits   [R, V]  as bits
//   draws    [R]     uniform numbers in [0, 1)
//   ids      [R]     the first c at which the weights kept, added in the order of c, exceed draw * their sum
//
// One workgroup per row, no sort. Logits are compared as integers in the order of the floats; the k-th largest, and the last
// one of the nucleus, are the largest thresholds t for which the number, or the weight, of {logits >= t} reaches a goal: such
// sums only fall as t grows, so t is found two bits a pass, from the top. Of equal logits at the end of the nucleus the
// first ones stay. Every lane then weighs a block of neighbours; the lane whose block the draw falls in looks it up.
// NaN is never drawn beside anything else; a row of nothing but -inf or NaN is drawn from evenly.

const WG: u32 = 256u;                   // knob: a power of two
const TREE: bool = true;                // knob: fold by halves, otherwise lane 0 alone

@group(0) @binding(0) var<storage, read>       logits: array<u32>;  // [R, V]
@group(0) @binding(1) var<storage, read>       draws:  array<f32>;  // [R]
@group(0) @binding(2) var<storage, read_write> ids:    array<u32>;  // [R]

struct Params {
    rows: u32, cols: u32,               // of this chunk
    start: u32, first: u32,             // logits, and draws and ids, before it in their bindings
    k: u32,                             // V: no limit
    nucleus: f32,                       // 1: no limit
    cold: f32,                          // 1 / temperature
    pad: u32,
}
@group(1) @binding(0) var<uniform> p: Params;

//@import "lib/index.wgsl"

const MINUS_INF: u32 = 0x00800000u;     // key of -inf; NaN is below it

var<workgroup> sums: array<vec3<f32>, WG>;
var<workgroup> tops: array<u32, WG>;

// The sum over all lanes, in a fixed order.
fn fold(own: vec3<f32>, lane: u32) -> vec3<f32> {
    sums[lane] = own;
    workgroupBarrier();
    if TREE {
        for (var span = WG / 2u; span > 0u; span /= 2u) {
            if lane < span { sums[lane] += sums[lane + span]; }
            workgroupBarrier();
        }
    } else {
        if lane == 0u {
            var total = own;
            for (var i = 1u; i < WG; i++) { total += sums[i]; }
            sums[0] = total;
        }
        workgroupBarrier();
    }
    return workgroupUniformLoad(&sums[0]);
}

// An unsigned number in the order of the floats: both zeros are equal, NaN is 0.
fn key_of(bits: u32) -> u32 {
    let magnitude = bits & 0x7fffffffu;
    if magnitude > 0x7f800000u { return 0u; }
    if magnitude == bits { return bits | 0x80000000u; }
    return 0x80000000u - magnitude;
}

fn number_of(key: u32) -> f32 {
    return bitcast<f32>(select(0x80000000u | (0x80000000u - key), key & 0x7fffffffu, key >= 0x80000000u));
}

// Weight of a logit beside the largest one. Infinities never meet in a difference.
fn weight(key: u32, top: u32) -> f32 {
    if key == top { return 1.0; }
    if key <= MINUS_INF || top == 0xff800000u { return 0.0; }
    let a = (number_of(key) - number_of(top)) * p.cold;
    return select(exp(max(a, -87.0)), 0.0, a < -87.0);
}

// A row: its number, where it starts, its largest key, and the least one of the top k.
struct Row { at: u32, start: u32, top: u32, least: u32 }

fn key_at(row: Row, c: u32) -> u32 {
    return key_of(logits[row.start + c]);
}

fn largest(row: Row, lane: u32) -> u32 {
    var own = 0u;
    for (var c = lane; c < p.cols; c += WG) { own = max(own, key_at(row, c)); }
    tops[lane] = own;
    workgroupBarrier();
    for (var i = 0u; i < WG; i++) { own = max(own, tops[i]); }
    return own;
}

// Number or weight of the logits of at least each of the keys.
fn measure(row: Row, keys: vec3<u32>, weighs: bool, lane: u32) -> vec3<f32> {
    var own = vec3<f32>(0.0);
    for (var c = lane; c < p.cols; c += WG) {
        let key = key_at(row, c);
        if key < row.least { continue; }
        var value = 1.0;
        if weighs { value = weight(key, row.top); }
        own += select(vec3<f32>(0.0), vec3<f32>(value), vec3<u32>(key) >= keys);
    }
    return fold(own, lane);
}

// The largest key for which what is at least as large reaches the goal.
fn threshold(row: Row, goal: f32, weighs: bool, lane: u32) -> u32 {
    var t = 0u;
    for (var round = 0u; round < 16u; round++) {
        let shift = 30u - 2u * round;
        let keys = vec3<u32>(t) + (vec3<u32>(1u, 2u, 3u) << vec3<u32>(shift));
        let reached = select(vec3<u32>(0u), vec3<u32>(1u), measure(row, keys, weighs, lane) >= vec3<f32>(goal));
        t += (reached.x + reached.y + reached.z) << shift;
    }
    return t;
}

// What is kept: keys above `last`, and the first `ties` that are equal to it.
struct Nucleus { last: u32, ties: f32 }

fn nucleus(row: Row, lane: u32) -> Nucleus {
    // Everything of at least `least` is kept.
    if p.nucleus >= 1.0 { return Nucleus(row.least, 3e38); }
    let all = measure(row, vec3<u32>(0u), true, lane).x;
    let goal = p.nucleus * all;
    let last = min(threshold(row, goal, true, lane), row.top);
    let above = measure(row, vec3<u32>(last) + select(0u, 1u, last < 0xffffffffu), true, lane).x;
    return Nucleus(last, max(ceil((goal - above) / weight(last, row.top)), 1.0));
}

fn is_kept(key: u32, kept: Nucleus, rank: f32) -> bool {
    return key > kept.last || (key == kept.last && rank < kept.ties);
}

// Where the draw falls. Lanes hold blocks of neighbours, so that what lies before one is a sum over lanes.
fn pick(row: Row, kept: Nucleus, draw: f32, lane: u32) {
    let size = (p.cols + WG - 1u) / WG;
    let end = min((lane + 1u) * size, p.cols);
    var equal = 0.0;
    for (var c = lane * size; c < end; c++) { equal += select(0.0, 1.0, key_at(row, c) == kept.last); }
    workgroupBarrier();
    sums[lane] = vec3<f32>(equal, 0.0, 0.0);
    workgroupBarrier();
    var first_rank = 0.0;
    for (var i = 0u; i < lane; i++) { first_rank += sums[i].x; }

    var own = 0.0;
    var rank = first_rank;
    for (var c = lane * size; c < end; c++) {
        let key = key_at(row, c);
        if is_kept(key, kept, rank) { own += weight(key, row.top); }
        if key == kept.last { rank += 1.0; }
    }
    workgroupBarrier();
    sums[lane] = vec3<f32>(own, 0.0, 0.0);
    workgroupBarrier();
    var total = 0.0;
    var before = 0.0;
    for (var i = 0u; i < WG; i++) {
        if i == lane { before = total; }
        total += sums[i].x;
    }
    // Below the total, also where the product rounds up to it.
    let target_ = min(draw * total, bitcast<f32>(bitcast<u32>(total) - 1u));
    if target_ < before || target_ >= before + own { return; }

    var sum = 0.0;
    var id = 0u;
    rank = first_rank;
    for (var c = lane * size; c < end; c++) {
        let key = key_at(row, c);
        let value = select(0.0, weight(key, row.top), is_kept(key, kept, rank));
        if key == kept.last { rank += 1.0; }
        sum += value;
        if value > 0.0 { id = c; }
        if sum > target_ - before { break; }
    }
    ids[p.first + row.at] = id;
}

@compute @workgroup_size(WG)
fn sample(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
          @builtin(local_invocation_index) lane: u32) {
    let index = group_index(group, groups);
    if index >= p.rows { return; }
    var row = Row(index, p.start + index * p.cols, 0u, 0u);
    row.top = largest(row, lane);
    if p.k < p.cols { row.least = threshold(row, f32(p.k), false, lane); }
    pick(row, nucleus(row, lane), draws[p.first + index], lane);
}
