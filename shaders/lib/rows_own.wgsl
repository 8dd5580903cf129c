// The eight rows of four neighbours that row_of_w of the kernel knows, for columns n .. n + 7 and step k.
fn rows8(at: At, n: u32, k: u32, lane: u32) -> array<mat4x4<f32>, 2> {
    return array<mat4x4<f32>, 2>(rows4(at, n, k, 0u), rows4(at, n, k, 4u));
}

fn rows4(at: At, n: u32, k: u32, r: u32) -> mat4x4<f32> {
    return mat4x4<f32>(row_of_w(at, n, k, r), row_of_w(at, n, k, r + 1u), row_of_w(at, n, k, r + 2u), row_of_w(at, n, k, r + 3u));
}
