// Four neighbours of the weight w from element e on, f32, rows of a multiple of four elements.
alias Weight = vec4<f32>;

fn w4(e: u32, count: u32) -> vec4<f32> {
    return w[e / 4u];
}
