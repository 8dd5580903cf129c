//! Everything a user or a stranger's file can get wrong: each is one clear line on standard error, an exit code that is not
//! 0, no panic, and no existing file is touched. Every row runs the program itself; nearly all fail before a device is
//! opened.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::bad_files::{Bench, png, safetensors, tensor, zip};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Name, arguments (MODEL, KEPT, FILE, FOLDER and PHOTO stand for paths), the FILE, and a piece of the line.
type Row = (&'static str, &'static str, fn(&Bench) -> PathBuf, &'static str);

/// Where no file is made.
fn none(_: &Bench) -> PathBuf {
    PathBuf::from("/no/such/file")
}

#[rustfmt::skip]
const ARGUMENTS: &[Row] = &[
    ("an unknown command", "fly", none, "fly"),
    ("an unknown option", "ask what -m MODEL --colour", none, "--colour"),
    ("no prompt", "dream -m MODEL -o KEPT", none, "PROMPT"),
    ("an option twice", "dream x -m MODEL -o KEPT --seed 1 --seed 2", none, "--seed"),
    ("an unknown sampler", "dream x -m MODEL -o KEPT --sampler best", none, "best"),
    ("a sampler without Karras levels", "dream x -m MODEL -o KEPT --sampler ddim-karras", none, "ddim"),
    ("an unknown spacing", "dream x -m MODEL -o KEPT --spacing wide", none, "wide"),
    ("an unknown generator", "dream x -m MODEL -o KEPT --rng dice", none, "dice"),
    ("unknown weights", "dream x -m MODEL -o KEPT --weights q5", none, "q5"),
    ("negative steps", "dream x -m MODEL -o KEPT --steps=-1", none, "--steps"),
    ("negative steps, a word of their own", "dream x -m MODEL -o KEPT --steps -1", none, "invalid value '-1' for '--steps"),
    ("half a step", "dream x -m MODEL -o KEPT --steps 1.5", none, "--steps"),
    ("more steps than a number holds", "dream x -m MODEL -o KEPT --steps 99999999999999999999", none, "--steps"),
    ("a negative seed", "dream x -m MODEL -o KEPT --seed=-1", none, "--seed"),
    ("a width in words", "dream x -m MODEL -o KEPT -W wide", none, "--width"),
    ("a mask without a picture", "dream x -m MODEL -o KEPT --mask PHOTO", none, "--init"),
    ("a strength without a picture", "dream x -m MODEL -o KEPT --strength 0.5", none, "--init"),
    ("a prompt beside saved vectors", "dream x -m MODEL -o KEPT --load-condition FILE", none, "--load-condition"),
    ("other words beside saved vectors", "dream -m MODEL -o KEPT --load-condition FILE -n ugly", none, "--negative-prompt"),
    ("a picture beside saved vectors", "dream -m MODEL -o KEPT --load-condition FILE --image PHOTO", none, "--image"),
    ("a negative top-k", "ask what -m MODEL --top-k=-3", none, "--top-k"),
    ("a binding in words", "ask what -m MODEL --max-binding lots", none, "lots"),
    ("an unknown shell", "completions tcsh", none, "tcsh"),
    ("no folder for a document", "compose x -m MODEL", none, "--output"),
    ("nothing to verify", "verify", none, "CHECKPOINT"),
    ("no time to measure", "bench ops --seconds 0", none, "--seconds"),
    ("a time that is no number", "bench ops --seconds NaN", none, "--seconds"),
];

#[rustfmt::skip]
const NUMBERS: &[Row] = &[
    ("negative guidance, and no steps", "dream x -m MODEL -o KEPT --cfg-scale -5 --steps 0", none, "0 sampling steps"),
    ("negative strength", "dream x -m MODEL -o KEPT --init PHOTO --strength -0.5", none, "strength"),
    ("weight files of nothing", "convert MODEL FOLDER/made --shard-size 0", none, "less than 1MiB"),
    ("no steps", "dream x -m MODEL -o KEPT --steps 0", none, "0 sampling steps"),
    ("steps beyond the schedule", "dream x -m MODEL -o KEPT --steps 1001", none, "1 to 1000"),
    ("an odd width", "dream x -m MODEL -o KEPT -W 33", none, "multiples of 8"),
    ("no height", "dream x -m MODEL -o KEPT -H 0", none, "multiples of 8"),
    ("a width of kilometres", "dream x -m MODEL -o KEPT -W 800000", none, "32768 pixels a side"),
    ("a width that overflows", "dream x -m MODEL -o KEPT -W 9223372036854775808", none, "32768 pixels a side"),
    ("guidance that is no number", "dream x -m MODEL -o KEPT --cfg-scale NaN", none, "cfg-scale"),
    ("infinite guidance", "dream x -m MODEL -o KEPT --cfg-scale inf", none, "cfg-scale"),
    ("too much rescaling", "dream x -m MODEL -o KEPT --guidance-rescale 2", none, "guidance-rescale"),
    ("rescaling that is no number", "dream x -m MODEL -o KEPT --guidance-rescale NaN", none, "guidance-rescale"),
    ("eta that is no number", "dream x -m MODEL -o KEPT --sampler ddim --eta NaN", none, "eta"),
    ("too much eta", "dream x -m MODEL -o KEPT --sampler ddim --eta 2", none, "between 0 and 1"),
    ("eta without ddim", "dream x -m MODEL -o KEPT --eta 0.5", none, "ddim"),
    ("no pictures", "dream x -m MODEL -o KEPT --batch 0", none, "--batch"),
    ("a million pictures", "dream x -m MODEL -o KEPT --batch 1000000", none, "--batch"),
    ("previews after no step", "dream x -m MODEL -o KEPT --preview 0", none, "--preview"),
    ("tiny tiles", "dream x -m MODEL -o KEPT --vae-tiling 1", none, "tile"),
    ("no strength", "dream x -m MODEL -o KEPT --init PHOTO --strength 0", none, "strength"),
    ("too much strength", "dream x -m MODEL -o KEPT --init PHOTO --strength 1.5", none, "strength"),
    ("strength that is no number", "dream x -m MODEL -o KEPT --init PHOTO --strength NaN", none, "strength"),
    ("a mask of another size", "dream x -m MODEL -o KEPT --init PHOTO --mask FILE", |b| b.picture(8, 8), "8 x 8"),
    ("a task that is none", "eval -m MODEL --only pictures,soup", none, "\"soup\" is none of"),
    ("no task at all", "eval -m MODEL --count 0", none, "--count"),
    ("a split that is none", "eval -m MODEL --split half", none, "heldout"),
    ("guidance of no number in eval", "eval -m MODEL --cfg-scale NaN", none, "cfg-scale"),
    ("a budget that is none", "synergy --budget huge --out KEPT", none, "smoke, laptop, full"),
    ("no seeds", "synergy --seeds 0 --out KEPT", none, "--seeds"),
    ("a file as a report", "synergy --budget smoke --out KEPT", none, "a folder is needed"),
    ("a negative temperature", "ask what -m MODEL --temp=-1", none, "temperature"),
    ("a temperature that is no number", "ask what -m MODEL --temp NaN", none, "temperature"),
    ("an infinite temperature", "ask what -m MODEL --temp inf", none, "temperature"),
    ("top-p of 0", "ask what -m MODEL --top-p 0", none, "top-p"),
    ("top-p of 2", "ask what -m MODEL --top-p 2", none, "top-p"),
    ("top-p that is no number", "chat -m MODEL --top-p NaN", none, "top-p"),
    ("no beams", "ask what -m MODEL --beams 0", none, "beam"),
    ("beams with a temperature", "ask what -m MODEL --beams 2 --temp 1", none, "temperature"),
    ("no tokens", "ask what -m MODEL --max-tokens 0", none, "token"),
    ("an empty stop string", "ask what -m MODEL --stop=", none, "stop"),
    ("pictures after no words", "compose x -m MODEL -o FOLDER/made --every 0", none, "--every"),
    ("chat with an odd size", "chat -m MODEL -W 12", none, "multiples of 8"),
    ("compose with too many steps", "compose x -m MODEL -o FOLDER/made --steps 5000", none, "1 to 1000"),
    ("no such GPU", "ask what -m MODEL --adapter no-such-gpu", none, "no-such-gpu"),
    ("a binding of nothing", "ask what -m MODEL --max-binding 16", none, "max-binding"),
    ("an op that is none", "doctor --filter no-such-op", none, "no-such-op"),
    ("a measurement of no op", "bench ops --filter no-such-op", none, "no-such-op"),
    ("a profile of the doctor", "doctor --filter fill --profile", none, "--profile"),
    ("a recording of a measurement", "bench ops --record KEPT", none, "--record"),
];

#[rustfmt::skip]
const WORDS: &[Row] = &[
    ("a placeholder without a picture", "dream a<image>b -m MODEL -o KEPT", none, "places for 1 images, but 0"),
    ("fewer pictures than placeholders", "dream <image><image> -m MODEL -o KEPT --image PHOTO", none, "2 images, but 1"),
    ("more pictures than placeholders", "dream a<image> -m MODEL -o KEPT --image PHOTO --image PHOTO", none, "1 images, but 2"),
    ("a placeholder in what to keep away from", "dream x -n <image> -m MODEL -o KEPT", none, "1 images, but 0"),
    ("a question about no picture", "ask <image>? -m MODEL", none, "1 images, but 0"),
    ("a broken image block", "ask <im_start>? -m MODEL --image PHOTO", none, "<im_start>"),
    ("a picture to keep a document away from", "compose x -n <image> -m MODEL -o FOLDER/made", none, "1 images, but 0"),
    ("a picture to keep a conversation away from", "chat -n <image> -m MODEL", none, "1 images, but 0"),
    ("a topic about a picture", "compose <image> -m MODEL -o FOLDER/made", none, "1 images, but 0"),
    ("a prompt that is too long", "dream LONG -m MODEL -o KEPT", none, "takes at most 2048"),
    ("a question that is too long", "ask LONG -m MODEL", none, "takes at most 2047"),
];

#[rustfmt::skip]
const OUTPUTS: &[Row] = &[
    ("a folder as the picture", "dream x -m MODEL -o FOLDER", none, "is a folder"),
    ("a picture in no folder", "dream x -m MODEL -o /no/such/folder/a.png", none, "/no/such/folder"),
    ("a picture in a file", "dream x -m MODEL -o KEPT/a.png", none, "kept.png"),
    ("a picture where nobody may write", "dream x -m MODEL -o /proc/a.png", none, "/proc/a.png"),
    ("vectors in no folder", "dream x -m MODEL -o KEPT --save-condition /no/folder/c", none, "/no/folder"),
    ("a recording in no folder", "ask what -m MODEL --record /no/folder/r", none, "/no/folder"),
    ("a document in a file", "compose x -m MODEL -o KEPT", none, "kept.png"),
    ("a document where nobody may write", "compose x -m MODEL -o /proc/made", none, "/proc/made"),
    ("a document among other files", "compose x -m MODEL -o FOLDER", none, "is not empty"),
    ("a document beside the one that goes on", "compose x -m MODEL -o FOLDER --continue FILE", |b| b.document_within("old/document.md"), "is not empty"),
    ("data among other files", "data shapes --out FOLDER --count 1", none, "is not empty"),
    ("data in a file", "data shapes --out KEPT --count 1", none, "kept.png"),
    ("a new model as a file", "init MODEL -o KEPT", none, "kept.png"),
    ("a new model among other files", "init MODEL -o FOLDER", none, "is not empty"),
    ("a picture and a recording in a file", "dream x -m MODEL -o KEPT --record FOLDER/./kept.png", none, "written twice"),
    ("a picture and vectors in a file", "dream x -m MODEL -o a.png --save-condition FOLDER/a.png", none, "written twice"),
    ("vectors where a preview goes", "dream x -m MODEL -o a.png --save-condition FOLDER/a-step-2.png --preview 2 --steps 5", none, "preview"),
    ("a folder where a preview goes", "dream x -m MODEL -o a.png --preview 2 --steps 5", |b| b.folder_within("a-step-4.png"), "is a folder"),
    ("a study without a scene encoder", "synergy -m MODEL --budget smoke --out FOLDER", none, "scene_encoder.safetensors"),
    ("manual pages in a file", "man -o KEPT", none, "kept.png"),
];

#[rustfmt::skip]
const PICTURES: &[Row] = &[
    ("no such picture", "ask what -m MODEL --image /no/such.png", none, "/no/such.png"),
    ("a folder as a picture", "ask what -m MODEL --image FOLDER", none, "is a folder"),
    ("a device as a picture", "ask what -m MODEL --image /dev/zero", none, "neither a file nor a pipe"),
    ("an empty picture", "dream x -m MODEL -o KEPT --image FILE", |b| b.file("a.png", b""), "a.png"),
    ("words as a picture", "dream x -m MODEL -o KEPT --init FILE", |b| b.file("a.png", b"hello"), "not a PNG"),
    ("a picture of 60000 x 60000", "ask what -m MODEL --image FILE", |b| b.file("a.png", &png(60000, 60000)), "60000 x 60000"),
    ("a picture of 0 x 9", "ask what -m MODEL --image FILE", |b| b.file("a.png", &png(0, 9)), "a.png"),
    ("a PNG that ends early", "ask what -m MODEL --image FILE", |b| b.cut_photo("rgb_97x61.png", 4000), "rgb_97x61.png"),
    ("a JPEG that ends early", "ask what -m MODEL --image FILE", |b| b.cut_photo("rgb_64x48.jpg", 1500), "ends too early"),
    ("a JPEG of nothing but its header", "ask what -m MODEL --image FILE", |b| b.file("a.jpg", b"\xff\xd8\xff"), "a.jpg"),
    ("a huge BMP", "ask what -m MODEL --image FILE", |b| b.huge_bmp(), "too large"),
    ("a picture as a mask that is none", "dream x -m MODEL -o KEPT --init PHOTO --mask FILE", |b| b.file("m.png", b"\x89PNG\r\n\x1a\n"), "m.png"),
    ("no such document", "compose x -m MODEL -o FOLDER/made --continue /no/such.md", none, "/no/such.md"),
    ("a document whose picture is gone", "compose x -m MODEL -o FOLDER/made --continue FILE", |b| b.file("a.md", b"# A\n\n![](gone.png)\n"), "gone.png"),
    ("a document with half a picture", "compose x -m MODEL -o FOLDER/made --continue FILE", |b| b.file("a.md", b"![](x\n"), "begins as a picture"),
    ("a document that is no text", "compose x -m MODEL -o FOLDER/made --continue FILE", |b| b.file("a.md", b"\xff\xfe\0"), "a.md"),
];

#[rustfmt::skip]
const CHECKPOINTS: &[Row] = &[
    ("no such checkpoint", "ask what -m /no/such/folder", none, "no such folder"),
    ("a file as a checkpoint", "ask what -m KEPT", none, "is not a folder"),
    ("an empty folder", "ask what -m FOLDER", none, "config.json"),
    ("nothing recorded to verify", "verify FILE", |b| b.with("README", b""), "reference"),
    ("no decoder", "ask what -m FILE", |b| b.without("model.safetensors"), "no decoder weights"),
    ("no tokenizer", "ask what -m FILE", |b| b.without_tokenizer(), "tokenizer"),
    ("no dream queries", "dream x -m FILE -o KEPT", |b| b.without("dream_embedding.bin"), "dream_embedding.bin"),
    ("no CLIP folder", "ask what -m FILE", |b| b.without("clip-vit-large-patch14"), "clip-vit-large-patch14"),
    ("no UNet config", "dream x -m FILE -o KEPT", |b| b.without("stable-diffusion-2-1-base/unet/config.json"), "unet/config.json"),
    ("a folder as weights", "ask what -m FILE", |b| b.folder_as("model.safetensors"), "model.safetensors"),
    ("a shard that is missing", "ask what -m FILE", |b| b.sharded(r#"{"weight_map":{"a":"model-1.safetensors"}}"#), "model-1.safetensors"),
    ("a shard elsewhere", "ask what -m FILE", |b| b.sharded(r#"{"weight_map":{"a":"../../etc/passwd"}}"#), "no plain file name"),
    ("an index that is no JSON", "ask what -m FILE", |b| b.sharded("["), "index.json"),
    ("a config that is no JSON", "ask what -m FILE", |b| b.with("config.json", b"{"), "config.json"),
    ("a config that is a list", "ask what -m FILE", |b| b.with("config.json", b"[]"), "config.json"),
    ("a config that is empty", "ask what -m FILE", |b| b.with("config.json", b""), "config.json"),
    ("no heads", "ask what -m FILE", |b| b.config("num_attention_heads", "0"), "num_attention_heads"),
    ("heads that do not divide", "ask what -m FILE", |b| b.config("hidden_size", "65"), "65"),
    ("negative layers", "ask what -m FILE", |b| b.config("num_hidden_layers", "-2"), "config.json"),
    ("more layers than anything has", "ask what -m FILE", |b| b.config("num_hidden_layers", "4000000000"), "num_hidden_layers"),
    ("layers in words", "ask what -m FILE", |b| b.config("num_hidden_layers", "\"two\""), "config.json"),
    ("half a width", "ask what -m FILE", |b| b.config("intermediate_size", "172.5"), "config.json"),
    ("an epsilon of 0", "ask what -m FILE", |b| b.config("rms_norm_eps", "0"), "rms_norm_eps"),
    ("another activation", "ask what -m FILE", |b| b.config("hidden_act", "\"gelu\""), "gelu"),
    ("a vocabulary smaller than the tokenizer's", "ask what -m FILE", |b| b.config("vocab_size", "100"), "100"),
    ("plugins in words", "ask what -m FILE", |b| b.config("plugins_init_kwargs", "7"), "config.json"),
    ("no plugins", "ask what -m FILE", |b| b.config("plugins_init_kwargs", "{}"), "plugins_init_kwargs"),
    ("a width other than the weights'", "ask what -m FILE", |b| b.config("intermediate_size", "180"), "180"),
    ("a UNet of other channels", "dream x -m FILE -o KEPT", |b| b.nested("stable-diffusion-2-1-base/unet/config.json", "in_channels", "9"), "in_channels"),
    ("no steps to draw in", "dream x -m FILE -o KEPT", |b| b.with("drawing_config.json", b"{\"steps\":0}"), "steps is 0"),
    ("a sampler of no name", "dream x -m FILE -o KEPT", |b| b.with("drawing_config.json", b"{\"sampler\":\"magic\"}"), "magic"),
    ("no VAE groups", "dream x -m FILE -o KEPT", |b| b.nested("stable-diffusion-2-1-base/vae/config.json", "norm_num_groups", "0"), "norm_num_groups"),
    ("a schedule of nothing", "dream x -m FILE -o KEPT", |b| b.nested("stable-diffusion-2-1-base/scheduler/scheduler_config.json", "num_train_timesteps", "0"), "num_train_timesteps"),
    ("a crop other than CLIP's size", "ask what -m FILE", |b| b.nested("clip-vit-large-patch14/config.json", "vision_config", r#"{"image_size":64,"patch_size":8}"#), "crop_size"),
    ("a sentencepiece model of noise", "ask what -m FILE", |b| b.with("tokenizer.model", b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"), "tokenizer.model"),
    ("an empty sentencepiece model", "ask what -m FILE", |b| b.with("tokenizer.model", b""), "tokenizer.model"),
    ("a tokenizer.json that is none", "ask what -m FILE", |b| b.tokenizer_json(b"{\"model\":{\"type\":\"WordPiece\"}}"), "tokenizer.json"),
    ("added tokens that are none", "ask what -m FILE", |b| b.with("added_tokens.json", b"[1]"), "added_tokens.json"),
    ("an added token with another's id", "ask what -m FILE", |b| b.with("added_tokens.json", b"{\"<image>\":5}"), "5"),
];

#[rustfmt::skip]
const WEIGHTS: &[Row] = &[
    ("an empty safetensors file", "ask what -m FILE", |b| b.with("model.safetensors", b""), "model.safetensors"),
    ("seven bytes of safetensors", "ask what -m FILE", |b| b.with("model.safetensors", b"1234567"), "model.safetensors"),
    ("a header longer than the file", "ask what -m FILE", |b| b.with("model.safetensors", &safetensors_of(1 << 20, b"{}")), "model.safetensors"),
    ("a header of 2^64 - 1 bytes", "ask what -m FILE", |b| b.with("model.safetensors", &u64::MAX.to_le_bytes()), "model.safetensors"),
    ("a header that is no JSON", "ask what -m FILE", |b| b.with("model.safetensors", &safetensors("{\"a\":", 0)), "model.safetensors"),
    ("a header cut in the middle", "ask what -m FILE", |b| b.cut("model.safetensors", 900), "model.safetensors"),
    ("data cut at the end", "ask what -m FILE", |b| b.cut("model.safetensors", 600_000), "model.safetensors"),
    ("tensors that overlap", "ask what -m FILE", |b| b.with("model.safetensors", &safetensors(&format!("{{{},{}}}", tensor("a", "F32", "[2]", 0, 8), tensor("b", "F32", "[2]", 4, 12)), 12)), "model.safetensors"),
    ("a hole between tensors", "ask what -m FILE", |b| b.with("model.safetensors", &safetensors(&format!("{{{},{}}}", tensor("a", "F32", "[2]", 0, 8), tensor("b", "F32", "[2]", 12, 20)), 20)), "model.safetensors"),
    ("a tensor larger than its range", "ask what -m FILE", |b| b.with("model.safetensors", &safetensors(&format!("{{{}}}", tensor("a", "F32", "[99]", 0, 8)), 8)), "model.safetensors"),
    ("a shape that overflows", "ask what -m FILE", |b| b.with("model.safetensors", &safetensors(&format!("{{{}}}", tensor("a", "F32", "[18446744073709551615,9]", 0, 8)), 8)), "model.safetensors"),
    ("an element type that is unknown", "ask what -m FILE", |b| b.with("model.safetensors", &safetensors(&format!("{{{}}}", tensor("a", "F8_E4M3", "[8]", 0, 8)), 8)), "F8_E4M3"),
    ("weights without the model's tensors", "ask what -m FILE", |b| b.with("model.safetensors", &safetensors(&format!("{{{}}}", tensor("model.a", "F32", "[2]", 0, 8)), 8)), "not in the checkpoint"),
    ("a pointer instead of weights", "ask what -m FILE", |b| b.with("model.safetensors", b"version https://git-lfs.github.com/spec/v1\n"), "Git LFS"),
    ("a pickle that calls os.system", "dream x -m FILE -o KEPT", |b| b.pickle(b"cos\nsystem\n(Vtouch hacked\ntR."), "it wants os.system"),
    ("a pickle that calls eval by stack", "dream x -m FILE -o KEPT", |b| b.pickle(b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93."), "it wants builtins.eval"),
    ("a pickle that calls a string", "dream x -m FILE -o KEPT", |b| b.pickle(b"\x80\x02X\x01\0\0\0a)R."), "called"),
    ("a pickle that builds an object", "dream x -m FILE -o KEPT", |b| b.pickle(b"\x80\x02)\x81."), "instruction 0x81"),
    ("a memo that was never set", "dream x -m FILE -o KEPT", |b| b.pickle(b"\x80\x02j\xff\xff\xff\xff."), "memo 4294967295"),
    ("a string of 4 GiB", "dream x -m FILE -o KEPT", |b| b.pickle(b"\x80\x02X\xff\xff\xff\xffa."), "ends too early"),
    ("bytes of 2^64 - 1", "dream x -m FILE -o KEPT", |b| b.pickle(b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\xff."), "ends too early"),
    ("an empty stack", "dream x -m FILE -o KEPT", |b| b.pickle(b"\x80\x02."), "stack is empty"),
    ("a pickle without an end", "dream x -m FILE -o KEPT", |b| b.pickle(b"\x80\x02}"), "ends too early"),
    ("a protocol of the future", "dream x -m FILE -o KEPT", |b| b.pickle(b"\x80\x09}."), "protocol 9"),
    ("a million tuples in each other", "dream x -m FILE -o KEPT", |b| b.pickle(&[&b"\x80\x02)"[..], &[0x85; 1_000_000], b"."].concat()), "no dictionary"),
    ("a million marks", "dream x -m FILE -o KEPT", |b| b.pickle(&[&b"\x80\x02"[..], &[b'('; 1_000_000], b"."].concat()), "stack is empty"),
    ("a dictionary of nothing", "dream x -m FILE -o KEPT", |b| b.pickle(b"\x80\x02}."), "dream_queries"),
    ("a storage that is not there", "dream x -m FILE -o KEPT", |b| b.pickle(&tensor_pickle(b"K\x02", b"K\x02", "7")), "storage 7"),
    ("a tensor larger than its storage", "dream x -m FILE -o KEPT", |b| b.pickle(&tensor_pickle(b"J\xff\xff\xff\x7f", b"K\x02", "0")), "storage 0"),
    ("a tensor of negative size", "dream x -m FILE -o KEPT", |b| b.pickle(&tensor_pickle(b"K\x02", b"J\xff\xff\xff\xff", "0")), "-1"),
    ("a zip cut in the middle", "dream x -m FILE -o KEPT", |b| b.cut("dream_embedding.bin", 1500), "dream_embedding.bin"),
    ("a zip of nothing", "dream x -m FILE -o KEPT", |b| b.with("dream_embedding.bin", b"PK\x05\x06\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"), "data.pkl"),
    ("a zip that compresses", "dream x -m FILE -o KEPT", |b| b.with("dream_embedding.bin", &zip(b"\x80\x02}.", |z| set(z, 8, 8))), "compressed"),
    ("a zip entry beyond the file", "dream x -m FILE -o KEPT", |b| b.with("dream_embedding.bin", &zip(b"\x80\x02}.", grow)), "dream_embedding.bin"),
    ("a zip64 that lies", "dream x -m FILE -o KEPT", |b| b.with("dream_embedding.bin", &zip(b"\x80\x02}.", zip64)), "dream_embedding.bin"),
    ("two pickles in a zip", "dream x -m FILE -o KEPT", |b| b.two_pickles(), "2 entries"),
    ("vectors that are a picture", "dream -m MODEL -o KEPT --load-condition PHOTO", none, "condition"),
    ("vectors that are a model", "dream -m MODEL -o KEPT --load-condition MODEL/model.safetensors", none, "--save-condition"),
    ("vectors that are not numbers", "dream -m MODEL -o KEPT --load-condition FILE", |b| b.condition([f32::NAN; 48], "[1,1,48]"), "not numbers"),
    ("vectors of two axes", "dream -m MODEL -o KEPT --load-condition FILE", |b| b.condition([0.5; 48], "[1,48]"), "[1, Q, E]"),
    ("vectors of another width", "dream -m MODEL -o KEPT --load-condition FILE", |b| b.condition([0.5; 48], "[1,24,2]"), "width 2"),
    ("no such vectors", "dream -m MODEL -o KEPT --load-condition /no/such.safetensors", none, "/no/such.safetensors"),
];

/// A safetensors file whose length field says `length`.
fn safetensors_of(length: u64, header: &[u8]) -> Vec<u8> {
    [&length.to_le_bytes()[..], header].concat()
}

/// A dictionary with one tensor of a storage of `elements`, of shape `[size]`.
fn tensor_pickle(elements: &[u8], size: &[u8], key: &str) -> Vec<u8> {
    let text = |text: &str| [b"X", &(text.len() as u32).to_le_bytes()[..], text.as_bytes()].concat();
    let storage = [b"(", &text("storage")[..], b"ctorch\nFloatStorage\n", &text(key), &text("cpu"), elements, b"tQ"];
    let tensor = [b"ctorch._utils\n_rebuild_tensor_v2\n(", &storage.concat()[..], b"K\0(", size, b"t(K\x01t\x89}tR"];
    [b"\x80\x02}", &text("dream_queries")[..], &tensor.concat(), b"s."].concat()
}

/// Sets the method in both headers of a zip's first entry.
fn set(zip: &mut [u8], local: usize, method: u8) {
    zip[local] = method;
    let central = zip.windows(4).position(|w| w == b"PK\x01\x02").unwrap();
    zip[central + 10] = method;
}

/// Makes the first entry claim 2 GiB.
fn grow(zip: &mut [u8]) {
    let central = zip.windows(4).position(|w| w == b"PK\x01\x02").unwrap();
    for at in [18, 22, central + 20, central + 24] {
        zip[at..at + 4].copy_from_slice(&0x7fff_ffffu32.to_le_bytes());
    }
}

/// Sends the reader to a zip64 record that is not there: 65535 entries, and a directory at 2^32 - 1.
fn zip64(zip: &mut [u8]) {
    let end = zip.len() - 22;
    zip[end + 8..end + 20].fill(0xff);
}

#[test]
fn arguments() {
    check(ARGUMENTS);
}

#[test]
fn numbers() {
    check(NUMBERS);
}

#[test]
fn words() {
    check(WORDS);
}

#[test]
fn outputs() {
    check(OUTPUTS);
}

#[test]
fn pictures() {
    check(PICTURES);
}

#[test]
fn checkpoints() {
    check(CHECKPOINTS);
}

#[test]
fn weights() {
    check(WEIGHTS);
}

/// Runs every row, and tells all that are wrong.
fn check(rows: &[Row]) {
    let wrong: Vec<String> = rows.iter().filter_map(|row| wrong(row).map(|why| format!("{}: {why}", row.0))).collect();
    assert!(wrong.is_empty(), "{} of {} rows:\n{}", wrong.len(), rows.len(), wrong.join("\n"));
}

/// What is wrong about a row, if anything.
fn wrong(&(_, arguments, file, piece): &Row) -> Option<String> {
    let bench = Bench::new();
    let file = file(&bench);
    let before = bench.files();
    let start = Instant::now();
    let mut command = Command::new(env!("CARGO_BIN_EXE_dreamllm"));
    command.args(arguments.split(' ').map(|word| bench.place(word, &file))).arg("-q").stdin(Stdio::null());
    let out = command.current_dir(bench.folder()).output().unwrap();
    let (said, code) = (String::from_utf8_lossy(&out.stderr).into_owned(), out.status.code());
    if !matches!(code, Some(1 | 2)) {
        return Some(format!("ends with {code:?}: {said}"));
    }
    if said.lines().count() != 1 || !said.starts_with("error: ") || said.contains("panicked") {
        return Some(format!("says {said:?}, not one line that begins with error:"));
    }
    if !said.contains(piece) {
        return Some(format!("says {said:?}, not {piece:?}"));
    }
    if bench.files() != before {
        return Some("changed a file".into());
    }
    (start.elapsed() > Duration::from_secs(30)).then(|| format!("took {:?}", start.elapsed()))
}

#[test]
fn there_are_enough() {
    let tables = [ARGUMENTS, NUMBERS, WORDS, OUTPUTS, PICTURES, CHECKPOINTS, WEIGHTS].concat();
    let names: std::collections::HashSet<&str> = tables.iter().map(|row| row.0).collect();
    assert_eq!(names.len(), tables.len(), "two rows have the same name");
    assert!(tables.len() >= 150, "{} rows", tables.len());
}

/// What goes wrong in a conversation is told, and it goes on.
#[test]
fn a_conversation_goes_on_after_wrong_commands() {
    use std::io::Write;
    let bench = Bench::new();
    let lines = [
        &b"/fly\n/image\n/image /no/such.png\n/image .\n/save\n/save kept.png\n/save .\n\xffa\n/reset now\n"[..],
        b"/help me\n/dream\nWhat <image>?\n/quit\n",
    ];
    let mut command = Command::new(env!("CARGO_BIN_EXE_dreamllm"));
    command.args(["chat", "--no-dream", "--max-tokens", "1", "-q", "-m"]).arg(common::tiny());
    command.current_dir(bench.folder()).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let before = bench.files();
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(&lines.concat()).unwrap();
    let out = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(out.status.success(), "{said}");
    let errors: Vec<&str> = said.lines().collect();
    assert!(errors.len() == 12 && errors.iter().all(|line| line.starts_with("error: ")), "{said}");
    for (error, piece) in errors.iter().zip([
        "/fly",
        "/image needs",
        "/no/such.png",
        "folder",
        "/save needs",
        "kept.png",
        "not empty",
        "UTF-8",
    ]) {
        assert!(error.contains(piece), "{error} has no {piece}");
    }
    assert_eq!(bench.files(), before);
}
