// Where output pixel o lies between input pixels (pixel centres, align_corners = false); scale is in / out.
struct Between {
    low: u32, high: u32,                // input pixels on both sides, the same one at an edge
    part: f32,                          // of the upper one
}

fn between(o: u32, scale: f32, length: u32) -> Between {
    let place = max((f32(o) + 0.5) * scale - 0.5, 0.0);
    let low = min(u32(place), length - 1u);
    return Between(low, min(low + 1u, length - 1u), min(place - f32(low), 1.0));
}

// What input pixel i contributes to output pixel o.
fn contribution(o: u32, i: u32, scale: f32, length: u32) -> f32 {
    let b = between(o, scale, length);
    return select(0.0, 1.0 - b.part, b.low == i) + select(0.0, b.part, b.high == i);
}
