//! Attention without a mask: ours `[B, T, H, D]`, burn `[B, H, T, D]`, meganeura `[T, H·D]`.

use crate::engines::{on_burn, on_meganeura, read, read_burn};
use crate::{Case, Host, Side};
use burn::tensor::activation::softmax;
use burn::tensor::module::attention as burn_attention;
use dreamllm::ops::attention::{Attention, attention};

pub fn cases() -> Vec<Case> {
    vec![case("attention 8 heads x 1024 x 64", 1024, 8, 64)]
}

fn case(name: &'static str, t: usize, h: usize, d: usize) -> Case {
    let build = move |engines: &crate::Engines| {
        let operands = [1, 2, 3].map(|seed| Host::seeded(&[1, t, h, d], seed, 1.0));
        let [q, k, v] = operands.clone().map(|x| engines.ours(&x));
        let heads_first = operands.clone().map(|x| on_burn::<4>(&x.permuted(&[0, 2, 1, 3]), &engines.burn));
        let [bq, bk, bv] = heads_first.clone();
        let [pq, pk, pv] = heads_first;
        let rows = operands.map(|x| Host { shape: vec![t, h * d], ..x });
        let graph = on_meganeura(&rows, t * h * d, |graph, x| {
            graph.full_attention(x[0], x[1], x[2], h as u32, h as u32, d as u32)
        });
        let back = || vec![(vec![1, h, t, d], vec![0, 2, 1, 3])];
        let scale = 1.0 / (d as f32).sqrt();
        vec![
            Side::new("ours", move || vec![read(&attention(&q, &k, &v, Attention::default()).expect("attention"))]),
            Side::new("burn", move || {
                let (q, k, v) = (bq.clone(), bk.clone(), bv.clone());
                vec![read_burn(burn_attention(q, k, v, None, None, Default::default()))]
            })
            .arranged(back()),
            Side::new("burn, plain ops", move || {
                let weights = softmax(pq.clone().matmul(pk.clone().transpose()) * scale, 3);
                vec![read_burn(weights.matmul(pv.clone()))]
            })
            .arranged(back()),
            Side::boxed("meganeura", graph),
        ]
    };
    Case::new(name, 4.0 * (t * t * h * d) as f64, build)
}
