// The k largest of every row, sorted.      values[r, j], ids[r, j] = j-th of x[r, ..] in falling order
//
//   x       [R, V]  scores
//   values  [R, K]  the largest ones
//   ids     [R, K]  where they are
//
// One workgroup per row. Every lane keeps the best of its own elements; k times the best of all lanes is written and
// its owner looks for its next one. Equal scores come in the order of their places; NaN comes after everything else.
// Scores are compared as integers: drivers may drop NaN tests on floats. Ladder: (1) every lane scans its elements
// again for each of the k; (2) only the owner of what was taken; (3) on software drivers fewer lanes and a fold by one
// of them, since a barrier costs more than a few comparisons.

const WG: u32 = 256u;                   // knob: a power of two
const TREE: bool = true;                // knob: fold by halves, otherwise lane 0 alone

@group(0) @binding(0) var<storage, read>       x:      array<u32>;  // [R, V]
//@if VALUES
@group(0) @binding(1) var<storage, read_write> values: array<u32>;  // [R, K]
//@end
@group(0) @binding(2) var<storage, read_write> ids:    array<u32>;  // [R, K]

struct Params {
    rows: u32, cols: u32, k: u32,       // rows of this chunk, V, K
    x_skip: u32, row: u32,              // words before the first row of x, and which row of the result that is
}
@group(1) @binding(0) var<uniform> p: Params;

//@import "lib/index.wgsl"

struct Score { key: u32, place: u32 }

const NONE = Score(0u, 0xffffffffu);

var<workgroup> scores: array<Score, WG>;

// An unsigned number in the order of the floats: both zeros are equal, NaN is 0.
fn key_of(bits: u32) -> u32 {
    let magnitude = bits & 0x7fffffffu;
    if magnitude > 0x7f800000u { return 0u; }
    if magnitude == bits { return bits | 0x80000000u; }
    return 0x80000000u - magnitude;
}

fn before(a: Score, b: Score) -> bool {
    return a.key > b.key || (a.key == b.key && a.place < b.place);
}

fn better(a: Score, b: Score) -> Score {
    if before(a, b) { return a; }
    return b;
}

// Best of a lane's elements that come after `taken`.
fn scan(start: u32, lane: u32, taken: Score, all: bool) -> Score {
    var best = NONE;
    for (var c = lane; c < p.cols; c += WG) {
        let score = Score(key_of(x[start + c]), c);
        if (all || before(taken, score)) && before(score, best) { best = score; }
    }
    return best;
}

@compute @workgroup_size(WG)
fn select_top(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
              @builtin(local_invocation_index) lane: u32) {
    let row = group_index(group, groups);
    if row >= p.rows { return; }
    let start = p.x_skip + row * p.cols;
    var own = scan(start, lane, NONE, true);
    for (var j = 0u; j < p.k; j++) {
        scores[lane] = own;
        workgroupBarrier();
        if TREE {
            for (var span = WG / 2u; span > 0u; span /= 2u) {
                if lane < span { scores[lane] = better(scores[lane], scores[lane + span]); }
                workgroupBarrier();
            }
        } else {
            if lane == 0u {
                var best = own;
                for (var i = 1u; i < WG; i++) { best = better(best, scores[i]); }
                scores[0] = best;
            }
            workgroupBarrier();
        }
        let taken = scores[0];
        workgroupBarrier();
        if taken.place == own.place && own.key == taken.key {
            let at = (p.row + row) * p.k + j;
            //@if VALUES
            values[at] = x[start + taken.place];
            //@end
            ids[at] = taken.place;
            own = scan(start, lane, taken, false);
        }
    }
}
