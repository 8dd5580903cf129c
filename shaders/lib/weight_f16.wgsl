// Four neighbours of the weight w from element e on, f16 packed in words (no shader-f16 needed), rows of a multiple of four.
alias Weight = vec2<u32>;

fn w4(e: u32, count: u32) -> vec4<f32> {
    let words = w[e / 4u];
    return vec4<f32>(unpack2x16float(words.x), unpack2x16float(words.y));
}
