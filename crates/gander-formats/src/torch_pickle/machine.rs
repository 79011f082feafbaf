//! The part of Python's pickle machine that builds dictionaries of tensors.
//!
//! Values are immutable once they are shared, so that no cycle can come up; how deep they nest is counted, so that dropping
//! them cannot overflow the stack; and nothing that is shared is copied, so that a short program cannot fill the memory.

use std::{collections::BTreeMap, rc::Rc};

use super::bad;
use crate::{DType, Result};

/// Deeper than any state dictionary.
const MAX_DEPTH: usize = 32;
/// PyTorch's own bound on the sides of a tensor (`dim_bitset_size` in `ATen/WrapDimUtilsMulti.h`).
const MAX_RANK: usize = 64;
/// Longer than the name of any function that rebuilds something.
const MAX_NAME_BYTES: usize = 1 << 10;

/// A value of the machine.
#[derive(Debug, Clone)]
pub(super) enum Value {
    /// None, a float, an object: nothing that a tensor is made of.
    Opaque,
    Int(i64),
    /// An integer of more than eight bytes, little-endian.
    Long(Rc<Vec<u8>>),
    Str(Rc<str>),
    Tuple(Rc<Items>),
    List(Rc<Items>),
    /// Keys and values in turn.
    Dict(Rc<Items>),
    /// `module.name`
    Global(Rc<str>),
    Storage(Rc<StorageRef>),
    Tensor(Rc<TensorRef>),
}

/// What a container holds, and how deep it nests.
#[derive(Debug, Clone, Default)]
pub(super) struct Items {
    pub(super) items: Vec<Value>,
    depth: usize,
}

/// Memory that tensors are views of.
#[derive(Debug, Clone)]
pub(super) struct StorageRef {
    pub(super) dtype: DType,
    pub(super) key: Rc<str>,
}

/// A view of a storage.
#[derive(Debug, Clone)]
pub(super) struct TensorRef {
    pub(super) storage: Rc<StorageRef>,
    /// All three in elements.
    pub(super) offset: usize,
    pub(super) shape: Vec<usize>,
    pub(super) strides: Vec<usize>,
}

impl Items {
    fn new(items: Vec<Value>) -> Result<Rc<Self>> {
        let mut all = Self::default();
        all.extend(items)?;
        Ok(Rc::new(all))
    }

    fn extend(&mut self, items: Vec<Value>) -> Result<()> {
        for item in &items {
            let inner = match item {
                Value::Tuple(inner) | Value::List(inner) | Value::Dict(inner) => inner.depth + 1,
                _ => 1,
            };
            self.depth = self.depth.max(inner);
        }
        if self.depth > MAX_DEPTH {
            return Err(bad("its values nest too deep"));
        }
        self.items.extend(items);
        Ok(())
    }
}

/// A run of a program.
#[derive(Debug, Default)]
pub(super) struct Machine<'a> {
    program: &'a [u8],
    at: usize,
    stack: Vec<Value>,
    marks: Vec<usize>,
    memo: BTreeMap<u64, Value>,
}

impl<'a> Machine<'a> {
    /// Runs the program at the beginning of some bytes: its value, and how many bytes it took.
    pub(super) fn run(program: &'a [u8]) -> Result<(Value, usize)> {
        let mut machine = Self {
            program,
            ..Self::default()
        };
        loop {
            let instruction = machine.byte()?;
            if instruction == b'.' {
                return Ok((machine.pop()?, machine.at));
            }
            machine.step(instruction)?;
        }
    }

    fn step(&mut self, instruction: u8) -> Result<()> {
        match instruction {
            // PROTO, FRAME
            0x80 => drop(self.byte()?),
            0x95 => drop(self.take(8)?),
            b'(' => self.marks.push(self.stack.len()),
            // POP; and BUILD, the attributes of an object, which nobody looks into.
            b'0' | b'b' => drop(self.pop()?),
            b'1' => drop(self.pop_marked()?),
            b'N' | 0x88 | 0x89 => self.stack.push(Value::Opaque),
            b'G' => {
                self.take(8)?;
                self.stack.push(Value::Opaque);
            }
            b'K' => self.integer(1)?,
            b'M' => self.integer(2)?,
            b'J' => {
                let bytes = self.array::<4>()?;
                self.stack.push(Value::Int(i32::from_le_bytes(bytes).into()));
            }
            0x8a => self.long()?,
            b'X' => self.text(4)?,
            0x8c => self.text(1)?,
            b'}' => self.stack.push(Value::Dict(Rc::default())),
            b']' => self.stack.push(Value::List(Rc::default())),
            b')' => self.stack.push(Value::Tuple(Rc::default())),
            0x85..=0x87 => self.tuple(usize::from(instruction - 0x84))?,
            b't' => {
                let items = self.pop_marked()?;
                self.stack.push(Value::Tuple(Items::new(items)?));
            }
            b's' => {
                let (value, key) = (self.pop()?, self.pop()?);
                self.add(vec![key, value])?;
            }
            b'a' => {
                let item = self.pop()?;
                self.add(vec![item])?;
            }
            b'u' | b'e' => {
                let items = self.pop_marked()?;
                self.add(items)?;
            }
            b'q' => {
                let index = self.byte()?;
                self.remember(index.into())?;
            }
            b'r' => {
                let index = u32::from_le_bytes(self.array()?);
                self.remember(index.into())?;
            }
            0x94 => self.remember(self.memo.len() as u64)?,
            b'h' => {
                let index = self.byte()?;
                self.recall(index.into())?;
            }
            b'j' => {
                let index = u32::from_le_bytes(self.array()?);
                self.recall(index.into())?;
            }
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                self.stack.push(Value::Global(format!("{module}.{name}").into()));
            }
            0x93 => {
                let (Value::Str(name), Value::Str(module)) = (self.pop()?, self.pop()?) else {
                    return Err(bad("it names a function by something else than text"));
                };
                // Both may be shared, and each name is a copy.
                if module.len() + name.len() > MAX_NAME_BYTES {
                    return Err(bad("the name of a function is too long"));
                }
                self.stack.push(Value::Global(format!("{module}.{name}").into()));
            }
            b'Q' => {
                let value = self.pop()?;
                self.stack.push(storage(&value)?);
            }
            // REDUCE, NEWOBJ: a call, of which only the known ones mean anything.
            b'R' | 0x81 => {
                let (arguments, function) = (self.pop()?, self.pop()?);
                self.stack.push(call(&function, &arguments));
            }
            _ => return Err(bad("it uses an instruction that no dictionary of tensors needs")),
        }
        Ok(())
    }

    fn byte(&mut self) -> Result<u8> {
        Ok(self.take(1)?[0])
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let taken = self.take(N)?;
        taken.try_into().map_err(|_| bad("it ends within an instruction"))
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8]> {
        let end = self.at.checked_add(len).filter(|&end| end <= self.program.len());
        let end = end.ok_or_else(|| bad("it ends within an instruction"))?;
        let taken = &self.program[self.at..end];
        self.at = end;
        Ok(taken)
    }

    fn line(&mut self) -> Result<&'a str> {
        let rest = &self.program[self.at..];
        let len = rest.iter().position(|&byte| byte == b'\n');
        let len = len.ok_or_else(|| bad("it ends within an instruction"))?;
        let line = self.take(len + 1)?;
        std::str::from_utf8(&line[..len]).map_err(|_| bad("a name is no text"))
    }

    fn integer(&mut self, len: usize) -> Result<()> {
        let value = self
            .take(len)?
            .iter()
            .rev()
            .fold(0, |all, &byte| all << 8 | i64::from(byte));
        self.stack.push(Value::Int(value));
        Ok(())
    }

    /// LONG1: two's complement of a given length.
    fn long(&mut self) -> Result<()> {
        let len = self.byte()?;
        let bytes = self.take(len.into())?;
        self.stack.push(if bytes.len() <= 8 {
            let is_negative = bytes.last().is_some_and(|&byte| byte >= 0x80);
            let mut whole = [if is_negative { 0xff } else { 0 }; 8];
            whole[..bytes.len()].copy_from_slice(bytes);
            Value::Int(i64::from_le_bytes(whole))
        } else {
            Value::Long(Rc::new(bytes.to_vec()))
        });
        Ok(())
    }

    /// Text after its length of one or four bytes.
    fn text(&mut self, length_bytes: usize) -> Result<()> {
        let len = self
            .take(length_bytes)?
            .iter()
            .rev()
            .fold(0, |all, &byte| all << 8 | usize::from(byte));
        let text = std::str::from_utf8(self.take(len)?).map_err(|_| bad("a name is no text"))?;
        self.stack.push(Value::Str(text.into()));
        Ok(())
    }

    fn pop(&mut self) -> Result<Value> {
        let floor = self.marks.last().copied().unwrap_or(0);
        if self.stack.len() <= floor {
            return Err(bad("it takes a value that is not there"));
        }
        self.stack
            .pop()
            .ok_or_else(|| bad("it takes a value that is not there"))
    }

    fn pop_marked(&mut self) -> Result<Vec<Value>> {
        let mark = self
            .marks
            .pop()
            .ok_or_else(|| bad("it takes values that are not there"))?;
        Ok(self.stack.split_off(mark))
    }

    fn tuple(&mut self, len: usize) -> Result<()> {
        let mut items = (0..len).map(|_| self.pop()).collect::<Result<Vec<_>>>()?;
        items.reverse();
        self.stack.push(Value::Tuple(Items::new(items)?));
        Ok(())
    }

    /// Adds to the container at the top, of which the memo knows nothing.
    fn add(&mut self, items: Vec<Value>) -> Result<()> {
        let container = match self.stack.last_mut() {
            Some(Value::Dict(dict)) if items.len().is_multiple_of(2) => dict,
            Some(Value::List(list)) => list,
            Some(Value::Opaque) => return Ok(()),
            _ => return Err(bad("it adds to something that holds nothing")),
        };
        // Python remembers containers while they are empty.
        let container = Rc::get_mut(container).ok_or_else(|| bad("it changes a value that is shared"))?;
        container.extend(items)
    }

    fn remember(&mut self, index: u64) -> Result<()> {
        let value = self
            .stack
            .last()
            .ok_or_else(|| bad("it takes a value that is not there"))?;
        // A container that is still empty is about to be filled, which one that is shared cannot be.
        let value = match value {
            Value::Dict(items) | Value::List(items) if items.items.is_empty() => Value::Opaque,
            value => value.clone(),
        };
        self.memo.insert(index, value);
        Ok(())
    }

    fn recall(&mut self, index: u64) -> Result<()> {
        let value = self
            .memo
            .get(&index)
            .ok_or_else(|| bad("it recalls what it never kept"))?;
        self.stack.push(value.clone());
        Ok(())
    }
}

/// `('storage', torch.FloatStorage, key, device, elements, …)`
fn storage(value: &Value) -> Result<Value> {
    let no_storage = || bad("a storage is not described as PyTorch does");
    let Value::Tuple(tuple) = value else {
        return Err(no_storage());
    };
    let [Value::Str(tag), Value::Global(kind), Value::Str(key), ..] = tuple.items.as_slice() else {
        return Err(no_storage());
    };
    let dtype = match &**kind {
        "torch.FloatStorage" => DType::F32,
        "torch.DoubleStorage" => DType::F64,
        "torch.HalfStorage" => DType::F16,
        "torch.BFloat16Storage" => DType::Bf16,
        "torch.LongStorage" => DType::I64,
        "torch.IntStorage" => DType::I32,
        "torch.ShortStorage" => DType::I16,
        "torch.CharStorage" => DType::I8,
        "torch.ByteStorage" => DType::U8,
        "torch.BoolStorage" => DType::Bool,
        _ => return Err(bad("a storage has an element type that is not supported")),
    };
    if &**tag != "storage" {
        return Err(no_storage());
    }
    Ok(Value::Storage(Rc::new(StorageRef {
        dtype,
        key: key.clone(),
    })))
}

/// The few calls that mean something.
fn call(function: &Value, arguments: &Value) -> Value {
    let (Value::Global(name), Value::Tuple(arguments)) = (function, arguments) else {
        return Value::Opaque;
    };
    match (&**name, arguments.items.as_slice()) {
        ("collections.OrderedDict", []) => Value::Dict(Rc::default()),
        (
            "torch._utils._rebuild_tensor_v2" | "torch._utils._rebuild_tensor",
            [
                Value::Storage(storage),
                Value::Int(offset),
                Value::Tuple(shape),
                Value::Tuple(strides),
                ..,
            ],
        ) => tensor(storage, *offset, shape, strides).unwrap_or(Value::Opaque),
        ("torch._utils._rebuild_parameter", [tensor @ Value::Tensor(_), ..]) => tensor.clone(),
        _ => Value::Opaque,
    }
}

fn tensor(storage: &Rc<StorageRef>, offset: i64, shape: &Items, strides: &Items) -> Option<Value> {
    let sides = |items: &Items| -> Option<Vec<usize>> {
        let side = |item: &Value| match item {
            Value::Int(side) => usize::try_from(*side).ok(),
            _ => None,
        };
        items.items.iter().map(side).collect()
    };
    let rank = shape.items.len();
    (rank == strides.items.len() && rank <= MAX_RANK).then_some(())?;
    let (shape, strides) = (sides(shape)?, sides(strides)?);
    Some(Value::Tensor(Rc::new(TensorRef {
        storage: storage.clone(),
        offset: usize::try_from(offset).ok()?,
        shape,
        strides,
    })))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tensor_has_at_most_64_sides() {
        let storage = Rc::new(StorageRef {
            dtype: DType::F32,
            key: "0".into(),
        });
        let ones = |rank| Items::new(vec![Value::Int(1); rank]).unwrap();
        for (shape, strides, is_one) in [(0, 0, true), (64, 64, true), (64, 63, false), (65, 65, false)] {
            let made = tensor(&storage, 0, &ones(shape), &ones(strides));
            assert_eq!(made.is_some(), is_one, "{shape} and {strides}");
        }
    }
}
