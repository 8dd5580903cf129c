use proptest::prelude::*;

use super::*;

fn reason(bytes: &[u8]) -> String {
    load(bytes).err().expect("must be refused")
}

#[test]
fn unknown_names_are_refused_by_name() {
    let why = reason(b"\x80\x02cos\nsystem\nX\x02\x00\x00\x00ls\x85R.");
    assert!(why.contains("os.system"), "{why}");
    let why = reason(b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93.");
    assert!(why.contains("builtins.eval"), "{why}");
    let why = reason(b"\x80\x02ctorch\nload\n.");
    assert!(why.contains("torch.load"), "{why}");
}

#[test]
fn instructions_that_make_objects_are_refused() {
    for op in [&b"\x80\x02ccollections\nOrderedDict\n)\x81."[..], b"(icollections\nOrderedDict\n.", b"\x82\x01."] {
        assert!(reason(op).contains("instruction 0x"), "{op:?}");
    }
}

#[test]
fn deep_nesting_and_shared_structure_cost_nothing() {
    // A million nested one-tuples: recursion anywhere, dropping included, would overflow the stack.
    let mut deep = b"\x80\x02N".to_vec();
    deep.extend(std::iter::repeat_n(0x85, 1_000_000));
    deep.push(b'.');
    assert!(load(&deep).unwrap().0.tensors().is_err());
    // Lists of lists, each holding the one before ten times: 10^60 items if it were ever written out.
    let mut bomb = b"\x80\x02]q\x00".to_vec();
    for i in 0..60u8 {
        bomb.extend(b"](");
        bomb.extend([b'h', i].repeat(10));
        bomb.extend([b'e', b'q', i + 1]);
    }
    bomb.push(b'.');
    assert!(load(&bomb).is_ok());
}

#[test]
fn malformed_programs_are_errors() {
    let programs: &[&[u8]] = &[
        b"",
        b".",
        b"\x80\x09.",
        b"h\x00.",
        b"t.",
        b"s.",
        b"}K\x01s.",
        b"](.",
        b"K\x01K\x02a.",
        b"}(K\x01u.",
        b"NR.",
        b"NNR.",
        b"Q.",
        b"NQ.",
        b"X\xff\xff\xff\xffab.",
        b"\x8d\xff\xff\xff\xff\xff\xff\xff\xff.",
        b"X\x01\x00\x00\x00\xff.",
        b"ccollections\nOrderedDict\n(K\x01K\x02tR.",
        b"0.",
        b"(0.",
    ];
    for program in programs {
        assert!(load(program).is_err(), "{program:?}");
    }
}

#[test]
fn integers_of_all_kinds() {
    for (program, want) in [
        (&b"K\xff."[..], 255),
        (b"M\x01\x02.", 513),
        (b"J\xff\xff\xff\xff.", -1),
        (b"\x8a\x00.", 0),
        (b"\x8a\x01\xff.", -1),
        (b"\x8a\x02\x00\x80.", -32768),
        (b"\x8a\x05\x00\x00\x00\x00\x01.", 1 << 32),
        (b"I42\n.", 42),
        (b"L-42L\n.", -42),
    ] {
        assert_eq!(load(program).unwrap().0.integer(), Some(want), "{program:?}");
    }
    assert_eq!(load(b"\x8a\x09\x00\x00\x00\x00\x00\x00\x00\x00\x01.").unwrap().0.integer(), None);
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok((loaded, used)) = load(&bytes) {
            prop_assert!(used <= bytes.len());
            let _ = loaded.tensors();
        }
    }

    #[test]
    fn no_program_of_known_instructions_makes_it_panic(
        ops in prop::collection::vec(prop::sample::select(b"(0.12NK\x00)t]lae}dsuRbQq\x00h\x85\x86\x87\x94".to_vec()), 0..200)
    ) {
        let mut program = b"ctorch._utils\n_rebuild_tensor_v2\nq\x00ctorch\nFloatStorage\nX\x07\x00\x00\x00storage".to_vec();
        program.extend(ops);
        let _ = load(&program).map(|(loaded, _)| loaded.tensors().map(|t| t.len()));
    }
}
