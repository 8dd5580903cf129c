// Quads n0, n0 + 4, … of the gradient w of PIXELS neighbouring pixels from q on, eight in all; those beyond the end repeat the last.
fn quads8(q: u32, last: u32, n0: u32, lane: u32) -> array<vec4<f32>, 8> {
    var quads: array<vec4<f32>, 8>;
    for (var i = 0u; i < 8u; i++) { quads[i] = quad(q, last, n0, i); }
    return quads;
}
