//! Convolutions 3 × 3, stride 1, padding 1: ours channels last, the others channels first.

use crate::engines::{on_burn, on_meganeura, read, read_burn};
use crate::{Case, Host, Side};
use burn::tensor::module::conv2d as burn_conv2d;
use burn::tensor::ops::ConvOptions;
use dreamllm::ops::conv2d::{Conv, conv2d};
use dreamllm::ops::epilogue::Epilogue;

pub fn cases() -> Vec<Case> {
    vec![case("conv 3x3 320 to 320 at 32x32", 320, 320, 32), case("conv 3x3 64 to 64 at 64x64", 64, 64, 64)]
}

fn case(name: &'static str, c: usize, n: usize, size: usize) -> Case {
    let build = move |engines: &crate::Engines| {
        let (x, w) = (Host::seeded(&[1, size, size, c], 1, 1.0), Host::seeded(&[n, 3, 3, c], 2, 1.0));
        let (ax, aw) = (engines.ours(&x), engines.ours(&w));
        let (first_x, first_w) = (x.channels_first(), w.channels_first());
        let (bx, bw) = (on_burn::<4>(&first_x, &engines.burn), on_burn::<4>(&first_w, &engines.burn));
        let flat = |x: &Host| Host { data: x.data.clone(), shape: vec![x.data.len()] };
        let sizes = [c, size, size, n, 3, 3, 1, 1].map(|n| n as u32);
        let graph = on_meganeura(&[flat(&first_x), flat(&first_w)], n * size * size, |graph, x| {
            let [c, rows, columns, n, ky, kx, stride, padding] = sizes;
            graph.conv2d(x[0], x[1], 1, c, rows, columns, n, ky, kx, stride, padding)
        });
        let back = || vec![(vec![1, n, size, size], vec![0, 2, 3, 1])];
        let options = || ConvOptions::new([1, 1], [1, 1], [1, 1], 1);
        vec![
            Side::new("ours", move || {
                vec![read(&conv2d(&ax, &aw, Conv::new(1, 1), Epilogue::default()).expect("conv2d"))]
            }),
            Side::new("burn", move || vec![read_burn(burn_conv2d(bx.clone(), bw.clone(), None, options()))])
                .arranged(back()),
            Side::boxed("meganeura", graph).arranged(back()),
        ]
    };
    Case::new(name, 2.0 * (size * size * n * c * 9) as f64, build)
}
