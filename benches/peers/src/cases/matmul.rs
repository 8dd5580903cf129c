//! Matrix products, among them products with one row, with weights stored either way round.

use crate::engines::{on_burn, on_meganeura, read, read_burn};
use crate::{Case, Host, Side};
use dreamllm::ops::epilogue::Epilogue;
use dreamllm::ops::matmul::{linear, matmul};

pub fn cases() -> Vec<Case> {
    vec![
        product("matmul 1024x1024x1024", 1024, 1024, 1024),
        product("matmul 512x512x512", 512, 512, 512),
        product("matmul 77x1280x1024", 77, 1280, 1024),
        product("matvec 1x4096x4096, weights [K, N]", 1, 4096, 4096),
        weights_by_row("matvec 1x4096x4096, weights [N, K]", 1, 4096, 4096),
        weights_by_row("linear 128x1024x1024, weights [N, K]", 128, 1024, 1024),
    ]
}

/// x `[M, K]` · w `[K, N]`: burn's order of weights.
fn product(name: &'static str, m: usize, n: usize, k: usize) -> Case {
    let build = move |engines: &crate::Engines| {
        let (x, w) = (Host::seeded(&[m, k], 1, 1.0), Host::seeded(&[k, n], 2, 1.0));
        let (ax, aw) = (engines.ours(&x), engines.ours(&w));
        let (bx, bw) = (on_burn::<2>(&x, &engines.burn), on_burn::<2>(&w, &engines.burn));
        vec![
            Side::new("ours", move || vec![read(&matmul(&ax, &aw, false, false).expect("matmul"))]),
            Side::new("burn", move || vec![read_burn(bx.clone().matmul(bw.clone()))]),
            Side::boxed("meganeura", on_meganeura(&[x, w], m * n, |graph, x| graph.matmul(x[0], x[1]))),
        ]
    };
    Case::new(name, 2.0 * (m * n * k) as f64, build)
}

/// x `[M, K]` · wᵀ with w `[N, K]`: PyTorch's order, and ours. A user of burn would transpose when loading; here it gets a
/// transposed view.
fn weights_by_row(name: &'static str, m: usize, n: usize, k: usize) -> Case {
    let build = move |engines: &crate::Engines| {
        let (x, w) = (Host::seeded(&[m, k], 1, 1.0), Host::seeded(&[n, k], 2, 1.0));
        let (ax, aw) = (engines.ours(&x), engines.ours(&w));
        let (bx, bw) = (on_burn::<2>(&x, &engines.burn), on_burn::<2>(&w, &engines.burn));
        vec![
            Side::new("ours", move || vec![read(&linear(&ax, &aw, Epilogue::default()).expect("linear"))]),
            Side::new("burn", move || vec![read_burn(bx.clone().matmul(bw.clone().transpose()))]),
            Side::boxed("meganeura", on_meganeura(&[x, w], m * n, |graph, x| graph.matmul_bt(x[0], x[1]))),
        ]
    };
    Case::new(name, 2.0 * (m * n * k) as f64, build)
}
