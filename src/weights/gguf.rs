//! GGUF: llama.cpp's format for a decoder. A header of typed keys and values, a table of tensors, then aligned data.
//!
//! A decoder of the LLaMA family comes out as the tensors of a Hugging Face checkpoint: under those names, and with the
//! rows of the query and key matrices in that order. llama.cpp rotates neighbouring rows of a head, Hugging Face rows
//! half a head apart, so its converter moved row j·D/2 + i of a head (j = 0, 1) to row 2i + j; here the rows are read
//! back in the old order.
//!
//! Source: the specification in ggml's `docs/gguf.md`; `LlamaModel.permute` in llama.cpp's `convert_hf_to_gguf.py`.

use std::collections::{BTreeMap, BTreeSet};

use super::dtype::{GgmlType, StoredDType};
use super::stored::TensorLayout;
use crate::{Error, Result};

/// What a GGUF file begins with.
const MAGIC: &[u8] = b"GGUF";
/// Where data is aligned if the file does not say.
const ALIGNMENT: u64 = 32;

/// Whether the bytes look like a GGUF file.
pub(super) fn is_gguf(bytes: &[u8]) -> bool {
    bytes.starts_with(MAGIC)
}

/// Names and layouts of the decoder's tensors.
pub(super) fn parse(what: &str, bytes: &[u8]) -> Result<Vec<(String, TensorLayout)>> {
    Header::read(bytes).and_then(|header| header.layouts(bytes.len())).map_err(|why| Error::format(what, why))
}

/// A value of the header, as far as a decoder needs it.
#[derive(Debug, Clone, PartialEq)]
enum Value {
    Number(u64),
    Text(String),
    /// Of a type that nothing here needs.
    Other,
}

/// A tensor of the table.
struct Entry {
    name: String,
    /// Sizes of the axes in PyTorch's order: the file has the innermost first.
    shape: Vec<usize>,
    dtype: StoredDType,
    /// First byte, from the start of the data on.
    offset: u64,
}

struct Header {
    values: BTreeMap<String, Value>,
    tensors: Vec<Entry>,
    /// Where the data begins.
    data: u64,
    alignment: u64,
}

impl Header {
    fn read(bytes: &[u8]) -> Result<Header, String> {
        let mut reader = Reader { bytes, at: MAGIC.len() };
        let version = reader.u32()?;
        if !(2..=3).contains(&version) {
            return Err(format!("is GGUF version {version} (or big-endian); versions 2 and 3 are read"));
        }
        let (tensors, pairs) = (reader.u64()?, reader.u64()?);
        let mut values = BTreeMap::new();
        for _ in 0..pairs {
            let key = reader.text()?;
            let kind = reader.u32()?;
            let value = reader.value(kind)?;
            values.insert(key, value);
        }
        let alignment = match values.get("general.alignment") {
            None => ALIGNMENT,
            Some(Value::Number(n)) if n.is_power_of_two() && *n <= 1 << 20 => *n,
            Some(_) => return Err("has a general.alignment that is no power of two".into()),
        };
        // The counts are not trusted: nothing is reserved for them, and reading ends where the file does.
        let tensors = (0..tensors).map(|_| reader.entry()).collect::<Result<_, _>>()?;
        Ok(Header { values, tensors, data: (reader.at as u64).next_multiple_of(alignment), alignment })
    }

    fn layouts(&self, file: usize) -> Result<Vec<(String, TensorLayout)>, String> {
        let architecture = self.text("general.architecture")?;
        if architecture != "llama" {
            return Err(format!(
                "holds a model of the kind {architecture:?}; only decoders of the kind \"llama\" are read"
            ));
        }
        let (mut taken, mut names, mut found) = (Vec::new(), BTreeSet::new(), Vec::new());
        for entry in &self.tensors {
            let refuse = |why: String| format!("tensor {} {why}", entry.name);
            if !names.insert(&entry.name) {
                return Err(refuse("is there twice".into()));
            }
            let place = self.place(entry, file).map_err(refuse)?;
            taken.push((place.clone(), &entry.name));
            if let Some(name) = official_name(&entry.name) {
                found.push((name, self.layout(entry, place).map_err(refuse)?));
            }
        }
        taken.sort_by_key(|(place, _)| (place.start, place.end));
        match taken.windows(2).find(|pair| pair[0].0.end > pair[1].0.start) {
            Some(pair) => Err(format!("tensors {} and {} overlap", pair[0].1, pair[1].1)),
            None => Ok(found),
        }
    }

    /// The bytes of a tensor in the file.
    fn place(&self, entry: &Entry, file: usize) -> Result<std::ops::Range<usize>, String> {
        let (block, _) = entry.dtype.unit();
        if !entry.shape.last().copied().unwrap_or(1).is_multiple_of(block) {
            return Err(format!("has rows of {:?}, which are no whole blocks of {block}", entry.shape));
        }
        if !entry.offset.is_multiple_of(self.alignment) {
            return Err(format!("begins at byte {} of the data, not a multiple of {}", entry.offset, self.alignment));
        }
        let count = entry.shape.iter().try_fold(1usize, |n, &side| n.checked_mul(side));
        let bytes = count.and_then(|n| entry.dtype.bytes(n)).ok_or("has an impossible shape")?;
        let start = self.data.checked_add(entry.offset).and_then(|start| usize::try_from(start).ok());
        let place = start.and_then(|start| Some(start..start.checked_add(bytes)?)).filter(|place| place.end <= file);
        place.ok_or_else(|| format!("of {bytes} bytes at byte {} of the data lies outside the file", entry.offset))
    }

    fn layout(&self, entry: &Entry, place: std::ops::Range<usize>) -> Result<TensorLayout, String> {
        let heads = match entry.name.rsplit_once("attn_").map(|(_, kind)| kind) {
            Some("q.weight") => self.number("llama.attention.head_count")?,
            Some("k.weight") => {
                self.number("llama.attention.head_count_kv").or_else(|_| self.number("llama.attention.head_count"))?
            }
            _ => return TensorLayout::contiguous(entry.dtype, entry.shape.clone(), place),
        };
        let heads = usize::try_from(heads).map_err(|_| "has impossibly many heads")?;
        let &[rows, width] = entry.shape.as_slice() else { return Err("is no matrix".into()) };
        if heads == 0 || rows == 0 || !rows.is_multiple_of(heads) || !(rows / heads).is_multiple_of(2) {
            return Err(format!("has {rows} rows, which are not {heads} heads of an even width"));
        }
        let half = rows / heads / 2;
        let axes = vec![heads, 2, half, width];
        let strides = vec![2 * half * width, width, 2 * width, 1];
        TensorLayout::viewed(entry.dtype, entry.shape.clone(), axes, strides, 0, place)
    }

    fn number(&self, key: &str) -> Result<u64, String> {
        match self.values.get(key) {
            Some(Value::Number(n)) => Ok(*n),
            _ => Err(format!("cannot be read: the header has no number {key}")),
        }
    }

    fn text(&self, key: &str) -> Result<&str, String> {
        match self.values.get(key) {
            Some(Value::Text(text)) => Ok(text),
            _ => Err(format!("has no text {key} in its header")),
        }
    }
}

/// The Hugging Face name of a tensor, if it has one: tables of rotary angles have none.
fn official_name(name: &str) -> Option<String> {
    let whole = [("token_embd.weight", "model.embed_tokens.weight"), ("output_norm.weight", "model.norm.weight")];
    let whole = whole.into_iter().chain([("output.weight", "lm_head.weight")]);
    if let Some((_, official)) = whole.into_iter().find(|(known, _)| *known == name) {
        return Some(official.into());
    }
    const IN_LAYERS: [(&str, &str); 9] = [
        ("attn_norm", "input_layernorm"),
        ("attn_q", "self_attn.q_proj"),
        ("attn_k", "self_attn.k_proj"),
        ("attn_v", "self_attn.v_proj"),
        ("attn_output", "self_attn.o_proj"),
        ("ffn_norm", "post_attention_layernorm"),
        ("ffn_gate", "mlp.gate_proj"),
        ("ffn_up", "mlp.up_proj"),
        ("ffn_down", "mlp.down_proj"),
    ];
    let (layer, kind) = name.strip_prefix("blk.")?.split_once('.')?;
    let (_, official) = IN_LAYERS.into_iter().find(|(known, _)| kind.strip_suffix(".weight") == Some(known))?;
    Some(format!("model.layers.{layer}.{official}.weight"))
}

/// The element type of a number in the table.
fn dtype(number: u32) -> Result<StoredDType, String> {
    use GgmlType::*;
    Ok(match number {
        0 => StoredDType::F32,
        1 => StoredDType::F16,
        30 => StoredDType::BF16,
        2 => StoredDType::Ggml(Q4_0),
        3 => StoredDType::Ggml(Q4_1),
        6 => StoredDType::Ggml(Q5_0),
        7 => StoredDType::Ggml(Q5_1),
        8 => StoredDType::Ggml(Q8_0),
        12 => StoredDType::Ggml(Q4_K),
        13 => StoredDType::Ggml(Q5_K),
        14 => StoredDType::Ggml(Q6_K),
        other => {
            let known = "F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q4_K, Q5_K and Q6_K are read";
            return Err(format!("has the element type number {other}; {known}"));
        }
    })
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: u64) -> Result<&'a [u8], String> {
        let end = usize::try_from(count).ok().and_then(|count| self.at.checked_add(count));
        let taken = end.and_then(|end| self.bytes.get(self.at..end));
        let taken =
            taken.ok_or_else(|| format!("ends within its header: {count} bytes are missing at byte {}", self.at))?;
        self.at += taken.len();
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        self.take(N as u64)?.try_into().map_err(|_| "ends within its header".into())
    }

    fn u32(&mut self) -> Result<u32, String> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, String> {
        self.array().map(u64::from_le_bytes)
    }

    fn text(&mut self) -> Result<String, String> {
        let length = self.u64()?;
        Ok(String::from_utf8_lossy(self.take(length)?).into_owned())
    }

    /// A value of a type by its number. Lists are skipped, except that one of numbers stands for its first: some files
    /// repeat a number for every layer.
    fn value(&mut self, kind: u32) -> Result<Value, String> {
        Ok(match kind {
            0 | 1 | 7 => Value::Number(u64::from(self.array::<1>()?[0])),
            2 | 3 => Value::Number(u64::from(u16::from_le_bytes(self.array()?))),
            4 | 5 => Value::Number(u64::from(self.u32()?)),
            10 | 11 => Value::Number(self.u64()?),
            6 => self.take(4).map(|_| Value::Other)?,
            12 => self.take(8).map(|_| Value::Other)?,
            8 => Value::Text(self.text()?),
            9 => {
                let (kind, count) = (self.u32()?, self.u64()?);
                if kind == 9 {
                    return Err("has a list of lists in its header".into());
                }
                let mut first = None;
                for _ in 0..count {
                    let value = self.value(kind)?;
                    first.get_or_insert(value);
                }
                first.filter(|value| matches!(value, Value::Number(_))).unwrap_or(Value::Other)
            }
            other => return Err(format!("has a value of the unknown type {other} in its header")),
        })
    }

    fn entry(&mut self) -> Result<Entry, String> {
        let name = self.text()?;
        let axes = self.u32()?;
        if axes > 4 {
            return Err(format!("tensor {name} has {axes} axes; at most 4 are possible"));
        }
        let mut shape = Vec::new();
        for _ in 0..axes {
            let side = usize::try_from(self.u64()?).map_err(|_| format!("tensor {name} has an impossible shape"))?;
            shape.insert(0, side);
        }
        let dtype = dtype(self.u32()?).map_err(|why| format!("tensor {name} {why}"))?;
        Ok(Entry { name, shape, dtype, offset: self.u64()? })
    }
}

#[cfg(test)]
mod tests;
