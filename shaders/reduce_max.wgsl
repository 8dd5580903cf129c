// Maximum over axes.      y[o] = max over r of x[o, r],     places[o] = the first r where it is
//
//   x       [..]    any axes kept (o) and any reduced (r); lib/terms.wgsl walks over them
//   given   [S, ..]  with GIVEN: the place of every term, since the terms are maxima of earlier shares
//   y       [S, ..]  the kept ones, S times if S invocations share an output: a second run finds the largest
//   places  [S, ..]  with PLACES, for the gradient
//
// Numbers are compared as integers in the order of the floats (drivers may drop NaN tests): NaN is above everything, both
// zeros are equal. The minimum is the maximum with all signs flipped. Shares and quads as in reduce.wgsl.

alias V = vec4<u32>;                    // knob: vec4<u32> | u32
const QUADS: bool = true;               // knob: V is vec4<u32>
const INNER: bool = true;               // knob
const SHARED: bool = true;              // knob: only with INNER
const GIVEN: bool = false;              // knob: together with the block of that name
const WG: u32 = 64u;

@group(0) @binding(0) var<storage, read>       x:      array<V>;     // [..]
//@if GIVEN
@group(0) @binding(1) var<storage, read>       given:  array<V>;     // [S, ..]
//@end
@group(0) @binding(2) var<storage, read_write> y:      array<u32>;   // [S, ..]
//@if PLACES
@group(0) @binding(3) var<storage, read_write> places: array<u32>;   // [S, ..]
//@end

//@import "lib/index.wgsl"
//@import "lib/terms.wgsl"

struct Score { key: u32, place: u32 }

struct Scores { key: V, place: V }

var<workgroup> scores: array<Score, WG>;

const SIGN: u32 = 0x80000000u;

fn key_of(bits: V) -> V {
    let magnitude = bits & V(0x7fffffffu);
    let key = select(V(SIGN) - magnitude, bits | V(SIGN), magnitude == bits);
    return select(key, V(0xffffffffu), magnitude > V(0x7f800000u));
}

fn bits_of(key: u32) -> u32 {
    return select(SIGN | (SIGN - key), key & 0x7fffffffu, key >= SIGN);
}

// Largest of terms s, s + step, ... of the output that starts at `start`, for every component of a V.
fn largest(start: u32, s: u32, step: u32) -> Scores {
    var best = Scores(V(0u), V(0xffffffffu));
    var at = term(s);
    for (var r = s; r < p.terms; r += step) {
        let i = start + dot(at, p.stride.xyz);
        let key = key_of(x[i] ^ V(p.flip));
        var place = V(r);
        //@if GIVEN
        place = given[i];
        //@end
        let takes = (key > best.key) | ((key == best.key) & (place < best.place));
        best = Scores(select(best.key, key, takes), select(best.place, place, takes));
        at = next_term(at);
    }
    return best;
}

fn better(a: Score, b: Score) -> Score {
    if b.key > a.key || (b.key == a.key && b.place < a.place) { return b; }
    return a;
}

// Component j, with its place among all terms of the output.
fn component(all: Scores, j: u32) -> Score {
    let keys = vec4<u32>(all.key);
    let vs = vec4<u32>(all.place);
    var place = p.first + vs[j];
    if QUADS && INNER { place = p.first + 4u * vs[j] + j; }
    if GIVEN { place = vs[j]; }
    return Score(keys[j], place);
}

fn across(all: Scores) -> Score {
    var best = component(all, 0u);
    if QUADS && INNER {
        for (var j = 1u; j < 4u; j++) { best = better(best, component(all, j)); }
    }
    return best;
}

fn fold(own: Score, lane: u32) -> Score {
    scores[lane] = own;
    workgroupBarrier();
    for (var span = WG / 2u; span > 0u; span /= 2u) {
        if lane < span { scores[lane] = better(scores[lane], scores[lane + span]); }
        workgroupBarrier();
    }
    return scores[0];
}

fn write(at: u32, own: Score) {
    var best = own;
    let before = vec4<u32>(key_of(V(y[at] ^ p.flip))).x;
    //@if PLACES
    if p.more == 1u { best = better(Score(before, places[at]), own); }
    places[at] = best.place;
    //@end
    if p.more == 1u { best.key = max(best.key, before); }
    y[at] = bits_of(best.key) ^ p.flip;
}

@compute @workgroup_size(WG)
fn reduce_max(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
              @builtin(local_invocation_index) lane: u32) {
    let index = group_index(group, groups);
    if SHARED {
        if index >= p.outputs * p.sharers { return; }
        let own = share(index);
        let part = across(largest(output_offset(own.x), own.y * WG + lane, p.sharers * WG));
        let best = fold(part, lane);
        if lane == 0u { write(p.y_start + own.y * p.outputs + own.x, best); }
    } else {
        let i = index * WG + lane;
        if i >= p.outputs * p.sharers { return; }
        let own = share(i);
        let part = largest(output_offset(own.x), own.y, p.sharers);
        if QUADS && !INNER {
            let at = p.y_start + 4u * (own.y * p.outputs + own.x);
            for (var j = 0u; j < 4u; j++) { write(at + j, component(part, j)); }
        } else {
            write(p.y_start + own.y * p.outputs + own.x, across(part));
        }
    }
}
