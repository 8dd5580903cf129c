// Four neighbours of the input x from element e on, f32, rows of a multiple of four elements.
alias Input = vec4<f32>;

fn x4(e: u32, count: u32) -> vec4<f32> {
    return x[e / 4u];
}

// Neighbour i of these four.
fn x1(e: u32, i: u32, count: u32) -> f32 {
    return x[e / 4u][i];
}
