//! The engine: recording, bindings, memory, tape.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::{gpu, open, recording, weak_gpu};
use dreamllm::gpu::{DeviceClass, GpuOptions};
use dreamllm::ops::conv2d::{Conv, conv2d};
use dreamllm::ops::epilogue::Epilogue;
use dreamllm::ops::layout::{permute, slice};
use dreamllm::ops::matmul::{linear, matmul};
use dreamllm::ops::pointwise::{scale, silu};
use dreamllm::tensor::DType;
use dreamllm::{Error, Tensor, autograd};

fn read(x: &Tensor) -> Vec<f32> {
    pollster::block_on(x.read_f32()).unwrap()
}

#[test]
fn a_missing_adapter_is_a_loud_failure() {
    let options = GpuOptions { adapter: Some("no such adapter".into()), ..Default::default() };
    let error =
        pollster::block_on(dreamllm::gpu::Gpu::new(&options)).err().expect("opened a device that does not exist");
    assert!(matches!(error, Error::NoAdapter(_)), "{error}");
    assert!(error.to_string().contains("no such adapter") || error.to_string().contains("install"), "{error}");
}

#[test]
fn uploads_do_not_overtake_recorded_work() {
    let gpu = gpu();
    for round in 0..20 {
        let x = Tensor::from_f32(gpu, &[round as f32; 64], [64]).unwrap();
        let y = scale(&x, 2.0).unwrap();
        // The memory of x goes back to the pool and is taken again before the work above was submitted.
        drop(x);
        let z = Tensor::from_f32(gpu, &[-1.0; 64], [64]).unwrap();
        assert_eq!(read(&y), [2.0 * round as f32; 64]);
        assert_eq!(read(&z), [-1.0; 64]);
    }
}

#[test]
fn a_recording_is_data() {
    let gpu = open(&GpuOptions::from_env().unwrap());
    let x = Tensor::from_f32(&gpu, &[1.0; 32], [4, 8]).unwrap();
    let w = Tensor::from_f32(&gpu, &[0.5; 24], [3, 8]).unwrap();
    gpu.start_log();
    let y = silu(&linear(&x, &w, Epilogue::default()).unwrap()).unwrap();
    let log = gpu.take_log();
    let kernels: Vec<&str> =
        log.iter().map(|d| d.kernel.split('[').next().unwrap()).filter(|kernel| *kernel != "fill").collect();
    assert_eq!(kernels, ["matmul", "pointwise"], "{log:?}");
    assert_eq!(y.shape().as_slice(), [4, 3]);
    assert!(log.iter().all(|d| d.grid.iter().all(|n| *n > 0)));
}

#[test]
fn shapes_that_do_not_fit_are_named() {
    let gpu = gpu();
    let x = Tensor::from_f32(gpu, &[0.0; 6], [2, 3]).unwrap();
    let w = Tensor::from_f32(gpu, &[0.0; 8], [2, 4]).unwrap();
    let error = linear(&x, &w, Epilogue::default()).unwrap_err().to_string();
    assert!(error.contains("linear") && error.contains("[2, 4]"), "{error}");
    let error = matmul(&x, &w, false, false).unwrap_err().to_string();
    assert!(error.contains("K = 3"), "{error}");
    let error = x.add(&w).unwrap_err().to_string();
    assert!(error.contains("broadcasts"), "{error}");
    assert!(x.reshape([7]).is_err());
}

#[test]
fn what_does_not_fit_a_binding_is_cut() {
    let gpu = weak_gpu();
    // 3 MiB of activations and 2 MiB of weights through 1 MiB bindings.
    let (m, n, k) = (768, 512, 1024);
    let x: Vec<f32> = (0..m * k).map(|i| (i % 13) as f32 * 0.1 - 0.6).collect();
    let w: Vec<f32> = (0..n * k).map(|i| (i % 7) as f32 * 0.1 - 0.3).collect();
    let (tx, tw) = (Tensor::from_f32(gpu, &x, [m, k]).unwrap(), Tensor::from_f32(gpu, &w, [n, k]).unwrap());
    let y = read(&linear(&tx, &tw, Epilogue::default()).unwrap());
    for (row, column) in [(0, 0), (1, 511), (255, 256), (256, 255), (700, 300), (767, 511)] {
        let want: f64 = (0..k).map(|i| f64::from(x[row * k + i]) * f64::from(w[column * k + i])).sum();
        let got = f64::from(y[row * n + column]);
        assert!((got - want).abs() < 1e-3, "[{row}, {column}] {got} {want}");
    }
    let doubled = read(&tx.add(&tx).unwrap());
    assert!(doubled.iter().zip(&x).all(|(d, x)| *d == 2.0 * x));
    // xᵀ · x, whose operands are cut along the axis that is summed over.
    let y = read(&matmul(&tx, &tx, true, false).unwrap());
    for (row, column) in [(0, 0), (17, 1023), (1023, 512)] {
        let want: f64 = (0..m).map(|i| f64::from(x[i * k + row]) * f64::from(x[i * k + column])).sum();
        let got = f64::from(y[row * k + column]);
        assert!((got - want).abs() < 1e-3 * want.abs().max(1.0), "[{row}, {column}] {got} {want}");
    }
}

/// Every op takes its results from `Tensor::empty` (tests/tidy.rs), so an element that a kernel forgets is seen.
#[cfg(debug_assertions)]
#[test]
fn fresh_memory_is_poisoned() {
    let gpu = weak_gpu();
    for n in [1, 7, 300_000] {
        assert!(read(&Tensor::empty(gpu, [n], DType::F32).unwrap()).iter().all(|x| x.is_nan()));
        assert!(read(&Tensor::empty(gpu, [n], DType::F16).unwrap()).iter().all(|x| x.is_nan()));
        let integers = pollster::block_on(Tensor::empty(gpu, [n], DType::U32).unwrap().read_u32()).unwrap();
        assert!(integers.iter().all(|x| *x == u32::MAX));
    }
}

#[test]
fn an_emulated_device_shares_pipelines_but_not_limits() {
    let gpu = open(&GpuOptions::from_env().unwrap());
    let options = GpuOptions { max_binding: Some(4 << 10), max_groups: Some(2), ..Default::default() };
    let weak = gpu.emulate(&options).unwrap();
    assert!(weak.limits().max_binding == 4 << 10 && gpu.limits().max_binding > 4 << 10);
    weak.start_log();
    let x = Tensor::from_f32(&weak, &[3.0; 1500], [1500]).unwrap();
    assert_eq!(read(&scale(&x, 2.0).unwrap()), [6.0; 1500]);
    let log: Vec<_> = weak.take_log().into_iter().filter(|d| d.kernel.starts_with("pointwise")).collect();
    // 6,000 bytes in two parts: 1,024 elements by four workgroups, 476 by two.
    assert_eq!(log.iter().map(|d| d.grid).collect::<Vec<_>>(), [[2, 2, 1], [2, 1, 1]], "{log:?}");
    assert_eq!(gpu.compiled_variants().len(), weak.compiled_variants().len());
    let too_weak = GpuOptions { max_binding: Some(1 << 10), ..Default::default() };
    assert!(matches!(gpu.emulate(&too_weak), Err(Error::Input(_))));
}

#[test]
fn memory_is_used_again() {
    let gpu = open(&GpuOptions::from_env().unwrap());
    let step = || {
        let x = Tensor::from_f32(&gpu, &[0.5; 4096], [64, 64]).unwrap();
        read(&matmul(&x, &x, false, true).unwrap().add(&x).unwrap());
    };
    step();
    let before = gpu.memory();
    (0..50).for_each(|_| step());
    assert_eq!(gpu.memory(), before);
    gpu.trim().unwrap();
    assert_eq!(gpu.memory().1, 0);
}

#[test]
fn a_row_of_minus_infinity_becomes_nan_as_in_pytorch() {
    for (class, log) in [DeviceClass::Software, DeviceClass::Hardware].into_iter().flat_map(|c| [(c, false), (c, true)])
    {
        let softmax = |row: &[f32]| {
            let case = dreamllm::ops::softmax::case(&[1, row.len()], log, class);
            read(&(case.run)(&[Tensor::from_f32(gpu(), row, [1, row.len()]).unwrap()]).unwrap())
        };
        assert!(softmax(&[f32::NEG_INFINITY; 3]).iter().all(|y| y.is_nan()), "{class:?}");
        assert!(softmax(&[0.0, f32::INFINITY]).iter().all(|y| y.is_nan()), "{class:?}");
        let some = softmax(&[f32::NEG_INFINITY, 1.0, 1.0]);
        let want =
            if log { [f32::NEG_INFINITY, -std::f32::consts::LN_2, -std::f32::consts::LN_2] } else { [0.0, 0.5, 0.5] };
        assert!(some.iter().zip(want).all(|(y, want)| *y == want || (y - want).abs() < 1e-6), "{class:?} {some:?}");
    }
}

#[test]
fn a_residual_of_another_shape_is_refused_with_and_without_a_tape() {
    let x = Tensor::from_f32(gpu(), &[1.0; 48], [1, 4, 4, 3]).unwrap();
    let w = Tensor::from_f32(gpu(), &[1.0; 6 * 27], [6, 3, 3, 3]).unwrap();
    for shape in [[1, 1, 1, 6], [2, 4, 4, 6]] {
        let residual = Tensor::from_f32(gpu(), &vec![1.0; shape.iter().product()], shape).unwrap();
        for x in [x.clone(), x.variable()] {
            let epilogue = Epilogue { residual: Some(&residual), ..Default::default() };
            let refused = conv2d(&x, &w, Conv::new(1, 1), epilogue);
            assert!(matches!(refused, Err(Error::Shape { .. })), "{shape:?}");
        }
    }
}

#[test]
fn bind_groups_are_bounded() {
    let gpu = recording(DeviceClass::Hardware);
    // 20,000 rows of 256 bytes, each bound at its own offset.
    let x = Tensor::from_f32(&gpu, &vec![1.0; 64 * 20_000], [20_000, 64]).unwrap();
    for row in 0..20_000 {
        scale(&slice(&x, 0, row, 1).unwrap(), 2.0).unwrap();
    }
    let kept = gpu.cached_bind_groups();
    assert!((8_000..=16_384).contains(&kept), "{kept} bind groups");
}

#[test]
fn gradients_need_a_backward() {
    let gpu = gpu();
    let x = Tensor::from_f32(gpu, &[1.0, 2.0, 3.0], [3]).unwrap().variable();
    let y = x.mul(&x).unwrap();
    let ones = Tensor::from_f32(gpu, &[1.0; 3], [3]).unwrap();
    let gradients = autograd::gradients(&y, &ones).unwrap();
    assert_eq!(read(gradients.get(&x).unwrap()), [2.0, 4.0, 6.0]);
    let logits = Tensor::from_f32(gpu, &[1.0; 8], [2, 4]).unwrap().variable();
    let error = dreamllm::ops::select::argmax(&logits).unwrap_err();
    assert!(matches!(error, Error::NoBackward(_)), "{error}");
}

#[test]
fn the_tape_of_a_long_chain_is_freed_without_recursion() {
    let gpu = gpu();
    let mut x = Tensor::from_f32(gpu, &[1.0], [1]).unwrap().variable();
    for _ in 0..20_000 {
        x = x.reshape([1]).unwrap();
    }
    drop(x);
}

#[test]
fn threads_may_record_at_once() {
    let gpu = gpu();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            scope.spawn(move || {
                let mut x = Tensor::from_f32(gpu, &[thread as f32; 16], [16]).unwrap();
                let one = Tensor::from_f32(gpu, &[1.0; 16], [16]).unwrap();
                for _ in 0..1500 {
                    x = x.add(&one).unwrap();
                }
                assert_eq!(read(&x), [thread as f32 + 1500.0; 16]);
            });
        }
    });
}

#[test]
fn quantised_tensors_refuse_what_would_be_wrong() {
    let gpu = gpu();
    let q8 = |shape: &[usize]| Tensor::from_q8(gpu, &vec![0.5; shape.iter().product()], shape).unwrap();
    let x = Tensor::from_f32(gpu, &[1.0; 64], [1, 64]).unwrap();
    let refused = |result: dreamllm::Result<Tensor>, word: &str| {
        let error = result.unwrap_err().to_string();
        assert!(error.contains(word), "{error}");
    };
    // A gradient of the weight, at the latest when it is recorded.
    refused(matmul(&x, &q8(&[3, 64]).variable(), false, true), "gradient");
    // Rows that end within a block.
    refused(matmul(&Tensor::from_f32(gpu, &[1.0; 48], [1, 48]).unwrap(), &q8(&[3, 48]), false, true), "multiple of 32");
    // A product that would read the blocks as floats, on either side.
    refused(matmul(&q8(&[3, 64]), &x, false, true), "f32");
    refused(q8(&[64]).add(&x), "f32");
    // Copies, and parts that begin within a unit; parts that begin where a binding can are views.
    refused(permute(&q8(&[4, 64]), &[1, 0]), "blocks");
    refused(slice(&q8(&[4, 64]), 0, 1, 2), "blocks");
    let part = slice(&q8(&[130, 64]), 0, 64, 66).unwrap();
    assert_eq!(pollster::block_on(part.read_f32()).unwrap().len(), 66 * 64);
    assert!(Tensor::from_blocks(gpu, &[0; 272], [256], DType::Q4).is_err());
    assert!(Tensor::from_blocks(gpu, &[0; 1024], [256], DType::F32).is_err());
}
