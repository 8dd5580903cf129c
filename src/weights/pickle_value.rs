//! The values a pickle of tensors is made of, kept in one flat table.

use super::dtype::StoredDType;
use super::pickle::storage_dtype;

/// PyTorch's own limit.
const MOST_AXES: usize = 64;

/// A value on the stack: small and copied freely. Compound ones are places in the [`Arena`].
#[derive(Debug, Clone, Copy)]
pub(super) enum Value<'a> {
    None,
    Int(i64),
    Str(&'a str),
    Global(Global),
    Object(usize),
    /// Something that no tensor needs: a truth value, a float, bytes, a huge integer.
    Other,
}

/// The names that are known. All others are refused.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Global {
    OrderedDict,
    RebuildTensor,
    RebuildTensorV2,
    RebuildParameter,
    Size,
    Storage(StoredDType),
}

impl Global {
    pub(super) fn named(module: &str, name: &str) -> Result<Self, String> {
        match (module, name) {
            ("collections", "OrderedDict") => Ok(Self::OrderedDict),
            ("torch._utils", "_rebuild_tensor") => Ok(Self::RebuildTensor),
            ("torch._utils", "_rebuild_tensor_v2") => Ok(Self::RebuildTensorV2),
            ("torch._utils", "_rebuild_parameter") => Ok(Self::RebuildParameter),
            ("torch", "Size") => Ok(Self::Size),
            ("torch", class) if storage_dtype(class).is_some() => {
                storage_dtype(class).map(Self::Storage).ok_or_else(String::new)
            }
            _ => Err(format!("it wants {module}.{name}; only tensors are rebuilt, nothing is ever called")),
        }
    }
}

/// A compound value.
#[derive(Debug)]
pub(super) enum Object<'a> {
    Tuple(Vec<Value<'a>>),
    List(Vec<Value<'a>>),
    Dict(Vec<(Value<'a>, Value<'a>)>),
    Storage(PickledStorage<'a>),
    Tensor(PickledTensor<'a>),
}

/// A named block of elements outside the pickle.
#[derive(Debug, Clone, Copy)]
pub(super) struct PickledStorage<'a> {
    pub(super) key: &'a str,
    pub(super) dtype: StoredDType,
    /// Elements.
    pub(super) len: usize,
    /// Where a view of another storage begins in it (only in files from before 2020).
    pub(super) view_offset: usize,
}

/// A strided view of a storage; offset and strides in elements.
#[derive(Debug, Clone)]
pub(super) struct PickledTensor<'a> {
    pub(super) storage: PickledStorage<'a>,
    pub(super) offset: usize,
    pub(super) shape: Vec<usize>,
    pub(super) strides: Vec<usize>,
}

/// All compound values of one pickle.
#[derive(Debug, Default)]
pub(super) struct Arena<'a> {
    objects: Vec<Object<'a>>,
}

impl<'a> Arena<'a> {
    pub(super) fn add(&mut self, object: Object<'a>) -> usize {
        self.objects.push(object);
        self.objects.len() - 1
    }

    pub(super) fn get(&self, id: usize) -> Option<&Object<'a>> {
        self.objects.get(id)
    }

    pub(super) fn storages(&self) -> impl Iterator<Item = &PickledStorage<'a>> {
        self.objects
            .iter()
            .filter_map(|object| if let Object::Storage(storage) = object { Some(storage) } else { None })
    }

    pub(super) fn append(&mut self, id: usize, items: Vec<Value<'a>>) -> Result<(), String> {
        match self.objects.get_mut(id) {
            Some(Object::List(list)) => list.extend(items),
            _ => return Err("an item is appended to something that is no list".into()),
        }
        Ok(())
    }

    /// Adds keys and values, which alternate in `items`.
    pub(super) fn insert(&mut self, id: usize, items: &[Value<'a>]) -> Result<(), String> {
        let (pairs, odd) = items.as_chunks::<2>();
        match self.objects.get_mut(id) {
            Some(Object::Dict(entries)) if odd.is_empty() => entries.extend(pairs.iter().map(|&[k, v]| (k, v))),
            _ => return Err("an entry is set in something that is no dictionary".into()),
        }
        Ok(())
    }

    /// What `global(*arguments)` would give, for the few names that are known.
    pub(super) fn rebuild(&mut self, global: Global, arguments: Value<'a>) -> Result<Value<'a>, String> {
        let arguments = self.tuple(arguments).ok_or("the arguments of a call are no tuple")?;
        let object = match (global, arguments) {
            (Global::OrderedDict, []) => Object::Dict(Vec::new()),
            (Global::Size | Global::RebuildParameter, &[value, ..]) => return Ok(value),
            (Global::RebuildTensor | Global::RebuildTensorV2, &[storage, offset, shape, strides, ..]) => {
                Object::Tensor(self.tensor(storage, offset, shape, strides)?)
            }
            _ => return Err(format!("{global:?} is called with {} arguments", arguments.len())),
        };
        Ok(Value::Object(self.add(object)))
    }

    /// The storage a persistent id names: `("storage", class, key, location, elements[, view])`.
    pub(super) fn storage(&self, id: Value<'a>) -> Result<PickledStorage<'a>, String> {
        match self.tuple(id) {
            Some(
                &[
                    Value::Str("storage"),
                    Value::Global(Global::Storage(dtype)),
                    Value::Str(key),
                    _,
                    Value::Int(n),
                    ref view @ ..,
                ],
            ) => {
                let len = usize::try_from(n).map_err(|_| format!("storage {key} has {n} elements"))?;
                self.view_of(PickledStorage { key, dtype, len, view_offset: 0 }, view.first().copied())
            }
            _ => Err("a persistent id names no storage".into()),
        }
    }

    /// Before 2020 a storage could be a view `(key, offset, elements)` of the one that is stored.
    fn view_of(&self, root: PickledStorage<'a>, view: Option<Value<'a>>) -> Result<PickledStorage<'a>, String> {
        match view {
            None | Some(Value::None) => Ok(root),
            Some(view) => match self.tuple(view) {
                Some(&[_, Value::Int(offset), _]) => {
                    let view_offset =
                        usize::try_from(offset).map_err(|_| format!("storage {} has a negative offset", root.key))?;
                    Ok(PickledStorage { view_offset, ..root })
                }
                _ => Err(format!("storage {} has a malformed view", root.key)),
            },
        }
    }

    fn tensor(
        &self,
        storage: Value<'a>,
        offset: Value<'a>,
        shape: Value<'a>,
        strides: Value<'a>,
    ) -> Result<PickledTensor<'a>, String> {
        let Value::Object(id) = storage else { return Err("a tensor has no storage".into()) };
        let Some(Object::Storage(storage)) = self.get(id) else { return Err("a tensor has no storage".into()) };
        let offset = size(offset)?.checked_add(storage.view_offset).ok_or("an offset is too large")?;
        Ok(PickledTensor { storage: *storage, offset, shape: self.sizes(shape)?, strides: self.sizes(strides)? })
    }

    fn sizes(&self, value: Value<'a>) -> Result<Vec<usize>, String> {
        let items = self.items(value).ok_or("a tensor's shape is no tuple")?;
        // The bound keeps a long tuple from being copied again and again through the memo.
        if items.len() > MOST_AXES {
            return Err(format!("a tensor has {} axes", items.len()));
        }
        items.iter().map(|&v| size(v)).collect()
    }

    fn tuple(&self, value: Value<'a>) -> Option<&[Value<'a>]> {
        let Value::Object(id) = value else { return None };
        if let Some(Object::Tuple(items)) = self.get(id) { Some(items) } else { None }
    }

    fn items(&self, value: Value<'a>) -> Option<&[Value<'a>]> {
        let Value::Object(id) = value else { return None };
        match self.get(id) {
            Some(Object::Tuple(items) | Object::List(items)) => Some(items),
            _ => None,
        }
    }
}

fn size(value: Value<'_>) -> Result<usize, String> {
    match value {
        Value::Int(i) => usize::try_from(i).map_err(|_| format!("{i} is no size, offset or stride")),
        _ => Err("a size, offset or stride is no integer".into()),
    }
}
