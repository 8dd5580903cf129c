// Sum and maximum over the workgroup, the same in every lane, in a fixed order. WG is set by the importing file.

var<workgroup> folded: array<f32, WG>;

fn fold_sum(value: f32, lane: u32) -> f32 {
    folded[lane] = value;
    workgroupBarrier();
    for (var span = WG / 2u; span > 0u; span /= 2u) {
        if lane < span { folded[lane] += folded[lane + span]; }
        workgroupBarrier();
    }
    return workgroupUniformLoad(&folded[0]);            // barriers inside: safe to call twice
}

fn fold_max(value: f32, lane: u32) -> f32 {
    folded[lane] = value;
    workgroupBarrier();
    for (var span = WG / 2u; span > 0u; span /= 2u) {
        if lane < span { folded[lane] = max(folded[lane], folded[lane + span]); }
        workgroupBarrier();
    }
    return workgroupUniformLoad(&folded[0]);
}
