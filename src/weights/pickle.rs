//! A pickle machine that can rebuild tensors and nothing else.
//!
//! A pickle is a program for a small stack machine, and Python's may call any function it names. This one knows the
//! handful of names that `torch.save` writes for a dictionary of tensors; any other name is an error, and nothing is
//! ever called. Values live in flat tables and refer to each other by index, so neither deep nesting nor shared
//! structure ("memo bombs") costs more than the bytes that describe it. Source: Python's `pickletools` module.

use std::collections::HashMap;

use super::dtype::StoredDType;
use super::pickle_value::{Arena, Global, Object, PickledStorage, PickledTensor, Value};

/// Pickles of tensor dictionaries are a few hundred bytes per tensor; this is room for a million of them.
const LONGEST_PICKLE: usize = 256 << 20;

/// Reads one pickle from the front of `bytes`: its value and the number of bytes it took.
pub(super) fn load(bytes: &[u8]) -> Result<(Loaded<'_>, usize), String> {
    if bytes.is_empty() {
        return Err("the pickle is empty".into());
    }
    let bytes = bytes.get(..LONGEST_PICKLE).unwrap_or(bytes);
    let mut machine =
        Machine { bytes, at: 0, stack: Vec::new(), marks: Vec::new(), memo: HashMap::new(), arena: Arena::default() };
    let top = machine.run().map_err(|why| format!("byte {} of the pickle: {why}", machine.at))?;
    Ok((Loaded { top, arena: machine.arena }, machine.at))
}

/// What a pickle described.
pub(super) struct Loaded<'a> {
    top: Value<'a>,
    arena: Arena<'a>,
}

impl<'a> Loaded<'a> {
    /// The value, if it is an integer.
    pub(super) fn integer(&self) -> Option<i64> {
        if let Value::Int(i) = self.top { Some(i) } else { None }
    }

    /// The value, if it is a list of strings.
    pub(super) fn strings(&self) -> Option<Vec<&'a str>> {
        let Value::Object(id) = self.top else { return None };
        let Object::List(items) = self.arena.get(id)? else { return None };
        items.iter().map(|item| if let Value::Str(s) = item { Some(*s) } else { None }).collect()
    }

    /// The tensors of a dictionary by name, in order; of several with one name the last counts. A dictionary that holds
    /// none may hold one under `state_dict`, as trainers' checkpoints do.
    pub(super) fn tensors(&self) -> Result<Vec<(&'a str, &PickledTensor<'a>)>, String> {
        let top = self.dictionary(self.top).ok_or("holds no dictionary of tensors")?;
        let found = self.tensors_of(top);
        if !found.is_empty() {
            return Ok(found);
        }
        let inner = top.iter().rev().find(|(key, _)| matches!(key, Value::Str("state_dict")));
        Ok(inner.and_then(|&(_, value)| self.dictionary(value)).map(|d| self.tensors_of(d)).unwrap_or_default())
    }

    /// All storages that are mentioned, named tensors or not.
    pub(super) fn storages(&self) -> impl Iterator<Item = &PickledStorage<'a>> {
        self.arena.storages()
    }

    fn dictionary(&self, value: Value<'a>) -> Option<&[(Value<'a>, Value<'a>)]> {
        let Value::Object(id) = value else { return None };
        if let Some(Object::Dict(entries)) = self.arena.get(id) { Some(entries) } else { None }
    }

    fn tensors_of(&self, entries: &[(Value<'a>, Value<'a>)]) -> Vec<(&'a str, &PickledTensor<'a>)> {
        let mut found: Vec<(&'a str, &PickledTensor<'a>)> = Vec::new();
        let mut places = HashMap::new();
        for &(key, value) in entries {
            let (Value::Str(name), Value::Object(id)) = (key, value) else { continue };
            let Some(Object::Tensor(tensor)) = self.arena.get(id) else { continue };
            match places.get(name).and_then(|&place: &usize| found.get_mut(place)) {
                Some(earlier) => earlier.1 = tensor,
                None => {
                    places.insert(name, found.len());
                    found.push((name, tensor));
                }
            }
        }
        found
    }
}

struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    stack: Vec<Value<'a>>,
    /// Stack heights at which the open MARKs stand.
    marks: Vec<usize>,
    memo: HashMap<u32, Value<'a>>,
    arena: Arena<'a>,
}

type Step<T = ()> = Result<T, String>;

impl<'a> Machine<'a> {
    fn run(&mut self) -> Step<Value<'a>> {
        loop {
            let op = self.byte()?;
            if op == b'.' {
                return self.pop();
            }
            self.step(op)?;
        }
    }

    /// One instruction. Names in the comments are those of `pickletools`.
    fn step(&mut self, op: u8) -> Step {
        match op {
            0x80 => self.protocol(),                                                      // PROTO
            0x95 => self.take(8).map(|_| ()),                                             // FRAME
            b'(' => self.mark(),                                                          // MARK
            b'0' => self.pop().map(|_| ()),                                               // POP
            b'1' => self.pop_to_mark().map(|_| ()),                                       // POP_MARK
            b'2' => self.top().and_then(|v| self.push(v)),                                // DUP
            b'N' => self.push(Value::None),                                               // NONE
            0x88 => self.push(Value::Other),                                              // NEWTRUE
            0x89 => self.push(Value::Other),                                              // NEWFALSE
            b'J' => self.binary_int(4, true),                                             // BININT
            b'K' => self.binary_int(1, false),                                            // BININT1
            b'M' => self.binary_int(2, false),                                            // BININT2
            0x8a => self.long(1),                                                         // LONG1
            0x8b => self.long(4),                                                         // LONG4
            b'I' | b'L' => self.decimal_int(),                                            // INT, LONG
            b'G' => self.take(8).and_then(|_| self.push(Value::Other)),                   // BINFLOAT
            b'X' => self.string(4),                                                       // BINUNICODE
            0x8c => self.string(1),                                                       // SHORT_BINUNICODE
            0x8d => self.string(8),                                                       // BINUNICODE8
            b'U' => self.string(1),                                                       // SHORT_BINSTRING (Python 2)
            b'T' => self.string(4),                                                       // BINSTRING (Python 2)
            b'C' => self.opaque_bytes(1),                                                 // SHORT_BINBYTES
            b'B' => self.opaque_bytes(4),                                                 // BINBYTES
            0x8e => self.opaque_bytes(8),                                                 // BINBYTES8
            b')' => self.tuple(0),                                                        // EMPTY_TUPLE
            0x85 => self.tuple(1),                                                        // TUPLE1
            0x86 => self.tuple(2),                                                        // TUPLE2
            0x87 => self.tuple(3),                                                        // TUPLE3
            b't' => self.pop_to_mark().and_then(|items| self.make(Object::Tuple(items))), // TUPLE
            b']' => self.make(Object::List(Vec::new())),                                  // EMPTY_LIST
            b'l' => self.pop_to_mark().and_then(|items| self.make(Object::List(items))),  // LIST
            b'a' => self.pop().and_then(|item| self.append(vec![item])),                  // APPEND
            b'e' => self.pop_to_mark().and_then(|items| self.append(items)),              // APPENDS
            b'}' => self.make(Object::Dict(Vec::new())),                                  // EMPTY_DICT
            b'd' => self.dict(),                                                          // DICT
            b's' => self.set_item(),                                                      // SETITEM
            b'u' => self.pop_to_mark().and_then(|items| self.set_items(items)),           // SETITEMS
            b'c' => self.global(),                                                        // GLOBAL
            0x93 => self.stack_global(),                                                  // STACK_GLOBAL
            b'R' => self.reduce(),                                                        // REDUCE
            b'b' => self.build(),                                                         // BUILD
            b'Q' => self.persistent_id(),                                                 // BINPERSID
            b'q' => self.byte().and_then(|i| self.remember(u32::from(i))),                // BINPUT
            b'r' => self.unsigned(4).and_then(|i| self.remember(i as u32)),               // LONG_BINPUT
            0x94 => self.remember(self.memo.len() as u32),                                // MEMOIZE
            b'h' => self.byte().and_then(|i| self.recall(u32::from(i))),                  // BINGET
            b'j' => self.unsigned(4).and_then(|i| self.recall(i as u32)),                 // LONG_BINGET
            _ => Err(format!("instruction 0x{op:02x} has no place in a dictionary of tensors")),
        }
    }

    // Reading the program.

    fn take(&mut self, n: usize) -> Step<&'a [u8]> {
        let end = self.at.checked_add(n).ok_or("ends too early")?;
        let bytes = self.bytes.get(self.at..end).ok_or("ends too early")?;
        self.at = end;
        Ok(bytes)
    }

    fn byte(&mut self) -> Step<u8> {
        self.take(1)?.first().copied().ok_or_else(|| "ends too early".into())
    }

    fn unsigned(&mut self, n: usize) -> Step<u64> {
        Ok(self.take(n)?.iter().rev().fold(0, |value, &b| value << 8 | u64::from(b)))
    }

    fn counted(&mut self, length_bytes: usize) -> Step<&'a [u8]> {
        let n = usize::try_from(self.unsigned(length_bytes)?).map_err(|_| "ends too early")?;
        self.take(n)
    }

    fn line(&mut self) -> Step<&'a str> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let end = rest.iter().position(|&b| b == b'\n').ok_or("ends too early")?;
        let line = self.take(end)?;
        self.at += 1;
        std::str::from_utf8(line).map_err(|_| "a name is not UTF-8".into())
    }

    // The stack.

    fn push(&mut self, value: Value<'a>) -> Step {
        self.stack.push(value);
        Ok(())
    }

    /// Pops a value, but never one from below the innermost open MARK.
    fn pop(&mut self) -> Step<Value<'a>> {
        if self.stack.len() <= self.marks.last().copied().unwrap_or(0) {
            return Err("the stack is empty".into());
        }
        self.stack.pop().ok_or_else(|| "the stack is empty".into())
    }

    fn top(&mut self) -> Step<Value<'a>> {
        self.stack.last().copied().ok_or_else(|| "the stack is empty".into())
    }

    fn mark(&mut self) -> Step {
        self.marks.push(self.stack.len());
        Ok(())
    }

    fn pop_to_mark(&mut self) -> Step<Vec<Value<'a>>> {
        let height = self.marks.pop().ok_or("no MARK is open")?;
        Ok(self.stack.split_off(height.min(self.stack.len())))
    }

    fn make(&mut self, object: Object<'a>) -> Step {
        let id = self.arena.add(object);
        self.push(Value::Object(id))
    }

    fn remember(&mut self, key: u32) -> Step {
        let value = self.top()?;
        self.memo.insert(key, value);
        Ok(())
    }

    fn recall(&mut self, key: u32) -> Step {
        let value = self.memo.get(&key).copied().ok_or_else(|| format!("memo {key} was never set"))?;
        self.push(value)
    }

    // Plain values.

    fn protocol(&mut self) -> Step {
        let version = self.byte()?;
        if version <= 5 { Ok(()) } else { Err(format!("pickle protocol {version} is not known")) }
    }

    fn binary_int(&mut self, bytes: usize, signed: bool) -> Step {
        let value = self.unsigned(bytes)?;
        self.push(Value::Int(if signed { i64::from(value as u32 as i32) } else { value as i64 }))
    }

    /// An integer as two's complement bytes; one that does not fit 64 bits (torch's magic number) is opaque.
    fn long(&mut self, length_bytes: usize) -> Step {
        let bytes = self.counted(length_bytes)?;
        if bytes.len() > 8 {
            return self.push(Value::Other);
        }
        let negative = bytes.last().is_some_and(|&b| b >= 0x80);
        let start = if negative { -1i64 } else { 0 };
        self.push(Value::Int(bytes.iter().rev().fold(start, |value, &b| value << 8 | i64::from(b))))
    }

    fn decimal_int(&mut self) -> Step {
        let line = self.line()?;
        if matches!(line, "00" | "01") {
            return self.push(Value::Other); // false and true in protocols 0 and 1
        }
        let value = line.trim_end_matches('L').parse().map_err(|_| "a number is malformed")?;
        self.push(Value::Int(value))
    }

    fn string(&mut self, length_bytes: usize) -> Step {
        let bytes = self.counted(length_bytes)?;
        let text = std::str::from_utf8(bytes).map_err(|_| "a string is not UTF-8")?;
        self.push(Value::Str(text))
    }

    fn opaque_bytes(&mut self, length_bytes: usize) -> Step {
        self.counted(length_bytes)?;
        self.push(Value::Other)
    }

    // Containers.

    fn tuple(&mut self, n: usize) -> Step {
        let mut items = (0..n).map(|_| self.pop()).collect::<Step<Vec<_>>>()?;
        items.reverse();
        self.make(Object::Tuple(items))
    }

    fn append(&mut self, items: Vec<Value<'a>>) -> Step {
        match self.top()? {
            Value::Object(id) => self.arena.append(id, items),
            _ => Err("an item is appended to something that is no list".into()),
        }
    }

    fn dict(&mut self) -> Step {
        let items = self.pop_to_mark()?;
        self.make(Object::Dict(Vec::new()))?;
        self.set_items(items)
    }

    fn set_item(&mut self) -> Step {
        let value = self.pop()?;
        let key = self.pop()?;
        self.set_items(vec![key, value])
    }

    fn set_items(&mut self, items: Vec<Value<'a>>) -> Step {
        match self.top()? {
            Value::Object(id) => self.arena.insert(id, &items),
            _ => Err("an entry is set in something that is no dictionary".into()),
        }
    }

    // Names, and the few of them that make something.

    fn global(&mut self) -> Step {
        let (module, name) = (self.line()?, self.line()?);
        self.push(Value::Global(Global::named(module, name)?))
    }

    fn stack_global(&mut self) -> Step {
        let name = self.pop()?;
        let module = self.pop()?;
        match (module, name) {
            (Value::Str(module), Value::Str(name)) => self.push(Value::Global(Global::named(module, name)?)),
            _ => Err("a global's name is not a string".into()),
        }
    }

    fn reduce(&mut self) -> Step {
        let arguments = self.pop()?;
        let Value::Global(global) = self.pop()? else { return Err("something is called that is no name".into()) };
        let value = self.arena.rebuild(global, arguments)?;
        self.push(value)
    }

    /// Only a dictionary's attributes are ever set (`_metadata` of a state dict); they are not needed.
    fn build(&mut self) -> Step {
        self.pop()?;
        match self.top()? {
            Value::Object(id) if matches!(self.arena.get(id), Some(Object::Dict(_))) => Ok(()),
            _ => Err("attributes are set on something that is no dictionary".into()),
        }
    }

    fn persistent_id(&mut self) -> Step {
        let id = self.pop()?;
        let storage = self.arena.storage(id)?;
        self.make(Object::Storage(storage))
    }
}

/// The storage dtypes by their class names in module `torch`.
pub(super) fn storage_dtype(class: &str) -> Option<StoredDType> {
    Some(match class {
        "DoubleStorage" => StoredDType::F64,
        "FloatStorage" => StoredDType::F32,
        "HalfStorage" => StoredDType::F16,
        "BFloat16Storage" => StoredDType::BF16,
        "LongStorage" => StoredDType::I64,
        "IntStorage" => StoredDType::I32,
        "ShortStorage" => StoredDType::I16,
        "CharStorage" => StoredDType::I8,
        "ByteStorage" => StoredDType::U8,
        "BoolStorage" => StoredDType::Bool,
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
