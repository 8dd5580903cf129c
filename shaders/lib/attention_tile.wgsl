// One step of the tile products of attention (attention, attention_dq, attention_dkv): over a chunk of elements that is staged as
// 32 rows of the left operand and, behind them, 32 of the right one.
//   WG        lanes of a workgroup
//   ROWS      rows of a tile
//   CHUNK     quads of elements staged together
//   PITCH     quads from a staged row to the next, odd against bank conflicts

const WG: u32 = 128u;
const ROWS: u32 = 32u;
const CHUNK: u32 = 8u;
const PITCH: u32 = 9u;

var<workgroup> stage: array<vec4<f32>, 576>;        // 2 ROWS x PITCH; or ROWS x 16, columns of the operand that is summed

// Adds the products of left rows 4 r .. 4 r + 3 by right rows c and c + 16, r = lane / 16 and c = lane % 16, from the first
// `elements` of the chunk.
fn add_products(sums: ptr<function, array<vec4<f32>, 2>>, elements: u32, lane: u32) {
    let r = 4u * (lane / 16u);
    let c = lane % 16u;
    for (var first = 0u; first < CHUNK && 4u * first < elements; first += 2u) {
        for (var i = first; i < first + 2u; i++) {
            let a0 = stage[r * PITCH + i];
            let a1 = stage[(r + 1u) * PITCH + i];
            let a2 = stage[(r + 2u) * PITCH + i];
            let a3 = stage[(r + 3u) * PITCH + i];
            for (var j = 0u; j < 2u; j++) {
                let right = stage[(ROWS + c + 16u * j) * PITCH + i];
                (*sums)[j] += vec4<f32>(dot(a0, right), dot(a1, right), dot(a2, right), dot(a3, right));
            }
        }
    }
}
