//! Safetensors files held against the format's own implementation.

use std::collections::{BTreeMap, HashMap};

use gander_formats::{
    DType,
    safetensors::{Entry, read_bytes, to_bytes},
};
use proptest::prelude::*;
use safetensors::{Dtype, SafeTensors, tensor::TensorView};

const TYPES: [(DType, Dtype); 13] = [
    (DType::Bool, Dtype::BOOL),
    (DType::U8, Dtype::U8),
    (DType::I8, Dtype::I8),
    (DType::U16, Dtype::U16),
    (DType::I16, Dtype::I16),
    (DType::F16, Dtype::F16),
    (DType::Bf16, Dtype::BF16),
    (DType::U32, Dtype::U32),
    (DType::I32, Dtype::I32),
    (DType::F32, Dtype::F32),
    (DType::U64, Dtype::U64),
    (DType::I64, Dtype::I64),
    (DType::F64, Dtype::F64),
];

/// Name, index into `TYPES`, shape, values.
type Tensors = BTreeMap<String, (usize, Vec<usize>, Vec<u8>)>;

fn tensors() -> impl Strategy<Value = Tensors> {
    let one =
        (0..TYPES.len(), prop::collection::vec(0usize..4, 0..4), any::<u8>()).prop_map(|(dtype, shape, start)| {
            let bytes = TYPES[dtype].0.size_bytes() * shape.iter().product::<usize>();
            (dtype, shape, (0..bytes).map(|i| start.wrapping_add(i as u8)).collect())
        });
    prop::collection::btree_map(".{1,6}", one, 0..6)
}

proptest! {
    #[test]
    fn each_reads_what_the_other_writes(
        tensors in tensors(),
        metadata in prop::collection::btree_map(".{0,5}", ".{0,5}", 1..5),
    ) {
        let entries: Vec<_> = tensors
            .iter()
            .map(|(name, (dtype, shape, bytes))| Entry::new(name, TYPES[*dtype].0, shape.clone(), bytes.as_slice()))
            .collect();
        let ours = to_bytes(&entries, &metadata).unwrap();
        let theirs = SafeTensors::deserialize(&ours).unwrap();
        prop_assert_eq!(theirs.len(), tensors.len());
        let (_, header) = SafeTensors::read_metadata(&ours).unwrap();
        let expected: HashMap<_, _> = metadata.clone().into_iter().collect();
        prop_assert_eq!(header.metadata().as_ref(), Some(&expected));

        let views = tensors.iter().map(|(name, (dtype, shape, bytes))| {
            (name, TensorView::new(TYPES[*dtype].1, shape.clone(), bytes).unwrap())
        });
        let bytes = safetensors::serialize(views, Some(expected.clone())).unwrap();
        let read = read_bytes(&bytes).unwrap();
        prop_assert_eq!(read.metadata(), &metadata);
        prop_assert_eq!(read.len(), tensors.len());

        for (name, (dtype, shape, bytes)) in &tensors {
            let (from_theirs, from_ours) = (theirs.tensor(name).unwrap(), read.tensor(name).unwrap());
            prop_assert_eq!((from_theirs.dtype(), from_theirs.shape(), from_theirs.data()), (TYPES[*dtype].1, &**shape, &**bytes));
            prop_assert_eq!((from_ours.dtype, from_ours.shape, from_ours.bytes), (TYPES[*dtype].0, &**shape, &**bytes));
        }
    }

    /// What is accepted here is accepted there too, so that no file of ours surprises another reader.
    #[test]
    fn nothing_is_accepted_that_the_other_refuses(
        tensors in tensors(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let entries: Vec<_> = tensors
            .iter()
            .map(|(name, (dtype, shape, bytes))| Entry::new(name, TYPES[*dtype].0, shape.clone(), bytes.as_slice()))
            .collect();
        let mut bytes = to_bytes(&entries, &BTreeMap::new()).unwrap();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok(file) = read_bytes(&bytes) {
            let theirs = SafeTensors::deserialize(&bytes);
            prop_assert!(theirs.is_ok(), "{:?}", theirs.err());
            prop_assert_eq!(theirs.unwrap().len(), file.len());
        }
    }
}
