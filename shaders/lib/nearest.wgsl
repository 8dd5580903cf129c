// The input pixel that output pixel o takes its value from; scale is in / out.
fn nearest(o: u32, scale: f32, length: u32) -> u32 {
    return min(u32(floor(f32(o) * scale)), length - 1u);
}
