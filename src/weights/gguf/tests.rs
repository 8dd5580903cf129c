use super::*;

/// A file with the given values (key, type, bytes), tensors (name, sides, type, offset) and bytes of data.
fn file(values: &[(&str, u32, Vec<u8>)], tensors: &[(&str, &[u64], u32, u64)], data: usize) -> Vec<u8> {
    let text = |text: &str| [&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat();
    let mut out = [MAGIC, &3u32.to_le_bytes()].concat();
    out.extend((tensors.len() as u64).to_le_bytes());
    out.extend((values.len() as u64).to_le_bytes());
    for (key, kind, bytes) in values {
        out.extend([text(key), kind.to_le_bytes().to_vec(), bytes.clone()].concat());
    }
    for (name, sides, kind, offset) in tensors {
        out.extend(text(name));
        out.extend((sides.len() as u32).to_le_bytes());
        sides.iter().for_each(|side| out.extend(side.to_le_bytes()));
        out.extend(kind.to_le_bytes());
        out.extend(offset.to_le_bytes());
    }
    out.resize(out.len().next_multiple_of(32), 0);
    out.extend((0..data).map(|i| (i % 251) as u8));
    out
}

fn values(heads: u32) -> Vec<(&'static str, u32, Vec<u8>)> {
    let architecture = [&5u64.to_le_bytes()[..], b"llama"].concat();
    vec![
        ("general.architecture", 8, architecture),
        ("llama.attention.head_count", 4, heads.to_le_bytes().to_vec()),
        ("tokenizer.ggml.scores", 9, [&6u32.to_le_bytes()[..], &2u64.to_le_bytes(), &[0; 8]].concat()),
    ]
}

#[test]
fn rows_of_queries_come_in_the_old_order() {
    // Two heads of four rows, two wide: file row 2i + j of a head is row 2j + i.
    let mut bytes = file(&values(2), &[("blk.3.attn_q.weight", &[2, 8], 0, 0)], 0);
    (0..16).for_each(|i| bytes.extend((i as f32).to_le_bytes()));
    let file = super::super::WeightFile::from_bytes("f", bytes).unwrap();
    let read = file.get("model.layers.3.self_attn.q_proj.weight").unwrap();
    assert_eq!(read.shape(), [8, 2]);
    let rows: Vec<f32> = read.to_f32().unwrap().chunks(2).map(|row| row[0] / 2.0).collect();
    assert_eq!(rows, [0., 2., 1., 3., 4., 6., 5., 7.]);
}

#[test]
fn every_cut_and_every_lie_is_an_error() {
    let good = file(&values(2), &[("output.weight", &[32, 2], 8, 0), ("rope_freqs.weight", &[4], 0, 96)], 112);
    assert_eq!(parse("f", &good).unwrap().len(), 1);
    for cut in 4..good.len() {
        assert!(parse("f", &good[..cut]).is_err(), "cut at {cut}");
    }
    let one = |name: &str, sides: &[u64], kind, offset| file(&values(2), &[(name, sides, kind, offset)], 128);
    let counts = |at: usize| {
        let mut bytes = good.clone();
        bytes[at..at + 8].copy_from_slice(&u64::MAX.to_le_bytes());
        bytes
    };
    let with = |key, kind, bytes: &[u8]| file(&[values(2), vec![(key, kind, bytes.to_vec())]].concat(), &[], 0);
    let endless = [&8u32.to_le_bytes()[..], &u64::MAX.to_le_bytes()].concat();
    let bad = [
        (counts(8), "ends within"),
        (counts(16), "ends within"),
        (counts(24), "ends within"),
        (one("output.weight", &[33, 2], 8, 0), "blocks of 32"),
        (one("output.weight", &[32, 2], 8, 8), "multiple of 32"),
        (one("output.weight", &[32, 2], 8, 96), "outside the file"),
        (one("output.weight", &[32, 2], 8, u64::MAX - 31), "outside the file"),
        (one("output.weight", &[1 << 40, 1 << 40], 0, 0), "impossible shape"),
        (one("output.weight", &[1; 5], 0, 0), "axes"),
        (one("output.weight", &[32], 10, 0), "type number 10"),
        (one("blk.0.attn_q.weight", &[4, 6], 0, 0), "heads"),
        (one("blk.0.attn_q.weight", &[4], 0, 0), "matrix"),
        (one("blk.0.attn_q.weight", &[1 << 63, 0], 0, 0), "heads"),
        (file(&values(0), &[("blk.0.attn_q.weight", &[4, 4], 0, 0)], 64), "heads"),
        (file(&values(2)[1..], &[], 0), "general.architecture"),
        (file(&values(2), &[("a", &[8], 0, 0), ("b", &[8], 0, 0)], 64), "overlap"),
        (file(&values(2), &[("a", &[8], 0, 0), ("a", &[8], 0, 32)], 64), "twice"),
        (with("general.alignment", 4, &3u32.to_le_bytes()), "general.alignment"),
        (with("general.alignment", 4, &0u32.to_le_bytes()), "general.alignment"),
        (with("x", 9, &[&9u32.to_le_bytes()[..], &1u64.to_le_bytes()].concat()), "list of lists"),
        (with("x", 9, &endless), "ends within"),
        (with("x", 77, &[]), "unknown type 77"),
        ([MAGIC, &1u32.to_le_bytes()].concat(), "version 1"),
    ];
    for (bytes, word) in bad {
        let error = parse("bad.gguf", &bytes).unwrap_err().to_string();
        assert!(error.starts_with("bad.gguf: ") && error.contains(word) && !error.contains('\n'), "{word}: {error}");
    }
}
