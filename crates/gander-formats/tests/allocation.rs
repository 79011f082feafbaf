//! What a reader allocates is bounded by what it was given, whatever that claims. One test, since it counts for the
//! whole process.

use std::{alloc::System, collections::BTreeMap, io::Cursor};

use gander_formats::{
    DType, npy,
    npz::{self, Compression, NpzReader},
    safetensors::{self, Entry},
};
use proptest::{prelude::*, test_runner::TestRunner};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Header text becomes names, shapes and maps; each byte of it may cost some tens of bytes in all.
const FACTOR: usize = 16;

/// Buffers of fixed size, mostly those of the decompressor.
const BOUND: usize = 1 << 18;

fn allocated(read: impl FnOnce()) -> usize {
    let region = Region::new(ALLOCATOR);
    read();
    region.change().bytes_allocated
}

fn npz_bytes(compression: Compression) -> std::io::Result<Vec<u8>> {
    let array = npy::ArrayRef {
        dtype: DType::U8,
        shape: &[3, 5],
        bytes: &[7; 15],
    };
    let mut bytes = Cursor::new(Vec::new());
    npz::write(&mut bytes, &[("images", array), ("more", array)], compression)?;
    Ok(bytes.into_inner())
}

#[test]
fn memory_is_bounded_by_the_input() {
    let mut weights = Vec::new();
    for name in ["a", "b", "c"] {
        weights.push(Entry::f32(name, [2, 3], &[0.5; 6]));
    }
    let mut array = Vec::new();
    npy::write(
        &mut array,
        npy::ArrayRef {
            dtype: DType::F32,
            shape: &[2],
            bytes: &[0; 8],
        },
    )
    .unwrap();
    let files = [
        safetensors::to_bytes(&weights, &BTreeMap::new()).unwrap(),
        array,
        npz_bytes(Compression::Stored).unwrap(),
        npz_bytes(Compression::Deflated).unwrap(),
    ];
    let change = (
        0..files.len(),
        prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
    );
    TestRunner::deterministic()
        .run(&change, |(file, changes)| {
            let mut bytes = files[file].clone();
            for (at, byte) in changes {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            let claims_much = "99999999999".as_bytes();
            let with_claim = [&bytes[..bytes.len() / 2], claims_much, &bytes[bytes.len() / 2..]].concat();
            for input in [&bytes, &with_claim] {
                let used = allocated(|| {
                    let _ = safetensors::read_bytes(input);
                    let _ = npy::read_bytes(input);
                    if let Ok(mut reader) = NpzReader::new(Cursor::new(input)) {
                        for name in reader.names().map(str::to_owned).collect::<Vec<_>>() {
                            let _ = reader.read(&name);
                        }
                    }
                });
                prop_assert!(used < FACTOR * input.len() + BOUND, "{used} bytes for {}", input.len());
            }
            Ok(())
        })
        .unwrap();
}
